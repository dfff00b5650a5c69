"""Several processes that train one model: started by jax.distributed, each with the same command and its own number."""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from zoo.errors import InputError


def start(num_devices: int | None, coordinator: str | None, num_processes: int | None, process_id: int | None) -> None:
    """Devices and processes, before anything computes: virtual devices on a CPU, and the meeting of the processes.

    `num_devices` counts those of all processes. The coordinator's address is that of process 0.
    """
    given = [coordinator is not None, num_processes is not None, process_id is not None]
    if any(given) and not all(given):
        raise InputError("several processes need all of --coordinator HOST:PORT, --num-processes N and --process-id I")
    if num_processes is not None and not 0 <= (process_id or 0) < num_processes:
        raise InputError(f"--process-id {process_id}: the {num_processes} processes are numbered from 0")
    if num_devices is not None:
        if num_devices < 1 or num_devices % (num_processes or 1):
            raise InputError(f"--devices {num_devices}: give a positive multiple of the {num_processes or 1} processes")
        jax.config.update("jax_num_cpu_devices", num_devices // (num_processes or 1))
    if coordinator is not None:
        try:
            jax.distributed.initialize(coordinator, num_processes, process_id, initialization_timeout=60)
        except (RuntimeError, ValueError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise InputError(
                f"process {process_id} did not meet the other {(num_processes or 1) - 1} at {coordinator} ({reason}):"
                " start all of them with the same address"
            ) from None


def is_first() -> bool:
    """Whether this process writes files and prints."""
    return jax.process_index() == 0


def first_does(action: Callable[[], None]) -> None:
    """Let the first process do what only one may do; its InputError stops all."""
    error = None
    if is_first():
        try:
            action()
        except InputError as raised:
            error = raised
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        failed = multihost_utils.broadcast_one_to_all(np.int32(error is not None))
        if failed and error is None:
            error = InputError("the first process stopped; its message says why")
    if error is not None:
        raise error


def agree(identity: Mapping[str, Any], columns: Mapping[str, np.ndarray | None]) -> None:
    """InputError in every process unless all were given the same settings and the same data."""
    if jax.process_count() == 1:
        return
    from jax.experimental import multihost_utils

    settings = hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode())
    data = hashlib.sha256()
    for name, column in columns.items():
        if column is not None:
            data.update(name.encode() + np.ascontiguousarray(column).tobytes())
    own = np.frombuffer(settings.digest() + data.digest(), np.uint8)
    every = np.asarray(multihost_utils.process_allgather(own))
    for what, part in (("settings", slice(0, 32)), ("data", slice(32, 64))):
        differing = np.flatnonzero((every[:, part] != every[0, part]).any(1))
        if len(differing):
            raise InputError(
                f"process {differing[0]} has other {what} than process 0:"
                " give every process the same command and the same files"
            )
