"""Images with a class each: read from idx files, the format of MNIST and Fashion-MNIST, or generated."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from zoo.data.files import need_file, read_bytes
from zoo.errors import InputError


_ROWS = ("image", "label", "part")  # the columns with an entry an image
NO_COLUMNS: Mapping[str, str] = MappingProxyType({})
IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
CLOTHES = ("t-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
SHAPES = ("disc", "square", "triangle", "cross")


@dataclass(frozen=True)
class Images:
    """Images of one size in file order. A part (the rows of a split) keeps the classes of the whole."""

    unit: ClassVar[str] = "images"  # what an entry is called

    image: np.ndarray  # uint8 [n, height, width, channels]
    label: np.ndarray  # int32 [n], positions in `classes`
    classes: np.ndarray  # str [classes], their names
    part: np.ndarray | None = None  # int8 [n]: 0 train, 1 validation, 2 test, where the data set ships a split

    def __len__(self) -> int:
        return len(self.label)

    @property
    def sizes(self) -> dict[str, int]:
        height, width, _ = self.image.shape[1:]
        return {"rows of pixels": height, "columns of pixels": width, "classes": len(self.classes)}

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """The images as named arrays, for a file; `from_columns` is the way back."""
        held = {"image": self.image, "label": self.label, "classes": self.classes}
        return held if self.part is None else held | {"part": self.part}

    def take(self, index: np.ndarray) -> "Images":
        """The images at `index` (positions or a boolean mask), with the same classes."""
        return replace(self, **{name: None if (c := getattr(self, name)) is None else c[index] for name in _ROWS})

    def followed_by(self, other: "Images") -> "Images":
        """The images of this part of a set, then those of another."""
        columns = {
            name: None if getattr(self, name) is None else np.concatenate([getattr(self, name), getattr(other, name)])
            for name in _ROWS
        }
        return replace(self, **columns)


def from_columns(columns: Mapping[str, np.ndarray]) -> Images:
    """The images that `Images.columns` describes."""
    return Images(**columns)


def read_folder(folder: Path, classes: tuple[str, ...] = ()) -> Images:
    """The four idx files of MNIST in a folder, zipped or not. Classes without a name are called by their number."""
    paths = [need_file(folder, name) for name in IDX_FILES]
    train, train_label, test, test_label = (read_idx(path, 3 if "idx3" in path.name else 1) for path in paths)
    for images, labels, path in ((train, train_label, paths[1]), (test, test_label, paths[3])):
        if len(images) != len(labels):
            raise InputError(f"{path} has {len(labels):,} labels for {len(images):,} images: take files of one set")
    if train.shape[1:] != test.shape[1:]:
        raise InputError(f"{paths[2]} has images of {test.shape[1:]}, {paths[0]} of {train.shape[1:]} pixels")
    if 0 in train.shape[1:]:
        raise InputError(f"{paths[0]} has images of {train.shape[1:]} pixels: there is nothing to see")
    label = np.concatenate([train_label, test_label]).astype(np.int32)
    names = classes or tuple(str(number) for number in range(int(label.max(initial=0)) + 1))
    if label.max(initial=0) >= len(names):
        raise InputError(f"{folder} has a label {label.max()}: there are {len(names)} classes, from 0")
    part = np.repeat(np.array([0, 2], np.int8), [len(train), len(test)])
    return Images(np.concatenate([train, test])[..., None], label, np.array(names), part)


def read_idx(path: Path, num_axes: int) -> np.ndarray:
    """The array of unsigned bytes in an idx file: magic 0, 0, 8, axes; the sizes as big-endian int32; the bytes.

    InputError for another magic, or a length that is not what the sizes say.
    """
    data = read_bytes(path)
    magic = bytes((0, 0, 8, num_axes))
    if data[:4] != magic:
        raise InputError(
            f"{path} starts with {data[:4].hex(' ') or 'nothing'}, but an idx file of bytes with {num_axes} axes starts"
            f" with {magic.hex(' ')}: is it another file?"
        )
    shape = np.frombuffer(data[4 : 4 + 4 * num_axes].ljust(4 * num_axes, b"\0"), ">i4").tolist()
    expected = 4 + 4 * num_axes + int(np.prod(shape))
    if min(shape) < 0 or len(data) != expected:
        raise InputError(
            f"{path} has {len(data):,} bytes, but its header of {' x '.join(map(str, shape))} asks for {expected:,}: "
            "it is truncated or damaged, copy or download it again"
        )
    return np.frombuffer(data, np.uint8, offset=4 + 4 * num_axes).reshape(shape)


def read_path(path: str | Path, *, columns: Mapping[str, str] = NO_COLUMNS, separator: str | None = None) -> Images:
    """A folder with the four idx files of MNIST."""
    path = Path(path).expanduser()
    if columns or separator is not None:
        raise InputError(f"{path} is read as images, which have no columns: leave columns and separator out")
    if not path.is_dir():
        raise InputError(f"{path} is no folder: images are read from one that holds {', '.join(IDX_FILES)}")
    return read_folder(path)


def read_frame(frame: Any, **options: Any) -> Images:
    raise InputError(f"images are read from a folder, not from a {type(frame).__name__}: give its path")


def shapes(num_images: int = 3000, seed: int = 0) -> Images:
    """Generated images of 12 x 12 grey pixels: a shape of one of four classes, somewhere, in noise."""
    if num_images < 100:
        raise InputError(f"num_images is {num_images}: a generated set has at least 100")
    rng = np.random.default_rng(seed)
    size, radius = 12, 2.6
    label = rng.integers(0, len(SHAPES), num_images, np.int32)
    middle = rng.uniform(radius, size - 1 - radius, (num_images, 2, 1, 1))
    y, x = (np.arange(size)[:, None] - middle[:, 0]), (np.arange(size)[None, :] - middle[:, 1])
    inside = np.stack(
        [
            y**2 + x**2 <= radius**2,
            np.maximum(abs(y), abs(x)) <= radius * 0.9,
            (abs(y) <= radius) & (abs(x) <= (y + radius) / 2),
            (np.minimum(abs(y), abs(x)) <= radius / 3) & (np.maximum(abs(y), abs(x)) <= radius),
        ]
    )[label, np.arange(num_images)]
    bright = rng.uniform(80, 160, (num_images, 1, 1)) * inside + rng.normal(40, 25, (num_images, size, size))
    return Images(np.clip(bright, 0, 255).astype(np.uint8)[..., None], label, np.array(SHAPES))
