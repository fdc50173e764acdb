"""Wrong variants of Bhattacharyya distance, coefficient and Hellinger distance."""

from __future__ import annotations

import math

from refimpl.backend import cholesky, logdet_from_cholesky, namespace, solve
from refimpl.evidence.gaussian.overlap import coefficient, distance, hellinger
from refimpl.evidence.gaussian.pairs_mutants import register_arguments, register_gradients
from refimpl.gaussian.overlap import (
    bhattacharyya_coefficient,
    bhattacharyya_distance,
    hellinger_squared,
)

for of in (distance, coefficient, hellinger):
    register_arguments(of)
    register_gradients(of)


def _terms(mean_p, cov_p, mean_q, cov_q):
    """delta^T S^{-1} delta, log det S, and the half sum of log det S_p and log det S_q."""
    delta = mean_p - mean_q
    middle = (cov_p + cov_q) / 2
    mahalanobis = (delta * solve(middle, delta[..., None])[..., 0]).sum(axis=-1)
    return mahalanobis, _logdet(middle), (_logdet(cov_p) + _logdet(cov_q)) / 2


def _logdet(cov):
    return logdet_from_cholesky(cholesky(cov))


# ----------------------------------------------------------------------------------------- distance


@distance.mutant
def mean_term_of_a_quarter(mean_p, cov_p, mean_q, cov_q, /):
    """the mean term has 1/4 in place of 1/8, as if S were the sum of the covariances"""
    mahalanobis, middle, half = _terms(mean_p, cov_p, mean_q, cov_q)
    return mahalanobis / 4 + (middle - half) / 2


@distance.mutant
def mean_term_of_a_half(mean_p, cov_p, mean_q, cov_q, /):
    """the mean term has the factor 1/2 of a log density in place of 1/8"""
    mahalanobis, middle, half = _terms(mean_p, cov_p, mean_q, cov_q)
    return mahalanobis / 2 + (middle - half) / 2


@distance.mutant
def covariances_added(mean_p, cov_p, mean_q, cov_q, /):
    """S is the sum of the covariances, not their mean"""
    mahalanobis, middle, half = _terms(mean_p, cov_p, mean_q, cov_q)
    d = mean_p.shape[-1]
    return mahalanobis / 16 + (middle + d * math.log(2) - half) / 2


@distance.mutant
def log_determinant_doubled(mean_p, cov_p, mean_q, cov_q, /):
    """the logarithm lacks its factor 1/2"""
    mahalanobis, middle, half = _terms(mean_p, cov_p, mean_q, cov_q)
    return mahalanobis / 8 + (middle - half)


@distance.mutant
def root_of_determinants_missing(mean_p, cov_p, mean_q, cov_q, /):
    """the product of the determinants has no root"""
    mahalanobis, middle, half = _terms(mean_p, cov_p, mean_q, cov_q)
    return mahalanobis / 8 + (middle - 2 * half) / 2


@distance.mutant
def log_determinant_sign(mean_p, cov_p, mean_q, cov_q, /):
    """the logarithm has the wrong sign"""
    mahalanobis, middle, half = _terms(mean_p, cov_p, mean_q, cov_q)
    return mahalanobis / 8 - (middle - half) / 2


@distance.mutant
def mean_term_with_cov_p(mean_p, cov_p, mean_q, cov_q, /):
    """the mean term is weighted with the covariance of p instead of the mean one"""
    mahalanobis, *_ = _terms(mean_p, cov_p, mean_q, cov_p)
    _, middle, half = _terms(mean_p, cov_p, mean_q, cov_q)
    return mahalanobis / 8 + (middle - half) / 2


@distance.mutant
def mean_term_not_squared(mean_p, cov_p, mean_q, cov_q, /):
    """the Mahalanobis distance of the means is not squared"""
    mahalanobis, middle, half = _terms(mean_p, cov_p, mean_q, cov_q)
    return namespace(mean_p).sqrt(mahalanobis) / 8 + (middle - half) / 2


@distance.mutant
def coefficient_itself(mean_p, cov_p, mean_q, cov_q, /):
    """the coefficient exp(-BD) is returned, not the distance"""
    return bhattacharyya_coefficient(mean_p, cov_p, mean_q, cov_q)


@distance.mutant
def bits(mean_p, cov_p, mean_q, cov_q, /):
    """the result is in bits, not nats"""
    return bhattacharyya_distance(mean_p, cov_p, mean_q, cov_q) / math.log(2)


# -------------------------------------------------------------------------------------- coefficient


@coefficient.mutant
def distance_itself(mean_p, cov_p, mean_q, cov_q, /):
    """the distance -log BC is returned, not the coefficient"""
    return bhattacharyya_distance(mean_p, cov_p, mean_q, cov_q)


@coefficient.mutant
def squared(mean_p, cov_p, mean_q, cov_q, /):
    """the squared coefficient (a fidelity)"""
    return bhattacharyya_coefficient(mean_p, cov_p, mean_q, cov_q) ** 2


@coefficient.mutant
def one_minus(mean_p, cov_p, mean_q, cov_q, /):
    """one minus the coefficient: the squared Hellinger distance"""
    return 1 - bhattacharyya_coefficient(mean_p, cov_p, mean_q, cov_q)


@coefficient.mutant
def overlap_of_densities(mean_p, cov_p, mean_q, cov_q, /):
    """the integral of p q over the root of those of p^2 and q^2: a cosine without square roots"""
    mahalanobis, middle, half = _terms(mean_p, cov_p, mean_q, cov_q)
    return namespace(mean_p).exp(-mahalanobis / 4 - (middle - half) / 2)


@coefficient.mutant(gradient=True)
def gradient_of_the_distance(g, mean_p, cov_p, mean_q, cov_q, /):
    """the gradient is that of the distance, without the factor -BC"""
    return bhattacharyya_distance.vjp(g, mean_p, cov_p, mean_q, cov_q)


# ---------------------------------------------------------------------------------------- Hellinger


@hellinger.mutant
def other_normalisation(mean_p, cov_p, mean_q, cov_q, /, *, normalisation):
    """the integral is halved where it should not be, and the reverse"""
    other = {"unit": "double", "double": "unit"}[normalisation]
    return hellinger_squared(mean_p, cov_p, mean_q, cov_q, normalisation=other)


@hellinger.mutant
def squared_coefficient(mean_p, cov_p, mean_q, cov_q, /, *, normalisation):
    """one minus the squared coefficient"""
    unit = hellinger_squared(mean_p, cov_p, mean_q, cov_q, normalisation=normalisation)
    return unit * (1 + bhattacharyya_coefficient(mean_p, cov_p, mean_q, cov_q))


@hellinger.mutant
def without_determinants(mean_p, cov_p, mean_q, cov_q, /, *, normalisation):
    """the exponential alone, without its factor of determinants"""
    mahalanobis, *_ = _terms(mean_p, cov_p, mean_q, cov_q)
    unit = {"unit": 1, "double": 2}[normalisation]
    return -unit * namespace(mean_p).expm1(-mahalanobis / 8)


@hellinger.mutant(source="https://github.com/dstl/Stone-Soup/pull/287")
def entrywise_product_of_covariances(mean_p, cov_p, mean_q, cov_q, /, *, normalisation):
    """the determinant is that of the covariances' entrywise product, not of their product"""
    mahalanobis, middle, _ = _terms(mean_p, cov_p, mean_q, cov_q)
    unit = {"unit": 1, "double": 2}[normalisation]
    half = _logdet(cov_p * cov_q) / 2
    return -unit * namespace(mean_p).expm1(-mahalanobis / 8 - (middle - half) / 2)


@hellinger.mutant(source="https://github.com/dstl/Stone-Soup/pull/287")
def sum_of_covariances_not_halved(mean_p, cov_p, mean_q, cov_q, /, *, normalisation):
    """the mean term is divided by the sum of the covariances, not by their mean"""
    mahalanobis, middle, half = _terms(mean_p, cov_p, mean_q, cov_q)
    unit = {"unit": 1, "double": 2}[normalisation]
    return -unit * namespace(mean_p).expm1(-mahalanobis / 16 - (middle - half) / 2)


@hellinger.mutant
def root_of_the_determinants_missing(mean_p, cov_p, mean_q, cov_q, /, *, normalisation):
    """the factor of determinants lacks its root"""
    mahalanobis, middle, half = _terms(mean_p, cov_p, mean_q, cov_q)
    unit = {"unit": 1, "double": 2}[normalisation]
    return -unit * namespace(mean_p).expm1(-mahalanobis / 8 - (middle - half))


@hellinger.mutant(gradient=True)
def gradient_without_coefficient(g, mean_p, cov_p, mean_q, cov_q, /, *, normalisation):
    """the gradient is that of the distance, without the factor BC"""
    unit = {"unit": 1, "double": 2}[normalisation]
    return bhattacharyya_distance.vjp(unit * g, mean_p, cov_p, mean_q, cov_q)


@hellinger.mutant(gradient=True)
def gradient_of_the_root(g, mean_p, cov_p, mean_q, cov_q, /, *, normalisation):
    """the gradient is that of the distance itself, divided by 2 H"""
    square = hellinger_squared(mean_p, cov_p, mean_q, cov_q, normalisation=normalisation)
    scale = g / (2 * namespace(mean_p).sqrt(square))
    return hellinger_squared.vjp(scale, mean_p, cov_p, mean_q, cov_q, normalisation=normalisation)
