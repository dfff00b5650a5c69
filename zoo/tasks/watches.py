"""Examples with a history: a watch, and what its user had watched before it."""

from dataclasses import replace

import numpy as np

from zoo.data import histories
from zoo.data.splits import Split
from zoo.errors import InputError
from zoo.recipe import Examples
from zoo.tasks.rankings import ranking_examples


def history_examples(split: Split, *, longest: int = 50) -> Examples:
    """An example is a watch with a range of the log: what its user had watched before it; a query, all that is known.

    Where the data has no times, the user's other watches stand in for the earlier ones.
    """
    if longest < 1:
        raise InputError(f"longest is {longest}: a history has room for at least 1 watch")
    train = split.train
    found = (histories.others if train.timestamp is None else histories.before)(train, longest)
    plain = ranking_examples(split)
    user, item = train.user[found.rows], train.item[found.rows]
    unsorted = 0
    if train.timestamp is not None:
        in_file = np.argsort(train.user, kind="stable")
        back = np.diff(train.timestamp[in_file]) < 0
        unsorted = int((back & (np.diff(train.user[in_file]) == 0)).sum())
    return replace(
        plain,
        spec=replace(plain.spec, history_length=longest),
        train={"user": user, "item": item, **_history_columns(found.examples)},
        test={**plain.test, **_history_columns(found.queries)},
        constants={**plain.constants, "history_log": found.log},
        counted={
            "empty_histories": int((found.examples.length == 0).sum()),
            "full_histories": int((found.examples.length == longest).sum()),
            "times_out_of_order": unsorted,
        },
    )


def balanced_history_examples(split: Split, *, longest: int = 50, per_user: int = 100) -> Examples:
    """As history_examples, with the same number of examples from every user, drawn once for all epochs."""
    if per_user < 1:
        raise InputError(f"per_user is {per_user}: a user has at least 1 example")
    examples = history_examples(split, longest=longest)
    chosen = histories.fixed_number(examples.train["user"], per_user)
    return replace(examples, train={name: column[chosen] for name, column in examples.train.items()})


def next_watch_examples(split: Split, *, longest: int = 5, targets: int = 3, whole: bool = False) -> Examples:
    """An example is a place in a user's watches: at most `longest` before it, and at most `targets` from it on.

    Its `item` is the first of these. With `whole`, examples are windows of `longest + targets` watches, as Caser's
    are, and a user with fewer gives one, whose targets are the last watches. Where the data has no times, the order of
    the file stands for time.
    """
    if targets < 1:
        raise InputError(f"targets is {targets}: an example has at least 1 watch to predict")
    if split.train.timestamp is None:
        split = replace(split, train=replace(split.train, timestamp=np.arange(len(split.train))))
    examples = history_examples(split, longest=longest)
    user = examples.train["user"]  # in order of user and time
    count = np.bincount(user, minlength=split.train.num_users)
    place = np.arange(len(user)) - (np.cumsum(count) - count)[user]
    left = count[user] - place
    train = {**examples.train, "future_length": np.minimum(left, targets).astype(np.int32)}
    if whole:
        short = count[user] < longest + targets
        kept = np.where(short, place == np.maximum(count[user] - targets, 0), (place >= longest) & (left >= targets))
        train = {name: column[kept] for name, column in train.items()}
    return replace(examples, train=train)


def _history_columns(ranges: histories.Ranges) -> dict[str, np.ndarray]:
    return {"history_start": ranges.start, "history_length": ranges.length}
