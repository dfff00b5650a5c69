"""Readers: a file or a dataframe with an impression a row -> Impressions. Text may be zipped (`.gz`)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from zoo.data import impressions
from zoo.data.columns import FLAGS, Table, id_array, refuse
from zoo.data.files import check_parquet, read_text
from zoo.data.frames import frame_of, reading, spelled_table
from zoo.data.impressions import Impressions
from zoo.data.tables import guess_separator, table_of_text
from zoo.errors import InputError


NEEDED = ("user", "item", "timestamp", "click", "watch_seconds")
CHOOSE = "columns={{'{}': NAME}} of zoo.load_data(frame, zoo.Impressions)"


def read_path(path: str | Path, *, columns: Mapping[str, str] = {}, separator: str | None = None) -> Impressions:
    """The impressions in the user's own file: CSV or TSV with a header, or Parquet.

    Its columns are user, item, timestamp, click, watch_seconds and, where there, page; `columns` maps these to other
    names.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        raise InputError(f"{path} is a folder: impressions are read from one file")
    if path.suffix == ".parquet":
        if separator is not None:
            raise InputError(f"{path} is a Parquet file, which has no separator: leave {separator!r} out")
        check_parquet(path)
        with reading(path):
            frame = pl.read_parquet(path)
        return _from_table(spelled_table(str(path), frame), columns, FLAGS)
    text = read_text(path)
    first = text.split("\n", 1)[0]
    separator = separator or guess_separator(path, first)
    return _from_table(
        table_of_text(path, text, [name.strip() for name in first.split(separator)], separator, 1), columns, FLAGS
    )


def read_frame(frame: Any, *, columns: Mapping[str, str] = {}) -> Impressions:
    """A dataframe with the Arrow interface and the columns of `read_path`."""
    return _from_table(spelled_table("the dataframe", frame_of(frame), CHOOSE), columns, CHOOSE)


def _from_table(table: Table, columns: Mapping[str, str], choose: str) -> Impressions:
    if wrong := sorted(set(columns) - {*NEEDED, "page"}):
        raise InputError(f"impressions have no {wrong[0]}: leave {choose.format(wrong[0])} out")
    names = {role: columns.get(role, role) for role in (*NEEDED, "page")}
    for role in NEEDED:
        if names[role] not in table.names:
            raise InputError(
                f"{table.source} has no column {names[role]!r} for the {role} of an impression: "
                f"its columns are {', '.join(table.names)}; say which with {choose.format(role.replace('_', '-'))}"
            )
    ids = {role: _ids(table, names[role]) for role in ("user", "item")}
    held = {role: _numbers(table, names[role]) for role in ("click", "watch_seconds")}
    time = _integers(table, names["timestamp"])
    page = _ids(table, names["page"]) if names["page"] in table.names else None
    return impressions.from_raw(
        **ids,
        timestamp=time,
        **held,
        page=page,
        place=lambda row: f"{table.source}, {table.place.format(table.numbers[row - 1])}",
    )


def _ids(table: Table, name: str) -> np.ndarray:
    text = table.fields[name]
    refuse(table, name, text.is_null() | (text == "").fill_null(True), "the id is blank; fill it in or remove the row")
    numbers = text.cast(pl.Int64, strict=False)
    spelled = numbers.null_count() == 0 and (numbers.cast(pl.String) == text).all()
    return id_array(numbers if spelled else text)


def _numbers(table: Table, name: str) -> np.ndarray:
    numbers = table.fields[name].cast(pl.Float32, strict=False)
    refuse(table, name, numbers.is_null(), "not a number; mend or remove the row")
    return numbers.to_numpy()


def _integers(table: Table, name: str) -> np.ndarray:
    numbers = table.fields[name].cast(pl.Int64, strict=False)
    refuse(table, name, numbers.is_null(), "not an integer; write times as integers, such as seconds since 1970")
    return numbers.to_numpy()
