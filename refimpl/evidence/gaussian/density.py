"""Evidence for the log density and the entropy of a Gaussian."""

from __future__ import annotations

import math

import numpy as np

from refimpl.backend import cholesky, like, logdet_from_cholesky, namespace, solve
from refimpl.evidence import Budget, Case, Claim, Evidence, Sizes
from refimpl.evidence.gaussian.samples import (
    covariance,
    diagonal_covariance,
    displacement,
    graded_units,
    integer_factor,
    rescale,
)
from refimpl.formula import upcast
from refimpl.gaussian.density import gaussian_entropy, gaussian_log_density

_LOG_2PI = math.log(2 * math.pi)
_SIZES = {"d": Sizes(1, 1, 12)}

density = Evidence(gaussian_log_density, sizes=_SIZES, budget=Budget(k=6.0, floor=16.0))
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
    jacobian = float(np.log(np.abs(_host_units(x.shape[-1]))).sum())
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
    answer = -0.5 * (x.shape[-1] * _LOG_2PI + (x * x).sum(axis=-1))
    return Case((x, np.zeros(shape.mean), cov)), answer


@density.closed_form
def independent_coordinates(rng, shape):
    """Diagonal covariance: a sum over the coordinates"""
    case = diagonal(rng, shape)
    x, mean, cov = case.arrays
    variances = np.diagonal(cov, axis1=-2, axis2=-1)
    terms = _LOG_2PI + np.log(variances) + (x - mean) ** 2 / variances
    return case, -0.5 * terms.sum(axis=-1)


@density.closed_form
def integer_cholesky_factor(rng, shape):
    """S = L L^T and x - mean = L z with small integers: -(d log 2 pi + 2 log det L + |z|^2)/2"""
    factor = integer_factor(rng, shape.cov)
    z = rng.integers(-3, 4, shape.x).astype(float)
    x = (factor @ z[..., None])[..., 0]
    d = shape.axes["d"]
    answer = -0.5 * (d * (_LOG_2PI + 2 * math.log(2)) + (z * z).sum(axis=-1))
    return Case((x, np.zeros(shape.mean), factor @ factor.swapaxes(-1, -2))), answer


# ----------------------------------------------------------------------------- log density: mutants


def _log_density(d, logdet, mahalanobis):
    return -0.5 * (d * _LOG_2PI + logdet + mahalanobis)


def _terms(x, mean, cov):
    """d, log det S, and the Mahalanobis distance squared."""
    gap = x - mean
    mahalanobis = (gap * solve(cov, gap[..., None])[..., 0]).sum(axis=-1)
    return x.shape[-1], logdet_from_cholesky(cholesky(cov)), mahalanobis


@density.mutant
def two_pi_missing(x, mean, cov, /):
    """the constant d/2 log 2 pi is missing"""
    d, logdet, mahalanobis = _terms(x, mean, cov)
    return _log_density(0, logdet, mahalanobis)


@density.mutant
def dimension_missing(x, mean, cov, /):
    """log 2 pi is counted once, not once for each coordinate"""
    d, logdet, mahalanobis = _terms(x, mean, cov)
    return _log_density(1, logdet, mahalanobis)


@density.mutant
def two_pi_without_two(x, mean, cov, /):
    """the constant is d/2 log pi instead of d/2 log 2 pi"""
    return _log_density(*_terms(x, mean, cov)) + x.shape[-1] * math.log(2) / 2


@density.mutant
def log_determinant_missing(x, mean, cov, /):
    """the log-determinant is missing"""
    d, logdet, mahalanobis = _terms(x, mean, cov)
    return _log_density(d, 0, mahalanobis)


@density.mutant
def log_determinant_doubled(x, mean, cov, /):
    """the log-determinant lacks its factor 1/2"""
    d, logdet, mahalanobis = _terms(x, mean, cov)
    return _log_density(d, 2 * logdet, mahalanobis)


@density.mutant
def log_determinant_halved(x, mean, cov, /):
    """the log-determinant is that of the Cholesky factor, half of the covariance's"""
    d, logdet, mahalanobis = _terms(x, mean, cov)
    return _log_density(d, logdet / 2, mahalanobis)


@density.mutant
def log_determinant_sign(x, mean, cov, /):
    """the log-determinant has the wrong sign"""
    d, logdet, mahalanobis = _terms(x, mean, cov)
    return _log_density(d, -logdet, mahalanobis)


@density.mutant
def mahalanobis_not_squared(x, mean, cov, /):
    """the Mahalanobis distance is not squared"""
    d, logdet, mahalanobis = _terms(x, mean, cov)
    return _log_density(d, logdet, namespace(x).sqrt(mahalanobis))


@density.mutant
def mahalanobis_not_halved(x, mean, cov, /):
    """the Mahalanobis distance lacks its factor 1/2"""
    d, logdet, mahalanobis = _terms(x, mean, cov)
    return _log_density(d, logdet, 2 * mahalanobis)


@density.mutant(source="https://github.com/tensorflow/tensorflow/issues/20261")
def covariance_as_deviation(x, mean, cov, /):
    """the covariance is taken for a standard deviation: it is squared"""
    d, logdet, _ = _terms(x, mean, cov)
    z = solve(cov, (x - mean)[..., None])[..., 0]
    return _log_density(d, 2 * logdet, (z * z).sum(axis=-1))


@density.mutant
def covariance_as_precision(x, mean, cov, /):
    """the covariance is taken for a precision: it is not inverted"""
    d, logdet, _ = _terms(x, mean, cov)
    gap = x - mean
    return _log_density(d, -logdet, (gap * (cov @ gap[..., None])[..., 0]).sum(axis=-1))


@density.mutant
def covariance_as_cholesky_factor(x, mean, cov, /):
    """the covariance is taken for a Cholesky factor (scale_tril)"""
    xp = namespace(x)
    z = solve(xp.tril(cov), (x - mean)[..., None])[..., 0]
    return _log_density(x.shape[-1], logdet_from_cholesky(cov), (z * z).sum(axis=-1))


@density.mutant
def diagonal_only(x, mean, cov, /):
    """only the diagonal of the covariance is used"""
    variances = namespace(x).diagonal(cov, axis1=-2, axis2=-1)
    mahalanobis = ((x - mean) ** 2 / variances).sum(axis=-1)
    return _log_density(x.shape[-1], namespace(x).log(variances).sum(axis=-1), mahalanobis)


@density.mutant
def density_not_log(x, mean, cov, /):
    """the density itself is returned, not its logarithm"""
    return namespace(x).exp(_log_density(*_terms(x, mean, cov)))


@density.mutant
def bits(x, mean, cov, /):
    """the logarithm has base 2, not e"""
    return _log_density(*_terms(x, mean, cov)) / math.log(2)


@density.mutant
def negative_log_density(x, mean, cov, /):
    """the sign is reversed: the negative log density"""
    return -_log_density(*_terms(x, mean, cov))


# -------------------------------------------------------------------- log density: gradient mutants


@density.mutant(gradient=True)
def gradient_sign_of_x(g, x, mean, cov, /):
    """the gradients in x and in the mean have each other's sign"""
    dx, dmean, dcov = gaussian_log_density.vjp(g, x, mean, cov)
    return -dx, -dmean, dcov


@density.mutant(gradient=True)
def gradient_off_diagonal_doubled(g, x, mean, cov, /):
    """the gradient in cov counts each off-diagonal entry twice"""
    dx, dmean, dcov = gaussian_log_density.vjp(g, x, mean, cov)
    return dx, dmean, off_diagonal_doubled(dcov)


@density.mutant(gradient=True)
def gradient_of_determinant_missing(g, x, mean, cov, /):
    """the gradient in cov lacks the log-determinant's -S^{-1}/2"""
    dx, dmean, dcov = gaussian_log_density.vjp(g, x, mean, cov)
    (determinant,) = gaussian_entropy.vjp(g, cov)
    return dx, dmean, dcov + determinant


@density.mutant(gradient=True)
def gradient_half_missing(g, x, mean, cov, /):
    """the gradient in cov lacks its factor 1/2"""
    dx, dmean, dcov = gaussian_log_density.vjp(g, x, mean, cov)
    return dx, dmean, 2 * dcov


def off_diagonal_doubled(matrix):
    xp = namespace(matrix)
    return 2 * matrix - matrix * xp.eye(matrix.shape[-1], dtype=matrix.dtype)


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


# ------------------------------------------------------------------------------------ entropy: laws


@entropy.law
def changes_of_unit_add_their_logarithm(f, case):
    """H(C S C^T) = H(S) + log |det C|, C a permutation with scales"""
    (cov,) = case.arrays
    units, order = change_of_unit(cov)
    value = f(cov)
    jacobian = float(np.log(np.abs(_host_units(cov.shape[-1]))).sum())
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


def sigma_points(cov):
    """Points (..., 2d, d) whose mean value of any quadratic is its expectation under N(0, cov)."""
    columns = cholesky(upcast(cov)).swapaxes(-1, -2) * math.sqrt(cov.shape[-1])
    return namespace(cov).concatenate([columns, -columns], axis=-2)


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
    answer = 0.5 * shape.axes["d"] * (1 + _LOG_2PI + math.log(4))
    return Case((factor @ factor.swapaxes(-1, -2),)), np.full(shape.batch, answer)


# --------------------------------------------------------------------------------- entropy: mutants


def _entropy(d, logdet):
    return 0.5 * (d * (1 + _LOG_2PI) + logdet)


def _logdet(cov):
    return logdet_from_cholesky(cholesky(cov))


@entropy.mutant
def entropy_without_d(cov, /):
    """the d/2 is missing: the constant is d/2 log 2 pi instead of d/2 (1 + log 2 pi)"""
    return _entropy(cov.shape[-1], _logdet(cov)) - cov.shape[-1] / 2


@entropy.mutant
def entropy_with_one_dimension(cov, /):
    """the constant is counted once, not once for each coordinate"""
    return _entropy(1, _logdet(cov))


@entropy.mutant
def entropy_without_two_pi(cov, /):
    """the constant log 2 pi is missing"""
    return 0.5 * (cov.shape[-1] + _logdet(cov))


@entropy.mutant
def entropy_log_determinant_sign(cov, /):
    """the log-determinant has the wrong sign, or the covariance is taken for a precision"""
    return _entropy(cov.shape[-1], -_logdet(cov))


@entropy.mutant(source="https://github.com/tensorflow/tensorflow/issues/20261")
def entropy_log_determinant_doubled(cov, /):
    """the log-determinant lacks its factor 1/2, or the covariance is taken for a deviation"""
    return _entropy(cov.shape[-1], 2 * _logdet(cov))


@entropy.mutant
def entropy_log_determinant_halved(cov, /):
    """the log-determinant is that of the Cholesky factor, half of the covariance's"""
    return _entropy(cov.shape[-1], _logdet(cov) / 2)


@entropy.mutant
def entropy_of_diagonal(cov, /):
    """only the diagonal of the covariance is used"""
    xp = namespace(cov)
    return _entropy(cov.shape[-1], xp.log(xp.diagonal(cov, axis1=-2, axis2=-1)).sum(axis=-1))


@entropy.mutant
def entropy_in_bits(cov, /):
    """the logarithm has base 2, not e"""
    return _entropy(cov.shape[-1], _logdet(cov)) / math.log(2)


@entropy.mutant(gradient=True)
def entropy_gradient_half_missing(g, cov, /):
    """the gradient lacks its factor 1/2"""
    return (2 * gaussian_entropy.vjp(g, cov)[0],)


@entropy.mutant(gradient=True)
def entropy_gradient_off_diagonal_doubled(g, cov, /):
    """the gradient counts each off-diagonal entry twice"""
    return (off_diagonal_doubled(gaussian_entropy.vjp(g, cov)[0]),)


@entropy.mutant(gradient=True)
def entropy_gradient_not_inverted(g, cov, /):
    """the gradient has the covariance where its inverse belongs"""
    return (g[..., None, None] * cov / 2,)


# -------------------------------------------------------------------- moves that change no rounding


def _host_units(d):
    """Units -1/2, 1, 2, -1/2, ... of the coordinates."""
    return np.resize([-0.5, 1.0, 2.0], d)


def change_of_unit(reference):
    """Units in the reference's type, and a permutation: exact in every precision."""
    d = reference.shape[-1]
    units = _host_units(d).astype(reference.dtype)
    return like(units, reference), like(np.roll(np.arange(d), 1), reference)


def recoordinated(cov, units, order):
    scaled = cov * units[:, None] * units
    return scaled[..., order, :][..., order]


def uncoupled(cov, k):
    """cov without the correlations between the first k coordinates and the others."""
    block = np.arange(cov.shape[-1]) < k
    keep = like((block[:, None] == block).astype(cov.dtype), cov)
    return cov * keep
