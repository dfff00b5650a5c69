"""GRU4Rec: its losses against their formulas, training on sessions side by side against a loop in numpy, its judge."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import zoo
from tests.helpers import refusal
from zoo import names, negatives, optimizers, sampled_objectives, tasks, train_step
from zoo.__main__ import main
from zoo.data import splits
from zoo.data.interactions import from_raw
from zoo.data.splits import Split
from zoo.embedding import to_collection
from zoo.errors import InputError
from zoo.models.gru4rec import GRU4Rec, cost, no_embedding, separate, shared
from zoo.recipe import override
from zoo.types import CARRY, PADDING, Spec


def sessions(count=60, num_items=30, seed=0, longest=9):
    """Sessions of 1 to `longest` events, of which some tie in time with their neighbours; items repeat."""
    rng = np.random.default_rng(seed)
    user = np.repeat(np.arange(count), rng.integers(1, longest, count))
    return from_raw(user, rng.integers(0, num_items, len(user)), timestamp=np.arange(len(user)) + 100 * user)


@pytest.fixture(scope="module")
def split():
    return splits.latest_users(sessions(), 0, fraction=0.3)


def test_rows_of_a_batch_are_sessions_one_after_the_other(split):
    """Against a loop over steps, as the authors describe it."""
    examples = tasks.session_examples(split)
    by_session = [np.flatnonzero(split.train.user == user) for user in np.unique(split.train.user)]
    waiting = [rows for rows in by_session if len(rows) > 1]
    assert examples.counted["sequences_of_one"] == len(by_session) - len(waiting) > 0
    order = tasks.session_parallel(examples, 4)
    slots = [None] * 4
    for step in order:
        for row in range(4):
            if not slots[row] and waiting:
                slots[row] = list(itertools.pairwise(split.train.item[waiting.pop(0)].tolist()))
                assert examples.train["place"][step[row], 0] == 0
        for row, example in enumerate(step):
            if slots[row]:
                now, after = slots[row].pop(0)
                assert examples.train["sequence"][example, 0] == now and examples.train["label"][example, 0] == after
            else:
                assert example == -1
    assert not waiting and not any(slots)


def test_whole_sequences_are_packed(split):
    """Every pair of neighbours once, `place` 0 exactly where another sequence begins, no row longer than asked."""
    examples = tasks.sequence_examples(split, length=5)
    entry = examples.train["label"] != PADDING
    inputs, labels, place = (examples.train[name] for name in ("sequence", "label", "place"))
    assert (entry[:, 0]).all() and (np.diff(entry.astype(int), axis=1) <= 0).all()
    assert ((inputs != PADDING) == entry).all() and (place[:, 0] == 0).all()
    train = split.train
    want = [
        (int(train.item[row]), int(train.item[row + 1]), int(within % 5))
        for user in np.unique(train.user)
        for within, row in enumerate(np.flatnonzero(train.user == user)[:-1].tolist())
    ]
    assert list(zip(inputs[entry].tolist(), labels[entry].tolist(), place[entry].tolist())) == want
    assert examples.train["weight"].mean() == pytest.approx(1.0)
    assert entry.mean() > 0.6


def model_of(examples, **settings):
    return GRU4Rec(examples.spec, **({"embedding_dim": 6} | settings))


def first_state(model, objective, optimizer, examples, batch):
    columns = {name: jnp.asarray(column) for name, column in examples.train.items()}
    constants = jax.tree.map(jnp.asarray, dict(examples.constants))
    taken = train_step.take_rows(columns, jnp.asarray(batch))
    state = train_step.init_state(model, objective, optimizer, taken, jax.random.key(3), constants)
    return state, columns, constants


@pytest.fixture(scope="module")
def packed(split):
    """Sequences packed into rows, a model, its state with vectors of some size, and what its losses read."""
    examples = tasks.sequence_examples(split, length=4, longest=3)
    model = model_of(examples)
    state, columns, constants = first_state(model, OBJECTIVES["bpr_max"], optimizers.sgd(0.1), examples, [0, 1, 2, 3])
    tables = {"item": 20 * state.tables["item"], "bias": jnp.sin(jnp.arange(30.0))[:, None]}
    return examples, model, state.replace(tables=tables), columns, constants


def values_of(state, constants):
    return {"params": state.params, "tables": to_collection(state.tables), "constants": constants, **state.model_state}


def elu(x, alpha):
    return np.where(x > 0, x, alpha * (np.exp(np.minimum(x, 0)) - 1))


def sigma(x):
    return 1 / (1 + np.exp(-x))


def loss_of(name, target, others, logq_target=0.0, logq_others=0.0):
    """One position, its scores written out."""
    if name == "cross_entropy":
        target, others = target - logq_target, others - logq_others
        return -np.log(np.exp(target) / (np.exp(target) + np.exp(others).sum()))
    if name == "bpr_max":
        target, others = elu(target, 0.5), elu(others, 0.5)
    weight = np.exp(others) / np.exp(others).sum()
    if name == "top1_max":
        return (weight * (sigma(others - target) + sigma(others**2))).sum()
    return -np.log((weight * sigma(target - others)).sum() + 1e-24) + 0.7 * (weight * others**2).sum()


OBJECTIVES = {
    "cross_entropy": partial(sampled_objectives.cross_entropy, count=7, alpha=0.5, logq=0.8),
    "top1_max": partial(sampled_objectives.top1_max, count=7, alpha=0.5),
    "bpr_max": partial(sampled_objectives.bpr_max, count=7, alpha=0.5, penalty=0.7, elu=0.5),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_losses_are_their_formulas(split, packed, name):
    """Position by position over a batch with padding, in which rows differ in length."""
    examples, model, state, columns, constants = packed
    values, key = values_of(state, constants), jax.random.key(5)
    batch = train_step.take_rows(columns, jnp.array([0, 2, -1, examples.num_train - 1], jnp.int32))

    @jax.jit
    def computed(values, batch):
        losses, _ = model.apply(values, batch, key, method=OBJECTIVES[name], mutable=["lookups", CARRY])
        drawn = negatives.popularity(key, model.bind(values), count=7, alpha=0.5)[0]
        return losses, model.apply(values, batch, method="hidden"), drawn

    found, hidden, drawn = map(np.asarray, computed(values, batch))
    label, (vector, bias) = np.asarray(batch["label"]), (np.float64(state.tables[t]) for t in ("item", "bias"))
    support = np.maximum(np.bincount(split.train.item, minlength=30), 1)
    places = np.argwhere(label != PADDING)
    for row in range(4):
        losses = []
        for at in places[places[:, 0] == row]:
            others = [label[tuple(other)] for other in places if tuple(other) != tuple(at)]
            logq = 0.8 * np.log(np.concatenate([support[others], support[drawn] ** 0.5]))
            ids = np.concatenate([others, drawn])
            h, own = np.float64(hidden)[tuple(at)], label[tuple(at)]
            scores = vector[ids] @ h + bias[ids, 0]
            losses.append(loss_of(name, vector[own] @ h + bias[own, 0], scores, 0.8 * np.log(support[own]), logq))
        assert found[row] == pytest.approx(np.mean(losses) if losses else 0.0, rel=1e-4)


def numpy_step(weights, moved, h, inputs, targets, begins, drawn, rate, momentum, size):
    """One step of the authors' training: forward, the gradients written out, Adagrad with momentum on what was met.

    `weights` are those of one layer whose inputs are the output vectors; h [rows, dim] are the states that came.
    Returns the loss and the states.
    """
    table, bias, kernel, u_rz, u_n, b_rz, b_n = (weights[name] for name in NAMES)
    dim, n = h.shape[1], len(inputs)
    h = np.where(begins[:, None], 0.0, h)
    x = table[inputs]
    p = x @ kernel
    r, z = np.split(sigma(p[:, : 2 * dim] + h @ u_rz + b_rz), 2, 1)
    candidate = np.tanh(p[:, 2 * dim :] + (r * h) @ u_n + b_n)
    new = (1 - z) * h + z * candidate
    ids = np.concatenate([targets, drawn])
    raw = new @ table[ids].T + bias[ids, 0]
    scores = elu(raw, 0.5)
    others = ~np.eye(n, len(ids), dtype=bool)
    weight = np.where(others, np.exp(scores), 0)
    weight /= weight.sum(1, keepdims=True)
    target = np.diag(scores)[:, None]
    above = sigma(target - scores)
    total, squares = (weight * above).sum(1, keepdims=True) + 1e-24, (weight * scores**2).sum(1, keepdims=True)
    loss = (-np.log(total) + 0.7 * squares).sum() / size
    # d loss / d scores: through the softmax, through sigma, through the squares.
    g = -weight * (above - (total - 1e-24)) / total + weight * above * (1 - above) / total
    g += 0.7 * (weight * (scores**2 - squares) + 2 * weight * scores)
    g[np.arange(n), np.arange(n)] = -(weight * above * (1 - above)).sum(1) / total[:, 0]
    g *= np.where(raw > 0, 1.0, scores + 0.5) / size
    d_new = g @ table[ids]
    d_rows, d_bias = np.zeros_like(table), np.zeros_like(bias)
    np.add.at(d_rows, ids, g.T @ new)
    np.add.at(d_bias, ids, g.sum(0)[:, None])
    d_z, d_candidate = d_new * (candidate - h) * z * (1 - z), d_new * z * (1 - candidate**2)
    d_r = d_candidate @ u_n.T * h * r * (1 - r)
    d_rz, d_p = np.concatenate([d_r, d_z], 1), np.concatenate([d_r, d_z, d_candidate], 1)
    np.add.at(d_rows, inputs, d_p @ kernel.T)
    gradients = {
        "item": d_rows,
        "bias": d_bias,
        "input": x.T @ d_p,
        "recurrent_rz": h.T @ d_rz,
        "recurrent_n": (r * h).T @ d_candidate,
        "bias_rz": d_rz.sum(0),
        "bias_n": d_candidate.sum(0),
    }
    met = {"item": np.unique(np.concatenate([ids, inputs])), "bias": np.unique(ids)}
    for name, gradient in gradients.items():
        rows = met.get(name, slice(None))
        squares, moves = moved[name]
        squares[rows] += gradient[rows] ** 2
        moves[rows] = momentum * moves[rows] - rate * gradient[rows] / np.sqrt(squares[rows] + 1e-6)
        weights[name][rows] += moves[rows]
    return loss, new


NAMES = ("item", "bias", "input", "recurrent_rz", "recurrent_n", "bias_rz", "bias_n")


def named(state):
    layer = state.params["layers_0"]
    found = (state.tables["item"], state.tables["bias"], state.params["input_0"], layer["recurrent_0"])
    found += (layer["recurrent_1"], layer["bias_0"], layer["bias_1"])
    return dict(zip(NAMES, (np.array(value, np.float64) for value in found), strict=True))


def test_sessions_side_by_side_are_a_plain_loop(split):
    """20 steps and the last ones, in which rows run out: losses, parameters, states kept and states set to zero."""
    examples = tasks.session_examples(split)
    model, size, rate, momentum = model_of(examples), 4, 0.1, 0.3
    objective = partial(OBJECTIVES["bpr_max"], normaliser=sampled_objectives.over_all_rows)
    optimizer = optimizers.adagrad_momentum(rate, b1=momentum)
    order = tasks.session_parallel(examples, size)
    order = np.concatenate([order[:20], order[-5:]])
    assert (order[-5:] < 0).any()
    state, columns, constants = first_state(model, objective, optimizer, examples, order[0])
    state = state.replace(tables={**state.tables, "item": 5 * state.tables["item"]})
    weights = named(state)
    moved = {name: (np.zeros_like(value), np.zeros_like(value)) for name, value in weights.items()}
    h, losses, resets = np.zeros((size, 6)), [], 0
    values = {"params": state.params, "tables": to_collection(state.tables), "constants": constants}
    bound = model.bind({**values, **state.model_state})
    before = np.full(size, -2)
    for number, step in enumerate(order):
        key, _ = jax.random.split(jax.random.fold_in(state.key, number))
        drawn = np.asarray(negatives.popularity(key, bound, count=7, alpha=0.5)[0])
        there = step >= 0
        inputs, targets, place = (examples.train[name][step[there], 0] for name in ("sequence", "label", "place"))
        begins = place != before[there] + 1
        resets += int((begins & (number > 0)).sum())
        loss, h[there] = numpy_step(weights, moved, h[there], inputs, targets, begins, drawn, rate, momentum, size)
        before[there] = place
        losses.append(loss)
    scan = train_step.scan_steps(train_step.make_train_step(model, objective, optimizer))
    after, metrics = scan(state, constants, columns, jnp.asarray(order))
    assert resets > 5
    np.testing.assert_allclose(metrics["loss_sum"] / metrics["num_examples"], losses, atol=1e-5)
    for name, value in named(after).items():
        np.testing.assert_allclose(value, weights[name], atol=1e-5, err_msg=name)
    there = order[-1] >= 0
    np.testing.assert_allclose(after.model_state[CARRY]["states"][0][0][there], h[there], atol=1e-5)


@pytest.mark.parametrize(
    "inputs", [shared, *(pytest.param(inputs, marks=pytest.mark.slow) for inputs in (separate, no_embedding))]
)
def test_a_query_is_the_state_after_the_history(split, inputs):
    """Of two layers, against the states of training on the same items; an empty history is state zero and bias."""
    examples = tasks.sequence_examples(split, length=8, longest=8)
    model = model_of(examples, inputs=inputs, num_layers=2)
    state, _, constants = first_state(model, OBJECTIVES["bpr_max"], optimizers.sgd(0.1), examples, [0, 1])
    batch = {"history_start": jnp.array([0, 4, 0]), "history_length": jnp.array([6, 3, 0])}
    log = constants["history_log"]
    read = {"sequence": jnp.stack([log[:6], log[4:10]]), "place": jnp.stack([jnp.arange(6)] * 2)}

    @jax.jit
    def asked(values):
        items = model.apply(values, None, (), method="item_vectors")
        parts = model.apply(values, jnp.arange(30), method="outputs")
        hidden = model.apply(values, read, method="hidden")
        return model.apply(values, batch, (), method="query"), hidden, items, *parts

    found, hidden, items, vectors, biases = asked(values_of(state, constants))
    np.testing.assert_allclose(found[:2, :-1], [hidden[0, 5], hidden[1, 2]], atol=1e-6)
    assert found[2].tolist() == [0.0] * 6 + [1.0]
    np.testing.assert_allclose(found @ items.T, found[:, :-1] @ vectors.T + biases[None, :], atol=1e-6)


def test_packed_sequences_do_not_see_each_other(split, packed):
    """Each sequence of a row has the states that it has alone."""
    _, model, state, _, constants = packed
    hidden = jax.jit(lambda one: model.apply(values_of(state, constants), one, method="hidden")[0])
    columns = tasks.sequence_examples(split, length=12).train
    sequence, place = columns["sequence"][:1], columns["place"][:1]
    whole = hidden({"sequence": sequence, "place": place})
    begins = [*np.flatnonzero(place[0] == 0), 12]
    assert len(begins) > 2
    for start, stop in itertools.pairwise(begins):
        alone = {"sequence": np.full((1, 12), PADDING), "place": np.arange(12)[None, :]}
        alone["sequence"][0, : stop - start] = sequence[0, start:stop]
        np.testing.assert_allclose(whole[start:stop], hidden(alone)[: stop - start], atol=1e-6)


def test_events_are_judged_by_what_came_before():
    """Written out: an unseen label is a miss, an unseen item is no past, a session of one event is left out."""
    train = [(1, 10, 0), (1, 20, 1), (2, 20, 2), (2, 10, 3), (2, 10, 4)]
    test = [(3, 10, 5), (3, 30, 6), (3, 20, 7), (4, 20, 8), (2, 20, 9)]
    rows = np.array(train + test).T
    part = np.repeat(np.array([0, 2], np.int8), 5)
    split = splits.published(from_raw(rows[0], rows[1], timestamp=rows[2], part=part), 0)
    events = tasks.held_out_events(split, 2)
    past = [events.log[start : start + length].tolist() for start, length in zip(*events.past)]
    names_of = split.train.item_ids
    judged = [(names_of[past].tolist(), int(names_of[label])) for past, label in zip(past, events.item)]
    assert judged == [([10], 30), ([10], 20), ([10, 10], 20)]
    counted = tasks.session_examples(split).counted
    assert counted == {"sequences_of_one": 0, "unseen_items_held_out": 1, "held_out_without_past": 2}


def test_the_judge_against_a_loop(split, packed):
    """hit_rate and mrr over all items, none left out; equal scores stand against the model."""
    examples, model, state, _, constants = packed
    values = values_of(state, constants)
    hidden = jax.jit(lambda one: model.apply(values, one, method="hidden"))
    found = tasks.next_items(model, state, examples, split, names=("hit_rate@5", "mrr@5"))
    hits, reciprocal = [], []
    for user in np.unique(split.test.user):
        items = split.test.item[split.test.user == user]
        for end in range(1, len(items)):
            past = items[max(0, end - 3) : end]
            one = {"sequence": np.full((1, 3), PADDING), "place": np.arange(3)[None, :]}
            one["sequence"][0, : len(past)] = past
            h = hidden(one)[0, len(past) - 1]
            scores = np.asarray(state.tables["item"] @ h + state.tables["bias"][:, 0])
            rank = 1 + (np.delete(scores, items[end]) >= scores[items[end]]).sum()
            hits.append(rank <= 5)
            reciprocal.append(1 / rank if rank <= 5 else 0)
    assert found == pytest.approx({"hit_rate@5": np.mean(hits), "mrr@5": np.mean(reciprocal)})
    flat = state.replace(tables=jax.tree.map(jnp.zeros_like, state.tables))
    assert tasks.next_items(model, flat, examples, split, names=("hit_rate@5",)) == {"hit_rate@5": 0.0}
    with pytest.raises(InputError, match=r"'map' does not judge events one by one: take mrr@k"):
        tasks.next_items(model, state, examples, split, names=("map",))


def test_what_cannot_be_learned_from(split):
    untimed = from_raw(np.array([1, 1, 2, 2]), np.array([1, 2, 1, 2]))
    halves = Split(untimed.take(np.array([0, 2])), untimed.take(np.array([1, 3])))
    assert "no next item" in refusal(tasks.sequence_examples, halves)
    assert "--timestamp-column" in refusal(tasks.session_examples, halves)
    assert "--timestamp-column" in refusal(lambda split: tasks.held_out_events(split, 5), halves)
    assert "length is 0" in refusal(tasks.sequence_examples, split, length=0)
    assert "longest is 0" in refusal(tasks.session_examples, split, longest=0)
    job = names.job(names.Request("gru4rec/session"), sessions())
    with pytest.raises(zoo.errors.InputError, match="count is 0"):
        model = job.recipe.model(Spec(num_items=3, history_length=2))
        batch = {name: jnp.zeros((2, 1), jnp.int32) for name in ("sequence", "place", "label")}
        model.init(jax.random.key(0), batch, jax.random.key(0), method=partial(OBJECTIVES["bpr_max"], count=0))


def test_cost_by_hand():
    """2 rows of 3 entries and 4 drawn items, 5 units: 6 entries x (6 x 25 weights + 10 candidates x 5) x 6."""
    recipe = override(names.recipe("gru4rec/smoke")[2], {"batch_size": 2, "length": 3, "count": 4})
    model = GRU4Rec(Spec(num_items=9), embedding_dim=5)
    assert cost(recipe, model).flops == 6 * 6 * (6 * 25 + 10 * 5)
    assert cost(recipe, model).bytes == 12 * ((6 + 10) * 5 + 6 * 25 + 6 * (4 * 5 + 10))


@pytest.mark.slow
def test_sessions_from_the_command_line(tmp_path, capsys):
    """A user's own sessions of planted order: item i is followed by i + 1."""
    rng = np.random.default_rng(0)
    lines = ["session,item,time"]
    for session in range(400):
        start = rng.integers(0, 20)
        lines += [f"{session},{(start + step) % 20},{10 * session + step}" for step in range(rng.integers(1, 6))]
    (tmp_path / "own.csv").write_text("\n".join(lines))
    columns = ["--user-column", "session", "--timestamp-column", "time"]
    asked = ["train", "gru4rec/session", "--data", str(tmp_path / "own.csv"), "--split", "latest_users", *columns]
    main([*asked, "--workdir", str(tmp_path / "run"), "--set", "metric=hit_rate@20", "--batch-size", "16"])
    run = zoo.load(tmp_path / "run")
    assert run.evaluate(["hit_rate@1"])["hit_rate@1"] > 0.95
    capsys.readouterr()
    ids, scores = run.recommend([0, 399], k=3)  # the last session is held out: nothing is known of it
    assert ids.shape == (2, 3) and np.isfinite(scores).all()
    past = [[3, 4, 5], [18], [], [7, 8, 7, 6]]
    ids, scores = run.recommend_after(past, k=20)
    assert ids[[0, 1, 3], 0].tolist() == [6, 19, 7] and np.isfinite(scores).all()  # 7 comes again in a session
    ids, scores = run.recommend_after(past, k=20, again=False)
    assert ids[0, 0] == 6 and not {7, 8, 6} & set(ids[3][np.isfinite(scores[3])].tolist())
    capsys.readouterr()
    assert main(["recommend", str(run.folder), "--history", "3,4,5", "-k", "2"]) == 0
    assert capsys.readouterr().out.startswith("6\t")
    assert main(["recommend", str(run.folder), "--history", "3,77"]) == 2
    error = capsys.readouterr().err
    assert "unknown item 77" in error and error.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["jit", "shard_map"])
def test_two_devices_take_the_steps_of_one(mode, tmp_path):
    """Targets of the other device's rows are candidates too, and states stay with their rows."""
    asked = {"data": "simulated:num_users=60,num_videos=50,num_watches=600", "epochs": 1, "embedding_dim": 8}
    asked |= {"count": 32, "batch_size": 16}
    one = zoo.train("gru4rec/session", workdir=tmp_path / "one", **asked)
    two = zoo.train("gru4rec/session", workdir=tmp_path / "two", devices=2, mode=mode, shard_tables=True, **asked)
    for mine, theirs in zip(*(jax.tree.leaves((run.state.params, run.state.tables)) for run in (one, two))):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
