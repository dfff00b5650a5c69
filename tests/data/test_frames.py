"""Parquet files and dataframes: the columns as they stand, and every way in which they cannot serve."""

import datetime

import numpy as np
import polars as pl
import pytest

import zoo
from tests.helpers import raw_rows, refusal
from zoo.data import catalog
from zoo.data.readers import read_frame, read_path
from zoo.errors import InputError


COLUMNS = {"user": [7, 2, 7], "item": [-3, 5, 5], "rating": [4.5, 1.0, 2.0], "timestamp": [90, 80, 70]}
ROWS = [(7, -3, 4.5, 90), (2, 5, 1.0, 80), (7, 5, 2.0, 70)]


@pytest.fixture
def write(tmp_path):
    """Writes a Parquet file of columns -> its path."""

    def write(columns, **options):
        path = tmp_path / "a.parquet"
        pl.DataFrame(columns).write_parquet(path, **options)
        return path

    return write


class Arrow:
    """A dataframe of a library that nobody has heard of: all it has is the Arrow interface."""

    def __init__(self, frame):
        self._frame = frame

    def __arrow_c_stream__(self, requested_schema=None):
        if isinstance(self._frame, Exception):
            raise self._frame
        return self._frame.__arrow_c_stream__(requested_schema)


# What serves


def test_a_file_and_a_dataframe(write):
    for data in (
        read_path(write(COLUMNS)),
        read_frame(pl.DataFrame(COLUMNS)),
        read_frame(Arrow(pl.DataFrame(COLUMNS))),
    ):
        assert raw_rows(data) == ROWS
        assert (data.user_ids.dtype, data.rating.dtype, data.timestamp.dtype) == (np.int64, np.float32, np.int64)
        assert data.user_ids.tolist() == [2, 7] and data.item_ids.tolist() == [-3, 5]


def test_parquet_and_csv_of_the_same_rows_agree(write, tmp_path):
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "user_id": [f"u{id}" for id in rng.integers(0, 50, 500)],
            "title": ["x"] * 500,
            "movieId": rng.integers(-20, 20, 500),
            "rating": rng.integers(1, 6, 500).astype(np.float32),
            "Timestamp": rng.integers(10**9, 2 * 10**9, 500),
        }
    )
    frame.write_csv(tmp_path / "a.csv")
    assert raw_rows(read_path(write(frame, row_group_size=64))) == raw_rows(read_path(tmp_path / "a.csv"))


@pytest.mark.parametrize("kind", [pl.Int8, pl.Int32, pl.UInt8, pl.UInt64, pl.String, pl.Categorical])
def test_ids_stay_integers_or_strings(write, kind):
    ids = pl.Series([3, 12, 3], dtype=pl.Int64).cast(pl.String if kind == pl.Categorical else kind).cast(kind)
    data = read_path(write({"user": ids, "item": [1, 2, 3]}))
    assert data.user_ids.tolist() == ([3, 12] if kind.is_integer() else ["12", "3"])
    assert data.user.tolist() == ([0, 1, 0] if kind.is_integer() else [1, 0, 1])
    assert data.rating is None and data.timestamp is None


def test_times_as_dates_become_seconds(write):
    moments = [datetime.datetime(2024, 1, 31, 12, 0, 5), datetime.datetime(1969, 12, 31, 23, 59, 59)]
    expected = [int((moment - datetime.datetime(1970, 1, 1)).total_seconds()) for moment in moments]
    for unit in ("ms", "us", "ns"):
        times = pl.Series(moments, dtype=pl.Datetime(unit))
        assert read_path(write({"user": [1, 2], "item": [1, 2], "timestamp": times})).timestamp.tolist() == expected
    days = [moment.date() for moment in moments]
    data = read_path(write({"user": [1, 2], "item": [1, 2], "timestamp": days}))
    assert data.timestamp.tolist() == [expected[0] // 86400 * 86400, -86400]


def test_numbers_of_other_types_serve(write):
    data = read_path(write({"user": [1, 2], "item": [1, 2], "rating": [4, 5], "timestamp": [9.0, 8.0]}))
    assert raw_rows(data) == [(1, 1, 4.0, 9), (2, 2, 5.0, 8)]


def test_mapped_columns(write):
    columns = {"who": [1], "what": [2], "user": [3], "item": [4]}
    assert raw_rows(read_path(write(columns))) == [(3, 4)]
    mapping = {"user": "who", "item": "what"}
    assert raw_rows(read_path(write(columns), columns=mapping)) == [(1, 2)]
    assert raw_rows(zoo.load_data(pl.DataFrame(columns), columns=mapping)) == [(1, 2)]


def test_a_file_has_a_digest(write):
    path = write(COLUMNS)
    digest = catalog.sha256(path)
    assert len(digest) == 64 and digest != catalog.sha256(write(COLUMNS | {"user": [7, 2, 8]}))


@pytest.mark.parametrize("library", ["pandas", "pyarrow", "duckdb"])
def test_dataframes_of_other_libraries(library):
    module = pytest.importorskip(library, reason=f"{library} is not installed")
    pytest.importorskip("pyarrow", reason="pandas has its Arrow interface from pyarrow")
    if library == "duckdb":
        values = ", ".join(str(row) for row in ROWS)
        frame = module.sql(f'select * from (values {values}) as t("user", item, rating, "timestamp")')
    else:
        frame = module.DataFrame(COLUMNS) if library == "pandas" else module.table(COLUMNS)
    assert raw_rows(read_frame(frame)) == ROWS
    if library == "pandas":
        mixed = module.DataFrame({"user": [1, "a"], "item": [1, 2]})
        assert "mixed ids" in refusal(read_frame, mixed) and "user" in refusal(read_frame, mixed)


def test_training_on_a_dataframe(tmp_path):
    world = zoo.simulate(num_users=60, num_videos=40, num_watches=400)
    frame = pl.DataFrame({"user": world.user_ids[world.user], "item": world.item_ids[world.item]})
    run = zoo.train("mf/smoke", data=Arrow(frame), epochs=2, workdir=tmp_path / "run")
    assert run.record["data"] == "interactions" and run.record["sizes"]["users"] == frame["user"].n_unique()
    assert zoo.load(tmp_path / "run").recommend([frame["user"][0]], k=3)[0].shape == (1, 3)


# What does not


@pytest.mark.parametrize(
    ("columns", "parts"),
    [
        ({"who": [1], "item": [2]}, ["no column for the user", "columns are who, item", "--user-column NAME"]),
        ({"a": [1], "b": [2]}, ["user and the item", "--user-column NAME and --item-column NAME"]),
        ({"user": [1.0], "item": [2]}, ["column 'user'", "Float64", "integers, or strings", "--user-column NAME"]),
        ({"user": [[1]], "item": [2]}, ["column 'user'", "List(Int64)"]),
        ({"user": [b"a"], "item": [2]}, ["column 'user'", "Binary"]),
        ({"user": [1], "item": [True]}, ["column 'item'", "Boolean"]),
        ({"user": [1], "item": [2], "rating": ["5"]}, ["column 'rating'", "String", "numbers", "--rating-column NAME"]),
        ({"user": [1], "item": [2], "timestamp": ["2024"]}, ["column 'timestamp'", "String", "seconds since 1970"]),
        ({"user": [1, None], "item": [2, 3]}, ["row 1 (the first is 0)", "column user", "null", "blank", "fill it in"]),
        ({"user": ["a", "b", None], "item": [2, 3, 4]}, ["row 2", "column user", "null"]),
        ({"user": ["a", ""], "item": [2, 3]}, ["row 1", "column user", "''", "blank"]),
        ({"user": pl.Series([1, 2**63], dtype=pl.UInt64), "item": [2, 3]}, ["row 1", str(2**63), "beyond int64"]),
        ({"user": [1, 1], "item": [2, 3], "rating": [1, None]}, ["row 1", "column rating", "null", "finite"]),
        ({"user": [1, 1], "item": [2, 3], "rating": [1.0, float("nan")]}, ["row 1", "column rating", "'nan'"]),
        ({"user": [1, 1], "item": [2, 3], "timestamp": [1.0, 1.5]}, ["row 1", "column timestamp", "'1.5'", "integer"]),
        ({"user": [1, 1], "item": [2, 3], "timestamp": [None, 1]}, ["row 0", "column timestamp", "null"]),
        ({"user": pl.Series([], dtype=pl.Int64), "item": pl.Series([], dtype=pl.Int64)}, ["user, item", "no rows"]),
    ],
)
def test_bad_columns(write, columns, parts):
    path = write(columns)
    message = refusal(read_path, path)
    for part in [str(path), *parts]:
        assert part in message, message
    message = refusal(read_frame, pl.DataFrame(columns))
    for part in ["the dataframe", *parts]:
        if part.startswith("--"):
            part = "of zoo.load_data"
        assert part in message, message


def test_bad_files(write, tmp_path):
    good = write({"user": range(5000), "item": range(5000)}).read_bytes()
    path = tmp_path / "b.parquet"
    path.write_bytes(good[:-100])
    assert "truncated Parquet" in refusal(read_path, path) and "download it again" in refusal(read_path, path)
    path.write_bytes(b"user,item\n1,2\n")
    assert "is no Parquet file" in refusal(read_path, path) and "b.csv" in refusal(read_path, path)
    path.write_bytes(b"")
    assert "is empty" in refusal(read_path, path)
    path.write_bytes(good[:-200] + bytes(192) + good[-8:])
    assert f"{path} is a damaged Parquet file" in refusal(read_path, path)
    assert "cannot find" in refusal(read_path, tmp_path / "c.parquet")
    other = tmp_path / "b.csv"
    other.write_bytes(good)
    assert "rename it to b.parquet" in refusal(read_path, other)
    assert "no separator" in refusal(read_path, path, separator=",")


def test_mixed_ids_and_what_is_no_dataframe():
    mixed = pl.DataFrame({"user": pl.Series([1, "a"], dtype=pl.Object), "item": [1, 2]})
    assert "column 'user' is of type Object" in refusal(read_frame, mixed) and "of one kind" in refusal(
        read_frame, mixed
    )
    message = refusal(read_frame, Arrow(TypeError("Could not convert 'a' with type str\nfor column user")))
    assert "'a' with type str for column user" in message and "turn mixed ids into strings" in message
    for data in (42, [("a", "b")], {"user": [1]}):
        message = refusal(read_frame, data)
        assert f"data is a {type(data).__name__}" in message and "pandas" in message
        with pytest.raises(InputError, match="Arrow interface"):
            zoo.train("mf", data=data)
