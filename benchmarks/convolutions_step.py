"""One configuration of the record of convolutions: the training step of a recipe at several lengths or numbers of
filters, in turns."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import isolated, synthetic, timing
from zoo import chunks, make_train_step, names, scan_steps
from zoo.data import fields, splits
from zoo.recipe import override
from zoo.run import Job, Prepared, prepare


@dataclass(frozen=True)
class Configuration:
    model: str  # caser/ranking, or a recipe of cnn_fm
    lengths: tuple[int, ...]  # watches of a history, words of a text
    filters: tuple[int, ...]  # of each height; one of the two has one entry
    batch_size: int
    steps: int = 8  # of a turn
    turns: int = timing.MIN_REPEATS
    seed: int = 0


def measure(configuration: Configuration) -> dict[str, Any]:
    """Milliseconds a step of each turn, by length and filters. All take their turn within the same second."""
    calls: list[list[Any]] = []
    for length in configuration.lengths:
        for filters in configuration.filters:
            recipe, prepared = prepared_job(configuration, length, filters)
            put = partial(jax.tree.map, jnp.asarray)
            assert recipe.objective is not None, "a closed form has no step to time"
            scan = scan_steps(make_train_step(prepared.model, recipe.objective, prepared.optimizer))
            state, constants = prepared.initial(), put(dict(prepared.examples.constants))
            columns = put(dict(prepared.examples.train))
            order = put(chunks.epoch_order(prepared.examples, recipe, configuration.seed, 0)[: configuration.steps])
            compiled, _ = timing.compile_apart(scan, state, constants, columns, order)
            state, _ = jax.block_until_ready(compiled(state, constants, columns, order))
            calls.append([compiled, state, (constants, columns, order)])
    step_ms: list[list[float]] = [[] for _ in calls]
    with timing.no_compilation():
        for _ in range(configuration.turns):
            for found, held in zip(step_ms, calls, strict=True):
                compiled, state, fixed = held
                seconds, (held[1], _) = timing.once(partial(compiled, state, *fixed))
                found.append(1e3 * seconds / configuration.steps)
    return {"step_ms": step_ms}


def prepared_job(configuration: Configuration, length: int, filters: int) -> tuple[Any, Prepared]:
    """The recipe on made-up data whose histories or texts are mostly of `length`."""
    recipe = override(names.recipe(configuration.model)[2], {"batch_size": configuration.batch_size, "epochs": 1})
    size = configuration.batch_size * (configuration.steps + 2)
    if configuration.model.startswith("caser"):
        recipe = override(recipe, {"longest": length, "horizontal": filters, "tallest": 5})
        data = synthetic.interactions(max(size // (2 * length), 10), 10_000, size, 0.0, configuration.seed)
    else:
        recipe = override(recipe, {"filters": filters})
        rng = np.random.default_rng(configuration.seed)
        words = rng.integers(0, 10_000, (size, length))
        data = fields.from_raw(
            {"user": rng.integers(0, 1000, size), "item": rng.integers(0, 1000, size)},
            rng.integers(1, 11, size),
            bags={"title": np.array([" ".join(map(str, row)) for row in words.tolist()])},
        )
    recipe = replace(recipe, split=splits.random, repeats=None)
    return recipe, prepare(Job(recipe, data, {}, configuration.seed))


if __name__ == "__main__":
    isolated.answer(measure, Configuration)
