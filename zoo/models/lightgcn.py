"""LightGCN: vectors of users and items averaged over 0 to K propagations over their graph.

    E^(k+1) = D^-1/2 A D^-1/2 E^(k)          E = (E^(0) + ... + E^(K)) / (K + 1)          s_ui = e_u . e_i

He et al. 2020, "LightGCN: simplifying and powering graph convolution network for recommendation", equations 3, 4, 8.

Differences from the paper: the default recipe trains by softmax over the items of a large batch with the logQ
correction in place of BPR, since a propagation costs the same for any batch, and regularises the final vectors of a
batch. `paper` has the paper's loss, with its penalty on the batch's vectors of layer 0 as in the authors' code; one
uniform negative an example, which may be an item that the user has. A user or item without edges has its own vector
divided by K + 1.
"""

import warnings
from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from zoo import graph, objectives, optimizers, schedules, tasks
from zoo.errors import InputError
from zoo.models.mf import dot_product_cost
from zoo.recipe import Recipe
from zoo.types import PADDING, Batch, Cost, Spec


class LightGCN(nn.Module):
    """Score e_u . e_i; a Retriever. The whole table takes part in each step, so it is a dense parameter."""

    spec: Spec
    embedding_dim: int = 64
    num_layers: int = 3
    init_scale: float = 0.1
    product: graph.Product = graph.by_platform  # how a graph is multiplied

    def setup(self):
        check_layers(self.num_layers)
        shape = (self.spec.num_users + self.spec.num_items, self.embedding_dim)
        self.embedding = self.param("embedding", nn.initializers.normal(self.init_scale), shape)

    @property
    def num_items(self) -> int:
        return self.spec.num_items

    def prepare(self, batch: Batch | None = None, *, train: bool = False) -> Array:
        """The final vectors of all nodes, users first."""
        edges = self.get_variable("constants", "graph")
        total = layer = self.embedding
        for _ in range(self.num_layers):
            layer = graph.propagate(edges, layer, self.product)
            total = total + layer
        return total / (self.num_layers + 1)

    def query(self, batch: Batch, prepared: Array, *, train: bool = False) -> Array:
        return user_rows(prepared, batch["user"])

    def item_vectors(self, ids: Array | None, prepared: Array) -> Array:
        return item_rows(prepared, ids, self.spec)


def user_rows(nodes: Array, ids: Array) -> Array:
    """Of the vectors of all nodes those of users, zeros where an id is PADDING: float [*ids, dim]."""
    return nodes.at[ids].get(mode="fill", fill_value=0)


def item_rows(nodes: Array, ids: Array | None, spec: Spec) -> Array:
    """As user_rows, of items; `ids=None` means all items."""
    if ids is None:
        return nodes[spec.num_users :]
    return user_rows(nodes, jnp.where(ids == PADDING, PADDING, ids + spec.num_users))


def check_layers(num_layers: int) -> None:
    if num_layers < 0:
        raise InputError(f"num_layers is {num_layers}: it must be at least 0")
    if num_layers > 8:
        warnings.warn(
            f"{num_layers} layers: beyond 4 or so all vectors become alike and quality falls; each costs a product",
            stacklevel=2,
        )


def bpr(model: LightGCN, batch: Batch, key: Array, *, num_negatives: int = 1, l2: float = 1e-4) -> Array:
    """objectives.bpr of the final vectors, plus l2 / 2 * |v|^2 of the layer 0 vectors of user, item and negatives."""
    drawn = objectives.uniform_negatives(model, batch, key, num_negatives)
    squares = (
        jnp.sum(user_rows(model.embedding, batch["user"]) ** 2, -1)
        + jnp.sum(item_rows(model.embedding, batch["item"], model.spec) ** 2, -1)
        + jnp.mean(jnp.sum(item_rows(model.embedding, drawn, model.spec) ** 2, -1), 1)
    )
    return objectives.bpr(model, batch, key, num_negatives=num_negatives) + 0.5 * l2 * squares


def cost(recipe: Recipe, model: LightGCN) -> Cost:
    """A product and its transpose a layer, the sums over layers, the optimizer's pass over the table, and the loss.

    A product reads, for each entry of the graph, its place, its weight and a row, and writes every node's row.
    """
    nodes, dim, layers = model.spec.num_users + model.spec.num_items, model.embedding_dim, model.num_layers
    loss = dot_product_cost(recipe, dim)
    product = model.spec.num_edges * (8 + 4 * dim) + nodes * 4 * dim
    passes = 3 * layers + 3  # read, read and write a sum; read the gradient, read and write the weight
    return Cost(
        bytes=2 * layers * product + passes * nodes * 4 * dim + loss.bytes,
        flops=2 * layers * model.spec.num_edges * 2 * dim + layers * nodes * dim + loss.flops,
    )


RECIPES = {
    "ranking": tasks.ranking(
        model=partial(LightGCN, embedding_dim=64, num_layers=2, init_scale=0.1),
        examples=tasks.graph_examples,
        objective=partial(objectives.in_batch_softmax, l2=0.03),
        optimizer=optimizers.adam,
        learning_rate=0.03,
        schedule=schedules.cosine,
        batch_size=2048,
        epochs=4,
        for_data={"gowalla": {"batch_size": 4096, "l2": 0.3, "epochs": 16}},
    ),
    "paper": tasks.ranking(
        model=partial(LightGCN, embedding_dim=64, num_layers=3, init_scale=0.1),
        examples=tasks.graph_examples,
        objective=partial(bpr, num_negatives=1, l2=1e-4),
        optimizer=optimizers.adam,
        learning_rate=1e-3,
        batch_size=2048,
        epochs=1000,
    ),
    "smoke": tasks.ranking(
        model=partial(LightGCN, embedding_dim=8, num_layers=2),
        examples=tasks.graph_examples,
        objective=objectives.in_batch_softmax,
        optimizer=optimizers.adam,
        learning_rate=0.03,
        batch_size=64,
        epochs=10,
    ),
}
