"""One configuration of the sweep record: the same trials as one program in two ways, and one after the other."""

import os
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import isolated, optimizers, timing, trials


@dataclass(frozen=True)
class Configuration:
    optimizer: str  # of the tables, a key of optimizers.ROWS
    batch_size: int
    steps: int  # of a turn
    data: str
    model: str = "mf/ranking_bpr"
    trials: int = 16
    turns: int = 5


def measure(configuration: Configuration) -> dict[str, Any]:
    """Milliseconds of a step of all trials, by turn and way, compiled before, on the same order of examples.

    together    under vmap
    divided     each of a CPU's cores, or each device, runs its part of the trials one after the other
    one_by_one  one program whose argument is the rate, called once a trial

    `difference` is the most that a weight of either differs from one_by_one after the first turn.
    """
    jax.config.update("jax_num_cpu_devices", _largest_divisor(configuration.trials, os.cpu_count() or 1))
    settings = {"batch_size": configuration.batch_size}
    workload = trials.Workload(
        configuration.model, configuration.model, configuration.data, configuration.steps, 0.0, 1e-3, settings
    )
    task = trials.prepared(workload)
    rule = optimizers.rule(optimizers.Pair("rows", workload, configuration.optimizer))
    centre = optimizers.ROWS[configuration.optimizer][1]
    rates = jnp.asarray(np.geomspace(centre / 100, centre / 5, configuration.trials), jnp.float32)
    order = jnp.asarray(trials.orders(task, 0, configuration.steps))
    fixed = task.constants, task.columns, order
    devices = _largest_divisor(configuration.trials, jax.device_count())
    ways = {
        "together": trials.swept(task, rule, rates, order),
        "divided": trials.swept(task, rule, rates, order, devices),
    }
    held = {name: states for name, (_, states) in ways.items()}
    single = jax.jit(trials.with_rate(task, rule), donate_argnums=1)
    single = single.lower(rates[0], trials.first_state(task, rule, 0), *fixed).compile()
    apart = [trials.first_state(task, rule, 0) for _ in rates]

    def one_by_one():
        for place, rate in enumerate(rates):
            apart[place], _ = single(rate, apart[place], *fixed)
        return apart

    seconds: dict[str, list[float]] = {"together": [], "divided": [], "one_by_one": []}
    difference = 0.0
    for turn in range(configuration.turns + 1):  # the first warms up, and is compared
        for name, (call, _) in ways.items():
            took, (held[name], _) = timing.once(partial(call, rates, held[name], *fixed))
            seconds[name].append(took)
        seconds["one_by_one"].append(timing.once(one_by_one)[0])
        if turn == 0:
            stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *[state.tables for state in apart])
            difference = max(
                float(np.abs(np.asarray(one) - other).max())
                for name in ways
                for one, other in zip(jax.tree.leaves(held[name].tables), jax.tree.leaves(stacked), strict=True)
            )
    found = {f"{name}_ms": [1e3 * took / configuration.steps for took in held[1:]] for name, held in seconds.items()}
    return {**found, "difference": difference, "devices": devices}


def _largest_divisor(number: int, most: int) -> int:
    return max(size for size in range(1, most + 1) if number % size == 0)


if __name__ == "__main__":
    isolated.answer(measure, Configuration)
