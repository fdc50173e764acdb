"""Bhattacharyya and Hellinger: known values, accuracy, singular covariances, gradients."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from refimpl.gaussian.overlap import (
    bhattacharyya_coefficient,
    bhattacharyya_distance,
    hellinger_squared,
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
    relative_condition,
)

ALL = (
    bhattacharyya_distance,
    bhattacharyya_coefficient,
    lambda *a: hellinger_squared(*a, normalisation="unit"),
)


def _exact(*arrays):
    """The printed formula of the distance at 60 digits, on the very numbers of the library."""
    with mpmath.workdps(60):
        delta, cov_p, cov_q = exact_pair(*arrays)
        middle = (cov_p + cov_q) / 2
        mahalanobis = (delta.T * mpmath.inverse(middle) * delta)[0]
        determinants = mpmath.sqrt(mpmath.det(cov_p) * mpmath.det(cov_q))
        return mahalanobis / 8 + mpmath.log(mpmath.det(middle) / determinants) / 2


@pytest.mark.parametrize(
    ("pair", "distance"),
    [(G1, 0.30811518196233912), (G2, 0.63983739709535151), (G3, 0.16157177565710488)],
)
def test_known_values_to_17_digits(pair, distance):
    for form in bhattacharyya_distance.forms:
        assert bhattacharyya_distance(*pair, form=form) == pytest.approx(distance, rel=2e-15)
    assert bhattacharyya_distance(*pair[2:], *pair[:2]) == pytest.approx(distance, rel=2e-15)
    assert bhattacharyya_coefficient(*pair) == pytest.approx(np.exp(-distance), rel=2e-15)
    unit = -np.expm1(-distance)
    assert hellinger_squared(*pair, normalisation="unit") == pytest.approx(unit, rel=2e-15)
    assert hellinger_squared(*pair, normalisation="double") == pytest.approx(2 * unit, rel=2e-15)


@pytest.mark.parametrize("d", [1, 3, 8])
@pytest.mark.parametrize("difference", [1e-2, 1e-4, 1e-8, 1e-12])
def test_near_equality_keeps_its_digits(d, difference):
    pair = pair_that_differs(np.random.default_rng(d), d, difference)
    exact = _exact(*pair)
    assert abs(bhattacharyya_distance(*pair) - exact) <= 1e-12 * exact
    square = -mpmath.expm1(-exact)
    assert abs(hellinger_squared(*pair, normalisation="unit") - square) <= 1e-12 * square


def test_the_textbook_forms_lose_no_more_than_their_terms_round():
    pair = pair_that_differs(np.random.default_rng(4), 8, 1e-8)
    exact = _exact(*pair)
    assert abs(bhattacharyya_distance(*pair, form="textbook") - exact) <= 1e-12
    square = hellinger_squared(*pair, normalisation="unit", form="textbook")
    assert abs(square - exact) <= 1e-12


@pytest.mark.parametrize("condition", [1e4, 1e12])
def test_covariances_of_very_different_size_keep_their_digits(condition):
    pair = relative_condition(np.random.default_rng(1), 4, condition)
    exact = _exact(*pair)
    assert abs(bhattacharyya_distance(*pair) - exact) <= 1e-14 * exact


def test_different_units_cost_no_digits():
    mean_p, cov_p, mean_q, cov_q = pair_that_differs(np.random.default_rng(2), 3, 1e-6)
    units = 2.0 ** np.array([-20, 0, 20])
    scale = np.outer(units, units)
    graded = (mean_p * units, cov_p * scale, mean_q * units, cov_q * scale)
    exact = _exact(*graded)
    assert abs(bhattacharyya_distance(*graded) - exact) <= 1e-13 * exact


@pytest.mark.parametrize("ratio", [1e-150, 1e-12, 1e12, 1e150])
def test_extreme_ratios_of_variance(ratio):
    expected = 0.5 * (np.log1p(ratio) - np.log(2) - np.log(ratio) / 2)
    value = bhattacharyya_distance([0.0], [[ratio]], [0.0], [[1.0]])
    assert value == pytest.approx(expected, rel=1e-15)


def test_agrees_with_quadrature():
    p, q = norm(0.3, 0.7), norm(-1.0, 2.0)
    integral, _ = quad(lambda x: np.sqrt(p.pdf(x) * q.pdf(x)), -np.inf, np.inf, epsabs=1e-13)
    arrays = ([0.3], [[0.49]], [-1.0], [[4.0]])
    assert bhattacharyya_coefficient(*arrays) == pytest.approx(integral, rel=1e-10)


def test_agrees_with_a_monte_carlo_mean_of_scipys_densities():
    from scipy.stats import multivariate_normal

    rng = np.random.default_rng(5)
    arrays = (rng.standard_normal(3), covariance(rng, 3), np.zeros(3), covariance(rng, 3))
    p, q = multivariate_normal(*arrays[:2]), multivariate_normal(*arrays[2:])
    x = p.rvs(200_000, random_state=rng)
    ratio = np.exp((q.logpdf(x) - p.logpdf(x)) / 2)
    error = ratio.std() / np.sqrt(len(x))
    assert abs(bhattacharyya_coefficient(*arrays) - ratio.mean()) < 5 * error


def test_all_four_arguments_broadcast():
    rng = np.random.default_rng(0)
    arrays = (
        rng.standard_normal((5, 1, 1, 3)),
        covariance(rng, 3, (4, 1)),
        rng.standard_normal((2, 3)),
        covariance(rng, 3),
    )
    for formula in ALL:
        value = formula(*arrays)
        assert value.shape == (5, 4, 2)
        one = (arrays[0][3, 0, 0], arrays[1][2, 0], arrays[2][1], arrays[3])
        assert value[3, 2, 1] == pytest.approx(formula(*one), rel=1e-13)
    gradients = bhattacharyya_distance.vjp(np.ones((5, 4, 2)), *arrays)
    assert [g.shape for g in gradients] == [a.shape for a in arrays]


# ----------------------------------------------------------------------- singular and refused input


@pytest.mark.parametrize("singular", [np.ones((2, 2)), np.diag([0.0, 1.0]), np.zeros((2, 2))])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_singular_covariance_overlaps_with_nothing(singular, is_first):
    pair = (ZERO, singular, ZERO, IDENTITY) if is_first else (ZERO, IDENTITY, ZERO, singular)
    for form in bhattacharyya_distance.forms:
        assert bhattacharyya_distance(*pair, form=form) == np.inf
    assert bhattacharyya_coefficient(*pair) == 0.0
    assert hellinger_squared(*pair, normalisation="unit") == 1.0
    assert hellinger_squared(*pair, normalisation="double") == 2.0
    name = "cov_p" if is_first else "cov_q"
    with pytest.raises(np.linalg.LinAlgError, match=f"{name}: .*smallest eigenvalue"):
        bhattacharyya_distance.vjp(1.0, *pair)


def test_a_singular_member_does_not_disturb_its_batch():
    batch = np.array([[IDENTITY, np.ones((2, 2))], [4 * IDENTITY, 0 * IDENTITY]])
    value = bhattacharyya_distance(ZERO, batch, ZERO, IDENTITY)
    np.testing.assert_allclose(value, [[0.0, np.inf], [np.log(1.25), np.inf]], rtol=1e-14)


def test_two_singular_covariances_have_no_common_measure():
    for formula in ALL:
        with pytest.raises(np.linalg.LinAlgError, match="cov_p, cov_q: both are singular"):
            formula(ZERO, np.diag([1.0, 0.0]), ZERO, np.diag([0.0, 1.0]))


@pytest.mark.parametrize("name", ["cov_p", "cov_q"])
def test_an_indefinite_covariance_is_refused_by_name(name):
    indefinite = [[1.0, 2.0], [2.0, 1.0]]
    covariances = {"cov_p": IDENTITY, "cov_q": IDENTITY} | {name: indefinite}
    for formula in ALL:
        with pytest.raises(np.linalg.LinAlgError, match=f"{name}: .*smallest eigenvalue is -1"):
            formula(ZERO, covariances["cov_p"], ZERO, covariances["cov_q"])


@pytest.mark.parametrize("place", range(4))
def test_what_is_not_finite_is_refused_by_name(place):
    arrays = [ZERO, IDENTITY, ZERO, IDENTITY]
    arrays[place] = np.where(arrays[place] == 0, np.nan, arrays[place])
    name = bhattacharyya_distance.arguments[place].name
    for formula in ALL:
        with pytest.raises(ValueError, match=f"{name}: expected finite numbers"):
            formula(*arrays)


def test_asymmetric_and_empty_covariances_are_refused():
    with pytest.raises(ValueError, match="cov_q: expected a symmetric matrix"):
        bhattacharyya_distance(ZERO, IDENTITY, ZERO, [[1.0, 1e-3], [0.0, 1.0]])
    with pytest.raises(ValueError, match="cov_p: expected at least one dimension"):
        bhattacharyya_distance([], np.zeros((0, 0)), [], np.zeros((0, 0)))


def test_the_normalisation_must_be_named():
    with pytest.raises(TypeError, match="needs .*normalisation"):
        hellinger_squared(*G1)
    with pytest.raises(ValueError, match="normalisation: expected 'unit' or 'double'"):
        hellinger_squared(*G1, normalisation="half")


# ---------------------------------------------------------------------------------------- gradients


@pytest.mark.parametrize("d", [1, 4, 9])
def test_values_and_gradients_are_exact_at_equality(d):
    rng = np.random.default_rng(d)
    mean, cov = rng.standard_normal(d), covariance(rng, d)
    same = (mean, cov, mean, cov)
    assert bhattacharyya_distance(*same) == 0.0
    assert bhattacharyya_coefficient(*same) == 1.0
    assert hellinger_squared(*same, normalisation="double") == 0.0
    for gradient in (
        *bhattacharyya_distance.vjp(1.0, *same),
        *hellinger_squared.vjp(1.0, *same, normalisation="unit"),
    ):
        np.testing.assert_array_equal(gradient, 0.0)


def test_gradients_are_the_textbook_ones():
    rng = np.random.default_rng(6)
    mean_p, mean_q = rng.standard_normal(4), np.zeros(4)
    cov_p, cov_q = covariance(rng, 4), covariance(rng, 4)
    inverse = np.linalg.inv((cov_p + cov_q) / 2)
    u = inverse @ (mean_p - mean_q)
    outer = np.outer(u, u) / 16
    expected = (
        u / 4,
        (inverse - np.linalg.inv(cov_p)) / 4 - outer,
        -u / 4,
        (inverse - np.linalg.inv(cov_q)) / 4 - outer,
    )
    arrays = (mean_p, cov_p, mean_q, cov_q)
    overlap = bhattacharyya_coefficient(*arrays)
    of_distance = bhattacharyya_distance.vjp(1.0, *arrays)
    of_square = hellinger_squared.vjp(1.0, *arrays, normalisation="double")
    for got, square, want in zip(of_distance, of_square, expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(square, 2 * overlap * want, rtol=1e-11, atol=1e-13)
        np.testing.assert_array_equal(got, got.T)


def test_is_an_eighth_of_the_fisher_information_near_equality():
    """BD(N(m, S), N(m + e, S + E)) = e^T S^{-1} e/8 + tr(S^{-1} E S^{-1} E)/16 + third order."""
    mean_p, cov_p, mean_q, cov_q = pair_that_differs(np.random.default_rng(8), 5, 1e-6)
    inverse = np.linalg.inv(cov_q)
    change = inverse @ (cov_p - cov_q)
    expected = (mean_p - mean_q) @ inverse @ (mean_p - mean_q) / 8 + np.trace(change @ change) / 16
    assert bhattacharyya_distance(mean_p, cov_p, mean_q, cov_q) == pytest.approx(expected, rel=1e-5)
