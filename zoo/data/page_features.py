"""What is known at an impression, before it: of the user, of the video, and of what passed between them.

An encoding, fitted on training rows, turns that into rows of tables and numbers of [0, 1]: a category or a video that
training did not know has no row (-1), and a number is its place among the training values, CDF(x), by linear
interpolation between quantiles.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zoo.data import likeness
from zoo.data.histories import counted_before
from zoo.data.impressions import Impressions
from zoo.data.interactions import Interactions


NUM_QUANTILES = 101
UPLOAD = "upload_time"  # the item feature that is a time: its number is the age of the video


@dataclass(frozen=True)
class Asked:
    """Impressions that were, or that could be."""

    user: np.ndarray  # int32 [n]
    item: np.ndarray  # int32 [n]
    timestamp: np.ndarray  # int64 [n]
    shown: np.ndarray  # int64 [n]: how often the video was shown to the user before


def asked(rows: Impressions, among: Impressions) -> Asked:
    """The impressions `rows`, as they stood among all that were shown."""
    pairs, all_pairs = (p.user.astype(np.int64) * len(p.item_ids) + p.item for p in (rows, among))
    shown, _ = counted_before(all_pairs, among.timestamp, pairs, rows.timestamp)
    return Asked(rows.user, rows.item, rows.timestamp, shown)


def categories(watches: Interactions, at: Asked) -> dict[str, np.ndarray]:
    """Each categorical feature, int [n]: those of the user and those of the video."""
    found = {f"user {name}": column[at.user] for name, column in _categorical(watches.user_features).items()}
    return found | {f"video {name}": column[at.item] for name, column in _categorical(watches.item_features).items()}


def numbers(watches: Interactions, at: Asked, factors: Sequence[likeness.Factors]) -> dict[str, np.ndarray]:
    """Each continuous feature, float64 [n], infinite where there is nothing to measure from.

    Beside those of the user and the video: the moment, since what is watched changes (all after training has the place
    of its end); impressions of this video before; seconds since the user's last watch; for each category of videos
    (topic, language), and for all of them at once, how many of its videos the user has watched, as a share of their
    watches too, and when last; how alike the video is to what the user has watched, and how often
    it had been watched (zoo.data.likeness).
    """
    times = watches.timestamp
    assert times is not None, "the log of a site has times"
    found: dict[str, np.ndarray] = {"moment": at.timestamp.astype(float)}
    for of, features, rows in (("user", watches.user_features, at.user), ("video", watches.item_features, at.item)):
        found |= {f"{of} {name}": column[rows].astype(float) for name, column in features.items() if _is_number(column)}
    if UPLOAD in watches.item_features:
        found["video age_seconds"] = (at.timestamp - watches.item_features[UPLOAD][at.item]).astype(float)
    found["impressions before"] = at.shown.astype(float)
    for name, (watched, asked_for) in _groups(watches.item_features, watches.item, at.item).items():
        span = 1 + int(max(watched.max(initial=0), asked_for.max(initial=0)))
        mine = watches.user.astype(np.int64) * span + watched
        theirs = at.user.astype(np.int64) * span + asked_for
        count, last = counted_before(mine, times, theirs, at.timestamp)
        found[f"watches of {name}"] = count.astype(float)
        found[f"seconds since {name}"] = np.where(count > 0, at.timestamp - last, np.inf)
        if name != "all":
            found[f"share of {name}"] = count / np.maximum(found["watches of all"], 1)
    alike, known = likeness.measured(watches, at.user, at.item, at.timestamp, factors)
    return found | {"likeness": alike, "watches of the video": known}


def _groups(
    features: Mapping[str, np.ndarray], watched: np.ndarray, asked_for: np.ndarray
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The group of each of two columns of videos, int64 each: all, by category, by all categories at once. Of these
    videos alone, so that a list takes no longer on a larger site."""
    found = {"all": (np.zeros(len(watched), np.int64), np.zeros(len(asked_for), np.int64))}
    first, second = found["all"]
    for name, column in _categorical(features).items():
        one, other = column[watched].astype(np.int64), column[asked_for].astype(np.int64)
        span = 1 + int(max(one.max(initial=0), other.max(initial=0)))
        found[name], first, second = (one, other), first * span + one, second * span + other
    return found | {"all categories": (first, second)} if len(found) > 2 else found


def _categorical(features: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: column for name, column in features.items() if name != UPLOAD and not _is_number(column)}


def _is_number(column: np.ndarray) -> bool:
    return column.dtype.kind == "f"


@dataclass(frozen=True)
class PageEncoding:
    """Fitted on training rows only."""

    videos: np.ndarray  # int32 [num_items]: the row of each video in the vocabulary, -1 outside it
    rows: Mapping[str, np.ndarray]  # by category int32 [values]: its row, -1 for one that training did not have
    quantiles: Mapping[str, np.ndarray]  # by number float64 [2, points]: distinct values, and the CDF at each
    factors: Sequence[likeness.Factors]  # of the videos, as time went by

    @property
    def num_videos(self) -> int:
        return int(self.videos.max(initial=-1)) + 1

    @property
    def sizes(self) -> tuple[int, ...]:
        """Rows of the table of each category."""
        return tuple(int(rows.max(initial=-1)) + 1 for rows in self.rows.values())

    def columns(self, watches: Interactions, at: Asked) -> dict[str, np.ndarray]:
        """`item` int32 [n], `codes` int32 [n, categories] and `numbers` float32 [n, numbers]."""
        held, measured = categories(watches, at), numbers(watches, at, self.factors)
        codes = [rows_of(held[name], rows) for name, rows in self.rows.items()]
        places = [place(measured[name], quantiles) for name, quantiles in self.quantiles.items()]
        return {
            "item": self.videos[at.item],
            "codes": np.stack(codes, 1).astype(np.int32) if codes else np.empty((len(at.item), 0), np.int32),
            "numbers": np.stack(places, 1).astype(np.float32),
        }


def rows_of(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The row of each category, -1 for one beyond `rows`."""
    return np.where(values < len(rows), rows[np.minimum(values, len(rows) - 1)], -1)


def place(values: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    """CDF(x), 1 beyond the largest training value, so that never is later than any time."""
    return np.where(np.isinf(values), 1.0, np.interp(values, *quantiles))


def fit(train: Impressions, at: Asked, most_videos: int, least_shown: int) -> PageEncoding:
    """The vocabulary has the `most_videos` most clicked videos of those that training showed `least_shown` times.

    Not of those that were clicked: what has no row would then be what was shown in vain.
    """
    watches = train.watches
    clicks = np.bincount(train.item[train.click > 0], minlength=watches.num_items)
    shown = np.bincount(train.item, minlength=watches.num_items)
    order = np.argsort(-clicks, kind="stable")
    videos = np.full(watches.num_items, -1, np.int32)
    kept = order[shown[order] >= least_shown][:most_videos]
    videos[kept] = np.arange(len(kept))
    rows = {}
    for name, values in categories(watches, at).items():
        met = np.bincount(values) > 0
        rows[name] = np.where(met, np.cumsum(met) - 1, -1).astype(np.int32)
    factors = likeness.fit(watches, at.timestamp)
    quantiles = {name: cdf(values) for name, values in numbers(watches, at, factors).items()}
    return PageEncoding(videos, rows, quantiles, factors)


def cdf(values: np.ndarray) -> np.ndarray:
    """float64 [2, points]: distinct quantiles of the finite values, ascending, and the share of all values at or below.

    A value that fills several quantiles, such as 0 of a count, stands once, in the middle of them.
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return np.array([[0.0], [0.0]])
    levels = np.linspace(0, 1, NUM_QUANTILES)
    found, which = np.unique(np.quantile(finite, levels), return_inverse=True)
    share = np.bincount(which, levels) / np.bincount(which)
    return np.stack([found, share * len(finite) / len(values)])
