"""The lessons: members trained as one program against single runs, what a record says, and where a study goes on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import ensembles, lesson_tables, lessons, plot, plot_lessons, trials
from benchmarks.__main__ import main
from tests.helpers import ENVIRONMENT
from zoo import metrics


WORLD = "simulated:num_users=100,num_videos=60,num_watches=1000"
FOLDS = ensembles.Ensemble("k-fold", "mf/rating", WORLD, ensembles.k_fold, (0.1,), 3, 0.02, 2, {"embedding_dim": 4})


@pytest.fixture(scope="module")
def program():
    return ensembles.prepared(FOLDS, 0.1)


def test_rows_of_the_trials():
    rows = [np.array([3, 5, 7]), np.array([2, 4, 6, 8, 9])]
    found = ensembles.orders(rows, 2, 2, seed=0)
    assert found.shape == (2, 6, 2) and found.dtype == np.int32
    for own, order in zip(rows, found, strict=True):
        met, counts = np.unique(order[order >= 0], return_counts=True)
        assert met.tolist() == own.tolist() and set(counts) == {2}
    assert (found[0, 4:] == -1).all()


def test_folds_as_one_program_equal_single_runs(program):
    task = program.task
    found = ensembles.k_fold(FOLDS, program, 0.1, 1)
    fold = np.random.default_rng(1).permutation(task.examples.num_train) % 3
    rows = [np.flatnonzero(fold != own) for own in range(3)] + [np.arange(len(fold))]
    order = ensembles.orders(rows, task.recipe.batch_size, 2, 1)
    run = jax.jit(trials.with_rate(task, task.recipe.optimizer))
    for own in range(2):
        state = program.first(jnp.arange(1000, 1004))
        state = ensembles.member(state, own)
        state, _ = run(jnp.float32(0.02), state, task.constants, task.columns, order[own])
        held = {name: task.examples.train[name][fold == own] for name in ("user", "item")}
        predicted = np.clip(ensembles.scores(task, state, held), 1, 5)
        want = metrics.rmse(predicted, task.examples.train["label"][fold == own])
        assert found["folds"][own] == pytest.approx(want, abs=1e-5)
    assert 0.5 < found["valid"] < 1.5


def test_the_mean_of_one_model_is_that_model(program):
    study = lessons.replace(FOLDS, kind=ensembles.bagging, values=ensembles.DRAWS, members=4)
    for value in ensembles.DRAWS:
        found = ensembles.bagging(study, program, value, 1)
        assert found["means"][0] == found["members"][0] != found["members"][1]
        assert found["means"][1] < max(found["members"])


def record(study, value, seed, rate=0.1, train=0.5, valid=0.7, **more):
    made = {"study": study, "value": value, "seed": seed, "learning_rate": rate, "data": "D", "model": "M"}
    made |= {"metric": "nats", "varied": "batch_size", "diverged": False, "points": [[1.0, valid + 0.1], [2.0, valid]]}
    return made | {"train": {"nats": train}, "valid": {"nats": valid}, "environment": ENVIRONMENT} | more


RECORDS = [
    record("batch size", 16, 0, 0.1, valid=0.6),
    record("batch size", 16, 0, 1.0, valid=0.8),
    *(record("batch size", size, seed, train=0.4, valid=0.6) for size in (16, 64) for seed in (1, 2)),
    record("batch size", 64, 0, 0.1, diverged=True),
    record("early stopping", 8, 1, test={"best": 0.6, "last": 0.9}),
    record("k-fold", 0.1, 1, folds=[0.8, 1.0]) | {"valid": 0.85},
    record("bagging", "all rows", 1, members=[0.9, 0.7], means=[0.9, 0.6]),
]


def test_what_the_table_says():
    lines = {(line[0], line[2]): line[4:] for line in lesson_tables.table(RECORDS).rows}
    assert lines["batch size", "batch_size 16"][:2] == ("0.4000 ± 0.0000", "0.6000 ± 0.0000")
    assert lines["batch size", "batch_size 16"][2:] == ("0.2000 ± 0.0000", "rate 0.1")
    assert "best epoch 2; test there 0.6000, after 2 epochs 0.9000" in lines["early stopping", "batch_size 8"]
    assert "mean of 2 folds 0.9000, deviation of a fold 0.1414" in lines["k-fold", "batch_size 0.1"]
    assert lines["bagging", "batch_size all rows"][3] == "mean of 1: 0.9000, 2: 0.6000"


def test_the_plot_is_the_same_byte_for_byte(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="a plot needs the extra `plots`")
    drawn = []
    for name in ("a", "b"):
        monkeypatch.setattr(plot, "PLOTS", tmp_path / name)
        drawn.append(plot_lessons.draw(RECORDS).read_bytes())
    assert drawn[0] == drawn[1] and all(name in drawn[0] for name in (b"batch size", b"k-fold", b"bagging"))


def test_a_study_goes_on_where_it_stopped(monkeypatch):
    """Two rates with seed 0, and the better one with each seed, of each value; none of them twice."""
    study = lessons.replace(lessons.STUDIES[0], values=(16, 64), rates=(0.1, 1.0))
    monkeypatch.setattr(lessons, "compiled", lambda study, value: None)
    monkeypatch.setattr(
        lessons, "measured", lambda study, program, value, rate, seed: record(study.name, value, seed, rate, valid=rate)
    )
    made = list(lessons.trained(study, 2, {}))
    assert [(r["value"], r["learning_rate"], r["seed"]) for r in made][:4] == [
        (16, 0.1, 0),
        (16, 1.0, 0),
        (16, 0.1, 1),
        (16, 0.1, 2),
    ]
    assert len(made) == 8
    done = {lesson_tables.identity(r | {"data": study.data}): r for r in made[:5]}
    assert list(lessons.trained(study, 2, done)) == made[5:]


def test_an_unknown_study_is_one_line(capsys):
    assert main(["lessons", "--only", "droput"]) == 2
    error = capsys.readouterr().err.strip()
    assert "'droput'" in error and "dropout" in error and "\n" not in error


@pytest.mark.slow
def test_the_quick_form(tmp_path, capsys):
    assert main(["lessons", "--quick", "--seeds", "1", "--records", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert all(study.name in shown for study in (*lessons.STUDIES, *lessons.ENSEMBLES))
