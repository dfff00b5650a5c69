"""One configuration of the throughput record: a recipe of a model as the product trains it, at one size and skew."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import isolated, synthetic, timing
from zoo import chunks, make_train_step, names, scan_steps
from zoo.data import splits
from zoo.data.fields import FieldTable
from zoo.recipe import Examples, Recipe, override
from zoo.run import Job, Prepared, fetch, prepare


@dataclass(frozen=True)
class Configuration:
    model: str  # model/recipe
    rows: int  # users, and as many items; of a recipe that reads fields, rows of all fields together
    interactions: int  # less the held-out part: the examples of an epoch
    zipf: float  # exponent of the skew of users and items, or of values, 0 uniform
    batch_size: int | None = None  # None: the recipe's
    embedding_dim: int | None = None
    repeats: int = timing.MIN_REPEATS
    seed: int = 0


def measure(configuration: Configuration) -> dict[str, Any]:
    """Milliseconds a step of the zoo's own scan_steps(make_train_step(...)), fed in two ways.

    From the device: a repeat is a chunk of steps whose order lies on the device. Through the pipeline: a repeat is an
    epoch, with its order drawn on the host and its metrics fetched chunk by chunk, as zoo.run does.
    """
    recipe, prepared = prepared_job(configuration)
    examples = prepared.examples
    put = partial(jax.tree.map, jnp.asarray)
    constants = put(dict(examples.constants))
    objective = recipe.objective
    assert objective is not None, "a closed form has no step to time"
    scan = scan_steps(make_train_step(prepared.model, objective, prepared.optimizer))
    state = prepared.initial()
    state_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves((state.params, state.tables)))
    optimizer_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves((state.opt_state, state.row_state)))
    of_epoch = chunks.in_memory(examples, recipe, configuration.seed, put)
    first = list(of_epoch(0, 0))
    compiled, compile_seconds = {}, 0.0
    for columns, chunk in first:
        if len(chunk) not in compiled:
            compiled[len(chunk)], seconds = timing.compile_apart(scan, state, constants, columns, chunk)
            compile_seconds += seconds
            timing.check_in_place(compiled[len(chunk)], state.tables)
    length, steps = len(first[0][1]), sum(len(chunk) for _, chunk in first)
    full = [(columns, chunk) for columns, chunk in first if len(chunk) == length]

    def from_device(carry, repeat):
        return compiled[length](carry[0], constants, *full[repeat % len(full)])

    def through_pipeline(carry, repeat):
        state, fetched = carry[0], {}
        for columns, chunk in of_epoch(repeat, 0):
            state, metrics = compiled[len(chunk)](state, constants, columns, chunk)
            fetched = fetch(metrics)
        return state, fetched

    device, carry = timing.measure(from_device, (state, None), steps=length, repeats=configuration.repeats)
    _check_finite(carry[1])
    epoch, carry = timing.measure(through_pipeline, carry, steps=steps, repeats=configuration.repeats)
    _check_finite(carry[1])
    cost = names.model_module(configuration.model.partition("/")[0]).cost
    moved = cost(recipe, prepared.model)
    return {
        "batch_size": recipe.batch_size,
        "embedding_dim": getattr(prepared.model, "embedding_dim", None),
        "examples": examples.num_train,
        "steps": length,
        "step_ms": device.step_ms,
        "examples_per_second": 1e3 * recipe.batch_size / device.step_ms["median"],
        "pipeline": {
            "step_ms": epoch.step_ms,
            "examples_per_second": 1e3 * examples.num_train / (steps * epoch.step_ms["median"]),
        },
        "compile_seconds": compile_seconds,
        "parameter_bytes": state_bytes,
        "optimizer_bytes": optimizer_bytes,
        "bytes": moved.bytes,
        "flops": moved.flops,
        "distinct_rows": distinct_rows(examples, recipe.batch_size),
    }


def distinct_rows(examples: Examples, batch_size: int, most: int = 8) -> float | None:
    """How many different rows a batch of fields asks for, the mean over up to `most` batches; None without fields."""
    if "fields" not in examples.train:
        return None
    fields = examples.train["fields"]
    starts = range(0, min(len(fields), most * batch_size), batch_size)
    return float(np.mean([len(np.unique(fields[start : start + batch_size])) for start in starts]))


def prepared_job(configuration: Configuration) -> tuple[Recipe, Prepared]:
    """The recipe with the overrides asked for, prepared on made-up data as zoo.run prepares a job."""
    recipe = names.recipe(configuration.model)[2]
    settings = {"batch_size": configuration.batch_size, "embedding_dim": configuration.embedding_dim}
    recipe = override(recipe, {name: value for name, value in settings.items() if value is not None})
    # Made-up labels teach nothing, and a row in a tenth of all examples diverges at a rate tuned on real data.
    recipe = replace(recipe, learning_rate=recipe.learning_rate / 100)
    recipe = replace(recipe, split=recipe.split or splits.random, repeats=None)
    rows, size = configuration.rows, configuration.interactions
    if recipe.reads is FieldTable:
        recipe = replace(recipe, examples=synthetic.field_examples)
        data = synthetic.fields(rows, size, configuration.zipf, configuration.seed)
    else:
        data = synthetic.interactions(rows, rows, size, configuration.zipf, configuration.seed)
    return recipe, prepare(Job(recipe, data, {}, configuration.seed))


def _check_finite(metrics: Mapping[str, Any]) -> None:
    if not np.isfinite(np.asarray(metrics["loss_sum"])).all():
        raise timing.TimingError("the loss is not finite: the steps timed are no training")


if __name__ == "__main__":
    isolated.answer(measure, Configuration)
