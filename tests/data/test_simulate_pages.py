"""Pages of the simulated site: the bands of record 0006, and the truth against frequencies.

`python -m tests.data.test_simulate_pages 0 1 2 3 4` prints the table of decision record 0006 for these world seeds.
"""

import sys

import numpy as np
import pytest

from zoo.data import simulate as world
from zoo.data import simulate_pages as site
from zoo.data.simulate_pages import judge, simulate_pages
from zoo.metrics import weighted_user_loss


def measure(pages):
    truth, num_items = pages.truth, pages.watches.num_items
    expected = truth.click_probability * truth.seconds_if_clicked
    of_video = np.bincount(pages.item, pages.watch_seconds, num_items)
    of_video = of_video / np.maximum(np.bincount(pages.item, minlength=num_items), 1)

    def loss(scores):
        return weighted_user_loss(scores, pages.click, pages.watch_seconds, pages.page)

    def best(scores):
        """Mean expected seconds of the first video of each page."""
        order = np.lexsort((-scores, pages.page))
        return expected[order][np.unique(pages.page[order], return_index=True)[1]].mean()

    return {
        "click rate": pages.click.mean(dtype=np.float64),
        "seconds by clicks / best": best(truth.click_probability) / best(expected),
        "oracle": loss(expected / (1 - truth.click_probability)),
        "by P(click)": loss(truth.click_probability),
        "by mean of video": loss(of_video[pages.item]),
    }


@pytest.fixture(scope="module")
def default():
    return simulate_pages()


def test_bands(default):
    found = measure(default)
    assert 0.02 <= found["click rate"] <= 0.08
    assert found["seconds by clicks / best"] <= 0.85
    assert 0.10 <= found["oracle"] <= 0.30
    assert min(found["by P(click)"], found["by mean of video"]) >= 1.2 * found["oracle"]


def test_the_truth_is_that_of_the_frequencies(default):
    """Clicks and watch seconds in each tenth of the true probabilities, and of the expected seconds."""
    truth = default.truth
    expected = truth.click_probability * truth.seconds_if_clicked
    for value, happened in ((truth.click_probability, default.click), (expected, default.watch_seconds)):
        tenth = np.argsort(np.argsort(value)) * 10 // len(value)
        size = np.bincount(tenth)
        promised, found = np.bincount(tenth, value) / size, np.bincount(tenth, happened) / size
        spread = np.sqrt(np.bincount(tenth, (happened - found[tenth]) ** 2)) / size
        assert (np.abs(promised - found) < 4 * spread).all()


def test_bait_draws_clicks_and_shortens_the_watch(default):
    truth = default.truth
    bait = truth.bait[default.item]
    assert np.corrcoef(bait, truth.click_probability)[0, 1] > 0.1
    assert np.corrcoef(bait, truth.seconds_if_clicked)[0, 1] < -0.1


@pytest.fixture(scope="module")
def small():
    return simulate_pages(num_users=60, num_videos=40, num_watches=400)


def test_one_impression_by_hand(small):
    """Its log odds from loops over the log, its mean watch from many draws."""
    log, truth, rng = small.watches, small.watches.truth, np.random.default_rng(0)
    for n in rng.integers(len(small), size=20):
        user, item, moment = small.user[n], small.item[n], small.timestamp[n]
        match = (sum(truth.users.moods[user, k] * truth.videos.affinity[k, item] for k in range(16)) - 3) / 2
        times = [
            time
            for u, v, time in zip(log.user, log.item, log.timestamp, strict=True)
            if u == user and truth.videos.topic[v] == truth.videos.topic[item] and time < moment
        ]
        primed = np.exp(-(moment - max(times)) / world.DAY_SECONDS) if times else 0
        shown = ((small.user == user) & (small.item == item) & (small.timestamp < moment)).sum()
        bait, quality = small.truth.bait[item], truth.videos.quality[item]
        odds = np.exp(-3.4 + match + 0.7 * bait + 0.2 * quality + 0.7 * primed - 0.4 * np.log2(1 + shown))
        assert small.truth.click_probability[n] == pytest.approx(odds / (1 + odds), rel=1e-4)
        length = truth.videos.length_seconds[item]
        held = 0.8 * match + 0.5 * quality - 0.5 * np.log(length / 300) - 0.7 * bait
        draws = length / (1 + np.exp(-held - 0.7 * rng.standard_normal(20_000)))
        assert small.truth.seconds_if_clicked[n] == pytest.approx(draws.mean(), rel=0.02)


def test_any_video_at_any_time_can_be_judged(small):
    shown = np.zeros(len(small), int)
    for n, (user, item) in enumerate(zip(small.user, small.item, strict=True)):
        shown[n] = ((small.user == user) & (small.item == item) & (small.timestamp < small.timestamp[n])).sum()
    probability, seconds = judge(small.watches, small.truth.bait, small.user, small.item, small.timestamp, shown)
    np.testing.assert_allclose(probability, small.truth.click_probability, rtol=1e-5)
    np.testing.assert_allclose(seconds, small.truth.seconds_if_clicked, rtol=1e-5)


def test_pages_keep_their_promises(small):
    assert (np.diff(small.timestamp) >= 0).all() and small.times_out_of_order == 0
    assert len(np.unique(small.page.astype(np.int64) * 40 + small.item)) == len(small)
    log = small.watches
    watched = {(u, v): time for u, v, time in zip(log.user, log.item, log.timestamp, strict=True)}
    for user, item, time in zip(small.user, small.item, small.timestamp, strict=True):
        assert watched.get((user, item), time) >= time
    upload = log.item_features["upload_time"][small.item]
    assert (upload < small.timestamp).all()
    assert (small.watch_seconds[small.click == 0] == 0).all()
    assert (small.watch_seconds <= log.item_features["length_seconds"][small.item]).all()


def test_equal_arguments_give_equal_pages_and_the_world_is_as_it_was(small):
    again = simulate_pages(num_users=60, num_videos=40, num_watches=400)
    plain = world.simulate(num_users=60, num_videos=40, num_watches=400)
    for name in ("page", "user", "item", "timestamp", "click", "watch_seconds"):
        np.testing.assert_array_equal(getattr(small, name), getattr(again, name))
    for name in ("user", "item", "timestamp", "rating"):
        np.testing.assert_array_equal(getattr(small.watches, name), getattr(plain, name))
    other = simulate_pages(num_users=60, num_videos=40, num_watches=400, seed=1)
    assert not np.array_equal(small.click[:50], other.click[:50])
    assert site.SLOTS >= np.bincount(small.page).max()


if __name__ == "__main__":
    for number, seed in enumerate(sys.argv[1:]):
        found = measure(simulate_pages(seed=int(seed)))
        if number == 0:
            print(f"| seed | {' | '.join(found)} |\n{'|---' * (len(found) + 1)}|")
        print(f"| {seed} | {' | '.join(f'{value:.4f}' for value in found.values())} |")
