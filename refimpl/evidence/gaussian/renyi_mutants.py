"""Wrong variants of the divergences of any order."""

from __future__ import annotations

import math

from refimpl.backend import namespace, solve
from refimpl.evidence.gaussian.pairs_mutants import register_arguments, register_gradients
from refimpl.evidence.gaussian.renyi import chi_squared, renyi
from refimpl.evidence.gaussian.shared import logdet
from refimpl.evidence.mistakes import Textbook, wrong
from refimpl.gaussian.divergence import gaussian_kl
from refimpl.gaussian.renyi import chi_squared_divergence, renyi_divergence

for of in (renyi, chi_squared):
    register_arguments(of, symmetric=False)
    register_gradients(of)


def _terms(mean_p, cov_p, mean_q, cov_q, order):
    """delta^T S_*^{-1} delta, and the log-determinants of S_*, S_p and S_q."""
    a = order[..., None, None]
    delta = mean_p - mean_q
    mixed = a * cov_q + (1 - a) * cov_p
    return {
        "mahalanobis": (delta * solve(mixed, delta[..., None])[..., 0]).sum(axis=-1),
        "mixed": logdet(mixed),
        "of_p": logdet(cov_p),
        "of_q": logdet(cov_q),
        "order": order,
    }


def _renyi(mahalanobis, mixed, of_p, of_q, order):
    log_ratio = mixed - (1 - order) * of_p - order * of_q
    return order / 2 * mahalanobis - log_ratio / (2 * (order - 1))


def _other_mixture(t):
    return _terms(t.mean_p, t.cov_p, t.mean_q, t.cov_q, 1 - t.order)


book = Textbook(renyi, _terms, _renyi)
book.wrong(
    "S_* mixes the covariances with a on S_p and 1 - a on S_q",
    mahalanobis=lambda t: _other_mixture(t)["mahalanobis"],
    mixed=lambda t: _other_mixture(t)["mixed"],
)
book.wrong(
    "the log-determinants of p and q are exchanged",
    of_p=lambda t: t.of_q,
    of_q=lambda t: t.of_p,
)
book.wrong("the mean term lacks its factor a", mahalanobis=lambda t: t.mahalanobis / t.order)
book.wrong(
    "the mean term has a (1 - a)/2 in place of a/2",
    mahalanobis=lambda t: abs(1 - t.order) * t.mahalanobis,
)
book.wrong(
    "the log-determinants lack their factor 1/2",
    mixed=lambda t: 2 * t.mixed,
    of_p=lambda t: 2 * t.of_p,
    of_q=lambda t: 2 * t.of_q,
)
wrong(
    renyi,
    "the order is the exponent of q: D_{1-a} below order 1",
    options={"order": lambda a: namespace(a).where(a < 1, 1 - a, a)},
)


@renyi.mutant
def log_determinants_sign(mean_p, cov_p, mean_q, cov_q, /, *, order):
    """the log-determinants have the wrong sign"""
    t = _terms(mean_p, cov_p, mean_q, cov_q, order)
    log_ratio = (1 - order) * t["of_p"] + order * t["of_q"] - t["mixed"]
    return order / 2 * t["mahalanobis"] - log_ratio / (2 * (order - 1))


@renyi.mutant
def not_divided_by_one_minus_the_order(mean_p, cov_p, mean_q, cov_q, /, *, order):
    """-log c_a, without the division by 1 - a"""
    return abs(1 - order) * renyi_divergence(mean_p, cov_p, mean_q, cov_q, order=order)


@renyi.mutant
def divided_by_the_order(mean_p, cov_p, mean_q, cov_q, /, *, order):
    """divided by a (1 - a) in place of 1 - a, as Amari's family is"""
    return renyi_divergence(mean_p, cov_p, mean_q, cov_q, order=order) / order


@renyi.mutant
def order_ignored(mean_p, cov_p, mean_q, cov_q, /, *, order):
    """the order is ignored: Kullback-Leibler"""
    return gaussian_kl(mean_p, cov_p, mean_q, cov_q)


@renyi.mutant(source="https://github.com/dit/dit/pull/88")
def tsallis_divergence(mean_p, cov_p, mean_q, cov_q, /, *, order):
    """Tsallis' divergence (c_a - 1)/(a - 1), without the logarithm"""
    exponent = (order - 1) * renyi_divergence(mean_p, cov_p, mean_q, cov_q, order=order)
    return namespace(mean_p).expm1(exponent) / (order - 1)


wrong(renyi, "the result is in bits, not nats", output=lambda y: y / math.log(2))


@renyi.mutant(gradient=True)
def gradient_of_the_exponent(g, mean_p, cov_p, mean_q, cov_q, /, *, order):
    """the gradients are those of (1 - a) D_a"""
    *others, dorder = renyi_divergence.vjp(g, mean_p, cov_p, mean_q, cov_q, order=order)
    scale = 1 - order
    shaped = (scale[..., None], scale[..., None, None]) * 2
    return *(s * x for s, x in zip(shaped, others, strict=True)), dorder


# -------------------------------------------------------------------------------------- chi-squared


wrong(chi_squared, "the integral of p^2/q, from which 1 is not subtracted", output=lambda y: 1 + y)


wrong(
    chi_squared,
    "the logarithm of one more: the Renyi divergence of order 2",
    output=lambda y: namespace(y).log1p(y),
)


@chi_squared.mutant
def first_order(mean_p, cov_p, mean_q, cov_q, /):
    """the exponential of KL in place of that of the Renyi divergence of order 2"""
    return namespace(mean_p).expm1(gaussian_kl(mean_p, cov_p, mean_q, cov_q))


@chi_squared.mutant
def mean_term_halved(mean_p, cov_p, mean_q, cov_q, /):
    """the exponent has the factor 1/2 of a log density on its mean term"""
    two = 2 * namespace(mean_p).ones_like(mean_p[..., 0])
    mahalanobis = _terms(mean_p, cov_p, mean_q, cov_q, two)["mahalanobis"]
    value = chi_squared_divergence(mean_p, cov_p, mean_q, cov_q)
    return (1 + value) * namespace(mean_p).exp(-mahalanobis / 2) - 1


@chi_squared.mutant(gradient=True)
def gradient_of_the_logarithm(g, mean_p, cov_p, mean_q, cov_q, /):
    """the gradients are those of D_2, without the factor 1 + chi^2"""
    return renyi_divergence.vjp(g, mean_p, cov_p, mean_q, cov_q, order=2.0)


@chi_squared.mutant(gradient=True)
def gradient_with_chi_squared(g, mean_p, cov_p, mean_q, cov_q, /):
    """the factor of the gradients is chi^2 instead of 1 + chi^2"""
    scale = g * chi_squared_divergence(mean_p, cov_p, mean_q, cov_q)
    return renyi_divergence.vjp(scale, mean_p, cov_p, mean_q, cov_q, order=2.0)
