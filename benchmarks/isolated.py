"""One measurement in a process of its own: fresh memory, its own allocator settings, a peak that is its own.

The parent calls `run(module, configuration, ...)`; the module ends with `if __name__ == "__main__": answer(...)`.
"""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo import records
from zoo.errors import InputError


ROOT = Path(__file__).resolve().parent.parent
LAST_LINE = "result: "

# glibc maps and unmaps each large temporary anew, whose first touch faults page by page. `tuned` keeps freed memory;
# `huge` also asks for pages of 2 MiB, so that random rows of a large table miss the TLB less often.
_KEEP = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "8589934592"}
ALLOCATORS: dict[str, dict[str, str]] = {
    "default": {},
    "tuned": _KEEP,
    "huge": {**_KEEP, "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"},
}
# What a shell may have set for one machine or program would decide a measurement without standing in its record.
NOT_INHERITED = {*ALLOCATORS["huge"], "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"}


class Failed(RuntimeError):
    """A measurement that ended without a result; the message is its last word."""


def run(
    module: str, configuration: Any, allocator: str = "default", timeout_s: float = 1800, progress: bool = False
) -> dict[str, Any]:
    """The result of `python -m MODULE` for a configuration (a dataclass), measured under the allocator's settings."""
    command = [sys.executable, "-m", module]
    return ask(command, dataclasses.asdict(configuration), ALLOCATORS[allocator], ROOT, timeout_s, progress)


def ask(
    command: Sequence[str | Path],
    configuration: Mapping[str, Any],
    settings: Mapping[str, str],
    folder: Path,
    timeout_s: float = 1800,
    progress: bool = False,
) -> dict[str, Any]:
    """The result that a command run in `folder` prints for a configuration, with `settings` in its environment.

    With `progress`, what it writes to stderr is shown as it comes.
    """
    environment = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    try:
        done = subprocess.run(
            command,
            input=json.dumps(configuration),
            env={**environment, **settings},
            cwd=folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=None if progress else subprocess.PIPE,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"no result within {timeout_s:.0f} s") from None
    lines = [line for line in done.stdout.splitlines() if line.startswith(LAST_LINE)]
    if done.returncode or not lines:
        said = "its message is above" if progress else done.stderr.strip() or "no message"
        raise Failed(f"exit status {done.returncode}: {said.splitlines()[-1]}")
    return json.loads(lines[-1].removeprefix(LAST_LINE))


def answer(measure: Callable[[Any], Mapping[str, Any]], configuration: type) -> None:
    """The child's side: read the configuration, measure, print the result with the environment it was taken in."""
    import jax

    load = os.getloadavg()[0]
    try:
        result = dict(measure(configuration(**json.loads(sys.stdin.read()))))
    except InputError as error:
        sys.exit(f"{error}")
    environment = records.environment(jax.devices()[0].device_kind)
    # More than the measurement itself was running if the load before it was far above 0.
    result |= {"peak_memory_bytes": peak_memory_bytes(), "load_before": round(load, 2), "environment": environment}
    print(LAST_LINE + json.dumps(result))


def peak_memory_bytes() -> int:
    """The most memory held so far: of an accelerator where it counts it, else of this process."""
    import resource

    import jax

    statistics = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in statistics:
        return statistics["peak_bytes_in_use"]
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
