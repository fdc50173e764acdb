"""Evidence for the overlap of two Gaussians."""

from __future__ import annotations

import math

import numpy as np

from refimpl.backend import like, namespace
from refimpl.evidence import Budget, Case, Claim, Evidence, Sizes
from refimpl.evidence.gaussian.pairs import (
    OF_MEANS,
    depends_on_the_difference_of_means,
    diagonal,
    far_apart,
    generic,
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
    uncoupled_blocks,
    vanishes_at_equality,
)
from refimpl.evidence.gaussian.shared import covariance, integer_factor
from refimpl.formula import upcast
from refimpl.gaussian.density import gaussian_log_density
from refimpl.gaussian.divergence import gaussian_kl
from refimpl.gaussian.overlap import (
    bhattacharyya_coefficient,
    bhattacharyya_distance,
    hellinger_squared,
)

_RECORD = {"sizes": {"d": Sizes(1, 1, 8)}, "budget": Budget(k=8.0, floor=16.0)}

distance = Evidence(
    bhattacharyya_distance,
    **_RECORD,
    unchanged=OF_MEANS | symmetric(),
)
coefficient = Evidence(
    bhattacharyya_coefficient,
    **_RECORD,
    unchanged=OF_MEANS | symmetric(),
)
hellinger = Evidence(
    hellinger_squared,
    fixed={"normalisation": "unit"},
    **_RECORD,
    unchanged=OF_MEANS | symmetric(),
)

register(distance)
register(hellinger, far=False)
for sample in (generic, diagonal, same_covariance):
    coefficient.regime(sample)
for law in (is_symmetric, depends_on_the_difference_of_means, ignores_the_coordinates):
    for of in (distance, coefficient, hellinger):
        of.law(law)
for law in (is_not_negative, vanishes_at_equality, processing_brings_closer):
    for of in (distance, hellinger):
        of.law(law)
distance.law(independent_blocks_add)


@coefficient.regime(adversarial=True)
def disjoint(rng, shape):
    """Narrow and 16 standard deviations apart: the coefficient is close to 0, or underflows."""
    return far_apart(rng, shape)


# --------------------------------------------------------------------------------------------- laws


@distance.law
def is_at_most_half_the_divergence(f, case):
    """2 BD <= KL(p || q), 2 BD <= KL(q || p)"""
    mean_p, cov_p, mean_q, cov_q = case.arrays
    value = 2 * f(*case.arrays)
    for larger in (
        gaussian_kl.oracle(mean_p, cov_p, mean_q, cov_q),
        gaussian_kl.oracle(mean_q, cov_q, mean_p, cov_p),
    ):
        yield in_order(upcast(value), larger, scale_of(larger, case))


@distance.law
def parts_of_mean_and_covariance_add(f, case):
    """BD(p, q) = BD of the centred + |delta|^2/8 in the metric of the mean covariance"""
    mean_p, cov_p, mean_q, cov_q = case.arrays
    middle = cov_p / 2 + cov_q / 2
    centred = f(mean_p, cov_p, mean_p, cov_q)
    shifted = f(mean_p, middle, mean_q, middle)
    yield Claim(f(*case.arrays), centred + shifted, scale_of(centred + shifted, case))


@distance.law
def is_an_integral(f, case):
    """exp(-BD) of the first coordinates is the integral of the root of the densities' product"""
    value = namespace(case.arrays[0]).exp(-f(*_first_coordinates(case)))
    yield Claim(value, _affinity(case), 4 * (1 + case.arrays[0].shape[-1]))


@coefficient.law
def coefficient_is_an_integral(f, case):
    """BC of the first coordinates is the integral of the root of the densities' product"""
    yield Claim(f(*_first_coordinates(case)), _affinity(case), 64.0)


@hellinger.law
def square_is_an_integral(f, case):
    """H^2 of the first coordinates is one minus the integral of sqrt(p q), in its unit"""
    unit = 2.0 if case.options.get("normalisation") == "double" else 1.0
    value = f(*_first_coordinates(case), **case.options)
    yield Claim(value, unit * (1 - _affinity(case)), 64.0)


def _first_coordinates(case):
    mean_p, cov_p, mean_q, cov_q = case.arrays
    return mean_p[..., :1], cov_p[..., :1, :1], mean_q[..., :1], cov_q[..., :1, :1]


def _affinity(case):
    """The integral of sqrt(p q) in one dimension, by the trapezoidal rule about its centre."""
    mean_p, cov_p, mean_q, cov_q = (upcast(x) for x in _first_coordinates(case))
    xp = namespace(mean_p)
    total = cov_p[..., 0] + cov_q[..., 0]
    centre = (mean_p * cov_q[..., 0] + mean_q * cov_p[..., 0]) / total
    deviation = xp.sqrt(2 * cov_p[..., 0] * cov_q[..., 0] / total)
    # For a Gaussian the rule with a step of half a standard deviation errs by exp(-79).
    steps = like(np.linspace(-9.0, 9.0, 37), mean_p).reshape(-1, *(1,) * deviation.ndim)
    points = centre + deviation * steps
    log_p = gaussian_log_density.oracle(points, mean_p, cov_p)
    log_q = gaussian_log_density.oracle(points, mean_q, cov_q)
    return 0.5 * xp.exp((log_p + log_q) / 2).sum(axis=0) * deviation[..., 0]


@coefficient.law
def lies_between_zero_and_one(f, case):
    """0 <= BC <= 1, with 1 at equality"""
    value = f(*case.arrays)
    xp = namespace(value)
    yield Claim(xp.clip(value, 0, 1), value, 4.0)
    mean_p, cov_p, _, _ = case.arrays
    yield Claim(f(mean_p, cov_p, mean_p, cov_p), xp.ones_like(value), 4.0 * mean_p.shape[-1])


@coefficient.law
def independent_blocks_multiply(f, case):
    """Without correlation between two blocks of coordinates their coefficients multiply"""
    for whole, parts in uncoupled_blocks(case):
        first, second = (f(*part) for part in parts)
        yield Claim(f(*whole), first * second, scale_of(first, case))


@hellinger.law
def rises_to_its_largest_value(f, case):
    """H^2 <= 1 (or 2), and the distance from a far copy of q is that"""
    mean_p, cov_p, mean_q, cov_q = case.arrays
    value = f(*case.arrays, **case.options)
    xp = namespace(value)
    largest = xp.ones_like(value) * (2 if case.options.get("normalisation") == "double" else 1)
    yield in_order(value, largest, 4.0)
    axis = (
        xp.ones_like(mean_q) * 64 * xp.sqrt(xp.trace(cov_p + cov_q, axis1=-2, axis2=-1))[..., None]
    )
    yield Claim(f(mean_q + axis, cov_q, mean_q, cov_q, **case.options), largest, 4.0)


@hellinger.law
def root_obeys_the_triangle_inequality(f, case):
    """H(p, q) <= H(p, m) + H(m, q), with m half way in means and covariances"""
    mean_p, cov_p, mean_q, cov_q = case.arrays
    middle = mean_p / 2 + mean_q / 2, cov_p / 2 + cov_q / 2
    sides = f(mean_p, cov_p, *middle, **case.options), f(*middle, mean_q, cov_q, **case.options)
    xp = namespace(mean_p)
    # Squared: roots of rounding errors would be large.
    detour = (xp.sqrt(abs(sides[0])) + xp.sqrt(abs(sides[1]))) ** 2
    yield in_order(f(*case.arrays, **case.options), detour, scale_of(detour, case))


# ------------------------------------------------------------------------------------- closed forms


def _answers(case, distances):
    """The case and its answer, for each of the three."""
    yield distance, (case, distances)
    yield coefficient, (case, np.exp(-distances))
    yield hellinger, (case.with_options(normalisation="double"), -2 * np.expm1(-distances))


def _for_all(sample):
    """Register a sampler of (case, distance) as a closed form of all three formulas."""
    for place, of in enumerate((distance, coefficient, hellinger)):

        def answer(rng, shape, place=place):
            return list(_answers(*sample(rng, shape)))[place][1]

        answer.__name__, answer.__doc__ = sample.__name__, sample.__doc__
        of.closed_form(answer)
    return sample


@_for_all
def independent_coordinates(rng, shape):
    """Diagonal covariances: sum of delta^2/(4 (v_p + v_q)) + log((v_p + v_q)/(2 s_p s_q))/2"""
    case = diagonal(rng, shape)
    mean_p, cov_p, mean_q, cov_q = case.arrays
    variances_p = np.diagonal(cov_p, axis1=-2, axis2=-1)
    variances_q = np.diagonal(cov_q, axis1=-2, axis2=-1)
    total = variances_p + variances_q
    shape_terms = 0.5 * np.log(total / (2 * np.sqrt(variances_p * variances_q)))
    return case, ((mean_p - mean_q) ** 2 / (4 * total) + shape_terms).sum(axis=-1)


@_for_all
def proportional_covariances(rng, shape):
    """S_p = 4 S_q and equal means: d log(5/4)/2"""
    cov = covariance(rng, shape.cov_q)
    mean = rng.standard_normal(shape.mean_q)
    answer = np.full(shape.batch, 0.5 * shape.axes["d"] * math.log(1.25))
    return Case((mean, 4 * cov, mean.copy(), cov)), answer


@_for_all
def shifted_mean(rng, shape):
    """Equal covariances L L^T and delta = L z, with small integers: |z|^2/8"""
    factor = integer_factor(rng, shape.cov_q)
    cov = factor @ factor.swapaxes(-1, -2)
    z = rng.integers(1, 3, shape.mean_p).astype(float)
    mean_p = (factor @ z[..., None])[..., 0]
    return Case((mean_p, cov, np.zeros(shape.mean_q), cov.copy())), (z * z).sum(axis=-1) / 8
