"""Many models of one recipe, each on rows of its own, trained as one program whose leading axis they are.

k-fold    a model for each fold, which it does not see, and one on all rows: what it gets wrong on rows that no model
          saw stands beside the mean of the folds
bagging   models whose predictions are averaged (Breiman 1996): each on rows drawn with replacement, or all on the same
          rows, from first weights and in an order of their own (Lakshminarayanan et al. 2017)
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import trials
from zoo import chunks, evaluate, metrics
from zoo.tasks.rows import ratings_in_range
from zoo.types import TrainState


DRAWS = ("with replacement", "all rows")  # the values of bagging


@dataclass(frozen=True)
class Ensemble:
    name: str
    model: str
    data: str
    kind: Callable[["Ensemble", "Together", Any, int], dict[str, Any]]
    values: tuple[Any, ...]
    members: int
    rate: float
    epochs: int
    settings: Mapping[str, Any] = field(default_factory=dict)


def trained(study: Ensemble, seeds: int, done: Mapping[tuple, Any]) -> Iterator[dict[str, Any]]:
    """The record of each value and seed that is not done."""
    for value in study.values:
        program: Together | None = None
        for seed in range(1, 1 + seeds):
            if (study.name, study.data, value, study.rate, seed) in done:
                continue
            program = program or prepared(study, value)
            found = study.kind(study, program, value, seed)
            metric = metric_of(program.task)
            yield {"value": value, "learning_rate": study.rate, "seed": seed, "metric": metric, **found}


class Together(NamedTuple):
    """A task, and how its trials are trained as one program."""

    task: trials.Task
    first: Any  # seeds [trials] -> states
    call: Any  # (rate, states, constants, columns, order [trials, steps, batch]) -> (states, metrics)


def prepared(study: Ensemble, value: Any) -> Together:
    own = {"optimizer.l2": value} if study.kind is k_fold else {}
    task = trials.prepared(trials.Workload(study.name, study.model, study.data, 0, 0.0, 0.0, {**study.settings, **own}))
    rule = task.recipe.optimizer
    assert rule is not None, "a closed form has no steps"
    first = jax.jit(jax.vmap(lambda seed: trials.first_state(task, rule, seed)))
    run = jax.vmap(trials.with_rate(task, rule), in_axes=(None, 0, None, None, 0))
    return Together(task, first, jax.jit(run, donate_argnums=1))


def k_fold(study: Ensemble, program: Together, value: Any, seed: int) -> dict[str, Any]:
    """The value of the metric on each fold, by the model that did not see it, and on validation rows, by one that saw
    all folds."""
    task = program.task
    fold = np.random.default_rng(seed).permutation(task.examples.num_train) % study.members
    rows = [np.flatnonzero(fold != own) for own in range(study.members)] + [np.arange(len(fold))]
    states = trained_together(program, study.rate, orders(rows, task.recipe.batch_size, study.epochs, seed), seed)
    train = task.examples.train
    of_folds = []
    for own in range(study.members):
        columns = {name: train[name][fold == own] for name in task.examples.test}
        of_folds.append(judged(task, scores(task, member(states, own), columns), train["label"][fold == own]))
    whole = scores(task, member(states, study.members), task.examples.test)
    return {"varied": "optimizer.l2", "folds": of_folds, "valid": judged(task, whole, task.split.test.ratings)}


def bagging(study: Ensemble, program: Together, value: Any, seed: int) -> dict[str, Any]:
    """The value of the metric on validation rows: of each member alone, and of the mean of the first 1, 2, ... ."""
    task = program.task
    rng, count = np.random.default_rng(seed), task.examples.num_train
    drawn = value == DRAWS[0]
    rows = [rng.integers(0, count, count) if drawn else np.arange(count) for _ in range(study.members)]
    states = trained_together(program, study.rate, orders(rows, task.recipe.batch_size, study.epochs, seed), seed)
    label = task.split.test.label if hasattr(task.split.test, "label") else task.split.test.ratings
    each = np.stack([scores(task, member(states, own), task.examples.test) for own in range(study.members)])
    means = np.cumsum(each, axis=0) / np.arange(1, 1 + study.members)[:, None]
    return {
        "varied": "the rows of a member",
        "members": [judged(task, own, label) for own in each],
        "means": [judged(task, mean, label) for mean in means],
    }


def orders(rows: Sequence[np.ndarray], batch_size: int, epochs: int, seed: int) -> np.ndarray:
    """The rows of each trial in an order drawn for each of its epochs, int32 [trials, steps, batch]. Trials of fewer
    rows end with empty batches (-1)."""
    found = []
    for trial, own in enumerate(rows):
        places = np.concatenate(
            [chunks.shuffled(len(own), batch_size, (seed, trial, epoch)) for epoch in range(epochs)]
        )
        found.append(np.where(places < 0, -1, own[places]).astype(np.int32))
    steps = max(map(len, found))
    return np.stack([np.pad(own, ((0, steps - len(own)), (0, 0)), constant_values=-1) for own in found])


def trained_together(program: Together, rate: float, order: np.ndarray, seed: int) -> TrainState:
    """The states that all trials end in, their leading axis the trials. Each starts from weights of its own."""
    task, states = program.task, program.first(jnp.arange(len(order)) + 1000 * seed)
    return program.call(jnp.float32(rate), states, task.constants, task.columns, order)[0]


def member(states: TrainState, trial: int) -> TrainState:
    return jax.tree.map(lambda leaf: leaf[trial], states)


def scores(task: trials.Task, state: TrainState, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.asarray(evaluate.score(task.model, state, task.constants, columns))


def metric_of(task: trials.Task) -> str:
    return "rmse" if task.recipe.metric == "rmse" else "log_loss"


def judged(task: trials.Task, predicted: np.ndarray, label: np.ndarray) -> float:
    """RMSE of scores that are ratings, log loss of logits, whose mean is the geometric mean of the odds."""
    if metric_of(task) == "rmse":
        return metrics.rmse(ratings_in_range(predicted, task.examples.spec), label)
    return metrics.log_loss(predicted, label)
