"""What a user had watched before an example, as a range of one log: no bag of an example is ever written out.

    log[start : start + length]     the videos of an example's history, at most `longest` of them

A range is two numbers an example, whatever the length of the bag, and the log is no longer than twice the data.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from zoo.data.interactions import Interactions


class Ranges(NamedTuple):
    start: np.ndarray  # int32 [n], first place in the log
    length: np.ndarray  # int32 [n], 0 for an empty history


class Histories(NamedTuple):
    log: np.ndarray  # int32 [m], items, user after user
    rows: np.ndarray  # int64 [n], the interactions in the order of the examples
    examples: Ranges  # what was known before each of them
    queries: Ranges  # of each user [num_users], all that is known


def before(train: Interactions, longest: int) -> Histories:
    """The latest watches before each watch, history rolled back: the log is in order of user and time.

    Watches of equal time stand in their order in the file. The first watch of a user has an empty history.
    """
    assert train.timestamp is not None, "without times there is no before"
    order = np.lexsort((train.timestamp, train.user))
    count = np.bincount(train.user, minlength=train.num_users)
    first = np.cumsum(count) - count
    return Histories(
        log=train.item[order],
        rows=order,
        examples=_latest(first[train.user[order]], np.arange(len(order)), longest),
        queries=_latest(first, first + count, longest),
    )


def others(train: Interactions, longest: int, seed: int = 0) -> Histories:
    """For data without times: other watches of the user than the example's, drawn at random where they are too many.

    Each user's watches stand in the log twice in one random order, so those that follow an example, round the circle,
    are a random part of the others.
    """
    order = np.lexsort((np.random.default_rng(seed).random(len(train)), train.user))
    count = np.bincount(train.user, minlength=train.num_users)
    first = np.cumsum(count) - count
    user = train.user[order]
    twice = np.argsort(np.concatenate([user, user]), kind="stable") % len(order)
    length = np.minimum(count, longest)
    return Histories(
        log=train.item[order][twice],
        rows=order,
        examples=_ranges(np.arange(len(order)) + first[user] + 1, np.minimum(count - 1, longest)[user]),
        queries=_ranges(2 * first, length),
    )


def in_order(watches: Interactions, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The rows user after user in order of time, int64 [n], and where the users begin, int64 [num_users + 1].

    Rows of equal time stand in their order in the file. Without times the order is drawn at random, once.
    """
    time = np.random.default_rng(seed).random(len(watches)) if watches.timestamp is None else watches.timestamp
    count = np.bincount(watches.user, minlength=watches.num_users)
    return np.lexsort((time, watches.user)), np.concatenate([[0], np.cumsum(count)])


def of_events(
    watches: Interactions, asked: np.ndarray, known: np.ndarray, longest: int
) -> tuple[np.ndarray, Ranges, np.ndarray]:
    """A log of the `known` items (bool [items]), of it the latest before each row of `watches` that is `asked` for
    (bool [n]), and whether its user had any row before it (bool [asked])."""
    order, first = in_order(watches)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    place, user = place[asked], watches.user[asked]
    there = known[watches.item[order]]
    before = np.concatenate([[0], np.cumsum(there)])
    return watches.item[order][there], _latest(before[first[user]], before[place], longest), place > first[user]


def until(watches: Interactions, user: np.ndarray, time: np.ndarray, longest: int) -> tuple[np.ndarray, Ranges]:
    """The log in order of user and time, and of it the latest watches of each `user` int [n] before `time` int64
    [n]."""
    assert watches.timestamp is not None, "without times there is no before"
    order = np.lexsort((watches.timestamp, watches.user))
    count = np.bincount(watches.user, minlength=watches.num_users)
    first = (np.cumsum(count) - count)[user]
    known, _ = counted_before(watches.user, watches.timestamp, user, time)
    return watches.item[order], _latest(first, first + known, longest)


def latest(first: np.ndarray, user: np.ndarray, longest: int) -> Ranges:
    """Of a log in order of user and time, whose users begin at `first` int [num_users + 1], the last watches of each
    `user` int [n]."""
    return _latest(first[user], first[user + 1], longest)


def apart(log: np.ndarray, ranges: Ranges, longest: int) -> tuple[np.ndarray, Ranges]:
    """A log of these ranges alone, each in `longest` places: its size, int32 [n * longest], does not depend on theirs.

    >>> apart(np.array([7, 8, 9]), Ranges(np.array([1, 3]), np.array([2, 0])), 3)[0]
    array([8, 9, 0, 0, 0, 0], dtype=int32)
    """
    place = np.arange(longest) + ranges.start[:, None]
    there = np.arange(longest) < ranges.length[:, None]
    bags = np.zeros(there.shape, np.int32)
    bags[there] = log[place[there]]
    return bags.reshape(-1), _ranges(longest * np.arange(len(bags)), ranges.length)


def of_lists(lists: Sequence[np.ndarray], longest: int) -> tuple[np.ndarray, Ranges]:
    """A log of the last `longest` items of each list, oldest first, each in as many places, as `apart` has it."""
    bags = np.zeros((len(lists), longest), np.int32)
    length = np.array([min(len(items), longest) for items in lists])
    for bag, items, size in zip(bags, lists, length, strict=True):
        bag[:size] = items[len(items) - size :]
    return bags.reshape(-1), _ranges(longest * np.arange(len(bags)), length)


def counted_before(
    group: np.ndarray, time: np.ndarray, asked_group: np.ndarray, asked_time: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How many events (group, time) of the asked group are earlier than the asked time, and when the last of them was.

    int64 [asked] each; the time means nothing where the count is 0.

    >>> counted_before(np.array([1, 1, 2]), np.array([5, 9, 7]), np.array([1, 1, 3]), np.array([9, 10, 10]))
    (array([1, 2, 0]), array([5, 9, 0]))
    """
    if len(group) == 0:
        return np.zeros(len(asked_group), np.int64), np.zeros(len(asked_group), np.int64)
    groups, place = np.unique(group, return_inverse=True)
    opening, span = int(time.min()), int(time.max() - time.min()) + 2
    event = np.sort(place.astype(np.int64) * span + (time - opening))
    asked = np.minimum(np.searchsorted(groups, asked_group), len(groups) - 1)
    start = np.searchsorted(event, np.arange(len(groups)) * span)[asked]
    end = np.searchsorted(event, asked * span + np.clip(asked_time - opening, 0, span - 1))
    count = np.where(groups[asked] == asked_group, end - start, 0)
    last = event[np.maximum(end - 1, 0)] - asked * span + opening
    return count, np.where(count > 0, last, 0)


def fixed_number(user: np.ndarray, per_user: int, seed: int = 0) -> np.ndarray:
    """Positions of `per_user` rows of each user that occurs in `user` int [n], so that all users weigh the same.

    They are drawn at random, without repeats where a user has enough rows, and else each as often as any, give or take
    one.
    """
    order = np.lexsort((np.random.default_rng(seed).random(len(user)), user))
    _, first, count = np.unique(user[order], return_index=True, return_counts=True)
    return order[first[:, None] + np.arange(per_user) % count[:, None]].reshape(-1)


def _latest(first: np.ndarray, stop: np.ndarray, longest: int) -> Ranges:
    """The last `longest` places of [first, stop)."""
    start = np.maximum(first, stop - longest)
    return _ranges(start, stop - start)


def _ranges(start: np.ndarray, length: np.ndarray) -> Ranges:
    return Ranges(start.astype(np.int32), length.astype(np.int32))
