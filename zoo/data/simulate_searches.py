"""What users of the simulated site search for, and what more is known of them.

    a session begins with a search with probability SHARE, LEAD_SECONDS before its first watch
    words of a search     1 + Poisson(WORDS - 1), at most MOST_WORDS, each of them
                          with probability COMMON drawn from popular[w] = (w + OFFSET)^-1, else from
    P(word w | mood k)  ~ popular[w] exp(TOPIC_PULL [mood's topic is the word's] + OWN_PULL N(k, w))
    gender of u           1 with log odds GENDER_PULL sum_k moods[u, k] N(k)
    logged in             1 with log odds LOGGED_IN + log activity[u]

N is a standard normal drawn once for its arguments. Tokens are the words, 0 to NUM_WORDS - 1, and after them the
bigrams of neighbouring words, hashed into NUM_BUCKETS. The log of watches stays that of zoo.data.simulate, bit for bit.
docs/decisions/0007-searches-of-the-simulated-world.md gives reasons and bands.
"""

import numpy as np

from zoo.data.interactions import Interactions, Searches


# Frozen, as those of zoo.data.simulate.
SHARE = 0.5
LEAD_SECONDS = 60
NUM_WORDS = 600
NUM_BUCKETS = 1_024
WORDS = 2.0
MOST_WORDS = 4
COMMON = 0.2
OFFSET = 10.0
TOPIC_PULL = 3.0
OWN_PULL = 0.5
GENDER_PULL = 3.0
LOGGED_IN = 1.0
HASH = 0x9E3779B1


def word_probabilities(topic: np.ndarray, seed: int) -> np.ndarray:
    """P(word | mood), float64 [moods, NUM_WORDS], of moods of the topics int [moods]; common words among them."""
    rng = np.random.default_rng((seed, 8))
    popular = 1 / (np.arange(NUM_WORDS) + OFFSET)
    of_word = rng.permutation(np.arange(NUM_WORDS) % (topic.max() + 1))
    pull = TOPIC_PULL * (topic[:, None] == of_word) + OWN_PULL * rng.standard_normal((len(topic), NUM_WORDS))
    own = popular * np.exp(pull)
    return (1 - COMMON) * own / own.sum(axis=1, keepdims=True) + COMMON * popular / popular.sum()


def searches_of(watches: Interactions, topic: np.ndarray, seed: int) -> Searches:
    """The searches of the sessions of a log, whose moods have the topics int [moods]."""
    rng, truth = np.random.default_rng((seed, 9)), watches.truth
    assert watches.timestamp is not None, "the log of a site has times"
    _, first = np.unique(truth.session, return_index=True)  # the log is in the order of time
    first = first[rng.random(len(first)) < SHARE]
    count = np.minimum(1 + rng.poisson(WORDS - 1, len(first)), MOST_WORDS)
    cumulative = word_probabilities(topic, seed).cumsum(axis=1)
    mood = np.repeat(truth.mood[first].astype(np.int64), count)
    cumulative = cumulative / cumulative[:, -1:] + np.arange(len(cumulative))[:, None]
    word = np.searchsorted(cumulative.ravel(), mood + rng.random(len(mood)), side="right") - mood * NUM_WORDS
    word = np.minimum(word, NUM_WORDS - 1)
    search = np.repeat(np.arange(len(first)), count)
    follows = search[1:] == search[:-1]
    pair = bigram(word[:-1], word[1:])[follows]
    token, of = np.append(word, pair), np.append(search, search[1:][follows])
    user, time = watches.user[first[of]], watches.timestamp[first[of]] - LEAD_SECONDS
    order = np.lexsort((time, user))
    return Searches(user[order], token[order].astype(np.int32), time[order], NUM_WORDS + NUM_BUCKETS)


def bigram(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """The token of two neighbouring words, int [n] each."""
    return NUM_WORDS + (one * NUM_WORDS + two) * HASH % 2**32 * NUM_BUCKETS // 2**32


def more_of_users(moods: np.ndarray, activity: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """`gender` and `logged_in`, float32 [num_users], 0 or 1."""
    rng = np.random.default_rng((seed, 10))
    log_odds = {
        "gender": GENDER_PULL * moods @ rng.standard_normal(moods.shape[1]),
        "logged_in": LOGGED_IN + np.log(activity),
    }
    return {n: (rng.random(len(x)) < 1 / (1 + np.exp(-x))).astype(np.float32) for n, x in log_odds.items()}
