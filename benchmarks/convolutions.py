"""python -m benchmarks convolutions: how the step of caser and of cnn_fm grows with length and with filters."""

import argparse
import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import isolated, tables
from benchmarks.convolutions_step import Configuration
from benchmarks.tables import Record, Table
from zoo import records


# Filters of up to 5 watches and of 1 and 2 words. Twice the length or the filters may cost so many times as much.
FULL = (
    Configuration("caser/ranking", (10, 20, 40, 80), (16,), 512),
    Configuration("caser/ranking", (20,), (16, 32, 64, 128), 512),
    Configuration("cnn_fm/books", (8, 16, 32, 64), (64,), 1024),
    Configuration("cnn_fm/books", (16,), (32, 64, 128, 256), 1024),
)
QUICK = (
    Configuration("caser/ranking", (5, 10), (4,), 64, steps=2),
    Configuration("cnn_fm/books", (4,), (4, 8), 64, steps=2),
)
MOST = 2.2


def run(options: argparse.Namespace) -> int:
    found = []
    for configuration in QUICK if options.quick else FULL:
        configuration = dataclasses.replace(configuration, seed=options.seed)
        record = {
            "suite": "convolutions",
            **dataclasses.asdict(configuration),
            "quick": options.quick,
            "allocator": options.allocator,
            **isolated.run("benchmarks.convolutions_step", configuration, options.allocator),
            "command": records.command(),
        }
        records.append_line(options.records / "convolutions.jsonl", record)
        found.append(record)
    tables.show("A step against the length of a sequence and the number of filters", table(found))
    return 0


def table(found: Sequence[Record]) -> Table:
    """A line a size: the median step, and the ratio to the size before, turn by turn."""
    header = ("model/recipe", "length", "filters of a height", "step ms", "times the one before (least to most)")
    chosen = tables.newest(
        found, lambda record: (record["model"], tuple(record["lengths"]), tuple(record["filters"]), record["allocator"])
    )
    lines = [line for record in chosen for line in _lines(record)]
    return Table((*header, "at most"), tuple(lines), tables.footnote(found))


def _lines(record: Mapping[str, Any]) -> list[tuple[str, ...]]:
    lines: list[tuple[str, ...]] = []
    sizes = [(length, filters) for length in record["lengths"] for filters in record["filters"]]
    before = None
    for (length, filters), step_ms in zip(sizes, record["step_ms"], strict=True):
        line = (record["model"], str(length), str(filters), f"{statistics.median(step_ms):.2f}")
        if before is None:
            lines.append((*line, "", ""))
        else:
            ratios = [ms / less for ms, less in zip(step_ms, before, strict=True)]
            ratio = statistics.median(ratios)
            verdict = f"{MOST:g}: {'met' if ratio <= MOST else 'MISSED'}"
            lines.append((*line, f"{ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f})", verdict))
        before = step_ms
    return lines
