"""What the suite youtube measures of the candidate generation, in processes of their own: trainings on the simulated
site, judged by the watches of its last days."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import isolated
from zoo import (
    chunks,
    evaluate,
    make_train_step,
    names,
    negatives,
    objectives,
    optimizers,
    scan_steps,
    schedules,
    tasks,
)
from zoo.data import simulate, splits
from zoo.data.interactions import Interactions
from zoo.recipe import Examples, Recipe
from zoo.train_step import init_state
from zoo.types import TrainState


# Chosen on world seed 0. Many users and few videos: where few examples came again and again, towers fell behind a
# linear map, and so they did after a quarter of the steps that part `features` takes.
WORLD = {"num_users": 60_000, "num_videos": 500, "num_watches": 3_000_000}
HELD_OUT = 0.03  # of the watches: the last days
TRAINING = {"epochs": 1, "learning_rate": 5e-3, "batch_size": 1000}
EXAMPLES = {"longest": 12, "longest_searches": 6}
NEGATIVES = 250  # of parts `features` and `age`
COMPARED = 1000  # of part `negatives`, as many as the recipe's and as the labels of a batch
AGES = (0, 2, 5, 10, 20, 40, 80, 200)  # days: edges of the bins of upload age


@dataclass(frozen=True)
class Configuration:
    what: str  # features, negatives or age, the functions below
    features: tuple[str, ...] = ()  # beside the watches
    depths: tuple[int, ...] = (3,)
    world: Mapping[str, int] = field(default_factory=lambda: WORLD)  # of zoo.data.simulate.simulate
    settings: Mapping[str, Any] = field(default_factory=dict)  # over TRAINING
    per_user: int = 30  # examples
    seed: int = 0  # of the world and of the run


def measure(configuration: Configuration) -> dict[str, Any]:
    return {"features": features, "negatives": losses, "age": age}[configuration.what](configuration)


def features(configuration: Configuration) -> dict[str, Any]:
    """Metrics of each depth, and of popularity."""
    split, recipe = parts(configuration, site(configuration))
    examples, found = recipe.examples(split), []
    for depth in configuration.depths:
        trained = train(with_depth(recipe, depth), examples, configuration.seed)
        found.append({"metrics": metrics(trained, examples, split), "seconds": trained.seconds})
    return {"runs": found, "baselines": tasks.next_watch_baselines(split)}


LOSSES: Mapping[str, Callable[..., Any]] = {
    "full": objectives.full_softmax,
    **{
        name + end: partial(objectives.sampled_softmax, sampler=partial(sampler, count=COMPARED), correct=not end)
        for name, sampler in (("popularity", negatives.popularity), ("log-uniform", negatives.log_uniform))
        for end in ("", ", no logQ")
    },
    "in-batch": objectives.in_batch_softmax,
    "in-batch, no logQ": partial(objectives.in_batch_softmax, correct=False),
}


def losses(configuration: Configuration) -> dict[str, Any]:
    """Metrics of each loss; the videos stand in the order of their frequency, as log-uniform negatives take them."""
    split, recipe = parts(configuration, by_frequency(site(configuration)))
    examples, (depth,), found = recipe.examples(split), configuration.depths, {}
    for name, objective in LOSSES.items():
        trained = train(replace(with_depth(recipe, depth), objective=objective), examples, configuration.seed)
        found[name] = {"metrics": metrics(trained, examples, split), "seconds": trained.seconds}
    return {"runs": found}


def age(configuration: Configuration) -> dict[str, Any]:
    """The share of the held-out watches by upload age, and what is predicted, with the example's age and without."""
    world, (depth,) = site(configuration), configuration.depths
    found: dict[str, Any] = {"edges_days": AGES}
    for name, chosen in (("without", ()), ("with", ("example_age",))):
        split, recipe = parts(replace(configuration, features=(*configuration.features, *chosen)), world)
        examples = recipe.examples(split)
        trained = train(with_depth(recipe, depth), examples, configuration.seed)
        found[name], found["true"] = shares(trained, examples, split)
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


def parts(configuration: Configuration, world: Interactions) -> tuple[splits.Split, Recipe]:
    """The split, and the recipe ranking as the suite trains it. All tables are small, and updated densely."""
    recipe = names.recipe("youtube_candidates/ranking")[2]
    chosen = {"per_user": configuration.per_user, "features": tuple(configuration.features)}
    settings: dict[str, Any] = {
        "examples": _with(recipe.examples, **EXAMPLES, **chosen),
        "objective": partial(objectives.sampled_softmax, sampler=partial(negatives.popularity, count=NEGATIVES)),
        "optimizer": optimizers.dense_adam,
        **TRAINING,
        **configuration.settings,
    }
    return splits.temporal(world, 0, fraction=HELD_OUT), replace(recipe, **settings)


def with_depth(recipe: Recipe, depth: int) -> Recipe:
    return replace(recipe, model=_with(recipe.model, depth=depth))


def _with(function: Any, **settings: Any) -> partial:
    return partial(function.func, **(function.keywords | settings))


class Trained(NamedTuple):
    model: Any
    state: TrainState
    seconds: float  # of training, compilation included


def train(recipe: Recipe, examples: Examples, seed: int) -> Trained:
    """All epochs, each as one compiled call."""
    began, model = time.perf_counter(), recipe.model(examples.spec)
    assert recipe.objective is not None and recipe.optimizer is not None, "the recipe trains"
    steps = recipe.epochs * chunks.steps_per_epoch(examples, recipe)
    optimizer = recipe.optimizer(schedules.cosine(recipe.learning_rate, steps))
    columns, constants = (jax.tree.map(jnp.asarray, dict(part)) for part in (examples.train, examples.constants))
    batch = {n: jax.ShapeDtypeStruct((recipe.batch_size, *c.shape[1:]), c.dtype) for n, c in columns.items()}
    batch["mask"] = jax.ShapeDtypeStruct((recipe.batch_size,), jnp.float32)
    state = init_state(model, recipe.objective, optimizer, batch, jax.random.key(seed), constants)
    scan: Any = scan_steps(make_train_step(model, recipe.objective, optimizer))
    for epoch in range(recipe.epochs):
        order = jnp.asarray(chunks.epoch_order(examples, recipe, seed, epoch))
        state, _ = scan(state, constants, columns, order)
    return Trained(model, jax.block_until_ready(state), time.perf_counter() - began)


def metrics(trained: Trained, examples: Examples, split: splits.Split) -> dict[str, float]:
    return tasks.next_watch_metrics(trained.model, trained.state, examples, split)


def shares(trained: Trained, examples: Examples, split: splits.Split) -> tuple[list[float], list[float]]:
    """By upload age: the mean probability under the softmax of each held-out watch, and the share of the watches.

    Of the videos that training knows; a probability is of those uploaded by then.
    """
    known = split.train.item_counts > 0
    judged = known[split.test.item]
    test = split.test.take(judged)
    queries = tasks.next_watch_queries(trained.model, trained.state, examples, split)[judged]
    items = np.asarray(evaluate.item_vectors(trained.model, trained.state, examples.constants))[known]
    upload, moment = test.item_features["upload_time"], test.timestamp
    assert moment is not None, "the simulated site has times"
    edges = np.array(AGES) * simulate.DAY_SECONDS
    predicted = np.zeros(len(AGES) - 1)
    for start in range(0, len(test), 1024):
        own = slice(start, start + 1024)
        ages = moment[own, None] - upload[known][None, :]
        logits = jnp.where(ages > 0, queries[own] @ items.T, -jnp.inf)
        probabilities = np.asarray(jax.nn.softmax(logits, axis=1), np.float64)
        predicted += np.histogram(ages, edges, weights=probabilities)[0]
    true, _ = np.histogram(moment - upload[test.item], edges)
    return (predicted / predicted.sum()).tolist(), (true / true.sum()).tolist()


if __name__ == "__main__":
    isolated.answer(measure, Configuration)
