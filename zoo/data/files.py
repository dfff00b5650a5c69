"""Files as bytes and as text: found, unzipped, decoded, and every way in which that fails said in one line."""

import difflib
import gzip
import hashlib
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from zoo.errors import InputError


GZIP_MAGIC = b"\x1f\x8b"
PARQUET_MAGIC = b"PAR1"  # at both ends of a file


def find_file(folder: Path, name: str) -> Path | None:
    """`folder/name`, else `folder/name.gz`, else None."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def need_file(folder: Path, name: str) -> Path:
    """`find_file`, or an InputError that says what the folder has instead."""
    path = find_file(folder, name)
    if path is None:
        raise InputError(f"no {name} or {name}.gz in {folder}; {nearest_names(folder, name)}")
    return path


def nearest_names(folder: Path, name: str) -> str:
    """For messages: the names in a folder most like `name`, or some of its names where none is like it."""
    try:
        names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError as error:
        return f"it cannot be listed ({error.strerror})"
    if not names:
        return "nothing is there"
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"it has {', '.join(names[:5])}" + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def missing(path: Path) -> str:
    """For messages: the first part of a path that does not exist, and what lies there instead."""
    absent = path.absolute()
    while not absent.parent.is_dir():
        absent = absent.parent
    return f"there is no {absent.name} in {absent.parent}; {nearest_names(absent.parent, absent.name)}"


def read_bytes(path: Path) -> bytes:
    """The content of a file, unzipped where its name ends in .gz.

    InputError for a file that is missing, unreadable, truncated, or not gzip under such a name.
    """
    with _opened(path) as file:
        data = file.read()
    if path.suffix != ".gz":
        if data.startswith(GZIP_MAGIC):
            raise InputError(f"{path} is compressed with gzip: rename it to {path.name}.gz")
        if data.startswith(PARQUET_MAGIC):
            raise InputError(f"{path} is a Parquet file: rename it to {path.stem}.parquet")
        return data
    if data and not data.startswith(GZIP_MAGIC):
        raise InputError(f"{path} is not gzip (it starts with {data[:8]!r}): rename it to {path.stem}")
    try:
        return gzip.decompress(data)
    except EOFError:
        raise InputError(f"{path} is a truncated gzip file ({len(data):,} bytes): copy or download it again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path} is a damaged gzip file ({error}): copy or download it again") from None


def check_parquet(path: Path) -> None:
    """InputError unless a file begins and ends as Parquet does."""
    with _opened(path) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        start = file.read(8)
        file.seek(max(0, size - len(PARQUET_MAGIC)))
        end = file.read()
    if not size:
        raise InputError(f"{path} is empty: it should be a Parquet file with a row an interaction")
    if not start.startswith(PARQUET_MAGIC):
        raise InputError(
            f"{path} is no Parquet file (it starts with {start!r}): rename it to what it is, such as {path.stem}.csv"
        )
    if end != PARQUET_MAGIC:
        raise InputError(f"{path} is a truncated Parquet file ({size:,} bytes): copy or download it again")


def sha256(paths: Iterable[Path]) -> str:
    """One digest of the uncompressed contents of files end to end; a file that is not zipped may exceed the memory."""
    digest = hashlib.sha256()
    for path in paths:
        if path.suffix == ".gz":
            digest.update(read_bytes(path))
            continue
        with _opened(path) as file:
            while block := file.read(2**20):
                digest.update(block)
    return digest.hexdigest()


def read_text(path: Path, content: str = "one interaction a line (user,item,rating,timestamp)") -> str:
    r"""The content of a UTF-8 file with "\n" at the ends of lines; InputError where it is empty or another encoding."""
    data = read_bytes(path)
    if not data.strip():
        raise InputError(f"{path} is empty: it should hold {content}")
    if b"\0" in data:
        line = _line_of(data, data.index(b"\0"))
        raise InputError(f"{path}, line {line}: a zero byte, so this is not UTF-8 text; save it as UTF-8 CSV")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}, line {_line_of(data, error.start)}: byte 0x{data[error.start]:02x} is not UTF-8; "
            "if the file is latin-1, convert it with `iconv -f latin1 -t utf-8`"
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as file:
            yield file
    except FileNotFoundError:
        raise InputError(f"cannot find {path}: {missing(path)}") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None


def _line_of(data: bytes, offset: int) -> int:
    return data.count(b"\n", 0, offset) + 1
