"""YouTube's candidates against their equations, and lists for those of whom nothing is known."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import zoo
from zoo import negatives, objectives
from zoo.__main__ import main
from zoo.data.interactions import from_raw
from zoo.models.youtube_candidates import TiedCandidates, YouTubeCandidates, layers
from zoo.types import PADDING, Spec


SPEC = Spec(num_users=5, num_items=6, history_length=3)
LOG = np.array([2, 5, 0, 3, 3, 1], np.int32)
CONSTANTS = {
    "history_log": jnp.asarray(LOG),
    "item_log_frequency": jnp.log(jnp.array([0.3, 0.05, 0.25, 0.1, 0.2, 0.1])),
}
# The third has an empty history, which begins at the log's end; the last is padding.
BATCH = {
    "user": jnp.array([0, 1, 2, PADDING], jnp.int32),
    "item": jnp.array([1, 4, 0, PADDING], jnp.int32),
    "history_start": jnp.array([0, 4, 6, PADDING], jnp.int32),
    "history_length": jnp.array([3, 2, 0, PADDING], jnp.int32),
    "mask": jnp.array([1.0, 1.0, 1.0, 0.0]),
}
BAGS = [[2, 5, 0], [3, 1], []]
MODELS = [TiedCandidates(SPEC, 4), *(YouTubeCandidates(SPEC, 4, depth) for depth in (0, 1, 2))]


def shaken(model, batch=BATCH, constants=CONSTANTS):
    """Variables with every number drawn anew."""
    objective = objectives.full_softmax

    def all_of(bound, batch):
        for name, value in constants.items():
            bound.put_variable("constants", name, value)
        return objective(bound, batch, jax.random.key(0))

    held = dict(model.init(jax.random.key(0), batch, method=all_of))
    rng = np.random.default_rng(0)
    fresh = {
        name: jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), jnp.float32), held.get(name, {}))
        for name in ("params", "tables")
    }
    return {**fresh, "constants": constants}


@pytest.mark.parametrize("model", MODELS, ids=["tied", "linear", "depth 1", "depth 2"])
def test_query_is_the_tower_of_the_mean(model):
    variables = shaken(model)
    tables, params = variables["tables"], variables["params"]
    table = np.float64(tables["video" if isinstance(model, TiedCandidates) else "watched"]["table"])
    found = model.apply(variables, BATCH, (), method="query")
    for n, bag in enumerate(BAGS):
        x = table[bag].mean(0) if bag else np.zeros(4)
        if isinstance(model, TiedCandidates):
            x = x + np.float64(params["nobody"])
        else:
            linear = [params["linear"]] if model.depth == 0 else []
            for layer in [*linear, *(params["tower"][f"Dense_{i}"] for i in range(model.depth))]:
                x = x @ np.float64(layer["kernel"]) + np.float64(layer["bias"])
                x = x if model.depth == 0 else np.maximum(x, 0)
        np.testing.assert_allclose(found[n], x, rtol=1e-4, atol=1e-5)
    videos = model.apply(variables, jnp.array([5, 0]), (), method="item_vectors")
    np.testing.assert_array_equal(videos, tables["video"]["table"][np.array([5, 0])])


def test_query_reads_all_that_the_data_has():
    """Watches, searches, an embedded category each, numbers: concatenated in this order. -1 is an unknown category."""
    spec = replace(SPEC, field_sizes=(3, 2), num_numbers=2, num_tokens=5, search_length=2)
    codes, numbers = np.array([[0, 1], [2, -1], [1, 0]]), np.array([[0.5, 0.1], [0.0, 0.9], [1.0, 0.0]], np.float32)
    searched = [[4, 1], [3], []]
    batch = {name: column[:3] for name, column in BATCH.items()} | {
        "codes": jnp.asarray(codes, jnp.int32),
        "numbers": jnp.asarray(numbers),
        "search_start": jnp.array([0, 2, 3], jnp.int32),
        "search_length": jnp.array([2, 1, 0], jnp.int32),
    }
    constants = {**CONSTANTS, "search_log": jnp.array([4, 1, 3], jnp.int32)}
    model = YouTubeCandidates(spec, 4, depth=0, category_dim=3)
    variables = shaken(model, batch, constants)
    tables = {name: np.float64(table["table"]) for name, table in variables["tables"].items()}
    linear = variables["params"]["linear"]
    found = model.apply(variables, batch, (), method="query")
    for n in range(3):
        means = [
            t[b].mean(0) if b else np.zeros(4)
            for t, b in ((tables["watched"], BAGS[n]), (tables["token_0"], searched[n]))
        ]
        known = [tables[f"category_{f}"][c] if c >= 0 else np.zeros(3) for f, c in enumerate(codes[n])]
        x = np.concatenate([*means, *known, numbers[n]])
        np.testing.assert_allclose(found[n], x @ np.float64(linear["kernel"]) + np.float64(linear["bias"]), rtol=1e-4)


def test_layers_are_those_of_the_paper():
    assert layers(4, 256) == (2048, 1024, 512, 256) and layers(0, 256) == ()


def every(key, model):
    """All videos, once each."""
    return jnp.arange(model.num_items), lambda ids: jnp.zeros(ids.shape)


@pytest.mark.parametrize("model", MODELS, ids=["tied", "linear", "depth 1", "depth 2"])
def test_a_sample_of_all_videos_is_the_full_softmax(model):
    """Losses, and the gradients of every weight."""
    variables = shaken(model)

    def loss(params, objective):
        losses = model.apply({**variables, "params": params}, BATCH, jax.random.key(0), method=objective)
        return jnp.sum(losses * BATCH["mask"]), losses

    sampled = partial(objectives.sampled_softmax, sampler=every)
    (_, one), one_gradient = jax.value_and_grad(loss, has_aux=True)(variables["params"], sampled)
    (_, two), two_gradient = jax.value_and_grad(loss, has_aux=True)(variables["params"], objectives.full_softmax)
    np.testing.assert_allclose(one[:3], two[:3], rtol=1e-5)
    for a, b in zip(jax.tree.leaves(one_gradient), jax.tree.leaves(two_gradient), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_the_logq_correction_undoes_the_sampling():
    """With many draws, popularity negatives give the losses of the full softmax; without the correction others."""
    model = MODELS[0]
    variables = shaken(model)

    def losses(objective):
        return np.asarray(model.apply(variables, BATCH, jax.random.key(1), method=objective))[:3]

    sample = partial(objectives.sampled_softmax, sampler=partial(negatives.popularity, count=200_000))

    full, corrected = losses(objectives.full_softmax), losses(sample)
    np.testing.assert_allclose(corrected, full, atol=0.03)
    assert np.abs(losses(partial(sample, correct=False)) - full).max() > 1


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """User 99 has watched nothing in the training part; item 0 is the most popular."""
    rng = np.random.default_rng(0)
    user, item = rng.integers(0, 40, 1200), np.minimum(rng.geometric(0.1, 1200) - 1, 24)
    time = rng.permutation(1200)
    part = np.where(rng.random(1200) < 0.1, 2, 0).astype(np.int8)
    data = from_raw(np.append(user, 99), np.append(item, 24), None, np.append(time, 0), np.append(part, np.int8(2)))
    folder = tmp_path_factory.mktemp("youtube") / "run"
    return zoo.train("youtube_candidates/tied", data=data, batch_size=128, epochs=8, workdir=folder)


def test_an_empty_history_gets_popular_videos(run, capsys):
    assert main(["recommend", str(run.folder), "--user", "99", "-k", "5"]) == 0
    listed = [int(line.split("\t")[0]) for line in capsys.readouterr().out.splitlines()]
    assert len(set(listed)) == 5
    counts = run.prepared.split.train.item_counts
    assert counts[listed].mean() > 1.4 * counts.mean()


def test_a_strangers_history_is_asked_as_a_users_own(run):
    """Items of the history alone are left out; those that the user has held out are listed, with their scores."""
    train, test = run.prepared.split.train, run.prepared.split.test
    rows = [np.flatnonzero(train.user == user) for user in (3, 17)]
    past = [train.item_ids[train.item[own[np.argsort(train.timestamp[own])]]] for own in rows]
    ids, scores = run.recommend_after(past, k=25)
    known, known_scores = run.recommend([3, 17], k=25)
    for row, user in enumerate((3, 17)):
        found = dict(zip(ids[row][np.isfinite(scores[row])].tolist(), scores[row].tolist()))
        want = dict(zip(known[row][np.isfinite(known_scores[row])].tolist(), known_scores[row].tolist()))
        held = set(test.item_ids[test.item[test.user == user]].tolist()) - set(past[row].tolist())
        assert found.keys() == want.keys() | held and not found.keys() & set(past[row].tolist())
        assert {item: found[item] for item in want} == pytest.approx(want, abs=1e-5)
    again, _ = run.recommend_after(past, k=25, again=True)
    assert set(again[0].tolist()) == set(range(25))


def test_an_unknown_user_is_named(run, capsys):
    assert main(["recommend", str(run.folder), "--user", "1234"]) == 2
    error = capsys.readouterr().err.strip()
    assert "unknown user 1234" in error and "\n" not in error


def test_times_out_of_order_are_sorted_and_counted(run):
    sizes = run.record["sizes"]
    assert sizes["times_out_of_order"] > 100 and sizes["empty_histories"] == 40


@pytest.mark.slow
def test_all_features_of_the_simulated_site(tmp_path):
    """Every table and weight learns, and the file of the run holds what lists need."""
    settings = {"epochs": 1, "per_user": 5, "longest": 5, "longest_searches": 4, "embedding_dim": 8, "batch_size": 256}
    data = "simulated:num_users=100,num_videos=50,num_watches=600"
    run = zoo.train("youtube_candidates/ranking", data=data, workdir=tmp_path / "run", **settings)
    spec = run.prepared.model.spec
    assert spec.field_sizes == (6, 3) and spec.num_numbers == 4 and spec.num_tokens > 1000
    first = run.prepared.initial()
    for part in ("params", "tables"):
        for before, after in zip(*(jax.tree.leaves(getattr(state, part)) for state in (first, run.state)), strict=True):
            assert not np.array_equal(before, after)
    ids, scores = run.recommend([1, 2], k=5)
    again = zoo.load(tmp_path / "run").recommend([1, 2], k=5)
    np.testing.assert_array_equal(ids, again[0])
    np.testing.assert_array_equal(scores, again[1])


def test_no_room_for_a_history(tmp_path, capsys):
    asked = ["train", "youtube_candidates/smoke", "--data", "simulated:num_users=100,num_videos=50,num_watches=600"]
    assert main([*asked, "--set", "examples.longest=0", "--workdir", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err.strip()
    assert "longest is 0" in error and "\n" not in error
