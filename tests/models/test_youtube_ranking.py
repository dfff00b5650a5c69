"""YouTube's ranking against its equations, the optimum of its loss in closed form, and runs on impressions."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import zoo
from zoo import objectives, optimizers, tasks, train_step
from zoo.__main__ import main
from zoo.data.simulate_pages import simulate_pages
from zoo.models.youtube_ranking import YouTubeRanking, log_dim
from zoo.types import PADDING, Spec


SPEC = Spec(num_items=5, field_sizes=(3, 2), num_numbers=2, history_length=3, base_score=1.5)
LOG = np.array([2, -1, 0, 3, 3, 1], np.int32)  # -1: a video outside the vocabulary
# The third was shown an unknown video, has unknown categories and an empty history; the last is padding.
BATCH = {
    "item": jnp.array([1, 4, -1, PADDING], jnp.int32),
    "codes": jnp.array([[0, 1], [2, 0], [-1, -1], [PADDING, PADDING]], jnp.int32),
    "numbers": jnp.array([[0.0, 0.5], [1.0, 0.04], [0.25, 0.3], [0.0, 0.0]]),
    "history_start": jnp.array([0, 3, 6, PADDING], jnp.int32),
    "history_length": jnp.array([3, 2, 0, PADDING], jnp.int32),
    "label": jnp.array([1.0, 0.0, 0.0, 0.0]),
    "weight": jnp.array([80.0, 1.0, 1.0, 0.0]),
    "mask": jnp.array([1.0, 1.0, 1.0, 0.0]),
}


@pytest.mark.parametrize("hidden_dims", [(), (4, 3)])
def test_score_is_the_tower_of_all_that_is_known(hidden_dims):
    model = YouTubeRanking(SPEC, hidden_dims)
    held = model.init(jax.random.key(0), BATCH, method=with_constants)
    rng = np.random.default_rng(0)
    params, tables = (
        jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), jnp.float32), held[name])
        for name in ("params", "tables")
    )
    found = model.apply({"params": params, "tables": tables, "constants": {"history_log": jnp.asarray(LOG)}}, BATCH)

    def row(table, at):
        values = np.float64(tables[table]["table"])
        return values[at] if 0 <= at < len(values) else np.zeros(values.shape[1])

    for n, bag in enumerate([[2, 0], [3, 3], []]):  # the unknown video does not count
        numbers = np.float64(BATCH["numbers"][n])
        x = [row("video", BATCH["item"][n]), np.mean([row("video", v) for v in bag], 0) if bag else np.zeros(4)]
        x += [row(f"category_{i}", BATCH["codes"][n, i]) for i in range(2)]
        x = np.concatenate([*x, numbers, numbers**2, np.sqrt(numbers)])
        for i in range(len(hidden_dims)):
            layer = params["tower"][f"Dense_{i}"]
            x = np.maximum(x @ np.float64(layer["kernel"]) + np.float64(layer["bias"]), 0)
        x = x @ np.float64(params["top"]["kernel"])[:, 0] + np.float64(params["top"]["bias"])[0]
        np.testing.assert_allclose(found[n], x, rtol=1e-4)


def with_constants(bound, batch):
    bound.put_variable("constants", "history_log", jnp.asarray(LOG))
    return bound(batch)


def test_a_table_is_as_wide_as_the_log_of_its_rows():
    assert [log_dim(n, 1.6) for n in (1, 2, 12, 2000, 10**6)] == [1, 2, 6, 18, 32]
    shapes = jax.eval_shape(partial(YouTubeRanking(SPEC).init, method=with_constants), jax.random.key(0), BATCH)
    assert {name: table["table"].shape for name, table in shapes["tables"].items()} == {
        "video": (5, 4),
        "category_0": (3, 3),
        "category_1": (2, 2),
    }


@pytest.mark.parametrize("unit_seconds", [1.0, 3600.0])
def test_the_optimum_of_the_loss_in_closed_form(unit_seconds):
    """Two features of 0 and 1, and a model that can tell their four cells: exp(score) of each is its sum of watch
    seconds over its number of impressions without a click, whatever the unit."""
    rng = np.random.default_rng(0)
    n = 400
    cell = rng.integers(0, 4, n)
    click = rng.random(n) < np.array([0.05, 0.1, 0.2, 0.4])[cell]
    seconds = np.where(click, rng.exponential(np.array([200, 50, 20, 90])[cell]), 0)
    want = np.bincount(cell, seconds) / np.bincount(cell, ~click)
    first, second = cell // 2, cell % 2
    inputs = jnp.asarray(np.stack([np.ones(n), first, second, first * second], 1), jnp.float32)
    label, weight = jnp.asarray(click, jnp.float32), jnp.asarray(np.where(click, seconds, 1), jnp.float32)

    def mean_loss(w):
        """Divided by the number of impressions, as the train step divides: the optimum is the same."""
        losses = objectives.watch_time_logistic(
            lambda batch, train: inputs @ w, {"label": label}, jax.random.key(0), unit_seconds=unit_seconds
        )
        return jnp.sum(losses * weight) / n

    w = jnp.array([jnp.log(jnp.asarray(want.mean(), jnp.float32)), 0.0, 0.0, 0.0])
    newton = jax.jit(lambda w: w - 0.7 * jnp.linalg.solve(jax.hessian(mean_loss)(w), jax.grad(mean_loss)(w)))
    for _ in range(30):  # damped; the loss is convex
        w = newton(w)
    cells = np.array([[1, 0, 0, 0], [1, 0, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]])
    np.testing.assert_allclose(np.exp(cells @ np.asarray(w)), want, rtol=1e-3)


def test_the_train_step_weighs_by_watch_time_and_divides_by_the_number_of_impressions():
    model = YouTubeRanking(SPEC, ())
    constants = {"history_log": jnp.asarray(LOG)}
    objective, rule = objectives.watch_time_logistic, optimizers.sgd(0.1)
    state = train_step.init_state(model, objective, rule, BATCH, jax.random.key(0), constants)
    _, metrics = train_step.core_step(model, objective, rule, state, BATCH, constants)
    variables = {"params": state.params, "tables": {k: {"table": v} for k, v in state.tables.items()}}
    score = np.float64(model.apply({**variables, "constants": constants}, BATCH)) - np.log(60)
    want = 80 / 60 * np.log1p(np.exp(-score[0])) + np.log1p(np.exp(score[1:3])).sum()
    assert metrics["loss_sum"] == pytest.approx(want, rel=1e-5) and metrics["num_examples"] == 3


WORLD = "simulated:num_users=300,num_videos=150,num_watches=6000"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return zoo.train("youtube_ranking/smoke", data=WORLD, workdir=tmp_path_factory.mktemp("ranking") / "run")


@pytest.mark.slow
def test_it_learns_and_is_read_back(run):
    baselines = run.record["baselines"]
    found = run.metrics["weighted_user_loss"]
    assert baselines["oracle"]["weighted_user_loss"] < found < 0.9 * baselines["video_mean"]["weighted_user_loss"]
    assert 0.7 < run.metrics["odds_calibration"] < 1.4
    assert zoo.load(run.folder).evaluate() == run.metrics
    tenths = run.evaluate([f"odds_calibration_{i}" for i in range(1, 11)])
    assert run.metrics["odds_calibration_worst"] in tenths.values()


@pytest.mark.slow
def test_it_does_not_recommend(run, capsys):
    assert main(["recommend", str(run.folder), "--user", "1"]) == 2
    error = capsys.readouterr().err.strip()
    assert "compares no items" in error and "\n" not in error


HEADER = "user,item,timestamp,click,watch_seconds"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user,item,timestamp\n1,2,3", "has no column 'click' for the click of an impression"),
        (f"{HEADER}\n1,2,3,1,5\n1,3,3,0,-2", "line 3, column watch_seconds: -2: a watch time is not negative"),
        (f"{HEADER}\n1,2,3,0,5", "line 2, column watch_seconds: 5: this row is not clicked"),
        (f"{HEADER}\n1,2,soon,0,0", "line 2, column timestamp: 'soon': not an integer"),
        (f"{HEADER}\n1,2,3,0,0\n1,3,4,0,0", "no watch time"),
    ],
)
def test_a_file_that_cannot_be_read(text, message, tmp_path, capsys):
    path = tmp_path / "shown.csv"
    path.write_text(text)
    assert main(["train", "youtube_ranking/smoke", "--data", str(path), "--workdir", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error and "\n" not in error


@pytest.mark.slow
def test_a_file_of_ones_own_trains(tmp_path):
    """Columns of other names, rows out of order."""
    rng = np.random.default_rng(0)
    rows = []
    for page in rng.permutation(300):
        for item in rng.permutation(8)[:4]:
            click = rng.random() < (0.6 if item < 4 else 0.1)
            rows.append(f"{page % 20},v{item},{page},{int(click)},{30 * click}")
    path = tmp_path / "shown.csv"
    path.write_text("\n".join(["user,item,timestamp,clicked,watch_seconds", *rows]))
    asked = ["train", "youtube_ranking/smoke", "--data", str(path), "--click-column", "clicked", "--quiet"]
    assert main([*asked, "--workdir", str(tmp_path / "run")]) == 0
    found = zoo.load(tmp_path / "run")
    assert found.record["sizes"]["times_out_of_order"] > 100
    assert found.metrics["weighted_user_loss"] < 0.4


def test_calibrations_by_hand():
    shown = simulate_pages(num_users=60, num_videos=40, num_watches=400)
    n, seconds = len(shown), np.random.default_rng(0).gamma(1.0, 20.0, len(shown))
    p, brings = np.float64(shown.truth.click_probability), np.float64(shown.truth.seconds_if_clicked)
    order = np.argsort(seconds, kind="stable")
    tenths = [order[[k for k in range(n) if k * 10 // n == i]] for i in range(10)]
    ratios = [np.sum((seconds * (1 - p))[tenth]) / np.sum((p * brings)[tenth]) for tenth in tenths]
    want = {
        "calibration": seconds.sum() / np.float64(shown.watch_seconds).sum(),
        "seconds_calibration": seconds.sum() / np.sum(p * brings),
        "odds_calibration": np.sum(seconds * (1 - p)) / np.sum(p * brings),
        "odds_calibration_each": seconds.sum() / np.sum(p * brings / (1 - p)),
        "odds_calibration_worst": max(ratios, key=lambda ratio: abs(np.log(ratio))),
        **{f"odds_calibration_{i}": ratio for i, ratio in enumerate(ratios, 1)},
    }
    assert tasks.impression_metrics(np.log(seconds), seconds, shown, tuple(want)) == pytest.approx(want, rel=1e-5)
