"""Learning rates over a run: (peak rate, total steps) -> (step -> rate)."""

import optax


def cosine(learning_rate: float, total_steps: int) -> optax.Schedule:
    """From the rate down to 0 along half a cosine."""
    return optax.cosine_decay_schedule(learning_rate, total_steps)


def linear(learning_rate: float, total_steps: int) -> optax.Schedule:
    """From the rate down to 0 in a straight line."""
    return optax.linear_schedule(learning_rate, 0.0, total_steps)
