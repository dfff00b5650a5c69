"""Examples with a history: a watch, and what its user had watched before it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from zoo import evaluate
from zoo.data import histories, user_features
from zoo.data.splits import Split
from zoo.errors import InputError
from zoo.recipe import Examples
from zoo.tasks.rankings import popularity_scores, ranking_examples
from zoo.types import TrainState, fill_of


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


def candidate_examples(
    split: Split,
    *,
    longest: int = 50,
    longest_searches: int = 50,
    per_user: int = 100,
    features: tuple[str, ...] = ("searches", "users", "example_age"),
) -> Examples:
    """As balanced_history_examples, with those of `features` that the data has (zoo.data.user_features)."""
    train, examples = split.train, history_examples(split, longest=longest)
    if per_user < 1:
        raise InputError(f"per_user is {per_user}: a user has at least 1 example")
    encoding = user_features.fit(train, features, longest_searches)
    user, time, last = examples.train["user"], None, None
    if train.timestamp is not None:
        time = train.timestamp[histories.in_order(train)[0]]
        last = np.full(train.num_users, train.timestamp.max() + 1)  # a query may not look into the held-out part
    chosen = histories.fixed_number(user, per_user)
    asked = {**examples.train, **encoding.columns(train, user, time)}
    return replace(
        examples,
        spec=replace(
            examples.spec,
            field_sizes=encoding.sizes,
            num_numbers=encoding.num_numbers,
            num_tokens=encoding.num_tokens,
            search_length=longest_searches if encoding.num_tokens else 0,
        ),
        train={name: column[chosen] for name, column in asked.items()},
        test={**examples.test, **encoding.columns(train, examples.test["user"], last)},
        constants={**examples.constants, **encoding.constants(train)},
        user_encoding=encoding,
    )


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


def recommend_after(
    model: Any, state: TrainState, examples: Examples, lists: Sequence[np.ndarray], k: int, *, again: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The k best items after each list of item rows int32, oldest first, of a Retriever that reads histories: item rows
    int32 [lists, k] and scores; PADDING where items run out.

    Nothing else is known of whom it is for, so every other column is that of padding. What the list has is left out
    unless `again`.
    """
    log, ranges = histories.of_lists(lists, examples.spec.history_length)
    columns = {
        name: np.full((len(lists), *column.shape[1:]), fill_of(column), column.dtype)
        for name, column in examples.test.items()
    }
    columns |= _history_columns(ranges)
    queries = evaluate.query_vectors(model, state, {**examples.constants, "history_log": log}, columns)
    items = evaluate.item_vectors(model, state, examples.constants)
    had = [np.unique(rows) for rows in lists]
    seen = evaluate.Lists(np.cumsum([0, *map(len, had)]), np.concatenate(had))
    return evaluate.top_items(queries, items, np.arange(len(lists)), None if again else seen, k)


NEXT_WATCH_METRICS = ("map", "recall@10")
BLOCK = 1024  # watches that are judged at a time, which bounds the memory


def next_watch_metrics(
    model: Any, state: TrainState, examples: Examples, split: Split, *, names: Sequence[str] = NEXT_WATCH_METRICS
) -> dict[str, float]:
    """Metrics of a Retriever over all held-out watches, each asked with what its user had watched and searched before.

    Items are ranked but for those that the user had watched by then. One is relevant: `map` is the mean of 1 / rank.
    """
    log, had = _had(split)
    queries = _queries(model, state, examples, split, log, had)
    items = np.asarray(evaluate.item_vectors(model, state, examples.constants))
    if not (np.isfinite(queries).all() and np.isfinite(items).all()):
        raise FloatingPointError("the vectors hold NaN or infinity: training diverged, try a lower learning rate")
    return _of_ranks(_ranks(queries, items, split.test.item, log, had), names)


def next_watch_queries(model: Any, state: TrainState, examples: Examples, split: Split) -> np.ndarray:
    """Query vectors of the held-out watches, of all that came before each, held out or not: float32 [n, dim]."""
    return _queries(model, state, examples, split, *_had(split))


def _queries(model, state, examples, split, log, had) -> np.ndarray:
    length = np.minimum(had.length, examples.spec.history_length)
    columns = {"user": split.test.user, "history_start": had.start + had.length - length, "history_length": length}
    if examples.user_encoding is not None:
        columns |= examples.user_encoding.columns(split.test, split.test.user, split.test.timestamp)
    constants = {**examples.constants, "history_log": log}
    return np.asarray(evaluate.query_vectors(model, state, constants, columns))


def _had(split: Split) -> tuple[np.ndarray, histories.Ranges]:
    """A log, and of it all that the user of each held-out watch had watched before it."""
    both = split.train.followed_by(split.test)
    asked = np.arange(len(both)) >= len(split.train)
    log, had, _ = histories.of_events(both, asked, np.full(both.num_items, True), len(both))
    return log, had


def next_watch_baselines(split: Split) -> dict[str, dict[str, float]]:
    """Popularity in the training part."""
    popular, everyone = popularity_scores(split.train)[:, None], np.ones((len(split.test), 1), np.float32)
    return {"popularity": _of_ranks(_ranks(everyone, popular, split.test.item, *_had(split)), NEXT_WATCH_METRICS)}


# What a recipe takes to be judged by each held-out watch.
JUDGED_BY_NEXT_WATCH = {"evaluate": next_watch_metrics, "baselines": next_watch_baselines, "metric": "map"}


def _ranks(
    queries: np.ndarray, items: np.ndarray, label: np.ndarray, log: np.ndarray, had: histories.Ranges
) -> np.ndarray:
    """The place of each label among the items less those of its range of the log, 1 the best, last among equals: int64
    [n]."""
    found = []
    for start in range(0, len(queries), BLOCK):
        own = slice(start, start + BLOCK)
        scores, size = queries[own] @ items.T, had.length[own]
        row = np.repeat(np.arange(len(size)), size)
        within = np.arange(len(row)) - np.repeat(np.cumsum(size) - size, size)
        target = scores[np.arange(len(size)), label[own]]
        scores[row, log[had.start[own][row] + within]] = -np.inf
        scores[np.arange(len(size)), label[own]] = target
        found.append((scores >= target[:, None]).sum(axis=1))
    return np.concatenate(found)


def _of_ranks(ranks: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    found = {}
    for name in names:
        metric, bucket, k = evaluate.parse_name(name)
        if metric not in ("map", "recall", "hit_rate") or bucket:
            raise InputError(f"metric {name!r} does not judge next watches: there are map, recall@k and hit_rate@k")
        listed = ranks <= k if k else np.ones(len(ranks))
        found[name] = float(np.mean(listed / ranks if metric == "map" else listed))
    return found
