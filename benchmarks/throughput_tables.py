"""Tables of the throughput of training steps, from records."""

from collections.abc import Sequence

from benchmarks.tables import Record, Table, footnote, joined, newest
from zoo import names
from zoo.memory import readable
from zoo.recipe import function_of


ROWS = 30_000  # where no other size is asked for
MADE_UP = "Made-up data; rows are those of users and of items, or of all fields, images and texts have none"
SWEPT = ("rows", "zipf", "batch_size", "embedding_dim", "dtype", "allocator")  # of the throughput of a recipe


def swept(record: Record) -> tuple:
    """Which configuration of which recipe a record of throughput is of."""
    return record["model"], *(record.get(name, "float32") for name in SWEPT)  # older ones have no dtype


def speed(records: Sequence[Record]) -> Table:
    """A line a model: its first recipe at the recipe's own sizes, over tables of the suite's own."""
    own = [record for record in newest(records, swept) if is_plain(record) and _is_first(record)]
    lines = [
        (
            record["model"],
            f"{record['batch_size']:,}",
            str(record["embedding_dim"] or "-"),
            _step(record),
            f"{record['examples_per_second']:,.0f}",
            f"{100 * record['fraction_of_limit']:.0f} %",
            record["bound"],
        )
        for record in sorted(own, key=lambda record: record["model"])
    ]
    header = ("model/recipe", "batch", "dim", "step ms (p90)", "examples/s", "of the limit", "bound by")
    return Table(header, tuple(lines), footnote(own, f"{MADE_UP}; here {ROWS:,}.") if own else "")


def is_plain(record: Record) -> bool:
    """Whether it is of the recipe's own sizes, over tables of the suite's own."""
    recipe = names.recipe(record["model"])[2]
    asked = (ROWS, 1.0, recipe.batch_size, function_of(recipe.model)[1].get("embedding_dim", record["embedding_dim"]))
    found = tuple(record[setting] for setting in SWEPT[:4])
    return found == asked and record.get("dtype", "float32") == "float32" and record["allocator"] == "default"


def _is_first(record: Record) -> bool:
    return record["model"] == "/".join(names.recipe(record["model"].partition("/")[0])[:2])


def _step(record: Record) -> str:
    return f"{record['step_ms']['median']:.3f} ({record['step_ms']['p90']:.3f})"


def throughput(records: Sequence[Record]) -> Table:
    """A line a model and configuration, on columns that lie on the device and through the input pipeline."""
    chosen = newest(records, swept)
    varied = {"zipf": "Zipf", "embedding_dim": "dim", "dtype": "towers", "allocator": "allocator"}
    varied = {
        name: title for name, title in varied.items() if len({swept(r)[1 + SWEPT.index(name)] for r in chosen}) > 1
    }
    header = ("model/recipe", "rows", "batch", *varied.values(), "step ms (p90)", "examples/s", "through the pipeline")
    header += ("compile s", "peak memory", "GB/s", "GFLOP/s", "of the limit", "bound by")
    lines = [
        (
            record["model"],
            f"{record['rows']:,}",
            f"{record['batch_size']:,}",
            *("-" if value is None else str(value) for value in (record.get(name, "float32") for name in varied)),
            _step(record),
            f"{record['examples_per_second']:,.0f}",
            f"{record['pipeline']['examples_per_second']:,.0f}",
            f"{record['compile_seconds']:.1f}",
            readable(record["peak_memory_bytes"]),
            f"{record['achieved_gb_per_s']:.2f}",
            f"{record['achieved_gflop_per_s']:.2f}",
            f"{100 * record['fraction_of_limit']:.0f} %",
            record["bound"],
        )
        for record in sorted(chosen, key=lambda record: [str(value) for value in swept(record)])
    ]
    text = f"{MADE_UP}. Allocator: {joined(record['allocator'] for record in chosen)}."
    return Table(header, tuple(lines), footnote(chosen, text) if chosen else "")


def operations(record: Record, most: int = 15) -> Table:
    """What a traced step spends its time on."""
    lines = [
        (name, source[-60:], f"{ms:.4f}", f"{100 * share:.1f} %")
        for name, source, ms, share in record["profile_of"][:most]
    ]
    return Table(("operation", "from", "ms a step", "share"), tuple(lines))
