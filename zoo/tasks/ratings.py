"""Predict the rating that a user would give an item; judged by RMSE on all held-out ratings."""

from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np

from zoo import evaluate, metrics
from zoo.data.fields import FieldTable
from zoo.data.interactions import merge_repeats
from zoo.data.splits import Split
from zoo.evaluate import Lists
from zoo.recipe import Examples, Recipe
from zoo.types import Spec, TrainState


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
        found.append(best_of_pairs(model, state, examples, columns, some, seen, k))
    return np.concatenate([ids for ids, _ in found]), np.concatenate([scores for _, scores in found])


def best_of_pairs(model, state, examples, columns, users, seen, k):
    """The k best items of each of `users`, whose pairs with all items `columns` are, one user after the other."""
    scores = evaluate.score(model, state, examples.constants, columns).reshape(len(users), -1)
    # A list of scores is its dot product with a unit vector: the same search, the same rule for what was seen.
    return evaluate.top_items(jnp.eye(len(users)), scores.T, users, seen, k)
