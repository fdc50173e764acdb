"""Interactions of positions: the second-order expansion, which Hessians are relative, bad input."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from refimpl.position.interaction import position_expansion, position_interaction
from refimpl.position.rotary import rotary_frequencies


def _sinusoid(m, theta):
    return np.stack([np.cos(m * theta), np.sin(m * theta)], axis=-1).ravel()


def _blocks(meeting, own_m, own_n):
    """The Hessian of two tokens."""
    return np.array([[own_m, meeting], [meeting.T, own_n]])


# -------------------------------------------------------------------------------------- expansion


def test_expansion_is_exact_for_attention_logits():
    """x_m W_q W_k^T x_n^T: H is W_q W_k^T, and with sinusoids the interaction is that of both."""
    rng = np.random.default_rng(8231)
    theta = rotary_frequencies(10000.0, dim=8)
    w_q, w_k = rng.standard_normal((2, 8, 8))
    w = w_q @ w_k.T
    x = rng.standard_normal((2, 8))
    hessian = _blocks(w, 0 * w, 0 * w)
    for m, n in ((0, 1), (5, 3), (100, 4000)):
        p = np.stack([_sinusoid(m, theta), _sinusoid(n, theta)])
        expanded, _, interactions = position_expansion(
            x[0] @ w @ x[1], [w @ x[1], w.T @ x[0]], hessian, p
        )
        moved = x + p
        assert moved[0] @ w @ moved[1] == pytest.approx(float(expanded), rel=1e-12)
        meeting = position_interaction([m], [n], w, theta, order="cos_first")[0, 0]
        np.testing.assert_allclose(interactions, [[0, meeting], [meeting, 0]], rtol=1e-12)


def _log_cosh_of_pairs(x, w):
    """log cosh of the sum of x_m^T W x_n over m != n, W symmetric: value, gradients, Hessian."""
    others = x.sum(axis=0) - x
    s = (x @ w * others).sum()
    slope, curve = math.tanh(s), 1 / math.cosh(s) ** 2
    inner = 2 * others @ w
    hessian = curve * inner[:, None, :, None] * inner[None, :, None, :]
    hessian += 2 * slope * (1 - np.eye(len(x)))[..., None, None] * w
    return math.log(math.cosh(s)), slope * inner, hessian


def _pairwise_kernels(x, w):
    """The sum of exp(-|x_m - x_n|^2/2) over pairs: value, gradients, Hessian. W has no part."""
    n, d = x.shape
    gradients, hessian, value = np.zeros((n, d)), np.zeros((n, n, d, d)), 0.0
    for m, k in itertools.permutations(range(n), 2):
        apart = x[m] - x[k]
        kernel = math.exp(-apart @ apart / 2)
        value += kernel / 2
        gradients[m] -= kernel * apart
        curve = kernel * (np.outer(apart, apart) - np.eye(d))
        hessian[m, m] += curve
        hessian[m, k] -= curve
    return value, gradients, hessian


@pytest.mark.parametrize("function", [_log_cosh_of_pairs, _pairwise_kernels])
def test_expansion_of_symmetric_functions_leaves_the_third_order(function):
    """At encodings eps p: an eighth for half of eps; and without them tokens may be exchanged."""
    rng = np.random.default_rng(8231)
    w = rng.standard_normal((4, 4)) / 8
    w = w + w.T
    x = rng.standard_normal((3, 4)) / 2
    p = np.stack([_sinusoid(m, rotary_frequencies(10000.0, dim=4)) for m in (0, 3, 7)])
    assert function(x, w)[0] == pytest.approx(function(x[[1, 2, 0]], w)[0], rel=1e-13)
    assert abs(function(x + p, w)[0] - function(x[[1, 2, 0]] + p, w)[0]) > 1e-3

    def remainder(eps):
        expanded, _, _ = position_expansion(*function(x, w), eps * p)
        return function(x + eps * p, w)[0] - float(expanded)

    assert remainder(1e-3) / remainder(5e-4) == pytest.approx(8.0, rel=1e-2)


def test_functions_of_the_sum_of_tokens_stay_symmetric():
    """Distinct encodings do not break every symmetry: here they add up to one."""
    rng = np.random.default_rng(0)
    x, p, w = rng.standard_normal((3, 4)), rng.standard_normal((3, 4)), rng.standard_normal((4, 4))
    hessian = np.broadcast_to(w + w.T, (3, 3, 4, 4))
    expanded, _, _ = position_expansion(0.0, np.tile((w + w.T) @ x.sum(axis=0), (3, 1)), hessian, p)
    other, _, _ = position_expansion(
        0.0, np.tile((w + w.T) @ x.sum(axis=0), (3, 1)), hessian, p[[2, 0, 1]]
    )
    assert float(other) == pytest.approx(float(expanded), rel=1e-12)


def test_sums_over_tokens_have_absolute_terms_only():
    """f = sum of exp(a . x_m): each token has its term, and no two meet at any distance."""
    rng = np.random.default_rng(0)
    a, x, p = rng.standard_normal(3), rng.standard_normal((4, 3)), rng.standard_normal((4, 3)) / 99
    each = np.exp(x @ a)
    hessian = np.zeros((4, 4, 3, 3))
    for m in range(4):
        hessian[m, m] = each[m] * np.outer(a, a)
    gradients = each[:, None] * a
    expanded, absolute, interactions = position_expansion(each.sum(), gradients, hessian, p)
    assert not interactions.any()
    assert float(expanded) == pytest.approx(np.exp((x + p) @ a).sum(), rel=1e-5)
    # Exchanging two encodings exchanges their terms alone.
    swapped = position_expansion(each.sum(), gradients, hessian, p[[1, 0, 2, 3]])[1]
    np.testing.assert_array_equal(swapped[2:], absolute[2:])
    assert np.abs(swapped[:2] - absolute[:2]).min() > 0


def test_nan_stays_with_the_tokens_that_meet_it():
    p = np.ones((3, 2))
    p[1, 0] = np.nan
    hessian, gradients = np.ones((3, 3, 2, 2)), np.zeros((3, 2))
    expanded, absolute, interactions = position_expansion(0.0, gradients, hessian, p)
    assert np.isnan(expanded)
    np.testing.assert_array_equal(np.isnan(absolute), [False, True, False])
    is_nan = [[False, True, False], [True, False, True], [False, True, False]]
    np.testing.assert_array_equal(np.isnan(interactions), is_nan)


def test_wrong_expansions():
    arrays = np.zeros(()), np.zeros((2, 3)), np.zeros((2, 2, 3, 3)), np.zeros((2, 3))
    with pytest.raises(ValueError, match="hessian axis 'n': expected 2 .* got 4"):
        position_expansion(*arrays[:2], np.zeros((4, 2, 3, 3)), arrays[3])
    with pytest.raises(ValueError, match="encodings axis 'd': expected 3 .* got 5"):
        position_expansion(*arrays[:3], np.zeros((2, 5)))


# ------------------------------------------------------------------------------------ interaction


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
    with pytest.raises(ValueError, match="order: expected 'sin_first' or 'cos_first', got 'sin'"):
        position_interaction([1], [2], np.eye(2), [1.0], order="sin")
    with pytest.raises(TypeError, match="needs .*order"):
        position_interaction([1], [2], np.eye(2), [1.0])
