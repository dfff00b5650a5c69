"""The files around `zoo recommend`: the users that are asked for, and the lists that they get."""

import csv
import io
from pathlib import Path

import numpy as np
import polars as pl

from zoo.data.files import check_parquet, missing, read_bytes, read_text
from zoo.data.frames import reading
from zoo.data.interactions import find_rows, unknown
from zoo.errors import InputError


def read_users(path: Path, user_ids: np.ndarray) -> np.ndarray:
    """The users that a file names, in its order, as ids of the data: entries of `user_ids`.

    A .parquet, .csv or .tsv file has a column `user`; any other holds one id a line. Text may be gzipped. InputError
    names the place of an id that the data does not have.
    """
    users, places = _read_parquet(path) if path.suffix == ".parquet" else _read_text(path)
    if not users:
        raise InputError(f"{path} names no user: it should hold one id a line")
    rows = find_rows(users, user_ids)
    if (rows < 0).any():
        first = int(np.argmax(rows < 0))
        raise InputError(f"{path}, {places[first]}: {unknown(users[first], user_ids, 'user')}")
    return user_ids[rows]


def check_output(path: Path) -> None:
    """InputError for a path that `write_lists` could not write, before any work is done for it."""
    if path.suffix not in (".csv", ".parquet"):
        raise InputError(f"cannot tell the format of {path}: name it .csv or .parquet")
    if not path.absolute().parent.is_dir():
        raise InputError(f"cannot write {path}: {missing(path.absolute().parent)}")


def write_lists(path: Path, users: np.ndarray, items: np.ndarray, scores: np.ndarray, who: str = "user") -> int:
    """Write lists as rows user, item, rank (from 1), score, as CSV or Parquet by the path's name; returns their number.

    `users` are raw ids [users], `items` raw ids and `scores` float32, both [users, k]; entries of score -inf are left
    out. `who` is the first column's name. The file is written whole or not at all.
    """
    row, place = np.nonzero(np.isfinite(scores))
    columns = {who: users[row], "item": items[row, place], "rank": place + 1, "score": scores[row, place]}
    return _write(path, pl.DataFrame({name: _series(column) for name, column in columns.items()}))


def write_predictions(path: Path, predictions: np.ndarray) -> int:
    """Write rows row (from 1), prediction, as `write_lists` does; returns their number."""
    return _write(path, pl.DataFrame({"row": np.arange(1, len(predictions) + 1), "prediction": predictions}))


def _write(path: Path, frame: pl.DataFrame) -> int:
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        (frame.write_parquet if path.suffix == ".parquet" else frame.write_csv)(unfinished)
        unfinished.replace(path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        unfinished.unlink(missing_ok=True)
    return len(frame)


def _series(column: np.ndarray) -> pl.Series:
    return pl.Series(column.tolist(), dtype=pl.String) if column.dtype.kind == "U" else pl.Series(column)


def _read_text(path: Path) -> tuple[list[str], list[str]]:
    """The ids and where each stands, such as "line 3"."""
    if not read_bytes(path).strip():
        raise InputError(f"{path} is empty: it should hold one user id a line")
    text, kind = read_text(path), Path(path.name.removesuffix(".gz")).suffix
    if kind not in (".csv", ".tsv"):
        lines = [(line.strip(), f"line {number}") for number, line in enumerate(text.split("\n"), 1) if line.strip()]
        return [user for user, _ in lines], [place for _, place in lines]
    reader = csv.reader(io.StringIO(text), delimiter="\t" if kind == ".tsv" else ",", strict=True)
    users, places = [], []
    try:
        column = _user_column(path, next(reader))
        for row in reader:
            if row:
                users.append(row[column].strip() if column < len(row) else "")
                places.append(f"line {reader.line_num}")
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: {error}; mend the quotes in that line") from None
    return users, places


def _read_parquet(path: Path) -> tuple[list[str], list[str]]:
    check_parquet(path)
    with reading(path):
        frame = pl.read_parquet(path)
    users = frame[frame.columns[_user_column(path, frame.columns)]].cast(pl.String).fill_null("")
    return users.to_list(), [f"row {number}" for number in range(1, len(users) + 1)]


def _user_column(path: Path, names: list[str]) -> int:
    names = [name.strip() for name in names]
    if "user" not in names:
        raise InputError(
            f"{path} has no column 'user': its columns are {', '.join(names)}; rename the one of the users"
        )
    return names.index("user")
