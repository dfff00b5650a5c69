"""One small video site with known truth: users, videos and watches whose best ranking can be written down.

A session has a mood, drawn from its user's tastes, and every watch of the session is drawn in that mood:

    P(mood k | user u)               = moods[u, k] = softmax_k(country, age and device of u, own taste)
    P(video v | mood k, day t)       = attraction[k, v] fresh(t - upload_v) / sum over videos
    attraction[k, v]                 = appeal[v] exp(affinity[k, v])
    fresh(age)                       = (1 - exp(-age / RISE)) (FLOOR + (1 - FLOOR) exp(-age / DECAY)), age > 0

so that tastes have rank NUM_MOODS, popularity is skewed (appeal is Zipf's law), fresh videos rise and fall, and a model
that reads the session so far knows more than one that does not. A second watch of a video by the same user is merged
into the first. docs/decisions/0002-the-simulated-world.md gives the reasons for the constants and what they lead to.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from zoo.data import simulate_searches
from zoo.data.interactions import Interactions
from zoo.errors import InputError


# The constants are frozen: results on this world are comparable only while they stay as they are.
OPENING = 1_704_067_200  # seconds since 1970 (2024-01-01): the first moment of the log
DAY_SECONDS = 86_400
NUM_DAYS = 100  # of the log; half of the videos were uploaded in the NUM_DAYS before it
NUM_MOODS = 16
COUNTRY_SHARES = (0.3, 0.25, 0.15, 0.15, 0.1, 0.05)
LANGUAGE_SHARES = (0.35, 0.3, 0.2, 0.15)  # of the videos; country c speaks language c % 4
NUM_TOPICS = 12  # mood k is at home in topic k % 12 and in one language
NUM_DEVICES = 3  # phone, computer, television
ACTIVITY_SPREAD = 0.7  # standard deviation of the log of a user's activity
COUNTRY_PULL = 3.0  # what a mood in the country's language gains, in log odds, as are the next three
AGE_PULL, AGE_WIDTH = 1.0, 15.0  # years: how a mood loses users on both sides of its favourite age
DEVICE_PULL = 0.3
OWN_TASTE = 2.0  # what no side feature of the user tells
TOPIC_PULL = 3.0  # what a video in the mood's topic gains in log attraction, as are the next two
LANGUAGE_PULL = 3.0
OWN_AFFINITY = 1.5  # what no side feature of the video tells
ZIPF_EXPONENT, ZIPF_OFFSET = 0.5, 10.0  # appeal of the video of rank r, best first: (r + offset) ** -exponent
RISE_DAYS, DECAY_DAYS, FRESH_FLOOR = 1.0, 20.0, 0.3
SESSION_WATCHES = 3.0  # mean; the number is 1 + Poisson(SESSION_WATCHES - 1)
PAUSE_SECONDS = 15  # from the end of a watch to the next of the session
LARGEST_SHARE = 0.2  # of all (user, video) pairs that may be watched; beyond it most draws would be repeats
PILOT_PAIRS = 2**19  # bounds the work of finding out how many sessions make num_watches distinct pairs


@dataclass(frozen=True)
class Users:
    """What the site knows of its users; side features and tastes."""

    country: np.ndarray  # int8 [num_users], below len(COUNTRY_SHARES)
    age_years: np.ndarray  # int8 [num_users], 13 to 80
    device: np.ndarray  # int8 [num_users], below NUM_DEVICES
    activity: np.ndarray  # float32 [num_users], relative number of sessions, mean about 1
    moods: np.ndarray  # float64 [num_users, NUM_MOODS]: P(mood | user), rows sum to 1


@dataclass(frozen=True)
class Videos:
    """What the site knows of its videos; side features and how they attract."""

    topic: np.ndarray  # int8 [num_videos], below NUM_TOPICS
    language: np.ndarray  # int8 [num_videos], below len(LANGUAGE_SHARES)
    length_seconds: np.ndarray  # int32 [num_videos], 30 to 7200
    upload_time: np.ndarray  # int64 [num_videos], seconds since 1970
    quality: np.ndarray  # float32 [num_videos], standard normal; raises appeal, watch time and rating
    appeal: np.ndarray  # float64 [num_videos], Zipf's law
    affinity: np.ndarray  # float32 [NUM_MOODS, num_videos], log scale


@dataclass(frozen=True)
class Truth:
    """What the simulated site knows about itself.

    Arrays over users, videos and moods use the row numbers of the interactions. Arrays over events ([n]) follow the
    whole world in its order; `world_rows` finds them for a part of it.
    """

    users: Users
    videos: Videos
    mood_sessions: np.ndarray  # int32 [num_users, NUM_MOODS]: how many sessions the user spent in each mood
    missed: np.ndarray  # float64 [NUM_MOODS, num_videos]: P(a session of mood k on a random day has no watch of v)
    user: np.ndarray  # int32 [n], the column of the whole world
    item: np.ndarray  # int32 [n], the column of the whole world
    session: np.ndarray  # int32 [n], numbered by start; a session whose watches were all merged leaves a gap
    mood: np.ndarray  # int8 [n], the mood of the session
    watch_seconds: np.ndarray  # float32 [n], from 0 to the video's length

    @property
    def oracle_vectors(self) -> tuple[np.ndarray, np.ndarray]:
        """float32 [num_users, d] and [num_items, d]: their dot products rank each user's videos best first.

        Given the moods of a user's sessions, the days of the sessions are independent, therefore

            P(u watched v) = 1 - prod_k missed[k, v] ** mood_sessions[u, k]
                           = 1 - exp(-mood_sessions[u] . (-log missed[:, v])),

        exactly and after merging repeats. Every watched pair is equally likely to be kept in the log and to be held out
        by a random holdout, so the dot product in the exponent orders the unseen pairs of a user by P(held out),
        marginal over time. It knows the moods of the user's actual sessions, not only P(mood | user): the training
        part of a session gives its mood away, and an oracle that did not know it could be beaten by a model that did.
        It does not know when those sessions took place.
        """
        return self.mood_sessions.astype(np.float32), -np.log(self.missed).T.astype(np.float32)


def simulate(
    num_users: int = 5_000, num_videos: int = 2_000, num_watches: int = 300_000, seed: int = 0
) -> Interactions:
    """A world of exactly `num_watches` distinct (user, video) watches in the order of time, with `truth: Truth`.

    Raw ids are 1..num_users and 1..num_videos; who never watches and what is never watched keep their rows. `rating` is
    1 to 5, given with each watch. Time is linear in watches and NUM_DAYS x NUM_MOODS x num_videos, memory in watches
    and NUM_MOODS x (num_users + num_videos). Equal arguments give equal worlds on processors with the
    same vector instructions; on others numpy rounds some draws differently, and the worlds are equal in distribution.
    """
    if num_users < 1 or num_videos < 2 or num_watches < 1:
        raise InputError(
            f"a world of {num_users} users, {num_videos} videos and {num_watches} watches: "
            "it needs at least 1 user, 2 videos and 1 watch"
        )
    most = int(LARGEST_SHARE * num_users * num_videos)
    if num_watches > most:
        raise InputError(
            f"{num_watches} watches of {num_users} users x {num_videos} videos: nobody watches a video twice, "
            f"so ask for at most {most} (a fifth of the pairs) or for more users or videos"
        )
    # A stream of random numbers for each part: what a later part draws never changes an earlier one.
    mood_rng, video_rng, user_rng, session_rng, keep_rng = (np.random.default_rng((seed, part)) for part in range(5))
    mood_language = mood_rng.permutation(np.arange(NUM_MOODS) % len(LANGUAGE_SHARES))
    videos = _make_videos(video_rng, num_videos, mood_language)
    users = _make_users(user_rng, num_users, mood_language)
    missed = np.zeros((NUM_MOODS, num_videos))
    for probabilities in _days(videos):
        missed += _missed(probabilities)
    missed /= NUM_DAYS

    target = 1.02 * num_watches
    while True:
        sessions = _session_counts(session_rng, users, missed, target)
        log = _draw_watches(session_rng, users, videos, sessions)
        _, first = np.unique(log["user"].astype(np.int64) * num_videos + log["item"], return_index=True)
        if len(first) >= num_watches:
            break
        target *= 1.1  # chance, or an estimate that fell short: rare except in tiny worlds
    kept = np.sort(keep_rng.permutation(first)[:num_watches])
    log = {name: column[kept] for name, column in log.items()}
    truth = Truth(
        users, videos, sessions, missed, log["user"], log["item"], log["session"], log["mood"], log["watch_seconds"]
    )
    made = Interactions(
        user=log["user"],
        item=log["item"],
        rating=log["rating"],
        timestamp=log["timestamp"],
        user_ids=np.arange(1, num_users + 1),
        item_ids=np.arange(1, num_videos + 1),
        truth=truth,
        user_features={
            "country": users.country.astype(np.int32),
            "device": users.device.astype(np.int32),
            "age_years": users.age_years.astype(np.float32),
            **simulate_searches.more_of_users(users.moods, users.activity, seed),
        },
        item_features={
            "topic": videos.topic.astype(np.int32),
            "language": videos.language.astype(np.int32),
            "length_seconds": videos.length_seconds.astype(np.float32),
            "upload_time": videos.upload_time,
        },
    )
    return replace(made, searches=simulate_searches.searches_of(made, np.arange(NUM_MOODS) % NUM_TOPICS, seed))


def mood_probabilities(videos: Videos, timestamp: int) -> np.ndarray:
    """float64 [NUM_MOODS, num_videos]: P(video | mood), each watch of a session that starts that day."""
    weights = np.exp(videos.affinity, dtype=np.float64) * _attention(videos, timestamp)
    return weights / weights.sum(axis=1, keepdims=True)


def popular_probabilities(videos: Videos, timestamp: int) -> np.ndarray:
    """float64 [num_videos]: what each video draws that day whatever the mood, as a share."""
    attention = _attention(videos, timestamp)
    return attention / attention.sum()


def _attention(videos: Videos, timestamp: int) -> np.ndarray:
    """float64 [num_videos]: appeal x fresh on the day of `timestamp`."""
    midnight = timestamp - (timestamp - OPENING) % DAY_SECONDS
    age_days = np.maximum(midnight - videos.upload_time, 0) / DAY_SECONDS
    fresh = -np.expm1(-age_days / RISE_DAYS) * (FRESH_FLOOR + (1 - FRESH_FLOOR) * np.exp(-age_days / DECAY_DAYS))
    return videos.appeal * fresh


def world_rows(part: Interactions) -> np.ndarray:
    """int64 [len(part)]: where the events of `part` (a split, say) are in the truth's arrays over events."""
    world = part.truth.user.astype(np.int64) * part.num_items + part.truth.item
    order = np.argsort(world)
    return order[np.searchsorted(world, part.user.astype(np.int64) * part.num_items + part.item, sorter=order)]


def _make_videos(rng: np.random.Generator, num_videos: int, mood_language: np.ndarray) -> Videos:
    topic = rng.integers(NUM_TOPICS, size=num_videos, dtype=np.int8)
    language = rng.choice(len(LANGUAGE_SHARES), size=num_videos, p=LANGUAGE_SHARES).astype(np.int8)
    length_seconds = np.clip(rng.lognormal(np.log(300), 0.9, num_videos), 30, 7200).astype(np.int32)
    # Evenly spread with jitter rather than independent, so that even a tiny world opens with half of its videos.
    upload_days = NUM_DAYS * ((rng.permutation(num_videos) + rng.random(num_videos)) / num_videos * 2 - 1)
    quality = rng.standard_normal(num_videos, dtype=np.float32)
    rank = np.argsort(np.argsort(-(quality + rng.standard_normal(num_videos))))
    affinity = OWN_AFFINITY * rng.standard_normal((NUM_MOODS, num_videos), dtype=np.float32)
    affinity += TOPIC_PULL * (np.arange(NUM_MOODS)[:, None] % NUM_TOPICS == topic)
    affinity += LANGUAGE_PULL * (mood_language[:, None] == language)
    return Videos(
        topic=topic,
        language=language,
        length_seconds=length_seconds,
        upload_time=OPENING + np.floor(upload_days * DAY_SECONDS).astype(np.int64),
        quality=quality,
        appeal=(rank + ZIPF_OFFSET) ** -ZIPF_EXPONENT,
        affinity=affinity,
    )


def _make_users(rng: np.random.Generator, num_users: int, mood_language: np.ndarray) -> Users:
    country = rng.choice(len(COUNTRY_SHARES), size=num_users, p=COUNTRY_SHARES).astype(np.int8)
    age_years = np.clip(rng.lognormal(np.log(30), 0.4, num_users), 13, 80).astype(np.int8)
    # The old watch television more often and the phone less.
    device = np.clip(np.rint(rng.normal((age_years - 20) / 30, 0.7)), 0, NUM_DEVICES - 1).astype(np.int8)
    activity = rng.lognormal(-(ACTIVITY_SPREAD**2) / 2, ACTIVITY_SPREAD, num_users).astype(np.float32)
    favourite_age = rng.uniform(15, 60, NUM_MOODS)
    logits = OWN_TASTE * rng.standard_normal((num_users, NUM_MOODS))
    logits += COUNTRY_PULL * ((country % len(LANGUAGE_SHARES))[:, None] == mood_language)
    logits -= AGE_PULL * ((age_years[:, None] - favourite_age) / AGE_WIDTH) ** 2 / 2
    logits += DEVICE_PULL * rng.standard_normal((NUM_DEVICES, NUM_MOODS))[device]
    moods = np.exp(logits - logits.max(axis=1, keepdims=True))
    return Users(country, age_years, device, activity, moods / moods.sum(axis=1, keepdims=True))


def _days(videos: Videos) -> Iterator[np.ndarray]:
    return (mood_probabilities(videos, OPENING + day * DAY_SECONDS) for day in range(NUM_DAYS))


def _missed(probabilities: np.ndarray) -> np.ndarray:
    """E[(1 - p) ** L], L = 1 + Poisson(SESSION_WATCHES - 1): P(a session does not draw a video of probability p)."""
    return (1 - probabilities) * np.exp(-(SESSION_WATCHES - 1) * probabilities)


def _session_counts(rng: np.random.Generator, users: Users, missed: np.ndarray, target: float) -> np.ndarray:
    """int32 [num_users, NUM_MOODS]: sessions, such that about `target` distinct pairs are expected.

    A user has 1 + Poisson(scale activity) sessions, so of a video that a session has with probability p it is
    (1 - p) exp(-scale activity p) likely that the user misses it. `scale` solves sum(1 - that) = target on a sample of
    users, evenly spaced in activity; the sum is concave in `scale`, so the proportional step converges from anywhere.
    """
    num_users, num_videos = len(users.activity), missed.shape[1]
    size = min(num_users, max(64, PILOT_PAIRS // num_videos))
    pilot = np.argsort(users.activity)[((np.arange(size) + 0.5) * num_users / size).astype(np.int64)]
    probability = users.moods[pilot] @ (1 - missed)
    rate = probability * users.activity[pilot, None]
    scale = target / SESSION_WATCHES / num_users
    for _ in range(12):
        distinct = (1 - (1 - probability) * np.exp(-scale * rate)).sum() * num_users / size
        scale *= target / distinct
    return rng.multinomial(1 + rng.poisson(scale * users.activity), users.moods).astype(np.int32)


def _draw_watches(
    rng: np.random.Generator, users: Users, videos: Videos, sessions: np.ndarray
) -> dict[str, np.ndarray]:
    """The columns of all watches, repeats included, in the order of time; a day at a time, which bounds the memory."""
    num_videos = len(videos.topic)
    cell = np.repeat(np.arange(sessions.size), sessions.ravel())  # (user, mood) of each session
    start = rng.integers(NUM_DAYS * DAY_SECONDS, size=len(cell))
    order = np.argsort(start)
    cell, start = cell[order], start[order]
    bounds = np.searchsorted(start, DAY_SECONDS * np.arange(NUM_DAYS + 1))
    parts = []
    for day, probabilities in enumerate(_days(videos)):
        today = np.arange(bounds[day], bounds[day + 1])
        watches = 1 + rng.poisson(SESSION_WATCHES - 1, len(today))
        session = np.repeat(today, watches)
        user, mood = np.divmod(cell[session], NUM_MOODS)
        # One search for all moods: the cumulative probabilities of mood k lie in (k, k + 1].
        cumulative = probabilities.cumsum(axis=1)
        cumulative = cumulative / cumulative[:, -1:] + np.arange(NUM_MOODS)[:, None]
        item = np.searchsorted(cumulative.ravel(), mood + rng.random(len(mood)), side="right") - mood * num_videos
        item = np.minimum(item, num_videos - 1)  # mood + 0.999.. may round up
        watch_seconds, rating = _watch_and_rate(rng, users, videos, user, item)
        # A watch begins when the earlier ones of its session, with their pauses, are over.
        spent = np.ceil(watch_seconds).astype(np.int64) + PAUSE_SECONDS
        before = np.cumsum(spent) - spent
        first = np.repeat(np.cumsum(watches) - watches, watches)
        parts.append(
            {
                "user": user.astype(np.int32),
                "item": item.astype(np.int32),
                "rating": rating,
                "timestamp": OPENING + start[session] + before - before[first],
                "session": session.astype(np.int32),
                "mood": mood.astype(np.int8),
                "watch_seconds": watch_seconds,
            }
        )
    log = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(log["timestamp"], kind="stable")
    return {name: column[order] for name, column in log.items()}


def _watch_and_rate(
    rng: np.random.Generator, users: Users, videos: Videos, user: np.ndarray, item: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How long each watch lasted (seconds, up to the length) and its rating 1 to 5, both float32.

    match = (sum_k moods[u, k] affinity[k, v] - 3) / 2, about standard on what is watched
    log odds of the watched fraction = 0.8 match + 0.5 quality - 0.5 log(length / 300 s) + 0.7 noise
    rating = round(3.5 + 0.6 match + 0.4 quality + 0.7 noise), clipped to 1..5
    """
    match = (np.einsum("nk,kn->n", users.moods[user], videos.affinity[:, item]) - 3) / 2
    quality, length = videos.quality[item], videos.length_seconds[item]
    noise = rng.standard_normal((2, len(user)))
    odds = np.exp(0.8 * match + 0.5 * quality - 0.5 * np.log(length / 300) + 0.7 * noise[0])
    watch_seconds = length * (odds / (1 + odds))
    rating = np.clip(np.rint(3.5 + 0.6 * match + 0.4 * quality + 0.7 * noise[1]), 1, 5)
    return watch_seconds.astype(np.float32), rating.astype(np.float32)
