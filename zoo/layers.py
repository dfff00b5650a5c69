"""Parts that several models share."""

import itertools
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from zoo import parallel
from zoo.convolution import convolve, convolve_sequence
from zoo.embedding import Embed
from zoo.types import PADDING, Batch, Cost, Spec


# The last layer of a tower starts near 0, so that a model opens at its base score: the chance loss.
NEAR_ZERO = nn.initializers.normal(1e-3)


class Linear(nn.Module):
    """b + sum_f w_f: a weight for each value of each field, in a table of its own. It opens at the base score."""

    spec: Spec

    def setup(self):
        self.weight = Embed(sum(self.spec.field_sizes), 1, nn.initializers.zeros)
        self.bias = self.param("bias", nn.initializers.constant(self.spec.base_score), ())

    def __call__(self, batch: Batch) -> Array:
        """-> float [batch]."""
        return self.bias + jnp.sum(look_up(self.weight, batch)[..., 0], axis=1)


def look_up(table: Embed, batch: Batch) -> Array:
    """The row of each field and the mean of the rows of each bag: float [batch, fields, dim]."""
    rows = table(batch["fields"])
    if "bags" not in batch:
        return rows
    means = []
    for bag in jnp.moveaxis(batch["bags"], 1, 0):
        there = ((bag >= 0) & (bag < table.num_rows)).astype(rows.dtype)
        means.append(table.bag(bag, there / jnp.maximum(jnp.sum(there, axis=1, keepdims=True), 1.0)))
    return jnp.concatenate([rows, jnp.stack(means, axis=1)], axis=1)


def history(batch: Batch, log: Array, longest: int) -> tuple[Array, Array]:
    """The bag of an example's history, gathered from the log: ids int32 [batch, longest], and the weights of a mean.

    A weight is 1 / length where there is an entry, else 0, with id PADDING. An empty history has weights 0, and so the
    mean 0.
    """
    return bag_of(batch["history_start"], batch["history_length"], log, longest)


def searches(batch: Batch, log: Array, longest: int) -> tuple[Array, Array]:
    """As `history`, of the tokens of the searches before the example."""
    return bag_of(batch["search_start"], batch["search_length"], log, longest)


def bag_of(start: Array, length: Array, log: Array, longest: int) -> tuple[Array, Array]:
    """Ranges int32 [batch] of a log as bags and the weights of their means; see `history`."""
    length = jnp.where(length == PADDING, 0, length)[:, None]
    place = jnp.arange(longest)[None, :]
    there = place < length
    ids = log.at[jnp.where(there, start[:, None] + place, PADDING)].get(mode="fill", fill_value=PADDING)
    return ids, there / jnp.maximum(length, 1)


def last_watches(batch: Batch, log: Array, length: int) -> Array:
    """The last `length` entries of an example's history in order of time, PADDING before them where there are fewer:
    int32 [batch, length]."""
    start, known = (jnp.where(batch[name] == PADDING, 0, batch[name]) for name in ("history_start", "history_length"))
    place = jnp.arange(length)[None, :] + (known - length)[:, None]
    there = place >= 0
    return log.at[jnp.where(there, start[:, None] + place, PADDING)].get(mode="fill", fill_value=PADDING)


def next_watches(batch: Batch, log: Array, count: int) -> Array:
    """The first `count` entries of the log after an example's history, PADDING behind the last of the user: int32
    [batch, count]."""
    names = ("history_start", "history_length", "future_length")
    start, known, left = (jnp.where(batch[name] == PADDING, 0, batch[name])[:, None] for name in names)
    place = jnp.arange(count)[None, :]
    return log.at[jnp.where(place < left, start + known + place, PADDING)].get(mode="fill", fill_value=PADDING)


class MLP(nn.Module):
    """ReLU layers, each followed by dropout: float [batch, inputs] -> [batch, hidden_dims[-1]].

    With `dtype` "bfloat16" layers compute in that; weights, their gradients and what comes out stay float32.
    """

    hidden_dims: tuple[int, ...]
    dropout: float = 0.0
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Array, mask: Array | None = None, *, train: bool) -> Array:
        for width in self.hidden_dims:
            x = nn.relu(nn.Dense(width, dtype=self.dtype, kernel_init=nn.initializers.he_normal())(x))
            if train and self.dropout:
                x = dropped(x, self.dropout, self.make_rng("dropout"))
        return x.astype(jnp.float32)


class NormalisedMLP(nn.Module):
    """As MLP, with batch normalisation before each ReLU. `mask` [batch] tells examples from padding."""

    hidden_dims: tuple[int, ...]
    dropout: float = 0.0
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Array, mask: Array | None = None, *, train: bool) -> Array:
        for width in self.hidden_dims:
            x = nn.Dense(width, dtype=self.dtype, kernel_init=nn.initializers.he_normal())(x).astype(jnp.float32)
            x = nn.relu(BatchNorm()(x, mask, train=train))
            if train and self.dropout:
                x = dropped(x, self.dropout, self.make_rng("dropout"))
        return x


class Conv(nn.Module):
    """Convolution of images without a bias, each position kept: float [batch, height, width, inputs] -> [..., width].

    See zoo.convolution for how it is computed; `size` is odd.
    """

    width: int
    size: int = 3

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (self.size, self.size, x.shape[-1], self.width)
        kernel = self.param("kernel", nn.initializers.he_normal(), shape)
        return x @ kernel[0, 0] if self.size == 1 else convolve(x, kernel)


class SequenceConv(nn.Module):
    """`width` filters of the height `size` over a sequence: the largest of ReLU(their outputs and a bias) over time.

    float [batch, length, channels] -> [batch, width]; `size` is at most the length. `there` [batch, windows] leaves out
    windows, and the result is 0 where none is left. As ReLU and a bias do not change which is the largest, they are
    applied to that alone.
    """

    width: int
    size: int

    @nn.compact
    def __call__(self, x: Array, there: Array | None = None) -> Array:
        shape = (self.size, x.shape[-1], self.width)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.width,))
        found = convolve_sequence(x, kernel)
        if there is not None:
            found = jnp.where(there[:, :, None] > 0, found, -jnp.inf)
        return nn.relu(jnp.max(found, axis=1) + bias[None, :])


def pooled(x: Array) -> Array:
    """The maximum of each 2 x 2 places: float [batch, height, width, channels], a last odd row or column left out.

    As a reduction of a reshaped array: the gradient of reduce_window is slow on a CPU.
    """
    batch, height, width, channels = x.shape
    even = x[:, : height // 2 * 2, : width // 2 * 2]
    return jnp.max(even.reshape(batch, height // 2, 2, width // 2, 2, channels), axis=(2, 4))


class BatchNorm(nn.Module):
    """(x - mean) / sqrt(variance + eps), scaled and shifted by channel: float [batch, ..., channels], the same shape.

    In training the statistics are those of the whole batch, over all devices and without padding, and their averages
    (kept: `momentum`) go to the collection "batch_stats"; otherwise those averages are what is used. Ioffe and Szegedy
    2015, algorithm 1, with the biased variance in both places.
    """

    momentum: float = 0.9
    eps: float = 1e-5

    @nn.compact
    def __call__(self, x: Array, mask: Array | None = None, *, train: bool) -> Array:
        channels = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (channels,))
        shift = self.param("shift", nn.initializers.zeros, (channels,))
        kept_mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,))
        kept_variance = self.variable("batch_stats", "variance", jnp.ones, (channels,))
        mean, variance = kept_mean.value, kept_variance.value
        if train:
            mean, variance = _moments(x, mask)
        if train and self.is_mutable_collection("batch_stats") and not self.is_initializing():
            for kept, found in ((kept_mean, mean), (kept_variance, variance)):
                kept.value = self.momentum * kept.value + (1 - self.momentum) * found
        factor = jax.lax.rsqrt(variance + self.eps) * scale
        return x * _last(factor, x) + _last(shift - mean * factor, x)


def _moments(x: Array, mask: Array | None) -> tuple[Array, Array]:
    """Mean and variance of each channel over the examples of the whole batch, in two passes."""
    real = jnp.ones(x.shape[:1], x.dtype) if mask is None else mask
    real = jnp.broadcast_to(real.reshape(-1, *(1,) * (x.ndim - 1)), (*x.shape[:-1], 1))
    axes = tuple(range(x.ndim - 1))
    count = jnp.maximum(parallel.total(jnp.sum(real)), 1.0)
    mean = parallel.total(jnp.sum(x * real, axes)) / count
    return mean, parallel.total(jnp.sum((x - _last(mean, x)) ** 2 * real, axes)) / count


def _last(by_channel: Array, like: Array) -> Array:
    """float [channels] -> [1, ..., channels], of as many axes as `like`."""
    return by_channel.reshape(*(1,) * (like.ndim - 1), -1)


def dropped(x: Array, rate: float, key: Array) -> Array:
    """x float [batch, width] with each number 0 with probability `rate`, the others divided by 1 - rate.

    16 random bits a number, half of what flax's Dropout draws: on a CPU the draw is a good part of a step. The
    rate is so rounded to 1 / 65536.
    """
    words = jax.random.bits(key, (len(x), -(-x.shape[1] // 2)), jnp.uint32)
    bits = jax.lax.bitcast_convert_type(words, jnp.uint16).reshape(len(x), -1)[:, : x.shape[1]]
    return jnp.where(bits >= round(rate * 2**16), x / (1 - rate), 0.0)


def sum_of_pairs(vectors: Array) -> Array:
    """sum_{f<g} v_f * v_g elementwise, as ((sum v)^2 - sum v^2) / 2: float [batch, fields, dim] -> [batch, dim]."""
    return 0.5 * (jnp.sum(vectors, axis=1) ** 2 - jnp.sum(vectors**2, axis=1))


def tower_weights(num_inputs: int, hidden_dims: Sequence[int]) -> int:
    """Weights of a tower's products, without biases; no last layer to one number."""
    widths = (num_inputs, *hidden_dims)
    return sum(a * b for a, b in itertools.pairwise(widths))


def field_cost(batch_size: int, num_fields: int, dims: int, weights: int, products: float = 0.0) -> Cost:
    """Of a step over fields with `dims` numbers looked up for each, `weights` dense ones, `products` an example beside.

    Three passes over each row looked up and each dense weight (read, and read and written by the update). A product
    with a weight is 6 operations an example, forward and for both gradients; so is one of two looked-up numbers. The
    state of the optimizer and the activations are left out.
    """
    moved = 3 * 4 * (batch_size * num_fields * dims + weights)
    return Cost(bytes=moved, flops=6.0 * batch_size * (weights + products))
