"""Rank what a page shows, from impressions with clicks and watch time."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from zoo import evaluate, metrics, objectives
from zoo.data import histories, page_features, splits
from zoo.data.impressions import Impressions
from zoo.data.splits import Split
from zoo.errors import InputError
from zoo.recipe import Examples, Recipe
from zoo.types import Spec, TrainState


def watch_time(**settings: Any) -> Recipe:
    """Rank by expected watch time; judged by the weighted user loss of later pages, and by calibration.

    A score is the log of expected watch seconds, E[T y] / (1 - P(y)) at the optimum of the loss, which is divided by
    the number of impressions.
    """
    common: dict[str, Any] = {
        "reads": Impressions,
        "data": "simulated",
        "examples": watch_time_examples,
        "objective": objectives.watch_time_logistic,
        "predict": expected_seconds,
        "split": splits.temporal,
        "validation": splits.temporal,
        "evaluate": watch_time_metrics,
        "baselines": impression_baselines,
        "metric": "weighted_user_loss",
    }
    return Recipe(**(common | settings))


def page_clicks(**settings: Any) -> Recipe:
    """Rank by the probability of a click, whatever it brings; judged on the same pages."""
    common: dict[str, Any] = {
        "examples": impression_examples,
        "objective": objectives.logistic,
        "predict": click_probability,
        "evaluate": page_click_metrics,
    }
    return watch_time(**(common | settings))


def expected_seconds(scores: np.ndarray, spec: Spec) -> np.ndarray:
    """exp(score), the odds that the weighted logistic regression learns."""
    return np.exp(scores)


def click_probability(scores: np.ndarray, spec: Spec) -> np.ndarray:
    return 1 / (1 + np.exp(-scores))


def impression_examples(
    split: Split, *, longest: int = 50, most_videos: int = 2**20, least_shown: int = 20, hidden: float = 0.1
) -> Examples:
    """An example is an impression, with what its user had watched before it and what else was known then.

    Videos have the rows of the vocabulary (page_features.fit), in `item` as in the log of histories. The part `hidden`
    of training examples says nothing of which video is shown, so that a new one is promised what such videos bring.
    """
    if longest < 1:
        raise InputError(f"longest is {longest}: a history has room for at least 1 watch")
    if not 0 <= hidden < 1:
        raise InputError(f"hidden is {hidden}: the part of examples whose video is hidden is at least 0 and below 1")
    if most_videos < 1:
        raise InputError(f"most_videos is {most_videos}: a vocabulary has at least 1 video")
    train, watches = split.train, split.train.watches
    shown = train.followed_by(split.test)
    at = page_features.asked(train, shown)
    encoding = page_features.fit(train, at, most_videos, least_shown)
    if not encoding.num_videos:
        most = int(np.bincount(train.item).max())
        raise InputError(f"no video was shown {least_shown} times in training, the most is {most}: --set least_shown=1")

    def columns(rows: Impressions, at: page_features.Asked) -> dict[str, np.ndarray]:
        log, ranges = histories.until(watches, rows.user, rows.timestamp, longest)
        held = {"history_start": ranges.start, "history_length": ranges.length}
        return encoding.columns(watches, at) | held | {"log": encoding.videos[log]}

    train_columns = columns(train, at)
    test_columns = columns(split.test, page_features.asked(split.test, shown))
    unseen = np.random.default_rng(0).random(len(train)) < hidden
    train_columns["item"] = np.where(unseen, -1, train_columns["item"]).astype(np.int32)
    log = train_columns.pop("log")
    del test_columns["log"]
    rate = np.clip(train.click.mean(dtype=np.float64), 1e-6, 1 - 1e-6)
    return Examples(
        spec=Spec(
            num_items=encoding.num_videos,
            field_sizes=encoding.sizes,
            num_numbers=len(encoding.quantiles),
            history_length=longest,
            base_score=float(np.log(rate) - np.log1p(-rate)),
        ),
        train=train_columns | {"label": train.click},
        test=test_columns,
        constants={"history_log": log},
        counted={
            "train_clicks": int(train.click.sum(dtype=np.float64)),
            "unknown_videos": int((test_columns["item"] < 0).sum()),
            "empty_histories": int((train_columns["history_length"] == 0).sum()),
            "times_out_of_order": train.times_out_of_order,
        },
        page_encoding=encoding,
    )


def watch_time_examples(
    split: Split, *, longest: int = 50, most_videos: int = 2**20, least_shown: int = 20, hidden: float = 0.1
) -> Examples:
    """As impression_examples, with the weights of the watch time; the model opens at the best constant."""
    train = split.train
    clicked = train.click > 0
    seconds = train.watch_seconds.sum(dtype=np.float64)
    if not seconds or clicked.all():
        what = "no watch time" if not seconds else "nothing that was not clicked"
        raise InputError(f"{len(train):,} training impressions with {what}: watch time cannot be learned from them")
    examples = impression_examples(
        split, longest=longest, most_videos=most_videos, least_shown=least_shown, hidden=hidden
    )
    return replace(
        examples,
        spec=replace(examples.spec, base_score=float(np.log(seconds / (~clicked).sum()))),
        train={**examples.train, "weight": np.where(clicked, train.watch_seconds, 1).astype(np.float32)},
    )


def watch_time_metrics(
    model: Any, state: TrainState, examples: Examples, split: Split, *, names: Sequence[str] = ()
) -> dict[str, float]:
    """Of exp(score) as expected watch seconds; see impression_metrics."""
    return _metrics(model, state, examples, split, names, np.exp)


def page_click_metrics(
    model: Any, state: TrainState, examples: Examples, split: Split, *, names: Sequence[str] = ()
) -> dict[str, float]:
    """Of a model of clicks: the order of its scores alone."""
    return _metrics(model, state, examples, split, names or ("weighted_user_loss", "auc"), None)


def _metrics(model, state, examples, split, names, seconds_of) -> dict[str, float]:
    logits = np.asarray(evaluate.score(model, state, examples.constants, examples.test), np.float64)
    if not np.isfinite(logits).all():
        raise FloatingPointError("the scores hold NaN or infinity: training diverged, try a lower learning rate")
    return impression_metrics(logits, None if seconds_of is None else seconds_of(logits), split.test, names)


def impression_metrics(
    scores: np.ndarray, seconds: np.ndarray | None, test: Impressions, names: Sequence[str] = ()
) -> dict[str, float]:
    """Metrics of scores [n] for impressions, and of the watch seconds [n] that they promise, if they promise any.

    weighted_user_loss, auc of the clicks; calibration is promised / watched seconds. On a simulated site,
    seconds_calibration is promised / expected seconds E[T y], and odds_calibration that of what the weighted logistic
    loss estimates: of impressions x that look alike it learns s(x) = E[T y | x] / E[1 - p | x], p = P(click), so that
    the sum of s (1 - p) over any part is that of E[T y]; odds_calibration is the ratio of the two, odds_calibration_1
    to _10 in each tenth of the impressions by what is promised, odds_calibration_worst that of them furthest from 1.
    odds_calibration_each compares with the mean of E[T y] / (1 - p) of each impression, which is larger wherever
    impressions that look alike are not.
    """
    known: dict[str, Callable[[], float]] = {
        "weighted_user_loss": partial(
            metrics.weighted_user_loss, scores, test.click, test.watch_seconds.astype(np.float64), test.page
        ),
        "auc": partial(metrics.auc, scores, test.click),
    }
    shown = list(known)
    if seconds is not None:
        known["calibration"] = partial(_ratio, seconds, test.watch_seconds)
        shown.append("calibration")
    if seconds is not None and test.truth is not None:
        expected = test.truth.click_probability.astype(np.float64) * test.truth.seconds_if_clicked
        missed = 1 - test.truth.click_probability.astype(np.float64)
        tenth = np.argsort(np.argsort(seconds, kind="stable"), kind="stable") * 10 // len(seconds)
        of_tenth = {
            f"odds_calibration_{i + 1}": partial(_ratio, seconds * missed, expected, tenth == i) for i in range(10)
        }
        known |= {
            "odds_calibration": partial(_ratio, seconds * missed, expected),
            "odds_calibration_worst": lambda: max((f() for f in of_tenth.values()), key=lambda r: abs(np.log(r))),
            "seconds_calibration": partial(_ratio, seconds, expected),
        }
        shown = list(known)
        known |= {"odds_calibration_each": partial(_ratio, seconds, expected / missed), **of_tenth}
    for name in names:
        if name not in known:
            raise InputError(f"metric {name!r} does not judge these impressions: there are {', '.join(known)}")
    return {name: known[name]() for name in names or shown}


def _ratio(promised: np.ndarray, true: np.ndarray, rows: Any = slice(None)) -> float:
    return float(promised[rows].sum(dtype=np.float64) / true[rows].sum(dtype=np.float64))


def impression_baselines(split: Split) -> dict[str, dict[str, float]]:
    """The mean watch time of each video's impressions in training, damped by 20 of average; on a simulated site, by the
    truth: the best order (E[T y] / (1 - P(y))), and the order of P(click)."""
    train, test = split.train, split.test
    mean = train.watch_seconds.mean(dtype=np.float64)
    num_items = train.watches.num_items
    seconds = np.bincount(train.item, train.watch_seconds, num_items) + 20 * mean
    of_video = seconds / (np.bincount(train.item, minlength=num_items) + 20)
    scores: dict[str, np.ndarray] = {"video_mean": of_video[test.item]}
    if test.truth is not None:
        probability = test.truth.click_probability.astype(np.float64)
        scores["oracle"] = probability * test.truth.seconds_if_clicked / (1 - probability)
        scores["oracle_clicks"] = probability
    return {name: impression_metrics(values, None, test) for name, values in scores.items()}
