"""A finished run, of one model or of the two of a funnel: its record, and what can be asked of the model it left."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np

from zoo import evaluate, export, funnel, inner_products, names, tasks
from zoo.data import catalog, described, stream
from zoo.data.columns import Table
from zoo.data.fields import FieldTable
from zoo.data.images import Images
from zoo.data.impressions import Impressions
from zoo.data.interactions import Interactions, appended, find_rows, rows_of
from zoo.data.splits import Split
from zoo.data.text import Text
from zoo.errors import InputError
from zoo.generate import generate
from zoo.inner_products import Search
from zoo.recipe import function_of
from zoo.run import Job, Prepared
from zoo.types import PADDING, TrainState


@dataclass(frozen=True)
class Run:
    """A finished run: its record, and the model that it left."""

    job: Job
    prepared: Prepared
    state: TrainState
    record: Mapping[str, Any]
    folder: Path

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics of the held-out part: test, or validation in a run with `validate`."""
        return next(iter(self.record["metrics"].values()))

    def recommend(
        self, users: Any, k: int = 10, *, interactions: Interactions | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best items of each user, best first: raw item ids [users, k] and scores float32 [users, k].

        `users` are raw ids. Items the user has, in training or held out, are left out. Where fewer than k are left the
        list is filled with score -inf and an id that means nothing. InputError for an id that the data does not have.

        `interactions` (zoo.data.interactions.from_raw) happened since, between known users and items. They join the
        graph of a graph model, whose vectors are propagated anew, without training; and users have these items.
        """
        _check_asked(np.size(users), k)
        if isinstance(self.job.interactions, FieldTable):
            if interactions is not None:
                raise InputError(f"{self.job.names['model']} has no graph that new interactions could join")
            rows_of(users, self.user_ids, "user")
            return self.recommend_described(self.describe({"user": np.atleast_1d(users)}), k)
        known, examples, recipe = self.interactions, self.prepared.examples, self.job.recipe
        assert recipe.recommend is not None, "a recipe that reads interactions recommends"
        rows = rows_of(users, known.user_ids, "user")
        if interactions is None:
            known = self._rows_of(rows)
        else:
            if "graph" not in examples.constants:
                raise InputError(
                    f"{self.job.names['model']} has no graph that new interactions could join: "
                    "train again with them in the data"
                )
            known = appended(known, interactions)
            split = self.prepared.split
            examples = recipe.examples(Split(appended(split.train, interactions), split.test))
        seen = evaluate.lists_by_user(known)
        ids, scores = recipe.recommend(self.prepared.model, self.state, examples, rows, seen, k)
        return known.item_ids[np.where(ids == PADDING, 0, ids)], scores

    def recommend_after(
        self, past: Sequence[Sequence[Any]], k: int = 10, *, again: bool | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best items after each of `past`, lists of raw item ids, oldest first, for whoever had them: as
        `recommend`.

        Of models that read a history, without training: what happened a moment ago, or in the session of a stranger.
        Nothing else is known of whom it is for. Items of the list itself are left out unless `again`; None: unless the
        recipe is judged by events of sessions, which come back to what they had.
        """
        _check_asked(len(past), k)
        known, examples, recipe = self.interactions, self.prepared.examples, self.job.recipe
        if "history_log" not in examples.constants or not hasattr(self.prepared.model, "query"):
            raise InputError(
                f"{self.job.names['model']} reads no history: ask it about a user, or take gru4rec, caser or"
                " youtube_candidates"
            )
        lists = [rows_of(items, known.item_ids, "item") if len(items) else np.empty(0, np.int32) for items in past]
        if again is None:
            again = function_of(recipe.evaluate)[0] is tasks.next_items
        ids, scores = tasks.recommend_after(self.prepared.model, self.state, examples, lists, k, again=again)
        return known.item_ids[np.where(ids == PADDING, 0, ids)], scores

    @property
    def user_ids(self) -> np.ndarray:
        """The raw ids of the users; InputError for a table without a field `user`."""
        table = self.job.interactions
        if isinstance(table, Text):
            raise InputError("a text has no users: to go on from a prompt, zoo generate DIR --prompt TEXT")
        if isinstance(table, Images):
            raise InputError(f"{self.job.names['model']} tells the class of {table.unit} and knows no users")
        if not isinstance(table, FieldTable):
            return table.user_ids
        table.column("user")
        return table.levels[table.names.index("user")]

    def describe(self, values: Mapping[str, Any] | Table, *, item_fields: Sequence[str] = ()) -> described.Described:
        """Rows of a run on a table of fields, from columns of some fields or a file's (zoo.data.described.read_rows).

        Fields that are not named are those of the row's user and item in the run's table, else blank. `item_fields` are
        fields that describe the item, beside those that the data set declares.
        """
        table = self._table
        given = values if isinstance(values, Table) else described.rows_of_values(values)
        encoding = self.prepared.examples.encoding
        assert encoding is not None, "examples of fields have an encoding"
        return described.complete(table, encoding, given, described.item_side(table, item_fields))

    def predict(self, rows: described.Described) -> np.ndarray:
        """The rating, or the probability of a click, of each row: float [rows].

        >>> run.predict(run.describe({"user": [7], "author": ["agatha christie"]}))       # doctest: +SKIP
        """
        prepared = self.prepared
        assert prepared.examples.encoding is not None and self.job.recipe.predict is not None
        columns = tasks.field_columns(prepared.examples.encoding, rows.rows)
        scores = evaluate.score(prepared.model, self.state, prepared.examples.constants, columns)
        return self.job.recipe.predict(np.asarray(scores), prepared.examples.spec)

    def predict_pairs(self, users: Any, items: Any) -> np.ndarray:
        """The rating of each pair of raw ids, within the range of the training ratings: float [pairs].

        Of recipes that fit ratings of users and items by their ids, such as mf/rating.

        >>> run.predict_pairs([17, 17], [3, 5])       # doctest: +SKIP
        """
        _check_asked(np.size(users))
        known, prepared = self.interactions, self.prepared
        if prepared.examples.spec.rating_range is None:
            raise InputError(f"{self.job.names['model']} ranks, and its scores are no ratings: take mf/rating")
        columns = {"user": rows_of(users, known.user_ids, "user"), "item": rows_of(items, known.item_ids, "item")}
        if len(columns["user"]) != len(columns["item"]):
            raise InputError(f"{len(columns['user'])} users and {len(columns['item'])} items: give as many of both")
        scores = evaluate.score(prepared.model, self.state, prepared.examples.constants, columns)
        return tasks.ratings_in_range(np.asarray(scores), prepared.examples.spec)

    def recommend_described(self, rows: described.Described, k: int = 10) -> tuple[np.ndarray, np.ndarray]:
        """As `recommend`, for described rows of a run on a table of fields: the best items of the table for each.

        Scores are predictions. Left out are items that a known user has rated, or clicked.
        """
        _check_asked(len(rows.rows), k)
        table, prepared = self._table, self.prepared
        table.column("item")
        lists = tasks.seen_rows(table)
        user = rows.rows.column("user") if "user" in table.names else np.full(len(rows.rows), -1)
        whose = np.where(user < 0, len(lists.offsets) - 2, user)  # the last list is empty
        items = described.items(table, rows.of_item)
        ids, scores = tasks.recommend_by_rows(
            prepared.model, self.state, prepared.examples, rows.rows, items, rows.of_item, (whose, lists), k
        )
        raw = table.levels[table.names.index("item")][np.where(ids == PADDING, 0, ids)]
        assert self.job.recipe.predict is not None, "a recipe of fields says what its scores are"
        return raw, np.where(ids == PADDING, scores, self.job.recipe.predict(scores, prepared.examples.spec))

    @property
    def _table(self) -> FieldTable:
        return self._data(
            FieldTable,
            "knows users and items by their ids alone: to describe one by fields, train a model of fields, such as"
            " fm/rating or deepfm/books",
        )

    @property
    def interactions(self) -> Interactions:
        """The data of the run; InputError for a recipe that reads fields, which has no vectors of users and items."""
        return self._data(
            Interactions,
            "judges described examples and compares no items: take a ranking or rating recipe, such as mf/ranking",
        )

    def _data[Kind](self, kind: type[Kind], otherwise: str) -> Kind:
        """The data of the run; InputError where it is of another kind: the recipe, and what it does instead."""
        data = self.job.interactions
        if not isinstance(data, kind):
            raise InputError(f"{self.job.names['model']}/{self.job.names['recipe']} {otherwise}")
        return data

    def _rows_of(self, users: np.ndarray) -> Interactions:
        """The interactions, with all that these users have: of a streamed log they are still in its file alone."""
        interactions = self.interactions
        if interactions.streamed_counts is None:
            return interactions
        columns = self.job.names["request"]["reader"].get("columns", {})
        return stream.rows_of_users(Path(self.job.names["data"]).expanduser(), columns, interactions, users)

    def similar(self, items: Any, k: int = 10) -> tuple[np.ndarray, np.ndarray]:
        """The k items most like each of `items`, raw ids: raw item ids [items, k] and cosines float32, best first.

        Alike are items whose vectors point the same way; the item itself is left out. Filled up as in `recommend`.
        InputError for an id that the data does not have, and for a model without item vectors.
        """
        _check_asked(np.size(items), k)
        item_ids = self.interactions.item_ids
        if not hasattr(self.prepared.model, "item_vectors"):
            raise InputError(
                f"{self.job.names['model']}/{self.job.names['recipe']} has no item vectors to compare: it scores a user"
                " and an item together; take a model that retrieves, such as mf/ranking"
            )
        rows = rows_of(items, item_ids, "item")
        vectors = evaluate.item_vectors(self.prepared.model, self.state, self.prepared.examples.constants)
        ids, cosines = evaluate.similar_items(vectors, rows, k)
        return item_ids[np.where(ids == PADDING, 0, ids)], cosines

    def generate(self, prompt: str, *, length: int = 500, temperature: float = 1.0, seed: int = 0) -> str:
        """Characters that go on from the prompt, of a run on a text: see zoo.generate."""
        prepared = self.prepared
        return generate(
            prepared.model, self.state, prepared.examples, prompt, length=length, temperature=temperature, seed=seed
        )

    def export(self, path: str | Path) -> None:
        """The model as one file that serves without this package: see zoo.export."""
        parts, arrays = export.whole(self.prepared.model, self.state, self.prepared.examples, self.job.interactions)
        export.write(Path(path), parts, arrays, self.job.names)

    def evaluate(self, names: Sequence[str] | None = None) -> dict[str, float]:
        """Metrics of the held-out part; `names` such as ["recall@50"] in place of the recipe's own."""
        options = {} if names is None else {"names": tuple(names)}
        return self.job.recipe.evaluate(
            self.prepared.model, self.state, self.prepared.examples, self.prepared.split, **options
        )


@dataclass(frozen=True)
class FunnelRun(Run):
    """A run of two models: the candidate generation, of which it is a Run, and the ranking of what that finds."""

    ranking: Run

    def recommend(
        self, users: Any, k: int = 10, *, interactions: Interactions | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best items of each user, by what the ranking promises; see `ranked`."""
        if interactions is not None:
            raise InputError(f"{self.record['model']} has no graph that new interactions could join")
        return self.ranked(users, k)[:2]

    def recommend_after(
        self, past: Sequence[Sequence[Any]], k: int = 10, *, again: bool | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        raise InputError(
            "a funnel ranks for a user at a moment: ask about a user, or its candidates, a run of their own"
        )

    def ranked(
        self,
        users: Any,
        k: int = 10,
        *,
        again: bool = False,
        retrieved: int = funnel.RETRIEVED,
        search: Callable[[jax.Array], Search] = inner_products.exact,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Raw item ids, what the ranking promises (expected watch seconds) and retrieval scores, each [users, k].

        Of the `retrieved` candidates of each user, as of the last moment of the data; what the user has watched is left
        out, unless `again`. An id that the data does not have is of a new user. Filled up as in Run.recommend. `search`
        is a way to find candidates, exact or quantised (zoo.inner_products).
        """
        _check_asked(np.size(users), k)
        rows = find_rows(users, self.user_ids)
        rows = np.where(rows < 0, self.site.stranger, rows)
        parts = self, self.ranking, self.ready(search), self.site
        found = funnel.recommend(*parts, rows, k, retrieved=retrieved, again=again)
        missing, predict = found.items == PADDING, self.ranking.job.recipe.predict
        assert predict is not None, "a recipe of impressions says what its scores are"
        promised = predict(found.scores, self.ranking.prepared.examples.spec)
        ids = self.interactions.item_ids[np.where(missing, 0, found.items)]
        return ids, np.where(missing, -np.inf, promised), found.retrieval

    def export(self, path: str | Path) -> None:
        """Both models as one file: parts `query` and `ranking`, the vectors of the items, and how pages are encoded."""
        (query, arrays), (ranking, pages) = (
            export.whole(run.prepared.model, run.state, run.prepared.examples, run.job.interactions)
            for run in (self, self.ranking)
        )
        export.write(Path(path), {**query, "ranking": ranking["score"]}, pages | arrays, self.record)

    @property
    def promise(self) -> str:
        """What a score of the ranking says, such as expected_seconds."""
        return function_of(self.ranking.job.recipe.predict)[0].__name__

    def evaluate(self, names: Sequence[str] | None = None) -> dict[str, float]:
        found = funnel.judged(self, self.ranking, _with_truth(self.ranking.job))["funnel"]
        for name in names or ():
            if name not in found:
                raise InputError(f"metric {name!r} does not judge a funnel: there are {', '.join(found)}")
        return {name: found[name] for name in names or found}

    @cached_property
    def site(self) -> funnel.Site:
        return funnel.site_at(self._shown, funnel.after_all(self._shown))

    def ready(self, search: Callable[[jax.Array], Search]) -> Search:
        """The items, made ready once."""
        if search not in self._searches:
            self._searches[search] = search(funnel.item_vectors(self, self.site))
        return self._searches[search]

    @cached_property
    def _searches(self) -> dict[Callable[[jax.Array], Search], Search]:
        return {}

    @property
    def _shown(self) -> Impressions:
        shown = self.ranking.job.interactions
        assert isinstance(shown, Impressions)
        return shown


def _with_truth(ranking: Job) -> Impressions:
    """The impressions of a run; of a simulated site, with all that it knows about itself, which no file keeps."""
    shown, name = ranking.interactions, ranking.names["data"]
    assert isinstance(shown, Impressions)
    if shown.truth is None or shown.watches.truth is not None:
        return shown
    if name.partition(":")[0] not in catalog.CATALOG:
        raise InputError("the truth of this simulated site is not kept in a file: judge the run where it was trained")
    world = names.data(name, Impressions)[0]
    assert isinstance(world, Impressions)
    return world


def _check_asked(count: int, k: int = 1) -> None:
    """That something is asked for, and a list of a length."""
    if k < 1:
        raise InputError(f"k is {k}: a list has at least one item")
    if not count:
        raise InputError("nothing is asked for: give the id of at least one user or item")
