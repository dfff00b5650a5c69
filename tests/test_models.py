"""The contract of every model: a file in zoo/models with a `smoke` recipe gets all of these tests by existing."""

from dataclasses import fields, replace
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import zoo
from zoo import checkpoint, evaluate, names, objectives, optimizers, parallel, run, train_step
from zoo.data.fields import FieldTable
from zoo.data.images import Images
from zoo.data.impressions import Impressions
from zoo.data.interactions import Interactions, from_raw
from zoo.data.text import Text
from zoo.errors import InputError
from zoo.recipe import function_of
from zoo.types import CARRY, Spec, fill_of


WORLD = "simulated:num_users=300,num_videos=150,num_watches=6000"
MODELS = names.models()
DATA = {Interactions: WORLD, Impressions: WORLD, FieldTable: "planted:num_rows=3000"}
DATA |= {Text: "words:num_characters=5000"}
DATA |= {Images: "shapes:num_images=1000"}
TRAINED = [model for model in MODELS if names.recipe(f"{model}/smoke")[2].solve is None]
# Gradients of all sizes in one matrix: cross layers, losses weighted by watch seconds, states behind gates, sums over a
# graph.
STEEP = ("dcn", "dcn_v2", "gru4rec", "lightgcn", "youtube_ranking")
# Models that learn what comes next, not what belongs together: what they learn is tested in their own files.
ORDERED = ("caser",)
RANKED = [model for model in MODELS if names.recipe(f"{model}/smoke")[2].recommend is not None]


def slow_but(*kept, among=TRAINED):
    """All models that train, or those `among`; a test of most of them is slow."""
    return [model if model in kept else pytest.param(model, marks=pytest.mark.slow) for model in among]


def data_of(model):
    if model == "cnn_fm":
        return f"{DATA[FieldTable]},words=4"
    return DATA[names.recipe(f"{model}/smoke")[2].reads]


@cache
def made(model):
    """The smoke job of a model, prepared; its first state, a batch, and the device's constants."""
    job = names.job(names.Request(f"{model}/smoke", data_of(model)))
    prepared = run.prepare(job)
    columns = {name: jnp.asarray(column) for name, column in prepared.examples.train.items()}
    batch = train_step.take_rows(columns, jnp.arange(job.recipe.batch_size))
    return job, prepared, batch, jax.tree.map(jnp.asarray, dict(prepared.examples.constants))


def one_step(model, batch, optimizer=None, state=None):
    job, prepared, _, constants = made(model)
    optimizer = optimizer or prepared.optimizer
    if state is None:
        key = jax.random.key(0)
        state = train_step.init_state(prepared.model, job.recipe.objective, optimizer, batch, key, constants)
    core = partial(train_step.core_step, prepared.model, job.recipe.objective, optimizer)
    return state, *jax.jit(core)(state, batch, constants)


def rounding_in_adam(after, rate):
    """How far the last bit of a gradient can move a weight in the first step of Adam; zeros after SGD.

    The step is rate g / (|g| + eps), which a g near eps makes steep: rate eps / (|g| + eps)^2 times an error of g. A
    batch of another shape is summed in another order, and the smallest entries of a matrix carry the rounding of its
    largest. In float64 padding changes nothing beyond 2e-17.
    """
    mean = optax.tree.get(after.opt_state, "mu")
    if mean is None:
        return jax.tree.map(jnp.zeros_like, after.params)

    def bound(mean):
        gradient = jnp.abs(mean) / (1 - 0.9)
        return rate * 2**-23 * jnp.max(gradient) * 1e-8 / (gradient + 1e-8) ** 2

    return jax.tree.map(bound, mean)


def padded(batch, more):
    def pad(name, column):
        return jnp.concatenate([column, jnp.full((more, *column.shape[1:]), fill_of(column), column.dtype)])

    return {name: pad(name, column) for name, column in batch.items()}


def with_rows_more(state, more):
    """The state with room for a larger batch: what is carried from step to step has an entry a row of the batch."""
    if CARRY not in state.model_state:
        return state
    carry = jax.tree.map(lambda x: jnp.pad(x, [(0, more), *[(0, 0)] * (x.ndim - 1)]), state.model_state[CARRY])
    return state.replace(model_state={**state.model_state, CARRY: carry})


@pytest.mark.parametrize("model", MODELS)
def test_a_model_is_a_file_with_recipes(model):
    module = names.model_module(model)
    assert module.__doc__ and "smoke" in module.RECIPES and len(module.RECIPES) > 1
    assert next(iter(module.RECIPES)) != "smoke"


@pytest.mark.parametrize("model", MODELS)
def test_a_model_is_a_value(model):
    """Built twice it is equal, so that what was compiled for one serves the other."""
    job, prepared, _, _ = made(model)
    again = job.recipe.model(prepared.examples.spec)
    assert again == prepared.model and hash(again) == hash(prepared.model)


@pytest.mark.parametrize("model", TRAINED)
def test_every_parameter_moves(model):
    before, after, metrics = one_step(model, made(model)[2])
    assert np.isfinite(metrics["loss_sum"]) and metrics["num_examples"] == made(model)[0].recipe.batch_size
    for part in ("params", "tables"):
        for path, leaf in jax.tree.leaves_with_path(getattr(before, part)):
            moved = dict(jax.tree.leaves_with_path(getattr(after, part)))[path]
            assert not np.array_equal(leaf, moved), f"{part}{jax.tree_util.keystr(path)} did not move"
            assert leaf.dtype == moved.dtype and leaf.shape == moved.shape


@pytest.mark.parametrize("model", slow_but("mf", "fm", "dcn_v2", "lightgcn", "youtube_ranking"))
@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(optimizers.sgd, id="sgd"),
        pytest.param(partial(optimizers.adamw, weight_decay=0.1), id="adamw", marks=pytest.mark.slow),
    ],
)
def test_padding_changes_nothing(model, rule):
    """Also with decoupled weight decay, which moves any row that is looked up."""
    batch = made(model)[2]
    start, plain, metrics = one_step(model, batch, rule(0.1))
    _, other, padded_metrics = one_step(model, padded(batch, 7), rule(0.1), with_rows_more(start, 7))
    for one, two in zip(jax.tree.leaves(plain.tables), jax.tree.leaves(other.tables), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)
    room = rounding_in_adam(plain, 0.1) if model in STEEP else jax.tree.map(jnp.zeros_like, plain.params)
    for one, two, more in zip(*map(jax.tree.leaves, (plain.params, other.params, room)), strict=True):
        assert (np.abs(one - two) <= 1e-6 + 1e-7 * np.abs(one) + more).all()
    np.testing.assert_allclose(metrics["loss_sum"], padded_metrics["loss_sum"], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("model", TRAINED)
def test_compiled_and_not_agree(model):
    job, prepared, batch, constants = made(model)
    small = {name: column[:8] for name, column in batch.items()}
    start, compiled, _ = one_step(model, small)
    eager, _ = train_step.core_step(prepared.model, job.recipe.objective, prepared.optimizer, start, small, constants)
    for one, two in zip(jax.tree.leaves(compiled.tables), jax.tree.leaves(eager.tables), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
@pytest.mark.parametrize("model", slow_but("mf", "lightgcn", "deepfm", "rnn"))
def test_the_step_lowers_for_every_platform(model, platform):
    job, prepared, batch, constants = made(model)
    state = jax.eval_shape(prepared.initial)
    step = train_step.make_train_step(prepared.model, job.recipe.objective, prepared.optimizer)
    text = step.trace(state, batch, constants).lower(lowering_platforms=(platform,)).as_text()
    assert "stablehlo.scatter" in text or "stablehlo.dot" in text
    assert "callback" not in text and "outfeed" not in text  # nothing is read by the host inside a step


@pytest.mark.slow
@pytest.mark.parametrize("model", TRAINED)
def test_saved_and_restored_bit_for_bit(model, tmp_path):
    _, after, _ = one_step(model, made(model)[2])
    manager = checkpoint.open_folder(tmp_path)
    shapes = jax.eval_shape(lambda: after)
    checkpoint.save(manager, after, None, {"saves": 1}, shapes)
    restored, _, _ = checkpoint.restore(manager, shapes, shapes, tmp_path)
    _, one, _ = one_step(model, made(model)[2], state=after)
    _, two, _ = one_step(model, made(model)[2], state=restored)
    assert checkpoint.checksums(restored) == checkpoint.checksums(after)
    assert checkpoint.checksums(one) == checkpoint.checksums(two)


@pytest.mark.parametrize("model", TRAINED)
def test_cost_is_positive(model):
    job, prepared, _, _ = made(model)
    cost = names.model_module(model).cost(job.recipe, prepared.model)
    assert 0 < cost.bytes < 1e12 and 0 < cost.flops < 1e12


def test_cost_of_mf_by_hand():
    """4 users and 4 items of 8: 3 passes over 8 rows of 32 bytes and over 16 scores of 4; 16 x 8 x 6 operations."""
    recipe = replace(names.recipe("mf/smoke")[2], batch_size=4)
    model = recipe.model(Spec(num_users=5, num_items=6))
    assert names.model_module("mf").cost(recipe, model) == (3 * 8 * 32 + 3 * 16 * 4, 16 * 8 * 6)
    pairs = replace(recipe, objective=partial(objectives.bpr, num_negatives=2))
    assert names.model_module("mf").cost(pairs, model) == (3 * 4 * 4 * 32, 4 * 3 * 8 * 6)


@pytest.mark.parametrize(
    "model",
    slow_but(
        "mf",
        "youtube_candidates",
        among=[model for model in TRAINED if names.recipe(f"{model}/smoke")[2].metric.startswith("recall")],
    ),
)
def test_beats_popularity(model, tmp_path):
    result = zoo.train(f"{model}/smoke", data=WORLD, workdir=tmp_path / "run")
    popularity = result.record["baselines"]["popularity"]
    assert result.metrics["recall@10"] > 1.3 * popularity["recall@10"]


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(model, marks=pytest.mark.slow) if model in ("lightgcn", "ngcf") else model
        for model in TRAINED
        if hasattr(function_of(names.recipe(f"{model}/smoke")[2].model)[0], "query") and model not in ORDERED
    ],
)
def test_learns_a_checkerboard(model, tmp_path):
    """Even users have the even items but one, odd users the odd ones: the withheld item must come out on top."""
    num = 20
    user, item = np.divmod(np.arange(num * num), num)
    liked = (user - item) % 2 == 0
    kept = liked & (item != (user + 2) % num)
    data = from_raw(user[kept], item[kept])
    result = zoo.train(f"{model}/smoke", data=data, split="random", epochs=60, workdir=tmp_path / "run")
    constants = result.prepared.examples.constants
    queries = evaluate.query_vectors(result.prepared.model, result.state, constants, result.prepared.examples.test)
    scores = np.asarray(queries @ evaluate.item_vectors(result.prepared.model, result.state, constants).T)
    worst_liked = np.where(liked.reshape(num, num), scores, np.inf).min(1)
    best_other = np.where(liked.reshape(num, num), -np.inf, scores).max(1)
    assert (worst_liked > best_other).mean() > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("model", [model for model in TRAINED if names.recipe(f"{model}/smoke")[2].metric == "auc"])
def test_learns_planted_clicks(model, tmp_path):
    """Better than chance; with pairs of fields in the model, also than any model without them."""
    result = zoo.train(f"{model}/smoke", workdir=tmp_path / "run")
    assert 0.6 < result.metrics["auc"] < result.record["baselines"]["oracle"]["auc"] + 0.005
    assert model == "lr" or result.metrics["auc"] > 0.68  # logistic regression: 0.64
    again = zoo.load(tmp_path / "run")
    assert again.evaluate() == result.metrics
    with pytest.raises(InputError, match="needs a field called user"):
        again.recommend([1])


@pytest.mark.parametrize("model", slow_but("mf", "popularity", "youtube_candidates", among=RANKED))
def test_recommends_what_a_user_does_not_have(model, tmp_path):
    result = zoo.train(
        f"{model}/smoke", data=WORLD, workdir=tmp_path / "run", **({} if model not in TRAINED else {"epochs": 1})
    )
    interactions = result.job.interactions
    users = interactions.user_ids[:5]
    ids, scores = result.recommend(users, k=10)
    again, _ = zoo.load(tmp_path / "run").recommend(users, k=10)
    assert ids.shape == scores.shape == (5, 10) and np.array_equal(ids, again)
    for row, user in enumerate(range(5)):
        had = interactions.item_ids[interactions.item[interactions.user == user]]
        assert not set(ids[row].tolist()) & set(had.tolist())


def test_the_job_of_a_request_is_the_recipe_with_its_settings():
    job = names.job(names.Request("mf/smoke", WORLD, settings={"epochs": "3"}))
    assert job.recipe == replace(names.job(names.Request("mf/smoke", WORLD)).recipe, epochs=3)


@pytest.mark.parametrize("model", slow_but("fm", "youtube_candidates"))
def test_devices_take_the_steps_of_one(model):
    """Two steps of SGD, tables divided by rows, padding on the last device; without dropout, whose draws differ."""
    job, prepared, _, constants = made(model)
    module = prepared.model.clone(**dict.fromkeys(rates(model), 0.0))
    objective, rule, states = job.recipe.objective, optimizers.sgd(0.1), []
    columns = {name: jnp.asarray(column) for name, column in prepared.examples.train.items()}
    batch = train_step.take_rows(columns, jnp.arange(job.recipe.batch_size).at[-3:].set(-1))
    for layout, wrap in ((None, parallel.jit), (parallel.layout(2, shard_rows=True), parallel.shard_map)):
        state = train_step.init_state(module, objective, rule, batch, jax.random.key(0), constants, layout)
        step = train_step.make_train_step(module, objective, rule, partial(wrap, layout=layout))
        for _ in range(2):
            state, _ = step(state, *parallel.on_every_device((batch, constants), layout))
        states.append(state)
    one, many = states[0], parallel.on_one_device(states[1], states[0])
    learned = [(state.params, state.tables, state.model_state) for state in (one, many)]
    for a, b in zip(*map(jax.tree.leaves, learned), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=2e-5)


def rates(model):
    """The fields of a model that are rates of dropout."""
    kind, _ = function_of(names.recipe(f"{model}/smoke")[2].model)
    return [field.name for field in fields(kind) if "dropout" in field.name]


@pytest.mark.parametrize("model", slow_but("deepfm", "caser", among=[model for model in TRAINED if rates(model)]))
def test_dropout_acts_in_training(model):
    job, prepared, batch, constants = made(model)
    tower = {"hidden_dims": (8,)} if model == "cnn_fm" else {}  # its smoke recipe has none
    without = prepared.model.clone(**dict.fromkeys(rates(model), 0.0), **tower)
    objective, rule = job.recipe.objective, optimizers.sgd(0.1)
    state = train_step.init_state(without, objective, rule, batch, jax.random.key(0), constants)

    def loss(module):
        return jax.jit(partial(train_step.core_step, module, objective, rule))(state, batch, constants)[1]["loss_sum"]

    for rate in rates(model):
        assert loss(without) != loss(without.clone(**{rate: 0.5})), rate
