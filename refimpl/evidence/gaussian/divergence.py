"""Evidence for the divergences between two Gaussians."""

from __future__ import annotations

import math

import numpy as np

from refimpl.backend import namespace
from refimpl.evidence import Budget, Case, Claim, Evidence, Sizes
from refimpl.evidence.gaussian.density import (
    change_of_unit,
    recoordinated,
    sigma_points,
    uncoupled,
)
from refimpl.evidence.gaussian.samples import (
    covariance,
    diagonal_covariance,
    displacement,
    graded_units,
    integer_factor,
    rescale,
    symmetric_part,
)
from refimpl.formula import upcast
from refimpl.gaussian.density import gaussian_log_density
from refimpl.gaussian.divergence import gaussian_kl

kl = Evidence(gaussian_kl, sizes={"d": Sizes(1, 1, 12)}, budget=Budget(k=8.0, floor=16.0))


# ------------------------------------------------------------------------------------------ regimes


@kl.regime
def generic(rng, shape):
    """Unrelated covariances, means some standard deviations apart."""
    cov_p, cov_q = covariance(rng, shape.cov_p), covariance(rng, shape.cov_q)
    mean_q = rng.standard_normal(shape.mean_q)
    return Case((mean_q + displacement(rng, cov_q), cov_p, mean_q, cov_q))


@kl.regime
def diagonal(rng, shape):
    """Independent coordinates."""
    cov_p, cov_q = diagonal_covariance(rng, shape.cov_p), diagonal_covariance(rng, shape.cov_q)
    mean_q = rng.standard_normal(shape.mean_q)
    return Case((mean_q + displacement(rng, cov_q), cov_p, mean_q, cov_q))


@kl.regime
def same_covariance(rng, shape):
    """Equal covariances, so that only the means differ."""
    cov = covariance(rng, shape.cov_q)
    mean_q = rng.standard_normal(shape.mean_q)
    return Case((mean_q + displacement(rng, cov), cov, mean_q, cov.copy()))


@kl.regime(adversarial=True)
def graded(rng, shape):
    """Coordinates in units from 1/64 to 16: both condition numbers reach 1e7."""
    case = generic(rng, shape)
    units = graded_units(rng, shape.mean_q)
    mean_p, cov_p, mean_q, cov_q = case.arrays
    return Case((mean_p * units, rescale(cov_p, units), mean_q * units, rescale(cov_q, units)))


@kl.regime(adversarial=True)
def far_apart(rng, shape):
    """p 16 times as narrow as q, its mean 16 standard deviations away."""
    mean_p, cov_p, mean_q, cov_q = generic(rng, shape).arrays
    return Case((mean_q + 16 * (mean_p - mean_q), cov_p / 256, mean_q, cov_q))


@kl.regime(adversarial=True, advisory=True)
def near_equal(rng, shape):
    """p and q differ by 1e-8 to 1e-2 of themselves: the textbook formula, torch's too, cancels."""
    cov_q = covariance(rng, shape.cov_q)
    mean_q = rng.standard_normal(shape.mean_q)
    difference = 10.0 ** -rng.uniform(2, 8, shape.batch)[..., None]
    change = symmetric_part(rng.uniform(-1, 1, shape.cov_q)) / shape.axes["d"]
    return Case(
        (
            mean_q + difference * displacement(rng, cov_q),
            cov_q + difference[..., None] * change,
            mean_q,
            cov_q,
        )
    )


@kl.regime(adversarial=True, advisory=True)
def identical(rng, shape):
    """p is q: the textbook formula, torch's too, leaves rounding errors of either sign."""
    cov = covariance(rng, shape.cov_q)
    mean = rng.standard_normal(shape.mean_q)
    return Case((mean, cov, mean.copy(), cov.copy()))


# --------------------------------------------------------------------------------------------- laws


def _scale(value, case):
    """What rounding errors are relative to: the value, and the terms of order d that cancel."""
    return 4 * (abs(value) + case.arrays[0].shape[-1])


@kl.law
def is_not_negative(f, case):
    """KL >= 0"""
    value = f(*case.arrays)
    xp = namespace(value)
    yield Claim(xp.minimum(value, 0), xp.zeros_like(value), _scale(value, case))


@kl.law
def vanishes_at_equality(f, case):
    """KL(p || p) = KL(q || q) = 0"""
    mean_p, cov_p, mean_q, cov_q = case.arrays
    for value in (f(mean_p, cov_p, mean_p, cov_p), f(mean_q, cov_q, mean_q, cov_q)):
        yield Claim(value, namespace(value).zeros_like(value), _scale(value, case))


@kl.law
def depends_on_the_difference_of_means(f, case):
    """KL is invariant under a common translation, and under the exchange of the means"""
    mean_p, cov_p, mean_q, cov_q = case.arrays
    value = f(*case.arrays)
    origin = mean_q - mean_q
    yield Claim(f(mean_p - mean_q, cov_p, origin, cov_q), value, _scale(value, case))
    yield Claim(f(mean_q, cov_p, mean_p, cov_q), value, _scale(value, case))


@kl.law
def ignores_the_coordinates(f, case):
    """KL is invariant under x -> C x, here a permutation with scales, which rounds nothing"""
    mean_p, cov_p, mean_q, cov_q = case.arrays
    units, order = change_of_unit(mean_p)
    value = f(*case.arrays)
    moved = f(
        (mean_p * units)[..., order],
        recoordinated(cov_p, units, order),
        (mean_q * units)[..., order],
        recoordinated(cov_q, units, order),
    )
    yield Claim(moved, value, _scale(value, case))


@kl.law
def independent_blocks_add(f, case):
    """Without correlation between two blocks of coordinates their divergences add"""
    mean_p, cov_p, mean_q, cov_q = case.arrays
    k = mean_p.shape[-1] // 2
    if k == 0:
        return
    first = f(mean_p[..., :k], cov_p[..., :k, :k], mean_q[..., :k], cov_q[..., :k, :k])
    second = f(mean_p[..., k:], cov_p[..., k:, k:], mean_q[..., k:], cov_q[..., k:, k:])
    whole = f(mean_p, uncoupled(cov_p, k), mean_q, uncoupled(cov_q, k))
    yield Claim(whole, first + second, _scale(first + second, case))


@kl.law
def marginals_are_closer(f, case):
    """Leaving out coordinates never increases KL"""
    mean_p, cov_p, mean_q, cov_q = case.arrays
    k = (mean_p.shape[-1] + 1) // 2
    whole = f(*case.arrays)
    part = f(mean_p[..., :k], cov_p[..., :k, :k], mean_q[..., :k], cov_q[..., :k, :k])
    yield Claim(namespace(whole).maximum(part, whole), whole, _scale(whole, case))


@kl.law
def is_the_mean_log_ratio(f, case):
    """KL = E_p (log p - log q), by a cubature that is exact for quadratics"""
    mean_p, cov_p, mean_q, cov_q = (upcast(a) for a in case.arrays)
    points = mean_p[..., None, :] + sigma_points(cov_p)
    log_p = gaussian_log_density.oracle(points, mean_p[..., None, :], cov_p[..., None, :, :])
    log_q = gaussian_log_density.oracle(points, mean_q[..., None, :], cov_q[..., None, :, :])
    mean_log_ratio = (log_p - log_q).mean(axis=-1)
    yield Claim(f(*case.arrays), mean_log_ratio, _scale(mean_log_ratio, case))


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
