"""What the part `serving` of the suite youtube measures: one user asked of the funnel, whole and stage by stage."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from benchmarks import isolated, limits, synthetic, timing
from zoo import evaluate, funnel, inner_products, names, optimizers
from zoo.data.impressions import Impressions
from zoo.data.interactions import Searches
from zoo.recipe import override
from zoo.run import prepare
from zoo.trained import FunnelRun, Run


SEARCHES = {"exact": inner_products.exact, "quantised": inner_products.quantised}
TOP = {"two levels": inner_products.two_level, "approx_max_k": jax.lax.approx_max_k, "top_k": jax.lax.top_k}
TOKENS, CLUSTERS = 5_000, 1_000


@dataclass(frozen=True)
class Serving:
    embedding_dim: int
    videos: int = 1_000_000
    users: int = 50_000
    events: int = 2**20  # watches, as many impressions and as many searches
    k: int = 10
    retrieved: int = funnel.RETRIEVED
    asked: int = 50  # users, one after the other
    recall_queries: int = 64
    copy_floats: int = limits.Configuration.copy_floats
    seed: int = 0


def measure(configuration: Serving) -> dict[str, Any]:
    """Milliseconds of each user by search: `whole`, zoo.FunnelRun.ranked, and its stages, called one by one.

    Nothing is trained: the vectors are as they open. `read_bytes` is what the first pass of a search has to read.
    """
    copy_gb_per_s = limits.copy_gb_per_s(configuration.copy_floats)
    run = untrained(configuration)
    rng = np.random.default_rng(configuration.seed)
    users = rng.integers(0, configuration.users, configuration.asked).astype(np.int32)
    by_search = {name: _times(run, users, search, configuration) for name, search in SEARCHES.items()}
    size = configuration.videos * configuration.embedding_dim
    found = {
        "copy_gb_per_s": copy_gb_per_s,
        "searches": by_search,
        "read_bytes": {"exact": 4 * size, "quantised": size + 4 * configuration.videos},
        "top_ms": _top_ms(configuration),
    }
    del run
    made = {"gaussian": gaussian, "clustered": clustered}
    return found | {"recall": {name: recall(function, configuration) for name, function in made.items()}}


def untrained(configuration: Serving) -> FunnelRun:
    """youtube/watch on a made-up site of the size asked for, as zoo.train prepares it, before the first step."""
    settings = {"candidates.embedding_dim": configuration.embedding_dim, "candidates.per_user": 1}
    request = names.Request("youtube/watch", seed=configuration.seed, settings=settings)
    parts: list[Run] = []
    for job in names.funnel(request, site(configuration))[:2]:
        # No state of an optimizer takes memory that serving does not need.
        job = replace(job, recipe=override(job.recipe, {"optimizer": optimizers.sgd}))
        prepared = prepare(job)
        parts.append(Run(job, prepared, prepared.initial(), {}, Path()))
    candidates, ranking = parts
    return FunnelRun(candidates.job, candidates.prepared, candidates.state, {}, Path(), ranking)


def site(configuration: Serving) -> Impressions:
    """Skewed users and videos, features of both, searches; one impression in 20 is clicked."""
    rng, size = np.random.default_rng(configuration.seed), configuration.events
    users, videos = configuration.users, configuration.videos
    log = synthetic.interactions(users, videos, size, 1.0, configuration.seed)
    searcher = np.sort(synthetic.zipf_ids(rng, size, users, 1.0))
    watches = replace(
        log,
        user_features={
            "country": rng.integers(0, 12, users).astype(np.int32),
            "device": rng.integers(0, 3, users).astype(np.int32),
            "age": rng.integers(13, 80, users).astype(np.float32),
        },
        item_features={
            "topic": rng.integers(0, 20, videos).astype(np.int32),
            "language": rng.integers(0, 8, videos).astype(np.int32),
            "upload_time": np.zeros(videos, np.int64),
        },
        searches=Searches(searcher, rng.integers(0, TOKENS, size, np.int32), np.arange(size, dtype=np.int64), TOKENS),
    )
    click = (rng.random(size) < 0.05).astype(np.float32)
    return Impressions(
        page=np.arange(size, dtype=np.int32) // 8,
        user=np.repeat(synthetic.zipf_ids(rng, -(-size // 8), users, 1.0), 8)[:size],
        item=synthetic.zipf_ids(rng, size, videos, 1.0),
        timestamp=1 + np.arange(size, dtype=np.int64),
        click=click,
        watch_seconds=click * rng.exponential(60.0, size).astype(np.float32),
        watches=watches,
    )


def _times(run: FunnelRun, users: np.ndarray, search: Callable[[Array], Any], configuration: Serving) -> dict[str, Any]:
    k, count = configuration.k, configuration.retrieved
    site, ready = run.site, run.ready(search)
    ms: dict[str, list[float]] = {name: [] for name in ("whole", "query", "search", "ranking", "list")}

    def timed(name: str, call: Callable[[], Any]) -> Any:
        seconds, result = timing.once(call)
        ms[name].append(1e3 * seconds)
        return result

    def ask(user: np.ndarray) -> None:
        timed("whole", partial(run.ranked, run.user_ids[user], k, retrieved=count, search=search))
        query = timed("query", partial(funnel.query_vectors, run, site, user))
        items, retrieval = timed("search", partial(funnel.searched, ready, query, site, user, count))
        scores = timed("ranking", partial(funnel.score, run.ranking, site, user, items))
        timed("list", partial(funnel.listed, items, scores, retrieval, k))

    for user in users[:3, None]:
        ask(user)
    ms = {name: [] for name in ms}
    with timing.no_compilation():
        for user in users[:, None]:
            ask(user)
    return ms


def _top_ms(configuration: Serving) -> dict[str, float]:
    """Median milliseconds to take the best of as many scores as there are videos, by way of doing it."""
    padded = inner_products.padded_size(configuration.videos)
    scores = jax.random.normal(jax.random.key(configuration.seed), (1, padded))
    found = {}
    for name, function in TOP.items():
        top = jax.jit(partial(function, k=configuration.retrieved))
        jax.block_until_ready(top(scores))
        found[name] = 1e3 * statistics.median(timing.once(partial(top, scores))[0] for _ in range(timing.MIN_REPEATS))
    return found


def gaussian(key: Array, rows: int, queries: int, dim: int) -> tuple[Array, Array]:
    """Items and queries of independent normal numbers."""
    of_items, of_queries = jax.random.split(key)
    return jax.random.normal(of_items, (rows, dim)), jax.random.normal(of_queries, (queries, dim))


def clustered(key: Array, rows: int, queries: int, dim: int) -> tuple[Array, Array]:
    """As trained vectors are: items around centres, of lengths that vary, in directions of which few matter; a query is
    the mean of items of one cluster.

    Direction d has standard deviation d ** -0.5; an item is half as far from its centre as the centre from 0; lengths
    are log-normal with deviation 0.3.
    """
    keys = jax.random.split(key, 5)
    spread = jnp.arange(1, dim + 1)[None, :] ** -0.5
    centres = jax.random.normal(keys[0], (CLUSTERS, dim)) * spread
    owner = jax.random.randint(keys[1], (rows,), 0, CLUSTERS)
    items = centres[owner] + 0.5 * spread * jax.random.normal(keys[2], (rows, dim))
    items = items * jnp.exp(0.3 * jax.random.normal(keys[3], (rows, 1)))
    near = jax.random.normal(keys[4], (queries, dim)) * spread * 0.2
    return items, centres[:queries] + near


def recall(make: Callable, configuration: Serving) -> float:
    """The mean share of the exact best that the quantised search finds too."""
    count = configuration.retrieved
    key = jax.random.key(configuration.seed)
    items, queries = make(key, configuration.videos, configuration.recall_queries, configuration.embedding_dim)
    users = np.arange(configuration.recall_queries)
    exact, quantised = (
        evaluate.found_by(search(items), queries, users, None, count)[0] for search in SEARCHES.values()
    )
    return float(np.mean([len(np.intersect1d(*pair)) / count for pair in zip(exact, quantised, strict=True)]))


if __name__ == "__main__":
    isolated.answer(measure, Serving)
