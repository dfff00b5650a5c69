"""Rows described by some of their fields, against rows written out."""

import numpy as np
import pytest

from tests.helpers import refusal
from zoo.data import described, fields


@pytest.fixture
def table():
    """Three users and three books; users come from one city each, the day is of neither."""
    return fields.from_raw(
        {
            "user": np.array([7, 7, 9, 9, 11]),
            "item": np.array(["A", "B", "A", "C", "C"]),
            "city": np.array(["ulm", "ulm", "bern", "bern", ""]),
            "day": np.array([1, 2, 1, 1, 3]),
            "author": np.array(["who", "who", "who", "x", "x"]),
        },
        np.array([5.0, 4, 3, 2, 1]),
        {"age": np.array([30, 30, np.nan, np.nan, 50])},
        bags={"title": np.array(["red sea", "sea", "red sea", "new", "new"])},
        item_fields=("author", "title"),
    )


def complete(table, values, added=()):
    encoding = fields.fit(table.take(np.arange(4)))  # the last row is held out
    return described.complete(table, encoding, described.rows_of_values(values), described.item_side(table, added))


def spelled(found, name):
    rows, place = found.rows, found.rows.names.index(name)
    return [rows.levels[place][code].item() if code >= 0 else None for code in rows.codes[:, place]]


def test_fields_that_are_left_out_come_from_the_table(table):
    found = complete(table, {"user": [7, 9, 404], "item": ["C", "", "A"], "day": [3, 3, 1]})
    assert spelled(found, "city") == ["ulm", "bern", ""] and spelled(found, "author") == ["x", None, "who"]
    assert np.array_equal(found.rows.numbers[:, 0], np.array([30, np.nan, np.nan], np.float32), equal_nan=True)
    words = [found.rows.bag_levels[0][bag[bag >= 0]].tolist() for bag in found.rows.bags[0]]
    assert words == [["new"], [], ["red", "sea"]]
    assert found.unknown == {"user": 1, "day": 2}  # day 3 is in the table, but training did not meet it
    assert set(found.blank) == {"city", "author", "age", "title"}


def test_what_is_given_stands(table):
    found = complete(table, {"user": [7], "city": ["paris"], "age": ["31.5"], "day": [""], "title": ["sea of red"]})
    assert spelled(found, "city") == [None] and spelled(found, "day") == [None] and found.rows.numbers[0, 0] == 31.5
    assert found.rows.bags[0].tolist() == [[2, 1, -1]] and found.unknown == {"city": 1, "title": 1}
    assert described.spelled(found.unknown, 1) == (
        "2 values of 1 row not known from training, taken as unknown: city (1), title (1)"
    )


def test_items_have_their_own_fields(table):
    items = described.items(table, described.item_side(table, ()))
    assert items.column("item").tolist() == [0, 1, 2] and items.column("author").tolist() == [0, 0, 1]
    back = fields.from_columns(table.columns)
    assert back.item_fields == table.item_fields and table.without(["author"]).item_fields == ("title",)


def test_mistakes(table):
    def refused(values, added=()):
        return refusal(lambda _: complete(table, values, added), None)

    assert "unknown field 'agee': did you mean age?" in refused({"agee": [1]})
    assert "row 2, column age: 'old': not a finite number" in refused({"age": ["31", "old"]})
    assert "user 7 has several values of day: say which with --field day=VALUE" in refused({"user": [7]})
    assert "item A has several values of city" in refused({"item": ["A"]}, ["city"])
    assert "'user' is no field that describes the item" in refused({"item": ["A"]}, ["user"])
    assert "no field is described" in refused({}) and "of one length" in refused({"age": [1], "day": []})


def test_rows_of_a_file(table, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("age,city\n31,ulm\n,bern\n")
    assert described.read_rows(path).fields.rows() == [("31", "ulm"), ("", "bern")]
    path.write_text("age,age\n31,3\n")
    assert "'age' stands there twice" in refusal(described.read_rows, path)
    path.write_text("age,city\n31,ulm\n32\n")
    assert "line 3: 1 field, but there are 2 columns" in refusal(described.read_rows, path)
    path.write_text("age,city\n31,ulm\nold,ulm\n")
    rows = described.read_rows(path)
    message = refusal(lambda _: described.complete(table, fields.fit(table), rows, ()), None)
    assert f"{path}, line 3, column age: 'old': not a finite number" in message
