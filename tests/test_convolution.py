"""The convolution against a written-out sum, its gradients against JAX's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zoo import convolution, parallel


def random(*shape):
    return jnp.asarray(np.random.default_rng(len(shape)).normal(size=shape), jnp.float32)


def test_a_convolution_is_the_sum_it_is():
    x, kernel = random(2, 4, 5, 3), random(3, 3, 3, 2)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    want = np.zeros((2, 4, 5, 2))
    for h, w, i, j in np.ndindex(4, 5, 3, 3):
        want[:, h, w] += padded[:, h + i, w + j] @ np.asarray(kernel[i, j])
    np.testing.assert_allclose(convolution.convolve(x, kernel), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("batch", "size", "inputs", "outputs"), [(6, 3, 3, 5), (3, 5, 1, 2), (1, 1, 2, 3)])
def test_gradients_are_those_of_jax(batch, size, inputs, outputs):
    x, kernel, weight = random(batch, 6, 7, inputs), random(size, size, inputs, outputs), random(batch, 6, 7, outputs)
    want = jax.grad(lambda x, k: jnp.sum(convolution._convolution(x, k) * weight), (0, 1))(x, kernel)
    found = jax.grad(lambda x, k: jnp.sum(convolution.convolve(x, k) * weight), (0, 1))(x, kernel)
    for one, two in zip(found, want, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(convolution.by_convolution(x, weight, size), want[1], rtol=1e-4, atol=1e-4)


def test_each_device_does_its_own_images():
    """The gradient of a divided batch is that of the whole, and no images travel."""
    x, kernel = random(8, 4, 4, 3), random(3, 3, 3, 2)

    def gradient(x, kernel):
        return jax.grad(lambda k: jnp.sum(convolution.convolve(x, k) ** 2))(kernel)

    layout = parallel.layout(4)

    def divided(x, kernel):
        with jax.sharding.use_abstract_mesh(layout.mesh.abstract_mesh):
            return gradient(jax.lax.with_sharding_constraint(x, jax.P(parallel.AXIS)), kernel)

    compiled = jax.jit(divided).lower(*parallel.on_every_device((x, kernel), layout)).compile()
    np.testing.assert_allclose(compiled(*parallel.on_every_device((x, kernel), layout)), gradient(x, kernel), rtol=1e-4)
    assert "all-gather" not in compiled.as_text() and "all-reduce" in compiled.as_text()
