"""The items of largest inner product with a query, among all of them, on the device.

exact       every product in float32
quantised   every product with items of 8 bits; of the RERANKED k best by these, the k best in float32

Both hold the float32 matrix; `quantised` also v as int8 c with a scale an item, v ~ s c with s = max |v| / 127, and
reads a quarter of the bytes. Its items lie CHUNK side by side, [chunks, dim, CHUNK], so that a sum over dim runs on
CHUNK of them at once: XLA's own product of int8 matrices takes many times as long on a CPU.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array


CHUNK = 128  # items a chunk of the two-level top-k
RERANKED = 2  # items of the first pass for each of the list


class Search(NamedTuple):
    """Items made ready to be searched."""

    best: Callable  # (arrays, queries, hidden rows, hidden items, num_items, k) -> ids, scores
    arrays: tuple[Array, ...]
    num_items: int


def exact(items: Array) -> Search:
    """Of item vectors float32 [items, dim]."""
    return Search(_exact, (_padded(items),), items.shape[0])


def quantised(items: Array) -> Search:
    """Of item vectors float32 [items, dim]."""
    padded = _padded(items)
    return Search(_quantised, (padded, *_codes(padded)), items.shape[0])


def check_finite(values: Array, what: str) -> None:
    if not bool(jnp.isfinite(values).all()):
        raise FloatingPointError(f"the {what} hold NaN or infinity: training diverged, try a lower learning rate")


def padded_size(num_items: int) -> int:
    """Whole chunks."""
    return -(-num_items // CHUNK) * CHUNK


@partial(jax.jit, static_argnums=(0, 5, 6))
def top_of_blocks(
    best: Callable,
    arrays: tuple[Array, ...],
    queries: Array,
    hidden_rows: Array,
    hidden_items: Array,
    num_items: int,
    k: int,
) -> tuple[Array, Array]:
    """The k <= num_items best items of queries float [blocks, users, dim]: ids int32 and scores, both [blocks, users,
    k], best first.

    Hidden pairs int32 [blocks, pairs], a row in its block and an item, have score -inf; a row out of range is none.
    """
    return jax.lax.map(lambda block: best(arrays, *block, num_items, k), (queries, hidden_rows, hidden_items))


def _padded(items: Array) -> Array:
    check_finite(items, "item vectors")
    missing = padded_size(items.shape[0]) - items.shape[0]
    return jnp.pad(items, ((0, missing), (0, 0))) if missing else items


@jax.jit
def _codes(items: Array) -> tuple[Array, Array]:
    """int8 [chunks, dim, CHUNK] and scales float32 [chunks, CHUNK] of padded items."""
    scale = jnp.max(jnp.abs(items), axis=1) / 127
    codes = jnp.round(items / jnp.where(scale > 0, scale, 1.0)[:, None]).astype(jnp.int8)
    return codes.reshape(-1, CHUNK, items.shape[1]).transpose(0, 2, 1), scale.reshape(-1, CHUNK)


def _exact(arrays, queries, hidden_rows, hidden_items, num_items, k):
    (items,) = arrays
    # One query as a vector: its product with a matrix of one row copies the items on a CPU.
    one = len(queries) == 1
    scores = multiply(items, queries[0])[None] if one else multiply(queries, items.T)  # [users, padded items]
    return two_level(_hidden(scores, hidden_rows, hidden_items, num_items), k)


def _quantised(arrays, queries, hidden_rows, hidden_items, num_items, k):
    items, codes, scale = arrays

    def products(query):
        sums = jnp.sum(codes.astype(jnp.float32) * query[None, :, None], axis=1)
        # The barrier: with more than a sum in its loop, XLA on a CPU takes one number at a time.
        return (jax.lax.optimization_barrier(sums) * scale).reshape(-1)

    first = _hidden(jax.lax.map(products, queries), hidden_rows, hidden_items, num_items)
    places, rough = two_level(first, min(RERANKED * k, num_items))
    scores = jnp.einsum("ukd,ud->uk", items[places], queries, precision=jax.lax.Precision.HIGHEST)
    scores, order = jax.lax.top_k(jnp.where(jnp.isneginf(rough), -jnp.inf, scores), k)
    return jnp.take_along_axis(places, order, axis=1), scores


def multiply(a: Array, b: Array) -> Array:
    """A product of float32 matrices in float32; an accelerator would by default round the factors first."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def _hidden(scores: Array, rows: Array, items: Array, num_items: int) -> Array:
    """-inf for hidden pairs and for the padding after the last item."""
    scores = scores.at[rows, items].set(-jnp.inf, mode="drop")
    return jnp.where(jnp.arange(scores.shape[1]) < num_items, scores, -jnp.inf)


def two_level(scores: Array, k: int) -> tuple[Array, Array]:
    """The k largest lie in the k chunks with the largest maxima, so only those are sorted: places and values."""
    chunks = scores.reshape(len(scores), -1, CHUNK)
    _, best = jax.lax.top_k(chunks.max(-1), min(k, chunks.shape[1]))
    candidates = jnp.take_along_axis(chunks, best[:, :, None], axis=1).reshape(len(scores), -1)
    values, place = jax.lax.top_k(candidates, k)
    return jnp.take_along_axis(best, place // CHUNK, axis=1) * CHUNK + place % CHUNK, values
