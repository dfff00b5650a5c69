"""Plots of records, as SVGs that are the same byte for byte for the same records."""

import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import rows_summary
from benchmarks.isolated import ROOT
from benchmarks.tables import Record, device_of, newest, out_of_cache
from benchmarks.throughput_tables import SWEPT, is_plain, swept
from zoo.errors import InputError


PLOTS = ROOT / "benchmarks" / "plots"


def path(suite: str, records: Sequence[Record]) -> Path:
    """plots/SUITE.svg for a CPU, plots/SUITE-NAME.svg for any other device."""
    device = records[0]["environment"]["device"]
    return PLOTS / (f"{suite}.svg" if device == "cpu" else f"{suite}-{'-'.join(device.lower().split())}.svg")


@contextmanager
def drawn(records: Sequence[Record], path: Path, width: float) -> Iterator[tuple[Any, str]]:
    """An empty figure, saved at the end, and the one device of the records."""
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError("a plot needs matplotlib: install the extra `plots`") from None
    devices = sorted({device_of(record) for record in records})
    if len(devices) != 1:
        raise InputError(f"one plot would mix {' and '.join(devices)}")
    with mpl.rc_context({"svg.hashsalt": "zoo", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(width, 3.8), layout="constrained")
        yield figure, devices[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None})


def draw(records: Sequence[Record], path: Path) -> None:
    """Milliseconds a step against rows of the table: a panel an allocator, ids of the strongest skew; by rows solid,
    densely dashed in the same colour."""
    zipf = max(record["zipf"] for record in records)
    allocators = sorted({record["allocator"] for record in records})
    forms = sorted({record["optimizer"].removeprefix("dense_") for record in records})
    with drawn(records, path, 3.4 * len(allocators) + 1.2) as (figure, device):
        panels = figure.subplots(1, len(allocators), sharey=True, squeeze=False)[0]
        for panel, allocator in zip(panels, allocators, strict=True):
            for colour, form in enumerate(forms):
                for optimizer, style in ((form, "o-"), (f"dense_{form}", "s--")):
                    steps = rows_summary.steps_of(records, optimizer, zipf, allocator)
                    if steps:
                        panel.loglog(
                            list(steps), list(steps.values()), style, color=f"C{colour}", label=optimizer, markersize=3
                        )
            panel.set(title=f"allocator: {allocator}", xlabel="rows of the item table")
            panel.grid(alpha=0.3)
        panels[0].set_ylabel("milliseconds a step")
        handles = {label: handle for panel in panels for handle, label in zip(*panel.get_legend_handles_labels())}
        figure.legend(handles.values(), handles.keys(), loc="outside right center")
        batch, dim = records[0]["batch_size"], records[0]["embedding_dim"]
        ids = "uniform ids" if zipf == 0 else f"ids Zipf {zipf:g}"
        figure.suptitle(f"A BPR step of {batch:,} pairs, dim {dim}, {ids}; {device}", fontsize=9)


def draw_graph(records: Sequence[Record], path: Path) -> None:
    """Time of a propagation by entries, quality by depth and by time of training, of what there are records of."""
    growth = [record for record in records if record["what"] == "growth"]
    layers = [record for record in records if record["what"] == "layers"]
    curves = newest([r for r in records if r["what"] == "curve"], lambda record: (record["model"], record["data"]))
    with drawn(records, path, 12.0) as (figure, device):
        left, right, timed = figure.subplots(1, 3)
        points = newest(growth, lambda record: record["nodes"])
        points = sorted(points, key=lambda record: record["entries"])
        for name in ("propagation_ms", "with_gradient_ms"):
            left.loglog(
                [r["entries"] for r in points],
                [r[name]["median"] for r in points],
                "o-",
                label=name.removesuffix("_ms").replace("_", " "),
                markersize=3,
            )
        for record in [record for record in points if out_of_cache(record)][:1]:
            left.axvline(record["entries"], color="grey", linewidth=0.6, linestyle=":")
        left.set(title="to the right of the dotted line: out of cache", xlabel="entries of the graph")
        left.set_ylabel("milliseconds")
        runs = sorted(newest(layers, lambda record: record["layers"]), key=lambda record: record["layers"])
        for name in ("recall@20", "ndcg@20"):
            right.plot([r["layers"] for r in runs], [r["metrics"][name] for r in runs], "o-", label=name, markersize=3)
        data = f", validation rows of {runs[0]['data']}" if runs else ""
        right.set(xlabel="layers (0: matrix factorization)", xticks=[r["layers"] for r in runs])
        right.set_title(f"lightgcn/ranking{data}", fontsize=9)
        for record in sorted(curves, key=lambda record: record["model"]):
            seconds, recall = ([point[name] for point in record["points"]] for name in ("seconds", "recall@20"))
            timed.plot([s / 60 for s in seconds], recall, "o-", label=record["model"], markersize=3, markevery=[-1])
        data = f", validation rows of {curves[0]['data']}" if curves else ""
        timed.set(title=f"recall@20{data}", xlabel="minutes of training")
        for panel, there in ((left, points), (right, runs), (timed, curves)):
            panel.grid(alpha=0.3)
            if there:
                panel.legend()
            else:
                panel.set_visible(False)
        figure.suptitle(device, fontsize=9)


def draw_batch_scaling(records: Sequence[Record], path: Path) -> None:
    """Mean test AUC against the batch, a line a rule, bars of one standard deviation; a rule that diverged has gaps."""
    chosen = newest(records, lambda record: (record["rule"], record["batch_size"], record["seed"]))
    batches = sorted({record["batch_size"] for record in chosen})
    with drawn(records, path, 6.0) as (figure, device):
        panel = figure.subplots()
        for rule in sorted({record["rule"] for record in chosen} - {"base"}):
            own = [r for r in chosen if r["rule"] in (rule, "base") and "metrics" in r]
            groups = {size: [r["metrics"]["auc"] for r in own if r["batch_size"] == size] for size in batches}
            groups = {size: values for size, values in groups.items() if values}
            means = [statistics.mean(values) for values in groups.values()]
            spreads = [statistics.stdev(values) if len(values) > 1 else 0.0 for values in groups.values()]
            panel.errorbar(list(groups), means, spreads, fmt="o-", label=rule, markersize=3, capsize=2)
        panel.set(xscale="log", xlabel="batch", ylabel="test AUC")
        panel.set_xticks(batches, [f"{size:,}" for size in batches])
        panel.minorticks_off()
        panel.grid(alpha=0.3)
        panel.legend()
        figure.suptitle(f"{chosen[0]['model']} on {chosen[0]['data']}; {device}", fontsize=9)


def draw_throughput(records: Sequence[Record], path: Path) -> None:
    """The fraction of the limit of each recipe, at its own sizes where it was measured at these, and examples a second
    against what was swept: a line for all that differ in that setting alone."""
    chosen = newest(records, swept)
    of_model = {record["model"]: record for record in [*chosen, *filter(is_plain, chosen)]}
    bars = [of_model[model] for model in sorted(of_model, reverse=True)]
    sweeps = {name: _lines(chosen, name) for name in ("rows", "zipf", "batch_size", "embedding_dim")}
    sweeps = {name: lines for name, lines in sweeps.items() if lines}
    colours = {"memory": "C0", "compute": "C1", "latency": "C2"}
    with drawn(records, path, 5.0 + 3.4 * len(sweeps)) as (figure, device):
        figure.set_figheight(max(3.8, 0.22 * len(bars) + 1.2))
        panels = figure.subplots(1, 1 + len(sweeps), squeeze=False)[0]
        shares = [100 * record["fraction_of_limit"] for record in bars]
        shade = [colours.get(record["bound"], "0.6") for record in bars]
        panels[0].barh([record["model"] for record in bars], shares, color=shade)
        panels[0].set(
            xlabel="% of the limit", title="bound by memory: blue, compute: orange, latency: green", xlim=(0, 100)
        )
        panels[0].title.set_fontsize(7)
        for panel, (name, lines) in zip(panels[1:], sweeps.items(), strict=True):
            for label, points in lines.items():
                panel.plot(list(points), list(points.values()), "o-", label=label, markersize=3)
            values = [value for points in lines.values() for value in points.values()]
            panel.set(xlabel=name.replace("_", " "), xscale="linear" if name == "zipf" else "log")
            panel.set(**({"ylim": (0, None)} if max(values) < 4 * min(values) else {"yscale": "log"}))
            places = sorted({place for points in lines.values() for place in points})
            panel.set_xticks(places, [f"{place:,}" for place in places], fontsize=7)
            panel.minorticks_off()
            panel.set_title("examples a second", fontsize=8)
            panel.grid(alpha=0.3)
            panel.legend(fontsize=6)
        figure.suptitle(device, fontsize=9)


def _lines(records: Sequence[Record], name: str) -> dict[str, dict[Any, float]]:
    """By what is the same, examples a second against the setting that differs; lines of one point left out."""
    place = 1 + SWEPT.index(name)
    found: dict[tuple, dict[Any, float]] = {}
    for record in sorted((r for r in records if r[name] is not None), key=lambda record: record[name]):
        key = swept(record)
        found.setdefault(key[:place] + key[place + 1 :], {})[record[name]] = record["examples_per_second"]
    several = {key: points for key, points in found.items() if len(points) > 1}
    models = [key[0] for key in several]
    return {key[0] if models.count(key[0]) == 1 else " ".join(map(str, key)): points for key, points in several.items()}
