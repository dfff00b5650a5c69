"""Delimited text -> a table of the columns that interactions come from.

polars reads every field as text, and casts come afterwards. Where polars stumbles, or where its result leaves room for
doubt (a blank, a quoted line break), the csv module reads the text again, slowly, and knows every line number.
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from zoo.data.columns import ROLES, Table, find_columns, shorten
from zoo.errors import InputError


SEPARATORS = ("\t", "::", ",", ";", "|", " ")
UNIT_SEPARATOR = "\x1f"
RECBOLE_TYPES = ("token", "token_seq", "float", "float_seq")
RECBOLE_HEADER = "user_id:token\titem_id:token\trating:float\ttimestamp:float"


def table_with_header(path: Path, text: str, columns: Mapping[str, str], separator: str | None) -> Table:
    """A table whose first line names its columns; without `separator`, the file's extension and that line decide.

    `columns` maps roles to names in the header; a role that it leaves out is the column with a usual name for it.
    """
    return _table(path, text, columns, separator or guess_separator(path, text.split("\n", 1)[0]), list)


def table_with_types(path: Path, text: str, columns: Mapping[str, str], separator: str | None) -> Table:
    """A RecBole atomic file: its header gives names and types, `user_id:token`; `columns` maps roles to the names."""
    return _table(path, text, columns, separator or "\t", partial(_names_of_types, path))


def table_without_header(path: Path, text: str, separator: str) -> Table:
    """A table of user, item, rating and timestamp that starts with its first row."""
    text, separator = _with_one_byte_separator(text, separator)
    roles = {role: i for i, role in enumerate(ROLES)}
    return _of_roles(path, ROLES, roles, *_read_fields(path, text, ROLES, separator, skip=0))


def table_of_text(path: Path, text: str, names: Sequence[str], separator: str, skip: int) -> Table:
    """A table with a column of text for each of `names`, from the rows after the first `skip` lines.

    `separator` is one byte; where it is UNIT_SEPARATOR, the text had "::" in its place.
    """
    fields, lines = _read_fields(path, text, names, separator, skip)
    columns = {name: fields[str(i)].str.strip_chars() for i, name in enumerate(names)}
    return Table(str(path), {name: name for name in names}, pl.DataFrame(columns), "line {}", lines)


def _table(
    path: Path,
    text: str,
    columns: Mapping[str, str],
    separator: str,
    names_of: Callable[[list[str]], list[str]],
) -> Table:
    """A table under a header, whose fields `names_of` turns into the names of the columns."""
    text, separator = _with_one_byte_separator(text, separator)
    try:
        header = next(csv.reader([text.split("\n", 1)[0]], delimiter=separator, strict=True), [])
    except csv.Error as error:
        raise InputError(f"{path}, line 1: {error}; it should be a header such as {','.join(ROLES)}") from None
    names = names_of([name.strip() for name in header])
    if not any(names):
        raise InputError(f"{path}, line 1 is blank: it should be a header such as {','.join(ROLES)}")
    roles = find_columns(f"{path}, line 1", names, columns)
    return _of_roles(path, names, roles, *_read_fields(path, text, names, separator, skip=1))


def _names_of_types(path: Path, header: list[str]) -> list[str]:
    """["user_id:token", ...] -> ["user_id", ...]."""
    parts = [name.partition(":") for name in header]
    if not all(name and kind in RECBOLE_TYPES for name, _, kind in parts):
        shown = shorten("\t".join(header))
        raise InputError(
            f"{path}, line 1: {shown!r} is no typed header, with which an .inter file starts: "
            f"write it like {RECBOLE_HEADER!r}, or rename a file whose header has no types to .tsv"
        )
    return [name for name, _, _ in parts]


def _of_roles(
    path: Path, names: Sequence[str], roles: Mapping[str, int], fields: pl.DataFrame, lines: np.ndarray
) -> Table:
    columns = {role: fields[str(i)].str.strip_chars() for role, i in roles.items()}
    columns |= {role: _integers_where_all_are(columns[role]) for role in ("user", "item")}
    return Table(str(path), {role: names[i] for role, i in roles.items()}, pl.DataFrame(columns), "line {}", lines)


def _integers_where_all_are(text: pl.Series) -> pl.Series:
    """Integers only where they print as they are spelled: 007 and 7 may be two products."""
    numbers = text.cast(pl.Int64, strict=False)
    return numbers if numbers.null_count() == 0 and (numbers.cast(pl.String) == text).all() else text


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


def _read_fields(
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
            shown = shorten(separator.join(row).replace(UNIT_SEPARATOR, "::"))
            raise InputError(
                f"{path}, line {line}: {len(row)} field{'s' if len(row) > 1 else ''}, "
                f"but there are {len(names)} columns ({shorten(', '.join(names), 200)}); "
                f"mend or remove the line {shown!r}"
            )
        rows.append(row)
        lines.append(line)
    if not rows:
        raise InputError(f"{path} has a header ({', '.join(names)}) but no rows: it needs one interaction a line")
    fields = pl.DataFrame(rows, schema=dict.fromkeys(map(str, range(len(names))), pl.String), orient="row")
    return fields, np.array(lines)
