"""What is known of a user at a moment, against loops over the log."""

from dataclasses import replace

import numpy as np
import pytest

from zoo import tasks
from zoo.data import splits, user_features
from zoo.data.interactions import Searches, from_raw
from zoo.errors import InputError


@pytest.fixture
def log():
    """Eighty watches and thirty searched tokens of 10 users; times repeat and are in no order."""
    rng = np.random.default_rng(0)
    made = from_raw(
        np.append(np.arange(10), rng.integers(0, 10, 70)), rng.integers(0, 20, 80), None, rng.integers(0, 50, 80)
    )
    user, time = rng.integers(0, 10, 30), rng.integers(0, 50, 30)
    order = np.lexsort((time, user))
    searches = Searches(user[order].astype(np.int32), rng.integers(0, 9, 30).astype(np.int32), time[order], 9)
    features = {
        "country": np.array([0, 0, 3, 3, 3, 0, 0, 0, 3, 0], np.int32),
        "age_years": np.array([20, 30, 40, 50, 60, 20, 20, 20, 20, 70], np.float32),
    }
    return replace(made, searches=searches, user_features=features)


ALL = ("searches", "users", "example_age")


def test_columns_are_what_was_known(log):
    encoding = user_features.fit(log, ALL, 4)
    user, time = np.array([0, 3, 9, 5], np.int32), np.array([10, 25, 60, int(log.timestamp.min())])
    found, tokens = encoding.columns(log, user, time), encoding.constants(log)["search_log"]
    assert found["codes"][:, 0].tolist() == [0, 1, 0, 0] and encoding.sizes == (2,)
    first, last = int(log.timestamp.min()), int(log.timestamp.max())
    ages = [min(max(last - t, 0) / (last - first), 1) for t in time]
    np.testing.assert_allclose(found["numbers"], np.stack([[0, 0.6, 1, 0], ages], 1), rtol=1e-6)
    for n, (u, t) in enumerate(zip(user, time, strict=True)):
        own = [k for v, k, s in zip(log.searches.user, tokens, log.searches.timestamp, strict=True) if v == u and s < t]
        start = found["search_start"][n]
        assert tokens[start : start + found["search_length"][n]].tolist() == own[-4:]


def test_a_query_is_after_all_and_of_age_0(log):
    found = user_features.fit(log, ALL, 4).columns(log, np.arange(10), None)
    assert (found["numbers"][:, -1] == 0).all()
    assert found["search_length"].tolist() == np.minimum(np.bincount(log.searches.user, minlength=10), 4).tolist()


def test_a_category_that_training_did_not_have(log):
    country = log.user_features["country"].copy()
    country[9] = 7
    part = replace(log, user_features={"country": country}).take(log.user != 9)
    encoding = user_features.fit(part, ALL, 4)
    assert encoding.columns(part, np.array([9, 2]), None)["codes"].tolist() == [[-1], [1]]


def test_examples_have_what_the_data_has(log):
    """All of it, and none: without times, searches or features of users only the watches are left."""
    split = splits.temporal(log, 0)
    examples = tasks.candidate_examples(split, longest=5, longest_searches=4, per_user=3)
    assert {"codes", "numbers", "search_start"} <= examples.train.keys() == examples.test.keys() | {"item"}
    assert examples.spec.num_tokens == 9 and examples.spec.num_numbers == 2 and examples.spec.search_length == 4
    assert (examples.train["numbers"][:, -1] == 0).any() and (examples.test["numbers"][:, -1] == 0).all()
    bare = from_raw(log.user, log.item)
    examples = tasks.candidate_examples(splits.random(bare, 0), longest=5, per_user=3)
    assert examples.train.keys() == {"user", "item", "history_start", "history_length"}
    watches = tasks.candidate_examples(split, longest=5, per_user=3, features=())
    assert watches.train.keys() == examples.train.keys() and "search_log" not in watches.constants


def test_queries_know_nothing_of_the_held_out_part(log):
    split = splits.temporal(log, 0, fraction=0.5)
    examples = tasks.candidate_examples(split, longest=5, longest_searches=30, per_user=3)
    before = log.searches.timestamp <= split.train.timestamp.max()
    known = np.bincount(log.searches.user[before], minlength=10)
    assert examples.test["search_length"].tolist() == known.tolist() and before.sum() < 30


def test_names_that_are_no_feature(log):
    split = splits.temporal(log, 0)
    with pytest.raises(InputError, match="feature 'serches': there are searches, users and example_age"):
        tasks.candidate_examples(split, features=("serches",))
    with pytest.raises(InputError, match="longest_searches is 0"):
        tasks.candidate_examples(split, longest_searches=0)
