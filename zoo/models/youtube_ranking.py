"""YouTube's ranking: expected watch time of what is shown, from all that is known of user and video.

    score = w . tower(x) + b        expected watch seconds = exp(score)
    x = [video shown, mean of the last watched videos, each category, n, n^2, sqrt(n) for each number n]

Covington, Adams, Sargin 2016, "Deep Neural Networks for YouTube Recommendations" (RecSys), section 4. The loss is
weighted logistic regression: a click has its watch time T as weight, what was not clicked 1, and the sum is divided by
the number of impressions, so that the learned odds are E[T y] / (1 - P(y)), about E[T y] where clicks are rare. The
video shown and the videos watched share one table; a table of n rows has about dims_per_bit log2(n) numbers a row; what
training did not know is the zero vector; numbers are CDF(x) in [0, 1].

Differences from the paper: the features are the few that a simulated site or a log of impressions has, not hundreds,
and the score of the candidate generation is none of them (docs/youtube.md says why); the vocabulary needs so many
impressions, and the video of some training examples is hidden, so that new videos are promised an average; the tower
is 256-128-64 instead of 1024-512-256; what trains it is not published, Adam stands in. `linear` is the tower without
layers, `clicks` the same network trained on clicks alone (equal weights).
"""

import math
from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from zoo import optimizers, schedules, tasks
from zoo.embedding import Embed
from zoo.layers import MLP, NEAR_ZERO, history, tower_weights
from zoo.recipe import Recipe
from zoo.types import Batch, Cost, Spec


class YouTubeRanking(nn.Module):
    """The log of expected watch seconds, or the log odds of a click; a Scorer."""

    spec: Spec
    hidden_dims: tuple[int, ...] = (256, 128, 64)
    powers: tuple[float, ...] = (1.0, 2.0, 0.5)
    dims_per_bit: float = 1.6
    init_scale: float = 0.03

    def setup(self):
        init = nn.initializers.normal(self.init_scale)
        self.video = Embed(self.spec.num_items, log_dim(self.spec.num_items, self.dims_per_bit), init)
        self.category = [Embed(size, log_dim(size, self.dims_per_bit), init) for size in self.spec.field_sizes]
        self.tower = MLP(self.hidden_dims)
        self.top = nn.Dense(1, kernel_init=NEAR_ZERO, bias_init=nn.initializers.constant(self.spec.base_score))

    def __call__(self, batch: Batch, *, train: bool = False) -> Array:
        log = self.get_variable("constants", "history_log")
        watched = self.video.bag(*known(*history(batch, log, self.spec.history_length), self.video.num_rows))
        categories = [table(codes) for table, codes in zip(self.category, batch["codes"].T, strict=True)]
        numbers = [batch["numbers"] ** power for power in self.powers]
        inputs = jnp.concatenate([self.video(batch["item"]), watched, *categories, *numbers], axis=1)
        return self.top(self.tower(inputs, train=train))[:, 0]


def known(ids: Array, weight: Array, num_rows: int) -> tuple[Array, Array]:
    """The bag less the videos that have no row, its weights again those of a mean: ids and weights [batch, length]."""
    weight = jnp.where((ids >= 0) & (ids < num_rows), weight, 0.0)
    return ids, weight / jnp.maximum(jnp.sum(weight, axis=1, keepdims=True), 1e-9)


def log_dim(num_rows: int, dims_per_bit: float) -> int:
    """How wide a table of `num_rows` is: growing with their logarithm, 32 for a million at 1.6.

    >>> [log_dim(n, 1.6) for n in (1, 12, 2000, 10**6)]
    [1, 6, 18, 32]
    """
    return max(1, math.ceil(dims_per_bit * math.log2(num_rows))) if num_rows > 1 else 1


def cost(recipe: Recipe, model: YouTubeRanking) -> Cost:
    """Three passes over the rows looked up, of a history at its longest, and over the weights of the tower."""
    spec, batch = model.spec, recipe.batch_size
    dim = log_dim(spec.num_items, model.dims_per_bit)
    categories = sum(log_dim(size, model.dims_per_bit) for size in spec.field_sizes)
    width = 2 * dim + categories + spec.num_numbers * len(model.powers)
    weights = tower_weights(width, (*model.hidden_dims, 1))
    rows = batch * ((1 + spec.history_length) * dim + categories)
    return Cost(bytes=3 * 4 * (rows + weights), flops=4.0 * batch * spec.history_length * dim + 6.0 * batch * weights)


RECIPES = {
    "watch": tasks.watch_time(
        model=partial(YouTubeRanking, hidden_dims=(256, 128, 64)),
        optimizer=partial(optimizers.adam_each_lookup, l2=3.0),
        learning_rate=1e-3,
        schedule=schedules.cosine,
        batch_size=1024,
        epochs=3,
    ),
    "linear": tasks.watch_time(
        model=partial(YouTubeRanking, hidden_dims=()),
        optimizer=partial(optimizers.adam_each_lookup, l2=3.0),
        learning_rate=1e-3,
        schedule=schedules.cosine,
        batch_size=1024,
        epochs=3,
    ),
    "clicks": tasks.page_clicks(
        model=partial(YouTubeRanking, hidden_dims=(256, 128, 64)),
        optimizer=partial(optimizers.adam_each_lookup, l2=3.0),
        learning_rate=1e-3,
        schedule=schedules.cosine,
        batch_size=1024,
        epochs=3,
    ),
    "smoke": tasks.watch_time(
        model=partial(YouTubeRanking, hidden_dims=(16, 8)),
        examples=partial(tasks.watch_time_examples, longest=10),
        optimizer=optimizers.adagrad,
        learning_rate=0.05,
        batch_size=256,
        epochs=4,
    ),
}
