"""python -m benchmarks lessons: what a lecture on optimization teaches, as small studies on real data.

A study varies one setting of a model whose rows are few enough to be learned by heart. A setting with several rates has
each tried with seed 0, and the best of them on validation rows counts. Seeds 1 and up are what the tables show. All is
judged on validation rows, but for early stopping: these choose its epoch, and the test part is looked at once, after.
What has a record is not run again. `ensembles` has the studies that train many models as one program.
"""

import argparse
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import ensembles, lesson_tables, plot_lessons, quality, report, tables, trials
from benchmarks.ensembles import Ensemble
from benchmarks.tables import Record
from zoo import chunks, records
from zoo.data.splits import Split
from zoo.errors import InputError
from zoo.recipe import LOWER_IS_BETTER
from zoo.types import TrainState


@dataclass(frozen=True)
class Study:
    name: str
    model: str  # model/recipe
    data: str
    varied: str  # a setting, as zoo.recipe.override names it
    values: tuple[Any, ...]
    metric: str
    epochs: int
    rates: tuple[float, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    rows: int | None = None  # only so many training examples
    each_epoch: bool = False  # judged after each, and the test part at the best and at the last


# A network that learns so few rows by heart.
BY_HEART = {"batch_size": 256, "hidden_dims": (128, 64)}
STUDIES = (
    Study(
        "batch size",
        "wide_deep/clicks",
        "adult",
        "batch_size",
        (16, 64, 256, 1024),
        "log_loss",
        epochs=20,
        rates=(1e-4, 3e-4, 1e-3, 3e-3),
        settings={"hidden_dims": (128, 64)},
        rows=4096,
    ),
    Study(
        "early stopping",
        "mf/rating",
        "movielens-100k",
        "embedding_dim",
        (4, 16, 64),
        "rmse",
        epochs=30,
        rates=(0.02,),
        settings={"optimizer.l2": 0.0},
        each_epoch=True,
    ),
    Study(
        "weight decay",
        "mf/rating",
        "movielens-100k",
        "optimizer.l2",
        (0.0, 0.02, 0.05, 0.1, 0.2),
        "rmse",
        epochs=40,
        rates=(0.02,),
        settings={"embedding_dim": 32},
    ),
    Study(
        "dropout",
        "wide_deep/clicks",
        "adult",
        "dropout",
        (0.0, 0.2, 0.4, 0.6, 0.8),
        "log_loss",
        epochs=20,
        rates=(1e-3,),
        settings=BY_HEART,
        rows=4096,
    ),
    Study(
        "label smoothing",
        "wide_deep/clicks",
        "adult",
        "smoothing",
        (0.0, 0.05, 0.1, 0.2, 0.4),
        "log_loss",
        epochs=20,
        rates=(1e-3,),
        settings=BY_HEART,
        rows=4096,
    ),
)
ENSEMBLES = (
    Ensemble("k-fold", "mf/rating", "movielens-100k", ensembles.k_fold, (0.0, 0.02, 0.05, 0.1, 0.2), 5, 0.02, 40),
    Ensemble("bagging", "mf/rating", "movielens-100k", ensembles.bagging, ensembles.DRAWS, 16, 0.02, 40, {"l2": 0.02}),
)
TRIAL_DATA = {"adult": "planted", "movielens-100k": "simulated"}


def run(options: argparse.Namespace) -> int:
    """Train what has no record yet, record it, show and draw all."""
    found = [] if options.quick else list(report.read(options.records)[0]["lessons"])
    done = {lesson_tables.identity(record): record for record in found}
    for study in chosen(options):
        reason = quality.absent_data(study.data)
        if reason:
            print(f"{study.name}: skipped: {reason}")
            continue
        began = time.monotonic()
        for record in runs(study, options.seeds, done):
            named = {"suite": "lessons", "study": study.name, "model": study.model, "data": study.data}
            stated = {"environment": records.environment(jax.devices()[0].device_kind), "command": records.command()}
            found.append({**named, **record, "quick": options.quick, **stated})
            records.append_line(options.records / "lessons.jsonl", found[-1])
        jax.clear_caches()
        print(f"{study.name}: done in {time.monotonic() - began:.0f} s", flush=True)
    if not found:
        return 2
    own = tables.by_device(found)[tables.device_of(found[-1])]
    tables.show("Lessons", lesson_tables.table(own))
    if not options.quick:
        print(f"plot: {plot_lessons.draw(own).name}")
    return 0


def chosen(options: argparse.Namespace) -> list[Study | Ensemble]:
    known = {study.name: study for study in (*STUDIES, *ENSEMBLES)}
    for name in options.only or ():
        if name not in known:
            raise InputError(f"unknown study {name!r}: there are {', '.join(known)}")
    asked = [study for study in known.values() if not options.only or study.name in options.only]
    return [trial(study) for study in asked] if options.quick else asked


def trial(study: Study | Ensemble) -> Study | Ensemble:
    """The study in its quick form: two values, an epoch or two, data that is made up."""
    small: dict[str, Any] = {"values": study.values[:2], "data": TRIAL_DATA[study.data]}
    # What recipes set for the data set alone has no name elsewhere.
    small["settings"] = {name: value for name, value in study.settings.items() if name != "optimizer.l2"}
    if isinstance(study, Ensemble):
        return replace(study, **small, members=3, epochs=1)
    return replace(study, **small, epochs=2, rates=study.rates[:1])


def runs(study: Study | Ensemble, seeds: int, done: Mapping[tuple, Record]) -> Iterator[Record]:
    if isinstance(study, Ensemble):
        return ensembles.trained(study, seeds, done)
    return trained(study, seeds, done)


def trained(study: Study, seeds: int, done: Mapping[tuple, Record]) -> Iterator[Record]:
    """The runs of a study that are not done: of each value the rates with seed 0, the best of them with the seeds."""
    for value in study.values:
        program: trials.Program | None = None
        tried: list[Record] = []
        for place in range(-len(study.rates) if len(study.rates) > 1 else 0, seeds):
            seed = max(0, place + 1)
            best = lesson_tables.best_trial(tried)
            if tried and seed and best is None:
                break  # all rates diverged
            rate = study.rates[place] if place < 0 else best["learning_rate"] if best else study.rates[0]
            record = done.get((study.name, study.data, value, rate, seed))
            if record is None:
                program = program or compiled(study, value)
                record = measured(study, program, value, rate, seed)
                yield record
            if seed == 0:
                tried.append(record)


def compiled(study: Study, value: Any) -> trials.Program:
    """What all rates and seeds of a value share; judged once an epoch, or at the end."""
    task = prepared(study, value)
    steps = study.epochs * chunks.steps_per_epoch(task.examples, task.recipe)
    assert task.recipe.optimizer is not None, "a closed form has no steps"
    return trials.compiled(task, task.recipe.optimizer, steps, study.epochs if study.each_epoch else 1)


def prepared(study: Study, value: Any) -> trials.Task:
    settings = {**study.settings, "metric": study.metric, study.varied: value}
    task = trials.prepared(trials.Workload(study.name, study.model, study.data, 0, 0.0, 0.0, settings))
    if study.rows is None:
        return task
    examples = replace(task.examples, train={name: x[: study.rows] for name, x in task.examples.train.items()})
    split = Split(task.split.train.take(np.arange(len(task.split.train)) < study.rows), task.split.test)
    return task._replace(examples=examples, split=split, columns=jax.tree.map(jnp.asarray, dict(examples.train)))


def measured(study: Study, program: trials.Program, value: Any, rate: float, seed: int) -> dict[str, Any]:
    """The record of one run; without metrics where it diverged."""
    task, steps = program.task, program.steps
    best: list[tuple[float, TrainState]] = []

    def watched(task: trials.Task, state: TrainState) -> float:
        reached = trials.judged(task, state)
        if study.each_epoch and (not best or _better(study.metric, reached, best[0][0])):
            best[:] = [(reached, jax.tree.map(jnp.copy, state))]
        return reached

    found, state = trials.train(program, rate, seed, watched)
    record: dict[str, Any] = {
        **{"varied": study.varied, "value": value, "learning_rate": rate, "seed": seed, "metric": study.metric},
        **{"batch_size": task.recipe.batch_size, "steps": steps, "examples": task.examples.num_train},
        "points": [[point.steps * study.epochs / steps, point.value] for point in found],
        "diverged": len(found) < program.points,
        "seconds": found[-1].seconds if found else None,
    }
    if record["diverged"]:
        return record
    record |= {
        "train": trials.of_training(task, state),
        "valid": task.recipe.evaluate(task.model, state, task.examples, task.split),
    }
    if study.each_epoch and seed > 0:
        record["test"] = {"best": trials.tested(task, best[0][1]), "last": trials.tested(task, state)}
    return record


def _better(metric: str, one: float, other: float) -> bool:
    return one < other if metric in LOWER_IS_BETTER else one > other
