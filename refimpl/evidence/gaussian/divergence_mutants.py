"""Wrong variants of divergences: the bugs that public code had, and their neighbours."""

from __future__ import annotations

import math

from refimpl.backend import cholesky, logdet_from_cholesky, namespace, solve, solve_triangular
from refimpl.evidence.gaussian.density_mutants import (
    off_diagonal_doubled,
)
from refimpl.evidence.gaussian.divergence import cross_entropy, jeffreys, kl
from refimpl.evidence.gaussian.pairs_mutants import register_arguments, register_gradients
from refimpl.gaussian.divergence import (
    gaussian_cross_entropy,
    gaussian_kl,
    jeffreys_divergence,
)

# ------------------------------------------------------------------------------------------ mutants


def _terms(mean_p, cov_p, mean_q, cov_q):
    """The textbook's delta^T S_q^{-1} delta, tr S_q^{-1} S_p, log det S_q^{-1} S_p, and d."""
    delta = mean_p - mean_q
    mahalanobis = (delta * solve(cov_q, delta[..., None])[..., 0]).sum(axis=-1)
    trace = namespace(mean_p).trace(solve(cov_q, cov_p), axis1=-2, axis2=-1)
    return mahalanobis, trace, _logdet(cov_p) - _logdet(cov_q), delta.shape[-1]


def _logdet(cov):
    return logdet_from_cholesky(cholesky(cov))


def _kl(mahalanobis, trace, logdet, d):
    return 0.5 * (mahalanobis + trace - logdet - d)


@kl.mutant(source="https://github.com/tensorforce/tensorforce/issues/107")
def swapped(mean_p, cov_p, mean_q, cov_q, /):
    """p and q are swapped: KL(q || p)"""
    return _kl(*_terms(mean_q, cov_q, mean_p, cov_p))


@kl.mutant(source="https://github.com/FluxML/model-zoo/pull/147")
def log_determinant_sign(mean_p, cov_p, mean_q, cov_q, /):
    """the log-determinant ratio has the wrong sign"""
    mahalanobis, trace, logdet, d = _terms(mean_p, cov_p, mean_q, cov_q)
    return _kl(mahalanobis, trace, -logdet, d)


@kl.mutant
def log_determinant_doubled(mean_p, cov_p, mean_q, cov_q, /):
    """the log-determinant ratio lacks its factor 1/2"""
    mahalanobis, trace, logdet, d = _terms(mean_p, cov_p, mean_q, cov_q)
    return _kl(mahalanobis, trace, 2 * logdet, d)


@kl.mutant
def log_determinant_halved(mean_p, cov_p, mean_q, cov_q, /):
    """the log-determinants are those of the Cholesky factors, half of the covariances'"""
    mahalanobis, trace, logdet, d = _terms(mean_p, cov_p, mean_q, cov_q)
    return _kl(mahalanobis, trace, logdet / 2, d)


@kl.mutant
def log_determinant_missing(mean_p, cov_p, mean_q, cov_q, /):
    """the log-determinant ratio is missing"""
    mahalanobis, trace, logdet, d = _terms(mean_p, cov_p, mean_q, cov_q)
    return _kl(mahalanobis, trace, 0, d)


@kl.mutant
def common_logarithm(mean_p, cov_p, mean_q, cov_q, /):
    """the logarithm of the determinants has base 10"""
    mahalanobis, trace, logdet, d = _terms(mean_p, cov_p, mean_q, cov_q)
    return _kl(mahalanobis, trace, logdet / math.log(10), d)


@kl.mutant
def dimension_missing(mean_p, cov_p, mean_q, cov_q, /):
    """the dimension is not subtracted"""
    mahalanobis, trace, logdet, _ = _terms(mean_p, cov_p, mean_q, cov_q)
    return _kl(mahalanobis, trace, logdet, 0)


@kl.mutant
def one_for_dimension(mean_p, cov_p, mean_q, cov_q, /):
    """1 is subtracted instead of the dimension"""
    mahalanobis, trace, logdet, _ = _terms(mean_p, cov_p, mean_q, cov_q)
    return _kl(mahalanobis, trace, logdet, 1)


@kl.mutant
def trace_of_inverse(mean_p, cov_p, mean_q, cov_q, /):
    """the trace is that of S_p^{-1} S_q instead of S_q^{-1} S_p"""
    mahalanobis, _, logdet, d = _terms(mean_p, cov_p, mean_q, cov_q)
    trace = namespace(mean_p).trace(solve(cov_p, cov_q), axis1=-2, axis2=-1)
    return _kl(mahalanobis, trace, logdet, d)


@kl.mutant(source="https://github.com/GPflow/GPflow/issues/2130")
def trace_from_diagonal(mean_p, cov_p, mean_q, cov_q, /):
    """the trace sums only the diagonal of the squared triangular factor, not all of its entries"""
    mahalanobis, _, logdet, d = _terms(mean_p, cov_p, mean_q, cov_q)
    factor = solve_triangular(cholesky(cov_q), cholesky(cov_p))
    diagonal = namespace(factor).diagonal(factor, axis1=-2, axis2=-1)
    return _kl(mahalanobis, (diagonal * diagonal).sum(axis=-1), logdet, d)


@kl.mutant(source="https://github.com/pat-coady/trpo/issues/25")
def trace_squared(mean_p, cov_p, mean_q, cov_q, /):
    """the trace term is squared"""
    mahalanobis, trace, logdet, d = _terms(mean_p, cov_p, mean_q, cov_q)
    return _kl(mahalanobis, trace * trace, logdet, d)


@kl.mutant
def mean_term_with_cov_p(mean_p, cov_p, mean_q, cov_q, /):
    """the difference of the means is weighted with S_p^{-1} instead of S_q^{-1}"""
    _, trace, logdet, d = _terms(mean_p, cov_p, mean_q, cov_q)
    mahalanobis, *_ = _terms(mean_p, cov_q, mean_q, cov_p)
    return _kl(mahalanobis, trace, logdet, d)


@kl.mutant
def mean_term_not_squared(mean_p, cov_p, mean_q, cov_q, /):
    """the Mahalanobis distance of the means is not squared"""
    mahalanobis, trace, logdet, d = _terms(mean_p, cov_p, mean_q, cov_q)
    return _kl(namespace(mean_p).sqrt(mahalanobis), trace, logdet, d)


@kl.mutant
def mean_term_not_whitened(mean_p, cov_p, mean_q, cov_q, /):
    """the mean term is |delta|^2, without the covariance of q"""
    _, trace, logdet, d = _terms(mean_p, cov_p, mean_q, cov_q)
    return _kl(((mean_p - mean_q) ** 2).sum(axis=-1), trace, logdet, d)


@kl.mutant(
    source="https://github.com/PacktPublishing/Deep-Reinforcement-Learning-Hands-On/issues/17"
)
def trace_not_divided(mean_p, cov_p, mean_q, cov_q, /):
    """the covariance of p is not divided by that of q, nor halved: a misplaced bracket"""
    xp = namespace(mean_p)
    mahalanobis, _, logdet, d = _terms(mean_p, cov_p, mean_q, cov_q)
    return _kl(mahalanobis, 2 * xp.trace(cov_p, axis1=-2, axis2=-1), logdet, d)


@kl.mutant(source="https://github.com/tensorflow/tensorflow/issues/20261")
def covariance_as_deviation(mean_p, cov_p, mean_q, cov_q, /):
    """covariances are taken for standard deviations: they are squared"""
    _, _, logdet, d = _terms(mean_p, cov_p, mean_q, cov_q)
    z = solve(cov_q, (mean_p - mean_q)[..., None])
    ratio = solve(cov_q, cov_p)
    return _kl((z * z).sum(axis=(-2, -1)), (ratio * ratio).sum(axis=(-2, -1)), 2 * logdet, d)


@kl.mutant
def covariance_as_precision(mean_p, cov_p, mean_q, cov_q, /):
    """covariances are taken for precisions"""
    _, _, logdet, d = _terms(mean_p, cov_p, mean_q, cov_q)
    delta = (mean_p - mean_q)[..., None]
    trace = namespace(mean_p).trace(solve(cov_p, cov_q), axis1=-2, axis2=-1)
    return _kl((delta * (cov_q @ delta)).sum(axis=(-2, -1)), trace, -logdet, d)


@kl.mutant
def covariance_as_cholesky_factor(mean_p, cov_p, mean_q, cov_q, /):
    """covariances are taken for Cholesky factors (scale_tril)"""
    xp = namespace(mean_p)
    factor_p, factor_q = xp.tril(cov_p), xp.tril(cov_q)
    z = solve_triangular(factor_q, (mean_p - mean_q)[..., None])
    m = solve_triangular(factor_q, factor_p)
    logdet = logdet_from_cholesky(factor_p) - logdet_from_cholesky(factor_q)
    return _kl((z * z).sum(axis=(-2, -1)), (m * m).sum(axis=(-2, -1)), logdet, z.shape[-2])


@kl.mutant
def diagonals_only(mean_p, cov_p, mean_q, cov_q, /):
    """only the diagonals of the covariances are used"""
    xp = namespace(mean_p)
    variances_p = xp.diagonal(cov_p, axis1=-2, axis2=-1)
    variances_q = xp.diagonal(cov_q, axis1=-2, axis2=-1)
    ratio = variances_p / variances_q
    terms = (mean_p - mean_q) ** 2 / variances_q + ratio - 1 - xp.log(ratio)
    return 0.5 * terms.sum(axis=-1)


@kl.mutant
def bits(mean_p, cov_p, mean_q, cov_q, /):
    """the result is in bits, not nats"""
    return _kl(*_terms(mean_p, cov_p, mean_q, cov_q)) / math.log(2)


@kl.mutant
def averaged_over_dimensions(mean_p, cov_p, mean_q, cov_q, /):
    """the result is divided by the dimension"""
    return _kl(*_terms(mean_p, cov_p, mean_q, cov_q)) / mean_p.shape[-1]


@kl.mutant
def symmetrised(mean_p, cov_p, mean_q, cov_q, /):
    """the result is the mean of KL(p || q) and KL(q || p)"""
    forward = _kl(*_terms(mean_p, cov_p, mean_q, cov_q))
    return 0.5 * (forward + _kl(*_terms(mean_q, cov_q, mean_p, cov_p)))


@kl.mutant
def jitter(mean_p, cov_p, mean_q, cov_q, /):
    """1e-3 is added to the variances of both"""
    identity = 1e-3 * namespace(mean_p).eye(mean_p.shape[-1], dtype=mean_p.dtype)
    return _kl(*_terms(mean_p, cov_p + identity, mean_q, cov_q + identity))


# --------------------------------------------------------------------------------- gradient mutants


@kl.mutant(gradient=True)
def gradient_means_with_cov_p(g, mean_p, cov_p, mean_q, cov_q, /):
    """the gradients in the means have S_p^{-1} instead of S_q^{-1}"""
    _, dcov_p, _, dcov_q = gaussian_kl.vjp(g, mean_p, cov_p, mean_q, cov_q)
    dmean = g[..., None] * solve(cov_p, (mean_p - mean_q)[..., None])[..., 0]
    return dmean, dcov_p, -dmean, dcov_q


@kl.mutant(gradient=True)
def gradient_off_diagonal_doubled(g, mean_p, cov_p, mean_q, cov_q, /):
    """the gradients in the covariances count each off-diagonal entry twice"""
    dmean_p, dcov_p, dmean_q, dcov_q = gaussian_kl.vjp(g, mean_p, cov_p, mean_q, cov_q)
    return dmean_p, off_diagonal_doubled(dcov_p), dmean_q, off_diagonal_doubled(dcov_q)


@kl.mutant(gradient=True)
def gradient_half_missing(g, mean_p, cov_p, mean_q, cov_q, /):
    """the gradients in the covariances lack their factor 1/2"""
    dmean_p, dcov_p, dmean_q, dcov_q = gaussian_kl.vjp(g, mean_p, cov_p, mean_q, cov_q)
    return dmean_p, 2 * dcov_p, dmean_q, 2 * dcov_q


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


@kl.mutant(gradient=True)
def gradient_swapped(g, mean_p, cov_p, mean_q, cov_q, /):
    """the gradients in p and in q are exchanged"""
    dmean_p, dcov_p, dmean_q, dcov_q = gaussian_kl.vjp(g, mean_p, cov_p, mean_q, cov_q)
    return dmean_q, dcov_q, dmean_p, dcov_p


# ----------------------------------------------------------------------------------------- Jeffreys

register_arguments(jeffreys)
register_gradients(jeffreys)


@jeffreys.mutant
def one_direction_twice(mean_p, cov_p, mean_q, cov_q, /):
    """KL(p || q) twice, without the other direction"""
    return 2 * _kl(*_terms(mean_p, cov_p, mean_q, cov_q))


@jeffreys.mutant
def one_direction(mean_p, cov_p, mean_q, cov_q, /):
    """KL(p || q) alone, without the other direction"""
    return _kl(*_terms(mean_p, cov_p, mean_q, cov_q))


@jeffreys.mutant
def dimension_not_subtracted(mean_p, cov_p, mean_q, cov_q, /):
    """the dimension is not subtracted from the traces"""
    return jeffreys_divergence(mean_p, cov_p, mean_q, cov_q) + mean_p.shape[-1]


@jeffreys.mutant
def mean_term_with_the_middle(mean_p, cov_p, mean_q, cov_q, /):
    """the mean term has 2 (mean covariance)^{-1} in place of the sum of the inverses"""
    centred = jeffreys_divergence(mean_p, cov_p, mean_p, cov_q)
    mahalanobis, *_ = _terms(mean_p, cov_p, mean_q, (cov_p + cov_q) / 2)
    return centred + mahalanobis


# ------------------------------------------------------------------------------------ cross-entropy

register_arguments(cross_entropy, symmetric=False)
register_gradients(cross_entropy)


@cross_entropy.mutant
def divergence_itself(mean_p, cov_p, mean_q, cov_q, /):
    """the divergence, from which the entropy of p is subtracted"""
    return _kl(*_terms(mean_p, cov_p, mean_q, cov_q))


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
