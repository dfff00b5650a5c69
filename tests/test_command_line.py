"""The command line as a user types it: what it prints and what it writes. Mistakes are in test_mistakes.py."""

import json
import shutil

import numpy as np
import polars as pl
import pytest

import zoo
from tests.helpers import SMALL, refused
from zoo import run
from zoo.__main__ import main
from zoo.errors import InputError


def test_train_prints_the_model_beside_its_baselines_and_writes_a_record(capsys, tmp_path):
    assert main(["train", "mf/smoke", "--data", SMALL, "--workdir", str(tmp_path / "run"), "--epochs", "2"]) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("mf", "popularity", "oracle", "recall@10", "record.json"))
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert {
        "model",
        "recipe",
        "data",
        "data_sha256",
        "split",
        "objective",
        "seed",
        "metrics",
        "baselines",
        "training",
    } <= set(record)
    assert {"evaluation", "environment", "command"} <= set(record)
    assert record["training"]["epochs"] == 2 and set(record["metrics"]) == {"test"}
    assert str(tmp_path) not in json.dumps(record["environment"])


def test_validate_reports_validation_and_leaves_test_alone(tmp_path):
    assert (
        main(["train", "mf/smoke", "--data", SMALL, "--workdir", str(tmp_path / "run"), "--validate", "--quiet"]) == 0
    )
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert set(record["metrics"]) == {"valid"}
    best = record["training"]["best"]
    assert best["value"] == max(entry[best["metric"]] for entry in record["training"]["history"])
    assert record["metrics"]["valid"][best["metric"]] == pytest.approx(best["value"])


def test_list_data_and_describe(capsys):
    assert main(["list"]) == 0 and main(["data"]) == 0 and main(["describe", "dcn", "--set", "hidden_dims="]) == 0
    assert main(["describe", "mf", "--data", SMALL]) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("mf/ranking", "popularity", "gowalla", "table user", "bytes a step"))


def test_recommend_gives_raw_ids_the_user_does_not_have(capsys, trained):
    run = zoo.load(trained)
    interactions = run.job.interactions
    user = interactions.user_ids[interactions.user[0]]
    assert main(["recommend", str(trained), "--user", str(user), "-k", "7"]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    ids, scores = run.recommend([user], k=7)
    assert [int(item) for item, _ in lines] == ids[0].tolist()
    np.testing.assert_allclose([float(score) for _, score in lines], scores[0], atol=1e-5)
    assert (np.diff(scores[0]) <= 0).all()
    had = interactions.item_ids[interactions.item[interactions.user == interactions.user[0]]]
    assert not set(ids[0].tolist()) & set(had.tolist())


def test_recommend_for_many_users_writes_what_it_prints_for_one(capsys, trained, tmp_path):
    wanted, output = tmp_path / "users.txt", tmp_path / "lists.csv"
    wanted.write_text("5\n3\n")
    asked = ["recommend", str(trained), "-k", "4", "--output", str(output)]
    assert main([*asked, "--users", str(wanted)]) == 0
    assert "8 rows for 2 users" in capsys.readouterr().out
    rows = [line.split(",") for line in output.read_text().splitlines()]
    assert rows[0] == ["user", "item", "rank", "score"]
    for user, lines in (("5", rows[1:5]), ("3", rows[5:])):
        assert main(["recommend", str(trained), "--user", user, "-k", "4"]) == 0
        shown = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
        assert [line[:3] for line in lines] == [[user, item, str(n)] for n, (item, _) in enumerate(shown, 1)]
        np.testing.assert_allclose([float(line[3]) for line in lines], [float(score) for _, score in shown], atol=1e-5)
    assert main([*asked, "--all-users"]) == 0
    assert len(output.read_text().splitlines()) == 1 + 4 * 120


def test_similar_gives_other_items_of_high_cosine(capsys, trained):
    run = zoo.load(trained)
    item = run.job.interactions.item_ids[3]
    assert main(["similar", str(trained), "--item", str(item), "-k", "5"]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    ids, cosines = run.similar([item], k=5)
    assert [int(other) for other, _ in lines] == ids[0].tolist() and item not in ids
    table = np.asarray(run.state.tables["item"])
    units = table / np.linalg.norm(table, axis=1, keepdims=True)
    np.testing.assert_allclose(cosines[0], np.sort(np.delete(units @ units[3], 3))[::-1][:5], atol=1e-5)
    assert "999999" in refused(capsys, "similar", trained, "--item", "999999")
    assert "k is 0" in refused(capsys, "similar", trained, "--item", item, "-k", "0")


@pytest.mark.slow
def test_similar_of_a_rating_model_and_of_one_without_item_vectors(tmp_path, ratings_file, monkeypatch):
    import zoo
    from zoo.models.mf import RatingMF

    run = zoo.train("mf/rating", data=str(ratings_file), epochs=2, embedding_dim=4, workdir=tmp_path / "run")
    ids, cosines = run.similar([3, 5], k=2)
    assert ids.shape == cosines.shape == (2, 2) and 3 not in ids[0] and 5 not in ids[1]
    monkeypatch.delattr(RatingMF, "item_vectors")
    with pytest.raises(zoo.InputError, match="mf/rating has no item vectors"):
        run.similar([3])


def test_recommend_from_a_rating_model(tmp_path, ratings_file):
    run = zoo.train("mf/rating", data=str(ratings_file), epochs=2, embedding_dim=4, workdir=tmp_path / "run")
    ids, scores = run.recommend([3, 5], k=2)
    assert ids.shape == scores.shape == (2, 2) and set(ids.ravel()) <= set(range(1, 10))
    for user, row in zip([3, 5], ids, strict=True):
        assert all((user + item) % 3 == 0 for item in row)  # the only ones the user does not have


def test_evaluate_gives_the_record_again_and_other_metrics(capsys, trained):
    record = json.loads((trained / "record.json").read_text())["metrics"]["test"]
    assert main(["evaluate", str(trained)]) == 0
    shown = dict(line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert {name: float(value) for name, value in shown.items()} == pytest.approx(record, abs=1e-6)
    assert main(["evaluate", str(trained), "--metrics", "map@5", "recall_tail@10", "popularity@10"]) == 0
    shown = [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()]
    assert shown == ["map@5", "recall_tail@10", "popularity@10"]


@pytest.mark.slow
def test_python_and_command_line_agree(trained):
    run = zoo.train("mf/smoke", data=SMALL, workdir=trained.parent / "again")
    assert run.metrics == json.loads((trained / "record.json").read_text())["metrics"]["test"]


def test_a_finished_run_is_read_back(capsys, trained):
    before = (trained / "record.json").read_text()
    assert main(["train", "mf/smoke", "--data", SMALL, "--workdir", str(trained), "--quiet", "--resume"]) == 0
    assert (trained / "record.json").read_text() == before


def test_data_says_how_to_get_what_is_missing_in_lines_to_copy(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_DATA", str(tmp_path / "sets"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["data"]) == 0
    shown = capsys.readouterr().out
    line = next(line for line in shown.splitlines() if line.startswith("gowalla, to get it: curl"))
    assert f"--output-dir {tmp_path / 'sets' / 'gowalla'} " in line and line.endswith("/data/gowalla/test.txt")


def test_a_table_of_the_user(capsys, tmp_path):
    path = tmp_path / "clicks.csv"
    path.write_text("color,price:float,clicked\n" + "red,1.5,1\nblue,,0\nred,2.5,0\n" * 30)
    arguments = ["train", "fm/smoke", "--data", str(path), "--label-column", "clicked"]
    assert main([*arguments, "--set", "min_count=2", "--workdir", str(tmp_path / "run"), "--quiet"]) == 0
    sizes = json.loads((tmp_path / "run" / "record.json").read_text())["sizes"]
    assert sizes["fields"] == 2 and sizes["unknown_values"] > 0 and sizes["field_rows"] == 3 + 4
    assert "compares no items" in refused(capsys, "similar", tmp_path / "run", "--item", "1")
    assert "needs a field called user" in refused(capsys, "recommend", tmp_path / "run", "--user", "1")
    capsys.readouterr()
    assert main(["recommend", str(tmp_path / "run"), "--field", "color=red", "--field", "price:float=1.5"]) == 0
    assert 0 < float(capsys.readouterr().out) < 1  # a table without items: the probability of the row


def test_ratings_from_fields_of_a_file(capsys, tmp_path):
    """The same file trains fm/rating, and is refused as clicks; what is missing or not a number is named by line."""
    path = tmp_path / "mine.csv"
    rows = [f"{u},{i},{u % 3},{20 + u},{1 + (u * i) % 5}" for u in range(1, 21) for i in range(1, 11)]
    path.write_text("\n".join(["user,item,city,age:float,label", *rows]) + "\n")
    place = ("--workdir", tmp_path / "run")
    assert "a click is 0 or 1; for ratings take a rating recipe" in refused(
        capsys, "train", "fm", "--data", path, *place
    )
    arguments = ["train", "fm/rating", "--data", str(path), "--workdir", str(tmp_path / "run"), "--quiet"]
    assert main([*arguments, "--epochs", "1", "--embedding-dim", "2"]) == 0
    assert "user_item_mean" in capsys.readouterr().out
    path.write_text("\n".join(["user,item,city,age:float,label", *rows[:3], "1,2,3,4"]) + "\n")
    assert "line 5: 4 fields, but there are 5 columns" in refused(capsys, "train", "fm/rating", "--data", path, *place)
    path.write_text("\n".join(["user,item,city,age:float,label", *rows[:3], "1,2,3,old,4"]) + "\n")
    assert "line 5, column age:float: 'old'" in refused(capsys, "train", "fm/rating", "--data", path, *place)
    path.write_text("\n".join(["item,city,label", *[f"{i},a,{i % 5}" for i in range(40)]]) + "\n")
    assert "needs a field called user" in refused(
        capsys, "train", "fm/rating", "--data", path, "--epochs", "1", "--workdir", tmp_path / "other"
    )


def test_overwrite_begins_anew(trained, tmp_path):
    """Not from the old run's checkpoint; what is not the run's stays."""
    folder, fresh = tmp_path / "run", tmp_path / "fresh"
    shutil.copytree(trained, folder)
    (folder / "letter.txt").write_text("mine")
    asked = ["train", "mf/smoke", "--data", SMALL, "--epochs", "1", "--quiet", "--workdir"]
    assert main([*asked, str(folder), "--overwrite"]) == main([*asked, str(fresh)]) == 0
    found, want = (json.loads((place / "record.json").read_text()) for place in (folder, fresh))
    assert found["training"]["epochs"] == 1 and found["metrics"] == want["metrics"]
    assert (folder / "letter.txt").read_text() == "mine"


def test_devices_on_the_command_line(tmp_path):
    asked = ["train", "mf/smoke", "--data", SMALL, "--epochs", "2", "--quiet", "--workdir"]
    more = ["--devices", "4", "--mode", "shard_map", "--shard-tables"]
    assert main([*asked, str(tmp_path / "one")]) == main([*asked, str(tmp_path / "four"), *more]) == 0
    one, four = (json.loads((tmp_path / name / "record.json").read_text()) for name in ("one", "four"))
    assert four["devices"] == {"count": 4, "processes": 1, "mode": "shard_map", "tables": "by rows"}
    assert four["metrics"]["test"] == pytest.approx(one["metrics"]["test"], abs=1e-5)


def test_an_interrupted_run_says_how_to_go_on(capsys, trained, tmp_path, monkeypatch):
    asked = ["train", "mf/smoke", "--data", SMALL, "--workdir", str(tmp_path / "run"), "--quiet"]
    asked += ["--checkpoint-seconds", "0"]
    fetch, left = run.fetch, [3]

    def interrupted(metrics):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return fetch(metrics)

    with monkeypatch.context() as patched:
        patched.setattr(run, "fetch", interrupted)
        assert main(asked) == 130
    [line] = capsys.readouterr().err.splitlines()
    assert "--resume goes on" in line
    assert main([*asked, "--resume"]) == 0
    records = [json.loads((place / "record.json").read_text()) for place in (tmp_path / "run", trained)]
    assert records[0]["metrics"] == records[1]["metrics"]


def test_progress_is_a_line_an_epoch_where_no_bar_can_be_drawn(capsys, tmp_path):
    """On stderr, so that what is piped on is the table alone."""
    asked = ["train", "mf/smoke", "--data", SMALL, "--epochs", "3", "--validate", "--workdir"]
    assert main([*asked, str(tmp_path / "run")]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" after ")[0] for line in lines] == [f"mf: epoch {n} of 3" for n in (1, 2, 3)]
    assert all(", loss " in line and ", recall@20 " in line for line in lines)
    assert main([*asked, str(tmp_path / "other"), "--quiet"]) == 0
    assert not capsys.readouterr().err


def test_a_schedule_by_name(capsys, tmp_path):
    folder = str(tmp_path / "run")
    asked = ["train", "lightgcn/smoke", "--data", SMALL, "--epochs", "1", "--quiet", "--workdir", folder]
    assert main([*asked, "--schedule", "one_cycle", "--set", "rising=0.5"]) == 0
    schedule = json.loads((tmp_path / "run" / "record.json").read_text())["settings"]["schedule"]
    assert schedule == {"call": "zoo.schedules.one_cycle", "rising": 0.5}
    assert zoo.load(folder).job.recipe.schedule.keywords == {"rising": 0.5}
    assert main([*asked, "--schedule", "constant", "--overwrite"]) == 0
    assert json.loads((tmp_path / "run" / "record.json").read_text())["settings"]["schedule"] is None
    capsys.readouterr()
    assert "did you mean cosine" in refused(capsys, *asked, "--schedule", "cosin")


def test_what_a_split_leaks_is_said(capsys, tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "mine.csv"
    rows = [f"{u},{i},{t}" for u, i, t in zip(rng.integers(0, 9, 60), rng.integers(0, 30, 60), rng.permutation(60))]
    path.write_text("\n".join(["user,item,timestamp", *rows, rows[0]]) + "\n")
    asked = ["train", "mf/smoke", "--data", str(path), "--epochs", "1", "--quiet", "--workdir"]
    assert main([*asked, str(tmp_path / "run")]) == 0
    split = zoo.load(tmp_path / "run").prepared.split
    train, test = split.train, split.test
    older = sum(any(test.timestamp[n] < train.timestamp[train.user == test.user[n]]) for n in range(len(test)))
    shown = capsys.readouterr().out
    assert older > 0 and f"{older} of {len(test)} held-out rows are older than a training row of their user" in shown
    assert "repeated pairs were merged" in shown
    assert main([*asked, str(tmp_path / "other"), "--split", "temporal"]) == 0
    assert "older than a training row" not in capsys.readouterr().out


def test_the_rating_of_a_pair(capsys, ratings_file, trained, tmp_path):
    folder = str(tmp_path / "run")
    run = zoo.train("mf/rating", data=ratings_file, epochs=2, workdir=folder)
    split = run.prepared.split
    users, items = split.test.user_ids[split.test.user], split.test.item_ids[split.test.item]
    predicted = run.predict_pairs(users, items)
    assert np.sqrt(np.mean((predicted - split.test.ratings) ** 2)) == pytest.approx(run.metrics["rmse"])
    assert main(["recommend", folder, "--user", str(users[0]), "--item", str(items[0])]) == 0
    assert float(capsys.readouterr().out) == pytest.approx(predicted[0], abs=1e-6)
    assert "unknown item 99" in refused(capsys, "recommend", folder, "--user", users[0], "--item", 99)
    assert "give --user ID" in refused(capsys, "recommend", folder, "--item", 1)
    assert "scores are no ratings" in refused(capsys, "recommend", trained, "--user", 1, "--item", 1)
    with pytest.raises(InputError, match="2 users and 1 items"):
        run.predict_pairs(users[:2], items[:1])


def test_from_python_a_path_and_a_frame_have_columns_of_other_names(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("member;thing\n" + "".join(f"{n % 7};{n % 11}\n" for n in range(77)))
    columns = {"user": "member", "item": "thing"}
    asked = {"columns": columns, "epochs": 1}
    one = zoo.train("mf/smoke", data=path, separator=";", workdir=tmp_path / "one", **asked)
    two = zoo.train("mf/smoke", data=pl.read_csv(path, separator=";"), workdir=tmp_path / "two", **asked)
    assert one.metrics == two.metrics and zoo.load(tmp_path / "one").metrics == one.metrics
    with pytest.raises(InputError, match=r"no column for the user and the item: .* member, thing"):
        zoo.train("mf/smoke", data=path, separator=";", workdir=tmp_path / "three")
    with pytest.raises(InputError, match="columns: this Interactions has been read already"):
        zoo.train("mf/smoke", data=one.interactions, workdir=tmp_path / "four", **asked)
