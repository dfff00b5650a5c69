"""The zoo's side: steps of LightGCN's recipe `paper`, with what another package needs to do the same."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import isolated, timing
from zoo import chunks, evaluate, make_train_step, names, objectives, scan_steps, workdir
from zoo.recipe import describe
from zoo.run import prepare
from zoo.train_step import take_rows


WARMUP = 2
STEPS = 4  # a compiled call; training has up to 64 of this batch size


@dataclass(frozen=True)
class Configuration:
    file: str  # interactions with their parts
    given: str  # where to write the initial vectors, and the triples [steps, 3, batch] that the steps draw
    answer: str  # where to write the vectors after the last step
    data: str
    seed: int = 0
    repeats: int = timing.MIN_REPEATS


def measure(configuration: Configuration) -> dict[str, Any]:
    """Milliseconds a step of blocked calls of STEPS steps each; negatives are drawn inside."""
    request = names.Request("lightgcn/paper", configuration.data, "published", seed=configuration.seed)
    job = names.job(request, workdir.load_data(Path(configuration.file)))
    recipe, prepared = job.recipe, prepare(job)
    examples, objective = prepared.examples, recipe.objective
    assert objective is not None, "the recipe trains"
    columns = {name: jnp.asarray(column) for name, column in examples.train.items()}
    constants = jax.tree.map(jnp.asarray, dict(examples.constants))
    state = prepared.initial()
    order = chunks.epoch_order(examples, recipe, configuration.seed, 0)
    order = order[np.arange(STEPS * (WARMUP + configuration.repeats)) % len(order)]
    triples = []
    for step, index in enumerate(order):
        draw_key, _ = jax.random.split(jax.random.fold_in(state.key, step))  # as zoo.train_step.core_step
        batch = take_rows(columns, jnp.asarray(index))
        negative = objectives.uniform_negatives(prepared.model, batch, draw_key, 1)[:, 0]
        triples.append(np.stack([batch["user"], batch["item"], negative]))
    np.savez(configuration.given, initial=state.params["embedding"], triples=np.stack(triples))
    scan = scan_steps(make_train_step(prepared.model, objective, prepared.optimizer))
    calls = [jnp.asarray(part) for part in np.split(order, len(order) // STEPS)]
    compiled, compile_seconds = timing.compile_apart(scan, state, constants, columns, calls[0])

    def advance(carry, repeat):
        return compiled(carry[0], constants, columns, calls[repeat])

    timed, (state, metrics) = timing.measure(
        advance, (state, None), steps=STEPS, repeats=configuration.repeats, warmup=WARMUP
    )
    users = evaluate.query_vectors(prepared.model, state, constants, examples.test)
    np.savez(configuration.answer, users=users, items=evaluate.item_vectors(prepared.model, state, constants))
    return {
        "step_ms": timed.step_ms["median"],
        "loss": float(metrics["loss_sum"][-1] / metrics["num_examples"][-1]),
        "steps_a_call": STEPS,
        "compile_seconds": compile_seconds,
        "settings": describe(recipe),
    }


if __name__ == "__main__":
    isolated.answer(measure, Configuration)
