"""Row gradients against the dense gradient: jax.grad of a plain function of the table."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.helpers import summed_once
from zoo import embedding, row_optimizers
from zoo.embedding import Embed
from zoo.optimizers import Optimizer
from zoo.train_step import core_step, init_state
from zoo.types import PADDING


ROWS, DIM = 9, 4
BATCH = {
    "user": jnp.array(
        [[3, 1], [3, 8], [0, PADDING], [3, 3], [ROWS, 5]], jnp.int32
    ),  # repeats, and ids beyond the table
    "item": jnp.array([1, 3, PADDING, 7, 1], jnp.int32),
    "label": jnp.array([0.3, -1.2, 0.7, 2.0, 0.1]),
}
BAG_WEIGHT = jnp.array([[0.5, 0.5], [1.0, 2.0], [1.0, 0.0], [0.3, 0.7], [1.0, 1.0]])
SGD = row_optimizers.sgd(1.0)
RULES = {  # a rate of 1: what a step takes from the table is the gradient
    "separate": SGD,
    "summed": SGD._replace(linear=False),
    "densely": row_optimizers.densely(optax.sgd(1.0)),
}


class OneTable(nn.Module):
    distinct_rows: int | None = None

    def setup(self):
        self.table = Embed(ROWS, DIM, nn.initializers.normal(0.5), self.distinct_rows)


def read(table, ids):
    """The plain form of a lookup: zeros beyond the table."""
    inside = (ids >= 0) & (ids < len(table))
    return jnp.where(inside[..., None], table[jnp.clip(ids, 0, len(table) - 1)], 0.0)


def by_rows(model, objective, rules=("separate", "summed", "densely"), batch=BATCH):
    """The state before the step; by rule the gradients of (weights, tables) as a step applies them, and the metrics."""
    optimizers = {rule: Optimizer(optax.sgd(1.0), RULES[rule]) for rule in rules}
    state = init_state(model, objective, optimizers[rules[0]], batch, jax.random.key(0))
    (name, table), *_ = state.tables.items()

    def gradients(optimizer):
        row_state = {name: {"slot": jnp.full(ROWS, 77, jnp.int32), "rule": optimizer.rows.init(table)}}  # old scratch
        after, metrics = core_step(model, objective, optimizer, state.replace(row_state=row_state), batch)
        return jax.tree.map(jnp.subtract, (state.params, state.tables), (after.params, after.tables)), metrics

    return state, jax.jit(lambda: {rule: gradients(optimizer) for rule, optimizer in optimizers.items()})()


def assert_equal_gradient(objective, plain, rules=("separate", "summed", "densely"), model=None):
    """One step's gradient against jax.grad of plain(table) -> losses, under each way to update."""
    state, found = by_rows(model or OneTable(), objective, rules)
    loss_sum, dense = jax.jit(jax.value_and_grad(lambda t: plain(t).sum()))(state.tables["table"])
    assert np.abs(dense).max() > 1e-3
    for rule, ((_, tables), metrics) in found.items():
        np.testing.assert_allclose(metrics["loss_sum"], loss_sum, rtol=1e-5)
        np.testing.assert_allclose(tables["table"], dense / len(BATCH["label"]), atol=1e-6, err_msg=rule)


def squared(vectors, label):
    return (jnp.sum(jnp.sin(vectors), -1) - label) ** 2


def test_two_lookups_of_one_table():
    def objective(model, batch, key):
        user, item = model.table(batch["user"]), model.table(batch["item"])
        return squared(user[:, 0] * user[:, 1] + item, batch["label"])

    def plain(table):
        user, item = read(table, BATCH["user"]), read(table, BATCH["item"])
        return squared(user[:, 0] * user[:, 1] + item, BATCH["label"])

    assert_equal_gradient(objective, plain)


def test_weight_tying():
    """The table that reads the input scores the output: all rows at once, with a plain lookup beside it."""

    def objective(model, batch, key):
        hidden = jnp.tanh(model.table(batch["item"]))
        return jax.nn.logsumexp(hidden @ model.table.all().T, -1)

    def plain(table):
        return jax.nn.logsumexp(jnp.tanh(read(table, BATCH["item"])) @ table.T, -1)

    assert_equal_gradient(objective, plain, rules=["densely"])


def test_weight_tying_by_rows():
    """As above with the output scored on the rows of the batch only."""

    def objective(model, batch, key):
        hidden = jnp.tanh(model.table(batch["item"]))
        return jax.nn.logsumexp(hidden @ model.table(batch["user"][:, 0]).T, -1)

    def plain(table):
        return jax.nn.logsumexp(jnp.tanh(read(table, BATCH["item"])) @ read(table, BATCH["user"][:, 0]).T, -1)

    assert_equal_gradient(objective, plain)


def test_bag_and_plain_lookups():
    """A weighted bag between two plain lookups of the same table."""

    def objective(model, batch, key):
        item = model.table(batch["item"])
        bag = model.table.bag(batch["user"], BAG_WEIGHT)
        return squared(item * bag + model.table(batch["user"][:, 1]), batch["label"])

    def plain(table):
        bag = jnp.einsum("bl,bld->bd", BAG_WEIGHT, read(table, BATCH["user"]))
        return squared(read(table, BATCH["item"]) * bag + read(table, BATCH["user"][:, 1]), BATCH["label"])

    assert_equal_gradient(objective, plain)


def test_bag_reads_the_weighted_sum():
    table = jnp.arange(ROWS * DIM, dtype=jnp.float32).reshape(ROWS, DIM)
    variables = {"tables": {"table": table}}
    bag = Embed(ROWS, DIM).apply(variables, BATCH["user"], BAG_WEIGHT, method="bag")
    assert bag[1].tolist() == (1.0 * table[3] + 2.0 * table[8]).tolist()
    assert bag[2].tolist() == table[0].tolist()


def test_whole_table_and_bag():
    def objective(model, batch, key):
        bag = model.table.bag(batch["user"], BAG_WEIGHT)
        return jax.nn.logsumexp(bag @ model.table.all().T, -1)

    def plain(table):
        bag = jnp.einsum("bl,bld->bd", BAG_WEIGHT, read(table, BATCH["user"]))
        return jax.nn.logsumexp(bag @ table.T, -1)

    assert_equal_gradient(objective, plain, rules=["densely"])


class Tower(nn.Module):
    @nn.compact
    def __call__(self, vectors):
        return nn.Dense(DIM, name="second")(jnp.tanh(nn.Dense(DIM, name="first")(vectors)))


class WithTower(nn.Module):
    """Looks up outside and hands the vectors to a remat tower."""

    def setup(self):
        self.table = Embed(ROWS, DIM, nn.initializers.normal(0.5))
        self.tower = nn.remat(Tower)()

    def __call__(self, batch):
        return self.tower(self.table(batch["item"])) * self.table(batch["user"][:, 0])


class WithCell(nn.Module):
    """Looks up a whole sequence outside and scans a recurrent cell over the vectors."""

    def setup(self):
        self.table = Embed(ROWS, DIM, nn.initializers.normal(0.5))
        scan = nn.scan(nn.SimpleCell, variable_broadcast="params", split_rngs={"params": False}, in_axes=1, out_axes=1)
        self.cell = scan(DIM)

    def __call__(self, batch):
        vectors = self.table(batch["user"])
        return self.cell(jnp.zeros((len(vectors), DIM)), vectors)[0] * self.table(batch["item"])


def plain_tower(params, table):
    first, second = params["tower"]["first"], params["tower"]["second"]
    hidden = jnp.tanh(read(table, BATCH["item"]) @ first["kernel"] + first["bias"][None])
    return (hidden @ second["kernel"] + second["bias"][None]) * read(table, BATCH["user"][:, 0])


def plain_cell(params, table):
    into, again = params["cell"]["i"], params["cell"]["h"]
    carry = jnp.zeros((len(BATCH["item"]), DIM))
    for place in range(2):
        vectors = read(table, BATCH["user"][:, place])
        carry = jnp.tanh(vectors @ into["kernel"] + into["bias"][None] + carry @ again["kernel"])
    return carry * read(table, BATCH["item"])


@pytest.mark.parametrize(
    ("model", "plain"), [(WithTower(), plain_tower), (WithCell(), plain_cell)], ids=["remat", "scan"]
)
def test_vectors_go_through_a_transform(model, plain):
    """Gradients of the table and of the dense weights, with nn.remat and nn.scan around looked-up vectors."""

    def objective(model, batch, key):
        return squared(model(batch), batch["label"])

    state, found = by_rows(model, objective, ["summed"])
    want = jax.grad(lambda p, t: squared(plain(p, t["table"]), BATCH["label"]).mean(), (0, 1))(
        state.params, state.tables
    )
    jax.tree.map(lambda got, wanted: np.testing.assert_allclose(got, wanted, atol=1e-6), found["summed"][0], want)


def test_ids_out_of_range_read_zero_and_get_no_gradient():
    batch = {"item": jnp.array([ROWS, PADDING, -1, -ROWS, -ROWS - 1], jnp.int32), "label": jnp.ones(5)}

    def objective(model, batch, key):
        vectors = model.table(batch["item"])
        bag = model.table.bag(batch["item"][:, None], jnp.ones((5, 1)))
        return jnp.sum(jnp.exp(vectors) + jnp.exp(bag), -1)

    for (_, tables), metrics in by_rows(OneTable(), objective, batch=batch)[1].values():
        assert metrics["loss_sum"] == 2 * 5 * DIM  # exp(0) everywhere
        assert not tables["table"].any()


class TwoTables(nn.Module):
    def setup(self):
        self.table, self.weight = Embed(ROWS, DIM, nn.initializers.normal(0.5)), Embed(ROWS, 1, nn.initializers.ones)


@pytest.mark.parametrize(("other", "searches"), [("user", 1), ("item", 2)])
def test_tables_that_look_up_the_same_ids_share_the_search_for_duplicates(other, searches, monkeypatch):
    """Each table ends as with a dense gradient, whether the ids of the two are the same or not."""
    calls, find = [], embedding.find_duplicates
    monkeypatch.setattr(embedding, "find_duplicates", lambda *given: calls.append(given) or find(*given))

    def objective(model, batch, key):
        return (
            squared(jnp.sum(model.table(batch["user"]), 1), batch["label"])
            + model.weight(batch[other]).reshape(len(batch["label"]), -1).sum(1) ** 2
        )

    optimizers = [Optimizer(optax.sgd(1.0), RULES[rule]) for rule in ("summed", "densely")]
    found = []
    for optimizer in optimizers:
        state = init_state(TwoTables(), objective, optimizer, BATCH, jax.random.key(0))
        calls.clear()
        found.append(core_step(TwoTables(), objective, optimizer, state, BATCH)[0].tables)
        assert len(calls) == searches
    for name, table in found[0].items():
        np.testing.assert_allclose(table, found[1][name], atol=1e-6)


@pytest.mark.parametrize("capacity", [3, 5, 100])
def test_distinct_rows(capacity):
    """The rows of the batch are 0, 1, 3, 5, 7 and 8: a capacity of 6 holds them, a smaller one says so."""
    lookups = [({"ids": BATCH["user"], "weight": BAG_WEIGHT}, _gradient(5)), ({"ids": BATCH["item"]}, _gradient(5) + 1)]
    slot = jnp.full(ROWS, 77, jnp.int32)  # whatever an earlier step left there
    free, _, _ = summed_once(lookups, ROWS, slot)
    lookups[0][0]["distinct_rows"] = jnp.zeros((capacity, 0))
    limited, _, overflow = summed_once(lookups, ROWS, slot)
    assert bool(overflow) == (capacity < 6)
    assert len(limited.ids) == min(capacity, 15)
    if not overflow:
        np.testing.assert_allclose(_scattered(limited), _scattered(free), atol=1e-6)


def test_distinct_rows_exactly_enough():
    lookups = [({"ids": BATCH["item"], "distinct_rows": jnp.zeros((3, 0))}, _gradient(5))]
    limited, _, overflow = summed_once(lookups, ROWS, jnp.zeros(ROWS, jnp.int32))
    assert not overflow
    assert sorted(limited.ids.tolist()) == [1, 3, 7]
    assert sorted(limited.counts.tolist()) == [1, 1, 2]
    sums = dict(zip(limited.ids.tolist(), limited.sums.tolist()))
    given = _gradient(5)
    assert sums == {1: (given[0] + given[4]).tolist(), 3: given[1].tolist(), 7: given[3].tolist()}


def test_overflow_reaches_the_metrics():
    def objective(model, batch, key):
        return squared(model.table.bag(batch["user"], BAG_WEIGHT), batch["label"])

    for capacity, overflows in ((4, True), (5, False)):  # the bags hold 0, 1, 3, 5 and 8
        _, found = by_rows(OneTable(distinct_rows=capacity), objective, ["summed"])
        assert bool(found["summed"][1]["overflow"]) == overflows


def _gradient(size):
    return jnp.asarray(np.random.default_rng(size).normal(size=(size, DIM)).astype(np.float32))


def _scattered(gradient):
    columns = jnp.concatenate([gradient.sums, gradient.counts[:, None]], axis=1)
    return jnp.zeros((ROWS, DIM + 1)).at[gradient.ids].add(columns, mode="drop")


class LookupInsideScan(nn.Module):
    def setup(self):
        def body(cell, carry, ids):
            return carry + cell.inner(ids), None

        self.inner = Embed(ROWS, DIM)
        self.scan = nn.scan(body, variable_broadcast=("params", "tables"), split_rngs={"params": False}, in_axes=1)

    def __call__(self, batch):
        return self.scan(self, jnp.zeros((len(batch["item"]), DIM)), batch["user"])[0]


class NeverLookedUp(nn.Module):
    def setup(self):
        self.used, self.forgotten = Embed(ROWS, DIM), Embed(ROWS, DIM)

    def __call__(self, batch):
        self.forgotten.table  # noqa: B018  the table exists, and is read behind Embed's back
        return self.used(batch["item"])


@pytest.mark.parametrize(("model", "table"), [(LookupInsideScan(), "inner"), (NeverLookedUp(), "forgotten")])
def test_a_table_without_recorded_lookup_is_refused_by_name(model, table):
    def objective(model, batch, key):
        return squared(model(batch), batch["label"])

    with pytest.raises(ValueError, match=f"table '{table}' has no recorded lookup"):
        init_state(model, objective, Optimizer(optax.sgd(1.0), SGD), BATCH, jax.random.key(0))
