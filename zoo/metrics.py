"""Metrics of rankings and ratings: numpy on the host, sums in float64, each with its denominator in its docstring.

Ranking metrics take `hits`, bool [users, k], whether the item at each place of a user's list is relevant, and
`num_relevant`, int [users], how many relevant items the user has (at least 1); they give one number a user.
"""

from collections.abc import Callable

import numpy as np


def recall(hits: np.ndarray, num_relevant: np.ndarray) -> np.ndarray:
    """Hits / relevant items.

    >>> recall(np.array([[True, False, True]]), np.array([4]))
    array([0.5])
    """
    return hits.sum(1) / num_relevant


def recall_capped(hits: np.ndarray, num_relevant: np.ndarray) -> np.ndarray:
    """Hits / min(k, relevant items): the recall of the Mult-VAE, EASE and iALS papers.

    >>> recall_capped(np.array([[True, False, True]]), np.array([4])).round(3)
    array([0.667])
    """
    return hits.sum(1) / np.minimum(hits.shape[1], num_relevant)


def precision(hits: np.ndarray, num_relevant: np.ndarray) -> np.ndarray:
    """Hits / k."""
    return hits.mean(1)


def hit_rate(hits: np.ndarray, num_relevant: np.ndarray) -> np.ndarray:
    """1 if any item is a hit."""
    return hits.any(1).astype(np.float64)


def mrr(hits: np.ndarray, num_relevant: np.ndarray) -> np.ndarray:
    """1 / place of the first hit, 0 without one.

    >>> mrr(np.array([[False, True, True], [False, False, False]]), np.array([2, 1]))
    array([0.5, 0. ])
    """
    first = hits.argmax(1) + 1
    return np.where(hits.any(1), 1 / first, 0.0)


def average_precision(hits: np.ndarray, num_relevant: np.ndarray) -> np.ndarray:
    """Sum of precision at each hit / min(k, relevant items).

    >>> average_precision(np.array([[True, False, True]]), np.array([2])).round(4)
    array([0.8333])
    """
    places = np.arange(1, hits.shape[1] + 1)
    at_hits = np.where(hits, hits.cumsum(1) / places, 0.0)
    return at_hits.sum(1) / np.minimum(hits.shape[1], num_relevant)


def ndcg(hits: np.ndarray, num_relevant: np.ndarray) -> np.ndarray:
    """Sum over hits of 1 / log2(place + 1), over the same sum of the best list, min(k, relevant items) hits on top.

    >>> ndcg(np.array([[False, True]]), np.array([1])).round(4)
    array([0.6309])
    """
    discounts = 1 / np.log2(np.arange(2, hits.shape[1] + 2))
    best = np.concatenate([[0.0], discounts.cumsum()])[np.minimum(hits.shape[1], num_relevant)]
    return (hits * discounts).sum(1) / best


# The metric of "recall@20", by the word before the @.
AT_K: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "recall": recall,
    "recall_capped": recall_capped,
    "precision": precision,
    "hit_rate": hit_rate,
    "mrr": mrr,
    "map": average_precision,
    "ndcg": ndcg,
}


# recall_tail@20 is recall over the same lists with only the tail's items relevant, a mean over users who have one.
BUCKETS = ("head", "mid", "tail")


def popularity_buckets(counts: np.ndarray) -> np.ndarray:
    """The place in BUCKETS of each item by its training interactions `counts` int [items]: int8 [items].

    Items stand in falling order of their count, the lower row first among equals, and the interactions in the order of
    their items: an item is of the head if its first interaction lies in the first third of all, of the mid if in the
    second, of the tail if in the last or if it has none. The head is few items, the tail most.

    >>> popularity_buckets(np.array([1, 5, 1, 2, 0]))
    array([2, 0, 2, 1, 2], dtype=int8)
    """
    order = np.argsort(-counts, kind="stable")
    before = np.cumsum(counts[order]) - counts[order]
    buckets = np.empty(len(counts), np.int8)
    buckets[order] = np.minimum(3 * before // max(counts.sum(), 1), 2)
    return buckets


def popularity(items: np.ndarray, counts: np.ndarray) -> float:
    """Mean of ln(training interactions, at least 1) over all listed items: its exponential is a geometric mean.

    Items int [users, k], entries >= len(counts) do not count; `counts` int [items].
    """
    return float(np.log(np.maximum(counts[items[items < len(counts)]], 1)).mean())


def coverage(items: np.ndarray, num_items: int) -> float:
    """Share of the catalogue that stands in at least one list; items int [users, k], entries >= num_items do not
    count."""
    listed = np.unique(items)
    return float((listed < num_items).sum() / num_items)


def rmse(scores: np.ndarray, labels: np.ndarray) -> float:
    """Square root of the mean squared error over all examples (not a mean over batches)."""
    return float(np.sqrt(np.mean((np.asarray(scores, np.float64) - labels) ** 2)))


def mae(scores: np.ndarray, labels: np.ndarray) -> float:
    """Mean absolute error."""
    return float(np.mean(np.abs(np.asarray(scores, np.float64) - labels)))
