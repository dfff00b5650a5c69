"""The zoo's side: steps of a network of images, with what another package needs to do the same."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from benchmarks import isolated, operations, timing
from zoo import chunks, make_train_step, names, scan_steps
from zoo.recipe import describe, override
from zoo.run import Job, prepare


STEPS = 8  # of a compiled call, and of those whose losses are compared
# Without images changed at random, so that both sides do the same steps.
SETTINGS = {"learning_rate": 0.02, "shift": 0, "flip": False}


@dataclass(frozen=True)
class Configuration:
    model: str  # cnn/small or cnn/resnet
    data: str
    given: str  # where to write the initial weights and the images of the first STEPS steps
    seed: int = 0
    repeats: int = timing.MIN_REPEATS


def measure(configuration: Configuration) -> dict[str, Any]:
    """Milliseconds of a step, STEPS to a call, the images on the device; and what a step spends them on."""
    job: Job = names.job(names.Request(configuration.model, configuration.data, seed=configuration.seed))
    recipe = replace(override(job.recipe, SETTINGS), schedule=None)
    prepared = prepare(Job(recipe, job.interactions, job.names, job.seed))
    columns = {name: jnp.asarray(column) for name, column in prepared.examples.train.items()}
    state = prepared.initial()
    order = chunks.epoch_order(prepared.examples, recipe, configuration.seed, 0)
    pieces = [jnp.asarray(order[start : start + STEPS]) for start in range(0, len(order) - STEPS, STEPS)]
    given: dict[str, Any] = _given(prepared, state, order[:STEPS])
    np.savez(configuration.given, **given)
    objective = recipe.objective
    assert objective is not None, "the recipe trains"
    scan = scan_steps(make_train_step(prepared.model, objective, prepared.optimizer))
    compiled, compile_seconds = timing.compile_apart(scan, state, {}, columns, pieces[0])
    state, first = compiled(state, {}, columns, pieces[0])

    def advance(carry, repeat):
        return compiled(carry[0], {}, columns, pieces[(repeat + 1) % len(pieces)])

    timed, carry = timing.measure(advance, (state, first), steps=STEPS, repeats=configuration.repeats)
    with tempfile.TemporaryDirectory() as folder:
        listed = operations.traced(lambda: advance(carry, 0), Path(folder), compiled, STEPS)
    losses = np.asarray(first["loss_sum"] / first["num_examples"], np.float64)
    return {
        "examples": recipe.batch_size,
        "seconds": timed.step_ms["median"] / 1e3,
        "losses": losses.tolist(),
        "metrics": {"loss": float(losses.mean())},
        "shares": shares(listed),
        "compile_seconds": compile_seconds,
        "settings": describe(recipe),
    }


def shares(listed: Sequence[operations.Operation]) -> dict[str, float]:
    """Of the time of all operations, by the part of the network that they came from."""
    found = dict.fromkeys(("convolutions", "their gradients", "normalisation", "the rest"), 0.0)
    for operation in listed:
        found[_part(operation.source)] += operation.share
    return found


def _part(source: str) -> str:
    if "/Conv_" in source:
        return "their gradients" if "transpose(" in source else "convolutions"
    return "normalisation" if "BatchNorm" in source else "the rest"


def _given(prepared: Any, state: Any, order: np.ndarray) -> dict[str, Any]:
    """Weights as PyTorch has them, in the order of the layers, and each step's images and labels."""
    train, spec = prepared.examples.train, prepared.examples.spec
    names = sorted((name for name in state.params if name.startswith("Conv_")), key=lambda name: int(name[5:]))
    kernels = [np.asarray(state.params[name]["kernel"]).transpose(3, 2, 0, 1) for name in names]
    return {
        **{f"kernel_{number}": kernel for number, kernel in enumerate(kernels)},
        "linear": np.asarray(state.params["Dense_0"]["kernel"]).T,
        "images": train["image"][order],
        "labels": train["label"][order],
        "pixels": np.array([spec.pixel_mean, spec.pixel_deviation]),
    }


if __name__ == "__main__":
    isolated.answer(measure, Configuration)
