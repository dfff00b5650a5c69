"""python -m benchmarks sizes: whether the training step of a recipe keeps its cost as its tables grow."""

import argparse
import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import isolated, tables
from benchmarks.sizes_step import Configuration
from benchmarks.tables import Record, Table
from zoo import records


# fm at Criteo's shape; the step of the largest may take so many times as long as that of the smallest.
FULL = Configuration("fm/clicks", (1_000_000, 10_000_000), 2**17, 1.0, 8192, 16)
QUICK = dataclasses.replace(FULL, rows=(30_000, 60_000), interactions=2**12, batch_size=512, steps=2)
MOST = 1.5


def run(options: argparse.Namespace) -> int:
    configuration = dataclasses.replace(QUICK if options.quick else FULL, seed=options.seed)
    found = []
    for allocator in options.allocators:
        record = {
            "suite": "sizes",
            **dataclasses.asdict(configuration),
            "quick": options.quick,
            "allocator": allocator,
            **isolated.run("benchmarks.sizes_step", configuration, allocator),
            "command": records.command(),
        }
        records.append_line(options.records / "sizes.jsonl", record)
        found.append(record)
    tables.show("A step against the size of its tables", table(found))
    return 0


def table(found: Sequence[Record]) -> Table:
    """A line a model and allocator: the median step at each size, and the ratio to the smallest, turn by turn."""
    header = ("model/recipe", "allocator", "rows", "step ms", "times the smallest (least to most)", "distinct rows")
    chosen = tables.newest(found, lambda record: (record["model"], record["allocator"], tuple(record["rows"])))
    lines = [line for record in chosen for line in _lines(record)]
    return Table((*header, "at most"), tuple(lines), tables.footnote(found))


def _lines(record: Mapping[str, Any]) -> list[tuple[str, ...]]:
    lines: list[tuple[str, ...]] = []
    for rows, step_ms, distinct in zip(record["rows"], record["step_ms"], record["distinct_rows"], strict=True):
        ratios = [ms / least for ms, least in zip(step_ms, record["step_ms"][0], strict=True)]
        ratio = statistics.median(ratios)
        largest = rows == record["rows"][-1]
        lines.append(
            (
                record["model"],
                record["allocator"],
                f"{rows:,}",
                f"{statistics.median(step_ms):.1f}",
                f"{ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
                "-" if distinct is None else f"{distinct:,.0f}",
                f"{MOST:g}: {'met' if ratio <= MOST else 'MISSED'}" if largest else "",
            )
        )
    return lines
