"""Logistic regression: a weight for each value of each field.

    logit = b + sum_f w_f

Differences from textbooks: numbers are cut into buckets, so each is a step function; b starts at the log odds of a
click in train and w at 0, so that the loss opens at that of a constant.
"""

import flax.linen as nn
from jax import Array

from zoo import optimizers, tasks
from zoo.layers import Linear, field_cost
from zoo.recipe import Recipe
from zoo.types import Batch, Cost, Spec


class LR(nn.Module):
    """A Scorer."""

    spec: Spec

    def setup(self):
        self.linear = Linear(self.spec)

    def __call__(self, batch: Batch, *, train: bool = False) -> Array:
        return self.linear(batch)


def cost(recipe: Recipe, model: LR) -> Cost:
    """An addition a field; nothing is multiplied."""
    num_fields = len(model.spec.field_sizes)
    return field_cost(recipe.batch_size, num_fields, 1, 0)._replace(flops=recipe.batch_size * num_fields)


RECIPES = {
    "clicks": tasks.clicks(model=LR, optimizer=optimizers.adam, learning_rate=1e-2, batch_size=1024, epochs=10),
    "bars": tasks.bars(model=LR),
    "smoke": tasks.clicks(model=LR, optimizer=optimizers.adagrad, learning_rate=0.1, batch_size=256, epochs=3),
}
