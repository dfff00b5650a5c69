import numpy as np
import pytest

from zoo.data.interactions import from_raw, merge_repeats, rows_of
from zoo.errors import InputError


def test_rows_index_the_raw_ids():
    user, item = np.array([30, -5, 30, 2**40]), np.array(["b", "a", "c", "a"])
    data = from_raw(user, item, rating=np.array([1, 2, 3, 4]), timestamp=np.array([9, 8, 7, 6]))
    assert data.user.dtype == data.item.dtype == np.int32
    assert (data.num_users, data.num_items, len(data)) == (3, 3, 4)
    assert (data.user_ids[data.user] == user).all()
    assert (data.item_ids[data.item] == item).all()
    assert data.user_ids.tolist() == [-5, 30, 2**40]
    assert (data.rating.dtype, data.timestamp.dtype) == (np.float32, np.int64)


def test_take_keeps_ids_and_absent_columns():
    data = from_raw(np.array([1, 2, 3]), np.array([4, 5, 6]), part=np.array([0, 0, 2], np.int8))
    for some in (data.take(np.array([False, False, True])), data.take(np.array([2]))):
        assert some.user.tolist() == [2]
        assert some.user_ids.tolist() == [1, 2, 3]
        assert some.part.tolist() == [2]
        assert some.rating is None and some.timestamp is None


def test_rows_of_raw_ids():
    ids = np.array([3, 7, 11])
    assert rows_of([7, 3], ids, "user").tolist() == [1, 0]
    assert rows_of("11", ids, "user").tolist() == [2]
    assert rows_of(["b"], np.array(["a", "b"]), "item").tolist() == [1]


@pytest.mark.parametrize(
    "raw, ids, parts",
    [
        (8, np.array([3, 7]), ["unknown user 8", "2 users"]),
        (99, np.array([3, 7]), ["unknown user 99"]),
        ("x", np.array([3, 7]), ["unknown user x", "integers", "3"]),
        ("c", np.array(["a", "b"]), ["unknown user c"]),
    ],
)
def test_unknown_raw_ids_are_named(raw, ids, parts):
    with pytest.raises(InputError) as error:
        rows_of(raw, ids, "user")
    assert all(part in str(error.value) for part in parts)


@pytest.mark.parametrize("keep_last", [False, True])
@pytest.mark.parametrize("timed", [False, True])
def test_merge_repeats_against_a_loop(keep_last, timed):
    rng = np.random.default_rng(0)
    n = 200
    time = rng.integers(0, 20, n) if timed else None
    data = from_raw(rng.integers(0, 8, n), rng.integers(0, 8, n), rating=np.arange(n), timestamp=time)
    order = sorted(range(n), key=lambda row: (time[row] if timed else 0, row))
    kept = {}
    for row in order:
        pair = (data.user[row], data.item[row])
        if keep_last or pair not in kept:
            kept[pair] = row
    merged, gone = merge_repeats(data, keep_last)
    assert merged.rating.tolist() == sorted(kept.values())
    assert gone == n - len(kept) > 0


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"item": [1, 2]}, "column item has 2 rows and column user 3"),
        ({"rating": [1.0, float("nan"), 3.0]}, "column rating, row 1: nan is no rating"),
        ({"user": [1.0, 2.5, 3.0]}, r"column user, row 1: 2.5 is no whole number"),
        ({"timestamp": [1.0, 2.0, float("nan")]}, "column timestamp, row 2: nan is no whole number"),
    ],
)
def test_columns_that_are_wrong_are_named(columns, message):
    given = {"user": [1, 2, 3], "item": [4, 5, 6]} | columns
    with pytest.raises(InputError, match=message):
        from_raw(**{name: np.array(column) for name, column in given.items()})


def test_whole_numbers_as_floats_are_ids_and_fractions_are_none():
    data = from_raw(np.array([2.0, 1.0]), np.array([5, 6]))
    assert data.user_ids.dtype == np.int64 and rows_of([2.0], data.user_ids, "user").tolist() == [1]
    with pytest.raises(InputError, match=r"unknown user 1\.9"):
        rows_of([1.9], data.user_ids, "user")
