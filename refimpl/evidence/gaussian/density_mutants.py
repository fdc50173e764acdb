"""Wrong variants of density and entropy: the bugs that public code had, and their kin."""

from __future__ import annotations

import math

from refimpl.backend import cholesky, logdet_from_cholesky, namespace, solve
from refimpl.evidence.gaussian.density import _LOG_2PI, density, entropy
from refimpl.gaussian.density import gaussian_entropy, gaussian_log_density

# ----------------------------------------------------------------------------- log density: mutants


def _log_density(d, logdet, mahalanobis):
    return -0.5 * (d * _LOG_2PI + logdet + mahalanobis)


def _terms(x, mean, cov):
    """d, log det S, and the Mahalanobis distance squared."""
    gap = x - mean
    mahalanobis = (gap * solve(cov, gap[..., None])[..., 0]).sum(axis=-1)
    return x.shape[-1], logdet_from_cholesky(cholesky(cov)), mahalanobis


@density.mutant
def two_pi_missing(x, mean, cov, /):
    """the constant d/2 log 2 pi is missing"""
    d, logdet, mahalanobis = _terms(x, mean, cov)
    return _log_density(0, logdet, mahalanobis)


@density.mutant
def dimension_missing(x, mean, cov, /):
    """log 2 pi is counted once, not once for each coordinate"""
    d, logdet, mahalanobis = _terms(x, mean, cov)
    return _log_density(1, logdet, mahalanobis)


@density.mutant
def two_pi_without_two(x, mean, cov, /):
    """the constant is d/2 log pi instead of d/2 log 2 pi"""
    return _log_density(*_terms(x, mean, cov)) + x.shape[-1] * math.log(2) / 2


@density.mutant
def log_determinant_missing(x, mean, cov, /):
    """the log-determinant is missing"""
    d, logdet, mahalanobis = _terms(x, mean, cov)
    return _log_density(d, 0, mahalanobis)


@density.mutant
def log_determinant_doubled(x, mean, cov, /):
    """the log-determinant lacks its factor 1/2"""
    d, logdet, mahalanobis = _terms(x, mean, cov)
    return _log_density(d, 2 * logdet, mahalanobis)


@density.mutant
def log_determinant_halved(x, mean, cov, /):
    """the log-determinant is that of the Cholesky factor, half of the covariance's"""
    d, logdet, mahalanobis = _terms(x, mean, cov)
    return _log_density(d, logdet / 2, mahalanobis)


@density.mutant
def log_determinant_sign(x, mean, cov, /):
    """the log-determinant has the wrong sign"""
    d, logdet, mahalanobis = _terms(x, mean, cov)
    return _log_density(d, -logdet, mahalanobis)


@density.mutant
def mahalanobis_not_squared(x, mean, cov, /):
    """the Mahalanobis distance is not squared"""
    d, logdet, mahalanobis = _terms(x, mean, cov)
    return _log_density(d, logdet, namespace(x).sqrt(mahalanobis))


@density.mutant
def mahalanobis_not_halved(x, mean, cov, /):
    """the Mahalanobis distance lacks its factor 1/2"""
    d, logdet, mahalanobis = _terms(x, mean, cov)
    return _log_density(d, logdet, 2 * mahalanobis)


@density.mutant(source="https://github.com/tensorflow/tensorflow/issues/20261")
def covariance_as_deviation(x, mean, cov, /):
    """the covariance is taken for a standard deviation: it is squared"""
    d, logdet, _ = _terms(x, mean, cov)
    z = solve(cov, (x - mean)[..., None])[..., 0]
    return _log_density(d, 2 * logdet, (z * z).sum(axis=-1))


@density.mutant
def covariance_as_cholesky_factor(x, mean, cov, /):
    """the covariance is taken for a Cholesky factor (scale_tril)"""
    xp = namespace(x)
    z = solve(xp.tril(cov), (x - mean)[..., None])[..., 0]
    return _log_density(x.shape[-1], logdet_from_cholesky(cov), (z * z).sum(axis=-1))


@density.mutant
def density_not_log(x, mean, cov, /):
    """the density itself is returned, not its logarithm"""
    return namespace(x).exp(_log_density(*_terms(x, mean, cov)))


@density.mutant
def bits(x, mean, cov, /):
    """the logarithm has base 2, not e"""
    return _log_density(*_terms(x, mean, cov)) / math.log(2)


# -------------------------------------------------------------------- log density: gradient mutants


@density.mutant(gradient=True)
def gradient_off_diagonal_doubled(g, x, mean, cov, /):
    """the gradient in cov counts each off-diagonal entry twice"""
    dx, dmean, dcov = gaussian_log_density.vjp(g, x, mean, cov)
    return dx, dmean, off_diagonal_doubled(dcov)


@density.mutant(gradient=True)
def gradient_of_determinant_missing(g, x, mean, cov, /):
    """the gradient in cov lacks the log-determinant's -S^{-1}/2"""
    dx, dmean, dcov = gaussian_log_density.vjp(g, x, mean, cov)
    (determinant,) = gaussian_entropy.vjp(g, cov)
    return dx, dmean, dcov + determinant


def off_diagonal_doubled(matrix):
    xp = namespace(matrix)
    return 2 * matrix - matrix * xp.eye(matrix.shape[-1], dtype=matrix.dtype)


# --------------------------------------------------------------------------------- entropy: mutants


def _entropy(d, logdet):
    return 0.5 * (d * (1 + _LOG_2PI) + logdet)


def _logdet(cov):
    return logdet_from_cholesky(cholesky(cov))


@entropy.mutant
def entropy_without_d(cov, /):
    """the d/2 is missing: the constant is d/2 log 2 pi instead of d/2 (1 + log 2 pi)"""
    return _entropy(cov.shape[-1], _logdet(cov)) - cov.shape[-1] / 2


@entropy.mutant
def entropy_with_one_dimension(cov, /):
    """the constant is counted once, not once for each coordinate"""
    return _entropy(1, _logdet(cov))


@entropy.mutant
def entropy_without_two_pi(cov, /):
    """the constant log 2 pi is missing"""
    return 0.5 * (cov.shape[-1] + _logdet(cov))


@entropy.mutant(source="https://github.com/tensorflow/tensorflow/issues/20261")
def entropy_log_determinant_doubled(cov, /):
    """the log-determinant lacks its factor 1/2, or the covariance is taken for a deviation"""
    return _entropy(cov.shape[-1], 2 * _logdet(cov))


@entropy.mutant
def entropy_log_determinant_halved(cov, /):
    """the log-determinant is that of the Cholesky factor, half of the covariance's"""
    return _entropy(cov.shape[-1], _logdet(cov) / 2)


@entropy.mutant
def entropy_in_bits(cov, /):
    """the logarithm has base 2, not e"""
    return _entropy(cov.shape[-1], _logdet(cov)) / math.log(2)


@entropy.mutant(gradient=True)
def entropy_gradient_off_diagonal_doubled(g, cov, /):
    """the gradient counts each off-diagonal entry twice"""
    return (off_diagonal_doubled(gaussian_entropy.vjp(g, cov)[0]),)


@entropy.mutant(gradient=True)
def entropy_gradient_not_inverted(g, cov, /):
    """the gradient has the covariance where its inverse belongs"""
    return (g[..., None, None] * cov / 2,)
