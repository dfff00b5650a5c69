"""The graph of users and items against matrices written out, and every way to multiply it against numpy."""

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from zoo import graph, parallel
from zoo.data.interactions import from_raw
from zoo.errors import InputError


PRODUCTS = [graph.compressed_rows, graph.in_chunks, graph.dense, graph.portable, graph.by_platform]
ADJACENCIES = [graph.symmetric, graph.mean, graph.mean_with_self]


def interactions(users=40, items=25, count=300, isolated=True):
    """Random pairs, some of them repeated; user 7 and item 3 are known but have none."""
    rng = np.random.default_rng(0)
    data = from_raw(
        np.concatenate([np.arange(users), rng.integers(0, users, count)]),
        np.concatenate([np.arange(users) % items, rng.integers(0, items, count)]),
    )
    return data.take((data.user != 7) & (data.item != 3)) if isolated else data


def whole_matrix(adjacency, data):
    """D^-1/2 A D^-1/2 and its relatives, dense and in float64."""
    pairs = np.zeros((data.num_users, data.num_items))
    pairs[data.user, data.item] = 1
    a = np.block([[np.zeros((len(pairs),) * 2), pairs], [pairs.T, np.zeros((pairs.shape[1],) * 2)]])
    if adjacency is graph.mean_with_self:
        a = a + np.eye(len(a))
    degree = a.sum(1)
    inverse = np.divide(1, degree, out=np.zeros_like(degree), where=degree > 0)
    if adjacency is graph.symmetric:
        return np.sqrt(inverse)[:, None] * a * np.sqrt(inverse)[None, :]
    return inverse[:, None] * a


def vectors(nodes, dim=6, seed=1):
    return np.random.default_rng(seed).normal(size=(nodes, dim)).astype(np.float32)


@pytest.mark.parametrize("product", PRODUCTS, ids=lambda product: product.__name__)
@pytest.mark.parametrize("adjacency", ADJACENCIES, ids=lambda adjacency: adjacency.__name__)
def test_a_product_and_its_gradient_are_those_of_the_whole_matrix(adjacency, product, monkeypatch):
    monkeypatch.setattr(graph, "CHUNK_EDGES", 64)  # several chunks, the last one short
    data = interactions()
    matrix = whole_matrix(adjacency, data)
    x, y = vectors(len(matrix)), vectors(len(matrix), seed=2)

    @jax.jit
    def run(edges, x):
        return jax.vjp(lambda x: graph.propagate(edges, x, product), x)

    found, pull = run(adjacency(data), x)
    np.testing.assert_allclose(found, matrix @ x, atol=1e-5)
    np.testing.assert_allclose(pull(jnp.asarray(y))[0], matrix.T @ y, atol=1e-5)


@pytest.mark.parametrize("product", [graph.compressed_rows, graph.in_chunks], ids=lambda product: product.__name__)
@pytest.mark.parametrize("wrap", ["jit", "shard_map"])
def test_devices_multiply_a_share_of_the_edges_each(wrap, product, monkeypatch):
    """The product and its gradient on three devices (the edges do not divide by 3) are those of one."""
    monkeypatch.setattr(graph, "CHUNK_EDGES", 64)
    data = interactions()
    edges, layout = jax.tree.map(jnp.asarray, graph.mean_with_self(data)), parallel.layout(3)
    assert len(edges.weight) % 3
    x, y = (jnp.asarray(vectors(data.num_users + data.num_items, seed=seed)) for seed in (1, 2))
    shares = []
    monkeypatch.setattr(graph, "own_edges", lambda own, real=graph.own_edges: shares.append(own) or real(own))

    def run(edges, x):
        found, pull = jax.vjp(lambda x: graph.propagate(edges, x, product), x)
        return found, parallel.total(pull(y / parallel.num_devices())[0])

    wanted = run(edges, x)
    assert not shares
    if wrap == "jit":
        with jax.sharding.use_abstract_mesh(layout.mesh.abstract_mesh):
            found = jax.jit(run)(*parallel.on_every_device((edges, x), layout))
    else:
        each = jax.shard_map(run, mesh=layout.mesh, in_specs=jax.P(), out_specs=jax.P(), check_vma=False)
        found = jax.jit(each)(edges, x)
    assert len(shares) == 2
    for ours, want in zip(found, wanted, strict=True):
        np.testing.assert_allclose(ours, want, atol=1e-5)


@pytest.mark.parametrize("adjacency", ADJACENCIES, ids=lambda adjacency: adjacency.__name__)
def test_a_graph_names_its_entries_and_their_mirrors(adjacency):
    data = interactions()
    edges = adjacency(data)
    matrix = whole_matrix(adjacency, data)
    assert len(edges.source) == np.count_nonzero(matrix)
    np.testing.assert_allclose(edges.weight, matrix[edges.target, edges.source], rtol=1e-6)
    np.testing.assert_allclose(edges.transposed_weight, matrix[edges.source, edges.target], rtol=1e-6)
    np.testing.assert_array_equal(edges.target[edges.reverse], edges.source)
    np.testing.assert_array_equal(edges.source[edges.reverse], edges.target)
    assert all(column.dtype in (np.int32, np.float32) for column in edges)


def test_a_node_without_edges_gets_nothing_but_itself():
    data = interactions()
    x = vectors(data.num_users + data.num_items)
    alone = [7, data.num_users + 3]
    for adjacency, expected in ((graph.symmetric, 0 * x), (graph.mean, 0 * x), (graph.mean_with_self, x)):
        found = np.asarray(graph.propagate(adjacency(data), x))
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found[alone], expected[alone], atol=1e-6)


def test_dropped_edges_keep_the_mean_and_the_transpose():
    data = interactions()
    edges = jax.tree.map(jnp.asarray, graph.symmetric(data))
    x, y = vectors(data.num_users + data.num_items), vectors(data.num_users + data.num_items, seed=2)
    dropped = graph.drop_edges(edges, jax.random.key(0), 0.25)
    ratio = np.asarray(dropped.weight / edges.weight)
    assert set(np.round(ratio, 4)) == {0, np.float32(1.3333)} and abs(ratio.mean() - 1) < 0.1
    found, pull = jax.vjp(lambda x: graph.propagate(dropped, x), jnp.asarray(x))
    np.testing.assert_allclose(np.sum(found * y), np.sum(pull(jnp.asarray(y))[0] * x), rtol=1e-4)


def test_float32_sums_of_smaller_floats():
    data = interactions()
    x = jnp.asarray(vectors(data.num_users + data.num_items), jnp.bfloat16)
    found = graph.propagate(graph.symmetric(data), x)
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, graph.propagate(graph.symmetric(data), x.astype(jnp.float32)))


@pytest.mark.parametrize("product", [graph.in_chunks, graph.dense], ids=lambda product: product.__name__)
def test_the_portable_forms_can_be_exported(product):
    data = interactions()
    x = jnp.asarray(vectors(data.num_users + data.num_items))
    edges = jax.tree.map(jnp.asarray, graph.symmetric(data))
    step = jax.jit(jax.grad(lambda x, edges: jnp.sum(graph.propagate(edges, x, product) ** 2)))
    exported = jax.export.export(step, platforms=("cpu", "cuda", "tpu"))(x, edges)
    again = jax.export.deserialize(exported.serialize())
    np.testing.assert_allclose(again.call(x, edges), step(x, edges), atol=1e-6)


def test_no_array_of_edges_times_dim(monkeypatch):
    """Forward and backward: CHUNK_EDGES rows at a time."""
    monkeypatch.setattr(graph, "CHUNK_EDGES", 256)
    data = interactions(users=400, items=300, count=20_000)
    x = vectors(data.num_users + data.num_items, dim=64)
    edges = graph.symmetric(data)
    for product in (graph.compressed_rows, graph.in_chunks):
        step = jax.jit(jax.grad(lambda x, edges, product=product: jnp.sum(graph.propagate(edges, x, product) ** 2)))
        held = step.lower(x, edges).compile().memory_analysis().temp_size_in_bytes
        assert held < 4 * x.nbytes + 3 * edges.weight.nbytes < edges.weight.nbytes * 64


def test_too_large_a_graph_is_refused_with_sizes(monkeypatch):
    monkeypatch.setattr(graph, "host_available_bytes", lambda: 2**16)
    with pytest.raises(InputError, match=r"65 nodes and \d+ edges takes .* KiB to build, but 64.0 KiB are free"):
        graph.symmetric(interactions())
