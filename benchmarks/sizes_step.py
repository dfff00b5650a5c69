"""One configuration of the record of sizes: the training step of a recipe at several sizes of table, in turns."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import isolated, throughput_step, timing
from zoo import chunks, make_train_step, names, scan_steps
from zoo.recipe import Recipe


@dataclass(frozen=True)
class Configuration:
    model: str  # model/recipe
    rows: tuple[int, ...]  # as throughput_step.Configuration has one of them
    interactions: int
    zipf: float
    batch_size: int
    embedding_dim: int
    steps: int = 8  # of a turn
    turns: int = timing.MIN_REPEATS
    seed: int = 0


def measure(configuration: Configuration) -> dict[str, Any]:
    return in_turns(configuration, names.recipe(configuration.model)[2])


def in_turns(configuration: Configuration, recipe: Recipe) -> dict[str, Any]:
    """Milliseconds a step of each turn, by rows. All sizes take their turn within the same second, so that whatever
    else the machine does slows all of them, and a ratio within a turn is that of the sizes."""
    taken = {"model", "interactions", "zipf", "batch_size", "embedding_dim", "seed"}
    given = {name: value for name, value in vars(configuration).items() if name in taken}
    calls, distinct = {}, {}
    for rows in configuration.rows:
        sized = throughput_step.Configuration(rows=rows, **given)
        own, prepared = throughput_step.prepared_recipe(sized, replace(recipe, epochs=1))
        put = partial(jax.tree.map, jnp.asarray)
        assert own.objective is not None, "a closed form has no step to time"
        scan = scan_steps(make_train_step(prepared.model, own.objective, prepared.optimizer))
        state, constants = prepared.initial(), put(dict(prepared.examples.constants))
        columns = put(dict(prepared.examples.train))
        order = put(chunks.epoch_order(prepared.examples, own, configuration.seed, 0)[: configuration.steps])
        compiled, _ = timing.compile_apart(scan, state, constants, columns, order)
        timing.check_in_place(compiled, state.tables)
        state, _ = jax.block_until_ready(compiled(state, constants, columns, order))
        calls[rows] = [compiled, state, (constants, columns, order)]
        distinct[rows] = throughput_step.distinct_rows(prepared.examples, own.batch_size)
    step_ms: dict[int, list[float]] = {rows: [] for rows in calls}
    with timing.no_compilation():
        for _ in range(configuration.turns):
            for rows, held in calls.items():
                compiled, state, fixed = held
                seconds, (held[1], _) = timing.once(partial(compiled, state, *fixed))
                step_ms[rows].append(1e3 * seconds / configuration.steps)
    return {"step_ms": list(step_ms.values()), "distinct_rows": list(distinct.values())}


if __name__ == "__main__":
    isolated.answer(measure, Configuration)
