"""Evaluation over all items, never a sample.

The device finds each user's best items, block of users by block; the host turns lists into metrics in float64. Items of
the training part are left out of a user's list. Ties stand against the model: among equal scores the relevant item
comes last, so constant scores earn nothing, and NaN stops the evaluation.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from zoo import inner_products, metrics
from zoo.data.fields import FieldTable
from zoo.data.interactions import Interactions
from zoo.data.splits import Split
from zoo.embedding import to_collection
from zoo.errors import InputError
from zoo.inner_products import Search
from zoo.optimizers import eval_params
from zoo.recipe import Examples
from zoo.types import PADDING, Batch, TrainState, fill_of


CLICK_METRICS = ("auc", "log_loss", "accuracy", "calibration")
RATING_METRICS = ("rmse", "mae")
RANKING_METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
BLOCK_BYTES = 2**25  # scores of one block of users: about what stays in a CPU's cache
PAIRS = 256  # items to leave out of a block of lists, at least: one compiled call for most users
WHOLE = "map"  # average precision over the list of all items


class Lists(NamedTuple):
    """Items by user as compressed rows: those of user u are items[offsets[u] : offsets[u + 1]], ascending."""

    offsets: np.ndarray  # int64 [num_users + 1]
    items: np.ndarray  # int32 [n]


def lists_by_user(interactions: Interactions) -> Lists:
    order = np.lexsort((interactions.item, interactions.user))
    counts = np.bincount(interactions.user, minlength=interactions.num_users)
    return Lists(np.concatenate([[0], np.cumsum(counts)]), interactions.item[order])


def variables(state: TrainState, constants: Mapping[str, Any]) -> dict[str, Any]:
    """What model.apply needs to answer: weights, tables, model state and constants."""
    state = eval_params(state)
    return {"params": state.params, "tables": to_collection(state.tables), "constants": constants, **state.model_state}


def query_vectors(
    model: Any, state: TrainState, constants: Mapping[str, Any], columns: Mapping[str, np.ndarray]
) -> Array:
    """Query vectors of a Retriever, float [queries, dim]. It prepares once, whatever the number of queries."""
    prepared = _prepared(model, variables(state, constants))
    return _in_blocks(model, state, constants, columns, _ask_query, prepared)


def item_vectors(model: Any, state: TrainState, constants: Mapping[str, Any]) -> Array:
    """Item vectors of a Retriever, float [items, dim]."""
    return _all_items(model, variables(state, constants))


def score(
    model: Any, state: TrainState, constants: Mapping[str, Any], columns: Mapping[str, np.ndarray], *, block: int = 8192
) -> Array:
    """Scores of a Scorer, float [examples], or logits of a Classifier, float [examples, classes]."""
    return _in_blocks(model, state, constants, columns, _ask_score, block=block)


def top_items(
    queries: Array, items: Array, users: np.ndarray, seen: Lists | None, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The k best items of each query by dot product, exactly: see `found_by`."""
    return found_by(inner_products.exact(items), queries, users, seen, k)


def found_by(
    search: Search, queries: Array, users: np.ndarray, seen: Lists | None, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """What a search finds best for each query: ids int32 and scores float32, both [queries, k], best first.

    Query i belongs to user `users[i]`, whose `seen` items are left out (None: nothing is). Where fewer than k items are
    left, the rest of the list is PADDING with score -inf. Raises FloatingPointError on NaN or infinite vectors.
    """
    inner_products.check_finite(queries, "query vectors")
    k_found = min(k, search.num_items)
    block = max(1, min(len(users), BLOCK_BYTES // (4 * inner_products.padded_size(search.num_items))))
    num_blocks = -(-len(users) // block)
    queries = jnp.pad(queries, ((0, num_blocks * block - len(users)), (0, 0))).reshape(num_blocks, block, -1)
    hidden = _hidden_pairs(users, seen, num_blocks, block)
    ids, scores = inner_products.top_of_blocks(search.best, search.arrays, queries, *hidden, search.num_items, k_found)
    ids = np.asarray(ids).reshape(-1, k_found)[: len(users)]
    scores = np.asarray(scores).reshape(-1, k_found)[: len(users)]
    ids = np.where(np.isneginf(scores), PADDING, ids)
    missing = ((0, 0), (0, k - k_found))
    return np.pad(ids, missing, constant_values=PADDING), np.pad(scores, missing, constant_values=-np.inf)


def similar_items(vectors: Array, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k items whose vectors have the largest cosine with those of `rows`, which are left out themselves.

    Ids int32 and cosines float32, both [rows, k], best first, filled up as in `top_items`. A zero vector has cosine 0.
    """
    lengths = jnp.linalg.norm(vectors, axis=1, keepdims=True)
    units = vectors / jnp.where(lengths > 0, lengths, 1.0)
    itself = Lists(np.arange(len(rows) + 1), rows)
    return top_items(units[rows], units, np.arange(len(rows)), itself, k)


def _hidden_pairs(users: np.ndarray, seen: Lists | None, num_blocks: int, block: int) -> tuple[np.ndarray, np.ndarray]:
    """(row in block, item) of each item to leave out, int32 [blocks, pairs], padded with positions out of range.

    The number of pairs is a power of two, at least PAIRS, so that a user's own number compiles nothing."""
    if seen is None:
        return np.full((num_blocks, 1), PADDING, np.int32), np.full((num_blocks, 1), PADDING, np.int32)
    counts = seen.offsets[users + 1] - seen.offsets[users]
    query = np.repeat(np.arange(len(users)), counts)
    within = np.arange(len(query)) - np.repeat(np.cumsum(counts) - counts, counts)
    items = seen.items[np.repeat(seen.offsets[users], counts) + within]
    per_block = np.bincount(query // block, minlength=num_blocks)
    place = np.arange(len(query)) - np.repeat(np.cumsum(per_block) - per_block, per_block)
    pairs = max(PAIRS, int(per_block.max(initial=0)))
    shape = (num_blocks, 1 << (pairs - 1).bit_length())
    rows, columns = np.full(shape, PADDING, np.int32), np.full(shape, PADDING, np.int32)
    rows[query // block, place] = query % block
    columns[query // block, place] = items
    return rows, columns


def ranking_metrics(
    ids: np.ndarray, scores: np.ndarray, users: np.ndarray, relevant: Lists, counts: np.ndarray, names: Sequence[str]
) -> dict[str, float]:
    """Means over the queries of metrics such as "recall@20"; ids and scores are [queries, largest k + 1].

    The one place more shows whether the last place is tied with items that did not make the list. `counts` int [items]
    are training interactions, for metrics that look at popularity.
    """
    judged: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    values = {}
    for name in names:
        metric, bucket, k = parse_name(name)
        if metric in OF_LISTS:
            values[name] = OF_LISTS[metric](ids[:, :k], counts)
            continue
        if bucket not in judged:
            part = _in_bucket(relevant, counts, bucket) if bucket else relevant
            num_relevant = part.offsets[users + 1] - part.offsets[users]
            if not num_relevant.any():
                raise InputError(f"metric {name!r}: none of the held-out items is of the {bucket}, by popularity")
            hits = _ties_against(_hits(ids, users, part, len(counts)), scores)
            judged[bucket] = hits[num_relevant > 0], num_relevant[num_relevant > 0]
        hits, num_relevant = judged[bucket]
        values[name] = float(metrics.AT_K[metric](hits[:, :k], num_relevant).mean())
    return values


# Metrics of the lists alone, whoever they are for: (items [queries, k], counts) -> number.
OF_LISTS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "coverage": lambda items, counts: metrics.coverage(items, len(counts)),
    "popularity": metrics.popularity,
}


def parse_name(name: str) -> tuple[str, str, int]:
    """ "recall@20" -> ("recall", "", 20), "recall_tail@20" -> ("recall", "tail", 20), "map" -> ("map", "", 0)."""
    metric, _, k = name.partition("@")
    stem, _, bucket = metric.rpartition("_")
    if stem in metrics.AT_K and bucket in metrics.BUCKETS:
        metric = stem
    else:
        bucket = ""
    known = [*metrics.AT_K, *OF_LISTS]
    if name == WHOLE:
        return WHOLE, "", 0
    if metric not in known:
        near = difflib.get_close_matches(metric, known, 1) or known
        raise InputError(
            f"unknown metric {name!r}: did you mean {near[0]}@{k or 20}? Known: {', '.join(known)}, each with @k;"
            " map without, of whole lists; recall_head, _mid and _tail and the like look at items of one popularity"
        )
    if not k.isdigit() or int(k) < 1:
        raise InputError(f"metric {name!r} needs a list length, such as {name.partition('@')[0]}@20")
    return metric, bucket, int(k)


def _in_bucket(relevant: Lists, counts: np.ndarray, bucket: str) -> Lists:
    """The same lists with only the items of one popularity bucket left in."""
    kept = metrics.popularity_buckets(counts)[relevant.items] == metrics.BUCKETS.index(bucket)
    return Lists(np.concatenate([[0], np.cumsum(kept)])[relevant.offsets], relevant.items[kept])


def _hits(ids: np.ndarray, users: np.ndarray, relevant: Lists, num_items: int) -> np.ndarray:
    """Whether each listed item is among its user's relevant items, bool [queries, k]."""
    owners = np.repeat(np.arange(len(relevant.offsets) - 1), np.diff(relevant.offsets))
    known = owners.astype(np.int64) * num_items + relevant.items  # ascending
    wanted = users[:, None].astype(np.int64) * num_items + np.minimum(ids, num_items - 1)
    place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return (known[place] == wanted) & (ids < num_items)


def _ties_against(hits: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Hits moved to the end of their group of equal scores; those tied with the last score of the list are lost.

    More items with that score may lie beyond the list, so a hit there has no sure place.
    """
    settled = hits & (scores > scores[:, -1:])
    order = np.lexsort((settled, -scores), axis=1)  # a stable sort by falling score, then misses before hits
    return np.take_along_axis(settled, order, axis=1)


def ranking_of_vectors(
    queries: Array | np.ndarray, items: Array | np.ndarray, split: Split, *, names: Sequence[str] = RANKING_METRICS
) -> dict[str, float]:
    """Metrics of query and item vectors [num_users, dim] and [num_items, dim] on a split's held-out items.

    Only users with held-out items are asked.
    """
    return _ranking(lambda users: jnp.asarray(queries)[users], jnp.asarray(items), split, names)


def ranking(
    model: Any, state: TrainState, examples: Examples, split: Split, *, names: Sequence[str] = RANKING_METRICS
) -> dict[str, float]:
    """Metrics of a Retriever; examples.test holds one query a user, in the order of the user rows."""

    def ask(users):
        columns = {name: column[users] for name, column in examples.test.items()}
        return query_vectors(model, state, examples.constants, columns)

    return _ranking(ask, item_vectors(model, state, examples.constants), split, names)


def _ranking(ask: Callable[[np.ndarray], Array], items: Array, split: Split, names: Sequence[str]) -> dict[str, float]:
    """`ask` gives the query vectors of user rows: those with held-out items, who may be few."""
    longest = max(parse_name(name)[-1] for name in names)
    relevant, seen = lists_by_user(split.test), lists_by_user(split.train)
    users = np.flatnonzero(np.diff(relevant.offsets))
    queries, found = ask(users), {}
    ids, scores = top_items(queries, items, users, seen, longest + 1)
    cut = [name for name in names if name != WHOLE]
    found |= ranking_metrics(ids, scores, users, relevant, split.train.item_counts, cut)
    if WHOLE in names:
        found[WHOLE] = whole_list_precision(queries, items, users, seen, relevant)
    return {name: found[name] for name in names}


def whole_list_precision(queries: Array, items: Array, users: np.ndarray, seen: Lists, relevant: Lists) -> float:
    """Mean over the queries of metrics.whole_average_precision; query i is of user `users[i]`. The host sorts scores,
    block of users by block."""
    block = max(1, BLOCK_BYTES // (4 * len(items)))
    total = 0.0
    for start in range(0, len(users), block):
        scores = np.asarray(inner_products.multiply(queries[start : start + block], items.T))
        for user, row in zip(users[start : start + block], scores, strict=True):
            own, had = (lists.items[slice(*lists.offsets[user : user + 2])] for lists in (relevant, seen))
            total += metrics.whole_average_precision(row, own, had)
    return total / len(users)


def ratings(
    model: Any, state: TrainState, examples: Examples, split: Split, *, names: Sequence[str] = RATING_METRICS
) -> dict[str, float]:
    """RMSE and MAE of a Scorer on the held-out ratings, predictions clipped to the range of the training ratings."""
    known = {"rmse": metrics.rmse, "mae": metrics.mae}
    for name in names:
        if name not in known:
            raise InputError(f"metric {name!r} does not judge ratings: there are {', '.join(known)}")
    predicted = score(model, state, examples.constants, examples.test)
    inner_products.check_finite(predicted, "scores")
    predicted = np.clip(np.asarray(predicted), *(examples.spec.rating_range or (None, None)))
    return {name: known[name](predicted, split.test.ratings) for name in names}


def clicks(
    model: Any, state: TrainState, examples: Examples, split: Split, *, names: Sequence[str] = CLICK_METRICS
) -> dict[str, float]:
    """Metrics of a Scorer whose scores are logits, on all held-out rows; "gauc" groups them by the field `user`."""
    logits = score(model, state, examples.constants, examples.test)
    inner_products.check_finite(logits, "scores")
    return click_metrics(np.asarray(logits), split.test, names)


def click_metrics(logits: np.ndarray, test: FieldTable, names: Sequence[str] = CLICK_METRICS) -> dict[str, float]:
    """Metrics of logits [n] for the rows of a table."""
    known = {"auc": metrics.auc, "log_loss": metrics.log_loss}
    known |= {"accuracy": metrics.accuracy, "calibration": metrics.calibration}
    found = {}
    for name in names:
        if name == "gauc":
            if "user" not in test.names:
                raise InputError(f"gauc needs a field called user; the fields are {', '.join(test.field_names)}")
            found[name] = metrics.gauc(logits, test.label, test.codes[:, test.names.index("user")])
        elif name in known:
            found[name] = known[name](logits, test.label)
        else:
            raise InputError(f"metric {name!r} does not judge clicks: there are {', '.join([*known, 'gauc'])}")
    return found


def _in_blocks(
    model: Any,
    state: TrainState,
    constants: Mapping[str, Any],
    columns: Mapping[str, np.ndarray],
    ask: Callable,
    *given: Any,
    block: int = 8192,
) -> Array:
    """ask(bound model, batch, *given), block by block, in one compiled call; padding is asked with ids PADDING."""
    size = len(next(iter(columns.values())))
    block = min(block, size)
    missing = -size % block

    def padded(column):
        column = np.concatenate([column, np.full((missing, *column.shape[1:]), fill_of(column), column.dtype)])
        return column.reshape(len(column) // block, block, *column.shape[1:])

    blocks = {name: padded(np.asarray(column)) for name, column in columns.items()}
    answers = _answers(model, ask, variables(state, constants), given, blocks)
    return answers.reshape(-1, *answers.shape[2:])[:size]


# A model is a value: equal models of equal shapes share one compiled call, whichever epoch or run asks. What is asked
# is a function of this module for the same reason.
@partial(jax.jit, static_argnums=(0, 1))
def _answers(model: Any, ask: Callable, values: Mapping[str, Any], given: tuple, blocks: Mapping[str, Array]) -> Array:
    return jax.lax.map(lambda batch: model.apply(values, batch, *given, method=ask), blocks)


@partial(jax.jit, static_argnums=0)
def _prepared(model: Any, values: Mapping[str, Any]) -> Any:
    return model.apply(values, method="prepare")


@partial(jax.jit, static_argnums=0)
def _all_items(model: Any, values: Mapping[str, Any]) -> Array:
    return model.apply(values, method=_ask_items)


def _ask_query(bound: Any, batch: Batch, prepared: Any) -> Array:
    return bound.query(batch, prepared)


def _ask_items(bound: Any) -> Array:
    return bound.item_vectors(None, bound.prepare())


def _ask_score(bound: Any, batch: Batch) -> Array:
    return bound(batch)
