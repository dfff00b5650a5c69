"""The harness: a known sleep is timed right; an unblocked dispatch and a compilation inside are caught."""

import time

import jax
import jax.numpy as jnp
import pytest

from benchmarks import timing


def test_a_known_sleep():
    def advance(carry, repeat):
        time.sleep(0.01)
        return carry

    timed, _ = timing.measure(advance, jnp.zeros(()), steps=5)
    assert len(timed.seconds) == timing.MIN_REPEATS
    assert 2.0 <= timed.step_ms["median"] < 3.5
    assert timed.step_ms["least"] <= timed.step_ms["median"] <= timed.step_ms["p90"]


def test_an_unblocked_dispatch_is_caught():
    heavy = jax.jit(lambda x: jax.lax.fori_loop(0, 8, lambda _, y: jnp.tanh(y @ y), x))
    quick = jax.jit(lambda x: x + 1)
    square = heavy(jnp.full((700, 700), 1e-3))
    hidden = []

    def advance(carry, repeat):
        result = quick(carry)
        hidden.append(heavy(square))  # a device works in order: this goes on after the result that is returned
        return result

    with pytest.raises(timing.TimingError, match="still running"):
        timing.measure(advance, quick(jnp.zeros(())))


def test_nothing_to_wait_for_is_caught():
    with pytest.raises(timing.TimingError, match="no array to wait for"):
        timing.measure(lambda carry, repeat: 3.0, 1.0)


def test_a_compilation_inside_is_caught():
    def advance(carry, repeat):
        return jax.jit(lambda x: x[: 30 - repeat])(carry)  # another shape each time

    with pytest.raises(timing.TimingError, match="compilation"):
        timing.measure(advance, jnp.zeros(40))


def test_too_few_repeats():
    with pytest.raises(ValueError, match="at least 20"):
        timing.measure(lambda carry, repeat: carry, jnp.zeros(()), repeats=3)


def test_compile_is_apart():
    compiled, seconds = timing.compile_apart(jax.jit(lambda x: jnp.sin(x) * 2), jnp.zeros(7))
    assert seconds > 0 and compiled(jnp.zeros(7)).shape == (7,)
