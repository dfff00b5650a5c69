"""Text as a sequence of characters, read from a file or generated, and which characters a model knows."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from zoo.data.files import read_text
from zoo.errors import InputError


_ROWS = ("codes", "part", "truth")  # the columns with an entry a character
NO_COLUMNS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Text:
    """Characters in their order. A part of a text keeps the alphabet of the whole."""

    unit: ClassVar[str] = "characters"  # what an entry is called

    codes: np.ndarray  # int32 [n], positions in the alphabet
    alphabet: np.ndarray  # str [distinct], single characters, ascending
    part: np.ndarray | None = None  # int8 [n]: 0 train, 1 validation, 2 test, where a search has marked them
    truth: np.ndarray | None = None  # float32 [n]: of a generated text, P(character given all before it)

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def sizes(self) -> dict[str, int]:
        return {"distinct": len(self.alphabet)}

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """The text as named arrays, for a file; `from_columns` is the way back. The truth stays behind."""
        held = {"codes": self.codes, "alphabet": self.alphabet}
        return held if self.part is None else held | {"part": self.part}

    def take(self, index: Any) -> "Text":
        """The characters at `index` (a slice, positions or a boolean mask)."""
        return replace(self, **{name: None if (c := getattr(self, name)) is None else c[index] for name in _ROWS})

    def followed_by(self, other: "Text") -> "Text":
        """The characters of this part of a text, then those of another."""
        columns = {
            name: None if getattr(self, name) is None else np.concatenate([getattr(self, name), getattr(other, name)])
            for name in _ROWS
        }
        return replace(self, **columns)


@dataclass(frozen=True)
class Vocabulary:
    """The characters of a training part as classes 1, 2, ...; class 0 stands for every other character."""

    characters: np.ndarray  # str [known], ascending

    @property
    def num_classes(self) -> int:
        return 1 + len(self.characters)

    def encode(self, text: Text) -> np.ndarray:
        """Classes int32 [n]."""
        place = np.minimum(np.searchsorted(self.characters, text.alphabet), len(self.characters) - 1)
        classes = np.where(self.characters[place] == text.alphabet, place + 1, 0).astype(np.int32)
        return classes[text.codes]

    def encode_known(self, written: str) -> np.ndarray:
        """Classes int32 [n]; InputError for a character that the vocabulary lacks, or for none at all."""
        if not written:
            raise InputError("the prompt is empty: write at least one character for the text to go on from")
        known = {character: row for row, character in enumerate(self.characters.tolist(), 1)}
        for place, character in enumerate(written, 1):
            if character not in known:
                raise InputError(
                    f"character {character!r}, number {place} of the prompt, does not occur in the training text: "
                    f"leave it out; its {len(known)} characters are {''.join(known)!r}"
                )
        return np.array([known[character] for character in written], np.int32)

    def decode(self, classes: np.ndarray) -> str:
        """The inverse, of classes from 1."""
        return "".join(self.characters[classes - 1].tolist())


def vocabulary(train: Text) -> Vocabulary:
    return Vocabulary(train.alphabet[np.unique(train.codes)])


def from_string(written: str, truth: np.ndarray | None = None) -> Text:
    points = np.frombuffer(written.encode("utf-32-le"), np.uint32)
    distinct, codes = np.unique(points, return_inverse=True)
    return Text(codes.astype(np.int32), np.array([chr(point) for point in distinct], str), truth=truth)


def from_columns(columns: Mapping[str, np.ndarray]) -> Text:
    """The text that `Text.columns` describes."""
    return Text(**columns)


def read_path(path: str | Path, *, columns: Mapping[str, str] = NO_COLUMNS, separator: str | None = None) -> Text:
    """The text of a UTF-8 file, zipped or not, whatever it says."""
    if columns or separator is not None:
        raise InputError(f"{path} is read as a text, which has no columns: leave columns and separator out")
    return from_string(read_text(Path(path).expanduser(), "a text"))


def read_frame(frame: Any, **options: Any) -> Text:
    raise InputError(f"a text is read from a file, not from a {type(frame).__name__}: give its path")


def words(num_characters: int = 60_000, seed: int = 0) -> Text:
    """A generated text with its true probabilities: words of a lexicon, as frequent as 1 / rank, drawn independently.

    The next character depends on all letters of its word so far, of which a model of pairs sees only the last.
    """
    if num_characters < 1000:
        raise InputError(f"num_characters is {num_characters}: a generated text has at least 1000")
    rng = np.random.default_rng(seed)
    letters = np.array(list("aeinorst"))
    lexicon = {"".join(rng.choice(letters, rng.integers(2, 9))) + " " for _ in range(100)}
    chance = 1 / np.arange(1, len(lexicon) + 1)
    starts: dict[str, float] = {}  # the probability that a word starts so
    for word, p in zip(sorted(lexicon), chance / chance.sum()):
        for end in range(len(word) + 1):
            starts[word[:end]] = starts.get(word[:end], 0.0) + p
    drawn = rng.choice(sorted(lexicon), num_characters // 3 + 1, p=chance / chance.sum())  # a word has 3 or more
    truth = [starts[word[: i + 1]] / starts[word[:i]] for word in drawn.tolist() for i in range(len(word))]
    return from_string("".join(drawn)[:num_characters], np.array(truth[:num_characters], np.float32))
