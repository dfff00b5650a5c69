"""Predict each character of a text from all before it; judged by nats a character on the held-out end."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from zoo import evaluate, objectives
from zoo.data.splits import Split
from zoo.data.text import Text, vocabulary
from zoo.errors import InputError
from zoo.recipe import Examples, Recipe
from zoo.types import PADDING, Spec, TrainState


TEXT_METRICS = ("nats", "perplexity")


def text(**settings: Any) -> Recipe:
    """Predict each character of a text from all before it."""
    common: dict[str, Any] = {
        "reads": Text,
        "data": "words",
        "examples": text_examples,
        "order": side_by_side,
        "objective": objectives.cross_entropy,
        "evaluate": text_metrics,
        "baselines": text_baselines,
        "metric": "nats",
    }
    return Recipe(**(common | settings))


def text_examples(split: Split, *, length: int = 64, pieces: int = 64, warm_up: int = 256) -> Examples:
    """An example is `length` characters, whose labels are the characters that follow them.

    The held-out text is read in `pieces` side by side, each after the `warm_up` characters before it, which are not
    judged. Characters that train does not have are one class, 0; they are judged as any other, and counted.
    """
    for name, value, least in (("length", length, 1), ("pieces", pieces, 1), ("warm_up", warm_up, 0)):
        if value < least:
            raise InputError(f"{name} is {value}: it must be at least {least}")
    if len(split.train) < 2:
        raise InputError("the training part of the text is one character: take a longer text")
    known = vocabulary(split.train)
    train, test = known.encode(split.train), known.encode(split.test)
    inputs, labels = _cut(train[:-1], length), _cut(train[1:], length)
    return Examples(
        spec=Spec(num_classes=known.num_classes),
        train={"characters": inputs, "label": labels, "place": np.arange(len(inputs), dtype=np.int32)},
        test=_in_pieces(train, test, length, min(pieces, len(test)), min(warm_up, len(train) - 1)),
        counted={"classes": known.num_classes, "unknown_characters": int((test == 0).sum())},
        vocabulary=known,
    )


def side_by_side(examples: Examples, batch_size: int) -> np.ndarray:
    """The text cut into `batch_size` parts, each of which is a row of the batch, in its order: for `Recipe.order`."""
    parts = np.array_split(np.arange(examples.num_train, dtype=np.int32), batch_size)
    order = np.full((len(parts[0]), batch_size), -1, np.int32)
    for row, part in enumerate(parts):
        order[: len(part), row] = part
    return order


def _cut(classes: np.ndarray, length: int) -> np.ndarray:
    """int32 [n] -> [n / length, length], PADDING at the end."""
    return np.pad(classes, (0, -len(classes) % length), constant_values=PADDING).reshape(-1, length)


def _in_pieces(train: np.ndarray, test: np.ndarray, length: int, pieces: int, warm_up: int) -> dict[str, np.ndarray]:
    """Characters and labels of the held-out text, int32 [pieces, steps * length]; PADDING where no label is judged."""
    size = -(-len(test) // pieces)
    steps = -(-(warm_up + size) // length)
    whole = np.concatenate([train, test, np.full(steps * length + size * pieces, PADDING, np.int32)])
    first = len(train) - 1 - warm_up + size * np.arange(pieces)  # the end of train predicts the first of test
    place = first[:, None] + np.arange(steps * length)
    judged = (np.arange(steps * length) >= warm_up) & (np.arange(steps * length) < warm_up + size)
    return {"characters": whole[place], "label": np.where(judged, whole[place + 1], PADDING)}


def text_metrics(
    model: Any, state: TrainState, examples: Examples, split: Split, *, names: Sequence[str] = TEXT_METRICS
) -> dict[str, float]:
    """Nats a character, and their exponential, of all held-out characters."""
    for name in names:
        if name not in TEXT_METRICS:
            raise InputError(f"metric {name!r} does not judge a text: there are {', '.join(TEXT_METRICS)}")
    sums = _sums(model, evaluate.variables(state, examples.constants), examples.test, examples.train["label"].shape[1])
    found = float(np.asarray(sums, np.float64).sum() / len(split.test))
    if not np.isfinite(found):
        raise FloatingPointError("the logits hold NaN or infinity: training diverged, try a lower learning rate")
    return {name: found if name == "nats" else float(np.exp(found)) for name in names}


@partial(jax.jit, static_argnums=(0, 3))
def _sums(model: Any, values: Mapping[str, Any], columns: Mapping[str, Array], length: int) -> Array:
    """Nats of all labels of each piece, float [steps, pieces]; the states go from one step to the next."""

    def cut(column):
        return jnp.moveaxis(column.reshape(len(column), -1, length), 1, 0)

    def step(states, batch):
        logits, states = model.apply(values, batch["characters"], states, method="read")
        return states, jnp.sum(objectives.nats(logits, batch["label"])[0], axis=1)

    start = model.start(len(columns["characters"]))
    return jax.lax.scan(step, start, jax.tree.map(cut, dict(columns)))[1]


def text_baselines(split: Split) -> dict[str, dict[str, float]]:
    """The frequency of a character after the one before it, one added to each count; of a generated text the truth."""
    known = vocabulary(split.train)
    train, test = known.encode(split.train), known.encode(split.test)
    counts = np.ones((known.num_classes, known.num_classes))
    np.add.at(counts, (train[:-1], train[1:]), 1)
    before = np.concatenate([train[-1:], test[:-1]])
    found = {"bigram": _spelled(-np.log(counts[before, test] / counts[before].sum(1)))}
    if split.test.truth is not None:
        found["oracle"] = _spelled(-np.log(split.test.truth.astype(np.float64)))
    return found


def _spelled(nats: np.ndarray) -> dict[str, float]:
    mean = float(nats.mean())
    return {"nats": mean, "perplexity": float(np.exp(mean))}
