"""Pages of the simulated site: what it shows when a session begins, what is clicked, and how long that is watched.

    log odds of a click      = INTERCEPT + MATCH match + BAIT bait + QUALITY quality
                               + PRIMING exp(-days since the user's last watch of the topic) - CHURN log2(1 + shown)
    log odds of the watched fraction of a click = 0.8 match + 0.5 quality - 0.5 log(length / 300 s)
                                                  - BAIT_COST bait + 0.7 noise

match = (sum_k moods[u, k] affinity[k, v] - 3) / 2 as in zoo.data.simulate, bait[v] standard normal, shown how often the
video was shown to the user before. Half of a page is drawn as the user's sessions draw their watches, half from what is
popular that day; what the user has watched already is not shown. The log of watches is that of `simulate`, bit for bit:
clicks on pages do not enter it. docs/decisions/0006-pages-of-the-simulated-world.md gives reasons and bands.
"""

import numpy as np

from zoo.data import simulate as world
from zoo.data.histories import counted_before
from zoo.data.impressions import Impressions, Truth, in_order
from zoo.data.interactions import Interactions


# Frozen, as those of zoo.data.simulate.
SLOTS = 12  # draws for a page; repeats and what was watched before fall out
SHARE = 0.5  # of the sessions begin on a page
LEAD_SECONDS = 30  # from the page to the first watch of the session
INTERCEPT = -3.4
MATCH = 1.0
BAIT = 0.7
QUALITY = 0.2
PRIMING = 0.7
CHURN = 0.4
BAIT_COST = 0.7
NOISE = 0.7


def simulate_pages(
    num_users: int = 5_000, num_videos: int = 2_000, num_watches: int = 300_000, seed: int = 0
) -> Impressions:
    """The world of `simulate` with a page at the start of each of its sessions."""
    return pages_of(world.simulate(num_users, num_videos, num_watches, seed), seed)


def pages_of(watches: Interactions, seed: int) -> Impressions:
    """Impressions with `truth`, from random streams of their own."""
    bait_rng, page_rng, click_rng = (np.random.default_rng((seed, part)) for part in (5, 6, 7))
    bait = bait_rng.standard_normal(watches.num_items, dtype=np.float32)
    page, user, item, timestamp = _draw_pages(page_rng, watches)
    shown, _ = counted_before(_pairs(watches, user, item), timestamp, _pairs(watches, user, item), timestamp)
    click_log_odds, watch_log_odds = _log_odds(watches, bait, user, item, timestamp, shown)
    probability, seconds = _means(watches, item, click_log_odds, watch_log_odds)
    click = click_rng.random(len(user)) < probability
    fraction = 1 / (1 + np.exp(-(watch_log_odds + NOISE * click_rng.standard_normal(len(user)))))
    watched = np.where(click, watches.truth.videos.length_seconds[item] * fraction, 0)
    truth = Truth(probability.astype(np.float32), seconds.astype(np.float32), bait)
    return in_order(page, user, item, timestamp, click.astype(np.float32), watched.astype(np.float32), watches, truth)


def judge(
    watches: Interactions,
    bait: np.ndarray,
    user: np.ndarray,
    item: np.ndarray,
    timestamp: np.ndarray,
    shown: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """P(click) and E[watch seconds | click] of any videos shown to any users at any time: float64 [n] each.

    `shown` int [n]: how often each was shown to its user before.
    """
    return _means(watches, item, *_log_odds(watches, bait, user, item, timestamp, shown))


def _means(
    watches: Interactions, item: np.ndarray, click_log_odds: np.ndarray, watch_log_odds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = np.polynomial.hermite_e.hermegauss(9)  # the mean over the noise, to 1e-5
    fraction = np.zeros_like(watch_log_odds)
    for node, weight in zip(nodes, weights / weights.sum(), strict=True):
        fraction += weight / (1 + np.exp(-(watch_log_odds + NOISE * node)))
    return 1 / (1 + np.exp(-click_log_odds)), watches.truth.videos.length_seconds[item] * fraction


def _log_odds(
    watches: Interactions,
    bait: np.ndarray,
    user: np.ndarray,
    item: np.ndarray,
    timestamp: np.ndarray,
    shown: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Of a click, and of the watched fraction less its noise: float64 [n] each."""
    truth, videos, log_time = watches.truth, watches.truth.videos, watches.timestamp
    assert log_time is not None
    match = (np.einsum("nk,nk->n", truth.users.moods[user], videos.affinity.T.copy()[item]) - 3) / 2
    topic = videos.topic.astype(np.int64)
    count, last = counted_before(
        watches.user * np.int64(world.NUM_TOPICS) + topic[watches.item],
        log_time,
        user * np.int64(world.NUM_TOPICS) + topic[item],
        timestamp,
    )
    primed = np.where(count > 0, np.exp((last - timestamp) / world.DAY_SECONDS), 0)
    drawn = MATCH * match + BAIT * bait[item] + QUALITY * videos.quality[item]
    held = 0.8 * match - BAIT_COST * bait[item] + 0.5 * videos.quality[item]
    return (
        INTERCEPT + drawn + PRIMING * primed - CHURN * np.log2(1 + shown),
        held - 0.5 * np.log(videos.length_seconds[item] / 300),
    )


def _pairs(watches: Interactions, user: np.ndarray, item: np.ndarray) -> np.ndarray:
    return user.astype(np.int64) * watches.num_items + item


def _draw_pages(
    rng: np.random.Generator, watches: Interactions
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Page, user, item and time of each impression, page after page in the order of time."""
    truth, num_videos = watches.truth, watches.num_items
    assert watches.timestamp is not None
    _, first = np.unique(truth.session, return_index=True)  # the log is in the order of time
    time = watches.timestamp[first] - LEAD_SECONDS
    order = np.argsort(time, kind="stable")
    order = order[rng.random(len(order)) < SHARE]
    time, whose = time[order], watches.user[first][order]
    day = np.maximum(time - world.OPENING, 0) // world.DAY_SECONDS
    tastes = truth.users.moods.cumsum(axis=1)
    items = np.empty((len(time), SLOTS), np.int32)
    for today in np.unique(day).tolist():
        rows = np.flatnonzero(day == today)
        probabilities = world.mood_probabilities(truth.videos, world.OPENING + today * world.DAY_SECONDS)
        # What is popular that day is one more mood, which everybody shares.
        popular = world.popular_probabilities(truth.videos, world.OPENING + today * world.DAY_SECONDS)
        cumulative = np.concatenate([probabilities, popular[None]]).cumsum(axis=1)
        cumulative = cumulative / cumulative[:, -1:] + np.arange(len(cumulative))[:, None]
        mood = (rng.random((len(rows), SLOTS // 2, 1)) > tastes[whose[rows], None]).sum(axis=2)
        mood = np.minimum(mood, world.NUM_MOODS - 1)
        mood = np.concatenate([mood, np.full((len(rows), SLOTS - SLOTS // 2), world.NUM_MOODS)], axis=1)
        found = np.searchsorted(cumulative.ravel(), mood + rng.random(mood.shape), side="right") - mood * num_videos
        items[rows] = rng.permuted(np.minimum(found, num_videos - 1), axis=1)
    page = np.repeat(np.arange(len(time), dtype=np.int32), SLOTS)
    user, item, time = np.repeat(whose, SLOTS), items.ravel(), np.repeat(time, SLOTS)
    log_pairs = _pairs(watches, watches.user, watches.item)
    watched, _ = counted_before(log_pairs, watches.timestamp, _pairs(watches, user, item), time)
    fresh = np.zeros(len(page), bool)
    fresh[np.unique(page.astype(np.int64) * num_videos + item, return_index=True)[1]] = True
    kept = fresh & (watched == 0)
    return page[kept], user[kept], item[kept], time[kept]
