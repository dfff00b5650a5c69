"""Tables from records: what a reader sees of them, as Markdown and on the terminal. Pure functions of the records."""

import math
import statistics
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from zoo.errors import InputError
from zoo.memory import readable
from zoo.recipe import LOWER_IS_BETTER


Record = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def markdown(table: Table) -> str:
    lines = [table.header, tuple("---" if column == 0 else "---:" for column in range(len(table.header))), *table.rows]
    text = "".join("| " + " | ".join(line) + " |\n" for line in lines)
    return text + (f"\n{table.note}\n" if table.note else "")


def show(title: str, table: Table) -> None:
    """Print a table on the terminal."""
    import sys

    from rich.console import Console
    from rich.table import Table as Printed

    printed = Printed(*table.header, title=title)
    for row in table.rows:
        printed.add_row(*row)
    console = Console(width=None if sys.stdout.isatty() else 180)
    console.print(printed)
    if table.note:
        console.print(table.note, highlight=False)


def device_of(record: Record) -> str:
    """The device whose speed a record states: an accelerator's name, else processor and cores."""
    environment = record["environment"]
    if environment["device"] != "cpu":
        return environment["device"]
    return f"{environment['processor']}, {environment['cores']} cores"


def by_device(records: Iterable[Record]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(device_of(record), []).append(record)
    return found


def newest(records: Iterable[Record], key: Callable[[Record], Hashable]) -> list[Record]:
    """The last record of each key by time; the later in the file among equals."""
    found = {key(record): record for record in sorted(records, key=lambda record: record["environment"]["time"])}
    return list(found.values())


def rows(records: Sequence[Record], sizes: Sequence[int] = (10_000, 100_000, 1_000_000, 10_000_000)) -> Table:
    """Median milliseconds of a step: a line an optimizer, skew and allocator, a column a table size."""
    chosen = newest(records, lambda record: (_series(record), record["items"]))
    steps = {(_series(record), record["items"]): record["step_ms"]["median"] for record in chosen}
    lines = []
    for series in dict.fromkeys(sorted((_series(record) for record in chosen), key=_series_order)):
        optimizer, zipf, allocator = series
        values = [steps.get((series, size)) for size in sizes]
        if any(value is not None for value in values):
            ids = "uniform" if zipf == 0 else f"Zipf {zipf:g}"
            lines.append((optimizer, ids, allocator, *("-" if v is None else f"{v:.2f}" for v in values)))
    header = ("optimizer", "ids", "allocator", *(f"step ms, {short(size)} rows" for size in sizes))
    return Table(header, tuple(lines), footnote(records))


def limits(records: Sequence[Record]) -> Table:
    names = ("copy_gb_per_s", "gather_gb_per_s", "scatter_add_gb_per_s", "matmul_gflop_per_s")
    names += ("matmul_bf16_gflop_per_s", "dispatch_us", "operation_us")
    chosen = newest(records, lambda record: record["allocator"])
    digits = {name: 3 if name.endswith("_us") else 1 for name in names}
    lines = tuple((record["allocator"], *(f"{record[name]:.{digits[name]}f}" for name in names)) for record in chosen)
    header = ("allocator", "copy GB/s", "gather GB/s", "scatter-add GB/s", "matmul GFLOP/s, float32", "bfloat16")
    header += ("dispatch µs", "operation µs")
    return Table(header, lines, footnote(records))


def peers(records: Sequence[Record]) -> Table:
    """A line a figure: the medians over the turns, and how many times as fast ours is, turn by turn."""
    lines: list[tuple[str, ...]] = []
    spent: list[str] = []
    for record in newest(records, lambda record: record["comparison"]):
        if "unavailable" in record:
            lines.append((record["comparison"], record["peer"], "-", "-", "-", "-", "-", record["unavailable"]))
            continue
        peer = f"{record['peer']} {record['versions'][record['peer']]}"
        for figure in record["figures"]:
            least, most = min(figure["ratios"]), max(figure["ratios"])
            decimals = 0 if figure["unit"].endswith("/s") else 2
            sides = [f"{_median(figure[side]):,.{decimals}f}" for side in ("ours", "theirs")]
            qualities = [mean_and_spread(figure[f"quality_{side}"]) for side in ("ours", "theirs")]
            lines.append(
                (
                    f"{figure['name']} ({record['data']})",
                    peer,
                    f"{sides[0]} {figure['unit']}",
                    f"{sides[1]} {figure['unit']}",
                    f"{figure['ratio']:.2f} ({least:.2f} to {most:.2f})",
                    f"{figure['least_ratio']:.2f}" if figure["least_ratio"] else "-",
                    f"{figure['metric']} {qualities[0]}; theirs {qualities[1]}",
                    "-" if not figure["least_ratio"] else "met" if met(figure) else "MISSED",
                )
            )
            spent += [f"{figure['name']}: {_spent(record['turns'])}."] if "shares" in record["turns"]["ours"][0] else []
    header = ("what", "peer", "ours", "theirs", "times as fast (least to most)", "asked", "quality", "verdict")
    return Table(header, tuple(lines), footnote(records, " ".join(spent)))


def _spent(turns: Mapping[str, Any]) -> str:
    """What each side spends a step on, the median over the turns."""
    sides = []
    for side in ("ours", "theirs"):
        parts = {name: _median([turn["shares"][name] for turn in turns[side]]) for name in turns[side][0]["shares"]}
        sides.append(f"{side} " + ", ".join(f"{100 * share:.0f} % {name}" for name, share in parts.items()))
    return "; ".join(sides)


def met(figure: Mapping[str, Any]) -> bool:
    """Fast enough, at no worse a quality as far as the table shows it. A loss is of steps that both sides did."""
    ours, theirs = (round(statistics.mean(figure[f"quality_{side}"]), 4) for side in ("ours", "theirs"))
    no_worse = ours <= theirs if figure["metric"] in LOWER_IS_BETTER else ours >= theirs
    return (no_worse or figure["metric"] == "loss") and figure["ratio"] >= figure["least_ratio"]


def streaming(records: Sequence[Record]) -> Table:
    """A line a run of the newest record: one epoch in memory, and streamed within a limit of address space."""
    record = max(records, key=lambda record: record["environment"]["time"])
    lines = tuple(
        (
            name,
            f"{found['examples_per_second']:,.0f}",
            f"{found['training_seconds']:.0f}",
            f"{found['seconds']:.0f}",
            readable(found["peak_memory_bytes"]),
            limit,
            f"{found['metrics']['recall@20']:.4f}",
        )
        for name, found, limit in (
            ("in memory", record["memory"], "-"),
            ("streamed", record["stream"], readable(record["limit_bytes"])),
        )
    )
    header = ("one epoch", "examples/s", "seconds to train", "seconds in all", "peak memory", "limit", "recall@20")
    text = f"{record['model']} on {record['rows']:,} rows, a Parquet file of {readable(record['file_bytes'])}."
    return Table(header, lines, footnote([record], text))


def tune(records: Sequence[Record]) -> Table:
    """A line a search: the best of its trials and the committed recipe, on the same validation rows."""
    chosen = newest(records, lambda record: (record["model"], record["recipe"], record["data"]))
    lines = tuple(
        (
            f"{record['model']}/{record['recipe']}",
            record["data"],
            f"{record['trials']}",
            f"{record['metric']} {record['found']:.4f}",
            f"{record['of_recipe']:.4f}",
            f"{100 * record['share']:.1f} %",
        )
        for record in chosen
    )
    header = ("model/recipe", "data", "trials", "best found", "recipe", "share")
    return Table(header, lines, footnote(records, "On validation rows; the test part is not looked at."))


def batch_scaling(records: Sequence[Record]) -> Table:
    """A line a batch, a column a rule: test AUC, mean and spread over seeds; the smallest batch is shared by all."""
    chosen = newest(records, lambda record: (record["rule"], record["batch_size"], record["seed"]))
    rules = sorted({record["rule"] for record in chosen} - {"base"})
    lines = []
    for batch_size in sorted({record["batch_size"] for record in chosen}):
        cells = [
            _auc([r for r in chosen if r["batch_size"] == batch_size and r["rule"] in (rule, "base")]) for rule in rules
        ]
        lines.append((f"{batch_size:,}", *cells))
    seeds = joined(str(record["seed"]) for record in chosen)
    text = f"Test AUC of {chosen[0]['model']} on {chosen[0]['data']}, mean ± standard deviation over seeds {seeds}."
    return Table(("batch", *rules), tuple(lines), footnote(chosen, text))


def _auc(runs: Sequence[Record]) -> str:
    if not runs:
        return "-"
    lost = sum("diverged" in record for record in runs)
    return f"{lost} of {len(runs)} diverged" if lost else mean_and_spread([r["metrics"]["auc"] for r in runs])


def graph(records: Sequence[Record]) -> Table:
    """The propagation by size and out of cache, a step's temporaries, quality by depth and time."""
    by = {"growth": ("nodes",), "memory": ("model",), "layers": ("model", "data", "layers"), "curve": ("model", "data")}
    of = {
        what: newest((record for record in records if record["what"] == what), itemgetter(*keys))
        for what, keys in by.items()
    }
    lines = []
    sizes = sorted(of["growth"], key=lambda record: record["entries"])
    for record in sizes:
        alone, both = (record[name]["median"] for name in ("propagation_ms", "with_gradient_ms"))
        name = f"a propagation, {record['entries']:,} entries, {record['nodes']:,} nodes, dim {record['embedding_dim']}"
        an_entry = 1e6 * alone / record["entries"]
        lines.append((name, f"{alone:.2f} ms, {an_entry:.0f} ns an entry; {both:.2f} ms with its gradient", "-", "-"))
    beyond = [r["with_gradient_ms"]["median"] / r["entries"] for r in sizes if out_of_cache(r)]
    if len(beyond) > 1:
        spread = max(beyond) / min(beyond)
        name = f"time an entry with the gradient, most over least of {len(beyond)} graphs out of cache"
        lines.append((name, f"{spread:.2f}", "<= 1.3", "met" if spread <= 1.3 else "MISSED"))
    for record in of["memory"]:
        value = record["matrices_a_layer"]
        name = f"{record['model']}: temporaries of a step of {record['batch_size']:,}, in node-matrices a layer"
        lines.append(
            (name, f"{value:.2f} ({readable(record['temporary_bytes'])})", "< 4", "met" if value < 4 else "MISSED")
        )
    for record in sorted(of["layers"], key=lambda record: record["layers"]):
        values = ", ".join(f"{name} {record['metrics'][name]:.4f}" for name in ("recall@20", "ndcg@20"))
        lines.append(
            (f"{record['model']}, {record['layers']} layers, validation rows of {record['data']}", values, "-", "-")
        )
    for record in of["curve"]:
        last = record["points"][-1]
        name = f"{record['model']}, {last['epoch']} of {record['epochs']} epochs, validation rows of {record['data']}"
        values = (
            f"recall@20 {last['recall@20']:.4f}, ndcg@20 {last['ndcg@20']:.4f} after {last['seconds'] / 60:.0f} min"
        )
        lines.append((name, values, "-", "-"))
    return Table(("what", "found", "asked", "verdict"), tuple(lines), footnote(records))


def out_of_cache(record: Record) -> bool:
    """Whether the vectors of all nodes are larger than the largest cache."""
    return record["cache_bytes"] is not None and record["node_matrix_bytes"] > record["cache_bytes"]


def footnote(records: Sequence[Record], text: str = "") -> str:
    """The device, versions and commits that a table stands on; it stands on one device only."""
    devices = sorted({device_of(record) for record in records})
    if len(devices) > 1:
        raise InputError(f"one table would mix {' and '.join(devices)}: make a table for each (tables.by_device)")
    environments = [record["environment"] for record in records]
    jax = joined(environment["packages"]["jax"] for environment in environments)
    commits = {environment["commit"] or "unknown" for environment in environments}
    commit = f"commit {commits.pop()}" if len(commits) == 1 else f"{len(commits)} commits, named in the records"
    days = sorted(environment["time"][:10] for environment in environments)
    when = days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
    return f"{text} {devices[0]}; jax {jax}; {when}, {commit}.".strip()


def mean_and_spread(values: Sequence[float]) -> str:
    mean = f"{statistics.mean(values):.4f}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.4f}"


def short(size: int) -> str:
    """10000 -> "10k"."""
    for unit, name in ((10**6, "M"), (10**3, "k")):
        if size >= unit:
            return f"{size / unit:g}{name}"
    return str(size)


def joined(values: Iterable[str]) -> str:
    return ", ".join(sorted(set(values)))


def _median(values: Sequence[float | None]) -> float:
    """Infinite where most turns did not get there."""
    return statistics.median(math.inf if value is None else value for value in values)


def _series(record: Record) -> tuple[str, float, str]:
    return record["optimizer"], record["zipf"], record["allocator"]


def _series_order(series: tuple[str, float, str]) -> tuple:
    optimizer, zipf, allocator = series
    return optimizer.startswith("dense_"), optimizer.removeprefix("dense_"), -zipf, allocator
