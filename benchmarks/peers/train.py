"""The zoo's side: one training run of one recipe, timed epoch by epoch, on rows handed over in a file."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import isolated, timing
from zoo import evaluate, make_train_step, names, scan_steps, workdir
from zoo.recipe import describe
from zoo.run import chunk_bounds, epoch_order, epoch_orders, fetch, prepare, steps_per_epoch


@dataclass(frozen=True)
class Configuration:
    file: str  # interactions with their parts, as zoo.workdir.save_interactions writes them
    model: str  # model/recipe
    data: str  # the name of the data, for the recipe's overrides
    settings: Mapping[str, Any] = field(default_factory=dict)
    judge_each_epoch: bool = False  # outside the clock
    vectors: str | None = None  # where to write user and item vectors
    seed: int = 0


def measure(configuration: Configuration) -> dict[str, Any]:
    """Seconds of the recipe's epochs: orders drawn on the host, chunks of steps, metrics fetched, as zoo.run does.

    Compilation and the initial state are apart.
    """
    request = names.Request(configuration.model, configuration.data, "published", settings=configuration.settings)
    job = names.job(request, workdir.load_interactions(Path(configuration.file)))
    recipe, prepared = job.recipe, prepare(job)
    examples, objective = prepared.examples, recipe.objective
    assert objective is not None, "a closed form is not trained"
    columns = {name: jnp.asarray(column) for name, column in examples.train.items()}
    constants = jax.tree.map(jnp.asarray, dict(examples.constants))
    scan = scan_steps(make_train_step(prepared.model, objective, prepared.optimizer))
    state = prepared.initial()
    bounds = chunk_bounds(steps_per_epoch(examples, recipe), recipe.batch_size)
    order = epoch_order(examples, recipe, configuration.seed, 0)
    compiled, compile_seconds = {}, 0.0
    for chunk in {stop - start: order[start:stop] for start, stop in bounds}.values():
        compiled[len(chunk)], seconds = timing.compile_apart(scan, state, constants, columns, jnp.asarray(chunk))
        compile_seconds += seconds
        timing.check_in_place(compiled[len(chunk)], state.tables)

    def judged() -> dict[str, float]:
        return recipe.evaluate(prepared.model, state, examples, prepared.split)

    jax.block_until_ready((state, columns, constants))
    total, history = 0.0, []
    orders = epoch_orders(examples, recipe, configuration.seed, 0)
    for epoch in range(recipe.epochs):
        with timing.no_compilation():
            began = time.perf_counter()
            order = next(orders)
            loss_sum = 0.0
            for start, stop in bounds:
                state, metrics = compiled[stop - start](state, constants, columns, jnp.asarray(order[start:stop]))
                loss_sum += float(fetch(metrics)["loss_sum"].sum(dtype=np.float64))
            jax.block_until_ready(state)
            total += time.perf_counter() - began
        if not np.isfinite(loss_sum):
            raise timing.TimingError(f"training diverged in epoch {epoch + 1}: the epochs timed are no training")
        entry = {"epoch": epoch + 1, "seconds": total, "loss": loss_sum / examples.num_train}
        history.append(entry | (judged() if configuration.judge_each_epoch else {}))
    if configuration.vectors:
        np.savez(
            configuration.vectors,
            users=evaluate.query_vectors(prepared.model, state, constants, examples.test),
            items=evaluate.item_vectors(prepared.model, state, constants),
        )
    return {
        "seconds": total,
        "examples": examples.num_train * recipe.epochs,
        "compile_seconds": compile_seconds,
        "metrics": judged(),
        "history": history,
        "settings": describe(recipe),
    }


if __name__ == "__main__":
    isolated.answer(measure, Configuration)
