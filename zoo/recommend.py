"""The commands zoo recommend and zoo similar: what was asked as calls of zoo.api, the answers as lines or a file."""

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.errors import InputError


def run(options: argparse.Namespace) -> None:
    """Lists for known users; lists or predictions where something is described by its fields."""
    from zoo.api import load
    from zoo.data import lists
    from zoo.data.interactions import rows_of
    from zoo.data.readers import read_path
    from zoo.trained import FunnelRun

    output = Path(options.output) if options.output else None
    if output:
        lists.check_output(output)
    elif options.users or options.all_users:
        raise InputError("lists for many users go to a file: add --output FILE, a .csv or .parquet")
    whom = options.user or options.users or options.all_users or options.rows or options.field
    if not (whom or options.history is not None or options.item is not None):
        raise InputError(
            "whom for? --user ID, --users FILE, --all-users, --history ID,..., --field NAME=VALUE or --rows FILE"
        )
    found = load(options.folder)
    if options.history is not None:
        if output or options.field or options.add:
            raise InputError("--history is one list by itself: leave --output, --field and --add out")
        past = [item for item in options.history.split(",") if item]
        ids, scores = found.recommend_after([past], options.k, again=options.again or None)
        _print_list(ids[0], scores[0])
        return
    if options.item is not None:
        if not options.user or output or options.field or options.add:
            raise InputError("--item asks for the rating of one pair: give --user ID, and leave lists and fields out")
        print(f"{found.predict_pairs([options.user], [options.item])[0]:.6f}")
        return
    if options.again and not isinstance(found, FunnelRun):
        raise InputError(
            f"--again is of a funnel; {found.job.names['model']} lists what a user does not have: leave it"
        )
    if isinstance(found, FunnelRun) and not (options.rows or options.field or options.add):
        _run_funnel(found, options, output)
        return
    users = None
    if options.users:
        users = lists.read_users(Path(options.users), found.user_ids)
    elif options.user or options.all_users:
        users = found.user_ids
        users = users[rows_of(options.user, users, "user")] if options.user else users
    if users is None or options.field or options.item_fields:
        _run_described(found, options, users, output)
        return
    new = None if options.add is None else read_path(options.add)
    ids, scores = found.recommend(users, options.k, interactions=new)
    _answer(users, ids, scores, output)


def _run_funnel(run: Any, options: argparse.Namespace, output: Path | None) -> None:
    """Lists whose lines are explained: what the ranking promises, and the retrieval score. An unknown user is a new
    one."""
    import numpy as np

    from zoo.data import lists
    from zoo.data.interactions import find_rows, unknown

    if options.users:
        users = lists.read_users(Path(options.users), run.user_ids)
    else:
        users = [options.user] if options.user else run.user_ids
    if options.user and find_rows(options.user, run.user_ids)[0] < 0:
        what = unknown(options.user, run.user_ids, "user")
        print(f"zoo: {what}; listed as for a new user: no watches, nothing known", file=sys.stderr)
    ids, promised, retrieval = run.ranked(users, options.k, again=options.again)
    if output:
        rows = find_rows(users, run.user_ids)
        _answer(run.user_ids[rows] if (rows >= 0).all() else np.asarray(users), ids, promised, output)
        return
    print(f"item\t{run.promise}\tretrieval")
    for item, score, retrieved in zip(ids[0], promised[0], retrieval[0], strict=True):
        if math.isfinite(score):
            print(f"{item}\t{score:.6f}\t{retrieved:.6f}")


def run_similar(options: argparse.Namespace) -> None:
    from zoo.api import load

    ids, cosines = load(options.folder).similar(options.item, options.k)
    _print_list(ids[0], cosines[0])


def _run_described(run: Any, options: argparse.Namespace, users: Any, output: Path | None) -> None:
    """Lists for described users, or where a field of the item is among what is described, a prediction a row."""
    import numpy as np

    from zoo.data import described, lists

    if options.add:
        raise InputError("--add is of graph models, which know ids alone: leave it out, or leave out what is described")
    if options.rows and options.field:
        raise InputError("--field describes one row, --rows a file of them: leave one out, or add a column to the file")
    values = described.read_rows(Path(options.rows)) if options.rows else _columns(options.field, users)
    added = [name for name in options.item_fields.split(",") if name]
    rows = run.describe(values, item_fields=added)
    pairs = not rows.of_item or any(name in rows.of_item for name in rows.given)
    if pairs and "user" in rows.rows.names and not set(rows.given) - set(rows.of_item):
        raise InputError("a prediction is of a user and an item: add --field user=ID, or fields of a new user")
    if not pairs and len(rows.rows) > 1 and not output:
        raise InputError("lists for many rows go to a file: add --output FILE, a .csv or .parquet")
    if rows.unknown:
        print(f"zoo: {described.spelled(rows.unknown, len(rows.rows))}", file=sys.stderr)
    if blank := [name for name in rows.blank if pairs or name not in rows.of_item]:
        print(f"zoo: not given, so blank: {', '.join(blank)}", file=sys.stderr)
    if not pairs:
        who = np.arange(1, len(rows.rows) + 1) if users is None else users
        column, spelled = ("row", "described rows") if users is None else ("user", "users")
        ids, scores = run.recommend_described(rows, options.k)
        _answer(who, ids, scores, output, column, spelled)
    elif output:
        print(f"{lists.write_predictions(output, run.predict(rows)):,} predictions: {output}")
    else:
        print("\n".join(f"{value:.6f}" for value in run.predict(rows)))


def _columns(entries: Sequence[str], users: Any) -> Mapping[str, Any]:
    """What --field gives, the same for each of `users` where there are any."""
    values = {}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not equals:
            raise InputError(f"--field {entry}: write NAME=VALUE, such as --field age=31")
        if name in values or (name == "user" and users is not None):
            raise InputError(f"--field {entry}: {name} is given twice")
        values[name] = [value] * (1 if users is None else len(users))
    return values if users is None else values | {"user": users}


def _answer(who: Any, ids: Any, scores: Any, output: Path | None, column: str = "user", spelled: str = "users") -> None:
    """Lists [who, k] into a file, or the first of them as lines."""
    from zoo.data import lists

    if output:
        count = lists.write_lists(output, who, ids, scores, column)
        print(f"{count:,} rows for {len(who):,} {spelled}: {output}")
    else:
        _print_list(ids[0], scores[0])


def _print_list(ids: Sequence[Any], scores: Sequence[float]) -> None:
    for item, score in zip(ids, scores, strict=True):
        if math.isfinite(score):
            print(f"{item}\t{score:.6f}")
