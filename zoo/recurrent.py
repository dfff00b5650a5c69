"""Recurrent cells and their run over a sequence: the parts of rnn and gru4rec.

A cell takes x = W input + b, the projection of its input, and its state h; U and b' are its own:

    vanilla            h' = tanh(x + h U + b')
    lstm               i, f, g, o = x + h U + b';  c' = sigma(f) c + sigma(i) tanh(g);  h' = sigma(o) tanh(c')
    gru_reset_after    r, z = sigma(x + h U + b');  n = tanh(x_n + r * (h U_n + b'_n));  h' = (1 - z) n + z h
    gru_reset_before   r, z = sigma(x + h U + b');  n = tanh(x_n + (r * h) U_n + b'_n);  h' = (1 - z) h + z n

Hochreiter and Schmidhuber 1997 and Gers et al. 2000 for the LSTM, whose forget gate opens with bias 1. The GRU resets
before the product in Cho et al. 2014 and in GRU4Rec, where z is the part that is new; PyTorch, cuDNN and Flax reset
after it, and their z is the part that stays. Weights of one do not serve the other.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from zoo.types import CARRY, PADDING


States = tuple[Array, ...]  # float [batch, width] each; the first is what the cell puts out
Weights = tuple[tuple[Array, Array], ...]  # U float [width, blocks * width] and b' of each product


@dataclass(frozen=True)
class Cell:
    """`step(x, states, multiply) -> states`, where `multiply(i, a)` is a U_i + b'_i: the only way to its weights."""

    projected: int  # x has so many numbers a unit
    biases: tuple[tuple[float, ...], ...]  # of each product: what the b' of each of its blocks opens with
    num_states: int
    step: Callable[[Array, States, Callable[[int, Array], Array]], States]


def _vanilla(x: Array, states: States, multiply: Callable) -> States:
    return (jnp.tanh(x + multiply(0, states[0])),)


def _lstm(x: Array, states: States, multiply: Callable) -> States:
    h, c = states
    i, f, g, o = jnp.split(x + multiply(0, h), 4, -1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def _gru_reset_after(x: Array, states: States, multiply: Callable) -> States:
    (h,) = states
    width = h.shape[-1]
    product = multiply(0, h)
    r, z = jnp.split(jax.nn.sigmoid(x[..., : 2 * width] + product[..., : 2 * width]), 2, -1)
    n = jnp.tanh(x[..., 2 * width :] + r * product[..., 2 * width :])
    return (n + z * (h - n),)


def _gru_reset_before(x: Array, states: States, multiply: Callable) -> States:
    (h,) = states
    width = h.shape[-1]
    r, z = jnp.split(jax.nn.sigmoid(x[..., : 2 * width] + multiply(0, h)), 2, -1)
    n = jnp.tanh(x[..., 2 * width :] + multiply(1, r * h))
    return (h + z * (n - h),)


vanilla = Cell(1, ((0.0,),), 1, _vanilla)
lstm = Cell(4, ((0.0, 1.0, 0.0, 0.0),), 2, _lstm)
gru_reset_after = Cell(3, ((0.0, 0.0, 0.0),), 1, _gru_reset_after)
gru_reset_before = Cell(3, ((0.0, 0.0), (0.0,)), 1, _gru_reset_before)


@cache
def restarting(cell: Cell) -> Cell:
    """The cell with one number more at the end of x: 1 where its states go on, 0 where they are zeros first."""

    def step(x: Array, states: States, multiply: Callable) -> States:
        return cell.step(x[..., :-1], tuple(state * x[..., -1:] for state in states), multiply)

    return replace(cell, step=step)


def advance(cell: Cell, weights: Weights, x: Array, states: States) -> States:
    """One step alone: x float [batch, projected * width] -> the states after it."""
    return cell.step(x, states, lambda i, factor: factor @ weights[i][0] + weights[i][1][None, :])


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def unroll(cell: Cell, weights: Weights, x: Array, states: States) -> tuple[States, Array]:
    """The cell over time: x float [length, batch, projected * width] -> the last states, h of all steps.

    Backward, the gradient of U is one product over all steps, in place of one a step that adds to a matrix of its size.
    """
    return _unroll_keeping(cell, weights, x, states)[0]


def _unroll_keeping(cell: Cell, weights: Weights, x: Array, states: States):
    def scanned(x, states, added):
        def step(states, inputs):
            x, added = inputs
            factors = [x] * len(weights)

            def multiply(i, factor):
                factors[i] = factor
                matrix, bias = weights[i]
                return factor @ matrix + (bias[None, :] + added[i])

            states = cell.step(x, states, multiply)
            return states, (states[0], tuple(factors))

        states, (outputs, factors) = jax.lax.scan(step, states, (x, added))
        return (states, outputs), factors

    # The gradient of what is added to a product is that of the product itself.
    added = tuple(jnp.zeros((*x.shape[:2], len(bias)), x.dtype) for _, bias in weights)
    found, backward, factors = jax.vjp(scanned, x, states, added, has_aux=True)
    return found, (backward, factors)


def _unroll_backward(cell: Cell, kept, gradient):
    backward, factors = kept
    x, states, products = backward(gradient)
    weights = tuple(
        (jnp.einsum("lbi,lbo->io", factor, product), jnp.sum(product, (0, 1)))
        for factor, product in zip(factors, products, strict=True)
    )
    return weights, x, states


unroll.defvjp(_unroll_keeping, _unroll_backward)


def in_blocks(init: nn.initializers.Initializer, width: int) -> nn.initializers.Initializer:
    """Each gate's block [inputs, width] of a matrix drawn by itself, as if it were a matrix of its own."""

    def draw(key, shape, dtype=jnp.float32):
        blocks = jax.vmap(lambda key: init(key, (shape[0], width), dtype))(jax.random.split(key, shape[1] // width))
        return jnp.moveaxis(blocks, 0, 1).reshape(shape)

    return draw


class Recurrent(nn.Module):
    """A layer of a cell; what projects its input stands before it."""

    cell: Cell
    width: int
    init_matrix: nn.initializers.Initializer = nn.initializers.orthogonal()

    def setup(self):
        weights = []
        for i, biases in enumerate(self.cell.biases):
            shape = (self.width, len(biases) * self.width)
            matrix = self.param(f"recurrent_{i}", in_blocks(self.init_matrix, self.width), shape)
            opening = jnp.repeat(jnp.array(biases), self.width)
            weights.append((matrix, self.param(f"bias_{i}", lambda key, value=opening: value)))
        self.weights = tuple(weights)

    def __call__(self, x: Array, states: States) -> tuple[States, Array]:
        """x float [length, batch, projected * width] -> the last states, and h float [length, batch, width]."""
        return unroll(self.cell, self.weights, x, states)


def zero_states(cell: Cell, batch: int, width: int) -> States:
    return tuple(jnp.zeros((batch, width)) for _ in range(cell.num_states))


def carried[T](module: nn.Module, place: Array, start: T) -> T:
    """The states in which the rows of the batch ended the step before; those of `start` in a row that begins anew.

    A row goes on where its `place` int32 [batch] is one more than it was, whatever the order of an epoch. States are
    trees of arrays [batch, dim].
    """
    if not module.has_variable(CARRY, "states"):
        return start
    goes_on = (place == module.get_variable(CARRY, "place") + 1)[:, None]
    return jax.tree.map(partial(jnp.where, goes_on), module.get_variable(CARRY, "states"), start)


def keep(module: nn.Module, place: Array, states: Any) -> None:
    """Leave the states of the batch's rows for the next step; no gradient goes through them."""
    if module.is_initializing():  # what runs then is no batch
        place = jnp.full_like(place, PADDING)
    module.put_variable(CARRY, "place", place)
    module.put_variable(CARRY, "states", jax.lax.stop_gradient(states))
