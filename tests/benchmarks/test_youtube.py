"""The suite youtube: its table and plots from made-up records, and what it measures on a world of a toy."""

import argparse
import dataclasses

import pytest

from benchmarks import youtube_candidates, youtube_candidates_step, youtube_parts
from benchmarks.__main__ import main
from tests.helpers import ENVIRONMENT


def features_record(features, maps, seed):
    runs = [{"metrics": {"map": value, "recall@10": value}} for value in maps]
    made = {"part": "features", "features": list(features), "depths": [0, 1], "seed": seed}
    return made | {"runs": runs, "environment": ENVIRONMENT}


def negatives_record(seed, **recall):
    runs = {
        name: {"metrics": {"recall@10": recall.get(name, 0.5), "map": 0.1}} for name in youtube_candidates_step.LOSSES
    }
    return {"part": "negatives", "seed": seed, "runs": runs, "environment": ENVIRONMENT}


def age_record(seed, distance):
    share = [1 / 7] * 7
    found = {"true": share, "with": share, "without": share, "distance_with": 0.1, "distance_without": distance}
    return {"part": "age", "seed": seed, **found, "environment": ENVIRONMENT}


RECORDS = [
    features_record((), [0.1, 0.2], 0),
    features_record((), [0.2, 0.4], 1),
    features_record(("searches",), [0.3, 0.25], 0),
    features_record(("searches",), [0.5, 0.45], 1),
    *(negatives_record(seed, popularity=0.51, **{"in-batch": 0.4}) for seed in (0, 1)),
    *(age_record(seed, 0.2) for seed in (0, 1)),
]


def test_steps_are_of_a_world_and_their_spread_over_worlds():
    lines = {what: rest for what, *rest in youtube_parts.table(RECORDS).rows}
    assert lines["MAP at depth 0, 1; watches"] == ["0.1500, 0.3000; steps +0.1500 ± 0.0707", "each step up", "met"]
    assert lines["MAP at depth 0, 1; + searches"][0] == "0.4000, 0.3500; steps -0.0500 ± 0.0000"
    assert lines["MAP at depth 0, 1; + searches"][2] == "MISSED"
    assert lines["MAP at depth 1: watches, + searches"][0].endswith("steps +0.0500 ± 0.0000")
    assert lines["recall@10, softmax popularity"] == [
        "0.5100 ± 0.0000; over full 1.0200 ± 0.0000",
        "within 3%",
        "met",
    ]
    assert lines["recall@10, softmax in-batch"][2] == "MISSED"
    assert lines["recall@10, softmax popularity, no logQ"][1:] == ["-", "-"]
    assert [rest[-1] for what, rest in lines.items() if "upload age" in what] == ["met"]
    worse = [age_record(0, 0.05)]
    assert youtube_parts.table(worse).rows[0][-1] == "MISSED"


@pytest.mark.parametrize("name", ["features", "age"])
def test_a_plot_is_the_same_byte_for_byte(name, tmp_path):
    pytest.importorskip("matplotlib", reason="a plot needs the extra `plots`")
    own = [record for record in RECORDS if record["part"] == name]
    for file in ("a.svg", "b.svg"):
        youtube_parts.PARTS[name].draw(own, tmp_path / file)
    drawn = (tmp_path / "a.svg").read_bytes()
    assert drawn == (tmp_path / "b.svg").read_bytes() and b"youtube_candidates" in drawn


def test_configurations_of_the_parts():
    options = argparse.Namespace(quick=False, seeds=[100, 101])
    made = {name: list(part.configurations(options)) for name, part in youtube_candidates.PARTS.items()}
    assert {name: len(own) for name, own in made.items()} == {"features": 8, "negatives": 2, "age": 2}
    assert {own.seed for own in made["features"]} == {100, 101} and made["features"][0].depths == (0, 1, 2, 3)


@pytest.mark.slow
def test_what_the_parts_measure():
    options = argparse.Namespace(quick=True, seeds=[0])
    records = []
    for name, part in youtube_candidates.PARTS.items():
        configuration = list(part.configurations(options))[-1]
        if name == "features":
            configuration = dataclasses.replace(configuration, depths=(0, 1))
        found = youtube_candidates_step.measure(configuration)
        records.append({"part": name, **dataclasses.asdict(configuration), **found, "environment": ENVIRONMENT})
    assert [len(records[0]["runs"]), len(records[1]["runs"])] == [2, 7]
    assert all(0 < run["metrics"]["map"] < 1 for run in (*records[0]["runs"], *records[1]["runs"].values()))
    assert sum(records[2]["with"]) == pytest.approx(1) and 0 < records[2]["distance_with"] < 1
    assert len(youtube_parts.table(records).rows) == 1 + 7 + 1


def test_an_unknown_part(capsys):
    assert main(["youtube", "--parts", "feature"]) == 2
    error = capsys.readouterr().err.strip()
    assert "'feature'" in error and "\n" not in error
