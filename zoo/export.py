"""A trained model as StableHLO: one file that serves anywhere jax runs, without this package.

The file is an .npz. Of each part of a model (`query`, `score`, `ranking`) it holds

    PART.stablehlo     uint8: jax.export's serialisation of a function (weights, inputs) -> output
    PART.weights.N     its first argument, a list of arrays

and beside them the matrix of all items (`items` float32 [items, dim]; a score is query . item) and raw ids by row
(`item_ids`, `user_ids`). `manifest` is JSON text that says which inputs a part takes, with their types and shapes: a
dict of arrays whose first axis is "batch", of any length. A `history` is int32 [batch, longest], the rows of the items
that a user had, oldest first, then -1; so are `searches`, of tokens. `load` reads the file; so do numpy and jax.export
alone.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from jax import Array

from zoo import evaluate
from zoo.data.fields import FieldTable
from zoo.data.images import Images
from zoo.data.impressions import Impressions
from zoo.data.interactions import Interactions
from zoo.errors import InputError
from zoo.recipe import Examples
from zoo.types import TrainState


PLATFORMS = ("cpu", "cuda", "tpu")
NOT_INPUTS = {"label", "weight", "mask", "place"}
# Columns that point into a log, by the input that an exported model is given in their place: the rows of the log.
BAGS = {
    "history": ("history_start", "history_length", "history_log"),
    "searches": ("search_start", "search_length", "search_log"),
}


class Part(NamedTuple):
    """A function of an exported model."""

    exported: jax.export.Exported
    weights: list[np.ndarray]
    inputs: Mapping[str, tuple[str, list[Any]]]  # by name: dtype and shape


def part(name: str, model: Any, state: TrainState, examples: Examples) -> Part:
    """The query network of a Retriever (`query`), or the score of a Scorer or Classifier (any other name).

    What does not depend on the batch, such as the propagation over a graph, is computed now and kept as weights. Only
    weights and inputs that the function reads are kept.
    """
    variables = evaluate.variables(state, examples.constants)
    held = {"variables": variables, "prepared": _prepared(model, variables) if name == "query" else ()}
    leaves, tree = jax.tree.flatten(held)
    columns = {n: c for n, c in (examples.test if name == "query" else examples.train).items() if n not in NOT_INPUTS}
    pointers = {name for start, length, _ in BAGS.values() for name in (start, length)}
    shapes = {n: (c.dtype, c.shape[1:]) for n, c in columns.items() if n not in pointers}
    longest = {"history": examples.spec.history_length, "searches": examples.spec.search_length}
    bags = {name: pointing for name, pointing in BAGS.items() if pointing[0] in columns}
    shapes |= {name: (np.dtype(np.int32), (longest[name],)) for name in bags}

    def answer(leaves: list[Any], inputs: Mapping[str, Array]) -> Array:
        held, batch = jax.tree.unflatten(tree, leaves), dict(inputs)
        variables = held["variables"]
        for bag, (start, length, log) in bags.items():
            rows = batch.pop(bag)
            batch[start] = rows.shape[1] * jnp.arange(rows.shape[0], dtype=jnp.int32)
            batch[length] = jnp.sum((rows >= 0).astype(jnp.int32), axis=1)
            variables = variables | {"constants": variables["constants"] | {log: rows.reshape(-1)}}
        if name == "query":
            return model.apply(variables, batch, held["prepared"], method="query")
        return model.apply(variables, batch)

    (batch,) = jax.export.symbolic_shape("batch")
    inputs = {n: jax.ShapeDtypeStruct((batch, *shape), dtype) for n, (dtype, shape) in shapes.items()}
    kept = _read(answer, leaves, {n: jax.ShapeDtypeStruct((2, *shape), dtype) for n, (dtype, shape) in shapes.items()})
    read = [place for place in range(len(leaves)) if place in kept]
    names = [name for place, name in enumerate(sorted(inputs), len(leaves)) if place in kept]
    names = names or sorted(inputs)[:1]  # one at least, which says how large the batch is

    def reduced(weights: list[Any], given: Mapping[str, Array]) -> Array:
        rows = next(iter(given.values())).shape[0]
        every = [jnp.zeros(leaf.shape, leaf.dtype) if not _is_key(leaf) else leaf for leaf in leaves]
        for place, weight in zip(read, weights, strict=True):
            every[place] = weight
        unread = {n: jnp.zeros((rows, *s.shape[1:]), s.dtype) for n, s in inputs.items() if n not in given}
        return answer(every, {**unread, **given})

    weights = [np.asarray(leaves[place]) for place in read]
    exported = _exported(reduced, weights, {name: inputs[name] for name in names})
    described = {name: (shapes[name][0].name, ["batch", *shapes[name][1]]) for name in names}
    return Part(exported, weights, described)


def _read(function: Callable, *arguments: Any) -> set[int]:
    """Which leaves of the arguments the function's result depends on, by position."""
    jaxpr = jax.make_jaxpr(function)(*arguments).jaxpr
    needed = {id(variable) for variable in jaxpr.outvars}
    for equation in reversed(jaxpr.eqns):
        if any(id(variable) in needed for variable in equation.outvars):
            needed |= {id(variable) for variable in equation.invars}
    return {place for place, variable in enumerate(jaxpr.invars) if id(variable) in needed}


def _exported(function: Callable, weights: list[Any], inputs: Mapping[str, Any]) -> jax.export.Exported:
    shapes = [jax.ShapeDtypeStruct(jnp.shape(weight), weight.dtype) for weight in weights]
    try:
        return jax.export.export(jax.jit(function), platforms=PLATFORMS)(shapes, inputs)
    except ImportError as error:
        raise _without_flatbuffers() from error


def _prepared(model: Any, variables: Mapping[str, Any]) -> Any:
    return jax.jit(lambda variables: model.apply(variables, None, method="prepare"))(variables)


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _without_flatbuffers() -> InputError:
    return InputError("export needs flatbuffers: pip install 'jax-recsys-zoo[export]'")


def whole(
    model: Any, state: TrainState, examples: Examples, data: Any
) -> tuple[dict[str, Part], dict[str, np.ndarray]]:
    """The parts of a model, and the arrays that turn its users' ids and values into its inputs and its items back."""
    arrays = encoding_of(data, examples)
    if not hasattr(model, "query"):
        return {"score": part("score", model, state, examples)}, arrays
    arrays["items"] = np.asarray(evaluate.item_vectors(model, state, examples.constants))
    return {"query": part("query", model, state, examples)}, arrays


def encoding_of(data: Any, examples: Examples) -> dict[str, np.ndarray]:
    """Raw values by row: ids of users and items, values and rows of each field, characters, classes.

    `fields.NAME.values` are the raw values of a field and `fields.NAME.rows` their rows in `fields`, for the numbers
    of a field `fields.NAME.edges` and `fields.NAME.rows` of each bucket between them. `pages.*` encode impressions as
    zoo.data.page_features and zoo.data.likeness do, `users.*` users as zoo.data.user_features: the age of an example
    is the last number.
    """
    found = {}
    if isinstance(data, Interactions):
        found = {"user_ids": data.user_ids, "item_ids": data.item_ids}
    elif isinstance(data, Impressions):
        found = {"user_ids": data.watches.user_ids, "item_ids": data.watches.item_ids}
    elif isinstance(data, Images):
        found = {"classes": data.classes}
    if isinstance(data, FieldTable) and examples.encoding is not None:
        encoding = examples.encoding
        levels = dict(zip((*data.names, *data.bag_names), (*data.levels, *data.bag_levels), strict=True))
        edges = iter(encoding.edges)
        rows = iter((*encoding.rows, *encoding.bag_rows))
        for name, offset in zip(encoding.field_names, encoding.offsets, strict=True):
            if name in levels:
                found |= {f"fields.{name}.values": levels[name], f"fields.{name}.rows": next(rows) + offset}
            else:
                cut = next(edges)
                found |= {f"fields.{name}.edges": cut, f"fields.{name}.rows": offset + 1 + np.arange(len(cut) + 1)}
    if examples.vocabulary is not None:
        found["characters"] = examples.vocabulary.characters
    if examples.user_encoding is not None:
        users = examples.user_encoding
        found |= {f"users.codes.{name}": rows for name, rows in users.rows.items()}
        found |= {f"users.numbers.{name}": np.array(between) for name, between in users.ranges.items()}
        found |= {} if users.training is None else {"users.training": np.array(users.training)}
    if examples.page_encoding is not None:
        pages = examples.page_encoding
        found["pages.videos"] = pages.videos
        found |= {f"pages.codes.{name}": rows for name, rows in pages.rows.items()}
        found |= {f"pages.quantiles.{name}": quantiles for name, quantiles in pages.quantiles.items()}
        found |= {"pages.likeness": pages.factors[-1].vectors, "pages.watched": pages.factors[-1].watched}
    return found


def write(path: Path, parts: Mapping[str, Part], arrays: Mapping[str, np.ndarray], named: Mapping[str, Any]) -> None:
    """The file of an exported model of which `named`, a run's names or its record, tells. Refuses a path in use."""
    if path.suffix != ".npz":
        raise InputError(f"{path}: an exported model is an .npz file; name it {path.with_suffix('.npz').name}")
    if path.exists():
        raise InputError(f"{path} exists: remove it, or choose another name")
    manifest: dict[str, Any] = {name: named[name] for name in ("model", "recipe", "data", "split")} | {"parts": {}}
    held = dict(arrays)
    for name, made in parts.items():
        (output,) = made.exported.out_avals
        manifest["parts"][name] = {
            "inputs": {key: list(value) for key, value in made.inputs.items()},
            "output": [output.dtype.name, [str(size) for size in output.shape]],
            "weights": len(made.weights),
            "platforms": list(made.exported.platforms),
        }
        try:
            serialised = made.exported.serialize()
        except ImportError as error:
            raise _without_flatbuffers() from error
        held[f"{name}.stablehlo"] = np.frombuffer(serialised, np.uint8)
        held |= {f"{name}.weights.{number}": weight for number, weight in enumerate(made.weights)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        np.savez(file, allow_pickle=False, manifest=np.array(json.dumps(manifest, indent=2)), **held)


class Loaded(NamedTuple):
    """An exported model, read back."""

    manifest: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]
    functions: Mapping[str, Callable[..., Array]]  # by part: f(name=array, ...) -> output


def load(path: str | Path) -> Loaded:
    """Read what `write` wrote; InputError for any other file."""
    try:
        with np.load(path, allow_pickle=False) as file:
            held = dict(file)
        manifest = json.loads(str(held.pop("manifest")))
        parts = manifest["parts"]
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise InputError(f"{path} is no exported model: {error}") from error
    functions = {}
    for name, described in parts.items():
        exported = jax.export.deserialize(bytearray(held.pop(f"{name}.stablehlo").tobytes()))
        weights = [held.pop(f"{name}.weights.{number}") for number in range(described["weights"])]
        functions[name] = _caller(name, jax.jit(exported.call), weights, described["inputs"])
    return Loaded(manifest, held, functions)


def _caller(name: str, call: Callable, weights: list[np.ndarray], inputs: Mapping[str, Any]) -> Callable[..., Array]:
    put = [jnp.asarray(weight) for weight in weights]

    def function(**given: Any) -> Array:
        if given.keys() != inputs.keys():
            raise InputError(f"{name} takes {', '.join(sorted(inputs))}, not {', '.join(sorted(given)) or 'nothing'}")
        return call(put, {key: jnp.asarray(value, inputs[key][0]) for key, value in given.items()})

    return function
