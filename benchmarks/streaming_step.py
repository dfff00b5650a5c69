"""One side of the streaming record: an epoch of a recipe on a Parquet file, as `zoo train` runs it."""

import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import isolated
from zoo import names
from zoo.run import fit


MODEL = "mf/ranking_bpr"  # the step of a softmax takes so long that reading would hide behind it


@dataclass(frozen=True)
class Configuration:
    path: str
    folder: str  # of the run
    stream: bool
    limit: int | None = None  # bytes of address space
    seed: int = 0


def measure(configuration: Configuration) -> dict[str, Any]:
    """Rate of the training part, and seconds of everything from opening the file to the record."""
    if configuration.limit is not None:
        resource.setrlimit(resource.RLIMIT_AS, (configuration.limit, configuration.limit))
    began = time.perf_counter()
    request = names.Request(
        MODEL,
        configuration.path,
        split="user_sample",
        seed=configuration.seed,
        settings={"epochs": 1},
        stream=configuration.stream,
    )
    job = names.job(request)
    opened = time.perf_counter() - began
    record, _, _ = fit(job, Path(configuration.folder), quiet=True)
    training = record["training"]
    return {
        "batch_size": job.recipe.batch_size,
        "examples": record["sizes"]["train"],
        "examples_per_second": training["examples_per_second"],
        "training_seconds": training["seconds"],
        "compile_seconds": training["compile_seconds"],
        "reading_seconds": opened,
        "seconds": time.perf_counter() - began,
        "metrics": record["metrics"]["test"],
    }


if __name__ == "__main__":
    isolated.answer(measure, Configuration)
