"""Field-weighted factorization machine: a factorization machine with a learned weight for each pair of fields.

    logit = b + sum_f w_f + sum_{f<g} r_{f,g} v_f . v_g

Pan, Xu, Ruiz, Zhao, Pan, Sun, Lu 2018, "Field-weighted Factorization Machines for Click-Through Rate Prediction in
Display Advertising" (WWW).

Differences from the paper: r starts at 1, so that the model starts as a plain factorization machine; the linear part
has a weight a value (the paper's FwFM_LW), in recipe `bars` a vector a value (FwFM_FeLV); numbers are cut into buckets;
Adam.
"""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import Array

from zoo import optimizers, tasks
from zoo.embedding import Embed
from zoo.layers import Linear, field_cost, look_up
from zoo.recipe import Recipe
from zoo.types import Batch, Cost, Spec


class FwFM(nn.Module):
    """A Scorer."""

    spec: Spec
    embedding_dim: int = 10
    init_scale: float = 0.01

    def setup(self):
        num_fields = len(self.spec.field_sizes)
        init = nn.initializers.normal(self.init_scale)
        self.linear = Linear(self.spec)
        self.factors = Embed(sum(self.spec.field_sizes), self.embedding_dim, init)
        self.pair_weights = self.param("pair_weights", nn.initializers.ones, (num_fields * (num_fields - 1) // 2,))

    def __call__(self, batch: Batch, *, train: bool = False) -> Array:
        return self.linear(batch) + weighted_pairs(look_up(self.factors, batch), self.pair_weights)


class FwFMVectors(nn.Module):
    """A Scorer whose linear part is v_f . u_f with a second vector u of each value: the paper's FwFM_FeLV."""

    spec: Spec
    embedding_dim: int = 10
    init_scale: float = 0.01

    def setup(self):
        num_fields = len(self.spec.field_sizes)
        init = nn.initializers.normal(self.init_scale)
        self.bias = self.param("bias", nn.initializers.constant(self.spec.base_score), ())
        self.linear = Embed(sum(self.spec.field_sizes), self.embedding_dim, init)
        self.factors = Embed(sum(self.spec.field_sizes), self.embedding_dim, init)
        self.pair_weights = self.param("pair_weights", nn.initializers.ones, (num_fields * (num_fields - 1) // 2,))

    def __call__(self, batch: Batch, *, train: bool = False) -> Array:
        vectors = look_up(self.factors, batch)
        linear = jnp.sum(vectors * look_up(self.linear, batch), (1, 2))
        return self.bias + linear + weighted_pairs(vectors, self.pair_weights)


def weighted_pairs(vectors: Array, pair_weights: Array) -> Array:
    """sum_{f<g} r_{f,g} v_f . v_g: float [batch, fields, dim], r float [pairs], by rows -> [batch]."""
    num_fields = vectors.shape[1]
    above = np.triu_indices(num_fields, 1)
    weights = jnp.zeros((num_fields, num_fields)).at[above].set(pair_weights)
    return jnp.sum(vectors * jnp.einsum("fg,bgd->bfd", weights, vectors), (1, 2))


def cost(recipe: Recipe, model: FwFM) -> Cost:
    num_fields, dim = len(model.spec.field_sizes), model.embedding_dim
    pairs = num_fields * (num_fields - 1) // 2
    return field_cost(recipe.batch_size, num_fields, dim + 1, pairs, products=num_fields * (num_fields + 1) * dim)


RECIPES = {
    "clicks": tasks.clicks(
        model=partial(FwFM, embedding_dim=10),
        optimizer=optimizers.adam,
        learning_rate=5e-3,
        batch_size=1024,
        epochs=10,
    ),
    "bars": tasks.bars(model=partial(FwFMVectors, embedding_dim=10)),
    "smoke": tasks.clicks(
        model=partial(FwFM, embedding_dim=4, init_scale=0.1),
        optimizer=optimizers.adagrad,
        learning_rate=0.1,
        batch_size=256,
        epochs=3,
    ),
}
