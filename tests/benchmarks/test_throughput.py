"""Training speed: what is measured of a step, on what made-up data, and what it is held against."""

import dataclasses
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import (
    operations,
    plot,
    synthetic,
    throughput,
    throughput_check,
    throughput_step,
    throughput_tables,
)
from benchmarks.__main__ import main, parser
from tests.helpers import ENVIRONMENT
from zoo import names
from zoo.errors import InputError
from zoo.models import mf
from zoo.types import Spec


@pytest.mark.parametrize("recipe", [*throughput.recipes(["mf", "popularity"]), "gru4rec/session"])
def test_throughput_of_every_recipe(recipe):
    configuration = throughput_step.Configuration(
        recipe, rows=200, interactions=400, zipf=1.0, batch_size=32, budget_s=0
    )
    found = throughput_step.measure(configuration)
    assert found["examples_per_second"] > 0 and found["pipeline"]["examples_per_second"] > 0
    assert found["operations"] > 5


def test_what_bounds_a_step():
    ceiling = {"copy_gb_per_s": 10.0, "matmul_gflop_per_s": 100.0, "operation_us": 1.0}
    measured = {"step_ms": {"median": 2.0}, "bytes": 1e6, "flops": 1e6, "operations": 100}
    found = throughput.against_limits(measured, ceiling)
    assert found["shares"] == pytest.approx({"memory": 0.05, "compute": 0.005, "latency": 0.05})
    assert found["fraction_of_limit"] == pytest.approx(0.05) and found["bound"].startswith("none alone")
    for name, what in (("bytes", "memory"), ("flops", "compute")):
        assert throughput.against_limits(measured | {name: 1e8}, ceiling)["bound"] == what
    half = throughput.against_limits(measured | {"dtype": "bfloat16"}, ceiling | {"matmul_bf16_gflop_per_s": 1.0})
    assert half["shares"]["compute"] == pytest.approx(0.5)
    found = throughput.against_limits(measured | {"operations": 1000}, ceiling)
    assert found["bound"] == "latency" and found["fraction_of_limit"] == pytest.approx(0.05)


def asked_throughput(*arguments):
    return list(throughput.configurations(parser().parse_args(["throughput", *arguments])))


def test_the_quick_form_has_every_model_and_says_which_cannot_be_timed():
    quick = asked_throughput("--quick")
    untimed = throughput.untimed(names.models())
    assert sorted([c.model.partition("/")[0] for c in quick] + [name for name, _ in untimed]) == names.models()
    assert ("popularity", "a closed form: no step") in untimed
    assert all(configuration.batch_size <= throughput.QUICK_BATCH for configuration in quick)


def test_what_is_made_up_is_as_large_as_asked():
    for make in (synthetic.interactions, synthetic.fields, synthetic.text, synthetic.impressions):
        sizes = (40_000, 40_000) if make is synthetic.interactions else (40_000,)
        assert len(make(*sizes, 500, 1.0, 0)) == 500
    page = synthetic.impressions(100, 500, 1.0, 0)
    assert all(len(np.unique(page.user[page.page == number])) == 1 for number in range(3))
    assert not page.watch_seconds[page.click == 0].any()


def test_a_model_without_made_up_data_is_said(monkeypatch):
    monkeypatch.delitem(synthetic.MADE, names.recipe("fm")[2].reads)
    [(model, reason)] = throughput.untimed(["fm", "mf"])
    assert model == "fm" and "add an entry to MADE" in reason
    monkeypatch.setitem(synthetic.MADE, "fm", synthetic.Made(synthetic.fields, synthetic.field_examples))
    assert not throughput.untimed(["fm"])


def test_a_sweep_is_of_all_combinations_that_a_recipe_has(capsys):
    found = asked_throughput(
        "--models", "lr", "deepfm", "--batch-size", "8", "16", "--dtype", "bfloat16", "--zipf", "0"
    )
    assert [(c.model, c.batch_size, c.dtype, c.zipf) for c in found] == [
        ("deepfm/clicks", size, "bfloat16", 0.0) for size in (8, 16)
    ]
    assert "lr/clicks: has no such settings" in capsys.readouterr().err


def test_operations_of_a_step_are_counted_and_traced(tmp_path):
    def turn(x, _):
        return jax.lax.optimization_barrier(jnp.sin(x)) @ x, None

    compiled = jax.jit(lambda x: jax.lax.scan(turn, x, length=7)[0]).lower(jnp.ones((64, 64))).compile()
    more = jax.jit(lambda x: jax.lax.scan(turn, x, length=17)[0]).lower(jnp.ones((64, 64))).compile()
    each = (operations.started(more) - operations.started(compiled)) / 10
    assert 3 <= each <= 5  # sine, product, the counter of the loop and its end, a copy
    found = operations.traced(lambda: compiled(jnp.ones((64, 64))), tmp_path, compiled, 7)
    assert sum(operation.share for operation in found) == pytest.approx(1)
    assert any(operation.source.endswith("dot_general") and operation.ms > 0 for operation in found)
    assert throughput_tables.operations({"profile_of": [tuple(operation) for operation in found]}).rows


def test_throughput_of_fields():
    """Every row asked for is there, met in training or not; a rating recipe and the smoke ones are left out."""
    assert throughput.recipes(["fm", "deepfm"]) == ["fm/clicks", "deepfm/clicks"]
    configuration = throughput_step.Configuration(
        "fm/clicks", rows=30_000, interactions=400, zipf=1.0, batch_size=32, embedding_dim=4, budget_s=0
    )
    found = throughput_step.measure(configuration)
    assert found["parameter_bytes"] == 4 * (30_000 * 5 + 1) and found["examples_per_second"] > 0
    assert 39 < found["distinct_rows"] <= 39 * 32


def test_made_up_fields_are_shaped_as_asked():
    table = synthetic.fields(50_000, 4000, 1.0, seed=0)
    sizes = np.array([len(levels) for levels in table.levels])
    assert sizes.sum() == 50_000 and len(sizes) == 39 and set(sizes[:13]) == {32}
    assert np.all(table.codes.max(0) < sizes) and np.all(np.diff(sizes[13:]) >= 0)
    assert 0.2 < table.label.mean() < 0.5
    with pytest.raises(InputError, match="500 rows are too few"):
        synthetic.field_sizes(500)


@pytest.mark.parametrize("model", ["fm", "ffm", "deepfm", "dcn_v2", "lr", "fwfm", "wide_deep", "nfm", "dcn"])
def test_a_step_at_criteos_shape_has_a_cost(model):
    """At least three passes over the numbers looked up, and no fewer operations than one for each of them."""
    recipe, module, spec = names.recipe(f"{model}/clicks")[2], names.model_module(model), fields_spec()
    made = recipe.model(spec)
    cost = module.cost(recipe, made)
    dim = getattr(made, "embedding_dim", 0)
    looked_up = recipe.batch_size * 39 * max(dim, 1)
    assert cost.bytes >= 3 * 4 * looked_up and cost.flops >= looked_up


def fields_spec():
    return Spec(field_sizes=synthetic.field_sizes(1_000_000))


def test_the_plot_of_throughput_is_the_same_byte_for_byte(tmp_path):
    pytest.importorskip("matplotlib", reason="a plot needs the extra `plots`")
    held = {"rows": 9, "zipf": 1.0, "embedding_dim": 8, "allocator": "default", "bound": "memory"}
    records = [
        held | {"model": model, "batch_size": size, "examples_per_second": 9.0 * size, "fraction_of_limit": 0.4}
        for model in ("fm/clicks", "mf/ranking")
        for size in (64, 256)
    ]
    records = [record | {"environment": ENVIRONMENT} for record in records]
    for name in ("a.svg", "b.svg"):
        plot.draw_throughput(records, tmp_path / name)
    drawn = (tmp_path / "a.svg").read_bytes()
    assert drawn == (tmp_path / "b.svg").read_bytes() and b"batch size" in drawn and b"mf/ranking" in drawn


def test_a_share_that_fell_by_half_again_of_the_time_fails_the_check():
    def record(ms):
        measured = {"step_ms": {"median": ms}, "bytes": 1e8, "flops": 1e6, "operations": 10}
        ceiling = {"copy_gb_per_s": 100.0, "matmul_gflop_per_s": 100.0, "operation_us": 1.0}
        return {"model": "M"} | throughput.against_limits(measured, ceiling)

    recorded = record(2.0)
    assert throughput_check.compared([record(2.0 * 1.2)] * 5, recorded)[1] is False
    line, fell = throughput_check.compared([record(2.0)] * 2 + [record(3.0)] * 3, recorded)
    assert fell and line[-1] == "FELL"


class SlowMF(mf.MF):
    """Waits in each step."""

    wait_s: float = 0.0

    def query(self, batch, prepared, *, train=False):
        jax.experimental.io_callback(lambda user: time.sleep(self.wait_s), None, batch["user"][0])
        return super().query(batch, prepared, train=train)


@pytest.mark.slow
def test_the_check_fails_for_a_model_made_slower(tmp_path, monkeypatch, capsys):
    """A model that waits for half of its step. The record is the best of three runs, and the check of the model as it
    was is given that very run, so that what else this machine does decides nothing."""
    asked = ["throughput", "--models", "mf", "--rows", "300", "--batch-size", "1024", "--records", str(tmp_path)]
    kept = []

    def measured(configuration):
        return throughput_step.measure(dataclasses.replace(configuration, budget_s=0.0, interactions=2**13))

    def run(module, configuration, allocator):
        if module == "benchmarks.limits":
            return {"copy_gb_per_s": 10.0, "matmul_gflop_per_s": 100.0, "operation_us": 1.0}
        if not kept:
            kept.append(min((measured(configuration) for _ in range(3)), key=lambda run: run["step_ms"]["median"]))
        found = kept[0] if mf.RECIPES["ranking"] is recipe else measured(configuration)
        return found | {"environment": ENVIRONMENT, "peak_memory_bytes": 1}

    recipe = mf.RECIPES["ranking"]
    monkeypatch.setattr(throughput.isolated, "run", run)
    monkeypatch.setattr(throughput, "recipes", lambda models: ["mf/ranking"])
    monkeypatch.setattr(plot, "PLOTS", tmp_path)
    with pytest.raises(InputError, match="nothing to compare"):
        parsed = parser().parse_args([*asked, "--check"])
        throughput_check.run(parsed)
    assert main(asked) == 0 and main([*asked, "--check"]) == 0
    wait_s = 0.5e-3 * kept[0]["step_ms"]["median"]
    slow = partial(SlowMF, wait_s=wait_s, **recipe.model.keywords)
    monkeypatch.setitem(mf.RECIPES, "ranking", dataclasses.replace(recipe, model=slow))
    assert main([*asked, "--check"]) == 1
    assert "FELL" in capsys.readouterr().out
