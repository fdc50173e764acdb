"""Precision matrices and Cholesky factors: accuracy, refused input, agreement of all parameters."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from refimpl.gaussian.density import gaussian_log_density
from refimpl.gaussian.divergence import gaussian_kl
from refimpl.gaussian.parametrisation import covariance_from_cholesky, covariance_from_factor
from refimpl.gaussian.precision import (
    cholesky_from_covariance,
    cholesky_from_precision,
    covariance_from_precision,
    precision_from_covariance,
)
from refimpl.gaussian.transport import bures_squared, bures_squared_factor

FORMULAS = (
    covariance_from_precision,
    precision_from_covariance,
    cholesky_from_covariance,
    cholesky_from_precision,
)
IDENTITY = np.eye(2)


def _covariance(rng, d, batch=()):
    factor = rng.standard_normal((*batch, d, d))
    return factor @ factor.swapaxes(-1, -2) + np.eye(d)


@pytest.mark.parametrize("d", [1, 2, 5, 20])
def test_agrees_with_scipy(d):
    cov = _covariance(np.random.default_rng(d), d)
    inverse = scipy.linalg.inv(cov)
    np.testing.assert_allclose(precision_from_covariance(cov), inverse, rtol=1e-10, atol=1e-13)
    factor = scipy.linalg.cholesky(cov, lower=True)
    np.testing.assert_allclose(cholesky_from_covariance(cov), factor, rtol=1e-12)
    np.testing.assert_allclose(
        cholesky_from_precision(inverse), factor, rtol=1e-10, atol=1e-12 * np.abs(factor).max()
    )


def test_round_trips():
    cov = _covariance(np.random.default_rng(0), 4, (3,))
    precision = precision_from_covariance(cov)
    for back in (
        covariance_from_precision(precision),
        covariance_from_cholesky(cholesky_from_covariance(cov)),
        covariance_from_cholesky(cholesky_from_precision(precision)),
    ):
        np.testing.assert_allclose(back, cov, rtol=1e-12)


def test_distances_do_not_depend_on_the_parameters():
    rng = np.random.default_rng(1)
    wide = rng.standard_normal((2, 3, 7))
    cov_p, cov_q = covariance_from_factor(wide)
    roots = [cholesky_from_covariance(cov_p), cholesky_from_covariance(cov_q)]
    precisions = [precision_from_covariance(cov_p), precision_from_covariance(cov_q)]
    inverses = [cholesky_from_precision(p) for p in precisions]
    mean_p, mean_q = rng.standard_normal((2, 3))
    expected = gaussian_kl(mean_p, cov_p, mean_q, cov_q)
    for p, q in (
        map(covariance_from_cholesky, roots),
        map(covariance_from_precision, precisions),
        map(covariance_from_cholesky, inverses),
    ):
        assert gaussian_kl(mean_p, p, mean_q, q) == pytest.approx(expected, rel=1e-11)
    distance = bures_squared_factor(*wide)
    assert bures_squared(cov_p, cov_q) == pytest.approx(distance, rel=1e-11)
    for factors in (roots, inverses):
        assert bures_squared_factor(*factors) == pytest.approx(distance, rel=1e-11)


def test_chain_rule_through_a_precision_is_the_printed_gradient():
    """d log p / dP = (P^{-1} - x x^T)/2"""
    rng = np.random.default_rng(2)
    precision, x = _covariance(rng, 3), rng.standard_normal(3)
    cov = covariance_from_precision(precision)
    _, _, dcov = gaussian_log_density.vjp(1.0, x, 0 * x, cov)
    (found,) = covariance_from_precision.vjp(dcov, precision)
    np.testing.assert_allclose(found, (cov - np.outer(x, x)) / 2, rtol=1e-10, atol=1e-12)


def test_chain_rule_through_a_factor_is_the_printed_gradient():
    """d/dS sum log L_ii = S^{-1}/2, from either parameter"""
    cov = _covariance(np.random.default_rng(3), 4)
    factor, precision = cholesky_from_covariance(cov), precision_from_covariance(cov)
    g = np.diag(1 / np.diag(factor))
    (dcov,) = cholesky_from_covariance.vjp(g, cov)
    np.testing.assert_allclose(dcov, precision / 2, rtol=1e-10, atol=1e-12)
    (dprecision,) = cholesky_from_precision.vjp(g, precision)
    np.testing.assert_allclose(dprecision, -cov / 2, rtol=1e-10)


@pytest.mark.parametrize("formula", FORMULAS)
def test_units_of_twelve_orders_cost_no_digits(formula):
    """Entry by entry, where a general inverse sees a condition number of 1e24."""
    rng = np.random.default_rng(4)
    units = 2.0 ** np.array([-20, 0, 20])
    plain = _covariance(rng, 3)
    exponent = -1 if formula in FORMULAS[:2] or formula is cholesky_from_precision else 1
    expected = formula(plain) * units[:, None] ** exponent
    if formula in FORMULAS[:2]:
        expected = expected * units**exponent
    found = formula(plain * units[:, None] * units)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_factor_is_found_where_inverse_then_cholesky_has_none():
    """float32, condition 1e8: the rounded inverse is often indefinite; the precision is not."""
    for seed in range(60):
        basis, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((5, 5)))
        precision = ((basis * np.geomspace(1.0, 1e-8, 5)) @ basis.T).astype(np.float32)
        precision = (precision + precision.T) / 2
        try:
            np.linalg.cholesky(np.flip(precision))
        except np.linalg.LinAlgError:
            continue
        factor = cholesky_from_precision(precision)
        assert np.isfinite(factor).all() and (np.diag(factor) > 0).all()


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize(
    ("matrix", "error", "message"),
    [
        ([[1.0, 2.0], [2.0, 1.0]], np.linalg.LinAlgError, "smallest eigenvalue is -1"),
        ([[1.0, 1.0], [1.0, 1.0]], np.linalg.LinAlgError, "smallest eigenvalue"),
        ([[1.0, 0.5], [0.0, 1.0]], ValueError, "expected a symmetric matrix"),
        ([[1.0, np.nan], [np.nan, 1.0]], ValueError, "expected finite numbers"),
        (np.zeros((0, 0)), ValueError, "expected at least one dimension"),
        (np.ones((2, 3)), ValueError, "axis 'd'"),
    ],
)
def test_bad_input_is_refused_by_name(formula, matrix, error, message):
    with pytest.raises(error, match=f"{formula.arguments[0].name}.*{message}"):
        formula(matrix)
    with pytest.raises(error, match=message):
        formula.vjp(IDENTITY if np.shape(matrix) == (2, 2) else matrix, matrix)
