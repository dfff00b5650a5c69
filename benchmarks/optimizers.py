"""python -m benchmarks optimizers: steps and seconds to a target, by optimizer, for dense weights and for tables.

The rules are in docs/optimizers.md. A pair of workload and rule is trained at each rate of its grid with seed 0, and at
the best of them with the other seeds; only these are judged on test, once. What has a record is not run again.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import optax
import optax.contrib

from benchmarks import optimizer_tables, plot_optimizers, quality, report, tables, trials
from benchmarks.tables import Record
from benchmarks.trials import Rule, Workload
from zoo import optimizers, records, row_optimizers
from zoo.errors import InputError


WORKLOADS = (
    Workload("mf", "mf/ranking", "movielens-100k", 500, 5e-3, 1e-3),
    Workload("fm", "fm/clicks", "frappe", 600, 5e-3, 1e-3),
    Workload("deepfm", "deepfm/clicks", "frappe", 400, 5e-3, 1e-3, {"hidden_dims": (64, 32)}),
    Workload("youtube_candidates", "youtube_candidates/ranking", "simulated", 240, 5e-3, 1e-3, points=12),
    Workload("lightgcn", "lightgcn/ranking", "movielens-100k", 300, 5e-3, 1e-2, {"embedding_dim": 32}),
)
QUICK = (
    Workload("mf", "mf/ranking", "simulated", 40, 5e-3, 1e-3, {"embedding_dim": 8}, points=2),
    Workload("youtube_candidates", "youtube_candidates/smoke", "simulated", 40, 5e-3, 1e-3, points=2),
)
SIDES = {
    "dense": ("deepfm", "youtube_candidates", "lightgcn"),
    "rows": ("mf", "fm", "deepfm", "youtube_candidates"),
}
# The middle of each grid, whose rates are factors of the root of ten apart.
DENSE = {
    "sgd": (optax.sgd, 1.0),
    "momentum": (partial(optax.sgd, momentum=0.9), 0.1),
    "nesterov": (partial(optax.sgd, momentum=0.9, nesterov=True), 0.1),
    "adagrad": (partial(optax.adagrad, initial_accumulator_value=0.0, eps=1e-16), 0.01),
    "adadelta": (partial(optax.adadelta, eps=1e-12), 1.0),
    "rmsprop": (partial(optax.rmsprop, eps_in_sqrt=False), 1e-3),
    "adam": (optax.adam, 3e-3),
    "adamw": (optax.adamw, 3e-3),
    "nadam": (optax.nadam, 3e-3),
    "lamb": (optax.lamb, 1e-2),
    "lion": (partial(optax.lion, weight_decay=0.0), 3e-4),
    "adafactor": (partial(optax.adafactor, multiply_by_parameter_scale=False), 1e-2),
    "muon": (optax.contrib.muon, 1e-2),
    "schedule_free_adamw": (optax.contrib.schedule_free_adamw, 3e-3),
    "prodigy": (optax.contrib.prodigy, 1.0),
}
ROWS = {
    "sgd": (row_optimizers.sgd, 100.0),
    "momentum": (row_optimizers.momentum, 10.0),
    "nesterov": (row_optimizers.nesterov, 10.0),
    "adagrad": (partial(row_optimizers.adagrad, initial_accumulator=0.0, eps=1e-16), 0.1),
    "rowwise_adagrad": (row_optimizers.rowwise_adagrad, 0.1),
    "adadelta": (row_optimizers.adadelta, 1.0),
    "rmsprop": (row_optimizers.rmsprop, 3e-3),
    "adam": (row_optimizers.adam, 1e-2),
    "rowwise_adam": (row_optimizers.rowwise_adam, 1e-2),
    "nadam": (row_optimizers.nadam, 1e-2),
    "lion": (row_optimizers.lion, 1e-3),
    "dense_adam": (lambda rate: row_optimizers.densely(optax.adam(rate)), 1e-2),
}
RULES: dict[str, dict[str, tuple[Callable[..., Any], float]]] = {"dense": DENSE, "rows": ROWS}
SPREAD = 7  # rates of a grid


class Pair(NamedTuple):
    side: str  # what is varied: dense, or rows
    workload: Workload
    optimizer: str


def run(options: argparse.Namespace) -> int:
    """Train what has no record yet, record it, show and draw all."""
    asked = list(pairs(options))
    found = [] if options.quick else list(report.read(options.records)[0]["optimizers"])
    done = {optimizer_tables.identity(record): record for record in found}
    task: trials.Task | None = None
    held: Workload | None = None
    for number, pair in enumerate(asked, 1):
        if held != pair.workload:
            reason = quality.absent_data(pair.workload.data)
            if reason:
                print(f"{pair.workload.name}: skipped: {reason}")
                continue
            task, held = None, None  # frees the columns before others are put
            jax.clear_caches()
        made: trials.Program | None = None
        lines = []
        for rate, seed in _runs(pair, options, lines):
            key = (pair.side, pair.workload.name, pair.optimizer, rate, seed, pair.workload.steps)
            if key not in done:
                if task is None:
                    task, held = trials.prepared(pair.workload), pair.workload
                made = made or trials.compiled(task, rule(pair), pair.workload.steps, pair.workload.points)
                done[key] = measured(pair, made, rate, seed, final=seed > 0) | {"quick": options.quick}
                records.append_line(options.records / "optimizers.jsonl", done[key])
                found.append(done[key])
            lines.append(done[key])
        print(f"{number} of {len(asked)}: {pair.side}, {pair.workload.name}, {pair.optimizer}: done", flush=True)
    if not found:
        return 2
    own = tables.by_device(found)[tables.device_of(found[-1])]
    tables.show("Optimizers", optimizer_tables.table(own))
    if not options.quick:
        for drawn in plot_optimizers.draw(own, optimizer_tables.to_target(own), optimizer_tables.curves(own)):
            print(f"plot: {drawn.name}")
    return 0


def pairs(options: argparse.Namespace) -> Iterator[Pair]:
    """Workload by workload, so that each is prepared once a side."""
    known = {workload.name: workload for workload in (QUICK if options.quick else WORKLOADS)}
    wanted = options.models or list(known)
    for name in wanted:
        if name not in known:
            raise InputError(f"unknown workload {name!r}: there are {', '.join(known)}")
    for name in options.optimizers or ():
        if name not in DENSE and name not in ROWS:
            raise InputError(f"unknown optimizer {name!r}: there are {', '.join(dict.fromkeys([*DENSE, *ROWS]))}")
    for name in wanted:
        for side, names in SIDES.items():
            for optimizer in RULES[side] if name in names else ():
                if not options.optimizers or optimizer in options.optimizers:
                    yield Pair(side, known[name], optimizer)


def grid(centre: float, count: int = SPREAD) -> list[float]:
    """Rates around a centre, each the root of ten times the one before; 3 digits.

    >>> grid(1.0, 3)
    [0.316, 1.0, 3.16]
    """
    return [float(f"{centre * 10 ** ((place - count // 2) / 2):.3g}") for place in range(count)]


def rule(pair: Pair) -> Rule:
    make = RULES[pair.side][pair.optimizer][0]
    if pair.side == "rows":
        return lambda rate: optimizers.Optimizer(optax.adam(pair.workload.dense_rate), make(rate))
    return lambda rate: optimizers.Optimizer(make(rate), row_optimizers.rowwise_adam(pair.workload.rows_rate))


def _runs(pair: Pair, options: argparse.Namespace, lines: Sequence[Record]) -> Iterator[tuple[float, int]]:
    """Rate and seed of each run of a pair: the grid with seed 0, then the best rate found, in `lines`, with others."""
    count, seeds = (min(options.trials, 2), 1) if options.quick else (options.trials, options.seeds)
    for rate in grid(RULES[pair.side][pair.optimizer][1], count):
        yield rate, 0
    best = optimizer_tables.best_trial(lines)
    if best is not None:
        for seed in range(1, 1 + seeds):
            yield best["learning_rate"], seed


def measured(pair: Pair, program: trials.Program, rate: float, seed: int, final: bool) -> dict[str, Any]:
    """The record of one run; a run that diverged has the points before that."""
    points, state = trials.train(program, rate, seed)
    whole = len(points) == program.points
    return {
        "suite": "optimizers",
        "side": pair.side,
        "workload": pair.workload.name,
        "model": pair.workload.model,
        "data": pair.workload.data,
        "optimizer": pair.optimizer,
        "learning_rate": rate,
        "seed": seed,
        "metric": program.task.recipe.metric,
        "batch_size": program.task.recipe.batch_size,
        "steps": program.steps,
        "points": [[point.steps, round(point.value, 6)] for point in points],
        "diverged": not whole,
        "step_ms": 1e3 * points[-1].seconds / points[-1].steps if points else None,
        "compile_seconds": program.compile_seconds,
        "test": trials.tested(program.task, state) if final and whole else None,
        "environment": records.environment(jax.devices()[0].device_kind),
        "command": records.command(),
    }
