"""Gromov-Wasserstein costs: known values, the best map, Monte Carlo, near equality, bad input."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import special_ortho_group

from refimpl.gaussian.gromov import (
    gaussian_gromov_wasserstein_squared,
    inner_product_gromov_wasserstein_squared,
)

FORMULAS = [gaussian_gromov_wasserstein_squared, inner_product_gromov_wasserstein_squared]


def _covariance(rng, d, batch=()):
    factor = rng.standard_normal((*batch, d, d))
    return factor @ factor.swapaxes(-1, -2) + np.diag(np.arange(1.0, d + 1))


def test_known_values():
    """Eigenvalues 3, 1 against 4, 1: 4 (4 - 5)^2 + 8 (3 - 4)^2; and against 3 alone."""
    cov_p, cov_q = [[2.0, 1.0], [1.0, 2.0]], np.diag([1.0, 4.0])
    assert gaussian_gromov_wasserstein_squared(cov_p, cov_q) == pytest.approx(12.0, rel=1e-15)
    assert inner_product_gromov_wasserstein_squared(cov_p, cov_q) == pytest.approx(1.0, rel=1e-15)
    assert gaussian_gromov_wasserstein_squared(cov_p, [[3.0]]) == pytest.approx(12.0, rel=1e-15)


def test_the_map_between_the_axes_costs_that_much():
    """Samples of x and of y = V_q (b/a)^{1/2} V_p^T x, in pairs: both costs as means."""
    rng = np.random.default_rng(0)
    cov_p, cov_q = _covariance(rng, 3), _covariance(rng, 2)
    (a, v), (b, w) = np.linalg.eigh(cov_p), np.linalg.eigh(cov_q)
    scales = np.sqrt(b[::-1] / a[:0:-1])
    matrix = (w[:, ::-1] * scales) @ v[:, :0:-1].T
    x, other = rng.multivariate_normal(np.zeros(3), cov_p, (2, 400_000))
    y, image = x @ matrix.T, other @ matrix.T
    squares = ((x - other) ** 2).sum(axis=1) - ((y - image) ** 2).sum(axis=1)
    inner = (x * other).sum(axis=1) - (y * image).sum(axis=1)
    for formula, sample in zip(FORMULAS, (squares**2, inner**2), strict=True):
        error = sample.std() / np.sqrt(len(sample))
        assert abs(formula(cov_p, cov_q) - sample.mean()) < 5 * error


@pytest.mark.parametrize("formula", FORMULAS)
def test_each_space_has_its_own_rotations(formula):
    rng = np.random.default_rng(1)
    cov_p, cov_q = _covariance(rng, 4), _covariance(rng, 3)
    value = formula(cov_p, cov_q)
    turn = special_ortho_group(4, seed=2).rvs()
    turned = turn @ cov_p @ turn.T
    assert formula((turned + turned.T) / 2, cov_q) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("difference", [1e-4, 1e-8])
def test_eigenvalues_that_moved_a_little_keep_their_digits(difference):
    """To second order eigenvalues move by v^T E v + sum (v_i^T E v_j)^2/(l_i - l_j)."""
    rng = np.random.default_rng(3)
    cov = np.diag([1.0, 3.0, 7.0])
    change = difference * _covariance(rng, 3)
    moved = cov + change
    change = moved - cov
    values = np.diag(cov)
    shifts = np.diag(change) + [
        sum(change[i, j] ** 2 / (values[i] - values[j]) for j in range(3) if j != i)
        for i in range(3)
    ]
    expected = (shifts**2).sum()
    found = inner_product_gromov_wasserstein_squared(moved, cov)
    assert found == pytest.approx(expected, rel=max(1e-13, 100 * difference**2))


@pytest.mark.parametrize("formula", FORMULAS)
def test_is_exactly_zero_at_equality_with_its_gradients(formula):
    cov = _covariance(np.random.default_rng(4), 5)
    assert formula(cov, cov) == 0.0
    for gradient in formula.vjp(1.0, cov, cov):
        np.testing.assert_array_equal(gradient, 0.0)


@pytest.mark.parametrize("formula", FORMULAS)
def test_singular_covariances_and_points(formula):
    line = np.outer([1.0, 2.0, 2.0], [1.0, 2.0, 2.0])
    assert formula(line, [[9.0]]) == pytest.approx(0.0, abs=1e-24)
    point = np.zeros((2, 2))
    expected = 81.0 if formula is FORMULAS[1] else 12 * 81.0
    assert formula(line, point) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("formula", FORMULAS)
def test_batches_of_both_spaces_broadcast(formula):
    rng = np.random.default_rng(5)
    cov_p, cov_q = _covariance(rng, 3, (4, 1)), _covariance(rng, 2, (5,))
    value = formula(cov_p, cov_q)
    assert value.shape == (4, 5)
    assert value[3, 2] == pytest.approx(formula(cov_p[3, 0], cov_q[2]), rel=1e-13)
    gradients = formula.vjp(np.ones(value.shape), cov_p, cov_q)
    assert [g.shape for g in gradients] == [cov_p.shape, cov_q.shape]


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("place", range(2))
def test_bad_input_is_refused_by_name(formula, place):
    name = ("cov_p", "cov_q")[place]
    for bad, error, message in (
        ([[1.0, 2.0], [2.0, 1.0]], np.linalg.LinAlgError, "smallest eigenvalue is -1"),
        ([[1.0, 1.0], [0.0, 1.0]], ValueError, "expected a symmetric matrix"),
        ([[1.0, np.nan], [np.nan, 1.0]], ValueError, "expected finite"),
        (np.zeros((0, 0)), ValueError, "expected at least one dimension"),
    ):
        pair = [np.eye(3), np.eye(3)]
        pair[place] = bad
        with pytest.raises(error, match=f"{name}: .*{message}"):
            formula(*pair)
