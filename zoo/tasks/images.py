"""Tell the class of an image; judged by accuracy, and nats an image, on all held-out images."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo import augmentation, evaluate, metrics
from zoo.data.images import Images
from zoo.data.splits import Split
from zoo.errors import InputError
from zoo.recipe import Examples, Recipe
from zoo.types import Spec, TrainState


IMAGE_METRICS = ("accuracy", "nats")
BLOCK = 256  # images whose activations are in memory at once


def images(**settings: Any) -> Recipe:
    """Tell the class of an image."""
    common: dict[str, Any] = {
        "reads": Images,
        "data": "shapes",
        "examples": image_examples,
        "objective": augmentation.cross_entropy,
        "evaluate": image_metrics,
        "baselines": image_baselines,
        "metric": "accuracy",
    }
    return Recipe(**(common | settings))


def image_examples(split: Split) -> Examples:
    """An example is an image with its class. The model is told the mean and deviation of all training pixels."""
    train, test = split.train, split.test
    pixels = train.image.astype(np.float32)
    spec = Spec(
        num_classes=len(train.classes),
        image_shape=train.image.shape[1:],
        pixel_mean=float(pixels.mean(dtype=np.float64)),
        pixel_deviation=max(float(pixels.std(dtype=np.float64)), 1.0),
    )
    return Examples(spec=spec, train={"image": train.image, "label": train.label}, test={"image": test.image})


def image_metrics(
    model: Any, state: TrainState, examples: Examples, split: Split, *, names: Sequence[str] = IMAGE_METRICS
) -> dict[str, float]:
    """Share of images whose class has the highest logit, alone; mean of -log P(class)."""
    for name in names:
        if name not in IMAGE_METRICS:
            raise InputError(f"metric {name!r} does not judge images: there are {', '.join(IMAGE_METRICS)}")
    logits = np.asarray(evaluate.score(model, state, examples.constants, examples.test, block=BLOCK))
    if not np.isfinite(logits).all():
        raise FloatingPointError("the logits hold NaN or infinity: training diverged, try a lower learning rate")
    found = {"accuracy": metrics.top_1(logits, split.test.label), "nats": metrics.nats(logits, split.test.label)}
    return {name: found[name] for name in names}


def image_baselines(split: Split) -> dict[str, dict[str, float]]:
    """The most frequent class of the training part; for nats the shares of its classes, one added to each count."""
    counts = np.bincount(split.train.label, minlength=len(split.train.classes))
    shares = (counts + 1) / (counts + 1).sum()
    label = split.test.label
    found = {"accuracy": float((label == counts.argmax()).mean()), "nats": float(-np.log(shares[label]).mean())}
    return {"majority_class": found}
