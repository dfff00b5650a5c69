"""Interactions: the columns that every recommender starts from, ids already turned into row numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from zoo.errors import InputError


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
    truth: Any = None  # what a simulated world knows about itself (zoo.data.simulate.Truth); None for real data

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
        names = ("user", "item", "rating", "timestamp", "user_ids", "item_ids", "part")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

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
        columns = {
            name: None if getattr(self, name) is None else getattr(self, name)[index]
            for name in ("user", "item", "rating", "timestamp", "part")
        }
        return replace(self, **columns)


def from_columns(columns: Mapping[str, np.ndarray]) -> Interactions:
    """The interactions that `Interactions.columns` describes."""
    absent: dict[str, Any] = dict.fromkeys(("rating", "timestamp"))
    return Interactions(**(absent | dict(columns)))


def from_raw(
    user: np.ndarray,
    item: np.ndarray,
    rating: np.ndarray | None = None,
    timestamp: np.ndarray | None = None,
    part: np.ndarray | None = None,
) -> Interactions:
    """Interactions from columns of raw ids (any int64, or strings); the ids found become the rows, in ascending
    order."""
    user_ids, user_rows = np.unique(user, return_inverse=True)
    item_ids, item_rows = np.unique(item, return_inverse=True)
    if max(len(user_ids), len(item_ids)) > np.iinfo(np.int32).max:
        raise InputError(
            f"{max(len(user_ids), len(item_ids))} distinct ids: row numbers are int32, so 2**31-1 is the limit"
        )
    return Interactions(
        user=user_rows.astype(np.int32),
        item=item_rows.astype(np.int32),
        rating=None if rating is None else np.asarray(rating, np.float32),
        timestamp=None if timestamp is None else np.asarray(timestamp, np.int64),
        user_ids=user_ids,
        item_ids=item_ids,
        part=part,
    )


def rows_of(raw: Any, ids: np.ndarray, kind: str) -> np.ndarray:
    """The row numbers of raw ids, int32; an id that the data does not have is an InputError that names it.

    `kind` is "user" or "item", for the message. Text that spells an integer is read as one where the ids are integers.
    """
    raw = np.atleast_1d(np.asarray(raw))
    try:
        wanted = raw.astype(ids.dtype if ids.dtype.kind in "iu" else str)
    except ValueError:
        raise InputError(
            f"unknown {kind} {raw[0]!s}: the {kind} ids of this data are integers, such as {ids[0]}"
        ) from None
    position = np.searchsorted(ids, wanted)
    found = ids[np.minimum(position, len(ids) - 1)] == wanted
    if not found.all():
        raise InputError(f"unknown {kind} {raw[~found][0]!s}: not among the {len(ids):,} {kind}s of the training data")
    return position.astype(np.int32)


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
