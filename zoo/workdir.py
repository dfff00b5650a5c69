"""The folder of a run.

DIR/run.json           what the run is: names, settings, seed; a folder serves one run only
DIR/data.npz           the data as row numbers with their raw ids, so that DIR alone can recommend
DIR/checkpoints/       state and progress, the latest two
DIR/record.json        what was found, written at the end
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zoo import records
from zoo.data import fields, images, impressions, interactions, text
from zoo.data.splits import Data
from zoo.errors import InputError


_FILES = ("checkpoints", "record.json", "data.npz", "run.json", "run.unfinished")  # a kill may leave some


def claim(folder: Path, identity: Mapping[str, Any], data: Data, *, resume: bool, overwrite: bool) -> None:
    """Make the folder this run's own, or refuse: another run's folder, or a run that was not asked to be resumed."""
    path = folder / "run.json"
    if path.exists() and not overwrite:
        if not resume:
            raise InputError(
                f"{folder} holds a run already: add --resume to go on with it, --overwrite to replace it,"
                " or another --workdir"
            )
        held = read_json(path, "run")
        if other := difference(held, identity):
            if not _goes_on(held, identity):
                raise InputError(
                    f"{folder} holds another run: its {other}; choose another --workdir, or --overwrite to replace it"
                )
            records.write_json(path, identity)
        return
    if folder.exists() and not path.exists() and any(file.name not in _FILES for file in folder.iterdir()):
        raise InputError(f"{folder} holds files that are no run: choose another --workdir")
    _clear(folder)
    save_data(folder / "data.npz", data)
    records.write_json(path, identity)


def _goes_on(held: Mapping[str, Any], identity: Mapping[str, Any]) -> bool:
    """Whether a run is the held one but for more epochs, over which no schedule spreads its learning rate."""
    settings, now = held.get("settings", {}), identity["settings"]
    longer = {**held, "settings": settings | {"epochs": now["epochs"]}}
    return now["schedule"] is None and now["epochs"] > settings.get("epochs", 0) and not difference(longer, identity)


def difference(held: Mapping[str, Any], identity: Mapping[str, Any]) -> str | None:
    """ "seed is 0, now 1": the first way in which what a folder holds is not what is asked for; None where it is."""
    # The request says the same as the rest, in the user's words: `load` needs it, the comparison does not.
    differing = [name for name in identity if name != "request" and held.get(name) != identity[name]]
    if not differing:
        return None
    old, new = _first_difference(held.get(differing[0]), identity[differing[0]], differing[0])
    return f"{old}, now {new}"


def _first_difference(old: Any, new: Any, name: str) -> tuple[str, str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in new:
            if old.get(key) != new[key]:
                return _first_difference(old.get(key), new[key], f"{name}.{key}")
    return f"{name} is {old!r}", f"{new!r}"


def _clear(folder: Path) -> None:
    """Remove a run's files, and only those."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    for name in _FILES[1:]:
        (folder / name).unlink(missing_ok=True)


def save_data(path: Path, data: Data) -> None:
    held: dict[str, Any] = data.columns
    np.savez(path, **held)


def load_data(path: Path) -> Data:
    try:
        with np.load(path, allow_pickle=False) as file:
            held = dict(file)
        # By a column that only they have.
        kinds = {"alphabet": text, "image": images, "codes": fields, "click": impressions, "user": interactions}
        return next(kind for column, kind in kinds.items() if column in held).from_columns(held)
    except FileNotFoundError:
        raise InputError(f"no {path.name} in {path.parent}: is it the folder of a run?") from None
    except Exception as error:  # zipfile, zlib and numpy each have their own
        raise InputError(f"damaged file {path} ({type(error).__name__}): train again into a new folder") from None


def read_json(path: Path, what: str) -> dict:
    """A JSON file of a run's folder; InputError names it if it is absent or damaged."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"no {what} at {path}: is {path.parent} the folder of a run?") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise InputError(f"damaged {what} {path}: not readable as JSON; train again into a new folder") from None
