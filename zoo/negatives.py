"""Items drawn as negatives, on the device, and the log of how often each is expected to be drawn.

A sampler is a function (key, model) -> (ids int32 [negatives], log_q of any id): `log_q(ids)` is what the logQ
correction subtracts, for the drawn items and for the positives alike.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array


LogQ = Callable[[Array], Array]


def uniform(key: Array, model: Any, *, count: int) -> tuple[Array, LogQ]:
    """`count` items, each as likely as any other, with replacement."""
    ids = jax.random.randint(key, (count,), 0, model.num_items, jnp.int32)
    return ids, lambda wanted: jnp.full(wanted.shape, jnp.log(count / model.num_items))


def log_uniform(key: Array, model: Any, *, count: int) -> tuple[Array, LogQ]:
    """Zipf's law over ids sorted by falling frequency: P(k) = log((k + 2) / (k + 1)) / log(num_items + 1)."""
    spread = jnp.log(model.num_items + 1.0)
    drawn = jnp.exp(jax.random.uniform(key, (count,)) * spread) - 1.0
    ids = jnp.clip(drawn.astype(jnp.int32), 0, model.num_items - 1)

    def log_q(wanted):
        return jnp.log(count * jnp.log1p(1.0 / (wanted + 1.0)) / spread)

    return ids, log_q


def popularity(key: Array, model: Any, *, count: int, alpha: float = 1.0) -> tuple[Array, LogQ]:
    """`count` items, each as likely as its frequency in training (the constant `item_log_frequency`) to the power
    `alpha`."""
    log_weight = alpha * model.get_variable("constants", "item_log_frequency")
    cumulative = jnp.cumsum(jnp.exp(log_weight))
    drawn = jnp.searchsorted(cumulative, jax.random.uniform(key, (count,)) * cumulative[-1], side="right")
    ids = jnp.minimum(drawn, model.num_items - 1).astype(jnp.int32)
    return ids, partial(_log_expected, log_weight + jnp.log(count) - jnp.log(cumulative[-1]))


def _log_expected(log_counts: Array, ids: Array) -> Array:
    return log_counts.at[ids].get(mode="fill", fill_value=0)
