"""The next item of a sequence: what a user, or a visitor in a session, does after all that came before.

`sequences` judges lists for users, as every ranking task does; `sessions` judges each held-out event by what came
before it in its session, held out or not, and leaves no item out of a list: one comes back to what one has seen.
"""

import heapq
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from zoo import evaluate
from zoo.data import histories
from zoo.data.interactions import Interactions, merge_repeats
from zoo.data.splits import Split
from zoo.errors import InputError
from zoo.evaluate import Lists
from zoo.recipe import Examples, Recipe
from zoo.tasks.rankings import popularity_scores, ranking, ranking_baselines, ranking_examples
from zoo.types import PADDING, TrainState


NEXT_METRICS = ("hit_rate@20", "mrr@20")


def sequences(**settings: Any) -> Recipe:
    """Train on whole sequences, every entry of which predicts the one after it; judged by lists for users."""
    return ranking(**({"examples": sequence_examples} | settings))


def sessions(**settings: Any) -> Recipe:
    """Train on sessions side by side, one event of each a step; judged by each held-out event."""
    common = {"examples": session_examples, "order": session_parallel}
    return ranking(**(common | JUDGED_AS_SESSIONS | settings))


def sequence_examples(split: Split, *, length: int = 50, longest: int = 50) -> Examples:
    """An example is `length` entries: sequences one after the other, cut where they are longer; `label` is what follows
    each, and `place` is 0 where another begins. A query has a user's last `longest` items.

    Its weight is its number of entries over their mean, so that all count the same.
    """
    if length < 1:
        raise InputError(f"length is {length}: a sequence has at least 1 entry")
    found = _transitions(split.train)
    # Pieces of at most `length` entries, and as many whole pieces in a row as it has room for.
    start = np.flatnonzero(found.place % length == 0)
    size = np.diff(np.append(start, len(found.item)))
    row, column = _packed(size, length)
    at = np.repeat(row, size), np.repeat(column, size) + found.place % length
    shape = (int(row[-1]) + 1, length)
    columns = {}
    for name, entries in (("sequence", found.item), ("label", found.label), ("place", found.place % length)):
        columns[name] = np.full(shape, PADDING, np.int32)
        columns[name][at] = entries
    filled = (columns["label"] != PADDING).sum(1)
    columns["weight"] = (filled / filled.mean()).astype(np.float32)
    return _examples(split, columns, longest, {"entries": len(found.item), "rows": shape[0]})


def session_examples(split: Split, *, longest: int = 50) -> Examples:
    """An example is an event and the one after it in its session; sessions stand in order of their start."""
    _need_times(split.train)
    found = _transitions(split.train)
    columns = {"sequence": found.item, "label": found.label, "place": found.place}
    columns = {name: column[:, None] for name, column in columns.items()}
    return _examples(split, columns, longest, {})


def session_parallel(examples: Examples, batch_size: int) -> np.ndarray:
    """Sessions side by side, for `Recipe.order`: a row of the batch takes the next session where one has ended.

    The sessions are those of session_examples, in their order; rows that end together take theirs from the first row
    on. Where none is left a row is padding.
    """
    first = np.flatnonzero(examples.train["place"][:, 0] == 0)
    size = np.diff(np.append(first, examples.num_train))
    free = [(0, row) for row in range(batch_size)]  # when, and which: a heap
    begins, rows = np.empty(len(first), np.int64), np.empty(len(first), np.int64)
    for session, events in enumerate(size.tolist()):
        begins[session], rows[session] = free[0]
        heapq.heapreplace(free, (free[0][0] + events, free[0][1]))
    within = np.arange(examples.num_train) - np.repeat(first, size)
    order = np.full((max(free)[0], batch_size), -1, np.int32)
    order[np.repeat(begins, size) + within, np.repeat(rows, size)] = np.arange(examples.num_train)
    return order


class Transitions(NamedTuple):
    """An entry of a sequence and the one after it, sequence after sequence in order of their start."""

    item: np.ndarray  # int32 [n]
    label: np.ndarray  # int32 [n]
    place: np.ndarray  # int32 [n], 0 for the first of a sequence


def _transitions(train: Interactions) -> Transitions:
    """Without times, sequences stand in the order of their users, each in a random one."""
    order, first = histories.in_order(train)
    if train.timestamp is not None:
        there = np.flatnonzero(np.diff(first))
        opening = np.zeros(train.num_users, np.int64)
        opening[there] = train.timestamp[order[first[there]]]
        order = order[np.argsort(opening[train.user[order]], kind="stable")]
    user, item, place = train.user[order], train.item[order], np.arange(len(order))
    goes_on = user[1:] == user[:-1]
    if not goes_on.any():
        raise InputError("no user of the training part has two rows: there is no next item to learn from")
    place -= np.maximum.accumulate(np.where(np.append(True, ~goes_on), place, 0))
    return Transitions(item[:-1][goes_on], item[1:][goes_on], place[:-1][goes_on].astype(np.int32))


def _packed(size: np.ndarray, room: int) -> tuple[np.ndarray, np.ndarray]:
    """Pieces of `size` int [pieces], one after the other into rows that hold `room`: their rows and first columns."""
    ends = np.cumsum(size)
    opens, taken = [0], 0  # the first piece of each row, and what the rows before it hold
    while (after := int(np.searchsorted(ends, taken + room, side="right"))) < len(size):
        opens.append(after)
        taken = int(ends[after - 1])
    row = np.repeat(np.arange(len(opens)), np.diff(np.append(opens, len(size))))
    column = ends - size
    return row, column - column[opens][row]


def _examples(split: Split, columns: dict[str, np.ndarray], longest: int, counted: dict[str, int]) -> Examples:
    """With queries of all that is known of each user, and the number of training rows of items."""
    if longest < 1:
        raise InputError(f"longest is {longest}: a history has room for at least 1 item")
    plain, train = ranking_examples(split), split.train
    order, first = histories.in_order(train)
    queries = histories.latest(first, np.arange(train.num_users), longest)
    count = train.item_counts
    met = np.zeros(train.num_users, bool)
    met[train.user] = True
    return replace(
        plain,
        spec=replace(plain.spec, history_length=longest),
        train=columns,
        test={**plain.test, "history_start": queries.start, "history_length": queries.length},
        constants={
            **plain.constants,
            "history_log": train.item[order],
            "item_log_support": np.log(np.maximum(count, 1)).astype(np.float32),
        },
        counted={
            **counted,
            "sequences_of_one": int((np.bincount(train.user, minlength=train.num_users) == 1).sum()),
            "unseen_items_held_out": int((count[split.test.item] == 0).sum()),
            "held_out_without_past": int((~met[np.unique(split.test.user)]).sum()),
        },
    )


class Events(NamedTuple):
    """The held-out events that are judged, and what came before each in its session."""

    user: np.ndarray  # int32 [n]
    item: np.ndarray  # int32 [n]
    log: np.ndarray  # int32 [m]
    past: histories.Ranges  # in the log


def held_out_events(split: Split, longest: int) -> Events:
    """All but those with which a session begins: there is nothing to tell them by.

    An item that train does not have is a miss where it is the label, and left out of what comes before a label.
    """
    _need_times(split.test)
    both = split.train.followed_by(split.test)
    asked = np.arange(len(both)) >= len(split.train)
    log, past, judged = histories.of_events(both, asked, split.train.item_counts > 0, longest)
    if not judged.any():
        raise InputError("each held-out event begins a session of its own: there is nothing to tell it by")
    past = histories.Ranges(past.start[judged], past.length[judged])
    return Events(split.test.user[judged], split.test.item[judged], log, past)


def _need_times(events: Interactions) -> None:
    if events.timestamp is None:
        raise InputError(
            "sessions are read in order of time, and the data has no times: name their column with "
            "--timestamp-column NAME, or take gru4rec/sequence, which judges lists for users"
        )


def next_items(
    model: Any, state: TrainState, examples: Examples, split: Split, *, names: Sequence[str] = NEXT_METRICS
) -> dict[str, float]:
    """Metrics of a Retriever over all held-out events that something came before, all items ranked for each."""
    events = held_out_events(split, examples.spec.history_length)
    by_length = np.argsort(events.past.length, kind="stable")  # the model stops at the longest of a block
    columns = {"user": events.user, "history_start": events.past.start, "history_length": events.past.length}
    columns = {name: column[by_length] for name, column in columns.items()}
    constants = {**examples.constants, "history_log": events.log}
    queries = evaluate.query_vectors(model, state, constants, columns)
    items = evaluate.item_vectors(model, state, constants)
    return _judged(queries, items, events.item[by_length], split, names)


def next_item_baselines(split: Split) -> dict[str, dict[str, float]]:
    events = held_out_events(split, 1)
    everyone = np.ones((len(events.item), 1), np.float32)
    popular = popularity_scores(split.train)[:, None]
    return {"popularity": _judged(everyone, popular, events.item, split, NEXT_METRICS)}


def _judged(queries: Any, items: Any, label: np.ndarray, split: Split, names: Sequence[str]) -> dict[str, float]:
    """Metrics of a query an event, whose one relevant item is `label` int32 [events]."""
    if evaluate.WHOLE in names:
        raise InputError(f"metric {evaluate.WHOLE!r} does not judge events one by one: take mrr@k, such as mrr@20")
    asked = np.arange(len(label))
    longest = max(evaluate.parse_name(name)[-1] for name in names)
    ids, scores = evaluate.top_items(jnp.asarray(queries), jnp.asarray(items), asked, None, longest + 1)
    relevant = Lists(np.arange(len(label) + 1), label)
    return evaluate.ranking_metrics(ids, scores, asked, relevant, split.train.item_counts, names)


# What a recipe of sequences takes to be judged as sessions are, and the other way round.
JUDGED_AS_SESSIONS = {
    "evaluate": next_items,
    "baselines": next_item_baselines,
    "repeats": None,
    "metric": "hit_rate@20",
}
JUDGED_AS_USERS = {
    "evaluate": evaluate.ranking,
    "baselines": ranking_baselines,
    "repeats": merge_repeats,
    "metric": "recall@20",
}
