"""Likeness of videos against a dense factorisation and a loop; nothing after a moment enters it."""

from dataclasses import replace

import numpy as np
import pytest

from zoo.data import likeness
from zoo.data.simulate import simulate


@pytest.fixture(scope="module")
def log():
    return simulate(num_users=60, num_videos=40, num_watches=400)


def test_the_factors_are_those_of_a_dense_factorisation(log):
    fitted = likeness.fit(log, log.timestamp)[-1]
    matrix = np.zeros((60, 40))
    matrix[log.user, log.item] = 1
    users, videos = (np.maximum(matrix.sum(axis), 1) for axis in (1, 0))
    right = np.linalg.svd(matrix / np.sqrt(users[:, None] * videos))[2]
    leading = right[:2].T / np.sqrt(videos)[:, None]  # which the sweeps tell from the rest
    held = fitted.vectors @ np.linalg.lstsq(fitted.vectors, leading, rcond=None)[0]
    np.testing.assert_allclose(held, np.where(fitted.watched[:, None] > 0, leading, 0), atol=0.02)
    np.testing.assert_array_equal(fitted.watched, np.bincount(log.item, minlength=40))
    assert not fitted.vectors[fitted.watched == 0].any()


def test_likeness_is_a_loop_over_what_was_watched_before(log):
    factors = likeness.fit(log, log.timestamp)
    rng = np.random.default_rng(0)
    user, item = rng.integers(0, 60, 50), rng.integers(0, 40, 50)
    time = rng.integers(log.timestamp.min(), log.timestamp.max(), 50)
    alike, watched = likeness.measured(log, user, item, time, factors)
    for n in range(50):
        past = log.item[(log.user == user[n]) & (log.timestamp < time[n])]
        fitted = [f for f in factors if f.since <= time[n]][-1:] or [factors[0]]
        vectors = fitted[0].vectors
        want = vectors[past].mean(0) @ vectors[item[n]] if len(past) else 0
        assert alike[n] == pytest.approx(want, abs=1e-6) and watched[n] == fitted[0].watched[item[n]]


def test_the_future_does_not_enter(log):
    """What was watched after a moment changes no fit before it."""
    half = int(np.median(log.timestamp))
    factors = likeness.fit(log, log.timestamp)
    item = np.where(log.timestamp >= half, 0, log.item).astype(np.int32)
    for one, other in zip(factors, likeness.fit(replace(log, item=item), log.timestamp), strict=True):
        if one.since <= half:
            np.testing.assert_array_equal(one.vectors, other.vectors)
