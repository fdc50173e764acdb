"""Kullback-Leibler: known values, accuracy near equality, singular p, errors, gradients."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from refimpl.gaussian.divergence import gaussian_kl
from tests.gaussian.pairs import G1, G2, G3, IDENTITY, ZERO, covariance, pair_that_differs


def _exact(mean_p, cov_p, mean_q, cov_q):
    """The printed formula at 60 digits, on the very numbers that the library gets."""
    with mpmath.workdps(60):
        delta = mpmath.matrix(mean_p.tolist()) - mpmath.matrix(mean_q.tolist())
        precision = mpmath.inverse(mpmath.matrix(cov_q.tolist()))
        ratio = precision * mpmath.matrix(cov_p.tolist())
        trace = mpmath.fsum(ratio[i, i] for i in range(len(mean_p)))
        mahalanobis = (delta.T * precision * delta)[0]
        return (mahalanobis + trace - len(mean_p) - mpmath.log(mpmath.det(ratio))) / 2


@pytest.mark.parametrize(
    ("pair", "forward", "backward"),
    [
        (G1, 1.3938410362258905, 1.5228256304407762),
        (G2, 2.1304939052806507, 4.483142458355713),
        (G3, 0.44314718055994531, 1.3068528194400547),
    ],
)
@pytest.mark.parametrize("form", gaussian_kl.forms)
def test_known_values_to_17_digits(pair, forward, backward, form):
    p, q = pair[:2], pair[2:]
    assert gaussian_kl(*p, *q, form=form) == pytest.approx(forward, rel=2e-15)
    assert gaussian_kl(*q, *p, form=form) == pytest.approx(backward, rel=2e-15)


@pytest.mark.parametrize("d", [1, 3, 8])
@pytest.mark.parametrize("difference", [1e-2, 1e-4, 1e-8, 1e-12])
def test_near_equality_keeps_its_digits(d, difference):
    pair = pair_that_differs(np.random.default_rng(d), d, difference)
    exact = _exact(*pair)
    assert abs(gaussian_kl(*pair) - exact) <= 1e-12 * exact


def test_the_textbook_form_loses_no_more_than_its_terms_round():
    pair = pair_that_differs(np.random.default_rng(4), 8, 1e-8)
    exact = _exact(*pair)
    assert abs(gaussian_kl(*pair, form="textbook") - exact) <= 1e-12


@pytest.mark.parametrize("difference", np.linspace(0.05, 1.0, 12))
def test_the_two_ways_to_the_factor_agree_where_they_meet(difference):
    """The squared norm of E passes 1/4 in this range."""
    pair = pair_that_differs(np.random.default_rng(3), 3, difference)
    exact = _exact(*pair)
    assert abs(gaussian_kl(*pair) - exact) <= 2e-14 * exact


def test_a_batch_may_have_both_near_and_far_members():
    rng = np.random.default_rng(9)
    pairs = [pair_that_differs(rng, 3, difference) for difference in (1e-8, 2.0, 0.0, 1e-3, 50.0)]
    together = gaussian_kl(*(np.stack(arrays) for arrays in zip(*pairs, strict=True)))
    apart = [gaussian_kl(*pair) for pair in pairs]
    np.testing.assert_allclose(together, apart, rtol=1e-13)


@pytest.mark.parametrize("ratio", [1e-300, 1e-12, 1e12, 1e300])
def test_extreme_ratios_of_variance(ratio):
    expected = 0.5 * (ratio - 1 - np.log(ratio))
    assert gaussian_kl([0.0], [[ratio]], [0.0], [[1.0]]) == pytest.approx(expected, rel=1e-15)


def test_different_units_cost_no_digits():
    rng = np.random.default_rng(2)
    mean_p, cov_p, mean_q, cov_q = pair_that_differs(rng, 3, 1e-6)
    units = 2.0 ** np.array([-20, 0, 20])
    graded = (mean_p * units, cov_p * np.outer(units, units))
    graded += (mean_q * units, cov_q * np.outer(units, units))
    exact = _exact(*graded)
    assert abs(gaussian_kl(*graded) - exact) <= 1e-13 * exact


def test_agrees_with_a_monte_carlo_mean_of_scipys_log_ratio():
    rng = np.random.default_rng(5)
    mean_p, mean_q = rng.standard_normal(3), np.zeros(3)
    cov_p, cov_q = covariance(rng, 3), covariance(rng, 3)
    p, q = multivariate_normal(mean_p, cov_p), multivariate_normal(mean_q, cov_q)
    x = p.rvs(200_000, random_state=rng)
    log_ratio = p.logpdf(x) - q.logpdf(x)
    error = log_ratio.std() / np.sqrt(len(x))
    assert abs(gaussian_kl(mean_p, cov_p, mean_q, cov_q) - log_ratio.mean()) < 5 * error


def test_all_four_arguments_broadcast():
    rng = np.random.default_rng(0)
    arrays = (
        rng.standard_normal((5, 1, 1, 3)),
        covariance(rng, 3, (4, 1)),
        rng.standard_normal((2, 3)),
        covariance(rng, 3),
    )
    value = gaussian_kl(*arrays)
    assert value.shape == (5, 4, 2)
    one = (arrays[0][3, 0, 0], arrays[1][2, 0], arrays[2][1], arrays[3])
    assert value[3, 2, 1] == pytest.approx(gaussian_kl(*one), rel=1e-13)
    gradients = gaussian_kl.vjp(np.ones(value.shape), *arrays)
    assert [g.shape for g in gradients] == [a.shape for a in arrays]


# ----------------------------------------------------------------------- singular and refused input


@pytest.mark.parametrize("cov_p", [np.ones((2, 2)), np.diag([0.0, 1.0]), np.zeros((2, 2))])
@pytest.mark.parametrize("form", gaussian_kl.forms)
def test_a_singular_p_is_infinitely_far(cov_p, form):
    assert gaussian_kl(ZERO, cov_p, ZERO, IDENTITY, form=form) == np.inf
    with pytest.raises(np.linalg.LinAlgError, match="cov_p: "):
        gaussian_kl.vjp(1.0, ZERO, cov_p, ZERO, IDENTITY)


def test_a_singular_member_does_not_disturb_its_batch():
    batch = np.array([[IDENTITY, np.ones((2, 2))], [4 * IDENTITY, 0 * IDENTITY]])
    value = gaussian_kl(ZERO, batch, ZERO, IDENTITY)
    np.testing.assert_allclose(value, [[0.0, np.inf], [3 - np.log(4), np.inf]], rtol=1e-15)


@pytest.mark.parametrize("name", ["cov_p", "cov_q"])
def test_an_indefinite_covariance_is_refused_by_name(name):
    indefinite = [[1.0, 2.0], [2.0, 1.0]]
    covariances = {"cov_p": IDENTITY, "cov_q": IDENTITY} | {name: indefinite}
    with pytest.raises(np.linalg.LinAlgError, match=f"{name}: .*smallest eigenvalue is -1"):
        gaussian_kl(ZERO, covariances["cov_p"], ZERO, covariances["cov_q"])


def test_a_singular_q_is_refused():
    with pytest.raises(np.linalg.LinAlgError, match="cov_q: .*smallest eigenvalue"):
        gaussian_kl(ZERO, IDENTITY, ZERO, np.ones((2, 2)))


@pytest.mark.parametrize("place", range(4))
def test_what_is_not_finite_is_refused_by_name(place):
    arrays = [ZERO, IDENTITY, ZERO, IDENTITY]
    arrays[place] = np.where(arrays[place] == 0, np.nan, arrays[place])
    name = gaussian_kl.arguments[place].name
    with pytest.raises(ValueError, match=f"{name}: expected finite numbers"):
        gaussian_kl(*arrays)


@pytest.mark.parametrize("place", [1, 3])
def test_an_asymmetric_covariance_is_refused_by_name(place):
    arrays = [ZERO, IDENTITY, ZERO, IDENTITY]
    arrays[place] = np.array([[1.0, 1e-3], [0.0, 1.0]])
    name = gaussian_kl.arguments[place].name
    with pytest.raises(ValueError, match=f"{name}: expected a symmetric matrix.*0.001"):
        gaussian_kl(*arrays)


def test_no_dimension_is_refused():
    with pytest.raises(ValueError, match="cov_p: expected at least one dimension"):
        gaussian_kl([], np.zeros((0, 0)), [], np.zeros((0, 0)))


# ---------------------------------------------------------------------------------------- gradients


@pytest.mark.parametrize("d", [1, 4, 9])
def test_value_and_gradients_are_exactly_zero_at_equality(d):
    rng = np.random.default_rng(d)
    mean, cov = rng.standard_normal(d), covariance(rng, d)
    assert gaussian_kl(mean, cov, mean, cov) == 0.0
    for gradient in gaussian_kl.vjp(1.0, mean, cov, mean, cov):
        np.testing.assert_array_equal(gradient, 0.0)


def test_gradients_are_the_textbook_ones():
    rng = np.random.default_rng(6)
    mean_p, mean_q = rng.standard_normal(4), np.zeros(4)
    cov_p, cov_q = covariance(rng, 4), covariance(rng, 4)
    inverse_p, inverse_q = np.linalg.inv(cov_p), np.linalg.inv(cov_q)
    delta = mean_p - mean_q
    expected = (
        inverse_q @ delta,
        (inverse_q - inverse_p) / 2,
        -inverse_q @ delta,
        (inverse_q - inverse_q @ (cov_p + np.outer(delta, delta)) @ inverse_q) / 2,
    )
    for got, want in zip(gaussian_kl.vjp(1.0, mean_p, cov_p, mean_q, cov_q), expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-13)
        np.testing.assert_array_equal(got, got.T)


def test_gradients_near_equality_keep_their_digits():
    """There dcov_p = S^{-1} (S_p - S_q) S^{-1}/2 = -dcov_q up to the square of the difference."""
    mean_p, cov_p, mean_q, cov_q = pair_that_differs(np.random.default_rng(7), 4, 1e-9)
    inverse = np.linalg.inv(cov_q)
    expected = inverse @ (cov_p - cov_q) @ inverse / 2
    _, dcov_p, _, dcov_q = gaussian_kl.vjp(1.0, mean_p, cov_p, mean_q, cov_q)
    np.testing.assert_allclose(dcov_p, expected, rtol=0, atol=1e-7 * np.abs(expected).max())
    np.testing.assert_allclose(dcov_q, -expected, rtol=0, atol=1e-7 * np.abs(expected).max())


def test_is_half_the_fisher_information_near_equality():
    """KL(N(m, S) || N(m + e, S + E)) = e^T S^{-1} e/2 + tr(S^{-1} E S^{-1} E)/4 + third order."""
    mean_p, cov_p, mean_q, cov_q = pair_that_differs(np.random.default_rng(8), 5, 1e-6)
    inverse = np.linalg.inv(cov_q)
    shift, change = inverse @ (mean_p - mean_q), inverse @ (cov_p - cov_q)
    expected = (mean_p - mean_q) @ shift / 2 + np.trace(change @ change) / 4
    assert gaussian_kl(mean_p, cov_p, mean_q, cov_q) == pytest.approx(expected, rel=1e-5)
    assert gaussian_kl(mean_q, cov_q, mean_p, cov_p) == pytest.approx(expected, rel=1e-5)
