"""One configuration of the scaling record: a training step over devices, real ones or virtual ones of a CPU."""

from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax

from benchmarks import isolated, throughput_step, timing
from benchmarks.collectives import collectives
from zoo import chunks, make_train_step, names, parallel, processes, scan_steps, train_step


@dataclass(frozen=True)
class Configuration:
    model: str  # model/recipe
    form: str  # strong: a batch divided; weak: as many examples on each device
    mode: str = "jit"
    devices: int = 1  # of all processes
    shard_tables: bool = False
    batch_size: int = 8192  # of all devices
    rows: int = 30_000
    interactions: int = 2**18
    zipf: float = 1.0
    steps: int = 4  # of a repeat
    seed: int = 0
    processes: int = 1
    process: int = 0
    coordinator: str | None = None


def measure(configuration: Configuration) -> dict[str, Any]:
    """Milliseconds a step, and what the compiled step sends: bytes of results on one device, by collective."""
    several = configuration.processes > 1
    meeting = (configuration.processes, configuration.process) if several else (None, None)
    processes.start(configuration.devices, configuration.coordinator, *meeting)
    layout = None
    if configuration.devices > 1:
        layout = parallel.layout(configuration.devices, configuration.shard_tables)
    shared = ("model", "rows", "interactions", "zipf", "batch_size", "seed")
    recipe, prepared = throughput_step.prepared_job(
        throughput_step.Configuration(**{name: getattr(configuration, name) for name in shared})
    )
    put = partial(parallel.on_every_device, layout=layout)
    wrap = partial(names.MODES[configuration.mode], layout=layout)
    assert recipe.objective is not None, "a closed form has no step to time"
    step: Any = make_train_step(prepared.model, recipe.objective, prepared.optimizer, wrap)
    state, columns = prepared.initial(layout), put(dict(prepared.examples.train))
    constants = put(dict(prepared.examples.constants))
    order = chunks.epoch_order(prepared.examples, recipe, configuration.seed, 0)[: configuration.steps]
    steps = len(order)
    batch = jax.eval_shape(lambda: train_step.take_rows(columns, order[0]))
    sent: Counter[str] = Counter()
    if layout is not None:
        for found in collectives(step.lower(state, batch, constants).compile()):
            sent[found.kind] += found.bytes
    order = put(order)
    compiled, compile_seconds = timing.compile_apart(scan_steps(step), state, constants, columns, order)
    timed, _ = timing.measure(
        lambda carry, _: compiled(carry[0], constants, columns, order), (state, None), steps=steps
    )
    return {
        "steps": steps,
        "step_ms": timed.step_ms,
        "examples_per_second": 1e3 * recipe.batch_size / timed.step_ms["median"],
        "compile_seconds": compile_seconds,
        "collective_bytes": dict(sent),
    }


if __name__ == "__main__":
    isolated.answer(measure, Configuration)
