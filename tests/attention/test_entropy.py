"""Entropy of attention rows, and the scale that keeps it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import entropy as scipy_entropy

from refimpl import (
    attention_entropy,
    attention_weights,
    log_length_scale,
)

T = 4.0 * np.arange(8)[:, None] + np.arange(4)
Q, K, V = np.sin(T + 1), np.cos(0.7 * T + 0.3), np.sin(0.5 * T + 2)


def test_scipy_agrees_on_the_entropy():
    weights = attention_weights(Q, K, causal=True)
    np.testing.assert_allclose(
        attention_entropy(Q, K, causal=True), scipy_entropy(weights, axis=1), atol=1e-14
    )


@pytest.mark.parametrize("size", [1e2, 1e4])
def test_entropy_of_sharp_rows_is_small_and_not_negative(size):
    value = attention_entropy(size * Q, K)
    assert (value >= 0).all() and (value < 1e-3).any()
    assert attention_entropy([[0.0]], np.zeros((0, 1)))[0] == 0.0


def test_the_textbook_form_loses_no_more_than_its_weights_round():
    """Where one key has almost all the weight, what is left is below a rounding of 1."""
    for size in (1.0, 1e2, 1e4):
        textbook = attention_entropy(size * Q, K, form="textbook")
        np.testing.assert_allclose(textbook, attention_entropy(size * Q, K), rtol=0.0, atol=1e-14)


@pytest.mark.parametrize("gap", [10.0, 40.0, 300.0])
@pytest.mark.parametrize("twins", [1, 3])
def test_a_sharp_row_keeps_all_digits(gap, twins):
    """One key of weight 1/(1 + t e^-gap), and t others: the first has some of the entropy too."""
    keys = np.array([[1.0]] + [[0.0]] * twins)
    small = twins * math.exp(-gap)
    exact = math.log1p(small) + gap * small / (1 + small)
    np.testing.assert_allclose(attention_entropy([[gap]], keys), [exact], rtol=1e-14)
    if gap == 40.0:
        textbook = attention_entropy([[gap]], keys, form="textbook")
        assert abs(textbook[0] / exact - 1) > 0.02


def test_the_scale_keeps_the_number_of_keys_that_matter():
    """Sixteen times as many normal keys, logits of some size: exp(H) grows less with the scale."""
    rng = np.random.default_rng(0)
    growth = {}
    for name in ("fixed", "scaled"):
        counts = []
        for n in (512, 8192):
            q, k = 3.0 * rng.standard_normal((32, 64)), rng.standard_normal((n, 64))
            scale = log_length_scale(n, width=64) if name == "scaled" else 0.125
            counts.append(np.exp(attention_entropy(q, k, scale=scale)).mean())
        growth[name] = counts[1] / counts[0]
    assert growth["scaled"] < 0.6 * growth["fixed"]


def test_log_length_scale():
    assert log_length_scale(512, width=64) == 0.125
    assert log_length_scale(1, width=64) == 0.0
    assert log_length_scale(1, width=64, clip=True) == 0.125
    positions = np.arange(1, 4)
    np.testing.assert_allclose(
        log_length_scale(positions, width=1), np.log(positions) / np.log(512)
    )
    with pytest.raises(ValueError, match="length: expected at least 1"):
        log_length_scale(0, width=64)
    with pytest.raises(ValueError, match="trained_length: expected a finite number above 1"):
        log_length_scale(2, width=64, trained_length=1)
