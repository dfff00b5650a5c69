"""What every test stands on: four CPU devices, no silent broadcasting, types checked at run time, no downloads."""

import importlib.util
import os
from pathlib import Path

import jax
import pytest


# Before the first use of a device. JAX_PLATFORMS=cuda,cpu scripts/test runs the same tests on a GPU.
if not jax.config.jax_platforms:
    jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")

# Annotations are checked at run time where they hold to the letter: in the numpy part. Elsewhere an Array is also what
# jax puts in its place: a ShapeDtypeStruct, a numpy array, a leaf of a tree that is being rebuilt.
if importlib.util.find_spec("jaxtyping") and importlib.util.find_spec("beartype"):
    from jaxtyping import install_import_hook

    install_import_hook(["zoo.data", "zoo.metrics"], "beartype.beartype")


@pytest.fixture
def key() -> jax.Array:
    """A fixed random key."""
    return jax.random.key(0)


@pytest.fixture(scope="session")
def zoo_data() -> Path:
    """The folder of the real data sets; a test that asks for it is skipped where there is none."""
    folder = os.environ.get("ZOO_DATA")
    if not folder:
        pytest.skip("real data: ZOO_DATA is not set (scripts/test sets it where ../shared/data is there)")
    if not Path(folder).is_dir():
        pytest.fail(f"ZOO_DATA={folder} is no folder: unset it, or name the folder that holds the data sets")
    return Path(folder)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run on a small world."""
    from tests.helpers import SMALL  # zoo is imported once the devices are there
    from zoo.__main__ import main

    folder = tmp_path_factory.mktemp("runs") / "mf"
    assert main(["train", "mf/smoke", "--data", SMALL, "--workdir", str(folder), "--quiet"]) == 0
    return folder


@pytest.fixture
def ratings_file(tmp_path):
    path = tmp_path / "ratings.csv"
    rows = [f"{u},{i},{1 + (u * i) % 5},{u + i}" for u in range(1, 13) for i in range(1, 10) if (u + i) % 3]
    path.write_text("\n".join(["user,item,rating,timestamp", *rows]) + "\n")
    return path
