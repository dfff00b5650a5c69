"""Losses of a Retriever whose positives are the next few watches of an example, not the next one alone.

They read the constant `history_log`, in which those watches follow the example's history. An example whose user has
fewer left has the mean over those that there are.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from zoo.layers import next_watches
from zoo.objectives import uniform_negatives
from zoo.types import PADDING, Batch


def logistic(model: Any, batch: Batch, key: Array, *, num_targets: int = 3, num_negatives: int = 3) -> Array:
    """Mean of -log sigmoid(s) over the next watches + mean of -log(1 - sigmoid(s)) over negatives of the example's own.

    Tang and Wang 2018 (Caser), equation 10, with each of the two sums a mean, as in the authors' code. Negatives are
    uniform over all items and may be one that the user has; there they are drawn among the others.
    """
    positives, there = _positives(model, batch, num_targets)
    prepared = model.prepare(batch, train=True)
    query = model.query(batch, prepared, train=True)
    drawn = uniform_negatives(model, batch, key, num_negatives)
    items = model.item_vectors(jnp.concatenate([positives, drawn], axis=1), prepared)
    scores = jnp.einsum("bd,bnd->bn", query, items)
    positive = _mean(jax.nn.softplus(-scores[:, :num_targets]), there)
    return positive + jnp.mean(jax.nn.softplus(scores[:, num_targets:]), axis=1)


def sampled_softmax(
    model: Any, batch: Batch, key: Array, *, sampler: Callable, num_targets: int = 3, correct: bool = True
) -> Array:
    """Softmax cross-entropy of each of the next watches against items drawn once for the batch (see zoo.negatives),
    with the logQ correction; the mean over the next watches.

    As objectives.sampled_softmax, which this is for one target; drawn copies of any of the targets are not negatives,
    so that a query has one sum over negatives, however many the targets.
    """
    positives, there = _positives(model, batch, num_targets)
    prepared = model.prepare(batch, train=True)
    query = model.query(batch, prepared, train=True)
    drawn, log_q = sampler(key, model)
    positive = jnp.einsum("bd,bnd->bn", query, model.item_vectors(positives, prepared))
    negative = query @ model.item_vectors(drawn, prepared).T  # [batch, negatives]
    if correct:
        positive = positive - jnp.minimum(log_q(positives), 0.0)
        negative = negative - log_q(drawn)[None, :]
    for target in positives.T:
        negative = jnp.where(drawn[None, :] == target[:, None], -jnp.inf, negative)
    others = jax.nn.logsumexp(negative, axis=1)[:, None]
    return _mean(jax.nn.softplus(others - positive), there)


def _positives(model: Any, batch: Batch, count: int) -> tuple[Array, Array]:
    """The next watches int32 [batch, count], and where there is one, float."""
    found = next_watches(batch, model.get_variable("constants", "history_log"), count)
    return found, (found != PADDING).astype(jnp.float32)


def _mean(losses: Array, there: Array) -> Array:
    return jnp.sum(losses * there, axis=1) / jnp.maximum(jnp.sum(there, axis=1), 1.0)
