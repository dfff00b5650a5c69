"""Factorization machine: every pair of fields interacts through the dot product of two vectors.

    logit = b + sum_f w_f + sum_{f<g} v_f . v_g,    the pairs as ((sum_f v_f)^2 - sum_f v_f^2) / 2, summed over dim

Rendle 2010, "Factorization Machines" (ICDM), equation 1. One table holds the vectors of all fields.

Differences from the paper: every field has exactly one value of weight 1 (numbers are cut into buckets); Adam on
mini-batches, not SGD on one example at a time; b starts at the log odds of a click, w at 0, v near 0.
"""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from zoo import optimizers, schedules, tasks
from zoo.embedding import Embed
from zoo.layers import Linear, field_cost, look_up, sum_of_pairs
from zoo.recipe import Recipe
from zoo.types import Batch, Cost, Spec


class FM(nn.Module):
    """A Scorer."""

    spec: Spec
    embedding_dim: int = 10
    init_scale: float = 0.01

    def setup(self):
        init = nn.initializers.normal(self.init_scale)
        self.linear = Linear(self.spec)
        self.factors = Embed(sum(self.spec.field_sizes), self.embedding_dim, init)

    def __call__(self, batch: Batch, *, train: bool = False) -> Array:
        pairs = sum_of_pairs(look_up(self.factors, batch))
        return self.linear(batch) + jnp.sum(pairs, axis=-1)


def cost(recipe: Recipe, model: FM) -> Cost:
    num_fields, dim = len(model.spec.field_sizes), model.embedding_dim
    return field_cost(recipe.batch_size, num_fields, dim + 1, 0, products=(num_fields + 1) * dim)


RECIPES = {
    "clicks": tasks.clicks(
        model=partial(FM, embedding_dim=10),
        optimizer=optimizers.adam,
        learning_rate=5e-3,
        batch_size=1024,
        epochs=10,
        for_data={"frappe": {"learning_rate": 3e-3, "batch_size": 4096, "epochs": 40}},
    ),
    "rating": tasks.field_rating(
        model=partial(FM, embedding_dim=64, init_scale=0.02),
        optimizer=partial(optimizers.adam_each_lookup, l2=0.04),
        learning_rate=2e-3,
        schedule=schedules.linear,
        batch_size=1024,
        epochs=20,
    ),
    "bars": tasks.bars(model=partial(FM, embedding_dim=10)),
    "smoke": tasks.clicks(
        model=partial(FM, embedding_dim=4, init_scale=0.1),
        optimizer=optimizers.adagrad,
        learning_rate=0.1,
        batch_size=256,
        epochs=3,
    ),
}
