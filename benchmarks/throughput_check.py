"""python -m benchmarks throughput --check: whether a step still reaches the share of this device's limit that it did.

By hand and on accelerators, on a machine that does nothing else: a step is timed TURNS times, the limits just before
it each time, and the median share is held against the newest record of the same configuration on the same device.
"""

import argparse
import dataclasses
import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks import isolated, limits, report, tables, throughput, throughput_tables
from benchmarks.tables import Record, Table
from benchmarks.throughput_step import Configuration
from zoo.errors import InputError


TURNS = 5
LEAST = 0.75  # of the recorded share


def run(options: argparse.Namespace) -> int:
    """Exit status 1 if a share fell below LEAST of the recorded one."""
    recorded = {_place(record): record for record in report.read(options.records)[0]["throughput"]}  # the last counts
    lines, fallen = [], False
    for configuration in throughput.configurations(options):
        found = [_measured(configuration, options.allocator) for _ in range(TURNS)]
        if _place(found[0]) not in recorded:
            print(f"{configuration.model}: no record of this configuration on {tables.device_of(found[0])}", flush=True)
            continue
        line, fell = compared(found, recorded[_place(found[0])])
        lines.append(line)
        fallen |= fell
        print(f"{configuration.model}: {line[-1]}", flush=True)
    if not lines:
        raise InputError("nothing to compare with: run python -m benchmarks throughput on this device first")
    header = ("model/recipe", "share of the limit (least to most)", "recorded", "ratio", "")
    tables.show("Shares of the limit", Table(header, tuple(lines), f"Fails below {LEAST:.0%} of the record."))
    return 1 if fallen else 0


def _measured(configuration: Configuration, allocator: str) -> dict[str, Any]:
    ceiling = isolated.run("benchmarks.limits", limits.Configuration(), allocator)
    step = isolated.run("benchmarks.throughput_step", configuration, allocator)
    asked = dataclasses.asdict(configuration) | {"allocator": allocator}
    return asked | step | throughput.against_limits(step, ceiling)


def compared(found: Sequence[Record], recorded: Record) -> tuple[tuple[str, ...], bool]:
    """The line of one configuration, and whether its median share fell too far."""
    shares = [record["fraction_of_limit"] for record in found]
    share, before = statistics.median(shares), recorded["fraction_of_limit"]
    fell = share < LEAST * before
    spelled = f"{share:.1%} ({min(shares):.1%} to {max(shares):.1%})"
    return (found[0]["model"], spelled, f"{before:.1%}", f"{share / before:.2f}", "FELL" if fell else "holds"), fell


def _place(record: Record) -> tuple:
    return tables.device_of(record), *throughput_tables.swept(record)
