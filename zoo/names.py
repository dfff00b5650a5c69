"""The one place where a name becomes an object: models, recipes, data sets, splits, optimizers.

A model's name is its file in zoo/models; a recipe's is its key in that file's RECIPES, the first being the default.
"""

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import zoo.models
from zoo import optimizers, parallel, schedules, tasks
from zoo.data import catalog, splits, stream
from zoo.data.impressions import Impressions
from zoo.data.interactions import Interactions
from zoo.data.text import Text
from zoo.errors import InputError
from zoo.recipe import Recipe, override
from zoo.run import Job


# A split by name: the rule that cuts the test part, and the rule by which --validate cuts rows of train.
SPLITS: dict[str, tuple[splits.SplitRule, splits.SplitRule]] = {
    "random": (splits.random, splits.random),
    "per_user": (splits.per_user, splits.per_user),
    "leave_one_out": (splits.leave_one_out, splits.leave_one_out),
    "temporal": (splits.temporal, splits.temporal),
    "per_user_temporal": (splits.per_user_temporal, partial(splits.per_user_temporal, fraction=0.125)),  # 70/10/20
    "latest_users": (splits.latest_users, splits.latest_users),
    "user_sample": (splits.user_sample, splits.user_sample),
    "new_items": (splits.new_items, splits.new_items),
    "ending": (splits.ending, splits.ending),
    "published": (splits.published, splits.tenth),
}

OPTIMIZERS: dict[str, Callable[..., optimizers.Optimizer]] = {
    name: getattr(optimizers, name)
    for name in (
        "sgd",
        "nesterov_decayed",
        "sgd_each_example",
        "adagrad",
        "adagrad_momentum",
        "rowwise_adagrad",
        "rowwise_adam",
        "adam",
        "adam_clipped",
        "adam_each_lookup",
        "adamw",
        "momentum",
        "nesterov",
        "adadelta",
        "rmsprop",
        "nadam",
        "lion",
        "lamb",
        "adafactor",
        "muon",
        "schedule_free_adamw",
        "prodigy",
        "dense_sgd",
        "dense_adagrad",
        "dense_adam",
        "cowclip_adam",
        "libffm",
    )
}

# The learning rate over a run.
SCHEDULES: dict[str, Any] = {
    "constant": None,
    "cosine": schedules.cosine,
    "linear": schedules.linear,
    "one_cycle": schedules.one_cycle,
}

# Models of two parts that are trained by themselves (zoo.funnel): candidate generation and ranking, by recipe.
FUNNELS: dict[str, dict[str, tuple[str, str]]] = {
    "youtube": {
        "watch": ("youtube_candidates/ranking", "youtube_ranking/watch"),
        "clicks": ("youtube_candidates/ranking", "youtube_ranking/clicks"),
        "smoke": ("youtube_candidates/smoke", "youtube_ranking/smoke"),
    },
}
PARTS = ("candidates", "ranking")

# How a train step is spread over devices: --mode.
MODES: dict[str, parallel.Wrap] = {"jit": parallel.jit, "shard_map": parallel.shard_map, "pmap": parallel.pmap}


OWN = "own/recipe"  # what a recipe of the user's own, which has no name, is written down as


@dataclass(frozen=True)
class Request:
    """What a user asked for, in names and plain values; None leaves the recipe's own choice."""

    model: str | Recipe  # "mf", "mf/rating" or a recipe of the user's own
    data: str | None = None  # a name of the catalog, "simulated:seed=3", or a path
    split: str | None = None
    optimizer: str | None = None
    seed: int = 0
    validate: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)  # for zoo.recipe.override, in order
    reader: Mapping[str, Any] = field(default_factory=dict)  # column names and separator of a path
    stream: bool = False  # the path is a Parquet file larger than memory
    schedule: str | None = None


def models() -> list[str]:
    """The names of all models: the files of zoo/models."""
    return sorted(module.name for module in pkgutil.iter_modules(zoo.models.__path__))


def model_module(model: str) -> Any:
    if model in FUNNELS:
        parts = dict.fromkeys(part.partition("/")[0] for pair in FUNNELS[model].values() for part in pair)
        raise InputError(f"{model} is a funnel, which is trained whole: here ask for a part, {' or '.join(parts)}")
    if model not in models():
        raise InputError(f"unknown model {model!r}: {_nearest(model, [*models(), *FUNNELS])}")
    return importlib.import_module(f"zoo.models.{model}")


def recipe(name: str | Recipe) -> tuple[str, str, Recipe]:
    """ "mf" or "mf/rating" -> ("mf", "rating", the recipe); a recipe of the user's own -> ("own", "recipe", itself)."""
    if isinstance(name, Recipe):
        model, _, chosen = OWN.partition("/")
        return model, chosen, name
    model, _, chosen = name.partition("/")
    recipes = model_module(model).RECIPES
    chosen = chosen or next(iter(recipes))
    if chosen not in recipes:
        raise InputError(f"unknown recipe {chosen!r} of {model}: {_nearest(chosen, list(recipes))}")
    return model, chosen, recipes[chosen]


def data(name: str, kind: type = Interactions, **reader: Any) -> tuple[splits.Data, str, str | None]:
    """A data set, its sha256, and its own split if it names one. The files of a path are read as `kind`."""
    base, options = _data_options(name, reader)
    interactions = catalog.load(base, kind, **options)
    default = catalog.CATALOG[base].default_split if base in catalog.CATALOG else None
    return interactions, catalog.sha256(base, kind, **options), default or _own_split(interactions)


def _own_split(found: splits.Data) -> str | None:
    """Of data whose name names none."""
    if found.part is not None:
        return "published"
    return "ending" if isinstance(found, Text) else None


def split(name: str) -> tuple[splits.SplitRule, splits.SplitRule]:
    return _named("split", name, SPLITS)


def optimizer(name: str) -> Callable[..., optimizers.Optimizer]:
    return _named("optimizer", name, OPTIMIZERS)


def schedule(name: str) -> Any:
    return _named("schedule", name, SCHEDULES)


def _named(kind: str, name: str, known: Mapping[str, Any]) -> Any:
    if name not in known:
        raise InputError(f"unknown {kind} {name!r}: {_nearest(name, list(known))}")
    return known[name]


def devices(count: int | None, mode: str, shard_tables: bool) -> tuple[parallel.Layout | None, parallel.Wrap]:
    """What zoo.run.fit trains on: `count` devices (None: one, without a mesh), in one of MODES."""
    wrap = _named("mode", mode, MODES)
    if count is None:
        if mode != "jit" or shard_tables:
            what = "shard_tables" if shard_tables else f"mode {mode}"
            raise InputError(f"{what} needs a number of devices: --devices N")
        return None, wrap
    return parallel.layout(count, shard_tables), wrap


def chosen_recipe(request: Request, data_name: str) -> tuple[str, str, Recipe]:
    """The recipe with its overrides for the data set, then the user's."""
    model, chosen, found = recipe(request.model)
    found = override(found, found.for_data.get(data_name.partition(":")[0], {}))
    if request.optimizer:
        found = override(found, {"optimizer": optimizer(request.optimizer)})
    if request.schedule:
        found = override(found, {"schedule": schedule(request.schedule)})
    return model, chosen, override(found, request.settings)


def job(request: Request, interactions: splits.Data | None = None) -> Job:
    """A request made concrete. `interactions` given directly stand in for request.data."""
    for name, value in request.settings.items():
        if not isinstance(value, (bool, int, float, str, tuple)):
            raise InputError(
                f"setting {name}={value!r}: settings are plain values; for more, train a recipe of your own"
            )
    data_name = request.data or ("interactions" if interactions is not None else recipe(request.model)[2].data)
    model, chosen, found = chosen_recipe(request, data_name)
    if request.stream:
        _check_streamed(request, data_name, f"{model}/{chosen}", found)
        request = replace(request, split="user_sample")
    rule = split(request.split) if request.split else None  # before the data is read: a wrong name costs no time
    source = None
    digest, default = None, None if interactions is None else _own_split(interactions)
    if interactions is None and request.stream:
        seeds = (found.split_seed, found.split_seed + 1)[: 1 + request.validate]
        path = Path(data_name).expanduser()
        interactions, source = stream.open_parquet(path, request.reader.get("columns", {}), seeds)
        digest = catalog.sha256(path)
    elif interactions is None:
        interactions, digest, default = data(data_name, found.reads, **request.reader)
    split_name = request.split or default or "random"
    if rule is None and (request.split or found.split is None):
        rule = split(split_name)
    if rule is not None:
        found = override(found, {"split": rule[0], "validation": found.validation or rule[1]})
    else:
        split_name = "recipe"
    names = {
        "model": model,
        "recipe": chosen,
        "data": data_name,
        "data_sha256": digest,
        "split": split_name,
        "stream": request.stream,
        "request": {
            "model": f"{model}/{chosen}",
            "data": request.data,
            "split": request.split,
            "optimizer": request.optimizer,
            "seed": request.seed,
            "validate": request.validate,
            "settings": dict(request.settings),
            "reader": dict(request.reader),
            "stream": request.stream,
            "schedule": request.schedule,
        },
    }
    return Job(found, interactions, names, request.seed, request.validate, source)


def is_funnel(model: str | Recipe) -> bool:
    return isinstance(model, str) and model.partition("/")[0] in FUNNELS


def funnel(request: Request, impressions: Impressions | None = None) -> tuple[Job, Job, dict[str, Any]]:
    """The jobs of the candidate generation and of the ranking of a funnel, and the names of the whole.

    Both learn from what lies before the moment from which on the ranking is judged. A setting such as `ranking.epochs`
    is of one of them, `epochs` of both.
    """
    assert isinstance(request.model, str), "a funnel has a name"
    model, _, chosen = request.model.partition("/")
    chosen = chosen or next(iter(FUNNELS[model]))
    if chosen not in FUNNELS[model]:
        raise InputError(f"unknown recipe {chosen!r} of {model}: {_nearest(chosen, list(FUNNELS[model]))}")
    if request.split or request.stream:
        given = f"the split {request.split!r}" if request.split else "--stream"
        raise InputError(f"{model} is judged from one moment on, on data in memory: leave {given} out")
    data_name, digest = request.data or ("simulated" if impressions is None else "impressions"), None
    requests = [
        replace(request, model=name, data=data_name, settings=_settings_of(part, request.settings))
        for part, name in zip(PARTS, FUNNELS[model][chosen], strict=True)
    ]
    if impressions is None:
        found, digest, _ = data(data_name, Impressions, **request.reader)
        impressions = _need_impressions(found, data_name)
    ranking = job(requests[1], impressions)
    assert ranking.recipe.split is not None
    watches, log_time = impressions.watches, impressions.watches.timestamp
    assert log_time is not None, "the log of a site has times"
    split = ranking.recipe.split(impressions, ranking.recipe.split_seed)
    part = np.where(log_time < split.test.timestamp.min(), 0, 2)
    if request.validate:
        validation = ranking.recipe.validation or ranking.recipe.split
        valid = validation(split.train, ranking.recipe.split_seed + 1).test
        part[(part == 0) & (log_time >= valid.timestamp.min())] = 1
    candidates = job(requests[0], replace(watches, part=part.astype(np.int8)))
    candidates, ranking = (
        replace(found, names={**found.names, "data_sha256": digest}) for found in (candidates, ranking)
    )
    taken = ("data", "data_sha256", "split", "stream")
    return candidates, ranking, {"model": model, "recipe": chosen} | {name: ranking.names[name] for name in taken}


def _need_impressions(found: splits.Data, data_name: str) -> Impressions:
    if isinstance(found, Impressions):
        return found
    raise InputError(f"{data_name} says nothing of what was shown: a funnel reads impressions with clicks and seconds")


def _settings_of(part: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Of the settings of a funnel, those of a part."""
    stems = {name: name.partition(".")[0] for name in settings}
    return {
        name.removeprefix(f"{part}."): value
        for name, value in settings.items()
        if stems[name] == part or stems[name] not in PARTS
    }


def folder(job: Job) -> Path:
    """Where a run goes without --workdir."""
    return folder_of(job.names, job.seed)


def folder_of(names: Mapping[str, Any], seed: int) -> Path:
    """runs/MODEL-RECIPE-DATA-SEED"""
    data_name = Path(names["data"]).name.replace(":", "-").replace(",", "-").replace("=", "")
    return Path("runs") / f"{names['model']}-{names['recipe']}-{data_name}-{seed}"


def _check_streamed(request: Request, data_name: str, model: str, found: Recipe) -> None:
    if Path(data_name).suffix != ".parquet":
        raise InputError(
            f"--stream reads a Parquet file, not {data_name!r}: leave it out, or convert the file, "
            "such as with polars.scan_csv(...).sink_parquet(...)"
        )
    if "separator" in request.reader:
        raise InputError(f"{data_name} is a Parquet file, which has no separator: leave --separator out")
    if request.split not in (None, "user_sample"):
        raise InputError(
            f"--stream holds out rows of a sample of users, so there is no split {request.split!r}: leave --split out"
        )
    if found.examples not in tasks.STREAMED:
        raise InputError(f"{model} cannot stream: only recipes that rank, trained on the rows one by one, such as mf")


def _data_options(name: str, reader: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """ "simulated:seed=3,num_users=500" -> ("simulated", {"seed": 3, "num_users": 500})."""
    base, colon, text = name.partition(":")
    known = catalog.generator_options(catalog.CATALOG[base]) if base in catalog.CATALOG else ()
    if not known:
        return name, dict(reader)
    options: dict[str, Any] = dict(reader)
    for entry in text.split(",") if colon else ():
        key, _, value = entry.partition("=")
        if key not in known or not value.isdigit():
            written = ",".join(f"{option}=N" for option in known)
            raise InputError(f"cannot read {entry!r} in --data {name}: write {base}:{written}")
        options[key] = int(value)
    return base, options


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 3, 0.5)
    return (f"did you mean {' or '.join(near)}? " if near else "") + f"known: {', '.join(known)}"
