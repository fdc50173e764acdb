"""Evidence for the divergences between two Gaussians."""

from __future__ import annotations

import math

import numpy as np

from refimpl.evidence import Budget, Case, Claim, Evidence, Sizes
from refimpl.evidence.gaussian.density import sigma_points
from refimpl.evidence.gaussian.pairs import (
    depends_on_the_difference_of_means,
    diagonal,
    ignores_the_coordinates,
    independent_blocks_add,
    is_not_negative,
    marginals_are_closer,
    register,
    scale_of,
    vanishes_at_equality,
)
from refimpl.evidence.gaussian.samples import covariance, integer_factor
from refimpl.formula import upcast
from refimpl.gaussian.density import gaussian_log_density
from refimpl.gaussian.divergence import gaussian_kl

kl = Evidence(gaussian_kl, sizes={"d": Sizes(1, 1, 12)}, budget=Budget(k=8.0, floor=16.0))


register(kl)
for law in (
    is_not_negative,
    vanishes_at_equality,
    depends_on_the_difference_of_means,
    ignores_the_coordinates,
    independent_blocks_add,
    marginals_are_closer,
):
    kl.law(law)


@kl.law
def is_the_mean_log_ratio(f, case):
    """KL = E_p (log p - log q), by a cubature that is exact for quadratics"""
    mean_p, cov_p, mean_q, cov_q = (upcast(a) for a in case.arrays)
    points = mean_p[..., None, :] + sigma_points(cov_p)
    log_p = gaussian_log_density.oracle(points, mean_p[..., None, :], cov_p[..., None, :, :])
    log_q = gaussian_log_density.oracle(points, mean_q[..., None, :], cov_q[..., None, :, :])
    mean_log_ratio = (log_p - log_q).mean(axis=-1)
    yield Claim(f(*case.arrays), mean_log_ratio, scale_of(mean_log_ratio, case))


# ------------------------------------------------------------------------------------- closed forms


@kl.closed_form
def independent_coordinates(rng, shape):
    """Diagonal covariances: the sum of (delta^2/v_q + v_p/v_q - 1 - log(v_p/v_q))/2"""
    case = diagonal(rng, shape)
    mean_p, cov_p, mean_q, cov_q = case.arrays
    variances_q = np.diagonal(cov_q, axis1=-2, axis2=-1)
    ratio = np.diagonal(cov_p, axis1=-2, axis2=-1) / variances_q
    terms = (mean_p - mean_q) ** 2 / variances_q + ratio - 1 - np.log(ratio)
    return case, 0.5 * terms.sum(axis=-1)


@kl.closed_form
def proportional_covariances(rng, shape):
    """S_p = 4 S_q and equal means: d (3 - log 4)/2"""
    cov = covariance(rng, shape.cov_q)
    mean = rng.standard_normal(shape.mean_q)
    answer = 0.5 * shape.axes["d"] * (3 - math.log(4))
    return Case((mean, 4 * cov, mean.copy(), cov)), np.full(shape.batch, answer)


@kl.closed_form
def from_standard_normal(rng, shape):
    """q = N(0, I): (|mean_p|^2 + tr S_p - log det S_p - d)/2, with S_p of known determinant"""
    factor = integer_factor(rng, shape.cov_p)
    cov_p = factor @ factor.swapaxes(-1, -2)
    mean_p = rng.standard_normal(shape.mean_p)
    d = shape.axes["d"]
    cov_q = np.broadcast_to(np.eye(d), shape.cov_q).copy()
    trace = np.trace(cov_p, axis1=-2, axis2=-1)
    answer = 0.5 * ((mean_p * mean_p).sum(axis=-1) + trace - d * math.log(4) - d)
    return Case((mean_p, cov_p, np.zeros(shape.mean_q), cov_q)), answer


@kl.closed_form
def shifted_mean(rng, shape):
    """Equal covariances L L^T and delta = L z, with small integers: |z|^2/2"""
    factor = integer_factor(rng, shape.cov_q)
    cov = factor @ factor.swapaxes(-1, -2)
    z = rng.integers(1, 4, shape.mean_p).astype(float)
    mean_p = (factor @ z[..., None])[..., 0]
    return Case((mean_p, cov, np.zeros(shape.mean_q), cov.copy())), 0.5 * (z * z).sum(axis=-1)


@kl.closed_form
def integer_cholesky_factors(rng, shape):
    """S_q = L L^T, S_p = (L M)(L M)^T with small integers: (sum of M_ik^2 - d - 2 log det M)/2"""
    factor_q = integer_factor(rng, shape.cov_q)
    # Its diagonal of 4, so that the two terms of the answer do not cancel.
    relative = 2 * integer_factor(rng, shape.cov_p)
    factor_p = factor_q @ relative
    mean = rng.standard_normal(shape.mean_q)
    d = shape.axes["d"]
    answer = 0.5 * ((relative * relative).sum(axis=(-2, -1)) - d - 2 * d * math.log(4))
    cov_p, cov_q = (factor @ factor.swapaxes(-1, -2) for factor in (factor_p, factor_q))
    return Case((mean, cov_p, mean.copy(), cov_q)), answer
