"""python -m benchmarks peers: the zoo beside other packages, at the quality that each reaches."""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import quality, tables
from benchmarks.peers import cnn, ctr, graph, gru4rec, mf, turns
from benchmarks.peers.turns import Bench, Comparison, Unavailable, ask_peer
from zoo import records
from zoo.errors import InputError


COMPARISONS: dict[str, Sequence[Comparison]] = {
    "mf": mf.COMPARISONS,
    "lightgcn": graph.LIGHTGCN,
    "ngcf": graph.NGCF,
    "gru4rec": gru4rec.GRU4REC,
    "cnn": cnn.CNN,
    **ctr.COMPARISONS,
}


def run(options: argparse.Namespace) -> int:
    """Measure, record and judge. A peer that is not there is a record that says why, and no failure."""
    chosen = [comparison for model in options.models for comparison in COMPARISONS[model]]
    if options.only:
        unknown = sorted(set(options.only) - {comparison.name for comparison in chosen})
        if unknown:
            raise InputError(f"unknown comparison {unknown[0]!r}; there are {', '.join(c.name for c in chosen)}")
        chosen = [comparison for comparison in chosen if comparison.name in options.only]
    missing = [reason for comparison in chosen if (reason := no_environment(comparison))]
    if missing and len(missing) == len(chosen):
        raise InputError(missing[0])
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for comparison in chosen:
            python = comparison.folder / "bin" / "python"
            bench = Bench(Path(folder), python, 1 if options.quick else options.repeats, options.quick)
            reason = None if comparison.data == ctr.DATA else quality.absent_data(comparison.data)
            if reason:
                print(f"{comparison.name}: skipped: {reason}")
                continue
            record = compared(comparison, bench)
            records.append_line(options.records / "peers.jsonl", record)
            found.append(record)
            if "unavailable" in record:
                print(f"{comparison.name}: no result: {record['unavailable']}", flush=True)
    for group in tables.by_device(found).values():  # a peer that is not there has the record of a CPU
        tables.show("Beside other packages", tables.peers(group))
    missed = any(not tables.met(figure) for record in found for figure in record.get("figures", ()))
    return 1 if missed and not options.quick else 0


def no_environment(comparison: Comparison) -> str | None:
    """That the environment of a peer is not there, or None."""
    if (comparison.folder / "bin" / "python").exists():
        return None
    return f"there is no {comparison.folder.name}, where {comparison.peer} is: scripts/setup --peers makes it"


def compared(comparison: Comparison, bench: Bench) -> dict[str, Any]:
    """The record of one comparison."""
    record = {"suite": "peers", "comparison": comparison.name, "data": comparison.data, "peer": comparison.peer}
    record |= {"quick": bench.quick, "command": records.command()}
    try:
        if reason := no_environment(comparison):
            raise Unavailable(reason)
        versions = ask_peer(bench, comparison.adapter)["versions"]
        figures, pairs, settings = comparison.run(bench)
    except Unavailable as error:
        return record | {"unavailable": why(comparison, str(error)), "environment": records.environment("cpu")}
    ours, theirs = zip(*pairs)
    return record | {
        "figures": [figure.as_record() for figure in figures],
        "turns": {"ours": [facts(result) for result in ours], "theirs": [facts(result) for result in theirs]},
        "compile_seconds": statistics.median(result["compile_seconds"] for result in ours),
        "settings": settings,
        "versions": versions,
        "environment": ours[-1]["environment"],
    }


def facts(result: turns.Result) -> dict[str, Any]:
    """What is kept of one turn: numbers, metrics and history; settings, versions and environment are said once."""
    return {name: value for name, value in result.items() if name not in ("settings", "versions", "environment")}


def why(comparison: Comparison, reason: str) -> str:
    """The reason, and what the installation said of this peer, if it failed."""
    notes = comparison.folder / "zoo-failed"
    lines = notes.read_text().splitlines() if notes.exists() else []
    said = [line for line in lines if line.startswith(comparison.peer)]
    return "; ".join([reason, *said])
