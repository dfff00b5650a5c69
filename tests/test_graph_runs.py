"""Runs of graph models: what happened since training joins the graph, and what odd data does to them."""

import jax
import numpy as np
import pytest

import zoo
from zoo.__main__ import main
from zoo.data.interactions import Interactions, appended, from_raw
from zoo.errors import InputError


WORLD = "simulated:num_users=300,num_videos=150,num_watches=6000"
GRAPH_MODELS = ["lightgcn", "ngcf"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return zoo.train("lightgcn/smoke", data=WORLD, epochs=2, workdir=tmp_path_factory.mktemp("graph") / "run")


def since(run, count=5):
    """A user's new interactions, with items that it does not have."""
    known = run.job.interactions
    user, others = known.user_ids[7], np.setdiff1d(np.arange(known.num_items), known.item[known.user == 7])
    return user, from_raw(np.full(count, user), known.item_ids[others[:count]])


def test_new_interactions_are_one_more_propagation(run):
    """The scores are those of the mean of powers of the larger matrix, by the vectors that training left."""
    user, new = since(run)
    ids, scores = run.recommend([user], k=10, interactions=new)
    before, scores_before = run.recommend([user], k=10)
    train = appended(run.prepared.split.train, new)
    nodes = train.num_users + train.num_items
    adjacency = np.zeros((nodes, nodes))
    adjacency[train.user, train.num_users + train.item] = 1
    adjacency += adjacency.T
    root = np.sqrt(np.maximum(adjacency.sum(1), 1))
    adjacency /= root[:, None] * root
    powers = [np.linalg.matrix_power(adjacency, layer) for layer in range(3)]
    vectors = sum(powers) @ np.asarray(run.state.params["embedding"], np.float64) / 3
    users, items = np.split(vectors, [train.num_users])
    all_scores = items @ users[7]
    had = appended(run.job.interactions, new)
    all_scores[had.item[had.user == 7]] = -np.inf
    expected = np.argsort(-all_scores)[:10]
    np.testing.assert_array_equal(ids[0], train.item_ids[expected])
    np.testing.assert_allclose(scores[0], all_scores[expected], rtol=1e-4, atol=1e-6)
    assert not np.allclose(scores, scores_before)
    assert not set(ids[0]) & set(new.item_ids)
    again, _ = run.recommend([user], k=10)
    np.testing.assert_array_equal(again, before)  # the run itself is as it was


def test_new_interactions_of_strangers_are_named(run):
    user, new = since(run)
    stranger = from_raw(np.array([user, user]), np.array([new.item_ids[0], 10**6]))
    with pytest.raises(InputError, match="unknown item 1000000"):
        run.recommend([user], interactions=stranger)


def test_a_model_without_a_graph_cannot_take_them(tmp_path):
    run = zoo.train("mf/smoke", data=WORLD, epochs=1, workdir=tmp_path / "run")
    user, new = since(run)
    with pytest.raises(InputError, match=r"mf has no graph .* train again"):
        run.recommend([user], interactions=new)


def test_on_the_command_line(run, tmp_path, capsys):
    user, new = since(run)
    file = tmp_path / "since.csv"
    file.write_text("user,item\n" + "".join(f"{user},{item}\n" for item in new.item_ids))
    assert main(["recommend", str(run.folder), "--user", str(user), "--add", str(file), "-k", "5"]) == 0
    listed = [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()]
    ids, _ = run.recommend([user], k=5, interactions=new)
    assert listed == [str(item) for item in ids[0]]
    assert main(["recommend", str(run.folder), "--user", str(user), "--add", str(tmp_path / "no.csv")]) == 2
    error = capsys.readouterr().err.strip()
    assert "no.csv" in error and "\n" not in error


def world_with_strangers() -> Interactions:
    """User 90 and item 90 stand in the test part only: nodes without edges."""
    rng = np.random.default_rng(0)
    user, item = rng.integers(0, 30, 400), rng.integers(0, 20, 400)
    part = np.repeat(np.array([0, 2], np.int8), [320, 80])
    return from_raw(np.append(user, [90, 1]), np.append(item, [3, 90]), part=np.append(part, np.int8([2, 2])))


@pytest.mark.parametrize("model", GRAPH_MODELS)
def test_a_user_and_an_item_without_edges_are_kept(model, tmp_path):
    run = zoo.train(f"{model}/smoke", data=world_with_strangers(), epochs=2, workdir=tmp_path / "run")
    assert np.isfinite(list(run.metrics.values())).all()
    _, scores = run.recommend([90], k=5)
    assert np.isfinite(scores).all() and len(set(scores[0])) == 5
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(run.state.params))


@pytest.mark.parametrize("model", GRAPH_MODELS)
def test_an_empty_split_is_refused(model, tmp_path):
    with pytest.raises(InputError, match="leaves 1 training and 0 test rows of 1"):
        zoo.train(
            f"{model}/smoke", data=from_raw(np.array([1]), np.array([2])), split="random", workdir=tmp_path / "run"
        )


def test_layers_beyond_sense_on_the_command_line(tmp_path, capsys):
    folder = str(tmp_path / "run")
    with pytest.warns(UserWarning, match="12 layers: beyond 4 or so"):
        asked = ["train", "lightgcn/smoke", "--data", WORLD, "--epochs", "1", "--set", "num_layers=12", "--quiet"]
        assert main([*asked, "--workdir", folder]) == 0
    asked[-2] = "num_layers=-1"
    assert main([*asked, "--workdir", str(tmp_path / "other")]) == 2
    error = capsys.readouterr().err.strip()
    assert "num_layers is -1" in error and "\n" not in error


def test_a_setting_of_several_numbers_is_loaded_again(tmp_path):
    folder, settings = tmp_path / "run", {"layer_sizes": (3, 2), "epochs": 1}
    run = zoo.train("ngcf/smoke", data=WORLD, workdir=folder, **settings)
    again = zoo.load(folder)
    assert again.prepared.model == run.prepared.model and again.prepared.model.layer_sizes == (3, 2)
    assert zoo.train("ngcf/smoke", data=WORLD, workdir=folder, resume=True, **settings).metrics == run.metrics


def test_a_graph_too_large_on_the_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("zoo.graph.host_available_bytes", lambda: 2**16)
    assert main(["train", "lightgcn/smoke", "--data", WORLD, "--quiet", "--workdir", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err.strip()
    assert "but 64.0 KiB are free" in error and "take fewer interactions" in error and "\n" not in error
