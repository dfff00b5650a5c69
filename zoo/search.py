"""What `zoo tune` tries: a distribution for each setting of a recipe, to draw its value from.

A distribution is a function of a numpy Generator alone; the arguments of those below are fixed by functools.partial:

    search={"learning_rate": partial(log_uniform, low=0.001, high=0.1), "batch_size": partial(choice, values=(64, 256))}
"""

import math
from functools import partial
from typing import Any

import numpy as np

from zoo.recipe import Recipe, Search, function_of


def log_uniform(rng: np.random.Generator, *, low: float, high: float) -> float:
    """Uniform in the logarithm; 3 digits, so that the command line that names the value gives exactly it."""
    return float(f"{math.exp(rng.uniform(math.log(low), math.log(high))):.3g}")


def choice(rng: np.random.Generator, *, values: tuple) -> Any:
    """One of `values`, each as likely."""
    return values[rng.integers(len(values))]


def draw(search: Search, seed: int, trial: int) -> dict[str, Any]:
    """The settings of a trial. They depend on nothing but these arguments."""
    rng = np.random.default_rng((seed, trial))
    return {name: distribution(rng) for name, distribution in search.items()}


def around(recipe: Recipe) -> Search:
    """The search of a recipe that names none: around its own settings, each where it is above 0.

    The learning rate, and every L2 strength and weight decay, from a quarter to four times its value; the scale of the
    initial embeddings from a tenth to ten times; half, the same or twice the batch size.
    """
    factors = {"l2": 4, "weight_decay": 4, "init_scale": 10}
    centres = {"learning_rate": (recipe.learning_rate, 4)}
    for part in ("model", "objective", "optimizer"):
        settings = function_of(getattr(recipe, part))[1] if getattr(recipe, part) is not None else {}
        centres |= {f"{part}.{name}": (settings[name], factors[name]) for name in settings if name in factors}
    found: dict[str, Any] = {
        name: partial(log_uniform, low=value / factor, high=value * factor)
        for name, (value, factor) in centres.items()
        if value > 0
    }
    size = recipe.batch_size
    return found | {"batch_size": partial(choice, values=(max(1, size // 2), size, 2 * size))}
