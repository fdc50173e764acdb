"""Means of kernels and discrepancy: known values, accuracy near equality, bandwidth, bad input."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from scipy import integrate, stats

from refimpl.gaussian.kernel import (
    gaussian_expected_kernel,
    gaussian_mmd_squared,
    gaussian_square_norm_laplace,
)
from tests.gaussian.pairs import (
    G1,
    G2,
    G3,
    IDENTITY,
    ZERO,
    covariance,
    exact_pair,
    pair_that_differs,
)

# -------------------------------------------------------------------------- Laplace transform


@pytest.mark.parametrize("rate", [0.0, 1e-3, 0.5, 20.0])
def test_laplace_transform_of_a_noncentral_chi_square(rate):
    """E exp(-t y) for y ~ chi^2_d(|m|^2), by quadrature of SciPy's density"""
    mean = np.array([1.0, -0.5, 2.0])
    law = stats.ncx2(3, mean @ mean)
    value, _ = integrate.quad(lambda y: np.exp(-rate * y) * law.pdf(y), 0, 80, epsabs=1e-12)
    found = gaussian_square_norm_laplace(mean, np.eye(3), rate=rate)
    assert found == pytest.approx(value, abs=1e-9)


def test_rates_are_an_array_of_their_own():
    rates = np.array([0.1, 1.0, 10.0])
    mean = np.stack([ZERO, np.array(G1[0])])[:, None]
    value = gaussian_square_norm_laplace(mean, G1[1], rate=rates)
    assert value.shape == (2, 3)
    one = gaussian_square_norm_laplace(mean[1, 0], G1[1], rate=1.0)
    assert value[1, 1] == pytest.approx(one, rel=1e-15)
    gradients = gaussian_square_norm_laplace.vjp(np.ones((2, 3)), mean, G1[1], rate=rates)
    assert [g.shape for g in gradients] == [mean.shape, (2, 2), (3,)]
    constant = gaussian_square_norm_laplace.vjp(1.0, G1[0], G1[1], rate=1.0)
    assert len(constant) == 2


def test_slope_at_rate_zero_is_minus_the_mean_square_norm():
    mean, cov = np.array(G1[0]), np.array(G1[1])
    *_, drate = gaussian_square_norm_laplace.vjp(1.0, mean, cov, rate=np.array(0.0))
    assert drate == pytest.approx(-(mean @ mean + np.trace(cov)), rel=1e-15)


@pytest.mark.parametrize(
    ("rate", "message"), [(-0.5, "negative numbers, got -0.5"), (np.inf, "fin")]
)
def test_rates_are_not_negative_and_finite(rate, message):
    with pytest.raises(ValueError, match=f"rate: .*{message}"):
        gaussian_square_norm_laplace(ZERO, IDENTITY, rate=rate)


# -------------------------------------------------------------------------------- mean kernel


def test_a_singular_covariance_has_a_transform():
    found = gaussian_square_norm_laplace(ZERO, np.ones((2, 2)), rate=1.0)
    assert found == pytest.approx(1 / np.sqrt(5), rel=1e-15)


def test_mean_kernel_of_samples():
    rng = np.random.default_rng(0)
    mean_p, cov_p, mean_q, cov_q = map(np.array, G2)
    x = rng.multivariate_normal(mean_p, cov_p, 200_000)
    y = rng.multivariate_normal(mean_q, cov_q, 200_000)
    values = np.exp(-((x - y) ** 2).sum(axis=1) / (2 * 1.5**2))
    found = gaussian_expected_kernel(mean_p - mean_q, cov_p + cov_q, bandwidth=1.5)
    assert abs(found - values.mean()) < 5 * values.std() / np.sqrt(len(values))


@pytest.mark.parametrize("bandwidth", [1e-100, 1e100])
def test_extreme_bandwidths(bandwidth):
    """K(0, S) tends to h^d/sqrt(det S) and to 1"""
    expected = min(1.0, bandwidth / np.sqrt(3))
    assert gaussian_expected_kernel([0.0], [[3.0]], bandwidth=bandwidth) == pytest.approx(expected)


# -------------------------------------------------------------------------------- discrepancy


def _exact(mean_p, cov_p, mean_q, cov_q, bandwidth):
    """The printed formula at 60 digits, on the very numbers that the library gets."""
    with mpmath.workdps(60):
        delta, cov_p, cov_q = exact_pair(mean_p, cov_p, mean_q, cov_q)
        area = mpmath.mpf(bandwidth) ** 2
        identity = mpmath.eye(len(delta))

        def kernel(mean, cov):
            square = (mean.T * mpmath.inverse(cov + area * identity) * mean)[0]
            return mpmath.exp(-square / 2) / mpmath.sqrt(mpmath.det(identity + cov / area))

        own = kernel(0 * delta, 2 * cov_p) + kernel(0 * delta, 2 * cov_q)
        return own - 2 * kernel(delta, cov_p + cov_q)


@pytest.mark.parametrize(
    ("pair", "value"),
    [(G1, 0.13993522922189042), (G2, 0.15818046597754729), (G3, 0.15947048367646554)],
)
@pytest.mark.parametrize("form", gaussian_mmd_squared.forms)
def test_known_values_to_17_digits(pair, value, form):
    p, q = pair[:2], pair[2:]
    for one, other in ((p, q), (q, p)):
        found = gaussian_mmd_squared(*one, *other, bandwidth=1.0, form=form)
        assert found == pytest.approx(value, rel=2e-15)


@pytest.mark.parametrize("bandwidth", [0.1, 1.0, 100.0])
@pytest.mark.parametrize("d", [1, 3, 8])
@pytest.mark.parametrize("difference", [1e-1, 1e-4, 1e-8, 1e-12])
def test_near_equality_keeps_its_digits(d, difference, bandwidth):
    pair = pair_that_differs(np.random.default_rng(d), d, difference)
    exact = _exact(*pair, bandwidth)
    assert abs(gaussian_mmd_squared(*pair, bandwidth=bandwidth) - exact) <= 1e-13 * exact


@pytest.mark.parametrize("bandwidth", [1e-6, 1e-3, 0.03, 30.0, 1e4, 1e8])
@pytest.mark.parametrize("pair", [G1, G2])
def test_kernels_of_any_width_keep_their_digits(pair, bandwidth):
    """Narrow ones have small means, wide ones means near 1, which cancel to sixteen digits."""
    exact = _exact(*pair, bandwidth)
    assert abs(gaussian_mmd_squared(*pair, bandwidth=bandwidth) - exact) <= 1e-13 * exact


def test_the_textbook_form_loses_no_more_than_its_terms_round():
    for seed in range(20):
        pair = pair_that_differs(np.random.default_rng(seed), 4, 1e-8)
        right = gaussian_mmd_squared(*pair, bandwidth=1.0)
        textbook = gaussian_mmd_squared(*pair, bandwidth=1.0, form="textbook")
        assert abs(textbook - right) <= 1e-14


@pytest.mark.parametrize("difference", np.linspace(0.05, 3.0, 12))
def test_the_two_ways_agree_where_they_meet(difference):
    """The squared norm of the whitened difference passes 1/4 in this range."""
    pair = pair_that_differs(np.random.default_rng(3), 3, difference)
    exact = _exact(*pair, 2.0)
    assert abs(gaussian_mmd_squared(*pair, bandwidth=2.0) - exact) <= 1e-14 * exact


@pytest.mark.parametrize("d", [1, 4])
def test_value_and_gradients_are_exactly_zero_at_equality(d):
    rng = np.random.default_rng(d)
    mean, cov = rng.standard_normal(d), covariance(rng, d)
    h = np.array(1.5)
    assert gaussian_mmd_squared(mean, cov, mean, cov, bandwidth=h) == 0.0
    for gradient in gaussian_mmd_squared.vjp(1.0, mean, cov, mean, cov, bandwidth=h):
        np.testing.assert_array_equal(gradient, 0.0)


def test_gradients_near_equality_keep_their_digits():
    """Against differences of the definition at 60 digits, at a distance of 1e-8."""
    pair = pair_that_differs(np.random.default_rng(5), 2, 1e-8)
    h = np.array(1.25)
    gradients = gaussian_mmd_squared.vjp(1.0, *pair, bandwidth=h)
    step = mpmath.mpf(10) ** -30
    with mpmath.workdps(90):

        def value(shift_mean, shift_cov, shift_h):
            mean_p, cov_p, mean_q, cov_q = (mpmath.matrix(np.array(x).tolist()) for x in pair)
            cov_p[0, 0] += shift_cov
            mean_p[1] += shift_mean
            area = (mpmath.mpf(1.25) + shift_h) ** 2
            identity, delta = mpmath.eye(2), mean_p - mean_q

            def kernel(mean, cov):
                square = (mean.T * mpmath.inverse(cov + area * identity) * mean)[0]
                return mpmath.exp(-square / 2) / mpmath.sqrt(mpmath.det(identity + cov / area))

            own = kernel(0 * delta, 2 * cov_p) + kernel(0 * delta, 2 * cov_q)
            return own - 2 * kernel(delta, cov_p + cov_q)

        ways = [(step, 0, 0), (0, step, 0), (0, 0, step)]
        exact = [(value(*w) - value(*(-x for x in w))) / (2 * step) for w in ways]
    found = gradients[0][1], gradients[1][0, 0], gradients[4]
    for ours, theirs in zip(found, exact, strict=True):
        assert abs(ours - theirs) <= 1e-12 * abs(theirs)


def test_bandwidths_are_an_array_of_their_own():
    widths = np.array([0.5, 1.0, 2.0])
    value = gaussian_mmd_squared(*G1, bandwidth=widths[:, None] * np.ones(4))
    assert value.shape == (3, 4)
    assert value[1, 2] == pytest.approx(0.13993522922189042, rel=1e-15)
    *_, dwidth = gaussian_mmd_squared.vjp(np.ones(3), *G1, bandwidth=widths)
    assert dwidth.shape == (3,)
    assert len(gaussian_mmd_squared.vjp(1.0, *G1, bandwidth=1.0)) == 4


def test_singular_covariances_are_compared_too():
    """Two points, and a point with a line."""
    points = gaussian_mmd_squared(ZERO, 0 * IDENTITY, [2.0, 0.0], 0 * IDENTITY, bandwidth=1.0)
    assert points == pytest.approx(2 - 2 * np.exp(-2), rel=1e-15)
    line = gaussian_mmd_squared(ZERO, 0 * IDENTITY, ZERO, np.diag([4.0, 0.0]), bandwidth=1.0)
    assert line == pytest.approx(1 + 1 / 3 - 2 / np.sqrt(5), rel=1e-14)


@pytest.mark.parametrize("place", range(4))
def test_what_is_not_finite_is_refused_by_name(place):
    arrays = [ZERO, IDENTITY, ZERO, IDENTITY]
    arrays[place] = np.where(arrays[place] == 0, np.nan, arrays[place])
    name = gaussian_mmd_squared.arguments[place].name
    with pytest.raises(ValueError, match=f"{name}: expected finite numbers"):
        gaussian_mmd_squared(*arrays, bandwidth=1.0)


def test_an_indefinite_covariance_is_refused_by_name():
    bad = [[1.0, 2.0], [2.0, 1.0]]
    with pytest.raises(np.linalg.LinAlgError, match="cov_q: .*smallest eigenvalue is -1"):
        gaussian_mmd_squared(ZERO, IDENTITY, ZERO, bad, bandwidth=1.0)
    with pytest.raises(np.linalg.LinAlgError, match="cov: .*smallest eigenvalue is -1"):
        gaussian_expected_kernel(ZERO, bad, bandwidth=1.0)


@pytest.mark.parametrize("bandwidth", [0.0, -1.0, np.nan])
def test_a_bandwidth_is_positive(bandwidth):
    with pytest.raises(ValueError, match="bandwidth: expected"):
        gaussian_mmd_squared(*G1, bandwidth=bandwidth)
    with pytest.raises(ValueError, match="bandwidth: expected"):
        gaussian_expected_kernel(ZERO, IDENTITY, bandwidth=bandwidth)


def test_a_bandwidth_has_no_default():
    with pytest.raises(TypeError, match="needs .*bandwidth"):
        gaussian_mmd_squared(*G1)
