"""The zoo's own evaluation of what either side answered: vectors, lists of items, or predicted ratings."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import isolated
from zoo import evaluate, metrics, workdir
from zoo.data import splits
from zoo.data.interactions import Interactions
from zoo.data.splits import Split
from zoo.types import PADDING


@dataclass(frozen=True)
class Configuration:
    file: str
    answer: str  # users, items: vectors; or ids, scores: lists; or predictions


def measure(configuration: Configuration) -> dict[str, Any]:
    interactions = workdir.load_data(Path(configuration.file))
    assert isinstance(interactions, Interactions), "the file holds interactions"
    split = splits.published(interactions, 0)
    with np.load(configuration.answer) as file:
        answer = {name: file[name] for name in file.files}
    kinds = {("users", "items"): of_vectors, ("ids", "scores"): of_lists, ("predictions",): of_ratings}
    for names, judged in kinds.items():
        if set(answer) == set(names):
            return {"metrics": judged(split, *(answer[name] for name in names))}
    raise ValueError(f"an answer of {', '.join(answer)}: there are vectors, lists and predictions")


def of_vectors(split: Split, users: np.ndarray, items: np.ndarray) -> dict[str, float]:
    return evaluate.ranking_of_vectors(users, items, split)


def of_lists(split: Split, ids: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """Lists of k items a user, in the order of the user rows; nothing is known of what did not make a list."""
    relevant = evaluate.lists_by_user(split.test)
    users = np.flatnonzero(np.diff(relevant.offsets))
    ids = np.pad(ids[users], ((0, 0), (0, 1)), constant_values=PADDING)
    scores = np.pad(scores[users], ((0, 0), (0, 1)), constant_values=-np.inf)
    counts = np.bincount(split.train.item, minlength=split.train.num_items)
    names = [f"{metric}@{ids.shape[1] - 1}" for metric in ("recall", "ndcg")]
    return evaluate.ranking_metrics(ids, scores, users, relevant, counts, names)


def of_ratings(split: Split, predictions: np.ndarray) -> dict[str, float]:
    """Predictions clipped to the range of the training ratings, as zoo.evaluate clips the zoo's own."""
    if not np.isfinite(predictions).all():
        raise FloatingPointError("predictions hold NaN or infinity")
    ratings = split.train.ratings
    clipped = np.clip(predictions, ratings.min(), ratings.max())
    return {
        "rmse": metrics.rmse(clipped, split.test.ratings),
        "mae": metrics.mae(clipped, split.test.ratings),
    }


if __name__ == "__main__":
    isolated.answer(measure, Configuration)
