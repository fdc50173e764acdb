"""Fisher-Rao distances: known values, geodesics, accuracy near equality, kinks, errors."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from refimpl.gaussian.divergence import gaussian_kl
from refimpl.gaussian.fisher_rao import (
    fisher_rao_diagonal,
    fisher_rao_same_covariance,
    fisher_rao_univariate,
)
from tests.gaussian.pairs import covariance, pair_that_differs


def _exact(mean_p, var_p, mean_q, var_q):
    """By arcosh in the half plane of (mean/sqrt 2, sigma), at 60 digits."""
    with mpmath.workdps(60):
        mean_p, var_p, mean_q, var_q = (
            mpmath.mpf(float(x)) for x in (mean_p, var_p, mean_q, var_q)
        )
        sigma_p, sigma_q = mpmath.sqrt(var_p), mpmath.sqrt(var_q)
        square = (mean_p - mean_q) ** 2 / 2 + (sigma_p - sigma_q) ** 2
        return mpmath.sqrt(2) * mpmath.acosh(1 + square / (2 * sigma_p * sigma_q))


def test_known_values():
    value = fisher_rao_univariate(0.0, 1.0, 1.0, 4.0)
    assert value == pytest.approx(1.1893809314064118, rel=1e-15)
    assert fisher_rao_univariate(0.0, 1.0, 0.0, np.e**2) == pytest.approx(np.sqrt(2), rel=1e-15)


def test_is_the_length_of_the_shortest_curve():
    """Half circles in the half plane of (mean/sqrt 2, sigma), measured by small steps."""
    centre, radius = 0.4, 1.3
    angle = np.linspace(0.3, 2.5, 20_001)
    mean, sigma = np.sqrt(2) * (centre + radius * np.cos(angle)), radius * np.sin(angle)
    steps = np.sqrt(np.diff(mean) ** 2 + 2 * np.diff(sigma) ** 2)
    length = (steps * 2 / (sigma[1:] + sigma[:-1])).sum()
    value = fisher_rao_univariate(mean[0], sigma[0] ** 2, mean[-1], sigma[-1] ** 2)
    assert value == pytest.approx(length, rel=1e-7)
    # Any other curve is longer, the straight one for example.
    t = np.linspace(0, 1, 20_001)
    mean, sigma = mean[0] + t * (mean[-1] - mean[0]), sigma[0] + t * (sigma[-1] - sigma[0])
    steps = np.sqrt(np.diff(mean) ** 2 + 2 * np.diff(sigma) ** 2)
    assert (steps * 2 / (sigma[1:] + sigma[:-1])).sum() > 1.01 * value


@pytest.mark.parametrize("difference", [1e-2, 1e-8, 1e-12])
@pytest.mark.parametrize("of_mean", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("of_variance", [0.0, -0.4, 1.0])
def test_near_equality_keeps_its_digits(difference, of_mean, of_variance):
    line = (0.7 + of_mean * difference, 2 * (1 + of_variance * difference), 0.7, 2.0)
    exact = _exact(*line)
    assert abs(fisher_rao_univariate(*line) - exact) <= 1e-15 * 2 * exact
    value = fisher_rao_diagonal(*([x, x] for x in line))
    assert abs(value - mpmath.sqrt(2) * exact) <= 4e-15 * exact
    if of_variance == 0:
        value = fisher_rao_same_covariance([line[0]], [line[2]], [[line[3]]])
        assert abs(value - exact) <= 2e-15 * exact


def test_means_keep_digits_that_arcosh_as_it_is_usually_written_loses():
    mean = 1e-8
    exact = _exact(mean, 1.0, 0.0, 1.0)
    assert abs(fisher_rao_univariate(mean, 1.0, 0.0, 1.0) - exact) <= 1e-15 * exact


@pytest.mark.parametrize("ratio", [1e-300, 1e-12, 1e12, 1e300])
@pytest.mark.parametrize("shift", [0.0, 1.0, 1e6])
def test_every_ratio_of_variances(ratio, shift):
    line = (shift, ratio, 0.0, 1.0)
    exact = _exact(*line)
    assert abs(fisher_rao_univariate(*line) - exact) <= 4e-16 * exact


def test_is_the_root_of_twice_the_divergence_near_equality():
    mean_p, cov_p, mean_q, cov_q = pair_that_differs(np.random.default_rng(8), 4, 1e-6)
    var_p, var_q = np.diagonal(cov_p), np.diagonal(cov_q)
    divergence = gaussian_kl(mean_p, np.diag(var_p), mean_q, np.diag(var_q))
    value = fisher_rao_diagonal(mean_p, var_p, mean_q, var_q)
    assert value**2 / 2 == pytest.approx(divergence, rel=1e-5)
    divergence = gaussian_kl(mean_p, cov_q, mean_q, cov_q)
    value = fisher_rao_same_covariance(mean_p, mean_q, cov_q)
    assert value**2 / 2 == pytest.approx(divergence, rel=1e-10)


def test_one_covariance_is_the_line_of_mahalanobis_distance():
    rng = np.random.default_rng(2)
    mean_p, mean_q, cov = rng.standard_normal(4), rng.standard_normal(4), covariance(rng, 4)
    delta = mean_p - mean_q
    r = np.sqrt(delta @ np.linalg.solve(cov, delta))
    value = fisher_rao_same_covariance(mean_p, mean_q, cov)
    assert value == pytest.approx(fisher_rao_univariate(r, 1.0, 0.0, 1.0), rel=1e-13)
    assert value == pytest.approx(np.sqrt(2) * np.arccosh(1 + r * r / 4), rel=1e-13)
    assert value < r


def test_squares_neither_overflow_nor_vanish():
    value = fisher_rao_diagonal([1e-200, 0.0], [1.0, 1.0], [0.0, 0.0], [1.0, 1.0])
    assert value == pytest.approx(1e-200, rel=1e-15)
    value = fisher_rao_same_covariance([1e-200, 1e-200], [0.0, 0.0], np.eye(2))
    assert value == pytest.approx(np.sqrt(2) * 1e-200, rel=1e-15)
    assert np.isfinite(fisher_rao_same_covariance([1e200], [0.0], [[1.0]]))


def test_arguments_broadcast():
    rng = np.random.default_rng(0)
    arrays = (
        rng.standard_normal((5, 1, 3)),
        1 + rng.random((2, 3)),
        rng.standard_normal(3),
        1 + rng.random(3),
    )
    value = fisher_rao_diagonal(*arrays)
    assert value.shape == (5, 2)
    one = fisher_rao_diagonal(arrays[0][4, 0], arrays[1][1], arrays[2], arrays[3])
    assert value[4, 1] == pytest.approx(one, rel=1e-14)
    gradients = fisher_rao_diagonal.vjp(np.ones((5, 2)), *arrays)
    assert [g.shape for g in gradients] == [x.shape for x in arrays]
    assert fisher_rao_univariate(*arrays).shape == (5, 2, 3)
    covs = covariance(rng, 3, (2,))
    assert fisher_rao_same_covariance(arrays[0], arrays[2], covs).shape == (5, 2)


# ---------------------------------------------------------------------------- the kink, and errors


def test_values_and_gradients_are_zero_at_the_kink():
    mean, var, cov = np.ones(2), np.full(2, 3.0), np.eye(2)
    for formula, arrays in (
        (fisher_rao_univariate, (mean, var, mean, var)),
        (fisher_rao_diagonal, (mean, var, mean, var)),
        (fisher_rao_same_covariance, (mean, mean, cov)),
    ):
        value = formula(*arrays)
        np.testing.assert_array_equal(value, 0.0)
        for gradient in formula.vjp(np.ones(np.shape(value)), *arrays):
            np.testing.assert_array_equal(gradient, 0.0)


def test_a_coordinate_at_its_kink_does_not_disturb_the_others():
    arrays = ([1.0, 0.0], [2.0, 1.0], [0.0, 0.0], [1.0, 1.0])
    alone = fisher_rao_univariate.vjp(1.0, 1.0, 2.0, 0.0, 1.0)
    for both, one in zip(fisher_rao_diagonal.vjp(1.0, *arrays), alone, strict=True):
        np.testing.assert_allclose(both, [one, 0.0], rtol=1e-14)


def test_slope_beside_the_kink():
    dmean, dvar, *_ = fisher_rao_univariate.vjp(1.0, 1e-9, 4.0, 0.0, 4.0)
    assert dmean == pytest.approx(0.5, rel=1e-12)
    dmean, dvar, *_ = fisher_rao_univariate.vjp(1.0, 0.0, 4.0 + 1e-9, 0.0, 4.0)
    assert dvar == pytest.approx(1 / (4 * np.sqrt(2)), rel=1e-8)
    dmean, *_ = fisher_rao_same_covariance.vjp(1.0, [1e-9], [0.0], [[4.0]])
    assert dmean[0] == pytest.approx(0.5, rel=1e-12)


@pytest.mark.parametrize("formula", [fisher_rao_univariate, fisher_rao_diagonal])
@pytest.mark.parametrize("place", range(4))
def test_bad_numbers_are_refused_by_name(formula, place):
    name = formula.arguments[place].name
    arrays = [np.zeros(2), np.ones(2), np.zeros(2), np.ones(2)]
    arrays[place] = np.array([1.0, np.nan])
    with pytest.raises(ValueError, match=f"{name}: expected finite numbers"):
        formula(*arrays)
    if name.startswith("var"):
        for variance in (0.0, -1.0):
            arrays[place] = np.array([1.0, variance])
            with pytest.raises(ValueError, match=f"{name}: expected positive numbers"):
                formula(*arrays)


def test_bad_covariances_and_no_dimension_are_refused():
    zero = np.zeros(2)
    with pytest.raises(np.linalg.LinAlgError, match="cov: .*smallest eigenvalue is -1"):
        fisher_rao_same_covariance(zero, zero, [[1.0, 2.0], [2.0, 1.0]])
    with pytest.raises(np.linalg.LinAlgError, match="cov: .*smallest eigenvalue"):
        fisher_rao_same_covariance(zero, zero, np.ones((2, 2)))
    with pytest.raises(ValueError, match="cov: expected a symmetric matrix"):
        fisher_rao_same_covariance(zero, zero, [[1.0, 1e-3], [0.0, 1.0]])
    empty = np.zeros(0)
    with pytest.raises(ValueError, match="mean_p: expected at least one dimension"):
        fisher_rao_diagonal(empty, empty, empty, empty)
