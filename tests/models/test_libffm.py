"""The recipe ffm/libffm, against a transcription of the update that ffm.cpp makes for one example."""

from functools import partial
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np

from zoo import names, objectives, optimizers, train_step
from zoo.models import ffm
from zoo.types import Spec


SIZES, DIM, RATE, L2 = (5, 3, 4), 2, 0.2, 2e-3


def libffm_update(w, accumulated, features, y):
    """One example: w and accumulated [features, fields, dim] are changed in place; y is -1 or 1; all values are 1."""
    r = 1 / len(features)  # 1 / sum of squared values
    pairs = list(combinations(enumerate(features), 2))
    t = sum(r * (w[j1, f2] @ w[j2, f1]) for (f1, j1), (f2, j2) in pairs)
    kappa = -y * np.exp(-y * t) / (1 + np.exp(-y * t))
    for (f1, j1), (f2, j2) in pairs:
        g1 = L2 * w[j1, f2] + kappa * r * w[j2, f1]
        g2 = L2 * w[j2, f1] + kappa * r * w[j1, f2]
        accumulated[j1, f2] += g1**2
        accumulated[j2, f1] += g2**2
        w[j1, f2] -= RATE * g1 / np.sqrt(accumulated[j1, f2])
        w[j2, f1] -= RATE * g2 / np.sqrt(accumulated[j2, f1])
    return np.log1p(np.exp(-y * t))


def meant_for(table):
    """[rows, (fields - 1) dim] -> [rows, fields, dim], with zeros where a value would meet its own field."""
    held = np.zeros((sum(SIZES), len(SIZES), DIM))
    field = np.repeat(np.arange(len(SIZES)), SIZES)
    for row, vectors in enumerate(np.asarray(table, np.float64).reshape(-1, len(SIZES) - 1, DIM)):
        held[row, [g for g in range(len(SIZES)) if g != field[row]]] = vectors
    return held


def test_updates_are_those_of_libffm():
    rng = np.random.default_rng(0)
    rows = rng.integers(SIZES, size=(60, 3)) + np.array([0, 5, 8])
    label = rng.integers(0, 2, 60)
    model, optimizer = ffm.LibFFM(Spec(field_sizes=SIZES), DIM), optimizers.libffm(RATE, L2)
    batch = {"fields": jnp.asarray(rows[:1], jnp.int32), "label": jnp.ones(1)}
    state = train_step.init_state(model, objectives.logistic, optimizer, batch, jax.random.key(0))
    start = np.asarray(state.tables["factors"])
    assert start.min() >= 0 and start.max() < DIM**-0.5 and start.std() > 0.15
    w, accumulated = meant_for(start), np.ones((sum(SIZES), len(SIZES), DIM))
    step = jax.jit(partial(train_step.core_step, model, objectives.logistic, optimizer))
    for row, y in zip(rows, label):
        one = {"fields": jnp.asarray(row[None], jnp.int32), "label": jnp.asarray([y], jnp.float32)}
        state, metrics = step(state, one, {})
        loss = libffm_update(w, accumulated, row, 2 * y - 1)
        np.testing.assert_allclose(metrics["loss_sum"], loss, rtol=1e-5)
    np.testing.assert_allclose(meant_for(state.tables["factors"]), w, atol=1e-5)
    assert np.abs(w - meant_for(start)).max() > 0.1


def test_the_recipe_has_its_defaults():
    recipe = names.recipe("ffm/libffm")[2]
    assert recipe.learning_rate == 0.2 and recipe.epochs == 15 and recipe.optimizer.keywords == {"l2": 2e-5}
    assert recipe.model(Spec(field_sizes=SIZES)).embedding_dim == 4
