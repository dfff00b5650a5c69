"""python -m benchmarks throughput: the training speed of every recipe of a model, against what the device can do.

A value given for several of --rows, --zipf, --batch-size, --embedding-dim and --dtype is a sweep over all combinations.
The quick form has the first recipe of each model, at batches of at most 256, and ends within 5 minutes.
"""

import argparse
import dataclasses
import itertools
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks import isolated, limits, plot, synthetic, tables, throughput_tables
from benchmarks.throughput_step import SETTINGS, Configuration
from zoo import names, records
from zoo.errors import InputError
from zoo.recipe import override


FAR = 0.1  # below this share of every limit, something else bounds a step, such as random rows or many passes
QUICK_BATCH, QUICK_SIZE, QUICK_BUDGET_S = 256, 2**14, 1.0


def run(options: argparse.Namespace) -> int:
    began = time.monotonic()
    asked = list(configurations(options))
    ceiling = isolated.run(
        "benchmarks.limits", limits.QUICK if options.quick else limits.Configuration(), options.allocator
    )
    found = []
    for configuration in asked:
        try:
            found.append(_recorded(configuration, ceiling, options))
        except isolated.Failed as error:
            print(f"{configuration.model}: no result: {error}", flush=True)
    if found:
        tables.show("Training speed", throughput_tables.throughput(found))
        for record in found if options.profile else ():
            tables.show(f"Time by operation: {record['model']}", throughput_tables.operations(record))
    for model, reason in untimed(options.models or names.models()):
        print(f"{model}: not timed: {reason}")
    if found and not options.quick:
        _draw(options)
    print(f"{len(found)} of {len(asked)} measured in {time.monotonic() - began:.0f} s")
    return 0 if len(found) == len(asked) else 2


def configurations(options: argparse.Namespace) -> Iterator[Configuration]:
    """Of each recipe all combinations of what is asked for, less those that it has no setting for."""
    chosen = recipes(options.models or names.models())
    if options.quick:
        chosen = list({name.partition("/")[0]: name for name in reversed(chosen)}.values())[::-1]
    for name in chosen:
        recipe = names.recipe(name)[2]
        given = (options.batch_size, options.embedding_dim, options.dtype)
        own = [values or [None] for values in given]
        if options.quick and not options.batch_size:
            own[0] = [min(recipe.batch_size, QUICK_BATCH)]
        for rows, zipf, *settings in itertools.product(options.rows, options.zipf, *own):
            if not _has(recipe, dict(zip(SETTINGS, settings, strict=True))):
                print(f"{name}: has no such settings, left out: {settings}", file=sys.stderr)
                continue
            yield Configuration(
                name,
                rows,
                QUICK_SIZE if options.quick else 2**18,
                zipf,
                *settings,
                budget_s=QUICK_BUDGET_S if options.quick else Configuration.budget_s,
                seed=options.seed,
                profile=None if options.profile is None else str(options.profile.resolve()),
            )


def _has(recipe: Any, settings: Mapping[str, Any]) -> bool:
    try:
        override(recipe, {name: value for name, value in settings.items() if value is not None})
    except InputError:
        return False
    return True


def _recorded(configuration: Configuration, ceiling: Mapping[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    measured = isolated.run("benchmarks.throughput_step", configuration, options.allocator)
    profile = {"profile_of": measured.pop("profile_of")} if "profile_of" in measured else {}
    record = {
        "suite": "throughput",
        **{name: value for name, value in dataclasses.asdict(configuration).items() if name != "profile"},
        "quick": options.quick,
        "allocator": options.allocator,
        **measured,
        **against_limits(measured, ceiling),
        "limits": {name: value for name, value in ceiling.items() if name in limits.NAMES},
        "command": records.command(),
    }
    records.append_line(options.records / "throughput.jsonl", record)
    print(f"{configuration.model}: {measured['step_ms']['median']:.3f} ms a step", flush=True)
    return record | profile


def _draw(options: argparse.Namespace) -> None:
    from benchmarks import report

    recorded = report.read(options.records)[0]["throughput"]
    for group in tables.by_device(recorded).values():
        plot.draw_throughput(group, plot.path("throughput", group))


def recipes(models: Sequence[str]) -> list[str]:
    """model/recipe for every recipe that can be timed, less smoke and bars, which has the models of clicks again."""
    return [
        f"{model}/{name}"
        for model in models
        for name, recipe in names.model_module(model).RECIPES.items()
        if name not in ("smoke", "bars") and not isinstance(synthetic.made(model, recipe), str)
    ]


def untimed(models: Sequence[str]) -> list[tuple[str, str]]:
    """The models of which no recipe can be timed, and why the first cannot."""
    timed = {name.partition("/")[0] for name in recipes(models)}
    reasons = [(model, synthetic.made(model, names.recipe(model)[2])) for model in models if model not in timed]
    return [(model, str(reason)) for model, reason in reasons]


def against_limits(measured: Mapping[str, Any], ceiling: Mapping[str, float]) -> dict[str, Any]:
    """Achieved rates, and what a step would take if one limit alone held it, as shares of what it does take.

    memory    its bytes at the bandwidth of a copy of a large array; rows that stay in the cache can exceed it
    compute   its operations at the rate of a large product of matrices, of bfloat16 where its towers compute in that
    latency   the operations that the compiled step starts, each taking what one on 512 numbers takes

    The fraction of the limit is that of memory or compute, whichever is more: latency is no work to be done.
    """
    step_ms = measured["step_ms"]["median"]
    bandwidth, rate = measured["bytes"] / step_ms / 1e6, measured["flops"] / step_ms / 1e6
    matmul = "matmul_bf16_gflop_per_s" if measured.get("dtype") == "bfloat16" else "matmul_gflop_per_s"
    shares = {"memory": bandwidth / ceiling["copy_gb_per_s"], "compute": rate / ceiling[matmul]}
    fraction = max(shares.values())
    shares["latency"] = measured["operations"] * ceiling["operation_us"] / step_ms / 1e3
    nearest = max(shares, key=lambda name: shares[name])
    return {
        "achieved_gb_per_s": bandwidth,
        "achieved_gflop_per_s": rate,
        "fraction_of_limit": fraction,
        "shares": shares,
        "bound": nearest if shares[nearest] >= FAR else f"none alone ({nearest} nearest)",
    }
