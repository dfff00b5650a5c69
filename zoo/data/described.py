"""Rows described by some of their fields, such as a new user's or a new book's, completed from a run's table.

A field that is not named is that of the row's user or item where the table has these, else it is blank: the blank
category if the table has one, a missing number, an empty bag. Values are spelled as in the table.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from zoo.data.columns import Table, refuse, shorten
from zoo.data.fields import Encoding, FieldTable
from zoo.data.files import read_text
from zoo.data.interactions import find_rows
from zoo.data.tables import guess_separator, table_of_text
from zoo.errors import InputError


class Described(NamedTuple):
    """What rows were made of."""

    rows: FieldTable  # with the levels of the run's table; code -1 for a category that is not among them
    given: tuple[str, ...]  # the fields that were named
    unknown: dict[str, int]  # by field, the values given that training did not know
    blank: tuple[str, ...]  # the fields of the model that nobody said, of some row
    of_item: tuple[str, ...]  # `item` and the fields that describe it


def read_rows(path: Path) -> Table:
    """A CSV or TSV file of rows under a header that names fields, gzipped or not."""
    text = read_text(path)
    first = text.split("\n", 1)[0]
    separator = guess_separator(path, first)
    names = [name.strip() for name in first.split(separator)]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{path}, line 1: column {repeated[0]!r} stands there twice: leave one out")
    return table_of_text(path, text, names, separator, 1)


def rows_of_values(values: Mapping[str, Any]) -> Table:
    """Rows from columns of values, as a file would spell them; None and NaN are blank."""
    if not values:
        raise InputError("no field is described: give at least one, such as --field age=31")
    sizes = {name: len(column) for name, column in values.items()}
    if len(set(sizes.values())) > 1:
        raise InputError(f"the described fields are not of one length: {sizes}")
    spelled = {
        name: pl.Series(
            ["" if value is None or value != value else str(value).strip() for value in column], dtype=pl.String
        )
        for name, column in values.items()
    }
    count = next(iter(sizes.values()))
    return Table(
        "what is described", {name: name for name in values}, pl.DataFrame(spelled), "row {}", range(1, count + 1)
    )


def complete(table: FieldTable, encoding: Encoding, given: Table, of_item: Sequence[str]) -> Described:
    """The rows of `given`, each with all fields of `table`; `of_item` are those that describe the field `item`.

    InputError for a field that the table has not, for text in a numeric field, and for a field of a known user or item
    that is not the same in all its rows and not given.
    """
    names = tuple(given.fields.columns)
    for name in names:
        if name not in table.field_names:
            near = difflib.get_close_matches(name, table.field_names, 2)
            choice = f"did you mean {' or '.join(near)}? " if near else ""
            raise InputError(f"unknown field {name!r}: {choice}the fields are {', '.join(table.field_names)}")
    item = [name for name in table.field_names if name in of_item and name not in names]
    user = [name for name in table.field_names if name not in (*of_item, *names, "user", "item")]
    sources = dict.fromkeys(table.field_names, np.full(given.fields.height, -1))
    for key, own in (("item", item), ("user", user)):
        if key in names and key in table.names:
            place = table.names.index(key)
            codes = find_rows(_text(given, key), table.levels[place])
            sources |= dict.fromkeys(own, rows_of(table, key, codes, own))
    columns = [_categories(table, i, given, sources[name]) for i, name in enumerate(table.names)]
    numbers = [_numbers(table, i, given, sources[name]) for i, name in enumerate(table.numeric_names)]
    bags = [_bag(table, i, given, sources[name]) for i, name in enumerate(table.bag_names)]
    height = given.fields.height
    rows = replace(
        table,
        codes=np.stack(columns, 1) if columns else np.empty((height, 0), np.int32),
        numbers=np.stack(numbers, 1) if numbers else np.empty((height, 0), np.float32),
        bags=tuple(bags),
        label=np.zeros(height, np.float32),
        part=None,
        truth=None,
    )
    read = encoding.field_names
    blank = tuple(name for name in read if name not in names and (sources[name] < 0).any())
    return Described(rows, names, _unknown(rows, encoding, given), blank, tuple(of_item))


def rows_of(table: FieldTable, key: str, codes: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """A row of the table for each code of the column `key`, int [n], -1 for code -1.

    InputError where a field of `names` differs between the rows of a code that is asked for.
    """
    column = table.column(key)
    first = np.full(len(table.levels[table.names.index(key)]), -1)
    first[column[::-1]] = np.arange(len(column))[::-1]
    asked = np.zeros(len(first), bool)
    asked[codes[codes >= 0]] = True
    rows = np.flatnonzero(asked[column])
    for name in names:
        values = _column(table, name)
        differ = values[rows] != values[first[column[rows]]]
        if values.dtype.kind == "f":
            differ &= ~(np.isnan(values[rows]) & np.isnan(values[first[column[rows]]]))
        differing = rows[differ if differ.ndim == 1 else differ.any(1)]
        if len(differing):
            raw = table.levels[table.names.index(key)][column[differing[0]]]
            remedy = f"say which with --field {name}=VALUE, or --field {name}= for a blank"
            if key == "user":
                remedy += f"; if it describes the item, add --item-fields {name}"
            else:
                remedy = f"so it is no field of the {key}: leave it out of the item fields"
            raise InputError(f"{key} {raw} has several values of {name}: {remedy}")
    return np.where(codes >= 0, first[codes], -1)


def items(table: FieldTable, of_item: Sequence[str]) -> FieldTable:
    """A row an item, in the order of the levels of the field `item`, of which the fields of the item are its own."""
    levels = table.levels[table.names.index("item")]
    rows = rows_of(table, "item", np.arange(len(levels)), [name for name in of_item if name != "item"])
    return table.take(rows)


def item_side(table: FieldTable, added: Sequence[str]) -> tuple[str, ...]:
    """`item` and the fields that describe it: those that the table declares, and those of `added`."""
    for name in added:
        if name not in table.field_names or name == "user":
            known = ", ".join(field for field in table.field_names if field not in ("user", "item"))
            raise InputError(f"{name!r} is no field that describes the item: the fields are {known}")
    return tuple(dict.fromkeys(("item", *table.item_fields, *added))) if "item" in table.names else ()


def _text(given: Table, name: str) -> np.ndarray:
    return np.array(given.fields[name].fill_null("").to_list(), str)


def _categories(table: FieldTable, i: int, given: Table, source: np.ndarray) -> np.ndarray:
    name, levels = table.names[i], table.levels[i]
    if name in given.fields.columns:
        return find_rows(_text(given, name), levels)
    blank = find_rows("", levels)[0]
    return np.where(source >= 0, table.codes[source, i], blank).astype(np.int32)


def _numbers(table: FieldTable, i: int, given: Table, source: np.ndarray) -> np.ndarray:
    name = table.numeric_names[i]
    if name not in given.fields.columns:
        return np.where(source >= 0, table.numbers[source, i], np.float32(np.nan))
    text = given.fields[name].fill_null("")
    numbers = text.cast(pl.Float32, strict=False)
    bad = (text != "") & ~numbers.is_finite().fill_null(False)
    refuse(given, name, bad, "not a finite number; mend it, or leave it blank")
    return numbers.fill_null(float("nan")).to_numpy()


def _bag(table: FieldTable, i: int, given: Table, source: np.ndarray) -> np.ndarray:
    name, held = table.bag_names[i], table.bags[i]
    if name not in given.fields.columns:
        return np.where(source[:, None] >= 0, held[source], -1).astype(np.int32)
    split = [text.split() for text in _text(given, name).tolist()]
    bag = np.full((len(split), max(1, *map(len, split))), -1, np.int32)
    for row, values in zip(bag, split):
        codes = find_rows(values, table.bag_levels[i]) if values else np.empty(0, np.int32)
        row[: (codes >= 0).sum()] = codes[codes >= 0]
    return bag


def _unknown(rows: FieldTable, encoding: Encoding, given: Table) -> dict[str, int]:
    """Values that are given, not blank, and not known from training, by field."""
    kept = rows.without([name for name in rows.field_names if name not in encoding.field_names])
    found = {}
    for name in given.fields.columns:
        text = _text(given, name)
        if name in kept.names:
            i = kept.names.index(name)
            known = np.where(kept.codes[:, i] < 0, 0, encoding.rows[i][kept.codes[:, i]]) > 0
            found[name] = int((~known & (text != "")).sum())
        elif name in kept.bag_names:
            i = kept.bag_names.index(name)
            known = np.where(kept.bags[i] < 0, 0, encoding.bag_rows[i][kept.bags[i]]) > 0
            found[name] = sum(len(values.split()) for values in text.tolist()) - int(known.sum())
    return {name: count for name, count in found.items() if count}


def _column(table: FieldTable, name: str) -> np.ndarray:
    if name in table.names:
        return table.codes[:, table.names.index(name)]
    if name in table.numeric_names:
        return table.numbers[:, table.numeric_names.index(name)]
    return table.bags[table.bag_names.index(name)]


def spelled(unknown: Mapping[str, int], count: int) -> str:
    """For messages: how many values of `count` rows were unknown, and of which fields."""
    fields = ", ".join(f"{name} ({number:,})" for name, number in unknown.items())
    total = sum(unknown.values())
    what = f"{total:,} value{'s' if total > 1 else ''} of {count:,} row{'s' if count > 1 else ''}"
    return f"{what} not known from training, taken as unknown: {shorten(fields, 200)}"
