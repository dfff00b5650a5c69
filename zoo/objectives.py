"""Losses of a model on a batch, one number an example: objective(model, batch, key) -> float [batch].

The train step runs an objective inside the model's scope, masks padding, and takes the mean over the real examples.
Other settings are keyword arguments, to be fixed with functools.partial. `l2` adds l2 / 2 * |v|^2 for the vectors v of
an example's user and positive item, `bpr` also the mean over its negatives: the strength felt by a row grows with how
often it occurs.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from zoo import parallel
from zoo.errors import InputError
from zoo.types import PADDING, Batch


def squared_error(model: Any, batch: Batch, key: Array) -> Array:
    """(score - label)^2 / 2."""
    del key
    return 0.5 * (model(batch, train=True) - batch["label"]) ** 2


def logistic(model: Any, batch: Batch, key: Array, *, smoothing: float = 0.0) -> Array:
    """Cross-entropy of a 0/1 label with logit = score: log(1 + exp(-logit)) or log(1 + exp(logit)).

    With smoothing s the label is s / 2 or 1 - s / 2 (Szegedy et al. 2016, section 7).
    """
    del key
    label = (1 - smoothing) * batch["label"] + smoothing / 2
    return optax.losses.sigmoid_binary_cross_entropy(model(batch, train=True), label)


def cross_entropy(model: Any, batch: Batch, key: Array) -> Array:
    """-log softmax(logits)[label] of a Classifier, in nats; the mean over the labels of an example that has several."""
    del key
    losses, real = nats(model(batch, train=True), batch["label"])
    axes = tuple(range(1, losses.ndim))
    return jnp.sum(losses, axes) / jnp.maximum(jnp.sum(real, axes), 1.0)


def nats(logits: Array, label: Array) -> tuple[Array, Array]:
    """-log softmax(logits)[label], float [*shape], of logits [*shape, classes]; 0 where a label is no class, and where
    it is one, float [*shape]."""
    num_classes = logits.shape[-1]
    real = ((label >= 0) & (label < num_classes)).astype(logits.dtype)
    chosen = jnp.take_along_axis(logits, jnp.clip(label, 0, num_classes - 1)[..., None], axis=-1)[..., 0]
    return (jax.nn.logsumexp(logits, axis=-1) - chosen) * real, real


def watch_time_logistic(model: Any, batch: Batch, key: Array, *, unit_seconds: float = 60.0) -> Array:
    """Weighted logistic regression whose score is the log of expected watch seconds (Covington et al. 2016, section
    4.2).

    With the watch seconds T of a click as its `weight`, and weight 1 for what was not clicked, the loss is
    T / unit log(1 + exp(-logit)) or log(1 + exp(logit)), logit = score - log(unit): the odds that it learns are
    E[T y] / (1 - P(y)) in units. Its optimum does not depend on the unit, what is fitted on finite data does: where
    most odds are far above 1 (in seconds) the relative error of each promise counts, where they are far below 1 (in
    hours) it is the total that must add up.
    """
    del key
    logit = model(batch, train=True) - jnp.log(unit_seconds)
    return jnp.where(batch["label"] > 0, jax.nn.softplus(-logit) / unit_seconds, jax.nn.softplus(logit))


def bpr(model: Any, batch: Batch, key: Array, *, num_negatives: int = 1, l2: float = 0.0) -> Array:
    """Bayesian personalised ranking, -log sigmoid(s_pos - s_neg) (Rendle et al. 2009, equation 4), mean over negatives.

    Negatives are uniform over all items and drawn anew for each example. One may be an item that the user has: at the
    densities of real catalogues that is rare, and its gradient is a tie, not an error.
    """
    prepared = model.prepare(batch, train=True)
    query = model.query(batch, prepared, train=True)
    drawn = uniform_negatives(model, batch, key, num_negatives)
    items = model.item_vectors(
        jnp.concatenate([batch["item"][:, None], drawn], axis=1), prepared
    )  # [batch, 1 + negatives, dim]
    scores = jnp.einsum("bd,bnd->bn", query, items)
    loss = jnp.mean(jax.nn.softplus(scores[:, 1:] - scores[:, :1]), axis=1)
    squares = jnp.sum(query**2, -1) + jnp.sum(items[:, 0] ** 2, -1) + jnp.mean(jnp.sum(items[:, 1:] ** 2, -1), 1)
    return loss + 0.5 * l2 * squares


def uniform_negatives(model: Any, batch: Batch, key: Array, count: int) -> Array:
    """Item rows int32 [batch, count], uniform over all items; PADDING for a padded example, whose negatives must not
    move."""
    size = parallel.whole_size(len(batch["item"]))
    drawn = parallel.own_part(jax.random.randint(key, (size, count), 0, model.num_items, jnp.int32))
    return jnp.where(batch["mask"][:, None] > 0, drawn, PADDING) if "mask" in batch else drawn


def bpr_in_pairs(model: Any, batch: Batch, key: Array) -> Array:
    """BPR where examples 2j and 2j + 1 of a batch are each other's negative, which takes no third lookup.

    As the order of an epoch is random, an item is a negative as often as it is frequent. It may be an item that the
    user has; two of the same item teach nothing. An example beside padding has no loss. The batch size must be even.
    Regularise in the optimizer, by `l2_each_lookup`: there it costs no pass over the vectors.
    """
    del key
    size = len(batch["item"])
    if size % 2:
        raise InputError(f"batch_size is {size}: bpr_in_pairs needs an even one")
    prepared = model.prepare(batch, train=True)
    query = model.query(batch, prepared, train=True)
    items = model.item_vectors(batch["item"], prepared)
    pairs, queries = items.reshape(size // 2, 2, -1), query.reshape(size // 2, 2, -1)
    # Both margins of a pair are products with one difference, but for the sign. The barrier keeps it from being
    # computed anew inside the products, and einsum with two rows a pair is several times as fast here as a sum.
    difference = jax.lax.optimization_barrier(pairs[:, 0] - pairs[:, 1])
    losses = jax.nn.softplus(jnp.einsum("jpd,jd->jp", queries, difference) * jnp.array([[-1.0, 1.0]]))
    if "mask" in batch:
        losses = losses * batch["mask"].reshape(size // 2, 2)[:, ::-1]
    return losses.reshape(size)


def in_batch_softmax(
    model: Any, batch: Batch, key: Array, *, correct: bool = True, temperature: float = 1.0, l2: float = 0.0
) -> Array:
    """Softmax cross-entropy against the other positives of the batch, with the logQ correction (Yi et al. 2019, eq. 3
    and 5).

    An item stands in a batch as often as it is frequent, so log of its training frequency (the constant
    `item_log_frequency`) is subtracted from its logit, unless `correct` is False. Copies of an example's own item are
    not negatives.
    """
    del key
    prepared = model.prepare(batch, train=True)
    query = model.query(batch, prepared, train=True)
    items = model.item_vectors(batch["item"], prepared)
    log_frequency = model.get_variable("constants", "item_log_frequency")
    log_q = log_frequency.at[batch["item"]].get(mode="fill", fill_value=0) if correct else jnp.zeros(len(items))
    positive = jnp.sum(query * items, -1) / temperature - log_q
    ids = parallel.gather(batch["item"])
    logits = query @ parallel.gather(items).T / temperature - parallel.gather(log_q)[None, :]  # [batch, whole batch]
    excluded = batch["item"][:, None] == ids[None, :]
    if "mask" in batch:
        excluded = excluded | (parallel.gather(batch["mask"])[None, :] == 0)
    place = jnp.arange(len(ids))
    excluded = excluded & (parallel.own_part(place)[:, None] != place[None, :])
    loss = jax.nn.logsumexp(jnp.where(excluded, -jnp.inf, logits), axis=1) - positive
    return loss + 0.5 * l2 * (jnp.sum(query**2, -1) + jnp.sum(items**2, -1))


def sampled_softmax(
    model: Any,
    batch: Batch,
    key: Array,
    *,
    sampler: Callable,
    correct: bool = True,
    temperature: float = 1.0,
    l2: float = 0.0,
) -> Array:
    """Softmax cross-entropy against items drawn once for the whole batch (see zoo.negatives), with the logQ correction.

    Logits are s - log Q(item), Q the expected count of the item among the negatives; with `correct=False` plain s.
    Drawn copies of an example's own item are not negatives. It stands in the softmax once, so its Q is at most 1, and
    the loss goes to that of the full softmax as the sample grows.
    """
    prepared = model.prepare(batch, train=True)
    query = model.query(batch, prepared, train=True)
    drawn, log_q = sampler(key, model)
    positives = model.item_vectors(batch["item"], prepared)
    positive = jnp.sum(query * positives, -1) / temperature
    negative = query @ model.item_vectors(drawn, prepared).T / temperature  # [batch, negatives]
    if correct:
        positive = positive - jnp.minimum(log_q(batch["item"]), 0.0)
        negative = negative - log_q(drawn)[None, :]
    negative = jnp.where(drawn[None, :] == batch["item"][:, None], -jnp.inf, negative)
    loss = jax.nn.logsumexp(jnp.concatenate([positive[:, None], negative], 1), axis=1) - positive
    return loss + 0.5 * l2 * (jnp.sum(query**2, -1) + jnp.sum(positives**2, -1))


def full_softmax(model: Any, batch: Batch, key: Array, *, temperature: float = 1.0, l2: float = 0.0) -> Array:
    """Softmax cross-entropy over all items: the reference for the sampled ones. The item table trains densely."""
    del key
    prepared = model.prepare(batch, train=True)
    query = model.query(batch, prepared, train=True)
    items = model.item_vectors(None, prepared)
    logits = query @ items.T / temperature  # [batch, items]
    item = jnp.minimum(
        batch["item"], logits.shape[1] - 1
    )  # a padded example has an id out of range; its loss is masked
    positive = jnp.take_along_axis(logits, item[:, None], axis=1)[:, 0]
    squares = jnp.sum(query**2, -1) + jnp.sum(items[item] ** 2, -1)
    return jax.nn.logsumexp(logits, axis=1) - positive + 0.5 * l2 * squares
