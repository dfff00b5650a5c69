"""Exported models against the models that they came from; read back with and without the package."""

import subprocess
import sys

import jax
import numpy as np
import pytest

import zoo
from tests.helpers import refusal
from tests.test_models import MODELS, WORLD, made
from zoo import evaluate, export
from zoo.__main__ import main
from zoo.types import PADDING


ALONE = """
import json, sys
import jax, jax.export, numpy as np

file = np.load(sys.argv[1])
manifest = json.loads(str(file["manifest"]))
query = jax.export.deserialize(bytearray(file["query.stablehlo"]))
weights = [file[f"query.weights.{n}"] for n in range(manifest["parts"]["query"]["weights"])]
given = np.load(sys.argv[2])
np.save(sys.argv[3], np.asarray(query.call(weights, {name: given[name] for name in given.files})) @ file["items"].T)
assert "zoo" not in sys.modules
"""


def written(model, path):
    job, prepared, _, _ = made(model)
    state = (
        prepared.initial()
        if job.recipe.solve is None
        else zoo.TrainState(0, job.recipe.solve(prepared.split), {}, {}, (), {}, 0)
    )
    parts, arrays = export.whole(prepared.model, state, prepared.examples, job.interactions)
    export.write(path, parts, arrays, job.names)
    return prepared, state


def history_of(examples, columns, count):
    """Rows of the log, oldest first, then -1: int32 [count, longest]."""
    found = np.full((count, examples.spec.history_length), -1, np.int32)
    log = np.asarray(examples.constants["history_log"])
    for row, (start, length) in enumerate(zip(columns["history_start"], columns["history_length"])):
        if length != PADDING:
            found[row, :length] = log[start : start + length]
    return found


@pytest.mark.parametrize("model", [m if m == "mf" else pytest.param(m, marks=pytest.mark.slow) for m in MODELS])
def test_an_exported_model_answers_as_the_model(model, tmp_path):
    prepared, state = written(model, tmp_path / "model.npz")
    examples, loaded = prepared.examples, export.load(tmp_path / "model.npz")
    ((name, function),) = loaded.functions.items()
    asked = {key: column[:5] for key, column in (examples.test if name == "query" else examples.train).items()}
    given = {key: asked[key] for key in loaded.manifest["parts"][name]["inputs"] if key != "history"}
    if "history" in loaded.manifest["parts"][name]["inputs"]:
        given["history"] = history_of(examples, asked, 5)
    if name == "query":
        want = evaluate.query_vectors(prepared.model, state, examples.constants, asked)
        items = evaluate.item_vectors(prepared.model, state, examples.constants)
        np.testing.assert_allclose(loaded.arrays["items"], items, atol=1e-6)
    else:
        want = evaluate.score(prepared.model, state, examples.constants, asked)
    np.testing.assert_allclose(function(**given), want, atol=1e-6, rtol=1e-6)
    np.testing.assert_allclose(function(**{key: c[:2] for key, c in given.items()}), want[:2], atol=1e-6, rtol=1e-6)


@pytest.mark.slow
def test_a_funnel_is_served_without_the_package(tmp_path):
    run = zoo.train("youtube/smoke", data=WORLD, workdir=tmp_path / "run", epochs=1)
    assert main(["export", str(tmp_path / "run"), str(tmp_path / "funnel.npz")]) == 0
    loaded = export.load(tmp_path / "funnel.npz")
    assert loaded.functions.keys() == {"query", "ranking"}
    examples = run.prepared.examples
    columns = {name: column[:7] for name, column in examples.test.items()}
    given = {"history": history_of(examples, columns, 7), "user": columns["user"]}
    given = {name: given[name] for name in loaded.manifest["parts"]["query"]["inputs"]}
    np.savez(tmp_path / "given.npz", **given)
    names = [str(tmp_path / name) for name in ("funnel.npz", "given.npz", "scores.npy")]
    subprocess.run([sys.executable, "-c", ALONE, *names], check=True, cwd=tmp_path)
    parts = run.prepared.model, run.state, examples.constants
    want = np.asarray(evaluate.query_vectors(*parts, columns)) @ np.asarray(evaluate.item_vectors(*parts)).T
    np.testing.assert_allclose(np.load(tmp_path / "scores.npy"), want, atol=1e-6)
    shown = run.ranking.prepared.examples
    asked = {name: column[:6] for name, column in shown.train.items()}
    given = {name: asked[name] for name in ("item", "codes", "numbers")} | {"history": history_of(shown, asked, 6)}
    want = evaluate.score(run.ranking.prepared.model, run.ranking.state, shown.constants, asked)
    np.testing.assert_allclose(loaded.functions["ranking"](**given), want, atol=1e-6, rtol=1e-6)


def test_a_path_in_use_and_other_files_are_refused(tmp_path):
    (tmp_path / "used.npz").write_bytes(b"")
    (tmp_path / "other.npz").write_text("no model")
    np.savez(tmp_path / "arrays.npz", a=np.ones(2))
    assert "exists" in refusal(export.write, tmp_path / "used.npz", parts={}, arrays={}, named={})
    assert "model.npz" in refusal(export.write, tmp_path / "model.onnx", parts={}, arrays={}, named={})
    for name in ("other.npz", "arrays.npz", "used.npz"):
        assert "no exported model" in refusal(export.load, tmp_path / name)
    assert "no such file" in refusal(export.load, tmp_path / "absent.npz")


def test_inputs_by_other_names_are_refused(tmp_path):
    function = export._caller("query", jax.jit(lambda weights, given: given), [], {"user": ["int32", ["batch"]]})
    with pytest.raises(zoo.InputError, match="takes user, not item"):
        function(item=[1])


def test_raw_values_become_inputs_by_the_file_alone(tmp_path):
    prepared, _ = written("fm", tmp_path / "model.npz")
    held, table = export.load(tmp_path / "model.npz").arrays, prepared.split.test
    columns = []
    for name, levels, codes in zip(table.names, table.levels, table.codes.T, strict=True):
        place = np.searchsorted(held[f"fields.{name}.values"], levels[codes])
        columns.append(held[f"fields.{name}.rows"][place])
    for name, numbers in zip(table.numeric_names, table.numbers.T, strict=True):
        bucket = np.searchsorted(held[f"fields.{name}.edges"], numbers, side="right")
        columns.append(held[f"fields.{name}.rows"][bucket])
    np.testing.assert_array_equal(np.stack(columns, 1), prepared.examples.test["fields"])
