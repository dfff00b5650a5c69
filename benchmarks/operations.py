"""What a compiled step consists of: how many operations it starts, and what each of them takes in a trace.

A trace is read with jax.profiler.ProfileData alone; no other viewer or package is needed.
"""

import re
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax


FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "partition-id", "replica-id"}
INSIDE = ("while", "conditional", "call")  # what they take is what stands in them
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.-]+) .*\{$")
_OPERATION = re.compile(r"%?([\w.-]+) = .*? ([a-z][\w-]*)\(")
_CALLED = re.compile(r"(?:body|condition|to_apply|branch_computations|true_computation|false_computation)=\{?([^},]+)")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_SOURCE = re.compile(r'op_name="([^"]+)"')


class Operation(NamedTuple):
    name: str  # as XLA calls it, such as "wrapped_scatter"
    source: str  # the operation of the program that it came from, such as "while/body/scatter-add"; "" if unknown
    ms: float  # a step
    share: float  # of the time of all operations


def started(compiled: Any) -> int:
    """How many operations a call of a compiled function starts, loops counted by their trips.

    A loop of unknown length counts once, and of the branches of a condition the one with the most.
    """
    bodies, entry = _computations(compiled.as_text())

    def count(name: str) -> int:
        total = 0
        for kind, called, trips in bodies[name]:
            inner = [count(other) for other in called if other in bodies]
            if kind == "while":
                total += trips * sum(inner)
            elif kind == "conditional":
                total += 1 + max(inner, default=0)
            elif kind == "call":
                total += sum(inner)
            elif kind not in FREE:
                total += 1
        return total

    return count(entry)


def _computations(text: str) -> tuple[dict[str, list[tuple[str, list[str], int]]], str]:
    """By computation, each operation's kind, the computations it calls and its trips; and the entry's name."""
    found: dict[str, list[tuple[str, list[str], int]]] = {}
    name = entry = ""
    for line in text.splitlines():
        header = _COMPUTATION.match(line)
        if header and not line.startswith("HloModule"):
            name = header[2]
            entry = name if header[1] else entry
            found[name] = []
            continue
        operation = _OPERATION.search(line)
        if name and operation:
            called = [other.strip().lstrip("%") for other in _CALLED.findall(line)]
            trips = _TRIPS.search(line)
            found[name].append((operation[2], called, int(trips[1]) if trips else 1))
    return found, entry


def traced(call: Callable[[], Any], folder: Path, compiled: Any, steps: int) -> list[Operation]:
    """Run `call`, which does `steps` steps of a compiled function, under a trace left in `folder`; the time by
    operation, the longest first."""
    with jax.profiler.trace(str(folder)):
        jax.block_until_ready(call())
    newest = max(folder.glob("**/*.xplane.pb"), key=lambda path: path.stat().st_mtime)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the reader's own types; as an error it would abort
        taken = _nanoseconds(jax.profiler.ProfileData.from_file(str(newest)))
    sources = dict(_sources(compiled.as_text()))
    total = sum(taken.values())
    return [
        Operation(name, sources.get(name, ""), ns / 1e6 / steps, ns / total)
        for name, ns in sorted(taken.items(), key=lambda item: -item[1])
    ]


def _nanoseconds(profile: Any) -> Counter[str]:
    taken: Counter[str] = Counter()
    for plane in profile.planes:
        for line in plane.lines:
            for event in line.events:
                name = dict(event.stats).get("hlo_op")
                if name is not None and name == event.name and not name.startswith(INSIDE):
                    taken[name] += event.duration_ns
    return taken


def _sources(text: str) -> list[tuple[str, str]]:
    found = []
    for line in text.splitlines():
        operation, source = _OPERATION.search(line), _SOURCE.search(line)
        if operation and source:
            found.append((operation[1], source[1].partition("/")[2]))
    return found
