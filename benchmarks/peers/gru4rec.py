"""GRU4Rec's step on sessions side by side, beside the same step in PyTorch; on whole sequences, beside RecBole's."""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import isolated
from benchmarks.peers import gru4rec_step, train
from benchmarks.peers.turns import (
    Bench,
    Comparison,
    Figure,
    Result,
    ask_peer,
    in_turns,
    rates,
    rows_file,
    same_losses,
    their_turn,
)
from benchmarks.timing import TimingError


REPEATS = 6  # of their steps
PASSES = 3
# RecBole's defaults, named so that the record has them; but item vectors as wide as the state, as ours are.
RECBOLE = {
    "embedding_size": 128,
    "hidden_size": 128,
    "num_layers": 1,
    "dropout_prob": 0.3,
    "loss_type": "CE",
    "train_neg_sample_args": None,
    "MAX_ITEM_LIST_LENGTH": 50,
    "learner": "adam",
    "learning_rate": 1e-3,
    "train_batch_size": 2048,
}
LIKE_RECBOLE = {"embedding_dim": 128}


def steps(bench: Bench) -> tuple[list[Figure], list[tuple[Result, Result]], dict[str, Any]]:
    """224 units, 80 sessions, 2048 negatives, BPR-max, Adagrad with momentum, at the number of items of the data.

    Both sides do the same steps from the same weights. Ours finds a step's events and draws its negatives inside;
    theirs has both ready.
    """
    file = rows_file(bench, "diginetica", "published", "gru4rec/session")
    given = bench.folder / "gru4rec.npz"
    theirs = {"given": str(given), "repeats": 1 if bench.quick else REPEATS, "threads": bench.threads}
    theirs |= {name: gru4rec_step.SETTINGS[name] for name in ("learning_rate", "b1", "penalty", "elu")}
    losses: list[float] = []

    def run_ours(seed: int) -> Result:
        found = isolated.run(
            "benchmarks.peers.gru4rec_step", gru4rec_step.Configuration(str(file), str(given), "diginetica", seed)
        )
        losses[:] = found.pop("losses")
        return found

    def run_theirs(seed: int) -> Result:
        found = ask_peer(bench, "with_torch.py", "gru4rec", configuration=theirs)
        return {**found, "largest_difference": same_losses(losses, found.pop("losses"))}

    turns = in_turns(bench, run_ours, run_theirs)
    figure = rates(
        "GRU4Rec, sessions side by side: 224 units, batch 80, 2048 negatives", "events/s", turns, 2.0, "loss"
    )
    return [figure], turns, {"ours": turns[0][0]["settings"], "theirs": theirs}


def sequences(bench: Bench) -> tuple[list[Figure], list[tuple[Result, Result]], dict[str, Any]]:
    """Both predict each item of a user's sequence from those before it, once a pass: theirs reads each prefix anew.

    An interaction is an item so predicted. Theirs takes the softmax over all items, and a product between state and
    score; ours the recipe's own loss, rate and optimizer.
    """
    data = "movielens-100k"
    file = rows_file(bench, data, "leave_one_out", "gru4rec/sequence")
    answer = bench.folder / "prefixes.npz"
    passes = 1 if bench.quick else PASSES
    theirs = {"settings": RECBOLE | {"epochs": passes}, "threads": bench.threads}

    def run_ours(seed: int) -> Result:
        asked = train.Configuration(str(file), "gru4rec/sequence", data, LIKE_RECBOLE | {"epochs": passes}, seed=seed)
        found = isolated.run("benchmarks.peers.train", asked)
        return found | {"examples": passes * predicted(file)}

    def run_theirs(seed: int) -> Result:
        found = their_turn(bench, "with_recbole.py", "gru4rec", theirs | {"file": str(file), "seed": seed}, answer)
        if found["examples"] != passes * predicted(file):
            raise TimingError(f"RecBole trained on {found['examples']} prefixes, not {passes * predicted(file)}")
        return found

    turns = in_turns(bench, run_ours, run_theirs)
    name = f"GRU4Rec, whole sequences: {RECBOLE['hidden_size']} units, sequences of 50, {passes} passes"
    return (
        [rates(name, "interactions/s", turns, 20.0, "recall@20")],
        turns,
        {"ours": turns[0][0]["settings"], "theirs": theirs},
    )


def predicted(file: Path) -> int:
    """Training rows less the first of each user."""
    with np.load(file) as data:
        user = data["user"][data["part"] == 0]
    return len(user) - len(np.unique(user))


GRU4REC = (
    Comparison("gru4rec-step-diginetica", "diginetica", "torch", "with_torch.py", steps, "-torch"),
    Comparison("gru4rec-sequence-movielens-100k", "movielens-100k", "recbole", "with_recbole.py", sequences, "-torch"),
)
