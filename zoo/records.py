"""Records: what a run found, on what machine, by which command. Standard library only."""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any


_RESULTS = (":(exclude)benchmarks/records", ":(exclude)benchmarks/plots")


def environment(device: str) -> dict[str, Any]:
    """Commit, versions, machine and settings that a number depends on. `device` is JAX's name for the device."""
    packages = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "polars")
    return {
        "commit": commit(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in packages},
        "device": device,
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "platform": f"{platform.system()} {platform.machine()}",
        "settings": {
            name: os.environ[name]
            for name in (
                "XLA_FLAGS",
                "JAX_PLATFORMS",
                "MALLOC_MMAP_THRESHOLD_",
                "MALLOC_TRIM_THRESHOLD_",
                "GLIBC_TUNABLES",
                "OMP_NUM_THREADS",
            )
            if name in os.environ
        },
    }


def command() -> str:
    """The command line of this process, without the machine's paths."""
    program = Path(sys.argv[0])
    name = f"python -m {program.parent.name}" if program.name == "__main__.py" else program.name
    return " ".join([name, *sys.argv[1:]])


def commit() -> str | None:
    """The commit of this checkout, with "+" if code differs from it; None outside one. Records are no code."""
    here = Path(__file__).resolve().parent.parent
    if not (here / ".git").exists():
        return None
    try:
        head = subprocess.run(
            ["git", "-C", here, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True
        )
        changed = subprocess.run(
            ["git", "-C", here, "status", "--porcelain", "--", "zoo", "benchmarks", *_RESULTS],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n")
    unfinished.replace(path)


def append_line(path: Path, record: Mapping[str, Any]) -> None:
    """Append one record to a .jsonl file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(record, allow_nan=False) + "\n")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()
