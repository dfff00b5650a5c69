"""Predict the label of a row of a field table: a click, or a rating."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from zoo import evaluate, metrics, objectives, optimizers
from zoo.data import fields
from zoo.data.fields import FieldTable
from zoo.data.splits import Split
from zoo.errors import InputError
from zoo.evaluate import Lists
from zoo.recipe import Examples, Recipe
from zoo.tasks.ratings import best_of_pairs, rating_baselines
from zoo.types import Spec, TrainState


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


def bars(**settings: Any) -> Recipe:
    """Clicks as the public benchmark BARS has them (FuxiCTR): Adam and L2 on whole tables, large batches.

    Its runs stop when the validation rows stop improving: `--validate`. Architectures and parameter counts are those
    of its logs; dropout and L2, which it chooses anew for each data set, are one setting here.
    """
    common: dict[str, Any] = {
        "optimizer": partial(optimizers.dense_adam, l2=0.01),
        "learning_rate": 1e-3,
        "batch_size": 4096,
        "epochs": 20,
    }
    return clicks(**(common | settings))


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


def click_examples(
    split: Split,
    *,
    min_count: int = 1,
    num_buckets: int = 32,
    edges: fields.Edges = fields.quantile_edges,
    bag_form: fields.BagForm = fields.known_first,
) -> Examples:
    """An example is a row of fields with its label. The encoding is fitted on the training part alone.

    It is not saved: a run keeps its table, and the same table and split give the same encoding again.
    """
    for table in (split.train, split.test):
        wrong = table.label[(table.label != 0) & (table.label != 1)]
        if len(wrong):
            raise InputError(f"label {wrong[0]:g}: a click is 0 or 1; for ratings take a rating recipe (zoo list)")
    metrics.auc(np.zeros(len(split.test)), split.test.label)  # which refuses labels of one class: before training
    encoding = fields.fit(split.train, min_count=min_count, num_buckets=num_buckets, edges=edges, bag_form=bag_form)
    return _field_examples(split, encoding, Spec(field_sizes=encoding.field_sizes, base_score=_log_odds(split.train)))


def field_rating_examples(
    split: Split,
    *,
    min_count: int = 1,
    num_buckets: int = 16,
    edges: fields.Edges = fields.quantile_edges,
    without: tuple[str, ...] = (),
    bag_form: fields.BagForm = fields.known_first,
) -> Examples:
    """An example is a row of fields with its rating. The fields named in `without` are left out."""
    for name in ("user", "item"):  # the baselines need them: said before training, not after
        split.train.column(name)
    split = Split(split.train.without(without), split.test.without(without))
    ratings = split.train.ratings
    encoding = fields.fit(split.train, min_count=min_count, num_buckets=num_buckets, edges=edges, bag_form=bag_form)
    spec = Spec(
        field_sizes=encoding.field_sizes,
        base_score=float(ratings.mean(dtype=np.float64)),
        rating_range=(float(ratings.min()), float(ratings.max())),
    )
    return _field_examples(split, encoding, spec)


def _field_examples(split: Split, encoding: fields.Encoding, spec: Spec) -> Examples:
    if encoding.bag_form is fields.in_order and len(encoding.bag_rows) != 1:
        raise InputError(
            f"this recipe reads one text, and the data has {len(encoding.bag_rows)} among its fields "
            f"{', '.join(encoding.field_names)}: take book-crossing, or a model of fields alone such as deepfm"
        )
    test = field_columns(encoding, split.test)
    return Examples(
        spec=replace(spec, bag_length=test["bags"].shape[2] if "bags" in test else 0),
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
        found.append(best_of_pairs(model, state, examples, pairs, whose[part], lists, k))
    return np.concatenate([ids for ids, _ in found]), np.concatenate([scores for _, scores in found])


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
