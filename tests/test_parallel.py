"""One core step on four virtual devices and in two processes: the parameters of one device, and what travels."""

import os
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import zoo
from benchmarks.collectives import collectives
from zoo import init_state, make_train_step, negatives, objectives, optimizers, parallel, run, scan_steps
from zoo.errors import InputError
from zoo.models.mf import MF
from zoo.types import Spec


ROOT = Path(__file__).parents[1]
STEPS, BATCH, DEVICES = 50, 64, 4
OBJECTIVES = {
    "own negatives": partial(objectives.bpr, num_negatives=3),
    "in-batch negatives": objectives.in_batch_softmax,
    "shared negatives": partial(objectives.sampled_softmax, sampler=partial(negatives.popularity, count=37)),
}
WRAPS = (parallel.jit, parallel.shard_map, parallel.pmap)
CLIPPED = optimizers.sgd(20.0)._replace(transforms=(optimizers.clip_by_global_norm(0.05),))


def examples(users=203, items=101, count=500):
    rng = np.random.default_rng(0)
    columns = {name: rng.integers(0, rows, count, np.int32) for name, rows in (("user", users), ("item", items))}
    frequency = np.maximum(np.bincount(columns["item"], minlength=items), 1) / count
    order = rng.integers(0, count, (STEPS, BATCH), np.int32)
    order[-1, -10:] = -1
    return columns, {"item_log_frequency": np.log(frequency).astype(np.float32)}, order


def prepared(objective, optimizer, layout, wrap, users=203, items=101):
    """State, compiled scan and its arguments."""
    columns, constants, order = examples(users, items)
    model = MF(Spec(num_users=users, num_items=items), 16)
    batch = {name: jax.ShapeDtypeStruct((BATCH,), jnp.int32) for name in columns}
    batch["mask"] = jax.ShapeDtypeStruct((BATCH,), jnp.float32)
    state = init_state(model, objective, optimizer, batch, jax.random.key(0), constants, layout)
    arguments = parallel.on_every_device((constants, columns, order), layout)
    step = make_train_step(model, objective, optimizer, partial(wrap, layout=layout))
    return state, scan_steps(step).lower(state, *arguments).compile(), arguments


def trained(objective, optimizer, layout=None, wrap=parallel.jit):
    state, compiled, arguments = prepared(objective, optimizer, layout, wrap)
    before = {name: np.asarray(table) for name, table in state.tables.items()}
    state, metrics = compiled(state, *arguments)
    return state, before, np.asarray(metrics["loss_sum"])


def assert_devices_agree(objective, optimizer, wraps, layouts):
    """Every layout under every wrapper ends in the losses and parameters of one device."""
    expected, start, losses = trained(objective, optimizer)
    for name, table in expected.tables.items():
        assert np.abs(table - start[name]).max() > 0.05  # something was learned that could differ
    for layout in layouts:
        for wrap in wraps:
            state, _, found = trained(objective, optimizer, layout, wrap)
            np.testing.assert_allclose(found, losses, rtol=1e-5)
            for name, table in expected.tables.items():
                got = np.asarray(state.tables[name])[: len(table)]
                np.testing.assert_allclose(got, table, atol=1e-5, err_msg=f"{wrap.__name__}, {layout}, {name}")


@pytest.mark.parametrize(
    "objective", ["in-batch negatives", *(pytest.param(name, marks=pytest.mark.slow) for name in list(OBJECTIVES)[::2])]
)
def test_devices_give_the_parameters_of_one(objective):
    layouts = [parallel.layout(DEVICES, shard_rows) for shard_rows in (False, True)]
    assert_devices_agree(OBJECTIVES[objective], optimizers.sgd(20.0), WRAPS, layouts)


# Those in which a device must know more than its own rows, and that of full_softmax, whose item table travels.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("objective", "optimizer"),
    [
        (OBJECTIVES["shared negatives"], CLIPPED),
        (OBJECTIVES["own negatives"], optimizers.rowwise_adam(0.01)),
        (OBJECTIVES["own negatives"], optimizers.sgd_each_example(0.3, l2=0.01)),
        (objectives.full_softmax, optimizers.dense_adam(0.01)),
    ],
    ids=["clipped", "adam", "each example", "densely"],
)
def test_other_optimizers_on_divided_tables(objective, optimizer):
    wraps = (parallel.jit, parallel.shard_map)
    assert_devices_agree(objective, optimizer, wraps, [parallel.layout(DEVICES, shard_rows=True)])


def test_each_device_has_its_part_of_the_rows():
    state, _, _ = trained(OBJECTIVES["own negatives"], optimizers.adam(0.01), parallel.layout(DEVICES, True))
    for name, rows in (("user", 203), ("item", 101)):
        part = -(-rows // DEVICES)
        held = jax.tree.leaves((state.tables[name], state.row_state[name]))
        assert [leaf.addressable_data(3).shape[0] for leaf in held] == [part] * len(held)


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["own negatives", "shared negatives"])
@pytest.mark.parametrize("shard_rows", [False, True])
@pytest.mark.parametrize("wrap", [parallel.jit, parallel.shard_map], ids=lambda wrap: wrap.__name__)
def test_no_table_travels(objective, shard_rows, wrap):
    users, items = 60_000, 50_000
    layout = parallel.layout(DEVICES, shard_rows)
    state, compiled, _ = prepared(OBJECTIVES[objective], optimizers.adagrad(0.1), layout, wrap, users, items)
    sent = collectives(compiled)
    assert sent, "four devices that send nothing cannot have trained one model"
    rows = [shape[0] for one in sent for shape in one.shapes if shape]
    assert max(rows) <= DEVICES * BATCH * 4  # ids and rows of the batch, never of a table
    assert sum(one.bytes for one in sent) < 0.02 * sum(4 * table.size for table in state.tables.values())
    held = sum(table.addressable_data(0).nbytes for table in state.tables.values())
    assert compiled.memory_analysis().alias_size_in_bytes >= held  # updated in place


def test_a_table_that_travels_is_seen():
    users, items = 6_000, 5_000
    layout = parallel.layout(DEVICES, shard_rows=True)
    optimizer = optimizers.dense_adam(0.01)
    _, compiled, _ = prepared(objectives.full_softmax, optimizer, layout, parallel.shard_map, users, items)
    assert any(items in shape for one in collectives(compiled) for shape in one.shapes)


@pytest.mark.parametrize("wrap", WRAPS, ids=lambda wrap: wrap.__name__)
def test_an_id_among_the_unused_rows_of_a_divided_table_is_padding(wrap):
    layout = parallel.layout(DEVICES, shard_rows=True)
    model = MF(Spec(num_users=203, num_items=101), 16)
    batch = {"user": jnp.full(BATCH, 203), "item": jnp.full(BATCH, 102), "mask": jnp.ones(BATCH)}
    objective, optimizer = OBJECTIVES["own negatives"], optimizers.sgd(20.0)
    state = init_state(model, objective, optimizer, batch, jax.random.key(0), {}, layout)
    assert state.tables["user"].shape[0] == 204
    before = {name: np.asarray(table) for name, table in state.tables.items()}
    after, _ = make_train_step(model, objective, optimizer, partial(wrap, layout=layout))(state, batch)
    for name, rows in (("user", 203), ("item", 101)):
        np.testing.assert_array_equal(np.asarray(after.tables[name])[rows:], before[name][rows:])


def test_more_devices_than_there_are():
    with pytest.raises(InputError, match="64 devices asked for, but there are 4"):
        zoo.train("mf/smoke", devices=64)
    with pytest.raises(InputError, match="mode shard_map needs a number of devices"):
        zoo.train("mf/smoke", mode="shard_map")
    with pytest.raises(InputError, match=r"unknown mode 'shardmap'.*did you mean shard_map"):
        zoo.train("mf/smoke", devices=2, mode="shardmap")


def test_a_batch_that_does_not_divide(tmp_path):
    with pytest.raises(InputError, match="batch_size 63 does not divide by the 4 devices"):
        zoo.train("mf/smoke", devices=4, batch_size=63, workdir=tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize(("first", "then"), [(4, None), (None, 4), (4, 2)])
def test_a_run_goes_on_with_other_devices(tmp_path, monkeypatch, first, then):
    options = {"data": "simulated:num_users=203,num_videos=101,num_watches=4000", "epochs": 6, "validate": True}
    expected = zoo.train("mf/smoke", workdir=tmp_path / "one", **options)
    chunks = iter(range(3))
    fetch = run.fetch

    def interrupted(metrics):
        if next(chunks, None) is None:
            raise KeyboardInterrupt
        return fetch(metrics)

    monkeypatch.setattr(run, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(run, "fetch", interrupted)

    def train(devices, **more):
        request = zoo.names.Request("mf/smoke", options["data"], validate=True, settings={"epochs": 6})
        return zoo.api.run_request(
            request,
            folder=tmp_path / "moved",
            checkpoint_seconds=0.0,
            devices=devices,
            shard_tables=devices is not None,
            **more,
        )

    with pytest.raises(KeyboardInterrupt):
        train(first)
    monkeypatch.setattr(run, "fetch", fetch)
    moved = train(then, resume=True)
    assert moved.record["devices"]["count"] == (then or 1)
    assert moved.record["training"]["epochs"] == expected.record["training"]["epochs"]
    for name, value in expected.metrics.items():
        assert moved.metrics[name] == pytest.approx(value, abs=1e-5)
    for name, table in expected.state.tables.items():
        np.testing.assert_allclose(moved.state.tables[name], table, atol=1e-5)
    loaded = zoo.load(tmp_path / "moved")
    for name, table in expected.state.tables.items():
        np.testing.assert_allclose(np.asarray(loaded.state.tables[name])[: len(table)], table, atol=1e-5)


def processes(count, *arguments, timeout=120):
    """The processes of scripts/train_processes, finished: exit status, and what both wrote."""
    done = subprocess.run(
        [ROOT / "scripts/train_processes", str(count), *arguments],
        env={"PATH": "/usr/bin:/bin", "PYTHON": sys.executable, "HOME": "/nonexistent"},
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=timeout,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "more"), [("jit", ()), ("shard_map", ("--shard-tables",))])
def test_two_processes_train_one_model(tmp_path, mode, more):
    data = "simulated:num_users=203,num_videos=101,num_watches=4000"
    settings = ("mf/smoke", "--data", data, "--epochs", "4", "--quiet")
    status, said = processes(2, *settings, "--devices", "4", "--mode", mode, *more, "--workdir", str(tmp_path / "two"))
    assert status == 0, said
    expected = zoo.train("mf/smoke", data=data, epochs=4, workdir=tmp_path / "one")
    found = zoo.load(tmp_path / "two")
    assert found.record["devices"] == {
        "count": 4,
        "processes": 2,
        "mode": mode,
        "tables": "by rows" if more else "whole",
    }
    for name, table in expected.state.tables.items():
        np.testing.assert_allclose(np.asarray(found.state.tables[name])[: len(table)], table, atol=1e-5)
    assert found.metrics == pytest.approx(expected.metrics, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["data", "settings"])
def test_processes_that_disagree_stop(tmp_path, what):
    script = """
import sys
from zoo import InputError, processes, train
processes.start(2, sys.argv[1], 2, int(sys.argv[2]))
try:
    train("mf/smoke", data="clicks.csv", split="random", batch_size=8, seed=int(sys.argv[3]), devices=2, workdir="run")
except InputError as error:
    print("stopped:", error)
"""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        pairs = [(user, item) for user in range(9) for item in range(5)]
        if what == "data":
            pairs[0] = (0, 7 + number)
        text = "".join(f"{user},{item}\n" for user, item in pairs)
        (folder / "clicks.csv").write_text("user,item\n" + text)
        seed = number if what == "settings" else 0
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", script, f"127.0.0.1:{port}", str(number), str(seed)],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                cwd=folder,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
            )
        )
    for process in started:
        said = process.communicate(timeout=100)[0]
        assert f"stopped: process 1 has other {what} than process 0" in said
    assert not (tmp_path / "0" / "run").exists()
