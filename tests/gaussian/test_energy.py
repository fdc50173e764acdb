"""Energy distances: known values, special functions, accuracy near equality and over all scales."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from scipy import stats

from refimpl.gaussian.energy import (
    energy_distance,
    energy_distance_isotropic,
    energy_distance_univariate,
)
from tests.gaussian.pairs import G1, G2, G3, IDENTITY, ZERO, covariance, pair_that_differs


@pytest.fixture(autouse=True)
def fifty_digits():
    with mpmath.workdps(50):
        yield


def _mean_norm(d, square, variance):
    """E|N(m, v I)| by the confluent hypergeometric function."""
    constant = mpmath.sqrt(2 * variance) * mpmath.gammaprod([mpmath.mpf(d + 1) / 2], [d / 2.0])
    return constant * mpmath.hyp1f1(-0.5, d / 2.0, -square / (2 * variance))


def _of_spheres(mean_p, variance_p, mean_q, variance_q):
    gaps = (
        mpmath.mpf(float(a)) - mpmath.mpf(float(b)) for a, b in zip(mean_p, mean_q, strict=True)
    )
    square, d = mpmath.fsum(x * x for x in gaps), len(mean_p)
    p, q = mpmath.mpf(float(variance_p)), mpmath.mpf(float(variance_q))
    within = _mean_norm(d, 0, 2 * p) + _mean_norm(d, 0, 2 * q)
    return 2 * _mean_norm(d, square, p + q) - within


@pytest.mark.parametrize(
    ("pair", "value"),
    [(G1, 1.3671622611974637), (G2, 1.1898571984920121), (G3, 0.53410532410703192)],
)
def test_known_values_to_17_digits(pair, value):
    p, q = pair[:2], pair[2:]
    assert energy_distance(*p, *q) == pytest.approx(value, rel=1e-15)
    assert energy_distance(*q, *p) == pytest.approx(value, rel=1e-15)


def test_numbers_have_one_distance_by_all_three():
    value = pytest.approx(0.53410532410703192, rel=1e-15)
    assert energy_distance_univariate(0.0, 1.0, 1.0, 4.0) == value
    assert energy_distance_isotropic([0.0], 1.0, [1.0], 4.0) == value


@pytest.mark.parametrize("d", [1, 2, 3, 10])
@pytest.mark.parametrize("distance", [0.0, 1e-3, 1.0, 1e3])
@pytest.mark.parametrize("difference", [1e6, 3.0, 0.3, 1e-4, 1e-8, 1e-12])
def test_spheres_agree_with_hypergeometric_functions(d, distance, difference):
    """From far apart to a relative difference of 1e-12, in all three implementations."""
    rng = np.random.default_rng(d)
    mean_q = rng.standard_normal(d)
    mean_p = mean_q + distance * difference * rng.standard_normal(d)
    variance_q, variance_p = 1.3, 1.3 * (1 + difference)
    exact = _of_spheres(mean_p, variance_p, mean_q, variance_q)
    found = [
        energy_distance_isotropic(mean_p, variance_p, mean_q, variance_q),
        energy_distance(mean_p, variance_p * np.eye(d), mean_q, variance_q * np.eye(d)),
    ]
    if d == 1:
        found.append(energy_distance_univariate(mean_p[0], variance_p, mean_q[0], variance_q))
    for value in found:
        assert abs(value - exact) <= 4e-15 * exact


def _ellipse(first, second):
    """E|z| of two centred coordinates, by the complete elliptic integral."""
    first, second = mpmath.mpf(first), mpmath.mpf(second)
    return mpmath.sqrt(2 * first / mpmath.pi) * mpmath.ellipe(1 - second / first)


@pytest.mark.parametrize("ratio", [1.0, 1e-2, 1e-6, 1e-10, 1e-14])
def test_ellipses_of_any_shape_agree_with_elliptic_integrals(ratio):
    """The difference lies in the narrow direction alone, down to a condition of 1e14."""
    exact = 2 * _ellipse(2, 3 * ratio) - _ellipse(2, 2 * ratio) - _ellipse(2, 4 * ratio)
    found = energy_distance(ZERO, np.diag([1.0, ratio]), ZERO, np.diag([1.0, 2 * ratio]))
    assert abs(found - exact) <= 1e-12 * exact
    line = energy_distance(ZERO, np.diag([1.0, ratio]), ZERO, 0 * IDENTITY)
    exact = (2 - mpmath.sqrt(2)) * _ellipse(1, ratio)
    assert abs(line - exact) <= 1e-15 * exact


def test_agrees_with_monte_carlo():
    rng = np.random.default_rng(0)
    mean_p, cov_p, mean_q, cov_q = map(np.array, G2)
    x, other_x = rng.multivariate_normal(mean_p, cov_p, (2, 200_000))
    y, other_y = rng.multivariate_normal(mean_q, cov_q, (2, 200_000))

    def norm(z):
        return np.sqrt((z * z).sum(axis=-1))

    terms = norm(x - y) + norm(other_x - other_y) - norm(x - other_x) - norm(y - other_y)
    error = terms.std() / np.sqrt(len(terms))
    assert abs(energy_distance(mean_p, cov_p, mean_q, cov_q) - terms.mean()) < 5 * error


def test_scipy_returns_the_root():
    """On 20001 quantiles of each, for the samples that SciPy takes."""
    grid = (np.arange(20001) + 0.5) / 20001
    x, y = stats.norm(0, 1).ppf(grid), stats.norm(1, 2).ppf(grid)
    root = np.sqrt(energy_distance_univariate(0.0, 1.0, 1.0, 4.0))
    assert stats.energy_distance(x, y) == pytest.approx(root, rel=1e-4)


# ------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize("scale", [1e-100, 1e-8, 1e8, 1e100])
def test_units_of_x(scale):
    mean_p, cov_p, mean_q, cov_q = map(np.array, G2)
    found = energy_distance(scale * mean_p, scale**2 * cov_p, scale * mean_q, scale**2 * cov_q)
    assert found == pytest.approx(1.1898571984920121 * scale, rel=1e-14)


def test_points_are_twice_their_distance_apart():
    assert energy_distance([1.0, 2.0], 0 * IDENTITY, [4.0, 6.0], 0 * IDENTITY) == pytest.approx(10)
    assert energy_distance_isotropic([1.0, 2.0], 0.0, [4.0, 6.0], 0.0) == pytest.approx(10)
    assert energy_distance_univariate(1.0, 0.0, 4.0, 0.0) == 6.0


@pytest.mark.parametrize("spread", [0.0, 1.0])
@pytest.mark.parametrize("d", [1, 4])
def test_exactly_zero_at_equality(spread, d):
    rng = np.random.default_rng(d)
    mean, cov = rng.standard_normal(d), spread * covariance(rng, d)
    assert energy_distance(mean, cov, mean, cov) == 0.0
    assert energy_distance_isotropic(mean, spread, mean, spread) == 0.0
    assert energy_distance_univariate(mean[0], spread, mean[0], spread) == 0.0
    if spread:
        for gradient in energy_distance.vjp(1.0, mean, cov, mean, cov):
            np.testing.assert_array_equal(gradient, 0.0)
        for gradient in energy_distance_isotropic.vjp(1.0, mean, spread, mean, spread):
            np.testing.assert_array_equal(gradient, 0.0)
        for gradient in energy_distance_univariate.vjp(1.0, mean[0], spread, mean[0], spread):
            assert gradient == 0.0


def test_never_negative_near_equality():
    for seed in range(40):
        pair = pair_that_differs(np.random.default_rng(seed), 3, 1e-9)
        singular = [np.array(x) for x in pair]
        for cov in (singular[1], singular[3]):
            cov[:, -1] = cov[-1, :] = 0.0
        assert energy_distance(*pair) > 0
        assert energy_distance(*singular) > 0


def test_small_differences_are_a_quadratic_form():
    """Of equal covariances: D = |delta|^2 (1 - 1/d) E 1/|z| + ..., z ~ N(0, 2 S), S = v I"""
    d, v, h = 5, 2.0, 1e-7
    mean = np.zeros(d)
    moved = mean + np.eye(d)[0] * h
    # E 1/|z| of d coordinates of variance 2 v.
    inverse = mpmath.gammaprod([mpmath.mpf(d - 1) / 2], [d / 2.0]) / mpmath.sqrt(4 * v)
    expected = h * h * (1 - mpmath.mpf(1) / d) * inverse
    found = energy_distance(moved, v * np.eye(d), mean, v * np.eye(d))
    assert abs(found - expected) <= 1e-12 * expected


def test_all_arguments_broadcast():
    rng = np.random.default_rng(1)
    arrays = (
        rng.standard_normal((5, 1, 1, 2)),
        covariance(rng, 2, (4, 1)),
        rng.standard_normal((2, 2)),
        IDENTITY,
    )
    value = energy_distance(*arrays)
    assert value.shape == (5, 4, 2)
    one = (arrays[0][3, 0, 0], arrays[1][2, 0], arrays[2][1], arrays[3])
    assert value[3, 2, 1] == pytest.approx(energy_distance(*one), rel=1e-14)
    gradients = energy_distance.vjp(np.ones(value.shape), *arrays)
    assert [g.shape for g in gradients] == [x.shape for x in arrays]
    assert energy_distance_isotropic(arrays[0], 1.0, ZERO, np.ones((4, 1))).shape == (5, 4, 1)


# ------------------------------------------------------------------------------- refused input


def test_infinite_gradients_are_refused():
    with pytest.raises(np.linalg.LinAlgError, match="cov_p: .*smallest eigenvalue"):
        energy_distance.vjp(1.0, ZERO, 0 * IDENTITY, ZERO, IDENTITY)
    with pytest.raises(ValueError, match="variance_q: expected positive"):
        energy_distance_isotropic.vjp(1.0, ZERO, 1.0, ZERO, 0.0)
    with pytest.raises(ValueError, match="variance_p: expected positive"):
        energy_distance_univariate.vjp(1.0, 0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize("place", range(4))
def test_what_is_not_finite_is_refused_by_name(place):
    general, spheres, numbers = [ZERO, IDENTITY, ZERO, IDENTITY], [ZERO, 1.0, ZERO, 1.0], [1.0] * 4
    for formula, arrays in (
        (energy_distance, general),
        (energy_distance_isotropic, spheres),
        (energy_distance_univariate, numbers),
    ):
        bad = list(arrays)
        bad[place] = np.asarray(bad[place]) * np.nan
        name = formula.arguments[place].name
        with pytest.raises(ValueError, match=f"{name}: expected finite numbers"):
            formula(*bad)


def test_bad_spreads_are_refused_by_name():
    with pytest.raises(np.linalg.LinAlgError, match="cov_q: .*smallest eigenvalue is -1"):
        energy_distance(ZERO, IDENTITY, ZERO, [[1.0, 2.0], [2.0, 1.0]])
    with pytest.raises(ValueError, match="cov_p: expected a symmetric matrix"):
        energy_distance(ZERO, [[1.0, 0.5], [0.0, 1.0]], ZERO, IDENTITY)
    with pytest.raises(ValueError, match="variance_p: expected no negative numbers, got -1"):
        energy_distance_isotropic(ZERO, -1.0, ZERO, 1.0)
    with pytest.raises(ValueError, match="variance_q: expected no negative numbers, got -2"):
        energy_distance_univariate(0.0, 1.0, 0.0, -2.0)
    with pytest.raises(ValueError, match="at least one dimension"):
        energy_distance_isotropic([], 1.0, [], 1.0)
