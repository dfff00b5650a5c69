"""What is known of a user at a moment beside the watches: searches, where and who the user is, and the example's age.

An encoding is fitted on the training part. Categories become rows (-1 for one that training did not have), numbers
lie between 0 and 1: (x - least) / (most - least) of the training users, and of the age of an example the time from it
to the end of training over the length of training, 0 from then on, as in serving.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zoo.data import histories
from zoo.data.interactions import Interactions, Searches
from zoo.data.page_features import rows_of
from zoo.errors import InputError


SEARCHES, USERS, AGE = "searches", "users", "example_age"  # what can be asked for


@dataclass(frozen=True)
class UserEncoding:
    """Fitted on the training part; what it does not have is left empty."""

    rows: Mapping[str, np.ndarray]  # by category int32 [values]: its row, -1 for one that training did not have
    ranges: Mapping[str, tuple[float, float]]  # by number: least and most
    training: tuple[int, int] | None  # its first and last moment: the age of an example is a number more, the last
    num_tokens: int
    longest: int  # tokens of the searches

    @property
    def sizes(self) -> tuple[int, ...]:
        """Rows of the table of each category."""
        return tuple(int(rows.max(initial=-1)) + 1 for rows in self.rows.values())

    @property
    def num_numbers(self) -> int:
        return len(self.ranges) + (self.training is not None)

    def columns(self, log: Interactions, user: np.ndarray, time: np.ndarray | None) -> dict[str, np.ndarray]:
        """Columns of users int [n] at moments int64 [n]; without `time`, after all that is known.

        `codes` int32 [n, categories], `numbers` float32 [n, numbers], and `search_start` and `search_length` int32 [n]:
        the latest searches before the moment, a range of the constant `search_log`. Each where there is any.
        """
        found: dict[str, np.ndarray] = {}
        if self.rows:
            codes = [rows_of(log.user_features[name][user], rows) for name, rows in self.rows.items()]
            found["codes"] = np.stack(codes, 1).astype(np.int32)
        places = [
            np.clip((log.user_features[name][user] - least) / max(most - least, 1e-9), 0, 1)
            for name, (least, most) in self.ranges.items()
        ]
        if self.training is not None:
            first, last = self.training
            age = np.zeros(len(user)) if time is None else np.maximum(last - time, 0) / max(last - first, 1)
            places.append(np.minimum(age, 1))
        if places:
            found["numbers"] = np.stack(places, 1).astype(np.float32)
        if self.num_tokens:
            assert log.searches is not None, "an encoding with tokens is of data with searches"
            ranges = _searched(log.searches, user, time, self.longest)
            found |= {"search_start": ranges.start, "search_length": ranges.length}
        return found

    def constants(self, log: Interactions) -> dict[str, np.ndarray]:
        """`search_log`, where there are searches."""
        return {"search_log": log.searches.token} if self.num_tokens and log.searches is not None else {}


def _searched(searches: Searches, user: np.ndarray, time: np.ndarray | None, longest: int) -> histories.Ranges:
    first = np.searchsorted(searches.user, user)
    if time is None:
        count = np.searchsorted(searches.user, user, side="right") - first
    else:
        count, _ = histories.counted_before(searches.user, searches.timestamp, user, time)
    start = np.maximum(first, first + count - longest)
    return histories.Ranges(start.astype(np.int32), (first + count - start).astype(np.int32))


def fit(train: Interactions, features: Sequence[str], longest: int) -> UserEncoding:
    """An encoding of those of `features` that the data has: searches, users (all features of users), example_age."""
    for name in features:
        if name not in (SEARCHES, AGE, USERS):
            raise InputError(f"feature {name!r}: there are {SEARCHES}, {USERS} and {AGE}, beside the watches")
    if longest < 1:
        raise InputError(f"longest_searches is {longest}: a bag of searches has room for at least 1 token")
    times, met = train.timestamp, np.unique(train.user)
    of_users = train.user_features if USERS in features else {}
    rows, ranges = {}, {}
    for name, column in of_users.items():
        if column.dtype.kind == "f":
            ranges[name] = float(column[met].min()), float(column[met].max())
        else:
            known = np.bincount(column[met]) > 0
            rows[name] = np.where(known, np.cumsum(known) - 1, -1).astype(np.int32)
    searched = SEARCHES in features and train.searches is not None and len(train.searches.token) > 0
    return UserEncoding(
        rows=rows,
        ranges=ranges,
        training=(int(times.min()), int(times.max())) if AGE in features and times is not None else None,
        num_tokens=train.searches.num_tokens if searched and train.searches is not None else 0,
        longest=longest,
    )
