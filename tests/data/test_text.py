"""Texts: what is read, what a vocabulary knows, how a text is cut."""

import gzip
import math

import numpy as np
import pytest

from tests.helpers import refusal
from zoo.data import catalog, splits, text


def test_read_plain_and_zipped(tmp_path):
    written = "To be, or\r\nnot – to be"
    (tmp_path / "a.txt").write_bytes(written.encode())
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(written.encode()))
    for name in ("a.txt", "b.txt.gz"):
        found = catalog.load(tmp_path / name, text.Text)
        assert "".join(found.alphabet[found.codes]) == "To be, or\nnot – to be"
        assert found.alphabet.tolist() == sorted(set("To be, or\nnot – to be")) and found.codes.dtype == np.int32
        assert found.sizes == {"distinct": 11} and len(found) == 21
    assert "no columns" in refusal(catalog.load, tmp_path / "a.txt", kind=text.Text, columns={"user": "x"})


def test_nothing_to_read(tmp_path):
    (tmp_path / "empty.txt").write_text(" \n")
    assert "empty.txt is empty: it should hold a text" in refusal(text.read_path, tmp_path / "empty.txt")
    assert "there is no no.txt" in refusal(text.read_path, tmp_path / "no.txt")
    (tmp_path / "latin.txt").write_bytes("café".encode("latin-1"))
    assert "not UTF-8" in refusal(text.read_path, tmp_path / "latin.txt")
    assert "give its path" in refusal(catalog.load, {"a": [1]}, kind=text.Text)


def test_columns_are_the_way_back():
    found = text.from_string("banana")
    again = text.from_columns(found.columns)
    assert again.codes.tolist() == found.codes.tolist() == [1, 0, 2, 0, 2, 0]
    assert again.alphabet.tolist() == ["a", "b", "n"]


def test_the_end_is_held_out():
    split = splits.ending(text.from_string("abcdefghij" * 3), 0)
    assert len(split.train) == 27 and "".join(split.test.alphabet[split.test.codes]) == "hij"
    assert "".join(split.train.followed_by(split.test).alphabet[split.train.codes])[:10] == "abcdefghij"
    assert "cannot be cut" in refusal(splits.ending, text.from_string("a"), seed=0)


@pytest.mark.parametrize("rule", ["random", "per_user", "temporal", "leave_one_out", "new_items", "published"])
def test_other_splits_refuse_a_text(rule):
    assert "choose ending" in refusal(getattr(splits, rule), text.from_string("some text"), seed=0)


def test_a_vocabulary_is_that_of_train():
    split = splits.ending(text.from_string("abcabcabcabcabcabcaz"), 0)
    known = text.vocabulary(split.train)
    assert known.num_classes == 4 and known.encode(split.train)[:4].tolist() == [1, 2, 3, 1]
    assert known.encode(split.test).tolist() == [1, 0]  # z is in no training text
    assert known.decode(known.encode_known("cab")) == "cab"
    message = refusal(known.encode_known, "caZb")
    assert "'Z', number 3 of the prompt" in message and "'abc'" in message
    assert "empty" in refusal(known.encode_known, "")


def test_generated_words_have_their_true_probabilities():
    found = text.words(num_characters=20_000, seed=1)
    assert len(found) == 20_000 and found.truth.min() > 0 and found.truth.max() <= 1
    written = "".join(found.alphabet[found.codes])
    whole = written.split(" ")[:-1]
    # The truth of a word's characters multiplies to the word's frequency.
    ends = np.flatnonzero(found.alphabet[found.codes] == " ")
    first = whole[0]
    frequency = whole.count(first) / len(whole)
    assert math.isclose(np.prod(found.truth[: ends[0] + 1]), frequency, rel_tol=0.15)
    assert np.array_equal(text.words(20_000, 1).codes, found.codes)
    assert "at least 1000" in refusal(text.words, 10)
