"""python -m benchmarks SUITE, from the repository's root; --help lists the suites.

Exit status 0: done; 1: a bar was missed, or `report --check` found a table out of date; 2: a mistake in what was given,
or a broken record.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import (
    batch_scaling,
    convolutions,
    graph,
    isolated,
    lessons,
    limits,
    optimizers,
    quality,
    report,
    rows,
    scaling,
    sizes,
    streaming,
    sweep,
    throughput,
    throughput_check,
    throughput_tables,
    trees,
    tuning,
    youtube,
)
from benchmarks.peers import suite as peers
from benchmarks.timing import TimingError
from zoo.arguments import Parser
from zoo.errors import InputError


def main(arguments: Sequence[str] | None = None) -> int:
    try:
        options = parser().parse_args(arguments)
        return options.run(options)
    except (InputError, TimingError, isolated.Failed) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("benchmarks: interrupted; what was measured so far is recorded", file=sys.stderr)
        return 130


def parser() -> Parser:
    top = Parser(prog="python -m benchmarks", description="What is measured of the zoo.", allow_abbrev=False)
    suites = top.add_subparsers(dest="suite", metavar="SUITE", required=True)

    def suite(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        added = suites.add_parser(name, help=text, description=text, allow_abbrev=False)
        added.set_defaults(run=run)
        added.add_argument(
            "--records", type=Path, default=report.RECORDS, metavar="DIR", help="where records are (benchmarks/records)"
        )
        return added

    quick = {"action": "store_true", "help": "a trial: smaller, and its records stay out of the tables"}
    allocators = {"choices": list(isolated.ALLOCATORS), "metavar": "NAME"}

    added = suite("limits", limits.run, "what this device can do at most: bandwidths, matmul rate, dispatch latency")
    added.add_argument("--quick", **quick)
    added.add_argument("--allocators", nargs="+", default=list(isolated.ALLOCATORS), **allocators)

    added = suite(
        "throughput", _throughput, "training speed of every model, against the limits; whole 30 minutes, --quick 5"
    )
    added.add_argument("--quick", **quick)
    added.add_argument("--models", nargs="+", metavar="MODEL", help="default: all")
    added.add_argument(
        "--check", action="store_true", help="compare with the records of this device; exit status 1 if a share fell"
    )
    several = {"nargs": "+", "metavar": "N"}
    added.add_argument(
        "--rows",
        type=_positive,
        default=[throughput_tables.ROWS],
        help="users, and items, or rows of all fields",
        **several,
    )
    added.add_argument("--zipf", type=float, default=[1.0], help="exponents of the skew, 0 uniform (1)", **several)
    added.add_argument("--batch-size", type=_positive, help="default: the recipe's", **several)
    added.add_argument("--embedding-dim", type=_positive, help="default: the recipe's", **several)
    added.add_argument("--dtype", nargs="+", metavar="NAME", help="of towers: float32, bfloat16 (the recipe's)")
    added.add_argument("--profile", type=Path, metavar="DIR", help="leave traces there, print the time by operation")
    added.add_argument("--allocator", default="default", **allocators)
    added.add_argument("--seed", type=int, default=0, metavar="N")

    added = suite("rows", rows.run, "one step by rows and densely, against the size of the table")
    added.add_argument("--quick", **quick)
    added.add_argument(
        "--optimizers", nargs="+", choices=rows.OPTIMIZERS, default=list(rows.OPTIMIZERS), metavar="NAME"
    )
    added.add_argument("--sizes", nargs="+", type=_positive, metavar="N", help="rows of the item table")
    added.add_argument("--zipf", nargs="+", type=float, metavar="X", help="exponents of the skew (default 0 and 1)")
    added.add_argument("--allocators", nargs="+", default=list(isolated.ALLOCATORS), **allocators)
    added.add_argument("--seed", type=int, default=0, metavar="N")

    added = suite("scaling", scaling.run, "a step over devices and processes: jit, shard_map, pmap, tables by rows")
    added.add_argument("--quick", **quick)
    added.add_argument("--models", nargs="+", default=list(scaling.MODELS), metavar="MODEL")
    added.add_argument("--devices", nargs="+", type=_positive, default=[2, 4], metavar="N", help="(default 2 4)")
    added.add_argument(
        "--processes", type=int, default=2, metavar="N", help="divide them over N processes too (default 2, 0: not)"
    )
    added.add_argument("--seed", type=int, default=0, metavar="N")

    added = suite("sizes", sizes.run, "a step of fm at 1M and 10M rows, in turns within one process")
    added.add_argument("--quick", **quick)
    added.add_argument("--allocators", nargs="+", default=["default", "huge"], **allocators)
    added.add_argument("--seed", type=int, default=0, metavar="N")

    added = suite("convolutions", convolutions.run, "steps of caser and cnn_fm by length and number of filters")
    added.add_argument("--quick", **quick)
    added.add_argument("--allocator", default="default", **allocators)
    added.add_argument("--seed", type=int, default=0, metavar="N")

    added = suite(
        "streaming", streaming.run, "a Parquet file trained in memory, and streamed within half of that memory"
    )
    added.add_argument("--quick", **quick)
    added.add_argument("--size", type=float, default=2.0, metavar="GIB", help="of the file, about (default 2)")
    added.add_argument("--seed", type=int, default=0, metavar="N")

    added = suite("quality", quality.run, "what models reach on real and simulated data, against bars")
    added.add_argument("--only", nargs="+", metavar="NAME", help="claims to run (default all)")
    added.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N")
    added.add_argument(
        "--busy", action="store_true", help="this machine does other work too: no table shows the seconds"
    )

    added = suite("tune", tuning.run, "what a search of settings finds, beside the committed recipe")
    added.add_argument("--models", nargs="+", default=["mf/ranking", "mf/rating"], metavar="MODEL/RECIPE")
    added.add_argument("--data", default="movielens-100k", metavar="DATA")
    added.add_argument("--trials", type=_positive, default=20, metavar="N")
    added.add_argument("--seed", type=int, default=0, metavar="N")

    added = suite("trees", trees.run, "gradient boosted trees of scikit-learn on the fields of ratings")
    added.add_argument(
        "--data", nargs="+", default=["book-crossing", "book-crossing-new"], metavar="NAME", help="(default: the books)"
    )
    added.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N")

    added = suite("batch_scaling", batch_scaling.run, "AUC against the batch, under four rules that scale the rates")
    added.add_argument("--quick", **quick)
    added.add_argument("--data", default="frappe", metavar="DATA")
    added.add_argument(
        "--batches", nargs="+", type=_positive, default=[1024, 4096, 16384], metavar="N", help="the least is the base"
    )
    added.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N")

    added = suite(
        "optimizers", optimizers.run, "steps and seconds to a target by optimizer, of tables and dense weights"
    )
    added.add_argument("--quick", **quick)
    added.add_argument("--models", nargs="+", metavar="NAME", help="workloads (default all)")
    added.add_argument("--optimizers", nargs="+", metavar="NAME", help="(default all)")
    added.add_argument("--trials", type=_positive, default=optimizers.SPREAD, metavar="N", help="rates of each")
    added.add_argument("--seeds", type=_positive, default=3, metavar="N", help="runs at the best rate (default 3)")

    added = suite(
        "lessons", lessons.run, "batch and generalisation, early stopping, decay, dropout, smoothing, ensembles"
    )
    added.add_argument("--quick", **quick)
    added.add_argument("--only", nargs="+", metavar="NAME", help="studies to run (default all)")
    added.add_argument("--seeds", type=_positive, default=3, metavar="N", help="runs of each setting (default 3)")

    added = suite("sweep", sweep.run, "a sweep of learning rates as one program, beside its runs one after the other")
    added.add_argument("--quick", **quick)
    added.add_argument("--data", default="movielens-100k", metavar="DATA")

    added = suite("peers", peers.run, "speed and quality beside other packages, each in its own environment")
    added.add_argument("--quick", **quick)
    added.add_argument("--models", nargs="+", choices=list(peers.COMPARISONS), default=list(peers.COMPARISONS))
    added.add_argument("--only", nargs="+", metavar="NAME", help="comparisons to run (default all)")
    added.add_argument("--repeats", type=_positive, default=5, metavar="N", help="turns of each side (default 5)")

    added = suite(
        "graph", graph.run, "propagation against the size of a graph, memory of a step, quality by depth and by time"
    )
    added.add_argument("--quick", **quick)
    added.add_argument("--parts", nargs="+", choices=graph.PARTS, default=list(graph.PARTS), metavar="NAME")
    added.add_argument("--seed", type=int, default=0, metavar="N")
    added.add_argument("--curves", nargs="+", choices=graph.RECIPES, default=list(graph.RECIPES), metavar="RECIPE")
    added.add_argument("--minutes", type=float, default=60.0, metavar="N", help="of training a curve (default 60)")
    added.add_argument("--workdir", type=Path, metavar="DIR", help="keep the runs of curves, go on with what is there")

    added = suite("youtube", youtube.run, "the networks of Covington et al. 2016 on the simulated site, part by part")
    added.add_argument("--quick", **quick)
    added.add_argument("--parts", nargs="+", choices=youtube.PARTS, default=list(youtube.PARTS), metavar="NAME")
    added.add_argument("--seeds", nargs="+", type=int, default=[100, 101, 102], metavar="N", help="of worlds and runs")
    added.add_argument("--allocator", default="default", **allocators)

    added = suite("report", report.run, "write the tables of README.md and docs/benchmarks.md from the records")
    added.add_argument("--check", action="store_true", help="only compare; exit status 1 if a file would change")
    return top


def _throughput(options: argparse.Namespace) -> int:
    return (throughput_check if options.check else throughput).run(options)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


if __name__ == "__main__":
    sys.exit(main())
