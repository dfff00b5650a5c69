"""What the records of the lessons say, as one table. Pure functions of them."""

import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks import tables
from benchmarks.tables import Record, Table
from zoo.recipe import LOWER_IS_BETTER


def identity(record: Record) -> tuple:
    return tuple(record[name] for name in ("study", "data", "value", "learning_rate", "seed"))


def best_trial(found: Sequence[Record]) -> Record | None:
    """Of the runs with seed 0 that did not diverge, the one with the best value on validation rows."""
    whole = [record for record in found if record["seed"] == 0 and not record["diverged"]]
    return min(whole, key=lambda r: signed(r, r["valid"][r["metric"]]), default=None)


def signed(record: Record, value: float) -> float:
    """The lower the better."""
    return value if record["metric"] in LOWER_IS_BETTER else -value


def groups(found: Sequence[Record]) -> dict[tuple[str, Any], list[Record]]:
    """By study and value the runs of its seeds, in the order of the records; of several rates the best."""
    chosen = tables.newest(found, identity)
    held: dict[tuple[str, Any], list[Record]] = {}
    for record in found:
        held.setdefault((record["study"], record["value"]), [])
    for key, runs in held.items():
        own = [record for record in chosen if (record["study"], record["value"]) == key]
        best = best_trial(own)
        runs += [r for r in own if r["seed"] > 0 and (best is None or r["learning_rate"] == best["learning_rate"])]
    return {key: runs for key, runs in held.items() if runs}


def best_epoch(record: Record) -> float:
    return min(record["points"], key=lambda point: signed(record, point[1]))[0]


def table(found: Sequence[Record]) -> Table:
    """A line a study and value."""
    lines = []
    for (study, value), runs in groups(found).items():
        first = runs[0]
        name, spelled = f"{first['model']}, {first['data']}", f"{value:g}" if isinstance(value, float) else f"{value}"
        where = f"{first['varied']} {spelled}" if "varied" in first else spelled
        lines.append((study, name, where, first["metric"], *_found(runs)))
    header = ("study", "model, data", "setting", "metric", "training rows", "validation rows", "gap", "and")
    seeds = sorted({record["seed"] for record in found if record["seed"]})
    text = f"Mean ± standard deviation over seeds {', '.join(map(str, seeds))}."
    return Table(header, tuple(lines), tables.footnote(found, text))


def _found(runs: Sequence[Record]) -> tuple[str, str, str, str]:
    """Training rows, validation rows, gap, and what is special to the kind of study."""
    first = runs[0]
    if "folds" in first:
        folds = [value for record in runs for value in record["folds"]]
        mean, spread = statistics.mean(folds), statistics.mean(statistics.stdev(r["folds"]) for r in runs)
        valid = tables.mean_and_spread([record["valid"] for record in runs])
        return "-", valid, "-", f"mean of {len(first['folds'])} folds {mean:.4f}, deviation of a fold {spread:.4f}"
    if "means" in first:
        alone = statistics.mean(value for record in runs for value in record["members"])
        several = [statistics.mean(r["means"][count - 1] for r in runs) for count in counts(runs)]
        means = ", ".join(f"{count}: {value:.4f}" for count, value in zip(counts(runs), several, strict=True))
        return "-", f"{alone:.4f}", "-", f"mean of {means}"
    lost = sum(record["diverged"] for record in runs)
    if lost:
        return "-", "-", "-", f"{lost} of {len(runs)} diverged"
    train, valid = ([record[part][first["metric"]] for record in runs] for part in ("train", "valid"))
    gaps = [signed(first, other) - signed(first, own) for own, other in zip(train, valid, strict=True)]
    more = f"rate {first['learning_rate']:g}"
    if "test" in first:
        epochs = ", ".join(f"{best_epoch(record):g}" for record in runs)
        best, last = (tables.mean_and_spread([r["test"][name] for r in runs]) for name in ("best", "last"))
        more = f"best epoch {epochs}; test there {best}, after {first['points'][-1][0]:g} epochs {last}"
    return tables.mean_and_spread(train), tables.mean_and_spread(valid), tables.mean_and_spread(gaps), more


def counts(runs: Sequence[Record]) -> list[int]:
    """1, 2, 4, ... models, and all."""
    most = len(runs[0]["means"])
    return [*(2**power for power in range(most.bit_length()) if 2**power < most), most]
