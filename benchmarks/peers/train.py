"""The zoo's side: one training run of one recipe, timed epoch by epoch, on rows handed over in a file."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import isolated, timing
from zoo import chunks, evaluate, make_train_step, names, scan_steps, workdir
from zoo.recipe import describe
from zoo.run import Job, fetch, prepare


@dataclass(frozen=True)
class Configuration:
    file: str  # interactions with their parts, as zoo.workdir.save_data writes them
    model: str  # model/recipe
    data: str  # the name of the data, for the recipe's overrides
    settings: Mapping[str, Any] = field(default_factory=dict)
    judge_each_epoch: bool = False  # outside the clock
    vectors: str | None = None  # where to write user and item vectors
    seed: int = 0


def measure(configuration: Configuration) -> dict[str, Any]:
    request = names.Request(configuration.model, configuration.data, "published", settings=configuration.settings)
    return train(names.job(request, workdir.load_data(Path(configuration.file))), configuration)


def train(job: Job, configuration: Configuration) -> dict[str, Any]:
    """Seconds of the recipe's epochs: orders drawn on the host, chunks of steps, metrics fetched, as zoo.run does.

    Compilation and the initial state are apart.
    """
    recipe, prepared = job.recipe, prepare(job)
    examples, objective = prepared.examples, recipe.objective
    assert objective is not None, "a closed form is not trained"
    put = partial(jax.tree.map, jnp.asarray)
    constants = put(dict(examples.constants))
    scan = scan_steps(make_train_step(prepared.model, objective, prepared.optimizer))
    state = prepared.initial()
    of_epoch = chunks.in_memory(examples, recipe, configuration.seed, put)
    compiled, compile_seconds, columns = {}, 0.0, {}
    for columns, chunk in of_epoch(0, 0):
        if len(chunk) not in compiled:
            compiled[len(chunk)], seconds = timing.compile_apart(scan, state, constants, columns, chunk)
            compile_seconds += seconds
            timing.check_in_place(compiled[len(chunk)], state.tables)

    def judged() -> dict[str, float]:
        return recipe.evaluate(prepared.model, state, examples, prepared.split)

    jax.block_until_ready((state, columns, constants))
    total, history = 0.0, []
    for epoch in range(recipe.epochs):
        with timing.no_compilation():
            began = time.perf_counter()
            loss_sum = 0.0
            for columns, chunk in of_epoch(epoch, 0):
                state, metrics = compiled[len(chunk)](state, constants, columns, chunk)
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
