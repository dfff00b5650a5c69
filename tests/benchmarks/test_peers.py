"""The comparison with other packages, against a peer that only pretends."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks import synthetic, tables, timing
from benchmarks.__main__ import main
from benchmarks.peers import cnn_step, ctr, ctr_step, gru4rec, judge, lightgcn_step, mf, recommend, suite, train, turns
from benchmarks.peers.turns import Bench, Comparison, Figure
from tests.helpers import ENVIRONMENT
from zoo import workdir
from zoo.data import splits


PRETENDED = """
import os
PACKAGES = ("numpy",)
def measure(configuration):
    settings = {name: os.environ.get(name) for name in ("OPENBLAS_CORETYPE", "OPENBLAS_NUM_THREADS")}
    return {"seconds": 2.0 + configuration["seed"], "metrics": {"recall@20": 0.1}, **settings}
"""


@pytest.fixture
def bench(tmp_path) -> Bench:
    return Bench(tmp_path, Path(sys.executable), repeats=3, quick=False)


@pytest.fixture
def pretend(tmp_path, monkeypatch):
    """Puts one comparison in the place of all: `adapter` is the peer's file, ours takes a second."""
    monkeypatch.setattr(turns, "ENVIRONMENT", tmp_path / "venv")
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    python = tmp_path / "venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    seen = []

    def of(adapter: str, recall: float = 0.2, factor: float = 1.0):
        path = tmp_path / "adapter.py"
        path.write_text(adapter)

        def run(bench):
            def ours(seed):
                seen.append(f"ours {seed}")
                metrics = {"recall@20": recall}
                return {"seconds": factor, "metrics": metrics, "compile_seconds": 1.0, "environment": ENVIRONMENT}

            def theirs(seed):
                seen.append(f"theirs {seed}")
                settings = {"OPENBLAS_NUM_THREADS": "1"}
                return turns.ask_peer(bench, str(path), "measure", configuration={"seed": seed}, settings=settings)

            pairs = turns.in_turns(bench, ours, theirs)
            seconds = [[side["seconds"] for side in pair] for pair in pairs]
            figure = Figure("pretended", "s", *zip(*seconds), 1.5, "recall@20", *mf.qualities(pairs, "recall@20"))
            return [figure], pairs, {"ours": {}, "theirs": {}}

        monkeypatch.setitem(suite.COMPARISONS, "mf", (Comparison("pretended", "simulated", "numpy", str(path), run),))
        return lambda: main(["peers", "--models", "mf", "--repeats", "3", "--records", str(tmp_path / "records")])

    of.seen = seen
    of.records = tmp_path / "records" / "peers.jsonl"
    return of


def test_sides_take_turns_and_the_shell_decides_nothing(pretend, monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    assert pretend(PRETENDED)() == 0
    assert pretend.seen == ["ours 0", "theirs 0", "ours 1", "theirs 1", "ours 2", "theirs 2"]
    record = json.loads(pretend.records.read_text())
    assert record["figures"][0]["ratios"] == [2.0, 3.0, 4.0] and record["figures"][0]["ratio"] == 3.0
    assert record["turns"]["theirs"][0]["OPENBLAS_CORETYPE"] is None
    assert record["turns"]["theirs"][0]["OPENBLAS_NUM_THREADS"] == "1"
    assert record["versions"]["numpy"] == np.__version__
    (line,) = tables.peers([record]).rows
    assert line[1:6] == (f"numpy {np.__version__}", "1.00 s", "3.00 s", "3.00 (2.00 to 4.00)", "1.50")
    assert line[-1] == "met"


def test_nobody_wins_by_being_wrong(pretend):
    assert pretend(PRETENDED, recall=0.09)() == 1
    assert pretend(PRETENDED, factor=2.5)() == 1  # or by being slow


@pytest.mark.parametrize(
    "broken", ["import no_such_package", "1 / 0", PRETENDED.replace('"numpy"', '"no-such-package"')]
)
def test_a_peer_that_cannot_be_imported_is_a_row_that_says_why(pretend, broken):
    assert pretend(broken)() == 0
    record = json.loads(pretend.records.read_text())
    (line,) = tables.peers([record]).rows
    assert line[1] == "numpy" and ("no_such_package" in line[-1] or "no-such-package" in line[-1] or "zero" in line[-1])
    assert pretend.seen == []  # found out before anything is timed


def test_the_row_says_why_a_peer_could_not_be_installed(pretend, tmp_path):
    (tmp_path / "venv" / "zoo-failed").write_text("numpy==0.1 cannot be installed: ERROR: no wheel\n")
    pretend("import no_such_package")()
    assert json.loads(pretend.records.read_text())["unavailable"].endswith(
        "; numpy==0.1 cannot be installed: ERROR: no wheel"
    )


def test_a_peer_that_fails_is_a_row_too(pretend):
    assert pretend('PACKAGES = ("numpy",)\ndef measure(configuration):\n    raise MemoryError("too large")\n')() == 0
    assert "too large" in json.loads(pretend.records.read_text())["unavailable"]


def test_no_environment_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(turns, "ENVIRONMENT", tmp_path / ".venv-peers")
    assert main(["peers", "--models", "mf"]) == 2
    error = capsys.readouterr().err.strip()
    assert "scripts/setup --peers" in error and "\n" not in error


def test_one_environment_of_two_is_a_row_that_says_why(pretend, monkeypatch):
    ask = pretend(PRETENDED)
    other = replace(suite.COMPARISONS["mf"][0], name="other", environment="-other")
    monkeypatch.setitem(suite.COMPARISONS, "mf", (*suite.COMPARISONS["mf"], other))
    assert ask() == 0
    found, absent = map(json.loads, pretend.records.read_text().splitlines())
    assert found["figures"] and "there is no venv-other" in absent["unavailable"]


def test_an_unknown_comparison_is_one_line(capsys):
    assert main(["peers", "--only", "bpr-gowala"]) == 2
    error = capsys.readouterr().err.strip()
    assert "'bpr-gowala'" in error and "bpr-gowalla" in error and "\n" not in error


def test_our_side_on_rows_from_a_file(bench, tmp_path):
    """The product's run on the very split of the file; lists by its vectors are as good as the vectors themselves."""
    data = "simulated:num_users=100,num_videos=60,num_watches=1000"
    file = turns.rows_file(bench, data, "per_user", "mf/smoke")
    split = splits.published(workdir.load_data(file), 0)
    vectors, answer = tmp_path / "vectors.npz", tmp_path / "lists.npz"
    settings = {"epochs": 2}
    found = train.measure(
        train.Configuration(str(file), "mf/smoke", data, settings, judge_each_epoch=True, vectors=str(vectors))
    )
    assert found["examples"] == 2 * len(split.train) and len(found["history"]) == 2
    assert 0 < found["history"][0]["seconds"] < found["history"][1]["seconds"] == found["seconds"]
    assert found["history"][1]["recall@20"] == found["metrics"]["recall@20"]
    assert judge.measure(judge.Configuration(str(file), str(vectors)))["metrics"] == found["metrics"]
    assert recommend.measure(recommend.Configuration(str(file), str(vectors), str(answer)))["seconds"] > 0
    judged = judge.measure(judge.Configuration(str(file), str(answer)))["metrics"]
    assert judged["recall@20"] == pytest.approx(found["metrics"]["recall@20"])
    with np.load(answer) as lists:
        listed = {(user, item) for user, items in enumerate(lists["ids"]) for item in items}
    assert not listed & set(zip(split.train.user, split.train.item))


def test_predictions_are_clipped_and_must_be_finite(bench, tmp_path):
    file = turns.rows_file(bench, "simulated:num_users=100,num_videos=60,num_watches=1000", "random", "mf/rating")
    ratings = splits.published(workdir.load_data(file), 0).test.ratings
    np.savez(tmp_path / "answer.npz", predictions=np.where(ratings == ratings.max(), 99.0, ratings))
    found = judge.measure(judge.Configuration(str(file), str(tmp_path / "answer.npz")))["metrics"]
    assert found == {"rmse": 0.0, "mae": 0.0}
    np.savez(tmp_path / "answer.npz", predictions=np.full(len(ratings), np.nan))
    with pytest.raises(FloatingPointError):
        judge.measure(judge.Configuration(str(file), str(tmp_path / "answer.npz")))


def test_seconds_to_a_quality():
    history = [{"seconds": 1.0, "rmse": 0.95}, {"seconds": 2.0, "rmse": 0.9}, {"seconds": 3.0, "rmse": 0.8}]
    assert mf.seconds_to(history, 0.9) == 2.0 and mf.seconds_to(history, 0.7) is None
    assert Figure("", "s", [2.0, None], [6.0, 6.0], 1.0, "rmse", [0.9], [0.9]).ratios == [3.0, 0.0]
    assert Figure("", "pairs/s", [6.0], [2.0], 1.0, "rmse", [0.9], [0.9]).ratios == [3.0]


@pytest.mark.slow
def test_what_the_peer_gets_is_what_the_steps_of_lightgcn_did(bench, tmp_path):
    """The same steps again from the initial vectors and triples handed over, with a whole matrix and plain optax."""
    data = "simulated:num_users=100,num_videos=60,num_watches=1000"
    file = turns.rows_file(bench, data, "per_user", "lightgcn/paper")
    given, answer = tmp_path / "given.npz", tmp_path / "answer.npz"
    found = lightgcn_step.measure(lightgcn_step.Configuration(str(file), str(given), str(answer), data))
    assert found["step_ms"] > 0 and 0.6 < found["loss"] < 0.8
    train = splits.published(workdir.load_data(file), 0).train
    nodes = train.num_users + train.num_items
    adjacency = np.zeros((nodes, nodes), np.float32)
    adjacency[train.user, train.num_users + train.item] = 1
    adjacency += adjacency.T
    root = np.sqrt(np.maximum(adjacency.sum(1), 1))
    adjacency /= root[:, None] * root

    def loss(vectors, user, positive, negative):
        layers = [vectors]
        for _ in range(3):
            layers.append(adjacency @ layers[-1])

        def rows(nodes):
            return (nodes.at[place].get(mode="fill", fill_value=0) for place in places)

        places = [user, *(jnp.where(real, ids + train.num_users, nodes) for ids in (positive, negative))]
        (query, liked, other), own = rows(sum(layers) / 4), rows(vectors)
        loss = jax.nn.softplus((query * (other - liked)).sum(1)) + 1e-4 / 2 * sum((part**2).sum(1) for part in own)
        return (loss * real).sum() / real.sum()

    with np.load(given) as handed:
        vectors, triples = jnp.asarray(handed["initial"]), handed["triples"]
    optimizer = optax.adam(1e-3)
    moments = optimizer.init(vectors)
    for user, positive, negative in triples:
        real = user < train.num_users
        updates, moments = optimizer.update(jax.grad(loss)(vectors, user, positive, negative), moments)
        vectors += updates
    final = sum(np.linalg.matrix_power(adjacency, layer) for layer in range(4)) @ vectors / 4
    with np.load(answer) as ours:
        np.testing.assert_allclose(np.concatenate([ours["users"], ours["items"]]), final, atol=1e-5)


@pytest.mark.slow
def test_our_side_of_clicks_and_a_judge_of_scores(bench, tmp_path, monkeypatch):
    """One pass over the file that both sides read, with a row for every value, judged by the AUC of the test part."""
    monkeypatch.setattr(ctr, "NUM_ROWS", 30_000)
    monkeypatch.setattr(ctr, "BATCH", 64)
    monkeypatch.setattr(ctr, "TEST", 500)
    file = ctr.fields_file(bench)
    settings = {"embedding_dim": 2, "batch_size": 64, "epochs": 1}
    found = ctr_step.measure(train.Configuration(str(file), "fm/clicks", ctr.DATA, settings))
    assert found["examples"] == 64 * ctr.STEPS and found["metrics"]["auc"] > 0.55
    with np.load(file) as data:
        label = data["label"][data["part"] == 2]
        assert [len(data[f"levels_{i}"]) for i in range(39)] == list(synthetic.field_sizes(30_000))
    np.savez(tmp_path / "answer.npz", scores=label)
    assert ctr.judged(file, tmp_path / "answer.npz") == {"auc": 1.0}


@pytest.mark.slow
def test_what_the_peer_gets_of_a_network_of_images(tmp_path):
    """Kernels as PyTorch has them, and losses of the first steps; the shares of a step are whole."""
    given = tmp_path / "given.npz"
    found = cnn_step.measure(cnn_step.Configuration("cnn/smoke", "shapes:num_images=1500", str(given)))
    with np.load(given) as handed:
        assert handed["kernel_0"].shape == (4, 1, 3, 3) and handed["kernel_1"].shape == (8, 4, 3, 3)
        assert handed["images"].shape == (cnn_step.STEPS, 64, 12, 12, 1) and handed["linear"].shape == (4, 8)
    assert len(found["losses"]) == cnn_step.STEPS and np.isfinite(found["losses"]).all()
    assert sum(found["shares"].values()) == pytest.approx(1) and found["shares"]["convolutions"] > 0


def test_losses_of_the_same_steps():
    assert turns.same_losses([1.0, 2.0], [1.0, 2.001]) == pytest.approx(5e-4)
    for theirs in ([1.0, 2.01], [1.0, float("nan")]):
        with pytest.raises(timing.TimingError, match="did not do the same steps"):
            turns.same_losses([1.0, 2.0], theirs)
    figure = Figure("", "images/s", [1.0], [2.0], 0.0, "loss", [1.0], [1.0001])
    assert tables.met(figure.as_record())  # no bar, and a loss that is theirs


def test_an_interaction_is_an_item_with_one_before_it(bench):
    data = "simulated:num_users=100,num_videos=60,num_watches=1000"
    file = turns.rows_file(bench, data, "leave_one_out", "gru4rec/sequence")
    train = splits.published(workdir.load_data(file), 0).train
    assert gru4rec.predicted(file) == len(train) - len(np.unique(train.user))


def test_each_comparison_names_an_environment_that_setup_makes():
    made = {path.stem.removeprefix("requirements") for path in turns.HERE.glob("requirements*.txt")}
    for comparisons in suite.COMPARISONS.values():
        for comparison in comparisons:
            assert comparison.environment in made and (turns.HERE / comparison.adapter).exists()
            assert f"{comparison.peer}==" in (turns.HERE / f"requirements{comparison.environment}.txt").read_text()


def test_adapters_know_nothing_of_the_zoo():
    for path in [turns.HERE / "child.py", *turns.HERE.glob("with_*.py")]:
        assert "zoo" not in path.read_text().replace("nothing of the zoo", "")


def test_peers_setup_can_be_run():
    script = turns.HERE / "setup"
    assert script.stat().st_mode & 0o111
    subprocess.run(["/bin/sh", "-n", script], check=True)
