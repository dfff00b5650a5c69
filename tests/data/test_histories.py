"""Ranges of the log against the histories that a loop over a user's watches finds."""

import numpy as np
import pytest

from zoo.data import histories
from zoo.data.interactions import from_raw


@pytest.fixture
def log():
    """Two hundred watches of 12 users, one of whom has a single watch; times repeat and are in no order."""
    rng = np.random.default_rng(0)
    user = np.append(rng.integers(0, 11, 199), 50)
    return from_raw(user, rng.integers(0, 40, 200), timestamp=rng.integers(0, 60, 200))


def bag(found, ranges, n):
    return found.log[ranges.start[n] : ranges.start[n] + ranges.length[n]].tolist()


def test_before_rolls_history_back(log):
    found = histories.before(log, 7)
    assert sorted(found.rows) == list(range(200))
    for n, row in enumerate(found.rows):
        own = np.flatnonzero(log.user == log.user[row])
        earlier = [r for r in own if (log.timestamp[r], r) < (log.timestamp[row], row)]
        earlier.sort(key=lambda r: (log.timestamp[r], r))
        assert bag(found, found.examples, n) == log.item[earlier[-7:]].tolist()
    for user in range(log.num_users):
        own = sorted(np.flatnonzero(log.user == user), key=lambda r: (log.timestamp[r], r))
        assert bag(found, found.queries, user) == log.item[own[-7:]].tolist()


@pytest.mark.parametrize("longest", [7, 500])
def test_others_are_all_but_the_label(log, longest):
    found = histories.others(log, longest)
    assert sorted(found.rows) == list(range(200)) and len(found.log) == 400
    for n, row in enumerate(found.rows):
        left = sorted(log.item[(log.user == log.user[row]) & (np.arange(200) != row)].tolist())
        held = bag(found, found.examples, n)
        assert len(held) == min(longest, len(left))
        assert set(held) <= set(left)
        if longest == 500:
            assert sorted(held) == left
    for user in range(log.num_users):
        own, held = log.item[log.user == user].tolist(), bag(found, found.queries, user)
        assert len(held) == min(longest, len(own)) and set(held) <= set(own)


def test_a_user_without_watches_has_an_empty_history(log):
    part = log.take(log.user != 3)
    for found in (histories.before(part, 5), histories.others(part, 5)):
        assert found.queries.length[3] == 0 and (np.delete(found.queries.length, 3) > 0).all()


def test_a_fixed_number_of_examples_a_user(log):
    chosen = histories.fixed_number(log.user, 9)
    assert len(chosen) == 9 * log.num_users
    for user in range(log.num_users):
        own, count = np.flatnonzero(log.user == user), np.bincount(chosen, minlength=200)[log.user == user]
        assert count.sum() == 9
        assert count.max() - count.min() <= 1 if len(own) <= 9 else count.max() == 1
