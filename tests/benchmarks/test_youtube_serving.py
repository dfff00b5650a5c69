"""The parts cost and serving of the suite youtube: measured at sizes of a toy, and told of made-up records."""

import dataclasses

import pytest

from benchmarks import youtube_cost_step, youtube_serving, youtube_serving_step
from tests.helpers import ENVIRONMENT


@pytest.mark.slow
def test_a_user_is_served_stage_by_stage():
    found = youtube_serving_step.measure(dataclasses.replace(youtube_serving.QUICK_SERVING, asked=3))
    for ms in found["searches"].values():
        assert {name: len(values) for name, values in ms.items()} == dict.fromkeys(
            ("whole", *youtube_serving.STAGES), 3
        )
    assert min(found["recall"].values()) >= 0.99


@pytest.mark.slow
def test_a_step_is_timed_at_each_number_of_videos():
    found = youtube_cost_step.measure(dataclasses.replace(youtube_serving.QUICK_COST, turns=2))
    assert [len(own) for own in found["step_ms"]] == [2, 2]


def test_lines_of_cost():
    record = dataclasses.asdict(youtube_serving.COST) | {"environment": ENVIRONMENT}
    (line,) = youtube_serving.cost_lines([record | {"step_ms": [[10.0, 10.0, 40.0], [15.0, 16.0, 60.0]]}])
    assert line[1:] == ("16.0 ms over 10.0: 1.50", "at most 1.5", "met")


def test_lines_of_serving():
    """The exact search of dim 64 is asked to be in time, at dim 256 the quantised one."""
    ms = {"whole": [40.0, 60.0, 30.0], "query": [4.0], "search": [20.0], "ranking": [15.0], "list": [1.0]}
    record = {
        **dataclasses.asdict(youtube_serving_step.Serving(256)),
        "searches": {"exact": ms | {"whole": [90.0]}, "quantised": ms},
        "read_bytes": {"exact": 1_024_000_000, "quantised": 260_000_000},
        "copy_gb_per_s": 26.0,
        "recall": {"gaussian": 0.995, "clustered": 0.9},
        "top_ms": {"two levels": 0.5},
        "environment": ENVIRONMENT,
    }
    exact, read, quantised, _, recall, _ = youtube_serving.serving_lines([record])
    assert exact[1:] == ("90.0 ms: query 10%, search 50%, ranking 38%, list 2%", "", "")
    assert read[1] == "51.2 GB/s read, 197% of a copy's"
    assert quantised[2:] == ("at most 50 ms", "met") and quantised[1].startswith("40.0 ms")
    assert recall[2:] == ("at least 0.99", "MISSED")
