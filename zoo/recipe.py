"""Recipe: everything the experimenter decides, as one frozen value."""

import dataclasses
import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from zoo.data.fields import Encoding
from zoo.data.interactions import Interactions
from zoo.data.page_features import PageEncoding
from zoo.data.splits import Split, SplitRule
from zoo.data.stream import Source
from zoo.data.text import Vocabulary
from zoo.data.user_features import UserEncoding
from zoo.errors import InputError
from zoo.types import Objective, Spec


# Settings as `override` names them -> how `zoo tune` draws their values (zoo.search).
Search = Mapping[str, Callable[[np.random.Generator], Any]]


@dataclass(frozen=True)
class Examples:
    """A split turned into columns: what the step reads, what evaluation asks, and the constants of both."""

    spec: Spec
    train: Mapping[str, np.ndarray]  # columns with leading axis [num_examples]
    test: Mapping[str, np.ndarray]  # columns of the held-out examples or queries
    constants: Mapping[str, Any] = field(default_factory=dict)
    counted: Mapping[str, int] = field(default_factory=dict)  # what was met on the way, for the record
    encoding: Encoding | None = None  # of the rows of a field table, fitted on train
    vocabulary: Vocabulary | None = None  # of the characters of a text, fitted on train
    page_encoding: PageEncoding | None = None  # of what is known at an impression, fitted on train
    user_encoding: UserEncoding | None = None  # of what is known of a user beside the watches, fitted on train
    source: Source | None = None  # where training rows are read from, chunk by chunk; `train` is then a sample of them

    @property
    def num_train(self) -> int:
        return len(next(iter(self.train.values()))) if self.source is None else self.source.num_rows


@dataclass(frozen=True)
class Recipe:
    """How to train and judge a model. Functions and functools.partial values, no names: see zoo.names for those.

    A closed-form model has `solve(split) -> params` and neither objective nor optimizer.
    """

    model: Callable[[Spec], Any]
    examples: Callable[[Split], Examples]
    evaluate: Callable[..., dict[str, float]]  # (model, state, examples, split) -> metrics
    baselines: Callable[[Split], dict[str, dict[str, float]]]
    metric: str  # what --validate watches; lower is better for the names in LOWER_IS_BETTER
    data: str = "simulated"
    reads: type = Interactions  # the kind of data, of zoo.data.splits.Data
    recommend: Callable[..., Any] | None = None  # (model, state, examples, user rows, seen, k) -> item rows, scores
    predict: Callable[[np.ndarray, Spec], np.ndarray] | None = None  # scores of rows of fields -> what they say
    objective: Objective | None = None
    optimizer: Callable[..., Any] | None = None  # learning_rate -> Optimizer
    learning_rate: float = 1e-3
    schedule: Callable[[float, int], Any] | None = None  # (learning_rate, total_steps) -> step -> rate
    batch_size: int = 1024
    order: Callable[[Examples, int], np.ndarray] | None = None  # (examples, batch_size) -> positions int32
    # [steps, batch], -1 for padding, of every epoch; None: drawn anew for each
    epochs: int = 10
    patience: int = 3  # with --validate: epochs without a better metric before stopping
    split: SplitRule | None = None  # None: the data set's own default
    validation: SplitRule | None = None  # None: the same rule as split
    split_seed: int = (
        0  # one split for all seeds of a run, so that nothing tuned on one seed's validation is another's test
    )
    repeats: Callable[[Any], tuple[Any, int]] | None = None  # what happens to repeated pairs
    solve: Callable[[Split], Any] | None = None
    search: Search | None = None  # what zoo tune varies; None: zoo.search.around its own settings
    for_data: Mapping[str, Mapping[str, Any]] = field(
        default_factory=dict
    )  # overrides by data set, tuned on validation


# The fields whose own settings can be overridden by name.
PARTS = ("model", "examples", "objective", "optimizer", "schedule", "split", "validation")
LOWER_IS_BETTER = ("rmse", "mae", "log_loss", "nats", "perplexity", "weighted_user_loss")


def override(recipe: Recipe, settings: Mapping[str, Any]) -> Recipe:
    """The recipe with some settings changed: "epochs", "objective.l2", or "l2" where only one part has it.

    The parts are those of PARTS: functions, or functools.partial of them, with keyword arguments.
    """
    for name, value in settings.items():
        recipe = _override_one(recipe, name, value)
    return recipe


def _override_one(recipe: Recipe, name: str, value: Any) -> Recipe:
    plain = [f.name for f in dataclasses.fields(recipe) if isinstance(getattr(recipe, f.name), (int, float, str))]
    fields = {f.name for f in dataclasses.fields(recipe)}
    if name in (plain if isinstance(value, str) else fields):
        return replace(recipe, **{name: _as_type_of(getattr(recipe, name), value, name)})
    parts = {
        f"{part}.{keyword}": (part, keyword)
        for part in PARTS
        if getattr(recipe, part) is not None
        for keyword in function_of(getattr(recipe, part))[1]
    }
    matches = [key for key in parts if key == name or key.endswith(f".{name}")]
    if len(matches) != 1:
        known = sorted([*plain, *parts])
        near = difflib.get_close_matches(name, known + [key.split(".")[1] for key in parts], 3)
        choice = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
        raise InputError(f"unknown setting {name!r}: {f'it could mean {" or ".join(matches)}' if matches else choice}")
    part, keyword = parts[matches[0]]
    current = getattr(recipe, part)
    value = _as_type_of(function_of(current)[1][keyword], value, name)
    changed: dict[str, Any] = {part: _with(current, keyword, value)}
    return replace(recipe, **changed)


def _with(function: Any, keyword: str, value: Any) -> partial:
    """The function with one more argument fixed. A partial of a partial stays nested once jax has put an attribute on
    the inner one, so it is built from the function itself."""
    if not isinstance(function, partial):
        return partial(function, **{keyword: value})
    return partial(function.func, *function.args, **(function.keywords | {keyword: value}))


def function_of(part: Any) -> tuple[Any, dict[str, Any]]:
    """The function behind a part, and its settings: plain values, those fixed by a partial over the defaults."""
    function, fixed = (part.func, part.keywords) if isinstance(part, partial) else (part, {})
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in ("name", "parent")  # flax's own
    }
    settings = defaults | fixed
    return function, {k: v for k, v in settings.items() if isinstance(v, (bool, int, float, str, tuple))}


def _as_type_of(current: Any, value: Any, name: str) -> Any:
    """`value` (often text from the command line) as the type of the setting's present value."""
    if not isinstance(value, str) or isinstance(current, str) or current is None:
        return value
    try:
        if isinstance(current, bool):
            return {"true": True, "false": False}[value.lower()]
        if isinstance(current, (int, float)):
            return type(current)(value)
        if isinstance(current, tuple):
            kind = type(current[0]) if current else str
            return tuple(kind(entry) for entry in value.split(",")) if value else ()
    except (ValueError, KeyError):
        pass
    raise InputError(f"setting {name}={value!r}: expected a {type(current).__name__}, such as {current!r}")


def describe(value: Any) -> Any:
    """A recipe, or any part of one, as plain JSON values: functions by their dotted name, partials with their
    arguments."""
    if isinstance(value, partial):
        settings = {name: describe(setting) for name, setting in value.keywords.items()}
        return {"call": _dotted(value.func), **({"args": describe(list(value.args))} if value.args else {}), **settings}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: describe(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): describe(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [describe(entry) for entry in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return _dotted(value)


def _dotted(function: Any) -> str:
    return f"{function.__module__}.{function.__qualname__}"
