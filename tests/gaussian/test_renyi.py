"""Renyi and chi-squared: known values, limits, accuracy, where they are infinite, gradients."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from refimpl.gaussian.divergence import gaussian_kl
from refimpl.gaussian.overlap import bhattacharyya_distance
from refimpl.gaussian.renyi import chi_squared_divergence, renyi_divergence
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


def _exact(*arrays, order):
    """The printed formula at 60 digits, on the very numbers that the library gets."""
    with mpmath.workdps(60):
        delta, cov_p, cov_q = exact_pair(*arrays)
        a = mpmath.mpf(float(order))
        mixed = a * cov_q + (1 - a) * cov_p
        mahalanobis = (delta.T * mpmath.inverse(mixed) * delta)[0]
        of_mixed, of_p, of_q = (mpmath.log(mpmath.det(x)) for x in (mixed, cov_p, cov_q))
        log_ratio = of_mixed - (1 - a) * of_p - a * of_q
        return a / 2 * mahalanobis - log_ratio / (2 * (a - 1))


@pytest.mark.parametrize(
    ("pair", "order", "value"),
    [
        (G1, 0.3, 0.38313876514479767),
        (G2, 0.3, 0.89822764551196846),
        (G3, 0.3, 0.24035135258992948),
        (G1, 0.7, 0.87411542932566684),
        (G2, 0.7, 1.6088870732481987),
        (G3, 0.7, 0.38122999031841349),
    ],
)
@pytest.mark.parametrize("form", renyi_divergence.forms)
def test_known_values_to_17_digits(pair, order, value, form):
    assert renyi_divergence(*pair, order=order, form=form) == pytest.approx(value, rel=2e-15)


@pytest.mark.parametrize("d", [1, 3, 8])
@pytest.mark.parametrize("difference", [1e-2, 1e-8, 1e-12])
@pytest.mark.parametrize("order", [0.01, 0.5, 0.999, 1.5, 2.0, 4.0])
def test_near_equality_keeps_its_digits(d, difference, order):
    pair = pair_that_differs(np.random.default_rng(d), d, difference)
    exact = _exact(*pair, order=order)
    assert abs(renyi_divergence(*pair, order=order) - exact) <= 1e-12 * exact
    if order == 2.0:
        square = mpmath.expm1(exact)
        assert abs(chi_squared_divergence(*pair) - square) <= 1e-12 * square


@pytest.mark.parametrize("order", [1 - 1e-6, 1 + 1e-6, 1 - 1e-12, 1 + 1e-15])
def test_orders_near_one_keep_their_digits(order):
    pair = pair_that_differs(np.random.default_rng(3), 3, 0.5)
    exact = _exact(*pair, order=order)
    assert abs(renyi_divergence(*pair, order=order) - exact) <= 2e-14 * exact


def test_the_textbook_form_loses_no_more_than_its_terms_round():
    near = pair_that_differs(np.random.default_rng(4), 8, 1e-8)
    exact = _exact(*near, order=0.7)
    assert abs(renyi_divergence(*near, order=0.7, form="textbook") - exact) <= 1e-12


def test_order_one_is_kullback_leibler():
    for pair in (G1, G2, G3):
        divergence = gaussian_kl(*pair)
        assert renyi_divergence(*pair, order=1.0) == pytest.approx(divergence, rel=1e-15)
        assert renyi_divergence(*pair, order=1) == pytest.approx(divergence, rel=1e-15)


@pytest.mark.parametrize("condition", [1e4, 1e12])
@pytest.mark.parametrize("order", [0.1, 0.9])
def test_covariances_of_very_different_size_keep_their_digits(condition, order):
    pair = relative_condition(np.random.default_rng(1), 4, condition)
    exact = _exact(*pair, order=order)
    assert abs(renyi_divergence(*pair, order=order) - exact) <= 2e-14 * exact


@pytest.mark.parametrize("order", [0.4, 1.5, 3.0])
def test_agrees_with_quadrature(order):
    p, q = norm(0.3, 0.7), norm(-0.5, 1.1)
    integral, _ = quad(
        lambda x: np.exp(order * p.logpdf(x) + (1 - order) * q.logpdf(x)), -40, 40, points=(0, 1)
    )
    arrays = ([0.3], [[0.49]], [-0.5], [[1.21]])
    value = renyi_divergence(*arrays, order=order)
    assert value == pytest.approx(np.log(integral) / (order - 1), rel=1e-8)
    if order == 3.0:
        integral, _ = quad(lambda x: (p.pdf(x) - q.pdf(x)) ** 2 / q.pdf(x), -20, 20, points=(0, 1))
        assert chi_squared_divergence(*arrays) == pytest.approx(integral, rel=1e-8)


def test_never_decreases_in_the_order():
    rng = np.random.default_rng(7)
    arrays = (rng.standard_normal(4), covariance(rng, 4), np.zeros(4), covariance(rng, 4))
    orders = np.concatenate([np.geomspace(1e-6, 1, 40), 1 + np.geomspace(1e-9, 4, 40)])
    value = renyi_divergence(*arrays, order=orders)
    assert (value[1:] >= value[:-1] * (1 - 1e-13)).all()
    assert value[0] < 1e-4 and np.isinf(value[-1])


def test_vanishes_with_the_order():
    for order in (1e-8, 1e-12):
        slope = gaussian_kl(*G1[2:], *G1[:2])
        assert renyi_divergence(*G1, order=order) == pytest.approx(order * slope, rel=1e-7)


# ------------------------------------------------------------------------- infinite and refused


@pytest.mark.parametrize(("order", "is_finite"), [(1.3, True), (1.33, True), (1.34, False)])
def test_p_may_be_wider_only_up_to_the_order(order, is_finite):
    """S_p = 4 S_q: finite where 4 < a/(a - 1), which is a < 4/3."""
    value = renyi_divergence([0.0, 1.0], 4 * IDENTITY, ZERO, IDENTITY, order=order)
    assert np.isfinite(value) == is_finite
    assert value > 0


def test_chi_squared_is_infinite_from_twice_the_variance_on():
    assert chi_squared_divergence([0.0], [[2.0]], [0.0], [[1.0]]) == np.inf
    value = chi_squared_divergence([0.0], [[1.5]], [0.0], [[1.0]])
    assert value == pytest.approx(1 / np.sqrt(0.75) - 1, rel=1e-15)
    assert chi_squared_divergence([40.0], [[1.0]], [0.0], [[1.0]]) == np.inf


@pytest.mark.parametrize("order", [0.5, 1.0, 2.0])
def test_a_singular_covariance_is_infinitely_far(order):
    for pair in ((np.ones((2, 2)), IDENTITY), (IDENTITY, np.diag([1.0, 0.0]))):
        assert renyi_divergence(ZERO, pair[0], ZERO, pair[1], order=order) == np.inf
        with pytest.raises(np.linalg.LinAlgError, match="cov_[pq]: "):
            renyi_divergence.vjp(1.0, ZERO, pair[0], ZERO, pair[1], order=order)
    with pytest.raises(np.linalg.LinAlgError, match="both are singular"):
        renyi_divergence(ZERO, np.ones((2, 2)), ZERO, np.ones((2, 2)), order=order)


def test_members_of_a_batch_do_not_disturb_each_other():
    orders = np.array([0.5, 1.0, 1.2, 2.0])
    covs = np.array([IDENTITY, 4 * IDENTITY, 0 * IDENTITY])[:, None]
    value = renyi_divergence(ZERO, covs, ZERO, IDENTITY, order=orders)
    assert value.shape == (3, 4)
    for i, j in np.ndindex(3, 4):
        one = renyi_divergence(ZERO, covs[i, 0], ZERO, IDENTITY, order=orders[j])
        assert value[i, j] == pytest.approx(one, rel=1e-14)
    np.testing.assert_array_equal(value[0], 0.0)
    np.testing.assert_array_equal(np.isinf(value[1]), [False, False, False, True])
    assert np.isinf(value[2]).all()


def test_gradients_are_refused_where_the_value_is_infinite():
    message = r"order cov_q \+ \(1 - order\) cov_p: .*smallest eigenvalue is -2"
    with pytest.raises(np.linalg.LinAlgError, match=message):
        renyi_divergence.vjp(1.0, ZERO, 4 * IDENTITY, ZERO, IDENTITY, order=2.0)
    with pytest.raises(np.linalg.LinAlgError, match=message):
        chi_squared_divergence.vjp(1.0, ZERO, 4 * IDENTITY, ZERO, IDENTITY)


@pytest.mark.parametrize("order", [0.0, -0.5, np.nan, np.inf])
def test_orders_that_are_not_positive_and_finite_are_refused(order):
    with pytest.raises(ValueError, match="order: expected positive and finite"):
        renyi_divergence(*G1, order=order)


def test_the_order_has_no_default():
    with pytest.raises(TypeError, match="order"):
        renyi_divergence(*G1)


@pytest.mark.parametrize("place", range(4))
def test_what_is_not_finite_is_refused_by_name(place):
    arrays = [ZERO, IDENTITY, ZERO, IDENTITY]
    arrays[place] = np.where(arrays[place] == 0, np.nan, arrays[place])
    name = renyi_divergence.arguments[place].name
    with pytest.raises(ValueError, match=f"{name}: expected finite numbers"):
        renyi_divergence(*arrays, order=0.5)
    with pytest.raises(ValueError, match=f"{name}: expected finite numbers"):
        chi_squared_divergence(*arrays)


@pytest.mark.parametrize("place", [1, 3])
def test_indefinite_and_asymmetric_covariances_are_refused_by_name(place):
    name = renyi_divergence.arguments[place].name
    arrays = [ZERO, IDENTITY, ZERO, IDENTITY]
    arrays[place] = np.array([[1.0, 2.0], [2.0, 1.0]])
    with pytest.raises(np.linalg.LinAlgError, match=f"{name}: .*smallest eigenvalue is -1"):
        renyi_divergence(*arrays, order=0.5)
    arrays[place] = np.array([[1.0, 1e-3], [0.0, 1.0]])
    with pytest.raises(ValueError, match=f"{name}: expected a symmetric matrix"):
        chi_squared_divergence(*arrays)


# ---------------------------------------------------------------------------------------- gradients


@pytest.mark.parametrize("order", [0.3, 1.0, 2.0])
def test_values_and_gradients_are_exactly_zero_at_equality(order):
    rng = np.random.default_rng(4)
    mean, cov = rng.standard_normal(4), covariance(rng, 4)
    same = (mean, cov, mean, cov)
    assert renyi_divergence(*same, order=order) == 0.0
    assert chi_squared_divergence(*same) == 0.0
    for gradient in renyi_divergence.vjp(1.0, *same, order=np.array(order)):
        np.testing.assert_array_equal(gradient, 0.0)


@pytest.mark.parametrize("order", [0.3, 1.25])
def test_gradients_are_the_textbook_ones(order):
    rng = np.random.default_rng(6)
    mean_p, mean_q, cov_p = rng.standard_normal(4), np.zeros(4), covariance(rng, 4)
    cov_q = cov_p + covariance(rng, 4) / 4
    inverse = np.linalg.inv(order * cov_q + (1 - order) * cov_p)
    v = inverse @ (mean_p - mean_q)
    outer = np.outer(v, v)
    expected = (
        order * v,
        order * (order - 1) / 2 * outer + (inverse - np.linalg.inv(cov_p)) / 2,
        -order * v,
        -(order**2) / 2 * outer - order / (2 * (order - 1)) * (inverse - np.linalg.inv(cov_q)),
    )
    arrays = (mean_p, cov_p, mean_q, cov_q)
    got = renyi_divergence.vjp(1.0, *arrays, order=order)
    for found, want in zip(got, expected, strict=True):
        np.testing.assert_allclose(found, want, rtol=1e-11, atol=1e-12)
        np.testing.assert_array_equal(found, found.T)


def test_gradient_at_order_one_is_that_of_kullback_leibler():
    rng = np.random.default_rng(9)
    arrays = (rng.standard_normal(3), covariance(rng, 3), np.zeros(3), covariance(rng, 3))
    found = renyi_divergence.vjp(1.0, *arrays, order=1.0)
    for got, want in zip(found, gaussian_kl.vjp(1.0, *arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("order", [0.4, 1.0, 1.0 + 1e-7, 1.1])
def test_gradient_in_the_order(order):
    """Against a difference of the printed formula; at order 1 half the variance of log(p/q)."""
    pair = pair_that_differs(np.random.default_rng(3), 3, 0.3)
    with mpmath.workdps(60):
        h = 1e-9
        ahead, behind = (_exact(*pair, order=order + s * h) for s in (1, -1))
        expected = float((ahead - behind) / ((order + h) - (order - h)))
    *_, gradient = renyi_divergence.vjp(1.0, *pair, order=np.array(order))
    assert gradient == pytest.approx(expected, rel=1e-6)


def test_half_order_has_the_gradients_of_twice_bhattacharyya():
    found = renyi_divergence.vjp(1.0, *G2, order=0.5)
    for got, want in zip(found, bhattacharyya_distance.vjp(2.0, *G2), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-15)
