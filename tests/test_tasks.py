"""Tasks: lists from a Scorer against a sort of each user's scores."""

import numpy as np
import pytest

from zoo import evaluate, names, run, tasks
from zoo.data import splits
from zoo.data.interactions import from_raw
from zoo.data.simulate_pages import simulate_pages
from zoo.data.splits import Split
from zoo.errors import InputError
from zoo.tasks import watches


@pytest.mark.parametrize("users_a_block", [1, 3, 1000])
def test_lists_from_scores(monkeypatch, users_a_block):
    """Whole blocks, a shorter last one, and all users in one; items that a user has are left out."""
    job = names.job(names.Request("mf/rating", "simulated:num_users=50,num_videos=40,num_watches=400"))
    prepared = run.prepare(job)
    state, examples = prepared.initial(), prepared.examples
    seen = evaluate.lists_by_user(prepared.split.train)
    monkeypatch.setattr(evaluate, "BLOCK_BYTES", users_a_block * 4 * 40)
    users = np.array([4, 17, 4, 30, 49, 0, 8], np.int32)
    ids, scores = tasks.recommend_by_scores(prepared.model, state, examples, users, seen, 5)
    assert ids.shape == scores.shape == (7, 5)
    user, item = np.float64(state.tables["user"]), np.float64(state.tables["item"])
    all_scores = examples.spec.rating_mean + user[:, -1:] + item[:, -1] + user[:, :-1] @ item[:, :-1].T
    for row, had in enumerate(users):
        unseen = sorted(set(range(40)) - set(seen.items[seen.offsets[had] : seen.offsets[had + 1]].tolist()))
        want = sorted(unseen, key=lambda item: -all_scores[had, item])[:5]
        assert ids[row].tolist() == want
        np.testing.assert_allclose(scores[row], all_scores[had, want], rtol=1e-5)


def test_the_next_watch_is_judged_by_its_rank():
    found = watches._of_ranks(np.array([1, 2, 8]), ("map", "map@5", "recall@5", "hit_rate@1"))
    assert found == pytest.approx(
        {"map": (1 + 1 / 2 + 1 / 8) / 3, "map@5": (1 + 1 / 2) / 3, "recall@5": 2 / 3, "hit_rate@1": 1 / 3}
    )
    for name in ("recall_tail@5", "ndcg@5"):
        with pytest.raises(InputError, match=f"'{name}' does not judge next watches"):
            watches._of_ranks(np.array([1]), (name,))


def test_a_vocabulary_without_a_video_is_refused():
    split = splits.temporal(simulate_pages(num_users=40, num_videos=30, num_watches=230), 0)
    most = int(np.bincount(split.train.item).max())
    with pytest.raises(InputError, match=f"shown {most + 1} times .* is {most}: --set least_shown=1"):
        tasks.impression_examples(split, least_shown=most + 1)


def test_means_of_ratings_by_hand():
    """Deviations are damped: of items by 10, of users by 15 after items, by 5 alone."""
    rows = np.array([(0, 0, 5), (0, 1, 3), (1, 0, 4), (1, 2, 1), (2, 1, 2), (0, 2, 2), (2, 0, 5)])
    data = from_raw(rows[:, 0], rows[:, 1], rating=rows[:, 2])
    split = Split(data.take(np.arange(5)), data.take(np.arange(5, 7)))
    train, test, mean = rows[:5].tolist(), rows[5:].tolist(), 3.0

    def damped(column, by, residual):
        own = [[residual(*row) for row in train if row[column] == n] for n in range(3)]
        return [sum(values) / (by + len(values)) for values in own]

    item, alone = damped(1, 10, lambda u, i, r: r - mean), damped(0, 5, lambda u, i, r: r - mean)
    user = damped(0, 15, lambda u, i, r: r - mean - item[i])
    want = {
        "global_mean": [mean for _ in test],
        "user_mean": [mean + alone[u] for u, _, _ in test],
        "item_mean": [mean + item[i] for _, i, _ in test],
        "user_item_mean": [mean + user[u] + item[i] for u, i, _ in test],
    }
    found = tasks.rating_baselines(split)
    assert found.keys() == want.keys()
    for name, predicted in want.items():
        errors = np.array(predicted) - [r for _, _, r in test]
        assert found[name] == pytest.approx({"rmse": np.sqrt(np.mean(errors**2)), "mae": np.abs(errors).mean()})


def test_ranks_and_histories_of_next_watches_are_loops(monkeypatch):
    rng = np.random.default_rng(0)
    data = from_raw(rng.integers(0, 6, 90), rng.integers(0, 15, 90), timestamp=rng.permutation(90))
    split, asked = splits.temporal(data, 0, fraction=0.4), {}
    test, whole = split.test, split.train.followed_by(split.test)
    queries, items = (rng.integers(0, 3, (n, 4)).astype(np.float32) for n in (len(test), data.num_items))

    def query_vectors(model, state, constants, columns):
        asked.update(columns, log=constants["history_log"])
        return queries

    monkeypatch.setattr(evaluate, "query_vectors", query_vectors)
    watches.next_watch_queries(None, None, tasks.history_examples(split, longest=3), split)
    want = []
    for n in range(len(test)):
        rows = np.flatnonzero((whole.user == test.user[n]) & (whole.timestamp < test.timestamp[n]))
        past = whole.item[rows[np.argsort(whole.timestamp[rows])]].tolist()
        start, length = asked["history_start"][n], asked["history_length"][n]
        assert asked["log"][start : start + length].tolist() == past[-3:]
        scores = items @ queries[n]
        listed = set(range(data.num_items)) - set(past) | {int(test.item[n])}
        want.append(sum(bool(scores[item] >= scores[test.item[n]]) for item in listed))
    assert watches._ranks(queries, items, test.item, *watches._had(split)).tolist() == want
