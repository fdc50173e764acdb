"""Wrong variants of the affine-invariant distance and of Calvo and Oller's bound."""

from __future__ import annotations

import math

from refimpl.backend import eigh, namespace, solve
from refimpl.evidence.gaussian.affine_invariant import bound, same_mean
from refimpl.evidence.gaussian.pairs_mutants import register_arguments, register_gradients
from refimpl.evidence.gaussian.shared import off_diagonal_doubled
from refimpl.gaussian.affine_invariant import calvo_oller_bound, fisher_rao_same_mean

register_arguments(bound)
register_gradients(bound)


def _function(cov, f):
    """A function of a symmetric matrix, by its eigenvalues."""
    values, vectors = eigh(cov)
    return (vectors * f(values)[..., None, :]) @ vectors.swapaxes(-1, -2)


@same_mean.mutant
def affine_invariant_distance(cov_p, cov_q, /):
    """the affine-invariant distance, sqrt(2) times as large"""
    return math.sqrt(2) * fisher_rao_same_mean(cov_p, cov_q)


@same_mean.mutant
def squared(cov_p, cov_q, /):
    """the square of the distance"""
    return fisher_rao_same_mean(cov_p, cov_q) ** 2


@same_mean.mutant
def log_euclidean_distance(cov_p, cov_q, /):
    """the log-Euclidean distance |log S_p - log S_q|, which is not affine-invariant"""
    xp = namespace(cov_p)
    gap = _function(cov_p, xp.log) - _function(cov_q, xp.log)
    return xp.sqrt((gap * gap).sum(axis=(-2, -1)) / 2)


@same_mean.mutant
def log_determinant_alone(cov_p, cov_q, /):
    """the logarithms are added before they are squared: |log det S_p/S_q|/sqrt(2)"""
    xp = namespace(cov_p)
    logs = [xp.log(eigh(x)[0]).sum(axis=-1) for x in (cov_p, cov_q)]
    return abs(logs[0] - logs[1]) / math.sqrt(2)


@same_mean.mutant
def singular_values(cov_p, cov_q, /):
    """the logarithms are those of the singular values of S_q^{-1} S_p, not of its eigenvalues"""
    xp = namespace(cov_p)
    product = solve(cov_q, cov_p)
    values, _ = eigh(product.swapaxes(-1, -2) @ product)
    logs = xp.log(values) / 2
    return xp.sqrt((logs * logs).sum(axis=-1) / 2)


@same_mean.mutant
def diagonals_alone(cov_p, cov_q, /):
    """only the diagonals of the covariances are used"""
    identity = namespace(cov_p).eye(cov_p.shape[-1], dtype=cov_p.dtype)
    return fisher_rao_same_mean(cov_p * identity, cov_q * identity)


@same_mean.mutant(source="https://github.com/tensorflow/tensorflow/issues/20261")
def covariances_as_deviations(cov_p, cov_q, /):
    """covariances are taken for standard deviations: they are squared"""
    return fisher_rao_same_mean(cov_p @ cov_p, cov_q @ cov_q)


@same_mean.mutant(gradient=True)
def gradient_with_doubled_off_diagonals(g, cov_p, cov_q, /):
    """the gradients count each off-diagonal entry twice"""
    return tuple(map(off_diagonal_doubled, fisher_rao_same_mean.vjp(g, cov_p, cov_q)))


@same_mean.mutant(gradient=True)
def gradient_of_the_square(g, cov_p, cov_q, /):
    """the gradients are those of half of the square: they are not divided by the distance"""
    return fisher_rao_same_mean.vjp(g * fisher_rao_same_mean(cov_p, cov_q), cov_p, cov_q)


@same_mean.mutant(gradient=True)
def gradient_not_divided_by_the_eigenvalues(g, cov_p, cov_q, /):
    """the gradient in S_p is minus that in S_q: the eigenvalues do not divide their logarithms"""
    _, dcov_q = fisher_rao_same_mean.vjp(g, cov_p, cov_q)
    return -dcov_q, dcov_q


# ------------------------------------------------------------------------------------ Calvo & Oller


@bound.mutant
def root_of_two_missing(mean_p, cov_p, mean_q, cov_q, /):
    """the affine-invariant distance of the embedded matrices, sqrt(2) times as large"""
    return math.sqrt(2) * calvo_oller_bound(mean_p, cov_p, mean_q, cov_q)


@bound.mutant
def corner_of_two(mean_p, cov_p, mean_q, cov_q, /):
    """the embedded matrix of p has 2 in place of 1 in its corner"""
    delta = (mean_p - mean_q)[..., None]
    xp = namespace(mean_p)
    row, corner = delta.swapaxes(-1, -2), xp.ones_like(delta[..., :1, :])
    block = cov_p + delta * row
    top = xp.concatenate(
        [2 * corner + 0 * block[..., :1, :1], row + 0 * block[..., :1, :]], axis=-1
    )
    low = xp.concatenate([delta + 0 * block[..., :, :1], block], axis=-1)
    embedded_p = xp.concatenate([top, low], axis=-2)
    zero = 0 * cov_q[..., :1]
    top = xp.concatenate([zero[..., :1, :] + 1, zero.swapaxes(-1, -2)], axis=-1)
    embedded_q = xp.concatenate([top, xp.concatenate([zero, cov_q], axis=-1)], axis=-2)
    return fisher_rao_same_mean(embedded_p, embedded_q)


@bound.mutant
def mean_and_covariance_apart(mean_p, cov_p, mean_q, cov_q, /):
    """the squares of Mahalanobis' distance and of that for equal means are added"""
    xp = namespace(mean_p)
    delta = mean_p - mean_q
    middle = cov_p / 2 + cov_q / 2
    squares = (delta * solve(middle, delta[..., None])[..., 0]).sum(axis=-1)
    return xp.sqrt(squares + fisher_rao_same_mean(cov_p, cov_q) ** 2)
