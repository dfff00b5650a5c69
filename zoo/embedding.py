"""Embedding tables whose lookups yield row gradients.

A recommender's batch touches a few thousand rows of millions. `Embed` therefore keeps its table outside the
differentiated parameters: it records the ids of each lookup and adds a zero perturbation to the gathered rows, so that
the gradient with respect to that perturbation IS the gradient of the rows. No array of the table's size enters
`jax.grad`.

The tables live in the linen collection "tables", the recorded ids in "lookups", the perturbations in "perturbations";
in all three an entry sits under the module's path, and a counter names the first, second, ... lookup of one table.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import traverse_util
from jax import Array

from zoo import parallel
from zoo.types import PADDING


Initializer = Callable[..., Array]

BLOCK = 2**14  # rows that an update takes at a time


class Embed(nn.Module):
    """A table of `num_rows` vectors of `dim` numbers.

    Ids outside [0, num_rows) read zeros and receive no gradient; PADDING is such an id. Real ids are checked on the
    host, when data is read. Look up outside nn.scan and let the vectors go in: a lookup inside cannot be recorded.
    """

    num_rows: int
    dim: int
    init_table: Initializer = nn.initializers.normal(0.1)
    distinct_rows: int | None = None  # at most so many different rows a step, for bags; None: as many as there are ids

    def setup(self):
        self.table = self.variable(
            "tables", "table", lambda: self.init_table(self.make_rng("params"), (self.num_rows, self.dim), jnp.float32)
        )

    def __call__(self, ids: Array) -> Array:
        """The rows at `ids`: int [*shape] -> float [*shape, dim]."""
        ids = self._known(ids)
        rows = self._rows(ids.reshape(-1)).reshape(*ids.shape, self.dim)
        return self._recorded(rows, {"ids": ids, "rows": rows})

    def peek(self, ids: Array) -> Array:
        """As a lookup, but not recorded: no row learns from it. For what is not trained, where it may stand in a
        loop."""
        return self._rows(self._known(ids).reshape(-1)).reshape(*ids.shape, self.dim)

    def bag(self, ids: Array, weight: Array) -> Array:
        """The weighted sum of a bag of rows: int [batch, length], float [batch, length] -> float [batch, dim].

        A mean is a weight of 1 / (number of entries). The pooled vector is what is perturbed, and pooling runs as a
        scan over the length: no [batch, length, dim] array exists, forward or backward.
        """
        ids = self._known(ids)

        def add(total, entry):
            entry_ids, entry_weight = entry
            return total + entry_weight[:, None] * self._rows(entry_ids), None

        zero = jnp.zeros((ids.shape[0], self.dim), self.table.value.dtype)
        total, _ = jax.lax.scan(add, zero, (ids.T, weight.T))
        return self._recorded(total, {"ids": ids, "weight": weight})

    def all(self) -> Array:
        """The whole table, float [num_rows, dim]. Its gradient is dense: the table then needs
        `row_optimizers.densely`."""
        table = parallel.gather(self.table.value) if self._is_shard() else self.table.value
        return self._recorded(table[: self.num_rows], {"whole": jnp.zeros((), jnp.int32)})

    def _rows(self, ids: Array) -> Array:
        if self._is_shard():
            return parallel.rows_of_shards(self.table.value, ids, gather)
        return gather(self.table.value, ids)

    def _known(self, ids: Array) -> Array:
        """Ids made PADDING that would be an unused row, which a table divided over devices may have after its last.

        Elsewhere ids stay the very array that came, so that lookups of the same ids in two tables can be told to be
        that; what reads and updates takes a negative one for padding too.
        """
        if self.table.value.shape[0] == self.num_rows:
            return ids
        return jnp.where(ids >= self.num_rows, PADDING, ids)

    def _is_shard(self) -> bool:
        """Whether this device holds some of the rows only. A table on one device may hold a few too many, unused."""
        return self.table.value.shape[0] < self.num_rows

    def _recorded(self, rows: Array, lookup: dict[str, Array]) -> Array:
        count = 0
        while self.has_variable("lookups", f"lookup_{count}"):
            count += 1
        if self.is_mutable_collection("lookups"):
            if self.distinct_rows is not None:
                lookup = lookup | {
                    "distinct_rows": jnp.zeros((self.distinct_rows, 0))
                }  # a static size, carried as a shape
            self.put_variable("lookups", f"lookup_{count}", lookup)
        return self.perturb(f"lookup_{count}", rows)


def gather(table: Array, ids: Array) -> Array:
    """The rows at `ids` int [n], zeros where an id is PADDING: float [n, dim].

    A product with the mask, not a fill or a select: XLA fuses a product into the gather, which alone copies short rows
    three times slower on a CPU. The barrier keeps later operations from gathering again.
    """
    known = ((ids >= 0) & (ids < table.shape[0])).astype(table.dtype)
    return jax.lax.optimization_barrier(table.at[ids].get(mode="clip") * known[:, None])


class RowGradient(NamedTuple):
    """The gradient of one table in one step. An unused entry has id num_rows, sum 0 and count 0; writes drop it."""

    ids: Array | None  # int32 [rows], distinct if `summed`; None: the whole table was looked up
    sums: Array  # float [rows, dim]; [num_rows, dim] where ids is None
    counts: Array | None  # float [rows], how often the id occurs in the batch
    values: Array | None = None  # float [rows, dim], the rows themselves where the lookup has them at hand
    distinct: Array | None = None  # int32 [], how many entries are used: the first ones


def to_collection(tables: Mapping[str, Array]) -> dict:
    """Tables by path -> the nested linen collection."""
    return traverse_util.unflatten_dict({(*path.split("/"), "table"): table for path, table in tables.items()})


def from_collection(collection: Mapping) -> dict[str, Any]:
    """The nested linen collection "tables" -> tables by module path, such as "user" or "tower/video"."""
    return {"/".join(path[:-1]): table for path, table in traverse_util.flatten_dict(dict(collection)).items()}


def lookups_by_table(lookups: Mapping, gradients: Mapping) -> dict[str, list[tuple[dict[str, Array], Array]]]:
    """Pair each recorded lookup with the gradient of its perturbation, table by table, in the order of the lookups."""
    flat_gradients = traverse_util.flatten_dict(dict(gradients))
    recorded: dict[tuple, dict[str, Any]] = {}
    for (*path, field), value in traverse_util.flatten_dict(dict(lookups)).items():
        recorded.setdefault(tuple(path), {})[field] = value
    by_table: dict[str, list] = {}
    for path in sorted(recorded, key=lambda p: (p[:-1], int(p[-1].removeprefix("lookup_")))):
        by_table.setdefault("/".join(path[:-1]), []).append((recorded[path], flat_gradients[path]))
    return by_table


def of_whole_batch(
    lookup: dict[str, Array], gradient: Array, in_batch: bool, shard_rows: int | None
) -> tuple[dict[str, Array], Array]:
    """A lookup with its gradient as the whole batch makes them, from this device's part of it.

    `in_batch`: ids differ from example to example, so those of all devices are put one after the other; else all
    devices looked up the same and their gradients add up. A device that holds `shard_rows` rows of a divided table sees
    those alone. No array of the table's size travels but the gradient of `all()`.
    """
    if "whole" in lookup and shard_rows is not None:
        missing = parallel.whole_size(shard_rows) - gradient.shape[0]
        return lookup, parallel.own_part_of_total(jnp.pad(gradient, ((0, missing), (0, 0))))
    if in_batch:
        lookup = lookup | {name: parallel.gather(lookup[name]) for name in ("ids", "weight") if name in lookup}
        gradient = parallel.gather(gradient)
    else:
        gradient = parallel.total(gradient)
    if shard_rows is not None:
        lookup = lookup | {"ids": parallel.own_rows(lookup["ids"], shard_rows)}
    return lookup, gradient


def separate_gradients(lookups: list[tuple[dict[str, Array], Array]]) -> list[RowGradient]:
    """One RowGradient a plain lookup, duplicates left in: enough for a linear rule such as SGD. Bags are not taken."""
    return [_separate_gradient(lookup["ids"], lookup["rows"], gradient) for lookup, gradient in lookups]


def _separate_gradient(ids: Array, rows: Array, gradient: Array) -> RowGradient:
    dim = gradient.shape[-1]
    # The rows read on one device are not those of ids gathered from all.
    values = rows.reshape(-1, dim) if rows.shape[:-1] == ids.shape else None
    return RowGradient(_row_or_padding(ids).reshape(-1), gradient.reshape(-1, dim), None, values)


class Duplicates(NamedTuple):
    """Where the ids of a table's lookups, one after the other, add up. An unused entry has id num_rows and count 0."""

    ids: Array  # int32 [rows], distinct: those used come first
    owner: Array  # int32 [ids], the entry of each id; out of range for padding
    counts: Array  # float [rows], how often the id occurs
    distinct: Array  # int32 [], how many entries are used


def find_duplicates(
    lookups: list[tuple[dict[str, Array], Array]], num_rows: int, slot: Array
) -> tuple[Duplicates, Array, Array]:
    """The duplicates among the ids of all lookups of a table, without a sort.

    Every occurrence writes its own position into `slot[id]` (int32 [num_rows], scratch that is never cleared);
    whichever wins names the entry where all occurrences of that id add up. The number of operations does
    not depend on num_rows.

    Returns them, the scratch, and whether more rows were touched than `distinct_rows` allows (gradients summed by them
    are then incomplete and the run must stop).
    """
    ids = jnp.concatenate([_row_or_padding(lookup["ids"]).reshape(-1) for lookup, _ in lookups])
    position = jnp.arange(len(ids), dtype=jnp.int32)
    slot = slot.at[ids].set(position, mode="drop")
    owner = slot.at[ids].get(mode="fill", fill_value=len(ids))  # where an id adds up; out of range for padding
    first = owner == position
    compact = jnp.cumsum(first, dtype=jnp.int32) - 1  # the distinct ids one after the other, so that a rule can stop
    limit = min([len(ids), *(lookup["distinct_rows"].shape[0] for lookup, _ in lookups if "distinct_rows" in lookup)])
    capacity = limit if limit <= BLOCK else -(-limit // BLOCK) * BLOCK
    owner = compact.at[owner].get(mode="fill", fill_value=capacity)
    row_ids = jnp.full((capacity,), num_rows, jnp.int32).at[jnp.where(first, owner, capacity)].set(ids, mode="drop")
    counts = jnp.zeros((capacity,), jnp.float32).at[owner].add(1.0, mode="drop")
    return Duplicates(row_ids, owner, counts, compact[-1] + 1), slot, compact[-1] >= limit


def asked(lookups: list[tuple[dict[str, Array], Array]], num_rows: int) -> tuple:
    """What the lookups of a table ask for: two tables for which this is equal have the same duplicates."""
    limits = (lookup["distinct_rows"].shape if "distinct_rows" in lookup else () for lookup, _ in lookups)
    return num_rows, *limits, *(id(lookup["ids"]) for lookup, _ in lookups)


def summed_gradient(lookups: list[tuple[dict[str, Array], Array]], duplicates: Duplicates) -> RowGradient:
    """One RowGradient a table: all its lookups together, duplicates summed once."""
    gradient = lookups[0][1]
    sums = jnp.zeros((len(duplicates.ids), gradient.shape[-1]), gradient.dtype)
    start = 0
    for lookup, gradient in lookups:
        size = lookup["ids"].size
        sums = _add_lookup(sums, lookup, gradient, duplicates.owner[start : start + size])
        start += size
    return RowGradient(duplicates.ids, sums, duplicates.counts, distinct=duplicates.distinct)


def _row_or_padding(ids: Array) -> Array:
    return jnp.where(ids < 0, PADDING, ids)


def add_rows(target: Array, lookup: dict[str, Array], gradient: Array) -> Array:
    """`target` [num_rows, dim] with the gradient of one lookup added at its rows."""
    return _add_lookup(target, lookup, gradient, _row_or_padding(lookup["ids"]).reshape(-1))


def _add_lookup(target: Array, lookup: dict[str, Array], gradient: Array, rows: Array) -> Array:
    if "weight" not in lookup:
        return target.at[rows].add(gradient.reshape(-1, gradient.shape[-1]), mode="drop")

    def add(total, entry):
        entry_rows, entry_weight = entry
        return total.at[entry_rows].add(entry_weight[:, None] * gradient, mode="drop"), None

    return jax.lax.scan(add, target, (rows.reshape(lookup["ids"].shape).T, lookup["weight"].T))[0]


def whole_gradient(lookups: list[tuple[dict[str, Array], Array]], num_rows: int) -> RowGradient:
    """The gradient of a table of which one lookup took the whole, dense; lookups by row are added to it."""
    whole = jnp.zeros((num_rows, lookups[0][1].shape[-1]), lookups[0][1].dtype)
    for lookup, gradient in lookups:
        if "whole" in lookup:
            # Not .at[:n].add, on whose scatter the compiler of jax 0.11.2 crashes under shard_map.
            whole = whole + jnp.pad(gradient, ((0, num_rows - gradient.shape[0]), (0, 0)))
        else:
            whole = add_rows(whole, lookup, gradient)
    return RowGradient(None, whole, None)


def check_lookups(tables: Collection[str], lookups: Collection[str]) -> None:
    """Raise for a table that no lookup of the objective used: it would silently never train."""
    unused = sorted(set(tables) - set(lookups))
    if unused:
        raise ValueError(
            f"table {unused[0]!r} has no recorded lookup in the objective, so it would never train:"
            " look it up through Embed, outside nn.scan, in the objective that trains it"
        )
