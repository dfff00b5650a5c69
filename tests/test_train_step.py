"""The one train step: its arithmetic, and that its cost does not grow with the tables."""

from functools import cache, partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from zoo import names, optimizers, row_optimizers, train_step
from zoo.embedding import Embed
from zoo.errors import InputError
from zoo.optimizers import Optimizer
from zoo.train_step import core_step, init_state, make_train_step, scan_steps, take_rows
from zoo.types import PADDING


USERS, ITEMS, DIM, BATCH = 7, 5, 3, 6
COLUMNS = {
    "user": np.array([0, 1, 1, 2, 6, 1, 4, 0, 3, 5], np.int32),
    "item": np.array([3, 3, 0, 1, 4, 3, 2, 2, 1, 0], np.int32),
    "label": np.array([1, -1, 2, 0, 1, 0, -2, 1, 3, 1], np.float32),
    "weight": np.array([1, 2, 0.5, 1, 0, 3, 1, 1, 2, 1], np.float32),
}
ORDER = np.array([[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, -1, -1]], np.int32)


class Tiny(nn.Module):
    """Two tables and dense weights; a Scorer."""

    num_users: int = USERS
    dim: int = DIM

    def setup(self):
        init = nn.initializers.normal(0.5)
        self.user, self.item = Embed(self.num_users, self.dim, init), Embed(ITEMS, self.dim, init)
        self.output = nn.Dense(1)

    def __call__(self, batch):
        return self.output(jnp.tanh(self.user(batch["user"]) * self.item(batch["item"])))[:, 0]


def squared_error(model, batch, key):
    return (model(batch) - batch["label"]) ** 2


def plain_loss(params, tables, batch):
    """sum(weight * mask * loss) / sum(mask), written as a function of the tables."""
    real = batch["mask"] > 0
    user = tables["user"][jnp.where(real, batch["user"], 0)]
    item = tables["item"][jnp.where(real, batch["item"], 0)]
    output = jnp.tanh(user * item) @ params["output"]["kernel"][:, 0] + params["output"]["bias"]
    losses = (output - batch["label"]) ** 2
    return jnp.sum(batch["weight"] * batch["mask"] * losses) / jnp.sum(batch["mask"])


def columns():
    return {name: jnp.asarray(column) for name, column in COLUMNS.items()}


def batch_of(index):
    return take_rows(columns(), jnp.asarray(index, jnp.int32))


def start(optimizer, model=Tiny(), batch=None):  # noqa: B008
    return init_state(model, squared_error, optimizer, batch or batch_of(ORDER[0]), jax.random.key(0))


@cache
def start_sgd():
    return start(optimizers.sgd(1.0))


def one_step(optimizer, state, batch, model=Tiny()):  # noqa: B008
    return jax.jit(partial(core_step, model, squared_error, optimizer))(state, batch)


def moved(optimizer, batch):
    """The weights and tables before one step of a kind of SGD, and what the step takes from them."""
    state = start_sgd()
    after, _ = one_step(optimizer, state, batch)
    before = {"params": state.params, "tables": state.tables}
    return before, jax.tree.map(jnp.subtract, before, {"params": after.params, "tables": after.tables})


def plain_gradient(before, batch):
    gradient = jax.grad(plain_loss, (0, 1))(before["params"], before["tables"], batch)
    return dict(zip(("params", "tables"), gradient))


def assert_close(got, want, tolerance=1e-6):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), got, want)


def test_take_rows():
    batch = batch_of([2, -1, 9])
    assert batch["user"].tolist() == [1, PADDING, 5]
    assert batch["item"].tolist() == [0, PADDING, 0]
    assert batch["label"].tolist() == [2, 0, 1]
    assert batch["mask"].tolist() == [1, 0, 1]


def test_weight_and_mask():
    """Two of six examples are padding: the loss and its gradient are over the other four, weights in the sum only."""
    batch = batch_of(ORDER[1])
    before, change = moved(optimizers.sgd(1.0), batch)
    assert_close(change, plain_gradient(before, batch))
    state = start_sgd()
    metrics = one_step(optimizers.sgd(1.0), state, batch)[1]
    assert metrics["num_examples"] == 4
    np.testing.assert_allclose(metrics["loss_sum"] / 4, plain_loss(state.params, state.tables, batch), rtol=1e-6)


def test_without_mask_and_weight_the_loss_is_the_mean():
    batch = {name: column[:6] for name, column in columns().items() if name != "weight"}
    state = start_sgd()
    metrics = one_step(optimizers.sgd(1.0), state, batch)[1]
    want = plain_loss(state.params, state.tables, batch | {"mask": jnp.ones(6), "weight": jnp.ones(6)})
    np.testing.assert_allclose(metrics["loss_sum"] / metrics["num_examples"], want, rtol=1e-6)


@pytest.mark.parametrize("max_norm", [0.1, 100.0])
def test_clip_by_global_norm(max_norm):
    """One norm over dense weights and tables, duplicates summed first, as optax has it on dense gradients."""
    batch = batch_of(ORDER[0])
    clip = optimizers.clip_by_global_norm(max_norm)
    before, change = moved(optimizers.sgd(1.0)._replace(transforms=(clip,)), batch)
    gradient = plain_gradient(before, batch)
    want, _ = optax.clip_by_global_norm(max_norm).update(gradient, optax.EmptyState())
    assert (optax.tree.norm(gradient) > max_norm) == (max_norm < 1)
    assert_close(change, want)


def occurrences(ids, num_rows):
    return np.bincount(ids[ids < num_rows], minlength=num_rows)[:, None]


def test_l2_touched_rows():
    """strength * w once for a row however often it occurs: user 1 and item 3 occur three times."""
    batch = batch_of(ORDER[0])
    before, change = moved(optimizers.sgd(1.0)._replace(transforms=(optimizers.l2_touched_rows(0.1),)), batch)
    want = plain_gradient(before, batch)
    for table, num_rows in (("user", USERS), ("item", ITEMS)):
        touched = occurrences(np.asarray(batch[table]), num_rows) > 0
        want["tables"][table] += 0.1 * touched * before["tables"][table]
    assert_close(change, want)


@pytest.mark.parametrize("linear", [True, False])
def test_l2_each_lookup(linear):
    """strength * occurrences / examples * w, whether lookups are taken one by one or summed."""
    batch = batch_of(ORDER[1])
    rows = row_optimizers.sgd(1.0)._replace(linear=linear)
    optimizer = Optimizer(optax.sgd(1.0), rows, transforms=(optimizers.l2_each_lookup(0.1),))
    before, change = moved(optimizer, batch)
    want = plain_gradient(before, batch)
    for table, num_rows in (("user", USERS), ("item", ITEMS)):
        want["tables"][table] += 0.1 * occurrences(np.asarray(batch[table]), num_rows) / 4 * before["tables"][table]
    assert_close(change, want)


def test_summed_over_examples():
    batch = batch_of(ORDER[1])
    before, change = moved(optimizers.sgd(0.5)._replace(transforms=(optimizers.summed_over_examples(),)), batch)
    assert_close(change, jax.tree.map(lambda g: 0.5 * 4 * g, plain_gradient(before, batch)))


def test_transforms_apply_in_order():
    """sgd_each_example: each example moves its rows by rate * (its gradient + l2 * w)."""
    batch = batch_of(ORDER[0])
    before, change = moved(optimizers.sgd_each_example(0.5, l2=0.1), batch)
    want = jax.tree.map(lambda g: 0.5 * 6 * g, plain_gradient(before, batch))
    for table, num_rows in (("user", USERS), ("item", ITEMS)):
        want["tables"][table] += 0.5 * 0.1 * occurrences(np.asarray(batch[table]), num_rows) * before["tables"][table]
    assert_close(change, want)


def test_a_table_may_have_its_own_rule():
    batch = batch_of(ORDER[0])
    optimizer = optimizers.sgd(1.0)._replace(by_table={"item": row_optimizers.sgd(0.0)})
    before, change = moved(optimizer, batch)
    assert_close(change["tables"]["user"], plain_gradient(before, batch)["tables"]["user"])
    assert not change["tables"]["item"].any()


def test_an_empty_batch_changes_no_table_and_has_loss_0():
    batch = batch_of(ORDER[0])
    empty = batch_of([-1] * BATCH)

    def before_and_after(name):
        optimizer = names.OPTIMIZERS[name](0.1)
        state = start(optimizer, batch=batch)
        return state, *core_step(Tiny(), squared_error, optimizer, state, empty)

    kinds = ["adagrad", "adamw", "rowwise_adagrad", "rowwise_adam", "sgd_each_example", "dense_sgd"]
    for state, after, metrics in jax.jit(lambda: [before_and_after(name) for name in kinds])():
        assert metrics["loss_sum"] == 0 and metrics["num_examples"] == 0
        assert np.array_equal(after.tables["user"], state.tables["user"])
        assert np.array_equal(after.tables["item"], state.tables["item"])
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after.params))


def test_scan_steps_equals_steps_one_by_one_bit_for_bit():
    optimizer = optimizers.adam(0.1)
    step = make_train_step(Tiny(), squared_error, optimizer)
    order = np.concatenate([ORDER, ORDER[:, ::-1]])
    state, losses = start(optimizer), []
    for index in order:
        state, metrics = step(state, batch_of(index), {})
        losses.append(metrics["loss_sum"])
    for take in (None, take_rows):  # all batches before the first step, and each within its own
        scanned, metrics = scan_steps(step, take)(start(optimizer), {}, columns(), jnp.asarray(order))
        assert metrics["loss_sum"].tolist() == [float(loss) for loss in losses]
        same = jax.tree.map(lambda a, b: np.array_equal(a, b), plain(state), plain(scanned))
        assert all(jax.tree.leaves(same)), same


def plain(state):
    return state.replace(key=jax.random.key_data(state.key))


def test_learning_rates_in_one_vmap():
    """A whole run for each of several rates at once, equal to the runs one by one."""

    def end(rate):
        optimizer = optimizers.adam(rate)
        state = start(optimizer, batch=batch)
        step = partial(core_step, Tiny(), squared_error, optimizer)
        state, _ = jax.lax.scan(
            lambda state, index: step(state, take_rows(columns(), index)), state, jnp.asarray(ORDER)
        )
        return state.params, state.tables

    batch = batch_of(ORDER[0])
    rates = jnp.array([0.01, 0.1])
    together, singles = jax.jit(lambda: (jax.vmap(end)(rates), [end(rate) for rate in (0.01, 0.1)]))()
    assert_close(together, jax.tree.map(lambda *leaves: jnp.stack(leaves), *singles))


BY_ROWS = ["sgd", "sgd_each_example", "adagrad", "rowwise_adagrad", "rowwise_adam", "adam", "adamw"]


def compiled_scan(name, num_users, dim=16):
    """A scan of two steps, compiled for shapes alone: no table is allocated."""
    model, optimizer = Tiny(num_users, dim), names.OPTIMIZERS[name](0.1)
    state = jax.eval_shape(lambda: start(optimizer, model, batch_of(ORDER[0])))
    step = make_train_step(model, squared_error, optimizer)
    return scan_steps(step).lower(state, {}, columns(), jnp.asarray(ORDER)).compile(), state


@pytest.mark.parametrize("name", BY_ROWS)
def test_cost_does_not_hold_a_table(name):
    """The state is updated in place, and no temporary comes near the size of a table of 64 MB."""
    compiled, state = compiled_scan(name, 1_000_000)
    memory = compiled.memory_analysis()
    table = state.tables["user"].size * 4
    held = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves((state.tables, state.row_state)))
    assert memory.alias_size_in_bytes >= held >= table
    assert memory.temp_size_in_bytes < table / 1000


def test_dense_optimizers_do_hold_a_table():
    """What the bound above would say of a dense update."""
    compiled, state = compiled_scan("dense_adam", 1_000_000)
    assert compiled.memory_analysis().temp_size_in_bytes > state.tables["user"].size * 4 / 1000


def test_a_donated_step_leaves_the_tables_where_they_are():
    optimizer = optimizers.adagrad(0.1)
    state = start(optimizer)
    step = make_train_step(Tiny(), squared_error, optimizer)
    places = {name: table.unsafe_buffer_pointer() for name, table in state.tables.items()}
    after, _ = step(state, batch_of(ORDER[0]), {})
    assert {name: table.unsafe_buffer_pointer() for name, table in after.tables.items()} == places
    assert state.tables["user"].is_deleted()


def test_memory_is_checked_before_it_is_taken(monkeypatch):
    """10 million x 100 float32 take 3.7 GiB, and again for Adagrad's accumulator; 1 GiB is free."""
    monkeypatch.setattr(train_step, "available_bytes", lambda: 2**30)
    monkeypatch.setattr(jax, "jit", lambda *_, **__: pytest.fail("something was compiled, so allocated"))
    message = r"7\.5 GiB, of them 3\.7 GiB for table 'user' of \(10000000, 100\), but 1\.0 GiB are free"
    with pytest.raises(InputError, match=message):
        start(optimizers.adagrad(0.1), Tiny(10_000_000, 100), batch_of(ORDER[0]))


def test_init_state_takes_shapes():
    """Shapes in place of a batch lead to the same state."""
    batch = batch_of(ORDER[0])
    shapes = {name: jax.ShapeDtypeStruct(column.shape, column.dtype) for name, column in batch.items()}
    optimizer = optimizers.adagrad(0.1)
    same = jax.tree.map(np.array_equal, plain(start(optimizer, batch=batch)), plain(start(optimizer, batch=shapes)))
    assert all(jax.tree.leaves(same))
