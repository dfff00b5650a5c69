"""What the suite youtube measures of the candidate generation, in processes of their own: trainings on the simulated
site, judged by the watches of its last days."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import isolated
from zoo import evaluate, names, negatives, objectives, optimizers, tasks
from zoo.data import simulate, splits
from zoo.data.interactions import Interactions
from zoo.run import Job, Prepared, fit
from zoo.types import TrainState


# Chosen on world seeds 0 to 9; the model and its settings are else those of youtube_candidates/ranking.
HELD_OUT = 0.05  # of the watches: the last days
TRAINING = {"epochs": 2, "learning_rate": 3e-3, "batch_size": 1024}
EXAMPLES = {"longest": 30, "longest_searches": 10, "per_user": 60}
MODEL = {"embedding_dim": 32}
NEGATIVES = 500
AGES = (0, 2, 5, 10, 20, 40, 80, 200)  # days: edges of the bins of upload age


@dataclass(frozen=True)
class Configuration:
    what: str  # features, negatives or age, the functions below
    features: tuple[str, ...] = ()  # beside the watches
    depths: tuple[int, ...] = (3,)
    world: Mapping[str, int] = field(default_factory=dict)  # of zoo.data.simulate.simulate; {}: its default
    settings: Mapping[str, Any] = field(default_factory=dict)  # over TRAINING
    seed: int = 0  # of the world and of the run


def measure(configuration: Configuration) -> dict[str, Any]:
    return {"features": features, "negatives": losses, "age": age}[configuration.what](configuration)


def features(configuration: Configuration) -> dict[str, Any]:
    """Metrics of each depth, and of popularity."""
    world, found, record = site(configuration), [], {}
    for depth in configuration.depths:
        record, _, _ = trained(configuration, world, depth, tuple(configuration.features))
        found.append({"metrics": record["metrics"]["test"], "training": record["training"]})
    return {"runs": found, "baselines": record["baselines"]}


# Denser updates of all tables alike, so that only the loss differs.
LOSSES: Mapping[str, Callable[..., Any]] = {
    "full": objectives.full_softmax,
    **{
        name + end: partial(objectives.sampled_softmax, sampler=partial(sampler, count=NEGATIVES), correct=not end)
        for name, sampler in (("popularity", negatives.popularity), ("log-uniform", negatives.log_uniform))
        for end in ("", ", no logQ")
    },
    "in-batch": objectives.in_batch_softmax,
    "in-batch, no logQ": partial(objectives.in_batch_softmax, correct=False),
}


def losses(configuration: Configuration) -> dict[str, Any]:
    """Metrics of each loss; the videos stand in the order of their frequency, as log-uniform negatives take them."""
    world, (depth,) = by_frequency(site(configuration)), configuration.depths
    found = {}
    for name, objective in LOSSES.items():
        changes = {"objective": objective, "optimizer": optimizers.dense_adam}
        record, _, _ = trained(configuration, world, depth, tuple(configuration.features), **changes)
        found[name] = {"metrics": record["metrics"]["test"], "training": record["training"]}
    return {"runs": found}


def age(configuration: Configuration) -> dict[str, Any]:
    """The share of the held-out watches by upload age, and what is predicted, with the example's age and without."""
    world, (depth,) = site(configuration), configuration.depths
    found: dict[str, Any] = {"edges_days": AGES}
    for name, chosen in (("without", ()), ("with", ("example_age",))):
        _, prepared, state = trained(configuration, world, depth, (*configuration.features, *chosen))
        found[name], found["true"] = shares(prepared, state)
        found[f"distance_{name}"] = float(0.5 * np.abs(np.subtract(found[name], found["true"])).sum())
    return found


def site(configuration: Configuration) -> Interactions:
    return simulate.simulate(**configuration.world, seed=configuration.seed)


def by_frequency(world: Interactions) -> Interactions:
    """The same with the item of row 0 the most frequent of the training part."""
    order = np.argsort(-splits.temporal(world, 0, fraction=HELD_OUT).train.item_counts, kind="stable")
    row = np.empty(len(order), np.int32)
    row[order] = np.arange(len(order))
    features = {name: column[order] for name, column in world.item_features.items()}
    return replace(world, item=row[world.item], item_features=features, truth=None)


def trained(
    configuration: Configuration, world: Interactions, depth: int, chosen: tuple[str, ...], **changes: Any
) -> tuple[dict, Prepared, TrainState]:
    """A run of youtube_candidates/ranking judged by each next watch: its record, itself and its weights."""
    recipe = names.recipe("youtube_candidates/ranking")[2]
    sampler = partial(negatives.popularity, count=NEGATIVES)
    settings: dict[str, Any] = {
        "model": _with(recipe.model, **MODEL, depth=depth),
        "examples": _with(recipe.examples, **EXAMPLES, features=chosen),
        "objective": partial(objectives.sampled_softmax, sampler=sampler),
        "split": partial(splits.temporal, fraction=HELD_OUT),
        "repeats": None,
        **tasks.JUDGED_BY_NEXT_WATCH,
        **TRAINING,
        **configuration.settings,
        **changes,
    }
    called = {"model": "youtube_candidates", "recipe": "ranking", "data": "simulated", "split": "temporal"}
    called |= {"data_sha256": None, "stream": False}
    with tempfile.TemporaryDirectory() as folder:
        return fit(
            Job(replace(recipe, **settings), world, called, configuration.seed), Path(folder) / "run", quiet=True
        )


def _with(function: Any, **settings: Any) -> partial:
    return partial(function.func, **(function.keywords | settings))


def shares(prepared: Prepared, state: TrainState) -> tuple[list[float], list[float]]:
    """By upload age: the mean probability under the softmax of each held-out watch, and the share of the watches.

    Of the videos that training knows; a probability is of those uploaded by then.
    """
    split, examples = prepared.split, prepared.examples
    known = split.train.item_counts > 0
    judged = known[split.test.item]
    test, queries = split.test.take(judged), tasks.next_watch_queries(prepared.model, state, examples, split)[judged]
    items = np.asarray(evaluate.item_vectors(prepared.model, state, examples.constants))[known]
    upload, time = test.item_features["upload_time"], test.timestamp
    assert time is not None, "the simulated site has times"
    edges = np.array(AGES) * simulate.DAY_SECONDS
    predicted = np.zeros(len(AGES) - 1)
    for start in range(0, len(test), 1024):
        own = slice(start, start + 1024)
        ages = time[own, None] - upload[known][None, :]
        logits = jnp.where(ages > 0, queries[own] @ items.T, -jnp.inf)
        probabilities = np.asarray(jax.nn.softmax(logits, axis=1), np.float64)
        predicted += np.histogram(ages, edges, weights=probabilities)[0]
    true, _ = np.histogram(time - upload[test.item], edges)
    return (predicted / predicted.sum()).tolist(), (true / true.sum()).tolist()


if __name__ == "__main__":
    isolated.answer(measure, Configuration)
