"""Evidence for the energy distances."""

from __future__ import annotations

import math

import numpy as np

from refimpl.backend import erf, like, namespace
from refimpl.evidence import Budget, Case, Claim, Evidence, Sizes
from refimpl.evidence.gaussian import pairs
from refimpl.evidence.gaussian.pairs import OF_MEANS, symmetric
from refimpl.evidence.gaussian.shared import change_of_unit, recoordinated
from refimpl.formula import upcast
from refimpl.gaussian.energy import (
    energy_distance,
    energy_distance_isotropic,
    energy_distance_univariate,
)

numbers = Evidence(
    energy_distance_univariate,
    budget=Budget(k=6.0, floor=16.0),
    unchanged=OF_MEANS | symmetric("variance"),
)
spheres = Evidence(
    energy_distance_isotropic,
    sizes={"d": Sizes(1, 1, 8)},
    budget=Budget(k=6.0, floor=16.0),
    unchanged=OF_MEANS | symmetric("variance"),
)
general = Evidence(
    energy_distance,
    sizes={"d": Sizes(1, 1, 5)},
    budget=Budget(k=6.0, floor=16.0),
    unchanged=OF_MEANS | symmetric(),
)
SIMPLE = (numbers, spheres)

# ------------------------------------------------------------------------------------ regimes


def _arrays(rng, shape, distance=1.0):
    """Means some deviations apart, and variances between 1/4 and 16."""
    variance_p, variance_q = 4.0 ** rng.uniform(-1, 2, (2, *shape.variance_p))
    mean_q = rng.standard_normal(shape.mean_q)
    gap = distance * rng.choice([-1.0, 1.0], mean_q.shape) * rng.uniform(0.5, 2, mean_q.shape)
    deviation = np.sqrt(variance_p + variance_q)
    deviation = deviation[..., None] if mean_q.ndim > deviation.ndim else deviation
    return mean_q + gap * deviation, variance_p, mean_q, variance_q


def generic(rng, shape):
    """Means about a deviation apart, unrelated variances."""
    return Case(_arrays(rng, shape))


def same_variance(rng, shape):
    """Equal variances, so that only the means differ."""
    mean_p, variance, mean_q, _ = _arrays(rng, shape)
    return Case((mean_p, variance, mean_q, np.array(variance)))


def same_mean(rng, shape):
    """Equal means, so that only the variances differ, by a factor of 2 to 4."""
    mean, variance, *_ = _arrays(rng, shape)
    return Case((mean, variance, np.array(mean), variance * rng.uniform(2, 4, variance.shape)))


def far_apart(rng, shape):
    """Means 16 deviations apart."""
    return Case(_arrays(rng, shape, distance=16.0))


def unequal(rng, shape):
    """q 32 times as wide as p."""
    mean_p, variance_p, mean_q, _ = _arrays(rng, shape)
    return Case((mean_p, variance_p / 16, mean_q, 64 * variance_p))


def near_equal(rng, shape):
    """p and q differ by 1e-8 to 1e-2 of themselves: three means of distances cancel."""
    mean_p, variance, mean_q, _ = _arrays(rng, shape)
    difference = 10.0 ** -rng.uniform(2, 8, shape.batch)
    aligned = difference[..., None] if mean_q.ndim > difference.ndim else difference
    mean = mean_q + aligned * (mean_p - mean_q)
    change = difference * rng.uniform(-1, 1, variance.shape)
    return Case((mean, variance * (1 + change), mean_q, variance))


for of in SIMPLE:
    for sampler in (generic, same_variance, same_mean):
        of.regime(sampler)
    for sampler in (far_apart, unequal):
        of.regime(sampler, adversarial=True)
    of.regime(near_equal, adversarial=True, advisory=True)
pairs.register(general)

# --------------------------------------------------------------------------------------- laws


def _size(value):
    return 16 * (abs(value) + 1)


def is_not_negative(f, case):
    """D >= 0"""
    value = case.call(f)
    yield Claim(abs(value), value, 1.0)


def vanishes_at_equality(f, case):
    """D(p, p) = D(q, q) = 0"""
    mean_p, spread_p, mean_q, spread_q = case.arrays
    for equal in ((mean_p, spread_p, mean_p, spread_p), (mean_q, spread_q, mean_q, spread_q)):
        value = f(*equal)
        yield Claim(value, 0 * value, 1.0)


def is_symmetric_and_translation_invariant(f, case):
    """D(p, q) = D(q, p), and a common translation changes nothing"""
    mean_p, spread_p, mean_q, spread_q = case.arrays
    value = case.call(f)
    yield Claim(f(mean_q, spread_q, mean_p, spread_p), value, _size(value))
    moved = f(mean_p - mean_q, spread_p, 0 * mean_q, spread_q)
    size = _size(value) + 16 * (abs(mean_p) + abs(mean_q)).reshape(*value.shape, -1).sum(axis=-1)
    yield Claim(moved, value, size)


def is_in_the_unit_of_x(f, case):
    """Everything twice as wide is twice as far, also from the mean of a mirror image"""
    mean_p, spread_p, mean_q, spread_q = case.arrays
    value = case.call(f)
    doubled = f(-2 * mean_p, 4 * spread_p, -2 * mean_q, 4 * spread_q)
    yield Claim(doubled, 2 * value, _size(value))


def root_is_a_distance(f, case):
    """The root obeys the triangle inequality, by way of r with the mean of q and the spread of p"""
    mean_p, spread_p, mean_q, spread_q = case.arrays
    xp = namespace(mean_p)

    def distance(*arrays):
        return xp.sqrt(upcast(f(*arrays)))

    whole = distance(*case.arrays)
    detour = distance(mean_p, spread_p, mean_q, spread_p)
    detour = detour + distance(mean_q, spread_p, mean_q, spread_q)
    # The root of a rounding error is much larger than it; the square is not.
    yield Claim(xp.maximum(whole, detour) ** 2, detour**2, _size(detour**2))


for of in (*SIMPLE, general):
    of.law(is_not_negative)
    of.law(vanishes_at_equality)
    of.law(is_symmetric_and_translation_invariant)
    of.law(is_in_the_unit_of_x)
    of.law(root_is_a_distance)


@numbers.law
def is_twice_the_distance_of_distribution_functions(f, case):
    """D = 2 times the integral of the squared difference of the distribution functions"""
    mean_p, variance_p, mean_q, variance_q = map(upcast, case.arrays)
    xp = namespace(mean_p)
    roots = xp.sqrt(variance_p), xp.sqrt(variance_q)
    low = xp.minimum(mean_p - 9 * roots[0], mean_q - 9 * roots[1])
    high = xp.maximum(mean_p + 9 * roots[0], mean_q + 9 * roots[1])
    grid = like(np.linspace(0.0, 1.0, 4097), mean_p).reshape(-1, *(1,) * mean_p.ndim)
    x = low + (high - low) * grid
    first, second = (
        erf((x - m) / (s * math.sqrt(2))) / 2 for m, s in zip((mean_p, mean_q), roots, strict=True)
    )
    integral = ((first - second) ** 2).sum(axis=0) * (high - low) / 4096
    # The tails of the grid and its step err by about 1e-15 of its length.
    yield Claim(f(*case.arrays), 2 * integral, 8 * (high - low))


@spheres.law
def in_one_dimension_it_is_that_of_numbers(f, case):
    """For d = 1 it is the closed form"""
    mean_p, variance_p, mean_q, variance_q = case.arrays
    one = mean_p[..., :1], variance_p, mean_q[..., :1], variance_q
    expected = energy_distance_univariate.oracle(one[0][..., 0], one[1], one[2][..., 0], one[3])
    yield Claim(f(*one), expected, _size(expected))


@spheres.law
def only_the_distance_of_the_means_counts(f, case):
    """All of the difference of the means may lie along one axis"""
    mean_p, variance_p, mean_q, variance_q = case.arrays
    gap = mean_p - mean_q
    xp = namespace(gap)
    along = xp.zeros_like(gap)
    along[..., 0] = xp.sqrt((gap * gap).sum(axis=-1))
    value = case.call(f)
    turned = f(along, variance_p, 0 * mean_q, variance_q)
    yield Claim(turned, value, _size(value) + 16 * (abs(mean_p) + abs(mean_q)).sum(axis=-1))


@spheres.law
def is_the_general_distance(f, case):
    """It is that of the covariances v I"""
    mean_p, variance_p, mean_q, variance_q = map(upcast, case.arrays)
    d = min(3, mean_p.shape[-1])
    identity = namespace(mean_p).eye(d)
    covs = (v[..., None, None] * identity for v in (variance_p, variance_q))
    expected = energy_distance(mean_p[..., :d], next(covs), mean_q[..., :d], next(covs))
    part = (case.arrays[0][..., :d], case.arrays[1], case.arrays[2][..., :d], case.arrays[3])
    yield Claim(f(*part), expected, _size(expected))


@general.law
def in_one_dimension_it_is_the_closed_form(f, case):
    """For the first coordinate alone it is the closed form"""
    mean_p, cov_p, mean_q, cov_q = case.arrays
    one = mean_p[..., :1], cov_p[..., :1, :1], mean_q[..., :1], cov_q[..., :1, :1]
    expected = energy_distance_univariate.oracle(
        one[0][..., 0], one[1][..., 0, 0], one[2][..., 0], one[3][..., 0, 0]
    )
    yield Claim(f(*one), expected, _size(expected))


@general.law
def in_the_plane_it_is_an_average_over_directions(f, case):
    """For two coordinates it is pi/2 times the mean distance of the projections"""
    mean_p, cov_p, mean_q, cov_q = (upcast(x) for x in case.arrays)
    if mean_p.shape[-1] < 2:
        return
    keep = slice(None, 2)
    covs = [c[..., keep, keep] for c in (cov_p, cov_q)]
    ratios = [_variance_ratio(c) for c in covs]
    # In graded units the projections are not smooth enough for a fixed number of directions.
    if max(ratios) > 300:
        return
    angle = np.pi * np.arange(512) / 512
    w = like(np.stack([np.cos(angle), np.sin(angle)], axis=-1), mean_p)
    means = [m[..., keep] @ w.swapaxes(-1, -2) for m in (mean_p, mean_q)]
    variances = [((w @ c) * w).sum(axis=-1) for c in covs]
    each = energy_distance_univariate(means[0], variances[0], means[1], variances[1])
    expected = math.pi / 2 * each.mean(axis=-1)
    arrays = case.arrays
    value = f(
        arrays[0][..., keep],
        arrays[1][..., keep, keep],
        arrays[2][..., keep],
        arrays[3][..., keep, keep],
    )
    yield Claim(value, expected, _size(expected))


def _variance_ratio(cov):
    """The largest over the smallest eigenvalue of a 2 x 2 matrix, at most over the batch."""
    trace = cov[..., 0, 0] + cov[..., 1, 1]
    determinant = cov[..., 0, 0] * cov[..., 1, 1] - cov[..., 0, 1] * cov[..., 1, 0]
    return float((trace * trace / determinant).max())


@general.law
def rotations_change_nothing(f, case):
    """Permutations and reflections of the coordinates change nothing"""
    mean_p, cov_p, mean_q, cov_q = case.arrays
    units, order = change_of_unit(mean_p)
    sign = namespace(units).sign(units)
    value = case.call(f)
    moved = f(
        (mean_p * sign)[..., order],
        recoordinated(cov_p, sign, order),
        (mean_q * sign)[..., order],
        recoordinated(cov_q, sign, order),
    )
    yield Claim(moved, value, _size(value))


# ------------------------------------------------------------------------------- closed forms


def two_points(rng, shape):
    """No spread: twice the distance of the points"""
    mean_p, mean_q = rng.integers(-4, 5, (2, *shape.mean_p)).astype(float)
    squares = (mean_p - mean_q) ** 2
    spread = shape.variance_p if hasattr(shape, "variance_p") else shape.cov_p
    has_axis = "d" in shape.axes
    answer = 2 * np.sqrt(squares.sum(axis=-1) if has_axis else squares)
    return Case((mean_p, np.zeros(spread), mean_q, np.zeros(spread))), answer


for of in (*SIMPLE, general):
    of.closed_form(two_points)


@numbers.closed_form
def centred_numbers(rng, shape):
    """Deviations 3 and 4, equal means: (10 sqrt 2 - 14)/sqrt(pi)"""
    mean = rng.integers(-4, 5, shape.mean_p).astype(float)
    answer = (10 * math.sqrt(2) - 14) / math.sqrt(math.pi)
    case = Case((mean, np.full(mean.shape, 9.0), mean.copy(), np.full(mean.shape, 16.0)))
    return case, np.full(mean.shape, answer)


def _mean_norm(d):
    """E|z| of d white coordinates."""
    return math.sqrt(2) * math.exp(math.lgamma((d + 1) / 2) - math.lgamma(d / 2))


@spheres.closed_form
def centred_spheres(rng, shape):
    """Deviations 3 and 4, equal means: (10 - 7 sqrt 2) E|z|"""
    d = shape.axes["d"]
    mean = rng.integers(-4, 5, shape.mean_p).astype(float)
    answer = np.full(shape.batch, (10 - 7 * math.sqrt(2)) * _mean_norm(d))
    variances = np.full(shape.variance_p, 9.0), np.full(shape.variance_q, 16.0)
    return Case((mean, variances[0], mean.copy(), variances[1])), answer


@general.closed_form
def point_and_sphere(rng, shape):
    """S_p = 0, S_q = 9 I, equal means: 3 (2 - sqrt 2) E|z|"""
    d = shape.axes["d"]
    mean = rng.integers(-4, 5, shape.mean_p).astype(float)
    zero = np.zeros(shape.cov_p)
    answer = np.full(shape.batch, 3 * (2 - math.sqrt(2)) * _mean_norm(d))
    return Case((mean, zero, mean.copy(), zero + 9 * np.eye(d))), answer


@general.closed_form
def proportional_covariances(rng, shape):
    """All spread along the diagonal of the cube: that of numbers with deviations 3 and 4, sqrt d"""
    d = shape.axes["d"]
    mean = rng.integers(-4, 5, shape.mean_p).astype(float)
    ones = np.ones(shape.cov_p)
    answer = math.sqrt(d) * (10 * math.sqrt(2) - 14) / math.sqrt(math.pi)
    return Case((mean, 9 * ones, mean.copy(), 16 * ones)), np.full(shape.batch, answer)
