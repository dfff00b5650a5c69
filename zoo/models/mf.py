"""Matrix factorization: a vector a user and a vector an item, whose dot product is the score.

    ranking:  s_ui = p_u . q_i                          rating:  r_ui = mu + b_u + b_i + p_u . q_i

Koren, Bell, Volinsky 2009, "Matrix factorization techniques for recommender systems", equations 1 and 4; Rendle et al.
2009, "BPR", for ranking from implicit feedback.

Differences from the papers: the ranking recipe trains by softmax over the items of the batch with the logQ correction
(Yi et al. 2019) in place of BPR, for its quality at small cost; `ranking_bpr` is the paper's, and is not tuned;
`ranking_bpr_pairs` is BPR by SGD at the highest speed, with negatives as frequent as the items are.
Biases share a row with the factors and its regularisation, and updates come from mini-batches, not one rating at a
time.
"""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from zoo import objectives, optimizers, schedules, tasks
from zoo.embedding import Embed
from zoo.recipe import Recipe, function_of
from zoo.types import Batch, Cost, Spec


class MF(nn.Module):
    """Score p_u . q_i; a Retriever."""

    spec: Spec
    embedding_dim: int = 64
    init_scale: float = 0.1

    def setup(self):
        init = nn.initializers.normal(self.init_scale)
        self.user = Embed(self.spec.num_users, self.embedding_dim, init)
        self.item = Embed(self.spec.num_items, self.embedding_dim, init)

    @property
    def num_items(self) -> int:
        return self.spec.num_items

    def prepare(self, batch: Batch | None = None, *, train: bool = False) -> tuple:
        return ()

    def query(self, batch: Batch, prepared: tuple, *, train: bool = False) -> Array:
        return self.user(batch["user"])

    def item_vectors(self, ids: Array | None, prepared: tuple) -> Array:
        return self.item.all() if ids is None else self.item(ids)


class RatingMF(nn.Module):
    """Rating mu + b_u + b_i + p_u . q_i; a Scorer. A row is [factors, bias]."""

    spec: Spec
    embedding_dim: int = 100
    init_scale: float = 0.1

    def setup(self):
        def init(key, shape, dtype):
            return jax.random.normal(key, shape, dtype).at[:, -1].set(0.0) * self.init_scale

        self.user = Embed(self.spec.num_users, self.embedding_dim + 1, init)
        self.item = Embed(self.spec.num_items, self.embedding_dim + 1, init)

    def __call__(self, batch: Batch, *, train: bool = False) -> Array:
        user, item = self.user(batch["user"]), self.item(batch["item"])
        user_bias, item_bias = user[:, -1], item[:, -1]
        # The product of the biases is taken out again: a slice of the factors would be copied, forward and backward.
        dot = jnp.sum(user * item, -1) - user_bias * item_bias
        return self.spec.rating_mean + user_bias + item_bias + dot

    def prepare(self, batch: Batch | None = None, *, train: bool = False) -> tuple:
        return ()

    def item_vectors(self, ids: Array | None, prepared: tuple) -> Array:
        """The factors q_i, by which items are alike."""
        return (self.item.all() if ids is None else self.item(ids))[..., :-1]


def cost(recipe: Recipe, model: MF | RatingMF) -> Cost:
    """Three passes over each row looked up (read, and read and written by the update) and over each score of a softmax.

    A score is a product of two vectors, forward and for both gradients: 6 operations a dimension. The state of the
    optimizer is left out.
    """
    return dot_product_cost(recipe, model.embedding_dim)


def dot_product_cost(recipe: Recipe, dim: int) -> Cost:
    """The part of a step that looks up vectors of `dim` numbers and compares them."""
    batch, row_bytes = recipe.batch_size, 4 * dim
    objective, settings = function_of(recipe.objective)
    if objective is objectives.in_batch_softmax:
        return Cost(bytes=3 * 2 * batch * row_bytes + 3 * 4 * batch**2, flops=6 * batch**2 * dim)
    negatives = settings.get("num_negatives", 0)
    return Cost(bytes=3 * (2 + negatives) * batch * row_bytes, flops=6 * (1 + negatives) * batch * dim)


RECIPES = {
    "ranking": tasks.ranking(
        model=partial(MF, embedding_dim=64, init_scale=0.01),
        objective=partial(objectives.in_batch_softmax, l2=0.1),
        optimizer=optimizers.rowwise_adam,
        learning_rate=5e-3,
        schedule=schedules.cosine,
        batch_size=1024,
        epochs=10,
        for_data={"gowalla": {"l2": 0.2, "epochs": 16}},
    ),
    "rating": tasks.rating(
        model=partial(RatingMF, embedding_dim=100),
        objective=objectives.squared_error,
        optimizer=partial(optimizers.sgd_each_example, l2=0.07),
        learning_rate=0.02,
        schedule=schedules.linear,
        batch_size=1024,
        epochs=40,
        data="movielens-1m",
        for_data={
            "movielens-100k": {"optimizer.l2": 0.1, "epochs": 60},
            "book-crossing": {"embedding_dim": 8, "optimizer.l2": 0.1, "epochs": 10},
            "book-crossing-new": {"embedding_dim": 8, "optimizer.l2": 0.1, "epochs": 10},
        },
    ),
    "ranking_bpr": tasks.ranking(
        model=partial(MF, embedding_dim=64, init_scale=0.01),
        objective=partial(objectives.bpr, num_negatives=1, l2=0.01),
        optimizer=optimizers.rowwise_adam,
        learning_rate=5e-3,
        schedule=schedules.cosine,
        batch_size=2048,
        epochs=30,
    ),
    "ranking_bpr_pairs": tasks.ranking(
        model=partial(MF, embedding_dim=64, init_scale=0.03),
        objective=objectives.bpr_in_pairs,
        optimizer=partial(optimizers.sgd_each_example, l2=0.001),
        learning_rate=0.1,
        schedule=schedules.linear,
        batch_size=8192,
        epochs=20,
    ),
    "smoke": tasks.ranking(
        model=partial(MF, embedding_dim=8),
        objective=objectives.in_batch_softmax,
        optimizer=optimizers.adagrad,
        learning_rate=0.3,
        batch_size=64,
        epochs=20,
    ),
}
