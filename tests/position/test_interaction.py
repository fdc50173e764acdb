"""Interactions of positions: the second-order expansion, which Hessians are relative, bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest

from refimpl.position.interaction import position_interaction
from refimpl.position.rotary import rotary_frequencies


def _logits(x, w):
    """A bilinear function of two tokens, as attention logits are."""
    return x[0] @ w @ x[1]


def _sinusoid(m, theta):
    return np.stack([np.cos(m * theta), np.sin(m * theta)], axis=-1).ravel()


def test_second_order_expansion_is_exact_for_bilinear_functions():
    """f(x + p) is f, the two absolute terms and the interaction, with H = W_q W_k^T."""
    rng = np.random.default_rng(8231)
    theta = rotary_frequencies(10000.0, dim=8)
    w_q, w_k = rng.standard_normal((2, 8, 8))
    w = w_q @ w_k.T
    x = rng.standard_normal((2, 8))
    for m, n in ((0, 1), (5, 3), (100, 4000)):
        p, q = _sinusoid(m, theta), _sinusoid(n, theta)
        meeting = position_interaction([m], [n], w, theta, order="cos_first")[0, 0]
        expanded = _logits(x, w) + p @ (w @ x[1]) + q @ (w.T @ x[0]) + meeting
        assert _logits(x + np.stack([p, q]), w) == pytest.approx(expanded, rel=1e-12)


def test_second_order_expansion_leaves_the_third_order():
    """Of log cosh of the logits, at encodings eps p: an eighth for half of eps."""
    rng = np.random.default_rng(8231)
    theta = rotary_frequencies(10000.0, dim=4)
    w = rng.standard_normal((4, 4)) / 4
    x = rng.standard_normal((2, 4)) / 2
    s = _logits(x, w)
    slope, curve = math.tanh(s), 1 / math.cosh(s) ** 2
    at_m, at_n = w @ x[1], w.T @ x[0]
    hessian = slope * w + curve * np.outer(at_m, at_n)
    p, q = _sinusoid(3, theta), _sinusoid(7, theta)
    meeting = position_interaction([3], [7], hessian, theta, order="cos_first")[0, 0]

    def remainder(eps):
        moved = math.log(math.cosh(_logits(x + eps * np.stack([p, q]), w)))
        first = slope * (p @ at_m + q @ at_n)
        own = curve * ((p @ at_m) ** 2 + (q @ at_n) ** 2) / 2
        return moved - math.log(math.cosh(s)) - eps * first - eps**2 * (own + meeting)

    assert remainder(1e-3) / remainder(5e-4) == pytest.approx(8.0, rel=1e-2)


def test_only_commuting_hessians_are_relative():
    theta = np.array([1.0, 0.3])
    turn = np.kron(np.diag([2.0, -1.0]), np.eye(2)) + np.kron(
        np.diag([0.5, 3.0]), [[0, -1], [1, 0]]
    )
    m = np.arange(6)
    table = position_interaction(m, m, turn, theta, order="cos_first")
    np.testing.assert_allclose(table[1:, 1:], table[:-1, :-1], atol=1e-13)
    a, b = np.array([2.0, -1.0]), np.array([0.5, 3.0])
    difference = (m[:, None, None] - m[None, :, None]) * theta
    expected = (a * np.cos(difference) + b * np.sin(difference)).sum(axis=-1)
    np.testing.assert_allclose(table, expected, atol=1e-13)
    reflection = np.diag([1.0, -1.0, 1.0, -1.0])
    table = position_interaction(m, m, reflection, theta, order="cos_first")
    assert np.abs(table[1:, 1:] - table[:-1, :-1]).max() > 0.5


def test_forms_agree_at_large_positions():
    rng = np.random.default_rng(0)
    arrays = (
        [8191, 5],
        [10**6],
        rng.standard_normal((128, 128)),
        rotary_frequencies(10000.0, dim=128),
    )
    for order in ("cos_first", "sin_first"):
        plain = position_interaction(*arrays, order=order)
        terms = position_interaction(*arrays, order=order, form="four_terms")
        np.testing.assert_allclose(plain, terms, atol=1e-7)


def test_wrong_interactions():
    with pytest.raises(ValueError, match="hessian: expected 4 rows, two for each frequency, got 3"):
        position_interaction([1], [2], np.eye(3), [1.0, 0.1], order="cos_first")
    with pytest.raises(ValueError, match="order: expected 'cos_first' or 'sin_first', got 'sin'"):
        position_interaction([1], [2], np.eye(2), [1.0], order="sin")
    with pytest.raises(TypeError, match="order has no default"):
        position_interaction([1], [2], np.eye(2), [1.0])
