"""Wrong variants of Bhattacharyya distance, coefficient and Hellinger distance."""

from __future__ import annotations

import math

from refimpl.backend import namespace, solve
from refimpl.evidence.gaussian.overlap import coefficient, distance, hellinger
from refimpl.evidence.gaussian.pairs_mutants import register_arguments, register_gradients
from refimpl.evidence.gaussian.shared import logdet
from refimpl.evidence.mistakes import Textbook, wrong
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
    return {
        "mahalanobis": (delta * solve(middle, delta[..., None])[..., 0]).sum(axis=-1),
        "middle": logdet(middle),
        "half": (logdet(cov_p) + logdet(cov_q)) / 2,
    }


def _distance(mahalanobis, middle, half):
    return mahalanobis / 8 + (middle - half) / 2


def _coefficient(**terms):
    value = _distance(**terms)
    return namespace(value).exp(-value)


# ----------------------------------------------------------------------------------------- distance

book = Textbook(distance, _terms, _distance)
book.wrong(
    "the mean term has 1/4 in place of 1/8, as if S were the sum of the covariances",
    mahalanobis=lambda t: 2 * t.mahalanobis,
)
book.wrong(
    "the mean term has the factor 1/2 of a log density in place of 1/8",
    mahalanobis=lambda t: 4 * t.mahalanobis,
)
book.wrong(
    "S is the sum of the covariances, not their mean",
    mahalanobis=lambda t: t.mahalanobis / 2,
    middle=lambda t: t.middle + t.mean_p.shape[-1] * math.log(2),
)
book.wrong(
    "the logarithm lacks its factor 1/2",
    middle=lambda t: 2 * t.middle,
    half=lambda t: 2 * t.half,
)
book.wrong("the product of the determinants has no root", half=lambda t: 2 * t.half)
book.wrong("the logarithm has the wrong sign", middle=lambda t: -t.middle, half=lambda t: -t.half)
book.wrong(
    "the mean term is weighted with the covariance of p instead of the mean one",
    mahalanobis=lambda t: _terms(t.mean_p, t.cov_p, t.mean_q, t.cov_p)["mahalanobis"],
)
book.wrong(
    "the Mahalanobis distance of the means is not squared",
    mahalanobis=lambda t: t.mahalanobis**0.5,
)
wrong(
    distance,
    "the coefficient exp(-BD) is returned, not the distance",
    output=lambda y: namespace(y).exp(-y),
)
wrong(distance, "the result is in bits, not nats", output=lambda y: y / math.log(2))


# -------------------------------------------------------------------------------------- coefficient

wrong(coefficient, "the squared coefficient (a fidelity)", output=lambda y: y**2)
wrong(
    coefficient,
    "one minus the coefficient: the squared Hellinger distance",
    output=lambda y: 1 - y,
)
Textbook(coefficient, _terms, _coefficient).wrong(
    "the integral of p q over the root of those of p^2 and q^2: a cosine without square roots",
    mahalanobis=lambda t: 2 * t.mahalanobis,
)


@coefficient.mutant
def distance_itself(mean_p, cov_p, mean_q, cov_q, /):
    """the distance -log BC is returned, not the coefficient"""
    return bhattacharyya_distance(mean_p, cov_p, mean_q, cov_q)


@coefficient.mutant(gradient=True)
def gradient_of_the_distance(g, mean_p, cov_p, mean_q, cov_q, /):
    """the gradient is that of the distance, without the factor -BC"""
    return bhattacharyya_distance.vjp(g, mean_p, cov_p, mean_q, cov_q)


# ---------------------------------------------------------------------------------------- Hellinger

_STONE_SOUP = "https://github.com/dstl/Stone-Soup/pull/287"
_LARGEST = {"unit": 1, "double": 2}


def _hellinger_terms(mean_p, cov_p, mean_q, cov_q, normalisation):
    return _terms(mean_p, cov_p, mean_q, cov_q) | {"largest": _LARGEST[normalisation]}


def _hellinger(largest, **terms):
    value = _distance(**terms)
    return -largest * namespace(value).expm1(-value)


book = Textbook(hellinger, _hellinger_terms, _hellinger)
book.wrong("the exponential alone, without its factor of determinants", middle=0, half=0)
book.wrong(
    "the determinant is that of the covariances' entrywise product, not of their product",
    half=lambda t: logdet(t.cov_p * t.cov_q) / 2,
    source=_STONE_SOUP,
)
book.wrong(
    "the mean term is divided by the sum of the covariances, not by their mean",
    mahalanobis=lambda t: t.mahalanobis / 2,
    source=_STONE_SOUP,
)
book.wrong(
    "the factor of determinants lacks its root",
    middle=lambda t: 2 * t.middle,
    half=lambda t: 2 * t.half,
)
wrong(
    hellinger,
    "the integral is halved where it should not be, and the reverse",
    options={"normalisation": {"unit": "double", "double": "unit"}.get},
)


@hellinger.mutant
def squared_coefficient(mean_p, cov_p, mean_q, cov_q, /, *, normalisation):
    """one minus the squared coefficient"""
    unit = hellinger_squared(mean_p, cov_p, mean_q, cov_q, normalisation=normalisation)
    return unit * (1 + bhattacharyya_coefficient(mean_p, cov_p, mean_q, cov_q))


@hellinger.mutant(gradient=True)
def gradient_without_coefficient(g, mean_p, cov_p, mean_q, cov_q, /, *, normalisation):
    """the gradient is that of the distance, without the factor BC"""
    return bhattacharyya_distance.vjp(_LARGEST[normalisation] * g, mean_p, cov_p, mean_q, cov_q)


@hellinger.mutant(gradient=True)
def gradient_of_the_root(g, mean_p, cov_p, mean_q, cov_q, /, *, normalisation):
    """the gradient is that of the distance itself, divided by 2 H"""
    square = hellinger_squared(mean_p, cov_p, mean_q, cov_q, normalisation=normalisation)
    scale = g / (2 * namespace(mean_p).sqrt(square))
    return hellinger_squared.vjp(scale, mean_p, cov_p, mean_q, cov_q, normalisation=normalisation)
