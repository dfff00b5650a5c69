"""Convolution arithmetic against layers that run, and against receptive fields found by moving pixels."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zoo.models.cnn import VGG, ResNet
from zoo.stacks import Layer, Row, arithmetic
from zoo.types import Spec


SHAPES = [
    Layer("convolution", size=3, stride=2, padding=1, width=4, own=1),
    Layer("convolution", size=2, dilation=2, width=6, own=1),
    Layer("maximum", size=3, stride=2),
    Layer("convolution", size=5, stride=1, padding=2, width=2, own=1),
]


class Stack(nn.Module):
    """What SHAPES says, made of flax's layers."""

    layers: tuple = tuple(SHAPES)

    @nn.compact
    def __call__(self, x):
        for layer in self.layers:
            if layer.width is None:
                x = nn.avg_pool(x, (layer.size,) * 2, (layer.stride,) * 2)
            else:
                pad = [(layer.padding,) * 2] * 2
                conv = nn.Conv(layer.width, (layer.size,) * 2, layer.stride, pad, kernel_dilation=layer.dilation)
                x = conv(x)
        return x


@pytest.mark.parametrize("depth", range(1, 5))
def test_sizes_and_parameters_are_those_of_flax(depth):
    shape, layers = (21, 30, 3), SHAPES[:depth]
    found = arithmetic(shape, layers)
    made = jax.eval_shape(Stack(tuple(layers)).init_with_output, jax.random.key(0), jnp.zeros((1, *shape)))
    assert found[-1].shape == made[0].shape[1:]
    parameters = sum(leaf.size for leaf in jax.tree.leaves(made[1]))
    assert sum(row.parameters for row in found) == parameters


@pytest.mark.parametrize("depth", range(1, 5))
def test_a_receptive_field_is_what_a_place_depends_on(depth):
    size = 61
    model, x = Stack(tuple(SHAPES[:depth])), jnp.ones((1, size, size, 1))
    held = jax.tree.map(jnp.ones_like, model.init(jax.random.key(0), x))

    def middle(x):
        y = model.apply(held, x)
        return y[0, y.shape[1] // 2, y.shape[2] // 2, 0]

    touched = np.flatnonzero(np.asarray(jax.grad(middle)(x))[0, :, :, 0].any(1))
    assert touched[-1] - touched[0] + 1 == arithmetic((size, size, 1), SHAPES[:depth])[-1].receptive_field


def test_multiply_adds_by_hand():
    rows = arithmetic((8, 8, 3), [Layer("convolution", size=3, padding=1, width=5, own=2), Layer("mean", whole=True)])
    assert rows[0] == Row("convolution", (8, 8, 5), 9 * 3 * 5 + 2 * 5, 9 * 3 * 5 * 64, 3)
    assert rows[1] == Row("mean", (1, 1, 5), 0, 0, 10)


def test_a_window_larger_than_the_image_is_named():
    with pytest.raises(ValueError, match="layer maximum has a window of 2 for 1 places"):
        arithmetic((1, 1, 3), [Layer("maximum", size=2, stride=2)])


@pytest.mark.parametrize("model", [VGG, ResNet])
def test_the_stack_of_a_model_has_its_parameters(model):
    spec = Spec(num_classes=10, image_shape=(28, 28, 1))
    batch = {"image": jnp.zeros((1, 28, 28, 1), jnp.uint8)}
    made = model(spec)
    params = jax.eval_shape(made.init, jax.random.key(0), batch)["params"]
    rows = arithmetic(spec.image_shape, made.stack())
    assert sum(row.parameters for row in rows) == sum(leaf.size for leaf in jax.tree.leaves(params))
    assert rows[-1].shape == (1, 1, 10)
