"""One configuration of the throughput record: a recipe of a model as the product trains it, at one size and skew."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import isolated, operations, synthetic, timing
from zoo import chunks, make_train_step, names, scan_steps
from zoo.errors import InputError
from zoo.recipe import Examples, Recipe, override
from zoo.run import Job, Prepared, fetch, prepare


PILOT = 1  # steps of the call from which the length of the others is chosen


@dataclass(frozen=True)
class Configuration:
    model: str  # model/recipe
    rows: int  # users, and as many items; of a recipe that reads fields, rows of all fields together
    interactions: int  # less the held-out part: the most examples of an epoch
    zipf: float  # exponent of the skew of users and items, or of values, 0 uniform
    batch_size: int | None = None  # None: the recipe's
    embedding_dim: int | None = None
    dtype: str | None = None  # what towers compute in, such as "bfloat16"
    budget_s: float = 8.0  # about what the repeats of each of the two measurements take; never fewer than `repeats`
    repeats: int = timing.MIN_REPEATS
    seed: int = 0
    profile: str | None = None  # where to leave a trace


SETTINGS = ("batch_size", "embedding_dim", "dtype")


def measure(configuration: Configuration) -> dict[str, Any]:
    """Milliseconds a step of the zoo's own scan_steps(make_train_step(...)), fed in two ways.

    From the device: a repeat is a chunk of steps whose order lies on the device. Through the pipeline: a repeat is an
    epoch of one such chunk, with its order drawn on the host and its metrics fetched, as zoo.run does. A chunk is the
    product's own, or as many steps as let `repeats` of them fit the budget.
    """
    recipe, prepared = prepared_job(configuration)
    put = partial(jax.tree.map, jnp.asarray)
    constants = put(dict(prepared.examples.constants))
    objective = recipe.objective
    assert objective is not None, "a closed form has no step to time"
    scan = scan_steps(make_train_step(prepared.model, objective, prepared.optimizer))
    state = prepared.initial()
    state_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves((state.params, state.tables)))
    optimizer_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves((state.opt_state, state.row_state)))
    columns = put(dict(prepared.examples.train))
    order = chunks.epoch_order(prepared.examples, recipe, configuration.seed, 0)
    compiled, compile_seconds = timing.compile_apart(scan, state, constants, columns, put(order[:PILOT]))
    timing.check_in_place(compiled, state.tables)
    seconds, state = _pilot(compiled, state, constants, columns, put(order[:PILOT]))
    most = chunks.bounds(len(order), recipe.batch_size)[0][1]
    length = timing.length_within(configuration.budget_s, seconds / PILOT, configuration.repeats, PILOT, most)
    if length != len(order[:PILOT]):
        compiled = scan.lower(state, constants, columns, put(order[:length])).compile()
    pieces = [put(order[start : start + length]) for start in range(0, len(order) - length + 1, length)]
    # The epoch that feeds the pipeline is as long as a piece; its rows are read where all of them lie.
    of_epoch = chunks.in_memory(*_first_steps(prepared.examples, recipe, length), configuration.seed, put)
    num_examples = int((order[:length] >= 0).sum())

    def from_device(carry, repeat):
        return compiled(carry[0], constants, columns, pieces[repeat % len(pieces)])

    def through_pipeline(carry, repeat):
        state, fetched = carry[0], {}
        for _, chunk in of_epoch(repeat, 0):
            state, metrics = compiled(state, constants, columns, chunk)
            fetched = fetch(metrics)
        return state, fetched

    device, carry = timing.measure(from_device, (state, None), steps=length, repeats=configuration.repeats)
    _check_finite(carry[1])
    epoch, carry = timing.measure(through_pipeline, carry, steps=length, repeats=configuration.repeats)
    _check_finite(carry[1])
    cost = names.model_module(configuration.model.partition("/")[0]).cost
    moved = cost(recipe, prepared.model)
    found = {
        "batch_size": recipe.batch_size,
        "embedding_dim": getattr(prepared.model, "embedding_dim", None),
        "dtype": getattr(prepared.model, "dtype", "float32"),
        "examples": num_examples,
        "steps": length,
        "step_ms": device.step_ms,
        "examples_per_second": 1e3 * recipe.batch_size / device.step_ms["median"],
        "pipeline": {
            "step_ms": epoch.step_ms,
            "examples_per_second": 1e3 * num_examples / (length * epoch.step_ms["median"]),
        },
        "compile_seconds": compile_seconds,
        "parameter_bytes": state_bytes,
        "optimizer_bytes": optimizer_bytes,
        "bytes": moved.bytes,
        "flops": moved.flops,
        "operations": operations.started(compiled) / length,
        "distinct_rows": distinct_rows(prepared.examples, recipe.batch_size),
    }
    if configuration.profile is not None:
        folder = Path(configuration.profile) / configuration.model.replace("/", "-")
        listed = operations.traced(lambda: from_device(carry, 0), folder, compiled, length)
        found["profile_of"] = [tuple(operation) for operation in listed]
    return found


def _first_steps(examples: Examples, recipe: Recipe, steps: int) -> tuple[Examples, Recipe]:
    """Those whose epoch is of so many steps: of the first examples, or of the first steps of an order of its own."""
    own = recipe.order
    if own is not None:
        return examples, replace(recipe, order=lambda examples, batch_size: own(examples, batch_size)[:steps])
    most = steps * recipe.batch_size
    return replace(examples, train={name: column[:most] for name, column in examples.train.items()}), recipe


def _pilot(compiled: Any, state: Any, constants: Any, columns: Any, order: Any) -> tuple[float, Any]:
    """Seconds of the second of two calls, and the state after them."""
    state, _ = jax.block_until_ready(compiled(state, constants, columns, order))
    seconds, (state, _) = timing.once(lambda: compiled(state, constants, columns, order))
    return seconds, state


def distinct_rows(examples: Examples, batch_size: int, most: int = 8) -> float | None:
    """How many different rows a batch of fields asks for, the mean over up to `most` batches; None without fields."""
    if "fields" not in examples.train:
        return None
    fields = examples.train["fields"]
    starts = range(0, min(len(fields), most * batch_size), batch_size)
    return float(np.mean([len(np.unique(fields[start : start + batch_size])) for start in starts]))


def prepared_job(configuration: Configuration) -> tuple[Recipe, Prepared]:
    return prepared_recipe(configuration, names.recipe(configuration.model)[2])


def prepared_recipe(configuration: Configuration, recipe: Recipe) -> tuple[Recipe, Prepared]:
    """The recipe with the overrides asked for, prepared on made-up data as zoo.run prepares a job."""
    settings = {name: getattr(configuration, name) for name in SETTINGS}
    recipe = override(recipe, {name: value for name, value in settings.items() if value is not None})
    # Made-up labels teach nothing, and a row in a tenth of all examples diverges at a rate tuned on real data.
    recipe = replace(recipe, learning_rate=recipe.learning_rate / 100)
    made = synthetic.made(configuration.model.partition("/")[0], recipe)
    if isinstance(made, str):
        raise InputError(f"{configuration.model}: {made}")
    recipe = replace(recipe, examples=made.examples or recipe.examples, split=recipe.split or made.split, repeats=None)
    data = made.data(configuration.rows, configuration.interactions, configuration.zipf, configuration.seed)
    return recipe, prepare(Job(recipe, data, {}, configuration.seed))


def _check_finite(metrics: Mapping[str, Any]) -> None:
    if not np.isfinite(np.asarray(metrics["loss_sum"])).all():
        raise timing.TimingError("the loss is not finite: the steps timed are no training")


if __name__ == "__main__":
    isolated.answer(measure, Configuration)
