"""How much memory a run may still take, asked before anything is allocated."""

import resource
from pathlib import Path

import jax


CGROUP = Path("/sys/fs/cgroup")


def available_bytes() -> int | None:
    """Free bytes on the default device: an accelerator's own count, else the host's."""
    statistics = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in statistics:
        return statistics["bytes_limit"] - statistics.get("bytes_in_use", 0)
    return host_available_bytes()


def host_available_bytes() -> int | None:
    """Free bytes of the host: the least of its memory, its cgroup's and its limits. Files kept in memory count as
    free."""
    bounds = []
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        fields = dict(line.split(":") for line in meminfo.read_text().splitlines())
        bounds.append(int(fields["MemAvailable"].split()[0]) * 1024)
    limit, used, statistics = (CGROUP / f"memory.{name}" for name in ("max", "current", "stat"))
    if limit.exists() and used.exists() and limit.read_text().strip() != "max":
        counts = dict(line.split() for line in statistics.read_text().splitlines()) if statistics.exists() else {}
        bounds.append(int(limit.read_text()) - int(used.read_text()) + int(counts.get("inactive_file", 0)))
    address_space = resource.getrlimit(resource.RLIMIT_AS)[0]
    if address_space != resource.RLIM_INFINITY:
        bounds.append(address_space)
    return min(bounds, default=None)


def readable(size: float) -> str:
    """1536 -> "1.5 KiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
