"""How alike a video is to what its user has watched: (mean of e_j over the watches j before) . e_v.

    e = V / sqrt(watches of the video),   A ~ U S V^T of rank RANK,   A[u, v] = 1 / sqrt(watches of u, watches of v)

A is refitted SPANS times while training lasts, on the watches before, and an impression has the last fit before it: a
factor that knew what the user was to watch would promise more in training than at serving. A video that nobody had
watched has e = 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zoo.data.histories import counted_before
from zoo.data.interactions import Interactions


RANK = 16
SPANS = 4
LEAD = 0.04  # of the time, before the first fit
SWEEPS = 3  # of subspace iteration, from the fit before
FIRST_SWEEPS = 10


@dataclass(frozen=True)
class Factors:
    since: int  # the moment of the fit
    vectors: np.ndarray  # float32 [num_items, RANK]
    watched: np.ndarray  # int64 [num_items], before that moment


def fit(watches: Interactions, times: np.ndarray) -> tuple[Factors, ...]:
    """Factors at SPANS + 1 moments between the first and the last of `times` int64 [n], the first a little after it.

    Those before the first moment share its fit, and the last is of all watches up to the last time.
    """
    assert watches.timestamp is not None, "without times there is no before"
    opening, end = int(times.min()), int(times.max()) + 1
    basis = np.random.default_rng(0).standard_normal((watches.num_items, min(RANK, watches.num_items)))
    found = []
    for moment in np.linspace(opening + LEAD * (end - opening), end, SPANS + 1).astype(np.int64).tolist():
        before = watches.timestamp < moment
        user, item = watches.user[before], watches.item[before]
        basis = _right_vectors(user, item, watches.num_users, basis, SWEEPS if found else FIRST_SWEEPS)
        watched = np.bincount(item, minlength=watches.num_items)
        vectors = np.where(watched[:, None] > 0, basis / np.sqrt(np.maximum(watched, 1))[:, None], 0)
        found.append(Factors(moment, vectors.astype(np.float32), watched))
    return tuple(found)


def _right_vectors(user: np.ndarray, item: np.ndarray, num_users: int, basis: np.ndarray, sweeps: int) -> np.ndarray:
    """An orthonormal basis of the leading right singular vectors of A, float64 [num_items, rank]."""
    of_user, of_item = np.bincount(user, minlength=num_users), np.bincount(item, minlength=len(basis))
    value = 1 / np.sqrt(of_user[user] * of_item[item].astype(float))
    for _ in range(sweeps):
        columns = []
        for column in np.linalg.qr(basis)[0].T:
            left = np.bincount(user, value * column[item], num_users)
            columns.append(np.bincount(item, value * left[user], len(basis)))
        basis = np.stack(columns, 1)
    return np.linalg.qr(basis)[0]


def measured(
    watches: Interactions, user: np.ndarray, item: np.ndarray, time: np.ndarray, factors: Sequence[Factors]
) -> tuple[np.ndarray, np.ndarray]:
    """The likeness of a video to what a user has watched before a moment, 0 without a watch, and how often the video
    had been watched by the time of the fit: float64 [n] each."""
    assert watches.timestamp is not None, "without times there is no before"
    order = np.lexsort((watches.timestamp, watches.user))
    log = watches.item[order]
    first = np.searchsorted(watches.user[order], user)
    count, _ = counted_before(watches.user, watches.timestamp, user, time)
    which = np.searchsorted([fitted.since for fitted in factors], time, side="right") - 1
    alike, known = np.zeros(len(user)), np.zeros(len(user))
    for number, fitted in enumerate(factors):
        rows = np.flatnonzero(np.maximum(which, 0) == number)
        if len(rows):
            start, stop = first[rows], first[rows] + count[rows]
            sums = np.cumsum(np.pad(fitted.vectors[log].astype(np.float64), ((1, 0), (0, 0))), axis=0)
            mean = (sums[stop] - sums[start]) / np.maximum(count[rows], 1)[:, None]
            alike[rows] = np.einsum("nd,nd->n", mean, fitted.vectors[item[rows]])
            known[rows] = fitted.watched[item[rows]]
    return alike, known
