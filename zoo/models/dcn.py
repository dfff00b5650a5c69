"""Deep & Cross Network: layers that multiply the input back in, beside a tower of plain layers.

    x_{l+1} = x_0 (x_l . w_l) + b_l + x_l,    logit = top([x_L, MLP(x_0)]),    x_0 = [v_1, ..., v_F]

Wang, Fu, Fu, Wang 2017, "Deep & Cross Network for Ad Click Predictions" (ADKDD), equation 3.

Differences from the paper: every field has vectors of the same length; numbers are cut into buckets and looked up like
categories; no batch normalisation, but in recipe `bars`; the last layer starts near 0 and the bias at the log odds of a
click, so that the loss opens at that of a constant.
"""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from zoo import optimizers, tasks
from zoo.embedding import Embed
from zoo.layers import MLP, NEAR_ZERO, NormalisedMLP, field_cost, look_up, tower_weights
from zoo.recipe import Recipe
from zoo.types import Batch, Cost, Spec


class DCN(nn.Module):
    """A Scorer."""

    spec: Spec
    embedding_dim: int = 10
    num_cross: int = 3
    hidden_dims: tuple[int, ...] = (400, 400, 400)
    dropout: float = 0.0
    dtype: str = "float32"  # of the tower's products
    init_scale: float = 0.01
    make_tower: Callable[..., nn.Module] = MLP

    def setup(self):
        width = len(self.spec.field_sizes) * self.embedding_dim
        init = nn.initializers.normal(self.init_scale)
        self.factors = Embed(sum(self.spec.field_sizes), self.embedding_dim, init)
        self.kernels = self.param("cross_kernels", nn.initializers.normal(0.01), (self.num_cross, width))
        self.biases = self.param("cross_biases", nn.initializers.zeros, (self.num_cross, width))
        self.tower = self.make_tower(self.hidden_dims, self.dropout, self.dtype)
        self.top = nn.Dense(1, kernel_init=NEAR_ZERO, bias_init=nn.initializers.constant(self.spec.base_score))

    def __call__(self, batch: Batch, *, train: bool = False) -> Array:
        vectors = look_up(self.factors, batch)
        x0 = vectors.reshape(vectors.shape[0], -1)
        crossed = cross(x0, self.kernels, self.biases)
        deep = self.tower(x0, batch.get("mask"), train=train)
        return self.top(jnp.concatenate([crossed, deep], axis=1))[:, 0]


def cross(x0: Array, kernels: Array, biases: Array) -> Array:
    """The cross layers: x_0 float [batch, width], w and b [layers, width] -> x_L [batch, width]."""
    x = x0
    for kernel, bias in zip(kernels, biases):
        x = x0 * (x @ kernel)[:, None] + bias[None, :] + x
    return x


def cost(recipe: Recipe, model: DCN) -> Cost:
    num_fields, dim = len(model.spec.field_sizes), model.embedding_dim
    width = num_fields * dim
    top = width + (width, *model.hidden_dims)[-1]
    weights = model.num_cross * width + tower_weights(width, model.hidden_dims) + top
    return field_cost(recipe.batch_size, num_fields, dim, weights)


RECIPES = {
    "clicks": tasks.clicks(
        model=partial(DCN, embedding_dim=10, num_cross=3, hidden_dims=(400, 400, 400), dropout=0.2),
        optimizer=optimizers.adam,
        learning_rate=1e-3,
        batch_size=1024,
        epochs=10,
        for_data={"frappe": {"optimizer": partial(optimizers.dense_adam, l2=0.01), "batch_size": 4096, "epochs": 20}},
    ),
    "bars": tasks.bars(
        model=partial(
            DCN, embedding_dim=10, num_cross=3, hidden_dims=(400, 400, 400), dropout=0.2, make_tower=NormalisedMLP
        ),
    ),
    "smoke": tasks.clicks(
        model=partial(DCN, embedding_dim=4, num_cross=2, hidden_dims=(16, 8), init_scale=0.1),
        optimizer=optimizers.adagrad,
        learning_rate=0.05,
        batch_size=256,
        epochs=4,
    ),
}
