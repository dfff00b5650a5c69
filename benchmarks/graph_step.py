"""What the graph suite measures in processes of their own: a propagation, a step's temporaries, runs."""

import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import isolated, synthetic, timing
from zoo import graph, make_train_step, names
from zoo.api import run_request
from zoo.data import splits
from zoo.run import Job, fit, prepare
from zoo.train_step import take_rows


ENTRIES_A_NODE = 23  # as in Gowalla
CACHE = Path("/sys/devices/system/cpu/cpu0/cache/index3/size")


@dataclass(frozen=True)
class Configuration:
    what: str  # growth, memory, layers or curve, the functions below
    model: str = "lightgcn/ranking"
    entries: int = 0  # of a made-up graph with skewed users and items: two an interaction, repeated pairs merged
    layers: int = 0
    minutes: float = 0  # a curve stops at the first epoch that ends after so many minutes of training
    data: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    embedding_dim: int = 64
    seed: int = 0
    folder: str = ""  # where the run of a curve is kept, and goes on from after an interruption


def measure(configuration: Configuration) -> dict[str, Any]:
    return {"growth": growth, "memory": memory, "layers": layers, "curve": curve}[configuration.what](configuration)


def interactions(configuration: Configuration):
    rows = max(2, configuration.entries // ENTRIES_A_NODE // 2)
    return synthetic.interactions(rows, rows, configuration.entries // 2, 0.5, configuration.seed)


def growth(configuration: Configuration) -> dict[str, Any]:
    """Milliseconds of one product with the graph, and of one with its gradient, which is a second product."""
    edges = jax.tree.map(jnp.asarray, graph.symmetric(interactions(configuration)))
    shape = (len(edges.offsets) - 1, configuration.embedding_dim)
    x = jnp.asarray(np.random.default_rng(configuration.seed).normal(size=shape).astype(np.float32))

    def with_gradient(edges, x):
        found, pull = jax.vjp(lambda x: graph.propagate(edges, x), x)
        return found, pull(found)[0]

    found = {}
    for name, function in (("propagation_ms", graph.propagate), ("with_gradient_ms", with_gradient)):
        compiled, _ = timing.compile_apart(jax.jit(function), edges, x)
        # The answer of a call is not the input of the next: vectors that shrink to denormal numbers would be slow.
        timed, _ = timing.measure(lambda carry, repeat, compiled=compiled: compiled(edges, x), None)
        found[name] = timed.step_ms
    cache = int(CACHE.read_text().strip().removesuffix("K")) * 1024 if CACHE.exists() else None
    return {
        "entries": len(edges.source),
        "nodes": shape[0],
        "node_matrix_bytes": x.nbytes,
        "cache_bytes": cache,
        **found,
    }


def memory(configuration: Configuration) -> dict[str, Any]:
    """Bytes of temporaries of a compiled step, what its loss takes included, in node-matrices a layer."""
    recipe = replace(names.recipe(configuration.model)[2], split=splits.random, repeats=None)
    job = Job(recipe, interactions(configuration), {}, configuration.seed)
    prepared, objective = prepare(job), recipe.objective
    assert objective is not None, "a graph model trains"
    columns = {name: jnp.asarray(column) for name, column in prepared.examples.train.items()}
    batch = jax.eval_shape(lambda: take_rows(columns, jnp.arange(recipe.batch_size)))
    step: Any = make_train_step(prepared.model, objective, prepared.optimizer)
    state = jax.eval_shape(prepared.initial)
    compiled = step.lower(state, batch, prepared.examples.constants).compile()
    model = prepared.model
    matrix = (model.spec.num_users + model.spec.num_items) * model.embedding_dim * 4
    depth = len(model.layer_sizes) if hasattr(model, "layer_sizes") else model.num_layers
    temporary = compiled.memory_analysis().temp_size_in_bytes
    return {
        "layers": depth,
        "batch_size": recipe.batch_size,
        "node_matrix_bytes": matrix,
        "temporary_bytes": temporary,
        "matrices_a_layer": temporary / matrix / depth,
    }


def layers(configuration: Configuration) -> dict[str, Any]:
    """Metrics on validation rows of a run with so many layers; with 0 it is matrix factorization by the same loss."""
    settings = {"num_layers": configuration.layers, **configuration.settings}
    request = names.Request(
        configuration.model, configuration.data, seed=configuration.seed, validate=True, settings=settings
    )
    with tempfile.TemporaryDirectory() as folder:
        record = run_request(request, folder=Path(folder) / "run").record
    return {"metrics": record["metrics"]["valid"], "training": record["training"], "recipe": record["settings"]}


def curve(configuration: Configuration) -> dict[str, Any]:
    """Metrics on validation rows after each epoch, and the seconds of training until then, as the recipe trains.

    The schedule is that of the whole recipe, also where the minutes end before it; it does not end early otherwise.
    """
    request = names.Request(
        configuration.model, configuration.data, seed=configuration.seed, validate=True, settings=configuration.settings
    )
    job = names.job(request)
    job = replace(job, recipe=replace(job.recipe, patience=job.recipe.epochs))
    asked, points = 1, []
    with tempfile.TemporaryDirectory() as passing:
        folder = Path(configuration.folder or passing) / "run"
        while len(points) < asked:
            options: dict[str, Any] = {"resume": folder.exists(), "stop_after_epochs": asked}
            training = fit(job, folder, **options)[0]["training"]
            timed = zip(training["history"], training["epoch_seconds"], strict=True)
            points = [{**entry, "seconds": seconds} for entry, seconds in timed]
            left = 60 * configuration.minutes / points[-1]["seconds"] - 1  # times as long as until now
            asked = min(job.recipe.epochs, len(points) + max(0, math.ceil(left * len(points))))
    before = sum(point["seconds"] < 60 * configuration.minutes for point in points)
    return {"points": points[: before + 1], "epochs": job.recipe.epochs}  # a guess, or a run kept, may have gone beyond


if __name__ == "__main__":
    isolated.answer(measure, Configuration)
