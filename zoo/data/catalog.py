"""The named data sets: what each is for, where it comes from, and how to read it.

No data is shipped or fetched. A set is a folder of its own name under `$ZOO_DATA`, else under the user's cache.
"""

import difflib
import hashlib
import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.data import readers
from zoo.data.files import find_file, missing, need_file, read_bytes
from zoo.data.interactions import Interactions
from zoo.errors import InputError


@dataclass(frozen=True)
class Dataset:
    """One entry of the catalog. A simulated set has no files: it is always there, and `read` ignores the folder."""

    name: str
    task: str
    files: Mapping[str, str]  # name in the folder, there as it is or with .gz -> sha256 of its uncompressed content
    counts: tuple[int, int, int] | None  # users, items, interactions: what a good copy holds
    default_split: str  # name of a split rule
    source: str  # who published it, and on what terms
    how_to_get: str  # a command or a sentence, in which FOLDER stands for where the files go
    read: Callable[..., Interactions]  # (folder) -> Interactions


def find(name: str) -> Dataset:
    """The data set of that name; InputError with the nearest names for any other."""
    if name not in CATALOG:
        raise InputError(f"unknown data set {name!r}: {_names_like(name)}")
    return CATALOG[name]


def folder(dataset: Dataset) -> Path | None:
    """Where all files of a data set are: `$ZOO_DATA/NAME`, else `NAME` in the user's cache, else None."""
    return next((place for place in _places(dataset) if dataset.files and not _lacking(dataset, place)), None)


def load(name_or_path: str | Path, **options: Any) -> Interactions:
    """The interactions of a named data set, or of the user's own file or folder.

    Options of a path are those of `readers.read_path`, options of "simulated" are those of `simulate`; a named set of
    files takes none. The number of users, items and interactions is checked; checksums are left to `verify`.
    """
    dataset = _resolve(name_or_path)
    if dataset is None:
        return readers.read_path(name_or_path, **options)
    options = {name: value for name, value in options.items() if value is not None and value != {}}
    refused = sorted(options if dataset.files else options.keys() & {"columns", "separator"})
    if refused:
        raise InputError(f"{dataset.name} has its own reader: leave out {', '.join(refused)}, or give a path")
    if not dataset.files:
        return dataset.read(**options)
    place = _need_folder(dataset)
    interactions = dataset.read(place)
    counts = (interactions.num_users, interactions.num_items, len(interactions))
    if counts != dataset.counts:
        raise InputError(
            f"{dataset.name} in {place} has {_spell(counts)}, but the published set has {_spell(dataset.counts)}: "
            f"the files are damaged or of another version; {_getting(dataset)}"
        )
    return interactions


def sha256(name_or_path: str | Path, **options: Any) -> str:
    """One digest of what `load` reads: the files' uncompressed contents end to end.

    The order is that of `Dataset.files`, or train, valid, test of a folder. For "simulated", the digest is of the
    arguments of the call, defaults included; the world itself may differ between processors (simulate.simulate).
    """
    dataset = _resolve(name_or_path)
    if dataset is None:
        paths = readers.files_of(Path(name_or_path).expanduser())
    elif dataset.files:
        paths = _paths(dataset, _need_folder(dataset))
    else:
        return hashlib.sha256(_simulation_call(options).encode()).hexdigest()
    digest = hashlib.sha256()
    for path in paths:
        digest.update(read_bytes(path))
    return digest.hexdigest()


def verify(dataset: Dataset) -> None:
    """Compares the files of a data set with their checksums; InputError names the first that differs."""
    if not dataset.files:
        return
    for path, expected in zip(_paths(dataset, _need_folder(dataset)), dataset.files.values(), strict=True):
        actual = hashlib.sha256(read_bytes(path)).hexdigest()
        if actual != expected:
            raise InputError(f"{path}: the sha256 is {actual} but should be {expected}; {_getting(dataset)}")


def _resolve(name_or_path: str | Path) -> Dataset | None:
    """The data set of that name, None for a path that exists; one error for what is neither."""
    name = str(name_or_path)
    if isinstance(name_or_path, str) and name in CATALOG:
        return CATALOG[name]
    path = Path(name_or_path).expanduser()
    if path.exists():
        return None
    raise InputError(f"cannot find {name!r}: no data set has that name ({_names_like(name)}), and {missing(path)}")


def _names_like(name: str) -> str:
    near = difflib.get_close_matches(name, CATALOG, n=2, cutoff=0.5)
    return (f"did you mean {' or '.join(near)}? " if near else "") + f"there are {', '.join(CATALOG)}"


def _places(dataset: Dataset) -> list[Path]:
    roots = [os.environ.get("ZOO_DATA"), Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "zoo"]
    return [Path(root).expanduser() / dataset.name for root in roots if root]


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


def _spell(counts: tuple[int, int, int] | None) -> str:
    users, items, interactions = counts or (0, 0, 0)
    return f"{users:,} users, {items:,} items and {interactions:,} interactions"


def _simulated(**arguments: Any) -> Interactions:
    from zoo.data.simulate import simulate  # only here: other data sets need not pay for its import

    return simulate(**arguments)


def _simulation_call(arguments: Mapping[str, Any]) -> str:
    from zoo.data.simulate import simulate

    call = inspect.signature(simulate).bind(**arguments)
    call.apply_defaults()
    return "simulate(" + ", ".join(f"{name}={value!r}" for name, value in sorted(call.arguments.items())) + ")"


_MOVIELENS_TERMS = "for research, not to be redistributed; cite Harper and Konstan, ACM TiiS 5(4), 2015"
_GROUPLENS = "https://files.grouplens.org/datasets/movielens"
_GITHUB = "https://raw.githubusercontent.com"
_LIGHTGCN = f"{_GITHUB}/gusye1234/LightGCN-PyTorch/947ca2b3b1d2d3545b114145710cb06c4e57b3d2/data/gowalla"
_ULTRAGCN = f"{_GITHUB}/xue-pai/UltraGCN/b220010d62af08bd895963a3d71c7c8e55ee1f56/data/ml-1m"
_S3REC = f"{_GITHUB}/RUCAIBox/CIKM2020-S3Rec/2a81540ae18615d88ef88227b0c066e5b74781e5/data"

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
            read=_simulated,
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
        Dataset(
            name="movielens-1m",
            task="ratings of 1 to 5 with times",
            files={"ratings.dat": "506d64ca44484487c11dc2d9a28de5c54948213e6b96285e298afe28d6ea4e0f"},
            counts=(6040, 3706, 1000209),
            default_split="random",
            source=f"GroupLens, https://grouplens.org/datasets/movielens/1m; {_MOVIELENS_TERMS}",
            how_to_get=f"curl -O {_GROUPLENS}/ml-1m.zip && unzip -j ml-1m.zip -d FOLDER",
            read=lambda place: readers.read_movielens(need_file(place, "ratings.dat")),
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
    )
}
