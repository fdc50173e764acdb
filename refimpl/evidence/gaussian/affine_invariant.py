"""Evidence for the affine-invariant distance of covariances, and Calvo and Oller's bound."""

from __future__ import annotations

import functools
import math

import numpy as np

from refimpl.backend import cholesky, logdet_from_cholesky, namespace
from refimpl.evidence import Budget, Case, Claim, Evidence, Sizes
from refimpl.evidence.gaussian import pairs
from refimpl.evidence.gaussian.pairs import OF_MEANS, in_order, symmetric
from refimpl.evidence.gaussian.shared import (
    change_of_unit,
    covariance,
    integer_factor,
    recoordinated,
    uncoupled,
)
from refimpl.formula import upcast
from refimpl.gaussian.affine_invariant import calvo_oller_bound, fisher_rao_same_mean
from refimpl.gaussian.divergence import gaussian_kl
from refimpl.gaussian.fisher_rao import (
    fisher_rao_diagonal,
    fisher_rao_same_covariance,
    fisher_rao_univariate,
)

_RECORD = {"sizes": {"d": Sizes(1, 1, 6)}, "budget": Budget(k=8.0, floor=16.0)}

same_mean = Evidence(
    fisher_rao_same_mean,
    **_RECORD,
    unchanged=symmetric(),
)
bound = Evidence(
    calvo_oller_bound,
    **_RECORD,
    unchanged=OF_MEANS | symmetric(),
)


# ------------------------------------------------------------------------------------------ regimes


def of_covariances(sample):
    """A sampler of pairs as one of their covariances alone."""

    @functools.wraps(sample)
    def without_means(rng, shape):
        shape.mean_p = shape.mean_q = shape.cov_q[:-1]
        _, cov_p, _, cov_q = sample(rng, shape).arrays
        return Case((cov_p, cov_q))

    return without_means


for sample in (pairs.generic, pairs.diagonal):
    same_mean.regime(of_covariances(sample))
    bound.regime(sample)
bound.regime(pairs.same_covariance)
for sample in (pairs.graded, pairs.far_apart):
    same_mean.regime(of_covariances(sample), adversarial=True)
    bound.regime(sample, adversarial=True)
# Logarithms of what is near 1 lose digits where the matrices are not subtracted first.
same_mean.regime(of_covariances(pairs.close_by), adversarial=True, advisory=True)
bound.regime(pairs.close_by, adversarial=True, advisory=True)

# --------------------------------------------------------------------------------------------- laws


def _scale(value, case):
    """Eigenvalues far from 1 cost digits: a factor of about the root of the largest."""
    d = case.arrays[-1].shape[-1]
    return 8 * (1 + d) * (1 + namespace(value).exp(abs(value) / 2))


@same_mean.law
def is_symmetric_and_ignores_inversion(f, case):
    """d(p, q) = d(q, p), and doubling both covariances changes nothing"""
    cov_p, cov_q = case.arrays
    value = f(cov_p, cov_q)
    yield Claim(f(cov_q, cov_p), value, _scale(value, case))
    yield Claim(f(2 * cov_p, 2 * cov_q), value, _scale(value, case))


@same_mean.law
def ignores_the_coordinates(f, case):
    """d is invariant under x -> C x, here a permutation with scales, which rounds nothing"""
    cov_p, cov_q = case.arrays
    units, order = change_of_unit(cov_p)
    value = f(cov_p, cov_q)
    moved = f(recoordinated(cov_p, units, order), recoordinated(cov_q, units, order))
    yield Claim(moved, value, _scale(value, case))


@same_mean.law
def squares_of_blocks_add(f, case):
    """Without correlation between two blocks of coordinates the squares of distances add"""
    cov_p, cov_q = case.arrays
    k = cov_p.shape[-1] // 2
    if k == 0:
        return
    first = f(cov_p[..., :k, :k], cov_q[..., :k, :k])
    second = f(cov_p[..., k:, k:], cov_q[..., k:, k:])
    total = namespace(first).hypot(first, second)
    yield Claim(f(uncoupled(cov_p, k), uncoupled(cov_q, k)), total, _scale(total, case))


@same_mean.law
def obeys_the_triangle_inequality(f, case):
    """d(p, q) <= d(p, m) + d(m, q), with the mean m of the covariances; 0 at equality"""
    cov_p, cov_q = case.arrays
    middle = cov_p / 2 + cov_q / 2
    detour = f(cov_p, middle) + f(middle, cov_q)
    yield in_order(f(cov_p, cov_q), detour, _scale(detour, case))
    yield Claim(f(cov_p, cov_p), 0 * detour, _scale(detour, case))


@same_mean.law
def has_the_log_determinant_and_the_divergence_as_bounds(f, case):
    """|log det S_p/S_q| <= sqrt(2 d) r and KL >= r^2/(2 + sqrt(2) r), with the distance r"""
    cov_p, cov_q = (upcast(x) for x in case.arrays)
    d = cov_p.shape[-1]
    value = upcast(f(*case.arrays))
    log_ratio = logdet_from_cholesky(cholesky(cov_p)) - logdet_from_cholesky(cholesky(cov_q))
    yield in_order(abs(log_ratio), math.sqrt(2 * d) * value, 4 * d * _scale(value, case))
    # KL is a sum of (exp(x) - 1 - x)/2 >= x^2/(4 + 2 |x|), with logarithms |x| <= sqrt(2) r.
    mean = 0 * cov_p[..., 0]
    divergence = gaussian_kl.oracle(mean, cov_p, mean, cov_q)
    least = value * value / (2 + math.sqrt(2) * value)
    yield in_order(least, divergence, _scale(divergence + value, case))


for law in (
    pairs.is_not_negative,
    pairs.is_symmetric,
    pairs.vanishes_at_equality,
    pairs.depends_on_the_difference_of_means,
    pairs.ignores_the_coordinates,
):

    @functools.wraps(law)
    def with_its_scale(f, case, law=law):
        for claim in law(f, case):
            yield claim._replace(scale=_scale(claim.right, case) + claim.scale)

    bound.law(with_its_scale)


@bound.law
def is_exact_for_equal_means(f, case):
    """For equal means it is the Fisher-Rao distance"""
    mean_p, cov_p, _, cov_q = case.arrays
    value = fisher_rao_same_mean.oracle(cov_p, cov_q)
    found = f(mean_p, cov_p, mean_p, cov_q)
    yield Claim(found, value + 0 * upcast(found), _scale(value, case))


@bound.law
def is_below_the_distances_that_are_known(f, case):
    """At most the Fisher-Rao distances on the line, of one covariance, and of diagonals"""
    mean_p, cov_p, mean_q, cov_q = (upcast(x) for x in case.arrays)
    xp = namespace(mean_p)
    shifted = upcast(f(mean_p, cov_q, mean_q, cov_q))
    larger = fisher_rao_same_covariance.oracle(mean_p, mean_q, cov_q)
    yield in_order(shifted, larger, _scale(larger, case))
    var_p, var_q = (xp.diagonal(x, axis1=-2, axis2=-1) for x in (cov_p, cov_q))
    identity = xp.eye(mean_p.shape[-1], dtype=mean_p.dtype)
    found = f(mean_p, cov_p * identity, mean_q, cov_q * identity)
    larger = fisher_rao_diagonal.oracle(mean_p, var_p, mean_q, var_q)
    yield in_order(upcast(found), larger, _scale(larger, case))
    first = f(mean_p[..., :1], cov_p[..., :1, :1], mean_q[..., :1], cov_q[..., :1, :1])
    line = (mean_p[..., 0], var_p[..., 0], mean_q[..., 0], var_q[..., 0])
    larger = fisher_rao_univariate.oracle(*line)
    yield in_order(upcast(first), larger, _scale(larger, case))


# ------------------------------------------------------------------------------------- closed forms


@same_mean.closed_form
def proportional_covariances(rng, shape):
    """S_p = 4 S_q: sqrt(2 d) log 2"""
    cov = covariance(rng, shape.cov_q)
    answer = np.full(shape.batch, math.sqrt(2 * shape.axes["d"]) * math.log(2))
    return Case((4 * cov, cov)), answer


@same_mean.closed_form
def powers_of_two(rng, shape):
    """S_q = L L^T and S_p = L D L^T with D = 4^n: sqrt(2) |n| log 2"""
    factor = integer_factor(rng, shape.cov_q)
    powers = rng.integers(-2, 3, shape.cov_q[:-1])
    scaled = factor * 2.0 ** powers[..., None, :]
    answer = math.sqrt(2) * math.log(2) * np.sqrt((powers**2.0).sum(axis=-1))
    covs = (x @ x.swapaxes(-1, -2) for x in (scaled, factor))
    return Case(tuple(covs)), answer


@bound.closed_form
def scaled_covariance(rng, shape):
    """Equal means and S_p = 4 S_q: sqrt(2 d) log 2"""
    cov = covariance(rng, shape.cov_q)
    mean = rng.standard_normal(shape.mean_q)
    answer = np.full(shape.batch, math.sqrt(2 * shape.axes["d"]) * math.log(2))
    return Case((mean, 4 * cov, mean.copy(), cov)), answer


@bound.closed_form
def shifted_mean(rng, shape):
    """Equal covariances, delta = L z: 2 arsinh(|z|/2), of the eigenvalues exp(+-2 arsinh(|z|/2))"""
    factor = integer_factor(rng, shape.cov_q)
    cov = factor @ factor.swapaxes(-1, -2)
    z = rng.integers(1, 4, shape.mean_p).astype(float)
    mean_p = (factor @ z[..., None])[..., 0]
    answer = 2 * np.arcsinh(np.sqrt((z * z).sum(axis=-1)) / 2)
    return Case((mean_p, cov, np.zeros(shape.mean_q), cov.copy())), answer
