"""The Parquet file of the streaming record: watches of a made-up site, in zoo.data.simulate's style, at any size."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks import isolated


MOODS = 16
PART_ROWS = 2**22


@dataclass(frozen=True)
class Configuration:
    path: str
    rows: int
    users: int = 500_000
    items: int = 50_000
    zipf: float = 0.8  # exponent of the skew of users, and of items within a mood
    seed: int = 0


def measure(configuration: Configuration) -> dict[str, Any]:
    """Write the file, part by part, and say how large it is."""
    began = time.perf_counter()
    path = Path(configuration.path)
    parts = []
    for part in watches(configuration):
        parts.append(path.with_name(f"part{len(parts):04}.arrow"))
        part.write_ipc(parts[-1])
    pl.scan_ipc(parts).sink_parquet(path, compression="snappy")
    for part in parts:
        part.unlink()
    return {"file_bytes": path.stat().st_size, "seconds": time.perf_counter() - began}


def watches(configuration: Configuration) -> Iterator[pl.DataFrame]:
    """Rows in the order of time. A user has two moods, and each mood ranks the items in its own way."""
    rng = np.random.default_rng(configuration.seed)
    moods = rng.integers(MOODS, size=(configuration.users, 2))
    users = rng.permutation(configuration.users)  # by rank, as are the items of a mood
    items = np.stack([rng.permutation(configuration.items) for _ in range(MOODS)])
    for start in range(0, configuration.rows, PART_ROWS):
        size = min(PART_ROWS, configuration.rows - start)
        user = users[_zipf_ranks(rng, size, configuration.users, configuration.zipf)]
        mood = moods[user, rng.integers(2, size=size)]
        item = items[mood, _zipf_ranks(rng, size, configuration.items, configuration.zipf)]
        yield pl.DataFrame(
            {
                "user": 1_000_003 + 7 * user,
                "item": 3 * item,
                "rating": rng.integers(1, 6, size).astype(np.float32),
                "timestamp": 1_704_067_200 + np.arange(start, start + size),
                "session": (start + np.arange(size)) // 3,
                "watch_seconds": rng.random(size, np.float32) * 300,
            }
        )


def _zipf_ranks(rng: np.random.Generator, size: int, count: int, exponent: float) -> np.ndarray:
    """Ranks int64 [size] below `count`, that of r in proportion to (r + 1) ** -exponent."""
    cumulative = np.cumsum(np.arange(1, count + 1, dtype=np.float64) ** -exponent)
    return np.minimum(np.searchsorted(cumulative, rng.random(size) * cumulative[-1], side="right"), count - 1)


if __name__ == "__main__":
    isolated.answer(measure, Configuration)
