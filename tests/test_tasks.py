"""Tasks: lists from a Scorer against a sort of each user's scores."""

import numpy as np
import pytest

from zoo import evaluate, names, run, tasks
from zoo.data import splits
from zoo.data.simulate_pages import simulate_pages
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
