"""What the samplers draw against what they say they draw."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zoo import negatives


ITEMS, DRAWS = 40, 100_000


class Model:
    num_items = ITEMS

    def get_variable(self, collection, name):
        assert (collection, name) == ("constants", "item_log_frequency")
        frequency = np.arange(1, ITEMS + 1) ** -1.2
        frequency[7] = 0  # never seen in training
        with np.errstate(divide="ignore"):
            return jnp.asarray(np.log(frequency / frequency.sum()), jnp.float32)


SAMPLERS = {"uniform": negatives.uniform, "log_uniform": negatives.log_uniform, "popularity": negatives.popularity}
SAMPLERS["its square root"] = partial(negatives.popularity, alpha=0.5)


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
def test_draws_follow_log_q(sampler):
    """Chi-square over all items, five standard deviations wide; log_q is the expected count of an item."""
    ids, log_q = sampler(jax.random.key(0), Model(), count=DRAWS)
    assert ids.shape == (DRAWS,) and ids.dtype == jnp.int32
    assert ids.min() >= 0 and ids.max() < ITEMS
    counts, expected = np.bincount(ids, minlength=ITEMS), np.exp(np.float64(log_q(jnp.arange(ITEMS))))
    np.testing.assert_allclose(expected.sum(), DRAWS, rtol=1e-5)
    assert not counts[expected == 0].any()
    possible = expected > 0
    freedom = possible.sum() - 1
    chi_square = ((counts - expected)[possible] ** 2 / expected[possible]).sum()
    assert chi_square < freedom + 5 * np.sqrt(2 * freedom)


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
def test_keys_decide(sampler):
    draw = partial(sampler, model=Model(), count=50)
    first, again, other = (np.asarray(draw(jax.random.key(seed))[0]) for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
def test_log_q_of_padding_is_finite(sampler):
    """So that mask * loss of a padded example is 0, not NaN."""
    _, log_q = sampler(jax.random.key(0), Model(), count=50)
    assert np.isfinite(log_q(jnp.array([2**31 - 1], jnp.int32))).all()


def test_log_uniform_is_zipf():
    """P(k) = log((k + 2) / (k + 1)) / log(n + 1)."""
    _, log_q = negatives.log_uniform(jax.random.key(0), Model(), count=10)
    want = [10 * np.log((k + 2) / (k + 1)) / np.log(ITEMS + 1) for k in range(ITEMS)]
    np.testing.assert_allclose(np.exp(log_q(jnp.arange(ITEMS))), want, rtol=1e-5)
