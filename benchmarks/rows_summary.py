"""What the rows records say: how a step grows with the table, and how much faster it is than the dense form."""

import math
from collections.abc import Mapping, Sequence

from benchmarks.tables import Record, Table, newest, short


SMALL, LARGE, COMPARED = 100_000, 10_000_000, 1_000_000
GROWTH = {"rowwise_adagrad": 2.0, "adam": 2.0, "rowwise_adam": None}  # a step at LARGE over one at SMALL, at most
SPEED_UP = {"adam": 5.0, "adagrad": 8.0, "sgd": None}  # of the form by rows over the dense form at COMPARED, at least

Steps = Mapping[int, float]  # rows of the item table -> median step_ms


def verdicts(records: Sequence[Record]) -> Table:
    """Growth, speed-up and crossover by skew and allocator, each against its target.

    The dense form is the fastest of its allocators at each size; the form by rows is held to the allocator named.
    """
    lines = []
    for zipf in sorted({record["zipf"] for record in records}, reverse=True):
        for allocator in dict.fromkeys(record["allocator"] for record in records):
            where = ("uniform" if zipf == 0 else f"Zipf {zipf:g}", allocator)
            for optimizer, target in GROWTH.items():
                ratio = growth(steps_of(records, optimizer, zipf, allocator))
                if ratio is not None:
                    name = f"{optimizer}: {short(LARGE)} over {short(SMALL)} rows"
                    lines.append((name, *where, f"{ratio:.2f}", *_judged(target, ratio, "<=")))
            for optimizer, target in SPEED_UP.items():
                rows, dense = steps_of(records, optimizer, zipf, allocator), best_dense(records, optimizer, zipf)
                if COMPARED in rows and COMPARED in dense:
                    ratio = dense[COMPARED] / rows[COMPARED]
                    name = f"{optimizer}: dense over by rows at {short(COMPARED)}"
                    lines.append((name, *where, f"{ratio:.1f}", *_judged(target, ratio, ">=")))
                if rows.keys() & dense.keys():
                    lines.append(
                        (f"{optimizer}: rows below which dense is faster", *where, crossover(rows, dense), "-", "-")
                    )
    return Table(("what", "ids", "allocator", "found", "target", "verdict"), tuple(lines))


def steps_of(records: Sequence[Record], optimizer: str, zipf: float, allocator: str) -> dict[int, float]:
    own = (r for r in records if (r["optimizer"], r["zipf"], r["allocator"]) == (optimizer, zipf, allocator))
    chosen = newest(own, lambda record: record["items"])
    return {record["items"]: record["step_ms"]["median"] for record in sorted(chosen, key=lambda r: r["items"])}


def best_dense(records: Sequence[Record], optimizer: str, zipf: float) -> dict[int, float]:
    """The dense form under the allocator that suits it best, size by size."""
    best: dict[int, float] = {}
    for allocator in {record["allocator"] for record in records}:
        for items, step in steps_of(records, f"dense_{optimizer}", zipf, allocator).items():
            best[items] = min(step, best.get(items, math.inf))
    return best


def growth(steps: Steps) -> float | None:
    return steps[LARGE] / steps[SMALL] if LARGE in steps and SMALL in steps else None


def crossover(rows: Steps, dense: Steps) -> str:
    """The table size at which both forms take as long, on straight lines between the logarithms measured."""
    sizes = sorted(rows.keys() & dense.keys())
    gains = [math.log(dense[size] / rows[size]) for size in sizes]
    if gains[0] >= 0:
        return f"under {short(sizes[0])}"
    for index in range(1, len(sizes)):
        below, above = gains[index - 1], gains[index]
        if above >= 0:
            share = -below / (above - below)
            size = math.exp(math.log(sizes[index - 1]) + share * math.log(sizes[index] / sizes[index - 1]))
            return f"{float(f'{size:.2g}'):,.0f}"
    return f"over {short(sizes[-1])}"


def _judged(target: float | None, value: float, comparison: str) -> tuple[str, str]:
    if target is None:
        return "-", "-"
    met = value <= target if comparison == "<=" else value >= target
    return f"{comparison} {target:g}", "met" if met else "MISSED"
