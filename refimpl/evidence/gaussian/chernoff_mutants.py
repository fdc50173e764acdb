"""Wrong variants of the Chernoff coefficient and information."""

from __future__ import annotations

import math

from refimpl.backend import namespace
from refimpl.evidence.gaussian.chernoff import coefficient, information
from refimpl.evidence.gaussian.pairs_mutants import register_arguments, register_gradients
from refimpl.evidence.mistakes import wrong
from refimpl.gaussian.chernoff import chernoff_coefficient
from refimpl.gaussian.divergence import gaussian_kl
from refimpl.gaussian.overlap import bhattacharyya_distance
from refimpl.gaussian.renyi import renyi_divergence

register_arguments(coefficient, symmetric=False)
register_arguments(information)
for of in (coefficient, information):
    register_gradients(of)


def _exponent(mean_p, cov_p, mean_q, cov_q, order):
    """-log c_a."""
    return (1 - order) * renyi_divergence(mean_p, cov_p, mean_q, cov_q, order=order)


@coefficient.mutant
def exponent_itself(mean_p, cov_p, mean_q, cov_q, /, *, order):
    """the exponent -log c_a is returned, not the coefficient"""
    return _exponent(mean_p, cov_p, mean_q, cov_q, order)


@coefficient.mutant
def exponential_of_renyi(mean_p, cov_p, mean_q, cov_q, /, *, order):
    """exp(-D_a), without the factor 1 - a in the exponent"""
    divergence = renyi_divergence(mean_p, cov_p, mean_q, cov_q, order=order)
    return namespace(mean_p).exp(-divergence)


@coefficient.mutant
def order_ignored(mean_p, cov_p, mean_q, cov_q, /, *, order):
    """the order is ignored: the Bhattacharyya coefficient"""
    return namespace(mean_p).exp(-bhattacharyya_distance(mean_p, cov_p, mean_q, cov_q))


@coefficient.mutant
def amari_divergence(mean_p, cov_p, mean_q, cov_q, /, *, order):
    """Amari's divergence (1 - c_a)/(a (1 - a)) instead of the coefficient"""
    value = chernoff_coefficient(mean_p, cov_p, mean_q, cov_q, order=order)
    return (1 - value) / (order * (1 - order))


@coefficient.mutant(gradient=True)
def gradient_of_the_exponent(g, mean_p, cov_p, mean_q, cov_q, /, *, order):
    """the gradients are those of log c_a, without the factor c_a"""
    value = chernoff_coefficient(mean_p, cov_p, mean_q, cov_q, order=order)
    return chernoff_coefficient.vjp(g / value, mean_p, cov_p, mean_q, cov_q, order=order)


# -------------------------------------------------------------------------------------- information


@information.mutant
def half_order(mean_p, cov_p, mean_q, cov_q, /):
    """the order is 1/2 instead of the best one: the Bhattacharyya distance"""
    return bhattacharyya_distance(mean_p, cov_p, mean_q, cov_q)


@information.mutant
def coarse_search(mean_p, cov_p, mean_q, cov_q, /):
    """the order is the best of 0.1, 0.2, ... 0.9 only"""
    xp = namespace(mean_p)
    best = 0
    for tenth in range(1, 10):
        order = xp.full((), tenth / 10, dtype=mean_p.dtype)
        best = xp.maximum(best, _exponent(mean_p, cov_p, mean_q, cov_q, order))
    return best


@information.mutant
def largest_renyi_divergence(mean_p, cov_p, mean_q, cov_q, /):
    """the largest Renyi divergence of orders below 1, which is KL"""
    return gaussian_kl(mean_p, cov_p, mean_q, cov_q)


@information.mutant
def smaller_divergence(mean_p, cov_p, mean_q, cov_q, /):
    """the smaller of KL(p || q) and KL(q || p), the exponent of a one-sided error"""
    forward = gaussian_kl(mean_p, cov_p, mean_q, cov_q)
    return namespace(mean_p).minimum(forward, gaussian_kl(mean_q, cov_q, mean_p, cov_p))


wrong(
    information,
    "the smallest coefficient exp(-C) is returned, not its exponent",
    output=lambda y: namespace(y).exp(-y),
)


wrong(information, "the result is in bits, not nats", output=lambda y: y / math.log(2))


@information.mutant(gradient=True)
def gradient_at_half_order(g, mean_p, cov_p, mean_q, cov_q, /):
    """the gradients are those of the Bhattacharyya distance"""
    return bhattacharyya_distance.vjp(g, mean_p, cov_p, mean_q, cov_q)
