"""The tasks a recipe can set: how a split becomes examples, how a model is judged on it, and what it is compared with.

A model file says `tasks.ranking(model=..., objective=..., ...)` and has a whole Recipe.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np

from zoo import evaluate, graph, metrics
from zoo.data.interactions import Interactions, merge_repeats
from zoo.data.splits import Split
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
    """The global mean, and the mean with damped user and item deviations (Koren 2010, section 2.1, damping 10 and
    15)."""
    train, test = split.train, split.test
    mean = train.ratings.mean(dtype=np.float64)

    def deviations(rows, count, residual, damping):
        return np.bincount(rows, residual, count) / (damping + np.bincount(rows, minlength=count))

    item_bias = deviations(train.item, train.num_items, train.ratings - mean, 10)
    user_bias = deviations(train.user, train.num_users, train.ratings - mean - item_bias[train.item], 15)
    predictions = {
        "global_mean": np.full(len(test), mean),
        "user_item_mean": mean + user_bias[test.user] + item_bias[test.item],
    }
    low, high = float(train.ratings.min()), float(train.ratings.max())
    return {
        name: {
            "rmse": metrics.rmse(np.clip(predicted, low, high), test.ratings),
            "mae": metrics.mae(np.clip(predicted, low, high), test.ratings),
        }
        for name, predicted in predictions.items()
    }


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
        columns: Mapping[str, np.ndarray] = {"user": np.repeat(some, num_items), "item": np.tile(items, len(some))}
        scores = evaluate.score(model, state, examples.constants, columns).reshape(len(some), num_items)
        # A list of scores is its dot product with a unit vector: the same search, the same rule for what was seen.
        found.append(evaluate.top_items(jnp.eye(len(some)), scores.T, some, seen, k))
    return np.concatenate([ids for ids, _ in found]), np.concatenate([scores for _, scores in found])
