"""Parts of the suite youtube about the ranking: its layers (the paper's table 1), and what lists bring by policy."""

import argparse
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks import plot, tables
from benchmarks.tables import Record
from benchmarks.youtube_part import Line, Part
from benchmarks.youtube_policies_step import Policies
from benchmarks.youtube_ranking_step import TOWERS, Ranking


# Beside the towers, all on the last of them.
BESIDE = {"equal weights": "equal weights", "no powers": "no squares or roots"}
PAPER = (0.416, 0.369, 0.367, 0.358, 0.352, 0.347, 0.346)  # table 1, tower by tower
PAPER_BESIDE = {"equal weights": 0.387, "no powers": 0.348}  # 34.6 % and 4.1 or 0.2 points
SMALL = "num_users=300,num_videos=150,num_watches=6000"
WORLD = "num_users=5000,num_videos=2000,num_watches=300000"  # the default
POLICIES = {
    "funnel": "funnel",
    "clicks": "ranked by clicks",
    "candidates": "candidates",
    "popularity": "popularity",
    "best_of_candidates": "best of candidates",
    "oracle": "oracle",
}


def rankings(options: argparse.Namespace) -> Iterator[Ranking]:
    for seed in options.seeds[:1] if options.quick else options.seeds:
        world = f"simulated:{SMALL if options.quick else WORLD},seed={seed}"
        yield Ranking(world, {"epochs": 1} if options.quick else {}, seed=seed)


def policies(options: argparse.Namespace) -> Iterator[Policies]:
    for seed in options.seeds[:1] if options.quick else options.seeds:
        world = f"simulated:{SMALL},seed={seed}" if options.quick else f"simulated:seed={seed}"
        yield Policies(world, "youtube/smoke" if options.quick else "youtube/watch", seed=seed)


def ranking_lines(found: Sequence[Record]) -> list[Line]:
    """A line a tower, against the one before it; what stands beside; the calibration of the last tower."""
    chosen = _by_seed(found)
    if not chosen:
        return []
    values = {name: [record["runs"][name]["weighted_user_loss"] for record in chosen] for name in chosen[0]["runs"]}
    lines, before = [], None
    for name, paper in zip(TOWERS, PAPER, strict=True):
        own = values[name]
        asked = "" if before is None else f"at most {statistics.mean(before):.4f} + {_spread(before, own):.4f}"
        good = before is None or statistics.mean(own) <= statistics.mean(before) + _spread(before, own)
        label = f"weighted user loss, hidden layers {name} (paper {paper:.3f})"
        lines.append((label, tables.mean_and_spread(own), asked, _verdict(good) if asked else ""))
        before = own
    first, last = (values[name] for name in (next(iter(TOWERS)), list(TOWERS)[-1]))
    gain = [a - b for a, b in zip(first, last, strict=True)]
    asked = f"above {_spread(gain, gain):.4f}"
    good = statistics.mean(gain) > _spread(gain, gain)
    lines.append(("what the layers take off it", tables.mean_and_spread(gain), asked, _verdict(good)))
    for name, text in BESIDE.items():
        label = f"weighted user loss, {text} (paper {PAPER_BESIDE[name]:.3f})"
        lines.append((label, tables.mean_and_spread(values[name]), "", ""))
    truth = [record["runs"][list(TOWERS)[-1]] for record in chosen]
    oracle = [record["oracle"] for record in chosen]
    lines.append(("weighted user loss of the true odds", tables.mean_and_spread(oracle), "", ""))
    whole, worst = ([run[name] for run in truth] for name in ("odds_calibration", "odds_calibration_worst"))
    good = max(abs(value - 1) for value in whole) <= 0.1
    lines.append(("promised / true odds", tables.mean_and_spread(whole), "within 10 % each", _verdict(good)))
    good = max(abs(value - 1) for value in worst) <= 0.25
    lines.append(("its worst tenth", tables.mean_and_spread(worst), "within 25 % each", _verdict(good)))
    seconds = [run["seconds_calibration"] for run in truth]
    lines.append(("promised / expected seconds", tables.mean_and_spread(seconds), "", ""))
    return lines


def policy_lines(found: Sequence[Record]) -> list[Line]:
    """Expected watch seconds of a list, as a share of the oracle's, a line a policy."""
    chosen = _by_seed(found)
    if not chosen:
        return []
    shares = {name: [record["lists"][name]["share_of_oracle"] for record in chosen] for name in POLICIES}
    lines = []
    for name, text in POLICIES.items():
        asked, verdict = "", ""
        if name == "funnel":
            asked, verdict = "0.85", _verdict(statistics.mean(shares[name]) >= 0.85)
        elif name in ("clicks", "candidates", "popularity"):
            above = [a - b for a, b in zip(shares["funnel"], shares[name], strict=True)]
            asked = "below the funnel by more than the spread"
            verdict = _verdict(statistics.mean(above) > _spread(shares["funnel"], shares[name]))
        lines.append(
            (f"share of the oracle's watch time, {text}", tables.mean_and_spread(shares[name]), asked, verdict)
        )
    return lines


def draw_ranking(found: Sequence[Record], path: Path) -> None:
    """Weighted user loss by hidden layers beside the paper's, and promised / true odds by tenth."""
    chosen = _by_seed(found)
    with plot.drawn(chosen, path, 8.5) as (figure, device):
        left, right = figure.subplots(1, 2)
        names = list(TOWERS)
        runs = [[record["runs"][name] for record in chosen] for name in names]
        values = [[run["weighted_user_loss"] for run in own] for own in runs]
        means, spreads = [statistics.mean(own) for own in values], [_spread(own, own) for own in values]
        left.errorbar(names, means, spreads, fmt="o-", markersize=3, capsize=2, label="simulated site")
        left.axhline(statistics.mean(record["oracle"] for record in chosen), color="grey", linestyle=":", label="truth")
        left.plot(names, PAPER, "s--", markersize=3, color="C1", label="paper")
        left.tick_params(axis="x", rotation=45)
        left.set(ylabel="weighted user loss", xlabel="hidden layers")
        left.legend()
        for record in chosen:
            tenths = [record["runs"][names[-1]][f"odds_calibration_{i}"] for i in range(1, 11)]
            right.plot(range(1, 11), tenths, "o-", markersize=3, label=f"world {record['seed']}")
        right.axhspan(0.75, 1.25, alpha=0.1, color="grey")
        right.set(ylabel="promised / true odds", xlabel=f"tenth of promises, {names[-1]}", ylim=(0, 2))
        right.legend()
        for panel in (left, right):
            panel.grid(alpha=0.3)
        figure.suptitle(f"youtube_ranking on the simulated site; {device}", fontsize=9)


def draw_policies(found: Sequence[Record], path: Path) -> None:
    chosen = _by_seed(found)
    with plot.drawn(chosen, path, 6.0) as (figure, device):
        panel = figure.subplots()
        lists = {name: [record["lists"][name]["expected_watch_seconds"] for record in chosen] for name in POLICIES}
        ordered = sorted(POLICIES, key=lambda name: statistics.mean(lists[name]))
        means = [statistics.mean(lists[name]) for name in ordered]
        spreads = [_spread(lists[name], lists[name]) for name in ordered]
        panel.barh([POLICIES[name] for name in ordered], means, xerr=spreads, capsize=2)
        panel.set(xlabel=f"expected watch seconds of a list of 10, {len(chosen)} worlds")
        figure.suptitle(f"The funnel on the simulated site; {device}", fontsize=9)


def _by_seed(found: Sequence[Record]) -> list[Record]:
    """The newest record of each seed."""
    return sorted(tables.newest(found, lambda record: record["seed"]), key=lambda record: record["seed"])


def _spread(one: Sequence[float], other: Sequence[float]) -> float:
    """The larger standard deviation over seeds, 0 of one seed."""
    return max(statistics.stdev(values) if len(values) > 1 else 0.0 for values in (one, other))


def _verdict(good: bool) -> str:
    return "pass" if good else "MISSED"


PARTS: Mapping[str, Part] = {
    "ranking": Part("benchmarks.youtube_ranking_step", rankings, ranking_lines, draw_ranking),
    "policies": Part("benchmarks.youtube_policies_step", policies, policy_lines, draw_policies),
}
