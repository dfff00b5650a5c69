"""python -m benchmarks sweep: a sweep of learning rates as one program, beside its runs one after the other."""

import argparse
import statistics
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import optimizer_tables, optimizers, quality, tables, timing, trials
from zoo import records
from zoo.errors import InputError


MODEL = "mf/ranking_bpr"
TRIALS = 16
BATCHES = (64, 256, 1024, 4096)
RULES = ("sgd", "rowwise_adam")
STEPS = {64: 200, 256: 100, 1024: 50, 4096: 20}  # of a turn


def run(options: argparse.Namespace) -> int:
    reason = quality.absent_data(options.data)
    if reason:
        raise InputError(reason)
    found = []
    for name in RULES:
        for batch in BATCHES[:1] if options.quick else BATCHES:
            found.append(measured(options.data, name, batch, 5 if options.quick else STEPS[batch]))
            found[-1] |= {"quick": options.quick}
            records.append_line(options.records / "sweep.jsonl", found[-1])
    tables.show("A sweep as one program", optimizer_tables.sweep(found))
    return 0


def measured(data: str, name: str, batch: int, steps: int, turns: int = 5) -> dict[str, Any]:
    """Both ways in turns on the same order of examples, compiled before; and how far their weights are apart after it.

    Single runs share one program, whose argument is the rate.
    """
    workload = trials.Workload(name, MODEL, data, steps, 0.0, 1e-3, {"batch_size": batch})
    task = trials.prepared(workload)
    pair = optimizers.Pair("rows", workload, name)
    rule, centre = optimizers.rule(pair), optimizers.ROWS[name][1]
    rates = jnp.asarray(np.geomspace(centre / 30, centre * 3, TRIALS), jnp.float32)
    order = jnp.asarray(trials.orders(task, 0, steps))
    together, states = trials.swept(task, rule, rates, order)
    single = jax.jit(trials.with_rate(task, rule), donate_argnums=1)
    single = single.lower(rates[0], trials.first_state(task, rule, 0), task.constants, task.columns, order).compile()
    apart = [trials.first_state(task, rule, 0) for _ in range(TRIALS)]
    fixed = task.constants, task.columns, order

    def one_by_one():
        for place, rate in enumerate(rates):
            apart[place], _ = single(rate, apart[place], *fixed)
        return apart

    seconds: dict[str, list[float]] = {"together": [], "one_by_one": []}
    difference = 0.0
    for turn in range(turns + 1):  # the first warms up, and is compared
        took, (states, _) = timing.once(partial(together, rates, states, *fixed))
        took_apart, _ = timing.once(one_by_one)
        if turn:
            seconds["together"].append(took)
            seconds["one_by_one"].append(took_apart)
        else:
            stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[state.tables for state in apart])
            pairs = zip(jax.tree.leaves(states.tables), jax.tree.leaves(stacked), strict=True)
            difference = max(float(jnp.max(jnp.abs(one - other))) for one, other in pairs)
    ratios = [one / other for one, other in zip(seconds["one_by_one"], seconds["together"], strict=True)]
    return {
        "suite": "sweep",
        "model": MODEL,
        "data": data,
        "optimizer": name,
        "trials": TRIALS,
        "batch_size": batch,
        "steps": steps,
        "together_ms": [1e3 * value / steps for value in seconds["together"]],
        "one_by_one_ms": [1e3 * value / steps for value in seconds["one_by_one"]],
        "ratio": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
        "difference": difference,
        "environment": records.environment(jax.devices()[0].device_kind),
        "command": records.command(),
    }
