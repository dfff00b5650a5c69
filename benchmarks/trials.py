"""Runs of one model on one data set under many rules and rates: prepared once, compiled once a rule.

The learning rate is an argument of the compiled call, so that all trials and seeds of a rule share one program.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from benchmarks import timing
from zoo import chunks, names, train_step
from zoo.data.splits import Split
from zoo.optimizers import Optimizer
from zoo.recipe import Examples, Recipe
from zoo.run import fetch, prepare
from zoo.types import Objective, TrainState


Rule = Callable[[Any], Optimizer]  # of a learning rate, which may be traced


@dataclass(frozen=True)
class Workload:
    """What is trained: a recipe on data, for so many steps, judged on validation rows `points` times on the way."""

    name: str
    model: str  # model/recipe
    data: str
    steps: int
    rows_rate: float  # of row-wise Adam on the tables, where the rule of the dense weights is varied
    dense_rate: float  # of Adam on the dense weights, where the rule of the tables is varied
    settings: Mapping[str, Any] = field(default_factory=dict)
    points: int = 20


class Task(NamedTuple):
    """A workload made concrete."""

    recipe: Recipe
    objective: Objective
    model: Any
    examples: Examples  # validation rows as the held-out part
    split: Split
    test: tuple[Examples, Split]  # the same training rows, beside the test part
    columns: Mapping[str, Array]
    constants: Mapping[str, Array]


class Point(NamedTuple):
    steps: int
    value: float  # of the recipe's metric on validation rows
    seconds: float  # of training until then


def prepared(workload: Workload) -> Task:
    request = names.Request(workload.model, workload.data, validate=True, settings=workload.settings)
    job = names.job(request)
    made = prepare(job)
    whole = prepare(names.job(names.Request(workload.model, workload.data, settings=workload.settings)))
    beside_test = Split(made.split.train, whole.split.test)
    put = partial(jax.tree.map, jnp.asarray)
    examples = made.examples
    test = job.recipe.examples(beside_test), beside_test
    columns, constants = put(dict(examples.train)), put(dict(examples.constants))
    assert job.recipe.objective is not None, "a closed form has no optimizer"
    return Task(job.recipe, job.recipe.objective, made.model, examples, made.split, test, columns, constants)


def first_state(task: Task, rule: Rule, seed: Any) -> TrainState:
    """The state before the first step: the same for all rules and rates, but for what an optimizer keeps."""
    batch = {
        name: jax.ShapeDtypeStruct((task.recipe.batch_size, *column.shape[1:]), column.dtype)
        for name, column in task.columns.items()
    }
    batch["mask"] = jax.ShapeDtypeStruct((task.recipe.batch_size,), jnp.float32)
    key = jax.random.key(seed)
    return train_step.init_state(task.model, task.objective, rule(1.0), batch, key, task.constants)


def with_rate(task: Task, rule: Rule) -> Callable:
    """Many steps at a rate: (rate, state, constants, columns, order [k, batch]) -> (state, metrics [k])."""

    def run(rate, state, constants, columns, order):
        step = partial(train_step.core_step, task.model, task.objective, rule(rate))
        return train_step.scan_steps(step)(state, constants, columns, order)

    return run


def orders(task: Task, seed: int, steps: int) -> np.ndarray:
    """The order of the first `steps` steps, epoch after epoch: int32 [steps, batch]."""
    an_epoch = chunks.steps_per_epoch(task.examples, task.recipe)
    epochs = [chunks.epoch_order(task.examples, task.recipe, seed, epoch) for epoch in range(-(-steps // an_epoch))]
    return np.concatenate(epochs)[:steps]


class Program(NamedTuple):
    """What a rule compiles to, for all rates and seeds."""

    task: Task
    first: Any  # seed -> the state before the first step
    call: Any
    compile_seconds: float  # of the call
    steps: int
    points: int


def compiled(task: Task, rule: Rule, steps: int, points: int) -> Program:
    run = jax.jit(with_rate(task, rule), donate_argnums=1)
    first = jax.jit(partial(first_state, task, rule))
    state = jax.eval_shape(first, 0)
    order = jax.ShapeDtypeStruct((steps // points, task.recipe.batch_size), jnp.int32)
    rate = jax.ShapeDtypeStruct((), jnp.float32)
    call, seconds = timing.compile_apart(run, rate, state, task.constants, task.columns, order)
    return Program(task, first, call, seconds, steps, points)


def train(
    program: Program, rate: float, seed: int, judge: Callable[[Task, TrainState], float] | None = None
) -> tuple[list[Point], TrainState]:
    """A run at a rate, to its last point or to where its loss or its scores are no longer finite; judged at each by
    `judge`, else by `judged`."""
    task, state, found = program.task, program.first(seed), []
    pieces = np.split(orders(task, seed, program.steps), program.points)
    seconds = 0.0
    for number, order in enumerate(jax.device_put(pieces), 1):
        began = time.perf_counter()
        state, metrics = program.call(jnp.float32(rate), state, task.constants, task.columns, order)
        finite = np.isfinite(fetch(metrics)["loss_sum"]).all()
        jax.block_until_ready(state)
        seconds += time.perf_counter() - began
        if not finite:
            break
        try:
            value = (judge or judged)(task, state)
        except FloatingPointError:  # the step after a finite loss ended in weights that are not
            break
        found.append(Point(number * len(order), value, seconds))
    return found, state


def judged(task: Task, state: TrainState) -> float:
    return task.recipe.evaluate(task.model, state, task.examples, task.split)[task.recipe.metric]


def of_training(task: Task, state: TrainState) -> dict[str, float]:
    """The metrics on the training rows themselves, of a task whose examples are the rows in their order."""
    columns = {name: task.examples.train[name] for name in task.examples.test}
    rows = Split(task.split.train, task.split.train)
    return task.recipe.evaluate(task.model, state, replace(task.examples, test=columns), rows)


def tested(task: Task, state: TrainState) -> float:
    return task.recipe.evaluate(task.model, state, *task.test)[task.recipe.metric]


def swept(task: Task, rule: Rule, rates: Array, order: Array, num_devices: int | None = None) -> tuple[Any, TrainState]:
    """All rates as one program, the trials its leading axis, compiled for an `order` [k, batch] that all of them share:
    (rates, states, constants, columns, order) -> (states, metrics [rates, k]); and the states before the first step.

    Under vmap, where the random draws and the search for duplicates, the same for all rates, are made once; with
    `num_devices`, which must divide the rates, each device runs its part of them one after the other.
    """
    states = jax.vmap(lambda rate: first_state(task, rule, 0))(rates)
    if num_devices is None:
        own = {name: {"slot": None, "rule": 0} for name in states.row_state}
        axes = states.replace(step=None, params=0, tables=0, model_state=0, opt_state=0, row_state=own, key=None)
        run = jax.vmap(with_rate(task, rule), in_axes=(0, axes, None, None, None), out_axes=(axes, 0))
        slots = {name: held | {"slot": held["slot"][0]} for name, held in states.row_state.items()}
        states = states.replace(step=states.step[0], key=states.key[0], row_state=slots)
    else:
        one_by_one = with_rate(task, rule)

        def own(rates, states, constants, columns, order):
            return jax.lax.map(lambda trial: one_by_one(*trial, constants, columns, order), (rates, states))

        # An axis of its own: a step within that of parallel.AXIS would take its batch for a part of one.
        devices = jax.devices()[:num_devices]
        mesh = jax.make_mesh((num_devices,), ("trials",), axis_types=(AxisType.Auto,), devices=devices)
        trials, shared = P("trials"), P()
        specs = (trials, trials, shared, shared, shared)
        run = jax.shard_map(own, mesh=mesh, in_specs=specs, out_specs=trials, check_vma=False)
        states = jax.device_put(states, NamedSharding(mesh, trials))
    call = jax.jit(run, donate_argnums=1)
    return call.lower(rates, states, task.constants, task.columns, order).compile(), states
