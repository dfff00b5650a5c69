"""Evaluation against loops over users in numpy."""

import time
from dataclasses import replace
from math import log, log2

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import zoo
from zoo import evaluate, names, run, tasks
from zoo.data import fields
from zoo.data.interactions import Interactions
from zoo.data.splits import Split
from zoo.errors import InputError
from zoo.evaluate import Lists
from zoo.recipe import Examples
from zoo.types import PADDING, Spec


FEW = "simulated:num_users=50,num_videos=40,num_watches=400"
NAMES = tuple(
    f"{metric}@{k}"
    for metric in ("recall", "recall_capped", "precision", "hit_rate", "mrr", "map", "ndcg")
    for k in (1, 3, 5)
)


def interactions(user, item, num_users, num_items, rating=None):
    return Interactions(
        np.asarray(user, np.int32), np.asarray(item, np.int32), rating, None, np.arange(num_users), np.arange(num_items)
    )


def random_split(num_users, num_items, seed=0, share=0.3):
    """Each pair in train, in test or in neither; the last user has nothing in test."""
    part = np.random.default_rng(seed).choice(3, size=(num_users, num_items), p=[1 - share, share * 2 / 3, share / 3])
    part[-1][part[-1] == 2] = 0
    return Split(*(interactions(*np.nonzero(part == which), num_users, num_items) for which in (1, 2)))


def items_of(part, user):
    return part.item[part.user == user].tolist()


def loop_lists(scores, users, train, k):
    """The k best unseen items of each user, best first, filled up with PADDING."""
    lists = []
    for row, user in enumerate(users):
        unseen = sorted(set(range(scores.shape[1])) - set(items_of(train, user)), key=lambda item: -scores[row, item])
        lists.append((unseen + [PADDING] * k)[:k])
    return np.array(lists)


def loop_metrics(scores, split, k_longest, names=NAMES, wanted=None):
    """Means over users of metrics written for one user; among equal scores a relevant item comes last.

    Items tied with the first that the longest list leaves out count as not listed. Of the items in `wanted` alone, if
    given.
    """
    values = {name: [] for name in names}
    for user in range(scores.shape[0]):
        relevant = set(items_of(split.test, user)) & (wanted or set(range(scores.shape[1])))
        if not relevant:
            continue
        unseen = set(range(scores.shape[1])) - set(items_of(split.train, user))
        order = sorted(unseen, key=lambda item: (-scores[user, item], item in relevant))
        beyond = scores[user, order[k_longest]] if len(order) > k_longest else -np.inf
        hits = [item in relevant and scores[user, item] > beyond for item in order]
        for name in names:
            metric, k = name.split("@")
            values[name].append(loop_metric(metric, (hits + [False] * int(k))[: int(k)], len(relevant)))
    return {name: float(np.mean(entries)) for name, entries in values.items()}


def loop_metric(metric, hits, relevant):
    places = [place for place, hit in enumerate(hits, 1) if hit]
    capped = min(len(hits), relevant)
    return {
        "recall": len(places) / relevant,
        "recall_capped": len(places) / capped,
        "precision": len(places) / len(hits),
        "hit_rate": float(bool(places)),
        "mrr": 1 / places[0] if places else 0.0,
        "map": sum((n + 1) / place for n, place in enumerate(places)) / capped,
        "ndcg": sum(1 / log2(p + 1) for p in places) / sum(1 / log2(p + 1) for p in range(1, capped + 1)),
    }[metric]


def vectors(num_users, num_items, dim=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(num_users, dim)).astype(np.float32), rng.normal(size=(num_items, dim)).astype(np.float32)


@pytest.mark.parametrize(
    ("num_users", "num_items", "k"),
    [
        (9, 127, 10),
        (9, 128, 10),
        (9, 129, 10),
        (1, 129, 10),
        (9, 300, 2),
        (9, 300, 299),
        (9, 7, 5),
        (5, 7, 20),
        (3, 1, 4),
    ],
)
def test_top_items(num_users, num_items, k):
    """Around the size of a chunk, for one user, and where a user has fewer than k items left."""
    queries, items = vectors(num_users, num_items)
    train = random_split(num_users, num_items).train
    users = np.arange(num_users)[::-1]  # query i need not belong to user i
    ids, scores = evaluate.top_items(jnp.asarray(queries), jnp.asarray(items), users, evaluate.lists_by_user(train), k)
    products = np.float64(queries) @ np.float64(items).T
    want = loop_lists(products, users, train, k)
    assert ids.tolist() == want.tolist()
    assert np.isneginf(scores[ids == PADDING]).all()
    listed = np.take_along_axis(products, np.minimum(want, num_items - 1), axis=1)
    np.testing.assert_allclose(scores[ids != PADDING], listed[ids != PADDING], rtol=1e-4, atol=1e-5)


def test_top_items_of_all():
    """Without a list of seen items nothing is left out."""
    queries, items = vectors(3, 200)
    ids, _ = evaluate.top_items(jnp.asarray(queries), jnp.asarray(items), np.arange(3), None, 200)
    assert ids.tolist() == np.argsort(-(np.float64(queries) @ np.float64(items).T), axis=1).tolist()


def test_similar_items():
    """By a loop; the third vector is zero, the last has the direction of the first and another length."""
    _, items = vectors(1, 30)
    items[2], items[-1] = 0, 5 * items[0]
    ids, cosines = evaluate.similar_items(jnp.asarray(items), np.array([0, 7], np.int32), 29)
    for row, got, scores in zip((0, 7), ids, cosines):
        others = [other for other in range(30) if other != row]
        lengths = np.maximum(np.linalg.norm(np.float64(items), axis=1), 1e-30)
        exact = {other: items[row] @ items[other] / lengths[row] / lengths[other] for other in others}
        assert got.tolist() == sorted(others, key=exact.get, reverse=True)
        np.testing.assert_allclose(scores, [exact[other] for other in got], atol=1e-5)
    assert ids[0, 0] == 29 and cosines[0, 0] == pytest.approx(1, abs=1e-5)
    ids, cosines = evaluate.similar_items(jnp.ones((2, 3)), np.array([1], np.int32), 3)
    assert ids.tolist() == [[0, PADDING, PADDING]] and np.isneginf(cosines[0, 1:]).all()


def test_a_user_who_has_seen_everything_gets_padding():
    queries, items = vectors(2, 5)
    seen = evaluate.lists_by_user(interactions([0] * 5, range(5), 2, 5))
    ids, scores = evaluate.top_items(jnp.asarray(queries), jnp.asarray(items), np.arange(2), seen, 3)
    assert ids[0].tolist() == [PADDING] * 3 and np.isneginf(scores[0]).all()
    assert (ids[1] < 5).all()


@pytest.mark.parametrize("levels", [None, 4, 2, 1], ids=["distinct", "4 levels", "2 levels", "constant"])
@pytest.mark.parametrize("num_items", [4, 30])
def test_ranking_metrics_with_ties(levels, num_items):
    """Scores of few levels are full of ties, in and across the end of the list."""
    rng = np.random.default_rng(1)
    split = random_split(40, num_items, share=0.5)
    scores = rng.random((40, num_items)) if levels is None else rng.integers(levels, size=(40, num_items))
    scores = scores.astype(np.float32)
    got = evaluate.ranking_of_vectors(np.eye(40, dtype=np.float32), scores.T, split, names=NAMES)
    want = loop_metrics(scores, split, 5)
    assert got == pytest.approx(want, abs=1e-12)
    if levels is None:
        assert min(got.values()) > 0


@pytest.mark.parametrize("num_items", [50, 129, 1000])
def test_constant_scores_earn_nothing(num_items):
    """Also where the constant comes out of a product of vectors that are not trivial."""
    split = random_split(33, num_items, share=0.1)
    queries, items = vectors(33, num_items, dim=64)
    got = evaluate.ranking_of_vectors(queries, np.repeat(items[:1], num_items, axis=0), split, names=NAMES)
    assert set(got.values()) == {0.0}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("which", ["query", "item"])
def test_nan_and_infinity_raise(which, bad):
    queries, items = vectors(3, 10)
    (queries if which == "query" else items)[1, 0] = bad
    with pytest.raises(FloatingPointError, match=f"the {which} vectors"):
        evaluate.top_items(jnp.asarray(queries), jnp.asarray(items), np.arange(3), None, 2)


def test_users_without_held_out_items_are_not_asked():
    """User 0 has the best list, users 1 and 2 have nothing to find."""
    split = Split(interactions([0, 1, 2], [1, 1, 1], 3, 4), interactions([0], [2], 3, 4))
    scores = np.array([[0, 9, 5, 1], [5, 0, 1, 2], [1, 2, 0, 5]], np.float32)
    got = evaluate.ranking_of_vectors(np.eye(3, dtype=np.float32), scores.T, split, names=("recall@1", "ndcg@2"))
    assert got == {"recall@1": 1.0, "ndcg@2": 1.0}


def test_coverage_counts_what_is_listed():
    split = Split(interactions([0, 1], [0, 0], 2, 5), interactions([0, 1], [1, 2], 2, 5))
    scores = np.array([[9, 5, 4, 1, 0], [9, 0, 5, 4, 1]], np.float32)  # lists 1 2 and 2 3
    got = evaluate.ranking_of_vectors(np.eye(2, dtype=np.float32), scores.T, split, names=("coverage@1", "coverage@2"))
    assert got == {"coverage@1": 2 / 5, "coverage@2": 3 / 5}


@pytest.mark.parametrize("levels", [None, 3], ids=["distinct", "ties"])
def test_metrics_of_a_popularity_bucket(levels):
    """Each bucket by a loop in which only its items are relevant; the buckets by a walk through all interactions."""
    rng = np.random.default_rng(2)
    split = random_split(40, 30, share=0.5)
    kept = rng.random(len(split.train)) < 0.9**split.train.item  # a few popular items, many rare ones
    split = replace(split, train=split.train.take(kept))
    counts = [split.train.item.tolist().count(item) for item in range(30)]
    walk = [item for item in sorted(range(30), key=lambda item: (-counts[item], item)) for _ in range(counts[item])]
    third = [min(3 * walk.index(item) // len(walk), 2) if item in walk else 2 for item in range(30)]
    scores = rng.random((40, 30)) if levels is None else rng.integers(levels, size=(40, 30))
    scores = scores.astype(np.float32)
    for place, bucket in enumerate(("head", "mid", "tail")):
        wanted = {item for item in range(30) if third[item] == place}
        names = [f"{name.split('@')[0]}_{bucket}@{name.split('@')[1]}" for name in NAMES]
        got = evaluate.ranking_of_vectors(np.eye(40, dtype=np.float32), scores.T, split, names=names)
        want = loop_metrics(scores, split, 5, wanted=wanted)
        assert list(got.values()) == pytest.approx(list(want.values()), abs=1e-12)
        assert levels or min(got.values()) > 0


def test_a_bucket_without_held_out_items_is_named():
    split = Split(interactions([0, 1, 1], [1, 1, 2], 2, 4), interactions([0], [1], 2, 4))
    with pytest.raises(InputError, match=r"'recall_tail@2'.*of the tail"):
        evaluate.ranking_of_vectors(np.ones((2, 1)), np.ones((4, 1)), split, names=("recall_head@2", "recall_tail@2"))


def test_popularity_of_what_is_listed():
    """User 0 gets items 3 and 2 (of no and 2 interactions), user 1 item 3 and no other."""
    split = Split(interactions([0, 0, 1, 1, 1, 1], [0, 1, 2, 0, 1, 2], 2, 4), interactions([0, 1], [2, 3], 2, 4))
    scores = np.array([[0, 0, 1, 2], [0, 0, 0, 1]], np.float32)
    got = evaluate.ranking_of_vectors(np.eye(2, dtype=np.float32), scores.T, split, names=("popularity@2",))
    assert got == {"popularity@2": pytest.approx((0 + log(2) + 0) / 3)}


def test_the_average_precision_of_whole_lists(monkeypatch):
    """Against sorted lists of all unseen items, relevant ones last among equals."""
    split, (queries, items) = random_split(31, 23, share=0.3), vectors(31, 23)
    items[5:9] = items[0]  # ties
    scores, want = queries @ items.T, []
    for user in range(31):
        had, own = (set(part.item[part.user == user].tolist()) for part in (split.train, split.test))
        if own:
            listed = sorted(set(range(23)) - had, key=lambda i: (-scores[user, i], i in own))
            places = [place for place, item in enumerate(listed, 1) if item in own]
            want.append(sum(n / place for n, place in enumerate(places, 1)) / len(own))
    for users_a_block in (1, 1000):
        monkeypatch.setattr(evaluate, "BLOCK_BYTES", users_a_block * 4 * 128)
        got = evaluate.ranking_of_vectors(queries, items, split, names=("recall@5", "map"))
        assert got["map"] == pytest.approx(np.mean(want), rel=1e-6)
    assert evaluate.ranking_of_vectors(queries, items, split, names=("map",)) == {"map": got["map"]}


@pytest.mark.slow
def test_the_size_of_blocks_does_not_matter(monkeypatch):
    split, names = random_split(101, 130, share=0.2), (*NAMES, "coverage@5")
    queries, items = vectors(101, 130, dim=32)
    items[60:70] = items[0]  # ties
    found = []
    for users_a_block in (1, 7, 64, 101, 1000):
        monkeypatch.setattr(evaluate, "BLOCK_BYTES", users_a_block * 4 * 256)
        found.append(evaluate.ranking_of_vectors(queries, items, split, names=names))
    assert all(metrics == found[0] for metrics in found)


@pytest.mark.parametrize(
    "name", ["recal@20", "recall", "recall@0", "recall@-1", "recall@x", "recall_tail", "coverage_tail@5"]
)
def test_wrong_metric_names(name):
    with pytest.raises(ValueError, match=r"(recall|coverage)@|such as"):
        evaluate.parse_name(name)


class Fixed:
    """A Scorer that answers the column `score`."""

    def apply(self, values, batch, *, method):
        return method(lambda batch: batch["score"], batch)


def rated(predicted, labels):
    n = len(predicted)
    test = interactions(range(n), [0] * n, n, 1, rating=np.array(labels, np.float32))
    examples = Examples(Spec(rating_range=(1.0, 5.0)), {}, {"score": np.array(predicted, np.float32)})
    return evaluate.ratings(Fixed(), _no_state(), examples, Split(test, test))


def _no_state():
    from zoo.types import TrainState

    return TrainState(step=0, params={}, tables={}, model_state={}, opt_state=(), row_state={}, key=0)


def test_ratings_clip_to_the_range():
    """Errors 0 (9 is read as 5), 1 (-3 as 1), 0.5 and 0."""
    got = rated([9.0, -3.0, 2.5, 4.0], [5.0, 2.0, 3.0, 4.0])
    assert got == {"rmse": pytest.approx((1.25 / 4) ** 0.5), "mae": pytest.approx(1.5 / 4)}


def test_ratings_of_nan_raise():
    with pytest.raises(FloatingPointError):
        rated([np.nan, 3.0], [5.0, 2.0])


def test_scores_in_blocks(monkeypatch):
    """More examples than a block holds, the last block filled up with padding."""
    column = np.arange(20_001, dtype=np.float32)
    got = evaluate.score(Fixed(), _no_state(), {}, {"score": column})
    assert np.array_equal(got, column)


@pytest.mark.parametrize("recipe", ["mf/smoke", pytest.param("mf/rating", marks=pytest.mark.slow)])
def test_an_evaluation_compiles_once(recipe, caplog):
    """However often a model is judged, and in a second run of an equal model: as --validate does every epoch."""
    job = names.job(
        names.Request(recipe, "simulated:num_users=50,num_videos=40,num_watches=400", settings={"epochs": 1})
    )

    def judged(seed):
        prepared = run.prepare(replace(job, seed=seed))
        state = prepared.initial()
        return lambda: job.recipe.evaluate(prepared.model, state, prepared.examples, prepared.split)

    one, other = judged(0), judged(1)
    first = one()
    with jax.log_compiles():
        assert one() == first != other()
    assert not [line for line in caplog.messages if "ompiling" in line or "racing" in line]


@pytest.mark.slow
def test_a_validated_run_traces_its_evaluation_once(tmp_path, monkeypatch):
    traces, ask = [], evaluate._ask_query

    def counted(bound, batch, prepared):
        traces.append(bound)
        return ask(bound, batch, prepared)

    monkeypatch.setattr(evaluate, "_ask_query", counted)
    record = zoo.train("mf/smoke", data=FEW, validate=True, epochs=4, patience=4, workdir=tmp_path / "run").record
    assert record["training"]["epochs"] == 4 and len(traces) == 1


def test_lists_by_user():
    lists = evaluate.lists_by_user(interactions([2, 0, 2, 2], [1, 3, 4, 0], 4, 5))
    assert isinstance(lists, Lists)
    assert lists.offsets.tolist() == [0, 1, 1, 4, 4]
    assert lists.items.tolist() == [3, 0, 1, 4]


def timed(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


@pytest.mark.slow
def test_gowalla(zoo_data):
    """Random vectors: the metrics of a plain loop over 2,000 users; all users within 6 s once compiled."""
    from zoo.data import catalog, splits

    split = splits.published(catalog.load("gowalla"), 0)
    queries, items = vectors(split.train.num_users, split.train.num_items, dim=64)
    seen, relevant = evaluate.lists_by_user(split.train), evaluate.lists_by_user(split.test)

    few = np.flatnonzero(np.diff(relevant.offsets))[:2000]
    recalls, ndcgs = [], []
    for user in few:
        scores = items @ queries[user]
        scores[seen.items[seen.offsets[user] : seen.offsets[user + 1]]] = -np.inf
        wanted = set(relevant.items[relevant.offsets[user] : relevant.offsets[user + 1]].tolist())
        hits = [item in wanted for item in np.argsort(-scores)[:20].tolist()]
        recalls.append(loop_metric("recall", hits, len(wanted)))
        ndcgs.append(loop_metric("ndcg", hits, len(wanted)))
    assert max(recalls) > 0
    held = np.isin(split.test.user, few)
    part = replace(split, test=split.test.take(held))
    got = evaluate.ranking_of_vectors(queries, items, part, names=("recall@20", "ndcg@20"))
    assert got["recall@20"] == pytest.approx(np.mean(recalls), rel=1e-9)
    assert got["ndcg@20"] == pytest.approx(np.mean(ndcgs), rel=1e-9)

    evaluate.ranking_of_vectors(queries, items, split)
    seconds = min(timed(lambda: evaluate.ranking_of_vectors(queries, items, split)) for _ in range(3))
    print(f"gowalla, {split.train.num_users} users x {split.train.num_items} items: {seconds:.2f} s")
    assert seconds < 6


@pytest.mark.parametrize("label", [0, 1])
def test_clicks_of_a_test_part_of_one_class_are_refused(label):
    """Train may have both: it is the held-out part whose AUC is undefined, and this is said, not 0 or NaN."""
    test = fields.from_raw({"color": np.array(["red", "blue"])}, np.full(2, label))
    with pytest.raises(InputError, match=f"undefined: all labels are {label}"):
        evaluate.click_metrics(np.array([0.1, -0.2]), test)
    found = evaluate.click_metrics(np.array([0.1, -0.2]), test, ("log_loss",))
    assert 0 < found["log_loss"] < 1


def test_popularity_is_the_count_of_training_rows():
    split = random_split(40, 30, share=0.5)
    counts = [split.train.item.tolist().count(item) for item in range(30)]
    order = sorted(range(30), key=lambda item: (-counts[item], item))
    scores = np.tile([-float(order.index(item)) for item in range(30)], (40, 1))
    assert tasks.ranking_baselines(split, names=NAMES)["popularity"] == pytest.approx(loop_metrics(scores, split, 5))
