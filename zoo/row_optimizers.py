"""Optimizers that touch only the rows a batch looked up: pairs of pure functions, in optax's manner.

    init(table) -> state
    update(table, state, row_gradient, step) -> (table, state)

`learning_rate` is a float, a traced scalar, or a schedule: step -> rate. By rows, SGD and Adagrad equal their dense
forms exactly. Adam does not: a row that is not looked up keeps its moments and stays where it is ("lazy" Adam), while
dense Adam decays the moments of every row and moves it each step. `densely` gives the dense form of any optax
optimizer.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from zoo.embedding import BLOCK, RowGradient
from zoo.errors import InputError


LearningRate = float | Array | Callable[[Any], Any]


class RowOptimizer(NamedTuple):
    """See the module's docstring. `linear`: updates for duplicates may be applied one by one instead of summed
    first."""

    init: Callable[[Array], Any]
    update: Callable[[Array, Any, RowGradient, Array], tuple[Array, Any]]
    linear: bool = False
    whole: bool = False  # it updates every row of the table, in one call a step


def update_distinct(
    rule: RowOptimizer, table: Array, state: Any, gradient: RowGradient, step: Array
) -> tuple[Array, Any]:
    """The rule's update, block by block of the entries used, stopping after the last: a batch's ids are often the same.

    Entries are summed, so a row is in one block only.
    """
    if gradient.distinct is None or rule.whole or gradient.sums.shape[0] <= BLOCK:
        return rule.update(table, state, gradient, step)

    def block(index, held):
        def piece(x):
            return jax.lax.dynamic_slice_in_dim(x, index * BLOCK, BLOCK)

        table, state = held
        part = RowGradient(piece(gradient.ids), piece(gradient.sums), piece(gradient.counts))
        return rule.update(table, state, part, step)

    return jax.lax.fori_loop(0, -(-gradient.distinct // BLOCK), block, (table, state))


def sgd(learning_rate: LearningRate) -> RowOptimizer:
    """w <- w - rate * g."""

    def update(table, state, gradient, step):
        change = -_rate(learning_rate, step) * gradient.sums
        return table.at[_rows(gradient)].add(change, mode="drop"), state

    return RowOptimizer(lambda table: (), update, linear=True)


def adagrad(learning_rate: LearningRate, initial_accumulator: float = 0.1, eps: float = 1e-7) -> RowOptimizer:
    """G <- G + g^2; w <- w - rate * g / sqrt(G + eps) (Duchi et al. 2011).

    The accumulator starts at 0.1 as in optax; torch starts at 0, libffm at 1.
    """

    def init(table):
        return jnp.full_like(table, initial_accumulator)

    def update(table, accumulator, gradient, step):
        rows = _rows(gradient)
        total = accumulator.at[rows].get(mode="fill", fill_value=0) + gradient.sums**2
        total = jax.lax.optimization_barrier(total)  # gathered once, used twice
        change = -_rate(learning_rate, step) * gradient.sums * jnp.where(total > 0, 1 / jnp.sqrt(total + eps), 0.0)
        return table.at[rows].add(change, mode="drop"), accumulator.at[rows].set(total, mode="drop")

    return RowOptimizer(init, update)


def rowwise_adagrad(learning_rate: LearningRate, initial_accumulator: float = 0.0, eps: float = 1e-10) -> RowOptimizer:
    """One accumulator a row: G_r <- G_r + mean_d g_rd^2; w_r <- w_r - rate * g_r / (sqrt(G_r) + eps).

    The optimizer of DLRM, as in FBGEMM's exact row-wise Adagrad: duplicates are summed first. Its state is 1/dim of the
    table.
    """

    def init(table):
        return jnp.full(table.shape[0], initial_accumulator, table.dtype)

    def update(table, accumulator, gradient, step):
        rows = _rows(gradient)
        total = accumulator.at[rows].get(mode="fill", fill_value=0) + jnp.mean(gradient.sums**2, axis=-1)
        change = -_rate(learning_rate, step) * gradient.sums / (jnp.sqrt(total) + eps)[:, None]
        return table.at[rows].add(change, mode="drop"), accumulator.at[rows].set(total, mode="drop")

    return RowOptimizer(init, update)


def adam(
    learning_rate: LearningRate, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8, weight_decay: float = 0.0
) -> RowOptimizer:
    """Lazy Adam: Kingma and Ba's rule on the rows looked up, bias corrected by the global step.

    `weight_decay` is decoupled (AdamW) and, like the moments, acts on touched rows only.
    """

    def init(table):
        return jnp.zeros_like(table), jnp.zeros_like(table)

    def update(table, state, gradient, step):
        mean, square = state
        rows = _rows(gradient)
        mean_rows = b1 * mean.at[rows].get(mode="fill", fill_value=0) + (1 - b1) * gradient.sums
        square_rows = b2 * square.at[rows].get(mode="fill", fill_value=0) + (1 - b2) * gradient.sums**2
        mean_rows, square_rows = jax.lax.optimization_barrier((mean_rows, square_rows))  # gathered once, used twice
        count = (step + 1).astype(jnp.float32)
        direction = (mean_rows / (1 - b1**count)) / (jnp.sqrt(square_rows / (1 - b2**count)) + eps)
        if weight_decay:
            direction = direction + weight_decay * table.at[rows].get(mode="fill", fill_value=0)
        table = table.at[rows].add(-_rate(learning_rate, step) * direction, mode="drop")
        return table, (mean.at[rows].set(mean_rows, mode="drop"), square.at[rows].set(square_rows, mode="drop"))

    return RowOptimizer(init, update)


def rowwise_adam(learning_rate: LearningRate, b2: float = 0.999, eps: float = 1e-8) -> RowOptimizer:
    """One second moment a row, which decays with the steps that pass: what dense Adam does to a row in the long run.

        v_r <- b2^(steps since r was last looked up) v_r + (1 - b2) mean_d g_rd^2
        w_r <- w_r - rate * g_r / (sqrt(v_r / (1 - b2^t)) + eps)

    Dense Adam spreads the move of a lookup over the steps that follow it, as its first moment decays; they add up to
    rate * (1 - b1) / (1 - b1 / sqrt(b2)) * g / sqrt(v), which is rate * g / sqrt(v) within 1 %. Here the row makes that
    move at once. Lazy Adam, whose moments stand still between lookups, moves a rare row up to 1 / sqrt(1 - b2) times
    less. The state is two numbers a row.
    """

    def init(table):
        return jnp.zeros(table.shape[0], table.dtype), jnp.zeros(table.shape[0], jnp.int32)

    def update(table, state, gradient, step):
        square, seen = state
        rows = _rows(gradient)
        now = step + 1
        passed = now - seen.at[rows].get(mode="fill", fill_value=0)
        decayed = b2 ** passed.astype(jnp.float32) * square.at[rows].get(mode="fill", fill_value=0)
        square_rows = decayed + (1 - b2) * jnp.mean(gradient.sums**2, axis=-1)
        scale = jnp.sqrt(square_rows / (1 - b2 ** now.astype(jnp.float32))) + eps
        table = table.at[rows].add(-_rate(learning_rate, step) * gradient.sums / scale[:, None], mode="drop")
        # Added, not set to `now`: a write that does not wait for the read of `seen` costs a copy of it each step.
        return table, (square.at[rows].set(square_rows, mode="drop"), seen.at[rows].add(passed, mode="drop"))

    return RowOptimizer(init, update)


def lazily(optimizer: optax.GradientTransformation) -> RowOptimizer:
    """An optax rule on the rows looked up, the others and their state left as they are: what `adam` is of optax.adam.

    For rules that treat each number by itself. What optax counts is the global step. A rule that looks at a whole
    array, such as LAMB or Adafactor, would see the rows of a batch, or of a block of them, as one array.
    """

    def update(table, state, gradient, step):
        rows = _rows(gradient)
        by_rows = jax.tree.map(lambda leaf: jnp.shape(leaf) == table.shape, state)

        def held(is_rows, leaf):
            if is_rows:
                return leaf.at[rows].get(mode="fill", fill_value=0)
            if jnp.shape(leaf) or not jnp.issubdtype(leaf.dtype, jnp.integer):
                raise ValueError(f"a rule with a state of {jnp.shape(leaf)} beside its rows cannot be applied by rows")
            return step

        values = table.at[rows].get(mode="fill", fill_value=0)
        changes, new = optimizer.update(gradient.sums, jax.tree.map(held, by_rows, state), values)
        changes, new = jax.lax.optimization_barrier((changes, new))  # gathered once, used twice
        kept = jax.tree.map(
            lambda is_rows, old, leaf: old.at[rows].set(leaf, mode="drop") if is_rows else old, by_rows, state, new
        )
        return table.at[rows].add(changes, mode="drop"), kept

    return RowOptimizer(optimizer.init, update)


def momentum(learning_rate: LearningRate, b1: float = 0.9) -> RowOptimizer:
    """Lazy heavy ball: m <- b1 m + g; w <- w - rate * m."""
    return lazily(optax.sgd(learning_rate, momentum=b1))


def nesterov(learning_rate: LearningRate, b1: float = 0.9) -> RowOptimizer:
    """Lazy: m <- b1 m + g; w <- w - rate * (g + b1 m)."""
    return lazily(optax.sgd(learning_rate, momentum=b1, nesterov=True))


def adagrad_momentum(learning_rate: LearningRate, b1: float = 0.0, eps: float = 1e-6) -> RowOptimizer:
    """Lazy Adagrad with momentum of its moves, as GRU4Rec's official code trains:

        G <- G + g^2;  v <- b1 v - rate * g / sqrt(G + eps);  w <- w + v

    from G = 0. optax.sgd's momentum is that of gradients, and would be scaled anew at each step.
    """
    return lazily(moves_of_adagrad(learning_rate, b1, eps))


def moves_of_adagrad(learning_rate: LearningRate, b1: float, eps: float) -> optax.GradientTransformation:
    """The rule of adagrad_momentum, of dense weights."""
    scaled = optax.scale_by_rss(initial_accumulator_value=0.0, eps=eps), optax.scale_by_learning_rate(learning_rate)
    return optax.chain(*scaled, optax.trace(b1)) if b1 else optax.chain(*scaled)


def adadelta(learning_rate: LearningRate, rho: float = 0.9, eps: float = 1e-12) -> RowOptimizer:
    """Lazy Adadelta (Zeiler 2012): g scaled by the root mean square of past moves over that of past gradients.

    eps is what the first moves are made of: optax's 1e-6 under the root would swamp the gradients of a mean over a
    batch of thousands.
    """
    return lazily(optax.adadelta(learning_rate, rho, eps))


def rmsprop(learning_rate: LearningRate, decay: float = 0.9, eps: float = 1e-8) -> RowOptimizer:
    """Lazy: v <- decay v + (1 - decay) g^2; w <- w - rate * g / (sqrt(v) + eps). torch's decay is 0.99."""
    return lazily(optax.rmsprop(learning_rate, decay, eps, eps_in_sqrt=False))


def nadam(learning_rate: LearningRate, b1: float = 0.9, b2: float = 0.999) -> RowOptimizer:
    """Lazy Adam with Nesterov's look ahead (Dozat 2016)."""
    return lazily(optax.nadam(learning_rate, b1, b2))


def lion(learning_rate: LearningRate, b1: float = 0.9, b2: float = 0.99) -> RowOptimizer:
    """Lazy Lion without decay (Chen et al. 2023): w <- w - rate * sign(b1 m + (1 - b1) g); m <- b2 m + (1 - b2) g."""
    return lazily(optax.lion(learning_rate, b1, b2, weight_decay=0.0))


def densely(optimizer: optax.GradientTransformation) -> RowOptimizer:
    """Train a table as optax would: the rows scattered into a gradient of the table's size, every row updated.

    The only way that a table trains densely. It costs O(num_rows * dim) a step; for a small table that may be the
    faster way.
    """

    def update(table, state, gradient, step):
        del step  # optax counts by itself
        dense = gradient.sums
        if gradient.ids is not None:
            dense = jnp.zeros_like(table).at[gradient.ids].add(gradient.sums, mode="drop")
        updates, state = optimizer.update(dense, state, table)
        return optax.apply_updates(table, updates), state

    return RowOptimizer(optimizer.init, update, whole=True)


def _rate(learning_rate: LearningRate, step: Array) -> Any:
    return learning_rate(step) if callable(learning_rate) else learning_rate


def _rows(gradient: RowGradient) -> Array:
    if gradient.ids is None:
        raise InputError(
            "a rule by rows cannot update a table that is looked up whole, as by a softmax over all items: take a dense"
            " one, such as --optimizer dense_adam (row_optimizers.densely)"
        )
    return gradient.ids
