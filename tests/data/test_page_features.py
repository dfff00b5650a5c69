"""What is known at an impression, against loops over the log; the encoding knows training rows alone."""

import numpy as np
import pytest

from zoo.data import likeness, page_features, splits
from zoo.data.page_features import cdf, place
from zoo.data.simulate_pages import simulate_pages


@pytest.fixture(scope="module")
def split():
    return splits.temporal(simulate_pages(num_users=40, num_videos=30, num_watches=230), 0)


def test_numbers_are_loops_over_what_was_before(split):
    rows, shown = split.test, split.train.followed_by(split.test)
    log = rows.watches
    found = page_features.numbers(log, page_features.asked(rows, shown), likeness.fit(log, rows.timestamp))
    topic, language = log.item_features["topic"], log.item_features["language"]
    for n in range(0, len(rows), 5):
        user, item, moment = rows.user[n], rows.item[n], rows.timestamp[n]
        before = [(t, v) for u, v, t in zip(log.user, log.item, log.timestamp, strict=True) if u == user and t < moment]
        of_topic = [t for t, v in before if topic[v] == topic[item]]
        assert found["watches of all"][n] == len(before) and found["watches of topic"][n] == len(of_topic)
        assert found["share of topic"][n] == len(of_topic) / max(len(before), 1)
        alike = [v for _, v in before if topic[v] == topic[item] and language[v] == language[item]]
        assert found["watches of all categories"][n] == len(alike)
        assert found["seconds since topic"][n] == (moment - max(of_topic) if of_topic else np.inf)
        earlier = (shown.user == user) & (shown.item == item) & (shown.timestamp < moment)
        assert found["impressions before"][n] == earlier.sum() and found["moment"][n] == moment
        assert found["video age_seconds"][n] == moment - log.item_features["upload_time"][item]
        assert found["user age_years"][n] == log.user_features["age_years"][user]


def test_the_place_among_training_values():
    """By linear interpolation between quantiles; ties stand in the middle, never beyond all."""
    values = np.concatenate([np.arange(101.0)])
    np.testing.assert_allclose(place(np.array([-3, 0, 25, 50.5, 100, 200]), cdf(values)), [0, 0, 0.25, 0.505, 1, 1])
    counts = np.repeat([0.0, 1.0, 2.0], [60, 30, 10])
    found = place(np.array([0.0, 1.0, 2.0]), cdf(counts))
    np.testing.assert_allclose(found, [0.295, 0.745, 0.95], atol=0.01)
    never = np.concatenate([np.arange(50.0), np.full(50, np.inf)])
    np.testing.assert_allclose(place(np.array([49.0, np.inf]), cdf(never)), [0.5, 1.0])


def test_the_encoding_knows_training_rows_alone(split):
    train, test = split.train, split.test
    shown = train.followed_by(test)
    at = page_features.asked(train, shown)
    encoding = page_features.fit(train, at, most_videos=10, least_shown=5)
    clicks = np.bincount(train.item[train.click > 0], minlength=30)
    often = np.bincount(train.item, minlength=30) >= 5
    kept, left = encoding.videos >= 0, (encoding.videos < 0) & often
    assert encoding.num_videos == kept.sum() == 10 and often[kept].all() and clicks[kept].min() >= clicks[left].max()
    columns = encoding.columns(train.watches, page_features.asked(test, shown))
    moment = list(encoding.quantiles).index("moment")
    assert (columns["numbers"][:, moment] == 1).all(), "what follows training has the place of its last moment"
    assert columns["numbers"].min() >= 0 and columns["numbers"].max() <= 1
    assert columns["codes"].shape[1] == len(encoding.sizes) == 4
    assert (columns["codes"].max(0) < encoding.sizes).all()
    again = page_features.fit(train, page_features.asked(train, train), most_videos=10, least_shown=5)
    for name, quantiles in encoding.quantiles.items():
        np.testing.assert_array_equal(quantiles, again.quantiles[name])
    assert page_features.rows_of(np.array([0, 7]), np.array([-1, 0, 1])).tolist() == [-1, -1]
