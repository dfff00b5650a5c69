"""zoo generate: text from a trained model, character by character."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from zoo import evaluate
from zoo.errors import InputError
from zoo.recipe import Examples
from zoo.types import TrainState


def generate(
    model: Any, state: TrainState, examples: Examples, prompt: str, *, length: int, temperature: float, seed: int
) -> str:
    """`length` characters that go on from the prompt, each drawn from softmax(logits / temperature).

    At temperature 0 each is the most likely one. The class of unknown characters is never drawn.
    """
    if examples.vocabulary is None:
        raise InputError("this run learned no text that could go on: train rnn, then zoo generate DIR --prompt TEXT")
    if length < 1:
        raise InputError(f"length is {length}: generate at least 1 character")
    if not 0 <= temperature < float("inf"):
        raise InputError(f"temperature is {temperature}: 0 is for the likeliest text, 1 for the model's own")
    if seed < 0:
        raise InputError(f"seed is {seed}: it must be at least 0")
    known = examples.vocabulary.encode_known(prompt)
    values = evaluate.variables(state, examples.constants)
    classes = _drawn(model, values, known[None, :], temperature, jax.random.key(seed), length)
    return examples.vocabulary.decode(np.asarray(classes))


@partial(jax.jit, static_argnums=(0, 5))
def _drawn(model: Any, values: Any, prompt: Array, temperature: Array, key: Array, length: int) -> Array:
    """Classes int32 [length] after the prompt int32 [1, characters]."""

    def read(characters, states):
        logits, states = model.apply(values, characters, states, method="read")
        return logits[0, -1], states

    def draw(logits, key):
        logits = logits.at[0].set(-jnp.inf)
        drawn = jax.random.categorical(key, logits / jnp.maximum(temperature, 1e-6))
        return jnp.where(temperature > 0, drawn, jnp.argmax(logits)).astype(jnp.int32)

    def step(held, key):
        logits, states = held
        character = draw(logits, key)
        return read(character[None, None], states), character

    return jax.lax.scan(step, read(prompt, model.start(1)), jax.random.split(key, length))[1]
