"""DeepFM: a factorization machine and a tower of layers over one shared table of vectors.

    logit = b + sum_f w_f + sum_{f<g} v_f . v_g + MLP([v_1, ..., v_F])

Guo, Tang, Ye, Li, He 2017, "DeepFM: A Factorization-Machine based Neural Network for CTR Prediction" (IJCAI), equations
1 to 4.

Differences from the paper: numbers are cut into buckets and looked up like categories; no batch normalisation, but in
recipe `bars`; the last layer starts near 0 and the bias at the log odds of a click, so that the loss opens at that of a
constant.
"""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from zoo import optimizers, tasks
from zoo.embedding import Embed
from zoo.layers import MLP, NEAR_ZERO, Linear, NormalisedMLP, field_cost, look_up, sum_of_pairs, tower_weights
from zoo.recipe import Recipe
from zoo.types import Batch, Cost, Spec


class DeepFM(nn.Module):
    """A Scorer."""

    spec: Spec
    embedding_dim: int = 10
    hidden_dims: tuple[int, ...] = (400, 400, 400)
    dropout: float = 0.0
    dtype: str = "float32"  # of the tower's products
    init_scale: float = 0.01
    make_tower: Callable[..., nn.Module] = MLP

    def setup(self):
        init = nn.initializers.normal(self.init_scale)
        self.linear = Linear(self.spec)
        self.factors = Embed(sum(self.spec.field_sizes), self.embedding_dim, init)
        self.tower = self.make_tower(self.hidden_dims, self.dropout, self.dtype)
        self.top = nn.Dense(1, use_bias=False, kernel_init=NEAR_ZERO)

    def __call__(self, batch: Batch, *, train: bool = False) -> Array:
        vectors = look_up(self.factors, batch)
        pairs = jnp.sum(sum_of_pairs(vectors), axis=-1)
        deep = self.top(self.tower(vectors.reshape(vectors.shape[0], -1), batch.get("mask"), train=train))[:, 0]
        return self.linear(batch) + pairs + deep


def cost(recipe: Recipe, model: DeepFM) -> Cost:
    num_fields, dim = len(model.spec.field_sizes), model.embedding_dim
    weights = tower_weights(num_fields * dim, (*model.hidden_dims, 1))
    return field_cost(recipe.batch_size, num_fields, dim + 1, weights, products=(num_fields + 1) * dim)


RECIPES = {
    "clicks": tasks.clicks(
        model=partial(DeepFM, embedding_dim=10, hidden_dims=(400, 400, 400), dropout=0.2),
        optimizer=optimizers.adam,
        learning_rate=1e-3,
        batch_size=1024,
        epochs=10,
        for_data={"frappe": {"optimizer": partial(optimizers.dense_adam, l2=0.01), "batch_size": 4096, "epochs": 20}},
    ),
    "books": tasks.field_rating(
        data="book-crossing",
        model=partial(DeepFM, embedding_dim=8, hidden_dims=(64, 32), dropout=0.5),
        optimizer=partial(optimizers.dense_adam, l2=3e-3),
        learning_rate=1e-3,
        batch_size=1024,
        epochs=2,
        for_data={"book-crossing-new": {"without": ("item",)}},
    ),
    "bars": tasks.bars(
        model=partial(DeepFM, embedding_dim=10, hidden_dims=(400, 400, 400), dropout=0.2, make_tower=NormalisedMLP),
    ),
    "smoke": tasks.clicks(
        model=partial(DeepFM, embedding_dim=4, hidden_dims=(16, 8), init_scale=0.1),
        optimizer=optimizers.adagrad,
        learning_rate=0.05,
        batch_size=256,
        epochs=4,
    ),
}
