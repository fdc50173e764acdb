"""Evidence for the divergences of any order between two Gaussians."""

from __future__ import annotations

import numpy as np

from refimpl.backend import like, namespace
from refimpl.evidence import Budget, Case, Claim, Evidence, Sizes
from refimpl.evidence.gaussian.pairs import (
    OF_MEANS,
    depends_on_the_difference_of_means,
    diagonal,
    generic,
    identical,
    ignores_the_coordinates,
    in_order,
    independent_blocks_add,
    is_not_negative,
    near_equal,
    processing_brings_closer,
    register,
    scale_of,
    uncoupled_blocks,
    vanishes_at_equality,
)
from refimpl.evidence.gaussian.shared import (
    covariance,
    displacement,
    graded_units,
    integer_factor,
    rescale,
)
from refimpl.formula import upcast
from refimpl.gaussian.density import gaussian_log_density
from refimpl.gaussian.divergence import gaussian_kl
from refimpl.gaussian.overlap import bhattacharyya_distance
from refimpl.gaussian.renyi import chi_squared_divergence, renyi_divergence

renyi = Evidence(
    renyi_divergence,
    sizes={"d": Sizes(1, 1, 6)},
    budget=Budget(k=8.0, floor=16.0),
    unchanged=OF_MEANS,
)
chi_squared = Evidence(
    chi_squared_divergence,
    sizes={"d": Sizes(1, 1, 6)},
    budget=Budget(k=8.0, floor=16.0),
    unchanged=OF_MEANS,
)


def below_one(rng, shape):
    return {"order": rng.uniform(0.15, 0.85, shape.batch)}


# ------------------------------------------------------------------------------------------ regimes

register(renyi, options=below_one)


def narrower(rng, shape):
    """p is narrower than q in every direction, so that all orders are finite."""
    cov_q = covariance(rng, shape.cov_q)
    cov_p = cov_q / 2 + covariance(rng, shape.cov_p) / 32
    mean_q = rng.standard_normal(shape.mean_q)
    return Case((mean_q + displacement(rng, cov_q) / 4, cov_p, mean_q, cov_q))


@renyi.regime(adversarial=True)
def above_one(rng, shape):
    """Orders from 1.2 to 3, of a p that is narrower than q."""
    order = rng.uniform(1.2, 3.0, shape.batch)
    return narrower(rng, shape).with_options(order=order)


@renyi.regime(adversarial=True, advisory=True)
def near_one(rng, shape):
    """Orders near 1, where the textbook formula divides a small difference by a small number."""
    order = 1 + rng.choice([-1.0, 1.0], shape.batch) * 10.0 ** -rng.uniform(2, 6, shape.batch)
    return narrower(rng, shape).with_options(order=order)


chi_squared.regime(narrower)


@chi_squared.regime
def narrower_in_one_place(rng, shape):
    """Equal means."""
    mean_p, cov_p, _, cov_q = narrower(rng, shape).arrays
    return Case((mean_p, cov_p, mean_p.copy(), cov_q))


@chi_squared.regime
def shifted(rng, shape):
    """Equal covariances."""
    mean_p, _, mean_q, cov_q = narrower(rng, shape).arrays
    return Case((mean_p, cov_q, mean_q, cov_q.copy()))


@chi_squared.regime(adversarial=True)
def narrower_in_graded_units(rng, shape):
    """Coordinates in units from 1/64 to 16."""
    mean_p, cov_p, mean_q, cov_q = narrower(rng, shape).arrays
    units = graded_units(rng, shape.mean_q)
    return Case((mean_p * units, rescale(cov_p, units), mean_q * units, rescale(cov_q, units)))


chi_squared.regime(near_equal, adversarial=True, advisory=True)
chi_squared.regime(identical, adversarial=True, advisory=True)

# --------------------------------------------------------------------------------------------- laws

for law in (
    is_not_negative,
    vanishes_at_equality,
    depends_on_the_difference_of_means,
    ignores_the_coordinates,
    independent_blocks_add,
    processing_brings_closer,
):
    renyi.law(law)


@renyi.law
def is_skew_symmetric(f, case):
    """(1 - a) D_a(p || q) = a D_{1-a}(q || p) for 0 < a < 1"""
    mean_p, cov_p, mean_q, cov_q = case.arrays
    order = case.options["order"]
    if not bool((order < 1).all()):
        return
    forward = (1 - order) * f(*case.arrays, order=order)
    backward = order * f(mean_q, cov_q, mean_p, cov_p, order=1 - order)
    yield Claim(backward, forward, scale_of(forward, case))


@renyi.law
def does_not_decrease_with_the_order(f, case):
    """D_{a/2} <= D_a; D_a is at most KL below order 1 and at least KL above"""
    order = case.options["order"]
    value = f(*case.arrays, order=order)
    yield in_order(f(*case.arrays, order=order / 2), value, scale_of(value, case))
    divergence = gaussian_kl.oracle(*case.arrays)
    scale = scale_of(divergence, case) + abs(upcast(value))
    if bool((order < 1).all()):
        yield in_order(upcast(value), divergence, scale)
    elif bool((order > 1).all()):
        yield in_order(divergence, upcast(value), scale)


@renyi.law
def has_known_members(f, case):
    """D_1 = KL, and D_{1/2} = 2 BD"""
    one = namespace(case.arrays[0]).ones_like(case.options["order"])
    for order, value in (
        (one, gaussian_kl.oracle(*case.arrays)),
        (one / 2, 2 * bhattacharyya_distance.oracle(*case.arrays)),
    ):
        yield Claim(f(*case.arrays, order=order), value, scale_of(value, case))


@renyi.law
def is_an_integral(f, case):
    """exp((a - 1) D_a) of the first coordinates is the integral of p^a q^(1-a)"""
    mean_p, cov_p, mean_q, cov_q = case.arrays
    first = mean_p[..., :1], cov_p[..., :1, :1], mean_q[..., :1], cov_q[..., :1, :1]
    order = upcast(case.options["order"])
    logarithm = (order - 1) * upcast(f(*first, order=case.options["order"]))
    xp = namespace(order)
    yield Claim(xp.exp(logarithm), power_integral(order, *map(upcast, first)), 16 * (1 + order))


def power_integral(order, mean_p, cov_p, mean_q, cov_q):
    """The integral of p^a q^(1-a) in one dimension, by the trapezoidal rule about its centre."""
    xp = namespace(mean_p)
    a = order[..., None]
    mixed = a * cov_q[..., 0] + (1 - a) * cov_p[..., 0]
    centre = (a * mean_p * cov_q[..., 0] + (1 - a) * mean_q * cov_p[..., 0]) / mixed
    deviation = xp.sqrt(cov_p[..., 0] * cov_q[..., 0] / mixed)
    # For a Gaussian the rule with a step of half a standard deviation errs by exp(-79).
    steps = like(np.linspace(-9.0, 9.0, 37), mean_p).reshape(-1, *(1,) * deviation.ndim)
    points = centre + deviation * steps
    log_p = gaussian_log_density.oracle(points, mean_p, cov_p)
    log_q = gaussian_log_density.oracle(points, mean_q, cov_q)
    return 0.5 * xp.exp(order * log_p + (1 - order) * log_q).sum(axis=0) * deviation[..., 0]


chi_squared.law(depends_on_the_difference_of_means)


@chi_squared.law
def keeps_in_any_coordinates(f, case):
    """chi^2 is invariant under x -> C x, here a permutation with scales, which rounds nothing"""
    for claim in ignores_the_coordinates(f, case):
        yield claim._replace(scale=8 * _scale(claim.right, case))


def _scale(value, case):
    """Errors of D_2, times what they become in its exponential."""
    return (1 + abs(value)) * (4 + scale_of(namespace(value).log1p(abs(value)), case))


@chi_squared.law
def is_the_exponential_of_renyis_second_order(f, case):
    """chi^2 = exp(D_2) - 1"""
    value = f(*case.arrays)
    xp = namespace(value)
    second = renyi_divergence.oracle(*case.arrays, order=2.0)
    yield Claim(value, xp.expm1(second), _scale(xp.expm1(second), case))


@chi_squared.law
def exceeds_the_divergence(f, case):
    """log(1 + chi^2) >= KL, 0 at equality"""
    value = upcast(f(*case.arrays))
    divergence = gaussian_kl.oracle(*case.arrays)
    larger = namespace(value).log1p(value)
    yield in_order(divergence, larger, 8 * scale_of(divergence, case))
    _, _, mean_q, cov_q = case.arrays
    yield Claim(f(mean_q, cov_q, mean_q, cov_q), 0 * value, 4.0 * mean_q.shape[-1])


@chi_squared.law
def independent_blocks_multiply(f, case):
    """1 + chi^2 of blocks without correlation multiply"""
    for whole, parts in uncoupled_blocks(case):
        first, second = (1 + f(*part) for part in parts)
        yield Claim(1 + f(*whole), first * second, _scale(first * second, case))


@chi_squared.law
def is_the_integral_of_squares(f, case):
    """1 + chi^2 of the first coordinates is the integral of p^2/q"""
    mean_p, cov_p, mean_q, cov_q = case.arrays
    first = mean_p[..., :1], cov_p[..., :1, :1], mean_q[..., :1], cov_q[..., :1, :1]
    value = upcast(f(*first))
    order = namespace(value).full_like(value, 2.0)
    integral = power_integral(order, *map(upcast, first))
    yield Claim(1 + value, integral, 4 * _scale(value, case))


# ------------------------------------------------------------------------------------- closed forms


@renyi.closed_form
def independent_coordinates(rng, shape):
    """Diagonal: sum of a delta^2/(2 s) + log(v_q/v_p)/2 + log(v_q/s)/(2 (a - 1)), s = mixed"""
    case = diagonal(rng, shape).with_options(**below_one(rng, shape))
    mean_p, cov_p, mean_q, cov_q = case.arrays
    a = case.options["order"][..., None]
    variances_p = np.diagonal(cov_p, axis1=-2, axis2=-1)
    variances_q = np.diagonal(cov_q, axis1=-2, axis2=-1)
    mixed = a * variances_q + (1 - a) * variances_p
    terms = a * (mean_p - mean_q) ** 2 / mixed + np.log(variances_q / variances_p)
    terms = terms + np.log(variances_q / mixed) / (a - 1)
    return case, 0.5 * terms.sum(axis=-1)


@renyi.closed_form
def proportional_covariances(rng, shape):
    """S_q = 4 S_p, equal means, a = 2: d (2 log 4 - log 7)/2"""
    cov = covariance(rng, shape.cov_p)
    mean = rng.standard_normal(shape.mean_p)
    case = Case((mean, cov, mean.copy(), 4 * cov), {"order": np.full(shape.batch, 2.0)})
    return case, np.full(shape.batch, 0.5 * shape.axes["d"] * np.log(16 / 7))


@renyi.closed_form
def shifted_mean(rng, shape):
    """Equal covariances L L^T and delta = L z, with small integers: a |z|^2/2"""
    factor = integer_factor(rng, shape.cov_q)
    cov = factor @ factor.swapaxes(-1, -2)
    z = rng.integers(1, 4, shape.mean_p).astype(float)
    mean_p = (factor @ z[..., None])[..., 0]
    order = rng.integers(1, 12, shape.batch) / 4
    case = Case((mean_p, cov, np.zeros(shape.mean_q), cov.copy()), {"order": order})
    return case, order * (z * z).sum(axis=-1) / 2


@renyi.closed_form
def too_wide(rng, shape):
    """S_p = 4 S_q and order 2: infinite"""
    mean_p, _, mean_q, cov_q = generic(rng, shape).arrays
    case = Case((mean_p, 4 * cov_q, mean_q, cov_q), {"order": np.full(shape.batch, 2.0)})
    return case, np.full(shape.batch, np.inf)


@chi_squared.closed_form
def proportional(rng, shape):
    """S_q = 4 S_p and equal means: (16/7)^(d/2) - 1"""
    cov = covariance(rng, shape.cov_p)
    mean = rng.standard_normal(shape.mean_p)
    answer = (16 / 7) ** (shape.axes["d"] / 2) - 1
    return Case((mean, cov, mean.copy(), 4 * cov)), np.full(shape.batch, answer)


@chi_squared.closed_form
def wider_than_allowed(rng, shape):
    """S_p = 4 S_q: infinite"""
    mean_p, _, mean_q, cov_q = narrower(rng, shape).arrays
    return Case((mean_p, 4 * cov_q, mean_q, cov_q)), np.full(shape.batch, np.inf)


@chi_squared.closed_form
def shifted_by_a_part(rng, shape):
    """Equal covariances L L^T and delta = L z, with z = 1/2 or 1/4: exp(|z|^2) - 1"""
    factor = integer_factor(rng, shape.cov_q)
    cov = factor @ factor.swapaxes(-1, -2)
    z = rng.integers(1, 3, shape.mean_p) / 4
    mean_p = (factor @ z[..., None])[..., 0]
    answer = np.expm1((z * z).sum(axis=-1))
    return Case((mean_p, cov, np.zeros(shape.mean_q), cov.copy())), answer
