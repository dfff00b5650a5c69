"""The tasks a recipe can set: how a split becomes examples, how a model is judged on it, and what it is compared with.

A model file says `tasks.ranking(model=..., objective=..., ...)` and has a whole Recipe.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np

from zoo import evaluate, graph, metrics, objectives
from zoo.data import fields, histories
from zoo.data.fields import FieldTable
from zoo.data.interactions import Interactions, merge_repeats
from zoo.data.splits import Split
from zoo.errors import InputError
from zoo.evaluate import Lists
from zoo.recipe import Examples, Recipe
from zoo.types import Spec, TrainState


def ranking(**settings: Any) -> Recipe:
    """Recommend items that a user has not met yet, from implicit feedback; judged on all items."""
    common: dict[str, Any] = {
        "examples": ranking_examples,
        "evaluate": evaluate.ranking,
        "baselines": ranking_baselines,
        "recommend": recommend_by_vectors,
        "repeats": merge_repeats,
        "metric": "recall@20",
    }
    return Recipe(**(common | settings))


def rating(**settings: Any) -> Recipe:
    """Predict the rating a user would give; judged by RMSE on all held-out ratings."""
    common: dict[str, Any] = {
        "examples": rating_examples,
        "evaluate": evaluate.ratings,
        "baselines": rating_baselines,
        "recommend": recommend_by_scores,
        "repeats": partial(merge_repeats, keep_last=True),
        "metric": "rmse",
    }
    return Recipe(**(common | settings))


def clicks(**settings: Any) -> Recipe:
    """Predict whether a row of a field table is a click; judged by AUC and log loss on all held-out rows."""
    common: dict[str, Any] = {
        "reads": FieldTable,
        "data": "planted",
        "examples": click_examples,
        "objective": objectives.logistic,
        "evaluate": evaluate.clicks,
        "baselines": click_baselines,
        "predict": probabilities,
        "metric": "auc",
    }
    return Recipe(**(common | settings))


def field_rating(**settings: Any) -> Recipe:
    """Predict a rating from a row of a field table, of which one field is the user and one the item; judged by RMSE."""
    common: dict[str, Any] = {
        "reads": FieldTable,
        "data": "movielens-1m",
        "examples": field_rating_examples,
        "objective": objectives.squared_error,
        "evaluate": evaluate.ratings,
        "baselines": rating_baselines,
        "predict": ratings_in_range,
        "metric": "rmse",
    }
    return Recipe(**(common | settings))


def ranking_examples(split: Split) -> Examples:
    """An example is a (user, item) pair of the training part; a query is a user."""
    train = split.train
    frequency = np.maximum(train.item_counts, 1) / train.item_counts.sum()
    return Examples(
        spec=Spec(num_users=train.num_users, num_items=train.num_items),
        train={"user": train.user, "item": train.item},
        test={"user": np.arange(train.num_users, dtype=np.int32)},
        constants={"item_log_frequency": np.log(frequency).astype(np.float32)},
    )


def graph_examples(split: Split, *, adjacency: Callable[[Interactions], graph.Graph] = graph.symmetric) -> Examples:
    """As ranking_examples, with the graph of the training part as the constant `graph`."""
    examples = ranking_examples(split)
    edges = adjacency(split.train)
    spec = replace(examples.spec, num_edges=len(edges.source))
    return replace(examples, spec=spec, constants={**examples.constants, "graph": edges})


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


def _history_columns(ranges: histories.Ranges) -> dict[str, np.ndarray]:
    return {"history_start": ranges.start, "history_length": ranges.length}


def rating_examples(split: Split) -> Examples:
    """An example is a (user, item, rating) triple."""
    train, test = split.train, split.test
    return Examples(
        spec=Spec(
            num_users=train.num_users,
            num_items=train.num_items,
            rating_mean=float(train.ratings.mean(dtype=np.float64)),
            rating_range=(float(train.ratings.min()), float(train.ratings.max())),
        ),
        train={"user": train.user, "item": train.item, "label": train.ratings},
        test={"user": test.user, "item": test.item},
    )


# Examples that are the rows of the training part as they stand, counts of items apart: those that can be streamed.
STREAMED = (ranking_examples,)


def click_examples(
    split: Split, *, min_count: int = 1, num_buckets: int = 32, edges: fields.Edges = fields.quantile_edges
) -> Examples:
    """An example is a row of fields with its label. The encoding is fitted on the training part alone.

    It is not saved: a run keeps its table, and the same table and split give the same encoding again.
    """
    for table in (split.train, split.test):
        wrong = table.label[(table.label != 0) & (table.label != 1)]
        if len(wrong):
            raise InputError(f"label {wrong[0]:g}: a click is 0 or 1; for ratings take a rating recipe (zoo list)")
    encoding = fields.fit(split.train, min_count=min_count, num_buckets=num_buckets, edges=edges)
    return _field_examples(split, encoding, Spec(field_sizes=encoding.field_sizes, base_score=_log_odds(split.train)))


def field_rating_examples(
    split: Split,
    *,
    min_count: int = 1,
    num_buckets: int = 16,
    edges: fields.Edges = fields.quantile_edges,
    without: tuple[str, ...] = (),
) -> Examples:
    """An example is a row of fields with its rating. The fields named in `without` are left out."""
    for name in ("user", "item"):  # the baselines need them: said before training, not after
        split.train.column(name)
    split = Split(split.train.without(without), split.test.without(without))
    ratings = split.train.ratings
    encoding = fields.fit(split.train, min_count=min_count, num_buckets=num_buckets, edges=edges)
    spec = Spec(
        field_sizes=encoding.field_sizes,
        base_score=float(ratings.mean(dtype=np.float64)),
        rating_range=(float(ratings.min()), float(ratings.max())),
    )
    return _field_examples(split, encoding, spec)


def _field_examples(split: Split, encoding: fields.Encoding, spec: Spec) -> Examples:
    test = field_columns(encoding, split.test)
    return Examples(
        spec=spec,
        train=field_columns(encoding, split.train) | {"label": split.train.label},
        test=test,
        counted={"field_rows": sum(encoding.field_sizes), "unknown_values": fields.unknown(test["fields"], encoding)},
        encoding=encoding,
    )


def field_columns(encoding: fields.Encoding, table: FieldTable) -> dict[str, np.ndarray]:
    """The rows of a table as a model of fields reads them: `fields`, and `bags` where there are any."""
    table = table.without([name for name in table.field_names if name not in encoding.field_names])
    columns = {"fields": encoding.encode(table)}
    return columns | {"bags": encoding.encode_bags(table)} if table.bags else columns


def probabilities(logits: np.ndarray, spec: Spec) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


def ratings_in_range(scores: np.ndarray, spec: Spec) -> np.ndarray:
    """Ratings, clipped to the range of those in train, as they are judged."""
    return np.clip(scores, *(spec.rating_range or (None, None)))


def click_baselines(split: Split) -> dict[str, dict[str, float]]:
    """The click rate of the training part as everyone's probability, and for a generated table the true ones."""
    test = split.test
    found = {"click_rate": evaluate.click_metrics(np.full(len(test), _log_odds(split.train)), test)}
    if test.truth is not None:
        found["oracle"] = evaluate.click_metrics(np.log(test.truth) - np.log1p(-test.truth), test)
    return found


def _log_odds(table: FieldTable) -> float:
    """Log odds of a click, finite for a table of one class."""
    rate = np.clip(table.label.mean(dtype=np.float64), 1e-6, 1 - 1e-6)
    return float(np.log(rate) - np.log1p(-rate))


def ranking_baselines(split: Split) -> dict[str, dict[str, float]]:
    """Popularity, and for a simulated world the oracle: what ranking by the true probabilities reaches."""
    popular = popularity_scores(split.train)[:, None]
    everyone = np.ones((split.train.num_users, 1), np.float32)
    found = {"popularity": evaluate.ranking_of_vectors(everyone, popular, split)}
    if split.train.truth is not None:
        queries, items = split.train.truth.oracle_vectors
        found["oracle"] = evaluate.ranking_of_vectors(queries, items, split)
    return found


def popularity_scores(train: Interactions) -> np.ndarray:
    """A score an item, float32 [items], higher for more training interactions; the lower row first among equals, no
    ties."""
    order = np.argsort(-train.item_counts, kind="stable")
    scores = np.empty(train.num_items, np.float32)
    scores[order] = -np.arange(train.num_items, dtype=np.float32)
    return scores


def rating_baselines(split: Split) -> dict[str, dict[str, float]]:
    """The global mean, the means of a user's and of an item's ratings, and the mean with both deviations.

    Deviations are damped as in Koren 2010, section 2.1: by 10 for items, 15 for users after items, 5 for users alone.
    """
    train, test = split.train, split.test
    mean = train.ratings.mean(dtype=np.float64)

    def deviations(rows, count, residual, damping):
        return np.bincount(rows, residual, count) / (damping + np.bincount(rows, minlength=count))

    train_user, test_user, num_users = _rows_of(train, test, "user")
    train_item, test_item, num_items = _rows_of(train, test, "item")
    user_alone = deviations(train_user, num_users, train.ratings - mean, 5)
    item_bias = deviations(train_item, num_items, train.ratings - mean, 10)
    user_bias = deviations(train_user, num_users, train.ratings - mean - item_bias[train_item], 15)
    predictions = {
        "global_mean": np.full(len(test), mean),
        "user_mean": mean + user_alone[test_user],
        "item_mean": mean + item_bias[test_item],
        "user_item_mean": mean + user_bias[test_user] + item_bias[test_item],
    }
    low, high = float(train.ratings.min()), float(train.ratings.max())
    return {
        name: {
            "rmse": metrics.rmse(np.clip(predicted, low, high), test.ratings),
            "mae": metrics.mae(np.clip(predicted, low, high), test.ratings),
        }
        for name, predicted in predictions.items()
    }


def _rows_of(train: Any, test: Any, what: str) -> tuple[np.ndarray, np.ndarray, int]:
    """The user or item of each row of train and of test, and how many there are, of Interactions or a FieldTable."""
    if isinstance(train, FieldTable):
        return train.column(what), test.column(what), len(train.levels[train.names.index(what)])
    return getattr(train, what), getattr(test, what), getattr(train, f"num_{what}s")


def recommend_by_vectors(
    model: Any, state: TrainState, examples: Examples, users: np.ndarray, seen: Lists, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The k best unseen items of each user row: item rows int32 [users, k] and scores; PADDING where items run out."""
    columns = {name: column[users] for name, column in examples.test.items()}
    queries = evaluate.query_vectors(model, state, examples.constants, columns)
    items = evaluate.item_vectors(model, state, examples.constants)
    return evaluate.top_items(queries, items, users, seen, k)


def recommend_by_scores(
    model: Any, state: TrainState, examples: Examples, users: np.ndarray, seen: Lists, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """As recommend_by_vectors for a Scorer, which scores every item for every user, some users at a time."""
    num_items = examples.spec.num_items
    items = np.arange(num_items, dtype=np.int32)
    block = max(1, min(1024, evaluate.BLOCK_BYTES // (4 * num_items)))
    found = []
    for start in range(0, len(users), block):
        some = users[start : start + block]
        columns = {"user": np.repeat(some, num_items), "item": np.tile(items, len(some))}
        found.append(_best_of_pairs(model, state, examples, columns, some, seen, k))
    return np.concatenate([ids for ids, _ in found]), np.concatenate([scores for _, scores in found])


def recommend_by_rows(
    model: Any,
    state: TrainState,
    examples: Examples,
    asked: FieldTable,
    items: FieldTable,
    of_item: Sequence[str],
    seen: tuple[np.ndarray, Lists],
    k: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The k best of `items` for each row of `asked`, completed by the fields `of_item` of each of them.

    `seen`: which of the lists of items to leave out is whose, int [rows], and the lists. Returns positions in `items`
    int32 [rows, k] and scores; PADDING where items run out.
    """
    encoding = examples.encoding
    assert encoding is not None, "examples of fields have an encoding"
    rows, others = field_columns(encoding, asked), field_columns(encoding, items)
    num_bags = len(encoding.bag_rows)
    own = np.array([name in of_item for name in encoding.field_names])
    own = {"fields": own[: len(own) - num_bags], "bags": own[len(own) - num_bags :, None]}
    if num_bags:
        width = max(rows["bags"].shape[2], others["bags"].shape[2])
        for held in (rows, others):
            missing = ((0, 0), (0, 0), (0, width - held["bags"].shape[2]))
            held["bags"] = np.pad(held["bags"], missing, constant_values=-1)
    (whose, lists), block = seen, max(1, 2**20 // len(items))
    found = []
    for start in range(0, len(asked), block):
        part = slice(start, start + block)
        pairs = {name: np.where(own[name], others[name], rows[name][part, None]) for name in rows}
        pairs = {name: column.reshape(-1, *column.shape[2:]) for name, column in pairs.items()}
        found.append(_best_of_pairs(model, state, examples, pairs, whose[part], lists, k))
    return np.concatenate([ids for ids, _ in found]), np.concatenate([scores for _, scores in found])


def _best_of_pairs(model, state, examples, columns, users, seen, k):
    """The k best items of each of `users`, whose pairs with all items `columns` are, one user after the other."""
    scores = evaluate.score(model, state, examples.constants, columns).reshape(len(users), -1)
    # A list of scores is its dot product with a unit vector: the same search, the same rule for what was seen.
    return evaluate.top_items(jnp.eye(len(users)), scores.T, users, seen, k)


def seen_rows(table: FieldTable) -> Lists:
    """The items that each user has, and at the end an empty list: all that were rated, or the clicks of a table of
    clicks."""
    names, had = table.names, table
    if np.isin(table.label, (0, 1)).all():
        had = table.take(table.label == 1)
    num_users = len(table.levels[names.index("user")]) if "user" in names else 0
    if not num_users:
        return Lists(np.zeros(2, np.int64), np.empty(0, np.int32))
    user, item = had.column("user"), had.column("item")
    order = np.lexsort((item, user))
    counts = np.bincount(user, minlength=num_users + 1)
    return Lists(np.concatenate([[0], np.cumsum(counts)]), item[order])
