import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from zoo import parallel
from zoo.layers import MLP, BatchNorm, dropped


def test_dropped_numbers_are_as_many_as_asked_and_keep_the_mean():
    x = jnp.ones((1000, 301))  # an odd width: two numbers share a word of random bits
    found = np.asarray(dropped(x, 0.2, jax.random.key(0)))
    np.testing.assert_allclose(np.unique(found), [0, 1.25], rtol=1e-6)
    kept = found > 0
    assert abs(kept.mean() - 0.8) < 0.003 and abs(kept[:, ::2].mean() - kept[:, 1::2].mean()) < 0.005
    assert abs((kept[:, 0] & kept[:, 1]).mean() - 0.64) < 0.05  # neighbours are dropped independently


def test_batch_norm_is_that_of_flax():
    """In training, in what it keeps, and in use, for images as for vectors."""
    x = jnp.asarray(np.random.default_rng(0).normal(2, 3, (6, 4, 5)), jnp.float32)
    ours, theirs = BatchNorm(), nn.BatchNorm(momentum=0.9, epsilon=1e-5)
    held, held_theirs = ours.init(jax.random.key(0), x, train=True), theirs.init(jax.random.key(0), x, False)
    found, kept = ours.apply(held, x, train=True, mutable=["batch_stats"])
    want, kept_theirs = theirs.apply(held_theirs, x, use_running_average=False, mutable=["batch_stats"])
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(kept["batch_stats"]["mean"], kept_theirs["batch_stats"]["mean"], rtol=1e-5)
    np.testing.assert_allclose(kept["batch_stats"]["variance"], kept_theirs["batch_stats"]["var"], rtol=1e-5)
    used = ours.apply({**held, **kept}, x, train=False)
    want = theirs.apply({**held_theirs, **kept_theirs}, x, use_running_average=True)
    np.testing.assert_allclose(used, want, rtol=1e-4, atol=1e-5)


def test_batch_norm_leaves_padding_out():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32)
    padded = jnp.concatenate([x, jnp.full((2, 3), 1e3)])
    model = BatchNorm()
    held = model.init(jax.random.key(0), x, train=True)
    want, kept = model.apply(held, x, train=True, mutable=["batch_stats"])
    mask = jnp.array([1.0, 1, 1, 1, 0, 0])
    found, kept_padded = model.apply(held, padded, mask, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(found[:4], want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(kept_padded["batch_stats"]["mean"], kept["batch_stats"]["mean"], rtol=1e-6)


def test_batch_norm_of_a_divided_batch_is_that_of_the_whole():
    """Values and gradients, with padding on one of four devices only."""
    rng = np.random.default_rng(0)
    x, weight = (jnp.asarray(rng.normal(size=(8, 3)), jnp.float32) for _ in range(2))
    mask = jnp.array([1.0, 1, 1, 1, 1, 1, 1, 0])
    model = BatchNorm()
    held = model.init(jax.random.key(0), x, train=True)

    def loss(x, mask, weight):
        found, _ = model.apply(held, x, mask, train=True, mutable=["batch_stats"])
        return jnp.sum(found**2 * weight * mask[:, None])

    each = jax.shard_map(
        jax.grad(loss),
        mesh=parallel.layout(4).mesh,
        in_specs=jax.P(parallel.AXIS),
        out_specs=jax.P(parallel.AXIS),
        check_vma=False,
    )
    np.testing.assert_allclose(each(x, mask, weight), jax.grad(loss)(x, mask, weight), rtol=1e-4, atol=1e-5)


def test_a_tower_in_bfloat16_keeps_its_weights_and_its_answer_in_float32():
    x = jax.random.normal(jax.random.key(0), (8, 5))
    plain, half = MLP((16, 4)), MLP((16, 4), dtype="bfloat16")
    weights = half.init(jax.random.key(1), x, train=False)
    found, exact = (tower.apply(weights, x, train=False) for tower in (half, plain))
    assert {leaf.dtype for leaf in jax.tree.leaves((weights, found))} == {jnp.dtype("float32")}
    np.testing.assert_allclose(found, exact, atol=0.05)
    assert np.abs(found - exact).max() > 1e-5
