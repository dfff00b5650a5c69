"""Readers: a file, a folder of files, or a dataframe -> Interactions. Text may be zipped (`.gz`)."""

import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl

from zoo.data.columns import raw_columns
from zoo.data.files import find_file, nearest_names, read_text
from zoo.data.frames import table_of_frame, table_of_parquet
from zoo.data.interactions import Interactions, from_raw
from zoo.data.tables import table_with_header, table_with_types, table_without_header
from zoo.errors import InputError


MOVIELENS_SEPARATORS = {r"u[1-5ab]?\.(data|base|test)": "\t", r"ratings\.dat": "::"}  # by file name
NO_COLUMNS: Mapping[str, str] = MappingProxyType({})


def read_path(
    path: str | Path, *, columns: Mapping[str, str] = NO_COLUMNS, separator: str | None = None
) -> Interactions:
    """The interactions in the user's own file or folder, in any format known here.

    `columns` maps user, item, rating, timestamp to names in the file's header; usual names (user_id, movieId, ...) need
    no mapping. Without `separator` the file's extension and its header decide. Whatever is wrong with the input is an
    InputError that names the value, the file, the line and the remedy.
    """
    path = Path(path).expanduser()
    mapped = bool(columns) or separator is not None
    if path.is_dir():
        if mapped:
            raise InputError(f"{path} is a folder, which has no columns to map or separate: leave them out")
        return read_split_folder(path)
    if path.suffix == ".parquet":
        if separator is not None:
            raise InputError(f"{path} is a Parquet file, which has no separator: leave {separator!r} out")
        return read_parquet(path, columns=columns)
    if path.name.removesuffix(".gz").endswith(".inter"):
        return read_recbole(path, columns=columns, separator=separator)
    if _movielens_separator(path) and not mapped:
        return read_movielens(path)
    return read_delimited(path, columns=columns, separator=separator)


def files_of(path: Path) -> tuple[Path, ...]:
    """The files that `read_path` reads, in its order: the file itself; of a folder train, valid (if there), test."""
    return tuple(file for _, file in _parts_of(path)) if path.is_dir() else (path,)


def read_delimited(
    path: Path, *, columns: Mapping[str, str] = NO_COLUMNS, separator: str | None = None
) -> Interactions:
    """A file with a header and one interaction a line: user, item and, where there, rating and timestamp."""
    return from_raw(**raw_columns(table_with_header(path, read_text(path), columns, separator)))


def read_recbole(path: Path, *, columns: Mapping[str, str] = NO_COLUMNS, separator: str | None = None) -> Interactions:
    """A RecBole atomic file: tabs, and a header with types, `user_id:token item_id:token rating:float ...`.

    `columns` gives the names before the colon.
    """
    return from_raw(**raw_columns(table_with_types(path, read_text(path), columns, separator)))


def read_parquet(path: Path, *, columns: Mapping[str, str] = NO_COLUMNS) -> Interactions:
    """A Parquet file with a row an interaction; only the columns that are needed are read."""
    return from_raw(**raw_columns(table_of_parquet(path, columns)))


def read_frame(frame: Any, *, columns: Mapping[str, str] = NO_COLUMNS) -> Interactions:
    """A dataframe with a row an interaction: polars, pyarrow, pandas from 2.2, duckdb, all with the Arrow interface."""
    return from_raw(**raw_columns(table_of_frame(frame, columns)))


def read_movielens(path: Path) -> Interactions:
    """MovieLens' u.data, u1.base (tabs) or ratings.dat (`::`): user, item, rating, timestamp, without a header."""
    return from_raw(**_movielens_columns(path))


def read_movielens_split(train: Path, test: Path) -> Interactions:
    """Two MovieLens files, such as u1.base and u1.test, as parts 0 and 2 of one data set."""
    raw_train, raw_test = _movielens_columns(train), _movielens_columns(test)
    part = np.repeat(np.array([0, 2], np.int8), [len(raw_train["user"]), len(raw_test["user"])])
    return from_raw(**{role: np.concatenate([raw_train[role], raw_test[role]]) for role in raw_train}, part=part)


def read_split_folder(folder: Path) -> Interactions:
    """A folder of train.txt, test.txt and perhaps valid.txt with lines `user item item ...`, as NGCF ships its data."""
    users, items, parts = [], [], []
    for part, path in _parts_of(folder):
        user, item, _ = _read_user_lines(path)
        users.append(user)
        items.append(item)
        parts.append(np.full(len(user), part, np.int8))
    return from_raw(np.concatenate(users), np.concatenate(items), part=np.concatenate(parts))


def read_sequences(path: Path) -> Interactions:
    """A file of lines `user item item ...` in order of time; a timestamp is the position in the line: 0, 1, 2, ..."""
    user, item, position = _read_user_lines(path)
    return from_raw(user, item, timestamp=position)


def _parts_of(folder: Path) -> list[tuple[int, Path]]:
    paths = [find_file(folder, f"{name}.txt") for name in ("train", "valid", "test")]
    for path, name in ((paths[0], "train.txt"), (paths[2], "test.txt")):
        if path is None:
            raise InputError(
                f"{folder} has no {name} or {name}.gz ({nearest_names(folder, name)}): a folder is read as "
                "train.txt and test.txt with lines `user item item ...`; for another format, give the path of one file"
            )
    return [(part, path) for part, path in enumerate(paths) if path]


def _read_user_lines(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Raw user, raw item and position in the line (from 0) of each item, int64. A user without items adds nothing."""
    rows = [line.split() for line in read_text(path).split("\n")]
    tokens = pl.Series(list(itertools.chain.from_iterable(rows)), dtype=pl.String)
    ids = tokens.cast(pl.Int64, strict=False)
    sizes = np.fromiter(map(len, rows), np.int64, len(rows))
    ends = np.cumsum(sizes)
    if ids.null_count():
        bad = ids.is_null().arg_true()[0]
        line = np.searchsorted(ends, bad, side="right") + 1
        raise InputError(f"{path}, line {line}: {tokens[bad]!r} is not an integer id; a line is `user item item ...`")
    ids = ids.to_numpy()
    start_of_line = np.repeat(ends - sizes, sizes)
    position = np.arange(len(ids)) - start_of_line - 1
    is_item = position >= 0
    if not is_item.any():
        raise InputError(f"{path} has users but no items: a line is `user item item ...`")
    return ids[start_of_line][is_item], ids[is_item], position[is_item]


def _movielens_columns(path: Path) -> dict[str, np.ndarray]:
    return raw_columns(table_without_header(path, read_text(path), _movielens_separator(path) or "\t"))


def _movielens_separator(path: Path) -> str | None:
    name = path.name.removesuffix(".gz")
    return next((separator for pattern, separator in MOVIELENS_SEPARATORS.items() if re.fullmatch(pattern, name)), None)
