"""The columns that interactions come from, found by name and checked: the same for text, Parquet and dataframes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from zoo.errors import InputError


ROLES = ("user", "item", "rating", "timestamp")  # the first two are required
ALIASES = {
    "user": {"userid", "uid"},
    "item": {"itemid", "iid", "movieid", "productid", "videoid", "bookid"},
    "rating": {"ratings"},
    "timestamp": {"timestamps", "unixtime"},
}
FLAGS = "--{}-column NAME"  # how a user says which column has a role


@dataclass(frozen=True)
class Table:
    """The rows of a file or dataframe, a column a role, before the values are checked.

    In a table of fields every column has a role of its own, which is its name.
    """

    source: str  # for messages: the file, or what else it is
    names: Mapping[str, str]  # role -> its column's name in the source; user, item and perhaps rating, timestamp
    fields: pl.DataFrame  # columns by role: ids are strings or integers, ratings and times numbers or their spelling
    place: str  # for messages: where a row is, such as "line {}"
    numbers: np.ndarray | range  # int [rows], what stands in `place` for each row
    choose: str = FLAGS


def find_columns(source: str, names: Sequence[str], columns: Mapping[str, str], choose: str = FLAGS) -> dict[str, int]:
    """Role -> which of the columns called `names` has it.

    `columns` maps roles to names; a role that it leaves out is the column with a usual name for it.
    """
    if unknown := sorted(set(columns) - set(ROLES)):
        raise InputError(f"unknown column role {unknown[0]!r}: the roles are {', '.join(ROLES)}")
    found = f"its columns are {shorten(', '.join(names), 200)}"
    roles: dict[str, int] = {}
    for role in ROLES:
        matches = _columns_named(names, columns[role]) if role in columns else _columns_like(names, role)
        flag = choose.format(role)
        if len(matches) > 1:
            several = " and ".join(names[i] for i in matches)
            raise InputError(f"{source} has several columns for the {role}, {several}: choose one with {flag}")
        if role in columns and not matches:
            raise InputError(
                f"{source} has no column {columns[role]!r} for the {role}: {found}; choose one with {flag}"
            )
        for i in matches:
            if other := [other for other in roles if roles[other] == i]:
                raise InputError(f"{source}: column {names[i]!r} is given both as {other[0]} and as {role}; {found}")
            roles[role] = i
    lacking = [role for role in ("user", "item") if role not in roles]
    if lacking and any(_is_number(name) for name in names):
        raise InputError(f"{source}: {found}, which looks like data; add a header such as {','.join(ROLES)}")
    if lacking:
        flags = " and ".join(choose.format(role) for role in lacking)
        raise InputError(f"{source} has no column for the {' and the '.join(lacking)}: {found}; say which with {flags}")
    return roles


def raw_columns(table: Table) -> dict[str, np.ndarray]:
    """The columns that the table has of user, item (int64 or str), rating (float32, finite) and timestamp (int64).

    InputError names the place and the column of a bad value.
    """
    parsers = {"user": _ids, "item": _ids, "rating": _ratings, "timestamp": _timestamps}
    return {role: parsers[role](table, role) for role in table.names}


def checked_ids(table: Table, role: str) -> pl.Series:
    """The ids of users or items, int64 or strings, none of them blank."""
    raw = table.fields[role]
    blank = raw.is_null() | (raw == "").fill_null(True) if raw.dtype == pl.String else raw.is_null()
    refuse(table, role, blank, f"the {role} id is blank; fill it in or remove the row")
    if raw.dtype == pl.String:
        return raw
    numbers = raw.cast(pl.Int64, strict=False)
    refuse(table, role, numbers.is_null(), f"the {role} id is beyond int64; write such ids as strings")
    return numbers


def id_array(ids: pl.Series) -> np.ndarray:
    """Checked ids as int64 or str."""
    return np.array(ids.to_list()) if ids.dtype == pl.String else ids.to_numpy()


def refuse(table: Table, role: str, bad: pl.Series, problem: str) -> None:
    """InputError for the first row that `bad` marks, if it marks any."""
    if not bad.any():
        return
    row = bad.arg_true()[0]
    value = table.fields[row, role]
    spelled = "null" if value is None else repr(shorten(str(value)))
    place = table.place.format(table.numbers[row])
    raise InputError(f"{table.source}, {place}, column {table.names[role]}: {spelled}: {problem}")


def shorten(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _columns_named(names: Sequence[str], wanted: str) -> list[int]:
    return [i for i, name in enumerate(names) if name == wanted]


def _columns_like(names: Sequence[str], role: str) -> list[int]:
    """Columns called by the role's own name, else by a usual one, whatever the case and underscores."""
    plain = [re.sub(r"[\W_]", "", name).lower() for name in names]
    return _columns_named(plain, role) or [i for i, name in enumerate(plain) if name in ALIASES[role]]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _ids(table: Table, role: str) -> np.ndarray:
    return id_array(checked_ids(table, role))


def _ratings(table: Table, role: str) -> np.ndarray:
    numbers = table.fields[role].cast(pl.Float32, strict=False)
    remedy = f"not a finite number; mend or remove the row, or choose another column with {table.choose.format(role)}"
    refuse(table, role, ~numbers.is_finite().fill_null(False), remedy)
    return numbers.to_numpy()


def _timestamps(table: Table, role: str) -> np.ndarray:
    raw = table.fields[role]
    numbers = raw.cast(pl.Int64, strict=False)
    bad = numbers.is_null()
    if not raw.dtype.is_integer() and (bad.any() or raw.dtype.is_float()):  # 881250949.0 is an integer too
        floats = raw.cast(pl.Float64, strict=False)
        numbers = numbers.fill_null(floats.cast(pl.Int64, strict=False))
        bad = (numbers.cast(pl.Float64) != floats).fill_null(True)
    remedy = (
        "not an integer; write times as integers, such as seconds since 1970, "
        f"or choose another column with {table.choose.format(role)}"
    )
    refuse(table, role, bad, remedy)
    return numbers.to_numpy()
