"""Tasks: lists from a Scorer against a sort of each user's scores."""

import numpy as np
import pytest

from zoo import evaluate, names, run, tasks


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
