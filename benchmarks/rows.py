"""python -m benchmarks rows: one step of matrix factorization by rows and densely, at each size of a table."""

import argparse
import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

from benchmarks import isolated, plot, report, rows_summary, tables
from benchmarks.rows_step import Configuration
from zoo import records


BY_ROWS = ("sgd", "adagrad", "rowwise_adagrad", "rowwise_adam", "adam")
DENSE = ("dense_sgd", "dense_adagrad", "dense_adam")
OPTIMIZERS = (*BY_ROWS, *DENSE)
SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
LARGEST_DENSE = 3_000_000  # beyond it a dense step takes seconds
USERS = 10_000


def run(options: argparse.Namespace) -> int:
    """Measure, record, judge and draw. A configuration that fails, say for want of memory, is named and left out."""
    grid = configurations(
        options.optimizers,
        options.sizes or (SIZES[::2] if options.quick else SIZES),
        options.zipf or ((1.0,) if options.quick else (0.0, 1.0)),
        options.seed,
    )
    found = []
    for configuration, allocator in itertools.product(grid, options.allocators):
        try:
            record = measured(configuration, allocator, options.quick)
        except isolated.Failed as error:
            print(f"{_name(configuration, allocator)}: no result: {error}", flush=True)
            continue
        records.append_line(options.records / "rows.jsonl", record)
        print(f"{_name(configuration, allocator)}: {record['step_ms']['median']:.2f} ms a step", flush=True)
        found.append(record)
    if not found:
        return 2
    tables.show("Milliseconds a step", tables.rows(found, sorted({record["items"] for record in found})))
    tables.show("By rows against densely", rows_summary.verdicts(found))
    if not options.quick:
        kept = report.read(options.records)[0]["rows"]
        draw_for_device(kept, tables.device_of(found[-1]))
    return 0


def configurations(optimizers: Any, sizes: Any, skews: Any, seed: int) -> Iterator[Configuration]:
    """Sizes innermost: the figures that are compared are taken one after the other."""
    for zipf, optimizer, items in itertools.product(skews, optimizers, sizes):
        dense = optimizer in DENSE
        if not dense or items <= LARGEST_DENSE:
            steps = max(1, min(20, 1_000_000 // items)) if dense else 20
            yield Configuration(optimizer, items, min(USERS, items), zipf, steps, seed=seed)


def measured(configuration: Configuration, allocator: str, quick: bool) -> dict[str, Any]:
    return {
        "suite": "rows",
        "model": "mf, bpr",
        **dataclasses.asdict(configuration),
        "quick": quick,
        "allocator": allocator,
        "allocator_settings": isolated.ALLOCATORS[allocator],
        **isolated.run("benchmarks.rows_step", configuration, allocator),
        "command": records.command(),
    }


def draw_for_device(found: list, device: str) -> None:
    """plots/rows.svg for a CPU, plots/rows-NAME.svg for any other device."""
    own = [record for record in found if tables.device_of(record) == device]
    if own:
        path = plot.path("rows", own)
        plot.draw(own, path)
        print(f"plot: {path.relative_to(isolated.ROOT)}")


def _name(configuration: Configuration, allocator: str) -> str:
    return (
        f"{configuration.optimizer}, {tables.short(configuration.items)} rows, Zipf {configuration.zipf:g}, {allocator}"
    )
