"""VO-RoPE: shifts, a recurrence, absent values, bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest

from refimpl.position.rotary_values import value_rotary_mixture
from tests.position.test_xpos import draw


def test_rotated_values_and_outputs_are_relative():
    weights, values = np.abs(draw(3, 5)), draw(5, 8, seed=1)
    here, there = (
        value_rotary_mixture(
            weights, values, shift + np.arange(3), shift + np.arange(5), pairing="interleaved"
        )
        for shift in (0, 100_000)
    )
    np.testing.assert_allclose(here, there, atol=1e-9)


def test_geometric_weights_are_a_complex_recurrence():
    """a_ij = g^(i - j): the state turns by -theta and shrinks by g at every token."""
    n, g = 6, 0.8
    values = draw(n, 2)
    t = np.arange(n)[:, None] - np.arange(n)
    weights = np.where(t >= 0, g ** np.maximum(t, 0), 0.0)
    found = value_rotary_mixture(weights, values, range(n), range(n), pairing="half")
    state = 0.0
    for row, value in zip(found, values, strict=True):
        state = g * np.exp(-1j) * state + (value[0] + 1j * value[1])
        np.testing.assert_allclose(row, [state.real, state.imag], rtol=1e-12)


def test_a_value_of_weight_zero_is_absent():
    values = draw(3, 4)
    values[2] = math.nan
    weights = np.array([[0.25, 0.75, 0.0]])
    found = value_rotary_mixture(weights, values, [1], range(3), pairing="half")
    alone = value_rotary_mixture(weights[:, :2], values[:2], [1], range(2), pairing="half")
    np.testing.assert_allclose(found, alone, rtol=1e-14)


def test_values_have_an_even_number_of_features():
    with pytest.raises(ValueError, match="even number"):
        value_rotary_mixture(np.ones((1, 1)), np.ones((1, 3)), [0], [0], pairing="half")
    with pytest.raises(ValueError, match="positions: expected finite numbers"):
        value_rotary_mixture(np.ones((1, 1)), np.ones((1, 2)), [math.nan], [0], pairing="half")
