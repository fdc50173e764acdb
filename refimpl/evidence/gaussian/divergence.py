"""Evidence for the divergences between two Gaussians."""

from __future__ import annotations

import math

import numpy as np

from refimpl.evidence import Budget, Case, Claim, Evidence, Sizes
from refimpl.evidence.gaussian.density import entropy_sizes
from refimpl.evidence.gaussian.pairs import (
    OF_MEANS,
    depends_on_the_difference_of_means,
    diagonal,
    far_apart,
    generic,
    graded,
    identical,
    ignores_the_coordinates,
    in_order,
    independent_blocks_add,
    is_not_negative,
    is_symmetric,
    processing_brings_closer,
    register,
    same_covariance,
    scale_of,
    symmetric,
    vanishes_at_equality,
)
from refimpl.evidence.gaussian.shared import covariance, integer_factor, sigma_points
from refimpl.formula import upcast
from refimpl.gaussian.density import gaussian_entropy, gaussian_log_density
from refimpl.gaussian.divergence import (
    gaussian_cross_entropy,
    gaussian_kl,
    jeffreys_divergence,
)

kl = Evidence(
    gaussian_kl,
    sizes={"d": Sizes(1, 1, 12)},
    budget=Budget(k=8.0, floor=16.0),
    unchanged=OF_MEANS,
)


register(kl)
for law in (
    is_not_negative,
    vanishes_at_equality,
    depends_on_the_difference_of_means,
    ignores_the_coordinates,
    independent_blocks_add,
    processing_brings_closer,
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


# ----------------------------------------------------------------------------------------- Jeffreys

jeffreys = Evidence(
    jeffreys_divergence,
    sizes={"d": Sizes(1, 1, 10)},
    budget=Budget(k=8.0, floor=16.0),
    unchanged=OF_MEANS | symmetric(),
)
register(jeffreys, far=False)
for law in (
    is_not_negative,
    vanishes_at_equality,
    is_symmetric,
    ignores_the_coordinates,
    independent_blocks_add,
    processing_brings_closer,
):
    jeffreys.law(law)


@jeffreys.regime(adversarial=True)
def apart(rng, shape):
    """p 4 times as narrow as q, its mean 4 standard deviations of q away."""
    mean_p, cov_p, mean_q, cov_q = generic(rng, shape).arrays
    return Case((mean_q + 4 * (mean_p - mean_q), cov_p / 16, mean_q, cov_q))


@jeffreys.law
def is_the_sum_of_both_directions(f, case):
    """J(p, q) = KL(p || q) + KL(q || p)"""
    mean_p, cov_p, mean_q, cov_q = case.arrays
    forward = gaussian_kl.oracle(mean_p, cov_p, mean_q, cov_q)
    total = forward + gaussian_kl.oracle(mean_q, cov_q, mean_p, cov_p)
    yield Claim(f(*case.arrays), total, scale_of(total, case))


@jeffreys.law
def is_at_least_that_to_the_middle(f, case):
    """For equal means J >= 2 KL(p || m) + 2 KL(q || m), with the mean covariance in m"""
    mean_p, cov_p, _, cov_q = case.arrays
    middle = cov_p / 2 + cov_q / 2
    centred = f(mean_p, cov_p, mean_p, cov_q)
    halves = sum(gaussian_kl.oracle(mean_p, cov, mean_p, middle) for cov in (cov_p, cov_q))
    yield in_order(2 * halves, upcast(centred), scale_of(upcast(centred), case))


@jeffreys.closed_form
def jeffreys_of_independent_coordinates(rng, shape):
    """Diagonal: sum of (v_p + v_q) (delta^2 + v_p + v_q)/(2 v_p v_q) - 2"""
    case = diagonal(rng, shape)
    mean_p, cov_p, mean_q, cov_q = case.arrays
    variances_p = np.diagonal(cov_p, axis1=-2, axis2=-1)
    variances_q = np.diagonal(cov_q, axis1=-2, axis2=-1)
    total = variances_p + variances_q
    terms = total * ((mean_p - mean_q) ** 2 + total) / (2 * variances_p * variances_q) - 2
    return case, terms.sum(axis=-1)


@jeffreys.closed_form
def jeffreys_of_proportional_covariances(rng, shape):
    """S_p = 4 S_q and equal means: 9 d/8"""
    cov = covariance(rng, shape.cov_q)
    mean = rng.standard_normal(shape.mean_q)
    answer = np.full(shape.batch, 1.125 * shape.axes["d"])
    return Case((mean, 4 * cov, mean.copy(), cov)), answer


# ------------------------------------------------------------------------------------ cross-entropy

cross_entropy = Evidence(
    gaussian_cross_entropy,
    sizes={"d": Sizes(1, 1, 12)},
    budget=Budget(k=8.0, floor=16.0),
    unchanged=OF_MEANS,
)


@cross_entropy.output_terms
def _cross_entropy_sizes(mean_p, cov_p, mean_q, cov_q):
    """Those of the entropy, which cancel where the cross-entropy is 0."""
    return entropy_sizes(cov_q)


for sample in (generic, diagonal, same_covariance, identical):
    cross_entropy.regime(sample)
for sample in (graded, far_apart):
    cross_entropy.regime(sample, adversarial=True)
for law in (depends_on_the_difference_of_means, independent_blocks_add):
    cross_entropy.law(law)


def _entropy_scale(value, case):
    return 8 * (abs(value) + 8 * case.arrays[0].shape[-1])


@cross_entropy.law
def exceeds_the_entropy_by_the_divergence(f, case):
    """H(p, q) = H(p) + KL(p || q)"""
    total = gaussian_entropy.oracle(case.arrays[1]) + gaussian_kl.oracle(*case.arrays)
    yield Claim(f(*case.arrays), total, _entropy_scale(total, case))


@cross_entropy.law
def is_the_mean_of_minus_log_q(f, case):
    """H(p, q) = -E_p log q, by a cubature that is exact for quadratics"""
    mean_p, cov_p, mean_q, cov_q = (upcast(a) for a in case.arrays)
    points = mean_p[..., None, :] + sigma_points(cov_p)
    log_q = gaussian_log_density.oracle(points, mean_q[..., None, :], cov_q[..., None, :, :])
    expected = -log_q.mean(axis=-1)
    yield Claim(f(*case.arrays), expected, _entropy_scale(expected, case))


@cross_entropy.law
def without_variance_is_minus_log_q(f, case):
    """For a p that is a point, H(p, q) = -log q(mean_p)"""
    mean_p, cov_p, mean_q, cov_q = case.arrays
    value = -gaussian_log_density.oracle(mean_p, mean_q, cov_q)
    # 0 cov_p keeps the leading axes of cov_p.
    yield Claim(f(mean_p, 0 * cov_p, mean_q, cov_q), value, _entropy_scale(value, case))


@cross_entropy.law
def is_linear_in_what_the_mean_is_taken_over(f, case):
    """H(p, q) - H(point, q) doubles with the covariance of p"""
    mean_p, cov_p, mean_q, cov_q = case.arrays
    point = f(mean_p, 0 * cov_p, mean_q, cov_q)
    once = f(*case.arrays) - point
    twice = f(mean_p, 2 * cov_p, mean_q, cov_q) - point
    yield Claim(twice, 2 * once, _entropy_scale(abs(point) + abs(once), case))


@cross_entropy.closed_form
def cross_entropy_to_standard_normal(rng, shape):
    """q = N(0, I): (d log 2 pi + tr S_p + |mean_p|^2)/2"""
    mean_p, cov_p, *_ = generic(rng, shape).arrays
    d = shape.axes["d"]
    cov_q = np.broadcast_to(np.eye(d), shape.cov_q).copy()
    trace = np.trace(cov_p, axis1=-2, axis2=-1)
    answer = 0.5 * (d * math.log(2 * math.pi) + trace + (mean_p * mean_p).sum(axis=-1))
    return Case((mean_p, cov_p, np.zeros(shape.mean_q), cov_q)), answer


@cross_entropy.closed_form
def cross_entropy_of_integer_factors(rng, shape):
    """S_q = L L^T, S_p = (L M)(L M)^T: (d log 2 pi + 2 log det L + sum of M_ik^2)/2"""
    case, _ = integer_cholesky_factors(rng, shape)
    factor_q = np.linalg.cholesky(case.arrays[3])
    relative = np.rint(np.linalg.solve(factor_q, np.linalg.cholesky(case.arrays[1])))
    d = shape.axes["d"]
    answer = 0.5 * (d * math.log(8 * math.pi) + (relative * relative).sum(axis=(-2, -1)))
    return case, answer
