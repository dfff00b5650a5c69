"""Named pairs: optax for the dense weights, a row optimizer for the tables, and what is done to gradients before
both."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
import optax.contrib
from jax import Array

from zoo import parallel, row_optimizers
from zoo.embedding import RowGradient, gather
from zoo.errors import InputError
from zoo.row_optimizers import LearningRate, RowOptimizer, densely
from zoo.types import TrainState


class Gradients(NamedTuple):
    """All gradients of one step: of the mean loss over the batch's real examples."""

    params: Any  # dense weights
    rows: dict[str, list[RowGradient]]  # by table; one a table where duplicates are summed, else one a lookup
    num_examples: Array  # float [], real examples in the (global) batch
    sharded: frozenset[str] = frozenset()  # tables of which this device has, and updates, some of the rows only


class Transform(NamedTuple):
    """apply(gradients, tables) -> gradients. `linear`: duplicates need not be summed before it."""

    apply: Callable[[Gradients, Mapping[str, Array]], Gradients]
    linear: bool = False


class Optimizer(NamedTuple):
    """What updates a model. `by_table` names tables that have their own row optimizer."""

    dense: optax.GradientTransformation
    rows: RowOptimizer
    by_table: Mapping[str, RowOptimizer] = {}
    transforms: tuple[Transform, ...] = ()

    def row_optimizer(self, table: str) -> RowOptimizer:
        return self.by_table.get(table, self.rows)


def sgd(learning_rate: LearningRate) -> Optimizer:
    return Optimizer(optax.sgd(learning_rate), row_optimizers.sgd(learning_rate))


def nesterov_decayed(learning_rate: LearningRate, momentum: float = 0.9, weight_decay: float = 5e-4) -> Optimizer:
    """SGD with Nesterov momentum and weight_decay / 2 * |w|^2 of the weights of two axes or more: not of biases, and
    not of the scales and shifts of a normalisation. Tables have plain SGD."""

    def products(params: Any) -> Any:
        return jax.tree.map(lambda w: w.ndim > 1, params)

    decay = optax.add_decayed_weights(weight_decay, products)
    return Optimizer(
        optax.chain(decay, optax.sgd(learning_rate, momentum, nesterov=True)), row_optimizers.sgd(learning_rate)
    )


def sgd_each_example(learning_rate: LearningRate, l2: float = 0.0) -> Optimizer:
    """SGD as matrix factorization states it: each example moves its rows by rate * (its own gradient - l2 * w)."""
    penalty = (l2_each_lookup(l2),) if l2 else ()  # without one, rows are not read a second time
    return Optimizer(
        optax.sgd(learning_rate),
        row_optimizers.sgd(learning_rate),
        transforms=(*penalty, summed_over_examples()),
    )


def adagrad(learning_rate: LearningRate, initial_accumulator: float = 0.0, eps: float = 1e-16) -> Optimizer:
    """Adagrad with torch's start at 0.

    optax's start at 0.1 (and its eps of 1e-7 under the root) would swamp the gradients of a mean over a large batch,
    which are of the order of 1 / batch: no row would move.
    """
    dense = optax.adagrad(learning_rate, initial_accumulator, eps)
    return Optimizer(dense, row_optimizers.adagrad(learning_rate, initial_accumulator, eps))


def adagrad_momentum(learning_rate: LearningRate, b1: float = 0.0, eps: float = 1e-6) -> Optimizer:
    """GRU4Rec's: Adagrad from 0 whose moves have momentum, of rows touched and of dense weights (see
    row_optimizers)."""
    dense = row_optimizers.moves_of_adagrad(learning_rate, b1, eps)
    return Optimizer(dense, row_optimizers.adagrad_momentum(learning_rate, b1, eps))


def libffm(learning_rate: LearningRate, l2: float = 2e-5) -> Optimizer:
    """libffm's Adagrad: each example's own gradient and l2 w of the rows it looks up; the accumulator starts at 1."""
    return Optimizer(
        optax.adagrad(learning_rate, initial_accumulator_value=1.0, eps=0.0),
        row_optimizers.adagrad(learning_rate, initial_accumulator=1.0, eps=0.0),
        transforms=(l2_each_lookup(l2), summed_over_examples()),
    )


def rowwise_adagrad(learning_rate: LearningRate) -> Optimizer:
    """Row-wise Adagrad on the tables, Adagrad on the dense weights: the pair of DLRM."""
    dense = optax.adagrad(learning_rate, initial_accumulator_value=0.0, eps=1e-16)
    return Optimizer(dense, row_optimizers.rowwise_adagrad(learning_rate))


def adam(learning_rate: LearningRate, b1: float = 0.9, b2: float = 0.999) -> Optimizer:
    """Lazy Adam on the tables (see row_optimizers), Adam on the dense weights."""
    return Optimizer(optax.adam(learning_rate, b1, b2), row_optimizers.adam(learning_rate, b1, b2))


def adam_clipped(learning_rate: LearningRate, max_norm: float = 1.0) -> Optimizer:
    """As `adam`, the joint norm of all gradients clipped before it: for recurrent networks, whose gradients burst."""
    return adam(learning_rate)._replace(transforms=(clip_by_global_norm(max_norm),))


def adam_each_lookup(learning_rate: LearningRate, l2: float = 0.0) -> Optimizer:
    """As `adam`, with l2_each_lookup on the tables: for tables in which some rows are met by half of all examples."""
    return adam(learning_rate)._replace(transforms=(l2_each_lookup(l2),))


def adamw(learning_rate: LearningRate, weight_decay: float = 1e-4) -> Optimizer:
    """As `adam`, with decoupled weight decay: of touched rows, and of all dense weights."""
    return Optimizer(
        optax.adamw(learning_rate, weight_decay=weight_decay),
        row_optimizers.adam(learning_rate, weight_decay=weight_decay),
    )


def rowwise_adam(learning_rate: LearningRate, b2: float = 0.999) -> Optimizer:
    """Row-wise Adam in time on the tables (see row_optimizers), Adam on the dense weights."""
    return Optimizer(optax.adam(learning_rate, b2=b2), row_optimizers.rowwise_adam(learning_rate, b2))


def pair(
    learning_rate: LearningRate,
    *,
    dense: Callable[..., optax.GradientTransformation],
    rows: Callable[..., RowOptimizer],
    rows_learning_rate: LearningRate | None = None,
) -> Optimizer:
    """Any rule of optax for the dense weights with any rule by rows for the tables, each at a rate of its own."""
    rate = learning_rate if rows_learning_rate is None else rows_learning_rate
    return Optimizer(dense(learning_rate), rows(rate))


def momentum(learning_rate: LearningRate, b1: float = 0.9) -> Optimizer:
    return Optimizer(optax.sgd(learning_rate, momentum=b1), row_optimizers.momentum(learning_rate, b1))


def nesterov(learning_rate: LearningRate, b1: float = 0.9) -> Optimizer:
    dense = optax.sgd(learning_rate, momentum=b1, nesterov=True)
    return Optimizer(dense, row_optimizers.nesterov(learning_rate, b1))


def adadelta(learning_rate: LearningRate, rho: float = 0.9, eps: float = 1e-12) -> Optimizer:
    return Optimizer(optax.adadelta(learning_rate, rho, eps), row_optimizers.adadelta(learning_rate, rho, eps))


def rmsprop(learning_rate: LearningRate, decay: float = 0.9, eps: float = 1e-8) -> Optimizer:
    dense = optax.rmsprop(learning_rate, decay, eps, eps_in_sqrt=False)
    return Optimizer(dense, row_optimizers.rmsprop(learning_rate, decay, eps))


def nadam(learning_rate: LearningRate) -> Optimizer:
    return Optimizer(optax.nadam(learning_rate), row_optimizers.nadam(learning_rate))


def lion(learning_rate: LearningRate, weight_decay: float = 1e-3) -> Optimizer:
    """Lion, with decoupled decay of the dense weights; its rate is 3 to 10 times smaller than Adam's."""
    return Optimizer(optax.lion(learning_rate, weight_decay=weight_decay), row_optimizers.lion(learning_rate))


# The rules below look at whole arrays, so there is no form of them by rows: the tables have lazy Adam.


def lamb(learning_rate: LearningRate, rows_learning_rate: float = 1e-3) -> Optimizer:
    return pair(learning_rate, dense=optax.lamb, rows=row_optimizers.adam, rows_learning_rate=rows_learning_rate)


def adafactor(learning_rate: LearningRate, rows_learning_rate: float = 1e-3) -> Optimizer:
    """Adafactor with a rate of its own, not one scaled by the size of the weights."""
    dense = partial(optax.adafactor, multiply_by_parameter_scale=False)
    return pair(learning_rate, dense=dense, rows=row_optimizers.adam, rows_learning_rate=rows_learning_rate)


def muon(learning_rate: LearningRate, rows_learning_rate: float = 1e-3) -> Optimizer:
    """Muon on the matrices among the dense weights (Jordan et al. 2024), Adam on the others."""
    return pair(
        learning_rate, dense=optax.contrib.muon, rows=row_optimizers.adam, rows_learning_rate=rows_learning_rate
    )


def schedule_free_adamw(learning_rate: LearningRate, rows_learning_rate: float = 1e-3) -> Optimizer:
    """Schedule-free AdamW (Defazio et al. 2024). The weights to judge are `eval_params`, not those that train."""
    dense = optax.contrib.schedule_free_adamw
    return pair(learning_rate, dense=dense, rows=row_optimizers.adam, rows_learning_rate=rows_learning_rate)


def prodigy(learning_rate: LearningRate, rows_learning_rate: float = 1e-3) -> Optimizer:
    """Prodigy (Mishchenko and Defazio 2023), which finds its own rate: leave `learning_rate` at 1."""
    return pair(
        learning_rate, dense=optax.contrib.prodigy, rows=row_optimizers.adam, rows_learning_rate=rows_learning_rate
    )


def eval_params(state: TrainState) -> TrainState:
    """The state with the weights to judge and to use: their running average where the optimizer keeps one."""

    def is_average(node: Any) -> bool:
        return isinstance(node, optax.contrib.ScheduleFreeState)

    for held in jax.tree.leaves(state.opt_state, is_leaf=is_average):
        if is_average(held):
            return state.replace(params=optax.contrib.schedule_free_eval_params(held, state.params))
    return state


def dense_sgd(learning_rate: LearningRate) -> Optimizer:
    return Optimizer(optax.sgd(learning_rate), densely(optax.sgd(learning_rate)))


def dense_adagrad(learning_rate: LearningRate, initial_accumulator: float = 0.0, eps: float = 1e-16) -> Optimizer:
    """As `adagrad`, with every row updated: the same result, at a cost that grows with the table."""
    dense = optax.adagrad(learning_rate, initial_accumulator, eps)
    return Optimizer(dense, densely(dense))


def dense_adam(learning_rate: LearningRate, l2: float = 0.0) -> Optimizer:
    """Adam that decays the moments of, and moves, every row each step, as optax and torch do.

    `l2` adds l2 / 2 * |w|^2 over the whole tables to the loss of every step, whether a row was looked up or not: the
    embedding regularizer of FuxiCTR and BARS. By rows there are l2_touched_rows and l2_each_lookup instead.
    """
    rows = optax.chain(optax.add_decayed_weights(l2), optax.adam(learning_rate)) if l2 else optax.adam(learning_rate)
    return Optimizer(optax.adam(learning_rate), densely(rows))


def cowclip_adam(
    learning_rate: LearningRate,
    rows_learning_rate: float = 1e-4,
    l2: float = 1e-5,
    ratio: float = 1.0,
    zeta: float = 1e-5,
) -> Optimizer:
    """Lazy Adam on the tables behind CowClip, Adam on the dense weights, for large batches of clicks.

    To make a batch s times larger: `rows_learning_rate` stays, l2 grows by s, the dense `learning_rate` by sqrt(s)
    (Zheng et al. 2023). `l2` is that of touched rows.
    """
    rows = row_optimizers.adam(rows_learning_rate)
    return Optimizer(optax.adam(learning_rate), rows, transforms=(cowclip(ratio, zeta), l2_touched_rows(l2)))


def clip_by_global_norm(max_norm: float) -> Transform:
    """Scale all gradients so that their joint norm, dense weights and summed rows together, is at most `max_norm`."""

    def apply(gradients: Gradients, tables: Mapping[str, Array]) -> Gradients:
        square = optax.tree.norm(gradients.params, squared=True)
        for table, parts in gradients.rows.items():
            own = jnp.sum(jnp.stack([jnp.sum(gradient.sums**2) for gradient in parts]))
            square = square + (parallel.total(own) if table in gradients.sharded else own)
        scale = jnp.minimum(1.0, max_norm / jnp.maximum(jnp.sqrt(square), 1e-12))
        return gradients._replace(
            params=jax.tree.map(lambda g: g * scale, gradients.params),
            rows=_each(gradients.rows, lambda table, g: g._replace(sums=g.sums * scale)),
        )

    return Transform(apply)


def cowclip(ratio: float = 1.0, zeta: float = 1e-5) -> Transform:
    """Clip the gradient g of each row by its own limit (Zheng et al. 2023, "CowClip", algorithm 1):

        g <- g min(1, limit / |g|),    limit = count max(ratio |w|, ratio sqrt(dim) zeta)

    count: how often the row occurs in the batch, w: the row.
    """

    def apply(gradients: Gradients, tables: Mapping[str, Array]) -> Gradients:
        def clipped(table, gradient):
            if gradient.counts is None:
                raise InputError(f"table {table!r} is looked up whole: CowClip needs the counts of its rows")
            floor = zeta * gradient.sums.shape[-1] ** 0.5
            norm = jnp.linalg.norm(_values(tables[table], gradient), axis=-1)
            limit = gradient.counts * ratio * jnp.maximum(norm, floor)
            scale = jnp.minimum(1.0, limit / jnp.maximum(jnp.linalg.norm(gradient.sums, axis=-1), 1e-30))
            return gradient._replace(sums=gradient.sums * scale[:, None])

        return gradients._replace(rows=_each(gradients.rows, clipped))

    return Transform(apply)


def l2_touched_rows(strength: float) -> Transform:
    """Add strength * w to the gradient of each row that the step touched, once however often it occurs."""

    def apply(gradients: Gradients, tables: Mapping[str, Array]) -> Gradients:
        def penalised(table, gradient):
            return gradient._replace(sums=gradient.sums + strength * _values(tables[table], gradient))

        return gradients._replace(rows=_each(gradients.rows, penalised))

    return Transform(apply)


def l2_each_lookup(strength: float) -> Transform:
    """The L2 of matrix factorization by SGD: strength / 2 * |w|^2 in the loss of every example that looks w up.

    A row that occurs c times in a batch of n examples gets strength * c / n * w.
    """

    def apply(gradients: Gradients, tables: Mapping[str, Array]) -> Gradients:
        def penalised(table, gradient):
            counts = 1.0 if gradient.counts is None else gradient.counts[:, None]
            factor = strength / gradients.num_examples
            return gradient._replace(sums=gradient.sums + factor * counts * _values(tables[table], gradient))

        return gradients._replace(rows=_each(gradients.rows, penalised))

    return Transform(apply, linear=True)


def summed_over_examples() -> Transform:
    """Gradients of the sum of the losses instead of their mean: the learning rate is then a rate of each example."""

    def apply(gradients: Gradients, tables: Mapping[str, Array]) -> Gradients:
        return gradients._replace(
            params=jax.tree.map(lambda g: g * gradients.num_examples, gradients.params),
            rows=_each(gradients.rows, lambda table, g: g._replace(sums=g.sums * gradients.num_examples)),
        )

    return Transform(apply, linear=True)


def _each(rows: dict[str, list[RowGradient]], function) -> dict[str, list[RowGradient]]:
    return {table: [function(table, gradient) for gradient in gradients] for table, gradients in rows.items()}


def _values(table: Array, gradient: RowGradient) -> Array:
    if gradient.ids is None:
        return table
    if gradient.values is not None:
        return gradient.values
    # Without the barrier XLA would read the rows once for the lookup and for this, unmasked: slower than twice.
    return gather(table, jax.lax.optimization_barrier(gradient.ids))
