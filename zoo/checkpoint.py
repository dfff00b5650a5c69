"""Checkpoints by orbax: the state, the best state so far, and where the loop stands, in one atomic step folder.

A checkpoint is complete or absent, so a run killed at any moment resumes from the last complete one. Each array's
CRC-32 is kept beside it: a damaged file is found when it is read, not by odd results later.
"""

import logging
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from zoo.errors import InputError
from zoo.types import TrainState


logging.getLogger("absl").setLevel(logging.ERROR)  # orbax reports every save

Manager = ocp.CheckpointManager


def open_folder(folder: Path, keep: int = 2) -> Manager:
    """A manager of the checkpoints in `folder`, made if absent; the latest `keep` stay.

    Saving is synchronous: the next chunk of steps donates the very buffers that would still be written.
    """
    options = ocp.CheckpointManagerOptions(max_to_keep=keep, enable_async_checkpointing=False)
    return ocp.CheckpointManager(folder.resolve(), options=options)


def save(manager: Manager, state: TrainState, best: TrainState | None, progress: Mapping[str, Any]) -> None:
    """Write one checkpoint, numbered by progress["saves"]."""
    states = {"state": state} | ({} if best is None else {"best": best})
    checks = {name: checksums(value) for name, value in states.items()}
    items: dict[str, Any] = {name: ocp.args.StandardSave(value) for name, value in states.items()}
    items["progress"] = ocp.args.JsonSave({"progress": dict(progress), "crc32": checks})
    manager.save(int(progress["saves"]), args=ocp.args.Composite(**items), force=True)


def restore(manager: Manager, like: TrainState, folder: Path) -> tuple[TrainState, TrainState | None, dict] | None:
    """The latest (state, best state, progress), or None where nothing was saved yet.

    `like` gives structure, shapes and sharding (jax.ShapeDtypeStruct will do). InputError for a damaged checkpoint.
    """
    step = manager.latest_step()
    if step is None:
        return None
    reason = "an array differs from its checksum"
    try:
        states, saved = _read(manager, step, like)
        if all(checksums(state) == saved["crc32"][name] for name, state in states.items()):
            return states["state"], states.get("best"), saved["progress"]
    except Exception as error:  # orbax, tensorstore and json each raise their own kinds for a damaged file
        # The reads that failed beside the first one would each be logged when they are collected.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        reason = f"it cannot be read back ({type(error).__name__})"
    others = [other for other in manager.all_steps() if other != step]
    remedy = "delete it to resume from the one before" if others else "delete it to start again"
    raise InputError(f"damaged checkpoint {folder / str(step)}: {reason}; {remedy}")


def _read(manager: Manager, step: int, like: TrainState) -> tuple[dict[str, TrainState], dict[str, Any]]:
    saved = manager.restore(step, args=ocp.args.Composite(progress=ocp.args.JsonRestore()))["progress"]
    items: dict[str, Any] = {name: ocp.args.StandardRestore(like) for name in saved["crc32"]}
    return dict(manager.restore(step, args=ocp.args.Composite(**items)).items()), saved


def checksums(state: TrainState) -> list[int]:
    """CRC-32 of each array of a state, in the order of its leaves."""
    return [zlib.crc32(np.ascontiguousarray(leaf)) for leaf in jax.tree.leaves(jax.tree.map(_plain, state))]


def _plain(leaf: Any) -> np.ndarray:
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf)
