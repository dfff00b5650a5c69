"""The arithmetic of a stack of convolutions: output sizes, parameters, multiply-adds and receptive fields."""

from collections.abc import Sequence
from typing import NamedTuple

from zoo.errors import InputError


class Layer(NamedTuple):
    """A layer with a window, of a square image. A convolution has a width, its output channels; pooling keeps them."""

    name: str
    size: int = 1
    stride: int = 1
    padding: int = 0  # on each side
    dilation: int = 1
    width: int | None = None
    own: int = 0  # parameters an output channel beside those of the kernel: a bias 1, a normalisation 2
    whole: bool = False  # the window is all that there is: a mean over all places
    back: int = 0  # its input is that of so many layers before
    beside: bool = False  # of a shortcut: what follows goes on from the layer before it


class Row(NamedTuple):
    """What one layer does to one image."""

    name: str
    shape: tuple[int, int, int]  # of its output: height, width, channels
    parameters: int
    multiply_adds: int
    receptive_field: int  # pixels a side that one output place depends on


def arithmetic(shape: Sequence[int], layers: Sequence[Layer]) -> list[Row]:
    """Layer by layer, from an image of `shape` (height, width, channels):

        output = floor((input + 2 padding - dilation (size - 1) - 1) / stride) + 1
        parameters = size^2 inputs outputs + own outputs,    multiply-adds = size^2 inputs outputs x places
        field = field before + dilation (size - 1) x all strides before

    Pooling counts no multiply-adds. Receptive fields are cut at no border. InputError where an image ends.
    """
    height, width, channels = shape
    reached = [(height, width, channels, 1, 1)]  # after each layer, with the field and the product of the strides
    rows = []
    for layer in layers:
        height, width, channels, field, strides = reached[-1 - layer.back]
        sides = (height, width)
        sizes = sides if layer.whole else (layer.size, layer.size)
        height, width = (_output(side, size, layer) for side, size in zip(sides, sizes, strict=True))
        field += layer.dilation * (max(sizes) - 1) * strides
        outputs = channels if layer.width is None else layer.width
        kernel = 0 if layer.width is None else layer.size**2 * channels * outputs
        parameters = kernel + layer.own * outputs
        rows.append(Row(layer.name, (height, width, outputs), parameters, kernel * height * width, field))
        after = (height, width, outputs, field, strides * layer.stride)
        reached.append(reached[-1] if layer.beside else after)
    return rows


def _output(side: int, size: int, layer: Layer) -> int:
    found = (side + 2 * layer.padding - layer.dilation * (size - 1) - 1) // layer.stride + 1
    if found < 1:
        raise InputError(
            f"layer {layer.name} has a window of {size} for {side} places, so that nothing is left: take larger images,"
            " or fewer stages (--set widths=16,32)"
        )
    return found
