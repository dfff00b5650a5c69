"""A Parquet file read slice by slice gives the rows, the cut and the counts of the same file read whole."""

import numpy as np
import polars as pl
import pytest

from zoo.data import splits, stream
from zoo.data.interactions import merge_repeats
from zoo.data.readers import read_path
from zoo.errors import InputError


NUM_ROWS = 3000


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Slices, blocks and a sample of users that a toy file has several of."""
    whole = splits.sampled_users
    monkeypatch.setattr(splits, "sampled_users", lambda num_users, seed, size=40: whole(num_users, seed, 40))
    monkeypatch.setattr(stream, "SLICE_ROWS", 256)
    monkeypatch.setattr(stream, "BLOCK_ROWS", 64)


def log(kind="integers", repeats=0):
    rng = np.random.default_rng(0)
    pairs = rng.choice(150 * 60, NUM_ROWS - repeats, replace=False)
    pairs = rng.permutation(np.concatenate([pairs, pairs[:repeats]]))
    user, item = pairs // 60 * 7 - 300, pairs % 60 * 1000
    if kind == "strings":
        user, item = [f"user {number}" for number in user], [str(number) for number in item]
    return pl.DataFrame({"user": user, "item": item, "title": ["x"] * NUM_ROWS})


@pytest.fixture
def write(tmp_path):
    def write(frame):
        path = tmp_path / "log.parquet"
        frame.write_parquet(path, row_group_size=700)
        return path

    return write


def pairs(user, item):
    return sorted(zip(user.tolist(), item.tolist(), strict=True))


def of(interactions):
    return pairs(interactions.user, interactions.item)


def refusal(path, columns=None):
    with pytest.raises(InputError) as error:
        stream.open_parquet(path, columns or {}, (0,))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("seeds", [(0,), (0, 1)], ids=["test", "validation"])
@pytest.mark.parametrize("kind", ["integers", "strings"])
def test_the_cut_is_that_of_the_file_in_memory(write, kind, seeds):
    path = write(log(kind))
    whole = read_path(path)
    cut = splits.user_sample(whole, 0)
    if len(seeds) == 2:
        cut = splits.user_sample(cut.train, 1)
    sample, source = stream.open_parquet(path, {}, seeds)
    assert sample.user_ids.tolist() == whole.user_ids.tolist() and sample.item_ids.tolist() == whole.item_ids.tolist()
    rows = source.read(0, source.num_rows)
    assert pairs(rows["user"], rows["item"]) == of(cut.train)
    assert of(sample.take(sample.part == 2)) == of(cut.test)
    asked = splits.sampled_users(whole.num_users, seeds[-1])
    assert of(sample.take(sample.part == 0)) == of(cut.train.take(asked[cut.train.user]))
    assert sample.item_counts.tolist() == cut.train.item_counts.tolist()
    assert asked.sum() == 40 and 0.1 < len(cut.test) / asked[whole.user].sum() < 0.3


def test_repeats_stay_in_training_on_the_side_of_their_pair(write):
    path = write(log(repeats=500))
    cut = splits.user_sample(merge_repeats(read_path(path))[0], 0)
    sample, source = stream.open_parquet(path, {}, (0,))
    rows = source.read(0, source.num_rows)
    assert set(pairs(rows["user"], rows["item"])) == set(of(cut.train))
    assert len(cut.train) < source.num_rows == sample.item_counts.sum()
    assert of(sample.take(sample.part == 2)) == of(cut.test)


def test_rows_of_users(write):
    for kind in ("integers", "strings"):
        path = write(log(kind).with_columns(pl.col("user").alias("who"), pl.col("item").alias("user")).drop("item"))
        mapping = {"user": "who", "item": "user"}
        whole, (sample, _) = read_path(path, columns=mapping), stream.open_parquet(path, mapping, (0,))
        users = np.array([3, 77], np.int32)
        found = stream.rows_of_users(path, mapping, sample, users)
        assert of(found) == of(whole.take(np.isin(whole.user, users)))


def test_an_epoch_has_every_row_once_in_an_order_of_its_own():
    for num_rows in (1, 63, 64, 1000):
        source = stream.Source(num_rows, lambda start, stop: {"row": np.arange(start, stop)})
        epochs = []
        for epoch in range(2):
            blocks = stream.block_order(num_rows, 5, epoch)
            bounds = [(start, min(start + 150, num_rows)) for start in range(0, num_rows, 150)]
            chunks = [stream.read_chunk(source, blocks, start, stop)["row"] for start, stop in bounds]
            assert [len(chunk) for chunk in chunks] == [stop - start for start, stop in bounds]
            epochs.append(np.concatenate(chunks))
            assert sorted(epochs[-1].tolist()) == list(range(num_rows))
        assert num_rows < 128 or epochs[0].tolist() != epochs[1].tolist()


def test_slices_are_shuffled(write):
    """A file in the order of users: a block has many of them."""
    frame = log().sort("user")
    block = stream.open_parquet(write(frame), {}, (0,))[1].read(0, 64)
    assert len(np.unique(block["user"])) > 2 * frame["user"][:64].n_unique()


def test_the_hash_is_splitmix64():
    """The first outputs of the generator of Vigna's splitmix64.c from state 1234567."""
    outputs = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert [int(splits._hash(np.array([1234567]), seed)[0]) for seed in range(4)] == outputs


@pytest.mark.parametrize(
    ("columns", "parts"),
    [
        ({"who": [1, 2], "item": [2, 3]}, ["no column for the user", "who, item", "--user-column NAME"]),
        ({"user": [1.5, 2.5], "item": [2, 3]}, ["column 'user'", "Float64", "integers, or strings"]),
        ({"user": list(range(300)), "item": [*range(290), *[None] * 10]}, ["row 290", "column item", "null"]),
        ({"user": [*"ab" * 140, ""], "item": range(281)}, ["row 280", "column user", "blank"]),
        ({"user": pl.Series([1, 2**63], dtype=pl.UInt64), "item": [2, 3]}, ["row 1", str(2**63), "beyond int64"]),
        ({"user": pl.Series([None], dtype=pl.Int64), "item": [1]}, ["row 0", "column user", "null"]),
        ({"user": pl.Series([], dtype=pl.Int64), "item": pl.Series([], dtype=pl.Int64)}, ["no rows"]),
    ],
)
def test_bad_columns(write, columns, parts):
    message = refusal(write(pl.DataFrame(columns)))
    for part in ["log.parquet", *parts]:
        assert part in message, message


def test_bad_files_and_a_small_disk(write, tmp_path, monkeypatch):
    path = write(log())
    good = path.read_bytes()
    path.write_bytes(good[:-1])
    assert "truncated" in refusal(path)
    path.write_bytes(b"user,item\n1,2\n")
    assert "is no Parquet file" in refusal(path)
    path.write_bytes(good)
    monkeypatch.setattr(stream.shutil, "disk_usage", lambda folder: stream.shutil._ntuple_diskusage(1, 1, 100))
    message = refusal(path)
    assert "3,000 rows" in message and "TMPDIR" in message


def test_a_file_that_changes_is_refused(write, monkeypatch):
    path = write(log())
    known = stream._known_ids
    monkeypatch.setattr(stream, "_known_ids", lambda *arguments: known(*arguments)[::2])
    assert "changed while it was read" in refusal(path)
