"""python -m benchmarks quality: run the claims and compare what is reached with their bars."""

import argparse
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import claim_tables, report, tables
from benchmarks.claims import CLAIMS, Bar, Claim
from zoo import records
from zoo.api import run_request
from zoo.data import catalog
from zoo.errors import InputError
from zoo.names import Request


def run(options: argparse.Namespace) -> int:
    missed = False
    for claim in chosen(options.only):
        reason = absent_data(claim.data)
        if reason:
            print(f"{claim.name}: skipped: {reason}")
            continue
        found = []
        for seed in options.seeds:
            record = train(claim, seed) | {"busy": options.busy}
            records.append_line(options.records / "quality.jsonl", record)
            found.append(record)
        recorded, _ = report.read(options.records)
        for bar in claim.bars:
            value, bound = against(bar, found, recorded["quality"])
            passed = holds(bar, value, bound)
            missed |= not passed
            other = bar.baseline or bar.claim
            of = f" ({bar.value:g} x {other})" if other else ""
            verdict = "pass" if passed else "MISSED"
            print(f"{claim.name}: {bar.metric} {value:.4f} {bar.comparison} {bound:.4f}{of}: {verdict}", flush=True)
        tables.show(claim.name, claim_tables.quality(found, [claim]))
    return 1 if missed else 0


def chosen(names: Sequence[str] | None) -> list[Claim]:
    unknown = sorted(set(names or ()) - {claim.name for claim in CLAIMS})
    if unknown:
        raise InputError(f"unknown claim {unknown[0]!r}; there are {', '.join(claim.name for claim in CLAIMS)}")
    return [claim for claim in CLAIMS if names is None or claim.name in names]


def absent_data(data: str) -> str | None:
    """Why a data set, named as in `--data`, cannot be read here, or None."""
    dataset = catalog.find(data.partition(":")[0])
    if catalog.is_here(dataset):
        return None
    return f"data set {dataset.name} is not here; zoo data says how to get it"


def train(claim: Claim, seed: int) -> dict[str, Any]:
    """The zoo's own record of one run, marked with the claim."""
    request = Request(claim.model, claim.data, claim.split, seed=seed, settings=claim.settings)
    with tempfile.TemporaryDirectory() as folder:
        run = run_request(request, folder=Path(folder) / "run", quiet=False)
    return {"suite": "quality", "claim": claim.name, **run.record}


def against(
    bar: Bar, found: Sequence[Mapping[str, Any]], recorded: Sequence[Mapping[str, Any]] = ()
) -> tuple[float, float]:
    """The metric's mean over the runs, and what the bar asks of it; `recorded` are the records of all claims."""
    value = statistics.mean(next(iter(record["metrics"].values()))[bar.metric] for record in found)
    if bar.claim is not None:
        reference = claim_tables.mean_of_claim(recorded, bar.claim, bar.metric)
        if reference is None:
            raise InputError(f"claim {bar.claim} has no record to compare with: quality --only {bar.claim} makes one")
        return value, bar.value * reference
    if bar.baseline is None:
        return value, bar.value
    reference = statistics.mean(record["baselines"][bar.baseline][bar.metric] for record in found)
    return value, bar.value * reference


def holds(bar: Bar, value: float, bound: float) -> bool:
    return {">=": value >= bound, "<=": value <= bound}[bar.comparison]
