"""Learning rates over a run: (peak rate, total steps) -> (step -> rate)."""

import optax


def cosine(learning_rate: float, total_steps: int) -> optax.Schedule:
    """From the rate down to 0 along half a cosine."""
    return optax.cosine_decay_schedule(learning_rate, total_steps)


def linear(learning_rate: float, total_steps: int) -> optax.Schedule:
    """From the rate down to 0 in a straight line."""
    return optax.linear_schedule(learning_rate, 0.0, total_steps)


def one_cycle(learning_rate: float, total_steps: int, *, rising: float = 0.2) -> optax.Schedule:
    """Up to the rate in a straight line over the part `rising` of all steps, then down to 0 in another."""
    top = max(1, round(rising * total_steps))
    down = optax.linear_schedule(learning_rate, 0.0, total_steps - top)
    return optax.join_schedules([optax.linear_schedule(0.0, learning_rate, top), down], [top])
