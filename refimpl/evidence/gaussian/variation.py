"""Evidence for the total variation between Gaussians."""

from __future__ import annotations

import math

import numpy as np

from refimpl.backend import namespace
from refimpl.evidence import Budget, Case, Claim, Evidence, Sizes
from refimpl.evidence.gaussian.pairs import OF_MEANS, in_order, symmetric
from refimpl.evidence.gaussian.shared import (
    change_of_unit,
    covariance,
    diagonal_covariance,
    displacement,
    graded_units,
    integer_factor,
    recoordinated,
    rescale,
)
from refimpl.formula import upcast
from refimpl.gaussian.divergence import gaussian_kl
from refimpl.gaussian.overlap import bhattacharyya_coefficient, hellinger_squared
from refimpl.gaussian.variation import (
    total_variation_same_covariance,
    total_variation_univariate,
)

same_covariance = Evidence(
    total_variation_same_covariance,
    sizes={"d": Sizes(1, 1, 10)},
    budget=Budget(k=8.0, floor=16.0),
    unchanged=OF_MEANS,
)
univariate = Evidence(
    total_variation_univariate,
    budget=Budget(k=8.0, floor=16.0),
    unchanged=OF_MEANS | symmetric("var"),
)


# ---------------------------------------------------------------------------------- same covariance


def shifted(rng, shape):
    """Means some standard deviations apart, all coordinates correlated."""
    cov = covariance(rng, shape.cov)
    mean_q = rng.standard_normal(shape.mean_q)
    return Case((mean_q + displacement(rng, cov) / shape.axes["d"] ** 0.5, mean_q, cov))


def shifted_independently(rng, shape):
    """Independent coordinates."""
    cov = diagonal_covariance(rng, shape.cov)
    mean_q = rng.standard_normal(shape.mean_q)
    return Case((mean_q + displacement(rng, cov) / shape.axes["d"] ** 0.5, mean_q, cov))


def shifted_in_graded_units(rng, shape):
    """Coordinates in units from 1/64 to 16."""
    mean_p, mean_q, cov = shifted(rng, shape).arrays
    units = graded_units(rng, shape.mean_q)
    return Case((mean_p * units, mean_q * units, rescale(cov, units)))


def shifted_a_little(rng, shape):
    """Means a hundredth of a standard deviation apart."""
    mean_p, mean_q, cov = shifted(rng, shape).arrays
    mean_q = 0 * mean_q
    return Case(((mean_p - mean_p.mean()) / 100, mean_q, cov))


same_covariance.regime(shifted)
same_covariance.regime(shifted_independently)
same_covariance.regime(shifted_in_graded_units, adversarial=True)
same_covariance.regime(shifted_a_little, adversarial=True)


@same_covariance.law
def is_symmetric_and_translates(f, case):
    """TV(p, q) = TV(q, p), and only the difference of the means counts"""
    mean_p, mean_q, cov = case.arrays
    value = f(*case.arrays)
    scale = 8.0 * (1 + mean_p.shape[-1])
    yield Claim(f(mean_q, mean_p, cov), value, scale)
    yield Claim(f(mean_p - mean_q, mean_q - mean_q, cov), value, scale)


@same_covariance.law
def ignores_the_coordinates(f, case):
    """TV is invariant under x -> C x, here a permutation with scales, which rounds nothing"""
    mean_p, mean_q, cov = case.arrays
    units, order = change_of_unit(mean_p)
    means = ((x * units)[..., order] for x in (mean_p, mean_q))
    moved = f(*means, recoordinated(cov, units, order))
    yield Claim(moved, f(*case.arrays), 8.0 * (1 + mean_p.shape[-1]))


@same_covariance.law
def grows_in_step_with_the_line(f, case):
    """It is that of N(r, 1) and N(0, 1), with Mahalanobis' distance r"""
    mean_p, mean_q, cov = (upcast(x) for x in case.arrays)
    squares = 2 * gaussian_kl.oracle(mean_p, cov, mean_q, cov)
    xp = namespace(squares)
    distance, zero = xp.sqrt(squares), xp.zeros_like(squares)
    value = total_variation_univariate.oracle(distance, zero + 1, zero, zero + 1)
    yield Claim(f(*case.arrays), value, 8.0 * (1 + mean_p.shape[-1]))


@same_covariance.law
def lies_between_hellinger_bounds(f, case):
    """H^2 <= TV <= sqrt(1 - BC^2), and TV <= sqrt(KL/2)"""
    mean_p, mean_q, cov = case.arrays
    yield from _hellinger_bounds(upcast(f(*case.arrays)), (mean_p, cov, mean_q, cov))


def _hellinger_bounds(value, arrays):
    xp = namespace(value)
    scale = 16.0 * (1 + arrays[0].shape[-1])
    hellinger = hellinger_squared.oracle(*arrays, normalisation="unit")
    overlap = bhattacharyya_coefficient.oracle(*arrays)
    divergence = gaussian_kl.oracle(*arrays)
    yield in_order(hellinger, value, scale)
    # Squared: roots of rounding errors would be large.
    yield in_order(value * value, 1 - overlap * overlap, scale)
    yield in_order(value * value, xp.minimum(divergence / 2, -xp.expm1(-divergence)), scale)


@same_covariance.closed_form
def integer_shift(rng, shape):
    """Covariances L L^T and delta = L z, with z of halves: erf(|z|/sqrt 8)"""
    factor = integer_factor(rng, shape.cov)
    z = rng.integers(1, 4, shape.mean_p) / 2
    mean_p = (factor @ z[..., None])[..., 0]
    distance = np.sqrt((z * z).sum(axis=-1))
    answer = np.vectorize(math.erf, otypes=[float])(distance / math.sqrt(8))
    cov = factor @ factor.swapaxes(-1, -2)
    return Case((mean_p, np.zeros(shape.mean_q), cov)), answer


@same_covariance.closed_form
def equal_means(rng, shape):
    """Equal means: 0"""
    mean = rng.standard_normal(shape.mean_p)
    return Case((mean, mean.copy(), covariance(rng, shape.cov))), np.zeros(shape.batch)


# --------------------------------------------------------------------------------------- univariate


@univariate.regime
def unrelated(rng, shape):
    """Variances of 1/4 to 16, means some standard deviations apart."""
    var_p, var_q = (4.0 ** rng.uniform(-1, 2, shape.var_q) for _ in range(2))
    mean_q = rng.standard_normal(shape.mean_q)
    step = rng.choice([-1.0, 1.0], shape.mean_q) * rng.uniform(0.5, 2, shape.mean_q)
    return Case((mean_q + step * np.sqrt(var_q), var_p, mean_q, var_q))


@univariate.regime
def concentric(rng, shape):
    """Equal means."""
    mean_p, var_p, _, var_q = unrelated(rng, shape).arrays
    return Case((mean_p, var_p, mean_p.copy(), 2 * var_p + var_q))


@univariate.regime(adversarial=True)
def equal_variances(rng, shape):
    """Equal variances, for which one point of p = q is at infinity."""
    mean_p, _, mean_q, var_q = unrelated(rng, shape).arrays
    return Case((mean_p, var_q.copy(), mean_q, var_q))


@univariate.regime(adversarial=True)
def narrow_beside_wide(rng, shape):
    """p 16 times as narrow as q."""
    mean_p, var_p, mean_q, var_q = unrelated(rng, shape).arrays
    return Case((mean_p, var_p / 256, mean_q, var_q))


@univariate.regime(adversarial=True, advisory=True)
def close_by(rng, shape):
    """p and q differ by 0.3 % to 10 % of themselves, enough to stay off the kink at p = q."""
    mean_p, _, mean_q, var_q = unrelated(rng, shape).arrays
    difference = 10.0 ** -rng.uniform(1, 2.5, shape.batch)
    var_p = var_q * (1 + difference * rng.uniform(-1, 1, shape.batch))
    return Case((mean_q + difference * (mean_p - mean_q), var_p, mean_q, var_q))


@univariate.law
def is_symmetric(f, case):
    """TV(p, q) = TV(q, p) = TV with both means reflected"""
    mean_p, var_p, mean_q, var_q = case.arrays
    value = f(*case.arrays)
    yield Claim(f(mean_q, var_q, mean_p, var_p), value, 16.0)
    yield Claim(f(-mean_p, var_p, -mean_q, var_q), value, 16.0)


@univariate.law
def ignores_unit_and_origin(f, case):
    """TV is invariant under x -> 2 x and translations"""
    mean_p, var_p, mean_q, var_q = case.arrays
    value = f(*case.arrays)
    yield Claim(f(2 * mean_p, 4 * var_p, 2 * mean_q, 4 * var_q), value, 16.0)
    yield Claim(f(mean_p - mean_q, var_p, mean_q - mean_q, var_q), value, 16.0)


@univariate.law
def lies_between_its_bounds(f, case):
    """H^2 <= TV <= sqrt(1 - BC^2), TV <= sqrt(KL/2), and TV <= 1"""
    mean_p, var_p, mean_q, var_q = (x[..., None] for x in case.arrays)
    value = f(*case.arrays)
    arrays = mean_p, var_p[..., None], mean_q, var_q[..., None]
    yield from _hellinger_bounds(upcast(value), arrays)
    yield in_order(value, namespace(value).ones_like(value), 16.0)


@univariate.law
def obeys_the_triangle_inequality(f, case):
    """TV(p, q) <= TV(p, m) + TV(m, q), with m between them"""
    mean_p, var_p, mean_q, var_q = case.arrays
    middle = mean_p / 2 + mean_q / 2, var_p / 2 + var_q / 2
    detour = f(mean_p, var_p, *middle) + f(*middle, mean_q, var_q)
    yield in_order(f(*case.arrays), detour, 32.0)


@univariate.law
def noise_brings_closer(f, case):
    """Adding the same noise to both never increases TV"""
    mean_p, var_p, mean_q, var_q = case.arrays
    noisy = f(mean_p, var_p + var_q, mean_q, var_q + var_q)
    yield in_order(noisy, f(*case.arrays), 16.0)


@univariate.law
def vanishes_at_equality(f, case):
    """TV(p, p) = 0"""
    mean_p, var_p, _, _ = case.arrays
    value = f(mean_p, var_p, mean_p, var_p)
    yield Claim(value, namespace(value).zeros_like(value), 16.0)


def _normal(x):
    return 0.5 * (1 + np.vectorize(math.erf, otypes=[float])(np.asarray(x) / math.sqrt(2)))


@univariate.closed_form
def equal_deviations(rng, shape):
    """Equal variances: erf(|delta|/sqrt(8 v))"""
    powers = 4.0 ** rng.integers(-2, 3, shape.var_q)
    mean = np.rint(rng.standard_normal(shape.mean_q))
    steps = rng.integers(1, 7, shape.mean_q) / 2
    answer = 2 * _normal(steps / 2) - 1
    return Case((mean + steps * np.sqrt(powers), powers, mean, powers.copy())), answer


@univariate.closed_form
def doubled_deviation(rng, shape):
    """N(m, v) and N(m, 4 v): 2 (Phi(x) - Phi(x/2)) with x^2 = (8/3) log 2"""
    mean, var = rng.standard_normal(shape.mean_q), rng.uniform(0.5, 4, shape.var_q)
    x = math.sqrt(8 * math.log(2) / 3)
    answer = np.full(shape.batch, 2 * float(_normal(x) - _normal(x / 2)))
    return Case((mean, var, mean.copy(), 4 * var)), answer


@univariate.closed_form
def disjoint(rng, shape):
    """Means 64 deviations apart: 1"""
    mean = rng.standard_normal(shape.mean_q)
    one = np.ones(shape.var_q)
    return Case((mean + 64, one, mean, 2 * one)), np.ones(shape.batch)
