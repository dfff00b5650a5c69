"""Caser against its equations as loops, its losses as sums, and what becomes of short histories."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import zoo
from zoo import following, names
from zoo.__main__ import main
from zoo.data.interactions import from_raw
from zoo.data.splits import Split
from zoo.layers import next_watches
from zoo.models import caser
from zoo.models.caser import Caser
from zoo.recipe import override
from zoo.tasks import next_watch_examples
from zoo.types import PADDING, Spec


SPEC = Spec(num_users=3, num_items=7, history_length=3)
MODEL = Caser(SPEC, embedding_dim=4, horizontal=2, vertical=2, dropout=0.0)
LOG = np.array([2, 5, 0, 3, 6, 3, 1], np.int32)
CONSTANTS = {"history_log": jnp.asarray(LOG)}
# The second has one watch before it and two to come, the third none before it; the last is padding.
BATCH = {
    "user": jnp.array([0, 1, 2, PADDING], jnp.int32),
    "item": jnp.array([3, 3, 1, PADDING], jnp.int32),
    "history_start": jnp.array([0, 4, 6, PADDING], jnp.int32),
    "history_length": jnp.array([3, 1, 0, PADDING], jnp.int32),
    "future_length": jnp.array([2, 2, 1, PADDING], jnp.int32),
    "mask": jnp.array([1.0, 1.0, 1.0, 0.0]),
}
LAST = [[2, 5, 0], [None, None, 6], [None, None, None]]
NEXT = [[3, 6], [3, 1], [1]]


@pytest.fixture(scope="module")
def variables():
    """Every number drawn anew."""

    def all_of(bound, batch):
        bound.put_variable("constants", "history_log", CONSTANTS["history_log"])
        return following.logistic(bound, batch, jax.random.key(0), num_targets=2)

    held = jax.eval_shape(partial(MODEL.init, method=all_of), jax.random.key(0), BATCH)
    rng = np.random.default_rng(0)
    fresh = {
        part: jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), jnp.float32), held[part])
        for part in ("params", "tables")
    }
    return {**fresh, "constants": CONSTANTS}


def by_loops(variables, n):
    """The query of example n, one filter and one place after the other."""
    tables, weights = (jax.tree.map(np.float64, variables[part]) for part in ("tables", "params"))
    image = np.stack([np.zeros(4) if i is None else tables["watched"]["table"][i] for i in LAST[n]])
    found = []
    for height in (1, 2, 3):
        own = weights[f"filters_{height - 1}"]
        for f in range(2):
            places = [np.sum(image[t : t + height] * own["kernel"][:, :, f]) for t in range(3 - height + 1)]
            found.append(max(max(place + own["bias"][f], 0.0) for place in places))
    for f in range(2):
        for d in range(4):
            column = sum(weights["columns"][row, f] * image[row, d] for row in range(3))
            found.append(column + weights["column_bias"][f])
    z = np.maximum(np.array(found) @ weights["joined"]["kernel"] + weights["joined"]["bias"], 0.0)
    return np.concatenate([z, tables["user"]["table"][n], [1.0]])


def test_query_is_the_loops(variables):
    found = MODEL.apply(variables, BATCH, (), method="query")
    for n in range(3):
        np.testing.assert_allclose(found[n], by_loops(variables, n), rtol=1e-4, atol=1e-5)
    assert np.isfinite(found[3]).all()


def test_a_bias_of_items_starts_at_zero():
    table = caser.vectors_and_bias(jax.random.key(0), (50, 9), scale=0.5)
    assert table.shape == (50, 9) and not table[:, -1].any() and 0.4 < np.std(table[:, :-1]) < 0.6


def test_the_next_watches_are_those_of_the_log():
    found = np.asarray(next_watches(BATCH, CONSTANTS["history_log"], 2))
    np.testing.assert_array_equal(found, [[3, 6], [3, 1], [1, PADDING], [PADDING, PADDING]])


def test_the_papers_loss_is_two_means(variables, monkeypatch):
    """-log sigmoid(s) over the next watches, -log(1 - sigmoid(s)) over negatives."""
    drawn = np.array([[0, 4, 4], [5, 2, 0], [6, 6, 3], [PADDING] * 3], np.int32)
    monkeypatch.setattr(following, "uniform_negatives", lambda *given: jnp.asarray(drawn))
    found = MODEL.apply(variables, BATCH, jax.random.key(0), num_targets=2, method=following.logistic)
    items = np.float64(variables["tables"]["item"]["table"])
    for n in range(3):
        sigmoid = 1 / (1 + np.exp(-(items @ by_loops(variables, n))))
        want = -np.mean(np.log(sigmoid[NEXT[n]])) - np.mean(np.log(1 - sigmoid[drawn[n]]))
        np.testing.assert_allclose(found[n], want, rtol=1e-4)


def test_a_sample_of_all_items_is_a_softmax_for_each_target(variables):
    """Over the items that are not another target of the example."""

    def every(key, model):
        return jnp.arange(model.num_items), lambda ids: jnp.zeros(ids.shape)

    found = MODEL.apply(
        variables, BATCH, jax.random.key(0), num_targets=2, sampler=every, method=following.sampled_softmax
    )
    items = np.float64(variables["tables"]["item"]["table"])
    for n in range(3):
        scores = items @ by_loops(variables, n)
        others = np.exp(scores[[i for i in range(7) if i not in NEXT[n]]]).sum()
        want = np.mean([np.log(others + np.exp(scores[i])) - scores[i] for i in NEXT[n]])
        np.testing.assert_allclose(found[n], want, rtol=1e-4)


def test_examples_are_windows_or_every_watch():
    """User 0 has 6 watches, user 1 has 2; 2 before and 2 to come."""
    user, item = np.array([0] * 6 + [1] * 2), np.array([3, 1, 4, 0, 5, 2, 6, 3])
    data = from_raw(user, item, timestamp=np.arange(8))
    split = Split(data, data)

    def spelled(examples):
        log = examples.constants["history_log"]
        columns = (examples.train[name] for name in ("history_start", "history_length", "future_length", "item"))
        return [
            (log[start : start + length].tolist(), log[start + length :][:future].tolist(), item)
            for start, length, future, item in zip(*columns, strict=True)
        ]

    windows = spelled(next_watch_examples(split, longest=2, targets=2, whole=True))
    assert windows == [([3, 1], [4, 0], 4), ([1, 4], [0, 5], 0), ([4, 0], [5, 2], 5), ([], [6, 3], 6)]
    every = spelled(next_watch_examples(split, longest=2, targets=2))
    assert len(every) == 8 and every[0] == ([], [3, 1], 3) and every[5] == ([0, 5], [2], 2)
    assert every[7] == ([6], [3], 3)
    # Without times, in the order of the file.
    plain = from_raw(user, item)
    assert spelled(next_watch_examples(Split(plain, plain), longest=2, targets=2)) == every


def test_cost_by_hand():
    """4 examples of L 3, d 2: filters of 1 and 2 rows, one each, 1 column; 2 targets and 3 negatives."""
    recipe = override(names.recipe("caser/paper")[2], {"batch_size": 4, "num_targets": 2})
    model = Caser(Spec(num_users=3, num_items=9, history_length=3), 2, horizontal=1, vertical=1, tallest=2)
    weights = 1 * 2 + 2 * 2 + 3 + (2 + 2) * 2
    products = 3 * 2 + 2 * 4 + 3 * 2 + (2 + 2) * 2
    moved = 4 * (3 * 2 + 2 + 5 * 5 + 5) + weights
    assert caser.cost(recipe, model) == (12 * moved, 6 * 4 * (products + 5 * 5))


@pytest.mark.slow
def test_it_learns_what_follows(tmp_path, capsys):
    """Two kinds of users walk round 30 items, by steps of 1 or of 7, each from a place of its own: the item after the
    last, and the one after that, must come out on top, as both were positives. Users of one and two watches are
    padded, trained on and served."""
    start, step = np.arange(120) % 30, np.where(np.arange(120) < 60, 1, 7)
    items = (start[:, None] + step[:, None] * np.arange(12)) % 30
    user = np.concatenate([np.repeat(np.arange(120), 12), [997, 998, 998]])
    data = from_raw(user, np.concatenate([items.reshape(-1), [3, 4, 5]]), timestamp=np.arange(len(user)))
    run = zoo.train("caser/smoke", data=data, split="leave_one_out", epochs=30, workdir=tmp_path / "run")
    assert run.evaluate(["hit_rate@2"])["hit_rate@2"] > 0.7 and run.record["sizes"]["empty_histories"] == 122
    assert 0.5 < run.evaluate(["map"])["map"] < 1
    ids, scores = run.recommend([997, 998], k=5)
    assert np.isfinite(scores).all() and len(set(ids[0].tolist())) == 5
    assert main(["recommend", str(run.folder), "--user", "998", "-k", "3"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_a_target_at_least(tmp_path, capsys):
    asked = ["train", "caser/smoke", "--data", "simulated:num_users=100,num_videos=50,num_watches=600"]
    assert main([*asked, "--set", "targets=0", "--workdir", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err.strip()
    assert "targets is 0" in error and "\n" not in error
