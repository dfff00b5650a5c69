"""The suite scaling: what is measured over devices, and its table."""

import dataclasses

import pytest

from benchmarks import scaling, scaling_step
from benchmarks.__main__ import main, parser
from tests.helpers import ENVIRONMENT


SMALL = scaling_step.Configuration(
    "mf/ranking_bpr", "strong", "shard_map", 2, True, 256, rows=1000, interactions=2**10, steps=2
)


@pytest.mark.slow
def test_a_step_over_devices_sends_what_its_batch_asks_for_and_no_table():
    found = scaling.answers(SMALL)[0]
    assert found["step_ms"]["median"] > 0
    pairs, dim = 256, 64
    assert 0 < found["collective_bytes"]["all-gather"] < 2 * 4 * pairs * (3 * dim + 3)
    larger = scaling.answers(dataclasses.replace(SMALL, rows=4000))[0]
    assert larger["collective_bytes"] == found["collective_bytes"]


@pytest.mark.slow
def test_two_processes_measure_one_step():
    found = scaling.answers(dataclasses.replace(SMALL, mode="jit", shard_tables=False, processes=2))
    assert len(found) == 2 and all(one["step_ms"]["median"] > 0 for one in found)


def test_configurations_and_the_table_of_ratios():
    options = parser().parse_args(["scaling", "--models", "mf/ranking_bpr", "--devices", "2"])
    asked = list(scaling.configurations(options))
    assert {c.batch_size for c in asked if c.form == "strong"} == {scaling.BATCH}
    assert {c.batch_size / c.devices for c in asked if c.form == "weak"} == {scaling.BATCH}
    assert {c.mode for c in asked} == {"jit", "shard_map", "pmap"} and {c.processes for c in asked} == {1, 2}
    records = [
        dataclasses.asdict(c)
        | {"step_ms": {"median": 1.0}, "examples_per_second": 100.0 * c.devices, "collective_bytes": {"all-gather": 8}}
        | {"environment": ENVIRONMENT}
        for c in asked
    ]
    ratios = {line[2]: line[6] for line in scaling.table(records).rows}
    assert ratios == {"1 in 1": "1.00", "2 in 1": "2.00", "2 in 2": "2.00"}


def test_one_device_is_refused(capsys):
    assert main(["scaling", "--devices", "1"]) == 2
    assert "name numbers from 2" in capsys.readouterr().err
