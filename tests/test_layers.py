import jax
import jax.numpy as jnp
import numpy as np

from zoo.layers import MLP, dropped


def test_dropped_numbers_are_as_many_as_asked_and_keep_the_mean():
    x = jnp.ones((1000, 301))  # an odd width: two numbers share a word of random bits
    found = np.asarray(dropped(x, 0.2, jax.random.key(0)))
    np.testing.assert_allclose(np.unique(found), [0, 1.25], rtol=1e-6)
    kept = found > 0
    assert abs(kept.mean() - 0.8) < 0.003 and abs(kept[:, ::2].mean() - kept[:, 1::2].mean()) < 0.005
    assert abs((kept[:, 0] & kept[:, 1]).mean() - 0.64) < 0.05  # neighbours are dropped independently


def test_a_tower_in_bfloat16_keeps_its_weights_and_its_answer_in_float32():
    x = jax.random.normal(jax.random.key(0), (8, 5))
    plain, half = MLP((16, 4)), MLP((16, 4), dtype="bfloat16")
    weights = half.init(jax.random.key(1), x, train=False)
    found, exact = (tower.apply(weights, x, train=False) for tower in (half, plain))
    assert {leaf.dtype for leaf in jax.tree.leaves((weights, found))} == {jnp.dtype("float32")}
    np.testing.assert_allclose(found, exact, atol=0.05)
    assert np.abs(found - exact).max() > 1e-5
