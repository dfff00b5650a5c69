"""What models reach, as tables: claims with their bars and baselines, and the trees beside them.

Pure functions of the records of the suites quality and trees.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence

from benchmarks.claims import Claim, Published
from benchmarks.tables import Record, Table, footnote, mean_and_spread, newest


def quality(records: Sequence[Record], claims: Sequence[Claim]) -> Table:
    """A line a claim: mean over seeds, ± standard deviation where there are several.

    Among the records may be those of the trees suite: claims on the same rows that have bars state their gap to them.
    """
    lines, used, single = [], [], False
    for claim, runs in _of_claims(records, claims):
        used += runs
        single |= len(runs) == 1
        metrics = [f"{name} {mean_and_spread([_metrics(record)[name] for record in runs])}" for name in claim.metrics]
        seconds = _seconds(runs)
        lines.append(
            (
                f"{runs[0]['model']}/{runs[0]['recipe']}",
                f"{runs[0]['data']} ({'; '.join(filter(None, (runs[0]['split'], claim.note)))})",
                ", ".join(metrics),
                "; ".join(
                    [_published(entry) for entry in claim.published]
                    + _baselines(claim, runs)
                    + _other_claims(claim, records)
                    + _trees(claim, runs, records)
                )
                or "-",
                f"{seconds:.1f}" if seconds else "-",
            )
        )
    header = ("model/recipe", "data (split)", "reached", "to compare", "seconds to train")
    return Table(header, tuple(lines), footnote(used, _legend(lines, used, single, claims)) if used else "")


def _legend(lines: list, used: Sequence[Record], single: bool, claims: Sequence[Claim]) -> str:
    """What the signs of the table mean, and where the published figures in it are from."""
    seeds = sorted({record["seed"] for record in used})
    several = f"Mean ± standard deviation over seeds {', '.join(map(str, seeds))}"
    text = f"{several}{'; without ±, one seed' if single else ''}." if len(seeds) > 1 else "One seed."
    if any(line[-1] == "-" for line in lines):
        text += " Seconds: -, the machine did other work too."
    shown = {record["claim"] for record in used}
    sources: dict[str, dict[str, None]] = {}
    for entry in (entry for claim in claims if claim.name in shown for entry in claim.published):
        sources.setdefault(entry.source, {})[entry.name] = None
    told = [f"{', '.join(names)}: {source}" for source, names in sources.items()]
    return text + (f" Published figures: {'; '.join(told)}." if told else "")


def expected(records: Sequence[Record], claims: Sequence[Claim]) -> dict[str, list[str]]:
    """What each model/recipe reached on real data, a line a data set."""
    found: dict[str, list[str]] = {}
    for claim, runs in _of_claims(records, claims):
        if claim.data.startswith("simulated"):
            continue
        metrics = [f"{name} {statistics.mean(_metrics(record)[name] for record in runs):.4f}" for name in claim.metrics]
        after = f" in {_seconds(runs):.0f} s" if _seconds(runs) else ""
        found.setdefault(f"{runs[0]['model']}/{runs[0]['recipe']}", []).append(
            f"{claim.data}{f' ({claim.note})' if claim.note else ''}: {', '.join(metrics)}{after}"
        )
    return found


def trees(records: Sequence[Record]) -> Table:
    """A line a data set: what gradient boosted trees reach on its fields."""
    lines = []
    for data, split in sorted({(record["data"], record["split"]) for record in records}):
        runs = _trees_of(records, data, split)
        found = [mean_and_spread([_metrics(record)[name] for record in runs]) for name in ("rmse", "mae")]
        seconds = statistics.mean(_metrics(record)["seconds"] for record in runs)
        lines.append((f"{data} ({split})", *found, f"{seconds:.1f}"))
    return Table(("data (split)", "rmse", "mae", "seconds"), tuple(lines), footnote(records))


def _of_claims(records: Sequence[Record], claims: Sequence[Claim]) -> Iterable[tuple[Claim, list[Record]]]:
    """Each claim that has records, with the newest of each seed."""
    for claim in claims:
        runs = _runs_of_claim(records, claim.name)
        if runs:
            yield claim, runs


def _runs_of_claim(records: Iterable[Record], name: str) -> list[Record]:
    return newest((r for r in records if r.get("claim") == name), lambda record: record["seed"])


def mean_of_claim(records: Iterable[Record], name: str, metric: str) -> float | None:
    """The metric's mean over the newest record of each seed; None for a claim without records."""
    runs = _runs_of_claim(records, name)
    return statistics.mean(_metrics(record)[metric] for record in runs) if runs else None


def _other_claims(claim: Claim, records: Sequence[Record]) -> list[str]:
    """The claims that the claim's bars are stated against, of those that have records."""
    against = dict.fromkeys((bar.claim, bar.metric) for bar in claim.bars if bar.claim)
    found = ((name, mean_of_claim(records, name, metric)) for name, metric in against)
    return [f"{name} {value:.4f}" for name, value in found if value is not None]


def _trees_of(records: Iterable[Record], data: str, split: str) -> list[Record]:
    own = (r for r in records if r.get("suite") == "trees" and (r["data"], r["split"]) == (data, split))
    return newest(own, lambda record: record["seed"])


def _trees(claim: Claim, runs: Sequence[Record], records: Sequence[Record]) -> list[str]:
    """What trees reach on the rows of a claim with bars, and the claim's RMSE less theirs."""
    others = _trees_of(records, runs[0]["data"], runs[0]["split"])
    if not others or not claim.bars or "rmse" not in claim.metrics:
        return []
    ours, theirs = (statistics.mean(_metrics(record)["rmse"] for record in group) for group in (runs, others))
    return [f"scikit-learn's trees {theirs:.4f} (gap {ours - theirs:+.4f})"]


def _seconds(runs: Sequence[Record]) -> float:
    """Mean over the runs, 0 where the machine did other work meanwhile."""
    if any(record.get("busy") for record in runs):
        return 0.0
    return statistics.mean(record["training"]["seconds"] for record in runs)


def _metrics(record: Record) -> Mapping[str, float]:
    return next(iter(record["metrics"].values()))


def _published(entry: Published) -> str:
    return f"{entry.name} {' / '.join(f'{value:.4f}' for value in entry.metrics.values())}"


def _baselines(claim: Claim, runs: Sequence[Record]) -> list[str]:
    """The baselines that the claim's bars are stated against."""
    against = dict.fromkeys((bar.baseline, bar.metric) for bar in claim.bars if bar.baseline)
    return [
        f"{baseline} {statistics.mean(record['baselines'][baseline][metric] for record in runs):.4f}"
        for baseline, metric in against
    ]
