"""Training steps of fm, ffm, deepfm and dcn_v2 at Criteo's shape beside torch-rechub's, and fm beside SparseAdam."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import isolated, synthetic
from benchmarks.peers import train
from benchmarks.peers.turns import Bench, Comparison, Figure, Result, ask_peer, in_turns, rates
from zoo import metrics, names, workdir


DATA = "made-up fields"  # no data set of the catalog: synthetic.fields
NUM_ROWS, BATCH, TEST, STEPS = 1_000_000, 8192, 2**16, 48
ZIPF = 1.0
OURS = "lazy Adam on touched rows, Adam on dense weights"
DENSE = "dense Adam over all rows"
SPARSE = "SparseAdam: lazy Adam on touched rows"


def step(
    bench: Bench, model: str, dim: int, adapter: str, theirs_by: str, least_ratio: float
) -> tuple[list[Figure], list[tuple[Result, Result]], dict[str, Any]]:
    """One pass over the same examples of the same batch size and rate; the quality is the AUC of held-out examples."""
    file, answer = fields_file(bench), bench.folder / "clicks.npz"
    recipe = names.recipe(f"{model}/clicks")[2]
    settings = {"embedding_dim": dim, "batch_size": BATCH, "epochs": 1}
    tower = getattr(recipe.model, "keywords", {})
    theirs = {
        "model": model,
        "embedding_dim": dim,
        "batch_size": BATCH,
        "learning_rate": recipe.learning_rate,
        "hidden_dims": tower.get("hidden_dims", ()),
        "dropout": tower.get("dropout", 0.0),
        "num_cross": tower.get("num_cross", 0),
        "threads": bench.threads,
    }

    def run_ours(seed: int) -> Result:
        asked = train.Configuration(str(file), f"{model}/clicks", DATA, settings, seed=seed)
        return isolated.run("benchmarks.peers.ctr_step", asked)

    def run_theirs(seed: int) -> Result:
        asked = theirs | {"file": str(file), "answer": str(answer), "seed": seed}
        found = ask_peer(bench, adapter, "clicks", configuration=asked)
        return found | {"metrics": judged(file, answer)}

    turns = in_turns(bench, run_ours, run_theirs)
    name = f"{model}, 39 fields, {NUM_ROWS:,} rows, dim {dim}, batch {BATCH}; ours: {OURS}; theirs: {theirs_by}"
    figure = rates(name, "examples/s", turns, least_ratio, "auc")
    return [figure], turns, {"ours": turns[0][0]["settings"], "theirs": theirs}


def fields_file(bench: Bench) -> Path:
    """Codes, labels and sizes of all fields, and who trains and who tests, for both sides."""
    path = bench.folder / "fields.npz"
    if not path.exists():
        held = BATCH * (8 if bench.quick else STEPS)
        table = synthetic.fields(NUM_ROWS, held + TEST, ZIPF, seed=0)
        part = np.repeat(np.array([0, 2], np.int8), [held, TEST])
        workdir.save_data(path, dataclasses.replace(table, part=part))
    return path


def judged(file: Path, answer: Path) -> dict[str, float]:
    with np.load(file) as data, np.load(answer) as found:
        return {"auc": metrics.auc(found["scores"], data["label"][data["part"] == 2])}


def _comparison(model: str, dim: int, least_ratio: float) -> Comparison:
    run = partial(step, model=model, dim=dim, adapter="with_rechub.py", theirs_by=DENSE, least_ratio=least_ratio)
    return Comparison(f"{model}-criteo-shape", DATA, "torch-rechub", "with_rechub.py", run, "-torch")


COMPARISONS = {
    "fm": (
        _comparison("fm", 16, 2.0),
        Comparison(
            "fm-criteo-shape-sparse-adam",
            DATA,
            "torch",
            "with_sparse_adam.py",
            partial(step, model="fm", dim=16, adapter="with_sparse_adam.py", theirs_by=SPARSE, least_ratio=1.3),
            "-torch",
        ),
    ),
    "ffm": (_comparison("ffm", 4, 1.5),),
    "deepfm": (_comparison("deepfm", 16, 1.5),),
    "dcn_v2": (_comparison("dcn_v2", 16, 1.5),),
}
