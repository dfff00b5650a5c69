"""Metrics of rankings, ratings and clicks: numpy on the host, sums in float64, denominators in their docstrings.

Ranking metrics take `hits`, bool [users, k], whether the item at each place of a user's list is relevant, and
`num_relevant`, int [users], how many relevant items the user has (at least 1); they give one number a user.
"""

from collections.abc import Callable

import numpy as np

from zoo.errors import InputError


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


def whole_average_precision(scores: np.ndarray, relevant: np.ndarray, seen: np.ndarray) -> float:
    """Sum of precision at each relevant item / relevant items, over the list of all items but `seen` by falling score.

    Of one user: scores [items], rows of items int [n]. Ties stand against the relevant items; one that is also `seen`
    is not listed.

    >>> whole_average_precision(np.array([3.0, 9.0, 2.0, 2.0]), np.array([0, 2]), np.array([1]))
    0.8333333333333333
    """
    others = np.ones(len(scores), bool)
    others[seen] = False
    listed = relevant[others[relevant]]
    others[listed] = False
    own = np.sort(scores[listed])[::-1]
    rivals = np.sort(scores[others])
    hits = np.arange(1, len(own) + 1)
    before = len(rivals) - np.searchsorted(rivals, own, side="left")  # rivals that score as high or higher
    return float((hits / (hits + before)).sum() / len(relevant))


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


def auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """P(a click scores above a non-click), ties one half: (rank sum of clicks - P (P + 1) / 2) / (P N), mid-ranks.

    Exact over the whole set. InputError where all labels are equal: the AUC is then undefined.

    >>> auc(np.array([0.1, 0.4, 0.4, 0.8]), np.array([0, 0, 1, 1]))
    0.875
    """
    positive = np.asarray(labels) > 0
    num_positive = int(positive.sum())
    num_negative = len(positive) - num_positive
    if not num_positive or not num_negative:
        raise InputError(
            f"the AUC of {len(positive):,} examples is undefined: all labels are {int(num_positive > 0)}; "
            "it needs clicks and non-clicks among the held-out rows"
        )
    if np.isnan(scores).any():
        return float("nan")
    _, which, count = np.unique(scores, return_inverse=True, return_counts=True)
    above = np.cumsum(count)
    middle = (above - count + 1 + above)[which]  # twice the mid-rank, whole numbers
    rank_sum = int(middle[positive].sum(dtype=np.int64))
    return (rank_sum - num_positive * (num_positive + 1)) / (2 * num_positive * num_negative)


def gauc(scores: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> float:
    """Mean of the AUC within each group (a user), weighted by its examples; groups of one class are left out.

    InputError where no group has both classes.
    """
    order = np.argsort(groups, kind="stable")
    bounds = np.flatnonzero(np.diff(np.asarray(groups)[order])) + 1
    total, weight = 0.0, 0
    for rows in np.split(order, bounds):
        if 0 < (labels[rows] > 0).sum() < len(rows):
            total += auc(scores[rows], labels[rows]) * len(rows)
            weight += len(rows)
    if not weight:
        raise InputError("the GAUC is undefined: no user has both clicks and non-clicks among the held-out rows")
    return total / weight


def log_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean of -log P(label) in nats, P(1) = sigmoid(logit)."""
    logits = np.asarray(logits, np.float64)
    return float(np.mean(np.logaddexp(0.0, logits) - labels * logits))


def top_1(logits: np.ndarray, labels: np.ndarray) -> float:
    """Share of examples whose class has the highest of their logits [n, classes]; a tie is no hit.

    >>> top_1(np.array([[0.0, 2, 1], [1, 1, 0], [0, 1, 3]]), np.array([1, 0, 2]))  # doctest: +ELLIPSIS
    0.666...
    """
    own = np.take_along_axis(logits, labels[:, None], 1)
    return float(((logits >= own).sum(1) == 1).mean())


def nats(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean of -log softmax(logits)[label], logits [n, classes]."""
    logits = logits.astype(np.float64)
    top = logits.max(1)
    total = top + np.log(np.exp(logits - top[:, None]).sum(1))
    return float((total - np.take_along_axis(logits, labels[:, None], 1)[:, 0]).mean())


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Share of examples whose logit is on the side of its label: above 0 for 1; a logit of exactly 0 says 0."""
    logits = np.asarray(logits)
    return float(np.mean(np.where(np.isnan(logits), np.nan, (logits > 0) == (np.asarray(labels) > 0))))


def calibration(logits: np.ndarray, labels: np.ndarray) -> float:
    """Sum of predicted probabilities / number of clicks: 1 is right on average, above 1 promises too much."""
    logits = np.asarray(logits, np.float64)
    clicks = float(np.sum(labels))
    if not clicks:
        raise InputError("the calibration is undefined: there are no clicks among the held-out rows")
    return float(np.exp(-np.logaddexp(0.0, -logits)).sum() / clicks)


def weighted_user_loss(scores: np.ndarray, clicks: np.ndarray, seconds: np.ndarray, pages: np.ndarray) -> float:
    """Watch time that is mispredicted / watch time, over the pairs of a click and a non-click on one page.

    The watch time of a click is mispredicted by a pair whose non-click scores higher, and by half at equal scores: any
    constant has 0.5 (Covington et al. 2016, section 4.3). InputError where no page has both, with some watch time.

    >>> weighted_user_loss(np.array([3, 1, 2]), np.array([1, 1, 0]), np.array([30, 10, 0]), np.array([0, 0, 0]))
    0.25
    """
    if np.isnan(scores).any():
        return float("nan")
    page = np.unique(pages, return_inverse=True)[1]
    value = np.unique(scores, return_inverse=True)[1]
    clicked = np.asarray(clicks) > 0
    other = np.sort(page[~clicked].astype(np.int64) * (len(scores) + 1) + value[~clicked])
    start = page[clicked].astype(np.int64) * (len(scores) + 1)
    first, below, through, end = (
        np.searchsorted(other, start + offset) for offset in (0, value[clicked], value[clicked] + 1, len(scores) + 1)
    )
    held = np.asarray(seconds, np.float64)[clicked]
    total = float((held * (end - first)).sum())
    if not total:
        raise InputError("the weighted user loss is undefined: no held-out page has a watched click and a non-click")
    return float((held * (end - through + (through - below) / 2)).sum()) / total
