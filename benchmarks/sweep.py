"""python -m benchmarks sweep: a sweep of learning rates as one program, beside its runs one after the other."""

import argparse
import dataclasses

from benchmarks import isolated, optimizer_tables, quality, tables
from benchmarks.sweep_step import Configuration
from zoo import records
from zoo.errors import InputError


BATCHES = (64, 256, 1024, 4096)
RULES = ("sgd", "rowwise_adam")
STEPS = {64: 200, 256: 100, 1024: 50, 4096: 20}  # of a turn


def run(options: argparse.Namespace) -> int:
    reason = quality.absent_data(options.data)
    if reason:
        raise InputError(reason)
    found = []
    for optimizer in RULES:
        for batch in BATCHES[:1] if options.quick else BATCHES:
            steps = 5 if options.quick else STEPS[batch]
            configuration = Configuration(optimizer, batch, steps, options.data)
            measured = isolated.run("benchmarks.sweep_step", configuration)
            named = {"suite": "sweep", **dataclasses.asdict(configuration), "quick": options.quick}
            found.append(named | measured | {"command": records.command()})
            records.append_line(options.records / "sweep.jsonl", found[-1])
            print(f"{optimizer}, batch {batch:,}: done", flush=True)
    tables.show("A sweep as one program", optimizer_tables.sweep(found))
    return 0
