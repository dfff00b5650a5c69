import numpy as np
import pytest

from zoo.data import splits
from zoo.data.interactions import from_raw
from zoo.errors import InputError


RULES = {
    "random": splits.random,
    "per_user": splits.per_user,
    "per_user_temporal": splits.per_user_temporal,
    "leave_one_out": splits.leave_one_out,
    "temporal": splits.temporal,
    "latest_users": splits.latest_users,
    "published": splits.published,
}


def world(n=500, num_users=60, seed=0):
    """Users of very different activity, many ties in time; the rating is the row's number, so that rows can be told."""
    rng = np.random.default_rng(seed)
    user = (num_users * rng.random(n) ** 3).astype(int)
    return from_raw(
        user, rng.integers(0, 30, n), np.arange(n), rng.integers(0, 40, n), part=rng.integers(0, 3, n).astype(np.int8)
    )


def numbers(interactions):
    return interactions.rating.astype(int).tolist()


def rows_by_user(data):
    return {user: np.flatnonzero(data.user == user).tolist() for user in np.unique(data.user)}


@pytest.mark.parametrize("name", RULES)
def test_two_parts_in_file_order_with_all_ids(name):
    data = world()
    split = RULES[name](data, 3)
    train, test = numbers(split.train), numbers(split.test)
    assert train == sorted(train) and test == sorted(test)
    valid = numbers(split.valid) if split.valid is not None else []
    assert sorted(train + test + valid) == list(range(len(data)))
    for part in (split.train, split.test):
        assert (part.user_ids == data.user_ids).all() and (part.item_ids == data.item_ids).all()
        assert (part.user == data.user[numbers(part)]).all()


@pytest.mark.parametrize("name", RULES)
def test_a_seed_decides(name):
    data = world()
    again = numbers(RULES[name](data, 3).test)
    assert numbers(RULES[name](data, 3).test) == again
    assert (numbers(RULES[name](data, 4).test) != again) == (name in ("random", "per_user"))


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.9])
def test_random_holds_out_the_fraction(fraction):
    assert len(splits.random(world(), 0, fraction=fraction).test) == round(fraction * 500)


def test_random_draws_uniformly():
    data = world(n=50)
    drawn = np.zeros(50)
    for seed in range(2000):
        drawn[numbers(splits.random(data, seed, fraction=0.2).test)] += 1
    assert np.abs(drawn / 2000 - 0.2).max() < 5 * np.sqrt(0.2 * 0.8 / 2000)


@pytest.mark.parametrize("fraction", [0.2, 0.5, 0.95])
def test_per_user_holds_out_the_fraction_of_each(fraction):
    data = world()
    split = splits.per_user(data, 0, fraction=fraction)
    for user, rows in rows_by_user(data).items():
        held = int((split.test.user == user).sum())
        assert held == min(int(fraction * len(rows) + 0.5), len(rows) - 1)


def test_per_user_draws_uniformly():
    data = from_raw(np.zeros(10, int), np.arange(10), np.arange(10))
    drawn = np.zeros(10)
    for seed in range(2000):
        drawn[numbers(splits.per_user(data, seed, fraction=0.3).test)] += 1
    assert np.abs(drawn / 2000 - 0.3).max() < 5 * np.sqrt(0.3 * 0.7 / 2000)


@pytest.mark.parametrize("fraction", [0.2, 0.5])
def test_per_user_temporal_against_a_loop(fraction):
    data = world()
    expected = []
    for rows in rows_by_user(data).values():
        held = min(int(fraction * len(rows) + 0.5), len(rows) - 1)
        expected += sorted(rows, key=lambda row: (data.timestamp[row], row))[len(rows) - held :]
    assert numbers(splits.per_user_temporal(data, 0, fraction=fraction).test) == sorted(expected)


@pytest.mark.parametrize("min_interactions", [2, 5])
def test_leave_one_out_against_a_loop(min_interactions):
    data = world()
    expected = [
        max(rows, key=lambda row: (data.timestamp[row], row))
        for rows in rows_by_user(data).values()
        if len(rows) >= min_interactions
    ]
    split = splits.leave_one_out(data, 0, min_interactions=min_interactions)
    assert numbers(split.test) == sorted(expected)


@pytest.mark.parametrize("fraction", [0.001, 0.2, 0.7])
def test_temporal_cuts_at_a_moment(fraction):
    data = world()
    split = splits.temporal(data, 0, fraction=fraction)
    assert split.train.timestamp.max() < split.test.timestamp.min()
    later = (split.test.timestamp > split.test.timestamp.min()).sum()
    assert later < max(fraction * len(data), 1) <= len(split.test)  # without the tie it would be too few


def test_published_parts():
    data = world()
    split = splits.published(data, 0)
    assert (split.train.part == 0).all() and (split.valid.part == 1).all() and (split.test.part == 2).all()
    without = splits.published(data.take(data.part != 1), 0)
    assert without.valid is None and numbers(without.test) == numbers(split.test)


def test_validation_rows_come_from_train():
    data = world()
    for name in ("random", "per_user", "per_user_temporal", "leave_one_out", "temporal"):
        first = RULES[name](data, 0)
        second = RULES[name](first.train, 1)
        assert not set(numbers(second.test)) & set(numbers(first.test))


@pytest.mark.parametrize("fraction", [0.1, 0.5])
def test_latest_users_against_a_loop(fraction):
    data = world()
    first = {user: min(data.timestamp[rows]) for user, rows in rows_by_user(data).items()}
    last = sorted(first, key=lambda user: first[user])[-round(fraction * len(first)) :]
    assert numbers(splits.latest_users(data, 0, fraction=fraction).test) == numbers(data.take(np.isin(data.user, last)))


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.2, 1.5, float("nan")])
@pytest.mark.parametrize("name", ["random", "per_user", "per_user_temporal", "temporal", "latest_users"])
def test_fractions_out_of_range(name, fraction):
    with pytest.raises(InputError, match=f"fraction {fraction}.*between 0 and 1"):
        RULES[name](world(), 0, fraction=fraction)


@pytest.mark.parametrize("name", ["leave_one_out", "temporal", "per_user_temporal", "latest_users"])
def test_rules_of_time_need_times(name):
    data = from_raw(np.array([1, 1]), np.array([1, 2]))
    with pytest.raises(InputError, match=f"{name} needs timestamps.*--timestamp-column NAME.*random or per_user"):
        RULES[name](data, 0)


def test_published_rules_need_parts():
    with pytest.raises(InputError, match=r"ships no split.*random, per_user, leave_one_out, temporal"):
        splits.published(from_raw(np.array([1, 1]), np.array([1, 2])), 0)


@pytest.mark.parametrize(
    "split, counts",
    [
        (lambda data: splits.random(data, 0), "3 training and 0 test rows of 3"),
        (lambda data: splits.temporal(data, 0), "0 training and 3 test rows of 3"),
        (lambda data: splits.leave_one_out(data, 0), "3 training and 0 test rows of 3"),
        (lambda data: splits.per_user(data, 0), "3 training and 0 test rows of 3"),
        (lambda data: splits.temporal(data.take(np.arange(0)), 0), "0 training and 0 test rows of 0"),
    ],
)
def test_an_empty_side_is_an_error_with_the_counts(split, counts):
    data = from_raw(np.arange(3), np.arange(3), timestamp=np.zeros(3))
    with pytest.raises(InputError, match=f"{counts}.*choose another split"):
        split(data)


def test_leave_one_out_leaves_one():
    with pytest.raises(InputError, match=r"min_interactions 1: .*2 or more"):
        splits.leave_one_out(world(), 0, min_interactions=1)
