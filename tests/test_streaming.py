"""Streamed runs: the result of the same rows in the same order in memory, kills, and the rest of a run's life."""

import gc
import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

import zoo
from tests.helpers import fit_stopped_at_every_save
from zoo import checkpoint, chunks, run, train_step, tune
from zoo.__main__ import main
from zoo.data import splits, stream
from zoo.names import Request, job
from zoo.run import fit, prepare


BATCH = 64


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """The watches of a small world, as a Parquet file."""
    world = zoo.simulate(num_users=200, num_videos=100, num_watches=4000)
    path = tmp_path_factory.mktemp("data") / "log.parquet"
    frame = pl.DataFrame({"user": world.user_ids[world.user], "item": world.item_ids[world.item]})
    frame.write_parquet(path, row_group_size=900)
    return path


@pytest.fixture
def small(monkeypatch):
    """Many slices, blocks and chunks, and users beyond the sample, on a toy."""
    whole = splits.sampled_users
    monkeypatch.setattr(splits, "sampled_users", lambda num_users, seed, size=50: whole(num_users, seed, 50))
    monkeypatch.setattr(stream, "SLICE_ROWS", 1000)
    monkeypatch.setattr(stream, "BLOCK_ROWS", 128)
    monkeypatch.setattr(chunks, "CHUNK_EXAMPLES", 10 * BATCH)


def asked(log, **more):
    settings = {"epochs": 3, "batch_size": BATCH, **more.pop("settings", {})}
    return job(Request("mf/smoke", str(log), settings=settings, stream=True, **more))


def test_the_parameters_of_the_same_rows_in_the_same_order_in_memory(log, tmp_path, small):
    streamed = asked(log)
    record, prepared, state = fit(streamed, tmp_path / "run", quiet=True)
    source, recipe = streamed.source, streamed.recipe
    count, steps = source.num_rows, chunks.steps_per_epoch(prepared.examples, recipe)
    bounds = chunks.bounds(steps, BATCH)
    assert count == record["sizes"]["train"] > 3000 and count % BATCH and len(bounds) > 3
    positions = stream.Source(count, lambda start, stop: {"row": np.arange(start, stop, dtype=np.int32)})
    columns = {name: jnp.asarray(column) for name, column in source.read(0, count).items()}
    expected = prepare(asked(log)).initial()
    scan = train_step.scan_steps(train_step.make_train_step(prepared.model, recipe.objective, prepared.optimizer))
    for epoch in range(3):
        blocks = stream.block_order(count, 0, epoch)
        for chunk, (start, stop) in enumerate(bounds):
            rows = stream.read_chunk(positions, blocks, start * BATCH, min(stop * BATCH, count))["row"]
            within = chunks.shuffled(len(rows), BATCH, (0, epoch, chunk + 1))
            order = np.where(within < 0, -1, rows[within])
            expected, _ = scan(expected, prepared.examples.constants, columns, jnp.asarray(order))
    assert checkpoint.checksums(state) == checkpoint.checksums(expected)
    assert int(state.step) == 3 * steps


def test_two_devices_give_the_parameters_of_one(log, tmp_path, small):
    one = zoo.train("mf/smoke", data=log, stream=True, epochs=1, workdir=tmp_path / "one").state
    two = zoo.train("mf/smoke", data=log, stream=True, epochs=1, devices=2, mode="shard_map", workdir=tmp_path / "two")
    assert two.record["devices"]["count"] == 2
    for name, table in one.tables.items():
        np.testing.assert_allclose(two.state.tables[name], table, atol=1e-5, rtol=1e-4)  # after an epoch


def test_the_held_out_part_and_the_baseline_are_those_of_the_file_in_memory(log, tmp_path, small):
    whole = zoo.train("mf/smoke", data=log, split="user_sample", epochs=1, workdir=tmp_path / "whole").record
    streamed = zoo.train("mf/smoke", data=log, stream=True, epochs=1, workdir=tmp_path / "streamed").record
    assert streamed["baselines"]["popularity"] == whole["baselines"]["popularity"]
    assert streamed["sizes"] == whole["sizes"] | {"repeats_merged": None}
    assert streamed["data_sha256"] == whole["data_sha256"] and (streamed["stream"], whole["stream"]) == (True, False)


@pytest.mark.parametrize("validate", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_resumed_from_every_checkpoint(log, tmp_path, monkeypatch, small, validate):
    monkeypatch.setattr(chunks, "CHUNK_EXAMPLES", 20 * BATCH)
    settings = {"epochs": 2}
    expected, _, final = fit(asked(log, validate=validate, settings=settings), tmp_path / "whole", quiet=True)
    assert set(expected["metrics"]) == {"valid" if validate else "test"}
    record, state, saves = fit_stopped_at_every_save(
        lambda: asked(log, validate=validate, settings=settings), tmp_path / "broken", monkeypatch
    )
    assert saves > 5
    assert record["metrics"] == expected["metrics"]
    assert record["training"]["history"] == expected["training"]["history"]
    assert checkpoint.checksums(state) == checkpoint.checksums(final)


@pytest.mark.slow
def test_killed_and_resumed(log, tmp_path):
    def command(folder):
        fixed = "train mf/smoke --stream --resume --quiet --checkpoint-seconds 0 --epochs 30 --batch-size 16"
        return [sys.executable, "-m", "zoo", *fixed.split(), "--data", str(log), "--workdir", str(folder)]

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    subprocess.run(command(whole), check=True, capture_output=True)
    process = subprocess.Popen(command(broken), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not list(broken.glob("checkpoints/3")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    subprocess.run(command(broken), check=True, capture_output=True)
    records = [json.loads((folder / "record.json").read_text()) for folder in (whole, broken)]
    assert records[0]["metrics"] == records[1]["metrics"]
    assert records[0]["training"]["history"] == records[1]["training"]["history"]
    assert checkpoint.checksums(zoo.load(whole).state) == checkpoint.checksums(zoo.load(broken).state)


def test_one_host_read_a_chunk_at_most_two_traces_and_a_reader_beside_the_device(log, tmp_path, monkeypatch, small):
    fetches, traces, readers = [], [], set()
    real_fetch, real_core, real_read = run.fetch, train_step.core_step, stream.read_chunk
    monkeypatch.setattr(run, "fetch", lambda metrics: fetches.append(1) or real_fetch(metrics))
    monkeypatch.setattr(train_step, "core_step", lambda *arguments: traces.append(1) or real_core(*arguments))
    monkeypatch.setattr(
        stream, "read_chunk", lambda *arguments: readers.add(threading.current_thread()) or real_read(*arguments)
    )
    streamed = asked(log)
    _, prepared, _ = fit(streamed, tmp_path / "run", quiet=True)
    assert len(fetches) == 3 * len(chunks.bounds(chunks.steps_per_epoch(prepared.examples, streamed.recipe), BATCH))
    assert len(traces) <= 2
    assert threading.main_thread() not in readers


def test_a_run_recommends_what_a_user_has_not_met(log, tmp_path, small):
    """Of a user who is not in the sample, too: what that one has is in the file alone."""
    path = shutil.copy(log, tmp_path / "log.parquet")
    run = zoo.train("mf/smoke", data=path, stream=True, epochs=1, workdir=tmp_path / "run")
    loaded = zoo.load(tmp_path / "run")
    assert loaded.evaluate() == run.metrics
    interactions = loaded.job.interactions
    outside = np.flatnonzero(~splits.sampled_users(interactions.num_users, 0))
    frame = pl.read_parquet(path)
    for user in (interactions.user_ids[outside[0]], interactions.user_ids[interactions.user[0]]):
        had = frame.filter(pl.col("user") == user)["item"].to_list()
        ids, scores = loaded.recommend([user], k=interactions.num_items - len(set(had)))
        assert np.isfinite(scores).all() and not set(ids[0].tolist()) & set(had)
    path.unlink()
    with pytest.raises(zoo.InputError, match=r"cannot find .*log.parquet"):
        loaded.recommend([user], k=3)


def test_a_closed_form_counts_all_rows(log, tmp_path, small):
    whole = zoo.train("popularity", data=log, split="user_sample", workdir=tmp_path / "whole")
    streamed = zoo.train("popularity", data=log, stream=True, workdir=tmp_path / "streamed")
    assert streamed.metrics == whole.metrics


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "gowalla"], ["'gowalla'", "Parquet", "leave it out"]),
        (["--data", "log.csv"], ["log.csv", "sink_parquet"]),
        (["--data", "no.parquet"], ["cannot find no.parquet"]),
        (["--data", "LOG", "--split", "random"], ["'random'", "leave --split out"]),
        (["--data", "LOG", "--separator", ","], ["no separator"]),
        (["--data", "LOG", "--user-column", "who"], ["'who'", "user, item"]),
    ],
)
def test_a_mistake_is_one_line_and_status_2(capsys, log, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    arguments = [str(log) if argument == "LOG" else argument for argument in arguments]
    assert main(["train", "mf", "--stream", *arguments]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and all(word in lines[0] for word in words), lines


def test_what_cannot_stream_says_so(capsys, log, tmp_path, small):
    assert main(["train", "mf/rating", "--stream", "--data", str(log)]) == 2
    assert "mf/rating cannot stream" in capsys.readouterr().err
    with pytest.raises(zoo.InputError, match="in memory"):
        zoo.train("mf", data=pl.read_parquet(log), stream=True)
    zoo.train("mf/smoke", data=log, stream=True, epochs=1, workdir=tmp_path / "run")
    with pytest.raises(zoo.InputError, match="stream is True, now False"):
        zoo.train("mf/smoke", data=log, split="user_sample", epochs=1, workdir=tmp_path / "run", resume=True)


def test_the_scratch_file_goes_with_its_run(log, small):
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("this system does not list open files")
    gc.collect()  # scratch files of other tests
    open_files = len(list(folder.iterdir()))
    streamed = asked(log)
    assert len(list(folder.iterdir())) == open_files + 1
    assert list(streamed.source.read(0, 5)) == ["user", "item"]
    del streamed
    gc.collect()
    assert len(list(folder.iterdir())) == open_files


def test_a_search_does_not_stream(log, tmp_path, small):
    with pytest.raises(zoo.InputError, match=r"log\.parquet into memory: leave stream out"):
        tune.tune(asked(log), tmp_path / "tune", trials=2, quiet=True)
    assert not (tmp_path / "tune").exists()
