"""Evidence for the log density and the entropy of a Gaussian."""

from __future__ import annotations

import math

import numpy as np

from refimpl.backend import like, namespace
from refimpl.evidence import Budget, Case, Claim, Evidence, Sizes
from refimpl.evidence.gaussian.shared import (
    LOG_2PI,
    change_of_unit,
    covariance,
    diagonal_covariance,
    displacement,
    graded_units,
    host_units,
    integer_factor,
    recoordinated,
    rescale,
    sigma_points,
    uncoupled,
)
from refimpl.formula import upcast
from refimpl.gaussian.density import gaussian_entropy, gaussian_log_density

_SIZES = {"d": Sizes(1, 1, 12)}

density = Evidence(
    gaussian_log_density,
    sizes=_SIZES,
    budget=Budget(k=12.0, floor=16.0),
    unchanged={
        "x and mean are swapped": "only the difference of the means counts, and not its sign"
    },
)
entropy = Evidence(gaussian_entropy, sizes=_SIZES, budget=Budget(k=6.0, floor=16.0))


# ----------------------------------------------------------------------------- log density: regimes


@density.regime
def generic(rng, shape):
    """A typical point of the distribution, all coordinates correlated."""
    cov = covariance(rng, shape.cov)
    mean = rng.standard_normal(shape.mean)
    return Case((mean + displacement(rng, cov), mean, cov))


@density.regime
def diagonal(rng, shape):
    """Independent coordinates."""
    cov = diagonal_covariance(rng, shape.cov)
    mean = rng.standard_normal(shape.mean)
    return Case((mean + displacement(rng, cov), mean, cov))


@density.regime
def at_the_mean(rng, shape):
    """The point is the mean."""
    mean = rng.standard_normal(shape.mean)
    return Case((mean, mean.copy(), covariance(rng, shape.cov)))


@density.regime(adversarial=True)
def far_out(rng, shape):
    """A point 16 times as far from the mean as a typical one."""
    cov = covariance(rng, shape.cov)
    mean = rng.standard_normal(shape.mean)
    return Case((mean + 16 * displacement(rng, cov), mean, cov))


@density.regime(adversarial=True, advisory=True)
def graded(rng, shape):
    """Coordinates in units from 1/64 to 16, of which SciPy's eigenvalues lose the smallest."""
    units = graded_units(rng, shape.mean)
    cov = covariance(rng, shape.cov)
    mean = rng.standard_normal(shape.mean)
    x = mean + displacement(rng, cov)
    return Case((x * units, mean * units, rescale(cov, units)))


@density.output_terms
def _sizes(x, mean, cov):
    """Eigenvalues, as SciPy takes them, are accurate relative to the largest, not each to itself:
    their condition, of up to 16 but where the units are graded, multiplies some of the error."""
    gap = x - mean
    return [4 * float((gap * np.linalg.solve(cov, gap[..., None])[..., 0]).sum(axis=-1).max())]


# -------------------------------------------------------------------------------- log density: laws


@density.law
def depends_on_the_difference(f, case):
    """log p(x; mean, S) = log p(x - mean; 0, S) = log p(mean; x, S)"""
    x, mean, cov = case.arrays
    value = f(x, mean, cov)
    yield Claim(f(x - mean, mean - mean, cov), value, abs(value) + 1)
    yield Claim(f(mean, x, cov), value, abs(value) + 1)


@density.law
def changes_of_unit_add_the_jacobian(f, case):
    """log p(Cx; C mean, C S C^T) = log p(x; mean, S) - log |det C|, C a permutation with scales"""
    x, mean, cov = case.arrays
    units, order = change_of_unit(x)
    value = f(x, mean, cov)
    moved = f((x * units)[..., order], (mean * units)[..., order], recoordinated(cov, units, order))
    jacobian = float(np.log(np.abs(host_units(x.shape[-1]))).sum())
    yield Claim(moved, value - jacobian, 4 * (abs(value) + x.shape[-1]))


@density.law
def independent_blocks_add(f, case):
    """Without correlation between two blocks of coordinates their log densities add"""
    x, mean, cov = case.arrays
    k = x.shape[-1] // 2
    if k == 0:
        return
    first = f(x[..., :k], mean[..., :k], cov[..., :k, :k])
    second = f(x[..., k:], mean[..., k:], cov[..., k:, k:])
    whole = f(x, mean, uncoupled(cov, k))
    yield Claim(whole, first + second, 4 * (abs(first) + abs(second) + 1))


@density.law
def integrates_to_one(f, case):
    """The density of the first coordinate alone integrates to 1"""
    cov = case.arrays[2][..., :1, :1]
    xp = namespace(cov)
    # For a Gaussian the trapezoidal rule with a step of half a standard deviation errs by exp(-79).
    steps = like(np.linspace(-9.0, 9.0, 37).astype(cov.dtype), cov)
    deviation = xp.sqrt(cov[..., 0])
    points = deviation * steps.reshape(-1, *(1,) * deviation.ndim)
    origin = xp.zeros_like(points)
    density_at_points = xp.exp(upcast(f(points, origin, cov + origin[..., None])))
    integral = 0.5 * density_at_points.sum(axis=0) * upcast(deviation)[..., 0]
    yield Claim(integral, xp.ones_like(integral), 4.0)


# ------------------------------------------------------------------------ log density: closed forms


@density.closed_form
def standard_normal(rng, shape):
    """N(0, I): -(d log 2 pi + |x|^2)/2"""
    x = rng.standard_normal(shape.x)
    cov = np.broadcast_to(np.eye(shape.axes["d"]), shape.cov).copy()
    answer = -0.5 * (x.shape[-1] * LOG_2PI + (x * x).sum(axis=-1))
    return Case((x, np.zeros(shape.mean), cov)), answer


@density.closed_form
def independent_coordinates(rng, shape):
    """Diagonal covariance: a sum over the coordinates"""
    case = diagonal(rng, shape)
    x, mean, cov = case.arrays
    variances = np.diagonal(cov, axis1=-2, axis2=-1)
    terms = LOG_2PI + np.log(variances) + (x - mean) ** 2 / variances
    return case, -0.5 * terms.sum(axis=-1)


@density.closed_form
def integer_cholesky_factor(rng, shape):
    """S = L L^T and x - mean = L z with small integers: -(d log 2 pi + 2 log det L + |z|^2)/2"""
    factor = integer_factor(rng, shape.cov)
    z = rng.integers(-3, 4, shape.x).astype(float)
    x = (factor @ z[..., None])[..., 0]
    d = shape.axes["d"]
    answer = -0.5 * (d * (LOG_2PI + 2 * math.log(2)) + (z * z).sum(axis=-1))
    return Case((x, np.zeros(shape.mean), factor @ factor.swapaxes(-1, -2))), answer


# --------------------------------------------------------------------------------- entropy: regimes


@entropy.regime
def wide(rng, shape):
    """All coordinates correlated, variances of 1 to 16."""
    return Case((covariance(rng, shape.cov),))


@entropy.regime
def uncorrelated(rng, shape):
    """Independent coordinates."""
    return Case((4 * diagonal_covariance(rng, shape.cov),))


@entropy.regime(adversarial=True)
def narrow(rng, shape):
    """Variances below 1/32, for which the entropy is negative."""
    return Case((covariance(rng, shape.cov) / 512,))


@entropy.regime(adversarial=True, advisory=True)
def graded_coordinates(rng, shape):
    """Coordinates in units from 1/64 to 16: eigenvalue methods lose the smallest."""
    return Case((rescale(covariance(rng, shape.cov), graded_units(rng, shape.cov[:-1])),))


@entropy.regime(adversarial=True)
def near_zero(rng, shape):
    """Covariances whose entropy is 0.01: its terms cancel."""
    cov = covariance(rng, shape.cov)
    twice = cov.shape[-1] * (1 + np.log(2 * np.pi)) + np.linalg.slogdet(cov)[1] - 0.02
    return Case((cov * np.exp(-twice / cov.shape[-1])[..., None, None],))


@entropy.output_terms
def entropy_sizes(cov):
    """Half of d (1 + log 2 pi) and of the log-determinant, which cancel where the entropy is 0."""
    constant = cov.shape[-1] * (1 + np.log(2 * np.pi))
    return [float(constant + np.abs(np.linalg.slogdet(cov)[1]).max(initial=0.0)) / 2]


# ------------------------------------------------------------------------------------ entropy: laws


@entropy.law
def changes_of_unit_add_their_logarithm(f, case):
    """H(C S C^T) = H(S) + log |det C|, C a permutation with scales"""
    (cov,) = case.arrays
    units, order = change_of_unit(cov)
    value = f(cov)
    jacobian = float(np.log(np.abs(host_units(cov.shape[-1]))).sum())
    scale = 4 * (abs(value) + 8 * cov.shape[-1])
    yield Claim(f(recoordinated(cov, units, order)), value + jacobian, scale)


@entropy.law
def entropies_of_independent_blocks_add(f, case):
    """Entropies of uncorrelated blocks of coordinates add; correlation lowers the sum"""
    (cov,) = case.arrays
    k = cov.shape[-1] // 2
    if k == 0:
        return
    first, second = f(cov[..., :k, :k]), f(cov[..., k:, k:])
    parts = first + second
    scale = 4 * (abs(first) + abs(second) + 8 * cov.shape[-1])
    yield Claim(f(uncoupled(cov, k)), parts, scale)
    yield Claim(namespace(cov).maximum(f(cov), parts), parts, scale)


@entropy.law
def minus_the_mean_log_density(f, case):
    """H = -E log p, by a cubature that is exact for quadratics: the points mean +- sqrt(d) L e_i"""
    (cov,) = case.arrays
    points = sigma_points(cov)
    log_density = gaussian_log_density.oracle(points, 0 * points, cov[..., None, :, :])
    expected = -log_density.mean(axis=-1)
    yield Claim(f(cov), expected, 4 * (abs(expected) + 8 * cov.shape[-1]))


# ---------------------------------------------------------------------------- entropy: closed forms


@entropy.closed_form
def entropy_of_independent_coordinates(rng, shape):
    """Diagonal covariance: a sum over the coordinates"""
    case = uncorrelated(rng, shape)
    variances = np.diagonal(case.arrays[0], axis1=-2, axis2=-1)
    return case, 0.5 * np.log(2 * math.pi * math.e * variances).sum(axis=-1)


@entropy.closed_form
def entropy_from_integer_factor(rng, shape):
    """S = L L^T with 2 on the diagonal of L: d (1 + log 2 pi + log 4)/2"""
    factor = integer_factor(rng, shape.cov)
    answer = 0.5 * shape.axes["d"] * (1 + LOG_2PI + math.log(4))
    return Case((factor @ factor.swapaxes(-1, -2),)), np.full(shape.batch, answer)
