"""Files of users in, lists out."""

import gzip

import numpy as np
import polars as pl
import pytest

from zoo.data.lists import check_output, read_users, write_lists
from zoo.errors import InputError


NUMBERS, WORDS = np.array([3, 7, 11]), np.array(["a", "b", "c d"])


@pytest.mark.parametrize(
    ("name", "text", "ids", "want"),
    [
        ("users.txt", "7\n3\n7\n", NUMBERS, [7, 3, 7]),
        ("users", "\n 11 \n\n3", NUMBERS, [11, 3]),
        ("users.txt", "c d\na\n", WORDS, ["c d", "a"]),
        ("users.csv", "user\n7\n3\n", NUMBERS, [7, 3]),
        ("users.csv", 'age,user\n1,"c d"\n2,b\n', WORDS, ["c d", "b"]),
        ("users.tsv", "age\tuser\n1\tc d\n", WORDS, ["c d"]),
    ],
)
def test_text(tmp_path, name, text, ids, want):
    (tmp_path / name).write_text(text)
    assert read_users(tmp_path / name, ids).tolist() == want
    with gzip.open(tmp_path / f"{name}.gz", "wt") as file:
        file.write(text)
    assert read_users(tmp_path / f"{name}.gz", ids).tolist() == want


@pytest.mark.parametrize("column", [[7, 3], ["7", "3"]])
def test_parquet(tmp_path, column):
    pl.DataFrame({"x": [0, 0], "user": column}).write_parquet(tmp_path / "users.parquet")
    assert read_users(tmp_path / "users.parquet", NUMBERS).tolist() == [7, 3]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("users.txt", "7\n\n5\n", ["line 3", "unknown user 5", "3 users"]),
        ("users.txt", "7\nbob\n", ["line 2", "unknown user bob", "integers"]),
        ("users.txt", f"7\n{10**30}\n", ["line 2", str(10**30)]),
        ("users.csv", "user,age\n7,1\n,2\n", ["line 3", "(blank)"]),
        ("users.csv", "user,age\n7,1\n9,2\n", ["line 3", "unknown user 9"]),
        ("users.csv", "7\n3\n", ["no column 'user'", "7"]),
        ("users.csv", "user\n", ["names no user"]),
        ("users.csv", 'user\n"7\n', ["line", "quotes"]),
        ("users.txt", " \n", ["is empty", "one user id a line"]),
        ("users.parquet", "user\n7\n", ["users.parquet", "Parquet"]),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as error:
        read_users(tmp_path / name, NUMBERS)
    assert all(word in str(error.value) for word in words) and "\n" not in str(error.value), error.value


def test_a_mistake_in_parquet_is_named_with_its_row(tmp_path):
    path = tmp_path / "users.parquet"
    for column, words in (([7, 8], "row 2: unknown user 8"), ([7, None], r"row 2: unknown user \(blank\)")):
        pl.DataFrame({"user": column}).write_parquet(path)
        with pytest.raises(InputError, match=words):
            read_users(path, NUMBERS)
    pl.DataFrame({"who": [7]}).write_parquet(path)
    with pytest.raises(InputError, match="no column 'user': its columns are who"):
        read_users(path, NUMBERS)
    with pytest.raises(InputError, match="cannot find"):
        read_users(tmp_path / "absent.parquet", NUMBERS)


@pytest.mark.parametrize("name", ["lists.csv", "lists.parquet"])
@pytest.mark.parametrize("items", [np.array([[5, 6], [6, 5]]), np.array([["x", "y"], ["y", "x"]])])
def test_lists_are_written_whole(tmp_path, name, items):
    """The second user has one item only."""
    scores = np.array([[0.5, 0.25], [1.5, -np.inf]], np.float32)
    assert write_lists(tmp_path / name, NUMBERS[[2, 0]], items, scores) == 3
    read = pl.read_csv if name.endswith("csv") else pl.read_parquet
    assert read(tmp_path / name).rows() == [
        (11, items[0, 0].item(), 1, 0.5),
        (11, items[0, 1].item(), 2, 0.25),
        (3, items[1, 0].item(), 1, 1.5),
    ]
    assert read(tmp_path / name).columns == ["user", "item", "rank", "score"]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "lists.csv"
    path.write_text("old")

    def fail(frame, target):
        target.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pl.DataFrame, "write_csv", fail)
    with pytest.raises(InputError, match="No space left"):
        write_lists(path, NUMBERS[:1], np.array([[5]]), np.ones((1, 1), np.float32))
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_where_nothing_can_be_written(tmp_path):
    with pytest.raises(InputError, match=r"\.csv or \.parquet"):
        check_output(tmp_path / "lists.txt")
    with pytest.raises(InputError, match="there is no absent"):
        check_output(tmp_path / "absent" / "lists.csv")
