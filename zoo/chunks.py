"""The chunks of an epoch: what one compiled call of many steps is given, from memory or from a file, in which order."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from zoo.data import stream
from zoo.recipe import Examples, Recipe


CHUNK_EXAMPLES = 2**17  # examples a compiled call: about a second of work, so that progress moves and Ctrl-C is heard

# What an epoch's chunks are made of: (epoch, first chunk) -> (columns, order [steps, batch] of positions in them) each.
Chunks = Callable[[int, int], Iterator[tuple[Mapping[str, Any], Any]]]


def in_memory(examples: Examples, recipe: Recipe, seed: int, put: Callable[[Any], Any]) -> Chunks:
    """All columns lie on the device, and a chunk is a piece of the epoch's order. `put` brings arrays there.

    The order of an epoch is drawn while the device works on the epoch before it.
    """
    columns = put(dict(examples.train))
    pieces = bounds(steps_per_epoch(examples, recipe), recipe.batch_size)
    draw = partial(epoch_order, examples, recipe, seed)
    drawing = ThreadPoolExecutor(1)
    ahead: dict[int, Future] = {}

    def chunks(epoch: int, first: int):
        order = ahead.pop(epoch).result() if epoch in ahead else draw(epoch)
        ahead[epoch + 1] = drawing.submit(draw, epoch + 1)
        for start, stop in pieces[first:]:
            yield columns, put(order[start:stop])

    return chunks


def streamed(examples: Examples, recipe: Recipe, seed: int, put: Callable[[Any], Any]) -> Chunks:
    """A chunk has columns of its own, read while the device works on the chunk before it.

    Blocks of rows stand in an order drawn for the epoch, and the rows of a chunk in one drawn for the chunk.
    """
    source, batch = examples.source, recipe.batch_size
    assert source is not None, "examples in memory have no source"
    pieces = bounds(steps_per_epoch(examples, recipe), batch)

    def chunks(epoch: int, first: int):
        blocks = stream.block_order(source.num_rows, seed, epoch)

        def load(chunk: int):
            start, stop = pieces[chunk]
            columns = stream.read_chunk(source, blocks, start * batch, min(stop * batch, source.num_rows))
            return columns, shuffled(len(next(iter(columns.values()))), batch, (seed, epoch, chunk + 1))

        with ThreadPoolExecutor(1) as reader:
            ahead = reader.submit(load, first)
            for chunk in range(first, len(pieces)):
                columns, order = ahead.result()
                if chunk + 1 < len(pieces):
                    ahead = reader.submit(load, chunk + 1)
                yield put(columns), put(order)

    return chunks


def steps_per_epoch(examples: Examples, recipe: Recipe) -> int:
    if recipe.order is not None:
        return len(recipe.order(examples, recipe.batch_size))
    return -(-examples.num_train // recipe.batch_size)


def epoch_order(examples: Examples, recipe: Recipe, seed: int, epoch: int) -> np.ndarray:
    """Which example stands where in an epoch: positions int32 [steps, batch], the last batch filled up with -1."""
    if recipe.order is not None:
        return recipe.order(examples, recipe.batch_size)
    return shuffled(examples.num_train, recipe.batch_size, (seed, epoch))


def shuffled(count: int, batch_size: int, seed: tuple[int, ...]) -> np.ndarray:
    """Positions 0 to `count` - 1 in random order, int32 [steps, batch], the last batch filled up with -1."""
    order = np.full((-(-count // batch_size), batch_size), -1, np.int32)
    order.reshape(-1)[:count] = np.random.default_rng(seed).permutation(count)
    return order


def bounds(steps: int, batch_size: int) -> list[tuple[int, int]]:
    """Chunks of equal length and one shorter last: at most two shapes to compile, the same wherever a run resumes."""
    length = min(steps, max(1, CHUNK_EXAMPLES // batch_size))
    length = -(-steps // -(-steps // length))  # as even as can be
    return [(start, min(start + length, steps)) for start in range(0, steps, length)]
