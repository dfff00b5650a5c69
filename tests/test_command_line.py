"""The command line as a user types it: what it prints, what it writes, and how it refuses."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

import zoo
from zoo import run
from zoo.__main__ import main
from zoo.errors import InputError


SMALL = "simulated:num_users=120,num_videos=80,num_watches=1500"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run on a small world."""
    folder = tmp_path_factory.mktemp("runs") / "mf"
    assert main(["train", "mf/smoke", "--data", SMALL, "--workdir", str(folder), "--quiet"]) == 0
    return folder


@pytest.fixture
def ratings_file(tmp_path):
    path = tmp_path / "ratings.csv"
    rows = [f"{u},{i},{1 + (u * i) % 5},{u + i}" for u in range(1, 13) for i in range(1, 10) if (u + i) % 3]
    path.write_text("\n".join(["user,item,rating,timestamp", *rows]) + "\n")
    return path


def refused(capsys, *arguments):
    """The one line of a command that must end with status 2."""
    assert main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("zoo: "), captured.err
    return lines[0]


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


def test_mistakes_of_recommend_for_many_users(capsys, trained, tmp_path):
    wanted = tmp_path / "users.txt"
    wanted.write_text("5\n999999\n")
    output = ["--output", tmp_path / "lists.csv"]
    line = refused(capsys, "recommend", trained, "--users", wanted, *output)
    assert "line 2" in line and "999999" in line and not (tmp_path / "lists.csv").exists()
    assert "not allowed with" in refused(capsys, "recommend", trained, "--users", wanted, "--user", "5", *output)
    assert "--users" in refused(capsys, "recommend", trained, *output)
    assert "--output" in refused(capsys, "recommend", trained, "--users", wanted)
    assert ".csv or .parquet" in refused(capsys, "recommend", trained, "--all-users", "--output", tmp_path / "lists")


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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "mff"], ["'mff'", "mf"]),
        (["train", "mf/rankin"], ["'rankin'", "ranking"]),
        (["train", "mf", "--data", "gowala"], ["'gowala'", "gowalla"]),
        (["train", "mf", "--data", "no/such/file.csv"], ["no/such/file.csv"]),
        (["train", "mf", "--split", "randm"], ["'randm'", "random"]),
        (["train", "mf", "--optimizer", "adm"], ["'adm'", "adam"]),
        (["train", "mf", "--learning-rat", "1"], ["--learning-rat", "--learning-rate"]),
        (["train", "mf", "--epochs", "0"], ["epochs is 0", "at least 1"]),
        (["train", "mf", "--epochs", "many"], ["epochs='many'", "int"]),
        (["train", "mf", "--batch-size", "-4"], ["batch_size is -4", "at least 1"]),
        (["train", "mf", "--embedding-dim", "0"], ["embedding_dim is 0", "at least 1"]),
        (["train", "mf", "--learning-rate", "0"], ["learning_rate is 0", "above 0"]),
        (["train", "mf", "--set", "l3=0.1"], ["'l3'", "l2"]),
        (["train", "mf", "--set", "l2"], ["FIELD=VALUE"]),
        (["train", "mf", "--seed", "x"], ["--seed", "'x'"]),
        (["train", "mf", "--seed", "-1"], ["seed is -1", "at least 0"]),
        (["train", "mf", "--data", "simulated:users=3"], ["users=3", "num_users"]),
        (["train"], ["MODEL"]),
        (["tran", "mf"], ["'tran'"]),
        (["evaluate", "no/run"], ["no/run"]),
        (["train", "mf", "--devices", "0"], ["--devices 0", "positive multiple"]),
        (["train", "mf", "--shard-tables"], ["shard_tables needs a number of devices"]),
        (["train", "mf", "--num-processes", "2"], ["all of --coordinator"]),
        (
            ["train", "mf", "--coordinator", "h:1", "--num-processes", "2", "--process-id", "2"],
            ["--process-id 2", "from 0"],
        ),
        (["data", "--verify", "movielens"], ["'movielens'", "movielens-1m"]),
    ],
)
def test_a_mistake_is_one_line_and_status_2(capsys, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    line = refused(capsys, *arguments)
    assert all(word in line for word in words), line
    assert not list(tmp_path.rglob("checkpoints"))


def test_a_rule_by_rows_of_a_table_looked_up_whole(capsys, tmp_path):
    asked = ["train", "youtube_candidates/full", "--data", SMALL, "--workdir", tmp_path / "run", "--quiet"]
    line = refused(capsys, *asked, "--optimizer", "adam")
    assert "looked up whole" in line and "--optimizer dense_adam" in line


def test_a_file_where_a_folder_is_needed(capsys, tmp_path):
    path = tmp_path / "notes.md"
    path.write_text("mine")
    line = refused(capsys, "train", "mf/smoke", "--data", SMALL, "--workdir", path, "--quiet")
    assert str(path) in line and "Not a directory" in line and path.read_text() == "mine"


def test_data_says_how_to_get_what_is_missing_in_lines_to_copy(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_DATA", str(tmp_path / "sets"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["data"]) == 0
    shown = capsys.readouterr().out
    line = next(line for line in shown.splitlines() if line.startswith("gowalla, to get it: curl"))
    assert f"--output-dir {tmp_path / 'sets' / 'gowalla'} " in line and line.endswith("/data/gowalla/test.txt")


def test_a_mistake_in_a_file_names_the_line(capsys, tmp_path, ratings_file):
    ratings_file.write_text(ratings_file.read_text().replace("\n2,2,5,4\n", "\n2,2,good,4\n"))
    line = refused(capsys, "train", "mf/rating", "--data", ratings_file, "--workdir", tmp_path / "run")
    assert "good" in line and "line" in line


def test_an_unknown_user_is_named(capsys, trained):
    assert "nobody" in refused(capsys, "recommend", trained, "--user", "nobody")
    assert "999999" in refused(capsys, "recommend", trained, "--user", "999999")
    assert "k is 0" in refused(capsys, "recommend", trained, "--user", "1", "-k", "0")


def test_a_model_without_histories_says_which_have_one(capsys, trained):
    assert "reads no history" in refused(capsys, "recommend", trained, "--history", "1,2")


def test_nobody_is_asked_for(trained):
    run = zoo.load(trained)
    for ask in (run.recommend, run.similar):
        with pytest.raises(InputError, match="nothing is asked for"):
            ask([])


def test_an_unknown_metric_is_named(capsys, trained):
    line = refused(capsys, "evaluate", trained, "--metrics", "recal@10")
    assert "recal@10" in line and "recall@10" in line


def test_a_metric_of_another_task_is_refused(capsys, tmp_path, ratings_file):
    run = [
        "train",
        "mf/rating",
        "--data",
        str(ratings_file),
        "--epochs",
        "1",
        "--workdir",
        str(tmp_path / "run"),
        "--quiet",
    ]
    assert main(run) == 0
    capsys.readouterr()
    assert "'recall@10'" in refused(capsys, "evaluate", tmp_path / "run", "--metrics", "recall@10")
    assert main(["evaluate", str(tmp_path / "run"), "--metrics", "mae"]) == 0
    assert capsys.readouterr().out.startswith("mae\t")


def test_ratings_are_asked_for_where_there_are_none(capsys, tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("user,item\n1,2\n2,3\n3,1\n1,3\n2,1\n3,2\n1,1\n2,2\n3,3\n4,1\n")
    assert "rating" in refused(capsys, "train", "mf/rating", "--data", path, "--workdir", tmp_path / "run")


def test_a_table_beyond_memory_is_refused_with_its_size(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.train_step.available_bytes", lambda: 2**20)
    line = refused(capsys, "train", "mf", "--data", SMALL, "--embedding-dim", "4096", "--workdir", tmp_path / "run")
    assert "MiB" in line and "embedding_dim" in line and "(120, 4096)" in line


def test_a_folder_serves_one_run(capsys, trained, tmp_path):
    again = ["train", "mf/smoke", "--data", SMALL, "--workdir", trained, "--quiet"]
    assert "--resume" in refused(capsys, *again)
    line = refused(capsys, *again, "--resume", "--epochs", "3")
    assert "settings.epochs is 20, now 3" in line
    assert "settings.objective" in refused(capsys, *again, "--resume", "--set", "l2=0.5")
    assert "recipe" in refused(capsys, "train", "mf/ranking", "--data", SMALL, "--workdir", trained, "--resume")
    (tmp_path / "letter.txt").write_text("mine")
    assert "no run" in refused(capsys, "train", "mf/smoke", "--data", SMALL, "--workdir", tmp_path, "--overwrite")
    assert (tmp_path / "letter.txt").read_text() == "mine"


@pytest.mark.parametrize(
    "pattern",
    ["state/**/d/*", *(pytest.param(name, marks=pytest.mark.slow) for name in ("progress/metadata", "crc32.json"))],
)
def test_a_damaged_checkpoint_is_named(trained, tmp_path, pattern):
    """In a process of its own, for all that a user sees: orbax prints tracebacks of failed reads as it ends."""
    copy = tmp_path / "copy"
    shutil.copytree(trained, copy)
    files = [path for path in copy.glob(f"checkpoints/*/{pattern}") if path.is_file()]
    assert files
    for path in files:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)
    command = [sys.executable, "-m", "zoo", "recommend", str(copy), "--user", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and not done.stdout
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("zoo: damaged checkpoint"), done.stderr
    assert str(copy) in lines[0] and "delete it" in lines[0]


def test_a_diverging_run_says_so(capsys, tmp_path):
    line = refused(
        capsys,
        "train",
        "mf/rating",
        "--data",
        SMALL,
        "--learning-rate",
        "1e6",
        "--workdir",
        tmp_path / "run",
        "--epochs",
        "3",
        "--quiet",
    )
    assert "diverged" in line and "learning rate" in line


def test_the_module_runs_without_a_traceback():
    done = subprocess.run(
        [sys.executable, "-m", "zoo", "train", "nothing"], capture_output=True, text=True, env=os.environ, check=False
    )
    assert done.returncode == 2 and done.stderr.startswith("zoo: unknown model") and "Traceback" not in done.stderr


def test_data_of_another_kind_is_refused(capsys, tmp_path, ratings_file):
    place = ("--workdir", tmp_path / "run")
    message = refused(capsys, "train", "fm", "--data", SMALL, *place)
    assert "fm/clicks reads a table of fields" in message and "holds interactions of users and items" in message
    message = refused(capsys, "train", "mf", "--data", "planted", *place)
    assert "mf/ranking reads interactions of users and items, but planted holds a table of fields" in message
    assert "no column 'label'" in refused(capsys, "train", "fm", "--data", ratings_file, *place)
    assert "choose random or published" in refused(capsys, "train", "fm", "--split", "temporal", *place)
    assert "write planted:num_rows=N,seed=N" in refused(capsys, "train", "fm", "--data", "planted:rows=5", *place)


def test_clicks_of_one_class_have_no_auc(capsys, tmp_path):
    path = tmp_path / "clicks.csv"
    path.write_text("color,label\n" + "red,0\nblue,0\n" * 20)
    message = refused(capsys, "train", "lr", "--data", path, "--workdir", tmp_path / "run", "--quiet")
    assert "AUC" in message and "all labels are 0" in message
    assert not (tmp_path / "run").exists()  # said before training


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


def test_without_checksums_of_files_those_of_arrays_are_compared(trained, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(trained, copy)
    for path in copy.glob("checkpoints/*/crc32.json"):
        path.unlink()  # killed between a save and its checksums
    assert zoo.load(copy).evaluate() == zoo.load(trained).evaluate()
    for path in copy.glob("checkpoints/*/progress/metadata"):
        held = json.loads(path.read_text())
        held["crc32"]["state"][0]["crc32"] ^= 1
        path.write_text(json.dumps(held))
    with pytest.raises(InputError, match="an array differs from its checksum"):
        zoo.load(copy)


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


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes")])
def test_out_of_memory_is_one_line(capsys, tmp_path, monkeypatch, error):
    def fails(*given, **options):
        raise error

    monkeypatch.setattr("zoo.api.fit", fails)
    line = refused(capsys, "train", "mf/smoke", "--data", SMALL, "--workdir", tmp_path / "run")
    assert "out of memory" in line and "batch_size" in line
    error.args = ("another",)
    if isinstance(error, RuntimeError):
        with pytest.raises(RuntimeError, match="another"):
            main(["train", "mf/smoke", "--data", SMALL, "--workdir", str(tmp_path / "run")])


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
