"""The command line as a user types it: how it refuses what is wrong, in one line and with status 2."""

import json
import os
import shutil
import subprocess
import sys

import pytest

import zoo
from tests.helpers import SMALL, refused
from zoo.__main__ import main
from zoo.errors import InputError


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
