"""The suites on sizes of a toy, and the tables on made-up records."""

import dataclasses
import json

import pytest

from benchmarks import (
    batch_scaling,
    claim_tables,
    claims,
    graph_step,
    limits,
    plot,
    quality,
    report,
    rows_step,
    rows_summary,
    streaming_file,
    streaming_step,
    tables,
)
from benchmarks.__main__ import main
from benchmarks.claims import Bar
from tests.helpers import ENVIRONMENT
from zoo.errors import InputError


def quality_record(seed=0, recall=0.18, time="2026-01-01T00:00:00Z", processor="P"):
    return {
        "claim": "mf-gowalla",
        "model": "mf",
        "recipe": "ranking",
        "data": "gowalla",
        "split": "published",
        "seed": seed,
        "metrics": {"test": {"recall@20": recall, "ndcg@20": 0.15}},
        "baselines": {"popularity": {"recall@20": 0.04, "ndcg@20": 0.03}},
        "training": {"seconds": 60.0},
        "environment": ENVIRONMENT | {"time": time, "processor": processor},
    }


def rows_record(optimizer, items, ms, allocator="default"):
    timed = {"step_ms": {"median": ms}, "allocator": allocator, "environment": ENVIRONMENT}
    return {"optimizer": optimizer, "items": items, "zipf": 0.0, **timed}


def test_a_step_of_the_rows_record_updates_in_place():
    configuration = rows_step.Configuration("rowwise_adagrad", 3000, 100, 1.1, 2, batch_size=64, embedding_dim=8)
    found = rows_step.measure(configuration)
    assert found["alias_bytes"] >= found["table_bytes"] == 3100 * 8 * 4
    assert found["step_ms"]["median"] > 0 and found["compile_seconds"] > 0


@pytest.mark.slow
def test_both_sides_of_the_streaming_record(tmp_path):
    path = str(tmp_path / "watches.parquet")
    written = streaming_file.measure(streaming_file.Configuration(path, rows=20_000, users=500, items=200))
    sides = [
        streaming_step.measure(streaming_step.Configuration(path, str(tmp_path / name), stream=name == "stream"))
        for name in ("memory", "stream")
    ]
    assert sides[0]["examples"] < sides[1]["examples"] < 20_000  # repeats are merged in memory only
    record = {"model": "mf", "rows": 20_000, "limit_bytes": 2**30, **written, "environment": ENVIRONMENT}
    for name, side in zip(("memory", "stream"), sides, strict=True):
        record[name] = side | {"peak_memory_bytes": 2**31}
    text = tables.markdown(tables.streaming([record]))
    assert "20,000 rows" in text and "2.0 GiB | 1.0 GiB" in text and text.count("streamed") == 1


def test_limits_are_measured():
    found = limits.measure(limits.Configuration(2**16, 2**10, 16, 2**6, 2, 64))
    assert all(found[name] > 0 for name in limits.NAMES)
    record = found | {"suite": "limits", "allocator": "default", "environment": ENVIRONMENT}
    text = report.sections({"limits": [record]})["limits"]
    assert f"| default | {found['copy_gb_per_s']:.1f} |" in text and "bfloat16" in text


def test_verdicts_of_rows():
    """Growth 3 of adam, dense adam 6 times slower at a million rows under its best allocator, equal at 100,000."""
    records = [
        rows_record("adam", n, 6.0 if n == 10_000_000 else 2.0) for n in (10_000, 100_000, 1_000_000, 10_000_000)
    ]
    records += [
        rows_record("dense_adam", n, ms, "tuned") for n, ms in ((10_000, 0.5), (100_000, 2.0), (1_000_000, 12.0))
    ]
    records.append(rows_record("dense_adam", 1_000_000, 20.0))
    found = {
        (what, allocator): (value, verdict)
        for what, _, allocator, value, _, verdict in rows_summary.verdicts(records).rows
    }
    assert found["adam: 10M over 100k rows", "default"] == ("3.00", "MISSED")
    assert found["adam: dense over by rows at 1M", "default"] == ("6.0", "met")
    assert found["adam: rows below which dense is faster", "default"][0] == "100,000"


def test_a_plot_is_the_same_byte_for_byte(tmp_path):
    pytest.importorskip("matplotlib", reason="a plot needs the extra `plots`")
    records = [
        rows_record(name, items, 1.0 + items / 1e5) | {"batch_size": 64, "embedding_dim": 8}
        for name in ("adam", "dense_adam")
        for items in (10_000, 100_000)
    ]
    for name in ("a.svg", "b.svg"):
        plot.draw(records, tmp_path / name)
    drawn = (tmp_path / "a.svg").read_bytes()
    assert drawn == (tmp_path / "b.svg").read_bytes() and b"dense_adam" in drawn and b"<dc:date>" not in drawn


def graph_record(entries, ms, nodes):
    timed = {"propagation_ms": {"median": ms / 2}, "with_gradient_ms": {"median": ms}}
    sizes = {"entries": entries, "nodes": nodes, "node_matrix_bytes": nodes * 256, "cache_bytes": 2**20}
    return {"what": "growth", "model": "symmetric", "embedding_dim": 64, "environment": ENVIRONMENT, **sizes, **timed}


def layers_record(layers, recall):
    metrics = {"recall@20": recall, "ndcg@20": recall}
    made = {"what": "layers", "model": "lightgcn/ranking", "data": "D", "layers": layers}
    return made | {"metrics": metrics, "environment": ENVIRONMENT}


def curve_record(model, recalls):
    points = [{"epoch": i, "seconds": 60.0 * i, "recall@20": r, "ndcg@20": r} for i, r in enumerate(recalls, 1)]
    return {"what": "curve", "model": model, "data": "D", "epochs": 9, "points": points, "environment": ENVIRONMENT}


def test_a_curve_says_how_far_it_came():
    name, values, *_ = tables.graph([curve_record("lightgcn/paper", [0.1, 0.2])]).rows[0]
    assert name == "lightgcn/paper, 2 of 9 epochs, validation rows of D"
    assert values == "recall@20 0.2000, ndcg@20 0.2000 after 2 min"


def test_growth_of_a_propagation_counts_out_of_cache_only():
    records = [graph_record(10**5, 1, 4000), graph_record(10**6, 20, 40_000), graph_record(10**7, 250, 400_000)]
    lines = tables.graph(records).rows
    assert len(lines) == 4 and lines[-1][1:] == ("1.25", "<= 1.3", "met")
    assert "2 graphs out of cache" in lines[-1][0] and "10 ns an entry" in lines[1][1]
    assert tables.graph([*records, graph_record(10**8, 5000, 4_000_000)]).rows[-1][-1] == "MISSED"


def test_the_plot_of_the_graph_is_the_same_byte_for_byte(tmp_path):
    pytest.importorskip("matplotlib", reason="a plot needs the extra `plots`")
    records = [
        graph_record(10**5, 1, 4000),
        graph_record(10**7, 250, 400_000),
        layers_record(0, 0.1),
        layers_record(1, 0.2),
        curve_record("lightgcn/ranking", [0.1, 0.2]),
    ]
    for name in ("a.svg", "b.svg"):
        plot.draw_graph(records, tmp_path / name)
    drawn = (tmp_path / "a.svg").read_bytes()
    assert drawn == (tmp_path / "b.svg").read_bytes() and b"recall@20" in drawn and b"out of cache" in drawn


@pytest.mark.slow
def test_what_the_graph_suite_measures(tmp_path):
    grown = graph_step.measure(graph_step.Configuration("growth", "symmetric", entries=5000, embedding_dim=8))
    assert 0 < grown["propagation_ms"]["median"] and 4000 < grown["entries"] <= 5000
    held = graph_step.measure(graph_step.Configuration("memory", "ngcf/paper", entries=100_000))
    assert held["layers"] == 3 and held["matrices_a_layer"] == pytest.approx(
        held["temporary_bytes"] / held["node_matrix_bytes"] / 3
    )
    settings = {"epochs": 1, "embedding_dim": 8}
    world = "simulated:num_users=100,num_videos=60,num_watches=1000"
    found = graph_step.measure(graph_step.Configuration("layers", layers=0, data=world, settings=settings))
    assert 0 < found["metrics"]["recall@20"] < 1
    settings = {"epochs": 3, "embedding_dim": 8}
    curve = graph_step.Configuration("curve", minutes=1e-9, data=world, settings=settings)
    found = graph_step.measure(curve)
    assert found["epochs"] == 3 and [point["epoch"] for point in found["points"]] == [1]
    kept = dataclasses.replace(curve, folder=str(tmp_path / "kept"))
    began = graph_step.measure(kept)["points"]
    assert [point["recall@20"] for point in began] == [point["recall@20"] for point in found["points"]]
    found = graph_step.measure(dataclasses.replace(kept, minutes=1))
    assert [point["epoch"] for point in found["points"]] == [1, 2, 3] and found["points"][:1] == began
    assert graph_step.measure(kept)["points"] == began, "of a run that went further, what the minutes hold"
    assert sorted(found["points"], key=lambda point: point["seconds"]) == found["points"]
    assert all(0 < point["recall@20"] < 1 for point in found["points"])
    records = [{"what": "memory", "model": "ngcf/paper", "environment": ENVIRONMENT, **held}]
    assert tables.graph(records).rows[0][2] == "< 4"


@pytest.mark.slow
def test_a_step_of_ngcf_holds_fewer_than_four_node_matrices_a_layer():
    """A graph whose nodes outweigh the batch; with dropout, whose random numbers are drawn part by part."""
    for model in ("ngcf/paper", "ngcf/released", "lightgcn/paper"):
        held = graph_step.measure(graph_step.Configuration("memory", model, entries=1_000_000))
        assert held["matrices_a_layer"] < 4, model


def test_rules_of_batch_scaling():
    made = list(batch_scaling.configurations([64, 16], [0, 1], "D", {}))
    assert [(c["rule"], c["batch_size"], c["seed"]) for c in made[::5]] == [("base", 16, 0), ("base", 16, 1)]
    dense, rows, l2 = made[0]["settings"].values()
    found = {c["rule"]: list(c["settings"].values()) for c in made[1:5]}
    assert found["cowclip"] == pytest.approx([2 * dense, rows, 4 * l2])
    assert found["linear"] == pytest.approx([4 * dense, 4 * rows, l2])
    assert found["sqrt"] == pytest.approx([2 * dense, 2 * rows, l2])
    assert found["unscaled"] == [dense, rows, l2]


def test_batch_scaling_goes_on_where_it_stopped(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="a plot needs the extra `plots`")
    monkeypatch.setattr(plot, "PLOTS", tmp_path)
    asked = ["batch_scaling", "--data", "planted", "--batches", "32", "64", "--seeds", "0", "--records", str(tmp_path)]
    left = [2]

    def measured(configuration):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return configuration | {"model": "M", "metrics": {"auc": 0.9}, "environment": ENVIRONMENT}

    monkeypatch.setattr(batch_scaling, "measured", measured)
    assert main(asked) == 130
    lines = (tmp_path / "batch_scaling.jsonl").read_text()
    left[0] = 3
    assert main(asked) == left[0] == 0
    again = (tmp_path / "batch_scaling.jsonl").read_text()
    assert again.startswith(lines) and len(lines.splitlines()) == 2 and len(again.splitlines()) == 5
    assert main(asked) == 0 and (tmp_path / "batch_scaling.jsonl").read_text() == again
    drawn = (tmp_path / "batch_scaling.svg").read_bytes()
    assert b"cowclip" in drawn and b"unscaled" in drawn
    monkeypatch.setitem(batch_scaling.BASE, "learning_rate", 0.1)  # another base is another study
    left[0] = 5
    assert main(asked) == left[0] == 0


@pytest.mark.slow
def test_a_run_of_batch_scaling():
    base = next(batch_scaling.configurations([64, 128], [0], "planted:num_rows=300", batch_scaling.QUICK))
    found = batch_scaling.measured(base)
    assert found["rule"] == "base" and found["training"]["steps"] == 5 and 0 < found["metrics"]["auc"] < 1


def test_a_rule_that_diverged_is_said():
    def record(rule, batch_size, seed, auc):
        found = {"metrics": {"auc": auc}} if auc else {"diverged": "the loss is nan"}
        made = {"rule": rule, "batch_size": batch_size, "seed": seed, "model": "M", "data": "D"}
        return made | found | {"environment": ENVIRONMENT}

    records = [record("base", 16, seed, 0.9 + seed / 100) for seed in (0, 1)]
    records += [record("linear", 64, 0, 0.8), record("linear", 64, 1, None), record("cowclip", 64, 0, 0.9)]
    table = tables.batch_scaling(records)
    assert table.header == ("batch", "cowclip", "linear")
    assert table.rows == (("16", "0.9050 ± 0.0071", "0.9050 ± 0.0071"), ("64", "0.9000", "1 of 2 diverged"))


def test_quality_takes_the_newest_of_each_seed_and_its_spread():
    records = [
        quality_record(recall=0.1),
        quality_record(recall=0.18, time="2026-01-02T00:00:00Z"),
        quality_record(1, 0.2),
    ]
    text = tables.markdown(claim_tables.quality(records, claims.CLAIMS))
    assert "recall@20 0.1900 ± 0.0141" in text and "LightGCN 0.1830 / 0.1554" in text and "60.0" in text


def test_bars():
    records = [quality_record(0, 0.17), quality_record(1, 0.19)]
    assert quality.against(Bar("recall@20", ">=", 0.175), records) == (pytest.approx(0.18), 0.175)
    assert quality.against(Bar("recall@20", ">=", 2.0, "popularity"), records)[1] == pytest.approx(0.08)
    other = Bar("recall@20", ">=", 1.5, claim="mf-gowalla")
    assert quality.against(other, records[:1], records)[1] == pytest.approx(1.5 * 0.18)
    with pytest.raises(InputError, match="claim mf-gowalla has no record to compare with"):
        quality.against(other, records)
    assert quality.holds(Bar("recall@20", ">=", 0.1), 0.2, 0.1) and not quality.holds(Bar("rmse", "<=", 0.9), 0.91, 0.9)


def test_quality_compares_with_other_claims_and_with_trees():
    def record(claim, rmse, **more):
        errors = {name: {"rmse": 9.0} for name in ("global_mean", "user_mean", "item_mean", "user_item_mean")}
        made = quality_record() | {"claim": claim, "data": "book-crossing", "split": "random", "baselines": errors}
        return made | {"metrics": {"test": {"rmse": rmse, "mae": 1.0, "seconds": 2.0}}} | more

    trees = [record(None, rmse, suite="trees", seed=seed) for seed, rmse in enumerate((1.5, 1.7))]
    records = [record("mf-books", 1.65), record("deepfm-books", 1.58), *trees]
    found = report.sections({"quality": records[:2], "trees": trees})
    lines = found["quality"].splitlines()
    assert any("mf-books 1.6500; scikit-learn's trees 1.6000 (gap -0.0200)" in line for line in lines)
    assert sum("trees" in line for line in lines) == 1
    assert "| book-crossing (random) | 1.6000 ± 0.1414 | 1.0000 ± 0.0000 | 2.0 |" in found["trees"]


def test_two_devices_never_share_a_table():
    records = [quality_record(), quality_record(1, processor="Q")]
    with pytest.raises(InputError, match="would mix"):
        claim_tables.quality(records, claims.CLAIMS)
    assert set(tables.by_device(records)) == {"P, 2 cores", "Q, 2 cores"}


def test_a_broken_line_is_named_and_the_others_kept(tmp_path):
    lines = [json.dumps(quality_record()), "{broken", json.dumps(quality_record(1)), '{"claim": "mf-gowalla"}']
    (tmp_path / "quality.jsonl").write_text("\n".join(lines) + "\n")
    records, problems = report.read(tmp_path)
    assert [record["seed"] for record in records["quality"]] == [0, 1]
    assert len(problems) == 2 and "quality.jsonl, line 2:" in problems[0] and "line 4:" in problems[1]


def test_a_page_changes_once_and_only_between_its_markers(tmp_path):
    page = tmp_path / "README.md"
    page.write_text("before\n<!-- report:quality -->\nold\n<!-- /report:quality -->\nafter\n")
    found = report.sections({"quality": [quality_record()]})
    new = report.changes([page, tmp_path / "absent.md"], found)[page]
    assert new.startswith("before\n<!--") and new.endswith("-->\nafter\n") and "0.1800" in new and "old" not in new
    page.write_text(new)
    assert not report.changes([page], found)
    page.write_text("<!-- report:qualty -->\n<!-- /report:qualty -->\n")
    with pytest.raises(InputError, match="qualty"):
        report.changes([page], found)


def test_the_committed_pages_equal_their_records():
    records, problems = report.read(report.RECORDS)
    assert not problems
    assert not report.changes(report.FILES, report.sections(records))
    assert not report.changed_expectations(records["quality"])


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["throughput", "--models", "mff"], "'mff'"),
        (["rows", "--optimizers", "adm"], "'adm'"),
        (["quality", "--only", "gowala"], "'gowala'"),
        (["quolity"], "quolity"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(capsys, arguments, word):
    assert main(arguments) == 2
    error = capsys.readouterr().err.strip()
    assert word in error and "\n" not in error
