"""The one train step of the whole zoo: state in, state out.

    step(state, batch, constants) -> (state, metrics)
    scan_steps(step)(state, constants, columns, order[k, batch]) -> (state, metrics[k])

`metrics` holds sums and counts (loss_sum, num_examples), which the host adds up and divides once.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from zoo import embedding, parallel, row_optimizers
from zoo.errors import InputError
from zoo.memory import available_bytes, readable
from zoo.optimizers import Gradients, Optimizer
from zoo.types import CARRY, Batch, Objective, TrainState, fill_of


Step = Callable[[TrainState, Batch, Any], tuple[TrainState, dict[str, Array]]]


def init_state(
    model: Any,
    objective: Objective,
    optimizer: Optimizer,
    batch: Mapping[str, Any],
    key: Array,
    constants: Mapping[str, Any] | None = None,
    layout: parallel.Layout | None = None,
) -> TrainState:
    """The state before the first step. `batch` may be shapes only (jax.ShapeDtypeStruct).

    It is the same for every `layout`, but for unused rows at the end of a table that is divided by rows.

    Raises InputError if tables, weights and optimizer state together do not fit the device's memory, before anything is
    allocated, and ValueError for a table that the objective never looks up.
    """
    constants = constants or {}
    init_key, step_key = jax.random.split(key)

    def create(key, batch, constants):
        variables = _init_variables(model, objective, key, batch, constants)
        tables = embedding.from_collection(variables.pop("tables", {}))
        tables = {name: _padded(table, layout) for name, table in tables.items()}
        params = variables.pop("params", {})
        row_state = {
            name: {"slot": jnp.zeros(table.shape[0], jnp.int32), "rule": optimizer.row_optimizer(name).init(table)}
            for name, table in tables.items()
        }
        hidden = ("lookups", "perturbations", "constants", "intermediates")
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            tables=tables,
            model_state={name: value for name, value in variables.items() if name not in hidden},
            opt_state=optimizer.dense.init(params),
            row_state=row_state,
            key=step_key,
        )

    shapes = jax.eval_shape(create, init_key, batch, constants)
    lookups = _shapes_of(model, objective, batch, constants).get("lookups", {})
    embedding.check_lookups(shapes.tables, {"/".join(path) for path in _table_paths(lookups)})
    _check_memory(shapes, layout)
    batch = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), batch)
    placed = None if layout is None else parallel.shardings(shapes, layout)
    return jax.jit(create, out_shardings=placed)(init_key, batch, constants)


def make_train_step(
    model: Any, objective: Objective, optimizer: Optimizer, wrap: Callable[[Callable], Callable] = parallel.jit
) -> Step:
    """The compiled training step of any model: one scope, one backward pass, one update a table.

    `wrap` compiles the core step: parallel.jit, or one of the wrappers with its layout for several devices.
    """
    return wrap(partial(core_step, model, objective, optimizer))


def core_step(
    model: Any,
    objective: Objective,
    optimizer: Optimizer,
    state: TrainState,
    batch: Batch,
    constants: Mapping[str, Any] | None = None,
) -> tuple[TrainState, dict[str, Array]]:
    """One training step, uncompiled; see make_train_step."""
    constants = constants or {}
    key = jax.random.fold_in(state.key, state.step)
    draw_key, dropout_key = jax.random.split(key)
    mask = batch.get("mask")
    shapes = _shapes_of(model, objective, batch, constants)
    perturbations = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes.get("perturbations", {}))

    def mean_loss(params, perturbations):
        variables = {
            "params": params,
            "tables": embedding.to_collection(state.tables),
            "perturbations": perturbations,
            "constants": constants,
            **state.model_state,
        }
        losses, changed = model.apply(
            variables,
            batch,
            draw_key,
            method=objective,
            rngs={"dropout": parallel.own_key(dropout_key), "everywhere": dropout_key},
            mutable=["lookups", *state.model_state],
        )
        real = jnp.ones_like(losses) if mask is None else mask
        weighted = losses * real * batch["weight"] if "weight" in batch else losses * real
        num_examples = parallel.total(jnp.sum(real))
        # The part of this device in the mean over the whole batch. An empty batch has loss 0, not NaN.
        return jnp.sum(weighted) / jnp.maximum(num_examples, 1.0), (jnp.sum(weighted), num_examples, changed)

    gradient_of = jax.value_and_grad(mean_loss, (0, 1), has_aux=True)
    (_, (loss_sum, num_examples, changed)), (dense, perturbed) = gradient_of(state.params, perturbations)
    lookups = embedding.lookups_by_table(changed.pop("lookups", {}), perturbed)
    dense, loss_sum = parallel.total((dense, loss_sum))
    sharded = frozenset()
    if parallel.per_device():
        rows = {name: table.shape[0] for name, table in embedding.from_collection(shapes.get("tables", {})).items()}
        sharded = frozenset(name for name, table in state.tables.items() if table.shape[0] < rows[name])
    if parallel.spread():
        held = {name: state.tables[name].shape[0] for name in sharded}
        lookups = _of_whole_batch(model, objective, batch, constants, lookups, held)
    tables, row_state, dense, overflow = _update_tables(optimizer, state, lookups, dense, num_examples, sharded)
    updates, opt_state = optimizer.dense.update(dense, state.opt_state, state.params)
    new_state = state.replace(
        step=state.step + 1,
        params=jax.tree.map(lambda p, u: p + u, state.params, updates),
        tables=tables,
        model_state={name: x if name == CARRY else parallel.mean(x) for name, x in changed.items()},
        opt_state=opt_state,
        row_state=row_state,
    )
    overflow = parallel.total(overflow.astype(jnp.int32)) > 0
    return new_state, {"loss_sum": loss_sum, "num_examples": num_examples, "overflow": overflow}


def scan_steps(step: Step, take: Callable[[Mapping[str, Array], Array], Batch] | None = None) -> Any:
    """Many steps in one compiled call: (state, constants, columns, order[k, batch]) -> (state, metrics[k]).

    `columns` are the examples, on the device; `order` holds positions in them, -1 for padding. The state is donated.
    All batches are taken before the first step, which is faster than one by one. A `take` of one's own, for a batch
    that is larger than its row numbers, makes the batch of an index [batch] within its step.
    """

    @partial(jax.jit, donate_argnums=0)
    def run(state, constants, columns, order):
        if take is None:
            return jax.lax.scan(lambda state, batch: step(state, batch, constants), state, take_rows(columns, order))
        return jax.lax.scan(lambda state, index: step(state, take(columns, index), constants), state, order)

    return run


def take_rows(columns: Mapping[str, Array], index: Array) -> Batch:
    """The examples at positions `index` int32 [*batch]; -1 is padding: mask 0, ids PADDING, numbers 0."""
    batch = {}
    for name, column in columns.items():
        beyond = jnp.where(index < 0, column.shape[0], index)
        batch[name] = column.at[beyond].get(mode="fill", fill_value=fill_of(column))
    batch["mask"] = (index >= 0).astype(jnp.float32)
    return batch


def _of_whole_batch(model: Any, objective: Objective, batch: Batch, constants: Any, lookups: dict, held: dict) -> dict:
    """The lookups of all devices. One that grows with the batch differs from device to device; another is shared.
    `held`: how many rows a device holds of each divided table."""
    doubled: Any = {
        name: jax.ShapeDtypeStruct((2 * len(value), *value.shape[1:]), value.dtype) for name, value in batch.items()
    }
    larger = _shapes_of(model, objective, doubled, constants)
    grown = embedding.lookups_by_table(larger.get("lookups", {}), larger.get("perturbations", {}))

    def whole(pair, larger_pair, shard_rows):
        (lookup, gradient), (_, larger_gradient) = pair, larger_pair
        return embedding.of_whole_batch(lookup, gradient, gradient.shape != larger_gradient.shape, shard_rows)

    return {
        table: [whole(*both, held.get(table)) for both in zip(pairs, grown[table], strict=True)]
        for table, pairs in lookups.items()
    }


def _update_tables(
    optimizer: Optimizer, state: TrainState, lookups: dict, dense: Any, num_examples: Array, sharded: frozenset[str]
):
    """One update a table. A linear rule without a non-linear transform takes the lookups one by one, duplicates left
    in."""
    separate = all(transform.linear for transform in optimizer.transforms)
    rows, slots, overflows, known = {}, {}, [jnp.zeros((), bool)], {}
    for table, found in lookups.items():
        num_rows = state.tables[table].shape[0]
        plain = all(set(lookup) <= {"ids", "rows", "distinct_rows"} for lookup, _ in found)
        if separate and plain and optimizer.row_optimizer(table).linear:
            rows[table] = embedding.separate_gradients(found)
            continue
        if any("whole" in lookup for lookup, _ in found):
            rows[table] = [embedding.whole_gradient(found, num_rows)]
            continue
        asked = embedding.asked(found, num_rows)
        if asked not in known:  # tables that look up the same ids, such as weights and vectors of fields, share this
            slot = state.row_state[table]["slot"]
            known[asked], slots[table], overflow = embedding.find_duplicates(found, num_rows, slot)
            overflows.append(overflow)
        rows[table] = [embedding.summed_gradient(found, known[asked])]
    gradients = Gradients(dense, rows, jnp.maximum(num_examples, 1.0), sharded)
    for transform in optimizer.transforms:
        gradients = transform.apply(gradients, state.tables)
    tables, row_state = dict(state.tables), dict(state.row_state)
    for table, parts in gradients.rows.items():
        rule_state = row_state[table]["rule"]
        for gradient in parts:
            tables[table], rule_state = row_optimizers.update_distinct(
                optimizer.row_optimizer(table), tables[table], rule_state, gradient, state.step
            )
        row_state[table] = {"slot": slots.get(table, row_state[table]["slot"]), "rule": rule_state}
    return tables, row_state, gradients.params, jnp.any(jnp.stack(overflows))


def _init_variables(model: Any, objective: Objective, key: Array, batch: Batch, constants: Mapping[str, Any]) -> dict:
    def bound(module, batch, key, constants):
        for name, value in constants.items():
            module.put_variable("constants", name, value)
        return objective(module, batch, key)

    params_key, dropout_key, draw_key = jax.random.split(key, 3)
    rngs = {"params": params_key, "dropout": dropout_key, "everywhere": dropout_key}
    return dict(model.init(rngs, batch, draw_key, constants, method=bound))


def _shapes_of(model: Any, objective: Objective, batch: Batch, constants: Mapping[str, Any]) -> dict:
    """Shapes of everything the objective creates: parameters, tables, lookups, perturbations."""
    shape = partial(jax.tree.map, lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype))
    return jax.eval_shape(
        partial(_init_variables, model, objective), jax.random.key(0), shape(dict(batch)), shape(dict(constants))
    )


def _table_paths(lookups: Mapping) -> set[tuple]:
    return {path[:-2] for path in embedding.traverse_util.flatten_dict(dict(lookups))}


def _padded(table: Array, layout: parallel.Layout | None) -> Array:
    return jnp.pad(table, ((0, parallel.padded_rows(table.shape[0], layout) - table.shape[0]), (0, 0)))


def _check_memory(state: TrainState, layout: parallel.Layout | None) -> None:
    """Compare with the memory of one device; virtual devices of a CPU share the host's."""
    sizes = {name: table.size * table.dtype.itemsize for name, table in state.tables.items()}
    copies = jax.tree.map(lambda leaf: 1.0, state)
    if layout is not None:
        here = layout.size // jax.process_count() if jax.default_backend() == "cpu" else 1
        copies = jax.tree.map(
            lambda spec: here / layout.size if spec == jax.P(parallel.AXIS) else here, parallel.specs(state, layout)
        )
    taken = jax.tree.map(lambda leaf, n: 0 if leaf is state.key else n * leaf.size * leaf.dtype.itemsize, state, copies)
    total = sum(jax.tree.leaves(taken))
    available = available_bytes()
    if available is not None and total > available:
        largest = max(sizes, key=lambda name: sizes[name]) if sizes else ""
        shape = (
            f", of them {readable(sizes[largest])} for table {largest!r} of {state.tables[largest].shape}"
            if sizes
            else ""
        )
        raise InputError(
            f"the model's state takes {readable(total)}{shape}, but {readable(available)} are free on this device: "
            "take a smaller embedding_dim or an optimizer with less state, such as rowwise_adagrad"
        )
