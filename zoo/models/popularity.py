"""Popularity: every user gets the items with the most training interactions.

The first model of a zoo: deterministic, so its published numbers check the evaluation, and the floor that others must
beat.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from zoo import tasks
from zoo.data.splits import Split
from zoo.types import Batch, Spec


class Popularity(nn.Module):
    """Score = popularity rank, the same for every user; a Retriever of dim 1."""

    spec: Spec

    def setup(self):
        self.score = self.param("score", nn.initializers.zeros, (self.spec.num_items, 1))

    @property
    def num_items(self) -> int:
        return self.spec.num_items

    def prepare(self, batch: Batch | None = None, *, train: bool = False) -> tuple:
        return ()

    def query(self, batch: Batch, prepared: tuple, *, train: bool = False) -> Array:
        return jnp.ones((batch["user"].shape[0], 1))

    def item_vectors(self, ids: Array | None, prepared: tuple) -> Array:
        return self.score if ids is None else self.score[ids]


def solve(split: Split) -> dict[str, Array]:
    """The parameters in closed form: a count."""
    return {"score": jnp.asarray(tasks.popularity_scores(split.train))[:, None]}


RECIPES = {
    "ranking": tasks.ranking(model=Popularity, solve=solve, epochs=0),
    "smoke": tasks.ranking(model=Popularity, solve=solve, epochs=0),
}
