"""Impressions: what is refused, how rows are put in order, and the way into a file and back."""

import numpy as np
import pytest

from tests.helpers import refusal
from zoo.data import impressions
from zoo.data.histories import counted_before, until
from zoo.data.interactions import from_raw
from zoo.data.simulate_pages import simulate_pages


ROWS = {
    "user": np.array([7, 7, 8, 7]),
    "item": np.array(["b", "a", "a", "c"]),
    "timestamp": np.array([20, 20, 10, 30]),
    "click": np.array([0, 1, 1, 1]),
    "watch_seconds": np.array([0.0, 12.5, 3.0, 0.0]),
}


def test_rows_in_order_of_time_with_pages_by_user_and_moment():
    found = impressions.from_raw(**ROWS)
    assert found.times_out_of_order == 1 and len(found) == 4
    assert found.user_ids[found.user].tolist() == [8, 7, 7, 7]
    assert found.item_ids[found.item].tolist() == ["a", "b", "a", "c"]
    assert found.watch_seconds.tolist() == [3.0, 0.0, 12.5, 0.0]
    assert found.page[1] == found.page[2] and len(set(found.page.tolist())) == 3
    assert sorted(found.watches.timestamp.tolist()) == [10, 20]  # the watched clicks
    assert found.sizes == {"users": 2, "items": 3, "watches": 2}


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("click", [0, 2, 1, 1], "row 2, column click: 2: a click is 0 or 1"),
        ("watch_seconds", [0, 12, -3, 0], "row 3, column watch_seconds: -3: a watch time is not negative"),
        ("watch_seconds", [0, 12, np.nan, 0], "row 3, column watch_seconds: nan: a watch time is a finite"),
        ("watch_seconds", [4, 12, 3, 0], "row 1, column watch_seconds: 4: this row is not clicked"),
    ],
)
def test_refused(column, values, message):
    assert message in refusal(lambda data: impressions.from_raw(**data), {**ROWS, column: np.array(values)})


def test_parts_keep_the_whole_log_and_columns_come_back():
    whole = simulate_pages(num_users=40, num_videos=30, num_watches=200)
    half = whole.take(np.arange(len(whole)) % 2 == 0)
    assert half.watches is whole.watches and len(half.truth.click_probability) == len(half)
    again = impressions.from_columns(half.columns)
    for name, column in half.columns.items():
        np.testing.assert_array_equal(column, again.columns[name])
    both = half.followed_by(whole.take(np.arange(len(whole)) % 2 == 1))
    assert len(both) == len(whole) and both.truth is None


def test_counted_before_is_a_loop():
    rng = np.random.default_rng(0)
    group, time = rng.integers(0, 5, 80) * 10, rng.integers(-50, 50, 80)
    asked, moment = rng.integers(0, 6, 40) * 10, rng.integers(-80, 80, 40)
    count, last = counted_before(group, time, asked, moment)
    for g, t, c, at in zip(asked, moment, count, last, strict=True):
        earlier = time[(group == g) & (time < t)]
        assert c == len(earlier) and (c == 0 or at == earlier.max())
    none = counted_before(group[:0], time[:0], asked, moment)
    assert not none[0].any()


def test_until_has_the_latest_watches_before_a_moment():
    log = from_raw(np.array([1, 0, 1, 1]), np.array([5, 6, 7, 8]), timestamp=np.array([3, 1, 2, 9]))
    items, ranges = until(log, np.array([1, 1, 1, 0]), np.array([9, 10, 2, 1]), longest=2)
    bags = [log.item_ids[items[a : a + n]].tolist() for a, n in zip(ranges.start, ranges.length, strict=True)]
    assert bags == [[7, 5], [5, 8], [], []]
