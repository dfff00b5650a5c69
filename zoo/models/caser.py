"""Caser: convolutions over the last watches of a user, seen as an image of L rows, and the user's own vector.

    E = vectors of the last L watches, [L, d]
    o = [max over time of ReLU(horizontal filters of h rows on E), h = 1 ... L;  vertical filters of L rows, no ReLU]
    z = ReLU(W o + b),      score of item i = w_i . [z, p_u] + b_i

Tang and Wang 2018, "Personalized Top-N Sequential Recommendation via Convolutional Sequence Embedding" (WSDM). E and w
are two tables, w twice as wide; z is the short term, p_u the long one. The next T watches are all positives, so that a
filter may skip some.

Recipe `paper` has the sizes, the loss and the schedule of the authors' code (github.com/graytowne/caser_pytorch):
L 5, T 3, d 50, 4 vertical and 16 horizontal filters, dropout 0.5, 3 negatives, Adam.

Differences from it: places before a user's first watch are zeros, not a row that trains; negatives may be items that
the user has; its weight decay of 1e-6 acts on the tables alone; items with fewer than 5 ratings stay. `ranking` has a
softmax over sampled items with the logQ correction in place of 3 negatives, and an example for every watch, the first
ones of a user included.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from zoo import evaluate, following, negatives, optimizers, schedules, tasks
from zoo.embedding import Embed
from zoo.layers import SequenceConv, dropped, last_watches
from zoo.recipe import Recipe, function_of
from zoo.types import Batch, Cost, Spec


class Caser(nn.Module):
    """A Retriever: query [z, p_u, 1], item vectors [w_i, b_i]."""

    spec: Spec
    embedding_dim: int = 50
    horizontal: int = 16  # filters of each height
    vertical: int = 4
    tallest: int = 0  # rows of the tallest horizontal filters; 0: L
    dropout: float = 0.5
    init_scale: float = 1.0  # vectors start normal, init_scale / dim their deviation

    def setup(self):
        dim, spec = self.embedding_dim, self.spec
        init = nn.initializers.normal(self.init_scale / dim)
        self.watched = Embed(spec.num_items, dim, init)
        self.user = Embed(spec.num_users, dim, init)
        self.item = Embed(spec.num_items, 2 * dim + 1, partial(vectors_and_bias, scale=self.init_scale / (2 * dim)))
        self.filters = [SequenceConv(self.horizontal, size) for size in self.heights]
        if self.vertical:
            shape = (spec.history_length, self.vertical)
            self.columns = self.param("columns", nn.initializers.lecun_normal(), shape)
            self.column_bias = self.param("column_bias", nn.initializers.zeros, (self.vertical,))
        self.joined = nn.Dense(dim)

    @property
    def heights(self) -> range:
        length = self.spec.history_length
        return range(1, min(self.tallest or length, length) + 1) if self.horizontal else range(0)

    @property
    def num_items(self) -> int:
        return self.spec.num_items

    def prepare(self, batch: Batch | None = None, *, train: bool = False) -> tuple:
        return ()

    def query(self, batch: Batch, prepared: tuple, *, train: bool = False) -> Array:
        log = self.get_variable("constants", "history_log")
        rows = self.watched(last_watches(batch, log, self.spec.history_length))  # [batch, L, dim]
        found = [conv(rows) for conv in self.filters]
        if self.vertical:
            columns = jnp.einsum("bld,lv->bvd", rows, self.columns) + self.column_bias[None, :, None]
            found.append(columns.reshape(rows.shape[0], -1))
        x = jnp.concatenate(found, axis=1)
        if train and self.dropout:
            x = dropped(x, self.dropout, self.make_rng("dropout"))
        z = nn.relu(self.joined(x))
        return jnp.concatenate([z, self.user(batch["user"]), jnp.ones((z.shape[0], 1))], axis=1)

    def item_vectors(self, ids: Array | None, prepared: tuple) -> Array:
        return self.item.all() if ids is None else self.item(ids)


def vectors_and_bias(key: Array, shape: tuple[int, int], dtype: Any = jnp.float32, *, scale: float) -> Array:
    """Normal vectors whose last number, the bias, is 0."""
    vectors = scale * jax.random.normal(key, (shape[0], shape[1] - 1), dtype)
    return jnp.pad(vectors, ((0, 0), (0, 1)))


def cost(recipe: Recipe, model: Caser) -> Cost:
    """Three passes over each row looked up, each dense weight and each score; a product with a weight or of two
    looked-up numbers is 6 operations. Filters are counted at each of their places."""
    batch, dim, length = recipe.batch_size, model.embedding_dim, model.spec.history_length
    filters = [(size * dim * model.horizontal, length - size + 1) for size in model.heights]
    columns = length * model.vertical
    last = (len(model.heights) * model.horizontal + model.vertical * dim) * dim
    weights = sum(size for size, _ in filters) + columns + last
    products = sum(size * places for size, places in filters) + columns * dim + last
    objective: Any = recipe.objective
    function, settings = function_of(objective)
    width = 2 * dim + 1
    if function is following.logistic:
        own, shared = settings["num_targets"] + settings["num_negatives"], 0
    else:
        own, shared = settings["num_targets"], objective.keywords["sampler"].keywords["count"]
    moved = batch * ((length + 1) * dim + own * width + own + shared) + shared * width + weights
    return Cost(bytes=3 * 4 * moved, flops=6.0 * batch * (products + (own + shared) * width))


_WHOLE_LISTS = {
    "evaluate": partial(evaluate.ranking, names=("map", "precision@10", *evaluate.RANKING_METRICS)),
    "baselines": partial(tasks.ranking_baselines, names=("map", "precision@10", *evaluate.RANKING_METRICS)),
    "metric": "map",
}
_NEXT = {
    "evaluate": partial(evaluate.ranking, names=("hit_rate@10", "ndcg@10", "hit_rate@20", "ndcg@20")),
    "baselines": partial(tasks.ranking_baselines, names=("hit_rate@10", "ndcg@10", "hit_rate@20", "ndcg@20")),
    "metric": "hit_rate@10",
}

RECIPES = {
    "ranking": tasks.ranking(
        model=partial(Caser, embedding_dim=50, horizontal=16, vertical=4, dropout=0.5),
        examples=partial(tasks.next_watch_examples, longest=5, targets=3),
        objective=partial(following.sampled_softmax, num_targets=3, sampler=partial(negatives.popularity, count=500)),
        optimizer=optimizers.adam,
        learning_rate=1e-3,
        schedule=schedules.cosine,
        batch_size=512,
        epochs=10,
        for_data={"movielens-1m": _WHOLE_LISTS, "amazon-beauty": _NEXT},
    ),
    "paper": tasks.ranking(
        model=partial(Caser, embedding_dim=50, horizontal=16, vertical=4, dropout=0.5),
        examples=partial(tasks.next_watch_examples, longest=5, targets=3, whole=True),
        objective=partial(following.logistic, num_targets=3, num_negatives=3),
        optimizer=partial(optimizers.dense_adam, l2=1e-6),
        learning_rate=1e-3,
        batch_size=512,
        epochs=50,
        for_data={"movielens-1m": _WHOLE_LISTS, "amazon-beauty": _NEXT},
    ),
    "smoke": tasks.ranking(
        model=partial(Caser, embedding_dim=8, horizontal=4, vertical=2, dropout=0.0, init_scale=2.0),
        examples=partial(tasks.next_watch_examples, longest=4, targets=2),
        objective=partial(following.sampled_softmax, num_targets=2, sampler=partial(negatives.uniform, count=100)),
        optimizer=optimizers.adagrad,
        learning_rate=0.3,
        batch_size=64,
        epochs=20,
    ),
}
