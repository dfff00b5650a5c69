"""python -m benchmarks streaming: a Parquet file trained in memory, and streamed within half of that memory."""

import argparse
import dataclasses
import tempfile
from typing import Any

from benchmarks import isolated, streaming_file, streaming_step, tables
from benchmarks.streaming_step import Configuration
from zoo import records
from zoo.memory import readable


ROW_BYTES = 21  # of the file, about: to turn --size into a number of rows
LEAST_RATE = 0.5  # of the in-memory rate
LEAST_LIMIT = 3 * 2**30  # of address space: Python, JAX and polars reserve most of it before there is any data
TIMEOUT_S = 4 * 3600


def run(options: argparse.Namespace) -> int:
    """Write the file, train on it in two children, record both; exit status 1 if streaming is too slow."""
    size = 2**27 if options.quick else int(options.size * 2**30)
    with tempfile.TemporaryDirectory(prefix="zoo-streaming-") as folder:
        file = streaming_file.Configuration(f"{folder}/watches.parquet", rows=size // ROW_BYTES, seed=options.seed)
        written = isolated.run("benchmarks.streaming_file", file, timeout_s=TIMEOUT_S)
        print(f"{file.rows:,} rows, {readable(written['file_bytes'])}, in {written['seconds']:.0f} s", flush=True)
        memory = child(Configuration(file.path, f"{folder}/memory", stream=False, seed=options.seed))
        limit = max(memory["peak_memory_bytes"] // 2, LEAST_LIMIT)
        stream = child(Configuration(file.path, f"{folder}/stream", stream=True, limit=limit, seed=options.seed))
    environment = stream.pop("environment")
    memory.pop("environment")
    record: dict[str, Any] = {
        "suite": "streaming",
        "model": streaming_step.MODEL,
        **{name: value for name, value in dataclasses.asdict(file).items() if name != "path"},
        "quick": options.quick,
        "file_bytes": written["file_bytes"],
        "limit_bytes": limit,
        "memory": memory,
        "stream": stream,
        "rate": stream["examples_per_second"] / memory["examples_per_second"],
        "environment": environment,
        "command": records.command(),
    }
    records.append_line(options.records / "streaming.jsonl", record)
    tables.show("One epoch in memory and streamed", tables.streaming([record]))
    return 0 if record["rate"] >= LEAST_RATE else 1


def child(configuration: Configuration) -> dict[str, Any]:
    found = isolated.run("benchmarks.streaming_step", configuration, timeout_s=TIMEOUT_S)
    print(
        f"{'streamed' if configuration.stream else 'in memory'}: {found['examples_per_second']:,.0f} examples/s, "
        f"{found['seconds']:.0f} s in all, peak {readable(found['peak_memory_bytes'])}",
        flush=True,
    )
    return found
