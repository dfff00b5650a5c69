"""Searches of the simulated site: the bands of record 0007, and words against their probabilities.

`python -m tests.data.test_simulate_searches 0 1 2 3 4` prints the table of decision record 0007 for these world seeds.
"""

import sys

import numpy as np
import pytest

from zoo.data import interactions
from zoo.data import simulate as world
from zoo.data import simulate_searches as searches


TOPICS = np.arange(world.NUM_MOODS) % world.NUM_TOPICS


def first_watches(data):
    """Rows of the first watches of the sessions that begin with a search."""
    _, first = np.unique(data.truth.session, return_index=True)
    log = data.searches
    pairs = log.user.astype(np.int64) * 2**40 + log.timestamp - world.OPENING
    asked = data.user[first].astype(np.int64) * 2**40 + data.timestamp[first] - searches.LEAD_SECONDS - world.OPENING
    return first[np.isin(asked, pairs)]


def measure(seed, data=None):
    """Hit rates in the first 10 of all videos, of the first watch after a search."""
    data = world.simulate(seed=seed) if data is None else data
    truth, log = data.truth, data.searches
    rows = first_watches(data)
    day = (data.timestamp[rows] - world.OPENING) // world.DAY_SECONDS
    tastes = truth.users.moods[data.user[rows]]
    likely = np.log(searches.word_probabilities(TOPICS, seed))
    key = log.user.astype(np.int64) * 2**40 + log.timestamp
    words = log.token < searches.NUM_WORDS
    place = {k: n for n, k in enumerate(data.user[rows].astype(np.int64) * 2**40 + data.timestamp[rows])}
    said = np.zeros((len(rows), world.NUM_MOODS))
    at = np.array([place.get(k, -1) for k in key[words] + searches.LEAD_SECONDS])
    np.add.at(said, at[at >= 0], likely[:, log.token[words][at >= 0]].T)
    said = np.exp(said - said.max(axis=1, keepdims=True))
    beliefs = {
        "tastes": tastes,
        "words": said,
        "tastes and words": tastes * said,
        "mood": np.eye(world.NUM_MOODS)[truth.mood[rows]],
    }
    hits = dict.fromkeys(beliefs, 0.0)
    for today in np.unique(day):
        probabilities = world.mood_probabilities(truth.videos, world.OPENING + int(today) * world.DAY_SECONDS)
        own = day == today
        label = data.item[rows[own]]
        for name, belief in beliefs.items():
            scores = (belief / belief.sum(axis=1, keepdims=True))[own] @ probabilities
            hits[name] += (np.sum(scores > scores[np.arange(len(label)), label][:, None], axis=1) < 10).sum()
    return {name: value / len(rows) for name, value in hits.items()}


@pytest.fixture(scope="module")
def default():
    return world.simulate()


def test_bands(default):
    found = measure(0, default)
    assert found["tastes and words"] >= 1.3 * found["tastes"]
    assert found["mood"] >= 1.05 * found["tastes and words"]
    assert found["words"] <= 0.9 * found["tastes and words"]


def test_words_follow_the_mood_of_the_session(default):
    rows = first_watches(default)
    share = len(rows) / len(np.unique(default.truth.session))
    assert 0.49 < share < 0.51
    log, expected = default.searches, searches.word_probabilities(TOPICS, 0)
    np.testing.assert_allclose(expected.sum(axis=1), 1)
    weight = np.bincount(default.truth.mood[rows], minlength=world.NUM_MOODS) / len(rows)
    words = log.token[log.token < searches.NUM_WORDS]
    found = np.bincount(words, minlength=searches.NUM_WORDS) / len(words)
    assert np.abs(found - weight @ expected).max() < 0.002
    assert log.token.max() < log.num_tokens and (np.diff(log.user) >= 0).all()
    same = np.diff(log.user) == 0
    assert (np.diff(log.timestamp)[same] >= 0).all()


def test_searches_survive_a_file(default):
    again = interactions.from_columns(default.columns)
    for name, column in vars(default.searches).items():
        np.testing.assert_array_equal(column, getattr(again.searches, name))
    assert default.take(np.arange(3)).searches is default.searches
    assert set(np.unique(default.user_features["gender"])) == {0.0, 1.0}
    assert 0.5 < default.user_features["logged_in"].mean() < 0.9


if __name__ == "__main__":
    print("| seed | tastes | words | tastes and words | mood |\n|---|---|---|---|---|")
    for seed in map(int, sys.argv[1:]):
        print(f"| {seed} | " + " | ".join(f"{value:.3f}" for value in measure(seed).values()) + " |", flush=True)
