"""What the records of the optimizers' study say: targets, steps and seconds to them, tables. Pure functions of them."""

import statistics
from collections.abc import Sequence

from benchmarks import tables
from benchmarks.tables import Record, Table
from zoo.recipe import LOWER_IS_BETTER


BASELINE = "adam"
TARGET_SHARE = 0.75  # of the steps: the target is the best that the baseline reaches in them, the median over its seeds


def identity(record: Record) -> tuple:
    return tuple(record[name] for name in ("side", "workload", "optimizer", "learning_rate", "seed", "steps"))


def best_trial(lines: Sequence[Record]) -> Record | None:
    """Of the runs with seed 0 that did not diverge, the one with the best value at any of its points."""
    whole = [record for record in lines if record["seed"] == 0 and not record["diverged"]]
    return max(whole, key=_best, default=None)


def _best(record: Record, until: float = 1.0) -> float:
    """The best value in a share of the steps, its sign turned where lower is better."""
    steps = until * record["points"][-1][0]
    return max(_sign(record) * value for at, value in record["points"] if at <= steps)


def _sign(record: Record) -> float:
    return -1.0 if record["metric"] in LOWER_IS_BETTER else 1.0


Key = tuple[str, str]  # side, workload


def finals(found: Sequence[Record]) -> dict[tuple[str, str, str], list[Record]]:
    """By side, workload and optimizer the runs of its seeds at its best rate; without seeds its best trial."""
    chosen = {}
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for record in tables.newest(found, identity):
        groups.setdefault((record["side"], record["workload"], record["optimizer"]), []).append(record)
    for key, lines in groups.items():
        best = best_trial(lines)
        if best is not None:
            others = [r for r in lines if r["seed"] > 0 and r["learning_rate"] == best["learning_rate"]]
            chosen[key] = [record for record in others if record["points"]] or [best]
    return chosen


def targets(found: Sequence[Record]) -> dict[Key, float]:
    """What is to be reached on validation rows, where the baseline was run."""
    return {
        (side, workload): statistics.median(_sign(r) * _best(r, TARGET_SHARE) for r in lines)
        for (side, workload, optimizer), lines in finals(found).items()
        if optimizer == BASELINE
    }


def steps_to(record: Record, target: float) -> float:
    """Steps until a point that is as good as the target; infinite where none is."""
    sign = _sign(record)
    return next((at for at, value in record["points"] if sign * value >= sign * target), float("inf"))


def to_target(found: Sequence[Record]) -> dict[tuple[str, str, str], tuple[float, float]]:
    """The median over seeds of the steps to the target, and seconds: so many steps of the pair's own median step."""
    goal, reached = targets(found), {}
    for key, lines in finals(found).items():
        if key[:2] in goal:
            steps = statistics.median(steps_to(record, goal[key[:2]]) for record in lines)
            ms = statistics.median(r["step_ms"] for r in found if _pair_of(r) == key and r["step_ms"])
            reached[key] = steps, steps * ms / 1e3
    return reached


def curves(found: Sequence[Record]) -> dict[Key, dict[str, list[tuple[float, float]]]]:
    """By side and workload, each optimizer's mean value over seeds against the steps."""
    made: dict[Key, dict[str, list[tuple[float, float]]]] = {}
    for (side, workload, optimizer), lines in finals(found).items():
        by_step: dict[int, list[float]] = {}
        for record in lines:
            for steps, value in record["points"]:
                by_step.setdefault(steps, []).append(value)
        points = [(float(steps), statistics.mean(values)) for steps, values in sorted(by_step.items())]
        made.setdefault((side, workload), {})[optimizer] = points
    return made


def _pair_of(record: Record) -> tuple[str, str, str]:
    return record["side"], record["workload"], record["optimizer"]


def table(found: Sequence[Record]) -> Table:
    """A line for each side, workload and optimizer, the fastest to the target first."""
    goal, reached, chosen = targets(found), to_target(found), finals(found)
    grids = {key: [r["learning_rate"] for r in found if _pair_of(r) == key and r["seed"] == 0] for key in chosen}
    lines = []
    for key in sorted(chosen, key=lambda key: (*key[:2], reached.get(key, (float("inf"),))[0], key[2])):
        runs, rate = chosen[key], chosen[key][0]["learning_rate"]
        steps, seconds = reached.get(key, (float("inf"), float("inf")))
        tests = [record["test"] for record in runs if record["test"] is not None]
        at_edge = len(grids[key]) > 1 and rate in (min(grids[key]), max(grids[key]))
        lines.append(
            (
                _varied(key),
                *key[1:],
                f"{rate:g}" + (" (edge)" if at_edge else ""),
                "not reached" if steps == float("inf") else f"{steps:,.0f}",
                "-" if steps == float("inf") else f"{seconds:.1f}",
                f"{statistics.mean(_sign(r) * _best(r) for r in runs):.4f}",
                tables.mean_and_spread(tests) if tests else "-",
            )
        )
    for key in sorted({_pair_of(record) for record in found} - set(chosen)):
        lines.append((_varied(key), *key[1:], "diverged at each", "not reached", "-", "-", "-"))
    header = (
        "varied",
        "workload",
        "optimizer",
        "rate",
        "steps to target",
        "s",
        "best on validation",
        "at the end, test",
    )
    spelled = "; ".join(f"{workload} ({side}) {value:.4f}" for (side, workload), value in sorted(goal.items()))
    return Table(header, tuple(lines), tables.footnote(found, f"Targets on validation rows: {spelled or 'none'}."))


def _varied(key: tuple[str, str, str]) -> str:
    return "dense weights" if key[0] == "dense" else "tables"


def sweep(found: Sequence[Record]) -> Table:
    """A line an optimizer and batch: milliseconds of a step of all trials, and how many times as fast as one by one."""
    chosen = tables.newest(found, lambda record: (record["optimizer"], record["batch_size"]))
    lines = []
    for record in sorted(chosen, key=lambda record: (record["optimizer"] != "sgd", record["batch_size"])):
        one_by_one = record["one_by_one_ms"]
        cells = [record["optimizer"], f"{record['batch_size']:,}", f"{statistics.median(one_by_one):.3f}"]
        for way in ("together_ms", "divided_ms"):
            ratios = [one / other for one, other in zip(one_by_one, record[way], strict=True)]
            spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            cells += [f"{statistics.median(record[way]):.3f}", spread]
        lines.append((*cells, f"{record['difference']:.0e}"))
    header = ("optimizer", "batch", "one by one, ms a step", "vmap, ms", "times as fast")
    header += ("divided over devices, ms", "times as fast", "weights apart by")
    what = f"{chosen[0]['trials']} rates of {chosen[0]['model']}; {chosen[0]['devices']} devices."
    return Table(header, tuple(lines), tables.footnote(found, what))
