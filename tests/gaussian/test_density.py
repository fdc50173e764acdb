"""Log density and entropy: known values, errors, agreement with SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from refimpl.core import x_minus_log1p
from refimpl.gaussian.density import gaussian_entropy, gaussian_log_density
from refimpl.golden import arguments, decode, load_golden

IDENTITY = np.eye(2)


def _covariance(rng, d, batch=()):
    factor = rng.standard_normal((*batch, d, d))
    return factor @ factor.swapaxes(-1, -2) + np.eye(d)


@pytest.mark.parametrize(
    ("cov", "entropy"),
    [
        ([[2.0, 1.0], [1.0, 2.0]], 3.3871832107434003),
        ([[1.0, 0.0], [0.0, 4.0]], 3.5310242469692908),
        ([[1.0, 0.5, 0.0], [0.5, 1.25, 0.25], [0.0, 0.25, 0.75]], 4.0694688748933129),
        ([[2.0, -1.0, 0.0], [-1.0, 2.0, -1.0], [0.0, -1.0, 2.0]], 4.9499627801739635),
        ([[1.0]], 1.4189385332046727),
        ([[4.0]], 2.1120857137646181),
    ],
)
def test_entropies_to_17_digits(cov, entropy):
    assert gaussian_entropy(cov) == pytest.approx(entropy, rel=1e-15)


def test_density_of_the_scipy_manual():
    """multivariate_normal.pdf(linspace(0, 5, 10, endpoint=False), mean=2.5, cov=0.5)"""
    published = [0.00108914, 0.01033349, 0.05946514, 0.20755375, 0.43939129, 0.56418958]
    x = np.arange(6)[:, None] / 2
    density = np.exp(gaussian_log_density(x, [2.5], [[0.5]]))
    np.testing.assert_allclose(density, published, atol=5e-9)


@pytest.mark.parametrize("d", [1, 2, 5, 20])
def test_agrees_with_scipy(d):
    rng = np.random.default_rng(d)
    cov, mean, x = _covariance(rng, d), rng.standard_normal(d), rng.standard_normal((7, d))
    other = multivariate_normal(mean, cov)
    np.testing.assert_allclose(
        gaussian_log_density(x, mean, cov), other.logpdf(x).reshape(7), rtol=1e-12
    )
    np.testing.assert_allclose(gaussian_entropy(cov), other.entropy(), rtol=1e-13)


def test_differences_of_unit_cost_no_digits_where_scipy_gives_up():
    units = np.array([1e-8, 1.0, 1e8])
    cov = np.array([[2.0, 1.0, 0.5], [1.0, 2.0, 1.0], [0.5, 1.0, 2.0]])
    x = np.array([1.0, -1.0, 2.0])
    expected = gaussian_log_density(x, 0 * x, cov) - math.log(np.prod(units))
    graded = cov * units[:, None] * units
    assert gaussian_log_density(x * units, 0 * x, graded) == pytest.approx(expected, rel=1e-13)
    with pytest.raises(np.linalg.LinAlgError):
        multivariate_normal(np.zeros(3), graded)


def test_points_means_and_covariances_broadcast():
    rng = np.random.default_rng(0)
    x, mean = rng.standard_normal((5, 1, 1, 3)), rng.standard_normal((4, 1, 3))
    cov = _covariance(rng, 3, (2,))
    value = gaussian_log_density(x, mean, cov)
    assert value.shape == (5, 4, 2)
    assert value[3, 2, 1] == pytest.approx(gaussian_log_density(x[3, 0, 0], mean[2, 0], cov[1]))
    gradients = gaussian_log_density.vjp(np.ones(value.shape), x, mean, cov)
    assert [g.shape for g in gradients] == [x.shape, mean.shape, cov.shape]


def test_gradients_are_the_textbook_ones():
    rng = np.random.default_rng(1)
    x, mean, cov = rng.standard_normal(4), rng.standard_normal(4), _covariance(rng, 4)
    inverse = np.linalg.inv(cov)
    u = inverse @ (x - mean)
    dx, dmean, dcov = gaussian_log_density.vjp(2.0, x, mean, cov)
    np.testing.assert_allclose(dx, -2 * u, rtol=1e-12)
    np.testing.assert_allclose(dmean, 2 * u, rtol=1e-12)
    np.testing.assert_allclose(dcov, np.outer(u, u) - inverse, rtol=1e-11, atol=1e-13)
    (dcov,) = gaussian_entropy.vjp(2.0, cov)
    np.testing.assert_allclose(dcov, inverse, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(dcov, dcov.T)


@pytest.mark.parametrize(
    ("x", "mean", "cov", "message"),
    [
        ([np.nan, 0.0], [0.0, 0.0], IDENTITY, "x: expected finite numbers"),
        ([0.0, 0.0], [np.inf, 0.0], IDENTITY, "mean: expected finite numbers"),
        ([0.0, 0.0], [0.0, 0.0], [[1.0, np.nan], [0.0, 1.0]], "cov: expected finite numbers"),
        ([0.0, 0.0], [0.0, 0.0], [[1.0, 0.5], [0.0, 1.0]], "cov: expected a symmetric matrix"),
        ([], [], np.zeros((0, 0)), "cov: expected at least one dimension"),
        ([0.0, 0.0, 0.0], [0.0, 0.0], IDENTITY, "mean axis 'd'"),
    ],
)
def test_bad_input_is_refused_by_name(x, mean, cov, message):
    with pytest.raises(ValueError, match=message):
        gaussian_log_density(x, mean, cov)


@pytest.mark.parametrize("cov", [[[1.0, 2.0], [2.0, 1.0]], [[1.0, 1.0], [1.0, 1.0]]])
def test_a_covariance_that_is_not_positive_definite_is_refused_with_its_eigenvalue(cov):
    with pytest.raises(np.linalg.LinAlgError, match="cov: .*smallest eigenvalue"):
        gaussian_log_density([0.0, 0.0], [0.0, 0.0], cov)
    with pytest.raises(np.linalg.LinAlgError, match="cov: .*smallest eigenvalue"):
        gaussian_entropy(cov)


def test_asymmetry_of_rounding_is_averaged_out():
    cov = np.array([[2.0, 1.0], [1.0, 2.0]])
    skew = np.array([[0.0, 1e-11], [-1e-11, 0.0]])
    assert gaussian_entropy(cov + skew) == gaussian_entropy(cov)


def test_remainder_of_the_logarithm_keeps_its_digits():
    """x - log1p(x) = x^2/2 - x^3/3 + ... against the series at small x, and directly at large."""
    x = np.array([1e-12, -1e-12, 1e-5, -1e-5])
    np.testing.assert_allclose(x_minus_log1p(x), x**2 / 2 - x**3 / 3 + x**4 / 4, rtol=1e-15)
    wide = np.linspace(-0.9, 3.0, 101).astype(np.longdouble)
    exact = wide - np.log1p(wide)
    np.testing.assert_allclose(x_minus_log1p(wide), exact, rtol=1e-15, atol=1e-19)
    # Both branches at their seam, in extended precision, where float64 coefficients would show.
    seam = np.array([-0.25, 0.25], dtype=np.longdouble) * (1 - np.finfo(np.longdouble).eps)
    error = np.abs(x_minus_log1p(seam) - (seam - np.log1p(seam)))
    assert (error <= 2 * np.finfo(np.longdouble).eps * np.abs(seam)).all()
    np.testing.assert_array_equal(x_minus_log1p(np.zeros(2)), 0.0)


@pytest.mark.parametrize("formula", [gaussian_log_density, gaussian_entropy])
def test_golden_values_of_well_conditioned_cases_to_full_precision(formula):
    content = load_golden(formula)
    for case in content["cases"]:
        if case["name"] not in ("dense_1e12", "dimension_7"):
            arrays, _ = arguments(case)
            (expected,) = map(decode, case["outputs"])
            np.testing.assert_allclose(formula(*arrays), expected, rtol=8 * 2.0**-52)
