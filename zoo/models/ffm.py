"""Field-aware factorization machine: a value has a vector for each other field, and a pair uses the two meant for it.

    logit = b + sum_f w_f + sum_{f<g} v_{f,g} . v_{g,f},    v_{f,g}: the vector of field f's value meant for field g

Juan, Zhuang, Chin, Lin 2016, "Field-aware Factorization Machines for CTR Prediction" (RecSys).

A row of the table holds the fields - 1 vectors of a value side by side, so one lookup fetches all of them, and the
pairs are one product with its own transpose: no loop over pairs. A step needs [batch, fields, fields, dim] numbers a
few times over: 8192 x 39 x 39 x 4 x 4 bytes = 199 MB each at Criteo's shape with dim 4, and 16 MB at frappe's (10
fields, dim 10, batch 4096).

Recipe `libffm` is the authors' program instead (github.com/ycjuan/libffm): no linear part and no bias, an example of F
fields normalised to length 1, so that its pairs are divided by F, vectors uniform in [0, 1) / sqrt(dim), and Adagrad
whose accumulator starts at 1, with L2 on the rows of each example. With batch_size 1 its updates are the program's; a
larger batch adds up the gradients of its examples before they are squared.

Differences of the other recipes from the paper and libffm: a linear part and a bias, as in FuxiCTR; an example is not
normalised; no vector of a field for itself; Adam on mini-batches for Adagrad on single examples; vectors start near 0,
not uniform above 0.
"""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from zoo import optimizers, tasks
from zoo.embedding import Embed
from zoo.layers import Linear, field_cost, look_up
from zoo.recipe import Recipe
from zoo.types import Batch, Cost, Spec


class FFM(nn.Module):
    """A Scorer."""

    spec: Spec
    embedding_dim: int = 4
    init_scale: float = 0.01

    def setup(self):
        init = nn.initializers.normal(self.init_scale)
        others = max(len(self.spec.field_sizes) - 1, 1)
        self.linear = Linear(self.spec)
        self.factors = Embed(sum(self.spec.field_sizes), others * self.embedding_dim, init)

    def __call__(self, batch: Batch, *, train: bool = False) -> Array:
        return self.linear(batch) + sum_of_products(look_up(self.factors, batch), self.embedding_dim)


class LibFFM(nn.Module):
    """A Scorer, as libffm has it."""

    spec: Spec
    embedding_dim: int = 4

    def setup(self):
        init = nn.initializers.uniform(self.embedding_dim**-0.5)
        others = max(len(self.spec.field_sizes) - 1, 1)
        self.factors = Embed(sum(self.spec.field_sizes), others * self.embedding_dim, init)

    def __call__(self, batch: Batch, *, train: bool = False) -> Array:
        pairs = sum_of_products(look_up(self.factors, batch), self.embedding_dim)
        return pairs / len(self.spec.field_sizes)


def sum_of_products(vectors: Array, dim: int) -> Array:
    """sum_{f<g} v_{f,g} . v_{g,f}: rows of the table [batch, fields, (fields - 1) dim] -> [batch]."""
    met = square(vectors.reshape(*vectors.shape[:2], -1, dim))
    return 0.5 * jnp.sum(met * jnp.swapaxes(met, 1, 2), axis=(1, 2, 3))


def square(vectors: Array) -> Array:
    """The vectors of each field for the others, [batch, fields, fields - 1, dim], with zeros for itself put between:
    [batch, fields, fields, dim].

    All by reshaping: the diagonal of a square is every (fields + 1)-th entry, so padding each run of `fields` by one
    and the whole by one in front puts them there. Its gradient is a slice, not a scatter.
    """
    batch, fields, _, dim = vectors.shape
    runs = vectors.reshape(batch, fields - 1, fields, dim)
    runs = jnp.pad(runs, ((0, 0), (0, 0), (0, 1), (0, 0))).reshape(batch, fields * fields - 1, dim)
    return jnp.pad(runs, ((0, 0), (1, 0), (0, 0))).reshape(batch, fields, fields, dim)


def cost(recipe: Recipe, model: FFM | LibFFM) -> Cost:
    num_fields, dim = len(model.spec.field_sizes), model.embedding_dim
    pairs = num_fields * (num_fields - 1) / 2
    looked_up = (num_fields - 1) * dim + (1 if isinstance(model, FFM) else 0)
    return field_cost(recipe.batch_size, num_fields, looked_up, 0, products=pairs * dim)


RECIPES = {
    "clicks": tasks.clicks(
        model=partial(FFM, embedding_dim=4),
        optimizer=optimizers.adam,
        learning_rate=5e-3,
        batch_size=1024,
        epochs=10,
        for_data={"frappe": {"embedding_dim": 10, "learning_rate": 2e-3, "batch_size": 4096, "epochs": 30}},
    ),
    "libffm": tasks.clicks(
        model=partial(LibFFM, embedding_dim=4),
        optimizer=partial(optimizers.libffm, l2=2e-5),
        learning_rate=0.2,
        batch_size=64,
        epochs=15,
    ),
    "bars": tasks.bars(model=partial(FFM, embedding_dim=10)),
    "smoke": tasks.clicks(
        model=partial(FFM, embedding_dim=3, init_scale=0.1),
        optimizer=optimizers.adagrad,
        learning_rate=0.1,
        batch_size=256,
        epochs=3,
    ),
}
