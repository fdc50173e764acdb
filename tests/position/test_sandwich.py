"""Sandwich: the code of the paper and of NeMo, softmax, bad input."""

from __future__ import annotations

import numpy as np
import pytest

from refimpl.attention.softmax import softmax_attention
from refimpl.position.decay import remote_decay_integral, sinusoid_inner_product
from refimpl.position.rotary import rotary_frequencies
from refimpl.position.sandwich import sandwich_bias

THETA = rotary_frequencies(10000.0, dim=128)
TEXT = np.arange(20)


def test_the_code_of_the_paper():
    """Concatenated sines and cosines, their products, divided by 8 n/H."""
    angles = TEXT[:, None] / 10000.0 ** (2 * np.arange(64) / 128)
    encodings = np.concatenate([np.sin(angles), np.cos(angles)], axis=-1)
    ratios = np.arange(1, 13) * 8 / 12
    expected = (encodings @ encodings.T) / ratios[:, None, None]
    found = sandwich_bias(THETA, TEXT, TEXT, heads=12, centred=False)
    np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_the_code_of_nemo():
    """Frequencies from p = 1 on, and half of the width subtracted."""
    theta = 1.0 / 10000.0 ** (2 * np.arange(1, 33) / 64)
    relative = TEXT[None, :] - TEXT[:, None]
    cosines = np.cos(relative[..., None] * theta).sum(axis=-1)
    expected = (cosines - 32) / (np.arange(1, 5) * 8 / 4)[:, None, None]
    found = sandwich_bias(theta, TEXT, TEXT, heads=4, centred=True)
    np.testing.assert_allclose(found, expected, atol=1e-13)


def test_the_last_head_is_an_eighth_of_the_products():
    found = sandwich_bias(THETA, [4096], 4096 - TEXT, heads=7, centred=False)[-1, 0]
    np.testing.assert_allclose(found, sinusoid_inner_product(TEXT, THETA) / 8, rtol=1e-14)


def test_centring_does_not_change_attention():
    rng = np.random.default_rng(2212)
    q, k, v = rng.standard_normal((3, 20, 8))
    means = [
        softmax_attention(
            q, k, v, bias=sandwich_bias(THETA, TEXT, TEXT, heads=3, centred=c), causal="top_left"
        )
        for c in (False, True)
    ]
    np.testing.assert_allclose(means[0], means[1], rtol=1e-12)


def test_it_falls_like_a_logarithm():
    """The integral, 1 - (ln x + gamma)/ln b, is within x/64 of the mean of the 64 cosines."""
    at = np.array([1, 2, 4, 8])
    curve = 8 * sandwich_bias(THETA, at, [0], heads=1, centred=False)[0, :, 0]
    real, _ = remote_decay_integral(at, family="exponential", parameter=10000.0)
    assert (np.abs(curve / 64 - real) < at / 64).all()
    assert (np.diff(curve) < 0).all()


def test_empty():
    assert sandwich_bias(THETA, TEXT, TEXT[:0], heads=2, centred=True).shape == (2, 20, 0)


def test_bad_input():
    with pytest.raises(ValueError, match="heads: expected a positive whole number, got 0"):
        sandwich_bias(THETA, TEXT, TEXT, heads=0, centred=True)
    with pytest.raises(TypeError, match="needs .*heads"):
        sandwich_bias(THETA, TEXT, TEXT, centred=True)
    with pytest.raises(TypeError, match="needs .*centred"):
        sandwich_bias(THETA, TEXT, TEXT, heads=2)
    with pytest.raises(TypeError, match="frequencies: expected integers or float64"):
        sandwich_bias(THETA.astype("float32"), TEXT, TEXT, heads=2, centred=True)
    with pytest.raises(ValueError, match="key_positions: expected finite"):
        sandwich_bias(THETA, TEXT, TEXT + np.inf, heads=2, centred=True)
