"""Recipes: settings are changed by name, and described as plain JSON."""

import json
from functools import partial

import pytest

from zoo import objectives, optimizers, tasks
from zoo.errors import InputError
from zoo.models.mf import MF
from zoo.recipe import describe, override


RECIPE = tasks.ranking(
    model=partial(MF, embedding_dim=8),
    objective=partial(objectives.bpr, num_negatives=2),
    optimizer=optimizers.adam,
    learning_rate=0.1,
)


def test_fields_and_settings_of_parts():
    changed = override(
        RECIPE,
        {
            "epochs": "7",
            "learning_rate": "1e-2",
            "embedding_dim": "16",
            "objective.l2": "0.5",
            "b1": "0.8",
            "metric": "ndcg@10",
        },
    )
    assert (changed.epochs, changed.learning_rate, changed.metric) == (7, 0.01, "ndcg@10")
    assert changed.model.keywords == {"embedding_dim": 16}
    assert changed.objective.keywords == {"num_negatives": 2, "l2": 0.5}
    assert changed.optimizer.keywords == {"b1": 0.8}  # a plain function has settings too
    assert RECIPE.epochs == 10 and RECIPE.objective.keywords == {"num_negatives": 2}


def test_a_setting_changes_in_a_partial_that_was_used():
    """jax puts attributes on the functions that it traces, and a partial of such a partial stays nested."""
    objective = partial(objectives.bpr, l2=0.5)
    objective.used = True
    changed = override(override(RECIPE, {"objective": objective}), {"objective.l2": 0.25}).objective
    assert changed.func is objectives.bpr and changed.keywords == {"l2": 0.25}


def test_values_from_python_are_taken_as_they_are():
    assert override(RECIPE, {"optimizer": optimizers.sgd}).optimizer is optimizers.sgd


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("epoch", "3", ["'epoch'", "epochs"]),
        ("objective.l3", "3", ["'objective.l3'", "objective.l2"]),
        ("epochs", "three", ["epochs='three'", "int"]),
        ("l2", "strong", ["l2='strong'", "float"]),
        ("optimizer", "adam", ["'optimizer'"]),  # a name is no function: that is --optimizer
    ],
)
def test_unknown_settings_and_values(name, value, words):
    with pytest.raises(InputError) as caught:
        override(RECIPE, {name: value})
    assert all(word in str(caught.value) for word in words), caught.value


def test_an_ambiguous_setting_names_its_parts():
    recipe = override(RECIPE, {"optimizer": partial(optimizers.sgd_each_example, l2=0.1)})
    with pytest.raises(InputError, match=r"objective.l2 or optimizer.l2|optimizer.l2 or objective.l2"):
        override(recipe, {"l2": "0.2"})
    assert override(recipe, {"optimizer.l2": "0.2"}).optimizer.keywords == {"l2": 0.2}


def test_describe_is_json_and_names_functions():
    described = describe(RECIPE)
    assert json.loads(json.dumps(described)) == described == describe(RECIPE)
    assert described["model"] == {"call": "zoo.models.mf.MF", "embedding_dim": 8}
    assert described["objective"] == {"call": "zoo.objectives.bpr", "num_negatives": 2}
    assert described["optimizer"] == "zoo.optimizers.adam"
