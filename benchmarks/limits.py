"""python -m benchmarks limits: what this device can do at most, through XLA.

It is the measure that every other speed is stated against.

copy          a large float32 array into another, bytes read plus bytes written
gather        random rows of 64 floats from a table larger than the cache, bytes of the rows read
scatter_add   the same rows added to in place, bytes read plus bytes written
matmul        two square matrices, 2 n^3 operations: float32 at the default precision, and bfloat16
dispatch      one call of a trivial compiled function until its result is ready
operation     one operation on 512 numbers after another, within a compiled loop (one of fewer bytes XLA may fuse)
"""

import argparse
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import isolated, tables, timing
from zoo import records


@dataclass(frozen=True)
class Configuration:
    copy_floats: int = 2**26  # 256 MiB
    table_rows: int = 2**22  # 1 GiB at 64 floats
    dim: int = 64
    rows_a_step: int = 2**14
    steps: int = 32  # gathers or scatters a call: together more rows than a cache holds
    matrix: int = 2048  # four times as many rows on an accelerator, which would be done before the next call begins
    seed: int = 0


NAMES = ("copy_gb_per_s", "gather_gb_per_s", "scatter_add_gb_per_s", "matmul_gflop_per_s", "matmul_bf16_gflop_per_s")
NAMES += ("dispatch_us", "operation_us")
CHAIN, CHAINS = 32, 128
QUICK = Configuration(copy_floats=2**22, table_rows=2**17, steps=4, matrix=512)


def run(options: argparse.Namespace) -> int:
    configuration = QUICK if options.quick else Configuration()
    found = [
        {
            "suite": "limits",
            **dataclasses.asdict(configuration),
            "quick": options.quick,
            "allocator": allocator,
            **isolated.run("benchmarks.limits", configuration, allocator),
            "command": records.command(),
        }
        for allocator in options.allocators
    ]
    for record in found:
        records.append_line(options.records / "limits.jsonl", record)
    tables.show("Limits of this device", tables.limits(found))
    return 0


def measure(configuration: Configuration) -> dict[str, Any]:
    """Medians: GB/s (10^9 bytes), GFLOP/s and microseconds."""
    row_bytes = configuration.rows_a_step * configuration.dim * 4
    table = jnp.zeros((configuration.table_rows, configuration.dim))
    shape = (configuration.steps, configuration.rows_a_step)
    ids = jax.random.randint(jax.random.key(configuration.seed), shape, 0, configuration.table_rows)
    total = jnp.zeros((configuration.rows_a_step, configuration.dim))
    gather = _step_ms(_gather, total, (table, ids), configuration.steps)
    scatter = _step_ms(
        _scatter_add, table, (ids, jnp.zeros((configuration.rows_a_step, configuration.dim))), configuration.steps
    )
    matrix = configuration.matrix * (1 if jax.default_backend() == "cpu" else 4)
    single, half = (
        _step_ms(lambda x, y: x @ y, square, (square + 0,), 1, donate=False)
        for square in (jnp.full((matrix, matrix), 1 / matrix, dtype) for dtype in (jnp.float32, jnp.bfloat16))
    )
    dispatch = _step_ms(lambda x: x + 1, jnp.zeros(()), (), 1, repeats=200)
    operation = _step_ms(_chain, jnp.zeros(512), (), CHAIN * CHAINS)
    return {
        "copy_gb_per_s": copy_gb_per_s(configuration.copy_floats),
        "gather_gb_per_s": row_bytes / gather / 1e6,
        "scatter_add_gb_per_s": 2 * row_bytes / scatter / 1e6,
        "matrix": matrix,
        "matmul_gflop_per_s": 2 * matrix**3 / single / 1e6,
        "matmul_bf16_gflop_per_s": 2 * matrix**3 / half / 1e6,
        "dispatch_us": 1e3 * dispatch,
        "operation_us": 1e3 * operation,
    }


def copy_gb_per_s(floats: int = Configuration.copy_floats) -> float:
    copy_ms = _step_ms(_copy, jnp.ones(floats), (jnp.zeros(floats),), 1)
    return 2 * 4 * floats / copy_ms / 1e6


def _copy(target, source):
    """The donated target is written over, so that no page is touched for the first time while the clock runs."""
    del target
    return source + 1


def _gather(total, table, ids):
    return jax.lax.scan(lambda total, row: (total + table[row], None), total, ids)[0]


def _scatter_add(table, ids, rows):
    return jax.lax.scan(lambda table, row: (table.at[row].add(rows), None), table, ids)[0]


def _chain(x):
    """CHAIN operations a turn of the loop, which the barriers keep apart."""

    def turn(x, _):
        for _ in range(CHAIN):
            x = jax.lax.optimization_barrier(x + 1)
        return x, None

    return jax.lax.scan(turn, x, length=CHAINS)[0]


def _step_ms(
    function: Callable, carry: Any, constants: tuple, steps: int, donate: bool = True, repeats: int = timing.MIN_REPEATS
) -> float:
    """Median milliseconds of one of the `steps` steps of function(carry, *constants) -> carry."""
    jitted = jax.jit(function, donate_argnums=0 if donate else (), keep_unused=True)
    compiled, _ = timing.compile_apart(jitted, carry, *constants)
    found, _ = timing.measure(lambda carry, _: compiled(carry, *constants), carry, steps=steps, repeats=repeats)
    return found.step_ms["median"]


if __name__ == "__main__":
    isolated.answer(measure, Configuration)
