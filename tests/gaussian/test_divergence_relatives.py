"""Jeffreys divergence and cross-entropy: known values, accuracy, singular arguments, gradients."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from refimpl.gaussian.density import gaussian_entropy, gaussian_log_density
from refimpl.gaussian.divergence import (
    gaussian_cross_entropy,
    gaussian_kl,
    jeffreys_divergence,
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

BOTH = (jeffreys_divergence, gaussian_cross_entropy)


def _exact(*arrays):
    """The printed formula of Jeffreys' divergence at 60 digits."""
    with mpmath.workdps(60):
        delta, cov_p, cov_q = exact_pair(*arrays)
        inverse_p, inverse_q = mpmath.inverse(cov_p), mpmath.inverse(cov_q)
        mahalanobis = (delta.T * (inverse_p + inverse_q) * delta)[0]
        product = inverse_q * cov_p + inverse_p * cov_q
        d = len(delta)
        return (mahalanobis + mpmath.fsum(product[i, i] for i in range(d)) - 2 * d) / 2


@pytest.mark.parametrize(
    ("pair", "forward", "backward"),
    [
        (G1, 1.3938410362258905, 1.5228256304407762),
        (G2, 2.1304939052806507, 4.483142458355713),
        (G3, 0.44314718055994531, 1.3068528194400547),
    ],
)
def test_known_values(pair, forward, backward):
    assert jeffreys_divergence(*pair) == pytest.approx(forward + backward, rel=2e-15)
    assert jeffreys_divergence(*pair[2:], *pair[:2]) == pytest.approx(forward + backward, rel=2e-15)


@pytest.mark.parametrize(
    ("pair", "divergence", "entropy"),
    [
        (G1, 1.3938410362258905, 3.3871832107434003),
        (G2, 2.1304939052806507, 4.0694688748933129),
        (G3, 0.44314718055994531, 1.4189385332046727),
    ],
)
def test_known_cross_entropies(pair, divergence, entropy):
    assert gaussian_cross_entropy(*pair) == pytest.approx(divergence + entropy, rel=1e-15)


@pytest.mark.parametrize("d", [1, 3, 8])
@pytest.mark.parametrize("difference", [1e-2, 1e-8, 1e-12])
def test_near_equality_keeps_its_digits(d, difference):
    pair = pair_that_differs(np.random.default_rng(d), d, difference)
    exact = _exact(*pair)
    assert abs(jeffreys_divergence(*pair) - exact) <= 1e-12 * exact


def test_the_sum_of_textbook_divergences_loses_no_more_than_their_terms_round():
    pair = pair_that_differs(np.random.default_rng(4), 8, 1e-8)
    exact = _exact(*pair)
    total = gaussian_kl(*pair, form="textbook") + gaussian_kl(*pair[2:], *pair[:2], form="textbook")
    assert abs(total - exact) <= 1e-12


@pytest.mark.parametrize("condition", [1e4, 1e12])
def test_covariances_of_very_different_size_keep_their_digits(condition):
    pair = relative_condition(np.random.default_rng(1), 4, condition)
    exact = _exact(*pair)
    assert abs(jeffreys_divergence(*pair) - exact) <= 1e-14 * exact


def test_agrees_with_a_monte_carlo_mean_of_scipys_log_density():
    rng = np.random.default_rng(5)
    arrays = (rng.standard_normal(3), covariance(rng, 3), np.zeros(3), covariance(rng, 3))
    p, q = multivariate_normal(*arrays[:2]), multivariate_normal(*arrays[2:])
    x = p.rvs(200_000, random_state=rng)
    minus_log_q = -q.logpdf(x)
    error = minus_log_q.std() / np.sqrt(len(x))
    assert abs(gaussian_cross_entropy(*arrays) - minus_log_q.mean()) < 5 * error


def test_cross_entropy_at_equality_and_of_a_point():
    rng = np.random.default_rng(6)
    mean, cov, x = rng.standard_normal(4), covariance(rng, 4), rng.standard_normal(4)
    entropy = gaussian_entropy(cov)
    assert gaussian_cross_entropy(mean, cov, mean, cov) == pytest.approx(entropy, rel=1e-14)
    of_point = gaussian_cross_entropy(x, np.zeros((4, 4)), mean, cov)
    assert of_point == pytest.approx(-gaussian_log_density(x, mean, cov), rel=1e-15)


def test_all_four_arguments_broadcast():
    rng = np.random.default_rng(0)
    arrays = (
        rng.standard_normal((5, 1, 1, 3)),
        covariance(rng, 3, (4, 1)),
        rng.standard_normal((2, 3)),
        covariance(rng, 3),
    )
    one = (arrays[0][3, 0, 0], arrays[1][2, 0], arrays[2][1], arrays[3])
    for formula in BOTH:
        value = formula(*arrays)
        assert value.shape == (5, 4, 2)
        assert value[3, 2, 1] == pytest.approx(formula(*one), rel=1e-13)
        gradients = formula.vjp(np.ones(value.shape), *arrays)
        assert [g.shape for g in gradients] == [a.shape for a in arrays]


# ----------------------------------------------------------------------- singular and refused input


@pytest.mark.parametrize("singular", [np.ones((2, 2)), np.diag([0.0, 1.0]), np.zeros((2, 2))])
def test_a_singular_covariance_is_infinitely_far(singular):
    for pair in ((ZERO, singular, ZERO, IDENTITY), (ZERO, IDENTITY, ZERO, singular)):
        assert jeffreys_divergence(*pair) == np.inf
        with pytest.raises(np.linalg.LinAlgError, match="cov_[pq]: "):
            jeffreys_divergence.vjp(1.0, *pair)
    with pytest.raises(np.linalg.LinAlgError, match="both are singular"):
        jeffreys_divergence(ZERO, singular, ZERO, singular)


def test_cross_entropy_takes_a_singular_p_and_refuses_a_singular_q():
    value = gaussian_cross_entropy(ZERO, np.ones((2, 2)), ZERO, IDENTITY)
    assert value == pytest.approx(np.log(2 * np.pi) + 1, rel=1e-15)
    gradients = gaussian_cross_entropy.vjp(1.0, ZERO, np.ones((2, 2)), ZERO, IDENTITY)
    np.testing.assert_array_equal(gradients[1], IDENTITY / 2)
    np.testing.assert_array_equal(gradients[3], [[0.0, -0.5], [-0.5, 0.0]])
    with pytest.raises(np.linalg.LinAlgError, match="cov_q: .*smallest eigenvalue"):
        gaussian_cross_entropy(ZERO, IDENTITY, ZERO, np.ones((2, 2)))


@pytest.mark.parametrize("name", ["cov_p", "cov_q"])
@pytest.mark.parametrize("formula", BOTH, ids=lambda f: f.name)
def test_bad_covariances_are_refused_by_name(formula, name):
    good = {"cov_p": IDENTITY, "cov_q": IDENTITY}
    for bad, error, message in (
        ([[1.0, 2.0], [2.0, 1.0]], np.linalg.LinAlgError, "smallest eigenvalue is -1"),
        ([[1.0, 1e-3], [0.0, 1.0]], ValueError, "expected a symmetric matrix"),
        ([[np.nan, 0.0], [0.0, 1.0]], ValueError, "expected finite numbers"),
    ):
        covariances = good | {name: bad}
        with pytest.raises(error, match=f"{name}: .*{message}"):
            formula(ZERO, covariances["cov_p"], ZERO, covariances["cov_q"])
    with pytest.raises(ValueError, match="mean_q: expected finite numbers"):
        formula(ZERO, IDENTITY, [np.inf, 0.0], IDENTITY)
    with pytest.raises(ValueError, match="cov_p: expected at least one dimension"):
        formula([], np.zeros((0, 0)), [], np.zeros((0, 0)))


# ---------------------------------------------------------------------------------------- gradients


def test_value_and_gradients_are_exactly_zero_at_equality():
    rng = np.random.default_rng(4)
    mean, cov = rng.standard_normal(4), covariance(rng, 4)
    assert jeffreys_divergence(mean, cov, mean, cov) == 0.0
    for gradient in jeffreys_divergence.vjp(1.0, mean, cov, mean, cov):
        np.testing.assert_array_equal(gradient, 0.0)


def test_gradients_are_the_textbook_ones():
    rng = np.random.default_rng(6)
    mean_p, mean_q = rng.standard_normal(4), np.zeros(4)
    cov_p, cov_q = covariance(rng, 4), covariance(rng, 4)
    inverse_p, inverse_q = np.linalg.inv(cov_p), np.linalg.inv(cov_q)
    delta = mean_p - mean_q
    outer = np.outer(delta, delta)
    of_jeffreys = (
        (inverse_p + inverse_q) @ delta,
        (inverse_q - inverse_p @ (cov_q + outer) @ inverse_p) / 2,
        -(inverse_p + inverse_q) @ delta,
        (inverse_p - inverse_q @ (cov_p + outer) @ inverse_q) / 2,
    )
    of_cross_entropy = (
        inverse_q @ delta,
        inverse_q / 2,
        -inverse_q @ delta,
        (inverse_q - inverse_q @ (cov_p + outer) @ inverse_q) / 2,
    )
    for formula, expected in zip(BOTH, (of_jeffreys, of_cross_entropy), strict=True):
        found = formula.vjp(1.0, mean_p, cov_p, mean_q, cov_q)
        for got, want in zip(found, expected, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-13)
            np.testing.assert_array_equal(got, got.T)
