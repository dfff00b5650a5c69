"""zoo describe: what a model is made of, before anything is trained."""

from collections.abc import Callable, Sequence

import jax

from zoo.chunks import steps_per_epoch
from zoo.memory import readable
from zoo.run import Job, prepare
from zoo.stacks import Row, arithmetic


def describe(job: Job, cost: Callable | None) -> dict[str, str]:
    """Sizes of a job's model, its state, and the bytes and operations of one training step; nothing is allocated.

    `cost(recipe, model)` is that of the model's file; a closed form has none.
    """
    prepared = prepare(job)
    state = jax.eval_shape(prepared.initial)
    recipe = job.recipe
    sizes = {name: f"{size:,}" for name, size in prepared.split.train.sizes.items()}
    for name, table in state.tables.items():
        sizes[f"table {name}"] = f"{table.shape[0]:,} x {table.shape[1]}, {readable(table.size * 4)}"
    dense = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    held = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves((state.opt_state, state.row_state)))
    sizes |= {
        "parameters": f"{dense + sum(table.size for table in state.tables.values()):,}, of them {dense:,} dense",
        "optimizer state": readable(held),
    }
    if cost is not None:
        moved = cost(recipe, prepared.model)
        steps = steps_per_epoch(prepared.examples, recipe)
        sizes |= {
            "examples": f"{prepared.examples.num_train:,}",
            "steps an epoch": f"{steps:,} of {recipe.batch_size:,} examples, {recipe.epochs} epochs",
            "bytes a step": readable(moved.bytes),
            "operations a step": f"{moved.flops / 1e6:,.1f} million",
        }
    if hasattr(prepared.model, "stack"):
        sizes |= _spelled(arithmetic(prepared.examples.spec.image_shape, prepared.model.stack()))
    return sizes


def _spelled(rows: Sequence[Row]) -> dict[str, str]:
    """A line a layer, for one image."""
    found = {
        f"{number}. {row.name}": f"{' x '.join(map(str, row.shape))}; {row.parameters:,} parameters; "
        f"{row.multiply_adds / 1e6:,.2f} million multiply-adds; sees {row.receptive_field} x {row.receptive_field}"
        for number, row in enumerate(rows, 1)
    }
    parameters, products = sum(row.parameters for row in rows), sum(row.multiply_adds for row in rows)
    return found | {"all layers": f"{parameters:,} parameters; {products / 1e6:,.2f} million multiply-adds"}
