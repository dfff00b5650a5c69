"""Finding, checking and reading a data set: by its name, from a path or from a dataframe.

No data is shipped or fetched. A set is a folder of its own name under `$ZOO_DATA`, else under the user's cache.
"""

import difflib
import hashlib
import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from zoo.data import field_readers, files, images, impression_readers, readers, text
from zoo.data.datasets import CATALOG, Dataset
from zoo.data.fields import FieldTable
from zoo.data.files import find_file, missing, need_file
from zoo.data.images import Images
from zoo.data.impressions import Impressions
from zoo.data.interactions import Interactions
from zoo.data.splits import Data
from zoo.data.text import Text
from zoo.errors import InputError


# What reads a path and what reads a dataframe, by the kind of data that is wanted.
READERS: dict[type, tuple[Callable[..., Any], Callable[..., Any]]] = {
    Interactions: (readers.read_path, readers.read_frame),
    FieldTable: (field_readers.read_path, field_readers.read_frame),
    Text: (text.read_path, text.read_frame),
    Impressions: (impression_readers.read_path, impression_readers.read_frame),
    Images: (images.read_path, images.read_frame),
}


def find(name: str) -> Dataset:
    """The data set of that name; InputError with the nearest names for any other."""
    if name not in CATALOG:
        raise InputError(f"unknown data set {name!r}: {_names_like(name)}")
    return CATALOG[name]


def folder(dataset: Dataset) -> Path | None:
    """Where all files of a data set are: `$ZOO_DATA/NAME`, else `NAME` in the user's cache, else None."""
    return next((place for place in _places(dataset) if dataset.files and not _lacking(dataset, place)), None)


def is_here(dataset: Dataset) -> bool:
    return not dataset.files or folder(dataset) is not None


def load(data: Any, kind: type = Interactions, **options: Any) -> Data:
    """A named data set, the user's own file or folder, or a dataframe, read as `kind` where several are possible.

    Options of a path or a dataframe are those of its reader, of a generated set those of its function, such as
    `simulate`; a named set of files takes none. The number of users, items and interactions is checked, as is that of
    fields and rows; checksums are left to `verify`.
    """
    read_path, read_frame = READERS[kind]
    if not isinstance(data, (str, Path)):
        return read_frame(data, **options)
    dataset = _resolve(data, kind)
    if dataset is None:
        return read_path(data, **options)
    options = {name: value for name, value in options.items() if value is not None and value != {}}
    refused = sorted(options.keys() - set(generator_options(dataset)))
    if refused:
        raise InputError(f"{dataset.name} has its own reader: leave out {', '.join(refused)}, or give a path")
    if not dataset.files:
        return dataset.read(**options)
    place = _need_folder(dataset)
    data = dataset.read(place)
    counts, nouns = (*data.sizes.values(), len(data)), (*data.sizes, data.unit)
    if counts != dataset.counts:
        raise InputError(
            f"{dataset.name} in {place} has {_spell(counts, nouns)}, but the published set has "
            f"{_spell(dataset.counts or (), nouns)}: the files are damaged or of another version; {getting(dataset)}"
        )
    return data


def generator_options(dataset: Dataset) -> tuple[str, ...]:
    """The names of the whole numbers that a generated set takes; none for a set of files."""
    return () if dataset.files else tuple(inspect.signature(dataset.read).parameters)


def sha256(name_or_path: str | Path, kind: type = Interactions, **options: Any) -> str:
    """One digest of what `load` reads: the files' uncompressed contents end to end.

    The order is that of `Dataset.files`, or train, valid, test of a folder. For a generated set, the digest is of the
    arguments of the call, defaults included; the simulated world itself may differ between processors
    (simulate.simulate).
    """
    dataset = _resolve(name_or_path, kind)
    if dataset is None:
        path = Path(name_or_path).expanduser()
        paths = [need_file(path, name) for name in images.IDX_FILES] if kind is Images else readers.files_of(path)
    elif dataset.files:
        paths = _paths(dataset, _need_folder(dataset))
    else:
        return hashlib.sha256(_call(dataset.read, options).encode()).hexdigest()
    return files.sha256(paths)


def verify(dataset: Dataset) -> None:
    """Compares the files of a data set with their checksums; InputError names the first that differs."""
    if not dataset.files:
        return
    dataset = dataset.as_fields or dataset  # its files are those of both
    for path, expected in zip(_paths(dataset, _need_folder(dataset)), dataset.files.values(), strict=True):
        actual = files.sha256([path])
        if actual != expected:
            raise InputError(f"{path}: the sha256 is {actual} but should be {expected}; {getting(dataset)}")


def _resolve(name_or_path: str | Path, kind: type) -> Dataset | None:
    """The data set of that name as `kind`, None for a path that exists; one error for what is neither."""
    name = str(name_or_path)
    if isinstance(name_or_path, str) and name in CATALOG:
        dataset = CATALOG[name]
        return {FieldTable: dataset.as_fields, Impressions: dataset.as_impressions}.get(kind) or dataset
    path = Path(name_or_path).expanduser()
    if path.exists():
        return None
    raise InputError(f"cannot find {name!r}: no data set has that name ({_names_like(name)}), and {missing(path)}")


def _names_like(name: str) -> str:
    near = difflib.get_close_matches(name, CATALOG, n=2, cutoff=0.5)
    return (f"did you mean {' or '.join(near)}? " if near else "") + f"there are {', '.join(CATALOG)}"


def _places(dataset: Dataset) -> list[Path]:
    roots = [os.environ.get("ZOO_DATA"), Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "zoo"]
    return [Path(root).expanduser() / (dataset.folder or dataset.name) for root in roots if root]


def _lacking(dataset: Dataset, place: Path) -> list[str]:
    return [name for name in dataset.files if find_file(place, name) is None]


def _paths(dataset: Dataset, place: Path) -> list[Path]:
    return [need_file(place, name) for name in dataset.files]


def _need_folder(dataset: Dataset) -> Path:
    place = folder(dataset)
    if place is not None:
        return place
    partly = [place for place in _places(dataset) if place.is_dir()]
    if partly:
        raise InputError(f"{partly[0]} lacks {' and '.join(_lacking(dataset, partly[0]))}; {getting(dataset)}")
    looked = " and ".join(str(place) for place in _places(dataset))
    raise InputError(f"data set {dataset.name} is not here (looked for {looked}); {getting(dataset)}")


def getting(dataset: Dataset) -> str:
    """How to get the files of a data set, with the first of the folders that are looked in."""
    return f"to get it: {dataset.how_to_get.replace('FOLDER', str(_places(dataset)[0]))}"


def _spell(counts: tuple[int, ...], nouns: tuple[str, ...]) -> str:
    parts = [f"{count:,} {noun}" for count, noun in zip(counts, nouns)]
    return " and ".join([", ".join(parts[:-1]), parts[-1]])


def _call(function: Callable[..., Any], arguments: Mapping[str, Any]) -> str:
    call = inspect.signature(function).bind(**arguments)
    call.apply_defaults()
    settings = ", ".join(f"{name}={value!r}" for name, value in sorted(call.arguments.items()))
    return f"{function.__name__}({settings})"
