"""python -m benchmarks graph: the propagation by size of graph, a step's temporaries, quality by depth and by time."""

import argparse
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import isolated, plot, quality, report, tables
from benchmarks.graph_step import Configuration
from zoo import records


ENTRIES = (100_000, 300_000, 1_000_000, 3_000_000, 10_000_000, 30_000_000)
GOWALLA = 1_620_000  # entries of Gowalla's graph
RECIPES = ("lightgcn/ranking", "lightgcn/paper", "ngcf/ranking", "ngcf/paper", "ngcf/released")
PARTS = ("growth", "memory", "layers", "curves")
DATA = "movielens-1m-graph"
SMALL = "simulated:num_users=300,num_videos=150,num_watches=6000"


def run(options: argparse.Namespace) -> int:
    """Measure, record, show and draw. A point that fails, say for want of memory, is named and left out."""
    found = []
    for configuration in configurations(options):
        name = f"{configuration.what}, {configuration.model}, {tables.short(configuration.entries)} entries"
        if configuration.data:
            name = f"{configuration.what}, {configuration.model}, {configuration.layers} layers, {configuration.data}"
            if configuration.what == "curve":
                name = f"curve, {configuration.model}, {configuration.minutes:g} minutes, {configuration.data}"
            reason = quality.absent_data(configuration.data)
            if reason:
                print(f"{name}: skipped: {reason}")
                continue
        try:
            record = measured(configuration, options.quick)
        except isolated.Failed as error:
            print(f"{name}: no result: {error}", flush=True)
            continue
        records.append_line(options.records / "graph.jsonl", record)
        found.append(record)
        print(f"{name}: done", flush=True)
    if not found:
        return 2
    tables.show("The graph", tables.graph(found))
    if not options.quick:
        draw(report.read(options.records)[0]["graph"], tables.device_of(found[-1]))
    return 0


def configurations(options: argparse.Namespace) -> Iterator[Configuration]:
    parts, quick, seed = options.parts, options.quick, options.seed
    if "growth" in parts:
        for entries in ENTRIES[:2] if quick else ENTRIES:
            yield Configuration("growth", model="symmetric", entries=entries, seed=seed)
    if "memory" in parts:
        for model in RECIPES:
            yield Configuration("memory", model, entries=ENTRIES[0] if quick else GOWALLA, seed=seed)
    if "layers" in parts:
        settings = {"epochs": 1, "embedding_dim": 8} if quick else {}
        for layers in range(5):
            yield Configuration("layers", layers=layers, data=SMALL if quick else DATA, settings=settings, seed=seed)
    if "curves" in parts:
        for model in options.curves:
            minutes, data = (0.0, SMALL) if quick else (options.minutes, "gowalla")
            folder = str(options.workdir.resolve() / model.replace("/", "-")) if options.workdir else ""
            yield Configuration("curve", model, minutes=minutes, data=data, seed=seed, folder=folder)


def measured(configuration: Configuration, quick: bool) -> dict[str, Any]:
    limit = 1800 + 2 * 60 * configuration.minutes  # a curve is judged after each epoch beside its training
    found = isolated.run("benchmarks.graph_step", configuration, timeout_s=limit, progress=True)
    return {
        "suite": "graph",
        **{name: value for name, value in dataclasses.asdict(configuration).items() if name != "folder"},
        "quick": quick,
        **found,
        "command": records.command(),
    }


def draw(found: list, device: str) -> Path:
    """plots/graph.svg for a CPU, plots/graph-NAME.svg for any other device."""
    own = [record for record in found if tables.device_of(record) == device]
    path = plot.path("graph", own)
    plot.draw_graph(own, path)
    print(f"plot: {path.relative_to(isolated.ROOT)}")
    return path
