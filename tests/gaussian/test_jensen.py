"""Jensen-Shannon divergences: known values, conventions, accuracy, bounds against quadrature."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from refimpl.gaussian.chernoff import chernoff_coefficient
from refimpl.gaussian.divergence import gaussian_kl
from refimpl.gaussian.jensen import (
    dual_geometric_jensen_shannon,
    geometric_jensen_shannon,
    jensen_shannon_bounds,
)
from refimpl.gaussian.overlap import bhattacharyya_distance, hellinger_squared
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

BOTH = (geometric_jensen_shannon, dual_geometric_jensen_shannon)


def _exact(*arrays, weight):
    """The formula that Nielsen prints, at 60 digits, for the divergence and for its dual."""
    with mpmath.workdps(60):
        delta, cov_p, cov_q = exact_pair(*arrays)
        a = mpmath.mpf(float(weight))
        precision_p, precision_q = mpmath.inverse(cov_p), mpmath.inverse(cov_q)
        precision = (1 - a) * precision_p + a * precision_q
        cov = mpmath.inverse(precision)
        # mu_q is the origin.
        mean = cov * ((1 - a) * precision_p * delta)

        def kl(delta, cov, precision):
            ratio = precision * cov
            trace = mpmath.fsum(ratio[i, i] for i in range(len(delta)))
            mahalanobis = (delta.T * precision * delta)[0]
            return (mahalanobis + trace - len(delta) - mpmath.log(mpmath.det(ratio))) / 2

        forward = (1 - a) * kl(delta - mean, cov_p, precision) + a * kl(mean, cov_q, precision)
        dual = (1 - a) * kl(delta - mean, cov, precision_p) + a * kl(mean, cov, precision_q)
        return forward, dual


@pytest.mark.parametrize(
    ("pair", "half", "quarter", "dual_quarter"),
    [
        (G1, 0.42105148470432754, 0.31025955206386406, 0.23661544793613595),
        (G2, 1.0135716938137394, 0.81766419337071218, 0.422392624811106),
        (G3, 0.27592822434289512, 0.22981173340298208, 0.098313266597017923),
    ],
)
def test_known_values_to_17_digits(pair, half, quarter, dual_quarter):
    assert geometric_jensen_shannon(*pair, weight=0.5) == pytest.approx(half, rel=2e-15)
    assert geometric_jensen_shannon(*pair, weight=0.25) == pytest.approx(quarter, rel=2e-15)
    dual = dual_geometric_jensen_shannon(*pair, weight=0.25)
    assert dual == pytest.approx(dual_quarter, rel=2e-15)
    dual = dual_geometric_jensen_shannon(*pair, weight=0.5)
    assert dual == pytest.approx(bhattacharyya_distance(*pair), rel=2e-15)


def test_nielsens_convention_vanishes_at_its_ends():
    """With the weights of G exchanged the ends would be KL(p || q) and KL(q || p)."""
    for formula in BOTH:
        for weight in (1e-12, 1 - 1e-12):
            assert 0 < formula(*G1, weight=weight) < 1e-10


@pytest.mark.parametrize("d", [1, 3, 8])
@pytest.mark.parametrize("difference", [1e-2, 1e-8, 1e-12])
@pytest.mark.parametrize("weight", [0.01, 0.5, 0.9])
def test_near_equality_keeps_its_digits(d, difference, weight):
    pair = pair_that_differs(np.random.default_rng(d), d, difference)
    for formula, exact in zip(BOTH, _exact(*pair, weight=weight), strict=True):
        assert abs(formula(*pair, weight=weight) - exact) <= 1e-12 * exact


@pytest.mark.parametrize("condition", [1e4, 1e12])
def test_covariances_of_very_different_size_keep_their_digits(condition):
    pair = relative_condition(np.random.default_rng(1), 4, condition)
    for formula, exact in zip(BOTH, _exact(*pair, weight=0.25), strict=True):
        assert abs(formula(*pair, weight=0.25) - exact) <= 2e-14 * exact


def test_the_dual_is_what_no_other_middle_beats():
    """G minimises (1 - a) KL(. || p) + a KL(. || q): tried with its neighbours."""
    rng = np.random.default_rng(3)
    mean_p, cov_p, mean_q, cov_q = map(np.array, G1)
    precision = 0.75 * np.linalg.inv(cov_p) + 0.25 * np.linalg.inv(cov_q)
    cov = np.linalg.inv(precision)
    mean = cov @ (0.75 * np.linalg.inv(cov_p) @ mean_p + 0.25 * np.linalg.inv(cov_q) @ mean_q)

    def weighted(mean, cov):
        to_p, to_q = gaussian_kl(mean, cov, mean_p, cov_p), gaussian_kl(mean, cov, mean_q, cov_q)
        return 0.75 * to_p + 0.25 * to_q

    value = dual_geometric_jensen_shannon(*G1, weight=0.25)
    assert weighted(mean, cov) == pytest.approx(value, rel=1e-13)
    for _ in range(20):
        change = rng.standard_normal((2, 2)) / 10
        moved = (np.eye(2) + change) @ cov @ (np.eye(2) + change).T
        assert weighted(mean + rng.standard_normal(2) / 10, moved) > value


def test_all_arguments_broadcast():
    rng = np.random.default_rng(0)
    arrays = (
        rng.standard_normal((5, 1, 1, 3)),
        covariance(rng, 3, (4, 1)),
        rng.standard_normal((2, 3)),
        covariance(rng, 3),
    )
    weights = np.array([0.2, 0.6])
    one = (arrays[0][3, 0, 0], arrays[1][2, 0], arrays[2][1], arrays[3])
    for formula in BOTH:
        value = formula(*arrays, weight=weights)
        assert value.shape == (5, 4, 2)
        assert value[3, 2, 1] == pytest.approx(formula(*one, weight=0.6), rel=1e-13)
        gradients = formula.vjp(np.ones(value.shape), *arrays, weight=weights)
        assert [g.shape for g in gradients] == [a.shape for a in (*arrays, weights)]


# ------------------------------------------------------------------------------------------- bounds


def _jensen_shannon(mean_p, deviation_p, mean_q, deviation_q):
    """By quadrature, in one dimension."""
    p, q = norm(mean_p, deviation_p), norm(mean_q, deviation_q)
    ends = [
        m + s * 12 * d for m, d in ((mean_p, deviation_p), (mean_q, deviation_q)) for s in (-1, 1)
    ]

    def integrand(x):
        log_p, log_q = p.logpdf(x), q.logpdf(x)
        log_middle = np.logaddexp(log_p, log_q) - np.log(2)
        return 0.5 * (np.exp(log_p) * (log_p - log_middle) + np.exp(log_q) * (log_q - log_middle))

    found, _ = quad(
        integrand, min(ends), max(ends), points=(mean_p, mean_q), limit=400, epsabs=1e-13
    )
    return found


@pytest.mark.parametrize(
    "pair",
    [
        (0.0, 1.0, 1.0, 2.0),
        (0.0, 1.0, 0.1, 1.05),
        (0.0, 1.0, 0.0, 5.0),
        (0.0, 1.0, 3.0, 1.0),
        (0.0, 0.1, 2.0, 4.0),
        (0.0, 1.0, 9.0, 1.0),
    ],
)
def test_bounds_hold_for_the_divergence_by_quadrature(pair):
    mean_p, deviation_p, mean_q, deviation_q = pair
    value = _jensen_shannon(*pair)
    arrays = ([mean_p], [[deviation_p**2]], [mean_q], [[deviation_q**2]])
    lower, upper = jensen_shannon_bounds(*arrays)
    assert lower * (1 - 1e-9) <= value <= upper * (1 + 1e-9)
    hellinger = hellinger_squared(*arrays, normalisation="unit")
    assert hellinger / 2 <= lower and upper <= 2 * np.log(2) * hellinger
    # A weaker bound of the same quantity.
    jeffreys = gaussian_kl(*arrays) + gaussian_kl(*arrays[2:], *arrays[:2])
    assert upper <= jeffreys / 8 * (1 + 1e-12)


def test_near_equality_the_upper_bound_is_the_divergence():
    """Both are delta^2/(8 v) there."""
    lower, upper = jensen_shannon_bounds([1e-6], [[1.0]], [0.0], [[1.0]])
    assert upper == pytest.approx(1e-12 / 8, rel=1e-10)
    assert lower == pytest.approx(np.log(2) * 1e-12 / 8, rel=1e-10)


def test_the_ratio_of_the_integrands_falls_from_one_to_log_2():
    """The inequality that both bounds by the Hellinger square rest on, on a fine grid."""
    with mpmath.workdps(40):
        s = [mpmath.mpf(k) / 50 for k in range(1, 2001)]
        ratios = [
            (x * mpmath.tanh(x) - mpmath.log(mpmath.cosh(x))) / (1 - mpmath.sech(x)) for x in s
        ]
        assert all(a > b for a, b in zip(ratios, ratios[1:], strict=False))
        assert abs(ratios[0] - 1) < 1e-3 and abs(ratios[-1] - mpmath.log(2)) < 1e-14


def test_bounds_where_p_and_q_do_not_overlap():
    disjoint = jensen_shannon_bounds([1e3], [[1.0]], [0.0], [[1.0]])
    singular = jensen_shannon_bounds(ZERO, np.ones((2, 2)), ZERO, IDENTITY)
    for bounds in (disjoint, singular):
        assert bounds == (np.log(2), np.log(2))


# ----------------------------------------------------------------------- singular and refused input


@pytest.mark.parametrize("formula", BOTH, ids=lambda f: f.name)
def test_a_singular_covariance_is_infinitely_far(formula):
    for pair in ((np.ones((2, 2)), IDENTITY), (IDENTITY, np.zeros((2, 2)))):
        assert formula(ZERO, pair[0], ZERO, pair[1], weight=0.3) == np.inf
        with pytest.raises(np.linalg.LinAlgError, match="cov_[pq]: "):
            formula.vjp(1.0, ZERO, pair[0], ZERO, pair[1], weight=0.3)
    with pytest.raises(np.linalg.LinAlgError, match="both are singular"):
        formula(ZERO, np.ones((2, 2)), ZERO, np.ones((2, 2)), weight=0.3)


@pytest.mark.parametrize("weight", [0.0, 1.0, -0.5, 1.5, np.nan])
@pytest.mark.parametrize("formula", BOTH, ids=lambda f: f.name)
def test_weights_that_are_not_between_zero_and_one_are_refused(formula, weight):
    with pytest.raises(ValueError, match="weight: expected between 0 and 1"):
        formula(*G1, weight=weight)


@pytest.mark.parametrize("name", ["cov_p", "cov_q"])
def test_bad_covariances_are_refused_by_name(name):
    for bad, error, message in (
        ([[1.0, 2.0], [2.0, 1.0]], np.linalg.LinAlgError, "smallest eigenvalue is -1"),
        ([[1.0, 1e-3], [0.0, 1.0]], ValueError, "expected a symmetric matrix"),
        ([[np.nan, 0.0], [0.0, 1.0]], ValueError, "expected finite numbers"),
    ):
        covs = {"cov_p": IDENTITY, "cov_q": IDENTITY} | {name: bad}
        for formula in BOTH:
            with pytest.raises(error, match=f"{name}: .*{message}"):
                formula(ZERO, covs["cov_p"], ZERO, covs["cov_q"], weight=0.5)
        with pytest.raises(error, match=f"{name}: .*{message}"):
            jensen_shannon_bounds(ZERO, covs["cov_p"], ZERO, covs["cov_q"])


# ---------------------------------------------------------------------------------------- gradients


def test_values_and_gradients_are_exactly_zero_at_equality():
    rng = np.random.default_rng(4)
    mean, cov = rng.standard_normal(4), covariance(rng, 4)
    same = (mean, cov, mean, cov)
    for formula in BOTH:
        assert formula(*same, weight=0.3) == 0.0
        for gradient in formula.vjp(1.0, *same, weight=np.array(0.3)):
            np.testing.assert_array_equal(gradient, 0.0)
    assert jensen_shannon_bounds(*same) == (0.0, 0.0)
    for gradient in jensen_shannon_bounds.vjp((1.0, 1.0), *same):
        np.testing.assert_array_equal(gradient, 0.0)


def test_gradient_of_equal_weights_is_symmetric_in_the_arguments():
    forward = geometric_jensen_shannon.vjp(1.0, *G2, weight=np.array(0.5))
    backward = geometric_jensen_shannon.vjp(1.0, *G2[2:], *G2[:2], weight=np.array(0.5))
    for got, want in zip(forward, (*backward[2:4], *backward[:2], -backward[4]), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14)


def test_gradient_of_the_dual_is_that_of_chernoffs_exponent():
    value = chernoff_coefficient(*G2, order=0.7)
    expected = chernoff_coefficient.vjp(-1 / value, *G2, order=np.array(0.7))
    found = dual_geometric_jensen_shannon.vjp(1.0, *G2, weight=np.array(0.3))
    for got, want in zip(found, (*expected[:4], -expected[4]), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14)


def test_gradients_near_equality_keep_their_digits():
    """There GJS_a is a (1 - a) times KL, and so are its gradients."""
    pair = pair_that_differs(np.random.default_rng(7), 4, 1e-9)
    expected = gaussian_kl.vjp(0.3 * 0.7, *pair)
    found = geometric_jensen_shannon.vjp(1.0, *pair, weight=0.3)
    for got, want in zip(found, expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-7 * np.abs(want).max())
