"""Named pairs: each trains a model with dense weights and one without, in place; what is judged of averaged weights."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax.contrib
import pytest

from benchmarks import timing
from zoo import evaluate, names, optimizers, run, schedules, train_step
from zoo.recipe import override


NEW = ("momentum", "nesterov", "adadelta", "rmsprop", "nadam", "lion", "lamb", "adafactor")
NEW += ("muon", "schedule_free_adamw", "prodigy")
DATA = {"deepfm": "planted:num_rows=600", "mf": "simulated:num_users=100,num_videos=60,num_watches=1000"}


def steps(model, optimizer, count):
    """The losses of some steps on one batch, the last state, the compiled step and the model."""
    job = names.job(names.Request(f"{model}/smoke", DATA[model]))
    prepared = run.prepare(job)
    columns = {name: jnp.asarray(column) for name, column in prepared.examples.train.items()}
    batch = train_step.take_rows(columns, jnp.arange(64))
    constants = jax.tree.map(jnp.asarray, dict(prepared.examples.constants))
    objective = job.recipe.objective
    state = train_step.init_state(prepared.model, objective, optimizer, batch, jax.random.key(0), constants)
    step = train_step.make_train_step(prepared.model, objective, optimizer)
    compiled = step.lower(state, batch, constants).compile()
    losses = []
    for _ in range(count):
        state, metrics = compiled(state, batch, constants)
        losses.append(float(metrics["loss_sum"]))
    return losses, state, compiled, prepared


@pytest.mark.parametrize("name", NEW)
@pytest.mark.slow
@pytest.mark.parametrize("model", ["mf", "deepfm"])
def test_every_named_pair_lowers_the_loss_in_place(name, model):
    rate = {"lion": 3e-3, "adadelta": 3.0, "prodigy": 1.0, "momentum": 0.5, "nesterov": 0.5, "adafactor": 0.01}
    losses, state, compiled, _ = steps(model, names.optimizer(name)(rate.get(name, 0.02)), 30)
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
    timing.check_in_place(compiled, state.tables)


def test_what_is_judged_after_schedule_free_is_the_average():
    _, state, _, _ = steps("deepfm", optimizers.schedule_free_adamw(0.05), 5)
    found = optimizers.eval_params(state)
    want = optax.contrib.schedule_free_eval_params(state.opt_state, state.params)
    for one, two, train in zip(*map(jax.tree.leaves, (found.params, want, state.params)), strict=True):
        np.testing.assert_array_equal(one, two)
        assert np.abs(one - train).max() > 0
    judged = evaluate.variables(state, {})["params"]
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), judged, found.params))
    assert found.tables is state.tables


def test_other_optimizers_are_judged_as_they_train():
    _, state, _, _ = steps("mf", optimizers.adam(0.05), 1)
    assert optimizers.eval_params(state) is state


def test_a_pair_has_a_rate_for_each_side():
    rates = []

    def rule(kind):
        return lambda rate: rates.append((kind, rate))

    optimizers.pair(0.1, dense=rule("dense"), rows=rule("rows"))
    optimizers.pair(0.1, dense=rule("dense"), rows=rule("rows"), rows_learning_rate=0.3)
    assert rates == [("dense", 0.1), ("rows", 0.1), ("dense", 0.1), ("rows", 0.3)]
    recipe = names.recipe("deepfm/smoke")[2]
    made = override(recipe, {"optimizer": partial(optimizers.muon)})
    assert override(made, {"rows_learning_rate": "0.5"}).optimizer.keywords == {"rows_learning_rate": 0.5}


def test_a_schedule_spans_the_run():
    told, job = [], names.job(names.Request("mf/smoke", DATA["mf"], settings={"epochs": 3, "batch_size": 128}))
    recipe = replace(job.recipe, schedule=lambda rate, total: told.append((rate, total)) or rate)
    prepared = run.prepare(replace(job, recipe=recipe))
    assert told == [(recipe.learning_rate, 3 * -(-prepared.examples.num_train // 128))]


@pytest.mark.parametrize(
    ("make", "shares"),
    [
        (schedules.cosine, {0: 1, 50: 0.5, 100: 0}),
        (schedules.linear, {0: 1, 25: 0.75, 100: 0}),
        (schedules.one_cycle, {0: 0, 10: 0.5, 20: 1, 60: 0.5, 100: 0}),
    ],
)
def test_rates_over_a_run(make, shares):
    rate = make(0.2, 100)
    assert [float(rate(step)) for step in shares] == pytest.approx([0.2 * share for share in shares.values()], abs=1e-7)


def test_decay_is_of_products_alone():
    rule = optimizers.nesterov_decayed(0.1, 0.9, 0.5).dense
    params = {"kernel": jnp.full((2, 2), 3.0), "bias": jnp.full(2, 3.0)}
    moves, _ = rule.update(jax.tree.map(jnp.ones_like, params), rule.init(params), params)
    np.testing.assert_allclose(moves["kernel"], -0.1 * 1.9 * (1 + 0.5 * 3), rtol=1e-6)
    np.testing.assert_allclose(moves["bias"], -0.1 * 1.9, rtol=1e-6)
