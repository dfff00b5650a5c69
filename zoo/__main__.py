"""The command line: zoo list, data, train, tune, evaluate, recommend, similar, generate, describe, export.

Exit status 0 only if the command finished; 2, with one line that says what to do, for a mistake in what was given.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo import recommend
from zoo.arguments import Parser, add_request, request_of, train_command
from zoo.errors import InputError


def main(arguments: Sequence[str] | None = None) -> int:
    try:
        options = parser().parse_args(arguments)
        options.run(options)
    except (InputError, FloatingPointError) as error:
        print(f"zoo: {error}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:  # the device's is a RuntimeError of XLA
        if not isinstance(error, MemoryError) and not str(error).startswith("RESOURCE_EXHAUSTED"):
            raise
        what = (str(error).splitlines() or ["no memory left"])[0]
        print(f"zoo: out of memory: {what}; take a smaller batch_size or embedding_dim", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("zoo: interrupted; the same command with --resume goes on from the last checkpoint", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, such as head, has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if error.filename is None:  # nothing that the user named
            raise
        print(f"zoo: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    return 0


def parser() -> Parser:
    top = Parser(prog="zoo", description="A recommender model zoo in JAX.", allow_abbrev=False)
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        added.set_defaults(run=run)
        return added

    quiet: Any = {"action": "store_true", "help": "no progress: a bar on a terminal, else a line an epoch on stderr"}
    command("list", run_list, "models, recipes and the results to expect")
    shown = command("data", run_data, "data sets, whether they are here, how to get them")
    shown.add_argument("--verify", metavar="NAME", help="compare the files of a data set with their checksums")
    trained = command("train", run_train, "train a model and judge it on the held-out part")
    add_request(trained)
    trained.add_argument("--workdir", metavar="DIR", help="where the run goes (default runs/MODEL-RECIPE-DATA-SEED)")
    trained.add_argument("--resume", action="store_true", help="go on with the run in the folder, or start it")
    trained.add_argument("--overwrite", action="store_true", help="replace the run in the folder")
    trained.add_argument(
        "--checkpoint-seconds", type=float, metavar="S", help="at most so much work is lost to a kill (default 10)"
    )
    trained.add_argument("--quiet", **quiet)
    trained.add_argument("--stream", action="store_true", help="read a Parquet file that need not fit in memory")
    trained.add_argument(
        "--devices", type=int, metavar="N", help="divide each batch over N devices (on a CPU, N virtual ones)"
    )
    trained.add_argument("--mode", metavar="NAME", default="jit", help="how: jit (default), shard_map or pmap")
    trained.add_argument("--shard-tables", action="store_true", help="each device holds its part of the tables' rows")
    trained.add_argument("--coordinator", metavar="HOST:PORT", help="several processes: where process 0 listens")
    trained.add_argument("--num-processes", type=int, metavar="N", help="several processes: how many")
    trained.add_argument("--process-id", type=int, metavar="I", help="several processes: which this is, from 0")
    tuned = command("tune", run_tune, "search settings of a model, on validation rows alone")
    add_request(tuned)
    tuned.add_argument("--trials", type=int, default=20, metavar="N", help="settings to draw and try (default 20)")
    tuned.add_argument("--workdir", metavar="DIR", help="where it goes (default runs/tune-MODEL-RECIPE-DATA-SEED)")
    tuned.add_argument("--resume", action="store_true", help="go on with the search in the folder, or start it")
    tuned.add_argument("--quiet", **quiet)
    described = command("describe", run_describe, "parameters, tables, bytes and operations a step")
    add_request(described)
    judged = command("evaluate", run_evaluate, "judge the model of a run again")
    judged.add_argument("folder", metavar="DIR", help="the folder of a run")
    judged.add_argument("--metrics", metavar="NAME", nargs="+", help="such as recall@50 map@10 recall_tail@20")
    given = command("recommend", recommend.run, "the best items for a user, or for many")
    given.add_argument("folder", metavar="DIR", help="the folder of a run")
    asked = given.add_mutually_exclusive_group()
    asked.add_argument("--user", metavar="RAW_ID", help="the user's id as it stands in the data")
    asked.add_argument("--users", metavar="FILE", help="an id a line, or a .csv or .parquet with a column user")
    asked.add_argument("--all-users", action="store_true", help="every user of the data")
    asked.add_argument(
        "--history",
        metavar="ID,...",
        help="items just had, oldest first, of whoever it is: gru4rec, caser and the like",
    )
    asked.add_argument("--rows", metavar="FILE", help="a .csv or .tsv of described users or examples, one a row")
    given.add_argument(
        "--field",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="describe a user, such as --field age=31; with a field of an item, predict that pair",
    )
    given.add_argument(
        "--item-fields", metavar="NAME,...", default="", help="fields of your own file that describe the item"
    )
    given.add_argument("--output", metavar="FILE", help="a .csv or .parquet of user, item, rank, score")
    given.add_argument(
        "--add",
        metavar="FILE",
        help="interactions since then, user,item[,...]: a graph model takes them without training",
    )
    given.add_argument(
        "--again", action="store_true", help="of a funnel or a --history: list also what was had already"
    )
    given.add_argument(
        "--item", metavar="RAW_ID", help="with --user, of a model of ratings: what the user gives this item"
    )
    given.add_argument("-k", type=int, default=10, help="how many items (default 10)")
    alike = command("similar", recommend.run_similar, "the items most like an item")
    alike.add_argument("folder", metavar="DIR", help="the folder of a run")
    alike.add_argument("--item", metavar="RAW_ID", required=True, help="the item's id as it stands in the data")
    alike.add_argument("-k", type=int, default=10, help="how many items (default 10)")
    written = command("generate", run_generate, "text that goes on from a prompt, of a run on a text")
    written.add_argument("folder", metavar="DIR", help="the folder of a run")
    written.add_argument("--prompt", metavar="TEXT", required=True, help="what the text begins with")
    written.add_argument("--length", type=int, default=500, metavar="N", help="characters to add (default 500)")
    written.add_argument(
        "--temperature", type=float, default=1.0, metavar="X", help="1 (default) is the model's own, 0 the likeliest"
    )
    written.add_argument("--seed", type=int, default=0, metavar="N")
    served = command("export", run_export, "a run's model as one file of StableHLO, which serves without this package")
    served.add_argument("folder", metavar="DIR", help="the folder of a run")
    served.add_argument("file", metavar="FILE", help="the .npz to write")
    return top


def run_list(options: argparse.Namespace) -> None:
    from rich.table import Table

    from zoo import names

    expected = json.loads((Path(__file__).parent / "expected.json").read_text())  # from benchmarks/records
    table = Table("model/recipe", "default data", "reached on the test part", title="Models and recipes")
    for model in names.models():
        for name, recipe in names.model_module(model).RECIPES.items():
            if name != "smoke":
                table.add_row(f"{model}/{name}", recipe.data, "\n".join(expected.get(f"{model}/{name}", ["-"])))
    for model, recipes in names.FUNNELS.items():
        for name, parts in recipes.items():
            if name != "smoke":
                shown = expected.get(f"{model}/{name}", [f"{' then '.join(parts)}"])
                table.add_row(f"{model}/{name}", "simulated", "\n".join(shown))
    _console().print(table)


def run_data(options: argparse.Namespace) -> None:
    from rich.table import Table

    from zoo.data import catalog

    if options.verify:
        catalog.verify(catalog.find(options.verify))
        print(f"{options.verify}: all files have their checksums")
        return
    table = Table("name", "what", "here", title="Data sets")
    for dataset in catalog.CATALOG.values():
        table.add_row(dataset.name, dataset.task, "yes" if catalog.is_here(dataset) else "no")
    _console().print(table)
    for dataset in catalog.CATALOG.values():
        if not catalog.is_here(dataset):
            print(f"\n{dataset.name}, {catalog.getting(dataset)}")  # whole lines, to be copied


def run_train(options: argparse.Namespace) -> None:
    from zoo import processes

    processes.start(options.devices, options.coordinator, options.num_processes, options.process_id)
    from zoo.api import run_request

    run = run_request(
        request_of(options),
        devices=options.devices,
        mode=options.mode,
        shard_tables=options.shard_tables,
        folder=options.workdir,
        resume=options.resume,
        overwrite=options.overwrite,
        quiet=options.quiet,
        checkpoint_seconds=options.checkpoint_seconds,
    )
    if processes.is_first():
        _print_record(run.record, run.folder)


def run_tune(options: argparse.Namespace) -> None:
    from zoo import names
    from zoo.tune import draw_history, tune

    request = request_of(options)
    job = names.job(request)
    default = names.folder(job)
    folder = Path(options.workdir) if options.workdir else default.with_name(f"tune-{default.name}")
    lines = tune(
        job, folder, trials=options.trials, fixed=list(request.settings), resume=options.resume, quiet=options.quiet
    )
    title = f"{job.names['model']}/{job.names['recipe']} on {job.names['data']}"
    _print_trials(lines, title)
    print("to train the best on all training rows and judge it on test:")
    print(train_command(request, job.names, lines[0]["settings"]))
    try:
        draw_history(folder, title)
    except ImportError:
        print("history.svg needs matplotlib: pip install 'jax-recsys-zoo[plots]', then this command with --resume")
    print(f"history: {folder / 'history.jsonl'}")


def run_describe(options: argparse.Namespace) -> None:
    from rich.table import Table

    from zoo import names
    from zoo.describe import describe

    request = request_of(options)
    jobs = names.funnel(request)[:2] if names.is_funnel(request.model) else [names.job(request)]
    for job in jobs:
        table = Table("what", "how much", title=f"{job.names['model']}/{job.names['recipe']} on {job.names['data']}")
        for name, value in describe(job, getattr(names.model_module(job.names["model"]), "cost", None)).items():
            table.add_row(name, value)
        _console().print(table)


def run_evaluate(options: argparse.Namespace) -> None:
    from zoo.api import load

    run = load(options.folder)
    for name, value in run.evaluate(options.metrics).items():
        print(f"{name}\t{value:.6f}")


def run_export(options: argparse.Namespace) -> None:
    from zoo.api import load

    load(options.folder).export(options.file)
    print(f"exported: {options.file}")


def run_generate(options: argparse.Namespace) -> None:
    from zoo.api import load

    run = load(options.folder)
    text = run.generate(options.prompt, length=options.length, temperature=options.temperature, seed=options.seed)
    print(options.prompt + text)


def _print_trials(lines: Sequence[Mapping[str, Any]], title: str, most: int = 10) -> None:
    from rich.table import Table

    metric, settings = lines[0]["metric"], list(lines[0]["settings"])
    title = f"{title}: the best {min(most, len(lines))} of {len(lines)} trials, on validation rows"
    table = Table("trial", metric, "after epochs", *settings, title=title)
    for line in lines[:most]:
        value = "diverged" if line["value"] is None else f"{line['value']:.4f}"
        drawn = (f"{line['settings'][name]:g}" for name in settings)
        table.add_row(f"{line['trial']}", value, f"{line['epochs']}", *drawn)
    _console().print(table)


def _print_record(record: Mapping[str, Any], folder: Path) -> None:
    from rich.table import Table

    (part, metrics), training = next(iter(record["metrics"].items())), record["training"]
    table = Table(
        "", *metrics, title=f"{record['model']}/{record['recipe']} on {record['data']} ({part}, seed {record['seed']})"
    )
    for name, values in {record["model"]: metrics, **record["baselines"]}.items():
        table.add_row(name, *(f"{values[metric]:.4f}" if metric in values else "-" for metric in metrics))
    console = _console()
    console.print(table)
    if training["seconds"]:
        console.print(
            f"{training['epochs']} epochs in {training['seconds']:.1f} s"
            f" ({training['examples_per_second']:,.0f} examples/s),"
            f" compiling {training['compile_seconds']:.1f} s, evaluating {record['evaluation']['seconds']:.1f} s"
        )
    sizes = record.get("sizes", {})
    if sizes.get("repeats_merged"):
        console.print(f"{sizes['repeats_merged']:,} repeated pairs were merged")
    if sizes.get("held_out_before_train"):
        console.print(
            f"{sizes['held_out_before_train']:,} of {sizes['held_out']:,} held-out rows are older than a training row"
            " of their user: --split temporal or leave_one_out asks about the future alone"
        )
    console.print(f"record: {folder / 'record.json'}", soft_wrap=True)


def _console() -> Any:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 140)


if __name__ == "__main__":
    sys.exit(main())
