"""python -m benchmarks batch_scaling: what a larger batch costs in AUC, by the rule that scales the other settings.

All rules share one setting at the smallest batch, optimizer and schedule; they differ in what s times that batch does
to the rate of the dense weights, the rate of the tables and their l2. The row clipping of CowClip is part of the
optimizer, so every rule has it. A configuration whose record is there is not run again.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax

from benchmarks import plot, quality, report, tables
from zoo import records
from zoo.api import run_request
from zoo.errors import InputError
from zoo.names import Request


MODEL, OPTIMIZER = "deepfm/clicks", "cowclip_adam"
# At the smallest batch, chosen on validation rows.
BASE = {"learning_rate": 1e-3, "optimizer.rows_learning_rate": 1e-2, "optimizer.l2": 1e-4}
SCHEDULE = {"epochs": 12, "hidden_dims": (128, 64)}
QUICK = {"epochs": 1, "hidden_dims": (8,)}

# By rule, the powers of s by which the three settings of BASE grow.
RULES = {
    "cowclip": (0.5, 0.0, 1.0),  # Zheng et al. 2023, CowClip
    "linear": (1.0, 1.0, 0.0),
    "sqrt": (0.5, 0.5, 0.0),
    "unscaled": (0.0, 0.0, 0.0),
}


def run(options: argparse.Namespace) -> int:
    """Train what has no record yet, record it, show and draw all."""
    reason = quality.absent_data(options.data)
    if reason:
        raise InputError(reason)
    found = [] if options.quick else _recorded(options)
    done = {_identity(record) for record in found}
    schedule = QUICK if options.quick else SCHEDULE
    for configuration in configurations(options.batches, options.seeds, options.data, schedule):
        if _identity(configuration) not in done:
            found.append(measured(configuration | {"quick": options.quick}))
            records.append_line(options.records / "batch_scaling.jsonl", found[-1])
            print(f"{_spelled(configuration)}: done", flush=True)
    own = tables.by_device(found)[tables.device_of(found[-1])]
    tables.show("Larger batches", tables.batch_scaling(own))
    if not options.quick:
        drawn = plot.path("batch_scaling", own)
        plot.draw_batch_scaling(own, drawn)
        print(f"plot: {drawn.name}")
    return 0


def configurations(
    batches: Sequence[int], seeds: Sequence[int], data: str, schedule: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """The shared setting at the smallest batch, then each rule at each larger one; seed by seed."""
    base, *larger = sorted(set(batches))
    for seed in seeds:
        yield {"data": data, "rule": "base", "batch_size": base, "seed": seed, "settings": BASE | schedule}
        for batch_size in larger:
            for rule in RULES:
                settings = scaled(rule, batch_size / base) | schedule
                yield {"data": data, "rule": rule, "batch_size": batch_size, "seed": seed, "settings": settings}


def scaled(rule: str, factor: float) -> dict[str, Any]:
    """BASE for a batch `factor` times as large."""
    return {name: value * factor**power for (name, value), power in zip(BASE.items(), RULES[rule], strict=True)}


def measured(configuration: dict[str, Any]) -> dict[str, Any]:
    """The record of one run; without metrics where it diverged."""
    settings = configuration["settings"] | {"batch_size": configuration["batch_size"]}
    request = Request(MODEL, configuration["data"], None, OPTIMIZER, configuration["seed"], settings=settings)
    record: dict[str, Any] = {"suite": "batch_scaling", "model": MODEL, "optimizer": OPTIMIZER, **configuration}
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = run_request(request, folder=Path(folder) / "run", quiet=False).record
        except FloatingPointError as error:
            environment = records.environment(jax.devices()[0].device_kind)
            return record | {"diverged": str(error), "environment": environment, "command": records.command()}
    training = {name: found["training"][name] for name in ("steps", "seconds", "compile_seconds")}
    record |= {"split": found["split"], "metrics": found["metrics"]["test"], "training": training}
    return record | {"environment": found["environment"], "command": records.command()}


def _recorded(options: argparse.Namespace) -> list[Any]:
    recorded = report.read(options.records)[0]["batch_scaling"]
    return [record for record in recorded if record["data"] == options.data]


def _identity(record: Any) -> tuple:
    settings = sorted((name, str(value)) for name, value in record["settings"].items() if name != "hidden_dims")
    width = tuple(record["settings"]["hidden_dims"])  # a list in a record
    return record["data"], record["rule"], record["batch_size"], record["seed"], tuple(settings), width


def _spelled(configuration: dict[str, Any]) -> str:
    return f"{configuration['rule']}, batch {configuration['batch_size']:,}, seed {configuration['seed']}"
