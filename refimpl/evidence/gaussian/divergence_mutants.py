"""Wrong variants of divergences: the bugs that public code had, and their neighbours."""

from __future__ import annotations

import math

from refimpl.backend import cholesky, logdet_from_cholesky, namespace, solve, solve_triangular
from refimpl.evidence.gaussian.divergence import cross_entropy, jeffreys, kl
from refimpl.evidence.gaussian.pairs_mutants import register_arguments, register_gradients
from refimpl.evidence.gaussian.shared import off_diagonal_doubled
from refimpl.evidence.mistakes import Textbook, wrong
from refimpl.gaussian.divergence import (
    gaussian_cross_entropy,
    gaussian_kl,
    jeffreys_divergence,
)

# ------------------------------------------------------------------------------------------ mutants


def _terms(mean_p, cov_p, mean_q, cov_q):
    """The textbook's delta^T S_q^{-1} delta, tr S_q^{-1} S_p, log det S_q^{-1} S_p, and d."""
    delta = mean_p - mean_q
    return {
        "mahalanobis": (delta * solve(cov_q, delta[..., None])[..., 0]).sum(axis=-1),
        "trace": _trace(solve(cov_q, cov_p)),
        "logdet": _logdet(cov_p) - _logdet(cov_q),
        "d": delta.shape[-1],
    }


def _trace(x):
    return namespace(x).trace(x, axis1=-2, axis2=-1)


def _logdet(cov):
    return logdet_from_cholesky(cholesky(cov))


def _whole(mahalanobis, trace, logdet, d):
    return 0.5 * (mahalanobis + trace - logdet - d)


def _kl(*pair):
    return _whole(**_terms(*pair))


def _squares(x):
    return (x * x).sum(axis=(-2, -1))


book = Textbook(kl, _terms, _whole)
wrong(
    kl,
    "p and q are swapped: KL(q || p)",
    name="swapped",
    arrays={"mean_p": "mean_q", "cov_p": "cov_q", "mean_q": "mean_p", "cov_q": "cov_p"},
    source="https://github.com/tensorforce/tensorforce/issues/107",
)
book.wrong(
    "the log-determinant ratio has the wrong sign",
    logdet=lambda t: -t.logdet,
    source="https://github.com/FluxML/model-zoo/pull/147",
)
book.wrong("the log-determinant ratio lacks its factor 1/2", logdet=lambda t: 2 * t.logdet)
book.wrong(
    "the log-determinants are those of the Cholesky factors, half of the covariances'",
    logdet=lambda t: t.logdet / 2,
)
book.wrong("the log-determinant ratio is missing", logdet=0)
book.wrong(
    "the logarithm of the determinants has base 10", logdet=lambda t: t.logdet / math.log(10)
)
book.wrong("the dimension is not subtracted", d=0)
book.wrong("1 is subtracted instead of the dimension", d=1)
book.wrong(
    "the trace is that of S_p^{-1} S_q instead of S_q^{-1} S_p",
    trace=lambda t: _trace(solve(t.cov_p, t.cov_q)),
)
book.wrong(
    "the trace sums only the diagonal of the squared triangular factor, not all of its entries",
    trace=lambda t: _trace(solve_triangular(cholesky(t.cov_q), cholesky(t.cov_p)) ** 2),
    source="https://github.com/GPflow/GPflow/issues/2130",
)
book.wrong(
    "the trace term is squared",
    trace=lambda t: t.trace**2,
    source="https://github.com/pat-coady/trpo/issues/25",
)
book.wrong(
    "the difference of the means is weighted with S_p^{-1} instead of S_q^{-1}",
    mahalanobis=lambda t: _terms(t.mean_p, t.cov_q, t.mean_q, t.cov_p)["mahalanobis"],
)
book.wrong(
    "the Mahalanobis distance of the means is not squared",
    mahalanobis=lambda t: t.mahalanobis**0.5,
)
book.wrong(
    "the mean term is |delta|^2, without the covariance of q",
    mahalanobis=lambda t: ((t.mean_p - t.mean_q) ** 2).sum(axis=-1),
)
book.wrong(
    "the covariance of p is not divided by that of q, nor halved: a misplaced bracket",
    trace=lambda t: 2 * _trace(t.cov_p),
    source="https://github.com/PacktPublishing/Deep-Reinforcement-Learning-Hands-On/issues/17",
)
book.wrong(
    "covariances are taken for standard deviations: they are squared",
    mahalanobis=lambda t: _squares(solve(t.cov_q, (t.mean_p - t.mean_q)[..., None])),
    trace=lambda t: _squares(solve(t.cov_q, t.cov_p)),
    logdet=lambda t: 2 * t.logdet,
    source="https://github.com/tensorflow/tensorflow/issues/20261",
)


@kl.mutant
def covariance_as_precision(mean_p, cov_p, mean_q, cov_q, /):
    """covariances are taken for precisions"""
    delta = (mean_p - mean_q)[..., None]
    mahalanobis = (delta * (cov_q @ delta)).sum(axis=(-2, -1))
    trace = _trace(solve(cov_p, cov_q))
    return _whole(mahalanobis, trace, _logdet(cov_q) - _logdet(cov_p), delta.shape[-2])


@kl.mutant
def covariance_as_cholesky_factor(mean_p, cov_p, mean_q, cov_q, /):
    """covariances are taken for Cholesky factors (scale_tril)"""
    xp = namespace(mean_p)
    factor_p, factor_q = xp.tril(cov_p), xp.tril(cov_q)
    z = solve_triangular(factor_q, (mean_p - mean_q)[..., None])
    m = solve_triangular(factor_q, factor_p)
    logdet = logdet_from_cholesky(factor_p) - logdet_from_cholesky(factor_q)
    return _whole(_squares(z), _squares(m), logdet, z.shape[-2])


@kl.mutant
def diagonals_only(mean_p, cov_p, mean_q, cov_q, /):
    """only the diagonals of the covariances are used"""
    identity = namespace(mean_p).eye(mean_p.shape[-1], dtype=mean_p.dtype)
    return _kl(mean_p, cov_p * identity, mean_q, cov_q * identity)


wrong(kl, "the result is in bits, not nats", output=lambda y: y / math.log(2))


@kl.mutant
def averaged_over_dimensions(mean_p, cov_p, mean_q, cov_q, /):
    """the result is divided by the dimension"""
    return _kl(mean_p, cov_p, mean_q, cov_q) / mean_p.shape[-1]


@kl.mutant
def symmetrised(mean_p, cov_p, mean_q, cov_q, /):
    """the result is the mean of KL(p || q) and KL(q || p)"""
    return 0.5 * (_kl(mean_p, cov_p, mean_q, cov_q) + _kl(mean_q, cov_q, mean_p, cov_p))


@kl.mutant
def jitter(mean_p, cov_p, mean_q, cov_q, /):
    """1e-3 is added to the variances of both"""
    identity = 1e-3 * namespace(mean_p).eye(mean_p.shape[-1], dtype=mean_p.dtype)
    return _kl(mean_p, cov_p + identity, mean_q, cov_q + identity)


# --------------------------------------------------------------------------------- gradient mutants


@kl.mutant(gradient=True)
def gradient_means_with_cov_p(g, mean_p, cov_p, mean_q, cov_q, /):
    """the gradients in the means have S_p^{-1} instead of S_q^{-1}"""
    _, dcov_p, _, dcov_q = gaussian_kl.vjp(g, mean_p, cov_p, mean_q, cov_q)
    dmean = g[..., None] * solve(cov_p, (mean_p - mean_q)[..., None])[..., 0]
    return dmean, dcov_p, -dmean, dcov_q


wrong(
    kl,
    "the gradients in the covariances count each off-diagonal entry twice",
    gradient={"cov_p": off_diagonal_doubled, "cov_q": off_diagonal_doubled},
)
wrong(
    kl,
    "the gradients in the covariances lack their factor 1/2",
    gradient={"cov_p": lambda x: 2 * x, "cov_q": lambda x: 2 * x},
)


@kl.mutant(gradient=True)
def gradient_without_means(g, mean_p, cov_p, mean_q, cov_q, /):
    """the gradient in cov_q lacks the term with delta delta^T"""
    dmean_p, dcov_p, dmean_q, _ = gaussian_kl.vjp(g, mean_p, cov_p, mean_q, cov_q)
    _, _, _, dcov_q = gaussian_kl.vjp(g, mean_q, cov_p, mean_q, cov_q)
    return dmean_p, dcov_p, dmean_q, dcov_q


@kl.mutant(gradient=True)
def gradient_without_determinant(g, mean_p, cov_p, mean_q, cov_q, /):
    """the gradient in cov_p lacks the log-determinant's -S_p^{-1}/2"""
    dmean_p, _, dmean_q, dcov_q = gaussian_kl.vjp(g, mean_p, cov_p, mean_q, cov_q)
    identity = namespace(cov_q).eye(cov_q.shape[-1], dtype=cov_q.dtype)
    return dmean_p, g[..., None, None] * solve(cov_q, identity) / 2, dmean_q, dcov_q


wrong(
    kl,
    "the gradients in p and in q are exchanged",
    gradient=lambda found, arrays, options: (*found[2:], *found[:2]),
)


# ----------------------------------------------------------------------------------------- Jeffreys

register_arguments(jeffreys)
register_gradients(jeffreys)


@jeffreys.mutant
def one_direction_twice(mean_p, cov_p, mean_q, cov_q, /):
    """KL(p || q) twice, without the other direction"""
    return 2 * _kl(mean_p, cov_p, mean_q, cov_q)


@jeffreys.mutant
def one_direction(mean_p, cov_p, mean_q, cov_q, /):
    """KL(p || q) alone, without the other direction"""
    return _kl(mean_p, cov_p, mean_q, cov_q)


@jeffreys.mutant
def dimension_not_subtracted(mean_p, cov_p, mean_q, cov_q, /):
    """the dimension is not subtracted from the traces"""
    return jeffreys_divergence(mean_p, cov_p, mean_q, cov_q) + mean_p.shape[-1]


@jeffreys.mutant
def mean_term_with_the_middle(mean_p, cov_p, mean_q, cov_q, /):
    """the mean term has 2 (mean covariance)^{-1} in place of the sum of the inverses"""
    centred = jeffreys_divergence(mean_p, cov_p, mean_p, cov_q)
    middle = (cov_p + cov_q) / 2
    return centred + _terms(mean_p, cov_p, mean_q, middle)["mahalanobis"]


# ------------------------------------------------------------------------------------ cross-entropy

register_arguments(cross_entropy, symmetric=False)
register_gradients(cross_entropy)


@cross_entropy.mutant
def divergence_itself(mean_p, cov_p, mean_q, cov_q, /):
    """the divergence, from which the entropy of p is subtracted"""
    return _kl(mean_p, cov_p, mean_q, cov_q)


@cross_entropy.mutant
def two_pi_missing(mean_p, cov_p, mean_q, cov_q, /):
    """the constant d/2 log 2 pi is missing"""
    constant = mean_p.shape[-1] * math.log(2 * math.pi) / 2
    return gaussian_cross_entropy(mean_p, cov_p, mean_q, cov_q) - constant


@cross_entropy.mutant
def determinant_of_p(mean_p, cov_p, mean_q, cov_q, /):
    """the log-determinant is that of p"""
    value = gaussian_cross_entropy(mean_p, cov_p, mean_q, cov_q)
    return value + (_logdet(cov_p) - _logdet(cov_q)) / 2


@cross_entropy.mutant
def trace_missing(mean_p, cov_p, mean_q, cov_q, /):
    """the covariance of p is left out: minus log q at its mean"""
    return gaussian_cross_entropy(mean_p, 0 * cov_p, mean_q, cov_q)


@cross_entropy.mutant
def negative(mean_p, cov_p, mean_q, cov_q, /):
    """the sign is reversed: the mean of log q"""
    return -gaussian_cross_entropy(mean_p, cov_p, mean_q, cov_q)


@cross_entropy.mutant(gradient=True)
def gradient_of_the_divergence(g, mean_p, cov_p, mean_q, cov_q, /):
    """the gradient in cov_p is that of the divergence, which has -S_p^{-1}/2 more"""
    return gaussian_kl.vjp(g, mean_p, cov_p, mean_q, cov_q)
