"""One core step on many devices: where its state lies, the wrappers that compile it, and what it asks of a whole batch.

The core step is written once, as for one device. Under `jit` it sees the whole batch and XLA divides the work; under
`shard_map` and `pmap` it runs on each device with that device's part of the batch. What concerns the whole batch goes
through `gather`, `total`, `mean`, `own_part` and `whole_size`, which do nothing where the batch is whole.

The mesh has one axis, over which the examples of a batch are divided. Tables are whole on every device, or divided by
rows over the same devices; then a lookup is a sum of what each device has, and an update touches a device's own rows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import AxisType, Mesh, NamedSharding, SingleDeviceSharding
from jax.sharding import PartitionSpec as P

from zoo.errors import InputError
from zoo.types import CARRY, PADDING, TrainState


AXIS = "data"
Wrap = Callable[..., Callable]  # (core, layout) -> step


@dataclass(frozen=True)
class Layout:
    """The devices of a run. With `shard_rows` each table of at least as many rows as devices, and its optimizer state,
    is divided by rows; then the tables are padded to a multiple of the number of devices."""

    mesh: Mesh
    shard_rows: bool = False

    @property
    def size(self) -> int:
        return self.mesh.shape[AXIS]


def layout(num_devices: int, shard_rows: bool = False) -> Layout:
    """All processes' devices, or the first `num_devices` of one process; InputError where there are fewer."""
    devices = jax.devices()
    if num_devices < 1 or num_devices > len(devices) or (jax.process_count() > 1 and num_devices != len(devices)):
        here = f"there {'is' if len(devices) == 1 else 'are'} {len(devices)} ({devices[0].platform})"
        more = '; for more virtual ones, jax.config.update("jax_num_cpu_devices", N) before anything else'
        raise InputError(
            f"{num_devices} devices asked for, but {here}" + (more if devices[0].platform == "cpu" else "")
        )
    mesh = jax.make_mesh((num_devices,), (AXIS,), axis_types=(AxisType.Auto,), devices=devices[:num_devices])
    return Layout(mesh, shard_rows)


def jit(core: Callable, layout: Layout | None = None) -> Callable:
    """Compile the core step; the state is donated, so that tables are updated in place."""
    if layout is None:
        return jax.jit(core, donate_argnums=0)

    def step(state: TrainState, batch: Mapping[str, Array], constants: Mapping[str, Any] | None = None):
        with jax.sharding.use_abstract_mesh(layout.mesh.abstract_mesh):
            batch = jax.lax.with_sharding_constraint(dict(batch), P(AXIS))
            state, metrics = core(state, batch, constants)
            return jax.lax.with_sharding_constraint((state, metrics), (specs(state, layout), P()))

    return jax.jit(step, donate_argnums=0)


def shard_map(core: Callable, layout: Layout) -> Callable:
    """The core step on each device, with explicit collectives."""

    def step(state: TrainState, batch: Mapping[str, Array], constants: Mapping[str, Any] | None = None):
        held = specs(state, layout)
        # Gradients mean what they mean in pmap: check_vma=True would scale those of replicated weights.
        each = jax.shard_map(
            core, mesh=layout.mesh, in_specs=(held, P(AXIS), P()), out_specs=(held, P()), check_vma=False
        )
        return each(state, dict(batch), dict(constants or {}))

    return jax.jit(step, donate_argnums=0)


def pmap(core: Callable, layout: Layout) -> Callable:
    """The same by jax.pmap, which JAX itself builds from jit and shard_map; one process only."""
    if jax.process_count() > 1:
        raise InputError("mode pmap runs in one process: take jit or shard_map")

    def step(state: TrainState, batch: Mapping[str, Array], constants: Mapping[str, Any] | None = None):
        by_rows = jax.tree.map(lambda spec: spec == P(AXIS), specs(state, layout))
        axes = jax.tree.map(lambda divided: 0 if divided else None, by_rows)

        def resized(state: TrainState, change: Callable[[Array], Array]) -> TrainState:
            return jax.tree.map(lambda divided, leaf: change(leaf) if divided else leaf, by_rows, state)

        def divided(x):
            return x.reshape(layout.size, -1, *x.shape[1:])

        devices = list(layout.mesh.devices.flat)
        mapped = jax.pmap(core, AXIS, in_axes=(axes, 0, None), out_axes=(axes, None), devices=devices)
        state, metrics = mapped(resized(state, divided), jax.tree.map(divided, dict(batch)), dict(constants or {}))
        return resized(state, lambda x: x.reshape(-1, *x.shape[2:])), metrics

    return jax.jit(step, donate_argnums=0)


# What the core step asks. Each is the identity where the batch is whole on one device.


def per_device() -> bool:
    """Whether this code is traced for one device's part of the batch."""
    try:
        jax.lax.axis_size(AXIS)
    except NameError:
        return False
    return True


def spread() -> bool:
    """Whether the batch is divided over devices, by XLA or by hand."""
    return per_device() or AXIS in jax.sharding.get_abstract_mesh().axis_names


def num_devices() -> int:
    """How many devices share a batch of which each has its part."""
    return jax.lax.axis_size(AXIS) if per_device() else 1


def device_number() -> Any:
    """Which of them this one is, from 0."""
    return jax.lax.axis_index(AXIS) if per_device() else 0


def on_each_device(function: Callable) -> Callable:
    """For work that the devices of `jit` divide by hand: `function` runs on each, on the same arguments, and its result
    is the same on all."""
    mesh = jax.sharding.get_abstract_mesh()
    return jax.shard_map(function, mesh=mesh, in_specs=P(), out_specs=P(), check_vma=False)


def summed_over_parts(function: Callable) -> Callable:
    """For sums over a batch that `jit` divides: `function` runs on each device, on its part of each argument's rows."""
    mesh = jax.sharding.get_abstract_mesh()
    each = jax.shard_map(
        lambda *parts: total(function(*parts)), mesh=mesh, in_specs=P(AXIS), out_specs=P(), check_vma=False
    )
    return each


def whole_size(size: int) -> int:
    """The size of the whole batch, given that of this device's part."""
    return size * num_devices()


def gather(part: Array) -> Array:
    """The whole batch [batch, ...] on every device, from the part [batch / devices, ...] of each. Differentiable."""
    if per_device():
        return jax.lax.all_gather(part, AXIS, tiled=True)
    return jax.lax.with_sharding_constraint(part, P()) if spread() else part


def own_part(whole: Array) -> Array:
    """This device's part [batch / devices, ...] of values of the whole batch, such as global random draws."""
    if not per_device():
        return whole
    size = whole.shape[0] // jax.lax.axis_size(AXIS)
    return jax.lax.dynamic_slice_in_dim(whole, jax.lax.axis_index(AXIS) * size, size)


def total(part: Any) -> Any:
    """A tree summed over devices of what each found for its part of the batch."""
    return jax.lax.psum(part, AXIS) if per_device() else part


def own_part_of_total(whole: Array) -> Array:
    """This device's part of the rows [rows / devices, ...] of a sum over devices."""
    return jax.lax.psum_scatter(whole, AXIS, tiled=True)


def mean(part: Any) -> Any:
    """A tree averaged over devices, such as the statistics of a batch; counts, being whole numbers, are left alone."""
    if not per_device():
        return part
    return jax.tree.map(lambda x: jax.lax.pmean(x, AXIS) if jnp.issubdtype(x.dtype, jnp.floating) else x, part)


def own_key(key: Array) -> Array:
    """A key of this device's own, for draws that have no global form, such as dropout."""
    return jax.random.fold_in(key, jax.lax.axis_index(AXIS)) if per_device() else key


def rows_of_shards(shard: Array, ids: Array, read: Callable[[Array, Array], Array]) -> Array:
    """The rows at this device's `ids` [n] of a table divided by rows, of which `shard` is its part: [n, dim].

    Every device answers for its own rows with `read(shard, ids)`, zeros for other rows, and the answers add up. The
    traffic is that of the ids of the whole batch and their rows.
    """
    whole = gather(ids)
    return own_part_of_total(read(shard, own_rows(whole, shard.shape[0])))


def own_rows(ids: Array, shard_rows: int) -> Array:
    """Row numbers of a table -> those of this device's shard, PADDING for rows of other devices."""
    local = ids - jax.lax.axis_index(AXIS) * shard_rows
    return jnp.where((local >= 0) & (local < shard_rows), local, PADDING)


# Where the state lies.


def padded_rows(rows: int, layout: Layout | None) -> int:
    """How many rows a table of `rows` takes, so that it can be divided."""
    if layout is None or not layout.shard_rows or rows < layout.size:
        return rows
    return -(-rows // layout.size) * layout.size


def specs(state: TrainState, layout: Layout) -> TrainState:
    """PartitionSpec of each leaf: tables and their optimizer state by rows if the layout says so, what is carried from
    batch to batch as the batch, the rest whole."""
    whole = jax.tree.map(lambda leaf: P(), state)
    if CARRY in state.model_state:
        divided = jax.tree.map(lambda leaf: P(AXIS), state.model_state[CARRY])
        whole = whole.replace(model_state={**whole.model_state, CARRY: divided})
    if not layout.shard_rows:
        return whole

    def by_rows(name: str, leaf: Array) -> P:
        rows = state.tables[name].shape[0]
        return P(AXIS) if leaf.ndim and leaf.shape[0] == rows and rows % layout.size == 0 else P()

    return whole.replace(
        tables={name: by_rows(name, table) for name, table in state.tables.items()},
        row_state={
            name: jax.tree.map(lambda leaf, name=name: by_rows(name, leaf), held)
            for name, held in state.row_state.items()
        },
    )


def shardings(state: TrainState, layout: Layout | None) -> TrainState:
    """The sharding of each leaf of a state; without a layout all lie on the first device."""
    if layout is None:
        one = SingleDeviceSharding(jax.local_devices()[0])
        return jax.tree.map(lambda leaf: one, state)
    return jax.tree.map(
        lambda spec: NamedSharding(layout.mesh, spec), specs(state, layout), is_leaf=lambda x: isinstance(x, P)
    )


def on_every_device(values: Any, layout: Layout | None) -> Any:
    """Host arrays on the devices, whole on each."""
    if layout is None:
        return jax.tree.map(jnp.asarray, values)
    return jax.device_put(values, NamedSharding(layout.mesh, P()))


def abstract(state: TrainState, layout: Layout | None) -> TrainState:
    """Shape, type and sharding of each leaf."""
    placed = shardings(state, layout)
    return jax.tree.map(lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), state, placed)


def on_one_device(state: TrainState, shapes: TrainState) -> TrainState:
    """A state gathered onto this process's first device, for evaluation and recommendation; padded rows are left out.

    `shapes` is the state without a layout.
    """
    one = jax.local_devices()[0]

    def whole(leaf: Array, like: Array) -> Array:
        if leaf.is_fully_addressable:
            leaf = jax.device_put(leaf, one)
        elif leaf.is_fully_replicated:
            leaf = leaf.addressable_data(0)
        else:
            from jax.experimental import multihost_utils

            leaf = jnp.asarray(multihost_utils.process_allgather(leaf, tiled=True))
        return leaf if leaf.shape == like.shape else leaf[: like.shape[0]]

    return jax.tree.map(whole, state, shapes)
