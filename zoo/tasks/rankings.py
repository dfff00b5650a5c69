"""Recommend items that a user has not met yet, from implicit feedback; judged on all items."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from zoo import evaluate, graph
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


# Examples that are the rows of the training part as they stand, counts of items apart: those that can be streamed.
STREAMED = (ranking_examples,)


def ranking_baselines(split: Split, *, names: Sequence[str] = evaluate.RANKING_METRICS) -> dict[str, dict[str, float]]:
    """Popularity, and for a simulated world the oracle: what ranking by the true probabilities reaches."""
    popular = popularity_scores(split.train)[:, None]
    everyone = np.ones((split.train.num_users, 1), np.float32)
    found = {"popularity": evaluate.ranking_of_vectors(everyone, popular, split, names=names)}
    if split.train.truth is not None:
        queries, items = split.train.truth.oracle_vectors
        found["oracle"] = evaluate.ranking_of_vectors(queries, items, split, names=names)
    return found


def popularity_scores(train: Interactions) -> np.ndarray:
    """A score an item, float32 [items], higher for more training interactions; the lower row first among equals, no
    ties."""
    order = np.argsort(-train.item_counts, kind="stable")
    scores = np.empty(train.num_items, np.float32)
    scores[order] = -np.arange(train.num_items, dtype=np.float32)
    return scores


def recommend_by_vectors(
    model: Any, state: TrainState, examples: Examples, users: np.ndarray, seen: Lists, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The k best unseen items of each user row: item rows int32 [users, k] and scores; PADDING where items run out."""
    columns = {name: column[users] for name, column in examples.test.items()}
    queries = evaluate.query_vectors(model, state, examples.constants, columns)
    items = evaluate.item_vectors(model, state, examples.constants)
    return evaluate.top_items(queries, items, users, seen, k)
