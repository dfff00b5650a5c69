"""The zoo's side: steps of GRU4Rec on sessions side by side, with what another package needs to do the same."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import isolated, timing
from zoo import chunks, make_train_step, names, negatives, recurrent, scan_steps, workdir
from zoo.recipe import describe, override
from zoo.run import Job, prepare


STEPS = 50  # of a compiled call, and of those whose losses are compared
# The authors' best on RetailRocket, without dropout, so that both sides do the same steps.
SETTINGS = {
    "embedding_dim": 224,
    "batch_size": 80,
    "count": 2048,
    "alpha": 0.4,
    "penalty": 1.95,
    "elu": 0.5,
    "learning_rate": 0.05,
    "b1": 0.4,
}


@dataclass(frozen=True)
class Configuration:
    file: str  # interactions with their parts
    given: str  # where to write the initial weights, and the ids and draws of the first STEPS steps
    data: str
    seed: int = 0
    repeats: int = timing.MIN_REPEATS


def measure(configuration: Configuration) -> dict[str, Any]:
    """Milliseconds of a step, STEPS to a call; negatives are drawn inside."""
    request = names.Request("gru4rec/session", configuration.data, "published", seed=configuration.seed)
    job: Job = names.job(request, workdir.load_data(Path(configuration.file)))
    settings = SETTINGS | {"dropout_inputs": 0.0, "dropout_hidden": 0.0}
    recipe = override(job.recipe, settings)
    assert isinstance(recipe.model, partial), "the recipe fixes the size of its model"
    # The GRU that PyTorch has in one operation; the authors' PyTorch code uses it too.
    recipe = override(recipe, {"model": partial(recipe.model, cell=recurrent.gru_reset_after)})
    prepared = prepare(Job(recipe, job.interactions, job.names, job.seed))
    columns = {name: jnp.asarray(column) for name, column in prepared.examples.train.items()}
    constants = jax.tree.map(jnp.asarray, dict(prepared.examples.constants))
    state = prepared.initial()
    order = chunks.epoch_order(prepared.examples, recipe, configuration.seed, 0)
    pieces = [jnp.asarray(order[start : start + STEPS]) for start in range(0, len(order) - STEPS, STEPS)]
    given: dict[str, Any] = _given(prepared, state, constants, order[:STEPS])
    np.savez(configuration.given, **given)
    objective = recipe.objective
    assert objective is not None, "the recipe trains"
    scan = scan_steps(make_train_step(prepared.model, objective, prepared.optimizer))
    compiled, compile_seconds = timing.compile_apart(scan, state, constants, columns, pieces[0])
    state, first = compiled(state, constants, columns, pieces[0])

    def advance(carry, repeat):
        return compiled(carry[0], constants, columns, pieces[(repeat + 1) % len(pieces)])

    timed, _ = timing.measure(advance, (state, first), steps=STEPS, repeats=configuration.repeats)
    step_ms = timed.step_ms["median"]
    losses = np.asarray(first["loss_sum"] / first["num_examples"], np.float64)
    return {
        "step_ms": step_ms,
        "examples": recipe.batch_size,
        "seconds": step_ms / 1e3,
        "losses": losses.tolist(),
        "metrics": {"loss": float(losses.mean())},
        "compile_seconds": compile_seconds,
        "settings": describe(recipe),
    }


def _given(prepared: Any, state: Any, constants: Any, order: np.ndarray) -> dict[str, np.ndarray]:
    """Weights as PyTorch has them, and the ids of each step: inputs, targets, which begin a session, draws."""
    layer, train = state.params["layers_0"], prepared.examples.train
    bound = prepared.model.bind({"constants": constants})

    @jax.jit
    def drawn(step):
        key, _ = jax.random.split(jax.random.fold_in(state.key, step))  # as zoo.train_step.core_step
        return negatives.popularity(key, bound, count=SETTINGS["count"], alpha=SETTINGS["alpha"])[0]

    return {
        "item": np.asarray(state.tables["item"]),
        "bias": np.asarray(state.tables["bias"]),
        "weight_ih": np.asarray(state.params["input_0"]).T,
        "weight_hh": np.asarray(layer["recurrent_0"]).T,
        "inputs": train["sequence"][order, 0],
        "targets": train["label"][order, 0],
        "begins": train["place"][order, 0] == 0,
        "drawn": np.stack([drawn(step) for step in range(len(order))]),
    }


if __name__ == "__main__":
    isolated.answer(measure, Configuration)
