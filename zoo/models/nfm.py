"""Neural factorization machine: a tower of layers over the sum of all pairwise products of vectors.

    logit = b + sum_f w_f + MLP(sum_{f<g} v_f * v_g)

He and Chua 2017, "Neural Factorization Machines for Sparse Predictive Analytics" (SIGIR).

Differences from the paper: numbers are cut into buckets; no batch normalisation and no dropout before the tower; the
last layer starts near 0 and the bias at the log odds of a click, so that the loss opens at that of a constant; Adam.
"""

from functools import partial

import flax.linen as nn
from jax import Array

from zoo import optimizers, tasks
from zoo.embedding import Embed
from zoo.layers import MLP, NEAR_ZERO, Linear, field_cost, look_up, sum_of_pairs, tower_weights
from zoo.recipe import Recipe
from zoo.types import Batch, Cost, Spec


class NFM(nn.Module):
    """A Scorer."""

    spec: Spec
    embedding_dim: int = 10
    hidden_dims: tuple[int, ...] = (400,)
    dropout: float = 0.0
    dtype: str = "float32"  # of the tower's products
    init_scale: float = 0.01

    def setup(self):
        init = nn.initializers.normal(self.init_scale)
        self.linear = Linear(self.spec)
        self.factors = Embed(sum(self.spec.field_sizes), self.embedding_dim, init)
        self.tower = MLP(self.hidden_dims, self.dropout, self.dtype)
        self.top = nn.Dense(1, use_bias=False, kernel_init=NEAR_ZERO)

    def __call__(self, batch: Batch, *, train: bool = False) -> Array:
        pooled = sum_of_pairs(look_up(self.factors, batch))
        return self.linear(batch) + self.top(self.tower(pooled, train=train))[:, 0]


def cost(recipe: Recipe, model: NFM) -> Cost:
    num_fields, dim = len(model.spec.field_sizes), model.embedding_dim
    weights = tower_weights(dim, (*model.hidden_dims, 1))
    return field_cost(recipe.batch_size, num_fields, dim + 1, weights, products=(num_fields + 1) * dim)


RECIPES = {
    "clicks": tasks.clicks(
        model=partial(NFM, embedding_dim=10, hidden_dims=(400,), dropout=0.2),
        optimizer=optimizers.adam,
        learning_rate=1e-3,
        batch_size=1024,
        epochs=10,
    ),
    "smoke": tasks.clicks(
        model=partial(NFM, embedding_dim=4, hidden_dims=(16, 8), init_scale=0.1),
        optimizer=optimizers.adagrad,
        learning_rate=0.05,
        batch_size=256,
        epochs=4,
    ),
}
