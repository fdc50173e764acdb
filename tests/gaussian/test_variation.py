"""Total variation: known values, quadrature, accuracy near equality, the kink, errors."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import multivariate_normal, norm

from refimpl.gaussian.divergence import gaussian_kl
from refimpl.gaussian.overlap import bhattacharyya_coefficient, hellinger_squared
from refimpl.gaussian.variation import (
    total_variation_same_covariance,
    total_variation_univariate,
)
from tests.gaussian.pairs import covariance


def _exact(mean_p, var_p, mean_q, var_q, digits=60):
    """Distribution functions at the roots of the printed quadratic, which may cancel."""
    with mpmath.workdps(digits):
        mean_p, var_p, mean_q, var_q = (
            mpmath.mpf(float(x)) for x in (mean_p, var_p, mean_q, var_q)
        )
        a = 1 / var_p - 1 / var_q
        b = -2 * (mean_p / var_p - mean_q / var_q)
        c = mean_p**2 / var_p - mean_q**2 / var_q + mpmath.log(var_p / var_q)

        def difference(x):
            y, t = (x - mean_p) / mpmath.sqrt(var_p), (x - mean_q) / mpmath.sqrt(var_q)
            return (mpmath.erf(y / mpmath.sqrt(2)) - mpmath.erf(t / mpmath.sqrt(2))) / 2

        if a == 0:
            return abs(difference(-c / b))
        root = mpmath.sqrt(b * b - 4 * a * c)
        return abs(difference((-b + root) / (2 * a)) - difference((-b - root) / (2 * a)))


def test_known_values():
    assert total_variation_univariate(0.0, 1.0, 1.0, 4.0) == pytest.approx(0.39006566, abs=5e-9)
    expected = 0.6046749137546152
    assert total_variation_univariate(0.0, 1.0, 1.7, 1.0) == pytest.approx(expected, rel=2e-15)
    value = total_variation_same_covariance([0.0], [1.7], [[1.0]])
    assert value == pytest.approx(expected, rel=2e-15)


@pytest.mark.parametrize(
    "line",
    [(0.3, 0.5, -1.0, 4.0), (0.0, 1.0, 0.0, 9.0), (2.0, 0.01, 0.0, 1.0), (1.0, 2.0, 0.0, 2.0)],
)
def test_agrees_with_quadrature(line):
    mean_p, var_p, mean_q, var_q = line
    p, q = norm(mean_p, np.sqrt(var_p)), norm(mean_q, np.sqrt(var_q))
    integral, _ = quad(
        lambda x: abs(p.pdf(x) - q.pdf(x)), -30, 30, points=(mean_p, mean_q), limit=500
    )
    assert total_variation_univariate(*line) == pytest.approx(integral / 2, rel=1e-7)


def test_agrees_with_a_monte_carlo_mean_in_more_dimensions():
    rng = np.random.default_rng(5)
    mean_p, mean_q, cov = rng.standard_normal(3), np.zeros(3), covariance(rng, 3)
    p, q = multivariate_normal(mean_p, cov), multivariate_normal(mean_q, cov)
    x = p.rvs(200_000, random_state=rng)
    excess = np.maximum(1 - np.exp(q.logpdf(x) - p.logpdf(x)), 0)
    error = excess.std() / np.sqrt(len(x))
    value = total_variation_same_covariance(mean_p, mean_q, cov)
    assert abs(value - excess.mean()) < 5 * error


@pytest.mark.parametrize("difference", [1e-2, 1e-5, 1e-8, 1e-12])
@pytest.mark.parametrize("of_mean", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("of_variance", [0.0, -0.4, 1.0])
def test_near_equality_keeps_its_digits(difference, of_mean, of_variance):
    if of_mean == of_variance == 0:
        return
    line = (0.7 + of_mean * difference, 2 * (1 + of_variance * difference), 0.7, 2.0)
    exact = _exact(*line)
    assert abs(total_variation_univariate(*line) - exact) <= 1e-14 * exact
    if of_variance == 0:
        value = total_variation_same_covariance([line[0]], [line[2]], [[line[3]]])
        assert abs(value - exact) <= 1e-14 * exact


@pytest.mark.parametrize("ratio", [1e-300, 1e-12, 0.3, 2.7, 1e12, 1e300])
@pytest.mark.parametrize("shift", [0.0, 1e-3, 1.0, 30.0])
def test_every_ratio_of_variances(ratio, shift):
    line = (shift, ratio, 0.0, 1.0)
    exact = _exact(*line, digits=700)
    assert abs(total_variation_univariate(*line) - exact) <= 4e-15 * exact
    assert abs(total_variation_univariate(*line[2:], *line[:2]) - exact) <= 4e-15 * exact


def test_chain_of_bounds_on_many_lines():
    rng = np.random.default_rng(1)
    mean_p, mean_q = rng.standard_normal((2, 400))
    var_p, var_q = np.exp(rng.standard_normal((2, 400)))
    value = total_variation_univariate(mean_p, var_p, mean_q, var_q)
    arrays = (mean_p[:, None], var_p[:, None, None], mean_q[:, None], var_q[:, None, None])
    divergence = gaussian_kl(*arrays)
    overlap = bhattacharyya_coefficient(*arrays)
    assert (hellinger_squared(*arrays, normalisation="unit") <= value).all()
    assert (value <= np.sqrt(1 - overlap**2)).all()
    assert (value <= np.sqrt(divergence / 2)).all()
    assert (value <= np.sqrt(-np.expm1(-divergence))).all()


def test_arguments_broadcast():
    rng = np.random.default_rng(0)
    line = (
        rng.standard_normal((5, 1)),
        1.0 + rng.random(3),
        rng.standard_normal(()),
        np.array([2.0]),
    )
    value = total_variation_univariate(*line)
    assert value.shape == (5, 3)
    one = total_variation_univariate(line[0][4, 0], line[1][2], line[2], 2.0)
    assert value[4, 2] == pytest.approx(one, rel=1e-15)
    gradients = total_variation_univariate.vjp(np.ones((5, 3)), *line)
    assert [g.shape for g in gradients] == [x.shape for x in line]
    means, covs = rng.standard_normal((5, 1, 3)), covariance(rng, 3, (2,))
    assert total_variation_same_covariance(means, np.zeros(3), covs).shape == (5, 2)


# ----------------------------------------------------------------------------- the kink, and errors


def test_values_and_gradients_are_zero_at_the_kink():
    assert total_variation_univariate(0.3, 2.0, 0.3, 2.0) == 0.0
    for gradient in total_variation_univariate.vjp(1.0, 0.3, 2.0, 0.3, 2.0):
        assert gradient == 0.0
    mean, cov = np.ones(2), np.eye(2)
    assert total_variation_same_covariance(mean, mean, cov) == 0.0
    for gradient in total_variation_same_covariance.vjp(1.0, mean, mean, cov):
        np.testing.assert_array_equal(gradient, 0.0)


@pytest.mark.parametrize("sign", [1, -1])
def test_slope_beside_the_kink(sign):
    """TV = |delta|/(sqrt(2 pi v)) to first order in the means."""
    dmean, *_ = total_variation_univariate.vjp(1.0, sign * 1e-9, 2.0, 0.0, 2.0)
    assert dmean == pytest.approx(sign / np.sqrt(4 * np.pi), rel=1e-12)
    dmean, *_ = total_variation_same_covariance.vjp(1.0, [sign * 1e-9], [0.0], [[2.0]])
    assert dmean[0] == pytest.approx(sign / np.sqrt(4 * np.pi), rel=1e-12)


def test_gradients_for_equal_and_for_nearly_equal_variances_agree():
    at = total_variation_univariate.vjp(1.0, 1.0, 2.0, 0.0, 2.0)
    beside = total_variation_univariate.vjp(1.0, 1.0, 2.0 * (1 + 1e-13), 0.0, 2.0)
    np.testing.assert_allclose(at, beside, rtol=1e-10)
    of_means = total_variation_same_covariance.vjp(1.0, [1.0], [0.0], [[2.0]])
    assert at[0] == pytest.approx(of_means[0][0], rel=1e-14)
    assert at[1] + at[3] == pytest.approx(of_means[2][0, 0], rel=1e-14)


@pytest.mark.parametrize("place", [1, 3])
@pytest.mark.parametrize("variance", [0.0, -1.0])
def test_variances_that_are_not_positive_are_refused_by_name(place, variance):
    line = [0.0, 1.0, 0.0, 1.0]
    line[place] = variance
    name = total_variation_univariate.arguments[place].name
    with pytest.raises(ValueError, match=f"{name}: expected positive numbers, got {variance:g}"):
        total_variation_univariate(*line)


@pytest.mark.parametrize("place", range(4))
def test_what_is_not_finite_is_refused_by_name(place):
    line = [0.0, 1.0, 0.0, 1.0]
    line[place] = np.inf
    name = total_variation_univariate.arguments[place].name
    with pytest.raises(ValueError, match=f"{name}: expected finite numbers"):
        total_variation_univariate(*line)


def test_bad_covariances_are_refused():
    zero = np.zeros(2)
    with pytest.raises(np.linalg.LinAlgError, match="cov: .*smallest eigenvalue is -1"):
        total_variation_same_covariance(zero, zero, [[1.0, 2.0], [2.0, 1.0]])
    with pytest.raises(ValueError, match="cov: expected a symmetric matrix"):
        total_variation_same_covariance(zero, zero, [[1.0, 1e-3], [0.0, 1.0]])
    with pytest.raises(ValueError, match="mean_q: expected finite numbers"):
        total_variation_same_covariance(zero, [np.nan, 0.0], np.eye(2))
    with pytest.raises(ValueError, match="cov: expected at least one dimension"):
        total_variation_same_covariance([], [], np.zeros((0, 0)))
