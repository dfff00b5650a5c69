"""Reading a text: states that go from step to step, evaluation and baselines against loops, generation."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import zoo
from tests.helpers import fit_stopped_at_every_save, refusal
from zoo import evaluate, names, optimizers, parallel, recurrent, tasks, train_step
from zoo.__main__ import main
from zoo.checkpoint import checksums
from zoo.data import splits, text
from zoo.models.rnn import RNN, cost
from zoo.objectives import cross_entropy
from zoo.types import PADDING


DATA = "words:num_characters=3000"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return zoo.train("rnn/smoke", data="words", workdir=tmp_path_factory.mktemp("rnn") / "run")


@pytest.fixture(scope="module")
def examples():
    return tasks.text_examples(splits.ending(text.words(2000), 0), length=7, pieces=3, warm_up=10)


def nats_one_by_one(model, values, classes, states):
    """-log P of each of classes[1:], read character by character."""
    found = []
    read = jax.jit(partial(model.apply, method="read"))
    for now, after in itertools.pairwise(classes):
        logits, states = read(values, jnp.full((1, 1), now), states)
        found.append(-jax.nn.log_softmax(logits[0, 0])[after])
    return np.array(found)


def test_between_the_bigram_and_the_truth(run):
    """The words are learned, which pairs of characters do not show."""
    oracle, bigram = (run.record["baselines"][name]["nats"] for name in ("oracle", "bigram"))
    assert oracle - 0.01 < run.metrics["nats"] < oracle + 0.1 < bigram - 0.5
    assert run.metrics["perplexity"] == pytest.approx(np.exp(run.metrics["nats"]))
    assert zoo.load(run.folder).evaluate() == run.metrics


def test_examples_are_the_text_cut(examples):
    columns = examples.train
    labels = columns["label"].reshape(-1)
    characters = columns["characters"].reshape(-1)
    assert (characters[1:1799] == labels[:1798]).all() and (labels[1799:] == PADDING).all()
    assert examples.counted["unknown_characters"] == 0
    judged = examples.test["label"][examples.test["label"] != PADDING]
    whole = text.words(2000)
    known = examples.vocabulary.encode(whole)
    assert judged.tolist() == known[1800:].tolist()  # each held-out character once, in order
    assert examples.test["characters"][0, 10] == known[1799] and examples.test["characters"][0, 0] == known[1789]


def test_rows_of_a_batch_are_streams_of_the_text(examples):
    order = tasks.side_by_side(examples, 5)
    count = examples.num_train
    assert sorted(order[order >= 0].tolist()) == list(range(count))
    for row in order.T:
        kept = row[row >= 0]
        assert (np.diff(kept) == 1).all() and (row[: len(kept)] >= 0).all()
    assert tasks.side_by_side(examples, 2 * count).shape == (1, 2 * count)


def test_states_go_from_step_to_step_and_begin_anew(examples):
    """Without learning, the losses of two epochs are those of each stream read in one pass from zero states."""
    model, still = RNN(examples.spec, recurrent.lstm, width=5, num_layers=2), optimizers.sgd(0.0)
    order = tasks.side_by_side(examples, 4)
    columns = {name: jnp.asarray(column) for name, column in examples.train.items()}
    batch = train_step.take_rows(columns, order[0])
    state = train_step.init_state(model, cross_entropy, still, batch, jax.random.key(0))
    rows = train_step.take_rows(columns, order.T)  # [4, steps, length]
    read = jax.jit(partial(model.apply, method="read"))
    logits, _ = read(evaluate.variables(state, {}), rows["characters"].reshape(4, -1), model.start(4))
    losses, real = zoo.objectives.nats(logits.reshape(*rows["label"].shape, -1), rows["label"])
    expected = (losses.sum(2) / jnp.maximum(real.sum(2), 1.0)).sum(0)
    step = train_step.scan_steps(train_step.make_train_step(model, cross_entropy, still))
    _, metrics = step(state, {}, columns, np.concatenate([order, order]))
    np.testing.assert_allclose(metrics["loss_sum"], np.tile(expected, 2), rtol=1e-5)


@pytest.mark.parametrize(("pieces", "warm_up"), [(1, 0), (3, 2000)])
def test_evaluation_is_that_of_a_loop(pieces, warm_up):
    whole = text.words(1000)
    split = splits.ending(whole, 0, fraction=0.05)
    examples = tasks.text_examples(split, length=7, pieces=pieces, warm_up=warm_up)
    model = RNN(examples.spec, recurrent.vanilla, width=8)
    batch = {name: jnp.asarray(column[:4]) for name, column in examples.train.items()}
    state = train_step.init_state(model, cross_entropy, optimizers.sgd(0.0), batch, jax.random.key(0))
    found = tasks.texts.text_metrics(model, state, examples, split, names=["nats"])["nats"]
    first = len(split.train) - 1 - min(warm_up, len(split.train) - 1)
    classes = examples.vocabulary.encode(whole)[first:]
    one_by_one = nats_one_by_one(model, evaluate.variables(state, {}), classes, model.start(1))
    expected = one_by_one[-len(split.test) :].mean()
    assert found == pytest.approx(expected, abs=1e-5 if warm_up < 2000 else 1e-3)


def test_the_bigram_is_counted():
    split = splits.ending(text.from_string("ababababababababababacab"), 0, fraction=0.25)
    # train: 18 characters ab..ab; a -> b 9 times, b -> a 8 times; classes unknown, a, b; held out: a b a c a b
    counts = {"aa": 1, "ab": 10, "a?": 1, "ba": 9, "bb": 1, "b?": 1, "?a": 1, "?b": 1, "??": 1}
    rows = {first: sum(count for pair, count in counts.items() if pair[0] == first) for first in "ab?"}
    pairs = ["ba", "ab", "ba", "a?", "?a", "ab"]
    expected = -np.log([counts[pair] / rows[pair[0]] for pair in pairs]).mean()
    assert tasks.texts.text_baselines(split)["bigram"]["nats"] == pytest.approx(expected)


@pytest.mark.slow
@pytest.mark.parametrize("wrap", [parallel.jit, parallel.shard_map, parallel.pmap], ids=lambda wrap: wrap.__name__)
def test_devices_agree(tmp_path, wrap):
    """States are of the whole batch, whatever device reads which row."""
    request = names.Request("rnn/smoke", DATA, settings={"epochs": 2, "optimizer.max_norm": 0.1})
    losses = []
    for layout in (None, parallel.layout(4)):
        job = names.job(request)
        record, _, _ = zoo.run.fit(
            job, tmp_path / f"{layout is None}", quiet=True, layout=layout, wrap=wrap if layout else parallel.jit
        )
        losses.append([entry["loss"] for entry in record["training"]["history"]])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


@pytest.mark.slow
def test_resumed_with_its_states(tmp_path, monkeypatch):
    def job():
        return names.job(names.Request("rnn/smoke", DATA, settings={"epochs": 3}))

    record, _, whole = zoo.run.fit(job(), tmp_path / "whole", quiet=True)
    found, state, saves = fit_stopped_at_every_save(job, tmp_path / "broken", monkeypatch)
    assert saves > 3 and found["metrics"] == record["metrics"] and checksums(state) == checksums(whole)


def test_generated_text(run, capsys):
    known = run.prepared.examples.vocabulary
    prompt = known.characters[1] + " "
    greedy = run.generate(prompt, length=12, temperature=0.0)
    read = jax.jit(partial(run.prepared.model.apply, evaluate.variables(run.state, {}), method="read"))
    classes, states = known.encode_known(prompt).tolist(), run.prepared.model.start(1)
    for place in range(1 + 12):  # all that was written so far, the likeliest character after it
        logits, states = read(jnp.full((1, 1), classes[place]), states)
        if place:
            classes.append(int(np.argmax(logits[0, 0, 1:])) + 1)
    assert greedy == known.decode(np.array(classes[2:]))
    drawn = run.generate(prompt, length=300, seed=1)
    assert drawn == run.generate(prompt, length=300, seed=1) != run.generate(prompt, length=300, seed=2)
    whole = run.job.interactions
    real = set("".join(whole.alphabet[whole.codes]).split())
    words = drawn.split()[1:-1]
    assert sum(word in real for word in words) / len(words) > 0.6
    assert main(["generate", str(run.folder), "--prompt", prompt, "--length", "12", "--temperature", "0"]) == 0
    assert capsys.readouterr().out == prompt + greedy + "\n"


def test_mistakes_of_generate(run, capsys):
    message = refusal(run.generate, "a Z")
    assert "'Z', number 3 of the prompt" in message
    assert "empty" in refusal(run.generate, "")
    assert "length is 0" in refusal(run.generate, "a", length=0)
    assert "temperature is -1" in refusal(run.generate, "a", temperature=-1.0)
    assert "seed is -1" in refusal(run.generate, "a", seed=-1)
    assert main(["generate", str(run.folder), "--prompt", "Z"]) == 2
    assert "number 1 of the prompt" in capsys.readouterr().err
    assert "compares no items" in refusal(run.recommend, [1])


def test_mistakes_of_training(tmp_path):
    train = partial(zoo.train, data=DATA, workdir=tmp_path / "run")
    assert "width is 0" in refusal(train, "rnn/smoke", width=0)
    assert "length is 0" in refusal(train, "rnn/smoke", length=0)
    assert "choose ending" in refusal(train, "rnn/smoke", split="random")
    assert "holds a text" in refusal(train, "mf/smoke")
    (tmp_path / "short.txt").write_text("ab")
    assert "one character" in refusal(partial(train, data=str(tmp_path / "short.txt")), "rnn/smoke")


def test_a_text_of_ones_own_is_held_out_at_its_end(tmp_path):
    (tmp_path / "own.txt").write_text("to be or not to be " * 20)
    job = names.job(names.Request("rnn/smoke", str(tmp_path / "own.txt")))
    split = job.recipe.split(job.interactions, 0)
    assert job.names["split"] == "ending" and (len(split.train), len(split.test)) == (342, 38)
    assert names.job(names.Request("rnn/smoke"), job.interactions).names["split"] == "ending"


def test_cost_by_hand():
    """Batch 2, length 3, an LSTM of 4 over 5 classes: 6 characters of 4 x 4 x 4 recurrent and 20 output weights."""
    recipe = names.recipe("rnn/lstm")[2]
    recipe = zoo.recipe.override(recipe, {"batch_size": 2, "examples.length": 3})
    model = RNN(zoo.types.Spec(num_classes=5), recurrent.lstm, width=4)
    assert cost(recipe, model).flops == 6 * 6 * (64 + 20)
    assert cost(recipe, model).bytes == 4 * (2 * 3 * 64 + 3 * (20 + 64) + 3 * 6 * (5 * 4 + 5))
