"""The zoo's side: the best unseen items of all users by given vectors."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from benchmarks import isolated, timing
from zoo import evaluate, workdir
from zoo.data.interactions import Interactions


@dataclass(frozen=True)
class Configuration:
    file: str
    vectors: str  # user and item vectors
    answer: str  # where to write the lists
    k: int = 20


def measure(configuration: Configuration) -> dict[str, Any]:
    """Seconds of zoo.evaluate.top_items from vectors on the device to lists on the host; the first call is apart."""
    interactions = workdir.load_data(Path(configuration.file))
    assert isinstance(interactions, Interactions) and interactions.part is not None, "the file says which rows train"
    seen = evaluate.lists_by_user(interactions.take(interactions.part == 0))
    with np.load(configuration.vectors) as vectors:
        users, items = jnp.asarray(vectors["users"]), jnp.asarray(vectors["items"])
    everyone = np.arange(len(users))

    def ask() -> tuple[np.ndarray, np.ndarray]:
        return evaluate.top_items(users, items, everyone, seen, configuration.k)

    began = time.perf_counter()
    ask()
    first = time.perf_counter() - began
    with timing.no_compilation():
        began = time.perf_counter()
        ids, scores = ask()
        seconds = time.perf_counter() - began
    np.savez(configuration.answer, ids=ids, scores=scores)
    return {"seconds": seconds, "examples": len(everyone), "compile_seconds": first - seconds}


if __name__ == "__main__":
    isolated.answer(measure, Configuration)
