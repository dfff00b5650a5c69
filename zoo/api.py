"""zoo.train and zoo.load: what the command line does, from Python."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np

from zoo import (
    checkpoint,
    evaluate,
    export,
    funnel,
    inner_products,
    names,
    parallel,
    processes,
    records,
    tasks,
    workdir,
)
from zoo.data import catalog, described, stream
from zoo.data.columns import Table
from zoo.data.fields import FieldTable
from zoo.data.images import Images
from zoo.data.impressions import Impressions
from zoo.data.interactions import Interactions, appended, find_rows, rows_of
from zoo.data.splits import Data, Split
from zoo.data.text import Text
from zoo.errors import InputError
from zoo.generate import generate
from zoo.inner_products import Search
from zoo.recipe import function_of
from zoo.run import Job, Prepared, fit, prepare
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
        if isinstance(self.job.interactions, FieldTable):
            if interactions is not None:
                raise InputError(f"{self.job.names['model']} has no graph that new interactions could join")
            rows_of(users, self.user_ids, "user")
            return self.recommend_described(self.describe({"user": np.atleast_1d(users)}), k)
        _check_length(k)
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

    def recommend_described(self, rows: described.Described, k: int = 10) -> tuple[np.ndarray, np.ndarray]:
        """As `recommend`, for described rows of a run on a table of fields: the best items of the table for each.

        Scores are predictions. Left out are items that a known user has rated, or clicked.
        """
        _check_length(k)
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
        if not isinstance(self.job.interactions, FieldTable):
            raise InputError(
                f"{self.job.names['model']}/{self.job.names['recipe']} knows users and items by their ids alone: "
                "to describe one by fields, train a model of fields, such as fm/rating or deepfm/books"
            )
        return self.job.interactions

    @property
    def interactions(self) -> Interactions:
        """The data of the run; InputError for a recipe that reads fields, which has no vectors of users and items."""
        if not isinstance(self.job.interactions, Interactions):
            raise InputError(
                f"{self.job.names['model']}/{self.job.names['recipe']} judges described examples and compares no items:"
                " take a ranking or rating recipe, such as mf/ranking"
            )
        return self.job.interactions

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
        _check_length(k)
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
        _check_length(k)
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


def _check_length(k: int) -> None:
    if k < 1:
        raise InputError(f"k is {k}: a list has at least one item")


def train(
    model: str,
    *,
    data: Any = None,
    split: str | None = None,
    optimizer: str | None = None,
    seed: int = 0,
    validate: bool = False,
    workdir: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    quiet: bool = True,
    stream: bool = False,
    devices: int | None = None,
    mode: str = "jit",
    shard_tables: bool = False,
    **settings: Any,
) -> Run:
    """Train a model of the zoo and judge it on the held-out part.

    `model` is "mf" or "mf/rating"; `data` a name of the catalog, a path, Interactions, a FieldTable, or a dataframe
    with columns user, item and, where there, rating and timestamp (other names: `zoo.load_data(frame, columns={"user":
    ...})`), which for a recipe of fields has a column label and a column a field. `settings` are any settings of the
    recipe or of its model and objective, such as epochs=5, embedding_dim=32, l2=0.1. With `stream`, data is a Parquet
    file that need not fit in memory; see zoo.data.stream. `devices` are so many of JAX's, over which each batch is
    divided; `mode` is "jit", "shard_map" or "pmap"; with `shard_tables` each holds its part of the rows.

    >>> run = zoo.train("mf", epochs=3)                      # doctest: +SKIP
    >>> ids, scores = run.recommend([17], k=10)              # doctest: +SKIP
    """
    name, interactions = None, None
    if data is None or isinstance(data, (str, Path)):
        name = None if data is None else str(data)
    elif isinstance(data, Data):
        interactions = data
    else:
        kind = Impressions if names.is_funnel(model) else names.recipe(model)[2].reads
        interactions = catalog.load(data, kind)
    if stream and interactions is not None:
        raise InputError("stream=True reads a Parquet file, and this data is in memory: leave it out, or give a path")
    request = names.Request(model, name, split, optimizer, seed, validate, settings, stream=stream)
    return run_request(
        request,
        interactions,
        workdir,
        resume=resume,
        overwrite=overwrite,
        quiet=quiet,
        devices=devices,
        mode=mode,
        shard_tables=shard_tables,
    )


def run_request(
    request: names.Request,
    interactions: Data | None = None,
    folder: str | Path | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    quiet: bool = True,
    checkpoint_seconds: float | None = None,
    devices: int | None = None,
    mode: str = "jit",
    shard_tables: bool = False,
) -> Run:
    layout, wrap = names.devices(devices, mode, shard_tables)
    options: dict[str, Any] = {} if checkpoint_seconds is None else {"checkpoint_seconds": checkpoint_seconds}
    options |= {"resume": resume, "overwrite": overwrite, "quiet": quiet, "layout": layout, "wrap": wrap}
    if names.is_funnel(request.model):
        return _run_funnel(request, interactions, folder, options)
    job = names.job(request, interactions)
    folder = Path(folder) if folder is not None else names.folder(job)
    record, prepared, state = fit(job, folder, **options)
    return Run(job, prepared, state, record, folder)


def _run_funnel(
    request: names.Request, shown: Data | None, folder: str | Path | None, options: Mapping[str, Any]
) -> FunnelRun:
    """Two runs in folders of their own within the funnel's, and a record of the whole."""
    if not (shown is None or isinstance(shown, Impressions)):
        raise InputError(f"{request.model} reads impressions with clicks and watch seconds: give zoo.Impressions")
    *jobs, called = names.funnel(request, shown)
    folder = Path(folder) if folder is not None else names.folder_of(called, request.seed)
    held = folder / "run.json"
    if held.exists() and "parts" not in workdir.read_json(held, "run"):
        raise InputError(f"{folder} holds a run of one model: choose another --workdir")
    parts = []
    for name, job in zip(names.PARTS, jobs, strict=True):
        record, prepared, state = fit(job, folder / name, **options)
        parts.append(Run(job, prepared, state, record, folder / name))
    identity = {**called, "seed": request.seed, "validate": request.validate, "parts": names.PARTS}
    record = funnel.record_of(parts[0], parts[1], identity)
    processes.first_does(lambda: records.write_json(held, identity))
    processes.first_does(lambda: records.write_json(folder / "record.json", record))
    return _funnel_run(parts, record, folder)


def _funnel_run(parts: Sequence[Run], record: Mapping[str, Any], folder: Path) -> FunnelRun:
    candidates, ranking = parts
    return FunnelRun(candidates.job, candidates.prepared, candidates.state, record, folder, ranking)


def load(folder: str | Path) -> Run:
    """The run in a folder, as it stands at its last checkpoint.

    The data is not needed again, except for the recommendations of a streamed run.
    """
    folder = Path(folder)
    held = workdir.read_json(folder / "run.json", "run")
    if "parts" in held:
        parts = [load(folder / name) for name in held["parts"]]
        return _funnel_run(parts, workdir.read_json(folder / "record.json", "record"), folder)
    interactions = workdir.load_data(folder / "data.npz")
    asked: dict[str, Any] = held["request"] | {"data": held["data"]}
    if held["split"] != "recipe":
        asked["split"] = held["split"]  # the data set's own, should the user have named none
    request = names.Request(**asked)
    job = names.job(request, interactions)
    prepared = prepare(job)
    checkpoints = folder / "checkpoints"
    shapes = jax.eval_shape(prepared.initial)
    like = parallel.abstract(shapes, None)
    restored = checkpoint.restore(checkpoint.open_folder(checkpoints), like, shapes, checkpoints)
    if restored is None:
        raise InputError(f"{folder} has no checkpoint yet: resume the run with --resume")
    state, best, progress = restored
    record = workdir.read_json(folder / "record.json", "record") if progress["finished"] else {}
    return Run(job, prepared, state if best is None else best, record, folder)
