"""Parquet files and dataframes -> a table of the columns that interactions or fields come from. They have types."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from zoo.data.columns import FLAGS, Table, find_columns, shorten
from zoo.data.files import check_parquet
from zoo.errors import InputError


ARROW = "__arrow_c_stream__"  # the Arrow C stream interface
CHOOSE = "columns={{'{}': NAME}} of zoo.load_data"
_IDS = "integers, or strings, all of one kind"
NEEDED = {
    "user": _IDS,
    "item": _IDS,
    "rating": "numbers",
    "timestamp": "integers, such as seconds since 1970, or dates",
}


def table_of_parquet(path: Path, columns: Mapping[str, str]) -> Table:
    """The rows of a Parquet file; `columns` maps roles to names, as for a file with a header."""
    names = parquet_columns(path, columns)
    with reading(path):
        frame = pl.read_parquet(path, columns=list(names.values()))
    return typed_table(str(path), frame, names)


def table_of_frame(frame: Any, columns: Mapping[str, str]) -> Table:
    """The rows of a dataframe with the Arrow C stream interface; times may be dates, which become seconds."""
    frame = frame_of(frame)
    roles = find_columns("the dataframe", frame.columns, columns, CHOOSE)
    return typed_table("the dataframe", frame, {role: frame.columns[i] for role, i in roles.items()}, choose=CHOOSE)


def frame_of(frame: Any) -> pl.DataFrame:
    """A dataframe with the Arrow C stream interface as one of polars; InputError for anything else."""
    if not hasattr(frame, ARROW):
        raise InputError(
            f"data is a {type(frame).__name__}: give a name of `zoo data`, a path, Interactions, or a dataframe that "
            "has the Arrow interface (polars, pyarrow, duckdb, pandas from 2.2)"
        )
    try:
        return pl.DataFrame(frame)
    except Exception as error:  # each library has its own for a column of mixed types
        reason = shorten(" ".join(" ".join(map(str, error.args)).split()), 200)
        raise InputError(
            f"the dataframe cannot be read through Arrow ({reason}): "
            "a column holds values of one type, so turn mixed ids into strings"
        ) from None


def parquet_columns(path: Path, columns: Mapping[str, str]) -> dict[str, str]:
    """Role -> column of a Parquet file, from its footer alone."""
    check_parquet(path)
    with reading(path):
        names = list(pl.read_parquet_schema(path))
    return {role: names[i] for role, i in find_columns(str(path), names, columns).items()}


def typed_table(
    source: str, frame: pl.DataFrame, names: Mapping[str, str], first: int = 0, choose: str = FLAGS
) -> Table:
    """Rows `first`, `first` + 1, ... of a source; InputError for none, or for a column of a type that cannot serve."""
    if frame.height == 0:
        raise InputError(f"{source} has columns ({', '.join(frame.columns)}) but no rows: it needs one an interaction")
    fields = pl.DataFrame({role: _typed(source, frame[name], role, choose) for role, name in names.items()})
    return Table(source, names, fields, "row {} (the first is 0)", range(first, first + frame.height), choose)


def spelled_table(source: str, frame: pl.DataFrame, choose: str = FLAGS) -> Table:
    """All columns as text, null where missing, as a table of fields reads them from a file."""
    if frame.height == 0:
        raise InputError(f"{source} has columns ({', '.join(frame.columns)}) but no rows: it needs one an example")
    fields = pl.DataFrame({name: _spelled(source, frame[name]) for name in frame.columns})
    names = {name: name for name in frame.columns}
    return Table(source, names, fields, "row {} (the first is 0)", range(frame.height), choose)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns what polars raises on a damaged file into an InputError."""
    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        reason = shorten(" ".join(str(error).split()), 200)
        raise InputError(f"{path} is a damaged Parquet file ({reason}): write, copy or download it again") from None


def _spelled(source: str, column: pl.Series) -> pl.Series:
    kind = column.dtype
    if kind == pl.Boolean:
        column = column.cast(pl.Int8)
    elif kind.is_float():
        column = column.fill_nan(None)
    elif not (kind.is_integer() or kind in (pl.String, pl.Categorical, pl.Enum)):
        raise InputError(
            f"{source}, column {column.name!r} is of type {shorten(str(kind))}: a field holds integers, strings or "
            "booleans, which are categories, or floats, which are numbers; convert it, or leave it out"
        )
    return column.cast(pl.String).str.strip_chars()


def _typed(source: str, column: pl.Series, role: str, choose: str) -> pl.Series:
    kind = column.dtype
    if role in ("user", "item"):
        if kind in (pl.Categorical, pl.Enum):
            return column.cast(pl.String)
        serves = kind.is_integer() or kind == pl.String
    elif role == "timestamp":
        if kind in (pl.Date, pl.Datetime):
            return column.dt.epoch("s")
        serves = kind.is_integer() or kind.is_float()
    else:
        serves = kind.is_numeric()
    if not serves:
        raise InputError(
            f"{source}, column {column.name!r} is of type {shorten(str(kind))}: the {role} needs {NEEDED[role]}; "
            f"convert it, or choose another column with {choose.format(role)}"
        )
    return column
