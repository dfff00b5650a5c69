"""Recommendations and predictions for users and items that are described by fields."""

import numpy as np
import pytest

import zoo
from tests.test_command_line import refused
from zoo import evaluate
from zoo.__main__ import main


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """fm/rating on ratings whose items have an author; the age of a user is a number."""
    folder = tmp_path_factory.mktemp("described")
    rng = np.random.default_rng(0)
    rows = [
        f"{user},{item},{'ab'[user % 2]},{20 + user},{'xyz'[item % 3]},{rng.integers(1, 6)}"
        for user in range(1, 21)
        for item in range(1, 13)
        if (user * item) % 4 != 1
    ]
    path = folder / "mine.csv"
    path.write_text("\n".join(["user,item,city,age:float,author,label", *rows]) + "\n")
    settings = {"epochs": 2, "embedding_dim": 4, "init_scale": 0.3}
    return zoo.train("fm/rating", data=str(path), workdir=folder / "run", **settings)


def raw_rows(table):
    columns = {name: levels[codes] for name, levels, codes in zip(table.names, table.levels, table.codes.T)}
    return columns | {name: numbers for name, numbers in zip(table.numeric_names, table.numbers.T)}


def test_predictions_of_described_rows_are_those_that_were_judged(run):
    examples, test = run.prepared.examples, run.prepared.split.test
    judged = np.clip(evaluate.score(run.prepared.model, run.state, {}, examples.test), *examples.spec.rating_range)
    columns = raw_rows(test)
    np.testing.assert_allclose(run.predict(run.describe(columns)), judged, rtol=1e-5)
    again = zoo.load(run.folder)  # which fits the encoding anew
    np.testing.assert_array_equal(again.predict(again.describe(columns)), run.predict(run.describe(columns)))
    pairs = {name: columns[name] for name in ("user", "item")}  # all else comes from the table
    found = run.describe(pairs, item_fields=["author"])
    np.testing.assert_allclose(run.predict(found), judged, rtol=1e-5)
    assert np.sqrt(np.mean((judged - test.label) ** 2)) == pytest.approx(run.metrics["rmse"], abs=1e-5)


def test_lists_of_described_users_are_the_best_predictions(run):
    described = {"user": [5, 404], "city": ["b", "a"], "age:float": ["25", "40"]}
    rows = run.describe(described, item_fields=["author"])
    ids, scores = run.recommend_described(rows, 12)
    for row, user in enumerate((5, 404)):
        items = [item for item in range(1, 13) if user == 404 or (user * item) % 4 == 1]
        pairs = {name: [values[row]] * len(items) for name, values in described.items()} | {"item": items}
        predicted = run.predict(run.describe(pairs, item_fields=["author"]))
        there = np.isfinite(scores[row])
        assert there.sum() == len(items)
        best = np.argsort(-predicted, kind="stable")
        np.testing.assert_allclose(scores[row, there], predicted[best], rtol=1e-5)
        assert set(ids[row, there].tolist()) == set(map(str, items))


def test_recommend_for_described_users_on_the_command_line(run, capsys, tmp_path):
    place = ["recommend", str(run.folder), "-k", "2", "--item-fields", "author"]
    assert main([*place, "--user", "5"]) == 0
    known = capsys.readouterr()
    assert main([*place, "--field", "user=5"]) == 0
    assert capsys.readouterr() == known and len(known.out.splitlines()) == 2 and not known.err
    assert main([*place, "--field", "age:float=31", "--field", "city=paris"]) == 0
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 2 and "not given, so blank: user\n" in shown.err
    assert "1 value of 1 row not known from training, taken as unknown: city (1)" in shown.err
    file, output = tmp_path / "rows.csv", tmp_path / "lists.csv"
    file.write_text("age:float,city\n31,paris\n,a\n")
    assert main([*place, "--rows", str(file), "--output", str(output)]) == 0
    assert "4 rows for 2 described rows" in capsys.readouterr().out
    lines = [line.split(",") for line in output.read_text().splitlines()]
    assert lines[0] == ["row", "item", "rank", "score"]
    first = [line.split("\t")[0] for line in shown.out.splitlines()]
    assert [line[:3] for line in lines[1:3]] == [["1", item, str(n)] for n, item in enumerate(first, 1)]
    assert main([*place, "--all-users", "--output", str(output)]) == 0
    assert {line.split(",")[0] for line in output.read_text().splitlines()[1:]} == {str(n) for n in range(1, 21, 2)}


def test_predictions_for_a_new_item_on_the_command_line(run, capsys, tmp_path):
    place = ["recommend", str(run.folder), "--item-fields", "author"]
    assert main([*place, "--field", "user=5", "--field", "author=z"]) == 0
    shown = capsys.readouterr()
    assert "not given, so blank: item\n" in shown.err
    wanted = run.predict(run.describe({"user": [5], "author": ["z"]}, item_fields=["author"]))
    assert float(shown.out) == pytest.approx(float(wanted[0]), abs=1e-5)
    file, output = tmp_path / "rows.csv", tmp_path / "predictions.csv"
    file.write_text("user,author\n5,z\n6,nobody\n")
    assert main([*place, "--rows", str(file)]) == 0
    found = capsys.readouterr()
    assert found.out.splitlines()[0] == shown.out.strip() and "author (1)" in found.err
    assert main([*place, "--rows", str(file), "--output", str(output)]) == 0
    assert output.read_text().startswith("row,prediction\n1,") and len(output.read_text().splitlines()) == 3


def test_clicked_items_are_left_out_and_others_come_again(tmp_path):
    rows = [f"{user},{item},{int((user + item) % 3 == 0)}" for user in range(1, 13) for item in range(1, 10)]
    (tmp_path / "mine.csv").write_text("\n".join(["user,item,label", *rows]) + "\n")
    run = zoo.train("fm/smoke", data=str(tmp_path / "mine.csv"), workdir=tmp_path / "run", epochs=1)
    ids, scores = zoo.load(tmp_path / "run").recommend([3, 4], k=9)
    for user, items, probabilities in zip((3, 4), ids, scores):
        there = np.isfinite(probabilities)
        assert set(items[there].tolist()) == {str(item) for item in range(1, 10) if (user + item) % 3}
        assert (probabilities[there] > 0).all() and (probabilities[there] < 1).all()
    with pytest.raises(zoo.InputError, match="unknown user 99"):
        run.recommend([99])


def test_mistakes_are_one_line(run, capsys, tmp_path):
    place = ["recommend", run.folder, "--item-fields", "author"]
    assert "unknown field 'age': the fields are user," in refused(capsys, *place, "--field", "age=31")
    assert "'old': not a finite number" in refused(capsys, *place, "--field", "age:float=old")
    assert "write NAME=VALUE" in refused(capsys, *place, "--field", "age")
    assert "city is given twice" in refused(capsys, *place, "--field", "city=a", "--field", "city=b")
    assert "user is given twice" in refused(capsys, *place, "--user", "5", "--field", "user=6")
    assert "unknown user 404" in refused(capsys, *place, "--user", "404")
    assert "add --item-fields author" in refused(capsys, "recommend", run.folder, "--user", "5")
    assert "'authr' is no field" in refused(capsys, "recommend", run.folder, "--user", "5", "--item-fields", "authr")
    assert "whom for?" in refused(capsys, *place)
    assert "k is 0" in refused(capsys, *place, "--user", "5", "-k", "0")
    file = tmp_path / "rows.csv"
    file.write_text("city,age:float\na,31\nb,32\n")
    assert "add --output FILE" in refused(capsys, *place, "--rows", file)
    assert "leave one out" in refused(capsys, *place, "--rows", file, "--field", "city=a")
    file.write_text("city,age:float\na,31\nb,old\n")
    assert f"{file}, line 3, column age:float: 'old'" in refused(capsys, *place, "--rows", file)
    assert "or fields of a new user" in refused(capsys, *place, "--field", "author=z")
    file.write_text("author,town\nx,ulm\n")
    assert "unknown field 'town'" in refused(capsys, *place, "--rows", file)


def test_models_of_ids_know_no_fields(capsys, tmp_path):
    small = "simulated:num_users=40,num_videos=30,num_watches=200"
    run = zoo.train("mf/smoke", data=small, epochs=1, workdir=tmp_path / "run")
    line = refused(capsys, "recommend", run.folder, "--field", "country=usa")
    assert "mf/smoke knows users and items by their ids alone" in line
