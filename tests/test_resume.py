"""Killed at any moment, a run resumes to the same parameters and metrics, bit for bit."""

import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace

import jax
import numpy as np
import pytest

import zoo
from tests.helpers import fit_stopped_at_every_save
from zoo import checkpoint, chunks, parallel, run, train_step
from zoo.errors import InputError
from zoo.names import Request, job
from zoo.run import fit


WORLD = "simulated:num_users=600,num_videos=300,num_watches=20000"


def command(folder, *more):
    fixed = f"train mf/smoke --data {WORLD} --resume --quiet --checkpoint-seconds 0 --epochs 40 --batch-size 64"
    return [sys.executable, "-m", "zoo", *fixed.split(), "--workdir", str(folder), *more]


def latest(folder):
    """The number of the last complete checkpoint, 0 without one."""
    return max((int(path.name) for path in folder.glob("checkpoints/*") if path.name.isdigit()), default=0)


def same_arrays(one, other):
    key_data = jax.tree.map(
        lambda x: jax.random.key_data(x) if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) else x, one
    )
    other_data = jax.tree.map(
        lambda x: jax.random.key_data(x) if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) else x, other
    )
    return all(
        np.array_equal(a, b) for a, b in zip(jax.tree.leaves(key_data), jax.tree.leaves(other_data), strict=True)
    )


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("--validate", "--set", "patience=40")], ids=["train", "validate"])
def test_killed_three_times_and_resumed(tmp_path, more):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    subprocess.run(command(whole, *more), check=True, capture_output=True)
    rng = random.Random(7)
    for _ in range(3):
        before = latest(broken)
        process = subprocess.Popen(command(broken, *more), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while latest(broken) < before + 2 and process.poll() is None:
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 0.5))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    assert not (broken / "record.json").exists()
    subprocess.run(command(broken, *more), check=True, capture_output=True)
    records = [json.loads((folder / "record.json").read_text()) for folder in (whole, broken)]
    assert records[0]["metrics"] == records[1]["metrics"]
    assert records[0]["training"]["history"] == records[1]["training"]["history"]
    assert records[0]["training"]["best"] == records[1]["training"]["best"]
    assert same_arrays(zoo.load(whole).state, zoo.load(broken).state)


@pytest.mark.parametrize("validate", [pytest.param(False, marks=pytest.mark.slow), True])
def test_resumed_from_every_checkpoint(tmp_path, monkeypatch, validate):
    """Stop at each save in turn, in the middle of epochs too, and go on."""
    monkeypatch.setattr("zoo.chunks.CHUNK_EXAMPLES", 2048)
    request = Request("mf/smoke", WORLD, validate=validate, settings={"epochs": 3, "batch_size": 128})
    expected, _, final = fit(job(request), tmp_path / "whole", quiet=True)
    record, state, saves = fit_stopped_at_every_save(lambda: job(request), tmp_path / "broken", monkeypatch)
    assert saves > 10
    assert record["metrics"] == expected["metrics"]
    assert record["training"]["history"] == expected["training"]["history"]
    ends = record["training"]["epoch_seconds"]
    assert len(ends) == 3 and 0 < ends[0] < ends[1] < ends[2] == record["training"]["seconds"]
    assert same_arrays(state, final)


def test_chunks_cover_an_epoch_in_at_most_two_lengths():
    for steps in (1, 2, 7, 13, 100, 127, 129, 792, 1000):
        for batch in (1, 32, 64, 1024, 10**6, 2**20):
            bounds = chunks.bounds(steps, batch)
            assert [start for start, _ in bounds] == [0, *(stop for _, stop in bounds[:-1])] and bounds[-1][1] == steps
            assert len({stop - start for start, stop in bounds}) <= 2


def test_one_host_read_a_chunk_and_at_most_two_traces(tmp_path, monkeypatch):
    reads, traces = [], []
    real_fetch, real_core = run.fetch, train_step.core_step
    monkeypatch.setattr(run, "fetch", lambda metrics: reads.append(1) or real_fetch(metrics))
    monkeypatch.setattr(train_step, "core_step", lambda *arguments: traces.append(1) or real_core(*arguments))
    monkeypatch.setattr(chunks, "CHUNK_EXAMPLES", 2048)
    asked = job(Request("mf/smoke", WORLD, settings={"epochs": 3, "batch_size": 128}))
    fit(asked, tmp_path / "run", quiet=True)
    steps = chunks.steps_per_epoch(run.prepare(asked).examples, asked.recipe)
    assert len(reads) == 3 * len(chunks.bounds(steps, 128)) > 3
    assert len(traces) <= 2


def test_a_checkpoint_of_other_arrays_is_refused(tmp_path):
    request = Request("mf/smoke", WORLD, settings={"epochs": 1})
    fit(job(request), tmp_path, quiet=True)
    shapes = jax.eval_shape(run.prepare(job(Request("mf/smoke", WORLD, settings={"embedding_dim": 5}))).initial)
    place = tmp_path / "checkpoints"
    with pytest.raises(InputError, match="is of a state with other arrays"):
        checkpoint.restore(checkpoint.open_folder(place), parallel.abstract(shapes, None), shapes, place)


@pytest.mark.parametrize(
    ("metric", "told"), [("recall@20", [0.1, 0.3, 0.2, 0.2, 0.9]), ("rmse", [0.9, 0.5, 0.6, 0.7, 0.1])]
)
def test_a_run_stops_when_validation_no_longer_improves(tmp_path, metric, told):
    """Two epochs after the second, the best; what is kept is the state of that epoch."""
    asked = job(Request("mf/smoke", WORLD, validate=True, settings={"epochs": 5, "patience": 2, "batch_size": 1024}))
    values = iter(told)
    recipe = replace(asked.recipe, metric=metric, evaluate=lambda *given: {metric: next(values)})
    record, _, state = fit(replace(asked, recipe=recipe), tmp_path / "run", quiet=True)
    training = record["training"]
    assert training["epochs"] == 4 and training["best"] == {"metric": metric, "value": told[1], "epoch": 2}
    assert int(state.step) == training["steps"] // 2


def test_a_finished_run_takes_more_epochs(tmp_path):
    """As one that had as many from the start; not where a schedule spans them, and never fewer."""

    def asked(epochs, schedule=None):
        return job(Request("mf/smoke", WORLD, settings={"epochs": epochs, "batch_size": 1024}, schedule=schedule))

    fit(asked(2), tmp_path / "run", quiet=True)
    record, _, state = fit(asked(4), tmp_path / "run", quiet=True, resume=True)
    whole, _, same = fit(asked(4), tmp_path / "whole", quiet=True)
    assert record["metrics"] == whole["metrics"] and record["training"]["epochs"] == 4
    assert record["training"]["history"] == whole["training"]["history"] and same_arrays(state, same)
    assert zoo.load(tmp_path / "run").record["metrics"] == whole["metrics"]
    with pytest.raises(InputError, match=r"settings.epochs is 4, now 3"):
        fit(asked(3), tmp_path / "run", quiet=True, resume=True)
    fit(asked(1, "cosine"), tmp_path / "cosine", quiet=True)
    with pytest.raises(InputError, match=r"settings.epochs is 1, now 2"):
        fit(asked(2, "cosine"), tmp_path / "cosine", quiet=True, resume=True)
