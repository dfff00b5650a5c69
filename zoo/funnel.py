"""The funnel: hundreds of videos by candidate generation, and of these a list by expected watch time.

    retrieved = the videos of largest u . v, of all that exist and that the user has not watched
    list      = the k of these of largest score of the ranking

Covington, Adams, Sargin 2016, "Deep Neural Networks for YouTube Recommendations" (RecSys), section 2. The search is
one of zoo.inner_products. Two models that are trained by themselves meet here; both see what lies before one moment,
`now`.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
from jax import Array

from zoo import evaluate, inner_products
from zoo.data import histories, page_features
from zoo.data.impressions import Impressions
from zoo.data.interactions import Interactions
from zoo.data.simulate_pages import judge
from zoo.evaluate import Lists
from zoo.inner_products import Search
from zoo.run import Job, Prepared
from zoo.types import PADDING, TrainState


RETRIEVED = 300  # videos that are ranked for a list
BLOCK = 500  # users that are ranked at a time, which bounds the memory


class Trained(Protocol):
    """A run of a model of the funnel: zoo.Run, of which no more is known here."""

    @property
    def job(self) -> Job: ...
    @property
    def prepared(self) -> Prepared: ...
    @property
    def state(self) -> TrainState: ...
    @property
    def record(self) -> Mapping[str, Any]: ...


class Ranked(NamedTuple):
    """Lists, best first; where videos run out an entry is PADDING with scores -inf."""

    items: np.ndarray  # int32 [users, k]
    scores: np.ndarray  # float32 [users, k], of the ranking
    retrieval: np.ndarray  # float32 [users, k], of the candidate generation


@dataclass(frozen=True)
class Site:
    """What is known at a moment. The user after the last is a stranger, of whom nothing is known."""

    now: int
    watches: Interactions  # before now, in order of user and time, as are the searches
    first: np.ndarray  # int64 [num_users + 2]: where the watches of each user begin
    shown: np.ndarray  # int64 ascending: user * num_items + item of each impression before now
    items: np.ndarray  # int32 ascending: the videos that exist
    seen: Lists  # by user, places in `items` of what they have watched

    @property
    def stranger(self) -> int:
        return self.watches.num_users - 1

    def watched_by(self, users: np.ndarray) -> Interactions:
        """The watches of some users, in order of user and time."""
        rows = [np.arange(self.first[user], self.first[user + 1]) for user in np.unique(users)]
        return self.watches.take(np.concatenate(rows))

    def times_shown(self, user: np.ndarray, item: np.ndarray) -> np.ndarray:
        pairs = user.astype(np.int64) * self.watches.num_items + item
        return np.searchsorted(self.shown, pairs, side="right") - np.searchsorted(self.shown, pairs)


def site_at(impressions: Impressions, now: int) -> Site:
    """What of the site lies before `now`. Without upload times all videos exist."""
    log = impressions.watches
    assert log.timestamp is not None, "the log of a site has times"
    order = np.lexsort((log.timestamp, log.user))
    watches = _with_stranger(log.take(order[log.timestamp[order] < now]))
    if log.searches is not None:
        watches = replace(watches, searches=log.searches.before(now))
    upload = log.item_features.get(page_features.UPLOAD)
    items = np.flatnonzero(np.full(log.num_items, True) if upload is None else upload < now).astype(np.int32)
    earlier = impressions.take(impressions.timestamp < now)
    there = np.isin(watches.item, items)
    places = np.searchsorted(items, watches.item[there]).astype(np.int32)
    return Site(
        now=now,
        watches=watches,
        first=np.searchsorted(watches.user, np.arange(watches.num_users + 1)),
        shown=np.sort(earlier.user.astype(np.int64) * log.num_items + earlier.item),
        items=items,
        seen=evaluate.lists_by_user(replace(watches.take(there), item=places)),
    )


def after_all(impressions: Impressions) -> int:
    """The moment after the last that the data knows."""
    watched = impressions.watches.timestamp
    assert watched is not None, "the log of a site has times"
    return 1 + int(max(impressions.timestamp.max(), watched.max(initial=impressions.timestamp.max())))


def _with_stranger(watches: Interactions) -> Interactions:
    """With one user more: no watches, categories that nobody has, numbers that are the median of the others."""

    def blank(column: np.ndarray) -> np.ndarray:
        return np.median(column) if column.dtype.kind == "f" else column.max(initial=-1) + 1

    features = watches.user_features.items()
    return replace(
        watches,
        user_ids=np.append(watches.user_ids, watches.user_ids[-1:]),
        user_features={name: np.append(column, blank(column)).astype(column.dtype) for name, column in features},
    )


def item_vectors(candidates: Trained, site: Site) -> Array:
    """Those of the videos that exist, float32 [items, dim]."""
    prepared = candidates.prepared
    return evaluate.item_vectors(prepared.model, candidates.state, prepared.examples.constants)[site.items]


def query_vectors(candidates: Trained, site: Site, users: np.ndarray) -> Array:
    """Of user rows, of what is known of them: float32 [users, dim]. What is read does not grow with the logs."""
    prepared = candidates.prepared
    longest = prepared.examples.spec.history_length
    log, ranges = histories.apart(site.watches.item, histories.latest(site.first, users, longest), longest)
    columns = {"user": users, "history_start": ranges.start, "history_length": ranges.length}
    constants = {**prepared.examples.constants, "history_log": log}
    encoding = prepared.examples.user_encoding
    if encoding is not None:
        columns |= encoding.columns(site.watches, users, None)
    if encoding is not None and encoding.num_tokens and site.watches.searches is not None:
        found = histories.Ranges(columns["search_start"], columns["search_length"])
        log, ranges = histories.apart(site.watches.searches.token, found, encoding.longest)
        columns |= {"search_start": ranges.start, "search_length": ranges.length}
        constants["search_log"] = log
    return evaluate.query_vectors(prepared.model, candidates.state, constants, columns)


def retrieve(
    candidates: Trained, search: Search, site: Site, users: np.ndarray, count: int, *, again: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The `count` videos of largest dot product for each user row: rows int32 and scores float32 [users, count].

    What a user has watched is left out, unless `again`.
    """
    return searched(search, query_vectors(candidates, site, users), site, users, count, again=again)


def searched(
    search: Search, queries: Array, site: Site, users: np.ndarray, count: int, *, again: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """As `retrieve`, for query vectors of the users."""
    places, scores = evaluate.found_by(search, queries, users, None if again else site.seen, count)
    return np.where(places == PADDING, PADDING, site.items[np.where(places == PADDING, 0, places)]), scores


def score(ranking: Trained, site: Site, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Scores of the ranking for videos [users, n] shown to each user now: float32 [users, n], -inf for PADDING."""
    parts = [slice(start, start + BLOCK) for start in range(0, len(users), BLOCK)]
    return np.concatenate([_score(ranking, site, users[part], items[part]) for part in parts])


def _score(ranking: Trained, site: Site, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    examples = ranking.prepared.examples
    encoding = examples.page_encoding
    assert encoding is not None, "examples of impressions have an encoding"
    user, item = np.repeat(users, items.shape[1]), np.where(items == PADDING, 0, items).ravel()
    at = page_features.Asked(user, item, np.full(len(user), site.now), site.times_shown(user, item))
    longest = examples.spec.history_length
    log, ranges = histories.apart(site.watches.item, histories.latest(site.first, users, longest), longest)
    start, length = (np.repeat(column, items.shape[1]) for column in ranges)
    columns = encoding.columns(site.watched_by(users), at) | {"history_start": start, "history_length": length}
    constants = {**examples.constants, "history_log": encoding.videos[log]}
    scores = np.asarray(evaluate.score(ranking.prepared.model, ranking.state, constants, columns))
    return np.where(items == PADDING, -np.inf, scores.reshape(items.shape)).astype(np.float32)


def best(scores: np.ndarray, k: int) -> np.ndarray:
    """Places of the k largest scores of each row, best first: int64 [rows, k]; the first among equals."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def recommend(
    candidates: Trained,
    ranking: Trained,
    search: Search,
    site: Site,
    users: np.ndarray,
    k: int,
    *,
    retrieved: int = RETRIEVED,
    again: bool = False,
) -> Ranked:
    """The lists of user rows; at least k videos are retrieved."""
    items, retrieval = retrieve(candidates, search, site, users, max(retrieved, k), again=again)
    return listed(items, score(ranking, site, users, items), retrieval, k)


def listed(items: np.ndarray, scores: np.ndarray, retrieval: np.ndarray, k: int) -> Ranked:
    """The k best by `scores` of videos [users, n]."""
    places = best(scores, k)
    return Ranked(*(np.take_along_axis(column, places, axis=1) for column in (items, scores, retrieval)))


def expected_watch_seconds(
    world: Impressions,
    candidates: Trained,
    ranking: Trained,
    now: int,
    *,
    k: int = 10,
    retrieved: int = RETRIEVED,
    num_users: int = 1_000,
) -> dict[str, dict[str, float]]:
    """What a list of k brings under the simulator's truth, the sum of P(click) E[seconds | click] over it, by policy.

    Means over `num_users` users, drawn once, who are shown the list at `now`. The policies: `funnel`; the retrieved in
    their own order (`candidates`), by the true P(click) (`clicks_of_candidates`) and in the best order
    (`best_of_candidates`); the most watched videos (`popularity`); the best of all videos (`oracle`). None lists what a
    user has watched. `share_of_oracle` is the ratio to the oracle, `standard_error` that of the mean over users.
    """
    site = site_at(world, now)
    users = np.sort(np.random.default_rng(0).permutation(site.stranger)[:num_users]).astype(np.int32)
    search = inner_products.exact(item_vectors(candidates, site))
    items, _ = retrieve(candidates, search, site, users, max(retrieved, k))
    ranked = np.take_along_axis(items, best(score(ranking, site, users, items), k), axis=1)
    # Matrices over the videos that exist, and a last column for no video, which brings nothing; nor does a watched one.
    places, shape = np.searchsorted(site.items, items), (len(users), len(site.items) + 1)
    unseen, found = np.ones(shape, bool), np.zeros(shape, bool)
    for row, user in enumerate(users):
        unseen[row, site.seen.items[site.seen.offsets[user] : site.seen.offsets[user + 1]]] = False
    unseen[:, -1] = False
    np.put_along_axis(found, places, True, axis=1)
    probability, seconds = (np.pad(column, ((0, 0), (0, 1))) for column in _truth(world, site, users))
    value = np.where(unseen, probability * seconds, 0.0)
    watched = np.append(np.bincount(site.watches.item, minlength=site.watches.num_items)[site.items], 0)

    def by(scores: np.ndarray, among: np.ndarray = unseen) -> np.ndarray:
        return best(np.where(among & unseen, scores, -np.inf), k)

    lists = {
        "funnel": np.searchsorted(site.items, ranked),
        "candidates": places[:, :k],
        "clicks_of_candidates": by(probability, found),
        "best_of_candidates": by(value, found),
        "popularity": by(watched),
        "oracle": by(value),
    }
    brought = {name: np.take_along_axis(value, listed, axis=1).sum(axis=1) for name, listed in lists.items()}
    return {name: _summary(values, brought["oracle"]) for name, values in brought.items()}


def judged(candidates: Trained, ranking: Trained, world: Impressions) -> dict[str, dict[str, float]]:
    """Metrics of the `funnel` and of what it is compared with, at the moment from which on the ranking is judged.

    On a site that knows its truth they are those of `expected_watch_seconds`, else those of the two models.
    """
    if world.truth is not None:
        now = int(ranking.prepared.split.test.timestamp.min())
        return expected_watch_seconds(world, candidates, ranking, now)
    found = {}
    for part in (candidates, ranking):
        prepared = part.prepared
        found |= part.job.recipe.evaluate(prepared.model, part.state, prepared.examples, prepared.split)
    return {"funnel": found}


def record_of(candidates: Trained, ranking: Trained, called: Mapping[str, Any]) -> dict[str, Any]:
    """The record of the whole, of the shape of a run's (zoo.run): sums of the training of both parts."""
    began = time.perf_counter()
    world = ranking.job.interactions
    assert isinstance(world, Impressions)
    found = judged(candidates, ranking, world)
    metrics = found.pop("funnel")
    parts = [candidates.record, ranking.record]
    training = {
        name: sum(part["training"][name] for part in parts)
        for name in ("steps", "epochs", "seconds", "compile_seconds")
    }
    examples = sum(part["training"]["examples_per_second"] * part["training"]["seconds"] for part in parts)
    return {
        **{name: called[name] for name in ("model", "recipe", "data", "data_sha256", "split", "stream", "seed")},
        "objective": [part["objective"] for part in parts],
        "metrics": {"valid" if called["validate"] else "test": metrics},
        "baselines": found,
        "training": {**training, "examples_per_second": examples / training["seconds"]},
        "evaluation": {"seconds": time.perf_counter() - began},
        "settings": [part["settings"] for part in parts],
        "environment": ranking.record["environment"],
        "command": ranking.record["command"],
    }


def _summary(brought: np.ndarray, most: np.ndarray) -> dict[str, float]:
    return {
        "expected_watch_seconds": float(brought.mean()),
        "share_of_oracle": float(brought.mean() / most.mean()),
        "standard_error": float(brought.std() / np.sqrt(len(brought))),
    }


def _truth(world: Impressions, site: Site, users: np.ndarray, block: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """P(click) and E[seconds | click] of every video that exists, shown to each user now: float64 [users, items]."""
    assert world.truth is not None
    found = []
    for part in (users[start : start + block] for start in range(0, len(users), block)):
        user, item = np.repeat(part, len(site.items)), np.tile(site.items, len(part))
        now, shown = np.full(len(user), site.now), site.times_shown(user, item)
        theirs = world.watches.take(np.isin(world.watches.user, part))
        pair = judge(theirs, world.truth.bait, user, item, now, shown)
        found.append([column.reshape(len(part), -1) for column in pair])
    probability, seconds = (np.concatenate(columns) for columns in zip(*found, strict=True))
    return probability, seconds
