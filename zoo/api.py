"""zoo.train and zoo.load: what the command line does, from Python."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from zoo import checkpoint, evaluate, names, parallel, workdir
from zoo.data.fields import FieldTable
from zoo.data.interactions import Interactions, rows_of
from zoo.errors import InputError
from zoo.run import Job, Prepared, fit, prepare
from zoo.types import PADDING, TrainState


@dataclass(frozen=True)
class Run:
    """A finished run: its record, and the model that it left."""

    job: Job
    prepared: Prepared
    state: TrainState
    record: Mapping[str, Any]
    folder: Path

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics of the held-out part: test, or validation in a run with `validate`."""
        return next(iter(self.record["metrics"].values()))

    def recommend(self, users: Any, k: int = 10) -> tuple[np.ndarray, np.ndarray]:
        """The k best items of each user, best first: raw item ids [users, k] and scores float32 [users, k].

        `users` are raw ids. Items the user has, in training or held out, are left out. Where fewer than k are left the
        list is filled with score -inf and an id that means nothing. InputError for an id that the data does not have.
        """
        if k < 1:
            raise InputError(f"k is {k}: a list has at least one item")
        recipe, interactions = self.job.recipe, self.job.interactions
        if recipe.recommend is None or not isinstance(interactions, Interactions):
            raise InputError(
                f"{self.job.names['model']}/{self.job.names['recipe']} judges described examples and ranks no items:"
                " take a ranking or rating recipe to recommend"
            )
        rows = rows_of(users, interactions.user_ids, "user")
        seen = evaluate.lists_by_user(interactions)
        prepared = self.prepared
        ids, scores = recipe.recommend(prepared.model, self.state, prepared.examples, rows, seen, k)
        return interactions.item_ids[np.where(ids == PADDING, 0, ids)], scores

    def evaluate(self, names: Sequence[str] | None = None) -> dict[str, float]:
        """Metrics of the held-out part; `names` such as ["recall@50"] in place of the recipe's own."""
        options = {} if names is None else {"names": tuple(names)}
        return self.job.recipe.evaluate(
            self.prepared.model, self.state, self.prepared.examples, self.prepared.split, **options
        )


def train(
    model: str,
    *,
    data: str | Interactions | FieldTable | None = None,
    split: str | None = None,
    optimizer: str | None = None,
    seed: int = 0,
    validate: bool = False,
    workdir: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    quiet: bool = True,
    devices: int | None = None,
    mode: str = "jit",
    shard_tables: bool = False,
    **settings: Any,
) -> Run:
    """Train a model of the zoo and judge it on the held-out part.

    `model` is "mf" or "mf/rating"; `data` a name of the catalog, a path, Interactions, or a FieldTable; `settings` any
    setting of the recipe or of its model and objective, such as epochs=5, embedding_dim=32, l2=0.1. `devices` are so
    many of JAX's, over which each batch is divided; `mode` is "jit", "shard_map" or "pmap"; with `shard_tables` each
    holds its part of the rows.

    >>> run = zoo.train("mf", epochs=3)                      # doctest: +SKIP
    >>> ids, scores = run.recommend([17], k=10)              # doctest: +SKIP
    """
    name, interactions = (None, data) if isinstance(data, (Interactions, FieldTable)) else (data, None)
    request = names.Request(model, name, split, optimizer, seed, validate, settings)
    return run_request(
        request,
        interactions,
        workdir,
        resume=resume,
        overwrite=overwrite,
        quiet=quiet,
        devices=devices,
        mode=mode,
        shard_tables=shard_tables,
    )


def run_request(
    request: names.Request,
    interactions: Interactions | FieldTable | None = None,
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
    job = names.job(request, interactions)
    folder = Path(folder) if folder is not None else names.folder(job)
    options = {} if checkpoint_seconds is None else {"checkpoint_seconds": checkpoint_seconds}
    record, prepared, state = fit(
        job, folder, resume=resume, overwrite=overwrite, quiet=quiet, layout=layout, wrap=wrap, **options
    )
    return Run(job, prepared, state, record, folder)


def load(folder: str | Path) -> Run:
    """The run in a folder, as it stands at its last checkpoint: the data is not needed again."""
    folder = Path(folder)
    held = workdir.read_json(folder / "run.json", "run")
    interactions = workdir.load_data(folder / "data.npz")
    asked: dict[str, Any] = held["request"] | {"data": held["data"]}
    if held["split"] != "recipe":
        asked["split"] = held["split"]  # the data set's own, should the user have named none
    request = names.Request(**asked)
    job = names.job(request, interactions)
    prepared = prepare(job)
    checkpoints = folder / "checkpoints"
    like = parallel.abstract(jax.eval_shape(prepared.initial), None)
    restored = checkpoint.restore(checkpoint.open_folder(checkpoints), like, checkpoints)
    if restored is None:
        raise InputError(f"{folder} has no checkpoint yet: resume the run with --resume")
    state, best, progress = restored
    record = workdir.read_json(folder / "record.json", "record") if progress["finished"] else {}
    return Run(job, prepared, state if best is None else best, record, folder)
