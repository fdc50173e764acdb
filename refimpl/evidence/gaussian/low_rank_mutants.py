"""Wrong variants of the divergence of Gaussians with a diagonal plus a low rank as covariance."""

from __future__ import annotations

import math

from refimpl.backend import cholesky, logdet_from_cholesky, namespace
from refimpl.evidence.gaussian.low_rank import low_rank
from refimpl.gaussian.low_rank import gaussian_kl_low_rank
from refimpl.gaussian.parametrised import gaussian_kl_diagonal


@low_rank.mutant(source="https://github.com/tensorforce/tensorforce/issues/107")
def swapped(mean_p, diag_p, factor_p, mean_q, diag_q, factor_q, /):
    """p and q are swapped: KL(q || p)"""
    return gaussian_kl_low_rank(mean_q, diag_q, factor_q, mean_p, diag_p, factor_p)


@low_rank.mutant
def diagonals_as_deviations(mean_p, diag_p, factor_p, mean_q, diag_q, factor_q, /):
    """diagonals are taken for standard deviations: they are squared"""
    return gaussian_kl_low_rank(mean_p, diag_p**2, factor_p, mean_q, diag_q**2, factor_q)


@low_rank.mutant
def factors_ignored(mean_p, diag_p, factor_p, mean_q, diag_q, factor_q, /):
    """the factors are ignored"""
    return gaussian_kl_diagonal(mean_p, diag_p, mean_q, diag_q)


@low_rank.mutant
def diagonal_of_the_product(mean_p, diag_p, factor_p, mean_q, diag_q, factor_q, /):
    """only the diagonals of W W^T are used"""
    var_p = diag_p + (factor_p * factor_p).sum(axis=-1)
    var_q = diag_q + (factor_q * factor_q).sum(axis=-1)
    return gaussian_kl_diagonal(mean_p, var_p, mean_q, var_q)


@low_rank.mutant
def capacitance_with_two_identities(mean_p, diag_p, factor_p, mean_q, diag_q, factor_q, /):
    """the identity in the capacitances of the log-determinants counts twice"""
    value = gaussian_kl_low_rank(mean_p, diag_p, factor_p, mean_q, diag_q, factor_q)
    wrong = _log_det(diag_p, factor_p, 2) - _log_det(diag_q, factor_q, 2)
    right = _log_det(diag_p, factor_p, 1) - _log_det(diag_q, factor_q, 1)
    return value - 0.5 * (wrong - right)


@low_rank.mutant
def capacitance_missing(mean_p, diag_p, factor_p, mean_q, diag_q, factor_q, /):
    """the log-determinants are those of the diagonals, without the capacitances"""
    value = gaussian_kl_low_rank(mean_p, diag_p, factor_p, mean_q, diag_q, factor_q)
    return value + 0.5 * (_log_det(diag_p, factor_p, 1) - _log_det(diag_q, factor_q, 1))


@low_rank.mutant
def capacitance_halved(mean_p, diag_p, factor_p, mean_q, diag_q, factor_q, /):
    """the log-determinants of the capacitances are those of their Cholesky factors"""
    value = gaussian_kl_low_rank(mean_p, diag_p, factor_p, mean_q, diag_q, factor_q)
    return value + 0.25 * (_log_det(diag_p, factor_p, 1) - _log_det(diag_q, factor_q, 1))


def _log_det(diag, factor, weight):
    """log det(weight I + W^T D^{-1} W)."""
    scaled = factor / namespace(diag).sqrt(diag)[..., None]
    identity = namespace(diag).eye(factor.shape[-1], dtype=factor.dtype)
    return logdet_from_cholesky(cholesky(weight * identity + scaled.swapaxes(-1, -2) @ scaled))


@low_rank.mutant
def bits(mean_p, diag_p, factor_p, mean_q, diag_q, factor_q, /):
    """the result is in bits, not nats"""
    value = gaussian_kl_low_rank(mean_p, diag_p, factor_p, mean_q, diag_q, factor_q)
    return value / math.log(2)


@low_rank.mutant(gradient=True)
def gradient_of_factors_halved(g, mean_p, diag_p, factor_p, mean_q, diag_q, factor_q, /):
    """the gradients in the factors lack the factor 2 of 2 G W"""
    p_and_q = gaussian_kl_low_rank.vjp(g, mean_p, diag_p, factor_p, mean_q, diag_q, factor_q)
    dmean_p, ddiag_p, dfactor_p, dmean_q, ddiag_q, dfactor_q = p_and_q
    return dmean_p, ddiag_p, dfactor_p / 2, dmean_q, ddiag_q, dfactor_q / 2


@low_rank.mutant(gradient=True)
def gradient_in_deviations(g, mean_p, diag_p, factor_p, mean_q, diag_q, factor_q, /):
    """the gradients in the diagonals are those in their roots"""
    xp = namespace(mean_p)
    p_and_q = gaussian_kl_low_rank.vjp(g, mean_p, diag_p, factor_p, mean_q, diag_q, factor_q)
    dmean_p, ddiag_p, dfactor_p, dmean_q, ddiag_q, dfactor_q = p_and_q
    ddiag_p, ddiag_q = 2 * xp.sqrt(diag_p) * ddiag_p, 2 * xp.sqrt(diag_q) * ddiag_q
    return dmean_p, ddiag_p, dfactor_p, dmean_q, ddiag_q, dfactor_q


@low_rank.mutant(gradient=True)
def gradient_without_means(g, mean_p, diag_p, factor_p, mean_q, diag_q, factor_q, /):
    """the gradients in the covariance of q lack the term with the means"""
    p_and_q = gaussian_kl_low_rank.vjp(g, mean_p, diag_p, factor_p, mean_q, diag_q, factor_q)
    centred = gaussian_kl_low_rank.vjp(g, mean_q, diag_p, factor_p, mean_q, diag_q, factor_q)
    return *p_and_q[:4], *centred[4:]
