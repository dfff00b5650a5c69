"""One configuration of the rows record: a BPR step of MF at one table size, with one optimizer and one skew."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import isolated, synthetic, timing
from benchmarks.timing import TimingError
from zoo import init_state, make_train_step, names, objectives, scan_steps
from zoo.models.mf import MF
from zoo.types import Spec


@dataclass(frozen=True)
class Configuration:
    optimizer: str  # a name of zoo.names.OPTIMIZERS
    items: int  # rows of the item table
    users: int  # rows of the user table
    zipf: float  # exponent of the users' and positive items' skew, 0 uniform; negatives are uniform always
    steps: int  # steps a timed call
    batch_size: int = 8192
    embedding_dim: int = 64
    repeats: int = timing.MIN_REPEATS
    seed: int = 0


def measure(configuration: Configuration) -> dict[str, Any]:
    """Milliseconds a step of the zoo's own scan_steps(make_train_step(...)), and proof that tables change in place.

    Every call gets examples of its own, so that no row is in the cache because the call before it used the same.
    """
    model = MF(Spec(num_users=configuration.users, num_items=configuration.items), configuration.embedding_dim)
    optimizer = names.optimizer(configuration.optimizer)(1e-3)
    warmup = 2
    shape = (configuration.repeats + warmup, configuration.steps, configuration.batch_size)
    rng = np.random.default_rng(configuration.seed)
    columns = {
        "user": jnp.asarray(
            synthetic.zipf_ids(rng, shape[0] * shape[1] * shape[2], configuration.users, configuration.zipf)
        ),
        "item": jnp.asarray(
            synthetic.zipf_ids(rng, shape[0] * shape[1] * shape[2], configuration.items, configuration.zipf)
        ),
    }
    order = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    orders = [jnp.asarray(chunk) for chunk in order]
    batch = {name: jax.ShapeDtypeStruct((configuration.batch_size,), jnp.int32) for name in columns}
    batch["mask"] = jax.ShapeDtypeStruct((configuration.batch_size,), jnp.float32)
    objective = partial(objectives.bpr, num_negatives=1)
    state = init_state(model, objective, optimizer, batch, jax.random.key(configuration.seed))
    scan = scan_steps(make_train_step(model, objective, optimizer))
    compiled, compile_seconds = timing.compile_apart(scan, state, {}, columns, orders[0])
    in_place = timing.check_in_place(compiled, state.tables)

    def advance(carry, repeat):
        return compiled(carry[0], {}, columns, orders[repeat])

    timed, (_, metrics) = timing.measure(
        advance, (state, None), steps=configuration.steps, repeats=configuration.repeats, warmup=warmup
    )
    if not np.isfinite(np.asarray(metrics["loss_sum"])).all():
        raise TimingError("the loss is not finite: the steps timed are no training")
    return {
        "step_ms": timed.step_ms,
        "compile_seconds": compile_seconds,
        **in_place,
    }


if __name__ == "__main__":
    isolated.answer(measure, Configuration)
