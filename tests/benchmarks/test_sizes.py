"""The suite of sizes: one step at two sizes in turns, and its table."""

import dataclasses

import pytest

from benchmarks import sizes, sizes_step
from tests.helpers import ENVIRONMENT


@pytest.mark.slow
def test_each_size_takes_its_turns():
    found = sizes_step.measure(dataclasses.replace(sizes.QUICK, turns=3))
    assert [len(own) for own in found["step_ms"]] == [3, 3] and min(map(min, found["step_ms"])) > 0
    assert found["distinct_rows"][0] < found["distinct_rows"][1]


def test_ratios_are_taken_turn_by_turn():
    """Medians 10 and 16, but a machine that was slow for one turn of both: the ratio is 1.5."""
    record = {
        **dataclasses.asdict(sizes.FULL),
        "allocator": "default",
        "step_ms": [[10.0, 10.0, 40.0], [15.0, 16.0, 60.0]],
        "distinct_rows": [100.0, 200.0],
        "environment": ENVIRONMENT,
    }
    first, second = sizes.table([record]).rows
    assert first[3:5] == ("10.0", "1.00 (1.00 to 1.00)") and first[-1] == ""
    assert second[3:5] == ("16.0", "1.50 (1.50 to 1.60)") and second[-1] == "1.5: met"
