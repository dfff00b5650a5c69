"""GRU4Rec's step on sessions side by side, beside the same step in PyTorch."""

from typing import Any

from benchmarks import isolated
from benchmarks.peers import gru4rec_step
from benchmarks.peers.turns import Bench, Comparison, Figure, Result, ask_peer, in_turns, rates, rows_file, same_losses


REPEATS = 6  # of their steps


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


GRU4REC = (Comparison("gru4rec-step-diginetica", "diginetica", "torch", "with_torch.py", steps, "-torch"),)
