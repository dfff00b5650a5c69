import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import raw_rows, refusal
from zoo.data.readers import files_of, read_path, read_sequences


@pytest.fixture
def write(tmp_path):
    """Writes one file: `write(name, text or bytes)` -> its path, compressed where the name says so."""

    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        data = content.encode() if isinstance(content, str) else content
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return write


# Delimited text


@pytest.mark.parametrize(
    "name, separator",
    [
        ("a.csv", ","),
        ("a.csv.gz", ","),
        ("a.tsv", "\t"),
        ("a.csv", ";"),
        ("a.txt", "|"),
        ("a.dat", "::"),
        ("a.txt", " "),
    ],
)
def test_separators(write, name, separator):
    table = [["user", "item", "rating", "timestamp"], ["7", "-3", "4.5", "90"], ["2", "5", "1", "80"]]
    path = write(name, "".join(separator.join(line) + "\n" for line in table))
    assert raw_rows(read_path(path)) == [(7, -3, 4.5, 90), (2, 5, 1.0, 80)]


def test_given_separator(write):
    path = write("a.csv", "user~item\n1~2\n")
    assert raw_rows(read_path(path, separator="~")) == [(1, 2)]
    assert raw_rows(read_path(write("a.csv", "user§item\n1§2\n"), separator="§")) == [(1, 2)]
    assert "separator '\"'" in refusal(read_path, path, separator='"')


def test_any_order_of_columns_others_left_out_and_names_in_use(write):
    path = write("a.csv", "Timestamp,title,movieId,UserID\n5,x,2,1\n6,y,3,1\n")
    data = read_path(path)
    assert raw_rows(data) == [(1, 2, 5), (1, 3, 6)]
    assert data.rating is None


def test_mapped_columns(write):
    path = write("a.csv", "who,what,user,item\n1,2,3,4\n")
    assert raw_rows(read_path(path)) == [(3, 4)]
    assert raw_rows(read_path(path, columns={"user": "who", "item": "what"})) == [(1, 2)]


def test_ids_are_integers_only_where_all_are(write):
    data = read_path(write("a.csv", "user,item\n9223372036854775807,x1\n-1,7\n"))
    assert data.user_ids.dtype == np.int64
    assert raw_rows(data) == [(2**63 - 1, "x1"), (-1, "7")]


def test_leading_zeros_keep_ids_apart(write):
    data = read_path(write("a.csv", "user,item\n1,007\n1,7\n"))
    assert data.item_ids.tolist() == ["007", "7"]


def test_windows_ends_of_lines_byte_order_mark_quotes_blank_lines_and_spaces(write):
    text = '\ufeffuser,title,item\r\n 1 ,"a, ""b""\r\nc", 2\r\n\r\n3,,4\r\n\r\n'
    assert raw_rows(read_path(write("a.csv", text))) == [(1, 2), (3, 4)]


def test_old_macintosh_ends_of_lines_and_no_last_end(write):
    assert raw_rows(read_path(write("a.csv", "user,item\r1,2\r3,4"))) == [(1, 2), (3, 4)]


def test_both_ways_of_reading_agree(write):
    rng = np.random.default_rng(0)
    lines = [f"u{u},{i},{r:.3f},{t}" for u, i, r, t in rng.integers(0, 50, (500, 4)) + [0, -20, 0, 10**9]]
    quick = "user,item,rating,timestamp\n" + "\n".join(lines)
    slow = quick.replace("\n", "\n\n")  # blank lines send the file to the slow reader
    assert raw_rows(read_path(write("quick.csv", quick))) == raw_rows(read_path(write("slow.csv", slow)))


@pytest.mark.parametrize(
    "text, parts",
    [
        ("", ["a.csv is empty", "one interaction a line"]),
        ("\n \n", ["a.csv is empty"]),
        ("\nuser,item\n1,2\n", ["line 1 is blank", "header such as user,item"]),
        ("user,item\n", ["a.csv has a header (user, item) but no rows"]),
        ("who,item\n1,2\n", ["no column for the user", "columns are who, item", "--user-column NAME"]),
        ("x" * 200_000, ["line 1", "header such as user,item"]),
        ("user,what\n1,2\n", ["no column for the item", "columns are user, what", "--item-column NAME"]),
        ("a,b\n1,2\n", ["user and the item", "--user-column NAME and --item-column NAME"]),
        ("1,2,5\n1,3,4\n", ["line 1", "1, 2, 5", "looks like data", "add a header such as user,item"]),
        ("1 1 2 3\n2 3\n", ["line 1", "1, 1, 2, 3", "looks like data"]),
        ("user_id,uid,item\n1,2,3\n", ["several columns for the user, user_id and uid", "--user-column NAME"]),
        (
            "user,item,rating\n1,2,3\n1,3,good\n",
            ["line 3", "column rating", "'good'", "finite number", "mend or remove"],
        ),
        ("user,item,rating\n1,2,nan\n", ["line 2", "column rating", "'nan'", "--rating-column NAME"]),
        ("user,item,rating\n1,2,3\n1,2,-inf\n", ["line 3", "'-inf'", "finite"]),
        ("user,item,rating\n1,2,1e39\n", ["line 2", "'1e39'", "finite"]),  # beyond float32
        ("user,item,rating\n1,2,3\n1,2,\n", ["line 3", "column rating", "''", "finite"]),
        (
            "user,item,timestamp\n1,2,3.0\n1,2,3.5\n",
            ["line 3", "column timestamp", "'3.5'", "integers, such as seconds"],
        ),
        ("user,item,timestamp\n1,2,2024-01-31\n", ["line 2", "'2024-01-31'", "--timestamp-column NAME"]),
        ("user,item\n1,2\n,3\n", ["line 3", "column user", "blank", "fill it in or remove the row"]),
        ("user,item\n1,2\n3,  \n", ["line 3", "column item", "blank"]),
        ('user,item\n1,2\n"",3\n', ["line 3", "column user", "blank"]),
        ("user,item,rating\n1,2,3\n4,5\n", ["line 3", "2 fields", "3 columns (user, item, rating)", "'4,5'", "mend"]),
        ("user,item\n1,2\n3,4,5\n", ["line 3", "3 fields", "2 columns", "'3,4,5'"]),
        ("user,item\n1,2\n3,4,\n5,6\n", ["line 3", "3 fields", "2 columns", "'3,4,'"]),
        ("user,item\n1,2\n3,4,", ["line 3", "3 fields", "2 columns"]),
        ("user,item\n1,2\n\n3,4,5\n", ["line 4", "3 fields"]),
        ('user,item\n1,2\n3,"4\n5,6\n7,8\n', ["line 3", "mend the quotes"]),
        ('user,item\n1,"a\nb"\n3\n', ["line 4", "1 field,", "'3'"]),
        (b"user,item\n1,2\n3,caf\xe9\n", ["line 3", "0xe9", "latin-1", "iconv"]),
        ("user,item\n1,2\n".encode("utf-16"), ["line 1", "zero byte", "save it as UTF-8 CSV"]),
    ],
)
def test_bad_tables(write, text, parts):
    path = write("a.csv", text)
    message = refusal(read_path, path)
    for part in [str(path), *parts]:
        assert part in message


def test_bad_value_far_down_a_large_file(write):
    lines = ["1,2,3"] * 30_000
    lines[23_456] = "1,2,x"
    message = refusal(read_path, write("a.csv.gz", "user,item,rating\n" + "\n".join(lines)))
    assert "line 23458" in message and "'x'" in message


@pytest.mark.parametrize(
    "columns, parts",
    [
        ({"user": "uid"}, ["no column 'uid'", "columns are a, b", "--user-column NAME"]),
        ({"user": "a", "item": "a"}, ["column 'a'", "both as user and as item"]),
        ({"usr": "a"}, ["'usr'", "user, item, rating, timestamp"]),
    ],
)
def test_bad_mappings(write, columns, parts):
    message = refusal(read_path, write("a.csv", "a,b\n1,2\n"), columns=columns)
    for part in parts:
        assert part in message


# Files that cannot be read


def test_missing_file_names_what_is_there(write):
    write("zebras.txt", "")
    path = write("ratings.csv", "user,item\n1,2\n").parent / "rating.csv"
    assert "did you mean ratings.csv?" in refusal(read_path, path)
    assert str(path) in refusal(read_path, path)


def test_missing_folder_names_what_is_there(write):
    folder = write("gowalla/train.txt", "1 2\n").parent
    message = refusal(read_path, folder.parent / "gowala" / "train.txt")
    assert "there is no gowala in" in message and "did you mean gowalla?" in message
    assert "it has train.txt" in refusal(read_path, folder / "zzz")


def test_gzip_that_is_truncated_damaged_or_none(write, tmp_path):
    good = gzip.compress(b"user,item\n" + b"1,2\n3,4\n" * 100)
    path = tmp_path / "a.csv.gz"
    path.write_bytes(good[:-20])
    assert "truncated gzip" in refusal(read_path, path) and "download it again" in refusal(read_path, path)
    path.write_bytes(good[:-8] + b"12345678")
    assert "damaged gzip" in refusal(read_path, path)
    path.write_bytes(b"user,item\n1,2\n")
    assert "is not gzip" in refusal(read_path, path) and "rename it to a.csv" in refusal(read_path, path)
    path.write_bytes(b"")
    assert "is empty" in refusal(read_path, path)
    plain = tmp_path / "b.csv"
    plain.write_bytes(good)
    assert "rename it to b.csv.gz" in refusal(read_path, plain)


# MovieLens


@pytest.mark.parametrize("name", ["u.data", "u1.base", "ua.test", "u1.base.gz"])
def test_movielens_100k_files(write, name):
    assert raw_rows(read_path(write(name, "196\t242\t3\t881250949\n186\t302\t4\t891717742\n"))) == [
        (196, 242, 3.0, 881250949),
        (186, 302, 4.0, 891717742),
    ]


@pytest.mark.parametrize("name", ["ratings.dat", "ratings.dat.gz"])
def test_movielens_1m_files(write, name):
    assert raw_rows(read_path(write(name, "1::1193::5::978300760\n"))) == [(1, 1193, 5.0, 978300760)]


def test_bad_movielens_lines(write):
    message = refusal(read_path, write("ratings.dat", "1::2::3::4\n1::2::3\n"))
    assert "line 2" in message and "3 fields" in message and "'1::2::3'" in message
    message = refusal(read_path, write("u.data", "1\t2\t3\t4\n1\t2\tx\t4\n"))
    assert "line 2" in message and "column rating" in message and "'x'" in message


# RecBole


@pytest.mark.parametrize("name", ["a.inter", "a.train.inter", "a.inter.gz"])
def test_recbole_files(write, name):
    header = "timestamp:float\titem_id:token\tuser_id:token\trating:float\tgenre:token_seq\n"
    path = write(name, header + "978300760\t007\t-3\t4.5\ta b\n978300761.0\tx\t12\t1\t\n")
    assert raw_rows(read_path(path)) == [(-3, "007", 4.5, 978300760), (12, "x", 1.0, 978300761)]


def test_recbole_columns_are_named_by_what_stands_before_the_colon(write):
    path = write("a.inter", "session_id:token\titem_id:token\tlen:float\n5\t6\t7\n")
    message = refusal(read_path, path)
    assert "no column for the user" in message and "session_id, item_id, len" in message and "--user-column" in message
    assert raw_rows(read_path(path, columns={"user": "session_id", "rating": "len"})) == [(5, 6, 7.0)]


@pytest.mark.parametrize(
    "text, parts",
    [
        ("user_id\titem_id\n1\t2\n", ["line 1", r"'user_id\titem_id'", r"'user_id:token\titem_id:token\trating:float"]),
        ("1\t2\t3\n1\t2\t3\n", ["line 1", r"'1\t2\t3' is no typed header", ".tsv"]),
        ("user_id:token\titem_id:int\n1\t2\n", ["line 1", "item_id:int", "no typed header"]),
        ("user_id:token,item_id:token\n1,2\n", ["line 1", "no typed header"]),
        ("user_id:token\titem_id:token\n1\n", ["line 2", "1 field", "2 columns (user_id, item_id)"]),
        ("user_id:token\titem_id:token\trating:float\n1\t2\tx\n", ["line 2", "column rating", "'x'", "finite"]),
        (b"user_id:token\titem_id:token\n1\tcaf\xe9\n", ["line 2", "0xe9", "latin-1"]),
        ("", ["is empty"]),
    ],
)
def test_bad_recbole_files(write, text, parts):
    path = write("a.inter", text)
    message = refusal(read_path, path)
    for part in [str(path), *parts]:
        assert part in message, message


# Lines of one user's items


def test_split_folder(write):
    folder = write("set/train.txt", "0 5 6 5\n9\n-2 6\n").parent
    write("set/test.txt.gz", "0 7 \n\n9 5\n")
    data = read_path(folder)
    assert raw_rows(data) == [(0, 5), (0, 6), (0, 5), (-2, 6), (0, 7), (9, 5)]
    assert data.part.tolist() == [0, 0, 0, 0, 2, 2]
    assert [path.name for path in files_of(folder)] == ["train.txt", "test.txt.gz"]
    write("set/valid.txt", "0 8\n")
    data = read_path(folder)
    assert data.part.tolist() == [0, 0, 0, 0, 1, 2, 2]
    assert raw_rows(data)[4] == (0, 8)
    assert [path.name for path in files_of(folder)] == ["train.txt", "valid.txt", "test.txt.gz"]


def test_sequences_have_positions_for_times(write):
    data = read_sequences(write("a.txt", "1 30 10 20\n2\n3 10\n"))
    assert raw_rows(data) == [(1, 30, 0), (1, 10, 1), (1, 20, 2), (3, 10, 0)]


@pytest.mark.parametrize(
    "train, test, parts",
    [
        (None, "0 1\n", ["no train.txt", "did you mean test.txt", "`user item item ...`", "path of one file"]),
        ("0 1\n", None, ["no test.txt", "did you mean train.txt", "`user item item ...`"]),
        ("0 1\n2 x 3\n", "0 1\n", ["train.txt, line 2", "'x'", "not an integer", "`user item item ...`"]),
        ("0 1\n\n2 3\n4 1.5\n", "0 1\n", ["train.txt, line 4", "'1.5'"]),
        ("0 1\nx 3\n", "0 1\n", ["train.txt, line 2", "'x'"]),
        ("0 99999999999999999999\n", "0 1\n", ["train.txt, line 1", "'99999999999999999999'"]),
        ("0\n1\n", "0 1\n", ["train.txt has users but no items"]),
        ("0 1\n", "", ["test.txt is empty"]),
        ("0 1\n", b"0 1\n1 \xff\n", ["test.txt, line 2", "0xff", "UTF-8"]),
    ],
)
def test_bad_split_folders(write, train, test, parts):
    for name, content in {"set/train.txt": train, "set/test.txt": test}.items():
        if content is not None:
            folder = write(name, content).parent
    message = refusal(read_path, folder)
    for part in [str(folder), *parts]:
        assert part in message


def test_folder_takes_no_columns(write):
    folder = write("set/train.txt", "0 1\n").parent
    assert "leave them out" in refusal(read_path, folder, columns={"user": "uid"})


def test_empty_folder(tmp_path):
    assert "nothing is there" in refusal(read_path, tmp_path)


# The real files


@pytest.mark.skipif("ZOO_DATA" not in os.environ, reason="ZOO_DATA, the folder of the data sets, is not set")
def test_real_files():
    place = Path(os.environ.get("ZOO_DATA", ""))
    whole = read_path(place / "movielens-100k" / "u.data.gz")
    assert (whole.num_users, whole.num_items, len(whole)) == (943, 1682, 100_000)
    assert raw_rows(whole)[0] == (196, 242, 3.0, 881250949)
    assert set(whole.rating.tolist()) == {1.0, 2.0, 3.0, 4.0, 5.0}
    cut = read_path(place / "movielens-100k" / "u1.base.gz")
    assert len(cut) == 80_000
