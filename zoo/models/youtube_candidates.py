"""YouTube's candidate generation: the next watch as a class, from the bag of watches before it.

    u = tower(mean of the input vectors of the last watches, ...)        P(next watch is i) = softmax_i(u . v_i)

Covington, Adams, Sargin 2016, "Deep Neural Networks for YouTube Recommendations" (RecSys), section 3. Input and output
vectors are two tables; a tower of depth d has ReLU layers of dim 2^(d - 1), ..., 2 dim, dim, and depth 0 is a linear
map. History is rolled back to before the label, every user gives the same number of examples, and a sampled softmax
with the logQ correction takes the place of one over all videos.

Beside the watches `ranking` reads what the data has: the mean of the tokens last searched for, a vector for each
category of the user (country, device), numbers in [0, 1] (age, gender, logged in) and the age of the example, 0 in
serving. All are concatenated below the tower.

Differences from the paper: `ranking` is 64 wide instead of 256; what trains it is not published, Adam stands in.
`tied` is the variant of public benchmarks (BARS, "YoutubeDNN"): one table for both sides and no layers, every watch an
example, negatives from the batch; a constant vector is added to the mean, so that an empty history means popular
videos. `full` has the softmax over all videos, for small catalogues.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from zoo import negatives, objectives, optimizers, schedules, tasks
from zoo.embedding import Embed
from zoo.layers import MLP, history, searches, tower_weights
from zoo.models.mf import dot_product_cost
from zoo.recipe import Recipe, function_of
from zoo.types import Batch, Cost, Spec


class TiedCandidates(nn.Module):
    """Score (b + mean of watched v_j) . v_i; a Retriever."""

    spec: Spec
    embedding_dim: int = 64
    init_scale: float = 0.1

    def setup(self):
        self.video = Embed(self.spec.num_items, self.embedding_dim, nn.initializers.normal(self.init_scale))
        self.nobody = self.param("nobody", nn.initializers.zeros, (self.embedding_dim,))

    @property
    def num_items(self) -> int:
        return self.spec.num_items

    def prepare(self, batch: Batch | None = None, *, train: bool = False) -> tuple:
        return ()

    def query(self, batch: Batch, prepared: tuple, *, train: bool = False) -> Array:
        return watched(self, self.video, batch) + self.nobody[None, :]

    def item_vectors(self, ids: Array | None, prepared: tuple) -> Array:
        return self.video.all() if ids is None else self.video(ids)


class YouTubeCandidates(nn.Module):
    """Score tower(mean of watched w_j, mean of searched t_j, categories, numbers) . v_i, of what the data has; a
    Retriever."""

    spec: Spec
    embedding_dim: int = 64
    depth: int = 3
    category_dim: int = 8
    init_scale: float = 0.1
    dtype: str = "float32"  # of the tower's products

    def setup(self):
        init = nn.initializers.normal(self.init_scale)
        self.watched = Embed(self.spec.num_items, self.embedding_dim, init)
        self.video = Embed(self.spec.num_items, self.embedding_dim, init)
        self.token = [Embed(n, self.embedding_dim, init) for n in (self.spec.num_tokens,) if n]
        self.category = [Embed(size, self.category_dim, init) for size in self.spec.field_sizes]
        self.tower = MLP(layers(self.depth, self.embedding_dim), dtype=self.dtype)
        if self.depth == 0:
            self.linear = nn.Dense(self.embedding_dim)

    @property
    def num_items(self) -> int:
        return self.spec.num_items

    def prepare(self, batch: Batch | None = None, *, train: bool = False) -> tuple:
        return ()

    def query(self, batch: Batch, prepared: tuple, *, train: bool = False) -> Array:
        parts = [watched(self, self.watched, batch)]
        for table in self.token:
            log = self.get_variable("constants", "search_log")
            parts.append(table.bag(*searches(batch, log, self.spec.search_length)))
        if self.category:
            parts += [table(codes) for table, codes in zip(self.category, batch["codes"].T, strict=True)]
        if self.spec.num_numbers:
            parts.append(batch["numbers"])
        inputs = jnp.concatenate(parts, axis=1)
        return self.tower(inputs, train=train) if self.depth else self.linear(inputs)

    def item_vectors(self, ids: Array | None, prepared: tuple) -> Array:
        return self.video.all() if ids is None else self.video(ids)


def watched(model: nn.Module, table: Embed, batch: Batch) -> Array:
    """The mean vector of an example's history, 0 for an empty one: float [batch, dim]."""
    log = model.get_variable("constants", "history_log")
    return table.bag(*history(batch, log, model.spec.history_length))


def layers(depth: int, dim: int) -> tuple[int, ...]:
    """Widths of a tower, halving down to the dimension of the video vectors; none for depth 0.

    >>> layers(3, 256)
    (1024, 512, 256)
    """
    return tuple(dim * 2**power for power in reversed(range(depth)))


def cost(recipe: Recipe, model: TiedCandidates | YouTubeCandidates) -> Cost:
    """Three passes over the rows of each bag at its longest, the tower, and the loss."""
    spec, batch, dim = model.spec, recipe.batch_size, model.embedding_dim
    weights, bags = 0, batch * spec.history_length * dim
    if isinstance(model, YouTubeCandidates):
        categories = len(spec.field_sizes) * model.category_dim
        width = dim + (dim if spec.num_tokens else 0) + categories + spec.num_numbers
        weights = tower_weights(width, layers(model.depth, dim) or (dim,))
        bags += batch * (spec.search_length * dim + categories)
    loss = softmax_cost(recipe, model)
    return Cost(
        bytes=3 * 4 * (bags + weights) + loss.bytes,
        flops=4.0 * bags + 6.0 * batch * weights + loss.flops,
    )


def softmax_cost(recipe: Recipe, model: TiedCandidates | YouTubeCandidates) -> Cost:
    """The query against each class of the softmax: the batch's own, the sample, or all videos."""
    batch, dim = recipe.batch_size, model.embedding_dim
    objective: Any = recipe.objective
    function, _ = function_of(objective)
    if function is objectives.in_batch_softmax:
        return dot_product_cost(recipe, dim)
    sampled = function is objectives.sampled_softmax
    classes = objective.keywords["sampler"].keywords["count"] if sampled else model.num_items
    return Cost(bytes=3 * 4 * ((batch + classes) * dim + batch * classes), flops=6.0 * batch * classes * dim)


RECIPES = {
    "ranking": tasks.ranking(
        model=partial(YouTubeCandidates, embedding_dim=64, depth=2),
        examples=partial(tasks.candidate_examples, longest=50, longest_searches=50, per_user=100),
        objective=partial(objectives.sampled_softmax, sampler=partial(negatives.popularity, count=1000)),
        optimizer=optimizers.adam,
        learning_rate=1e-3,
        schedule=schedules.cosine,
        batch_size=1024,
        epochs=10,
        for_data={"movielens-1m": {"features": ("searches", "users"), "longest": 20, "epochs": 4}},
    ),
    "tied": tasks.ranking(
        model=partial(TiedCandidates, embedding_dim=64, init_scale=0.1),
        examples=partial(tasks.history_examples, longest=50),
        objective=partial(objectives.in_batch_softmax, l2=0.1),
        optimizer=optimizers.rowwise_adam,
        learning_rate=5e-3,
        schedule=schedules.cosine,
        batch_size=1024,
        epochs=8,
    ),
    "full": tasks.ranking(
        model=partial(YouTubeCandidates, embedding_dim=64, depth=2),
        examples=partial(tasks.candidate_examples, longest=50, longest_searches=50, per_user=100),
        objective=objectives.full_softmax,
        optimizer=optimizers.dense_adam,
        learning_rate=1e-3,
        schedule=schedules.cosine,
        batch_size=1024,
        epochs=10,
    ),
    "smoke": tasks.ranking(
        model=partial(TiedCandidates, embedding_dim=8),
        examples=partial(tasks.history_examples, longest=10),
        objective=objectives.in_batch_softmax,
        optimizer=optimizers.adagrad,
        learning_rate=0.3,
        batch_size=64,
        epochs=20,
    ),
}
