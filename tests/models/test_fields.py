"""The models over fields against the equations of their papers, pair by pair and layer by layer."""

from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zoo import evaluate, names
from zoo.layers import tower_weights
from zoo.models import dcn, dcn_v2, deepfm, ffm, fm, fwfm, lr, nfm, wide_deep
from zoo.types import Batch, Spec


SIZES = (5, 3, 4, 2)
SPEC = Spec(field_sizes=SIZES, base_score=-0.7)
OFFSETS = np.array([0, 5, 8, 12])
MODELS = {
    "lr": lr.LR(SPEC),
    "fm": fm.FM(SPEC, 3, 0.5),
    "fwfm": fwfm.FwFM(SPEC, 3, 0.5),
    "nfm": nfm.NFM(SPEC, 3, (6, 5), init_scale=0.5),
    "ffm": ffm.FFM(SPEC, 3, 0.5),
    "deepfm": deepfm.DeepFM(SPEC, 3, (6, 5), init_scale=0.5),
    "wide_deep": wide_deep.WideDeep(SPEC, 3, (6, 5), init_scale=0.5),
    "dcn": dcn.DCN(SPEC, 3, 2, (6, 5), init_scale=0.5),
    "dcn_v2": dcn_v2.DCNv2(SPEC, 3, 2, (6, 5), init_scale=0.5),
}


@pytest.fixture
def batch() -> Batch:
    rng = np.random.default_rng(0)
    return {"fields": jnp.asarray(rng.integers(SIZES, size=(7, 4)) + OFFSETS, jnp.int32)}


def shaken(name, batch):
    """A model's variables with every number drawn anew, its scores, and its tables and weights as numpy float64."""
    held = MODELS[name].init(jax.random.key(0), batch)
    held = {part: held[part] for part in ("params", "tables") if part in held}
    rng = np.random.default_rng(1)
    held = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0, 0.5, leaf.shape), jnp.float32), held)
    return MODELS[name].apply(held, batch), jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), held)


def linear(held, rows):
    return held["params"]["linear"]["bias"] + held["tables"]["linear"]["weight"]["table"][rows, 0].sum()


def tower(held, x):
    for layer in ("Dense_0", "Dense_1"):
        weights = held["params"]["tower"][layer]
        x = np.maximum(x @ weights["kernel"] + weights["bias"], 0)
    return x


def vectors(held, rows):
    return held["tables"]["factors"]["table"][rows]


def test_lr(batch):
    got, held = shaken("lr", batch)
    np.testing.assert_allclose(got, [linear(held, rows) for rows in np.asarray(batch["fields"])], atol=1e-5)


def test_fm_is_the_double_loop(batch):
    got, held = shaken("fm", batch)
    want = []
    for rows in np.asarray(batch["fields"]):
        v = vectors(held, rows)
        want.append(linear(held, rows) + sum(v[f] @ v[g] for f, g in combinations(range(4), 2)))
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_fwfm_and_nfm_are_loops_over_pairs(batch):
    weighted, held = shaken("fwfm", batch)
    pooled, held_nfm = shaken("nfm", batch)
    for i, rows in enumerate(np.asarray(batch["fields"])):
        v = vectors(held, rows)
        pairs = zip(held["params"]["pair_weights"], combinations(range(4), 2))
        want = linear(held, rows) + sum(weight * (v[f] @ v[g]) for weight, (f, g) in pairs)
        np.testing.assert_allclose(weighted[i], want, atol=1e-5)
        v = vectors(held_nfm, rows)
        deep = tower(held_nfm, sum(v[f] * v[g] for f, g in combinations(range(4), 2)))
        want = linear(held_nfm, rows) + deep @ held_nfm["params"]["top"]["kernel"][:, 0]
        np.testing.assert_allclose(pooled[i], want, atol=1e-5)


def test_ffm_is_the_loop_over_pairs(batch):
    got, held = shaken("ffm", batch)
    want = []
    for rows in np.asarray(batch["fields"]):
        v = vectors(held, rows).reshape(4, 3, 3)  # field, other field less itself, dim

        def meant_for(f, g, v=v):
            return v[f, g - (g > f)]

        pairs = sum(meant_for(f, g) @ meant_for(g, f) for f, g in combinations(range(4), 2))
        want.append(linear(held, rows) + pairs)
    np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize("name", ["deepfm", "wide_deep"])
def test_towers_beside_pairs_or_lines(batch, name):
    got, held = shaken(name, batch)
    want = []
    for rows in np.asarray(batch["fields"]):
        v = vectors(held, rows)
        deep = tower(held, v.reshape(-1)) @ held["params"]["top"]["kernel"][:, 0]
        pairs = sum(v[f] @ v[g] for f, g in combinations(range(4), 2)) if name == "deepfm" else 0
        want.append(linear(held, rows) + pairs + deep)
    np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize("name", ["dcn", "dcn_v2"])
def test_cross_layers_are_the_papers(batch, name):
    got, held = shaken(name, batch)
    want = []
    for rows in np.asarray(batch["fields"]):
        x0 = vectors(held, rows).reshape(-1)
        x = x0
        for kernel, bias in zip(held["params"]["cross_kernels"], held["params"]["cross_biases"]):
            x = np.outer(x0, x) @ kernel + bias + x if name == "dcn" else x0 * (kernel.T @ x + bias) + x
        top = held["params"]["top"]
        want.append(np.concatenate([x, tower(held, x0)]) @ top["kernel"][:, 0] + top["bias"][0])
    np.testing.assert_allclose(got, want, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_a_bag_is_the_mean_of_its_rows(name, batch):
    """A last field of one value scores the same as a bag of that value, and a bag of two as their mean vector."""
    first, second = batch["fields"][:, :3], batch["fields"][:, 3:]
    one = {"fields": first, "bags": jnp.pad(second[:, None], ((0, 0), (0, 0), (0, 2)), constant_values=2**31 - 1)}
    plain, held = shaken(name, batch)
    held = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), held)
    np.testing.assert_allclose(MODELS[name].apply(held, one), plain, atol=1e-5)
    both = {"fields": first, "bags": jnp.tile(jnp.array([[[12, 13, 2**31 - 1]]], jnp.int32), (7, 1, 1))}
    middle = jax.tree.map(lambda table: table.at[12].set((table[12] + table[13]) / 2), held["tables"])
    want = MODELS[name].apply(held | {"tables": middle}, {"fields": batch["fields"].at[:, 3].set(12)})
    np.testing.assert_allclose(MODELS[name].apply(held, both), want, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_an_unknown_row_beyond_the_table_adds_nothing(batch, name):
    """Padding scores as an example whose every vector is zero: finite, the same for all."""
    got, _ = shaken(name, {"fields": jnp.full((3, 4), 2**31 - 1, jnp.int32)})
    assert np.isfinite(got).all() and np.ptp(np.asarray(got)) == 0


@pytest.mark.parametrize("name", [name for name in MODELS if "clicks" in names.model_module(name).RECIPES])
def test_the_loss_opens_at_that_of_a_constant(name):
    """As the recipe makes the model, before the first step: the log loss of the click rate, within 0.001."""
    from zoo import run

    job = names.job(names.Request(f"{name}/clicks", "planted:num_rows=2000"))
    prepared = run.prepare(job)
    found = evaluate.clicks(prepared.model, prepared.initial(), prepared.examples, prepared.split)
    chance = job.recipe.baselines(prepared.split)["click_rate"]
    assert abs(found["log_loss"] - chance["log_loss"]) < 1e-3


def test_weights_of_a_tower():
    assert tower_weights(30, (400, 400, 400, 1)) + 3 * 400 + 1 + 3 * 800 == 336_001  # BARS: with batch normalisation


def test_costs_by_hand():
    """8 examples of 4 fields: 12 bytes a number looked up, 6 operations a product and example."""
    from dataclasses import replace

    recipe = replace(names.recipe("fm/smoke")[2], batch_size=8)
    assert fm.cost(recipe, MODELS["fm"]) == (12 * 8 * 4 * (3 + 1), 6 * 8 * (4 + 1) * 3)
    assert ffm.cost(recipe, MODELS["ffm"]) == (12 * 8 * 4 * (3 * 3 + 1), 6 * 8 * 6 * 3)
    weights = 12 * 6 + 6 * 5 + 5
    assert wide_deep.cost(recipe, MODELS["wide_deep"]) == (12 * (8 * 4 * 4 + weights), 6 * 8 * weights)
    crossed = 2 * 12 + 12 * 6 + 6 * 5 + 12 + 5
    assert dcn.cost(recipe, MODELS["dcn"]) == (12 * (8 * 4 * 3 + crossed), 6 * 8 * crossed)
    crossed = 2 * 12 * 12 + 12 * 6 + 6 * 5 + 12 + 5
    assert dcn_v2.cost(recipe, MODELS["dcn_v2"]) == (12 * (8 * 4 * 3 + crossed), 6 * 8 * crossed)
    assert deepfm.cost(recipe, MODELS["deepfm"]) == (12 * (8 * 4 * 4 + weights), 6 * 8 * (weights + 5 * 3))
    weights = 3 * 6 + 6 * 5 + 5
    assert nfm.cost(recipe, MODELS["nfm"]) == (12 * (8 * 4 * 4 + weights), 6 * 8 * (weights + 5 * 3))
    assert fwfm.cost(recipe, MODELS["fwfm"]) == (12 * (8 * 4 * 4 + 6), 6 * 8 * (6 + 4 * 5 * 3))
    assert lr.cost(recipe, MODELS["lr"]) == (12 * 8 * 4, 8 * 4)


def test_parameters_of_the_recipes_bars():
    """On Frappe_x1's shape (5,389 values with the unknown, 10 fields), as counted in the logs of BARS."""
    spec = Spec(field_sizes=(5389 - 9 * 2, *[2] * 9))
    counted = {
        "lr": 5_390,
        "fm": 59_280,
        "ffm": 490_400,
        "fwfm": 107_826,
        "deepfm": 423_280,
        "wide_deep": 423_280,
        "dcn": 418_591,
        "dcn_v2": 458_391,
    }
    example = {"fields": jax.ShapeDtypeStruct((2, 10), jnp.int32)}
    for name, want in counted.items():
        model = names.recipe(f"{name}/bars")[2].model(spec)
        held = jax.eval_shape(model.init, jax.random.key(0), example)
        parts = [held[part] for part in ("params", "tables") if part in held]
        assert sum(leaf.size for leaf in jax.tree.leaves(parts)) == want, name


def test_weighted_pairs_with_vectors_as_the_linear_part():
    """fwfm/bars against a loop over pairs, in float64."""
    model = fwfm.FwFMVectors(Spec(field_sizes=(3, 4, 2), base_score=0.5), 2, init_scale=1.0)
    rows = np.array([[0, 3, 7], [2, 5, 8]])
    state = model.init(jax.random.key(0), {"fields": jnp.asarray(rows)})
    state = {"params": {**state["params"], "pair_weights": jnp.array([0.5, -1.0, 2.0])}, "tables": state["tables"]}
    linear, factors = (np.float64(state["tables"][name]["table"])[rows] for name in ("linear", "factors"))
    want = [
        0.5 + np.sum(v * u) + 0.5 * v[0] @ v[1] - v[0] @ v[2] + 2 * v[1] @ v[2]
        for v, u in zip(factors, linear, strict=True)
    ]
    np.testing.assert_allclose(model.apply(state, {"fields": jnp.asarray(rows)}), want, rtol=1e-5)
