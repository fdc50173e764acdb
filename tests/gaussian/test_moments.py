"""Moments of Gaussians and quadratic forms: SciPy's chi-squares, Monte Carlo, refused input."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from refimpl.gaussian.moments import (
    gaussian_quadratic_covariance,
    gaussian_quadratic_cumulant,
    gaussian_quadratic_mean,
    gaussian_second_moment,
)

G2 = (
    np.array([1.0, 0.0, -1.0]),
    np.array([[4.0, 2.0, 0.0], [2.0, 5.0, 1.0], [0.0, 1.0, 3.0]]) / 4,
)
IDENTITY = np.eye(2)


@pytest.mark.parametrize("d", [1, 4, 9])
@pytest.mark.parametrize("size", [0.0, 2.5])
def test_the_square_norm_of_white_noise_is_a_noncentral_chi_square(d, size):
    mean = np.full(d, size / np.sqrt(d))
    arrays = (np.eye(d), mean, np.eye(d))
    moments = stats.ncx2(d, max(size**2, 1e-300)).stats(moments="mvsk")
    kappa = [gaussian_quadratic_cumulant(*arrays, order=s) for s in (1, 2, 3, 4)]
    ours = kappa[0], kappa[1], kappa[2] / kappa[1] ** 1.5, kappa[3] / kappa[1] ** 2
    np.testing.assert_allclose(ours, moments, rtol=1e-12)
    assert gaussian_quadratic_mean(*arrays) == pytest.approx(kappa[0], rel=1e-14)
    assert gaussian_quadratic_covariance(np.eye(d), *arrays) == pytest.approx(kappa[1], rel=1e-14)


def test_agrees_with_monte_carlo():
    rng = np.random.default_rng(0)
    mean, cov = G2
    left, right = rng.standard_normal((2, 3, 3))
    x = rng.multivariate_normal(mean, cov, 400_000)
    a, b = (((x @ m) * x).sum(axis=1) for m in (left, right))
    near = pytest.approx(a.mean(), abs=5 * a.std() / np.sqrt(len(x)))
    assert gaussian_quadratic_mean(left, mean, cov) == near
    product = (a - a.mean()) * (b - b.mean())
    near = pytest.approx(product.mean(), abs=5 * product.std() / np.sqrt(len(x)))
    assert gaussian_quadratic_covariance(left, right, mean, cov) == near
    cube = (a - a.mean()) ** 3
    near = pytest.approx(cube.mean(), abs=5 * cube.std() / np.sqrt(len(x)))
    assert gaussian_quadratic_cumulant(left, mean, cov, order=3) == near


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5, 8])
def test_one_dimension_by_hand(order):
    """a x^2 with x ~ N(m, v): 2^{s-1} (s-1)! (a v)^s (1 + s m^2/v)"""
    a, m, v = -0.5, 3.0, 2.0
    constant = 2 ** (order - 1) * float(np.prod(np.arange(1, order)))
    expected = constant * (a * v) ** order * (1 + order * m * m / v)
    found = gaussian_quadratic_cumulant([[a]], [m], [[v]], order=order)
    assert found == pytest.approx(expected, rel=1e-14)


def test_a_singular_covariance_is_a_covariance():
    cov, mean = np.ones((2, 2)), np.array([1.0, -1.0])
    np.testing.assert_array_equal(gaussian_second_moment(mean, cov), [[2.0, 0.0], [0.0, 2.0]])
    assert gaussian_quadratic_mean(IDENTITY, mean, cov) == 4.0
    assert gaussian_quadratic_covariance(IDENTITY, IDENTITY, 0 * mean, cov) == 8.0
    assert gaussian_quadratic_cumulant(IDENTITY, 0 * mean, 0 * cov, order=2) == 0.0


def test_antisymmetric_parts_count_for_nothing():
    rng = np.random.default_rng(1)
    skew = rng.standard_normal((3, 3))
    skew = 100 * (skew - skew.T)
    symmetric = np.eye(3) + np.ones((3, 3))
    for order in (2, 3):
        plain = gaussian_quadratic_cumulant(symmetric, *G2, order=order)
        turned = gaussian_quadratic_cumulant(symmetric + skew, *G2, order=order)
        assert turned == pytest.approx(plain, rel=1e-11)
    assert gaussian_quadratic_mean(skew, *G2) == pytest.approx(0.0, abs=1e-12)


def test_matrices_means_and_covariances_broadcast():
    rng = np.random.default_rng(2)
    matrix, mean = rng.standard_normal((5, 1, 1, 2, 2)), rng.standard_normal((4, 1, 2))
    cov = np.stack([IDENTITY, 2 * IDENTITY + 1, 3 * IDENTITY])
    value = gaussian_quadratic_cumulant(matrix, mean, cov, order=2)
    assert value.shape == (5, 4, 3)
    one = gaussian_quadratic_cumulant(matrix[3, 0, 0], mean[2, 0], cov[1], order=2)
    assert value[3, 2, 1] == pytest.approx(one, rel=1e-14)
    gradients = gaussian_quadratic_cumulant.vjp(np.ones(value.shape), matrix, mean, cov, order=2)
    assert [g.shape for g in gradients] == [matrix.shape, mean.shape, cov.shape]


def test_gradient_in_a_free_matrix_is_free():
    """d/dA tr(A S) + m^T A m = S + m m^T, for an A without symmetry too"""
    mean, cov = G2
    gradient, dmean, dcov = gaussian_quadratic_mean.vjp(2.0, np.triu(np.ones((3, 3))), mean, cov)
    np.testing.assert_array_equal(gradient, 2 * (cov + np.outer(mean, mean)))
    np.testing.assert_allclose(dmean, 2 * (np.eye(3) + 1) @ mean)
    np.testing.assert_array_equal(dcov, np.eye(3) + 1)


@pytest.mark.parametrize(
    ("formula", "matrices", "options"),
    [
        (gaussian_second_moment, (), {}),
        (gaussian_quadratic_mean, (IDENTITY,), {}),
        (gaussian_quadratic_covariance, (IDENTITY, IDENTITY), {}),
        (gaussian_quadratic_cumulant, (IDENTITY,), {"order": 2}),
    ],
)
def test_bad_input_is_refused_by_name(formula, matrices, options):
    mean = np.zeros(2)
    for place, argument in enumerate(formula.arguments):
        arrays = [*matrices, mean, IDENTITY]
        arrays[place] = np.where(arrays[place] == 0, np.nan, arrays[place])
        with pytest.raises(ValueError, match=f"{argument.name}: expected finite numbers"):
            formula(*arrays, **options)
    with pytest.raises(np.linalg.LinAlgError, match="cov: .*smallest eigenvalue is -1"):
        formula(*matrices, mean, [[1.0, 2.0], [2.0, 1.0]], **options)
    with pytest.raises(ValueError, match="cov: expected a symmetric matrix"):
        formula(*matrices, mean, [[1.0, 0.5], [0.0, 1.0]], **options)


@pytest.mark.parametrize("order", [0, -1, 1.5])
def test_an_order_is_a_whole_number_from_one(order):
    with pytest.raises(ValueError, match="order: expected a positive whole number"):
        gaussian_quadratic_cumulant(IDENTITY, np.zeros(2), IDENTITY, order=order)
