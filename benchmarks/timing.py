"""The one way in which the benchmarks time: compile apart, warm up, then blocked repeats of a chunk of steps.

Two mistakes make a figure worthless and are caught here, with a TimingError in place of a figure: work still running
when the clock stops (an unblocked dispatch), and a compilation while it runs.
"""

import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from zoo.memory import readable


MIN_REPEATS = 20
LATE_SHARE = 0.1  # of a repeat's time may pass, after its result is ready, until the device is idle
COMPILE_EVENTS = "/jax/core/compile/"  # tracing, lowering and compiling all report under this prefix


class TimingError(RuntimeError):
    """A measurement that would not mean what it says."""


@dataclass(frozen=True)
class Timing:
    """Blocked repeats of one call, each of `steps` steps."""

    steps: int
    seconds: tuple[float, ...]  # of each repeat

    @property
    def step_ms(self) -> dict[str, float]:
        """Milliseconds a step: least, median and p90 over the repeats."""
        ordered = sorted(self.seconds)
        p90 = ordered[math.ceil(0.9 * len(ordered)) - 1]
        values = {"least": ordered[0], "median": statistics.median(ordered), "p90": p90}
        return {name: 1e3 * value / self.steps for name, value in values.items()}


def compile_apart(function: Any, *arguments: Any) -> tuple[Any, float]:
    """A jitted function compiled for these arguments, and the seconds that tracing, lowering and compiling took."""
    began = time.perf_counter()
    compiled = function.lower(*arguments).compile()
    return compiled, time.perf_counter() - began


def check_in_place(compiled: Any, tables: Any) -> dict[str, int]:
    """Bytes that a compiled call updates in place and takes for temporaries; TimingError if tables are copied."""
    table_bytes = sum(table.nbytes for table in jax.tree.leaves(tables))
    memory = compiled.memory_analysis()
    if memory.alias_size_in_bytes < table_bytes:
        in_place = readable(memory.alias_size_in_bytes)
        raise TimingError(f"only {in_place} of {readable(table_bytes)} of tables are updated in place")
    return {
        "table_bytes": table_bytes,
        "alias_bytes": memory.alias_size_in_bytes,
        "temporary_bytes": memory.temp_size_in_bytes,
    }


def measure(
    advance: Callable[[Any, int], Any], carry: Any, *, steps: int = 1, repeats: int = MIN_REPEATS, warmup: int = 2
) -> tuple[Timing, Any]:
    """Time advance(carry, repeat) -> carry, which does `steps` steps a call; returns the timing and the last carry.

    Each call gets the carry of the call before it, so that donated state can travel through. The clock stops when every
    array of the carry is ready. `repeat` counts from 0, the warm-up included: a call can take fresh input by it.
    """
    if repeats < MIN_REPEATS:
        raise ValueError(f"{repeats} repeats: a median and a p90 need at least {MIN_REPEATS}")
    fence = _fence()
    for repeat in range(warmup):
        carry = advance(carry, repeat)
        _wait_for(carry)
    fence()
    idle = statistics.median(_seconds(fence) for _ in range(5))
    seconds, late = [], []
    with no_compilation():
        for repeat in range(warmup, warmup + repeats):
            began = time.perf_counter()
            carry = advance(carry, repeat)
            _wait_for(carry)
            seconds.append(time.perf_counter() - began)
            late.append(_seconds(fence))
    unblocked, blocked = statistics.median(seconds), statistics.median(late)
    if blocked > LATE_SHARE * unblocked + 5 * idle:
        raise TimingError(
            f"work was still running when the result was ready: {1e3 * unblocked:.3f} ms to the result, then "
            f"{1e3 * blocked:.3f} ms until the device was idle; return every array that the call computes"
        )
    return Timing(steps, tuple(seconds)), carry


def once(call: Callable[[], Any]) -> tuple[float, Any]:
    """The seconds of one blocked call, and its result: enough to choose by, too little to report."""
    began = time.perf_counter()
    result = jax.block_until_ready(call())
    return time.perf_counter() - began, result


def length_within(budget_s: float, step_s: float, repeats: int, least: int, most: int) -> int:
    """How many steps a repeat may have, `least` to `most`, so that all repeats together take about the budget."""
    return max(min(least, most), min(most, int(budget_s / (repeats * step_s))))


@contextmanager
def no_compilation() -> Iterator[None]:
    """Raise TimingError at the end if anything was traced or compiled inside."""
    seen: list[tuple[str, float]] = []

    def listen(event: str, duration_secs: float, **_: Any) -> None:
        if event.startswith(COMPILE_EVENTS):
            seen.append((event.removeprefix(COMPILE_EVENTS), duration_secs))

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    if seen:
        kinds = ", ".join(sorted({kind.removesuffix("_duration") for kind, _ in seen}))
        took = sum(seconds for _, seconds in seen)
        raise TimingError(
            f"{1e3 * took:.1f} ms of compilation ({kinds}) while the clock ran: give every call arrays of the "
            "same shapes and types, and compile before measuring"
        )


def _wait_for(carry: Any) -> None:
    if not any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(carry)):
        raise TimingError("the call returned no array to wait for: return what it computes")
    jax.block_until_ready(carry)


def _fence() -> Callable[[], None]:
    """A function that returns when the device has done all that was asked of it so far: it runs in order."""
    advance = jax.jit(lambda x: x + 1)
    state = [advance(jnp.zeros(()))]

    def wait() -> None:
        jax.block_until_ready(jax.live_arrays())
        state[0] = advance(state[0])
        state[0].block_until_ready()

    wait()
    return wait


def _seconds(function: Callable[[], None]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began
