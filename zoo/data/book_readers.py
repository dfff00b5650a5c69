"""Book-Crossing: ratings of 1 to 10, and what the set says of users and books.

The files put spaces and quotes around some values, such as countries: they are taken off, and letters made small.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from zoo.data import fields, interactions
from zoo.data.columns import raw_columns
from zoo.data.field_readers import headed
from zoo.data.fields import FieldTable
from zoo.data.files import need_file, read_text
from zoo.data.interactions import Interactions
from zoo.data.tables import table_with_header


RATINGS = {"user": "User-ID", "item": "ISBN", "rating": "Book-Rating"}
USERS = ("User-ID", "User-City", "User-State", "User-Country", "User-Age")
BOOKS = ("ISBN", "Book-Title", "Book-Author", "Year-Of-Publication", "Book-Publisher")
TITLE_WORDS = 8  # the first words of a title; the others are left out


def read_ratings(folder: Path) -> Interactions:
    return interactions.from_raw(**_ratings(folder, ["BX-Ratings.csv"]))


def read_new_ratings(folder: Path) -> Interactions:
    """The same ratings as part 0, and those of the new books as part 2."""
    return interactions.from_raw(**_ratings(folder, ["BX-Ratings.csv", "BX-NewBooksRatings.csv"]))


def read_books(folder: Path) -> FieldTable:
    return _described(folder, ["BX-Ratings.csv"], ["BX-Books.csv"])


def read_new_books(folder: Path) -> FieldTable:
    return _described(folder, ["BX-Ratings.csv", "BX-NewBooksRatings.csv"], ["BX-Books.csv", "BX-NewBooks.csv"])


def _ratings(folder: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Columns user, item and rating of the files end to end, and `part` where there are two."""
    read = []
    for name in names:
        path = need_file(folder, name)
        read.append(raw_columns(table_with_header(path, read_text(path), RATINGS, ",")))
    joined = {role: np.concatenate([columns[role] for columns in read]) for role in RATINGS}
    if len(read) == 1:
        return joined
    return joined | {"part": np.repeat(np.array([0, 2], np.int8), [len(columns["user"]) for columns in read])}


def _described(folder: Path, ratings: Sequence[str], books: Sequence[str]) -> FieldTable:
    """Fields user, item, city, state, country, author, publisher, age, year, title; blank where not known."""
    given = _ratings(folder, ratings)
    users, _ = _columns(folder, ["BX-Users.csv"], USERS)
    book, words = _columns(folder, books, BOOKS)
    user_row = _row_of(given["user"].astype(str), users["User-ID"])
    book_row = _row_of(given["item"].astype(str), book["ISBN"])
    titles = np.array([" ".join(dict.fromkeys(found[:TITLE_WORDS])) for found in words] + [""])
    return fields.from_raw(
        {
            "user": given["user"],
            "item": given["item"],
            "city": users["User-City"][user_row],
            "state": users["User-State"][user_row],
            "country": users["User-Country"][user_row],
            "author": book["Book-Author"][book_row],
            "publisher": book["Book-Publisher"][book_row],
        },
        given["rating"],
        {
            "age": _within(users["User-Age"], 5.0, 100.0)[user_row],
            "year": _within(book["Year-Of-Publication"], 1800.0, 2005.0)[book_row],
        },
        part=given.get("part"),
        bags={"title": titles[book_row]},
        item_fields=("author", "publisher", "year", "title"),
    )


def _columns(folder: Path, names: Sequence[str], columns: Sequence[str]) -> tuple[dict[str, np.ndarray], list]:
    """Text by column with a blank row at the end, and the words of the titles where there are any."""
    tables = [headed(need_file(folder, name), columns) for name in names]
    found, words = {}, []
    for column in columns:
        text = pl.concat([table.fields[column] for table in tables]).fill_null("").str.strip_chars(' "')
        text = text.cast(pl.String) if column == "ISBN" else text.str.to_lowercase()
        found[column] = np.array([*text.to_list(), ""])
        if column == "Book-Title":
            words = text.str.extract_all(r"\w+").to_list()
    return found, words


def _row_of(keys: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Where each key stands in `known`, whose last entry stands for the keys that do not: int [n]."""
    order = np.argsort(known[:-1], kind="stable")
    place = np.minimum(np.searchsorted(known[:-1], keys, sorter=order), len(order) - 1)
    return np.where(known[:-1][order[place]] == keys, order[place], len(known) - 1)


def _within(text: np.ndarray, low: float, high: float) -> np.ndarray:
    """Numbers, NaN where blank, not a number, or outside [low, high]: the set has years of 0 and ages of 244."""
    numbers = pl.Series(text).cast(pl.Float32, strict=False).fill_null(float("nan")).to_numpy()
    return np.where((numbers >= low) & (numbers <= high), numbers, np.float32(np.nan))
