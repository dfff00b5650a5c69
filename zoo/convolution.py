"""Convolution of images with kernels of an odd size, each position kept, and its gradients; and of sequences.

y[n, h, w, o] = sum_{i, j, c} x[n, h + i - r, w + j - r, c] kernel[i, j, c, o],    r = (size - 1) / 2, x 0 outside
y[n, t, o] = sum_{i, c} x[n, t + i, c] kernel[i, c, o],                            t from 0 to length - size
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from zoo import parallel


def convolve_sequence(x: Array, kernel: Array) -> Array:
    """float [batch, length, inputs] and [size, inputs, outputs] -> [batch, length - size + 1, outputs].

    One product with the windows, put side by side. Inside `scan` on a CPU it is several times as fast as XLA's own
    convolution, forward and backward: docs/convolutions.md.
    """
    size, inputs, outputs = kernel.shape
    windows = x.shape[1] - size + 1
    beside = jnp.concatenate([x[:, i : i + windows] for i in range(size)], axis=2)
    return beside @ kernel.reshape(size * inputs, outputs)


@jax.custom_vjp
def convolve(x: Array, kernel: Array) -> Array:
    """float [batch, height, width, inputs] and [size, size, inputs, outputs] -> [batch, height, width, outputs].

    On a CPU the gradient of the kernel is written out as matrix products: XLA's own, a convolution whose kernel is as
    large as the image, is a naive loop inside `scan` there, hundreds of times slower. The gradient of x is a
    convolution like the first, with the kernel turned around.
    """
    return _convolution(x, kernel)


def _convolution(x: Array, kernel: Array) -> Array:
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return convolve(x, kernel), (x, kernel)


def _backward(held: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    x, kernel = held
    turned = kernel[::-1, ::-1].swapaxes(2, 3)
    return convolve(gradient, turned), _kernel_gradient(x, gradient, len(kernel))


convolve.defvjp(_forward, _backward)


def _kernel_gradient(x: Array, gradient: Array, size: int) -> Array:
    found = partial(
        jax.lax.platform_dependent, cpu=partial(by_products, size=size), default=partial(by_convolution, size=size)
    )
    if parallel.spread() and not parallel.per_device():  # the loop over images would make each device do all of them
        return parallel.summed_over_parts(found)(x, gradient)
    return found(x, gradient)


def by_products(x: Array, gradient: Array, size: int) -> Array:
    """The gradient of the kernel, float [size, size, inputs, outputs]: for each of its places the product of the
    shifted images with the gradient. A few images at a time, so that shifted copies stay in the cache."""
    batch, height, width, inputs = x.shape
    outputs, margin = gradient.shape[-1], size // 2
    few = math.gcd(batch, 2)

    def flat(images):
        return images.reshape(-1, images.shape[-1])

    def add(total, some):
        x, gradient = some
        x = jnp.pad(x, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
        copies = [x[:, i : i + height, j : j + width] for i in range(size) for j in range(size)]
        return total + jnp.stack([flat(copy).T @ flat(gradient) for copy in copies]), None

    parts = [images.reshape(-1, few, *images.shape[1:]) for images in (x, gradient)]
    total, _ = jax.lax.scan(add, jnp.zeros((size**2, inputs, outputs), x.dtype), tuple(parts))
    return total.reshape(size, size, inputs, outputs)


def by_convolution(x: Array, gradient: Array, size: int) -> Array:
    """The same as JAX itself takes it."""
    kernel = jax.ShapeDtypeStruct((size, size, x.shape[-1], gradient.shape[-1]), x.dtype)
    return jax.linear_transpose(partial(_convolution, x), kernel)(gradient)[0]
