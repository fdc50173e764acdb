"""Evidence for the Chernoff coefficient and information of two Gaussians."""

from __future__ import annotations

import math

import numpy as np

from refimpl.backend import namespace
from refimpl.evidence import Budget, Case, Claim, Evidence, Sizes
from refimpl.evidence.gaussian.pairs import (
    OF_MEANS,
    depends_on_the_difference_of_means,
    diagonal,
    far_apart,
    generic,
    ignores_the_coordinates,
    in_order,
    is_not_negative,
    is_symmetric,
    processing_brings_closer,
    register,
    same_covariance,
    scale_of,
    symmetric,
    uncoupled_blocks,
    vanishes_at_equality,
    with_options,
)
from refimpl.evidence.gaussian.renyi import below_one, power_integral
from refimpl.evidence.gaussian.shared import covariance, integer_factor
from refimpl.formula import upcast
from refimpl.gaussian.chernoff import chernoff_coefficient, chernoff_information
from refimpl.gaussian.divergence import gaussian_kl
from refimpl.gaussian.overlap import bhattacharyya_coefficient, bhattacharyya_distance
from refimpl.gaussian.renyi import renyi_divergence

coefficient = Evidence(
    chernoff_coefficient,
    sizes={"d": Sizes(1, 1, 6)},
    budget=Budget(k=8.0, floor=16.0),
    unchanged=OF_MEANS,
)
information = Evidence(
    chernoff_information,
    sizes={"d": Sizes(1, 1, 4)},
    budget=Budget(k=8.0, floor=16.0),
    unchanged=OF_MEANS | symmetric(),
)


# ------------------------------------------------------------------------------------------ regimes


for sample in (generic, diagonal, same_covariance):
    coefficient.regime(with_options(sample, below_one))
coefficient.regime(with_options(far_apart, below_one), adversarial=True)
register(information)

# --------------------------------------------------------------------------------------------- laws

for law in (depends_on_the_difference_of_means, ignores_the_coordinates):
    coefficient.law(law)
for law in (
    is_not_negative,
    vanishes_at_equality,
    depends_on_the_difference_of_means,
    ignores_the_coordinates,
    processing_brings_closer,
    is_symmetric,
):
    information.law(law)


@coefficient.law
def lies_between_zero_and_one(f, case):
    """0 <= c_a <= 1, with 1 at equality"""
    value = f(*case.arrays, **case.options)
    xp = namespace(value)
    yield Claim(xp.clip(value, 0, 1), value, 4.0)
    mean_p, cov_p, _, _ = case.arrays
    same = f(mean_p, cov_p, mean_p, cov_p, **case.options)
    yield Claim(same, xp.ones_like(value), 4.0 * mean_p.shape[-1])


@coefficient.law
def exchange_of_arguments_reverses_the_order(f, case):
    """c_a(p, q) = c_{1-a}(q, p)"""
    mean_p, cov_p, mean_q, cov_q = case.arrays
    order = case.options["order"]
    value = f(*case.arrays, order=order)
    # Rounding 1 - a changes the logarithm by parts of itself.
    scale = scale_of(value, case) - value * namespace(value).log(value + 1e-300)
    yield Claim(f(mean_q, cov_q, mean_p, cov_p, order=1 - order), value, scale)


@coefficient.law
def has_known_members(f, case):
    """c_{1/2} = BC, and -log c_a = (1 - a) D_a"""
    order = case.options["order"]
    half = f(*case.arrays, order=0 * order + 0.5)
    yield Claim(half, bhattacharyya_coefficient.oracle(*case.arrays), scale_of(half, case))
    exponent = (1 - upcast(order)) * renyi_divergence.oracle(*case.arrays, order=order)
    value = namespace(exponent).exp(-exponent)
    yield Claim(f(*case.arrays, order=order), value, (1 + exponent) * scale_of(value, case))


@coefficient.law
def is_an_integral(f, case):
    """c_a of the first coordinates is the integral of p^a q^(1-a)"""
    mean_p, cov_p, mean_q, cov_q = case.arrays
    first = mean_p[..., :1], cov_p[..., :1, :1], mean_q[..., :1], cov_q[..., :1, :1]
    order = case.options["order"]
    integral = power_integral(upcast(order), *map(upcast, first))
    yield Claim(f(*first, order=order), integral, 64.0)


@coefficient.law
def independent_blocks_multiply(f, case):
    """Without correlation between two blocks of coordinates their coefficients multiply"""
    for whole, parts in uncoupled_blocks(case):
        first, second = (f(*part, **case.options) for part in parts)
        yield Claim(f(*whole, **case.options), first * second, scale_of(first, case))


@information.law
def lies_between_its_bounds(f, case):
    """BD <= C <= KL(p || q), KL(q || p)"""
    mean_p, cov_p, mean_q, cov_q = case.arrays
    value = upcast(f(*case.arrays))
    yield in_order(bhattacharyya_distance.oracle(*case.arrays), value, scale_of(value, case))
    for larger in (
        gaussian_kl.oracle(mean_p, cov_p, mean_q, cov_q),
        gaussian_kl.oracle(mean_q, cov_q, mean_p, cov_p),
    ):
        yield in_order(value, larger, scale_of(larger, case))


@information.law
def is_the_largest_exponent(f, case):
    """(1 - a) D_a <= C for all a"""
    value = upcast(f(*case.arrays))
    xp = namespace(value)
    orders = np.linspace(0.05, 0.95, 7)
    exponents = [(1 - a) * renyi_divergence.oracle(*case.arrays, order=a) for a in orders]
    largest = exponents[0]
    for exponent in exponents[1:]:
        largest = xp.maximum(largest, exponent)
    yield in_order(largest, value, scale_of(value, case))


@information.law
def blocks_are_subadditive(f, case):
    """C of independent blocks is at most the sum of theirs, and at least each"""
    for whole, parts in uncoupled_blocks(case):
        first, second = (f(*part) for part in parts)
        value, scale = f(*whole), scale_of(first + second, case)
        yield in_order(value, first + second, scale)
        yield in_order(namespace(value).maximum(first, second), value, scale)


# ------------------------------------------------------------------------------------- closed forms


@coefficient.closed_form
def proportional_covariances(rng, shape):
    """S_p = 4 S_q, equal means, a = 1/3: (4^(2/3)/3)^(d/2)"""
    cov = covariance(rng, shape.cov_q)
    mean = rng.standard_normal(shape.mean_q)
    order = np.full(shape.batch, 1 / 3)
    answer = (4 ** (2 / 3) / 3) ** (shape.axes["d"] / 2)
    return Case((mean, 4 * cov, mean.copy(), cov), {"order": order}), np.full(shape.batch, answer)


@coefficient.closed_form
def shifted_mean(rng, shape):
    """Equal covariances L L^T and delta = L z, with small integers: exp(-a (1 - a) |z|^2/2)"""
    factor = integer_factor(rng, shape.cov_q)
    cov = factor @ factor.swapaxes(-1, -2)
    z = rng.integers(1, 3, shape.mean_p).astype(float)
    mean_p = (factor @ z[..., None])[..., 0]
    order = rng.integers(1, 8, shape.batch) / 8
    answer = np.exp(-order * (1 - order) * (z * z).sum(axis=-1) / 2)
    return Case((mean_p, cov, np.zeros(shape.mean_q), cov.copy()), {"order": order}), answer


@information.closed_form
def equal_covariances(rng, shape):
    """Equal covariances L L^T and delta = L z, with small integers: |z|^2/8"""
    factor = integer_factor(rng, shape.cov_q)
    cov = factor @ factor.swapaxes(-1, -2)
    z = rng.integers(1, 4, shape.mean_p).astype(float)
    mean_p = (factor @ z[..., None])[..., 0]
    return Case((mean_p, cov, np.zeros(shape.mean_q), cov.copy())), (z * z).sum(axis=-1) / 8


@information.closed_form
def quadrupled_covariance(rng, shape):
    """S_p = 4 S_q and equal means: d (s - 1 - log s)/2 with s = 4 log(4)/3"""
    cov = covariance(rng, shape.cov_q)
    mean = rng.standard_normal(shape.mean_q)
    # s S_q is the covariance that is as far from 4 S_q as from S_q.
    ratio = 4 * math.log(4) / 3
    answer = 0.5 * shape.axes["d"] * (ratio - 1 - math.log(ratio))
    return Case((mean, 4 * cov, mean.copy(), cov)), np.full(shape.batch, answer)
