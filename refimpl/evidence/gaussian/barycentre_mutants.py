"""Wrong variants of the barycentre: other means, and iterations that stop short."""

from __future__ import annotations

from refimpl.backend import cholesky, eigh, namespace
from refimpl.core import symmetric_part
from refimpl.evidence.gaussian.barycentre import barycentre
from refimpl.evidence.gaussian.shared import off_diagonal_doubled, power
from refimpl.gaussian.barycentre import bures_barycentre


def _mean(weights, matrices):
    shares = weights / weights.sum(axis=-1, keepdims=True)
    return (shares[..., None, None] * matrices).sum(axis=-3)


@barycentre.mutant
def arithmetic_mean(covs, weights, /):
    """the result is the arithmetic mean of the covariances"""
    return _mean(weights, covs)


@barycentre.mutant
def harmonic_mean(covs, weights, /):
    """the result is the harmonic mean: the precisions are averaged"""
    return power(_mean(weights, power(covs, -1.0)), -1.0)


@barycentre.mutant
def mean_of_roots(covs, weights, /):
    """the square roots are averaged and squared, as if the covariances commuted"""
    root = _mean(weights, power(covs, 0.5))
    return root @ root


@barycentre.mutant
def mean_of_cholesky_factors(covs, weights, /):
    """the Cholesky factors are averaged and squared"""
    low = _mean(weights, cholesky(covs))
    return low @ low.swapaxes(-1, -2)


@barycentre.mutant
def log_euclidean_mean(covs, weights, /):
    """the matrix logarithms are averaged"""
    xp = namespace(covs)
    values, basis = eigh(covs)
    logs = (basis * xp.log(xp.maximum(values, 1e-30))[..., None, :]) @ basis.swapaxes(-1, -2)
    values, basis = eigh(symmetric_part(_mean(weights, logs)))
    return (basis * xp.exp(values)[..., None, :]) @ basis.swapaxes(-1, -2)


def _averaged(covs, weights, cov):
    """sum w_i (S^{1/2} S_i S^{1/2})^{1/2}."""
    root = power(cov, 0.5)[..., None, :, :]
    return _mean(weights, power(symmetric_part(root @ covs @ root), 0.5))


@barycentre.mutant
def two_steps_of_the_plain_iteration(covs, weights, /):
    """the iteration of Agueh and Carlier is stopped after two steps"""
    cov = _mean(weights, covs)
    for _ in range(2):
        cov = symmetric_part(_averaged(covs, weights, cov))
    return cov


@barycentre.mutant
def roots_of_the_members_missing(covs, weights, /):
    """the step has S^{1/2} S_i S^{1/2} without the root"""
    root = power(_mean(weights, covs), 0.5)[..., None, :, :]
    return _mean(weights, root @ covs @ root)


@barycentre.mutant(source="https://github.com/PythonOT/POT/issues/648")
def weights_ignored(covs, weights, /):
    """all members have the same weight"""
    return bures_barycentre(covs, weights / weights)


@barycentre.mutant
def weights_not_normalised(covs, weights, /):
    """the weights are not divided by their sum"""
    total = weights.sum(axis=-1)[..., None, None]
    return total * total * bures_barycentre(covs, weights)


@barycentre.mutant
def weights_reversed(covs, weights, /):
    """the weights belong to the members in reverse"""
    return bures_barycentre(covs, namespace(weights).flip(weights, -1))


@barycentre.mutant(source="https://github.com/ott-jax/ott/issues/199")
def diagonal_only(covs, weights, /):
    """only the variances are averaged: correlations are ignored"""
    xp = namespace(covs)
    identity = xp.eye(covs.shape[-1], dtype=covs.dtype)
    return _mean(weights, xp.sqrt(xp.maximum(covs * identity, 0))) ** 2


# --------------------------------------------------------------------------------- gradient mutants


@barycentre.mutant(gradient=True)
def gradient_of_the_arithmetic_mean(g, covs, weights, /):
    """the gradients are those of the arithmetic mean"""
    shares = weights / weights.sum(axis=-1, keepdims=True)
    g = symmetric_part(g)[..., None, :, :]
    gap = covs - _mean(weights, covs)[..., None, :, :]
    total = weights.sum(axis=-1)[..., None]
    return shares[..., None, None] * g + 0 * covs, (g * gap).sum(axis=(-2, -1)) / total


@barycentre.mutant(gradient=True)
def gradient_off_diagonal_doubled(g, covs, weights, /):
    """the gradients in the covariances count each off-diagonal entry twice"""
    dcovs, dweights = bures_barycentre.vjp(g, covs, weights)
    return off_diagonal_doubled(dcovs), dweights


@barycentre.mutant(gradient=True)
def gradient_without_weights(g, covs, weights, /):
    """the gradients in the covariances lack their weights"""
    dcovs, dweights = bures_barycentre.vjp(g, covs, weights)
    shares = weights / weights.sum(axis=-1, keepdims=True)
    return dcovs / shares[..., None, None], dweights
