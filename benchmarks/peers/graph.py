"""LightGCN's step beside the same step in PyTorch, and NGCF beside RecBole's."""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import isolated
from benchmarks.peers import lightgcn_step, train
from benchmarks.peers.turns import (
    Bench,
    Comparison,
    Figure,
    Result,
    in_turns,
    judged,
    qualities,
    rates,
    rows_file,
    their_turn,
)
from benchmarks.timing import TimingError


PASSES = 5
ALLOCATOR = "tuned"  # of both sides: without it each step's temporaries are mapped and faulted in anew
SAME = 1e-5  # how far apart numbers may end that took the same steps in float32
# RecBole's own defaults, named so that the record has them.
RECBOLE = {
    "embedding_size": 64,
    "hidden_size_list": [64, 64, 64],
    "message_dropout": 0.1,
    "node_dropout": 0.0,
    "reg_weight": 1e-5,
    "learner": "adam",
    "learning_rate": 1e-3,
    "train_batch_size": 2048,
}
# The zoo's recipe with the batch and rate of RecBole's defaults; sizes, dropout and penalty are the same already.
LIKE_RECBOLE = {"batch_size": 2048, "learning_rate": 1e-3}


def lightgcn(bench: Bench, data: str = "gowalla") -> tuple[list[Figure], list[tuple[Result, Result]], dict[str, Any]]:
    """3 layers, 64 numbers, 2048 triples, Adam. Both sides do the same steps: initial vectors and triples are the same.

    Ours also takes the batch from the columns and draws the negatives in its step; theirs finds triples in memory. Ours
    runs as it trains, some steps a compiled call, theirs one after the other; under ALLOCATOR both keep their memory.
    """
    file = rows_file(bench, data, "published", "lightgcn/paper")
    given, answers = bench.folder / "given.npz", [bench.folder / f"{side}.npz" for side in ("ours", "theirs")]
    warmup = lightgcn_step.WARMUP * lightgcn_step.STEPS
    theirs = {"layers": 3, "l2": 1e-4, "learning_rate": 1e-3, "warmup": warmup, "threads": bench.threads}

    def run_ours(seed: int) -> Result:
        asked = lightgcn_step.Configuration(str(file), str(given), str(answers[0]), data, seed)
        found = isolated.run("benchmarks.peers.lightgcn_step", asked, ALLOCATOR)
        return found | {"metrics": judged(file, answers[0])}

    def run_theirs(seed: int) -> Result:
        asked = theirs | {"file": str(file), "given": str(given)}
        found = their_turn(bench, "with_torch.py", "lightgcn", asked, answers[1], isolated.ALLOCATORS[ALLOCATOR])
        apart = largest_difference(*answers)
        if apart > SAME:
            raise TimingError(f"the sides did not do the same steps: their vectors are up to {apart:.2g} apart")
        return {**found, "largest_difference": apart}

    turns = in_turns(bench, run_ours, run_theirs)
    figure = Figure(
        "a step of LightGCN, 3 layers, dim 64, 2048 triples",
        "ms",
        [ours["step_ms"] for ours, _ in turns],
        [theirs["step_ms"] for _, theirs in turns],
        5.0,
        "recall@20",
        *qualities(turns, "recall@20"),
    )
    return [figure], turns, {"ours": turns[0][0]["settings"], "theirs": theirs, "allocator": ALLOCATOR}


def ngcf(bench: Bench) -> tuple[list[Figure], list[tuple[Result, Result]], dict[str, Any]]:
    """Ours is the layer of NGCF's authors, RecBole's the printed one with a bias: two products with weights each."""
    data = "movielens-100k"
    file = rows_file(bench, data, "per_user", "ngcf/released")
    vectors, answer = bench.folder / "ours.npz", bench.folder / "theirs.npz"
    passes = 1 if bench.quick else PASSES
    theirs = {"settings": RECBOLE | {"epochs": passes}, "threads": bench.threads}

    def run_ours(seed: int) -> Result:
        settings = LIKE_RECBOLE | {"epochs": passes}
        asked = train.Configuration(str(file), "ngcf/released", data, settings, vectors=str(vectors), seed=seed)
        return isolated.run("benchmarks.peers.train", asked)

    def run_theirs(seed: int) -> Result:
        return their_turn(bench, "with_recbole.py", "ngcf", theirs | {"file": str(file), "seed": seed}, answer)

    turns = in_turns(bench, run_ours, run_theirs)
    name = f"NGCF, 3 layers, dim 64, 2048 triples a step, {passes} passes"
    figure = rates(name, "triples/s", turns, 4.0, "recall@20")
    return [figure], turns, {"ours": turns[0][0]["settings"], "theirs": theirs}


def largest_difference(ours: Path, theirs: Path) -> float:
    """Of any two numbers of the vectors that both sides end with."""
    with np.load(ours) as one, np.load(theirs) as two:
        return float(max(np.abs(one[side] - two[side]).max() for side in ("users", "items")))


LIGHTGCN = (Comparison("lightgcn-step-gowalla", "gowalla", "torch", "with_torch.py", lightgcn, "-torch"),)
NGCF = (Comparison("ngcf-movielens-100k", "movielens-100k", "recbole", "with_recbole.py", ngcf, "-torch"),)
