"""python -m benchmarks youtube: the two networks of Covington et al. 2016 on the simulated site, and what they cost."""

import argparse
import dataclasses
from collections.abc import Sequence
from typing import Any

from benchmarks import isolated, plot, report, tables
from benchmarks.tables import Record
from benchmarks.youtube_parts import PARTS, table
from zoo import records


def run(options: argparse.Namespace) -> int:
    """Measure, record, show and draw, part by part. A point that fails is named and left out."""
    found = []
    for name in options.parts:
        for configuration in PARTS[name].configurations(options):
            label = f"{name}: {_short(configuration)}"
            try:
                result = isolated.run(PARTS[name].module, configuration, options.allocator)
            except isolated.Failed as error:
                print(f"{label}: no result: {error}", flush=True)
                continue
            record = {
                "suite": "youtube",
                "part": name,
                **dataclasses.asdict(configuration),
                "quick": options.quick,
                "allocator": options.allocator,
                **result,
                "command": records.command(),
            }
            records.append_line(options.records / "youtube.jsonl", record)
            found.append(record)
            print(f"{label}: done", flush=True)
    if not found:
        return 2
    tables.show("The YouTube recommender", table(found))
    if not options.quick:
        draw(report.read(options.records)[0]["youtube"], tables.device_of(found[-1]), options.parts)
    return 0


def draw(found: Sequence[Record], device: str, parts: Sequence[str]) -> None:
    """plots/youtube-PART.svg for a CPU, plots/youtube-PART-NAME.svg for any other device."""
    for name in parts:
        own = [record for record in found if record["part"] == name and tables.device_of(record) == device]
        function = PARTS[name].draw
        if own and function is not None:
            path = plot.path(f"youtube-{name}", own)
            function(own, path)
            print(f"plot: {path.relative_to(isolated.ROOT)}")


def _short(configuration: Any) -> str:
    """The fields of a configuration that are not its defaults."""
    changed = [
        f"{field.name} {getattr(configuration, field.name)}"
        for field in dataclasses.fields(configuration)
        if getattr(configuration, field.name) != field.default
    ]
    return ", ".join(changed)
