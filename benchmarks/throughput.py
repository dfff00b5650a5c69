"""python -m benchmarks throughput: the training speed of every recipe of a model, against what the device can do."""

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import isolated, limits, tables
from benchmarks.throughput_step import Configuration
from zoo import names, records
from zoo.data.fields import FieldTable


FAR = 0.1  # below this share of both limits, something else bounds a step: latency, or many small operations


def run(options: argparse.Namespace) -> int:
    models = recipes(options.models or names.models())
    ceiling = isolated.run(
        "benchmarks.limits", limits.QUICK if options.quick else limits.Configuration(), options.allocator
    )
    found = []
    for model in models:
        configuration = Configuration(
            model,
            rows=options.rows,
            interactions=2**16 if options.quick else 2**18,
            zipf=options.zipf,
            batch_size=options.batch_size,
            embedding_dim=options.embedding_dim,
            seed=options.seed,
        )
        try:
            measured = isolated.run("benchmarks.throughput_step", configuration, options.allocator)
        except isolated.Failed as error:
            print(f"{model}: no result: {error}", flush=True)
            continue
        record = {
            "suite": "throughput",
            **dataclasses.asdict(configuration),
            "quick": options.quick,
            "allocator": options.allocator,
            **measured,
            **against_limits(measured["step_ms"]["median"], measured["bytes"], measured["flops"], ceiling),
            "limits": {name: value for name, value in ceiling.items() if name in limits.NAMES},
            "command": records.command(),
        }
        records.append_line(options.records / "throughput.jsonl", record)
        print(f"{model}: {measured['step_ms']['median']:.3f} ms a step", flush=True)
        found.append(record)
    if found:
        tables.show("Training speed", tables.throughput(found))
    return 0 if len(found) == len(models) else 2


def recipes(models: Sequence[str]) -> list[str]:
    """model/recipe for every recipe that trains, smoke left out, and ratings from fields: a user, an item and bags of
    words have no likeness in made-up fields, and their steps are those of the model's other recipe."""
    return [
        f"{model}/{name}"
        for model in models
        for name, recipe in names.model_module(model).RECIPES.items()
        if name != "smoke" and recipe.solve is None and (recipe.reads is not FieldTable or recipe.metric == "auc")
    ]


def against_limits(step_ms: float, moved: float, flops: float, ceiling: Mapping[str, float]) -> dict[str, Any]:
    """Achieved rates of `moved` bytes and `flops` operations a step, as a fraction of the nearer of the two limits.

    Bytes are held against the bandwidth of a copy of a large array; rows that stay in the cache can exceed it.
    """
    bandwidth, rate = moved / step_ms / 1e6, flops / step_ms / 1e6
    shares = {"memory": bandwidth / ceiling["copy_gb_per_s"], "arithmetic": rate / ceiling["matmul_gflop_per_s"]}
    nearer = max(shares, key=lambda name: shares[name])
    return {
        "achieved_gb_per_s": bandwidth,
        "achieved_gflop_per_s": rate,
        "fraction_of_limit": shares[nearer],
        "bound": nearer if shares[nearer] >= FAR else f"neither ({nearer} nearer)",
    }
