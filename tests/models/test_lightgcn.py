"""LightGCN against the sum of powers of a whole matrix, and what it says of odd settings."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zoo import graph, names, objectives, optimizers, parallel, train_step
from zoo.data.interactions import from_raw
from zoo.errors import InputError
from zoo.models.lightgcn import LightGCN, bpr
from zoo.types import PADDING, Spec


USER = np.array([0, 0, 0, 1, 1, 2, 2, 3, 4, 4, 4, 4])
ITEM = np.array([0, 1, 2, 0, 3, 1, 3, 2, 0, 1, 2, 3])
SPEC = Spec(num_users=6, num_items=5)  # user 5 and item 4 have no edge


def small_graph(adjacency):
    everything = from_raw(np.append(USER, 5), np.append(ITEM, 4))
    return adjacency(everything.take(np.arange(len(USER))))


def symmetric_matrix():
    a = np.zeros((11, 11))
    a[USER, ITEM + 6] = a[ITEM + 6, USER] = 1
    degree = a.sum(1)
    inverse = np.divide(1, np.sqrt(degree), out=np.zeros(11), where=degree > 0)
    return inverse[:, None] * a * inverse


def variables(adjacency=graph.symmetric, dim=4):
    embedding = np.random.default_rng(0).normal(size=(11, dim)).astype(np.float32)
    return {"params": {"embedding": jnp.asarray(embedding)}, "constants": {"graph": small_graph(adjacency)}}


@pytest.mark.parametrize("num_layers", [0, 1, 3])
def test_the_mean_of_powers(num_layers):
    given, matrix = variables(), symmetric_matrix()
    found = LightGCN(SPEC, 4, num_layers).apply(given, method="prepare")
    powers = [np.linalg.matrix_power(matrix, k) for k in range(num_layers + 1)]
    expected = sum(powers) @ np.asarray(given["params"]["embedding"], np.float64) / (num_layers + 1)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    own = given["params"]["embedding"] / (num_layers + 1)  # of nodes without edges
    np.testing.assert_allclose(found[jnp.array([5, 10])], own[jnp.array([5, 10])], atol=1e-6)


def test_padding_reads_zeros():
    given, model = variables(), LightGCN(SPEC, 4, 2)
    prepared = model.apply(given, method="prepare")
    batch = {"user": jnp.array([1, PADDING])}
    assert not model.apply(given, batch, prepared, method="query")[1].any()
    assert not model.apply(given, jnp.array([PADDING]), prepared, method="item_vectors").any()


def test_the_loss_of_the_paper_by_hand():
    given, model = variables(), LightGCN(SPEC, 4, 3)
    batch = {"user": jnp.array([0, 4]), "item": jnp.array([1, 3])}
    key = jax.random.key(3)
    found = model.apply(given, batch, key, method=partial(bpr, num_negatives=1, l2=0.5))
    negative = np.asarray(objectives.uniform_negatives(model, batch, key, 1))[:, 0]
    own = np.asarray(given["params"]["embedding"], np.float64)
    users, items = np.split(np.asarray(model.apply(given, method="prepare"), np.float64), [6])
    for row, (u, i, j) in enumerate(zip([0, 4], [1, 3], negative)):
        loss = np.log1p(np.exp(-(users[u] @ items[i] - users[u] @ items[j])))
        penalty = 0.25 * ((own[u] ** 2).sum() + (own[6 + i] ** 2).sum() + (own[6 + j] ** 2).sum())
        np.testing.assert_allclose(found[row], loss + penalty, rtol=1e-5)


def test_many_layers_are_warned_of():
    with pytest.warns(UserWarning, match="9 layers: .* quality falls"):
        LightGCN(SPEC, 4, 9).apply(variables(), method="prepare")


def test_fewer_layers_than_none_are_refused():
    with pytest.raises(InputError, match="num_layers is -1: it must be at least 0"):
        LightGCN(SPEC, 4, -1).apply(variables(), method="prepare")


@pytest.mark.parametrize(
    "wrap", [parallel.jit, parallel.shard_map, pytest.param(parallel.pmap, marks=pytest.mark.slow)]
)
def test_four_devices_train_as_one(wrap):
    model, objective = LightGCN(SPEC, 4, 2), objectives.in_batch_softmax
    constants = {"graph": small_graph(graph.symmetric), "item_log_frequency": np.full(5, np.log(0.2), np.float32)}
    columns = {"user": jnp.asarray(USER, jnp.int32), "item": jnp.asarray(ITEM, jnp.int32)}
    batch = train_step.take_rows(columns, jnp.array([0, 1, 2, 3, 4, 5, 6, -1]))

    def trained(layout, wrap):
        state = train_step.init_state(
            model, objective, optimizers.adam(0.1), batch, jax.random.key(0), constants, layout
        )
        step = train_step.make_train_step(model, objective, optimizers.adam(0.1), partial(wrap, layout=layout))
        placed = parallel.on_every_device((batch, constants), layout)
        for _ in range(3):
            state, _ = step(state, *placed)
        return np.asarray(state.params["embedding"])

    np.testing.assert_allclose(trained(parallel.layout(4), wrap), trained(None, parallel.jit), atol=1e-5)


def test_cost_by_hand():
    """24 entries, 11 nodes of 4 numbers, 2 layers: 4 products, 9 passes over the nodes; 2 examples, 1 negative."""
    _, _, recipe = names.recipe("lightgcn/paper")
    model = LightGCN(replace(SPEC, num_edges=24), 4, 2)
    found = names.model_module("lightgcn").cost(replace(recipe, batch_size=2), model)
    product = 24 * (4 + 4 + 16) + 11 * 16
    assert found.bytes == 4 * product + 9 * 11 * 16 + 3 * 3 * 2 * 16
    assert found.flops == 4 * 24 * 2 * 4 + 2 * 11 * 4 + 6 * 2 * 2 * 4
