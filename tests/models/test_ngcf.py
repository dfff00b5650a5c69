"""NGCF's layers against sums over single edges, as the paper writes them, on the graph of test_lightgcn."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zoo import graph, objectives
from zoo.errors import InputError
from zoo.models.ngcf import DRAWN_ROWS, NGCF, Printed, Released, drop_numbers, normalised, side_by_side
from zoo.types import Spec


# Written out: who is connected with whom. User 5 and item 4 have no edge.
ITEMS_OF_USER = {0: [0, 1, 2], 1: [0, 3], 2: [1, 3], 3: [2], 4: [0, 1, 2, 3], 5: []}
USERS_OF_ITEM = {0: [0, 1, 4], 1: [0, 2, 4], 2: [0, 3, 4], 3: [1, 2, 4], 4: []}
NEIGHBOURS = {u: [6 + i for i in items] for u, items in ITEMS_OF_USER.items()} | {
    6 + i: users for i, users in USERS_OF_ITEM.items()
}
SPEC = Spec(num_users=6, num_items=5)


def edges(adjacency):
    from zoo.data.interactions import from_raw

    pairs = np.array([(u, i) for u, items in ITEMS_OF_USER.items() for i in items] + [(5, 4)])
    return adjacency(from_raw(pairs[:, 0], pairs[:, 1]).take(np.arange(len(pairs) - 1)))


def leaky(x):
    return np.where(x > 0, x, 0.2 * x)


def printed_layer(e, weights):
    """Equations 3 to 7: LeakyReLU(m_uu + sum of m_ui), one message an edge."""
    w1, w2 = weights["sum"]["kernel"], weights["product"]["kernel"]
    new = np.zeros((len(e), w1.shape[1]))
    for u, neighbours in NEIGHBOURS.items():
        total = e[u] @ w1
        for i in neighbours:
            p = 1 / np.sqrt(len(NEIGHBOURS[u]) * len(NEIGHBOURS[i]))
            total = total + p * (e[i] @ w1 + (e[i] * e[u]) @ w2)
        new[u] = leaky(total)
    return new


def released_layer(e, weights):
    """NGCF.py of the authors with adj_type norm: the mean of neighbours and self, two activations, biases."""
    new = np.zeros((len(e), weights["sum"]["kernel"].shape[1]))
    for u, neighbours in NEIGHBOURS.items():
        side = (e[u] + sum(e[i] for i in neighbours)) / (1 + len(neighbours))
        summed = side @ weights["sum"]["kernel"] + weights["sum"]["bias"]
        product = (e[u] * side) @ weights["product"]["kernel"] + weights["product"]["bias"]
        new[u] = leaky(summed) + leaky(product)
    return new


def double(tree):
    return jax.tree.map(lambda x: np.asarray(x, np.float64), tree)


def made(layer, join, adjacency, **settings):
    model = NGCF(SPEC, 4, (5, 3), layer, join, **settings)
    constants = {"graph": edges(adjacency)}

    def bound(module):
        module.put_variable("constants", "graph", constants["graph"])
        return module.prepare()

    params = model.init(jax.random.key(0), method=bound)["params"]
    params = jax.tree.map(lambda x: jax.random.normal(jax.random.key(x.size), x.shape), params)  # biases, too
    return model, {"params": params, "constants": constants}


@pytest.mark.parametrize(
    ("layer", "by_edges", "adjacency"),
    [(Printed, printed_layer, graph.symmetric), (Released, released_layer, graph.mean_with_self)],
    ids=["printed", "released"],
)
def test_layers_are_sums_over_edges(layer, by_edges, adjacency):
    model, values = made(layer, side_by_side, adjacency)
    found = model.apply(values, method="prepare")
    params = double(values["params"])
    expected = [params["embedding"]]
    for number in range(2):
        expected.append(by_edges(expected[-1], params[f"layers_{number}"]))
    for one, two in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)


def test_layers_are_joined():
    model, values = made(Released, normalised, graph.mean_with_self)
    prepared = model.apply(values, method="prepare")
    items = np.asarray(model.apply(values, None, prepared, method="item_vectors"))
    some = model.apply(values, jnp.array([2, 0]), prepared, method="item_vectors")
    queries = model.apply(values, {"user": jnp.array([3])}, prepared, method="query")
    assert items.shape == (5, 4 + 5 + 3) and queries.shape == (1, 12)
    np.testing.assert_allclose(some, items[[2, 0]], rtol=1e-6)
    np.testing.assert_allclose(items[:, :4], prepared[0][6:], rtol=1e-6)
    for part, layer in zip((items[:, 4:9], items[:, 9:]), [nodes[6:] for nodes in prepared[1:]]):
        np.testing.assert_allclose(part, layer / np.linalg.norm(layer, axis=1, keepdims=True), rtol=1e-5)
    plain, values = made(Printed, side_by_side, graph.symmetric)
    prepared = plain.apply(values, method="prepare")
    items = plain.apply(values, None, prepared, method="item_vectors")
    np.testing.assert_array_equal(items, np.concatenate([nodes[6:] for nodes in prepared], 1))


def test_vectors_of_zeros_can_be_joined():
    gradient = jax.grad(lambda x: jnp.sum(normalised([x, x])))(jnp.zeros((2, 3)))
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("setting", ["message_dropout", "node_dropout", "edge_dropout"])
def test_dropout_is_for_training_only(setting):
    plain, values = made(Printed, side_by_side, graph.symmetric)
    model, _ = made(Printed, side_by_side, graph.symmetric, **{setting: 0.5})
    expected = plain.apply(values, method="prepare")
    for one, two in zip(jax.tree.leaves(model.apply(values, method="prepare")), jax.tree.leaves(expected)):
        np.testing.assert_array_equal(one, two)
    rngs = {"everywhere": jax.random.key(1)}
    trained = model.apply(values, train=True, rngs=rngs, method="prepare")
    np.testing.assert_array_equal(trained[0], expected[0])  # layer 0 is left whole
    assert not np.allclose(trained[1], expected[1])


def test_dropped_numbers_are_as_many_as_asked():
    x = jnp.ones((DRAWN_ROWS + 1000, 16))
    dropped = np.asarray(drop_numbers(x, jax.random.key(0), 0.25))
    assert set(np.unique(np.round(dropped, 4))) == {0, np.float32(1.3333)} and abs(dropped.mean() - 1) < 0.01
    assert not np.array_equal(dropped[:1000], dropped[DRAWN_ROWS:])
    np.testing.assert_allclose(
        jax.grad(lambda x: drop_numbers(x, jax.random.key(0), 0.25).sum())(x), dropped, rtol=1e-6
    )


@pytest.mark.parametrize("setting", ["message_dropout", "node_dropout", "edge_dropout"])
def test_a_rate_that_drops_everything_is_refused(setting):
    model, values = made(Printed, side_by_side, graph.symmetric)
    with pytest.raises(InputError, match=f"{setting} is 1.0: it must be at least 0 and below 1"):
        model.clone(**{setting: 1.0}).apply(values, method="prepare")


def test_a_dropped_node_sends_nothing():
    """At a rate next to 1, all are dropped: only the message of a node to itself is left."""
    model, values = made(Printed, side_by_side, graph.symmetric, node_dropout=1 - 1e-7)
    found = model.apply(values, train=True, rngs={"everywhere": jax.random.key(1)}, method="prepare")
    params = double(values["params"])
    np.testing.assert_allclose(
        found[1], leaky(params["embedding"] @ params["layers_0"]["sum"]["kernel"]), rtol=1e-4, atol=1e-5
    )


def test_the_penalty_of_the_released_loss_is_on_the_joined_vectors():
    model, values = made(Released, normalised, graph.mean_with_self)
    batch, key = {"user": jnp.array([0]), "item": jnp.array([1])}, jax.random.key(3)
    with_penalty, without = (
        model.apply(values, batch, key, method=partial(objectives.bpr, l2=l2)) for l2 in (0.5, 0.0)
    )
    prepared = model.apply(values, method="prepare")
    drawn = objectives.uniform_negatives(model, batch, key, 1)[:, 0]
    joined = [
        model.apply(values, batch, prepared, method="query"),
        model.apply(values, batch["item"], prepared, method="item_vectors"),
        model.apply(values, drawn, prepared, method="item_vectors"),
    ]
    np.testing.assert_allclose(with_penalty - without, [0.25 * sum(jnp.sum(x**2) for x in joined)], rtol=1e-4)
