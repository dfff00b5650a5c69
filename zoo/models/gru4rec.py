"""GRU4Rec: the next item of a sequence from the state of a recurrent network that has read the items before it.

    h_t = GRU(x_t, h_{t-1})        score of item i = h_t . w_i + b_i        x_t = W w_{i_t}

Hidasi, Karatzoglou, Baltrunas, Tikk 2016, "Session-based Recommendations with Recurrent Neural Networks" (ICLR), and
Hidasi and Karatzoglou 2018 for the losses against sampled items (zoo.sampled_objectives). The input of an item is its
output vector (`shared`), a vector of its own (`separate`), or a row of W itself (`no_embedding`). Dropout stands on the
input vectors and after each layer. A user without a history has h = 0: the biases rank items for all such users alike.

`session` is training as in the authors' code: sessions side by side, one event of each a step; a row's state goes from
step to step, with its dropout, is zero where another session begins, and no gradient goes through it; Adagrad whose
moves have momentum; the mean loss is over all rows of the batch, also when sessions run out. `sequence` reads whole
sequences in one pass, with gradients through time, and is a fraction of the work.

Differences from the authors' code: negatives are drawn anew each step, not kept in a store; a row without sessions
stays in the batch as padding. Those of `sequence` from it: all of the above, and rows in random order.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from zoo import optimizers, recurrent, sampled_objectives, tasks
from zoo.data import splits
from zoo.embedding import Embed
from zoo.errors import InputError
from zoo.layers import dropped, history
from zoo.recipe import Recipe, function_of
from zoo.recurrent import Cell, Recurrent
from zoo.types import Batch, Cost, Spec


_glorot = nn.initializers.glorot_uniform()  # +-sqrt(6 / (rows + columns)), for tables too


def shared(model: Any) -> None:
    """The input of an item is its output vector."""
    return None


def separate(model: Any) -> Embed:
    """The input of an item is a vector of its own."""
    return Embed(model.spec.num_items, model.embedding_dim, _glorot)


def no_embedding(model: Any) -> Embed:
    """The input of the first layer is one-hot: its product with W is a row of W."""
    blocks = recurrent.in_blocks(_glorot, model.embedding_dim)
    return Embed(model.spec.num_items, model.cell.projected * model.embedding_dim, blocks)


class GRU4Rec(nn.Module):
    """A Retriever over histories; `hidden` and `outputs` are what its losses ask."""

    spec: Spec
    embedding_dim: int = 100  # of the item vectors, and the units of each layer
    num_layers: int = 1
    inputs: Callable[[Any], Embed | None] = shared
    cell: Cell = recurrent.gru_reset_before
    dropout_inputs: float = 0.0
    dropout_hidden: float = 0.0

    def setup(self):
        if self.num_layers < 1:
            raise InputError(f"num_layers is {self.num_layers}: it must be at least 1")
        dim, blocks = self.embedding_dim, self.cell.projected
        self.item = Embed(self.spec.num_items, dim, _glorot)
        self.bias = Embed(self.spec.num_items, 1, nn.initializers.zeros)
        self.own_inputs = self.inputs(self)
        projected = self.own_inputs is not None and self.own_inputs.dim == blocks * dim
        init = recurrent.in_blocks(_glorot, dim)
        kernels = [self.param(f"input_{i}", init, (dim, blocks * dim)) for i in range(projected, self.num_layers)]
        self.kernels = [None] * projected + kernels
        restarting = recurrent.restarting(self.cell)
        self.layers = [Recurrent(restarting, dim, _glorot) for _ in range(self.num_layers)]

    @property
    def num_items(self) -> int:
        return self.spec.num_items

    def hidden(self, batch: Batch, *, train: bool = False) -> Array:
        """h at each entry of `sequence`: float [batch, length, dim]."""
        ids, place = batch["sequence"], batch["place"]
        x = self._read(ids)  # [batch, length, ...]
        x = x if self.kernels[0] is None else self._dropped(x, self.dropout_inputs, train)
        goes_on = (place.T > 0).astype(x.dtype)[:, :, None]
        zeros = recurrent.zero_states(self.cell, ids.shape[0], self.embedding_dim)
        started = (zeros,) * self.num_layers
        if train:
            started = recurrent.carried(self, place[:, 0], started)
        ended = []
        for kernel, layer, start in zip(self.kernels, self.layers, started, strict=True):
            x = jnp.swapaxes(x, 0, 1)  # [length, batch, ...]
            x = x if kernel is None else x @ kernel
            (_, *others), h = layer(jnp.concatenate([x, goes_on], axis=-1), start)
            x = self._dropped(jnp.swapaxes(h, 0, 1), self.dropout_hidden, train)
            ended.append((x[:, -1], *others))
        if train:
            recurrent.keep(self, place[:, -1], tuple(ended))
        return x

    def outputs(self, ids: Array) -> tuple[Array, Array]:
        """Vectors float [*ids, dim] and biases float [*ids]."""
        return self.item(ids), self.bias(ids)[..., 0]

    def prepare(self, batch: Batch | None = None, *, train: bool = False) -> tuple:
        return ()

    def query(self, batch: Batch, prepared: tuple, *, train: bool = False) -> Array:
        """h after the history, and 1 for the bias: float [batch, dim + 1]."""
        log = self.get_variable("constants", "history_log")
        ids, _ = history(batch, log, self.spec.history_length)
        length = jnp.sum(ids < self.num_items, axis=1)
        weights = [layer.weights for layer in self.layers]

        def step(t, held):
            x, states = (self.own_inputs or self.item).peek(ids[:, t]), []
            for kernel, own, before in zip(self.kernels, weights, held, strict=True):
                after = recurrent.advance(self.cell, own, x if kernel is None else x @ kernel, before)
                there = (t < length)[:, None]
                states.append(tuple(jnp.where(there, new, old) for new, old in zip(after, before, strict=True)))
                x = states[-1][0]
            return tuple(states)

        start = (recurrent.zero_states(self.cell, ids.shape[0], self.embedding_dim),) * self.num_layers
        h = jax.lax.fori_loop(0, jnp.max(length), step, start)[-1][0]
        return jnp.concatenate([h, jnp.ones((h.shape[0], 1), h.dtype)], axis=1)

    def item_vectors(self, ids: Array | None, prepared: tuple) -> Array:
        """The vector of an item and its bias: float [*ids, dim + 1]."""
        if ids is None:
            return jnp.concatenate([self.item.all(), self.bias.all()], axis=-1)
        return jnp.concatenate([self.item(ids), self.bias(ids)], axis=-1)

    def _read(self, ids: Array) -> Array:
        return (self.own_inputs or self.item)(ids)

    def _dropped(self, x: Array, rate: float, train: bool) -> Array:
        """float [batch, length, dim]: the batch is the leading axis, so that padding at its end changes no draw."""
        if not (train and rate):
            return x
        return dropped(x.reshape(-1, x.shape[-1]), rate, self.make_rng("dropout")).reshape(x.shape)


def cost(recipe: Recipe, model: GRU4Rec) -> Cost:
    """Of a step: each weight of a product with an input, a state or a candidate's vector is 6 operations an entry,
    forward and for both gradients.

    Three passes over the rows looked up, the weights, and what is computed: projected inputs, states and scores. The
    optimizer's state is left out.
    """
    dim, length = model.embedding_dim, function_of(recipe.examples)[1].get("length", 1)
    entries = recipe.batch_size * length
    objective: Any = recipe.objective
    candidates = entries + objective.keywords["count"]
    blocks = sum(len(biases) for biases in model.cell.biases)
    weights = model.num_layers * (blocks + model.cell.projected) * dim**2
    made = model.num_layers * (model.cell.projected + 1) * dim + candidates
    rows = (entries + candidates) * dim
    return Cost(bytes=3 * 4.0 * (rows + weights + entries * made), flops=6.0 * entries * (weights + candidates * dim))


# Of --validate: the last sessions of train, whole, as the test part has them.
_SESSIONS = tasks.JUDGED_AS_SESSIONS | {"validation": partial(splits.latest_users, fraction=0.02)}
# Chosen with --validate; the authors' best, on their own cut of the data, has 512 units and dropout 0.5 and 0.3.
_DIGINETICA = {"embedding_dim": 128, "dropout_inputs": 0.3, "dropout_hidden": 0.1, "penalty": 0.9, "b1": 0.15}

RECIPES = {
    "sequence": tasks.sequences(
        model=partial(GRU4Rec, embedding_dim=128, dropout_inputs=0.5, dropout_hidden=0.3),
        objective=partial(sampled_objectives.cross_entropy, count=1024, alpha=0.5, logq=1.0),
        optimizer=partial(optimizers.adagrad_momentum, b1=0.0),
        learning_rate=0.1,
        batch_size=16,
        epochs=8,
        for_data={"diginetica": _SESSIONS | {"embedding_dim": 160}},
    ),
    "session": tasks.sessions(
        model=partial(GRU4Rec, embedding_dim=100),
        objective=partial(
            sampled_objectives.bpr_max,
            count=2048,
            alpha=0.3,
            penalty=1.0,
            elu=1.0,
            normaliser=sampled_objectives.over_all_rows,
        ),
        optimizer=partial(optimizers.adagrad_momentum, b1=0.1),
        learning_rate=0.05,
        batch_size=64,
        epochs=5,
        for_data={
            "diginetica": _SESSIONS | _DIGINETICA | {"batch_size": 128, "epochs": 6},
            "amazon-beauty": tasks.JUDGED_AS_USERS,
            "movielens-1m": tasks.JUDGED_AS_USERS,
        },
    ),
    "smoke": tasks.sequences(
        model=partial(GRU4Rec, embedding_dim=64, dropout_inputs=0.8, dropout_hidden=0.8),
        examples=partial(tasks.sequence_examples, length=10, longest=50),
        objective=partial(sampled_objectives.cross_entropy, count=64, alpha=1.0),
        optimizer=optimizers.adam,
        learning_rate=2e-2,
        batch_size=8,
        epochs=20,
    ),
}
