"""Optimizers by rows against dense optax, and where they are not meant to be equal against a loop over rows."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

from tests.helpers import summed_once
from zoo import optimizers, row_optimizers
from zoo.embedding import BLOCK, RowGradient
from zoo.errors import InputError
from zoo.types import PADDING


ROWS, DIM, IDS, STEPS = 12, 3, 8, 50
RNG = np.random.default_rng(0)
TABLE = RNG.normal(size=(ROWS, DIM)).astype(np.float32)
LOOKUPS = RNG.choice([*range(ROWS - 2), PADDING], size=(STEPS, IDS)).astype(np.int32)  # the last two rows: never
GRADIENTS = RNG.normal(size=(STEPS, IDS, DIM)).astype(np.float32)
NEVER = slice(ROWS - 2, ROWS)


def trained(rule, table=TABLE, ids=LOOKUPS, gradients=GRADIENTS):
    """The table after all steps, each step's duplicates summed as the train step sums them."""

    table, slot = jnp.asarray(table), jnp.zeros(ROWS, jnp.int32)
    state = rule.init(table)
    for step, (ids_now, gradient) in enumerate(zip(ids, gradients)):
        summed, slot, _ = summed_once([({"ids": jnp.asarray(ids_now)}, jnp.asarray(gradient))], ROWS, slot)
        table, state = rule.update(table, state, summed, jnp.int32(step))
    return table


def dense_gradients():
    """The gradients of all steps as arrays of the table's size, float64 [steps, rows, dim]."""
    dense = np.zeros((STEPS, ROWS, DIM))
    for step in range(STEPS):
        for row, gradient in zip(LOOKUPS[step], GRADIENTS[step]):
            if row != PADDING:
                dense[step, row] += gradient
    return dense


def trained_densely(optimizer, table=TABLE):
    table = jnp.asarray(table)
    state = optimizer.init(table)
    for gradient in dense_gradients():
        updates, state = optimizer.update(jnp.asarray(gradient, jnp.float32), state, table)
        table = optax.apply_updates(table, updates)
    return table


@pytest.mark.parametrize(
    ("rule", "optimizer"),
    [
        (row_optimizers.sgd(0.1), optax.sgd(0.1)),
        (row_optimizers.adagrad(0.1), optax.adagrad(0.1)),
        (row_optimizers.adagrad(0.1, 0.0, 1e-16), optax.adagrad(0.1, 0.0, 1e-16)),
        (row_optimizers.densely(optax.adam(0.1)), optax.adam(0.1)),
        (row_optimizers.densely(optax.adamw(0.1, weight_decay=0.1)), optax.adamw(0.1, weight_decay=0.1)),
        (row_optimizers.densely(optax.sgd(0.1, momentum=0.9)), optax.sgd(0.1, momentum=0.9)),
    ],
    ids=["sgd", "adagrad", "adagrad from 0", "densely adam", "densely adamw", "densely momentum"],
)
def test_equals_dense_optax(rule, optimizer):
    got = trained(rule)
    assert np.abs(got - TABLE).max() > 0.1
    np.testing.assert_allclose(got, trained_densely(optimizer), rtol=1e-6, atol=1e-6)


def test_sgd_takes_duplicates_one_by_one():
    """A linear rule: the sum of the updates is the update by the sum."""
    rule = row_optimizers.sgd(0.1)
    assert rule.linear
    table = jnp.asarray(TABLE)
    for step in range(3):
        table, _ = rule.update(
            table, (), RowGradient(jnp.asarray(LOOKUPS[step]), GRADIENTS[step], None), jnp.int32(step)
        )
    np.testing.assert_allclose(table, trained(rule, ids=LOOKUPS[:3], gradients=GRADIENTS[:3]), atol=1e-6)


def test_rowwise_adagrad():
    """Against a loop: one accumulator a row, fed the mean square of the summed gradient."""
    table, accumulator = TABLE.astype(np.float64), np.zeros(ROWS)
    for step, gradients in enumerate(dense_gradients()):
        for row in set(LOOKUPS[step]) - {PADDING}:
            accumulator[row] += np.mean(gradients[row] ** 2)
            table[row] -= 0.1 * gradients[row] / (np.sqrt(accumulator[row]) + 1e-10)
    np.testing.assert_allclose(trained(row_optimizers.rowwise_adagrad(0.1)), table, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_lazy_adam(weight_decay):
    """Against a loop: only the rows looked up move, their moments decay once a lookup, corrected by the global step."""
    table = TABLE.astype(np.float64)
    mean, square = np.zeros((ROWS, DIM)), np.zeros((ROWS, DIM))
    for step, gradients in enumerate(dense_gradients()):
        for row in set(LOOKUPS[step]) - {PADDING}:
            mean[row] = 0.9 * mean[row] + 0.1 * gradients[row]
            square[row] = 0.999 * square[row] + 0.001 * gradients[row] ** 2
            corrected = mean[row] / (1 - 0.9 ** (step + 1)), square[row] / (1 - 0.999 ** (step + 1))
            table[row] -= 0.1 * (corrected[0] / (np.sqrt(corrected[1]) + 1e-8) + weight_decay * table[row])
    got = trained(row_optimizers.adam(0.1, weight_decay=weight_decay))
    np.testing.assert_allclose(got, table, rtol=1e-4, atol=1e-4)  # float32 powers of 0.999


def test_adam_equals_dense_adam_where_every_row_is_looked_up():
    ids = np.tile(np.arange(ROWS, dtype=np.int32), (STEPS, 1))
    gradients = np.random.default_rng(1).normal(size=(STEPS, ROWS, DIM)).astype(np.float32)
    lazy = trained(row_optimizers.adam(0.1), ids=ids, gradients=gradients)
    dense = trained(row_optimizers.densely(optax.adam(0.1)), ids=ids, gradients=gradients)
    np.testing.assert_allclose(lazy, dense, rtol=1e-5, atol=1e-5)


LAZY = {
    "momentum": partial(optax.sgd, momentum=0.9),
    "nesterov": partial(optax.sgd, momentum=0.9, nesterov=True),
    "adadelta": partial(optax.adadelta, eps=1e-12),
    "rmsprop": partial(optax.rmsprop, eps_in_sqrt=False),
    "nadam": optax.nadam,
    "lion": partial(optax.lion, weight_decay=0.0),
}


@pytest.mark.parametrize("name", LAZY)
def test_lazy_rules_are_dense_ones_on_the_rows_looked_up(name):
    """Where every row is looked up each step; and a row that is not stays where it is, with its state."""
    rule, table = getattr(row_optimizers, name)(0.1), jnp.asarray(TABLE)
    ids, gradients = np.tile(np.arange(ROWS), (5, 1)).astype(np.int32), RNG.normal(size=(5, ROWS, DIM))
    found, state, want, dense = table, rule.init(table), table, LAZY[name](0.1)
    dense_state = dense.init(want)
    for step in range(5):
        given = jnp.asarray(gradients[step], jnp.float32)
        found, state = rule.update(found, state, RowGradient(jnp.asarray(ids[step]), given, None), jnp.int32(step))
        changes, dense_state = dense.update(given, dense_state, want)
        want = want + changes
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-6)
    some = RowGradient(jnp.array([3, ROWS]), jnp.ones((2, DIM)), None)
    after, state_after = rule.update(found, state, some, jnp.int32(5))
    for one, two in zip(jax.tree.leaves((after, state_after)), jax.tree.leaves((found, state)), strict=True):
        if jnp.shape(one) == TABLE.shape:
            assert np.array_equal(np.delete(one, 3, 0), np.delete(two, 3, 0)) and not np.array_equal(one[3], two[3])


def test_lazily_adam_is_lazy_adam():
    np.testing.assert_allclose(
        trained(row_optimizers.lazily(optax.adam(0.1))), trained(row_optimizers.adam(0.1)), rtol=1e-5, atol=1e-6
    )


def test_a_rule_with_a_state_of_its_own_is_not_taken_by_rows():
    rule, table = row_optimizers.lazily(optax.contrib.prodigy()), jnp.asarray(TABLE)
    with pytest.raises(ValueError, match="cannot be applied by rows"):
        rule.update(table, rule.init(table), RowGradient(jnp.array([1]), jnp.ones((1, DIM)), None), jnp.int32(0))


def test_rowwise_adam():
    """Against a loop: the second moments of all rows decay each step, only the rows looked up move."""
    table, square = TABLE.astype(np.float64), np.zeros(ROWS)
    for step, gradients in enumerate(dense_gradients()):
        square *= 0.999
        for row in set(LOOKUPS[step]) - {PADDING}:
            square[row] += 0.001 * np.mean(gradients[row] ** 2)
            table[row] -= 0.1 * gradients[row] / (np.sqrt(square[row] / (1 - 0.999 ** (step + 1))) + 1e-8)
    np.testing.assert_allclose(trained(row_optimizers.rowwise_adam(0.1)), table, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("momentum", [0.0, 0.4])
def test_adagrad_momentum(momentum):
    """Against a loop: only the rows looked up move, and a row that is not keeps its move for its next lookup."""
    table, square, move = TABLE.astype(np.float64), np.zeros((ROWS, DIM)), np.zeros((ROWS, DIM))
    for step, gradients in enumerate(dense_gradients()):
        for row in set(LOOKUPS[step]) - {PADDING}:
            square[row] += gradients[row] ** 2
            move[row] = momentum * move[row] - 0.1 * gradients[row] / np.sqrt(square[row] + 1e-6)
            table[row] += move[row]
    rule = row_optimizers.adagrad_momentum(0.1, b1=momentum)
    np.testing.assert_allclose(trained(rule), table, rtol=1e-4, atol=1e-4)


def test_rowwise_adam_goes_as_far_as_dense_adam():
    """A row looked up every 100th step with gradient 1: the way from step 2,000 to 8,000, within 1 %."""

    def way(rule):
        def one(carry, step):
            ids = jnp.where(step % 100 == 0, 0, PADDING)[None]
            table, state = rule.update(*carry, RowGradient(ids, jnp.ones((1, 1)), jnp.ones(1)), step)
            return (table, state), table[0, 0]

        start = jnp.zeros((1, 1))
        places = jax.lax.scan(one, (start, rule.init(start)), jnp.arange(8000))[1]
        return places[-1] - places[1999]

    rules = [row_optimizers.densely(optax.adam(0.01)), row_optimizers.rowwise_adam(0.01), row_optimizers.adam(0.01)]
    dense, rowwise, lazy = map(float, jax.jit(lambda: [way(rule) for rule in rules])())
    assert rowwise == pytest.approx(dense, rel=0.01)
    assert abs(lazy) < abs(dense) / 2


BY_ROWS = {
    "sgd": row_optimizers.sgd,
    "adagrad": row_optimizers.adagrad,
    "rowwise_adagrad": row_optimizers.rowwise_adagrad,
    "rowwise_adam": row_optimizers.rowwise_adam,
    "adagrad_momentum": row_optimizers.adagrad_momentum,  # with momentum it moves on as the rate falls
    "adam": row_optimizers.adam,
    "adam with decay": partial(row_optimizers.adam, weight_decay=0.1),
    "lazily": lambda rate: row_optimizers.lazily(optax.adamw(rate, weight_decay=0.1)),
}


@pytest.mark.parametrize("make", BY_ROWS.values(), ids=BY_ROWS)
def test_padding_moves_no_row(make):
    """Neither the rows that a step does not name, nor any row in a step of padding only; not a bit."""
    assert np.array_equal(trained(make(0.1))[NEVER], TABLE[NEVER])
    padding = np.full((3, IDS), PADDING, np.int32)
    gradients = GRADIENTS[:3].copy()
    assert np.array_equal(trained(make(0.1), ids=padding, gradients=gradients), TABLE)
    both = np.concatenate([LOOKUPS[:1], padding]), np.concatenate([GRADIENTS[:1], gradients])
    once = trained(make(0.1), ids=LOOKUPS[:1], gradients=GRADIENTS[:1])
    assert np.array_equal(trained(make(0.1), ids=both[0], gradients=both[1]), once)


@pytest.mark.parametrize("make", BY_ROWS.values(), ids=BY_ROWS)
def test_schedule_is_read_at_the_step(make):
    """A rate that falls to 0 after 5 steps leaves the table as 5 steps do."""

    def schedule(step):
        return jnp.where(step < 5, 0.1, 0.0)

    five = trained(make(0.1), ids=LOOKUPS[:5], gradients=GRADIENTS[:5])
    np.testing.assert_array_equal(trained(make(schedule), ids=LOOKUPS[:9], gradients=GRADIENTS[:9]), five)


def test_schedule_equals_optax():
    schedule = optax.cosine_decay_schedule(0.3, STEPS)
    for rule, optimizer in ((row_optimizers.sgd, optax.sgd), (row_optimizers.adagrad, optax.adagrad)):
        np.testing.assert_allclose(trained(rule(schedule)), trained_densely(optimizer(schedule)), rtol=1e-6, atol=1e-6)
        densely = row_optimizers.densely(optimizer(schedule))
        np.testing.assert_allclose(trained(densely), trained_densely(optimizer(schedule)), rtol=1e-6, atol=1e-6)


TRACED = BY_ROWS | {"densely": lambda rate: row_optimizers.densely(optax.adam(rate))}


@pytest.mark.parametrize("make", TRACED.values(), ids=TRACED)
def test_traced_rates(make):
    """Many rates in one vmap, and one traced rate under jit, equal single runs."""
    rates = [0.01, 0.5]

    def run(rate):
        return trained(make(rate), ids=LOOKUPS[:3], gradients=GRADIENTS[:3])

    @jax.jit
    def all_ways(traced):
        return jax.vmap(run)(traced), run(traced[1]), [run(rate) for rate in rates]

    together, alone, singles = all_ways(jnp.array(rates))
    np.testing.assert_allclose(together, jnp.stack(singles), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(alone, singles[1], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("make", BY_ROWS.values(), ids=BY_ROWS)
def test_whole_table_gradient_is_refused(make):
    rule, table = make(0.1), jnp.asarray(TABLE)
    with pytest.raises(InputError, match=r"looked up whole.*--optimizer dense_adam"):
        rule.update(table, rule.init(table), RowGradient(None, jnp.ones_like(table), None), jnp.int32(0))


@pytest.mark.parametrize("zeta", [1e-5, 0.2])
def test_cowclip(zeta):
    """Against a loop over rows: g min(1, count max(|w|, sqrt(dim) zeta) / |g|); an unused entry stays 0."""
    rng = np.random.default_rng(0)
    table = rng.normal(0, 0.3, (6, 4)).astype(np.float32)
    ids, counts = np.array([4, 1, 6, 0]), np.array([2.0, 1.0, 0.0, 3.0])
    sums = rng.normal(0, 0.8, (4, 4)).astype(np.float32)
    sums[0] *= 0.1
    sums[2] = 0
    want = sums.copy()
    for entry, row in enumerate(ids):
        if row < 6:
            limit = counts[entry] * max(np.linalg.norm(table[row]), 2 * zeta)
            want[entry] *= min(1, limit / np.linalg.norm(sums[entry]))
    given = RowGradient(jnp.asarray(ids, jnp.int32), jnp.asarray(sums), jnp.asarray(counts, jnp.float32))
    gradients = optimizers.Gradients({}, {"factors": [given]}, jnp.float32(6))
    got = optimizers.cowclip(1.0, zeta).apply(gradients, {"factors": jnp.asarray(table)}).rows["factors"][0].sums
    np.testing.assert_allclose(got, want, rtol=1e-5)
    assert 0 < (want != sums).any(1).sum() < 3  # some are clipped, some are not


def test_l2_of_whole_tables_moves_rows_that_no_batch_met():
    rule = optimizers.dense_adam(0.1, l2=0.5).rows
    got = trained(rule)
    want = trained_densely(optax.chain(optax.add_decayed_weights(0.5), optax.adam(0.1)))
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["sgd", "adagrad", "rowwise_adagrad", "adam", "rowwise_adam", "nadam"])
def test_blocks_of_distinct_rows_are_one_update(name):
    """More lookups than a block holds, a part of them the same and some padding, against one call on all entries."""
    rng = np.random.default_rng(0)
    rule = getattr(row_optimizers, name)(0.1)
    num_rows = 3 * BLOCK
    ids = jnp.asarray(rng.integers(0, num_rows, 2 * BLOCK + 5, dtype=np.int32)).at[7].set(num_rows)
    lookup = {"ids": ids, "rows": jnp.zeros((len(ids), 2))}
    gradient = jnp.asarray(rng.standard_normal((len(ids), 2)), jnp.float32)
    table = jnp.asarray(rng.standard_normal((num_rows, 2)), jnp.float32)
    summed, _, overflow = summed_once([(lookup, gradient)], num_rows, jnp.zeros(num_rows, jnp.int32))
    assert not overflow and summed.distinct == len(np.unique(ids)) - 1 > BLOCK
    step = jnp.asarray(3)
    found = jax.jit(partial(row_optimizers.update_distinct, rule))(table, rule.init(table), summed, step)
    for ours, whole in zip(jax.tree.leaves(found), jax.tree.leaves(rule.update(table, rule.init(table), summed, step))):
        np.testing.assert_allclose(ours, whole, rtol=1e-6, atol=1e-7)
