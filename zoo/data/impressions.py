"""Impressions: videos shown to users on pages, whether they were clicked, and how long they were then watched."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np

from zoo.data import interactions
from zoo.data.interactions import Interactions
from zoo.errors import InputError


_ROWS = ("page", "user", "item", "timestamp", "click", "watch_seconds", "part")  # the columns with an entry a row


@dataclass(frozen=True)
class Truth:
    """What a simulated site knows of its impressions (zoo.data.simulate_pages)."""

    click_probability: np.ndarray  # float32 [n]
    seconds_if_clicked: np.ndarray  # float32 [n], the mean watch time of a click
    bait: np.ndarray  # float32 [num_items], what of a video draws clicks and shortens the watch

    def take(self, index: np.ndarray) -> "Truth":
        return replace(
            self,
            click_probability=self.click_probability[index],
            seconds_if_clicked=self.seconds_if_clicked[index],
        )


@dataclass(frozen=True)
class Impressions:
    """Who was shown what and when, one entry an impression, in order of time.

    Row numbers are those of `watches`, the log of all that the users watched, wherever they found it. A part (the rows
    of a split) keeps that whole log: what is known at an impression is what lies before it in time.
    """

    unit: ClassVar[str] = "impressions"  # what an entry is called

    page: np.ndarray  # int32 [n]: impressions that were shown together
    user: np.ndarray  # int32 [n]
    item: np.ndarray  # int32 [n]
    timestamp: np.ndarray  # int64 [n], ascending
    click: np.ndarray  # float32 [n], 0 or 1
    watch_seconds: np.ndarray  # float32 [n], 0 without a click
    watches: Interactions  # with times
    times_out_of_order: int = 0  # how often the rows went back in time as they were given
    part: np.ndarray | None = None  # int8 [n]: 0 train, 1 validation, 2 test
    truth: Truth | None = None  # of a simulated site

    def __len__(self) -> int:
        return len(self.user)

    @property
    def user_ids(self) -> np.ndarray:
        return self.watches.user_ids

    @property
    def item_ids(self) -> np.ndarray:
        return self.watches.item_ids

    @property
    def sizes(self) -> dict[str, int]:
        return {**self.watches.sizes, "watches": len(self.watches)}

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """Named arrays, for a file; `from_columns` is the way back. Of the truth, what judges a model is kept."""
        held = {name: getattr(self, name) for name in _ROWS if getattr(self, name) is not None}
        held["times_out_of_order"] = np.int64(self.times_out_of_order)
        held |= {f"watches.{name}": column for name, column in self.watches.columns.items()}
        return held | ({} if self.truth is None else {f"truth.{k}": v for k, v in vars(self.truth).items()})

    def take(self, index: np.ndarray) -> "Impressions":
        """The rows at `index` (positions or a boolean mask)."""
        changed = {name: None if getattr(self, name) is None else getattr(self, name)[index] for name in _ROWS}
        return replace(self, truth=self.truth and self.truth.take(index), **changed)

    def followed_by(self, other: "Impressions") -> "Impressions":
        """The rows of this part, then those of another; without the truth."""
        changed = {
            name: None if getattr(self, name) is None else np.concatenate([getattr(self, name), getattr(other, name)])
            for name in _ROWS
        }
        return replace(self, truth=None, **changed)


def from_columns(columns: Mapping[str, np.ndarray]) -> Impressions:
    """The impressions that `Impressions.columns` describes."""

    def within(prefix: str) -> dict[str, Any]:
        return {name.removeprefix(prefix): column for name, column in columns.items() if name.startswith(prefix)}

    truth = within("truth.")
    return Impressions(
        **{name: columns[name] for name in _ROWS if name in columns},
        watches=interactions.from_columns(within("watches.")),
        times_out_of_order=int(columns["times_out_of_order"]),
        truth=Truth(**truth) if truth else None,
    )


def in_order(
    page: np.ndarray,
    user: np.ndarray,
    item: np.ndarray,
    timestamp: np.ndarray,
    click: np.ndarray,
    watch_seconds: np.ndarray,
    watches: Interactions,
    truth: Truth | None = None,
) -> Impressions:
    """Impressions of row numbers, sorted by time and page; how often the time went back is counted."""
    back = int((np.diff(timestamp) < 0).sum())
    order = np.lexsort((page, timestamp))
    given = Impressions(page, user, item, timestamp, click, watch_seconds, watches, back, truth=truth)
    return given.take(order)


def from_raw(
    user: np.ndarray,
    item: np.ndarray,
    timestamp: np.ndarray,
    click: np.ndarray,
    watch_seconds: np.ndarray,
    page: np.ndarray | None = None,
    place: Callable[[int], str] = "row {}".format,
) -> Impressions:
    """Impressions from columns of raw ids, times, clicks of 0 or 1 and watch times in seconds.

    Without `page`, what a user was shown at one moment is one page. The watched clicks are the log of watches.
    InputError names the place of the row (the first is 1) and the column of the first value that cannot be.
    """
    click, watch_seconds = np.asarray(click, np.float32), np.asarray(watch_seconds, np.float32)
    refuse = partial(_refuse, place)
    refuse("click", click, (click != 0) & (click != 1), "a click is 0 or 1")
    refuse("watch_seconds", watch_seconds, ~np.isfinite(watch_seconds), "a watch time is a finite number of seconds")
    refuse("watch_seconds", watch_seconds, watch_seconds < 0, "a watch time is not negative; write 0 for no watch")
    stray = (watch_seconds > 0) & (click == 0)
    refuse("watch_seconds", watch_seconds, stray, "this row is not clicked; set its click to 1 or its time to 0")
    shown = interactions.from_raw(user, item, timestamp=timestamp)
    times = shown.timestamp
    assert times is not None
    if page is None:
        moment = np.unique(times, return_inverse=True)[1]
        page = np.unique(shown.user.astype(np.int64) * (moment.max(initial=0) + 1) + moment, return_inverse=True)[1]
    else:
        page = np.unique(page, return_inverse=True)[1]
    watched = shown.take(watch_seconds > 0)
    return in_order(page.astype(np.int32), shown.user, shown.item, times, click, watch_seconds, watched)


def _refuse(place: Callable[[int], str], column: str, values: np.ndarray, bad: np.ndarray, problem: str) -> None:
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(f"{place(row + 1)}, column {column}: {values[row]:g}: {problem}")
