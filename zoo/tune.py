"""zoo tune: random search with successive halving, judged by validation rows alone.

DIR/tune.json       what is searched: names, settings, distributions, number of trials, seed; a folder serves one search
DIR/history.jsonl   a line for each trial and rung that is done
DIR/history.svg     every trial's validation metric by epoch
DIR/trials          the runs of the trials that are still in the race; gone at the end, for they repeat from a command
"""

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from zoo import records, search, workdir
from zoo.data.fields import FieldTable
from zoo.data.images import Images
from zoo.data.impressions import Impressions
from zoo.data.interactions import Interactions
from zoo.data.splits import Split
from zoo.data.text import Text
from zoo.errors import InputError
from zoo.progress import progress_bar, tell
from zoo.recipe import LOWER_IS_BETTER, Recipe, Search, describe, override
from zoo.run import Job, fit, prepare


KEEP = 3  # of so many trials the best one goes on to the next rung
Line = dict[str, Any]  # of the history: trial, rung, settings, metric, epochs, value (None: it diverged), curve


def tune(
    job: Job, folder: Path, *, trials: int, fixed: Sequence[str] = (), resume: bool = False, quiet: bool = False
) -> list[Line]:
    """Draw settings for `trials` runs of a job and train them in rungs: all of them for a quarter of the epochs, the
    best third for half, the best third of those to the end. Returns the last line of each trial's history, best first.

    A trial is a run of its own on the schedule of all epochs, and goes on from where its last rung stopped. It does not
    stop early, and its value is that of its last epoch, since the settings are for a run of just so many epochs.
    Settings named in `fixed` are not varied. A trial whose loss diverges has no value and loses. With `resume`, a
    search killed at any moment goes on and ends in the same lines.
    """
    if trials < 1:
        raise InputError(f"trials is {trials}: it must be at least 1")
    if job.source is not None:
        raise InputError(
            f"a search reads {job.names['data']} into memory: leave stream out, or give it a part of the log"
        )
    space = search_of(job.recipe, fixed)
    rungs = rungs_of(job.recipe.epochs)
    trial_job = without_test(job)
    settings = {"settings": describe(job.recipe), "search": describe(space), "rungs": rungs}
    _claim(folder, {**job.names, "seed": job.seed, "trials": trials, **settings}, resume)
    history = read_history(folder / "history.jsonl")
    racing = list(range(trials))
    with progress_bar(quiet) as bar:
        task = bar.add_task("", total=_planned_epochs(trials, rungs), note="")
        for rung, (before, epochs) in enumerate(zip([0, *rungs], rungs)):
            for trial in racing:
                note = f"rung {rung + 1} of {len(rungs)}, trial {trial}, to epoch {epochs}{_best_note(history)}"
                bar.update(task, description=job.names["model"], note=note)
                if (trial, rung) not in history:
                    drawn = search.draw(space, job.seed, trial)
                    found = _train(trial_job, drawn, folder / "trials" / f"{trial}", epochs)
                    line = {"trial": trial, "rung": rung, "settings": drawn, "metric": job.recipe.metric, **found}
                    records.append_line(folder / "history.jsonl", line)
                    history[trial, rung] = line
                    tell(quiet, f"{job.names['model']}: {note}: {found['value']}")
                bar.advance(task, epochs - before)
            lines = ranked([history[trial, rung] for trial in racing])
            racing = [line["trial"] for line in lines[: math.ceil(len(lines) / KEEP)] if line["value"] is not None]
            for line in lines[len(racing) :]:
                shutil.rmtree(folder / "trials" / f"{line['trial']}", ignore_errors=True)
    shutil.rmtree(folder / "trials", ignore_errors=True)
    lines = last_lines(history)
    if lines[0]["value"] is None:
        raise InputError(
            f"{trials} of {trials} trials diverged: search around a lower learning rate, now"
            f" {job.recipe.learning_rate}, with another --workdir"
        )
    return lines


def search_of(recipe: Recipe, fixed: Sequence[str]) -> Search:
    """What is varied: the recipe's own search, or one around its settings, less what is fixed."""
    if recipe.solve is not None:
        raise InputError("this recipe is solved in closed form: it has no settings to search; zoo train does all")
    found = recipe.search or search.around(recipe)
    if "epochs" in found:
        raise InputError("epochs cannot be searched, for trials are compared by epoch: take them out of the search")
    found = {key: draw for key, draw in found.items() if not {key, key.partition(".")[2]} & set(fixed)}
    if not found:
        raise InputError(f"nothing is left to search once {', '.join(fixed)} are fixed: leave one of them out")
    return found


def rungs_of(epochs: int) -> list[int]:
    """Where trials are compared: after a quarter, a half and all of the epochs, rounded up; fewer where these coincide.

    >>> rungs_of(60), rungs_of(2)
    ([15, 30, 60], [1, 2])
    """
    return sorted({math.ceil(epochs / 4), math.ceil(epochs / 2), epochs})


def without_test(job: Job) -> Job:
    """The job of the trials: its data is the rows that train and the rows that validate, and holds none of the test
    part.

    Rows and their order, and so all results, are those of `zoo train --validate` without early stopping.
    """
    split = prepare(replace(job, validate=True)).split
    valid = split.test  # so it is in a run with `validate`
    part = np.repeat(np.array([0, 1], np.int8), [len(split.train), len(valid)])
    rows = replace(split.train.followed_by(valid), part=part)
    recipe = replace(job.recipe, split=marked, repeats=None, patience=max(job.recipe.epochs, 1))
    return replace(job, recipe=recipe, interactions=rows, validate=True)


def marked[D: (Interactions, FieldTable, Text, Impressions, Images)](data: D, seed: int) -> Split[D]:
    """Rows of part 0 train, those of part 1 validate; there is no test. The seed has no effect."""
    assert data.part is not None
    train, valid, test = (data.take(np.equal(data.part, part)) for part in (0, 1, 2))
    assert len(test) == 0, "a search must not see the test part"
    return Split(train, test, valid)


def ranked(lines: Sequence[Line]) -> list[Line]:
    """The furthest first, of these the best, of equals the lower number; at the end the trials that diverged."""

    def key(line):
        value = 0.0 if line["value"] is None else line["value"]
        falls = line["metric"] in LOWER_IS_BETTER
        return line["value"] is None, -line["rung"], value if falls else -value, line["trial"]

    return sorted(lines, key=key)


def last_lines(history: Mapping[tuple[int, int], Line]) -> list[Line]:
    """The line of the last rung that each trial reached, as `ranked`."""
    return ranked(list({trial: history[trial, rung] for trial, rung in sorted(history)}.values()))


def read_history(path: Path) -> dict[tuple[int, int], Line]:
    """The lines of a history by trial and rung; a last line that a kill cut short is taken off the file."""
    if not path.exists():
        return {}
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        with path.open("r+b") as file:
            file.truncate(len(whole))
    history = {}
    for number, text in enumerate(whole.splitlines(), 1):
        try:
            line = json.loads(text)
            history[line["trial"], line["rung"]] = line
        except (ValueError, TypeError, KeyError):
            raise InputError(
                f"damaged history {path}, line {number}: it is not what zoo tune wrote;"
                " remove the line, and --resume trains that trial again"
            ) from None
    return history


def draw_history(folder: Path, title: str) -> None:
    """history.svg: the metric of every trial by epoch, the same byte for byte for the same history.

    ImportError without matplotlib.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    lines = [line for line in last_lines(read_history(folder / "history.jsonl")) if line["curve"]]
    with mpl.rc_context({"svg.hashsalt": "zoo", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(6.4, 4.0), layout="constrained")
        axes = figure.subplots()
        for line in lines[::-1]:  # the best last, over the others
            colour = "C1" if line is lines[0] else "0.6"
            axes.plot(range(1, len(line["curve"]) + 1), line["curve"], "o-", markersize=2, color=colour)
        axes.legend([axes.lines[-1]], [f"the best, trial {lines[0]['trial']}"])
        axes.set(xlabel="epoch", ylabel=f"{lines[0]['metric']} on validation rows", title=title)
        axes.grid(alpha=0.3)
        figure.savefig(folder / "history.svg", format="svg", metadata={"Date": None})


def _train(job: Job, settings: Mapping[str, Any], folder: Path, epochs: int) -> dict[str, Any]:
    """What a trial reached by some epoch, trained on from where its folder stands."""
    metric = job.recipe.metric
    trial = replace(job, recipe=override(job.recipe, settings))
    try:
        training = fit(trial, folder, resume=True, quiet=True, stop_after_epochs=epochs)[0]["training"]
    except FloatingPointError:  # the loss, or what is evaluated, is not finite
        return {"epochs": epochs, "value": None, "curve": []}
    curve = [entry[metric] for entry in training["history"]]
    return {"epochs": epochs, "value": curve[-1], "curve": curve}


def _claim(folder: Path, identity: Mapping[str, Any], resume: bool) -> None:
    """Make the folder this search's own, or refuse."""
    path = folder / "tune.json"
    if not path.exists():
        if folder.exists() and any(file.name != "tune.unfinished" for file in folder.iterdir()):
            raise InputError(f"{folder} holds files that are no search: choose another --workdir")
        records.write_json(path, identity)
    elif not resume:
        raise InputError(f"{folder} holds a search already: add --resume to go on with it, or choose another --workdir")
    elif other := workdir.difference(workdir.read_json(path, "search"), identity):
        raise InputError(f"{folder} holds another search: its {other}; choose another --workdir")


def _planned_epochs(trials: int, rungs: Sequence[int]) -> int:
    total = 0
    for before, epochs in zip([0, *rungs], rungs):
        total += trials * (epochs - before)
        trials = math.ceil(trials / KEEP)
    return total


def _best_note(history: Mapping[tuple[int, int], Line]) -> str:
    best = last_lines(history)[:1]
    return f"  best {best[0]['metric']} {best[0]['value']:.4f}" if best and best[0]["value"] is not None else ""
