"""Plots of the optimizers' study: performance profiles, and learning curves."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import plot
from benchmarks.tables import Record


Pair = tuple[str, str, str]  # side, workload, optimizer
FACTORS = [10 ** (step / 50) for step in range(0, 51)]  # of the best: 1 to 10


def draw(
    records: Sequence[Record],
    reached: Mapping[Pair, tuple[float, float]],
    curves: Mapping[tuple[str, str], Mapping[str, Sequence[tuple[float, float]]]],
) -> list[Path]:
    profiles, learning = plot.path("optimizers", records), plot.path("optimizers-curves", records)
    sides = sorted({side for side, _, _ in reached})
    with plot.drawn(records, profiles, 11.0) as (figure, device):
        panels = figure.subplots(1, len(sides), squeeze=False)[0]
        for panel, side in zip(panels, sides, strict=True):
            found = profile({key[1:]: steps for key, (steps, _) in reached.items() if key[0] == side})
            order = sorted(found, key=lambda name: (-sum(found[name]), name))
            for number, name in enumerate(order):
                panel.step(FACTORS, found[name], where="post", label=name, **_style(number))
            panel.set(xscale="log", xlabel="steps to the target over those of the best", ylim=(-0.03, 1.03))
            panel.set_title({"dense": "dense weights", "rows": "tables"}[side], fontsize=9)
            panel.set_xticks([1, 2, 5, 10], ["1", "2", "5", "10"])
            panel.minorticks_off()
            panel.grid(alpha=0.3)
            panel.legend(fontsize=6, loc="center left", bbox_to_anchor=(1.0, 0.5))
        panels[0].set_ylabel("share of the workloads")
        figure.suptitle(device, fontsize=9)
    with plot.drawn(records, learning, 14.0) as (figure, device):
        columns = min(4, len(curves))
        lines = -(-len(curves) // columns)
        figure.set_figheight(3.0 * lines + 0.6)
        panels = figure.subplots(lines, columns, squeeze=False).reshape(-1)
        metrics = {(record["side"], record["workload"]): record["metric"] for record in records}
        for panel, (key, made) in zip(panels, sorted(curves.items()), strict=False):
            for number, (name, points) in enumerate(sorted(made.items())):
                panel.plot(*zip(*points, strict=True), label=name, **_style(number))
            panel.set_title(f"{key[1]}: {'dense weights' if key[0] == 'dense' else 'tables'} varied", fontsize=8)
            panel.set(xlabel="steps", ylabel=metrics[key])
            panel.grid(alpha=0.3)
            panel.legend(fontsize=5)
        for panel in panels[len(curves) :]:
            panel.axis("off")
        figure.suptitle(f"Validation rows, the best rate of each; {device}", fontsize=9)
    return [profiles, learning]


def profile(steps: Mapping[tuple[str, str], float]) -> dict[str, list[float]]:
    """By optimizer the share of workloads whose target it reaches in at most a factor of the best one's steps, for each
    of FACTORS (Dolan and More 2002)."""
    best: dict[str, float] = {}
    for (workload, _), value in steps.items():
        best[workload] = min(value, best.get(workload, math.inf))
    names = sorted({name for _, name in steps})
    return {
        name: [
            sum(steps.get((w, name), math.inf) <= factor * best[w] < math.inf for w in best) / len(best)
            for factor in FACTORS
        ]
        for name in names
    }


def _style(number: int) -> dict:
    return {"color": f"C{number % 10}", "linestyle": ["-", "--", ":"][number // 10 % 3], "linewidth": 1.0}
