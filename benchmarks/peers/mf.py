"""Matrix factorization beside implicit's BPR and Surprise's SVD.

Numbers a row are the same on both sides: implicit's 63 factors and a bias are 64. Settings of ours and of implicit's
were chosen on validation rows; Surprise's are its defaults, which its own tables use.
"""

from collections.abc import Sequence
from typing import Any

from benchmarks import isolated
from benchmarks.peers import recommend, train
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


PASSES = 20
# implicit asks for it: its own threads share the users, and each calls BLAS.
IMPLICIT = {"OPENBLAS_NUM_THREADS": "1"}


def bpr(bench: Bench) -> tuple[list[Figure], list[tuple[Result, Result]], dict[str, Any]]:
    """A pass has one pair for each training row: implicit draws rows with replacement, the zoo takes each once.

    implicit leaves out pairs whose negative the user has, which it counts as passed.
    """
    file = rows_file(bench, "gowalla", "published", "mf/ranking_bpr_pairs")
    answer = bench.folder / "bpr.npz"
    passes = 2 if bench.quick else PASSES
    theirs = {
        "factors": 63,
        "learning_rate": 0.05,
        "regularization": 0.001,
        "verify_negative_samples": True,
        "iterations": passes,
        "threads": bench.threads,
    }

    def run_ours(seed: int) -> Result:
        configuration = train.Configuration(
            str(file), "mf/ranking_bpr_pairs", "gowalla", {"epochs": passes, "embedding_dim": 64}, seed=seed
        )
        return isolated.run("benchmarks.peers.train", configuration)

    def run_theirs(seed: int) -> Result:
        asked = theirs | {"file": str(file), "seed": seed}
        return their_turn(bench, "with_implicit.py", "bpr", asked, answer, IMPLICIT)

    turns = in_turns(bench, run_ours, run_theirs)
    figure = rates(f"BPR, 64 numbers a row, {passes} passes", "pairs/s", turns, 1.5, "recall@20")
    return [figure], turns, {"ours": turns[0][0]["settings"], "theirs": theirs | IMPLICIT}


def svd(bench: Bench) -> tuple[list[Figure], list[tuple[Result, Result]], dict[str, Any]]:
    file = rows_file(bench, "movielens-1m", "random", "mf/rating")
    answer = bench.folder / "svd.npz"
    passes = 2 if bench.quick else PASSES
    theirs = {"factors": 100, "epochs": passes, "learning_rate": 0.005, "regularization": 0.02}

    def run_ours(seed: int) -> Result:
        configuration = train.Configuration(
            str(file),
            "mf/rating",
            "movielens-1m",
            {"epochs": passes, "embedding_dim": 100, "batch_size": 2048, "learning_rate": 0.03, "l2": 0.06},
            judge_each_epoch=True,
            seed=seed,
        )
        return isolated.run("benchmarks.peers.train", configuration)

    def run_theirs(seed: int) -> Result:
        return their_turn(bench, "with_surprise.py", "svd", theirs | {"file": str(file), "seed": seed}, answer)

    turns = in_turns(bench, run_ours, run_theirs)
    speed = rates(f"rating MF, 100 factors, {passes} passes", "ratings/s", turns, 1.5, "rmse")
    times = Figure(
        "the same, to the RMSE that Surprise ends with",
        "s",
        [seconds_to(ours["history"], theirs["metrics"]["rmse"]) for ours, theirs in turns],
        [theirs["seconds"] for _, theirs in turns],
        2.0,
        "rmse",
        *qualities(turns, "rmse"),
    )
    return [speed, times], turns, {"ours": turns[0][0]["settings"], "theirs": theirs}


def recommend_all(bench: Bench) -> tuple[list[Figure], list[tuple[Result, Result]], dict[str, Any]]:
    """The 20 best unseen items of every user, by vectors that the zoo's ranking recipe reaches in two epochs."""
    file = rows_file(bench, "gowalla", "published", "mf/ranking")
    vectors, answer = bench.folder / "vectors.npz", bench.folder / "lists.npz"
    isolated.run(
        "benchmarks.peers.train",
        train.Configuration(str(file), "mf/ranking", "gowalla", {"epochs": 2}, vectors=str(vectors)),
    )
    theirs = {"k": 20, "threads": bench.threads}

    def run_ours(seed: int) -> Result:
        found = isolated.run(
            "benchmarks.peers.recommend", recommend.Configuration(str(file), str(vectors), str(answer))
        )
        return found | {"metrics": judged(file, answer)}

    def run_theirs(seed: int) -> Result:
        asked = theirs | {"file": str(file), "vectors": str(vectors)}
        return their_turn(bench, "with_implicit.py", "recommend", asked, answer, IMPLICIT)

    turns = in_turns(bench, run_ours, run_theirs)
    figure = Figure(
        "20 unseen items for all users",
        "s",
        [ours["seconds"] for ours, _ in turns],
        [theirs["seconds"] for _, theirs in turns],
        1 / 1.2,
        "recall@20",
        *qualities(turns, "recall@20"),
    )
    return [figure], turns, {"ours": {"k": 20}, "theirs": theirs | IMPLICIT}


def seconds_to(history: Sequence[Result], rmse: float) -> float | None:
    """Training seconds at the end of the first epoch that is as good."""
    return next((entry["seconds"] for entry in history if entry["rmse"] <= rmse), None)


COMPARISONS = (
    Comparison("bpr-gowalla", "gowalla", "implicit", "with_implicit.py", bpr),
    Comparison("svd-movielens-1m", "movielens-1m", "scikit-surprise", "with_surprise.py", svd),
    Comparison("recommend-gowalla", "gowalla", "implicit", "with_implicit.py", recommend_all),
)
