"""One plot of the lessons, a panel a study."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import lesson_tables, plot
from benchmarks.tables import Record


def draw(records: Sequence[Record]) -> Path:
    path = plot.path("lessons", records)
    studies: dict[str, dict[Any, list[Record]]] = {}
    for (study, value), runs in lesson_tables.groups(records).items():
        kept = [record for record in runs if not record.get("diverged")]
        if kept:
            studies.setdefault(study, {})[value] = kept
    columns = min(4, len(studies))
    lines = -(-len(studies) // columns)
    with plot.drawn(records, path, 3.4 * columns) as (figure, device):
        figure.set_figheight(2.9 * lines + 0.5)
        panels = figure.subplots(lines, columns, squeeze=False).reshape(-1)
        for panel, (study, groups) in zip(panels, studies.items(), strict=False):
            first = next(iter(groups.values()))[0]
            kind = _folds if "folds" in first else _means if "means" in first else _epochs if "test" in first else _ends
            kind(panel, groups)
            panel.set_title(f"{study}: {first['model']}, {first['data']}", fontsize=8)
            panel.set_ylabel(first["metric"])
            panel.grid(alpha=0.3)
            panel.legend(fontsize=6)
        for panel in panels[len(studies) :]:
            panel.axis("off")
        figure.suptitle(device, fontsize=9)
    return path


def _ends(panel: Any, groups: dict[Any, list[Record]]) -> None:
    """What is reached on training and on validation rows, against the setting."""
    values = sorted(groups)
    for part in ("train", "valid"):
        reached = [[record[part][record["metric"]] for record in groups[value]] for value in values]
        label = {"train": "training rows", "valid": "validation rows"}[part]
        _bars(panel, values, reached, label)
    _scaled(panel, values, groups)


def _epochs(panel: Any, groups: dict[Any, list[Record]]) -> None:
    """Validation rows after each epoch, a line a value, the best marked."""
    for value, runs in groups.items():
        epochs = [epoch for epoch, _ in runs[0]["points"]]
        means = [statistics.mean(record["points"][place][1] for record in runs) for place in range(len(epochs))]
        [line] = panel.plot(epochs, means, label=f"{runs[0]['varied']} {value}", linewidth=1.0)
        best = min(range(len(epochs)), key=lambda place: lesson_tables.signed(runs[0], means[place]))
        panel.plot(epochs[best], means[best], "o", color=line.get_color(), markersize=4)
    panel.set_xlabel("epochs")


def _folds(panel: Any, groups: dict[Any, list[Record]]) -> None:
    values = sorted(groups)
    _bars(panel, values, [[f for record in groups[value] for f in record["folds"]] for value in values], "folds")
    panel.plot(
        values, [statistics.mean(r["valid"] for r in groups[v]) for v in values], "s--", label="other rows", ms=3
    )
    _scaled(panel, values, groups)


def _means(panel: Any, groups: dict[Any, list[Record]]) -> None:
    for value, runs in groups.items():
        numbers = range(1, 1 + len(runs[0]["means"]))
        means = [statistics.mean(record["means"][number - 1] for record in runs) for number in numbers]
        panel.plot(numbers, means, "o-", label=str(value), markersize=2, linewidth=1.0)
    panel.set_xlabel("models whose mean is taken")


def _bars(panel: Any, values: Sequence[Any], reached: Sequence[Sequence[float]], label: str) -> None:
    spreads = [statistics.stdev(own) if len(own) > 1 else 0.0 for own in reached]
    panel.errorbar(values, [statistics.mean(own) for own in reached], spreads, fmt="o-", label=label, ms=3, capsize=2)


def _scaled(panel: Any, values: Sequence[Any], groups: dict[Any, list[Record]]) -> None:
    varied = next(iter(groups.values()))[0]["varied"]
    panel.set_xlabel(varied.rpartition(".")[2].replace("_", " "))
    if varied == "batch_size":
        panel.set_xscale("log", base=2)
        panel.set_xticks(values, [str(value) for value in values])
