"""Evidence for the Jensen-Shannon divergences of two Gaussians."""

from __future__ import annotations

import math

import numpy as np

from refimpl.backend import namespace, solve
from refimpl.evidence import Budget, Case, Claim, Evidence, Sizes
from refimpl.evidence.gaussian.divergence import apart
from refimpl.evidence.gaussian.pairs import (
    OF_MEANS,
    depends_on_the_difference_of_means,
    diagonal,
    ignores_the_coordinates,
    in_order,
    independent_blocks_add,
    is_not_negative,
    processing_brings_closer,
    register,
    scale_of,
    symmetric,
    vanishes_at_equality,
)
from refimpl.evidence.gaussian.shared import covariance, integer_factor
from refimpl.formula import upcast
from refimpl.gaussian.divergence import gaussian_kl, jeffreys_divergence
from refimpl.gaussian.jensen import (
    dual_geometric_jensen_shannon,
    geometric_jensen_shannon,
    jensen_shannon_bounds,
)
from refimpl.gaussian.overlap import bhattacharyya_distance, hellinger_squared
from refimpl.gaussian.renyi import renyi_divergence

_RECORD = {"sizes": {"d": Sizes(1, 1, 6)}, "budget": Budget(k=8.0, floor=16.0)}

geometric = Evidence(
    geometric_jensen_shannon,
    **_RECORD,
    unchanged=OF_MEANS,
)
dual = Evidence(
    dual_geometric_jensen_shannon,
    **_RECORD,
    unchanged=OF_MEANS,
)
bounds = Evidence(
    jensen_shannon_bounds,
    **_RECORD,
    unchanged=OF_MEANS | symmetric(),
)


# ------------------------------------------------------------------------------------------ regimes


def some_weight(rng, shape):
    """Weights away from 1/2, at which the conventions agree."""
    weight = rng.uniform(0.15, 0.4, shape.batch)
    return {"weight": np.where(rng.random(shape.batch) < 0.5, weight, 1 - weight)}


def some_weights_apart(rng, shape):
    """p 4 times as narrow as q, its mean 4 standard deviations of q away."""
    return apart(rng, shape).with_options(**some_weight(rng, shape))


for of in (geometric, dual):
    register(of, far=False, options=some_weight)
    of.regime(some_weights_apart, adversarial=True)
register(bounds, far=False)

# --------------------------------------------------------------------------------------------- laws

for law in (
    is_not_negative,
    vanishes_at_equality,
    depends_on_the_difference_of_means,
    ignores_the_coordinates,
    independent_blocks_add,
):
    for of in (geometric, dual):
        of.law(law)
dual.law(processing_brings_closer)


@geometric.law
@dual.law
def exchange_of_arguments_exchanges_the_weights(f, case):
    """D_a(p, q) = D_{1-a}(q, p)"""
    mean_p, cov_p, mean_q, cov_q = case.arrays
    weight = case.options["weight"]
    value = f(*case.arrays, weight=weight)
    backward = f(mean_q, cov_q, mean_p, cov_p, weight=1 - weight)
    yield Claim(backward, value, scale_of(value, case))


def _middle(case):
    """Means and covariances of p, q and G, in float64; G by its precision."""
    mean_p, cov_p, mean_q, cov_q = (upcast(x) for x in case.arrays)
    weight = upcast(case.options["weight"])[..., None, None]
    xp = namespace(mean_p)
    identity = xp.eye(mean_p.shape[-1], dtype=mean_p.dtype)
    precision_p, precision_q = solve(cov_p, identity), solve(cov_q, identity)
    cov = solve((1 - weight) * precision_p + weight * precision_q, identity)
    linear = (1 - weight) * (precision_p @ mean_p[..., None])
    linear = linear + weight * (precision_q @ mean_q[..., None])
    return (mean_p, cov_p), (mean_q, cov_q), ((cov @ linear)[..., 0], cov)


@geometric.law(slack=256.0)
def is_the_weighted_divergence_to_the_geometric_mean(f, case):
    """(1 - a) KL(p || G) + a KL(q || G), with G by its precision"""
    p, q, middle = _middle(case)
    weight = upcast(case.options["weight"])
    to_p, to_q = gaussian_kl.oracle(*p, *middle), gaussian_kl.oracle(*q, *middle)
    total = (1 - weight) * to_p + weight * to_q
    yield Claim(f(*case.arrays, **case.options), total, _graded_scale(total, case))


@dual.law(slack=256.0)
def is_the_weighted_divergence_from_the_geometric_mean(f, case):
    """(1 - a) KL(G || p) + a KL(G || q), with G by its precision"""
    p, q, middle = _middle(case)
    weight = upcast(case.options["weight"])
    total = (1 - weight) * gaussian_kl.oracle(*middle, *p)
    total = total + weight * gaussian_kl.oracle(*middle, *q)
    yield Claim(f(*case.arrays, **case.options), total, _graded_scale(total, case))


def _graded_scale(value, case):
    """Inverting a covariance costs more digits the more its units differ."""
    _, cov_p, mean_q, cov_q = case.arrays
    total = namespace(cov_p).diagonal(cov_p + cov_q, axis1=-2, axis2=-1)
    return scale_of(value, case) * (1 + abs(mean_q).max()) * (total.max() / total.min())


@geometric.law
def halves_are_at_most_a_quarter_of_jeffreys(f, case):
    """GJS_{1/2} <= J/4"""
    half = 0 * case.options["weight"] + 0.5
    larger = jeffreys_divergence.oracle(*case.arrays) / 4
    value = f(*case.arrays, weight=half)
    yield in_order(upcast(value), larger, scale_of(larger, case))


@dual.law
def has_known_members(f, case):
    """GJS*_{1/2} = BD, and GJS*_a = a D_{1-a}(p || q)"""
    weight = case.options["weight"]
    distance = bhattacharyya_distance.oracle(*case.arrays)
    yield Claim(f(*case.arrays, weight=0 * weight + 0.5), distance, scale_of(distance, case))
    weight = upcast(weight)
    value = weight * renyi_divergence.oracle(*case.arrays, order=1 - weight)
    yield Claim(f(*case.arrays, **case.options), value, scale_of(value, case))


@bounds.law
def lie_between_zero_and_log_2_in_order(f, case):
    """0 <= lower <= upper <= log 2, and upper <= lower/log 2"""
    lower, upper = f(*case.arrays)
    xp = namespace(lower)
    yield in_order(0 * lower, lower, 4.0)
    yield in_order(lower, upper, 4.0)
    yield in_order(upper, xp.ones_like(upper) * math.log(2), 4.0)
    yield in_order(upper, lower / math.log(2), 4.0)


@bounds.law
def lie_within_wider_bounds(f, case):
    """H^2/2 <= lower, upper <= J/8 and upper <= 2 log 2 H^2, both symmetric in p and q"""
    mean_p, cov_p, mean_q, cov_q = case.arrays
    lower, upper = f(*case.arrays)
    hellinger = hellinger_squared.oracle(*case.arrays, normalisation="unit")
    jeffreys = jeffreys_divergence.oracle(*case.arrays)
    scale = scale_of(hellinger, case)
    yield in_order(hellinger / 2, upcast(lower), scale)
    yield in_order(upcast(upper), 2 * math.log(2) * hellinger, scale)
    yield in_order(upcast(upper), jeffreys / 8, scale_of(jeffreys, case))
    for value, other in zip((lower, upper), f(mean_q, cov_q, mean_p, cov_p), strict=True):
        yield Claim(other, value, scale)


@bounds.law
def follow_from_hellingers_distance(f, case):
    """lower = log 2 H^2, upper = min(H^2, log 2 sqrt(H^2 (2 - H^2))), 0 at equality"""
    mean_p, cov_p, _, _ = case.arrays
    lower, upper = f(*case.arrays)
    square = hellinger_squared.oracle(*case.arrays, normalisation="unit")
    xp = namespace(square)
    yield Claim(lower, math.log(2) * square, scale_of(square, case))
    bound = xp.minimum(square, math.log(2) * xp.sqrt(square * (2 - square)))
    yield Claim(upper, bound, scale_of(square, case))
    for value in f(mean_p, cov_p, mean_p, cov_p):
        yield Claim(value, 0 * value, 4.0 * mean_p.shape[-1])


# ------------------------------------------------------------------------------------- closed forms


@geometric.closed_form
def proportional_covariances(rng, shape):
    """S_p = 4 S_q, equal means and a = 1/4: d (27/64 + log(16/7) - 3 log(4)/4)/2"""
    cov = covariance(rng, shape.cov_q)
    mean = rng.standard_normal(shape.mean_q)
    # G has the variances 16/7 of q: (3/4) 4/(16/7) + (1/4)/(16/7) = 91/64.
    answer = 0.5 * (91 / 64 - 1 + math.log(16 / 7) - 0.75 * math.log(4)) * shape.axes["d"]
    case = Case((mean, 4 * cov, mean.copy(), cov), {"weight": np.full(shape.batch, 0.25)})
    return case, np.full(shape.batch, answer)


@geometric.closed_form
@dual.closed_form
def shifted_mean(rng, shape):
    """Equal covariances L L^T and delta = L z, with small integers: a (1 - a) |z|^2/2"""
    factor = integer_factor(rng, shape.cov_q)
    cov = factor @ factor.swapaxes(-1, -2)
    z = rng.integers(1, 4, shape.mean_p).astype(float)
    mean_p = (factor @ z[..., None])[..., 0]
    weight = rng.integers(1, 8, shape.batch) / 8
    case = Case((mean_p, cov, np.zeros(shape.mean_q), cov.copy()), {"weight": weight})
    return case, weight * (1 - weight) * (z * z).sum(axis=-1) / 2


@geometric.closed_form
def independent_coordinates(rng, shape):
    """Diagonal: the weighted sum of univariate divergences to G"""
    case = diagonal(rng, shape).with_options(**some_weight(rng, shape))
    mean_p, cov_p, mean_q, cov_q = case.arrays
    w = case.options["weight"][..., None]
    var_p, var_q = (np.diagonal(x, axis1=-2, axis2=-1) for x in (cov_p, cov_q))
    var = 1 / ((1 - w) / var_p + w / var_q)
    mean = var * ((1 - w) * mean_p / var_p + w * mean_q / var_q)
    to_p = (var_p + (mean_p - mean) ** 2) / var - 1 - np.log(var_p / var)
    to_q = (var_q + (mean_q - mean) ** 2) / var - 1 - np.log(var_q / var)
    return case, 0.5 * ((1 - w) * to_p + w * to_q).sum(axis=-1)


@dual.closed_form
def dual_of_proportional_covariances(rng, shape):
    """S_p = 4 S_q, equal means and a = 1/4: d (log(7/4) - log(4)/4)/2"""
    cov = covariance(rng, shape.cov_q)
    mean = rng.standard_normal(shape.mean_q)
    answer = 0.5 * (math.log(7 / 4) - 0.25 * math.log(4)) * shape.axes["d"]
    case = Case((mean, 4 * cov, mean.copy(), cov), {"weight": np.full(shape.batch, 0.25)})
    return case, np.full(shape.batch, answer)


@bounds.closed_form
def bounds_of_shifted_means(rng, shape):
    """Equal covariances and delta = L z: from 1 - exp(-|z|^2/8) and 1 - exp(-|z|^2/4)"""
    factor = integer_factor(rng, shape.cov_q)
    cov = factor @ factor.swapaxes(-1, -2)
    z = rng.integers(1, 3, shape.mean_p).astype(float)
    mean_p = (factor @ z[..., None])[..., 0]
    squares = (z * z).sum(axis=-1)
    hellinger, variation = -np.expm1(-squares / 8), np.sqrt(-np.expm1(-squares / 4))
    answer = math.log(2) * hellinger, np.minimum(hellinger, math.log(2) * variation)
    return Case((mean_p, cov, np.zeros(shape.mean_q), cov.copy())), answer


@bounds.closed_form
def bounds_of_disjoint_gaussians(rng, shape):
    """Means 64 standard deviations apart: log 2 and log 2"""
    cov = np.broadcast_to(np.eye(shape.axes["d"]), shape.cov_q).copy()
    answer = np.full(shape.batch, math.log(2))
    case = Case((np.full(shape.mean_p, 64.0), cov, np.zeros(shape.mean_q), cov.copy()))
    return case, (answer, answer.copy())
