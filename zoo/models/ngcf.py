"""Neural graph collaborative filtering (NGCF): messages over the graph of users and items, transformed in each layer.

    printed:   E^(l) = LeakyReLU((L + I) E^(l-1) W1 + (L E^(l-1)) * E^(l-1) W2),   L = D^-1/2 A D^-1/2
    released:  E^(l) = LeakyReLU(S W1 + b1) + LeakyReLU((E^(l-1) * S) W2 + b2),    S = (D + I)^-1 (A + I) E^(l-1)
    e = [e^(0), ..., e^(L)]          s_ui = e_u . e_i

Wang et al. 2019, "Neural graph collaborative filtering", equations 3 to 11. The authors' code, which made their
numbers, differs from the print in the layer, the adjacency, and in that it scales e^(1) to e^(L) of each node to
length 1 before they are put side by side: the recipe `released`.

Differences from both: the default recipe trains by softmax over the items of a large batch with the logQ correction in
place of BPR. Examples are drawn uniformly from interactions, not by user; the one negative an example may be an item
that the user has. Message dropout is of the numbers of a layer's output, as released, not of single messages. LeakyReLU
has the released slope 0.2. In `paper` the penalty is on the batch's vectors of layer 0, and weights have none.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from zoo import graph, objectives, optimizers, schedules, tasks
from zoo.errors import InputError
from zoo.models.lightgcn import bpr, check_layers, item_rows, user_rows
from zoo.models.mf import dot_product_cost
from zoo.recipe import Recipe
from zoo.types import Batch, Cost, Spec


DRAWN_ROWS = 4096
_xavier = nn.initializers.xavier_uniform()


class Printed(nn.Module):
    """A layer as the paper prints it: (vectors of the nodes, what their neighbours send) -> new vectors."""

    features: int

    @nn.compact
    def __call__(self, nodes: Array, received: Array) -> Array:
        summed = nn.Dense(self.features, use_bias=False, name="sum", kernel_init=_xavier)(received + nodes)
        product = nn.Dense(self.features, use_bias=False, name="product", kernel_init=_xavier)(received * nodes)
        return nn.leaky_relu(summed + product, 0.2)


class Released(nn.Module):
    """A layer as the authors' code has it; what is received includes the node's own vector."""

    features: int

    @nn.compact
    def __call__(self, nodes: Array, received: Array) -> Array:
        summed = nn.Dense(self.features, name="sum", kernel_init=_xavier)(received)
        product = nn.Dense(self.features, name="product", kernel_init=_xavier)(received * nodes)
        return nn.leaky_relu(summed, 0.2) + nn.leaky_relu(product, 0.2)


def side_by_side(layers: list[Array]) -> Array:
    """The vectors of all layers as one: [*rows, dim] each -> [*rows, sum of dims]."""
    return jnp.concatenate(layers, -1)


def normalised(layers: list[Array]) -> Array:
    """As side_by_side, each vector but that of layer 0 scaled to length 1."""

    def scaled(layer):
        return layer * jax.lax.rsqrt(jnp.maximum(jnp.sum(layer**2, -1, keepdims=True), 1e-12))

    return jnp.concatenate([layers[0], *map(scaled, layers[1:])], -1)


def drop_numbers(x: Array, key: Array, rate: float) -> Array:
    """Each number of x [rows, dim] 0 with probability `rate`, the others 1 / (1 - rate) times as large.

    Drawn DRAWN_ROWS at a time: the generator works in four arrays of the size of what it draws.
    """
    keys = jax.random.split(key, -(-len(x) // DRAWN_ROWS))
    kept = jax.lax.map(lambda key: jax.random.bernoulli(key, 1 - rate, (DRAWN_ROWS, x.shape[1])), keys)
    return jnp.where(kept.reshape(-1, x.shape[1])[: len(x)], x / (1 - rate), 0)


class NGCF(nn.Module):
    """Score e_u . e_i; a Retriever. The whole table takes part in each step, so it is a dense parameter."""

    spec: Spec
    embedding_dim: int = 64
    layer_sizes: tuple[int, ...] = (64, 64, 64)
    layer: Any = Released  # the module of a layer
    join: Callable[[list[Array]], Array] = normalised
    message_dropout: float = 0.0  # of the numbers that a layer gives
    node_dropout: float = 0.0  # of nodes, drawn anew for each layer: what they would send
    edge_dropout: float = 0.0  # of directed edges, the same for all layers
    product: graph.Product = graph.by_platform  # how a graph is multiplied

    def setup(self):
        check_layers(len(self.layer_sizes))

        def init(key):
            sides = zip(jax.random.split(key), (self.spec.num_users, self.spec.num_items))
            return jnp.concatenate([_xavier(side_key, (size, self.embedding_dim)) for side_key, size in sides])

        self.embedding = self.param("embedding", init)
        self.layers = [nn.remat(self.layer)(size) for size in self.layer_sizes]  # keeps what goes in, nothing between
        for name in ("message_dropout", "node_dropout", "edge_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}: it must be at least 0 and below 1")

    @property
    def num_items(self) -> int:
        return self.spec.num_items

    def prepare(self, batch: Batch | None = None, *, train: bool = False) -> list[Array]:
        """The vectors of all nodes, users first, by layer. What is dropped is the same on every device."""
        edges = self.get_variable("constants", "graph")
        if train and self.edge_dropout > 0:
            edges = graph.drop_edges(edges, self.make_rng("everywhere"), self.edge_dropout)
        found = [self.embedding]
        for layer in self.layers:
            sent = found[-1]
            if train and self.node_dropout > 0:
                sent = graph.drop_nodes(sent, self.make_rng("everywhere"), self.node_dropout)
            new = layer(found[-1], graph.propagate(edges, sent, self.product))
            drops = train and self.message_dropout > 0
            found.append(drop_numbers(new, self.make_rng("everywhere"), self.message_dropout) if drops else new)
        return found

    def query(self, batch: Batch, prepared: list[Array], *, train: bool = False) -> Array:
        return self.join([user_rows(nodes, batch["user"]) for nodes in prepared])

    def item_vectors(self, ids: Array | None, prepared: list[Array]) -> Array:
        return self.join([item_rows(nodes, ids, self.spec) for nodes in prepared])


def cost(recipe: Recipe, model: NGCF) -> Cost:
    """By layer: a product with the graph and its transpose (as in lightgcn), and two products with the weights and
    their gradients, each reading and writing the vectors of all nodes; then the optimizer's pass and the loss."""
    nodes, sizes = model.spec.num_users + model.spec.num_items, (model.embedding_dim, *model.layer_sizes)
    loss = dot_product_cost(recipe, sum(sizes))
    moved, work = loss.bytes + 3 * 4 * nodes * sizes[0], loss.flops
    for dim, features in pairwise(sizes):
        moved += 2 * (model.spec.num_edges * (8 + 4 * dim) + nodes * 4 * dim)
        moved += 3 * nodes * 4 * (2 * dim + features)
        work += 4 * model.spec.num_edges * dim + 3 * 2 * 2 * nodes * dim * features
    return Cost(bytes=moved, flops=work)


_RELEASED = partial(NGCF, embedding_dim=64, layer_sizes=(64, 64, 64), layer=Released, join=normalised)
_PRINTED = partial(NGCF, embedding_dim=64, layer_sizes=(64, 64, 64), layer=Printed, join=side_by_side)

RECIPES = {
    "ranking": tasks.ranking(
        model=_PRINTED,
        examples=partial(tasks.graph_examples, adjacency=graph.symmetric),
        objective=partial(objectives.in_batch_softmax, l2=0.15),
        optimizer=optimizers.adam,
        learning_rate=0.02,
        schedule=schedules.cosine,
        batch_size=4096,
        epochs=7,
    ),
    "paper": tasks.ranking(
        model=partial(_PRINTED, message_dropout=0.1),
        examples=partial(tasks.graph_examples, adjacency=graph.symmetric),
        objective=partial(bpr, num_negatives=1, l2=1e-5),
        optimizer=optimizers.adam,
        learning_rate=1e-4,
        batch_size=1024,
        epochs=400,
    ),
    "released": tasks.ranking(
        model=partial(_RELEASED, message_dropout=0.1),
        examples=partial(tasks.graph_examples, adjacency=graph.mean_with_self),
        objective=partial(objectives.bpr, num_negatives=1, l2=1e-5),
        optimizer=optimizers.adam,
        learning_rate=1e-4,
        batch_size=1024,
        epochs=400,
    ),
    "smoke": tasks.ranking(
        model=partial(NGCF, embedding_dim=8, layer_sizes=(8,), layer=Printed, join=side_by_side),
        examples=partial(tasks.graph_examples, adjacency=graph.symmetric),
        objective=objectives.in_batch_softmax,
        optimizer=optimizers.adam,
        learning_rate=0.03,
        batch_size=64,
        epochs=10,
    ),
}
