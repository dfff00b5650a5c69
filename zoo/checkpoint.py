"""Checkpoints by orbax: the state, the best state so far, and where the loop stands, in one atomic step folder.

A checkpoint is complete or absent, so a run killed at any moment resumes from the last complete one. A CRC-32 of each
file, and of each array, is kept beside it: damage is found when a checkpoint is read, not by odd results later. An
array that other devices pad differently, or that lies in several processes, has only its files' CRC-32.

`shapes` is a state as one device holds it: a checkpoint is of that state, whatever devices saved or restore it.
"""

import json
import logging
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from zoo import processes, records
from zoo.errors import InputError
from zoo.types import TrainState


logging.getLogger("absl").setLevel(logging.ERROR)  # orbax reports every save

Manager = ocp.CheckpointManager
MANIFEST = "crc32.json"  # in a checkpoint's folder: CRC-32 of each file


def open_folder(folder: Path, keep: int = 2) -> Manager:
    """A manager of the checkpoints in `folder`, made if absent; the latest `keep` stay.

    Saving is synchronous: the next chunk of steps donates the very buffers that would still be written.
    """
    options = ocp.CheckpointManagerOptions(max_to_keep=keep, enable_async_checkpointing=False)
    return ocp.CheckpointManager(folder.resolve(), options=options)


def save(
    manager: Manager, state: TrainState, best: TrainState | None, progress: Mapping[str, Any], shapes: TrainState
) -> None:
    """Write one checkpoint, numbered by progress["saves"]."""
    states = {"state": state} | ({} if best is None else {"best": best})
    checks = {name: checksums(value) for name, value in states.items()}
    items: dict[str, Any] = {name: ocp.args.StandardSave(value) for name, value in states.items()}
    items["progress"] = ocp.args.JsonSave({"progress": dict(progress), "crc32": checks, "shapes": _shapes(shapes)})
    manager.save(int(progress["saves"]), args=ocp.args.Composite(**items), force=True)
    folder = Path(manager.directory) / str(progress["saves"])
    processes.first_does(
        lambda: records.write_json(folder / MANIFEST, {name: _crc32(folder / name) for name in _files(folder)})
    )


def restore(
    manager: Manager, like: TrainState, shapes: TrainState, folder: Path
) -> tuple[TrainState, TrainState | None, dict] | None:
    """The latest (state, best state, progress), or None where nothing was saved yet.

    `like` gives structure, shapes and sharding (jax.ShapeDtypeStruct will do). InputError for a damaged checkpoint and
    for one of another state than `shapes`.
    """
    step = manager.latest_step()
    if step is None:
        return None
    place = folder / str(step)
    _check_files(place, len(manager.all_steps()))
    reason = "an array differs from its checksum"
    try:
        saved = manager.restore(step, args=ocp.args.Composite(progress=ocp.args.JsonRestore()))["progress"]
        if saved["shapes"] != _shapes(shapes):
            raise InputError(f"checkpoint {place} is of a state with other arrays: it was saved by another model")
        states = _read(manager, step, like, saved["crc32"])
        if all(_agree(checksums(state), saved["crc32"][name]) for name, state in states.items()):
            return states["state"], states.get("best"), saved["progress"]
    except InputError:
        raise
    except Exception as error:  # orbax, tensorstore and json each raise their own kinds
        # The reads that failed beside the first one would each be logged when they are collected.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        reason = f"it cannot be read back ({type(error).__name__})"
    raise _damaged(place, reason, len(manager.all_steps()))


def _check_files(place: Path, num_checkpoints: int) -> None:
    """Compare the files with their checksums before orbax opens any: reads that fail inside it print tracebacks later.

    A run killed between a save and its checksums leaves a whole checkpoint without them; that one is only read.
    """
    if not (place / MANIFEST).exists():
        return
    try:
        expected = json.loads((place / MANIFEST).read_text())
        wrong = [name for name, crc in expected.items() if not (place / name).is_file() or _crc32(place / name) != crc]
    except (ValueError, AttributeError):
        wrong = [MANIFEST]
    if wrong:
        raise _damaged(place, f"{wrong[0]} is not as it was written", num_checkpoints)


def _damaged(place: Path, reason: str, num_checkpoints: int) -> InputError:
    remedy = "delete it to resume from the one before" if num_checkpoints > 1 else "delete it to start again"
    return InputError(f"damaged checkpoint {place}: {reason}; {remedy}")


def _files(place: Path) -> list[str]:
    return sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())


def _crc32(path: Path) -> int:
    return zlib.crc32(path.read_bytes())


def _read(manager: Manager, step: int, like: TrainState, names: Iterable[str]) -> dict[str, TrainState]:
    # Not strict: a table saved by more or fewer devices has other unused rows at its end.
    items: dict[str, Any] = {name: ocp.args.StandardRestore(like, strict=False) for name in names}
    return dict(manager.restore(step, args=ocp.args.Composite(**items)).items())


def _shapes(state: TrainState) -> list[list[int]]:
    return [list(leaf.shape) for leaf in jax.tree.leaves(state)]


def checksums(state: TrainState) -> list[dict[str, Any]]:
    """Shape and CRC-32 of each array of a state, in the order of its leaves; no CRC of an array in several
    processes."""
    return [_checksum(leaf) for leaf in jax.tree.leaves(state)]


def _checksum(leaf: Any) -> dict[str, Any]:
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    whole = leaf.is_fully_addressable or leaf.is_fully_replicated
    return {"shape": list(leaf.shape), "crc32": zlib.crc32(np.ascontiguousarray(leaf)) if whole else None}


def _agree(found: list[dict[str, Any]], saved: list[dict[str, Any]]) -> bool:
    """Arrays of the shape that was saved have the saved CRC. Another shape is that of other devices."""
    return len(found) == len(saved) and all(
        None in (new["crc32"], old["crc32"]) or new == old
        for new, old in zip(found, saved, strict=True)
        if new["shape"] == old["shape"]
    )
