"""The funnel: what it sees, what it lists, and what its lists are worth, on one small run of both its models."""

import json
from dataclasses import replace

import numpy as np
import pytest

import zoo
from zoo import evaluate, export, funnel
from zoo.__main__ import main
from zoo.data import splits
from zoo.data.simulate_pages import judge
from zoo.errors import InputError
from zoo.inner_products import exact, quantised


pytestmark = pytest.mark.slow

WORLD = "simulated:num_users=300,num_videos=150,num_watches=6000"
SMALL = {"candidates.epochs": 4, "ranking.epochs": 6}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return zoo.train("youtube/smoke", data=WORLD, workdir=tmp_path_factory.mktemp("funnel") / "run", **SMALL)


@pytest.fixture(scope="module")
def again(run):
    return zoo.load(run.folder)


def watched_by(run, user):
    log = run.ranking.job.interactions.watches
    return set(log.item_ids[log.item[log.user_ids[log.user] == user]].tolist())


def test_its_record_is_of_the_whole(run):
    record = json.loads((run.folder / "record.json").read_text())
    assert (record["model"], record["recipe"], record["data"]) == ("youtube", "smoke", WORLD)
    assert record["training"]["epochs"] == 10  # each setting went to its part
    assert record["data_sha256"] == run.ranking.record["data_sha256"] == run.ranking.job.names["data_sha256"]
    values = {name: found["expected_watch_seconds"] for name, found in record["baselines"].items()}
    values["funnel"] = record["metrics"]["test"]["expected_watch_seconds"]
    assert max(values.values()) == values["oracle"] and values["candidates"] < values["funnel"]
    assert min(values.values()) == values["popularity"]


def test_both_models_learn_from_what_lies_before_the_ranking_is_judged(run):
    moment = run.ranking.prepared.split.test.timestamp.min()
    assert run.ranking.prepared.split.train.timestamp.max() < moment
    assert run.prepared.split.train.timestamp.max() < moment <= run.prepared.split.test.timestamp.min()


def test_the_ranking_is_asked_as_it_was_trained(run):
    """A held-out impression has the score of its row, and that of the same video listed at that moment."""
    prepared = run.ranking.prepared
    rows = evaluate.score(prepared.model, run.ranking.state, prepared.examples.constants, prepared.examples.test)
    test = prepared.split.test
    for n in (0, 400, len(test) - 1):
        site = funnel.site_at(run.ranking.job.interactions, int(test.timestamp[n]))
        asked = funnel.score(run.ranking, site, test.user[n : n + 1], test.item[n : n + 1, None])
        np.testing.assert_allclose(asked[0, 0], rows[n], rtol=1e-4)


def test_a_new_video_and_a_new_user_are_served(tmp_path):
    """A video that nobody was shown or watched, and a user of whom no more than the features is known."""
    whole = zoo.load_data("simulated", zoo.Impressions, num_users=300, num_videos=150, num_watches=6000)
    log, user = whole.watches, 11
    video = int(np.argsort(log.item_features["upload_time"])[100])
    shown = whole.take((whole.item != video) & (whole.user != user))
    data = replace(shown, truth=None, watches=log.take((log.item != video) & (log.user != user)))
    run = zoo.train("youtube/smoke", data=data, workdir=tmp_path / "run", **SMALL)
    ids, seconds, retrieval = run.ranked(data.user_ids[[3, user]], k=150)
    for row in range(2):
        place = ids[row].tolist().index(data.item_ids[video])
        assert np.isfinite([seconds[row, place], retrieval[row, place]]).all() and seconds[row, place] > 0
    assert np.isfinite(seconds[1]).all() and len(set(ids[1].tolist())) == 150  # nothing has been watched
    assert not np.array_equal(seconds[1], run.ranked([9999], k=150)[1][0])  # of whom not even the features are known


def test_lists_are_the_best_of_the_candidates(run):
    """Against a loop: sort all dot products, take those not watched, sort these by the ranking."""
    world = run.ranking.job.interactions
    site = funnel.site_at(world, funnel.after_all(world))
    users = np.array([3, 250])
    vectors = np.asarray(funnel.item_vectors(run, site))
    columns = {"history_start": site.first[users], "history_length": site.first[users + 1] - site.first[users]}
    length = run.prepared.examples.spec.history_length
    bags = [site.watches.item[s : s + n][-length:] for s, n in zip(*columns.values(), strict=True)]
    table, nobody = np.asarray(run.state.tables["video"]), np.asarray(run.state.params["nobody"])
    ids, seconds, retrieval = run.ranked(world.user_ids[users], k=5, retrieved=20)
    for row, bag in enumerate(bags):
        dots = vectors @ (table[bag].mean(0) + nobody)
        had = watched_by(run, world.user_ids[users[row]])
        kept = [i for i in np.argsort(-dots, kind="stable") if world.item_ids[site.items[i]] not in had][:20]
        scores = funnel.score(run.ranking, site, users[row : row + 1], site.items[kept][None])[0]
        order = np.argsort(-scores, kind="stable")[:5]
        np.testing.assert_array_equal(ids[row], world.item_ids[site.items[np.array(kept)[order]]])
        np.testing.assert_allclose(seconds[row], np.exp(scores[order]), rtol=1e-5)
        np.testing.assert_allclose(retrieval[row], dots[kept][order], rtol=1e-4, atol=1e-5)


def test_what_a_list_brings_is_the_sum_of_what_its_videos_bring(run):
    world = run.ranking.job.interactions
    now = int(run.ranking.prepared.split.test.timestamp.min())
    site = funnel.site_at(world, now)
    search = exact(funnel.item_vectors(run, site))
    users = np.arange(300, dtype=np.int32)
    listed = funnel.recommend(run, run.ranking, search, site, users, 10).items
    user, item = np.repeat(users, 10), listed.ravel()
    before = world.timestamp < now
    shown = [np.sum(before & (world.user == u) & (world.item == i)) for u, i in zip(user, item, strict=True)]
    pair = judge(world.watches, world.truth.bait, user, item, np.full(len(user), now), np.array(shown))
    assert run.metrics["expected_watch_seconds"] == pytest.approx((pair[0] * pair[1]).sum() / 300, rel=1e-6)
    upload = world.watches.item_features["upload_time"]
    assert len(site.items) == (upload < now).sum() < 150 and (upload[listed] < now).all()


def test_watched_videos_are_listed_only_when_asked_for(run, again):
    users = [3, 17, 299]
    ids, seconds, retrieval = again.ranked(users, k=10)
    same = run.ranked(users, k=10)
    for one, two in zip((ids, seconds, retrieval), same, strict=True):
        np.testing.assert_array_equal(one, two)
    for row, user in enumerate(users):
        assert not set(ids[row].tolist()) & watched_by(run, user)
    assert (np.diff(seconds, axis=1) <= 0).all() and (seconds > 0).all()
    everything, _, _ = run.ranked([3], k=150, again=True)
    assert watched_by(run, 3) <= set(everything[0].tolist()) and len(set(everything[0].tolist())) == 150
    seconds = run.ranked([3], k=150)[1]
    assert np.isfinite(seconds).sum() == 150 - len(watched_by(run, 3))


def test_a_stranger_gets_a_list_and_is_told_so(run, capsys):
    assert main(["recommend", str(run.folder), "--user", "9999", "-k", "5"]) == 0
    out, err = capsys.readouterr()
    head, *lines = out.splitlines()
    assert head == "item\texpected_seconds\tretrieval" and len(lines) == 5
    assert "unknown user 9999" in err and "as for a new user" in err and err.count("\n") == 1
    nobody = np.asarray(run.state.params["nobody"])
    first, _, score = lines[0].split("\t")
    row = np.searchsorted(run.interactions.item_ids, int(first))
    assert float(score) == pytest.approx(nobody @ np.asarray(run.state.tables["video"])[row], abs=1e-4)


def test_a_file_of_a_stranger_has_the_strangers_id(run, tmp_path, capsys):
    path = tmp_path / "lists.csv"
    assert main(["recommend", str(run.folder), "--user", "9999", "-k", "2", "--output", str(path)]) == 0
    assert [line.partition(",")[0] for line in path.read_text().splitlines()] == ["user", "9999", "9999"]


def test_a_list_does_not_depend_on_who_else_is_asked(run):
    """Nor on the order; the same call twice is the same bits."""
    many = [17, 9999, 3, 299]
    together, again = run.ranked(many, k=10), run.ranked(many, k=10)
    for one, two in zip(together, again, strict=True):
        np.testing.assert_array_equal(one, two)
    for row, user in enumerate(many):
        ids, seconds, _ = run.ranked([user], k=10)
        np.testing.assert_array_equal(ids[0], together[0][row])
        np.testing.assert_allclose(seconds[0], together[1][row], rtol=1e-5)


def test_a_quantised_search_lists_the_same(run):
    """Its candidates are scored in float32 too; a retrieval of all that there is leaves none to miss."""
    exactly, quickly = (run.ranked([3, 9999], k=10, retrieved=50, search=search) for search in (exact, quantised))
    for one, two in zip(exactly, quickly, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    """The candidate generation of the recipe that reads searches, users and the age of an example."""
    settings = {"epochs": 1, "candidates.per_user": 10, "candidates.embedding_dim": 8, "batch_size": 256}
    return zoo.train("youtube/watch", data=WORLD, workdir=tmp_path_factory.mktemp("described") / "run", **settings)


def test_a_new_user_is_known_by_searches_and_description(described):
    """Without a watch: the query of an empty history, of the searches before that moment, at age 0."""
    world, examples = described.ranking.job.interactions, described.prepared.examples
    now, users = int(np.quantile(world.timestamp, 0.9)), np.array([3, 17], np.int32)
    watches = world.watches.take(~np.isin(world.watches.user, users))
    site = funnel.site_at(replace(world, watches=watches), now)
    _, scores = funnel.retrieve(described, exact(funnel.item_vectors(described, site)), site, users, 5)
    tokens, length = world.watches.searches, examples.spec.search_length
    bags = [tokens.token[(tokens.user == u) & (tokens.timestamp < now)][-length:] for u in users]
    assert all(len(bag) > 0 for bag in bags)
    batch = {
        "user": users,
        **{name: np.zeros(2, np.int32) for name in ("history_start", "history_length")},
        "search_start": np.array([0, len(bags[0])], np.int32),
        "search_length": np.array([len(bag) for bag in bags], np.int32),
        "codes": np.stack([world.watches.user_features[name][users] for name in ("country", "device")], 1),
        "numbers": examples.test["numbers"][users],
    }
    assert (batch["numbers"][:, -1] == 0).all()
    constants = {**examples.constants, "search_log": np.concatenate(bags)}
    queries = evaluate.query_vectors(described.prepared.model, described.state, constants, batch)
    vectors = np.asarray(funnel.item_vectors(described, site))
    want = np.sort(np.asarray(queries) @ vectors.T, axis=1)[:, ::-1][:, :5]
    np.testing.assert_allclose(scores, want, rtol=1e-4, atol=1e-5)
    assert not np.array_equal(scores[0], scores[1])


def test_a_new_video_is_served(described):
    """One uploaded just now is among what can be listed."""
    world = described.ranking.job.interactions
    upload = world.watches.item_features["upload_time"]
    site = funnel.site_at(world, int(upload.max()) + 1)
    newest = int(upload.argmax())
    found, _ = funnel.retrieve(
        described, exact(funnel.item_vectors(described, site)), site, np.array([3], np.int32), 150
    )
    assert newest in found[0].tolist()
    ids, promised, _ = described.ranked([3, 10**6], k=5)
    assert np.isfinite(promised).all() and ids.shape == (2, 5)


def test_an_exported_query_takes_searches(described, tmp_path):
    described.export(tmp_path / "funnel.npz")
    loaded, examples = export.load(tmp_path / "funnel.npz"), described.prepared.examples
    assert set(loaded.manifest["parts"]["query"]["inputs"]) == {"history", "searches", "codes", "numbers"}
    columns, given = {name: column[:4] for name, column in examples.test.items()}, {}
    for name, (start, length, log) in export.BAGS.items():
        given[name] = np.full((4, 50), -1, np.int32)
        for row in range(4):
            bag = examples.constants[log][columns[start][row] :][: columns[length][row]]
            given[name][row, : len(bag)] = bag
    given |= {name: columns[name] for name in ("codes", "numbers")}
    want = evaluate.query_vectors(described.prepared.model, described.state, examples.constants, columns)
    np.testing.assert_allclose(loaded.functions["query"](**given), want, rtol=1e-5, atol=1e-6)
    assert {"users.codes.country", "users.numbers.age_years", "users.training"} <= loaded.arrays.keys()


def test_the_commands_know_the_funnel(run, capsys, tmp_path):
    assert main(["evaluate", str(run.folder), "--metrics", "expected_watch_seconds"]) == 0
    assert capsys.readouterr().out == f"expected_watch_seconds\t{run.metrics['expected_watch_seconds']:.6f}\n"
    assert main(["list"]) == 0
    assert "youtube/watch" in capsys.readouterr().out
    assert main(["describe", "youtube/smoke", "--data", WORLD]) == 0
    out = capsys.readouterr().out
    assert "youtube_candidates/smoke" in out and "youtube_ranking/smoke" in out
    output = tmp_path / "lists.csv"
    assert main(["recommend", str(run.folder), "--all-users", "-k", "3", "--output", str(output)]) == 0
    assert len(output.read_text().splitlines()) == 901
    for words, message in (
        (["tune", "youtube"], "youtube is a funnel, which is trained whole"),
        (["train", "youtube/quick"], "unknown recipe 'quick'"),
        (["train", "youtube", "--split", "random"], "judged from one moment on"),
        (["train", "youtube/smoke", "--data", WORLD, "--workdir", str(run.folder)], "holds a run already"),
        (["evaluate", str(run.folder), "--metrics", "auc"], "does not judge a funnel"),
    ):
        assert main(words) == 2
        error = capsys.readouterr().err.strip()
        assert message in error and "\n" not in error


def test_interactions_do_not_join(run):
    with pytest.raises(InputError, match="no graph"):
        run.recommend([3], interactions=run.interactions)


def test_validation_looks_at_no_test_row(tmp_path):
    """Both models are judged on the same validation rows; the test part is in neither."""
    data = zoo.load_data("simulated", zoo.Impressions, num_users=300, num_videos=150, num_watches=6000)
    run = zoo.train("youtube/smoke", data=data, validate=True, workdir=tmp_path / "run", **SMALL)
    assert list(run.record["metrics"]) == ["valid"]
    test = splits.temporal(data, 0).test
    for part in (run.prepared.split, run.ranking.prepared.split):
        assert part.train.timestamp.max() < part.test.timestamp.min()
        assert part.test.timestamp.max() < test.timestamp.min()
    assert run.ranked([3], k=5)[0].shape == (1, 5)
    with pytest.raises(InputError, match="is not kept in a file"):
        zoo.load(run.folder).evaluate()


def test_a_file_of_ones_own(tmp_path, capsys):
    """No truth: the funnel is judged by the metrics of its two models."""
    rng = np.random.default_rng(0)
    rows = []
    for page in range(500):
        clicked = rng.integers(3)
        for place, item in enumerate(rng.permutation(30)[:3]):
            rows.append(f"{page % 20},v{item},{page},{int(place == clicked)},{30 * (place == clicked)}")
        rows.append(f"quiet,v{page % 30},{page},0,0")  # who is shown much and clicks nothing: an empty history
    path = tmp_path / "shown.csv"
    path.write_text("\n".join(["user,item,timestamp,click,watch_seconds", *rows]))
    asked = ["train", "youtube/smoke", "--data", str(path), "--quiet", "--workdir", str(tmp_path / "run")]
    assert main(asked) == 0
    found = zoo.load(tmp_path / "run")
    assert {"recall@10", "weighted_user_loss"} <= set(found.metrics) and found.evaluate() == found.metrics
    assert np.isfinite(found.ranked(["3"], k=2)[1]).any()
    ids, seconds, _ = found.ranked(["quiet"], k=30)
    assert np.isfinite(seconds).all() and len(set(ids[0].tolist())) == 30
    capsys.readouterr()
    assert main(["recommend", str(tmp_path / "run"), "--user", "quiet", "-k", "2"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 3 and not err


def test_a_funnel_ranked_by_clicks(tmp_path):
    settings = {"epochs": 1, "candidates.per_user": 10, "candidates.embedding_dim": 8, "batch_size": 256}
    run = zoo.train("youtube/clicks", data=WORLD, workdir=tmp_path / "run", **settings)
    promised = run.ranked([3], k=5)[1]
    assert run.promise == "click_probability" and ((promised > 0) & (promised < 1)).all()
    assert set(run.ranking.metrics) == {"weighted_user_loss", "auc"}
