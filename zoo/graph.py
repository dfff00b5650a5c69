"""The graph of users and items as a sparse matrix, and its product with the vectors of all nodes.

Nodes are the users, then the items; an interaction is an edge in both directions. A graph is a constant of the step: an
argument, neither donated nor saved but rebuilt from the data. It is built on the host, in numpy.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.experimental import sparse

from zoo import parallel
from zoo.data.interactions import Interactions
from zoo.errors import InputError
from zoo.memory import host_available_bytes, readable


CHUNK_EDGES = 2**15  # edges a part of `in_chunks`: at 64 dimensions 8 MiB of gathered rows
DENSE_NODES = 1024  # up to so many nodes an accelerator multiplies a whole matrix, of 4 MiB
BUILD_BYTES = 120  # an edge, at most, on the host while a graph is built, its arrays included


class Graph(NamedTuple):
    """A sparse matrix [nodes, nodes] in compressed rows, ascending by row and column, with a symmetric pattern.

    The weights need not be symmetric, so those of the transpose stand beside them.
    """

    offsets: Array  # int32 [nodes + 1]: the entries of row n are offsets[n] : offsets[n + 1]
    target: Array  # int32 [edges], row of an entry: the node that receives
    source: Array  # int32 [edges], its column: the node that sends
    weight: Array  # float32 [edges]
    transposed_weight: Array  # float32 [edges], of the entry (source, target)
    reverse: Array  # int32 [edges], where the entry (source, target) stands


jax.export.register_namedtuple_serialization(Graph, serialized_name="zoo.graph.Graph")


def symmetric(interactions: Interactions) -> Graph:
    """D^-1/2 A D^-1/2: an edge weighs 1 / sqrt(degree of target x degree of source). A node without edges has none."""
    target, source, degree = _edges(interactions)
    return _compressed(target, source, 1 / np.sqrt(degree[target] * degree[source]), len(degree))


def mean(interactions: Interactions) -> Graph:
    """D^-1 A: a node receives the mean of its neighbours; one without neighbours receives nothing."""
    target, source, degree = _edges(interactions)
    return _compressed(target, source, 1 / degree[target], len(degree))


def mean_with_self(interactions: Interactions) -> Graph:
    """(D + I)^-1 (A + I): a node receives the mean of its neighbours and itself."""
    target, source, degree = _edges(interactions)
    nodes = np.arange(len(degree))
    target, source = np.concatenate([target, nodes]), np.concatenate([source, nodes])
    return _compressed(target, source, 1 / (degree[target] + 1), len(degree))


def _edges(interactions: Interactions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both directions of every distinct pair, int64 [edges] each, and the degree of each node, float64 [nodes]."""
    num_edges, num_nodes = 2 * len(interactions), interactions.num_users + interactions.num_items
    if num_edges + num_nodes >= 2**31:
        raise InputError(f"the graph has {num_edges:,} edges: places are int32, so 2**31-1 is the limit")
    needed, available = BUILD_BYTES * (num_edges + num_nodes), host_available_bytes()
    if available is not None and needed > available:
        raise InputError(
            f"the graph of {num_nodes:,} nodes and {num_edges:,} edges takes {readable(needed)} to build, but "
            f"{readable(available)} are free: take fewer interactions or a model without a graph, such as mf"
        )
    pairs = np.unique(interactions.user.astype(np.int64) * interactions.num_items + interactions.item)
    user, item = np.divmod(pairs, interactions.num_items)
    item = item + interactions.num_users
    target, source = np.concatenate([user, item]), np.concatenate([item, user])
    return target, source, np.bincount(target, minlength=num_nodes).astype(np.float64)


def _compressed(target: np.ndarray, source: np.ndarray, weight: np.ndarray, num_nodes: int) -> Graph:
    order = np.lexsort((source, target))
    target, source, weight = target[order], source[order], weight[order].astype(np.float32)
    reverse = np.lexsort((target, source))  # sorted by column, entry k is the one that mirrors entry k sorted by row
    offsets = np.concatenate([[0], np.cumsum(np.bincount(target, minlength=num_nodes))])
    offsets, target, source, reverse = (place.astype(np.int32) for place in (offsets, target, source, reverse))
    columns: Any = (offsets, target, source, weight, weight[reverse], reverse)  # numpy; jax where a step has put them
    return Graph(*columns)


def transpose(graph: Graph) -> Graph:
    return graph._replace(weight=graph.transposed_weight, transposed_weight=graph.weight)


def drop_nodes(x: Array, key: Array, rate: float) -> Array:
    """The vectors x [nodes, dim] with those of a node 0 with probability `rate`, the others 1 / (1 - rate) times as
    large."""
    kept = jax.random.bernoulli(key, 1 - rate, (len(x), 1))
    return jnp.where(kept, x / (1 - rate), 0)


def drop_edges(graph: Graph, key: Array, rate: float) -> Graph:
    """Each direction of an edge left out with probability `rate`; the others weigh 1 / (1 - rate) times as much."""
    kept = jax.random.bernoulli(key, 1 - rate, graph.weight.shape) / (1 - rate)
    return graph._replace(weight=graph.weight * kept, transposed_weight=graph.transposed_weight * kept[graph.reverse])


# A product is a function (graph, x float32 [nodes, dim]) -> float32 [nodes, dim]. All agree but for rounding.
Product = Callable[[Graph, Array], Array]


def compressed_rows(graph: Graph, x: Array) -> Array:
    """A product row by row: a kernel of XLA on CPU, which jax.export refuses to export."""
    nodes = x.shape[0]
    matrix = sparse.BCSR(
        (graph.weight, graph.source, graph.offsets), shape=(nodes, nodes), indices_sorted=True, unique_indices=True
    )
    return matrix @ x


def in_chunks(graph: Graph, x: Array) -> Array:
    """Gather, multiply, scatter-add, CHUNK_EDGES at a time: no array of [edges, dim]. Any platform; can be exported."""
    size = min(CHUNK_EDGES, len(graph.weight))
    missing = -len(graph.weight) % size

    def chunks(column, fill):
        return jnp.pad(column, (0, missing), constant_values=fill).reshape(-1, size)

    def add(total, chunk):
        target, source, weight = chunk
        rows = x.at[source].get(mode="promise_in_bounds") * weight[:, None]
        return total.at[target].add(rows, mode="drop", indices_are_sorted=True), None

    columns = chunks(graph.target, x.shape[0]), chunks(graph.source, 0), chunks(graph.weight, 0)
    return jax.lax.scan(add, jnp.zeros(x.shape, x.dtype), columns)[0]


def dense(graph: Graph, x: Array) -> Array:
    """A product with the whole matrix [nodes, nodes]."""
    matrix = jnp.zeros((x.shape[0], x.shape[0]), x.dtype).at[graph.target, graph.source].set(graph.weight)
    return jnp.matmul(matrix, x, precision=jax.lax.Precision.HIGHEST)


def portable(graph: Graph, x: Array) -> Array:
    """`dense` for a small graph, else `in_chunks`."""
    return (dense if x.shape[0] <= DENSE_NODES else in_chunks)(graph, x)


def by_platform(graph: Graph, x: Array) -> Array:
    """`compressed_rows` on CPU, `portable` elsewhere."""
    return jax.lax.platform_dependent(graph, x, cpu=compressed_rows, default=portable)


def own_edges(graph: Graph) -> Graph:
    """This device's share of the edges: as many as any other's, consecutive, so those of consecutive rows.

    Other rows are empty; two devices may share a row. The last share is filled up with edges of weight 0 to no row.
    """
    devices, share = parallel.num_devices(), -(-len(graph.weight) // parallel.num_devices())
    start = parallel.device_number() * share
    missing = devices * share - len(graph.weight)

    def own(column: Array, fill: int = 0) -> Array:
        return jax.lax.dynamic_slice_in_dim(jnp.pad(column, (0, missing), constant_values=fill), start, share)

    return Graph(
        offsets=jnp.clip(graph.offsets - start, 0, share),
        target=own(graph.target, len(graph.offsets) - 1),
        source=own(graph.source),
        weight=own(graph.weight),
        transposed_weight=own(graph.transposed_weight),
        reverse=graph.reverse,
    )


def propagate(graph: Graph, x: Array, product: Product = by_platform) -> Array:
    """graph @ x, float32 [nodes, dim]. The gradient is the product with the transpose; weights have none.

    Several devices multiply a share of the edges each and add up; x is the same on all of them, as are dropped edges.
    """
    return _propagate(product, graph, x.astype(jnp.float32))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _propagate(product: Product, graph: Graph, x: Array) -> Array:
    return _by_all_devices(product, graph, x)


def _by_all_devices(product: Product, graph: Graph, x: Array) -> Array:
    if parallel.per_device():
        return parallel.total(product(own_edges(graph), x))
    return (
        parallel.on_each_device(partial(_by_all_devices, product))(graph, x) if parallel.spread() else product(graph, x)
    )


def _forward(product: Product, graph: Graph, x: Array) -> tuple[Array, Graph]:
    return _by_all_devices(product, graph, x), graph


def _backward(product: Product, graph: Graph, gradient: Array) -> tuple[None, Array]:
    if parallel.per_device():  # the loss is a sum over devices, and so is the gradient: each returns its part
        return None, product(own_edges(transpose(graph)), parallel.total(gradient))
    return None, _by_all_devices(product, transpose(graph), gradient)


_propagate.defvjp(_forward, _backward)
