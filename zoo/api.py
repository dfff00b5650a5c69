"""zoo.train and zoo.load: what the command line does, from Python."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from zoo import checkpoint, funnel, names, parallel, processes, records, workdir
from zoo.data import catalog
from zoo.data.impressions import Impressions
from zoo.data.splits import Data
from zoo.errors import InputError
from zoo.recipe import Recipe, describe
from zoo.run import fit, prepare
from zoo.trained import FunnelRun, Run


def train(
    model: str | Recipe,
    *,
    data: Any = None,
    split: str | None = None,
    optimizer: str | None = None,
    schedule: str | None = None,
    seed: int = 0,
    validate: bool = False,
    workdir: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    quiet: bool = True,
    checkpoint_seconds: float | None = None,
    columns: Mapping[str, str] | None = None,
    separator: str | None = None,
    stream: bool = False,
    devices: int | None = None,
    mode: str = "jit",
    shard_tables: bool = False,
    **settings: Any,
) -> Run:
    """Train a model of the zoo and judge it on the held-out part.

    `model` is "mf", "mf/rating" or a recipe of your own, such as `replace(mf.RECIPES["ranking"], objective=mine)`,
    which `load` then asks for; `data` a name of the catalog, a path, Interactions, a FieldTable, or a dataframe with
    columns user, item and, where there, rating and timestamp, which for a recipe of fields has a column label and a
    column a field. `columns` such as {"user": "member"} say which of a path's or a dataframe's these are. `settings`
    are any settings of the recipe or of its model and objective, such as epochs=5, embedding_dim=32, l2=0.1. With
    `stream`, data is a Parquet file that need not fit in memory; see zoo.data.stream. `devices` are so many of JAX's,
    over which each batch is divided; `mode` is "jit", "shard_map" or "pmap"; with `shard_tables` each holds its part of
    the rows.

    >>> run = zoo.train("mf", epochs=3)                      # doctest: +SKIP
    >>> ids, scores = run.recommend([17], k=10)              # doctest: +SKIP
    """
    reader = {name: value for name, value in (("columns", columns), ("separator", separator)) if value}
    name, interactions = None, None
    if data is None or isinstance(data, (str, Path)):
        name = None if data is None else str(data)
    elif isinstance(data, Data):
        interactions = data
        if reader:
            raise InputError(f"{' and '.join(reader)}: this {type(data).__name__} has been read already, leave it out")
    else:
        kind = Impressions if names.is_funnel(model) else names.recipe(model)[2].reads
        interactions = catalog.load(data, kind, **reader)
    if stream and interactions is not None:
        raise InputError("stream=True reads a Parquet file, and this data is in memory: leave it out, or give a path")
    request = names.Request(model, name, split, optimizer, seed, validate, settings, reader, stream, schedule)
    return run_request(
        request,
        interactions,
        workdir,
        resume=resume,
        overwrite=overwrite,
        quiet=quiet,
        checkpoint_seconds=checkpoint_seconds,
        devices=devices,
        mode=mode,
        shard_tables=shard_tables,
    )


def run_request(
    request: names.Request,
    interactions: Data | None = None,
    folder: str | Path | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    quiet: bool = True,
    checkpoint_seconds: float | None = None,
    devices: int | None = None,
    mode: str = "jit",
    shard_tables: bool = False,
) -> Run:
    layout, wrap = names.devices(devices, mode, shard_tables)
    options: dict[str, Any] = {} if checkpoint_seconds is None else {"checkpoint_seconds": checkpoint_seconds}
    options |= {"resume": resume, "overwrite": overwrite, "quiet": quiet, "layout": layout, "wrap": wrap}
    if names.is_funnel(request.model):
        return _run_funnel(request, interactions, folder, options)
    job = names.job(request, interactions)
    folder = Path(folder) if folder is not None else names.folder(job)
    record, prepared, state = fit(job, folder, **options)
    return Run(job, prepared, state, record, folder)


def _run_funnel(
    request: names.Request, shown: Data | None, folder: str | Path | None, options: Mapping[str, Any]
) -> FunnelRun:
    """Two runs in folders of their own within the funnel's, and a record of the whole."""
    if not (shown is None or isinstance(shown, Impressions)):
        raise InputError(f"{request.model} reads impressions with clicks and watch seconds: give zoo.Impressions")
    *jobs, called = names.funnel(request, shown)
    folder = Path(folder) if folder is not None else names.folder_of(called, request.seed)
    held = folder / "run.json"
    if held.exists() and "parts" not in workdir.read_json(held, "run"):
        raise InputError(f"{folder} holds a run of one model: choose another --workdir")
    parts = []
    for name, job in zip(names.PARTS, jobs, strict=True):
        record, prepared, state = fit(job, folder / name, **options)
        parts.append(Run(job, prepared, state, record, folder / name))
    identity = {**called, "seed": request.seed, "validate": request.validate, "parts": names.PARTS}
    record = funnel.record_of(parts[0], parts[1], identity)
    processes.first_does(lambda: records.write_json(held, identity))
    processes.first_does(lambda: records.write_json(folder / "record.json", record))
    return _funnel_run(parts, record, folder)


def _funnel_run(parts: Sequence[Run], record: Mapping[str, Any], folder: Path) -> FunnelRun:
    candidates, ranking = parts
    return FunnelRun(candidates.job, candidates.prepared, candidates.state, record, folder, ranking)


def load(folder: str | Path, recipe: Recipe | None = None) -> Run:
    """The run in a folder, as it stands at its last checkpoint.

    The data is not needed again, except for the recommendations of a streamed run. A run of a recipe of your own needs
    that `recipe` as train was given it: code is not saved.
    """
    folder = Path(folder)
    held = workdir.read_json(folder / "run.json", "run")
    if "parts" in held:
        parts = [load(folder / name) for name in held["parts"]]
        return _funnel_run(parts, workdir.read_json(folder / "record.json", "record"), folder)
    interactions = workdir.load_data(folder / "data.npz")
    asked: dict[str, Any] = held["request"] | {"data": held["data"]}
    if held["split"] != "recipe":
        asked["split"] = held["split"]  # the data set's own, should the user have named none
    asked["settings"] = {name: _from_json(value) for name, value in asked["settings"].items()}
    if (asked["model"] == names.OWN) != (recipe is not None):
        what = "your own: zoo.load(folder, recipe) takes it" if recipe is None else "the zoo: leave the recipe out"
        raise InputError(f"{folder} holds a run of a recipe of {what}")
    job = names.job(names.Request(**(asked | {"model": recipe or asked["model"]})), interactions)
    if other := recipe and workdir.difference(held, {"settings": describe(job.recipe)}):
        raise InputError(f"{folder} holds a run of another recipe: its {other}")
    prepared = prepare(job)
    checkpoints = folder / "checkpoints"
    shapes = jax.eval_shape(prepared.initial)
    like = parallel.abstract(shapes, None)
    restored = checkpoint.restore(checkpoint.open_folder(checkpoints), like, shapes, checkpoints)
    if restored is None:
        raise InputError(f"{folder} has no checkpoint yet: resume the run with --resume")
    state, best, progress = restored
    record = workdir.read_json(folder / "record.json", "record") if progress["finished"] else {}
    return Run(job, prepared, state if best is None else best, record, folder)


def _from_json(setting: Any) -> Any:
    """A setting as it was asked for: a tuple, such as the sizes of layers, has become a list."""
    return tuple(map(_from_json, setting)) if isinstance(setting, list) else setting
