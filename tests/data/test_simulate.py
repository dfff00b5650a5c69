"""The simulated world keeps its promises, and its oracle is the best ranking.

`python -m tests.data.test_simulate 0 1 2 3 4` prints the table of decision record 0002 for these world seeds.
"""

import dataclasses
import sys
import time

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import svds

from zoo.data import simulate as world
from zoo.data.simulate import mood_probabilities, simulate, world_rows
from zoo.errors import InputError


def hold_out(data, seed, share=0.2):
    """bool [n]: a random `share` of each user's watches."""
    order = np.lexsort((np.random.default_rng(seed).random(len(data)), data.user))
    count = np.bincount(data.user, minlength=data.num_users)
    position = np.arange(len(data)) - np.repeat(np.cumsum(count) - count, count)
    test = np.zeros(len(data), bool)
    test[order] = position < np.rint(share * count)[data.user[order]]
    return test


def recall_at_10(data, test, scores):
    """Mean over users with held-out items of hits among the 10 best unseen items / number of held-out items."""
    scores = np.broadcast_to(scores, (data.num_users, data.num_items)).astype(np.float32)
    scores[data.user[~test], data.item[~test]] = -np.inf
    relevant = np.zeros(scores.shape, bool)
    relevant[data.user[test], data.item[test]] = True
    hits = np.take_along_axis(relevant, np.argpartition(-scores, 10, axis=1)[:, :10], axis=1).sum(axis=1)
    return (hits / np.maximum(relevant.sum(axis=1), 1))[relevant.any(axis=1)].mean()


def ials_scores(seen, dim=64, unobserved_weight=0.1, regularization=0.02, sweeps=4):
    """Implicit ALS (Hu et al. 2008), regularised by frequency (Rendle et al. 2022)."""
    items = np.random.default_rng(0).normal(0, 0.1 / np.sqrt(dim), (seen.shape[1], dim))

    def solve(rows, other):
        gram, out = unobserved_weight * other.T @ other, np.zeros((rows.shape[0], dim))
        for r in range(rows.shape[0]):
            chosen = other[rows.indices[rows.indptr[r] : rows.indptr[r + 1]]]
            ridge = regularization * (len(chosen) + unobserved_weight * len(other))
            out[r] = np.linalg.solve(gram + chosen.T @ chosen + ridge * np.eye(dim), chosen.sum(axis=0))
        return out

    for _ in range(sweeps):
        users = solve(seen, items)
        items = solve(seen.T.tocsr(), users)
    return users @ items.T


def clairvoyant_scores(data):
    """Knows the day as well as the mood of each session; more than any model of (user, item) pairs can find out."""
    truth = data.truth
    _, first = np.unique(truth.session, return_index=True)
    day = np.minimum((data.timestamp[first] - world.OPENING) // world.DAY_SECONDS, world.NUM_DAYS - 1)
    shape = (data.num_users, world.NUM_DAYS * world.NUM_MOODS)
    cell = (data.user[first], day * world.NUM_MOODS + truth.mood[first])
    missed = np.concatenate([world._missed(p) for p in world._days(truth.videos)])
    return csr_matrix((np.ones(len(first)), cell), shape) @ -np.log(missed)


def measure(seed):
    """recall@10 on the default world of `seed`, held-out watches drawn by `seed`."""
    data = simulate(seed=seed)
    truth, test = data.truth, hold_out(data, seed)
    users, items = truth.oracle_vectors
    seen = csr_matrix((np.ones((~test).sum()), (data.user[~test], data.item[~test])), (data.num_users, data.num_items))
    u, s, v = svds(seen, k=world.NUM_MOODS, random_state=0)
    noise = np.random.default_rng(seed)
    scores = {
        "popularity": np.asarray(seen.sum(axis=0)),
        "svd": (u * s) @ v,
        "ials": ials_scores(seen),
        "tastes": truth.users.moods @ items.T,
        "noisy_users": (users * np.exp(noise.normal(0, 0.3, users.shape))) @ items.T,
        "noisy_items": users @ (items * np.exp(noise.normal(0, 0.3, items.shape))).T,
        "oracle": users @ items.T,
        "clairvoyant": clairvoyant_scores(data),
    }
    return {name: float(recall_at_10(data, test, s)) for name, s in scores.items()}


@pytest.fixture(scope="module")
def default():
    return simulate()


@pytest.fixture(scope="module", params=[0, pytest.param(1, marks=pytest.mark.slow)])
def recalls(request):
    return measure(request.param)


def test_bands(recalls):
    assert 0.15 <= recalls["oracle"] <= 0.6
    assert 0.10 <= recalls["popularity"] / recalls["oracle"] <= 0.35


def test_is_learnable_from_the_training_watches(recalls):
    assert recalls["ials"] >= 0.8 * recalls["oracle"]
    assert recalls["ials"] > 2 * recalls["popularity"]


def test_oracle_is_an_upper_bound(recalls):
    assert recalls["oracle"] == max(v for name, v in recalls.items() if name != "clairvoyant")


def test_days_of_the_sessions_would_add_little(recalls):
    assert recalls["oracle"] <= recalls["clairvoyant"] <= 1.08 * recalls["oracle"]


def test_oracle_gives_the_frequencies_of_a_world_drawn_many_times():
    # Copies of five users with the same sessions are independent draws of one world.
    copies, rng = 10_000, np.random.default_rng(0)
    videos = world._make_videos(rng, 30, rng.permutation(world.NUM_MOODS) % 4)
    missed = sum(world._missed(p) for p in world._days(videos)) / world.NUM_DAYS
    sessions = rng.multinomial(6, rng.dirichlet(np.full(world.NUM_MOODS, 0.3), 5))
    users = world._make_users(rng, 5 * copies, np.zeros(world.NUM_MOODS, int))
    log = world._draw_watches(rng, users, videos, np.repeat(sessions, copies, axis=0))
    pairs = np.unique(log["user"].astype(np.int64) * 30 + log["item"])
    frequency = np.bincount(pairs // 30 // copies * 30 + pairs % 30, minlength=150) / copies
    probability = 1 - np.exp(sessions @ np.log(missed)).ravel()
    possible = probability * copies > 10
    deviation = (frequency - probability) / np.sqrt(probability * (1 - probability) / copies)
    assert possible.sum() > 100
    assert np.abs(deviation[possible]).max() < 4.5
    assert 0.7 < np.mean(deviation[possible] ** 2) < 1.3


def test_oracle_probabilities_hold_after_merging_and_trimming():
    data = simulate(20_000, 40, 100_000, seed=3)
    users, items = data.truth.oracle_vectors
    probability = -np.expm1(-users @ items.T)
    probability *= len(data) / probability.sum()
    watched = np.zeros(probability.shape)
    watched[data.user, data.item] = 1
    order = np.argsort(probability, axis=None)
    for tenth in np.array_split(order, 10):
        expected = probability.ravel()[tenth].sum()
        assert abs(watched.ravel()[tenth].sum() - expected) < 4 * np.sqrt(expected) + 1


def test_the_same_seed_gives_the_same_world():
    first, again, other = simulate(200, 100, 2_000, 5), simulate(200, 100, 2_000, 5), simulate(200, 100, 2_000, 6)
    for name in ("user", "item", "rating", "timestamp"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    np.testing.assert_array_equal(first.truth.watch_seconds, again.truth.watch_seconds)
    np.testing.assert_array_equal(first.truth.oracle_vectors[1], again.truth.oracle_vectors[1])
    assert not np.array_equal(first.item, other.item)


def test_columns(default):
    truth, n = default.truth, 300_000
    assert len(default) == n and default.num_users == 5_000 and default.num_items == 2_000
    assert default.user.dtype == default.item.dtype == np.int32 and default.timestamp.dtype == np.int64
    assert default.user_ids[0] == default.item_ids[0] == 1
    assert set(np.unique(default.rating)) == {1, 2, 3, 4, 5} and default.rating.dtype == np.float32
    assert all(len(column) == n for column in (truth.session, truth.mood, truth.watch_seconds))
    assert np.all(np.diff(default.timestamp) >= 0)
    np.testing.assert_allclose(truth.users.moods.sum(axis=1), 1)
    users, items = truth.oracle_vectors
    assert users.dtype == items.dtype == np.float32 and len(users) == 5_000 and len(items) == 2_000
    assert np.isfinite(items).all()


def test_no_watch_before_the_upload(default):
    assert np.all(default.timestamp > default.truth.videos.upload_time[default.item])
    assert np.all(default.timestamp >= world.OPENING)


def test_nobody_watches_a_video_twice(default):
    assert len(np.unique(default.user.astype(np.int64) * default.num_items + default.item)) == len(default)


def test_watch_seconds_are_within_the_video_and_rise_with_the_taste(default):
    truth, length = default.truth, default.truth.videos.length_seconds[default.item]
    assert np.all((truth.watch_seconds >= 0) & (truth.watch_seconds <= length))
    match = np.einsum("nk,kn->n", truth.users.moods[default.user], truth.videos.affinity[:, default.item])
    assert np.corrcoef(match, truth.watch_seconds / length)[0, 1] > 0.3
    assert np.corrcoef(match, default.rating)[0, 1] > 0.3


def test_a_session_has_one_user_one_mood_and_does_not_overlap_itself(default):
    truth = default.truth
    order = np.lexsort((default.timestamp, truth.session))
    session, user, mood = truth.session[order], default.user[order], truth.mood[order]
    within = session[1:] == session[:-1]
    assert np.all(user[1:][within] == user[:-1][within]) and np.all(mood[1:][within] == mood[:-1][within])
    pause = np.diff(default.timestamp[order]) - truth.watch_seconds[order][:-1]
    assert pause[within].min() >= world.PAUSE_SECONDS


def test_sessions_drift(default):
    """The next watch shares its topic far more often within a session than from one session to the next."""
    order = np.lexsort((default.timestamp, default.user))
    user, session = default.user[order], default.truth.session[order]
    topic = default.truth.videos.topic[default.item[order]]
    same_user, same_session = user[1:] == user[:-1], session[1:] == session[:-1]
    same_topic = topic[1:] == topic[:-1]
    assert same_topic[same_session].mean() > 1.4 * same_topic[same_user & ~same_session].mean()


def test_a_fresh_video_rises_and_falls(default):
    videos = default.truth.videos
    chosen = np.argmin(np.abs(videos.upload_time - world.OPENING - 10 * world.DAY_SECONDS))
    after = [
        mood_probabilities(videos, int(videos.upload_time[chosen] + days * world.DAY_SECONDS))[:, chosen].mean()
        for days in (-1, 1.5, 4, 80)
    ]
    assert after[0] == 0 and after[1] < after[2] and after[3] < 0.6 * after[2]


def test_popularity_is_skewed(default):
    counts = np.sort(np.bincount(default.item, minlength=default.num_items))[::-1]
    assert 0.3 < counts[:200].sum() / len(default) < 0.6


def test_truth_follows_a_part_of_the_world(default):
    index = np.random.default_rng(0).permutation(len(default))[:1000]
    part = default.take(index)
    assert part.truth is default.truth
    np.testing.assert_array_equal(world_rows(part), index)


def test_truth_is_frozen(default):
    with pytest.raises(dataclasses.FrozenInstanceError):
        default.truth.mood = None


@pytest.mark.parametrize("sizes", [(0, 100, 10), (10, 1, 10), (10, 100, 0), (-5, 100, 10)])
def test_too_small_a_world_is_an_input_error(sizes):
    with pytest.raises(InputError, match="needs at least 1 user, 2 videos and 1 watch") as error:
        simulate(*sizes)
    assert "\n" not in str(error.value)


def test_more_watches_than_fit_is_an_input_error():
    with pytest.raises(InputError, match=r"1001 watches of 10 users x 100 videos.*at most 200") as error:
        simulate(10, 100, 1001)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("sizes", [(1, 5, 1), (5, 2, 2), (10, 100, 200), (3, 1000, 600), (2_000, 30, 50)])
def test_any_size_gives_the_number_of_watches_asked_for(sizes):
    data = simulate(*sizes)
    assert (data.num_users, data.num_items, len(data)) == sizes


def test_time_is_linear_in_watches():
    def seconds_per_watch(num_watches):
        start = time.perf_counter()
        simulate(20_000, 1_000, num_watches)
        return (time.perf_counter() - start) / num_watches

    assert min(seconds_per_watch(800_000) for _ in range(2)) < 3 * seconds_per_watch(100_000)


if __name__ == "__main__":
    shares = ("popularity", "svd", "ials", "tastes", "clairvoyant")
    print("| seed | oracle | " + " | ".join(f"{name} / oracle" for name in shares) + " |\n" + "|---" * 7 + "|")
    for seed in map(int, sys.argv[1:]):
        found = measure(seed)
        row = [f"{found['oracle']:.4f}", *(f"{found[name] / found['oracle']:.3f}" for name in shares)]
        print(f"| {seed} | " + " | ".join(row) + " |")
