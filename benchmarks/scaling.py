"""python -m benchmarks scaling: a step over devices and processes, the batch divided (strong) or grown (weak).

On a CPU devices are virtual and share its cores: what the figures show there is what dividing costs, not what it gains.
"""

import argparse
import dataclasses
import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks import isolated, tables
from benchmarks.scaling_step import Configuration
from benchmarks.tables import Record, Table
from zoo import names, records
from zoo.errors import InputError


MODELS = ("mf/ranking_bpr", "deepfm/clicks", "lightgcn/paper")  # whose steps grow as the batch does
QUICK = {"rows": 1000, "interactions": 2**12, "steps": 2}
PLACE = ("model", "form", "devices", "processes", "mode", "shard_tables", "batch_size", "rows")
BATCH, QUICK_BATCH = 8192, 256


def run(options: argparse.Namespace) -> int:
    check(options.devices)
    found, asked = [], list(configurations(options))
    for configuration in asked:
        try:
            measured = answers(configuration)[0]
        except isolated.Failed as error:
            print(f"{_spelled(configuration)}: no result: {error}", flush=True)
            continue
        given = dataclasses.asdict(configuration)
        kept = {name: value for name, value in given.items() if name not in ("process", "coordinator")}
        record = {"suite": "scaling", **kept, "quick": options.quick, **measured, "command": records.command()}
        records.append_line(options.records / "scaling.jsonl", record)
        found.append(record)
        print(f"{_spelled(configuration)}: {measured['step_ms']['median']:.2f} ms a step", flush=True)
    if found:
        tables.show("Scaling", table(found))
    return 0 if len(found) == len(asked) else 2


def configurations(options: argparse.Namespace) -> Iterator[Configuration]:
    """One device, then for each number of devices the modes, tables divided by rows, and two processes."""
    settings: dict[str, Any] = {"seed": options.seed} | (QUICK if options.quick else {})
    batch = QUICK_BATCH if options.quick else BATCH
    devices = sorted(set(options.devices))
    for name in options.models:
        model = "/".join(names.recipe(name)[:2])
        for form in ("strong", "weak"):
            yield Configuration(model, form, batch_size=batch, **settings)
            for count in devices:
                whole = batch if form == "strong" else batch * count
                own: dict[str, Any] = {"devices": count, "batch_size": whole, **settings}
                for mode in names.MODES:
                    yield Configuration(model, form, mode=mode, **own)
                yield Configuration(model, form, mode="shard_map", shard_tables=True, **own)
                if options.processes and count % options.processes == 0:
                    yield Configuration(model, form, mode="jit", processes=options.processes, **own)


def answers(configuration: Configuration) -> list[dict[str, Any]]:
    """What each process of a configuration measured, of the first first."""
    if configuration.processes == 1:
        return [isolated.run("benchmarks.scaling_step", configuration)]
    with socket.socket() as free:
        free.bind(("localhost", 0))
        meeting = f"localhost:{free.getsockname()[1]}"
    each = [
        dataclasses.replace(configuration, process=number, coordinator=meeting)
        for number in range(configuration.processes)
    ]
    with ThreadPoolExecutor(len(each)) as pool:
        return list(pool.map(lambda one: isolated.run("benchmarks.scaling_step", one), each))


def check(devices: Sequence[int]) -> None:
    if any(count < 2 for count in devices):
        raise InputError(f"--devices {min(devices)}: one device is measured anyway; name numbers from 2")


def table(found: Sequence[Record]) -> Table:
    """A line a configuration: examples a second against one device, and what a step sends."""
    chosen = tables.newest(found, _place)
    alone = {(r["model"], r["form"]): r["examples_per_second"] for r in chosen if r["devices"] == 1}
    lines = []
    for record in sorted(chosen, key=lambda record: tuple(map(str, _place(record)))):
        base = alone.get((record["model"], record["form"]))
        sent = ", ".join(f"{kind} {size:,}" for kind, size in sorted(record["collective_bytes"].items()))
        lines.append(
            (
                record["model"],
                record["form"],
                f"{record['devices']} in {record['processes']}",
                record["mode"] + (", tables by rows" if record["shard_tables"] else ""),
                f"{record['batch_size']:,}",
                f"{record['step_ms']['median']:.2f}",
                f"{record['examples_per_second'] / base:.2f}" if base else "-",
                sent or "-",
            )
        )
    header = ("model/recipe", "form", "devices in processes", "mode", "batch", "step ms", "times one device's rate")
    return Table((*header, "bytes that a step sends"), tuple(lines), tables.footnote(found))


def _place(record: Record) -> tuple:
    return tuple(record[name] for name in PLACE)


def _spelled(c: Configuration) -> str:
    tables = ", tables by rows" if c.shard_tables else ""
    return f"{c.model}, {c.form}, {c.devices} devices in {c.processes} processes, {c.mode}{tables}"
