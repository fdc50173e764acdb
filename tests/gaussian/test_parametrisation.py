"""Conversions to a covariance: refused input, exactness, the chain rule through a divergence."""

from __future__ import annotations

import numpy as np
import pytest

from refimpl.gaussian.divergence import gaussian_kl
from refimpl.gaussian.parametrisation import (
    covariance_from_cholesky,
    covariance_from_deviation,
    covariance_from_factor,
    covariance_from_low_rank,
    covariance_from_variance,
)

MEAN, ZERO, IDENTITY = np.array([1.0, -2.0, 0.5]), np.zeros(3), np.eye(3)


def _divergence(cov):
    return gaussian_kl(MEAN, cov, ZERO, IDENTITY)


def _chained(formula, *parameters):
    """The gradient of the divergence in the parameters of its first covariance."""
    cov = formula(*parameters)
    _, dcov, _, _ = gaussian_kl.vjp(1.0, MEAN, cov, ZERO, IDENTITY)
    return formula.vjp(dcov, *parameters)


def test_a_diagonal_covariance_is_the_same_from_all_parameters():
    deviation = np.array([0.5, 2.0, 3.0])
    expected = np.diag(deviation**2)
    for cov in (
        covariance_from_deviation(deviation),
        covariance_from_variance(deviation**2),
        covariance_from_cholesky(np.diag(deviation)),
        covariance_from_factor(np.diag(-deviation)),
        covariance_from_low_rank(deviation**2, np.zeros((3, 2))),
        covariance_from_low_rank(np.zeros(3), np.diag(deviation)),
    ):
        np.testing.assert_array_equal(cov, expected)
        assert _divergence(cov) == _divergence(expected)


def test_chain_rule_in_a_cholesky_factor_is_the_printed_gradient():
    """dKL/dL = tril(S_q^{-1} L) - diag(1/L_ii)"""
    rng = np.random.default_rng(0)
    scale_tril = np.tril(rng.standard_normal((3, 3))) + 2 * IDENTITY
    (found,) = _chained(covariance_from_cholesky, scale_tril)
    np.testing.assert_allclose(found, scale_tril - np.diag(1 / np.diag(scale_tril)), rtol=1e-12)


def test_chain_rule_in_variances_and_deviations_is_the_printed_gradient():
    """dKL/dv = (1 - 1/v)/2, dKL/ds = s - 1/s"""
    v = np.array([0.5, 2.0, 9.0])
    (dv,) = _chained(covariance_from_variance, v)
    (ds,) = _chained(covariance_from_deviation, np.sqrt(v))
    np.testing.assert_allclose(dv, (1 - 1 / v) / 2, rtol=1e-14)
    np.testing.assert_allclose(ds, np.sqrt(v) - 1 / np.sqrt(v), rtol=1e-14)


def test_chain_rule_in_low_rank_parameters_is_the_printed_gradient():
    """With G = (I - S^{-1})/2: dv = diag(G), dW = 2 G W"""
    rng = np.random.default_rng(1)
    v, w = 1 + rng.random(3), rng.standard_normal((3, 2))
    gradient = (IDENTITY - np.linalg.inv(np.diag(v) + w @ w.T)) / 2
    dv, dw = _chained(covariance_from_low_rank, v, w)
    np.testing.assert_allclose(dv, np.diag(gradient), rtol=1e-12)
    np.testing.assert_allclose(dw, 2 * gradient @ w, rtol=1e-12)


def test_products_are_symmetric_to_the_bit():
    rng = np.random.default_rng(2)
    wide = rng.standard_normal((5, 7, 40))
    for dtype in (np.float16, np.float32, np.float64, np.longdouble):
        cov = covariance_from_factor(wide.astype(dtype))
        np.testing.assert_array_equal(cov, cov.swapaxes(-1, -2))


def test_no_columns_give_no_covariance():
    np.testing.assert_array_equal(covariance_from_factor(np.zeros((2, 0))), np.zeros((2, 2)))
    np.testing.assert_array_equal(covariance_from_low_rank([1.0, 2.0], np.zeros((2, 0))).trace(), 3)


def test_variances_and_factors_broadcast():
    v, w = np.ones((5, 1, 3)), np.ones((4, 3, 2))
    cov = covariance_from_low_rank(v, w)
    assert cov.shape == (5, 4, 3, 3)
    assert [x.shape for x in covariance_from_low_rank.vjp(cov, v, w)] == [v.shape, w.shape]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: covariance_from_cholesky([[1.0, 0.5], [0.0, 1.0]]), "must be transposed"),
        (lambda: covariance_from_cholesky([[1.0, np.nan], [0.0, 1.0]]), "scale_tril: .* finite"),
        (lambda: covariance_from_cholesky(np.zeros((0, 0))), "scale_tril: .* one dimension"),
        (lambda: covariance_from_cholesky(np.ones((2, 3))), "scale_tril axis 'd'"),
        (lambda: covariance_from_factor(np.zeros((0, 2))), "factor: .* one dimension"),
        (lambda: covariance_from_factor([[np.inf]]), "factor: .* finite"),
        (lambda: covariance_from_variance([1.0, -0.5]), "variance: .* negative numbers, got -0.5"),
        (lambda: covariance_from_variance([np.nan]), "variance: .* finite"),
        (lambda: covariance_from_variance([]), "variance: .* one dimension"),
        (lambda: covariance_from_deviation([-2.0]), "deviation: .* negative numbers, got -2"),
        (lambda: covariance_from_low_rank([-1.0], [[1.0]]), "variance: .* negative numbers"),
        (lambda: covariance_from_low_rank([1.0], [[np.nan]]), "factor: .* finite"),
        (lambda: covariance_from_low_rank([1.0, 1.0], [[1.0]]), "factor axis 'd'"),
    ],
)
def test_bad_input_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_gradient_refuses_an_upper_factor_too():
    with pytest.raises(ValueError, match="lower triangular"):
        covariance_from_cholesky.vjp(IDENTITY[:2, :2], [[1.0, 0.5], [0.0, 1.0]])
