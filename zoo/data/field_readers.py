"""Readers: files of fields, or a dataframe of them -> FieldTable. Text may be zipped (`.gz`)."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from zoo.data import fields
from zoo.data.columns import FLAGS, Table, refuse
from zoo.data.fields import FieldTable
from zoo.data.files import check_parquet, need_file, read_bytes, read_text
from zoo.data.frames import frame_of, reading, spelled_table
from zoo.data.tables import UNIT_SEPARATOR, guess_separator, table_of_text
from zoo.errors import InputError


CHOOSE = "columns={{'{}': NAME}} of zoo.load_data(frame, zoo.FieldTable)"
# Labels as files spell them.
LABELS = {"0": 0.0, "1": 1.0, "-1": 0.0, "+1": 1.0, "0.0": 0.0, "1.0": 1.0, "-1.0": 0.0}
SPARSE_SUFFIXES = (".libsvm", ".libfm", ".libffm", ".svm", ".ffm")
ADULT_COLUMNS = (
    "age workclass fnlwgt education education_num marital_status occupation relationship race sex capital_gain"
    " capital_loss hours_per_week native_country income"
).split()
ADULT_NUMERIC = ("age", "fnlwgt", "education_num", "capital_gain", "capital_loss", "hours_per_week")
FRAPPE_FIELDS = "user item daytime weekday isweekend homework cost weather country city".split()
CRITEO_NUMERIC = tuple(f"I{i}" for i in range(1, 14))
CRITEO_COLUMNS = ("label", *CRITEO_NUMERIC, *(f"C{i}" for i in range(1, 27)))


def read_path(path: str | Path, *, columns: Mapping[str, str] = {}, separator: str | None = None) -> FieldTable:
    """The table in the user's own file: CSV or TSV with a header, Criteo's TSV without one, Parquet, or libsvm, libfm,
    libffm by its extension.

    `columns` may map "label" to a name in the header; there a name that ends in ":float" is a column of numbers.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        raise InputError(f"{path} is a folder: a table of fields is read from one file")
    _check_roles(columns, FLAGS)
    if path.suffix == ".parquet":
        if separator is not None:
            raise InputError(f"{path} is a Parquet file, which has no separator: leave {separator!r} out")
        check_parquet(path)
        with reading(path):
            frame = pl.read_parquet(path)
        return _from_frame(str(path), frame, columns, FLAGS)
    if Path(path.name.removesuffix(".gz")).suffix in SPARSE_SUFFIXES:
        return read_sparse([path])
    return read_delimited(path, label=columns.get("label", "label"), separator=separator)


def read_frame(frame: Any, *, columns: Mapping[str, str] = {}) -> FieldTable:
    """A dataframe with the Arrow interface: a label, floats as numbers, and all else as categories."""
    _check_roles(columns, CHOOSE)
    return _from_frame("the dataframe", frame_of(frame), columns, CHOOSE)


def read_sparse(paths: Sequence[Path], parts: Sequence[int] | None = None, names: Sequence[str] = ()) -> FieldTable:
    """Files of lines `label index:1 index:1 ...` (libsvm, libfm) or `label field:index:1 ...` (libffm), one-hot.

    A line names one index a field, in the same order on every line; labels are 0 or -1, and 1. `parts` are the parts of
    the data set that the files are; `names` those of the fields (field_0, field_1, ... without).
    """
    read = [_sparse_rows(path) for path in paths]
    widths = [indices.shape[1] for _, indices in read]
    for path, width in zip(paths, widths):
        if width != widths[0]:
            raise InputError(f"{path} has {width} fields a line, but {paths[0]} has {widths[0]}")
    indices = np.concatenate([indices for _, indices in read])
    names = names or [f"field_{i}" for i in range(indices.shape[1])]
    sizes = [len(label) for label, _ in read]
    return fields.from_raw(
        dict(zip(names, indices.T, strict=True)),
        np.concatenate([label for label, _ in read]),
        part=None if parts is None else np.repeat(np.array(parts, np.int8), sizes),
    )


def read_frappe(folder: Path) -> FieldTable:
    """The split of NFM and BARS; the training negatives are drawn anew, as the file's name says."""
    files = ("frappe.train.rebuilt.libfm", "frappe.validation.libfm", "frappe.test.libfm")
    return read_sparse([need_file(folder, name) for name in files], (0, 1, 2), FRAPPE_FIELDS)


def read_adult(folder: Path) -> FieldTable:
    """The census of 1994 in its published split; label 1 is an income above 50,000 dollars a year."""
    tables = []
    for name, skip in (("adult.data", 0), ("adult.test", 1)):  # the test file opens with a comment
        path = need_file(folder, name)
        tables.append(table_of_text(path, read_text(path), ADULT_COLUMNS, ",", skip))
    incomes = {"<=50K": 0.0, "<=50K.": 0.0, ">50K": 1.0, ">50K.": 1.0}
    return _from_tables(tables, (0, 2), "income", ADULT_NUMERIC, incomes)


def read_movielens_fields(folder: Path) -> FieldTable:
    """MovieLens 1M: user, item, gender, age, occupation and the first digits of the zip code, and the film's genres."""
    ratings = _doubled(need_file(folder, "ratings.dat"), ("user", "item", "rating", "timestamp"))
    users = _doubled(need_file(folder, "users.dat"), ("user", "gender", "age", "occupation", "zip"))
    films = _doubled(need_file(folder, "movies.dat"), ("item", "title", "genres"))
    keys = {name: _integers(ratings, name) for name in ("user", "item")}
    user_row, film_row = (
        _rows_of(ratings, name, keys[name], _integers(known, name))
        for name, known in (("user", users), ("item", films))
    )
    genres = np.array([text.replace("|", " ") for text in _categories(films, "genres").tolist()])
    return fields.from_raw(
        keys
        | {name: _categories(users, name)[user_row] for name in ("gender", "age", "occupation")}
        | {"region": _categories(users, "zip").astype("U2")[user_row]},
        _numbers(ratings, "rating"),
        bags={"genres": genres[film_row]},
        item_fields=("genres",),
    )


def read_criteo(paths: Sequence[Path], parts: Sequence[int] | None = None) -> FieldTable:
    """Criteo's display advertising files: label, 13 integers, 26 hashed categories, tabs between, blanks allowed."""
    tables = [table_of_text(path, read_text(path), CRITEO_COLUMNS, "\t", 0) for path in paths]
    return _from_tables(tables, parts, "label", CRITEO_NUMERIC)


def read_criteo_sample(folder: Path) -> FieldTable:
    files = ("train.tsv", "dev.tsv", "test.tsv")
    return read_criteo([need_file(folder, name) for name in files], (0, 1, 2))


def read_delimited(
    path: Path, *, label: str = "label", numeric: Sequence[str] = (), separator: str | None = None
) -> FieldTable:
    """A file with a header, one example a line: the column `label`, columns of numbers, and categories for the rest.

    Without a header it is Criteo's, if its first line is one of theirs: a click or none, and 39 cells. A column is
    numeric if it is listed, or if its name ends in ":float", as RecBole writes it.
    """
    text = read_text(path)
    first = text.split("\n", 1)[0]
    cells = first.rstrip("\r").split("\t")
    if label == "label" and separator in (None, "\t") and len(cells) == len(CRITEO_COLUMNS) and cells[0] in ("0", "1"):
        return _from_tables([table_of_text(path, text, CRITEO_COLUMNS, "\t", 0)], None, "label", CRITEO_NUMERIC)
    separator = separator or guess_separator(path, first)
    names = [name.strip() for name in first.split(separator)]
    for name in (label, *numeric):
        _need_column(str(path), names, name, FLAGS if name == label else None)
    numeric = [name for name in names if name in numeric or (name.endswith(":float") and name != label)]
    return _from_tables([table_of_text(path, text, names, separator, 1)], None, label, numeric)


def headed(path: Path, names: Sequence[str]) -> Table:
    """A comma-separated file whose header must be `names`."""
    text = read_text(path)
    found = text.split("\n", 1)[0].strip()
    if found != ",".join(names):
        raise InputError(f"{path}, line 1: {found!r}: the header should be {','.join(names)}")
    return table_of_text(path, text, names, ",", 1)


def _doubled(path: Path, names: Sequence[str]) -> Table:
    text = read_bytes(path).decode("latin-1").replace("::", UNIT_SEPARATOR)
    return table_of_text(path, text, names, UNIT_SEPARATOR, 0)


def _check_roles(columns: Mapping[str, str], choose: str) -> None:
    if wrong := sorted(set(columns) - {"label"}):
        raise InputError(f"a table of fields has a label and no {wrong[0]}: leave {choose.format(wrong[0])} out")


def _need_column(source: str, names: Sequence[str], name: str, choose: str | None) -> None:
    if name not in names:
        flag = f"; say which with {choose.format('label')}" if choose else ""
        raise InputError(f"{source} has no column {name!r}: its columns are {', '.join(names)}{flag}")


def _from_frame(source: str, frame: pl.DataFrame, columns: Mapping[str, str], choose: str) -> FieldTable:
    """Columns of floats are numbers; integers, strings and booleans are categories, as a text file spells them."""
    label = columns.get("label", "label")
    _need_column(source, frame.columns, label, choose)
    numeric = [name for name, kind in frame.schema.items() if kind.is_float() and name != label]
    return _from_tables([spelled_table(source, frame, choose)], None, label, numeric)


def _integers(table: Table, name: str) -> np.ndarray:
    numbers = table.fields[name].cast(pl.Int64, strict=False)
    refuse(table, name, numbers.is_null(), "not a whole number; mend or remove the line")
    return numbers.to_numpy()


def _rows_of(table: Table, name: str, keys: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Where each key of a column stands among those that another file describes; InputError for one that does not."""
    order = np.argsort(known)
    place = np.minimum(np.searchsorted(known, keys, sorter=order), len(known) - 1)
    absent = pl.Series(known[order[place]] != keys)
    refuse(table, name, absent, f"no such {name} is described in the file beside it; mend or remove the line")
    return order[place]


def _from_tables(
    tables: Sequence[Table],
    parts: Sequence[int] | None,
    label: str,
    numeric: Sequence[str],
    labels: Mapping[str, float] = LABELS,
) -> FieldTable:
    def joined(name: str, read: Callable[[Table, str], np.ndarray]) -> np.ndarray:
        return np.concatenate([read(table, name) for table in tables])

    return fields.from_raw(
        {name: joined(name, _categories) for name in tables[0].names if name != label and name not in numeric},
        joined(label, partial(_labels, labels=labels)),
        {name: joined(name, _numbers) for name in numeric},
        part=None if parts is None else np.repeat(np.array(parts, np.int8), [table.fields.height for table in tables]),
    )


def _labels(table: Table, name: str, labels: Mapping[str, float]) -> np.ndarray:
    """Labels float32 [n]: as `labels` spells them; where some are other numbers, all are taken for ratings."""
    text = table.fields[name]
    numbers = text.replace_strict(labels, default=None, return_dtype=pl.Float32)
    ratings = text.cast(pl.Float32, strict=False)
    if labels is LABELS and numbers.null_count() and ratings.is_finite().fill_null(False).all():
        return ratings.to_numpy()
    refuse(
        table,
        name,
        numbers.is_null(),
        f"not a label; the labels here are {', '.join(labels)}{', or ratings' if labels is LABELS else ''}",
    )
    return numbers.to_numpy()


def _categories(table: Table, name: str) -> np.ndarray:
    """Text as it stands; a blank is a category like any other."""
    return table.fields[name].fill_null("").to_numpy().astype(str)


def _numbers(table: Table, name: str) -> np.ndarray:
    """Numbers, NaN where blank."""
    text = table.fields[name].fill_null("")
    numbers = text.cast(pl.Float32, strict=False)
    bad = (text != "") & ~numbers.is_finite().fill_null(False)
    refuse(table, name, bad, "not a finite number; mend it, leave it blank, or read the column as categories")
    return numbers.fill_null(float("nan")).to_numpy()


def _sparse_rows(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Labels float32 [n] and indices int64 [n, fields] of one file."""
    text = read_text(path).rstrip("\n")
    lines = pl.Series(text.split("\n")).str.strip_chars()
    entries = lines.str.split(" ")
    count = entries.list.len()
    if (count != count[0]).any():
        line = int((count != count[0]).arg_true()[0])
        raise InputError(
            f"{path}, line {line + 1}: {count[line] - 1} fields, but line 1 has {count[0] - 1}; "
            "every line names one index of each field: mend or remove the line"
        )
    if count[0] < 2:
        raise InputError(f"{path}, line 1: {lines[0]!r} has no fields; a line is `label index:1 index:1 ...`")
    flat = entries.explode().to_frame("entry").with_row_index("at")
    is_label = flat["at"] % count[0] == 0
    label_text = flat.filter(is_label)["entry"]
    label = label_text.replace_strict(LABELS, default=None, return_dtype=pl.Float32)
    if label.null_count():
        line = int(label.is_null().arg_true()[0])
        raise InputError(f"{path}, line {line + 1}: {label_text[line]!r}: not a label; write 0 or -1, and 1")
    text_of = flat.filter(~is_label)["entry"]
    index = text_of.str.extract(r"^(?:\d+:)?(\d+):1(?:\.0*)?$", 1).cast(pl.Int64, strict=False)
    if index.null_count():
        at = int(index.is_null().arg_true()[0])
        raise InputError(
            f"{path}, line {at // (count[0] - 1) + 1}: {text_of[at]!r}: write index:1 or field:index:1; "
            "values other than 1 are read from columns of a CSV file"
        )
    return label.to_numpy(), index.to_numpy().reshape(len(lines), -1)
