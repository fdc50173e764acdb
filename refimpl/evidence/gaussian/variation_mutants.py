"""Wrong variants of the total variation between Gaussians."""

from __future__ import annotations

import math

from refimpl.backend import erf, namespace, solve
from refimpl.evidence.gaussian.shared import off_diagonal_doubled
from refimpl.evidence.gaussian.variation import same_covariance, univariate
from refimpl.evidence.mistakes import wrong, wrong_gradients
from refimpl.gaussian.variation import (
    total_variation_same_covariance,
    total_variation_univariate,
)


def _squares(mean_p, mean_q, cov):
    delta = (mean_p - mean_q)[..., None]
    return (delta * solve(cov, delta)).sum(axis=(-2, -1))


@same_covariance.mutant
def root_of_two_missing(mean_p, mean_q, cov, /):
    """erf(r/2) in place of erf(r/(2 sqrt 2))"""
    return erf(namespace(mean_p).sqrt(_squares(mean_p, mean_q, cov)) / 2)


@same_covariance.mutant
def half_missing(mean_p, mean_q, cov, /):
    """erf(r/sqrt 2) in place of erf(r/(2 sqrt 2))"""
    return erf(namespace(mean_p).sqrt(_squares(mean_p, mean_q, cov) / 2))


@same_covariance.mutant
def distance_squared(mean_p, mean_q, cov, /):
    """the Mahalanobis distance is not rooted"""
    return erf(_squares(mean_p, mean_q, cov) / math.sqrt(8))


wrong(same_covariance, "Phi(r/2) in place of 2 Phi(r/2) - 1", output=lambda y: (1 + y) / 2)


wrong(
    same_covariance,
    "the covariance is taken for a standard deviation: it is squared",
    arrays={"cov": lambda x: x @ x},
    source="https://github.com/tensorflow/tensorflow/issues/20261",
)


@same_covariance.mutant
def not_whitened(mean_p, mean_q, cov, /):
    """the distance of the means is not whitened"""
    squares = ((mean_p - mean_q) ** 2).sum(axis=-1)
    return erf(namespace(mean_p).sqrt(squares / 8))


@same_covariance.mutant
def pinskers_bound(mean_p, mean_q, cov, /):
    """Pinsker's upper bound sqrt(KL/2) in place of the distance"""
    xp = namespace(mean_p)
    return xp.minimum(xp.sqrt(_squares(mean_p, mean_q, cov)) / 2, 1)


@same_covariance.mutant(gradient=True)
def gradient_not_divided_by_the_distance(g, mean_p, mean_q, cov, /):
    """the gradients lack the 1/r of the root"""
    r = namespace(mean_p).sqrt(_squares(mean_p, mean_q, cov))
    return total_variation_same_covariance.vjp(g * r, mean_p, mean_q, cov)


wrong(
    same_covariance,
    "the gradient in the covariance counts each off-diagonal entry twice",
    gradient={"cov": off_diagonal_doubled},
)


# --------------------------------------------------------------------------------------- univariate


def _phi(x):
    return (1 + erf(x / math.sqrt(2))) / 2


def _roots(mean_p, var_p, mean_q, var_q):
    """Where p = q, by the textbook's quadratic."""
    xp = namespace(mean_p)
    a = 1 / var_p - 1 / var_q
    b = -2 * (mean_p / var_p - mean_q / var_q)
    c = mean_p**2 / var_p - mean_q**2 / var_q + xp.log(var_p / var_q)
    root = xp.sqrt(b * b - 4 * a * c)
    return (-b - root) / (2 * a), (-b + root) / (2 * a)


@univariate.mutant
def one_crossing(mean_p, var_p, mean_q, var_q, /):
    """only one of the two points of p = q is used"""
    xp = namespace(mean_p)
    x, _ = _roots(mean_p, var_p, mean_q, var_q)
    y, t = (x - mean_p) / xp.sqrt(var_p), (x - mean_q) / xp.sqrt(var_q)
    return xp.where(var_p == var_q, 0.5, abs(_phi(y) - _phi(t)))


wrong(
    univariate,
    "variances are taken for standard deviations: they are squared",
    arrays={"var_p": lambda x: x**2, "var_q": lambda x: x**2},
    source="https://github.com/judelo/gmmot/issues/1",
)


@univariate.mutant
def pooled_variance(mean_p, var_p, mean_q, var_q, /):
    """both have the mean variance"""
    pooled = (var_p + var_q) / 2
    return total_variation_univariate(mean_p, pooled, mean_q, pooled)


wrong(univariate, "one minus the distance: the overlapping area", output=lambda y: 1 - y)


@univariate.mutant
def kolmogorov_distance(mean_p, var_p, mean_q, var_q, /):
    """the largest difference of the distribution functions (Kolmogorov and Smirnov)"""
    xp = namespace(mean_p)
    found = 0
    for x in _roots(mean_p, var_p, mean_q, var_q):
        y, t = (x - mean_p) / xp.sqrt(var_p), (x - mean_q) / xp.sqrt(var_q)
        found = xp.maximum(found, abs(_phi(y) - _phi(t)))
    return xp.where(var_p == var_q, 0.5, found)


@univariate.mutant
def logarithm_halved(mean_p, var_p, mean_q, var_q, /):
    """the points of p = q have log(sigma_p/sigma_q) in place of twice as much"""
    xp = namespace(mean_p)
    a = 1 / var_p - 1 / var_q
    b = -2 * (mean_p / var_p - mean_q / var_q)
    c = mean_p**2 / var_p - mean_q**2 / var_q + xp.log(var_p / var_q) / 2
    root = xp.sqrt(abs(b * b - 4 * a * c))
    total = 0
    for sign, x in ((1, (-b + root) / (2 * a)), (-1, (-b - root) / (2 * a))):
        y, t = (x - mean_p) / xp.sqrt(var_p), (x - mean_q) / xp.sqrt(var_q)
        total = total + sign * (_phi(y) - _phi(t))
    return xp.where(var_p == var_q, 0.5, abs(total))


@wrong_gradients(univariate)
def gradient_without_reflection(found, g, arrays, options):
    """the gradients in the means have the same sign whichever mean is larger"""
    sign = namespace(arrays[0]).where(arrays[0] < arrays[2], -1, 1)
    return sign * found[0], found[1], sign * found[2], found[3]


wrong(
    univariate,
    "the gradients are those in the standard deviations",
    gradient=lambda found, arrays, options: (
        *(found[0], 2 * arrays[1] ** 0.5 * found[1]),
        *(found[2], 2 * arrays[3] ** 0.5 * found[3]),
    ),
)


wrong(
    univariate,
    "the gradients in p and in q are exchanged",
    gradient=lambda found, arrays, options: (*found[2:], *found[:2]),
)
