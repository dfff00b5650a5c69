"""Files of sessions against what they hold, written out."""

import numpy as np
import pytest

from tests.helpers import raw_rows, refusal
from zoo.data import catalog
from zoo.data.session_readers import read_sessions


def files(folder, train, test):
    for name, text in (("train_sessions.txt", train), ("test.txt", test)):
        (folder / name).write_text(text)
    return folder / "train_sessions.txt", folder / "test.txt"


def test_examples_become_sessions_again(tmp_path):
    """Two equal sessions one after the other stay two; a session of one event is there, for the recipe to drop."""
    data = read_sessions(*files(tmp_path, "7 8\n9 9 7\n8\n", "7 9 8\n7 9\n7 9\n8 7\n"))
    assert raw_rows(data)[:6] == [(0, 7, 0), (0, 8, 1), (1, 9, 2), (1, 9, 3), (1, 7, 4), (2, 8, 5)]
    assert raw_rows(data)[6:] == [(3, 7, 6), (3, 9, 7), (3, 8, 8), (4, 7, 9), (4, 9, 10), (5, 8, 11), (5, 7, 12)]
    assert np.bincount(data.part).tolist() == [6, 0, 7]


@pytest.mark.parametrize(
    ("train", "test", "said"),
    [
        ("1 2\n3 x\n", "1 2\n", "line 2: 'x' is not an integer id"),
        ("1 2\n", "1 2 3\n1 3\n", "example 2: `1 3` is not the session of the line before it"),
        ("1 2\n", "1 2 3 4\n1 2\n", "example 2: `1 2` is not the session of the line before it"),
        ("1 2\n", "1 2\n5\n", "example 2: `5` has no label"),
        ("", "1 2\n", "is empty: it should hold one session a line"),
    ],
)
def test_mistakes_are_named(tmp_path, train, test, said):
    paths = files(tmp_path, train, test)
    assert said in refusal(lambda _: read_sessions(*paths), None)


@pytest.mark.skipif(catalog.folder(catalog.find("diginetica")) is None, reason="diginetica is not here")
def test_the_published_examples():
    data = catalog.load("diginetica")
    assert np.bincount(data.part).tolist() == [906_140, 0, 76_821]
    sessions = len(np.unique(data.user[data.part == 2]))
    assert 76_821 - sessions == 60_858  # an example for each event but the first
    assert set(data.item[data.part == 2]) <= set(data.item[data.part == 0])
