"""Parts of the suite youtube about cost: a training step by the number of videos, and one user served."""

import argparse
import dataclasses
import statistics
from collections.abc import Iterator, Mapping, Sequence

from benchmarks import tables
from benchmarks.tables import Record
from benchmarks.youtube_cost_step import Cost
from benchmarks.youtube_part import Line, Part
from benchmarks.youtube_serving_step import Serving


COST = Cost("youtube_candidates/ranking", (100_000, 1_000_000), 2**20, 1.0, 1024, 256)
QUICK_COST = dataclasses.replace(COST, rows=(3_000, 6_000), interactions=2**13, embedding_dim=32, steps=2)
QUICK_SERVING = Serving(32, videos=5_000, users=300, events=2**13, asked=5, recall_queries=4, copy_floats=2**22)
MOST, SERVED_MS, RECALL = 1.5, 50.0, 0.99
STAGES = ("query", "search", "ranking", "list")
ASKED = {64: "exact", 256: "quantised"}  # the search that has to be in time, by dim


def costs(options: argparse.Namespace) -> Iterator[Cost]:
    for zipf in (1.0, 0.0):
        yield dataclasses.replace(QUICK_COST if options.quick else COST, zipf=zipf)


def servings(options: argparse.Namespace) -> Iterator[Serving]:
    if options.quick:
        yield QUICK_SERVING
    else:
        yield from map(Serving, ASKED)


def cost_lines(found: Sequence[Record]) -> list[Line]:
    """The median step at the largest size and its ratio to that at the smallest, turn by turn."""
    lines = []
    for record in tables.newest(found, lambda record: record["zipf"]):
        least, most = record["step_ms"][0], record["step_ms"][-1]
        ratio = statistics.median(b / a for a, b in zip(least, most, strict=True))
        sizes = f"{record['rows'][-1]:,} videos over {record['rows'][0]:,}"
        draws = f"Zipf {record['zipf']:g}" if record["zipf"] else "uniform"
        steps = f"{statistics.median(most):.1f} ms over {statistics.median(least):.1f}: {ratio:.2f}"
        what = f"training step, {record['embedding_dim']} wide, {record['negatives']:,} negatives, {sizes}, {draws}"
        lines.append((what, steps, f"at most {MOST:g}", "met" if ratio <= MOST else "MISSED"))
    return lines


def serving_lines(found: Sequence[Record]) -> list[Line]:
    """A user's median by search with the share of each stage, what the search reads, and what quantising loses."""
    lines = []
    for record in tables.newest(found, lambda record: record["embedding_dim"]):
        dim, size = record["embedding_dim"], f"{record['videos']:,} videos of dim {record['embedding_dim']}"
        for name, ms in record["searches"].items():
            median = {stage: statistics.median(values) for stage, values in ms.items()}
            total = sum(median[stage] for stage in STAGES)
            shares = ", ".join(f"{stage} {median[stage] / total:.0%}" for stage in STAGES)
            asked, verdict = "", ""
            if ASKED.get(dim) == name:
                asked, verdict = f"at most {SERVED_MS:g} ms", "met" if median["whole"] <= SERVED_MS else "MISSED"
            lines.append((f"one user, {size}, {name}", f"{median['whole']:.1f} ms: {shares}", asked, verdict))
            speed = record["read_bytes"][name] / median["search"] / 1e6
            share = f"{speed:.1f} GB/s read, {speed / record['copy_gb_per_s']:.0%} of a copy's"
            lines.append((f"its search, {median['search']:.1f} ms", share, "", ""))
        recalls = ", ".join(f"{name} {value:.4f}" for name, value in record["recall"].items())
        good = min(record["recall"].values()) >= RECALL
        what = f"recall@{record['retrieved']} of quantised, {size}"
        lines.append((what, recalls, f"at least {RECALL:g}", "met" if good else "MISSED"))
        tops = ", ".join(f"{name} {ms:.2f} ms" for name, ms in record["top_ms"].items())
        lines.append((f"best {record['retrieved']} of {record['videos']:,} scores", tops, "", ""))
    return lines


PARTS: Mapping[str, Part] = {
    "cost": Part("benchmarks.youtube_cost_step", costs, cost_lines),
    "serving": Part("benchmarks.youtube_serving_step", servings, serving_lines),
}
