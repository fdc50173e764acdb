"""Evidence for means of Gaussian kernels and the maximum mean discrepancy."""

from __future__ import annotations

import math

import numpy as np

from refimpl.backend import eigh, namespace
from refimpl.evidence import Budget, Case, Claim, Evidence, Sizes
from refimpl.evidence.gaussian import pairs
from refimpl.evidence.gaussian.pairs import OF_MEANS, symmetric
from refimpl.evidence.gaussian.shared import (
    change_of_unit,
    covariance,
    displacement,
    recoordinated,
    uncoupled,
)
from refimpl.formula import upcast
from refimpl.gaussian.density import gaussian_log_density
from refimpl.gaussian.kernel import (
    gaussian_expected_kernel,
    gaussian_mmd_squared,
    gaussian_square_norm_laplace,
)

_SIZES = {"d": Sizes(1, 1, 8)}
_BUDGET = Budget(k=6.0, floor=16.0)

laplace = Evidence(
    gaussian_square_norm_laplace,
    sizes=_SIZES,
    budget=_BUDGET,
    unchanged={
        "mean is taken as its negative": "it is even in the mean",
    },
)
kernel = Evidence(
    gaussian_expected_kernel,
    sizes=_SIZES,
    budget=_BUDGET,
    unchanged={
        "mean is taken as its negative": "it is even in the mean",
    },
)
mmd = Evidence(
    gaussian_mmd_squared,
    sizes=_SIZES,
    budget=Budget(k=8.0, floor=16.0),
    unchanged=OF_MEANS | symmetric(),
)

# ----------------------------------------------------------------- regimes: Laplace transform


def _laplace_case(rng, shape, rate):
    cov = covariance(rng, shape.cov)
    mean = displacement(rng, cov)
    size = (mean * mean).sum(axis=-1) + np.trace(cov, axis1=-2, axis2=-1)
    return Case((mean, cov), {"rate": np.asarray(rate / size * rng.uniform(0.5, 1.5, shape.rate))})


@laplace.regime
def rates_of_one(rng, shape):
    """t |x|^2 of about 1."""
    return _laplace_case(rng, shape, 1.0)


@laplace.regime(adversarial=True)
def small_rates(rng, shape):
    """t |x|^2 of about 1/16, where the transform is nearly 1."""
    return _laplace_case(rng, shape, 1 / 16)


@laplace.regime(adversarial=True)
def large_rates(rng, shape):
    """t |x|^2 of about 16, where the transform is small."""
    return _laplace_case(rng, shape, 16.0)


# ---------------------------------------------------------------------- regimes: mean kernel


def _kernel_case(rng, shape, ratio, distance=1.0):
    """A bandwidth of ``ratio`` times the root of the mean variance."""
    cov = covariance(rng, shape.cov)
    mean = distance * displacement(rng, cov)
    deviation = np.sqrt(np.trace(cov, axis1=-2, axis2=-1) / shape.axes["d"])
    bandwidth = np.asarray(ratio * deviation * rng.uniform(0.75, 1.25, shape.bandwidth))
    return Case((mean, cov), {"bandwidth": bandwidth})


@kernel.regime
def bandwidth_of_a_deviation(rng, shape):
    """h of about the deviation."""
    return _kernel_case(rng, shape, 1.0)


@kernel.regime
def wide_bandwidth(rng, shape):
    """h of about four deviations, where the kernel is nearly 1."""
    return _kernel_case(rng, shape, 4.0)


@kernel.regime(adversarial=True)
def narrow_bandwidth(rng, shape):
    """h of about half a deviation, where the determinant rules."""
    return _kernel_case(rng, shape, 0.5)


@kernel.regime(adversarial=True)
def distant(rng, shape):
    """A difference of means of three deviations."""
    return _kernel_case(rng, shape, 2.0, distance=3.0)


# ---------------------------------------------------------------------- regimes: discrepancy


def _with_bandwidth(sample, ratio):
    def sampled(rng, shape):
        case = sample(rng, shape)
        _, cov_p, _, cov_q = case.arrays
        trace = np.trace(cov_p, axis1=-2, axis2=-1) + np.trace(cov_q, axis1=-2, axis2=-1)
        deviation = np.sqrt(trace / (2 * shape.axes["d"]))
        scale = ratio * rng.uniform(0.75, 1.25, shape.bandwidth)
        return case.with_options(bandwidth=np.asarray(scale * deviation))

    sampled.__name__, sampled.__doc__ = sample.__name__, sample.__doc__
    return sampled


for sampler in (pairs.generic, pairs.diagonal, pairs.same_covariance):
    mmd.regime(_with_bandwidth(sampler, 1.5))
for sampler in (pairs.graded, pairs.far_apart):
    mmd.regime(_with_bandwidth(sampler, 3.0), adversarial=True)
for sampler in (pairs.near_equal, pairs.identical):
    # Honest public code cancels there.
    mmd.regime(_with_bandwidth(sampler, 1.5), adversarial=True, advisory=True)


# --------------------------------------------------------------------- laws: Laplace transform


@laplace.law
def is_one_at_zero(f, case):
    """f = 1 at t = 0, and from 0 to 1"""
    mean, cov = case.arrays
    value = f(mean, cov, **case.options)
    start = f(mean, cov, rate=0 * case.options["rate"])
    yield Claim(start, 0 * start + 1, 4.0)
    yield Claim(namespace(value).clip(value, 0.0, 1.0), value, 4.0)


@laplace.law
def unit_of_the_rate(f, case):
    """f(2 mean, 4 S; t/4) = f(mean, S; t)"""
    mean, cov = case.arrays
    rate = case.options["rate"]
    yield Claim(f(2 * mean, 4 * cov, rate=rate / 4), f(mean, cov, rate=rate), 8.0)


@laplace.law
def independent_blocks_multiply(f, case):
    """Without correlation between two blocks of coordinates the transforms multiply"""
    mean, cov = case.arrays
    k = mean.shape[-1] // 2
    if k:
        first = f(mean[..., :k], cov[..., :k, :k], **case.options)
        second = f(mean[..., k:], cov[..., k:, k:], **case.options)
        yield Claim(f(mean, uncoupled(cov, k), **case.options), first * second, 16.0)


@laplace.law
def is_a_density_of_a_blurred_vector(f, case):
    """f = (pi/t)^{d/2} p(0), p = N(mean, S + I/(2 t))"""
    mean, cov = map(upcast, case.arrays)
    rate = upcast(case.options["rate"])
    xp, d = namespace(mean), mean.shape[-1]
    blurred = cov + xp.eye(d) / (2 * rate[..., None, None])
    log_density = gaussian_log_density(0 * mean, mean, blurred)
    expected = xp.exp(d / 2 * xp.log(math.pi / rate) + log_density)
    size = expected * (abs(log_density) + d * abs(xp.log(rate)) + 8 * d)
    yield Claim(f(*case.arrays, **case.options), expected, 8 * size + 1)


@laplace.law
def is_a_product_over_principal_axes(f, case):
    """The product of (1 + 2 t l)^{-1/2} exp(-t m^2/(1 + 2 t l)) over the eigenvectors of S"""
    mean, cov = map(upcast, case.arrays)
    rate = upcast(case.options["rate"])[..., None]
    xp = namespace(mean)
    eigenvalues, basis = eigh(cov)
    m = (basis.swapaxes(-1, -2) @ mean[..., None])[..., 0]
    damping = 1 + 2 * rate * eigenvalues
    exponent = (rate * m * m / damping + xp.log(damping) / 2).sum(axis=-1)
    yield Claim(f(*case.arrays, **case.options), xp.exp(-exponent), 16.0)


# ------------------------------------------------------------------------- laws: mean kernel


@kernel.law
def is_the_laplace_transform_at_a_rate(f, case):
    """K = E exp(-t |z|^2) at t = 1/(2 h^2)"""
    bandwidth = upcast(case.options["bandwidth"])
    expected = gaussian_square_norm_laplace.oracle(*case.arrays, rate=1 / (2 * bandwidth**2))
    yield Claim(case.call(f), expected, 16.0)


@kernel.law
def is_a_density_times_a_volume(f, case):
    """K = (2 pi h^2)^{d/2} N(mean; 0, S + h^2 I)"""
    mean, cov = map(upcast, case.arrays)
    bandwidth = upcast(case.options["bandwidth"])
    xp, d = namespace(mean), mean.shape[-1]
    blurred = cov + xp.eye(d) * (bandwidth * bandwidth)[..., None, None]
    log_density = gaussian_log_density(mean, 0 * mean, blurred)
    log_volume = d / 2 * xp.log(2 * math.pi * bandwidth * bandwidth)
    size = abs(log_density) + abs(log_volume) + 8 * d
    yield Claim(case.call(f), xp.exp(log_density + log_volume), 8 * size)


@kernel.law
def unit_of_the_bandwidth(f, case):
    """K(2 mean, 4 S; 2 h) = K(mean, S; h)"""
    mean, cov = case.arrays
    bandwidth = case.options["bandwidth"]
    yield Claim(f(2 * mean, 4 * cov, bandwidth=2 * bandwidth), case.call(f), 8.0)


@kernel.law
def narrower_kernels_are_smaller(f, case):
    """K grows with h, and is from 0 to 1"""
    bandwidth = case.options["bandwidth"]
    narrow, wide = case.call(f), f(*case.arrays, bandwidth=1.25 * bandwidth)
    yield Claim(namespace(wide).clip(wide, narrow, 1.0), wide, 8.0)


@kernel.law
def kernels_of_independent_blocks_multiply(f, case):
    """Without correlation between two blocks of coordinates the means multiply"""
    mean, cov = case.arrays
    k = mean.shape[-1] // 2
    if k:
        first = f(mean[..., :k], cov[..., :k, :k], **case.options)
        second = f(mean[..., k:], cov[..., k:, k:], **case.options)
        yield Claim(f(mean, uncoupled(cov, k), **case.options), first * second, 16.0)


# -------------------------------------------------------------------------- laws: discrepancy


def _size(value):
    return 16 * (abs(value) + 1)


@mmd.law
def is_between_zero_and_two(f, case):
    """0 <= MMD^2 < 2"""
    value = case.call(f)
    yield Claim(namespace(value).clip(value, 0.0, 2.0), value, 1.0)


@mmd.law
def is_made_of_three_mean_kernels(f, case):
    """MMD^2 = K(0, 2 S_p) + K(0, 2 S_q) - 2 K(delta, S_p + S_q)"""
    mean_p, cov_p, mean_q, cov_q = map(upcast, case.arrays)
    bandwidth = upcast(case.options["bandwidth"])
    delta = mean_p - mean_q
    own, other, cross = (
        gaussian_expected_kernel(mean, cov, bandwidth=bandwidth)
        for mean, cov in ((0 * delta, 2 * cov_p), (0 * delta, 2 * cov_q), (delta, cov_p + cov_q))
    )
    yield Claim(case.call(f), own + other - 2 * cross, 16.0)


mmd.law(pairs.vanishes_at_equality)
mmd.law(pairs.depends_on_the_difference_of_means)
mmd.law(pairs.is_symmetric)


@mmd.law
def unit_of_x_is_that_of_the_bandwidth(f, case):
    """MMD is invariant under x -> 2 x, h -> 2 h, and under permutations and reflections"""
    mean_p, cov_p, mean_q, cov_q = case.arrays
    value = case.call(f)
    bandwidth = case.options["bandwidth"]
    doubled = f(2 * mean_p, 4 * cov_p, 2 * mean_q, 4 * cov_q, bandwidth=2 * bandwidth)
    yield Claim(doubled, value, _size(value))
    units, order = change_of_unit(mean_p)
    sign = namespace(units).sign(units)
    moved = f(
        (mean_p * sign)[..., order],
        recoordinated(cov_p, sign, order),
        (mean_q * sign)[..., order],
        recoordinated(cov_q, sign, order),
        **case.options,
    )
    yield Claim(moved, value, _size(value))


@mmd.law
def common_independent_coordinates_multiply(f, case):
    """A block that is the same for both, and independent, multiplies MMD^2 by its own K(0, 2 S)"""
    for whole, (first, second) in pairs.uncoupled_blocks(case):
        mean_p, cov_p, mean_q, cov_q = whole
        k = first[0].shape[-1]
        mean, cov = second[:2]
        xp = namespace(mean)
        mean_q = xp.concatenate([mean_q[..., :k], mean], axis=-1)
        block = xp.concatenate([0 * cov_p[..., k:, :k], cov], axis=-1)
        cov_q = xp.concatenate([cov_q[..., :k, :], block], axis=-2)
        bandwidth = upcast(case.options["bandwidth"])
        share = gaussian_expected_kernel.oracle(0 * mean, 2 * cov, bandwidth=bandwidth)
        value = f(mean_p, cov_p, mean_q, cov_q, **case.options)
        yield Claim(value, f(*first, **case.options) * share, _size(value))


@mmd.law
def is_a_distance(f, case):
    """MMD(p, q) <= MMD(p, r) + MMD(r, q), with r of the mean of q and the covariance of p"""
    mean_p, cov_p, mean_q, cov_q = case.arrays
    xp = namespace(mean_p)

    def distance(*arrays):
        return xp.sqrt(upcast(f(*arrays, **case.options)))

    whole = distance(mean_p, cov_p, mean_q, cov_q)
    detour = distance(mean_p, cov_p, mean_q, cov_p) + distance(mean_q, cov_p, mean_q, cov_q)
    # The root of a rounding error u is much larger than u; the square has it back.
    yield Claim(xp.maximum(whole, detour) ** 2, detour**2, 16.0)


# ------------------------------------------------------------------------------- closed forms


@laplace.closed_form
def chi_square(rng, shape):
    """mean 0, S = I, t = 3/2: 2^{-d}"""
    cov = np.broadcast_to(np.eye(shape.axes["d"]), shape.cov).copy()
    answer = np.full(shape.batch, 0.5 ** shape.axes["d"])
    return Case((np.zeros(shape.mean), cov), {"rate": np.full(shape.rate, 1.5)}), answer


@laplace.closed_form
def certainty(rng, shape):
    """S = 0: exp(-t |mean|^2)"""
    mean = rng.integers(-2, 3, shape.mean).astype(float)
    answer = np.exp(-0.25 * (mean * mean).sum(axis=-1))
    return Case((mean, np.zeros(shape.cov)), {"rate": np.full(shape.rate, 0.25)}), answer


@kernel.closed_form
def white_noise(rng, shape):
    """mean 0, S = 3 I, h = 1: 2^{-d}"""
    cov = np.broadcast_to(3 * np.eye(shape.axes["d"]), shape.cov).copy()
    answer = np.full(shape.batch, 0.5 ** shape.axes["d"])
    return Case((np.zeros(shape.mean), cov), {"bandwidth": np.full(shape.bandwidth, 1.0)}), answer


@kernel.closed_form
def points(rng, shape):
    """S = 0: the kernel itself, exp(-|mean|^2/(2 h^2))"""
    mean = rng.integers(-2, 3, shape.mean).astype(float)
    answer = np.exp(-(mean * mean).sum(axis=-1) / 8)
    return Case((mean, np.zeros(shape.cov)), {"bandwidth": np.full(shape.bandwidth, 2.0)}), answer


@mmd.closed_form
def two_points(rng, shape):
    """Covariances 0: 2 - 2 exp(-|delta|^2/(2 h^2))"""
    mean_p, mean_q = rng.integers(-2, 3, (2, *shape.mean_p)).astype(float)
    squares = ((mean_p - mean_q) ** 2).sum(axis=-1)
    zero = np.zeros(shape.cov_p)
    bandwidth = np.full(shape.bandwidth, 2.0)
    case = Case((mean_p, zero, mean_q, zero.copy()), {"bandwidth": bandwidth})
    return case, -2 * np.expm1(-squares / 8)


@mmd.closed_form
def shifted_spheres(rng, shape):
    """S_p = S_q = 3/2 I, h = 1: 2^{1-d} (1 - exp(-|delta|^2/8))"""
    d = shape.axes["d"]
    mean_p, mean_q = rng.integers(-2, 3, (2, *shape.mean_p)).astype(float)
    squares = ((mean_p - mean_q) ** 2).sum(axis=-1)
    cov = np.broadcast_to(1.5 * np.eye(d), shape.cov_p).copy()
    case = Case((mean_p, cov, mean_q, cov.copy()), {"bandwidth": np.full(shape.bandwidth, 1.0)})
    return case, -(2.0 ** (1 - d)) * np.expm1(-squares / 8)


@mmd.closed_form
def point_and_sphere(rng, shape):
    """S_p = 0, S_q = 4 I, h = 1, equal means: 1 + 3^{-d} - 2 5^{-d/2}"""
    d = shape.axes["d"]
    mean = rng.integers(-2, 3, shape.mean_p).astype(float)
    zero = np.zeros(shape.cov_p)
    case = Case(
        (mean, zero, mean.copy(), zero + 4 * np.eye(d)),
        {"bandwidth": np.full(shape.bandwidth, 1.0)},
    )
    return case, np.full(shape.batch, 1 + 3.0**-d - 2 * 5.0 ** (-d / 2))
