"""Transforms of a Gaussian: quadrature, known laws, extremes, refused input."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from refimpl.gaussian.transform import (
    gaussian_characteristic_function,
    gaussian_log_integral,
    gaussian_log_moment_generating_function,
)

G1 = np.array([1.0, 2.0]), np.array([[2.0, 1.0], [1.0, 2.0]])
ZERO, IDENTITY = np.zeros(2), np.eye(2)


def test_gaussian_integral_by_quadrature_in_the_plane():
    w, cov = np.array([0.3, -0.2]), G1[1]
    precision = np.linalg.inv(cov)

    def integrand(y, x):
        v = np.array([x, y])
        return np.exp(-v @ precision @ v / 2 + w @ v)

    value, _ = integrate.dblquad(integrand, -15, 15, -15, 15, epsabs=1e-10)
    assert gaussian_log_integral(w, cov) == pytest.approx(np.log(value), rel=1e-10)


def test_mean_of_the_lognormal_distribution():
    expected = np.log(stats.lognorm(s=0.7, scale=np.exp(0.4)).mean())
    found = gaussian_log_moment_generating_function([1.0], [0.4], [[0.49]])
    assert found == pytest.approx(expected, rel=1e-14)


def test_logarithms_do_not_overflow():
    assert gaussian_log_moment_generating_function([1e100], [1.0], [[1.0]]) == 0.5e200 + 1e100
    assert gaussian_log_integral([1e100], [[1.0]]) == 0.5e200


def test_characteristic_function_agrees_with_monte_carlo():
    rng = np.random.default_rng(0)
    mean, cov = G1
    w = np.array([0.5, -0.3])
    turns = np.exp(1j * (rng.multivariate_normal(mean, cov, 200_000) @ w))
    real, imaginary = gaussian_characteristic_function(w, mean, cov)
    assert abs(real + 1j * imaginary - turns.mean()) < 5 / np.sqrt(200_000)


def test_density_of_x_comes_back_by_fourier():
    """p(x) = (1/2 pi) int exp(-i w x) phi(w) dw, N(1, 4) at a few points"""
    w = np.linspace(-12, 12, 4801)[:, None]
    real, imaginary = gaussian_characteristic_function(w, [1.0], [[4.0]])
    for x in (-2.0, 0.0, 1.0, 4.5):
        integrand = np.exp(-1j * w[:, 0] * x) * (real + 1j * imaginary)
        density = integrate.trapezoid(integrand, w[:, 0]).real / (2 * np.pi)
        assert density == pytest.approx(stats.norm(1, 2).pdf(x), abs=1e-13)


def test_singular_covariances_where_only_densities_need_more():
    cov = np.ones((2, 2))
    assert gaussian_log_moment_generating_function([1.0, -1.0], G1[0], cov) == -1.0
    assert gaussian_characteristic_function([1.0, -1.0], ZERO, cov) == (1.0, 0.0)
    with pytest.raises(np.linalg.LinAlgError, match="cov: .*smallest eigenvalue"):
        gaussian_log_integral(ZERO, cov)


@pytest.mark.parametrize(
    ("formula", "arrays", "options"),
    [
        (gaussian_log_integral, (ZERO, IDENTITY), {}),
        (gaussian_log_moment_generating_function, (ZERO, ZERO, IDENTITY), {}),
        (gaussian_characteristic_function, (ZERO, ZERO, IDENTITY), {}),
    ],
)
def test_bad_input_is_refused_by_name(formula, arrays, options):
    for place, argument in enumerate(formula.arguments):
        bad = list(arrays)
        bad[place] = np.where(bad[place] == 0, np.nan, bad[place])
        with pytest.raises(ValueError, match=f"{argument.name}: expected finite numbers"):
            formula(*bad, **options)
    with pytest.raises(np.linalg.LinAlgError, match="cov: .*smallest eigenvalue is -1"):
        formula(*arrays[:-1], [[1.0, 2.0], [2.0, 1.0]], **options)
    with pytest.raises(ValueError, match="cov: expected a symmetric matrix"):
        formula(*arrays[:-1], [[1.0, 0.5], [0.0, 1.0]], **options)
