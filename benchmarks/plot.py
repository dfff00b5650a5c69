"""Milliseconds a step against rows of the table, as an SVG that is the same byte for byte for the same records."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks import rows_summary
from benchmarks.isolated import ROOT
from benchmarks.tables import Record, device_of
from zoo.errors import InputError


PLOTS = ROOT / "benchmarks" / "plots"


def draw(records: Sequence[Record], path: Path) -> None:
    """A panel an allocator, ids of the strongest skew; by rows solid, densely dashed in the same colour."""
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError("a plot needs matplotlib: install the extra `plots`") from None
    devices = sorted({device_of(record) for record in records})
    if len(devices) != 1:
        raise InputError(f"one plot would mix {' and '.join(devices)}")
    zipf = max(record["zipf"] for record in records)
    allocators = sorted({record["allocator"] for record in records})
    forms = sorted({record["optimizer"].removeprefix("dense_") for record in records})
    with mpl.rc_context({"svg.hashsalt": "zoo", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(3.4 * len(allocators) + 1.2, 3.8), layout="constrained")
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
        figure.suptitle(f"A BPR step of {batch:,} pairs, dim {dim}, {ids}; {devices[0]}", fontsize=9)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None})
