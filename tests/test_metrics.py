"""Metrics against arithmetic written out, and against rax where it defines them alike."""

import doctest
from math import log2, sqrt

import numpy as np
import pytest

from zoo import metrics
from zoo.errors import InputError


# Three users, lists of 4: three relevant items of which two are listed; seven, two listed; one, not listed.
HITS = np.array([[True, False, True, False], [False, True, True, False], [False, False, False, False]])
RELEVANT = np.array([3, 7, 1])
IDEAL = [1, 1 / log2(3), 1 / log2(4), 1 / log2(5)]


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("recall", [2 / 3, 2 / 7, 0]),
        ("recall_capped", [2 / 3, 2 / 4, 0]),
        ("precision", [2 / 4, 2 / 4, 0]),
        ("hit_rate", [1, 1, 0]),
        ("mrr", [1 / 1, 1 / 2, 0]),
        ("map", [(1 / 1 + 2 / 3) / 3, (1 / 2 + 2 / 3) / 4, 0]),
        ("ndcg", [(IDEAL[0] + IDEAL[2]) / sum(IDEAL[:3]), (IDEAL[1] + IDEAL[2]) / sum(IDEAL), 0]),
    ],
)
def test_written_out(name, want):
    got = metrics.AT_K[name](HITS, RELEVANT)
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, want, rtol=1e-12)


@pytest.mark.parametrize("name", metrics.AT_K)
def test_bounds(name):
    """The best list earns 1 (recall and precision as far as they can), an empty-handed one 0."""
    best = {"recall": 4 / 7, "precision": 1.0}.get(name, 1.0)
    assert metrics.AT_K[name](np.ones((1, 4), bool), np.array([7]))[0] == pytest.approx(best)
    assert metrics.AT_K[name](np.zeros((1, 4), bool), np.array([7]))[0] == 0


def test_coverage():
    lists = np.array([[0, 1], [1, 3], [3, 2**31 - 1]])  # the last list ran out of items
    assert metrics.coverage(lists, 5) == 3 / 5


def test_rating_errors():
    scores, labels = np.array([1.0, 2.0, 5.0], np.float32), np.array([2.0, 2.0, 3.0], np.float32)
    assert metrics.rmse(scores, labels) == pytest.approx(sqrt((1 + 0 + 4) / 3), rel=1e-12)
    assert metrics.mae(scores, labels) == pytest.approx((1 + 0 + 2) / 3, rel=1e-12)


@pytest.mark.parametrize("function", [metrics.rmse, metrics.mae])
def test_nan_does_not_pass_for_a_score(function):
    assert np.isnan(function(np.array([1.0, np.nan]), np.array([1.0, 1.0])))


@pytest.mark.parametrize(
    ("name", "rax_name"),
    [("ndcg", "ndcg_metric"), ("recall", "recall_metric"), ("mrr", "mrr_metric"), ("precision", "precision_metric")],
)
@pytest.mark.parametrize("k", [1, 5, 12])
def test_rax(name, rax_name, k):
    """Random lists of 12 items."""
    rax = pytest.importorskip("rax")
    assert_like_rax(metrics.AT_K[name], getattr(rax, rax_name), k)


def test_rax_average_precision():
    """Of whole lists: cut at k, rax divides by all relevant items, zoo by min(k, relevant)."""
    rax = pytest.importorskip("rax")
    assert_like_rax(metrics.average_precision, rax.ap_metric, 12)


def assert_like_rax(metric, oracle, k):
    rng = np.random.default_rng(0)
    scores = rng.permuted(np.tile(np.arange(12.0), (20, 1)), axis=1).astype(np.float32)
    labels = (rng.random((20, 12)) < 0.3).astype(np.float32)
    labels[labels.sum(1) == 0, 0] = 1
    order = np.argsort(-scores, axis=1)[:, :k]
    got = metric(np.take_along_axis(labels, order, axis=1) > 0, labels.sum(1).astype(int))
    want = [float(oracle(s, r, topn=k)) for s, r in zip(scores, labels)]
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_doctests():
    result = doctest.testmod(metrics)
    assert result.attempted >= 5 and not result.failed


@pytest.mark.parametrize("levels", [3, 1000])
def test_clicks_against_scikit_learn(levels):
    """With many ties and with few."""
    from sklearn import metrics as oracle

    rng = np.random.default_rng(0)
    logits = rng.integers(-levels, levels, 500) / levels * 3
    labels = (rng.random(500) < 1 / (1 + np.exp(-logits))).astype(np.float32)
    assert metrics.auc(logits, labels) == pytest.approx(oracle.roc_auc_score(labels, logits), abs=1e-12)
    probability = 1 / (1 + np.exp(-logits))
    assert metrics.log_loss(logits, labels) == pytest.approx(oracle.log_loss(labels, probability), abs=1e-9)
    assert metrics.accuracy(logits, labels) == pytest.approx(oracle.accuracy_score(labels, logits > 0))
    assert metrics.calibration(logits, labels) == pytest.approx(probability.sum() / labels.sum())
    groups = rng.integers(0, 30, 500)
    parts = [groups == group for group in range(30)]
    parts = [part for part in parts if 0 < labels[part].sum() < part.sum()]
    want = sum(oracle.roc_auc_score(labels[p], logits[p]) * p.sum() for p in parts) / sum(p.sum() for p in parts)
    assert metrics.gauc(logits, labels, groups) == pytest.approx(want, abs=1e-12)


def test_auc_is_the_double_loop_and_constants_earn_half():
    rng = np.random.default_rng(1)
    scores, labels = rng.integers(0, 5, 40), rng.integers(0, 2, 40)
    pairs = [(a > b) + (a == b) / 2 for a in scores[labels == 1] for b in scores[labels == 0]]
    assert metrics.auc(scores, labels) == pytest.approx(np.mean(pairs), abs=1e-12)
    assert metrics.auc(np.zeros(40), labels) == 0.5
    assert np.isnan(metrics.auc(np.array([np.nan, 1.0]), np.array([0, 1])))


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_has_no_auc(label):
    with pytest.raises(InputError, match=f"undefined: all labels are {label}"):
        metrics.auc(np.arange(3.0), np.full(3, label))
    with pytest.raises(InputError, match="GAUC is undefined"):
        metrics.gauc(np.arange(3.0), np.full(3, label), np.zeros(3))


def test_extreme_logits_do_not_overflow():
    assert metrics.log_loss(np.array([1e4, -1e4], np.float32), np.array([1, 0])) == 0
    assert metrics.log_loss(np.array([-1e4]), np.array([1])) == 1e4
    with pytest.raises(InputError, match="no clicks"):
        metrics.calibration(np.zeros(2), np.zeros(2))


def test_weighted_user_loss_is_a_double_loop():
    """Pairs of a click and a non-click on one page, weighted by the watch time of the click; ties count one half."""
    rng = np.random.default_rng(0)
    pages, clicks = rng.integers(0, 9, 60), rng.random(60) < 0.3
    scores, seconds = rng.integers(0, 4, 60), np.where(clicks, rng.random(60), 0)
    lost = total = 0.0
    for i in np.flatnonzero(clicks):
        for j in np.flatnonzero(~clicks & (pages == pages[i])):
            total += seconds[i]
            lost += seconds[i] * (1.0 if scores[j] > scores[i] else 0.5 if scores[j] == scores[i] else 0.0)
    assert metrics.weighted_user_loss(scores, clicks, seconds, pages) == pytest.approx(lost / total)
    assert metrics.weighted_user_loss(0 * scores, clicks, seconds, pages) == pytest.approx(0.5)
    assert np.isnan(metrics.weighted_user_loss(np.full(60, np.nan), clicks, seconds, pages))
    with pytest.raises(InputError, match="no held-out page"):
        metrics.weighted_user_loss(scores, clicks, seconds, np.arange(60))
