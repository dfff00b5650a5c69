"""Recurrent networks that read a text character by character and say which comes next.

    h_t = cell(W[c_t], h_{t-1})        P(c_{t+1} = k) = softmax_k(V h_t + b)

with the cells of zoo.recurrent: vanilla (Elman 1990, "Finding structure in time"), LSTM (Hochreiter and Schmidhuber
1997, with the forget gate of Gers et al. 2000) and GRU (Cho et al. 2014; reset after the product, as in PyTorch and
cuDNN). Further layers read the h of the one below. As in Zaremba et al. 2014, dropout stands between layers and before
the output, never on the way through time; states go from one piece of the text to the next, gradients do not.

Differences from the papers: the input is a row of W, the product of W with a one-hot character, so that no product is
computed; it is made for all steps at once, outside the loop over time. Adam with clipped gradients trains it.
"""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from zoo import optimizers, recurrent, schedules, tasks
from zoo.errors import InputError
from zoo.layers import dropped
from zoo.recipe import Recipe, function_of
from zoo.recurrent import Cell, Recurrent, States
from zoo.types import Batch, Cost, Spec


class RNN(nn.Module):
    """A Classifier of the next character."""

    spec: Spec
    cell: Cell = recurrent.lstm
    width: int = 512
    num_layers: int = 1
    dropout: float = 0.0

    def setup(self):
        if self.num_layers < 1:
            raise InputError(f"num_layers is {self.num_layers}: it must be at least 1")
        init = recurrent.in_blocks(nn.initializers.glorot_uniform(), self.width)
        shape = (self.spec.num_classes, self.cell.projected * self.width)
        self.rows = self.param("rows", init, shape)
        self.layers = [Recurrent(self.cell, self.width) for _ in range(self.num_layers)]
        self.projections = [nn.Dense(shape[1], kernel_init=init) for _ in range(self.num_layers - 1)]
        self.output = nn.Dense(self.spec.num_classes, kernel_init=nn.initializers.normal(1e-2))

    def __call__(self, batch: Batch, *, train: bool = False) -> Array:
        states = self.start(batch["characters"].shape[0])
        if not train:
            return self.read(batch["characters"], states)[0]
        states = recurrent.carried(self, batch["place"], states)
        logits, states = self.read(batch["characters"], states, train=True)
        recurrent.keep(self, batch["place"], states)
        return logits

    def start(self, batch: int) -> tuple[States, ...]:
        """The states before a text, of each layer."""
        return (recurrent.zero_states(self.cell, batch, self.width),) * self.num_layers

    def read(self, characters: Array, states: tuple[States, ...], *, train: bool = False):
        """int32 [batch, length] -> logits float [batch, length, classes], and the states after the last character."""
        x = self.rows.at[characters.T].get(mode="fill", fill_value=0)  # [length, batch, projected * width]
        last, h = self.layers[0](x, states[0])
        ended = [last]
        for project, layer, state in zip(self.projections, self.layers[1:], states[1:], strict=True):
            last, h = layer(project(self._dropped(h, train)), state)
            ended.append(last)
        return jnp.swapaxes(self.output(self._dropped(h, train)), 0, 1), tuple(ended)

    def _dropped(self, h: Array, train: bool) -> Array:
        if not (train and self.dropout):
            return h
        return dropped(h.reshape(-1, self.width), self.dropout, self.make_rng("dropout")).reshape(h.shape)


def cost(recipe: Recipe, model: RNN) -> Cost:
    """Of a step: each weight of a product with a state is 6 operations a character, forward and for both gradients.

    A recurrent matrix is read once a character forward and once backward; the rest are three passes over the weights
    and over what a layer computes: its projected input, its state and the logits. The optimizer's state is left out.
    """
    length = function_of(recipe.examples)[1]["length"]
    characters = recipe.batch_size * length
    blocks = sum(len(biases) for biases in model.cell.biases)
    recurrent_weights = model.num_layers * blocks * model.width**2
    classes = model.spec.num_classes
    others = (model.num_layers - 1) * model.cell.projected * model.width**2 + classes * model.width
    made = model.num_layers * (model.cell.projected + 1) * model.width + classes
    return Cost(
        bytes=4.0 * (2 * length * recurrent_weights + 3 * (others + recurrent_weights) + 3 * characters * made),
        flops=6.0 * characters * (recurrent_weights + others),
    )


_COMMON = {
    "optimizer": partial(optimizers.adam_clipped, max_norm=1.0),
    "schedule": schedules.cosine,
    "learning_rate": 4e-3,
    "batch_size": 32,
    "epochs": 10,
}
_SHAKESPEARE = {"width": 512, "dropout": 0.2, "epochs": 8}

RECIPES = {
    "lstm": tasks.text(
        model=partial(RNN, cell=recurrent.lstm, width=256, dropout=0.1),
        for_data={"tiny-shakespeare": _SHAKESPEARE | {"learning_rate": 6e-3}},
        **_COMMON,
    ),
    "gru": tasks.text(
        model=partial(RNN, cell=recurrent.gru_reset_after, width=256, dropout=0.1),
        for_data={"tiny-shakespeare": _SHAKESPEARE | {"learning_rate": 3e-3}},
        **_COMMON,
    ),
    "vanilla": tasks.text(
        model=partial(RNN, cell=recurrent.vanilla, width=256, dropout=0.1),
        for_data={"tiny-shakespeare": _SHAKESPEARE | {"learning_rate": 1e-3, "epochs": 30}},
        **_COMMON,
    ),
    "smoke": tasks.text(
        model=partial(RNN, cell=recurrent.gru_reset_after, width=32),
        examples=partial(tasks.text_examples, length=16, pieces=8, warm_up=32),
        optimizer=optimizers.adam_clipped,
        learning_rate=1e-2,
        batch_size=16,
        epochs=4,
    ),
}
