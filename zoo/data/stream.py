"""A Parquet file larger than memory, as row numbers in a scratch file that training reads chunk by chunk.

The Parquet file is read twice, slice by slice: for its distinct ids, then for its rows. These go to an unnamed file in
$TMPDIR, 8 bytes a row, which is gone when the process ends. What must fit in memory are the distinct ids, a number an
item, one slice, and the rows of the users whom evaluation asks.
"""

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import polars as pl

from zoo.data import splits
from zoo.data.columns import checked_ids, id_array
from zoo.data.frames import parquet_columns, reading, typed_table
from zoo.data.interactions import Interactions, check_row_numbers, merge_repeats, rows_of
from zoo.errors import InputError


SLICE_ROWS = 2**20  # of the Parquet file, in memory at once and shuffled once
BLOCK_ROWS = 2**12  # rows that stay together in the order of an epoch, until a chunk shuffles its own
ROW_BYTES = 8  # user and item, int32 each


class Source(NamedTuple):
    """Training rows that are not in memory."""

    num_rows: int
    read: Callable[[int, int], dict[str, np.ndarray]]  # (start, stop) -> columns user and item, int32 [stop - start]


def open_parquet(path: Path, columns: Mapping[str, str], seeds: Sequence[int]) -> tuple[Interactions, Source]:
    """A Parquet file cut by `splits.user_sample`: the rows of the users whom it asks, and all rows that train.

    Part 2 of the sample is held out, part 0 trains. Of several seeds each cuts what the one before leaves to train, and
    the last is the one whose users are asked. Repeated pairs are merged in the sample; in training they stay.
    """
    names = {role: name for role, name in parquet_columns(path, columns).items() if role in ("user", "item")}
    with reading(path):
        file = pl.scan_parquet(path).select(*names.values())
        num_rows = file.select(pl.len()).collect().item()
    users, items = (_known_ids(path, file, role, names[role]) for role in ("user", "item"))
    check_row_numbers(len(users), len(items))
    asked = [splits.sampled_users(len(users), seed) for seed in seeds]
    counts, sample = np.zeros(len(items), np.int64), []
    with _scratch(num_rows) as scratch:
        for start in range(0, num_rows, SLICE_ROWS):
            with reading(path):
                frame = file.slice(start, SLICE_ROWS).collect()
            table = typed_table(str(path), frame, names, start)
            user = _row_numbers(path, checked_ids(table, "user"), users)
            item = _row_numbers(path, checked_ids(table, "item"), items)
            train, held = np.ones(len(user), bool), np.zeros(len(user), bool)
            for marks, seed in zip(asked, seeds, strict=True):
                held = train & splits.held_pairs(marks, user, item, seed)
                train &= ~held
            seen = asked[-1][user] & (train | held)
            sample.append((user[seen], item[seen], np.where(held[seen], 2, 0)))
            pairs = np.stack([user, item], axis=1)[train]
            counts += np.bincount(pairs[:, 1], minlength=len(counts))
            # Files are often in the order of users or of time: blocks of shuffled slices hold a bit of everything.
            scratch.write(np.random.default_rng((seeds[0], start)).permutation(pairs.view(np.int64).ravel()).tobytes())
        scratch.flush()
        source = Source(int(counts.sum()), _reader(os.dup(scratch.fileno())))
    user, item, part = (np.concatenate(column) for column in zip(*sample, strict=True))
    interactions = Interactions(
        user=user,
        item=item,
        rating=None,
        timestamp=None,
        user_ids=id_array(users),
        item_ids=id_array(items),
        part=part.astype(np.int8),
        streamed_counts=counts,
    )
    return merge_repeats(interactions)[0], source


def rows_of_users(path: Path, columns: Mapping[str, str], known: Interactions, users: np.ndarray) -> Interactions:
    """All rows of some users (row numbers) in a Parquet file whose ids are those of `known`."""
    names = {role: name for role, name in parquet_columns(path, columns).items() if role in ("user", "item")}
    wanted = pl.Series(known.user_ids[users].tolist())
    with reading(path):
        of_users = pl.col(names["user"]).cast(wanted.dtype).is_in(wanted.implode())
        frame = pl.scan_parquet(path).select(*names.values()).filter(of_users).collect(engine="streaming")
    table = typed_table(str(path), frame, names)
    ids = {role: id_array(checked_ids(table, role)) for role in names}
    return Interactions(
        user=rows_of(ids["user"], known.user_ids, "user"),
        item=rows_of(ids["item"], known.item_ids, "item"),
        rating=None,
        timestamp=None,
        user_ids=known.user_ids,
        item_ids=known.item_ids,
    )


def block_order(num_rows: int, seed: int, epoch: int) -> np.ndarray:
    """Which block of rows stands where in an epoch, int64 [blocks]; a last block that is not full stays last."""
    full = num_rows // BLOCK_ROWS
    order = np.random.default_rng((seed, epoch)).permutation(full)
    return order if num_rows % BLOCK_ROWS == 0 else np.append(order, full)


def read_chunk(source: Source, blocks: np.ndarray, start: int, stop: int) -> dict[str, np.ndarray]:
    """The columns at positions `start` to `stop` of an epoch that takes the blocks in the order given."""
    parts = []
    for place in range(start // BLOCK_ROWS, -(-stop // BLOCK_ROWS)):
        shift = (int(blocks[place]) - place) * BLOCK_ROWS
        first, last = max(start, place * BLOCK_ROWS), min(stop, (place + 1) * BLOCK_ROWS)
        parts.append(source.read(first + shift, last + shift))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _known_ids(path: Path, file: pl.LazyFrame, role: str, name: str) -> pl.Series:
    """The distinct ids of a column, ascending, less those that the second reading will refuse with their place."""
    with reading(path):
        found = file.select(pl.col(name).unique()).collect(engine="streaming")
    ids = typed_table(str(path), found, {role: name}).fields[role]
    return (ids if ids.dtype == pl.String else ids.cast(pl.Int64, strict=False)).drop_nulls().unique().sort()


def _row_numbers(path: Path, ids: pl.Series, known: pl.Series) -> np.ndarray:
    """The places of ids among the known ones, int32 [n]."""
    if ids.dtype == pl.String:
        rows = known.search_sorted(ids).to_numpy()
    else:
        rows = np.searchsorted(known.to_numpy(), ids.to_numpy())
    rows = np.minimum(rows, len(known) - 1)
    if not (known.gather(rows) == ids).all():
        raise InputError(f"{path} changed while it was read: start again when it is complete")
    return rows.astype(np.int32)


def _scratch(num_rows: int) -> IO[bytes]:
    folder = tempfile.gettempdir()
    needed, free = num_rows * ROW_BYTES / 2**30, shutil.disk_usage(folder).free / 2**30
    if needed > free:
        raise InputError(
            f"streaming {num_rows:,} rows writes {needed:.1f} GiB to {folder}, where {free:.1f} GiB are free: "
            "let TMPDIR name a folder on a larger disk"
        )
    return tempfile.TemporaryFile(prefix="zoo-")


def _reader(descriptor: int) -> Callable[[int, int], dict[str, np.ndarray]]:
    """`Source.read` of an open file, which is closed, and so deleted, with the last reference to the function."""

    def read(start: int, stop: int) -> dict[str, np.ndarray]:
        content = os.pread(descriptor, (stop - start) * ROW_BYTES, start * ROW_BYTES)
        pairs = np.frombuffer(content, np.int32).reshape(stop - start, 2)
        return {"user": pairs[:, 0], "item": pairs[:, 1]}

    weakref.finalize(read, os.close, descriptor)
    return read
