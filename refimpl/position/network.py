"""A network with one hidden layer for each pair of query and key, that gives biases of heads."""

from __future__ import annotations

from refimpl.backend import astype, namespace
from refimpl.position.bias import over_pairs


def pair_network(inputs, hidden_weights, hidden_biases, output_weights, output_biases):
    """Outputs (..., h, n, m) for inputs (..., n, m, a), and the arguments of the maximum with 0."""
    xp = namespace(inputs)
    inputs = astype(inputs, hidden_weights.dtype)
    hidden = inputs @ hidden_weights[..., None, :, :] + hidden_biases[..., None, None, :]
    outputs = xp.maximum(hidden, 0) @ output_weights[..., None, :, :]
    return xp.moveaxis(outputs, -1, -3) + over_pairs(output_biases), hidden


def pair_network_vjp(g, inputs, hidden, hidden_weights, output_weights):
    """Gradients in the inputs and in all four weights, in order; the inputs' in their own type."""
    xp = namespace(g)
    g = xp.moveaxis(g, -3, -1)
    dhidden = xp.where(hidden > 0, g @ output_weights[..., None, :, :].swapaxes(-1, -2), 0)
    dhidden = astype(dhidden, hidden.dtype)
    dinputs = astype(dhidden @ hidden_weights[..., None, :, :].swapaxes(-1, -2), inputs.dtype)
    inputs = astype(inputs, hidden.dtype)
    return (
        dinputs,
        _rows(inputs).swapaxes(-1, -2) @ _rows(dhidden),
        dhidden.sum(axis=(-3, -2)),
        _rows(xp.maximum(hidden, 0)).swapaxes(-1, -2) @ _rows(g),
        g.sum(axis=(-3, -2)),
    )


def _rows(x):
    """(..., n m, s) of (..., n, m, s)."""
    *lead, n, m, s = x.shape
    return x.reshape(*lead, n * m, s)
