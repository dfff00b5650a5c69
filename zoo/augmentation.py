"""Images changed at random as they are trained on, on the device, and the loss that does so."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from zoo import parallel
from zoo.types import Batch


def cross_entropy(
    model: Any, batch: Batch, key: Array, *, smoothing: float = 0.0, shift: int = 0, flip: bool = False
) -> Array:
    """Cross-entropy of a Classifier on images that are shifted by up to `shift` pixels and, with `flip`, mirrored.

    With smoothing s the target is 1 - s of the class and s of all classes alike (Szegedy et al. 2016, section 7).
    """
    image = batch["image"]
    if shift:
        image = shifted(image, jax.random.fold_in(key, 0), shift)
    if flip:
        image = flipped(image, jax.random.fold_in(key, 1))
    logits = model({**batch, "image": image}, train=True)
    label = jnp.minimum(batch["label"], logits.shape[-1] - 1)  # a padded example's is no class; its loss is masked
    own = jnp.take_along_axis(logits, label[:, None], axis=-1)[:, 0]
    return jax.nn.logsumexp(logits, axis=-1) - (1 - smoothing) * own - smoothing * jnp.mean(logits, axis=-1)


def shifted(images: Array, key: Array, most: int) -> Array:
    """Each image [batch, height, width, channels] moved by -most to most pixels down and right, zeros moving in."""
    whole = (parallel.whole_size(len(images)), 2)
    start = parallel.own_part(jax.random.randint(key, whole, 0, 2 * most + 1))
    padded = jnp.pad(images, ((0, 0), (most, most), (most, most), (0, 0)))
    return jax.vmap(lambda image, at: jax.lax.dynamic_slice(image, (at[0], at[1], 0), images.shape[1:]))(padded, start)


def flipped(images: Array, key: Array) -> Array:
    """Each image mirrored left to right with probability 1/2."""
    mirrored = parallel.own_part(jax.random.bernoulli(key, shape=(parallel.whole_size(len(images)), 1, 1, 1)))
    return jnp.where(mirrored, images[:, :, ::-1], images)
