"""Encodings by a recurrence: sinusoids, a linear ODE, gradients through time, bad input."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from refimpl.position.absolute import sinusoidal_encoding
from refimpl.position.recurrent import recurrent_encoding

PAPER = {"order": "sin_first", "layout": "interleaved", "frequencies": "paper"}


def _generator(dim):
    """Blocks theta [[0, 1], [-1, 0]] of the sinusoids."""
    theta = 10000.0 ** (-np.arange(0, dim, 2) / dim)
    return np.kron(np.diag(theta), [[0.0, 1.0], [-1.0, 0.0]])


def test_sinusoids_are_the_flow_of_a_linear_equation():
    """The exponential of FLOATER's matrix, one step of length 1 at a time."""
    found = recurrent_encoding(
        scipy.linalg.expm(_generator(8)), np.zeros(8), np.tile([0.0, 1.0], 4), length=200
    )
    expected = sinusoidal_encoding(np.arange(200), dim=8, **PAPER)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_runge_kutta_steps_approach_it():
    """Four stages with dt = 1/16 are right to 6e-7 at t = 5, as one matrix for each step."""
    a, dt = _generator(4), 1 / 16
    powers = [np.linalg.matrix_power(a * dt, k) / np.prod(np.arange(1, k + 1)) for k in range(5)]
    found = recurrent_encoding(sum(powers), np.zeros(4), [0.0, 1.0, 0.0, 1.0], length=81)[80]
    error = np.abs(found - sinusoidal_encoding([5], dim=4, **PAPER)[0]).max()
    assert 1e-8 < error < 1e-6


@pytest.mark.parametrize("activation", ["identity", "tanh"])
def test_gradients_by_differences(activation):
    rng = np.random.default_rng(0)
    arrays = rng.standard_normal((3, 3)) / 2, rng.standard_normal(3), rng.standard_normal(3)
    g = rng.standard_normal((6, 3))
    options = {"length": 6, "activation": activation}
    found = recurrent_encoding.vjp(g, *arrays, **options)
    for which, gradient in enumerate(found):
        step = 1e-6 * rng.standard_normal(gradient.shape)
        ahead, behind = (
            (
                g
                * recurrent_encoding(
                    *(x + s * step if i == which else x for i, x in enumerate(arrays)), **options
                )
            ).sum()
            for s in (1, -1)
        )
        assert (gradient * step).sum() == pytest.approx((ahead - behind) / 2, rel=1e-6)


def test_leading_axes_of_any_array():
    rng = np.random.default_rng(0)
    matrices, starts = rng.standard_normal((2, 1, 3, 3)), rng.standard_normal((4, 3))
    found = recurrent_encoding(matrices, np.zeros(3), starts, length=5)
    assert found.shape == (2, 4, 5, 3)
    one = recurrent_encoding(matrices[1, 0], np.zeros(3), starts[2], length=5)
    np.testing.assert_allclose(found[1, 2], one, rtol=1e-13)


def test_bad_input():
    arrays = np.eye(2), np.zeros(2), np.ones(2)
    with pytest.raises(ValueError, match="length: expected a positive whole number, got 0"):
        recurrent_encoding(*arrays, length=0)
    with pytest.raises(ValueError, match="activation: expected .* got 'relu'"):
        recurrent_encoding(*arrays, length=2, activation="relu")
    with pytest.raises(ValueError, match="start axis"):
        recurrent_encoding(np.eye(2), np.zeros(2), np.ones(3), length=2)
