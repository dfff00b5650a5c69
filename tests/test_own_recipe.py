"""A recipe of the user's own, which no name stands for: trained, resumed and loaded with the recipe at hand."""

from dataclasses import replace
from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

import zoo
from zoo import objectives
from zoo.__main__ import main
from zoo.errors import InputError
from zoo.models import mf


WORLD = "simulated:num_users=120,num_videos=80,num_watches=1500"


def hinge(model, batch, key, margin=1.0):
    """A loss that the zoo does not have."""
    prepared = model.prepare(batch, train=True)
    query = model.query(batch, prepared, train=True)
    items = model.item_vectors(batch["item"], prepared)
    drawn = model.item_vectors(objectives.uniform_negatives(model, batch, key, 1)[:, 0], prepared)
    return jnp.maximum(0, margin - jnp.sum(query * (items - drawn), axis=1))


RECIPE = replace(mf.RECIPES["smoke"], objective=partial(hinge, margin=2.0), epochs=6)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return zoo.train(RECIPE, data=WORLD, workdir=tmp_path_factory.mktemp("own") / "run", batch_size=128)


def test_it_trains_and_is_loaded_with_its_recipe(run):
    first, *_, last = (entry["loss"] for entry in run.record["training"]["history"])
    assert last < 0.8 * first
    assert run.record["settings"]["objective"] == {"call": f"{__name__}.hinge", "margin": 2.0}
    assert (run.record["model"], run.record["recipe"], run.record["settings"]["batch_size"]) == ("own", "recipe", 128)
    again = zoo.load(run.folder, RECIPE)
    for one, two in zip(run.recommend([3, 5]), again.recommend([3, 5]), strict=True):
        np.testing.assert_array_equal(one, two)
    resumed = zoo.train(RECIPE, data=WORLD, workdir=run.folder, batch_size=128, resume=True)
    assert resumed.metrics == run.metrics


def test_another_recipe_or_none_is_refused(run, capsys, tmp_path):
    with pytest.raises(InputError, match=r"another recipe: its settings.objective.margin is 2.0, now 1.5"):
        zoo.load(run.folder, replace(RECIPE, objective=partial(hinge, margin=1.5)))
    assert main(["recommend", str(run.folder), "--user", "3"]) == 2
    error = capsys.readouterr().err
    assert "a recipe of your own: zoo.load(folder, recipe) takes it" in error and error.count("\n") == 1
    named = zoo.train("mf/smoke", data=WORLD, epochs=1, workdir=tmp_path / "named")
    with pytest.raises(InputError, match="a recipe of the zoo: leave the recipe out"):
        zoo.load(named.folder, RECIPE)
