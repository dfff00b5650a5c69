"""Each loss against a naive double loop over a tiny batch that ends in padding."""

from functools import partial
from math import exp, log

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zoo import objectives
from zoo.errors import InputError
from zoo.types import PADDING


USERS, ITEMS, DIM = 4, 6, 3
REAL = 5  # examples before the padding; users and items repeat
BATCH = {
    "user": jnp.array([0, 1, 1, 3, 2, PADDING, PADDING], jnp.int32),
    "item": jnp.array([2, 5, 2, 0, 4, PADDING, PADDING], jnp.int32),
    "label": jnp.array([1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0]),
    "mask": jnp.array([1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0]),
}
LOG_FREQUENCY = np.log(np.array([0.3, 0.05, 0.25, 0.1, 0.2, 0.1], np.float32))


class Vectors:
    """A Retriever, and a Scorer, of plain arrays; what an objective sees of a model."""

    num_items = ITEMS

    def __init__(self, scale=1.0):
        rng = np.random.default_rng(0)
        self.users = jnp.asarray(scale * rng.normal(size=(USERS, DIM)), jnp.float32)
        self.items = jnp.asarray(scale * rng.normal(size=(ITEMS, DIM)), jnp.float32)

    def prepare(self, batch=None, *, train=False):
        return ()

    def query(self, batch, prepared, *, train=False):
        return self.users.at[batch["user"]].get(mode="fill", fill_value=0)

    def item_vectors(self, ids, prepared):
        return self.items if ids is None else self.items.at[ids].get(mode="fill", fill_value=0)

    def __call__(self, batch, *, train=False):
        return jnp.sum(self.query(batch, ()) * self.item_vectors(batch["item"], ()), -1)

    def get_variable(self, collection, name):
        assert (collection, name) == ("constants", "item_log_frequency")
        return jnp.asarray(LOG_FREQUENCY)


MODEL = Vectors()
USER = [int(u) for u in BATCH["user"]]
ITEM = [int(i) for i in BATCH["item"]]


def score(user, item):
    return float(np.dot(np.float64(MODEL.users[user]), np.float64(MODEL.items[item])))


def square(vector):
    return float(np.sum(np.float64(vector) ** 2))


def softmax_loss(positive, negatives):
    return log(sum(exp(logit) for logit in [positive, *negatives])) - positive


def check(objective, loop, key=None):
    """Losses of the real examples equal loop(n); those of padding are finite, so that mask * loss is 0."""
    losses = objective(MODEL, BATCH, jax.random.key(0) if key is None else key)
    assert losses.shape == (7,) and np.isfinite(losses).all()
    np.testing.assert_allclose(losses[:REAL], [loop(n) for n in range(REAL)], rtol=1e-5)


def test_squared_error():
    check(objectives.squared_error, lambda n: (score(USER[n], ITEM[n]) - float(BATCH["label"][n])) ** 2 / 2)


def test_logistic():
    def loop(n):
        sign = 1 if BATCH["label"][n] else -1
        return log(1 + exp(-sign * score(USER[n], ITEM[n])))

    check(objectives.logistic, loop)

    def smoothed(n):  # a label says 0.9 or 0.1
        found, likely = score(USER[n], ITEM[n]), 0.1 + 0.8 * float(BATCH["label"][n])
        return likely * log(1 + exp(-found)) + (1 - likely) * log(1 + exp(found))

    check(partial(objectives.logistic, smoothing=0.2), smoothed)


class Recording(Vectors):
    """Keeps the ids asked for, to know what an objective drew."""

    def item_vectors(self, ids, prepared):
        self.asked = ids
        return super().item_vectors(ids, prepared)


@pytest.mark.parametrize("num_negatives", [1, 4])
def test_bpr(num_negatives):
    key, recording = jax.random.key(3), Recording()
    objective = partial(objectives.bpr, num_negatives=num_negatives, l2=0.1)
    objective(recording, BATCH, key)
    drawn = np.asarray(recording.asked[:, 1:])
    assert drawn.shape == (7, num_negatives)
    assert (drawn[:REAL] >= 0).all() and (drawn[:REAL] < ITEMS).all()
    assert (drawn[REAL:] == PADDING).all()  # what a padded example draws must not move a row

    def loop(n):
        user, item = USER[n], ITEM[n]
        losses = [log(1 + exp(score(user, other) - score(user, item))) for other in drawn[n]]
        squares = [square(MODEL.items[other]) for other in drawn[n]]
        penalty = square(MODEL.users[user]) + square(MODEL.items[item]) + sum(squares) / num_negatives
        return sum(losses) / num_negatives + 0.1 / 2 * penalty

    check(objective, loop, key)


def test_bpr_draws_anew_for_each_example_and_key():
    recording = Recording()
    large = {"user": jnp.zeros(1000, jnp.int32), "item": jnp.zeros(1000, jnp.int32)}
    objectives.bpr(recording, large, jax.random.key(0))
    first = np.asarray(recording.asked[:, 1])
    objectives.bpr(recording, large, jax.random.key(1))
    assert np.mean(first == np.asarray(recording.asked[:, 1])) < 0.3
    counts = np.bincount(first, minlength=ITEMS)
    assert len(counts) == ITEMS and counts.min() > 100  # 167 expected


def test_bpr_in_pairs():
    """Examples 0 and 1, 2 and 3 are each other's negative; 4 stands beside padding."""
    even = {name: column[:6] for name, column in BATCH.items()}
    losses = objectives.bpr_in_pairs(MODEL, even, jax.random.key(0))
    negatives = [ITEM[other] for other in (1, 0, 3, 2)]
    want = [log(1 + exp(score(USER[n], other) - score(USER[n], ITEM[n]))) for n, other in enumerate(negatives)]
    assert losses.shape == (6,) and losses[4] == 0 and np.isfinite(losses).all()
    np.testing.assert_allclose(losses[:4], want, rtol=1e-5)
    without_mask = {name: column[:4] for name, column in BATCH.items() if name != "mask"}
    np.testing.assert_allclose(objectives.bpr_in_pairs(MODEL, without_mask, jax.random.key(0)), want, rtol=1e-5)
    with pytest.raises(InputError, match="batch_size is 7"):
        objectives.bpr_in_pairs(MODEL, BATCH, jax.random.key(0))


def test_in_batch_softmax():
    def loop(n):
        logits = [score(USER[n], item) / 0.5 - LOG_FREQUENCY[item] for item in ITEM[:REAL]]
        others = [logits[m] for m in range(REAL) if ITEM[m] != ITEM[n]]  # copies of its own item are no negatives
        return softmax_loss(logits[n], others) + 0.1 / 2 * (square(MODEL.users[USER[n]]) + square(MODEL.items[ITEM[n]]))

    check(partial(objectives.in_batch_softmax, temperature=0.5, l2=0.1), loop)


def test_in_batch_softmax_does_not_see_padding():
    """The same losses without the padded examples, with a third one, and without a mask."""
    want = objectives.in_batch_softmax(MODEL, BATCH, jax.random.key(0))[:REAL]
    short = {name: column[:REAL] for name, column in BATCH.items()}
    longer = {name: jnp.concatenate([column, column[-1:]]) for name, column in BATCH.items()}
    unmasked = {name: column for name, column in short.items() if name != "mask"}
    for batch in (short, longer, unmasked):
        got = objectives.in_batch_softmax(MODEL, batch, jax.random.key(0))[:REAL]
        np.testing.assert_allclose(got, want, rtol=1e-6)


def drawn_by(ids, log_q):
    """A sampler that draws what it is told."""
    return lambda key, model: (jnp.array(ids, jnp.int32), lambda wanted: jnp.asarray(log_q)[wanted % ITEMS])


@pytest.mark.parametrize("correct", [True, False])
def test_sampled_softmax(correct):
    drawn, log_q = [1, 5, 5, 2], np.log(np.arange(1, 7, dtype=np.float32) / 3)

    def loop(n):
        shift = log_q if correct else np.zeros(ITEMS)
        logits = [score(USER[n], item) / 0.5 - shift[item] for item in drawn if item != ITEM[n]]
        penalty = square(MODEL.users[USER[n]]) + square(MODEL.items[ITEM[n]])
        own = min(shift[ITEM[n]], 0)  # it stands there once, however many copies are expected
        return softmax_loss(score(USER[n], ITEM[n]) / 0.5 - own, logits) + 0.1 / 2 * penalty

    sampler = drawn_by(drawn, log_q)
    check(partial(objectives.sampled_softmax, sampler=sampler, correct=correct, temperature=0.5, l2=0.1), loop)


def test_full_softmax():
    def loop(n):
        others = [score(USER[n], item) / 0.5 for item in range(ITEMS) if item != ITEM[n]]
        penalty = square(MODEL.users[USER[n]]) + square(MODEL.items[ITEM[n]])
        return softmax_loss(score(USER[n], ITEM[n]) / 0.5, others) + 0.1 / 2 * penalty

    check(partial(objectives.full_softmax, temperature=0.5, l2=0.1), loop)


def test_sampled_softmax_with_every_item_is_full_softmax():
    every = drawn_by(range(ITEMS), np.zeros(ITEMS, np.float32))
    sampled = objectives.sampled_softmax(MODEL, BATCH, jax.random.key(0), sampler=every, correct=False)
    full = objectives.full_softmax(MODEL, BATCH, jax.random.key(0))
    np.testing.assert_allclose(sampled[:REAL], full[:REAL], rtol=1e-5)


@pytest.mark.parametrize(
    ("objective", "chance"),
    [
        (objectives.bpr, log(2)),
        (objectives.logistic, log(2)),
        (objectives.full_softmax, log(ITEMS)),
        (partial(objectives.sampled_softmax, sampler=drawn_by([1, 3, 3], LOG_FREQUENCY), correct=False), log(4)),
    ],
    ids=["bpr", "logistic", "full_softmax", "sampled_softmax"],
)
def test_opening_loss_is_the_chance_loss(objective, chance):
    """Tiny vectors know nothing. Items 1 and 3 are nobody's positive, so that no draw is excluded."""
    losses = objective(Vectors(scale=1e-3), BATCH, jax.random.key(0))
    np.testing.assert_allclose(losses[:REAL], chance, rtol=1e-3)
