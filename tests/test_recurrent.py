"""Recurrent cells against loops in numpy, and against PyTorch where it is installed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zoo import recurrent


LENGTH, BATCH, INPUTS, WIDTH = 5, 3, 4, 6


def sigma(x):
    return 1 / (1 + np.exp(-x))


def by_hand(name, x, states, weights):
    """One step of a cell as its paper writes it, gate by gate."""
    h = states[0]
    blocks = [[m[:, i : i + WIDTH] for i in range(0, m.shape[1], WIDTH)] for m, _ in weights]
    biases = [[b[i : i + WIDTH] for i in range(0, len(b), WIDTH)] for _, b in weights]
    x = [x[:, i : i + WIDTH] for i in range(0, x.shape[1], WIDTH)]
    if name == "vanilla":
        return (np.tanh(x[0] + h @ blocks[0][0] + biases[0][0]),)
    if name == "lstm":
        i, f, g, o = (x[k] + h @ blocks[0][k] + biases[0][k] for k in range(4))
        c = sigma(f) * states[1] + sigma(i) * np.tanh(g)
        return sigma(o) * np.tanh(c), c
    r, z = (sigma(x[k] + h @ blocks[0][k] + biases[0][k]) for k in range(2))
    if name == "gru_reset_after":
        n = np.tanh(x[2] + r * (h @ blocks[0][2] + biases[0][2]))
        return ((1 - z) * n + z * h,)
    n = np.tanh(x[2] + (r * h) @ blocks[1][0] + biases[1][0])
    return ((1 - z) * h + z * n,)


def drawn(cell, seed=0):
    """Weights, projected inputs and states."""
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    weights = tuple((normal(WIDTH, len(b) * WIDTH) / 2, normal(len(b) * WIDTH)) for b in cell.biases)
    states = tuple(normal(BATCH, WIDTH) for _ in range(cell.num_states))
    return weights, normal(LENGTH, BATCH, cell.projected * WIDTH), states


CELLS = ["vanilla", "lstm", "gru_reset_after", "gru_reset_before"]


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_over_time(name):
    cell = getattr(recurrent, name)
    weights, x, states = drawn(cell)
    last, outputs = recurrent.unroll(cell, weights, x, states)
    expected = []
    for step in range(LENGTH):
        states = by_hand(name, x[step], states, weights)
        expected.append(states[0])
    np.testing.assert_allclose(outputs, np.stack(expected), atol=1e-5)
    for one, two in zip(last, states, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)


@pytest.mark.parametrize("name", CELLS)
def test_gradients_are_those_of_a_loop(name):
    """Of every weight, input and first state, from outputs and last states alike."""
    cell = getattr(recurrent, name)
    arguments = drawn(cell)
    factor = np.random.default_rng(1).standard_normal((LENGTH, BATCH, WIDTH)).astype(np.float32)

    def loss(run, weights, x, states):
        last, outputs = run(weights, x, states)
        return jnp.sum(outputs * factor) + sum(jnp.sum(state**2) for state in last)

    def loop(weights, x, states):
        outputs = []
        for step in range(LENGTH):
            states = cell.step(x[step], states, lambda i, a: a @ weights[i][0] + weights[i][1][None, :])
            outputs.append(states[0])
        return states, jnp.stack(outputs)

    def unrolled(*arguments):
        return recurrent.unroll(cell, *arguments)

    found, expected = (jax.grad(loss, (1, 2, 3))(run, *arguments) for run in (unrolled, loop))
    for one, two in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)


@pytest.mark.parametrize(("name", "kind"), [("vanilla", "RNN"), ("lstm", "LSTM"), ("gru_reset_after", "GRU")])
def test_torch_has_the_same_cells(name, kind):
    torch = pytest.importorskip("torch")
    layer = getattr(torch.nn, kind)(INPUTS, WIDTH)
    inputs = torch.randn(LENGTH, BATCH, INPUTS)
    expected, _ = layer(inputs)
    w, u, b, b_recurrent = (value.detach().numpy() for value in layer.parameters())
    cell = getattr(recurrent, name)
    x = inputs.numpy() @ w.T + b
    _, outputs = recurrent.unroll(cell, ((u.T, b_recurrent),), x, recurrent.zero_states(cell, BATCH, WIDTH))
    np.testing.assert_allclose(outputs, expected.detach().numpy(), atol=1e-5)


def test_the_two_conventions_of_the_gru_differ():
    """The same numbers as weights of one and of the other give other states: they cannot be mistaken in silence."""
    weights, x, states = drawn(recurrent.gru_reset_after)
    (matrix, bias), both = weights[0], 2 * WIDTH
    parts = ((matrix[:, :both], bias[:both]), (matrix[:, both:], bias[both:]))
    after = recurrent.unroll(recurrent.gru_reset_after, weights, x, states)[1]
    before = recurrent.unroll(recurrent.gru_reset_before, parts, x, states)[1]
    assert np.abs(after - before).max() > 0.1


def test_an_lstm_opens_with_its_forget_gate_open():
    layer = recurrent.Recurrent(recurrent.lstm, WIDTH)
    x = jnp.zeros((LENGTH, BATCH, 4 * WIDTH))
    params = layer.init(jax.random.key(0), x, recurrent.zero_states(recurrent.lstm, BATCH, WIDTH))["params"]
    assert params["bias_0"].tolist() == [0.0] * WIDTH + [1.0] * WIDTH + [0.0] * 2 * WIDTH
    for block in range(4):  # each gate's matrix is orthogonal by itself
        matrix = params["recurrent_0"][:, block * WIDTH : (block + 1) * WIDTH]
        np.testing.assert_allclose(matrix.T @ matrix, np.eye(WIDTH), atol=1e-5)
