"""Exact and quantised search against sorting all products on the host."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import timing, youtube_serving_step
from zoo import evaluate, inner_products
from zoo.evaluate import Lists
from zoo.types import PADDING


SEARCHES = {"exact": inner_products.exact, "quantised": inner_products.quantised}
NOTHING = Lists(np.zeros(100, np.int64), np.empty(0, np.int32))


def made(items, dim, queries=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((queries, dim), np.float32), rng.standard_normal((items, dim), np.float32)


@pytest.mark.parametrize("queries", [1, 3])
@pytest.mark.parametrize(("items", "k"), [(5, 3), (128, 10), (1000, 20), (1000, 1000)])
@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_the_best_are_found(search, items, k, queries):
    """The k best by a stable sort of all products, and their products in float32, whichever way they were found."""
    query, matrix = made(items, 16, queries)
    ids, scores = evaluate.found_by(search(jnp.asarray(matrix)), jnp.asarray(query), np.arange(queries), NOTHING, k)
    products = np.float64(query) @ np.float64(matrix).T
    np.testing.assert_array_equal(ids, np.argsort(-products, axis=1)[:, :k])
    np.testing.assert_allclose(scores, np.take_along_axis(products, ids, 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_what_a_user_has_is_left_out(search):
    """The best is hidden; where all but two are, the list ends after them."""
    query, matrix = made(200, 8, 2)
    order = np.argsort(-(query @ matrix.T), axis=1)
    hidden = [np.sort(order[0, :1]), np.sort(order[1, 2:])]
    seen = Lists(np.array([0, 1, 199]), np.concatenate(hidden).astype(np.int32))
    ready = search(jnp.asarray(matrix))
    ids, scores = evaluate.found_by(ready, jnp.asarray(query), np.arange(2), seen, 5)
    assert ids[0].tolist() == order[0, 1:6].tolist()
    assert ids[1].tolist() == order[1, :2].tolist() + [PADDING] * 3 and np.isneginf(scores[1, 2:]).all()


@pytest.mark.parametrize("make", [youtube_serving_step.gaussian, youtube_serving_step.clustered])
def test_a_quantised_search_loses_almost_nothing(make):
    items, queries = make(jax.random.key(1), 20_000, 8, 64)
    exact, quantised = (
        evaluate.found_by(search(items), queries, np.arange(8), None, 100)[0] for search in SEARCHES.values()
    )
    shared = [len(np.intersect1d(*pair)) / 100 for pair in zip(exact, quantised, strict=True)]
    assert np.mean(shared) >= 0.99


def test_codes_are_within_half_a_step():
    """v - s c, where the largest magnitude of an item is 127 steps; a zero vector stays zero."""
    _, items = made(256, 4)
    items[3] = 0
    _, codes, scale = inner_products.quantised(jnp.asarray(items)).arrays
    codes = np.asarray(codes).transpose(0, 2, 1).reshape(256, 4)
    scale = np.asarray(scale).reshape(256, 1)
    np.testing.assert_allclose(scale[:, 0], np.abs(items).max(1) / 127, rtol=1e-6)
    assert (np.abs(items - scale * codes) <= 0.5001 * scale).all() and not codes[3].any()


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_another_user_compiles_nothing(search):
    """However many items are left out."""
    query, matrix = made(1000, 8)
    ready, queries = search(jnp.asarray(matrix)), [jnp.asarray(query[n : n + 1]) for n in range(3)]
    for number in (0, 1, 2):
        seen = Lists(np.array([0, 100 * number]), np.arange(100 * number, dtype=np.int32))
        with timing.no_compilation() if number else pytest.MonkeyPatch.context():
            evaluate.found_by(ready, queries[number], np.array([0]), seen, 10)


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_vectors_that_are_not_finite_raise(search):
    with pytest.raises(FloatingPointError, match="the item vectors"):
        search(jnp.full((3, 2), jnp.nan))
