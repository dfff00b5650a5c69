"""The study of optimizers: its trials against the product's own step, its rules on made-up records."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks import optimizer_tables, optimizers, plot_optimizers, trials
from benchmarks.__main__ import main, parser
from tests.helpers import ENVIRONMENT
from zoo import make_train_step, row_optimizers, scan_steps
from zoo.optimizers import Optimizer


WORKLOAD = trials.Workload("mf", "mf/smoke", "simulated", 6, 0.1, 1e-3, {"batch_size": 64}, points=3)


def record(optimizer, rate, values, seed=0, workload="W", side="rows", step_ms=1.0, metric="auc", **more):
    points = [[10 * (place + 1), value] for place, value in enumerate(values)]
    named = {"optimizer": optimizer, "learning_rate": rate, "seed": seed, "workload": workload, "side": side}
    kept = {
        "steps": points[-1][0],
        "points": points,
        "metric": metric,
        "diverged": False,
        "step_ms": step_ms,
        "test": None,
    }
    return named | kept | {"environment": ENVIRONMENT} | more


@pytest.fixture(scope="module")
def task():
    return trials.prepared(WORKLOAD)


def rule(rate):
    return Optimizer(optax.adam(1e-3), row_optimizers.sgd(rate))


def test_a_trial_is_the_products_own_training(task):
    program = trials.compiled(task, rule, WORKLOAD.steps, WORKLOAD.points)
    points, state = trials.train(program, 0.5, 0)
    assert [point.steps for point in points] == [2, 4, 6]
    step = scan_steps(make_train_step(task.model, task.objective, rule(0.5)))
    order = jnp.asarray(trials.orders(task, 0, 6))
    want, _ = step(trials.first_state(task, rule, 0), task.constants, task.columns, order)
    for name, table in state.tables.items():
        np.testing.assert_allclose(table, want.tables[name], atol=1e-6)


@pytest.mark.parametrize("num_devices", [None, 2])
def test_a_sweep_as_one_program_equals_its_runs(task, num_devices):
    rates = jnp.asarray([0.01, 0.1, 1.0, 10.0])
    order = jnp.asarray(trials.orders(task, 0, 4))
    together, states = trials.swept(task, rule, rates, order, num_devices)
    states, _ = together(rates, states, task.constants, task.columns, order)
    single = jax.jit(trials.with_rate(task, rule))
    for place, rate in enumerate(rates):
        state, _ = single(rate, trials.first_state(task, rule, 0), task.constants, task.columns, order)
        for name, table in state.tables.items():
            np.testing.assert_allclose(states.tables[name][place], table, atol=1e-5)


def test_target_and_steps_to_it():
    found = [
        record("adam", 0.1, [0.5, 0.6, 0.7, 0.9]),  # of the first three quarters the best is 0.7
        record("adam", 1.0, [0.5, 0.5, 0.5, 0.5]),
        record("sgd", 0.1, [0.7, 0.6, 0.5, 0.5], step_ms=3.0),
        record("lion", 0.1, [0.1, 0.2, 0.3, 0.4]),
        record("muon", 0.1, [0.9, 0.9], diverged=True),
    ]
    assert optimizer_tables.targets(found) == {("rows", "W"): 0.7}
    reached = optimizer_tables.to_target(found)
    assert reached["rows", "W", "adam"] == (30, 0.03)
    assert reached["rows", "W", "sgd"] == (10, 0.03)
    assert reached["rows", "W", "lion"][0] == float("inf")
    assert ("rows", "W", "muon") not in reached
    lower = [record("adam", 0.1, [3.0, 2.0, 1.0, 0.5], metric="rmse"), record("sgd", 0.1, [2.0, 0.9], metric="rmse")]
    assert optimizer_tables.targets(lower) == {("rows", "W"): 1.0}
    assert optimizer_tables.to_target(lower)["rows", "W", "sgd"][0] == 20


def test_a_run_ends_where_its_scores_are_no_longer_finite(monkeypatch):
    monkeypatch.setattr(trials, "orders", lambda task, seed, steps: np.zeros((steps, 2), np.int32))

    def call(rate, state, constants, columns, order):
        return state + 1, {"loss_sum": np.zeros(len(order))}

    def judge(task, state):
        if state == 3:
            raise FloatingPointError
        return 0.5

    task = SimpleNamespace(constants={}, columns={})
    points, _ = trials.train(trials.Program(task, lambda seed: 0, call, 0.0, 8, 4), 1.0, 0, judge)
    assert [point.steps for point in points] == [2, 4]


def test_the_runs_of_seeds_are_at_the_best_rate_and_give_the_median():
    found = [record("adam", 0.1, [0.5, 0.6]), record("adam", 1.0, [0.7, 0.8])]
    assert optimizer_tables.best_trial(found)["learning_rate"] == 1.0
    found += [record("adam", 1.0, [0.5 + seed / 10, 0.9], seed) for seed in (1, 2, 3)]
    assert [r["seed"] for r in optimizer_tables.finals(found)["rows", "W", "adam"]] == [1, 2, 3]
    assert "1 (edge)" in [cell for line in optimizer_tables.table(found).rows for cell in line]


def test_performance_profile():
    steps = {("A", "x"): 10.0, ("A", "y"): 20.0, ("B", "x"): float("inf"), ("B", "y"): 5.0}
    found = plot_optimizers.profile(steps)
    at = plot_optimizers.FACTORS.index(min(plot_optimizers.FACTORS, key=lambda factor: abs(factor - 3)))
    assert found["x"][0] == found["y"][0] == 0.5
    assert found["x"][at] == 0.5 and found["y"][at] == 1.0


def test_each_optimizer_has_as_many_rates_and_all_families_a_dozen():
    asked = parser().parse_args(["optimizers"])
    found = list(optimizers.pairs(asked))
    for side, rules in optimizers.RULES.items():
        assert len(rules) >= 12
        for name in optimizers.SIDES[side]:
            assert sum(pair.side == side and pair.workload.name == name for pair in found) == len(rules)
    assert optimizers.grid(1.0) == [0.0316, 0.1, 0.316, 1.0, 3.16, 10.0, 31.6]


@pytest.mark.slow
def test_an_interrupted_study_goes_on_where_it_stopped(tmp_path, monkeypatch):
    real, count = optimizers.measured, []
    monkeypatch.setattr(optimizers, "WORKLOADS", (WORKLOAD,))
    monkeypatch.setattr(optimizers, "SIDES", {"rows": ("mf",), "dense": ()})
    asked = ["optimizers", "--optimizers", "sgd", "adam", "--trials", "2", "--seeds", "1", "--records", str(tmp_path)]

    def measured(*arguments, **options):
        if len(count) == 4:
            raise KeyboardInterrupt
        count.append(arguments)
        return real(*arguments, **options)

    monkeypatch.setattr(optimizers, "measured", measured)
    assert main(asked) == 130
    path = tmp_path / "optimizers.jsonl"
    lines = path.read_text()
    assert len(lines.splitlines()) == 4
    monkeypatch.setattr(optimizers, "measured", real)
    monkeypatch.setattr(plot_optimizers.plot, "PLOTS", tmp_path)
    assert main(asked) == 0
    assert path.read_text().startswith(lines) and len(path.read_text().splitlines()) == 6
    assert json.loads(path.read_text().splitlines()[-1])["test"] is not None
    assert (tmp_path / "optimizers.svg").exists()


@pytest.mark.parametrize(("flag", "value"), [("--models", "nonsense"), ("--optimizers", "sdg")])
def test_unknown_names_are_refused(flag, value, capsys):
    assert main(["optimizers", flag, value]) == 2
    assert value in capsys.readouterr().err
