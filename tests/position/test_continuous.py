"""The continuous position bias: the code of Swin V2, other distances, bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest

from refimpl.position.continuous import continuous_position_bias
from refimpl.position.fire import fire_bias

RNG = np.random.default_rng(2111)
WEIGHTS = tuple(RNG.standard_normal(shape) for shape in ((2, 16), (16,), (16, 3), (3,)))
GRID = np.stack(np.divmod(np.arange(20), 5))


def test_the_table_of_swin():
    """relative_coords_table through the network, gathered by relative_position_index."""
    height, width = 4, 5
    w, u, v, _ = WEIGHTS
    rows, columns = np.arange(1 - height, height), np.arange(1 - width, width)
    table = np.stack(np.meshgrid(rows / 3.0, columns / 4.0, indexing="ij"), axis=-1) * 8
    table = np.sign(table) * np.log2(np.abs(table) + 1.0) / np.log2(8)
    table = (np.maximum(table @ w + u, 0) @ v).reshape(-1, 3)
    relative = GRID[:, :, None] - GRID[:, None, :]
    index = (relative[0] + height - 1) * (2 * width - 1) + relative[1] + width - 1
    expected = 16 / (1 + np.exp(-np.moveaxis(table[index], -1, 0)))
    scaled = GRID * np.array([[8 / 3], [8 / 4]])
    found = continuous_position_bias(
        w, u, v, np.zeros(3), scaled, scaled, distance="log8", limit=16.0
    )
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_logarithms_of_x_transformers_differ_by_their_base():
    at = np.arange(9)[None]
    w, u, v, b = WEIGHTS[0][:1], *WEIGHTS[1:]
    natural = continuous_position_bias(w, u, v, b, at, at, distance="log", limit=None)
    eight = continuous_position_bias(
        w * math.log(8.0), u, v, b, at, at, distance="log8", limit=None
    )
    np.testing.assert_allclose(natural, eight, rtol=1e-12)


def test_windows_of_any_size_share_the_network():
    """The window of pre-training is a corner of a larger one: nothing to interpolate."""
    small = np.stack(np.divmod(np.arange(4), 2))
    large = np.stack(np.divmod(np.arange(9), 3))
    corner = [0, 1, 3, 4]
    options = {"distance": "log", "limit": None}
    whole = continuous_position_bias(*WEIGHTS, large, large, **options)
    part = continuous_position_bias(*WEIGHTS, small, small, **options)
    np.testing.assert_array_equal(whole[:, corner][:, :, corner], part)


def test_causal_fire_without_normalisation_is_one_of_them():
    """log(1 + c (i - j)) for c = 1, over the constant log(1 + L) while i < L."""
    w, u, v, b = WEIGHTS[0][0], *WEIGHTS[1:]
    at = np.arange(6)
    fire = fire_bias(w, u, v, b, at, at, log_rate=1.0, threshold=100.0)
    network = w[None] / math.log1p(100.0), u, v, b
    found = continuous_position_bias(*network, at[None], at[None], distance="log", limit=None)
    lower = np.tri(6, dtype=bool)
    np.testing.assert_allclose(found[:, lower], fire[:, lower], rtol=1e-12)
    assert np.abs(found - fire)[:, ~lower].max() > 0.1


def test_limits_of_large_outputs():
    w, u, v, b = WEIGHTS
    value = continuous_position_bias(
        w, u, v, b + [800.0, -800.0, 0.0], GRID, GRID, distance="log", limit=16.0
    )
    np.testing.assert_array_equal(value[0], 16.0)
    assert (value[1] < 1e-300).all()
    gradients = continuous_position_bias.vjp(
        np.ones((3, 20, 20)), w, u, v, b * 800, GRID, GRID, distance="log", limit=16.0
    )
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_gradients_against_differences():
    g = RNG.standard_normal((3, 20, 20))
    options = {"distance": "log8", "limit": 4.0}
    found = continuous_position_bias.vjp(g, *WEIGHTS, GRID, GRID, **options)
    for index, gradient in enumerate(found):
        step = 1e-7 * RNG.standard_normal(gradient.shape)
        ends = []
        for sign in (1, -1):
            weights = list(WEIGHTS)
            weights[index] = weights[index] + sign * step
            ends.append((g * continuous_position_bias(*weights, GRID, GRID, **options)).sum())
        assert (ends[0] - ends[1]) / 2 == pytest.approx((gradient * step).sum(), rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"distance": "sqrt"}, "distance: expected one of"),
        ({"limit": 0.0}, "limit: expected a positive finite number or None, got 0.0"),
        ({"limit": math.inf}, "limit: expected a positive finite number or None"),
    ],
)
def test_bad_options(options, message):
    options = {"distance": "log", "limit": None} | options
    with pytest.raises(ValueError, match=message):
        continuous_position_bias(*WEIGHTS, GRID, GRID, **options)


def test_bad_input():
    with pytest.raises(TypeError, match="needs .*distance"):
        continuous_position_bias(*WEIGHTS, GRID, GRID, limit=None)
    with pytest.raises(TypeError, match="needs .*limit"):
        continuous_position_bias(*WEIGHTS, GRID, GRID, distance="log")
    with pytest.raises(ValueError, match="axis 'a'"):
        continuous_position_bias(*WEIGHTS, GRID[:1], GRID[:1], distance="log", limit=None)
    with pytest.raises(ValueError, match="key_positions: expected finite"):
        continuous_position_bias(*WEIGHTS, GRID, GRID + np.inf, distance="log", limit=None)
