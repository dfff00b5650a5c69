"""The suite of convolutions: steps by length and filters in turns, and its table."""

import dataclasses

import pytest

from benchmarks import convolutions, convolutions_step
from tests.helpers import ENVIRONMENT


@pytest.mark.slow
@pytest.mark.parametrize("configuration", convolutions.QUICK, ids=["caser", "cnn_fm"])
def test_each_size_takes_its_turns(configuration):
    found = convolutions_step.measure(dataclasses.replace(configuration, turns=3))
    assert [len(own) for own in found["step_ms"]] == [3, 3] and min(map(min, found["step_ms"])) > 0
    for length in configuration.lengths:
        _, prepared = convolutions_step.prepared_job(configuration, length, configuration.filters[0])
        assert length in (prepared.examples.spec.history_length, prepared.examples.spec.bag_length)


def test_a_size_is_compared_with_the_one_before():
    record = {
        **dataclasses.asdict(convolutions.FULL[0]),
        "lengths": (5, 10, 20),
        "allocator": "default",
        "step_ms": [[10.0, 10.0, 40.0], [15.0, 16.0, 60.0], [45.0, 32.0, 180.0]],
        "environment": ENVIRONMENT,
    }
    lines = convolutions.table([record]).rows
    assert [line[1] for line in lines] == ["5", "10", "20"] and lines[0][-2:] == ("", "")
    assert lines[1][3:] == ("16.00", "1.50 (1.50 to 1.60)", "2.2: met")
    assert lines[2][3:] == ("45.00", "3.00 (2.00 to 3.00)", "2.2: MISSED")
