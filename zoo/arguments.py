"""Which model on which data, as the command line spells it: flags -> zoo.names.Request, and back."""

import argparse
import difflib
import shlex
from collections.abc import Mapping
from typing import Any

from zoo.errors import InputError


# The columns of a user's own file that a flag can name.
COLUMNS = ("user", "item", "rating", "timestamp", "label", "click", "watch_seconds", "page")


class Parser(argparse.ArgumentParser):
    """argparse whose errors are one line, with the nearest flag offered."""

    def error(self, message: str) -> Any:
        raise InputError(f"{message}; see {self.prog} --help")

    def parse_known_args(self, args=None, namespace=None):
        found, unknown = super().parse_known_args(args, namespace)
        flags = [option for action in self._actions for option in action.option_strings]
        if unknown and not self._subparsers:
            near = difflib.get_close_matches(unknown[0].split("=")[0], flags, 2)
            raise InputError(
                f"unknown argument {unknown[0]!r}"
                + (f": did you mean {' or '.join(near)}?" if near else f"; see {self.prog} --help")
            )
        return found, unknown


def add_request(command: argparse.ArgumentParser) -> None:
    """What every command takes that asks for a model and its data."""
    command.add_argument("model", metavar="MODEL[/RECIPE]", help="see zoo list; without RECIPE the model's first")
    command.add_argument(
        "--data",
        metavar="NAME|PATH",
        help="see zoo data; or your own file (.csv .tsv .parquet .inter) or folder (default: the recipe's)",
    )
    command.add_argument(
        "--split",
        metavar="NAME",
        help="random, per_user, leave_one_out, temporal, per_user_temporal, latest_users, new_items, "
        "user_sample, published",
    )
    command.add_argument("--seed", type=int, default=0, metavar="N")
    command.add_argument("--epochs", metavar="N")
    command.add_argument("--batch-size", metavar="N")
    command.add_argument("--embedding-dim", metavar="N")
    command.add_argument("--optimizer", metavar="NAME", help="sgd, adagrad, rowwise_adagrad, adam, dense_adam, ...")
    command.add_argument("--learning-rate", metavar="X")
    command.add_argument("--schedule", metavar="NAME", help="of the learning rate: constant, cosine, linear, one_cycle")
    command.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="any setting, such as objective.l2=0.1"
    )
    command.add_argument(
        "--validate", action="store_true", help="hold out rows of train, stop early, keep the best, leave test alone"
    )
    for column in COLUMNS:
        command.add_argument(
            f"--{column.replace('_', '-')}-column", metavar="NAME", help=f"the {column} column of your file"
        )
    command.add_argument("--separator", metavar="CHAR", help="what separates the columns of your file")


def request_of(options: argparse.Namespace) -> Any:
    """The zoo.names.Request of what `add_request` takes."""
    from zoo.names import Request

    settings = {
        name: getattr(options, name)
        for name in ("epochs", "batch_size", "embedding_dim", "learning_rate")
        if getattr(options, name) is not None
    }
    for entry in options.set:
        name, equals, value = entry.partition("=")
        if not equals:
            raise InputError(f"--set {entry}: write FIELD=VALUE, such as objective.l2=0.1")
        settings[name] = value
    columns = {name: getattr(options, f"{name}_column") for name in COLUMNS}
    reader: dict[str, Any] = {
        "columns": {name: column for name, column in columns.items() if column},
        "separator": options.separator,
    }
    reader = {name: value for name, value in reader.items() if value}
    return Request(
        options.model,
        options.data,
        options.split,
        options.optimizer,
        options.seed,
        options.validate,
        settings,
        reader,
        getattr(options, "stream", False),
        options.schedule,
    )


def train_command(request: Any, names: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """The command line that trains what a request asks for, with further settings: the inverse of `request_of`."""
    named = {"--data": request.data, "--split": request.split, "--optimizer": request.optimizer, "--seed": request.seed}
    named |= {f"--{role.replace('_', '-')}-column": name for role, name in request.reader.get("columns", {}).items()}
    named |= {"--separator": request.reader.get("separator"), "--schedule": request.schedule}
    words = ["zoo", "train", f"{names['model']}/{names['recipe']}"]
    words += [word for flag, value in named.items() if value is not None for word in (flag, str(value))]
    for name, value in {**request.settings, **settings}.items():
        words += ["--set", f"{name}={value}"]
    return shlex.join(words)
