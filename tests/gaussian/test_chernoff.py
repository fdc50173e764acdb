"""Chernoff coefficient and information: known values, accuracy, the best order, gradients."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from refimpl.gaussian.chernoff import chernoff_coefficient, chernoff_information
from refimpl.gaussian.divergence import gaussian_kl
from refimpl.gaussian.overlap import bhattacharyya_coefficient, bhattacharyya_distance
from tests.gaussian.pairs import (
    G1,
    G2,
    G3,
    IDENTITY,
    ZERO,
    covariance,
    exact_pair,
    pair_that_differs,
    relative_condition,
)


def _exponent(delta, cov_p, cov_q, a):
    mixed = a * cov_q + (1 - a) * cov_p
    mahalanobis = (delta.T * mpmath.inverse(mixed) * delta)[0]
    of_mixed, of_p, of_q = (mpmath.log(mpmath.det(x)) for x in (mixed, cov_p, cov_q))
    return (a * (1 - a) * mahalanobis + of_mixed - (1 - a) * of_p - a * of_q) / 2


def _exact(*arrays):
    """The largest exponent at 60 digits, by golden sections of the printed formula."""
    with mpmath.workdps(60):
        exact = exact_pair(*arrays)
        low, high = mpmath.mpf(0), mpmath.mpf(1)
        ratio = (mpmath.sqrt(5) - 1) / 2
        for _ in range(110):
            left, right = high - ratio * (high - low), low + ratio * (high - low)
            if _exponent(*exact, left) < _exponent(*exact, right):
                low = left
            else:
                high = right
        return _exponent(*exact, (low + high) / 2)


@pytest.mark.parametrize("pair", [G1, G2, G3])
def test_agrees_with_scipys_search(pair):
    arrays = tuple(map(np.array, pair))
    found = minimize_scalar(
        lambda a: float(chernoff_coefficient(*arrays, order=a)),
        bounds=(0, 1),
        method="bounded",
        options={"xatol": 1e-10},
    )
    assert chernoff_information(*pair) == pytest.approx(-np.log(found.fun), rel=1e-13)


def test_known_values():
    assert chernoff_information([0.0], [[1.0]], [2.0], [[1.0]]) == 0.5
    ratio = 4 * np.log(4) / 3
    expected = (ratio - 1 - np.log(ratio)) / 2
    assert chernoff_information([0.0], [[1.0]], [0.0], [[4.0]]) == pytest.approx(
        expected, rel=1e-14
    )
    for pair in (G1, G2, G3):
        half = chernoff_coefficient(*pair, order=0.5)
        assert half == pytest.approx(bhattacharyya_coefficient(*pair), rel=1e-15)


def test_coefficient_agrees_with_quadrature():
    p, q = norm(0.3, 0.7), norm(-1.0, 2.0)
    integral, _ = quad(
        lambda x: np.exp(0.3 * p.logpdf(x) + 0.7 * q.logpdf(x)), -30, 30, points=(0,)
    )
    value = chernoff_coefficient([0.3], [[0.49]], [-1.0], [[4.0]], order=0.3)
    assert value == pytest.approx(integral, rel=1e-10)


def test_is_the_exponent_of_the_error_of_a_bayesian_test():
    """N(0, 1) or N(2, 1) from n draws: the error Phi(-sqrt(n)) decays as exp(-n/2)."""
    information = chernoff_information([0.0], [[1.0]], [2.0], [[1.0]])
    rates = [-norm.logcdf(-np.sqrt(n)) / n for n in (1e2, 1e4, 1e6)]
    assert abs(rates[-1] - information) < 1e-5
    assert rates[0] > rates[1] > rates[2] > information


@pytest.mark.parametrize("d", [1, 4])
@pytest.mark.parametrize("difference", [1e-2, 1e-8, 1e-12])
def test_near_equality_keeps_its_digits(d, difference):
    pair = pair_that_differs(np.random.default_rng(d), d, difference)
    exact = _exact(*pair)
    assert abs(chernoff_information(*pair) - exact) <= 1e-12 * exact


@pytest.mark.parametrize("condition", [1e4, 1e12])
def test_covariances_of_very_different_size_keep_their_digits(condition):
    pair = relative_condition(np.random.default_rng(1), 4, condition)
    exact = _exact(*pair)
    assert abs(chernoff_information(*pair) - exact) <= 1e-13 * exact


@pytest.mark.parametrize("ratio", [1e-12, 1e-100, 1e100])
def test_extreme_ratios_of_variance_have_their_best_order_near_an_end(ratio):
    pair = ([0.0], [[ratio]], [0.0], [[1.0]])
    exact = _exact(*pair)
    assert abs(chernoff_information(*pair) - exact) <= 1e-13 * exact


def test_bounds_and_symmetry_on_many_pairs():
    rng = np.random.default_rng(2)
    arrays = (
        rng.standard_normal((300, 3)),
        covariance(rng, 3, (300,)),
        rng.standard_normal((300, 3)),
        covariance(rng, 3, (300,)),
    )
    value = chernoff_information(*arrays)
    backward = chernoff_information(*arrays[2:], *arrays[:2])
    np.testing.assert_allclose(value, backward, rtol=1e-13)
    assert (value >= bhattacharyya_distance(*arrays)).all()
    assert (value <= np.minimum(gaussian_kl(*arrays), gaussian_kl(*arrays[2:], *arrays[:2]))).all()


def test_all_arguments_broadcast():
    rng = np.random.default_rng(0)
    arrays = (
        rng.standard_normal((5, 1, 1, 3)),
        covariance(rng, 3, (4, 1)),
        rng.standard_normal((2, 3)),
        covariance(rng, 3),
    )
    one = (arrays[0][3, 0, 0], arrays[1][2, 0], arrays[2][1], arrays[3])
    value = chernoff_information(*arrays)
    assert value.shape == (5, 4, 2)
    assert value[3, 2, 1] == pytest.approx(chernoff_information(*one), rel=1e-13)
    orders = np.array([0.2, 0.6])
    value = chernoff_coefficient(*arrays, order=orders)
    assert value[3, 2, 1] == pytest.approx(chernoff_coefficient(*one, order=0.6), rel=1e-13)
    gradients = chernoff_coefficient.vjp(np.ones(value.shape), *arrays, order=orders)
    assert [g.shape for g in gradients] == [a.shape for a in (*arrays, orders)]


# ----------------------------------------------------------------------- singular and refused input


@pytest.mark.parametrize("singular", [np.ones((2, 2)), np.zeros((2, 2))])
def test_a_singular_covariance_overlaps_with_nothing(singular):
    for pair in ((ZERO, singular, ZERO, IDENTITY), (ZERO, IDENTITY, ZERO, singular)):
        assert chernoff_coefficient(*pair, order=0.3) == 0.0
        assert chernoff_information(*pair) == np.inf
        with pytest.raises(np.linalg.LinAlgError, match="cov_[pq]: "):
            chernoff_information.vjp(1.0, *pair)
    with pytest.raises(np.linalg.LinAlgError, match="both are singular"):
        chernoff_information(ZERO, singular, ZERO, singular)


@pytest.mark.parametrize("order", [0.0, 1.0, -0.5, 1.5, np.nan])
def test_orders_that_are_not_between_zero_and_one_are_refused(order):
    with pytest.raises(ValueError, match="order: expected positive and below 1"):
        chernoff_coefficient(*G1, order=order)


@pytest.mark.parametrize("name", ["cov_p", "cov_q"])
def test_bad_covariances_are_refused_by_name(name):
    good = {"cov_p": IDENTITY, "cov_q": IDENTITY}
    for bad, error, message in (
        ([[1.0, 2.0], [2.0, 1.0]], np.linalg.LinAlgError, "smallest eigenvalue is -1"),
        ([[1.0, 1e-3], [0.0, 1.0]], ValueError, "expected a symmetric matrix"),
        ([[np.nan, 0.0], [0.0, 1.0]], ValueError, "expected finite numbers"),
    ):
        covariances = good | {name: bad}
        with pytest.raises(error, match=f"{name}: .*{message}"):
            chernoff_information(ZERO, covariances["cov_p"], ZERO, covariances["cov_q"])


# ---------------------------------------------------------------------------------------- gradients


def test_values_and_gradients_are_exact_at_equality():
    rng = np.random.default_rng(4)
    mean, cov = rng.standard_normal(4), covariance(rng, 4)
    same = (mean, cov, mean, cov)
    assert chernoff_coefficient(*same, order=0.3) == 1.0
    assert chernoff_information(*same) == 0.0
    for gradient in (
        *chernoff_information.vjp(1.0, *same),
        *chernoff_coefficient.vjp(1.0, *same, order=np.array(0.3)),
    ):
        np.testing.assert_array_equal(gradient, 0.0)


@pytest.mark.parametrize("difference", [1e-7, 1.0])
def test_gradients_are_those_at_the_best_order(difference):
    """At the maximum, of -log c_a with a held: found here by SciPy for the far pair."""
    pair = pair_that_differs(np.random.default_rng(5), 3, difference)
    order = 0.5
    if difference == 1.0:
        found = minimize_scalar(
            lambda a: float(chernoff_coefficient(*pair, order=a)), bounds=(0, 1), method="bounded"
        )
        order = found.x
    value = chernoff_coefficient(*pair, order=order)
    expected = chernoff_coefficient.vjp(-1 / value, *pair, order=float(order))
    for got, want in zip(chernoff_information.vjp(1.0, *pair), expected, strict=True):
        scale = np.abs(want).max()
        np.testing.assert_allclose(got, want, rtol=0, atol=(1e-5 if order != 0.5 else 1e-6) * scale)


def test_gradient_of_the_coefficient_in_the_order():
    pair = tuple(map(np.array, G2))
    h = 1e-6
    ahead, behind = (chernoff_coefficient(*pair, order=0.3 + s * h) for s in (1, -1))
    *_, gradient = chernoff_coefficient.vjp(1.0, *pair, order=np.array(0.3))
    assert gradient == pytest.approx((ahead - behind) / (2 * h), rel=1e-8)
