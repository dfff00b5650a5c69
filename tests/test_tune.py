"""zoo tune: halving by hand, no look at test, the same end after any kill, and the command that repeats the best."""

import json
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from zoo import names, records, run, search, tune
from zoo.__main__ import main
from zoo.errors import InputError


WORLD = "simulated:num_users=120,num_videos=80,num_watches=1500"
SPACE = {"learning_rate": partial(search.log_uniform, low=0.03, high=1.0)}


def small_job(space=SPACE, epochs=4, **changes):
    job = names.job(names.Request("mf/smoke", WORLD, settings={"epochs": epochs, "batch_size": 256}))
    return replace(job, recipe=replace(job.recipe, search=space, **changes))


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A finished search of 4 trials over 3 rungs: its folder and its lines."""
    folder = tmp_path_factory.mktemp("searches") / "whole"
    return folder, tune.tune(small_job(), folder, trials=4, quiet=True)


def test_the_settings_of_a_trial_depend_on_seed_and_number_alone():
    space = SPACE | {"batch_size": partial(search.choice, values=(1, 2, 3))}
    drawn = [search.draw(space, 0, trial) for trial in range(500)]
    assert drawn == [search.draw(space, 0, trial) for trial in range(500)] != [search.draw(space, 1, 0)]
    rates = np.log([settings["learning_rate"] for settings in drawn])
    assert np.log(0.03) <= rates.min() < np.log(0.04) and np.log(0.8) < rates.max() <= np.log(1.0)
    assert abs(np.median(rates) - np.log(0.03 * 1.0) / 2) < 0.2  # the middle of the logarithms
    assert all(float(f"{settings['learning_rate']:.3g}") == settings["learning_rate"] for settings in drawn)
    counts = np.bincount([settings["batch_size"] for settings in drawn])
    assert counts[0] == 0 and (counts[1:] > 120).all()


def test_without_a_search_of_its_own_a_recipe_is_searched_around_its_settings():
    space = search.around(names.recipe("mf/rating")[2])
    assert set(space) == {"learning_rate", "optimizer.l2", "model.init_scale", "batch_size"}
    assert space["optimizer.l2"].keywords == {"low": pytest.approx(0.0175), "high": pytest.approx(0.28)}
    assert space["batch_size"].keywords == {"values": (512, 1024, 2048)}
    assert "objective.l2" not in search.around(names.recipe("mf/smoke")[2])  # it is 0, which has no logarithm
    assert set(tune.search_of(names.recipe("mf/rating")[2], ["l2", "batch_size"])) == {
        "learning_rate",
        "model.init_scale",
    }


def test_rungs():
    assert [tune.rungs_of(epochs) for epochs in (1, 2, 3, 4, 10, 60)] == [
        [1],
        [1, 2],
        [1, 2, 3],
        [1, 2, 4],
        [3, 5, 10],
        [15, 30, 60],
    ]


@pytest.mark.slow
def test_the_best_third_goes_on_and_ends_as_a_run_of_its_own(searched, tmp_path):
    (folder, lines), job = searched, small_job()
    history = tune.read_history(folder / "history.jsonl")
    rungs = [sorted(trial for trial, rung in history if rung == which) for which in (0, 1, 2)]
    assert [len(rung) for rung in rungs] == [4, 2, 1]
    values = {trial: history[trial, 0]["value"] for trial in rungs[0]}
    assert rungs[1] == sorted(sorted(values, key=values.get, reverse=True)[:2])  # recall: higher is better
    assert [line["trial"] for line in lines[:1]] == rungs[2] and len(lines) == 4
    order = [(line["rung"], line["value"]) for line in lines]
    assert order == sorted(order, reverse=True)
    # The winner, trained in three pieces, is what the recipe with its settings is when it is trained in one.
    whole = replace(job, recipe=replace(job.recipe, patience=4, **lines[0]["settings"]), validate=True)
    record, _, _ = run.fit(whole, tmp_path / "whole", quiet=True)
    assert lines[0]["curve"] == [entry["recall@20"] for entry in record["training"]["history"]]
    assert lines[0]["value"] == lines[0]["curve"][-1]
    assert not (folder / "trials").exists()


def test_the_order_of_trials():
    """By rung, by value whichever way is better, by number; diverged trials last."""
    told = [(0, 0, 0.5), (1, 1, 0.9), (2, 1, 0.8), (3, 2, None), (4, 1, 0.8), (5, 0, 0.6)]
    for metric, order in (("rmse", [2, 4, 1, 0, 5, 3]), ("recall@20", [1, 2, 4, 5, 0, 3])):
        lines = [{"trial": trial, "rung": rung, "value": value, "metric": metric} for trial, rung, value in told]
        assert [line["trial"] for line in tune.ranked(lines)] == order


def test_the_test_part_is_never_touched(tmp_path, monkeypatch):
    """Whatever shows a row of test to the trials raises: data, examples, evaluation, baselines."""
    job = small_job(epochs=1)
    prepared = run.prepare(job)
    hidden = {*zip(prepared.split.test.user.tolist(), prepared.split.test.item.tolist())}

    def check(*parts):
        for part in parts:
            if hidden & {*zip(part.user.tolist(), part.item.tolist())}:
                raise AssertionError("the test part was looked at")

    def guarded(function, split_of):
        def call(*arguments, **options):
            split = split_of(arguments)
            check(split.train, split.test)
            return function(*arguments, **options)

        return call

    recipe = replace(
        job.recipe,
        evaluate=guarded(job.recipe.evaluate, lambda arguments: arguments[3]),
        baselines=guarded(job.recipe.baselines, lambda arguments: arguments[0]),
        examples=guarded(job.recipe.examples, lambda arguments: arguments[0]),
    )
    guarded_job = replace(job, recipe=recipe)
    with pytest.raises(AssertionError, match="looked at"):  # the guard does watch
        run.fit(guarded_job, tmp_path / "run", quiet=True)
    jobs = []
    monkeypatch.setattr(tune, "fit", lambda job, *given, **options: jobs.append(job) or run.fit(job, *given, **options))
    assert len(tune.tune(guarded_job, tmp_path / "search", trials=2, quiet=True)) == len(jobs) == 2
    for trial in jobs:
        check(trial.interactions)
        assert len(trial.interactions) == len(prepared.split.train)


def test_a_test_row_in_a_trials_data_is_refused():
    job = tune.without_test(small_job())
    job.interactions.part[5] = 2
    with pytest.raises(AssertionError, match="test part"):
        run.prepare(job)


@pytest.mark.slow
def test_a_recipe_of_fields_is_searched(tmp_path):
    """Its trials see the training rows alone, and the best is the run that --validate makes of its settings."""
    job = names.job(names.Request("lr/smoke", "planted:num_rows=600", settings={"epochs": 2}))
    trial = tune.without_test(job)
    prepared = run.prepare(job)
    assert len(trial.interactions) == len(prepared.split.train) == 540
    lines = tune.tune(job, tmp_path / "search", trials=2, quiet=True)
    assert set(lines[0]["settings"]) == {"learning_rate", "batch_size"} and lines[0]["metric"] == "auc"
    whole = replace(job, recipe=replace(job.recipe, **lines[0]["settings"]), validate=True)
    record, _, _ = run.fit(whole, tmp_path / "whole", quiet=True)
    assert lines[0]["curve"] == [entry["auc"] for entry in record["training"]["history"]]


@pytest.mark.slow
def test_a_trial_that_diverges_is_recorded_and_loses(tmp_path):
    space = {"learning_rate": partial(search.choice, values=(0.1, 1e30))}  # seed 2 draws 1e30, then 0.1
    lines = tune.tune(replace(small_job(space, 1), seed=2), tmp_path / "search", trials=2, quiet=True)
    rates = [(line["settings"]["learning_rate"], line["value"] is None) for line in lines]
    assert rates == [(0.1, False), (1e30, True)]
    with pytest.raises(InputError, match="1 of 1 trials diverged"):
        space = {"learning_rate": partial(search.choice, values=(1e30,))}
        tune.tune(small_job(space, 1), tmp_path / "other", trials=1, quiet=True)


@pytest.mark.slow
def test_stopped_between_lines_and_checkpoints_it_ends_in_the_same_lines(searched, tmp_path, monkeypatch):
    class Stop(Exception):
        pass

    append, save, stops = records.append_line, run._save, []

    def stopping(function, then):
        def call(*arguments):
            function(*arguments)
            stops.append(then)
            if stops.count(then) % 3 == 1:
                raise Stop

        return call

    monkeypatch.setattr(records, "append_line", stopping(append, "line"))
    monkeypatch.setattr(run, "_save", stopping(save, "checkpoint"))
    for _ in range(100):
        try:
            lines = tune.tune(small_job(), tmp_path / "broken", trials=4, resume=True, quiet=True)
            break
        except Stop:
            continue
    assert stops.count("line") == 7 and stops.count("checkpoint") > 7
    assert lines == searched[1]
    whole, broken = (tune.read_history(place / "history.jsonl") for place in (searched[0], tmp_path / "broken"))
    assert whole == broken


def command(folder):
    fixed = f"tune mf/smoke --data {WORLD} --trials 2 --resume --quiet --epochs 2 --batch-size 256 --set init_scale=0.1"
    return [*fixed.split(), "--workdir", str(folder)]


def lines_of(folder):
    path = folder / "history.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.slow
def test_killed_and_resumed(tmp_path, capsys):
    assert main(command(tmp_path / "whole")) == 0
    whole = capsys.readouterr().out
    program = [sys.executable, "-m", "zoo", *command(tmp_path / "broken")]
    process = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while lines_of(tmp_path / "broken") < 1 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the search ended before it could be killed"
    assert main(command(tmp_path / "broken")) == 0
    broken = capsys.readouterr().out
    assert broken.replace(str(tmp_path / "broken"), "") == whole.replace(str(tmp_path / "whole"), "")
    assert lines_of(tmp_path / "broken") == lines_of(tmp_path / "whole")


@pytest.mark.slow
def test_the_command_that_it_prints_trains_the_best(tmp_path, capsys):
    folder = tmp_path / "search"
    asked = f"tune mf/smoke --data {WORLD} --trials 2 --epochs 1 --seed 5 --quiet --workdir".split()
    assert main([*asked, str(folder)]) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("trial", "recall@20", "learning_rate", "batch_size", "history.jsonl"))
    [printed] = [line for line in shown.splitlines() if line.startswith("zoo train ")]
    assert main([*shlex.split(printed)[1:], "--validate", "--workdir", str(tmp_path / "run"), "--quiet"]) == 0
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    best = tune.last_lines(tune.read_history(folder / "history.jsonl"))[0]
    assert record["training"]["history"][-1]["recall@20"] == best["value"] and record["seed"] == 5
    assert record["training"]["epochs"] == 1


@pytest.mark.slow
def test_the_plot_is_the_same_byte_for_byte(searched):
    pytest.importorskip("matplotlib")
    pictures = []
    for _ in range(2):
        tune.draw_history(searched[0], "a title")
        pictures.append((searched[0] / "history.svg").read_bytes())
    assert pictures[0] == pictures[1] and b"a title" in pictures[0] and b"recall@20" in pictures[0]


def test_without_matplotlib_one_line_says_how_to_get_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    asked = f"tune mf/smoke --data {WORLD} --trials 1 --epochs 1 --quiet --workdir".split()
    assert main([*asked, str(tmp_path / "search")]) == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if "needs matplotlib" in line]
    assert "jax-recsys-zoo[plots]" in line and not (tmp_path / "search" / "history.svg").exists()


def test_a_line_cut_short_is_taken_off_and_a_damaged_one_is_named(tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_text('{"trial": 0, "rung": 0, "value": 1}\n{"trial": 1, "ru')
    assert set(tune.read_history(path)) == {(0, 0)}
    assert path.read_text() == '{"trial": 0, "rung": 0, "value": 1}\n'
    for damage in ("{", "[1]", '{"trial": 1}', "\xff"):
        path.write_text(f'{{"trial": 0, "rung": 0}}\n{damage}\n')
        with pytest.raises(InputError, match="line 2"):
            tune.read_history(path)


def refused(capsys, *arguments):
    assert main([str(argument) for argument in arguments]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    return line


def test_mistakes(capsys, tmp_path):
    asked = ["tune", "mf/smoke", "--data", WORLD, "--epochs", "1", "--quiet", "--workdir", tmp_path / "search"]
    assert "trials is 0" in refused(capsys, *asked, "--trials", "0")
    assert "closed form" in refused(capsys, "tune", "popularity", "--data", WORLD, "--workdir", tmp_path / "no")
    everything = ["--learning-rate", "1", "--batch-size", "64", "--set", "init_scale=0.1"]
    assert "nothing is left to search" in refused(capsys, *asked, *everything)
    assert "metric is 'recall@7'" in refused(capsys, *asked, "--set", "metric=recall@7")
    with pytest.raises(InputError, match="epochs cannot be searched"):
        tune.search_of(small_job({"epochs": partial(search.choice, values=(1, 2))}).recipe, [])
    assert not [path for path in (tmp_path / "no", tmp_path / "search" / "history.jsonl") if path.exists()]


def test_a_folder_serves_one_search(capsys, tmp_path):
    asked = ["tune", "mf/smoke", "--data", WORLD, "--epochs", "1", "--quiet", "--workdir", tmp_path / "search"]
    assert main([str(argument) for argument in (*asked, "--trials", "1")]) == 0
    capsys.readouterr()
    assert "--resume" in refused(capsys, *asked, "--trials", "1")
    assert "trials is 1, now 2" in refused(capsys, *asked, "--trials", "2", "--resume")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").touch()
    assert "files that are no search" in refused(capsys, *asked[:-1], tmp_path / "other", "--trials", "1")


@pytest.mark.slow
@pytest.mark.parametrize(("model", "trials"), [("mf", 8), ("mf/rating", 20)])
def test_movielens_within_a_percent_of_the_recipe(zoo_data, tmp_path, model, trials):
    """All trials are drawn, none of them is the recipe as it stands."""
    job = names.job(names.Request(model, "movielens-100k", validate=True))
    record, _, _ = run.fit(job, tmp_path / "recipe", quiet=True)
    best = tune.tune(job, tmp_path / "search", trials=trials, quiet=True)[0]
    committed = record["training"]["best"]["value"]
    print(f"{model} on movielens-100k: {best['metric']} {best['value']:.4f}, the recipe {committed:.4f}")
    loss = best["value"] / committed - 1 if best["metric"] == "rmse" else 1 - best["value"] / committed
    assert loss <= 0.01
