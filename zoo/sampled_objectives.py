"""Losses of next items against candidates that all positions of a batch share: those of GRU4Rec.

A position's candidates are the targets of the batch's other positions and `count` items drawn once for all, each as
likely as its number of training rows to the power `alpha`. With the score r of the target, r_j of the candidates and
s_j their softmax, in which the target has no part (Hidasi and Karatzoglou 2018, "Recurrent Neural Networks with Top-k
Gains for Session-based Recommendations", and the authors' code):

    cross_entropy   -log softmax(r - q log n)_target    over target and candidates
    top1_max        sum_j s_j (sigma(r_j - r) + sigma(r_j^2))
    bpr_max         -log(sum_j s_j sigma(r - r_j) + 1e-24) + penalty sum_j s_j r_j^2    of scores through ELU

A candidate that happens to be the target stays, as in the authors' code. The model gives `hidden(batch)`, a vector for
each position float [batch, length, dim], and `outputs(ids)`, the vectors and biases of items. A row's loss is the mean
over its positions with a label; `normaliser` says what share of the batch its mean over rows is of.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from zoo import negatives, parallel
from zoo.errors import InputError
from zoo.types import PADDING, Batch


Normaliser = Callable[[Batch], Array | float]


def over_real_rows(batch: Batch) -> Array | float:
    """The mean is over the rows that are there."""
    return 1.0


def over_all_rows(batch: Batch) -> Array | float:
    """The mean is over the size of the batch, however few of its rows are left, as sessions run out."""
    if "mask" not in batch:
        return 1.0
    return parallel.total(jnp.sum(batch["mask"])) / parallel.whole_size(len(batch["mask"]))


def cross_entropy(
    model: Any,
    batch: Batch,
    key: Array,
    *,
    count: int,
    alpha: float,
    logq: float = 1.0,
    normaliser: Normaliser = over_real_rows,
) -> Array:
    """n is the number of training rows of a target; of a drawn item, that to the power alpha."""
    found = _candidates(model, batch, key, count, alpha)
    target = found.target - logq * found.target_log_support
    others = jnp.where(found.others, found.scores - logq * found.log_support[None, :], -jnp.inf)
    return _by_row(jnp.logaddexp(target, jax.nn.logsumexp(others, axis=1)) - target, batch, normaliser)


def top1_max(
    model: Any, batch: Batch, key: Array, *, count: int, alpha: float, normaliser: Normaliser = over_real_rows
) -> Array:
    found = _candidates(model, batch, key, count, alpha)
    weight = _softmax(found.scores, found.others)
    terms = jax.nn.sigmoid(found.scores - found.target[:, None]) + jax.nn.sigmoid(found.scores**2)
    return _by_row(jnp.sum(weight * terms, axis=1), batch, normaliser)


def bpr_max(
    model: Any,
    batch: Batch,
    key: Array,
    *,
    count: int,
    alpha: float,
    penalty: float = 1.0,
    elu: float = 1.0,
    normaliser: Normaliser = over_real_rows,
) -> Array:
    """ELU(x) is x above 0, else `elu` (exp(x) - 1)."""
    found = _candidates(model, batch, key, count, alpha)
    target, scores = jax.nn.elu(found.target, elu), jax.nn.elu(found.scores, elu)
    weight = _softmax(scores, found.others)
    better = jnp.sum(weight * jax.nn.sigmoid(target[:, None] - scores), axis=1)
    squares = jnp.sum(weight * scores**2, axis=1)
    return _by_row(penalty * squares - jnp.log(better + 1e-24), batch, normaliser)


class Candidates(NamedTuple):
    """Of n positions, batch after batch row: their targets, and the c candidates of all."""

    target: Array  # float [n], scores of the targets
    scores: Array  # float [n, c]
    others: Array  # bool [n, c]: a candidate of that position, not its own target or padding
    target_log_support: Array  # float [n]
    log_support: Array  # float [c]


def _candidates(model: Any, batch: Batch, key: Array, count: int, alpha: float) -> Candidates:
    if count < 1:
        raise InputError(f"count is {count}: at least 1 item must be drawn, which a batch of one row needs")
    hidden = model.hidden(batch, train=True)
    hidden = hidden.reshape(-1, hidden.shape[-1])
    label = batch["label"].reshape(-1)
    drawn, _ = negatives.popularity(key, model, count=count, alpha=alpha)
    vectors, biases = model.outputs(label)
    drawn_vectors, drawn_biases = model.outputs(drawn)
    log_support = model.get_variable("constants", "item_log_support")
    own_support = log_support.at[label].get(mode="fill", fill_value=0)
    # What the positions of all devices have; those of this one are a part of it.
    ids, all_vectors, all_biases, support = map(parallel.gather, (label, vectors, biases, own_support))
    scores = hidden @ jnp.concatenate([all_vectors, drawn_vectors]).T
    place = jnp.arange(len(ids) + count)
    there = jnp.concatenate([ids < model.num_items, jnp.ones(count, bool)])
    return Candidates(
        target=jnp.sum(hidden * vectors, axis=1) + biases,
        scores=scores + jnp.concatenate([all_biases, drawn_biases])[None, :],
        others=there[None, :] & (place[None, :] != parallel.own_part(place[: len(ids)])[:, None]),
        target_log_support=own_support,
        log_support=jnp.concatenate([support, alpha * log_support[drawn]]),
    )


def _softmax(scores: Array, there: Array) -> Array:
    return jax.nn.softmax(jnp.where(there, scores, -jnp.inf), axis=1)


def _by_row(losses: Array, batch: Batch, normaliser: Normaliser) -> Array:
    """float [batch * length] -> [batch], the mean over the positions with a label."""
    label = batch["label"]
    real = (label != PADDING).astype(losses.dtype)
    sums = jnp.sum(losses.reshape(label.shape) * real, axis=1)
    return sums / jnp.maximum(jnp.sum(real, axis=1), 1.0) * normaliser(batch)
