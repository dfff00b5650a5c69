import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from zoo.data import catalog, readers, splits
from zoo.errors import InputError


REAL = [name for name, dataset in catalog.CATALOG.items() if dataset.files]
needs_data = pytest.mark.skipif(
    "ZOO_DATA" not in os.environ, reason="ZOO_DATA, the folder of the data sets, is not set"
)


@pytest.fixture
def places(tmp_path, monkeypatch):
    """An empty $ZOO_DATA and an empty user cache."""
    monkeypatch.setenv("ZOO_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "data", tmp_path / "cache" / "zoo"


@pytest.fixture
def toy(places, monkeypatch):
    """A data set of four interactions, in the catalog and in $ZOO_DATA."""
    contents = {"train.txt": b"0 1 2\n1 2\n", "test.txt": b"0 3\n"}
    dataset = catalog.Dataset(
        name="toy",
        task="a toy",
        files={name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
        counts=(2, 3, 4),
        default_split="published",
        source="here",
        how_to_get="make FOLDER",
        read=readers.read_split_folder,
    )
    monkeypatch.setitem(catalog.CATALOG, "toy", dataset)
    folder = places[0] / "toy"
    folder.mkdir(parents=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return dataset


def refusal(function, *arguments, **options) -> str:
    with pytest.raises(InputError) as error:
        function(*arguments, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_entries_are_complete():
    for name, dataset in catalog.CATALOG.items():
        assert name == dataset.name and catalog.find(name) is dataset
        assert dataset.task and dataset.source and dataset.how_to_get
        assert callable(getattr(splits, dataset.default_split))
        assert all(len(digest) == 64 for digest in dataset.files.values())
        assert (dataset.counts is None) == (not dataset.files)


def test_unknown_name():
    message = refusal(catalog.find, "movielens-1M")
    assert "'movielens-1M'" in message and "did you mean movielens-1m" in message and "gowalla" in message


def test_neither_name_nor_path(tmp_path):
    message = refusal(catalog.load, "gowala")
    assert "'gowala'" in message and "did you mean gowalla?" in message and "there is no gowala in" in message
    (tmp_path / "mine.csv").write_text("user,item\n1,2\n")
    message = refusal(catalog.load, tmp_path / "mime.csv")
    assert "no data set has that name" in message and "did you mean mine.csv?" in message


@pytest.mark.parametrize("name", REAL)
def test_absent_set_says_how_to_get_it_and_where_to_put_it(places, name):
    dataset = catalog.find(name)
    assert catalog.folder(dataset) is None
    for function, argument in ((catalog.load, name), (catalog.sha256, name), (catalog.verify, dataset)):
        message = refusal(function, argument)
        assert f"data set {name} is not here" in message
        assert dataset.how_to_get.replace("FOLDER", str(places[0] / (dataset.folder or name))) in message
        assert str(places[1] / (dataset.folder or name)) in message


def test_without_zoo_data_the_cache_is_the_place(places, monkeypatch):
    monkeypatch.delenv("ZOO_DATA")
    assert f"-d {places[1]}/movielens-1m" in refusal(catalog.load, "movielens-1m")


def test_zoo_data_comes_before_the_cache(toy, places):
    assert catalog.folder(toy) == places[0] / "toy"
    places[1].mkdir(parents=True)
    (places[0] / "toy").rename(places[1] / "toy")
    assert catalog.folder(toy) == places[1] / "toy"
    (places[0] / "toy").mkdir()  # an incomplete folder does not hide a complete one
    assert catalog.folder(toy) == places[1] / "toy"


def test_load_a_name(toy):
    data = catalog.load("toy")
    assert data.user.tolist() == [0, 0, 1, 0]
    assert data.part.tolist() == [0, 0, 0, 2]
    assert len(catalog.load("toy", columns={}, separator=None)) == 4
    assert "leave out columns" in refusal(catalog.load, "toy", columns={"user": "x"})


def test_load_a_path(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("who,item\n1,2\n")
    assert (
        len(catalog.load(path, columns={"user": "who"})) == len(catalog.load(str(path), columns={"user": "who"})) == 1
    )


def test_incomplete_and_damaged_folders(toy, places):
    catalog.verify(toy)
    train = places[0] / "toy" / "train.txt"
    train.write_bytes(b"0 1 2\n1 3\n")  # as many of everything: only the checksum tells
    catalog.load("toy")
    message = refusal(catalog.verify, toy)
    assert str(train) in message and toy.files["train.txt"] in message and "make" in message
    train.write_bytes(b"0 1 2\n")
    message = refusal(catalog.load, "toy")
    assert "1 users, 3 items and 3 interactions" in message and "2 users, 3 items and 4 interactions" in message
    train.unlink()
    message = refusal(catalog.load, "toy")
    assert "lacks train.txt" in message and f"make {places[0] / 'toy'}" in message


def test_sha256_is_of_the_contents_end_to_end(toy, places):
    digest = hashlib.sha256(b"0 1 2\n1 2\n0 3\n").hexdigest()
    assert catalog.sha256("toy") == digest
    assert catalog.sha256(places[0] / "toy") == digest
    file = places[0] / "toy" / "test.txt"
    assert catalog.sha256(file) == toy.files["test.txt"]


def test_simulated_set_is_generated():
    small = {"num_users": 20, "num_videos": 30, "num_watches": 100}
    data = catalog.load("simulated", **small, columns={}, separator=None)
    assert (data.num_users, data.num_items, len(data)) == (20, 30, 100)
    assert "leave out columns" in refusal(catalog.load, "simulated", columns={"user": "x"})
    assert catalog.folder(catalog.find("simulated")) is None
    catalog.verify(catalog.find("simulated"))


def test_simulated_sha256_is_of_the_arguments():
    assert catalog.sha256("simulated") == catalog.sha256("simulated", seed=0) != catalog.sha256("simulated", seed=1)


@needs_data
@pytest.mark.parametrize("name", REAL)
def test_real_set(name):
    dataset = catalog.find(name)
    catalog.verify(dataset)
    data = catalog.load(name)  # compares the counts with the published ones
    if dataset.default_split == "published":
        assert {0, 2} <= set(np.unique(data.part).tolist())


@needs_data
def test_real_parts():
    assert np.bincount(catalog.load("movielens-100k").part).tolist() == [80_000, 0, 20_000]
    assert np.bincount(catalog.load("gowalla").part).tolist() == [810_128, 0, 217_242]
    assert np.bincount(catalog.load("movielens-1m-graph").part).tolist() == [796_244, 99_455, 99_455]


@needs_data
def test_real_sequences_start_at_zero():
    data = catalog.load("amazon-beauty")
    first = data.take(data.timestamp == 0)
    assert len(first) == data.num_users
    split = splits.leave_one_out(data, 0)
    assert len(split.test) == data.num_users
    assert split.test.item_ids[split.test.item[:2]].tolist() == [5, 11]  # the ends of the first two lines


@needs_data
def test_checksums_read_zipped_and_plain_alike(tmp_path):
    dataset = catalog.find("amazon-beauty")
    digest = catalog.sha256("amazon-beauty")
    assert digest == dataset.files["Beauty.txt"]
    content = readers.read_text(Path(os.environ["ZOO_DATA"]) / "amazon-beauty" / "Beauty.txt.gz")
    (tmp_path / "Beauty.txt").write_text(content)
    assert catalog.sha256(tmp_path / "Beauty.txt") == digest
