"""Interactions: the columns that every recommender starts from, ids already turned into row numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import polars as pl

from zoo.errors import InputError


_ROWS = ("user", "item", "rating", "timestamp", "part")  # the columns with an entry an event
_COLUMNS = (*_ROWS, "user_ids", "item_ids", "streamed_counts")
_FEATURES = ("user_features", "item_features")


@dataclass(frozen=True)
class Searches:
    """What users searched for, an entry a token (a word or a pair of neighbouring words), in order of user and time."""

    user: np.ndarray  # int32 [m], row numbers of users
    token: np.ndarray  # int32 [m], below num_tokens
    timestamp: np.ndarray  # int64 [m]
    num_tokens: int

    def before(self, now: int) -> "Searches":
        kept = self.timestamp < now
        return Searches(self.user[kept], self.token[kept], self.timestamp[kept], self.num_tokens)


@dataclass(frozen=True)
class Interactions:
    """Who met what, how they liked it and when: one entry an event, in file order.

    Row numbers index `user_ids` and `item_ids`, which hold the raw ids in ascending order. A part of a data set (the
    rows of a split) keeps the ids of the whole, so that row numbers mean the same everywhere.
    """

    unit: ClassVar[str] = "interactions"  # what an entry is called

    user: np.ndarray  # int32 [n], row numbers into user_ids
    item: np.ndarray  # int32 [n], row numbers into item_ids
    rating: np.ndarray | None  # float32 [n], finite
    timestamp: np.ndarray | None  # int64 [n], as in the file (seconds since 1970 in MovieLens)
    user_ids: np.ndarray  # int64 or str [num_users], ascending
    item_ids: np.ndarray  # int64 or str [num_items], ascending
    part: np.ndarray | None = None  # int8 [n]: 0 train, 1 validation, 2 test, where the data set ships a split
    streamed_counts: np.ndarray | None = None  # int64 [num_items]: these rows are a sample of a streamed log, whose
    # training rows have so many of each item (zoo.data.stream)
    truth: Any = None  # what a simulated world knows about itself (zoo.data.simulate.Truth); None for real data
    # What is known of each user and item row: integers are categories, floats are numbers. An item's `upload_time` is
    # one of the times of the log.
    user_features: Mapping[str, np.ndarray] = field(default_factory=dict)
    item_features: Mapping[str, np.ndarray] = field(default_factory=dict)
    searches: Searches | None = None  # of the whole data set, also in a part of it

    def __len__(self) -> int:
        return len(self.user)

    @property
    def num_users(self) -> int:
        return len(self.user_ids)

    @property
    def num_items(self) -> int:
        return len(self.item_ids)

    @property
    def sizes(self) -> dict[str, int]:
        return {"users": self.num_users, "items": self.num_items}

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """The columns that the interactions have, by name, for a file. The truth of a simulated world stays behind."""
        held = {name: getattr(self, name) for name in _COLUMNS if getattr(self, name) is not None}
        held |= {f"{of}.{name}": column for of in _FEATURES for name, column in getattr(self, of).items()}
        searched = {} if self.searches is None else vars(self.searches)
        return held | {f"searches.{name}": np.asarray(column) for name, column in searched.items()}

    @property
    def item_counts(self) -> np.ndarray:
        """How often each item occurs, int64 [num_items]; for a sample, in the training rows that it stands for."""
        if self.streamed_counts is not None:
            return self.streamed_counts
        return np.bincount(self.item, minlength=self.num_items)

    @property
    def ratings(self) -> np.ndarray:
        """The rating column; InputError where the data has none."""
        if self.rating is None:
            raise InputError(
                "this recipe predicts ratings, but the data has none: add a rating column, or take a ranking recipe"
            )
        return self.rating

    def take(self, index: np.ndarray) -> "Interactions":
        """The rows at `index` (positions or a boolean mask), with the same ids."""
        columns = {name: None if getattr(self, name) is None else getattr(self, name)[index] for name in _ROWS}
        return replace(self, **columns)

    def followed_by(self, other: "Interactions") -> "Interactions":
        """The rows of this part of a data set, then those of another."""
        columns = {
            name: None if getattr(self, name) is None else np.concatenate([getattr(self, name), getattr(other, name)])
            for name in _ROWS
        }
        return replace(self, **columns)


def from_columns(columns: Mapping[str, np.ndarray]) -> Interactions:
    """The interactions that `Interactions.columns` describes."""
    held: dict[str, Any] = dict.fromkeys(("rating", "timestamp")) | {of: {} for of in (*_FEATURES, "searches")}
    for name, column in columns.items():
        of, dot, feature = name.partition(".")
        if dot:
            held[of][feature] = column
        else:
            held[name] = column
    searched = held.pop("searches")
    return Interactions(**held, searches=_searches(**searched) if searched else None)


def _searches(num_tokens: np.ndarray, **columns: np.ndarray) -> Searches:
    return Searches(**columns, num_tokens=int(num_tokens))


def from_raw(
    user: np.ndarray,
    item: np.ndarray,
    rating: np.ndarray | None = None,
    timestamp: np.ndarray | None = None,
    part: np.ndarray | None = None,
) -> Interactions:
    """Interactions from columns of raw ids (any int64, or strings); the ids found become the rows, in ascending
    order. InputError for columns of unequal length, ids and times that are no whole numbers, and ratings that are no
    numbers."""
    user, item = _whole(user, "user"), _whole(item, "item")
    given = {"item": item, "rating": rating, "timestamp": timestamp, "part": part}
    for name, column in given.items():
        if column is not None and len(column) != len(user):
            raise InputError(f"column {name} has {len(column):,} rows and column user {len(user):,}: give equally many")
    if rating is not None and not (finite := np.isfinite(np.asarray(rating, np.float32))).all():
        row = int(np.argmin(finite))
        raise InputError(f"column rating, row {row}: {rating[row]} is no rating; leave such rows out")
    user_ids, user_rows = np.unique(user, return_inverse=True)
    item_ids, item_rows = np.unique(item, return_inverse=True)
    check_row_numbers(len(user_ids), len(item_ids))
    return Interactions(
        user=user_rows.astype(np.int32),
        item=item_rows.astype(np.int32),
        rating=None if rating is None else np.asarray(rating, np.float32),
        timestamp=None if timestamp is None else np.asarray(_whole(timestamp, "timestamp"), np.int64),
        user_ids=user_ids,
        item_ids=item_ids,
        part=part,
    )


def _whole(column: Any, name: str) -> np.ndarray:
    """The column; of floats, which a table with gaps makes of integers, the whole numbers that they must be."""
    column = np.asarray(column)
    if column.dtype.kind != "f":
        return column
    if not (whole := column == np.floor(column)).all():
        row = int(np.argmin(whole))
        raise InputError(
            f"column {name}, row {row}: {column[row]} is no whole number; leave such rows out or give text"
        )
    return column.astype(np.int64)


def check_row_numbers(*counts: int) -> None:
    """InputError for more distinct ids than row numbers."""
    if max(counts) > np.iinfo(np.int32).max:
        raise InputError(f"{max(counts)} distinct ids: row numbers are int32, so 2**31-1 is the limit")


def rows_of(raw: Any, ids: np.ndarray, kind: str) -> np.ndarray:
    """The row numbers of raw ids, int32; an id that the data does not have is an InputError that names it.

    `kind` is "user" or "item", for the message.
    """
    rows = find_rows(raw, ids)
    if (rows < 0).any():
        raise InputError(unknown(np.atleast_1d(np.asarray(raw))[rows < 0][0], ids, kind))
    return rows


def find_rows(raw: Any, ids: np.ndarray) -> np.ndarray:
    """The row numbers of raw ids, int32 [n], -1 for an id that the data does not have.

    Text that spells an integer is read as one where the ids are integers.
    """
    raw = np.atleast_1d(np.asarray(raw))
    readable = np.ones(len(raw), bool)
    if ids.dtype.kind not in "iu":
        wanted = raw.astype(str)
    elif raw.dtype.kind == "f":
        readable = raw == np.floor(raw)
        wanted = np.where(readable, raw, 0).astype(ids.dtype)
    elif raw.dtype.kind in "iu":
        wanted = raw.astype(ids.dtype)
    else:
        numbers = pl.Series(raw.astype(str).tolist(), dtype=pl.String).str.strip_chars().cast(pl.Int64, strict=False)
        readable, wanted = numbers.is_not_null().to_numpy(), numbers.fill_null(0).to_numpy()
    position = np.searchsorted(ids, wanted)
    found = readable & (ids[np.minimum(position, len(ids) - 1)] == wanted)
    return np.where(found, position, -1).astype(np.int32)


def unknown(raw: Any, ids: np.ndarray, kind: str) -> str:
    """For messages: that the data does not have an id, and what its ids are like."""
    known = f"the {len(ids):,} {kind}s of the training data"
    like = f"{'integers' if ids.dtype.kind in 'iu' else 'text'} such as {ids[0]}"
    return f"unknown {kind} {str(raw) or '(blank)'}: not among {known}, whose ids are {like}"


def appended(known: Interactions, new: Interactions) -> Interactions:
    """The pairs of `known`, then those of `new` by the row numbers of `known`; ratings, times and parts are left out.

    InputError for a raw id of `new` that `known` does not have.
    """
    user = rows_of(new.user_ids, known.user_ids, "user")[new.user]
    item = rows_of(new.item_ids, known.item_ids, "item")[new.item]
    return replace(
        known,
        user=np.concatenate([known.user, user]),
        item=np.concatenate([known.item, item]),
        rating=None,
        timestamp=None,
        part=None,
    )


def merge_repeats(interactions: Interactions, keep_last: bool = False) -> tuple[Interactions, int]:
    """One row for each (user, item) pair, and how many rows went.

    Ranking merges repeats to the first occurrence; ratings keep the latest by time (`keep_last=True`; without times,
    the last in file order). Rows stay in their order.
    """
    n = len(interactions)
    order = np.arange(n)
    if interactions.timestamp is not None:
        order = np.argsort(interactions.timestamp, kind="stable")
    if keep_last:
        order = order[::-1]
    pair = interactions.user[order].astype(np.int64) * interactions.num_items + interactions.item[order]
    _, first = np.unique(pair, return_index=True)
    return interactions.take(np.sort(order[first])), n - len(first)
