import jax
import jax.numpy as jnp
import numpy as np

from zoo.layers import dropped


def test_dropped_numbers_are_as_many_as_asked_and_keep_the_mean():
    x = jnp.ones((1000, 301))  # an odd width: two numbers share a word of random bits
    found = np.asarray(dropped(x, 0.2, jax.random.key(0)))
    np.testing.assert_allclose(np.unique(found), [0, 1.25], rtol=1e-6)
    kept = found > 0
    assert abs(kept.mean() - 0.8) < 0.003 and abs(kept[:, ::2].mean() - kept[:, 1::2].mean()) < 0.005
    assert abs((kept[:, 0] & kept[:, 1]).mean() - 0.64) < 0.05  # neighbours are dropped independently
