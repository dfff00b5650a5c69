"""fit: one run of one recipe, from interactions to a record, in a folder from which it can be resumed."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from zoo import checkpoint, chunks, parallel, processes, records, train_step, workdir
from zoo.data import splits, stream
from zoo.data.fields import FieldTable
from zoo.data.images import Images
from zoo.data.impressions import Impressions
from zoo.data.interactions import Interactions
from zoo.data.splits import Data, Split, published
from zoo.data.text import Text
from zoo.errors import InputError
from zoo.progress import progress_bar, tell
from zoo.recipe import LOWER_IS_BETTER, Examples, Recipe, describe
from zoo.types import TrainState


_SPELLED = {
    Interactions: "interactions of users and items",
    FieldTable: "a table of fields",
    Impressions: "impressions with clicks and watch seconds",
    Text: "a text",
    Images: "images",
}
CHECKPOINT_SECONDS = 10.0  # at most so much work is lost to a kill


@dataclass(frozen=True)
class Job:
    """What a run is: its recipe, its data, and the names that its record and its folder carry."""

    recipe: Recipe
    interactions: Data
    names: Mapping[
        str, Any
    ]  # model, recipe, data, data_sha256, split, and `request`: the arguments that rebuild this job
    seed: int
    validate: bool = False
    source: stream.Source | None = None  # training rows that are not in memory; `interactions` are then a sample, cut


@dataclass(frozen=True)
class Prepared:
    """A job made concrete: split, examples, model, optimizer, and the state before the first step."""

    split: Split
    examples: Examples
    model: Any
    optimizer: Any
    initial: Any  # (layout) -> TrainState
    repeats_merged: int | None


def prepare(job: Job) -> Prepared:
    """Split the data, make examples and build the model; nothing is trained and no table allocated."""
    recipe = job.recipe
    for name, least in (("epochs", 0 if recipe.solve else 1), ("batch_size", 1), ("patience", 1)):
        if getattr(recipe, name) < least:
            raise InputError(f"{name} is {getattr(recipe, name)}: it must be at least {least}")
    if job.seed < 0:
        raise InputError(f"seed is {job.seed}: it must be at least 0")
    if not recipe.learning_rate > 0:
        raise InputError(f"learning_rate is {recipe.learning_rate}: it must be above 0")
    if not isinstance(job.interactions, recipe.reads):
        raise InputError(
            f"{job.names['model']}/{job.names['recipe']} reads {_SPELLED[recipe.reads]}, but {job.names['data']} holds"
            f" {_SPELLED[type(job.interactions)]}: choose another recipe (zoo list) or other data (zoo data)"
        )
    split, repeats = _split(job)
    examples = replace(recipe.examples(split), source=job.source)
    model = recipe.model(examples.spec)
    for name in ("embedding_dim", "width"):
        if getattr(model, name, 1) < 1:
            raise InputError(f"{name} is {getattr(model, name)}: it must be at least 1")
    key = jax.random.key(job.seed)
    solve = recipe.solve
    if solve is not None:

        def solved(layout=None):
            return TrainState(jnp.zeros((), jnp.int32), solve(split), {}, {}, (), {}, key)

        return Prepared(split, examples, model, None, solved, repeats)
    objective, make_optimizer = recipe.objective, recipe.optimizer
    assert objective is not None and make_optimizer is not None, "a recipe has solve, or objective and optimizer"
    total_steps = recipe.epochs * chunks.steps_per_epoch(examples, recipe)
    rate = recipe.schedule(recipe.learning_rate, total_steps) if recipe.schedule else recipe.learning_rate
    optimizer = make_optimizer(rate)
    batch = {
        name: jax.ShapeDtypeStruct((recipe.batch_size, *c.shape[1:]), c.dtype) for name, c in examples.train.items()
    }
    batch["mask"] = jax.ShapeDtypeStruct((recipe.batch_size,), jnp.float32)

    def initial(layout=None):
        return train_step.init_state(model, objective, optimizer, batch, key, examples.constants, layout)

    return Prepared(split, examples, model, optimizer, initial, repeats)


def _split(job: Job) -> tuple[Split, int | None]:
    """What trains and what judges, and how many repeats were merged (None: a streamed log, cut as it was read)."""
    recipe = job.recipe
    assert recipe.split is not None, "names.job gives a recipe its split"
    if isinstance(job.interactions, Interactions) and job.interactions.streamed_counts is not None:
        return published(job.interactions, recipe.split_seed), None
    interactions, repeats = recipe.repeats(job.interactions) if recipe.repeats else (job.interactions, 0)
    split = recipe.split(interactions, recipe.split_seed)
    if job.validate and split.valid is not None:
        split = Split(split.train, split.valid)
    elif job.validate:
        split = (recipe.validation or recipe.split)(split.train, recipe.split_seed + 1)
    return split, repeats


def fit(
    job: Job,
    folder: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    layout: parallel.Layout | None = None,
    wrap: parallel.Wrap = parallel.jit,
    stop_after_epochs: int | None = None,
) -> tuple[dict, Prepared, TrainState]:
    """Train, evaluate and record; returns the record, the prepared job and the final state (the best with `validate`).

    With `resume`, a run killed at any moment goes on from its last checkpoint and ends in the same parameters and
    metrics, bit for bit on one CPU device; a finished run is read back, or goes on where the recipe now has more epochs
    and no schedule. Without it a folder that holds a run is refused unless `overwrite`. `layout` and `wrap` say which
    devices train it and how; they are no part of what a run is, so it may go on on others. With `stop_after_epochs` a
    longer run pauses there, its schedule that of the whole: the record then has best, history and both seconds of
    `training` alone and is not written, and `resume` goes on.
    """
    recipe = job.recipe
    prepared = prepare(job)
    if layout is not None and recipe.batch_size % layout.size:
        raise InputError(f"batch_size {recipe.batch_size} does not divide by the {layout.size} devices: choose another")
    identity = {**job.names, "seed": job.seed, "validate": job.validate, "settings": describe(recipe)}
    settings = {name: value for name, value in identity.items() if name != "data_sha256"}
    processes.agree(settings, job.interactions.columns)
    processes.first_does(lambda: workdir.claim(folder, identity, job.interactions, resume=resume, overwrite=overwrite))
    manager = checkpoint.open_folder(folder / "checkpoints")
    shapes = jax.eval_shape(prepared.initial)
    like = parallel.abstract(jax.eval_shape(partial(prepared.initial, layout)), layout)
    restored = checkpoint.restore(manager, like, shapes, folder / "checkpoints")
    if restored is None:
        state, best, progress = prepared.initial(layout), None, new_progress()
    else:
        state, best, progress = restored
        progress = new_progress() | progress  # of a version before, which knew less
        progress["finished"] &= not _goes_on(progress, recipe)  # it may be asked for more epochs now
    if not progress["finished"] and recipe.solve is None:
        devices = Devices(layout, wrap, shapes)
        last = recipe.epochs if stop_after_epochs is None else min(stop_after_epochs, recipe.epochs)
        state, best, progress = _train(
            job, prepared, devices, manager, state, best, progress, quiet, checkpoint_seconds, last
        )
        if _goes_on(progress, recipe):
            _save(manager, state, best, progress, shapes)
            training = {name: progress[name] for name in ("best", "history", "epoch_seconds", "seconds")}
            return {"training": training}, prepared, parallel.on_one_device(state if best is None else best, shapes)
    final = parallel.on_one_device(state if best is None else best, shapes)
    if (folder / "record.json").exists() and progress["finished"]:
        return workdir.read_json(folder / "record.json", "record"), prepared, final
    record = _record(job, prepared, final, progress) | {"devices": _spread(layout, wrap)}
    if not progress["finished"]:
        checkpoint.save(manager, state, best, progress | {"finished": True, "saves": progress["saves"] + 1}, shapes)
    processes.first_does(lambda: records.write_json(folder / "record.json", record))
    return record, prepared, final


def _goes_on(progress: Mapping[str, Any], recipe: Recipe) -> bool:
    """Whether epochs are left to train, and worth it."""
    return recipe.solve is None and progress["epoch"] < recipe.epochs and progress["stale"] < recipe.patience


class Devices(NamedTuple):
    """Where a run trains, and what its state is without that."""

    layout: parallel.Layout | None
    wrap: parallel.Wrap
    shapes: TrainState


def _spread(layout: parallel.Layout | None, wrap: parallel.Wrap) -> dict[str, Any]:
    return {
        "count": 1 if layout is None else layout.size,
        "processes": jax.process_count(),
        "mode": wrap.__name__,
        "tables": "by rows" if layout is not None and layout.shard_rows else "whole",
    }


def new_progress() -> dict[str, Any]:
    """Where a loop stands before its first step; all of it is saved with the state."""
    return {
        "epoch": 0,
        "chunk": 0,
        "loss_sum": 0.0,
        "num_examples": 0.0,
        "history": [],  # an entry an epoch: loss, and with --validate the metrics
        "epoch_seconds": [],  # of training until the end of each epoch
        "best": None,  # value and epoch of the best metric
        "stale": 0,  # epochs since then
        "steps": 0,
        "seconds": 0.0,
        "compile_seconds": 0.0,
        "saves": 0,
        "finished": False,
    }


def _train(job, prepared, devices, manager, state, best, progress, quiet, checkpoint_seconds, last_epoch):
    recipe, examples, layout = job.recipe, prepared.examples, devices.layout
    put = partial(parallel.on_every_device, layout=layout)
    of_epoch = (chunks.in_memory if examples.source is None else chunks.streamed)(examples, recipe, job.seed, put)
    constants = put(dict(examples.constants))
    wrap = partial(devices.wrap, layout=layout)
    step = train_step.make_train_step(prepared.model, recipe.objective, prepared.optimizer, wrap)
    scan = train_step.scan_steps(step)
    compiled: dict[tuple[int, ...], Any] = {}
    num_chunks = len(chunks.bounds(chunks.steps_per_epoch(examples, recipe), recipe.batch_size))
    saved_at = time.monotonic()
    quiet = quiet or not processes.is_first()
    with progress_bar(quiet) as bar:
        task = bar.add_task(
            job.names["model"], total=recipe.epochs * num_chunks, completed=progress["epoch"] * num_chunks, note=""
        )
        while progress["epoch"] < last_epoch and progress["stale"] < recipe.patience:
            began = time.perf_counter()
            for columns, chunk in of_epoch(progress["epoch"], progress["chunk"]):
                shape = len(chunk), *(len(column) for column in columns.values())
                if shape not in compiled:
                    compiling = time.perf_counter()
                    compiled[shape] = scan.lower(state, constants, columns, chunk).compile()
                    seconds = time.perf_counter() - compiling
                    progress["compile_seconds"] += seconds
                    began += seconds
                state, metrics = compiled[shape](state, constants, columns, chunk)
                _advance(progress, fetch(metrics), len(chunk), time.perf_counter() - began, recipe)
                bar.update(task, completed=progress["epoch"] * num_chunks + progress["chunk"], note=_note(progress))
                if time.monotonic() - saved_at > checkpoint_seconds and progress["chunk"] < num_chunks:
                    _save(manager, state, best, progress, devices.shapes)
                    saved_at = time.monotonic()
                began = time.perf_counter()
            entry = {"epoch": progress["epoch"] + 1, "loss": progress["loss_sum"] / progress["num_examples"]}
            if job.validate:
                whole = parallel.on_one_device(state, devices.shapes)
                entry |= recipe.evaluate(prepared.model, whole, examples, prepared.split)
                best = _keep_best(recipe.metric, entry, state, best, progress)
            progress["history"].append(entry)
            progress["epoch_seconds"].append(progress["seconds"])
            tell(quiet, _epoch_line(job, entry, progress["seconds"]))
            progress |= {"epoch": progress["epoch"] + 1, "chunk": 0, "loss_sum": 0.0, "num_examples": 0.0}
            if time.monotonic() - saved_at > checkpoint_seconds:
                _save(manager, state, best, progress, devices.shapes)
                saved_at = time.monotonic()
    return state, best, progress


def _advance(progress: dict, metrics: Mapping[str, np.ndarray], steps: int, seconds: float, recipe: Recipe) -> None:
    if metrics["overflow"].any():
        raise InputError("a step touched more rows of a table than its distinct_rows allows: raise it, or leave it out")
    loss_sum = float(metrics["loss_sum"].sum(dtype=np.float64))
    if not np.isfinite(loss_sum):
        raise FloatingPointError(
            f"training diverged in epoch {progress['epoch'] + 1}: the loss is {loss_sum}; lower the learning rate,"
            f" now {recipe.learning_rate}"
        )
    progress["chunk"] += 1
    progress["loss_sum"] += loss_sum
    progress["num_examples"] += float(metrics["num_examples"].sum(dtype=np.float64))
    progress["steps"] += steps
    progress["seconds"] += seconds


def _keep_best(metric: str, entry: Mapping[str, float], state: TrainState, best: TrainState | None, progress: dict):
    if metric not in entry:
        raise InputError(f"metric is {metric!r}: this recipe evaluates {', '.join(list(entry)[2:])}")
    value, record = entry[metric], progress["best"]
    better = record is None or (value < record["value"] if metric in LOWER_IS_BETTER else value > record["value"])
    progress["stale"] = 0 if better else progress["stale"] + 1
    if not better:
        return best
    progress["best"] = {"metric": metric, "value": value, "epoch": entry["epoch"]}
    return jax.tree.map(jnp.copy, state)  # the state itself is donated to the next chunk


def _save(manager, state, best, progress, shapes) -> None:
    progress["saves"] += 1
    checkpoint.save(manager, state, best, progress, shapes)


def _record(job: Job, prepared: Prepared, state: TrainState, progress: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a finished run (DESIGN.md section 8); the held-out part is looked at here, once."""
    recipe, seen = job.recipe, prepared.examples.num_train * len(progress["history"])
    began = time.perf_counter()
    metrics = recipe.evaluate(prepared.model, state, prepared.examples, prepared.split)
    seconds = time.perf_counter() - began
    names = {name: job.names[name] for name in ("model", "recipe", "data", "data_sha256", "split", "stream")}
    return names | {
        "objective": describe(recipe.objective),
        "seed": job.seed,
        "metrics": {"valid" if job.validate else "test": metrics},
        "baselines": recipe.baselines(prepared.split),
        "training": {
            "steps": progress["steps"],
            "epochs": len(progress["history"]),
            "seconds": progress["seconds"],
            "compile_seconds": progress["compile_seconds"],
            "examples_per_second": seen / progress["seconds"] if progress["seconds"] else None,
            "best": progress["best"],
            "history": progress["history"],
            "epoch_seconds": progress["epoch_seconds"],
        },
        "evaluation": {"seconds": seconds},
        "sizes": {
            **prepared.split.train.sizes,
            **prepared.examples.counted,
            "train": len(prepared.split.train) if job.source is None else job.source.num_rows,
            "held_out": len(prepared.split.test),
            "repeats_merged": prepared.repeats_merged,
            **({} if job.source is not None else splits.leaked(prepared.split)),
        },
        "settings": describe(recipe),
        "environment": records.environment(jax.devices()[0].device_kind),
        "command": records.command(),
    }


def fetch(metrics: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The one place where the host reads from the device during training: once a chunk."""
    return jax.device_get(metrics)


def _epoch_line(job: Job, entry: Mapping[str, Any], seconds: float) -> str:
    values = ", ".join(f"{name} {entry[name]:.4f}" for name in ("loss", job.recipe.metric) if name in entry)
    return f"{job.names['model']}: epoch {entry['epoch']} of {job.recipe.epochs} after {seconds:.1f} s, {values}"


def _note(progress: Mapping[str, Any]) -> str:
    loss = progress["loss_sum"] / max(progress["num_examples"], 1.0)
    rate = progress["num_examples"] / max(progress["seconds"], 1e-9) if progress["epoch"] == 0 else None
    note = f"epoch {progress['epoch'] + 1}  loss {loss:.4f}" + (f"  {rate:,.0f} examples/s" if rate else "")
    return note + (f"  best {progress['best']['metric']} {progress['best']['value']:.4f}" if progress["best"] else "")
