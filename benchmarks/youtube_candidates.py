"""Parts of the suite youtube that are about the candidate generation: `features` (the paper's figure 6), `negatives`,
and `age` (its figure 4)."""

import argparse
import itertools
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import plot
from benchmarks.tables import Record, mean_and_spread, newest
from benchmarks.youtube_candidates_step import AGES, LOSSES, Configuration
from benchmarks.youtube_part import Line, Part


MODULE = "benchmarks.youtube_candidates_step"
DEPTHS = (0, 1, 2, 3)
SETS = {
    "watches": (),
    "+ searches": ("searches",),
    "+ example age": ("searches", "example_age"),
    "all": ("searches", "example_age", "users"),
}
SMALL: dict[str, Any] = {
    "world": {"num_users": 200, "num_videos": 100, "num_watches": 3_000},
    "settings": {"epochs": 1, "batch_size": 256},
}
MANY_VIDEOS: dict[str, Any] = {  # for what is about the number of classes, and about videos of all ages
    "world": {"num_users": 20_000, "num_videos": 2_000, "num_watches": 1_200_000},
    "settings": {"epochs": 2},
}
AGREES = 0.03  # relative, of recall
CORRECTED = [name for name in LOSSES if name != "full" and "no logQ" not in name]


def features(options: argparse.Namespace) -> Iterator[Configuration]:
    """All depths of all features, and the other sets at the largest depth."""
    sizes = SMALL if options.quick else {"settings": {"epochs": 2}, "per_user": 60}
    for name, chosen in reversed(SETS.items()):
        for seed in options.seeds:
            yield Configuration("features", chosen, DEPTHS if name == "all" else DEPTHS[-1:], seed=seed, **sizes)


def negatives(options: argparse.Namespace) -> Iterator[Configuration]:
    sizes = SMALL if options.quick else {**MANY_VIDEOS, "settings": {"epochs": 4}}
    for seed in options.seeds:
        yield Configuration("negatives", SETS["all"], (2,), seed=seed, **sizes)


def age(options: argparse.Namespace) -> Iterator[Configuration]:
    sizes = SMALL if options.quick else MANY_VIDEOS
    for seed in options.seeds:
        yield Configuration("age", (), (2,), seed=seed, **sizes)


def maps(records: Sequence[Record]) -> dict[str, dict[int, list[float]]]:
    """MAP by feature set and depth, a value a seed in the order of the seeds."""
    chosen = newest(records, lambda record: (tuple(record["features"]), record["seed"]))
    found: dict[str, dict[int, list[float]]] = {}
    for name, own in SETS.items():
        runs = sorted((r for r in chosen if tuple(r["features"]) == own), key=lambda record: record["seed"])
        depths = sorted({depth for record in runs for depth in record["depths"]})
        if runs:
            found[name] = {
                depth: [r["runs"][r["depths"].index(depth)]["metrics"]["map"] for r in runs if depth in r["depths"]]
                for depth in depths
            }
    return found


def feature_lines(records: Sequence[Record]) -> list[Line]:
    """MAP as it grows with depth for each feature set, and with features at the largest depth."""
    by_set = maps(records)
    lines = [
        _growth(f"MAP at depth {', '.join(map(str, own))}; {name}", list(own.values()))
        for name, own in by_set.items()
        if len(own) > 1
    ]
    if len(by_set) > 1:
        most = min(max(own) for own in by_set.values())
        values = [own[most] for own in by_set.values()]
        lines.append(_growth(f"MAP at depth {most}: {', '.join(by_set)}", values))
    return lines


def _growth(what: str, values: Sequence[Sequence[float]]) -> Line:
    """Means of the seeds, and each step with its spread over the seeds: world by world, as worlds differ more."""
    steps = [[b - a for a, b in zip(*pair, strict=True)] for pair in itertools.pairwise(values)]
    means = ", ".join(f"{statistics.mean(own):.4f}" for own in values)
    spelled = ", ".join(f"+{mean_and_spread(own)}".replace("+-", "-") for own in steps)
    grown = all(statistics.mean(own) > 0 for own in steps)
    return what, f"{means}; steps {spelled}", "each step up", "met" if grown else "MISSED"


def negative_lines(records: Sequence[Record]) -> list[Line]:
    """Recall of each loss over that of the full softmax, mean and spread of the seeds."""
    chosen = newest(records, lambda record: record["seed"])
    lines: list[Line] = []
    for name in LOSSES if chosen else ():
        own = [record["runs"][name]["metrics"]["recall@10"] for record in chosen]
        full = [record["runs"]["full"]["metrics"]["recall@10"] for record in chosen]
        ratio = [a / b for a, b in zip(own, full, strict=True)]
        asked, verdict = "-", "-"
        if name in CORRECTED:
            asked = f"within {AGREES:.0%}"
            verdict = "met" if abs(statistics.mean(ratio) - 1) <= AGREES else "MISSED"
        values = f"{mean_and_spread(own)}; over full {mean_and_spread(ratio)}"
        lines.append((f"recall@10, softmax {name}", values, asked, verdict))
    return lines


def age_lines(records: Sequence[Record]) -> list[Line]:
    chosen = newest(records, lambda record: record["seed"])
    if not chosen:
        return []
    found = {name: [record[f"distance_{name}"] for record in chosen] for name in ("without", "with")}
    better = all(a < b for a, b in zip(found["with"], found["without"], strict=True))
    what = "total variation from the true shares by upload age, with the example's age and without"
    values = f"{mean_and_spread(found['with'])}, {mean_and_spread(found['without'])}"
    return [(what, values, "less with it, each seed", "met" if better else "MISSED")]


def draw_features(records: Sequence[Record], path: Path) -> None:
    """MAP against depth, a line a feature set, bars of one standard deviation over the worlds."""
    with plot.drawn(records, path, 6.0) as (figure, device):
        panel = figure.subplots()
        for name, own in maps(records).items():
            means = [statistics.mean(values) for values in own.values()]
            spreads = [statistics.stdev(values) if len(values) > 1 else 0.0 for values in own.values()]
            panel.errorbar(list(own), means, spreads, fmt="o-", label=name, markersize=3, capsize=2)
        panel.set(xlabel="layers of the tower", ylabel="MAP of the next watch", xticks=DEPTHS)
        panel.grid(alpha=0.3)
        panel.legend()
        figure.suptitle(f"youtube_candidates on the simulated site; {device}", fontsize=9)


def draw_age(records: Sequence[Record], path: Path) -> None:
    """Shares a day of upload age, means over the worlds."""
    chosen = newest(records, lambda record: record["seed"])
    days = np.diff(AGES)
    with plot.drawn(records, path, 6.0) as (figure, device):
        panel = figure.subplots()
        for name, style in (("true", "k-"), ("with", "C0o-"), ("without", "C1s--")):
            shares = np.mean([record[name] for record in chosen], axis=0) / days
            label = "held-out watches" if name == "true" else f"predicted {name} example age"
            panel.plot(np.array(AGES[:-1]) + days / 2, shares, style, label=label, markersize=3)
        panel.set(xlabel="days since upload", ylabel="share of watches a day", xscale="log", yscale="log")
        panel.grid(alpha=0.3)
        panel.legend()
        figure.suptitle(f"youtube_candidates on the simulated site; {device}", fontsize=9)


PARTS: Mapping[str, Part] = {
    "features": Part(MODULE, features, feature_lines, draw_features),
    "negatives": Part(MODULE, negatives, negative_lines),
    "age": Part(MODULE, age, age_lines, draw_age),
}
