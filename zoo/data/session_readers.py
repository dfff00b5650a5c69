"""Sessions as SR-GNN and GCE-GNN publish them: what was clicked, one session a line, and the examples to judge.

train_sessions.txt   item item item ...                one session a line, in order of time
test.txt             item item ... label               a session and each shorter beginning of it, the longest first
"""

import itertools
from pathlib import Path

import numpy as np
import polars as pl

from zoo.data.files import read_text
from zoo.data.interactions import Interactions, from_raw
from zoo.errors import InputError


def read_sessions(train: Path, test: Path) -> Interactions:
    """Both files as parts 0 and 2 of one data set: a session is a user, numbered from 0 in order of the files.

    A timestamp is the place of an event in the files: 0, 1, 2, ... So later sessions have later times. The examples of
    test.txt become their sessions again: an example is an event with those of its session before it.
    """
    items, sizes = _read_lines(train, "item item ...")
    test_items, test_sizes = _whole_sessions(test, *_read_lines(test, "item item ... label"))
    counts = np.concatenate([sizes, test_sizes])
    item = np.concatenate([items, test_items])
    return from_raw(
        user=np.repeat(np.arange(len(counts)), counts),
        item=item,
        timestamp=np.arange(len(item)),
        part=np.repeat(np.array([0, 2], np.int8), [len(items), len(test_items)]),
    )


def _read_lines(path: Path, line_is: str) -> tuple[np.ndarray, np.ndarray]:
    """The items of all lines, int64 [events], and how many each line has, int64 [lines]; empty lines are left out."""
    text = read_text(path, "one session a line (item item ...)")
    rows = [line.split() for line in text.split("\n")]
    tokens = pl.Series(list(itertools.chain.from_iterable(rows)), dtype=pl.String)
    ids = tokens.cast(pl.Int64, strict=False)
    sizes = np.fromiter(map(len, rows), np.int64, len(rows))
    if ids.null_count():
        bad = ids.is_null().arg_true()[0]
        line = np.searchsorted(np.cumsum(sizes), bad, side="right") + 1
        raise InputError(f"{path}, line {line}: {tokens[bad]!r} is not an integer id; a line is `{line_is}`")
    return ids.to_numpy(), sizes[sizes > 0]


def _whole_sessions(path: Path, items: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of lines that are sessions and their beginnings, the sessions. A session ends with its line of two items."""
    start = np.cumsum(sizes) - sizes
    whole = np.concatenate([[True], sizes[:-1] <= 2])
    # Each event of a line that goes on from the line before it is one of that line.
    owner = np.repeat(np.arange(len(sizes)), sizes)
    goes_on = ~whole[owner]
    above = np.arange(len(items)) - start[owner] + start[np.maximum(owner - 1, 0)]
    wrong = sizes < 2
    wrong[1:] |= ~whole[1:] & (sizes[1:] != sizes[:-1] - 1)
    same = np.ones(len(items), bool)
    same[goes_on] = items[goes_on] == items[above[goes_on]]
    wrong |= np.bincount(owner[~same], minlength=len(sizes)) > 0
    if wrong.any():
        line = int(np.argmax(wrong))
        spelled = " ".join(map(str, items[start[line] : start[line] + sizes[line]][:5].tolist()))
        what = "has no label" if sizes[line] < 2 else "is not the session of the line before it without its last item"
        raise InputError(
            f"{path}, example {line + 1}: `{spelled}` {what}; a session stands there as `a b c`, then as `a b`"
        )
    return items[whole[owner]], sizes[whole]
