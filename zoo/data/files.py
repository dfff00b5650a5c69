"""Files as bytes and as text: found, unzipped, decoded, and every way in which that fails said in one line."""

import difflib
import gzip
import os
import zlib
from pathlib import Path

from zoo.errors import InputError


GZIP_MAGIC = b"\x1f\x8b"


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
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"cannot find {path}: {missing(path)}") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    if path.suffix != ".gz":
        if data.startswith(GZIP_MAGIC):
            raise InputError(f"{path} is compressed with gzip: rename it to {path.name}.gz")
        return data
    if data and not data.startswith(GZIP_MAGIC):
        raise InputError(f"{path} is not gzip (it starts with {data[:8]!r}): rename it to {path.stem}")
    try:
        return gzip.decompress(data)
    except EOFError:
        raise InputError(f"{path} is a truncated gzip file ({len(data):,} bytes): copy or download it again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path} is a damaged gzip file ({error}): copy or download it again") from None


def read_text(path: Path) -> str:
    r"""The content of a UTF-8 file with "\n" at the ends of lines; InputError where it is empty or another encoding."""
    data = read_bytes(path)
    if not data.strip():
        raise InputError(f"{path} is empty: it should hold one interaction a line (user,item,rating,timestamp)")
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


def _line_of(data: bytes, offset: int) -> int:
    return data.count(b"\n", 0, offset) + 1
