"""Thin wrappers around the one core step: how it is compiled and spread over devices."""

from collections.abc import Callable

import jax


def jit(core: Callable) -> Callable:
    """Compile the core step; the state is donated, so that tables are updated in place."""
    return jax.jit(core, donate_argnums=0)
