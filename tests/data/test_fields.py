"""Field tables, their encoding and their readers, against counts written out."""

import datetime
import gzip
import os

import numpy as np
import polars as pl
import pytest

from zoo.data import book_readers, catalog, field_readers, fields, splits
from zoo.data.fields import FieldTable
from zoo.errors import InputError


needs_data = pytest.mark.skipif(
    "ZOO_DATA" not in os.environ, reason="ZOO_DATA, the folder of the data sets, is not set"
)


def refusal(function, *arguments, **options) -> str:
    with pytest.raises(InputError) as error:
        function(*arguments, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture
def table():
    color = np.array(["red", "red", "blue", "green", "red", "pink"])
    size = np.array([1.0, 2.0, np.nan, 3.0, 4.0, 100.0], np.float32)
    part = np.array([0, 0, 0, 0, 0, 2], np.int8)
    return fields.from_raw({"color": color}, np.array([1, 0, 0, 1, 1, 0]), {"size": size}, part=part)


def test_encoding_is_fitted_on_train_only(table):
    split = splits.published(table, 0)
    encoding = fields.fit(split.train, num_buckets=2)
    assert encoding.field_sizes == (4, 4 - 1)  # unknown, blue, green, red; missing, low, high
    assert encoding.offsets.tolist() == [0, 4]
    encoded = encoding.encode(split.train)
    assert encoded.dtype == np.int32
    assert encoded.tolist() == [[3, 5], [3, 5], [1, 4], [2, 6], [3, 6]]
    test = encoding.encode(split.test)
    assert test.tolist() == [[0, 6]] and fields.unknown(test, encoding) == 1  # pink is new, 100 is merely high


def test_rare_categories_are_unknown(table):
    encoding = fields.fit(table, min_count=2)
    assert encoding.field_sizes[0] == 2
    assert encoding.encode(table)[:, 0].tolist() == [1, 1, 0, 0, 1, 0]
    assert "min_count is 0" in refusal(fields.fit, table, min_count=0)
    assert "num_buckets is 1" in refusal(fields.fit, table, num_buckets=1)


def test_rows_of_fields_do_not_meet():
    table = fields.planted(500)
    encoding = fields.fit(table, num_buckets=8)
    encoded = encoding.encode(table)
    ends = np.cumsum(encoding.field_sizes)
    assert (encoded < ends).all() and (encoded >= ends - encoding.field_sizes).all()


def test_quantile_buckets_hold_about_as_many():
    values = np.random.default_rng(0).lognormal(size=1000).astype(np.float32)
    counts = np.bincount(np.searchsorted(fields.quantile_edges(values, 8), values, side="right"))
    assert len(counts) == 8 and counts.min() >= 120 and counts.max() <= 130
    often_zero = np.concatenate([np.zeros(900), np.arange(1, 101)])
    bucket = np.searchsorted(fields.quantile_edges(often_zero, 8), often_zero, side="right")
    assert len(set(bucket[:900])) == 1 and np.bincount(bucket)[2:].max() <= 15 and bucket.max() == 8


def test_log_buckets_are_those_of_the_formula():
    values = np.arange(3, 3000, dtype=np.float64)
    edges = fields.log_edges(values, 100)
    bucket = np.searchsorted(edges, values, side="right")
    want = np.floor(np.log(values) ** 2)
    assert np.array_equal(np.diff(bucket) > 0, np.diff(want) > 0)
    assert len(set(np.searchsorted(edges, [-1, 0, 1, 2, 3], side="right").tolist())) == 4  # 2 and 3: log^2 is 0 and 1
    assert len(fields.log_edges(values, 5)) == 4


def test_columns_are_the_way_back(table):
    back = fields.from_columns(table.columns)
    for name, column in table.columns.items():
        assert np.array_equal(column, back.columns[name], equal_nan=column.dtype.kind == "f")
    assert back.field_names == ("color", "size") and table.take(np.array([5, 0])).codes[:, 0].tolist() == [2, 3]


def test_splits_of_a_table(table):
    assert len(splits.random(table, 0, fraction=0.5).test) == 3
    for rule in (splits.per_user, splits.per_user_temporal, splits.leave_one_out, splits.temporal):
        assert "choose random or published" in refusal(rule, table, 0)
    assert "needs a field called item" in refusal(splits.new_items, table, 0)
    assert "choose random" in refusal(splits.published, fields.planted(100), 0)


def test_labels_are_numbers():
    assert "label nan of row 2" in refusal(fields.from_raw, {"a": np.array([1, 2])}, np.array([0, np.nan]))
    assert "without fields" in refusal(fields.from_raw, {}, np.array([0, 1]))


def test_planted_truth_is_calibrated():
    table = fields.planted(20_000)
    assert abs(table.truth.mean() - table.label.mean()) < 4 * np.sqrt(0.25 / 20_000)
    assert np.array_equal(table.codes, fields.planted(20_000).codes)
    assert not np.array_equal(table.label, fields.planted(20_000, seed=1).label)


@pytest.fixture
def films():
    genres = np.array(["drama comedy", "comedy", "", "war drama drama", "western"])
    item = np.array([3, 3, 5, 7, 9])
    return fields.from_raw(
        {"item": item}, np.array([1.0, 2, 3, 4, 5]), part=np.array([0, 0, 0, 0, 2], np.int8), bags={"genres": genres}
    )


def test_bags_are_the_known_values(films):
    split = splits.published(films, 0)
    encoding = fields.fit(split.train)
    assert encoding.field_sizes == (4, 4) and films.field_names == ("item", "genres")  # unknown, comedy, drama, war
    assert encoding.encode(split.train).tolist() == [[1], [1], [2], [3]]
    assert encoding.encode_bags(split.train)[:, 0].tolist() == [[6, 5, -1], [5, -1, -1], [4, -1, -1], [7, 6, 6]]
    assert encoding.encode_bags(split.test)[:, 0].tolist() == [[4, -1, -1]]  # western is new
    assert fields.fit(films, min_count=2).field_sizes == (2, 3)  # drama three times, comedy twice
    back = fields.from_columns(films.columns)
    assert np.array_equal(back.bags[0], films.bags[0]) and back.bag_names == ("genres",)
    assert films.without(["genres"]).field_names == ("item",) and films.without(["item"]).bags[0].shape == (5, 3)
    assert "no field 'genre' to leave out" in refusal(films.without, ["genre"])


def test_new_items_are_met_by_nobody(films):
    split = splits.new_items(films, 0, fraction=0.5)
    held = set(split.test.column("item").tolist())
    assert len(held) == 2 and not held & set(split.train.column("item").tolist())
    assert len(split.train) + len(split.test) == 5


BOOKS = {
    "BX-Ratings.csv": "User-ID,ISBN,Book-Rating\n7,0A,8\n9,0B,3\n8,0A,5\n",
    "BX-NewBooksRatings.csv": "User-ID,ISBN,Book-Rating\n7,0C,9\n",
    "BX-Users.csv": "User-ID,User-City,User-State,User-Country,User-Age\n"
    '9,Bern,," switzerland""",244\n7,ulm, n/a," germany""",30\n',
    "BX-Books.csv": "ISBN,Book-Title,Book-Author,Year-Of-Publication,Book-Publisher\n"
    '0A,"Red, red Sea",A. Who,1999,Dell\n0B,Élan,b,0,Dell\n',
    "BX-NewBooks.csv": "ISBN,Book-Title,Book-Author,Year-Of-Publication,Book-Publisher\n"
    "0C,New Sea,a. who,2001,Penguin\n",
}


def test_books(tmp_path):
    for name, text in BOOKS.items():
        (tmp_path / name).write_text(text)
    table = book_readers.read_new_books(tmp_path)
    ratings = book_readers.read_new_ratings(tmp_path)
    assert table.label.tolist() == ratings.rating.tolist() == [8, 3, 5, 9] and table.part.tolist() == [0, 0, 0, 2]

    def spelled(name):
        return table.levels[table.names.index(name)][table.column(name)].tolist()

    assert spelled("country") == ["germany", "switzerland", "", "germany"]  # nothing is known of user 8
    assert spelled("author") == ["a. who", "b", "a. who", "a. who"]
    assert np.array_equal(table.numbers[:, 0], np.array([30, np.nan, np.nan, 30], np.float32), equal_nan=True)
    assert np.array_equal(table.numbers[:, 1], np.array([1999, np.nan, 1999, 2001], np.float32), equal_nan=True)
    words = [" ".join(table.bag_levels[0][row[row >= 0]]) for row in table.bags[0]]
    assert words == ["red sea", "élan", "red sea", "new sea"]
    assert len(book_readers.read_books(tmp_path)) == len(book_readers.read_ratings(tmp_path)) == 3
    (tmp_path / "BX-Users.csv").write_text("User-ID,User-Age\n7,30\n")
    assert "line 1: 'User-ID,User-Age': the header should be" in refusal(book_readers.read_books, tmp_path)


def test_movielens_fields(tmp_path):
    (tmp_path / "ratings.dat").write_text("2::10::5::1\n1::20::3::2\n")
    (tmp_path / "users.dat").write_text("1::F::1::10::48067\n2::M::56::16::70072-12\n")
    (tmp_path / "movies.dat").write_bytes(
        "10::Caf\u00e9 (1995)::Comedy|Film-Noir\n20::B (1996)::War\n".encode("latin-1")
    )
    table = field_readers.read_movielens_fields(tmp_path)
    assert table.field_names == ("user", "item", "gender", "age", "occupation", "region", "genres")
    assert [levels[code].tolist() for levels, code in zip(table.levels[2:], table.codes.T[2:])] == [
        ["M", "F"],
        ["56", "1"],
        ["16", "10"],
        ["70", "48"],
    ]
    assert table.bag_levels[0][table.bags[0][0]].tolist() == ["Comedy", "Film-Noir"] and table.label.tolist() == [5, 3]
    (tmp_path / "ratings.dat").write_text("2::10::5::1\n3::20::3::2\n")
    assert "line 2, column user: '3': no such user" in refusal(field_readers.read_movielens_fields, tmp_path)


@pytest.mark.parametrize("ending", ["libfm", "libffm"])
def test_sparse(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    path.write_text({"libfm": "-1 3:1 7:1\n1 2:1 9:1\n", "libffm": "-1 0:3:1 1:7:1\n1 0:2:1 1:9:1.0\n"}[ending])
    table = field_readers.read_path(path)
    assert (
        table.label.tolist() == [0, 1]
        and table.levels[0].tolist() == [2, 3]
        and table.codes.tolist() == [[1, 0], [0, 1]]
    )


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1 3:1 7:1\n0 2:1\n", "line 2: 1 fields, but line 1 has 2"),
        ("1 3:1 7:1\n5 2:1 3:1\n", "line 2: '5': not a label"),
        ("1 3:1 7:1\n0 2:1 3:0.5\n", "line 2: '3:0.5'"),
        ("1 3:1 7:1\n0 x:1 3:1\n", "line 2: 'x:1'"),
        ("1\n0\n", "line 1: '1' has no fields"),
    ],
)
def test_bad_sparse_lines_are_named(tmp_path, text, wanted):
    path = tmp_path / "a.libsvm"
    path.write_text(text)
    message = refusal(field_readers.read_path, path)
    assert str(path) in message and wanted in message


def test_files_of_one_table_have_as_many_fields_a_line(tmp_path):
    first, second = tmp_path / "a.libfm", tmp_path / "b.libfm"
    first.write_text("1 3:1 7:1\n0 2:1 9:1\n")
    second.write_text("1 3:1 7:1 8:1\n")
    message = refusal(field_readers.read_sparse, [first, second])
    assert f"{second} has 3 fields a line, but {first} has 2" in message


def test_delimited(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("color,price:float,clicked\nred,1.5,1\n,,0\nblue,2,1\n")
    table = field_readers.read_path(path, columns={"label": "clicked"})
    assert table.names == ("color",) and table.numeric_names == ("price:float",)
    assert table.levels[0].tolist() == ["", "blue", "red"] and table.label.tolist() == [1, 0, 1]
    assert np.array_equal(table.numbers[:, 0], np.array([1.5, np.nan, 2], np.float32), equal_nan=True)
    assert "--label-column NAME" in refusal(field_readers.read_path, path)
    assert "leave --user-column NAME out" in refusal(field_readers.read_path, path, columns={"user": "color"})
    path.write_text("color,price:float,label\nred,1.5,1\nred,cheap,0\n")
    assert "line 3, column price:float: 'cheap'" in refusal(field_readers.read_path, path)
    path.write_text("color,label\nred,1\nred,maybe\n")
    assert "line 3, column label: 'maybe'" in refusal(field_readers.read_path, path)


def test_a_typed_table_is_that_of_its_text(tmp_path):
    """Parquet and a dataframe of the same values: floats are numbers, integers and the rest are categories."""
    text, typed = tmp_path / "a.csv", tmp_path / "a.parquet"
    text.write_text("color,shelf,price:float,clicked\nred,7,1.5,1\n,70,,0\nblue,7,2,1\n")
    frame = pl.DataFrame(
        {
            "color": pl.Series(["red ", None, "blue"], dtype=pl.Categorical),
            "shelf": [7, 70, 7],
            "price:float": [1.5, float("nan"), 2.0],
            "clicked": [True, False, True],
        }
    )
    frame.write_parquet(typed)
    columns = {"label": "clicked"}
    expected = field_readers.read_path(text, columns=columns).columns
    for found in (field_readers.read_path(typed, columns=columns), catalog.load(frame, FieldTable, columns=columns)):
        assert found.columns.keys() == expected.keys()
        for name, column in found.columns.items():
            equal_nan = column.dtype.kind == "f"
            assert column.dtype == expected[name].dtype and np.array_equal(column, expected[name], equal_nan=equal_nan)


def test_mistakes_in_a_typed_table(tmp_path):
    frame = pl.DataFrame({"color": ["red", "blue"], "label": [1.0, None]})
    read = field_readers.read_frame
    assert "row 1 (the first is 0), column label: null: not a label" in refusal(read, frame)
    assert "zoo.load_data(frame, zoo.FieldTable)" in refusal(read, frame.rename({"label": "clicked"}))
    assert "but no rows" in refusal(read, frame.clear())
    assert "'when' is of type Date" in refusal(read, frame.with_columns(when=datetime.date(2026, 1, 1)))
    assert "not a finite number" in refusal(read, frame.with_columns(price=float("inf"), label=1))
    assert "no separator" in refusal(field_readers.read_path, _parquet(tmp_path, frame), separator=",")
    assert "--label-column NAME" in refusal(field_readers.read_path, _parquet(tmp_path, frame.drop("label")))


def _parquet(folder, frame):
    frame.write_parquet(folder / "a.parquet")
    return folder / "a.parquet"


def test_parts_of_a_table_end_to_end(films):
    """What `take` divides, `followed_by` puts together."""
    whole = films.take(np.array([0, 1, 2])).followed_by(films.take(np.array([3, 4])))
    for name, column in films.columns.items():
        assert np.array_equal(whole.columns[name], column)


def test_criteo_lines(tmp_path):
    path = tmp_path / "criteo.tsv"
    row = ["1", "3", *[""] * 12, "68fd1e64", *[""] * 25]
    path.write_text("\t".join(row) + "\n" + "\t".join(["0", *row[1:]]) + "\n")
    table = field_readers.read_criteo([path])
    assert len(table.field_names) == 39 and table.label.tolist() == [1, 0]
    assert table.numbers[0, 0] == 3 and np.isnan(table.numbers[:, 1:]).all()
    with gzip.open(tmp_path / "day.txt.gz", "wb") as file:
        file.write(path.read_bytes())
    for same in (path, tmp_path / "day.txt.gz"):  # no header says what it is: its first line does
        read = field_readers.read_path(same)
        assert read.names == table.names and (read.codes == table.codes).all() and read.label.tolist() == [1, 0]
    named = tmp_path / "named.tsv"
    named.write_text("\t".join(field_readers.CRITEO_COLUMNS) + "\n" + path.read_text())
    assert len(field_readers.read_path(named)) == 2
    path.write_text("\t".join(row) + "\n" + "\t".join(row[:-1]) + "\n")
    assert "line 2: 39 fields, but there are 40 columns" in refusal(field_readers.read_criteo, [path])


@needs_data
def test_real_tables():
    frappe = catalog.load("frappe")
    assert np.bincount(frappe.part).tolist() == [202_027, 57_722, 28_860]
    assert [len(levels) for levels in frappe.levels[:2]] == [957, 4082] and sum(map(len, frappe.levels)) == 5382
    adult = catalog.load("adult")
    assert np.bincount(adult.part).tolist() == [32_561, 0, 16_281]
    assert abs(adult.label[adult.part == 0].mean() - 0.2408) < 5e-5 and np.isfinite(adult.numbers).all()
    assert abs(catalog.load("criteo-sample").label.mean() - 0.216) < 5e-3
