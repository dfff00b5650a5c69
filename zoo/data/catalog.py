"""The named data sets: what each is for, where it comes from, and how to read it.

No data is shipped or fetched. A set is a folder of its own name under `$ZOO_DATA`, else under the user's cache.
"""

import difflib
import hashlib
import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zoo.data import book_readers, field_readers, fields, files, readers
from zoo.data.fields import FieldTable
from zoo.data.files import find_file, missing, need_file
from zoo.data.interactions import Interactions
from zoo.data.simulate import simulate
from zoo.errors import InputError


@dataclass(frozen=True)
class Dataset:
    """One entry of the catalog. A generated set has no files: it is always there, and `read` takes its own options."""

    name: str
    task: str
    files: Mapping[str, str]  # name in the folder, there as it is or with .gz -> sha256 of its uncompressed content
    counts: tuple[int, ...] | None  # users, items, interactions, or fields, rows: what a good copy holds
    default_split: str  # name of a split rule
    source: str  # who published it, and on what terms
    how_to_get: str  # a command or a sentence, in which FOLDER stands for where the files go
    read: Callable[..., Interactions | FieldTable]  # (folder) -> the data
    folder: str | None = None  # of the files, where it has not the set's name
    as_fields: "Dataset | None" = None  # the same rows, with what the set says of users and items


# What reads a path and what reads a dataframe, by the kind of data that is wanted.
READERS: dict[type, tuple[Callable[..., Any], Callable[..., Any]]] = {
    Interactions: (readers.read_path, readers.read_frame),
    FieldTable: (field_readers.read_path, field_readers.read_frame),
}


def find(name: str) -> Dataset:
    """The data set of that name; InputError with the nearest names for any other."""
    if name not in CATALOG:
        raise InputError(f"unknown data set {name!r}: {_names_like(name)}")
    return CATALOG[name]


def folder(dataset: Dataset) -> Path | None:
    """Where all files of a data set are: `$ZOO_DATA/NAME`, else `NAME` in the user's cache, else None."""
    return next((place for place in _places(dataset) if dataset.files and not _lacking(dataset, place)), None)


def load(data: Any, kind: type = Interactions, **options: Any) -> Interactions | FieldTable:
    """A named data set, the user's own file or folder, or a dataframe, read as `kind` where several are possible.

    Options of a path or a dataframe are those of its reader, of a generated set those of its function, such as
    `simulate`; a named set of files takes none. The number of users, items and interactions is checked, as is that of
    fields and rows; checksums are left to `verify`.
    """
    read_path, read_frame = READERS[kind]
    if not isinstance(data, (str, Path)):
        return read_frame(data, **options)
    dataset = _resolve(data, kind)
    if dataset is None:
        return read_path(data, **options)
    options = {name: value for name, value in options.items() if value is not None and value != {}}
    refused = sorted(options.keys() - set(generator_options(dataset)))
    if refused:
        raise InputError(f"{dataset.name} has its own reader: leave out {', '.join(refused)}, or give a path")
    if not dataset.files:
        return dataset.read(**options)
    place = _need_folder(dataset)
    data = dataset.read(place)
    counts, nouns = (*data.sizes.values(), len(data)), (*data.sizes, data.unit)
    if counts != dataset.counts:
        raise InputError(
            f"{dataset.name} in {place} has {_spell(counts, nouns)}, but the published set has "
            f"{_spell(dataset.counts or (), nouns)}: the files are damaged or of another version; {_getting(dataset)}"
        )
    return data


def generator_options(dataset: Dataset) -> tuple[str, ...]:
    """The names of the whole numbers that a generated set takes; none for a set of files."""
    return () if dataset.files else tuple(inspect.signature(dataset.read).parameters)


def sha256(name_or_path: str | Path, kind: type = Interactions, **options: Any) -> str:
    """One digest of what `load` reads: the files' uncompressed contents end to end.

    The order is that of `Dataset.files`, or train, valid, test of a folder. For a generated set, the digest is of the
    arguments of the call, defaults included; the simulated world itself may differ between processors
    (simulate.simulate).
    """
    dataset = _resolve(name_or_path, kind)
    if dataset is None:
        paths = readers.files_of(Path(name_or_path).expanduser())
    elif dataset.files:
        paths = _paths(dataset, _need_folder(dataset))
    else:
        return hashlib.sha256(_call(dataset.read, options).encode()).hexdigest()
    return files.sha256(paths)


def verify(dataset: Dataset) -> None:
    """Compares the files of a data set with their checksums; InputError names the first that differs."""
    if not dataset.files:
        return
    dataset = dataset.as_fields or dataset  # its files are those of both
    for path, expected in zip(_paths(dataset, _need_folder(dataset)), dataset.files.values(), strict=True):
        actual = files.sha256([path])
        if actual != expected:
            raise InputError(f"{path}: the sha256 is {actual} but should be {expected}; {_getting(dataset)}")


def _resolve(name_or_path: str | Path, kind: type) -> Dataset | None:
    """The data set of that name as `kind`, None for a path that exists; one error for what is neither."""
    name = str(name_or_path)
    if isinstance(name_or_path, str) and name in CATALOG:
        dataset = CATALOG[name]
        return dataset.as_fields if kind is FieldTable and dataset.as_fields else dataset
    path = Path(name_or_path).expanduser()
    if path.exists():
        return None
    raise InputError(f"cannot find {name!r}: no data set has that name ({_names_like(name)}), and {missing(path)}")


def _names_like(name: str) -> str:
    near = difflib.get_close_matches(name, CATALOG, n=2, cutoff=0.5)
    return (f"did you mean {' or '.join(near)}? " if near else "") + f"there are {', '.join(CATALOG)}"


def _places(dataset: Dataset) -> list[Path]:
    roots = [os.environ.get("ZOO_DATA"), Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "zoo"]
    return [Path(root).expanduser() / (dataset.folder or dataset.name) for root in roots if root]


def _lacking(dataset: Dataset, place: Path) -> list[str]:
    return [name for name in dataset.files if find_file(place, name) is None]


def _paths(dataset: Dataset, place: Path) -> list[Path]:
    return [need_file(place, name) for name in dataset.files]


def _need_folder(dataset: Dataset) -> Path:
    place = folder(dataset)
    if place is not None:
        return place
    partly = [place for place in _places(dataset) if place.is_dir()]
    if partly:
        raise InputError(f"{partly[0]} lacks {' and '.join(_lacking(dataset, partly[0]))}; {_getting(dataset)}")
    looked = " and ".join(str(place) for place in _places(dataset))
    raise InputError(f"data set {dataset.name} is not here (looked for {looked}); {_getting(dataset)}")


def _getting(dataset: Dataset) -> str:
    return f"to get it: {dataset.how_to_get.replace('FOLDER', str(_places(dataset)[0]))}"


def _spell(counts: tuple[int, ...], nouns: tuple[str, ...]) -> str:
    parts = [f"{count:,} {noun}" for count, noun in zip(counts, nouns)]
    return " and ".join([", ".join(parts[:-1]), parts[-1]])


def _call(function: Callable[..., Any], arguments: Mapping[str, Any]) -> str:
    call = inspect.signature(function).bind(**arguments)
    call.apply_defaults()
    settings = ", ".join(f"{name}={value!r}" for name, value in sorted(call.arguments.items()))
    return f"{function.__name__}({settings})"


_MOVIELENS_TERMS = "for research, not to be redistributed; cite Harper and Konstan, ACM TiiS 5(4), 2015"
_GROUPLENS = "https://files.grouplens.org/datasets/movielens"
_GITHUB = "https://raw.githubusercontent.com"
_LIGHTGCN = f"{_GITHUB}/gusye1234/LightGCN-PyTorch/947ca2b3b1d2d3545b114145710cb06c4e57b3d2/data/gowalla"
_ULTRAGCN = f"{_GITHUB}/xue-pai/UltraGCN/b220010d62af08bd895963a3d71c7c8e55ee1f56/data/ml-1m"
_NFM = f"{_GITHUB}/hexiangnan/neural_factorization_machine/ca2a5d11b929816aa44c6e470e795af144608507/data/frappe"
_UCI = "https://archive.ics.uci.edu/ml/machine-learning-databases"
_CRITEO = f"{_GITHUB}/Lapis-Hong/Wide-ResDNN/9889f939deb904a35692e2efdc6ab4f743a7df71/data/criteo"
_BX = "https://github.com/springtiming/ML-Models-for-Book-Rating-Prediction at bd2f6c27b5809f2cc44e24489188797ba7238bae"
_S3REC = f"{_GITHUB}/RUCAIBox/CIKM2020-S3Rec/2a81540ae18615d88ef88227b0c066e5b74781e5/data"

_MOVIELENS_1M = Dataset(
    name="movielens-1m",
    task="ratings of 1 to 5 with times; age, gender, occupation and region of users, genres of films",
    files={"ratings.dat": "506d64ca44484487c11dc2d9a28de5c54948213e6b96285e298afe28d6ea4e0f"},
    counts=(6040, 3706, 1000209),
    default_split="random",
    source=f"GroupLens, https://grouplens.org/datasets/movielens/1m; {_MOVIELENS_TERMS}",
    how_to_get=f"curl -O {_GROUPLENS}/ml-1m.zip && unzip -j ml-1m.zip -d FOLDER",
    read=lambda place: readers.read_movielens(need_file(place, "ratings.dat")),
)
_BOOKS = Dataset(
    name="book-crossing",
    task="ratings of books of 1 to 10; place and age of users, author, publisher, year and title of books",
    files={"BX-Ratings.csv": "8aba7c952d1b24636275a092e81a74ed3800e70b3dbcc81b029050b1b8c3b3ff"},
    counts=(48299, 18185, 204164),
    default_split="random",
    source="Ziegler et al., WWW 2005, explicit ratings of a cleaned part; free for research with citation",
    how_to_get=f"put BX-Ratings.csv, BX-Users.csv, BX-Books.csv, BX-NewBooks.csv and BX-NewBooksRatings.csv of {_BX} "
    "into FOLDER",
    read=book_readers.read_ratings,
)
_NEW_BOOKS = replace(
    _BOOKS,
    name="book-crossing-new",
    task="the same, with ratings of books that nobody in train has rated as the test part",
    files={
        **_BOOKS.files,
        "BX-NewBooksRatings.csv": "6c38bd88843cb2e1fe54c60b8ad2447b4b718c3bccf4b99921b917193400b0e7",
    },
    counts=(51759, 27109, 230936),
    default_split="published",
    read=book_readers.read_new_ratings,
    folder="book-crossing",
)
_BOOK_FILES = {
    "BX-Users.csv": "76180f3e7e917213743381c0347049749006ba8cdd1918aa6b051f86dd7d1aa4",
    "BX-Books.csv": "f85d360ca6de9147fc1b080eccb3304d92c7034b70319d8540700515d98d85d7",
}
_NEW_BOOK_FILES = {"BX-NewBooks.csv": "f3a46f3d7a630bb6dee0cec486e214e46b871c0fa1d5d7bfc2f210186b3ccdea"}

CATALOG: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            name="simulated",
            task="a small simulated video site whose best attainable results are known",
            files={},
            counts=None,
            default_split="per_user",
            source="generated by zoo.data.simulate, no files needed",
            how_to_get="it is always there",
            read=simulate,
        ),
        Dataset(
            name="movielens-100k",
            task="ratings of 1 to 5 with times; the published split u1",
            files={
                "u1.base": "ce253ec86c448b44fb3ba9a30d12dcfc2e9210cbde71efada3730c22e9ac212a",
                "u1.test": "18c6014a4b2c7324f250a63f8904a7b16b2b19f911129e346141507b0cbac950",
            },
            counts=(943, 1682, 100000),
            default_split="published",
            source=f"GroupLens, https://grouplens.org/datasets/movielens/100k; {_MOVIELENS_TERMS}",
            how_to_get=f"curl -O {_GROUPLENS}/ml-100k.zip && unzip -j ml-100k.zip -d FOLDER",
            read=lambda place: readers.read_movielens_split(need_file(place, "u1.base"), need_file(place, "u1.test")),
        ),
        replace(
            _MOVIELENS_1M,
            as_fields=replace(
                _MOVIELENS_1M,
                files={
                    **_MOVIELENS_1M.files,
                    "users.dat": "1dc3a95300cb19f7c10e027daf29b8cdf1d908dab65b5edfb45950aa389a10a3",
                    "movies.dat": "0140fc2356357c1a851d0f52e893a1e4d3696df632c4141cea8d5bc3d621f0b9",
                },
                counts=(7, 1000209),
                read=field_readers.read_movielens_fields,
            ),
        ),
        replace(
            _BOOKS,
            as_fields=replace(
                _BOOKS, files={**_BOOKS.files, **_BOOK_FILES}, counts=(10, 204164), read=book_readers.read_books
            ),
        ),
        replace(
            _NEW_BOOKS,
            as_fields=replace(
                _NEW_BOOKS,
                files={**_NEW_BOOKS.files, **_BOOK_FILES, **_NEW_BOOK_FILES},
                counts=(10, 230936),
                read=book_readers.read_new_books,
            ),
        ),
        Dataset(
            name="movielens-1m-graph",
            task="ranking: who rated what, a small and quick graph with train, validation and test",
            files={
                "train.txt": "f088986b22f14f17136f9c4ef6f1269201f83dfb9ce259f1fd4ed46d72a92599",
                "valid.txt": "7f053c9cb9b15e8120f00ba29ed28df2b751f23ce30eba035dd8067807ec3e09",
                "test.txt": "7ca364f7f9321417b521745833b12719a2feb13253bccece2c04d5afe9fc3e15",
            },
            counts=(6022, 3043, 995154),
            default_split="published",
            source=f"MovieLens 1M in the split of LCFN and UltraGCN (BARS MovieLens1M_m1); {_MOVIELENS_TERMS}",
            how_to_get=f"put {_ULTRAGCN}/train.txt and test.txt into FOLDER, "
            "and as valid.txt the validation_data.json of https://github.com/Wenhui-Yu/LCFN (dataset/Movielens), "
            "rewritten as one line `user item item ...` a user",
            read=readers.read_split_folder,
        ),
        Dataset(
            name="gowalla",
            task="ranking: check-ins at places, the graph of NGCF and LightGCN with its published split",
            files={
                # Of a copy with each line's items ascending: other copies hold the same sets, but fail `verify`.
                "train.txt": "0f086326b28a56c2e6dcb81d86ee72d4ccb7eed3a8d26788392356d8f51111cc",
                "test.txt": "099a2a73924e4b754dc6efd730d764f492321b53c38eb93298850c83acf57be3",
            },
            counts=(29858, 40981, 1027370),
            default_split="published",
            source="SNAP, https://snap.stanford.edu/data/loc-gowalla.html, in the split of NGCF and LightGCN; "
            "public for research, no licence text; cite Cho, Myers and Leskovec, KDD 2011",
            how_to_get=f"curl --create-dirs --output-dir FOLDER -O {_LIGHTGCN}/train.txt -O {_LIGHTGCN}/test.txt",
            read=readers.read_split_folder,
        ),
        Dataset(
            name="amazon-beauty",
            task="sequences of purchases, the last one to be predicted among all items",
            files={"Beauty.txt": "226cce9c3105299ca0db9615d7d3fb32b3175e90da43100ae352599f0f0107b8"},
            counts=(22363, 12101, 198502),
            default_split="leave_one_out",
            source="Amazon product data 2014 (research use), 5-core, as prepared by S3-Rec (Zhou et al., CIKM 2020)",
            how_to_get=f"curl --create-dirs --output-dir FOLDER -O {_S3REC}/Beauty.txt",
            read=lambda place: readers.read_sequences(need_file(place, "Beauty.txt")),
        ),
        Dataset(
            name="planted",
            task="clicks: a generated table of fields whose true click probabilities are known",
            files={},
            counts=None,
            default_split="random",
            source="generated by zoo.data.fields, no files needed",
            how_to_get="it is always there",
            read=fields.planted,
        ),
        Dataset(
            name="frappe",
            task="clicks: apps in context, 10 fields, in the split of NFM and BARS; training negatives drawn anew",
            files={
                "frappe.train.rebuilt.libfm": "f680cecad486d774ae6a9d4cfec2d823e7afd48878ae4100b88108ce310261ad",
                "frappe.validation.libfm": "fdf4be563a7dd9b15f7a6e8b32671e90e6e7a2a2bd3af4e10bf13c5ad7e76e9e",
                "frappe.test.libfm": "a2ebaef3a9af8e55f8bb0d08bc4923965e42e43760ebd7635ac2f8c5db99e097",
            },
            counts=(10, 288609),
            default_split="published",
            source="Baltrunas et al. 2015, arXiv:1505.03014, in the split of He and Chua 2017 (BARS Frappe_x1); "
            "free for research, no licence text",
            how_to_get=f"put {_NFM}/frappe.validation.libfm and frappe.test.libfm into FOLDER; "
            "frappe.train.rebuilt.libfm holds the positives of the frappe.train.libfm beside them "
            "and for each two negatives of its user and context, drawn anew among the items new to the user",
            read=field_readers.read_frappe,
        ),
        Dataset(
            name="adult",
            task="clicks: whether a person of the 1994 census earned over 50,000 dollars, 14 fields, 6 of them numbers",
            files={
                "adult.data": "5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d",
                "adult.test": "a2a9044bc167a35b2361efbabec64e89d69ce82d9790d2980119aac5fd7e9c05",
            },
            counts=(14, 48842),
            default_split="published",
            source="UCI, https://archive.ics.uci.edu/dataset/2/adult; CC BY 4.0; Kohavi and Becker 1996",
            how_to_get=f"curl --create-dirs --output-dir FOLDER -O {_UCI}/adult/adult.data -O {_UCI}/adult/adult.test",
            read=field_readers.read_adult,
        ),
        Dataset(
            name="criteo-sample",
            task="clicks: 8,000 rows of Criteo's advertising challenge, for trying a pipeline and for nothing else",
            files={
                "train.tsv": "2b0614035f6c931dc4ac2c1a1a26fa954f2b9231703f3a77bcdd53d9d9f29872",
                "dev.tsv": "7ac8a164e43a9903be3d43e640bcd464cfa0d96d7a652ec8ef8a33fe97cac6b9",
                "test.tsv": "3a7a78b694945482aede520e68300b0e2748603363072822cfbbb9f72d0dfd9a",
            },
            counts=(39, 8000),
            default_split="published",
            source="Criteo Display Advertising Challenge (Kaggle 2014); for research, not commercial",
            how_to_get=f"put train.csv, dev.csv and test.csv of {_CRITEO} into FOLDER as train.tsv, dev.tsv, test.tsv",
            read=field_readers.read_criteo_sample,
        ),
    )
}
