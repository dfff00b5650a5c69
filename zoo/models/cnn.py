"""Convolutional networks that tell the class of an image: a plain stack in the manner of VGG, and a residual network.

    small   stages of [convolution 3 x 3, batch normalisation, ReLU], after each but the last the maximum of 2 x 2
    resnet  a first such layer, then stages of blocks   y = ReLU(x + F(x)),  F = [conv, norm, ReLU, conv, norm]

and then the mean over all places and one linear layer.

Simonyan and Zisserman 2015, "Very deep convolutional networks", section 2; He et al. 2016, "Deep residual learning",
section 3.3 (a block that widens has a 1 x 1 convolution in place of the identity, option B).

Differences from the papers: batch normalisation in both networks; the mean over places in place of VGG's dense layers,
which would be nearly all of its parameters; 2 x 2 maxima in place of ResNet's strided convolutions, one after its first
layer; far narrower, for images of 28 x 28.
"""

import math
from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from zoo import augmentation, optimizers, schedules, tasks
from zoo.layers import BatchNorm, Conv, pooled
from zoo.recipe import Recipe
from zoo.stacks import Layer, arithmetic
from zoo.types import Batch, Cost, Spec


class VGG(nn.Module):
    """Stages of `depth` layers, as wide as `widths` says; a Classifier."""

    spec: Spec
    widths: tuple[int, ...] = (16, 32, 64)
    depth: int = 2

    @nn.compact
    def __call__(self, batch: Batch, *, train: bool = False) -> Array:
        arithmetic(self.spec.image_shape, self.stack())  # refuses images that are too small
        x, mask = pixels(batch, self.spec), batch.get("mask")
        for stage, width in enumerate(self.widths):
            x = pooled(x) if stage else x
            for _ in range(self.depth):
                x = nn.relu(BatchNorm()(Conv(width)(x), mask, train=train))
        return nn.Dense(self.spec.num_classes)(jnp.mean(x, axis=(1, 2)))

    def stack(self) -> list[Layer]:
        found = []
        for stage, width in enumerate(self.widths):
            found += [_POOLED] * (stage > 0) + [_conv(width)] * self.depth
        return [*found, *_head(self.spec)]


class ResNet(nn.Module):
    """A first layer as wide as the first stage, then stages of `depth` blocks, as wide as `widths` says; a
    Classifier."""

    spec: Spec
    widths: tuple[int, ...] = (32, 64, 128)
    depth: int = 1

    @nn.compact
    def __call__(self, batch: Batch, *, train: bool = False) -> Array:
        arithmetic(self.spec.image_shape, self.stack())  # refuses images that are too small
        x, mask = pixels(batch, self.spec), batch.get("mask")
        x = nn.relu(BatchNorm()(Conv(self.widths[0])(x), mask, train=train))
        for width in self.widths:
            x = pooled(x)
            for _ in range(self.depth):
                y = nn.relu(BatchNorm()(Conv(width)(x), mask, train=train))
                y = BatchNorm()(Conv(width)(y), mask, train=train)
                same = x if x.shape[-1] == width else BatchNorm()(Conv(width, size=1)(x), mask, train=train)
                x = nn.relu(same + y)
        return nn.Dense(self.spec.num_classes)(jnp.mean(x, axis=(1, 2)))

    def stack(self) -> list[Layer]:
        found, before = [_conv(self.widths[0])], self.widths[0]
        for width in self.widths:
            found.append(_POOLED)
            for _ in range(self.depth):
                found += [_conv(width), _conv(width)]
                if before != width:
                    found.append(Layer("shortcut", width=width, own=2, beside=True, back=2))
                before = width
        return [*found, *_head(self.spec)]


_POOLED = Layer("maximum", size=2, stride=2)


def _conv(width: int) -> Layer:
    return Layer("convolution", size=3, padding=1, width=width, own=2)


def _head(spec: Spec) -> list[Layer]:
    return [Layer("mean", whole=True), Layer("linear", width=spec.num_classes, own=1)]


def pixels(batch: Batch, spec: Spec) -> Array:
    """uint8 images as float32, of mean 0 and deviation 1 over the training pixels."""
    return (batch["image"].astype(jnp.float32) - spec.pixel_mean) / spec.pixel_deviation


def cost(recipe: Recipe, model: VGG | ResNet) -> Cost:
    """Of each weight three passes (read, and read and written by the update), of each output of a convolution four
    (written and read, and so its gradient). A multiply-add is 6 operations, forward and for both gradients; the first
    layer needs none for the image. The normalisations and the state of the optimizer are left out."""
    rows = arithmetic(model.spec.image_shape, model.stack())
    weights = sum(row.parameters for row in rows)
    outputs = sum(math.prod(row.shape) for row in rows if row.multiply_adds)
    products = 3 * sum(row.multiply_adds for row in rows) - rows[0].multiply_adds
    return Cost(bytes=4.0 * (3 * weights + 4 * recipe.batch_size * outputs), flops=2.0 * recipe.batch_size * products)


RECIPES: dict[str, Recipe] = {
    "small": tasks.images(
        model=partial(VGG, widths=(16, 32, 64), depth=2),
        objective=partial(augmentation.cross_entropy, smoothing=0.1, shift=2, flip=True),
        optimizer=optimizers.nesterov_decayed,
        learning_rate=0.1,
        schedule=schedules.one_cycle,
        batch_size=128,
        epochs=20,
        patience=20,  # the best comes last, when the rate has fallen
        data="fashion-mnist",
    ),
    "resnet": tasks.images(
        model=partial(ResNet, widths=(32, 64, 128), depth=1),
        objective=partial(augmentation.cross_entropy, smoothing=0.1, shift=2, flip=True),
        optimizer=optimizers.nesterov_decayed,
        learning_rate=0.1,
        schedule=schedules.one_cycle,
        batch_size=128,
        epochs=30,
        patience=30,
        data="fashion-mnist",
    ),
    "smoke": tasks.images(
        model=partial(VGG, widths=(4, 8), depth=1),
        objective=partial(augmentation.cross_entropy, shift=1),
        optimizer=optimizers.adam,
        learning_rate=0.01,
        batch_size=64,
        epochs=5,
    ),
}
