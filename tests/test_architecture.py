"""Imports go down only, wherever in a file they stand; each third-party package is known only where it belongs."""

import ast
import graphlib
import re
import sys
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[1]
FILES = sorted([*ROOT.glob("zoo/**/*.py"), *ROOT.glob("benchmarks/**/*.py")])

# From the top down. A module imports from lower rows, from its own group, but not from another group of its row.
ROWS = [
    ["__init__ __main__"],
    ["recommend arguments"],
    ["api"],
    ["trained"],
    ["names"],
    ["funnel tune generate describe"],
    ["run"],
    ["models", "train_step checkpoint export workdir"],
    ["tasks chunks"],
    ["evaluate"],
    [
        "recipe search objectives sampled_objectives metrics negatives optimizers row_optimizers schedules layers"
        " inner_products following augmentation convolution embedding recurrent graph parallel memory processes"
        " progress"
    ],
    ["types", "data", "records", "stacks"],
    ["errors"],
]
PLACE = {name: (row, group) for row, groups in enumerate(ROWS) for group in groups for name in group.split()}

# The third-party packages of a module; where none is listed, all that zoo depends on, less flax.
ANY = {"jax", "optax", "orbax", "chex", "numpy", "polars", "rich", "flatbuffers", "matplotlib"}
ALLOWED = {"data": {"numpy", "polars"}, "records": set(), "stacks": set(), "errors": set()}
ALLOWED |= dict.fromkeys(["models", "layers", "embedding", "recurrent", "types", "train_step"], ANY | {"flax"})


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path) for path in FILES}


def imports(path: Path) -> set[str]:
    """The modules that a file imports: `from zoo import train` is zoo.train where that is a module."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write the import from zoo, not from a dot"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (inner & MODULES) | ({node.module} if inner - MODULES else set())
    return found


def part(module: str) -> str:
    """zoo.models.mf -> models; zoo and zoo.__main__ are the top row."""
    return [*module.split("."), "__init__"][1]


def violations(module: str, imported: set[str]) -> list[str]:
    wrong = []
    for other in sorted(imported):
        top = other.split(".")[0]
        if top == "zoo":
            (row, group), (other_row, other_group) = PLACE[part(module)], PLACE[part(other)]
            if other_row < row or (other_row == row and other_group != group):
                wrong.append(f"{module} imports {other}, which is not below it")
        elif top not in sys.stdlib_module_names and top not in ALLOWED.get(part(module), ANY):
            wrong.append(f"{module} imports {top}, which is not known there")
    return wrong


def test_imports_go_down_only():
    zoo = [path for path in FILES if module_name(path).split(".")[0] == "zoo"]
    unplaced = {part(module_name(path)) for path in zoo} - set(PLACE)
    assert not unplaced, f"give {unplaced} a place in ROWS"
    assert not [line for path in zoo for line in violations(module_name(path), imports(path))]


def test_imports_form_no_circle():
    graph = {module_name(path): imports(path) & MODULES for path in FILES}
    graphlib.TopologicalSorter(graph).prepare()


@pytest.mark.parametrize(
    ("module", "imported", "allowed"),
    [
        ("zoo.train_step", "zoo.models.mf", False),
        ("zoo.models.mf", "zoo.train_step", False),
        ("zoo.types", "zoo.data.splits", False),
        ("zoo.run", "zoo.names", False),
        ("zoo.metrics", "zoo", False),
        ("zoo.metrics", "benchmarks", False),
        ("zoo.data.readers", "jax.numpy", False),
        ("zoo.run", "flax", False),
        ("zoo.names", "torch", False),
        ("zoo.names", "zoo.models.mf", True),
        ("zoo.models.mf", "flax.linen", True),
        ("zoo.models.youtube", "zoo.models.mf", True),
        ("zoo.data.readers", "zoo.errors", True),
        ("zoo.optimizers", "zoo.row_optimizers", True),
    ],
)
def test_the_rules_say_what_is_meant(module, imported, allowed):
    assert (violations(module, {imported}) == []) == allowed


SHIFT = re.compile(r"\.at\[(?:[^\]]*,\s*)?1:\s*(?:,[^\]]*)?\]\.set\(")


def test_no_shift_in_place():
    """x.at[1:].set(x[:-1]) gives wrong values on CPU (openxla/xla#49176)."""
    assert SHIFT.search("x.at[:, 1:].set(x[:, :-1])") and not SHIFT.search("x.at[1:3].set(0)")
    shifts = [path for path in FILES if SHIFT.search(path.read_text())]
    assert not shifts, f"{shifts}: shift with jnp.concatenate or jnp.pad"
