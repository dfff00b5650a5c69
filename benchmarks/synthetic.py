"""Made-up interactions of any size and skew. Only speed is measured on them: they teach nothing."""

import numpy as np

from zoo.data.interactions import Interactions


def zipf_ids(rng: np.random.Generator, size: int, num_rows: int, exponent: float) -> np.ndarray:
    """`size` int32 ids below num_rows; the id of rank r is drawn in proportion to r ** -exponent, 0 being uniform.

    Ranks are spread over the ids at random: frequent rows are not neighbours in memory.
    """
    if exponent == 0:
        return rng.integers(0, num_rows, size, dtype=np.int32)
    cumulative = np.cumsum(np.arange(1, num_rows + 1, dtype=np.float64) ** -exponent)
    ranks = np.searchsorted(cumulative, rng.random(size) * cumulative[-1], side="right")
    return rng.permutation(num_rows).astype(np.int32)[np.minimum(ranks, num_rows - 1)]


def interactions(num_users: int, num_items: int, size: int, exponent: float, seed: int) -> Interactions:
    """`size` interactions with skewed users and items, ratings 1 to 5 and rising times. Raw ids are the row numbers."""
    rng = np.random.default_rng(seed)
    return Interactions(
        user=zipf_ids(rng, size, num_users, exponent),
        item=zipf_ids(rng, size, num_items, exponent),
        rating=rng.integers(1, 6, size).astype(np.float32),
        timestamp=np.arange(size, dtype=np.int64),
        user_ids=np.arange(num_users),
        item_ids=np.arange(num_items),
    )
