"""How two packages are compared: the same rows in a file, ours and theirs in turns, judged by one evaluation."""

import dataclasses
import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import isolated
from benchmarks.peers import judge
from benchmarks.timing import TimingError
from zoo import names, workdir


ENVIRONMENT = isolated.ROOT / ".venv-peers"  # the peers' environment; a comparison may name one beside it
HERE = Path(__file__).resolve().parent

SAME = 1e-3  # how far apart losses of the same steps may be, relative, in float32

Result = Mapping[str, Any]


class Unavailable(RuntimeError):
    """A peer that cannot be imported or does not finish; the message says why."""


@dataclass(frozen=True)
class Bench:
    """Where and how often a comparison runs."""

    folder: Path  # files handed to both sides, and their answers
    python: Path  # the interpreter of the peers' environment
    repeats: int
    quick: bool  # a trial: one or two passes

    @property
    def threads(self) -> int:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Figure:
    """One number of each side by turn, and the quality that it was reached at."""

    name: str
    unit: str  # ends with /s: more is better; else less is
    ours: Sequence[float | None]  # by turn; None: not reached
    theirs: Sequence[float]
    least_ratio: float  # ours must be at least so many times as fast
    metric: str
    quality_ours: Sequence[float]
    quality_theirs: Sequence[float]

    @property
    def ratios(self) -> list[float]:
        """Times as fast, turn by turn; 0 where ours did not get there."""
        pairs = zip(self.ours, self.theirs, strict=True)
        if self.unit.endswith("/s"):
            return [0.0 if ours is None else ours / theirs for ours, theirs in pairs]
        return [0.0 if ours is None else theirs / ours for ours, theirs in pairs]

    def as_record(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "ratios": self.ratios, "ratio": statistics.median(self.ratios)}


@dataclass(frozen=True)
class Comparison:
    """`run` measures both sides: (bench) -> figures, turns, and the settings of both sides."""

    name: str
    data: str
    peer: str  # the package
    adapter: str  # a file beside this one
    run: Callable[[Bench], tuple[list[Figure], list[tuple[Result, Result]], dict[str, Any]]]
    environment: str = ""  # what follows the name of ENVIRONMENT

    @property
    def folder(self) -> Path:
        return ENVIRONMENT.with_name(ENVIRONMENT.name + self.environment)


def rows_file(bench: Bench, data: str, split_name: str, model: str) -> Path:
    """The split of a data set in one file that both sides read: row numbers, ratings, and who trains and who tests."""
    path = bench.folder / f"{data.replace(':', '-')}-{split_name}.npz"
    if not path.exists():
        job = names.job(names.Request(model, data, split_name))
        recipe = job.recipe
        assert recipe.split is not None, "names.job gives a recipe its split"
        interactions = recipe.repeats(job.interactions)[0] if recipe.repeats else job.interactions
        split = recipe.split(interactions, recipe.split_seed)
        part = np.repeat(np.array([0, 2], np.int8), [len(split.train), len(split.test)])
        workdir.save_data(path, dataclasses.replace(split.train.followed_by(split.test), part=part))
    return path


def ask_peer(
    bench: Bench,
    adapter: str,
    *function: str,
    configuration: Result | None = None,
    settings: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What a function of an adapter finds, in the peers' environment; without a function, the peer's versions."""
    command = [bench.python, "-I", HERE / "child.py", HERE / adapter, *function]
    try:
        return isolated.ask(command, configuration or {}, settings or {}, bench.folder)
    except isolated.Failed as error:
        raise Unavailable(str(error)) from None


def in_turns(
    bench: Bench, ours: Callable[[int], Result], theirs: Callable[[int], Result]
) -> list[tuple[Result, Result]]:
    """Ours, theirs, ours, theirs, ...: what slows the machine for a while slows both. The argument is the seed."""
    return [(ours(seed), theirs(seed)) for seed in range(bench.repeats)]


def judged(file: Path, answer: Path) -> dict[str, float]:
    return isolated.run("benchmarks.peers.judge", judge.Configuration(str(file), str(answer)))["metrics"]


def their_turn(
    bench: Bench,
    adapter: str,
    function: str,
    asked: Mapping[str, Any],
    answer: Path,
    settings: Mapping[str, str] | None = None,
) -> Result:
    """What a peer finds for `asked`, which holds "file", and the quality of the answer that it writes."""
    configuration = {**asked, "answer": str(answer)}
    found = ask_peer(bench, adapter, function, configuration=configuration, settings=settings)
    return found | {"metrics": judged(Path(asked["file"]), answer)}


def rates(name: str, unit: str, turns: Sequence[tuple[Result, Result]], least_ratio: float, metric: str) -> Figure:
    """Training examples a second of both sides."""
    ours, theirs = ([turn["examples"] / turn["seconds"] for turn in side] for side in zip(*turns, strict=True))
    return Figure(name, unit, ours, theirs, least_ratio, metric, *qualities(turns, metric))


def qualities(turns: Sequence[tuple[Result, Result]], metric: str) -> tuple[list[float], list[float]]:
    return [ours["metrics"][metric] for ours, _ in turns], [theirs["metrics"][metric] for _, theirs in turns]


def same_losses(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """How far apart, relative, the losses of steps that both sides did are at most; TimingError above SAME."""
    apart = float(np.abs(np.array(theirs) / np.array(ours) - 1).max())
    if not apart <= SAME:
        raise TimingError(f"the sides did not do the same steps: their losses are up to {apart:.2g} apart")
    return apart
