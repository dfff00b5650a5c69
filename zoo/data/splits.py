"""Splits: which rows of a data set train a model and which judge it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from zoo.data.fields import FieldTable
from zoo.data.images import Images
from zoo.data.impressions import Impressions
from zoo.data.interactions import Interactions
from zoo.data.text import Text
from zoo.errors import InputError


Data = Interactions | FieldTable | Text | Impressions | Images


@dataclass(frozen=True)
class Split[D: (Interactions, FieldTable, Text, Impressions, Images)]:
    """Parts of one data set; `test` is looked at once (it holds validation rows in a run with --validate)."""

    train: D
    test: D
    valid: D | None = None  # where the data set ships one: in neither of the others, for --validate alone


# A split rule divides a data set in two: what to learn from and what to hold out. The same rule that cuts test from
# the data cuts validation from train. Rows stay in their order on both sides.
SplitRule = Callable[[Any, int], Split]  # (data, seed) -> Split; InputError where it cannot


def random[D: (Interactions, FieldTable, Text, Impressions, Images)](
    data: D, seed: int, *, fraction: float = 0.1
) -> Split[D]:
    """Holds out `fraction` of all rows, drawn uniformly."""
    _check_fraction(fraction)
    _need_rows(data, "random")
    n = len(data)
    held = np.zeros(n, bool)
    held[np.random.default_rng(seed).permutation(n)[: round(fraction * n)]] = True
    return _cut(data, held)


def tenth(data: Any, seed: int) -> Split:
    """Holds out a tenth of each user's rows, or of the rows of a table, or of images."""
    return per_user(data, seed, fraction=0.1) if isinstance(data, Interactions) else random(data, seed)


def new_items[D: (Interactions, FieldTable, Text, Impressions, Images)](
    data: D, seed: int, *, fraction: float = 0.1
) -> Split[D]:
    """Holds out all rows of `fraction` of the items, drawn uniformly: at the test nobody has met them."""
    _check_fraction(fraction)
    rows = _need_rows(data, "new_items")
    if isinstance(rows, Images):
        raise InputError("the split new_items holds out items, and images have none: choose random or published")
    item = rows.column("item") if isinstance(rows, FieldTable) else rows.item
    met = np.unique(item)
    held = np.zeros(met[-1] + 1, bool)
    held[np.random.default_rng(seed).permutation(met)[: round(fraction * len(met))]] = True
    return _cut(data, held[item])


def per_user(data: Data, seed: int, *, fraction: float = 0.2) -> Split:
    """Holds out `fraction` of each user's rows (to the nearest row), drawn uniformly; at least one stays in train."""
    interactions = _need_interactions(data, "per_user")
    draws = np.random.default_rng(seed).random(len(interactions))
    return _cut(interactions, _last_of_each_user(interactions, draws, fraction))


def user_sample(data: Data, seed: int, *, num_users: int = 10_000, fraction: float = 0.2) -> Split:
    """Holds out about `fraction` of the (user, item) pairs of at most `num_users` users; the others only train.

    For logs so large that asking every user would take longer than training. Users and pairs are chosen by hash, so
    that a log which is read piece by piece is cut in the same way; some of these users may keep no row to train on.
    """
    _check_fraction(fraction)
    interactions = _need_interactions(data, "user_sample")
    asked = sampled_users(interactions.num_users, seed, num_users)
    return _cut(interactions, held_pairs(asked, interactions.user, interactions.item, seed, fraction))


def sampled_users(num_users: int, seed: int, size: int = 10_000) -> np.ndarray:
    """Marks the users that `user_sample` asks, bool [num_users]: those of lowest hash."""
    marks = np.zeros(num_users, bool)
    marks[np.argsort(_hash(np.arange(num_users), seed), kind="stable")[:size]] = True
    return marks


def held_pairs(asked: np.ndarray, user: np.ndarray, item: np.ndarray, seed: int, fraction: float = 0.2) -> np.ndarray:
    """Marks the rows that `user_sample` holds out, bool [n]; equal pairs are marked alike."""
    held = asked[user]
    pairs = _hash(user[held], seed) + item[held].astype(np.uint64)
    held[held] = _hash(pairs, seed) < np.uint64(fraction * 2**64)
    return held


def per_user_temporal(data: Data, seed: int, *, fraction: float = 0.2) -> Split:
    """Holds out the latest `fraction` of each user's rows (to the nearest row); at least one stays in train.

    Rows of equal time are taken in their order in the file. The seed has no effect.
    """
    interactions = _need_interactions(data, "per_user_temporal")
    timestamp = _need_times(interactions, "per_user_temporal")
    return _cut(interactions, _last_of_each_user(interactions, timestamp, fraction))


def latest_users(data: Data, seed: int, *, fraction: float = 0.1) -> Split:
    """Holds out all rows of the `fraction` of users who came last, by their first row: for data whose users are
    sessions. The seed has no effect.
    """
    _check_fraction(fraction)
    interactions = _need_interactions(data, "latest_users")
    first = np.full(interactions.num_users, np.iinfo(np.int64).max)
    np.minimum.at(first, interactions.user, _need_times(interactions, "latest_users"))
    there = np.unique(interactions.user)
    held = np.zeros(interactions.num_users, bool)
    held[there[np.argsort(first[there], kind="stable")][len(there) - max(round(fraction * len(there)), 1) :]] = True
    return _cut(interactions, held[interactions.user])


def leave_one_out(data: Data, seed: int, *, min_interactions: int = 2) -> Split:
    """Holds out each user's last row by time; users with fewer than `min_interactions` rows keep all in train.

    Rows of equal time are taken in their order in the file. The seed has no effect.
    """
    if min_interactions < 2:
        raise InputError(f"min_interactions {min_interactions}: it must be 2 or more, to leave a row to train on")
    interactions = _need_interactions(data, "leave_one_out")
    order, rank, count = _ranks_within_user(interactions, _need_times(interactions, "leave_one_out"))
    held = np.zeros(len(interactions), bool)
    held[order[(rank == count - 1) & (count >= min_interactions)]] = True
    return _cut(interactions, held)


def temporal(data: Data, seed: int, *, fraction: float = 0.2) -> Split:
    """Holds out all that happened from one moment on: the latest `fraction` of rows, more where times tie at the cut.

    The seed has no effect.
    """
    _check_fraction(fraction)
    timed: Any = data if isinstance(data, Impressions) else _need_interactions(data, "temporal")
    timestamp = _need_times(timed, "temporal")
    num_held = max(round(fraction * len(timestamp)), 1)
    moment = np.sort(timestamp)[-num_held:][:1]  # [1], or [0] where there are no rows at all
    return _cut(timed, timestamp >= moment)


def published[D: (Interactions, FieldTable, Text, Impressions, Images)](data: D, seed: int) -> Split[D]:
    """The split that the data set ships; its validation rows, if any, are neither trained on nor tested.

    So were the published numbers on such sets made. The seed has no effect.
    """
    part = _need_parts(data)
    whole = _cut(data.take(part != 1), part[part != 1] == 2)
    return replace(whole, valid=data.take(part == 1)) if (part == 1).any() else whole


def ending(data: Data, seed: int, *, fraction: float = 0.1) -> Split[Text]:
    """Holds out the end of a text: all after the first `1 - fraction` of its characters. The seed has no effect."""
    _check_fraction(fraction)
    if not isinstance(data, Text):
        raise InputError("the split ending cuts a text in two, not interactions or a table: choose random or temporal")
    place = int(len(data) * (1 - fraction))
    if not 0 < place < len(data):
        raise InputError(f"a text of {len(data)} characters cannot be cut in two: take a longer one")
    return Split(train=data.take(slice(place)), test=data.take(slice(place, None)))


_OTHERS = "random, per_user, leave_one_out, temporal, per_user_temporal, latest_users, user_sample, new_items"


def leaked(split: Split) -> dict[str, int]:
    """How many held-out rows happened before a training row of their user, which nobody asked in time could know;
    nothing for data without times."""
    train, test = split.train, split.test
    if not isinstance(train, Interactions) or train.timestamp is None or test.timestamp is None:
        return {}
    latest = np.full(train.num_users, np.iinfo(np.int64).min)
    np.maximum.at(latest, train.user, train.timestamp)
    return {"held_out_before_train": int((test.timestamp < latest[test.user]).sum())}


def _cut[D: (Interactions, FieldTable, Text, Impressions, Images)](data: D, held: np.ndarray) -> Split[D]:
    num_test = int(held.sum())
    num_train = len(held) - num_test
    if num_train == 0 or num_test == 0:
        raise InputError(
            f"the split leaves {num_train:,} training and {num_test:,} test rows of {len(held):,}: "
            "both need at least one; change its fraction or choose another split"
        )
    return Split(train=data.take(~held), test=data.take(held))


def _last_of_each_user(interactions: Interactions, key: np.ndarray, fraction: float) -> np.ndarray:
    """Marks the `fraction` of each user's rows with the highest key, bool [n]."""
    _check_fraction(fraction)
    order, rank, count = _ranks_within_user(interactions, key)
    num_held = np.minimum(np.floor(fraction * count + 0.5), count - 1)
    held = np.zeros(len(interactions), bool)
    held[order[rank >= count - num_held]] = True
    return held


def _ranks_within_user(interactions: Interactions, key: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows in order of user, key and file; the rank of each of these within its user; its user's count. All int [n]."""
    order = np.lexsort((key, interactions.user))
    counts = np.bincount(interactions.user, minlength=interactions.num_users)
    user = interactions.user[order]
    rank = np.arange(len(order)) - (np.cumsum(counts) - counts)[user]
    return order, rank, counts[user]


def _hash(values: np.ndarray, seed: int) -> np.ndarray:
    """splitmix64 (Steele, Lea, Flood 2014): well mixed uint64 [n] of integers and a seed, the same on any machine."""
    mixed = values.astype(np.uint64) + np.uint64((seed + 1) * 0x9E3779B97F4A7C15 % 2**64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _check_fraction(fraction: float) -> None:
    if not 0 < fraction < 1:
        raise InputError(f"fraction {fraction}: the part of the rows to hold out lies between 0 and 1, such as 0.2")


def _need_rows(data: Data, rule: str) -> Interactions | FieldTable | Impressions | Images:
    if isinstance(data, Text):
        raise InputError(f"the split {rule} divides rows, and a text is cut in one place: choose ending")
    return data


def _need_interactions(data: Data, rule: str) -> Interactions:
    rows = _need_rows(data, rule)
    if isinstance(rows, (FieldTable, Images)):
        what = "a table" if isinstance(rows, FieldTable) else "images"
        raise InputError(f"the split {rule} divides the interactions of users, not {what}: choose random or published")
    if isinstance(rows, Impressions):
        raise InputError(f"the split {rule} divides the watches of users, not impressions: choose temporal or random")
    return rows


def _need_times(interactions: Interactions | Impressions, rule: str) -> np.ndarray:
    if interactions.timestamp is None:
        raise InputError(
            f"the split {rule} needs timestamps and the data has none: "
            "name their column with --timestamp-column NAME, or choose random or per_user"
        )
    return interactions.timestamp


def _need_parts(data: Data) -> np.ndarray:
    _need_rows(data, "published")
    if data.part is None:
        others = f"one of {_OTHERS}" if isinstance(data, Interactions) else "random"
        raise InputError(f"the data ships no split of its own: choose {others}")
    return data.part
