"""python -m benchmarks tune: what `zoo tune` finds beside the committed recipe, on the same validation rows."""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import tables
from zoo import names, records
from zoo.api import run_request
from zoo.recipe import LOWER_IS_BETTER
from zoo.tune import tune


LEAST_SHARE = 0.99  # of the recipe's value, or its inverse where lower is better


def run(options: argparse.Namespace) -> int:
    """Search, train the recipe with validation, record both; exit status 1 if a search finds less than the recipe."""
    found = []
    for model in options.models:
        record = searched(model, options.data, options.trials, options.seed)
        records.append_line(options.records / "tune.jsonl", record)
        found.append(record)
    tables.show("Searched settings beside the recipe's", tables.tune(found))
    return 0 if all(record["share"] >= LEAST_SHARE for record in found) else 1


def searched(model: str, data: str, trials: int, seed: int) -> dict[str, Any]:
    """The record of one search."""
    job = names.job(names.Request(model, data, seed=seed))
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        lines = tune(job, Path(folder) / "search", trials=trials)
        seconds = time.perf_counter() - began
        request = names.Request(model, data, seed=seed, validate=True)
        recipe = run_request(request, folder=Path(folder) / "recipe").record
    metric, value = job.recipe.metric, lines[0]["value"]
    reference = recipe["metrics"]["valid"][metric]
    return {
        "suite": "tune",
        **{name: recipe[name] for name in ("model", "recipe", "data", "data_sha256", "split", "seed")},
        "trials": trials,
        "seconds": seconds,
        "metric": metric,
        "found": value,
        "settings": lines[0]["settings"],
        "of_recipe": reference,
        "share": reference / value if metric in LOWER_IS_BETTER else value / reference,
        "environment": recipe["environment"],
        "command": records.command(),
    }
