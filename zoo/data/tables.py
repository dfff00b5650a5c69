"""Delimited text -> checked columns of raw ids, ratings and times.

polars reads every field as text, and casts come afterwards. Where polars stumbles, or where its result leaves room for
doubt (a blank, a quoted line break), the csv module reads the text again, slowly, and knows every line number.
"""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

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
SEPARATORS = ("\t", "::", ",", ";", "|", " ")
UNIT_SEPARATOR = "\x1f"


@dataclass(frozen=True)
class Table:
    """A file as text fields, before any of them is understood."""

    path: Path
    names: Sequence[str]  # of the columns, as the header spells them
    roles: Mapping[str, int]  # user, item and perhaps rating, timestamp -> which column it is
    fields: pl.DataFrame  # str [rows, columns], columns named "0", "1", ...
    lines: np.ndarray  # int [rows], where each row starts in the file, from 1


def table_with_header(path: Path, text: str, columns: Mapping[str, str], separator: str | None) -> Table:
    """A table whose first line names its columns; without `separator`, the file's extension and that line decide.

    `columns` maps roles to names in the header; a role that it leaves out is the column with a usual name for it.
    """
    separator = separator or guess_separator(path, text.split("\n", 1)[0])
    text, separator = _with_one_byte_separator(text, separator)
    try:
        header = csv.reader([text.split("\n", 1)[0]], delimiter=separator, strict=True)
        names = [name.strip() for name in next(header, [])]
    except csv.Error as error:
        raise InputError(f"{path}, line 1: {error}; it should be a header such as {','.join(ROLES)}") from None
    if not any(names):
        raise InputError(f"{path}, line 1 is blank: it should be a header such as {','.join(ROLES)}")
    roles = _find_columns(path, names, columns)
    return Table(path, names, roles, *read_fields(path, text, names, separator, skip=1))


def table_without_header(path: Path, text: str, separator: str) -> Table:
    """A table of user, item, rating and timestamp that starts with its first row."""
    text, separator = _with_one_byte_separator(text, separator)
    roles = {role: i for i, role in enumerate(ROLES)}
    return Table(path, ROLES, roles, *read_fields(path, text, ROLES, separator, skip=0))


def raw_columns(table: Table) -> dict[str, np.ndarray]:
    """The columns that the table has of user, item (int64 or str), rating (float32, finite) and timestamp (int64).

    InputError names the line and the column of a bad value.
    """
    parsers = {"user": _ids, "item": _ids, "rating": _ratings, "timestamp": _timestamps}
    return {role: parsers[role](table, role) for role in table.roles}


def _find_columns(path: Path, names: Sequence[str], columns: Mapping[str, str]) -> dict[str, int]:
    if unknown := sorted(set(columns) - set(ROLES)):
        raise InputError(f"unknown column role {unknown[0]!r}: the roles are {', '.join(ROLES)}")
    found = f"its columns are {_shorten(', '.join(names), 200)}"
    roles: dict[str, int] = {}
    for role in ROLES:
        matches = _columns_named(names, columns[role]) if role in columns else _columns_like(names, role)
        flag = f"--{role}-column NAME"
        if len(matches) > 1:
            several = " and ".join(names[i] for i in matches)
            raise InputError(f"{path} has several columns for the {role}, {several}: choose one with {flag}")
        if role in columns and not matches:
            raise InputError(f"{path} has no column {columns[role]!r} for the {role}: {found}; choose one with {flag}")
        for i in matches:
            if other := [other for other in roles if roles[other] == i]:
                raise InputError(f"{path}: column {names[i]!r} is given both as {other[0]} and as {role}; {found}")
            roles[role] = i
    lacking = [role for role in ("user", "item") if role not in roles]
    if lacking and any(_is_number(name) for name in names):
        raise InputError(f"{path}, line 1: {found}, which looks like data; add a header such as {','.join(ROLES)}")
    if lacking:
        flags = " and ".join(f"--{role}-column NAME" for role in lacking)
        raise InputError(f"{path} has no column for the {' and the '.join(lacking)}: {found}; say which with {flags}")
    return roles


def _columns_named(names: Sequence[str], wanted: str) -> list[int]:
    return [i for i, name in enumerate(names) if name == wanted]


def _columns_like(names: Sequence[str], role: str) -> list[int]:
    """Columns called by the role's own name, else by a usual one, whatever the case and underscores."""
    plain = [re.sub(r"[\W_]", "", name.split(":")[0]).lower() for name in names]  # RecBole writes user_id:token
    return _columns_named(plain, role) or [i for i, name in enumerate(plain) if name in ALIASES[role]]


def guess_separator(path: Path, first_line: str) -> str:
    by_extension = {".csv": ",", ".tsv": "\t"}.get(Path(path.name.removesuffix(".gz")).suffix)
    if by_extension and by_extension in first_line:
        return by_extension
    return next((separator for separator in SEPARATORS if separator in first_line), ",")


def _with_one_byte_separator(text: str, separator: str) -> tuple[str, str]:
    """The same table for csv and polars, which split by one byte only."""
    if separator in ('"', "\n", "\r"):
        raise InputError(f"separator {separator!r}: it has a meaning of its own in a table; use a comma or a tab")
    if len(separator.encode()) == 1:
        return text, separator
    return text.replace(separator, UNIT_SEPARATOR), UNIT_SEPARATOR


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def read_fields(
    path: Path, text: str, names: Sequence[str], separator: str, skip: int
) -> tuple[pl.DataFrame, np.ndarray]:
    """All rows after the first `skip` lines, and the line that each starts on."""
    text = text.rstrip("\n")
    try:
        fields = pl.read_csv(
            text.encode(),
            has_header=False,
            skip_lines=skip,
            separator=separator,
            schema={str(i): pl.String for i in range(len(names))},
        )
    except pl.exceptions.PolarsError:
        return _read_fields_slowly(path, text, names, separator, skip)
    # A null may be a blank or a short line, a row may span lines, and an empty field too many passes unseen: only the
    # slow reader can tell.
    one_row_a_line = fields.height == text.count("\n") + 1 - skip
    ends_with_separator = f"{separator}\n" in text or text.endswith(separator)
    if fields.height == 0 or not one_row_a_line or ends_with_separator or any(fields.null_count().row(0)):
        return _read_fields_slowly(path, text, names, separator, skip)
    return fields, np.arange(skip + 1, skip + 1 + fields.height)


def _read_fields_slowly(
    path: Path, text: str, names: Sequence[str], separator: str, skip: int
) -> tuple[pl.DataFrame, np.ndarray]:
    reader = csv.reader(io.StringIO(text), delimiter=separator, strict=True)
    rows, lines = [], []
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            raise InputError(f"{path}, line {line}: {error}; mend the quotes in the row that starts there") from None
        blank = len(row) < 2 and not "".join(row).strip()
        if line <= skip or blank:
            continue
        if len(row) != len(names):
            raise InputError(
                f"{path}, line {line}: {len(row)} field{'s' if len(row) > 1 else ''}, "
                f"but there are {len(names)} columns ({_shorten(', '.join(names), 200)}); "
                f"mend or remove the line {_shorten(separator.join(row))!r}"
            )
        rows.append(row)
        lines.append(line)
    if not rows:
        raise InputError(f"{path} has a header ({', '.join(names)}) but no rows: it needs one interaction a line")
    fields = pl.DataFrame(rows, schema=dict.fromkeys(map(str, range(len(names))), pl.String), orient="row")
    return fields, np.array(lines)


def _ids(table: Table, role: str) -> np.ndarray:
    text = stripped(table, role)
    refuse(table, role, text == "", f"the {role} id is blank; fill it in or remove the line")
    numbers = text.cast(pl.Int64, strict=False)
    # Integers only where they print as they are spelled: 007 and 7 may be two products.
    if numbers.null_count() == 0 and (numbers.cast(pl.String) == text).all():
        return numbers.to_numpy()
    return np.array(text.to_list())


def _ratings(table: Table, role: str) -> np.ndarray:
    numbers = stripped(table, role).cast(pl.Float32, strict=False)
    remedy = "not a finite number; mend or remove the line, or choose another column with --rating-column NAME"
    refuse(table, role, ~numbers.is_finite().fill_null(False), remedy)
    return numbers.to_numpy()


def _timestamps(table: Table, role: str) -> np.ndarray:
    numbers = stripped(table, role).cast(pl.Int64, strict=False)
    remedy = (
        "not an integer; write times as integers, such as seconds since 1970, "
        "or choose another column with --timestamp-column NAME"
    )
    refuse(table, role, numbers.is_null(), remedy)
    return numbers.to_numpy()


def stripped(table: Table, role: str) -> pl.Series:
    return table.fields[str(table.roles[role])].str.strip_chars()


def refuse(table: Table, role: str, bad: pl.Series, problem: str) -> None:
    """InputError for the first row that `bad` marks, if it marks any."""
    if not bad.any():
        return
    row, column = bad.arg_true()[0], table.roles[role]
    value = _shorten(table.fields[row, column])
    raise InputError(f"{table.path}, line {table.lines[row]}, column {table.names[column]}: {value!r}: {problem}")


def _shorten(text: str, limit: int = 60) -> str:
    text = text.replace(UNIT_SEPARATOR, "::")
    return text if len(text) <= limit else text[: limit - 3] + "..."
