"""zoo: a recommender model zoo in JAX."""

from zoo.api import load, train
from zoo.data.catalog import load as load_data
from zoo.data.fields import FieldTable
from zoo.data.impressions import Impressions
from zoo.data.interactions import Interactions, from_raw
from zoo.data.simulate import simulate
from zoo.embedding import Embed
from zoo.errors import InputError
from zoo.recipe import Recipe
from zoo.train_step import init_state, make_train_step, scan_steps
from zoo.trained import Run
from zoo.types import Spec, TrainState


__all__ = [
    "Embed",
    "FieldTable",
    "Impressions",
    "InputError",
    "Interactions",
    "Recipe",
    "Run",
    "Spec",
    "TrainState",
    "from_raw",
    "init_state",
    "load",
    "load_data",
    "make_train_step",
    "scan_steps",
    "simulate",
    "train",
]
