"""What a compiled module sends between devices, read from its text."""

import math
import re
from typing import Any, NamedTuple


_NAMES = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute|collective-broadcast|ragged-all-to-all"
_OPERATION = re.compile(rf"= (.*?) ({_NAMES})(?:-start)?\(")
_SHAPE = re.compile(r"\b(pred|[a-z]+\d+)\[([\d,]*)\]")


class Collective(NamedTuple):
    kind: str  # such as "all-gather"
    shapes: tuple[tuple[int, ...], ...]  # of its results on one device
    bytes: int  # of its results on one device


def collectives(compiled: Any) -> list[Collective]:
    """The collectives in the text of a compiled function; one inside a loop counts once. An asynchronous one (`-start`)
    lists its operands among its results, so there `bytes` is an upper bound."""
    found = []
    for result, kind in _OPERATION.findall(compiled.as_text()):
        shapes, size = [], 0
        for dtype, text in _SHAPE.findall(result):
            shape = tuple(int(length) for length in text.split(",") if length)
            shapes.append(shape)
            size += math.prod(shape) * (1 if dtype == "pred" else int(re.sub(r"\D", "", dtype)) // 8)
        found.append(Collective(kind, tuple(shapes), size))
    return found
