"""Evidence for the transforms of a Gaussian."""

from __future__ import annotations

import math

import numpy as np

from refimpl.backend import cholesky, like, namespace, solve_triangular
from refimpl.evidence import Budget, Case, Claim, Evidence, Sizes
from refimpl.evidence.gaussian.shared import (
    LOG_2PI,
    change_of_unit,
    covariance,
    displacement,
    graded_units,
    host_units,
    integer_factor,
    recoordinated,
    rescale,
    uncoupled,
)
from refimpl.formula import upcast
from refimpl.gaussian.density import gaussian_log_density
from refimpl.gaussian.transform import (
    gaussian_characteristic_function,
    gaussian_log_integral,
    gaussian_log_moment_generating_function,
)

_SIZES = {"d": Sizes(1, 1, 8)}

integral = Evidence(
    gaussian_log_integral,
    sizes=_SIZES,
    budget=Budget(k=6.0, floor=16.0),
    unchanged={
        "w is taken as its negative": "it is even in w",
    },
)
generating = Evidence(
    gaussian_log_moment_generating_function, sizes=_SIZES, budget=Budget(k=6.0, floor=16.0)
)
characteristic = Evidence(
    gaussian_characteristic_function, sizes=_SIZES, budget=Budget(k=6.0, floor=16.0)
)
FOURIER = (generating, characteristic)

# ------------------------------------------------------------------------------------ regimes


def _dual(rng, cov):
    """w = L^{-T} z, with w^T S w = |z|^2 of about 1."""
    d = cov.shape[-1]
    z = rng.choice([-1.0, 1.0], cov.shape[:-1]) * rng.uniform(0.5, 1.5, cov.shape[:-1]) / d**0.5
    return np.linalg.solve(np.linalg.cholesky(cov).swapaxes(-1, -2), z[..., None])[..., 0]


@integral.regime
def exponents_of_one(rng, shape):
    """w^T S w of about 1."""
    cov = covariance(rng, shape.cov)
    return Case((_dual(rng, cov), cov))


@integral.regime(adversarial=True)
def large_exponents(rng, shape):
    """w^T S w of about 100, whose exponential single precision cannot hold."""
    cov = covariance(rng, shape.cov)
    return Case((10 * _dual(rng, cov), cov))


@integral.regime(adversarial=True)
def graded_exponents(rng, shape):
    """Coordinates in units from 1/64 to 16."""
    cov, units = covariance(rng, shape.cov), graded_units(rng, shape.w)
    return Case((_dual(rng, cov) / units, rescale(cov, units)))


def generic(rng, shape):
    """Mean and deviation of one size, w^T S w of about 1."""
    cov = covariance(rng, shape.cov)
    return Case((_dual(rng, cov), displacement(rng, cov), cov))


def far_mean(rng, shape):
    """A mean eight times as large as the deviation: angles of several turns."""
    w, mean, cov = generic(rng, shape).arrays
    return Case((w, 8 * mean, cov))


def small_argument(rng, shape):
    """w^T S w of about 1/16, and a mean of a quarter of the deviation."""
    w, mean, cov = generic(rng, shape).arrays
    return Case((w / 4, mean / 4, cov))


def graded(rng, shape):
    """Coordinates in units from 1/64 to 16."""
    w, mean, cov = generic(rng, shape).arrays
    units = graded_units(rng, shape.w)
    return Case((w / units, mean * units, rescale(cov, units)))


for of in FOURIER:
    of.regime(generic)
    of.regime(small_argument)
    of.regime(far_mean, adversarial=True)
    of.regime(graded, adversarial=True)


@generating.regime(adversarial=True)
def beyond_overflow(rng, shape):
    """w^T S w of about 200: the function itself overflows in single precision."""
    w, mean, cov = generic(rng, shape).arrays
    return Case((16 * w, mean, cov))


# ------------------------------------------------------------------------ what errors scale with


@generating.output_terms
def _generating_size(w, mean, cov):
    return [float((abs(w * mean).sum(axis=-1) + _square(abs(cov), abs(w))).max(initial=0.0))]


@characteristic.output_terms
def _characteristic_size(w, mean, cov):
    """An error of the angle is absolute, and the modulus multiplies it."""
    angle = abs(w * mean).sum(axis=-1) + _square(abs(cov), abs(w)) + 1
    size = float((np.exp(-_square(cov, w) / 2) * angle).max(initial=0.0))
    return [size, size]


@characteristic.gradient_terms
def _characteristic_gradients(g, w, mean, cov):
    size = _characteristic_size(w, mean, cov)[0] * max(float(abs(x).max(initial=0.0)) for x in g)
    w, mean, cov = (float(abs(x).max(initial=0.0)) for x in (w, mean, cov))
    return {"w": size * (mean + cov * w), "mean": size * w, "cov": size * w * w}


def _square(cov, w):
    return (w * (cov @ w[..., None])[..., 0]).sum(axis=-1)


# ---------------------------------------------------------------------- laws: Gaussian integral


def _integral_size(w, cov):
    return 8 * (_square(abs(cov), abs(w)) + 8 * w.shape[-1])


@integral.law
def changes_of_unit_add_the_jacobian(f, case):
    """With x = y / c: f(w / c; C S C^T) = f(w; S) + log |det C|"""
    w, cov = case.arrays
    units, order = change_of_unit(w)
    jacobian = float(np.log(np.abs(host_units(w.shape[-1]))).sum())
    moved = f((w / units)[..., order], recoordinated(cov, units, order))
    yield Claim(moved, f(w, cov) + jacobian, _integral_size(w, cov))


@integral.law
def integrals_of_independent_blocks_add(f, case):
    """Without correlation between two blocks of coordinates the logarithms add"""
    w, cov = case.arrays
    k = w.shape[-1] // 2
    if k:
        parts = f(w[..., :k], cov[..., :k, :k]) + f(w[..., k:], cov[..., k:, k:])
        yield Claim(f(w, uncoupled(cov, k)), parts, _integral_size(w, cov))


@integral.law
def completes_the_square(f, case):
    """f(w; S) = -log p(0), p = N(S w, S)"""
    w, cov = map(upcast, case.arrays)
    mean = (cov @ w[..., None])[..., 0]
    expected = -gaussian_log_density(0 * w, mean, cov)
    yield Claim(f(*case.arrays), expected, 8 * _integral_size(w, cov))


@integral.law
def is_the_integral(f, case):
    """The first coordinate alone, by the trapezoidal rule"""
    w, cov = (x[..., :1] for x in case.arrays)
    cov = cov[..., :1, :]
    v, b = upcast(cov)[..., 0, 0], upcast(w)[..., 0]
    points, step = _grid(b * v, v)
    exponent = -points * points / (2 * v) + b * points
    yield Claim(f(w, cov), _log_sum(exponent, step), 8 * _integral_size(w, cov))


def _grid(centre, v):
    """37 points (37, ...) half a deviation apart: for Gaussians the rule errs by exp(-79)."""
    xp = namespace(v)
    deviation = xp.sqrt(v)
    steps = like(np.linspace(-9.0, 9.0, 37), v).reshape(-1, *(1,) * v.ndim)
    return centre + steps * deviation, deviation / 2


def _log_sum(exponent, step):
    xp = namespace(exponent)
    largest = exponent.max(axis=0)
    return largest + xp.log(xp.exp(exponent - largest).sum(axis=0) * step)


# -------------------------------------------------------- laws: moment generating function


def _generating_scale(w, mean, cov):
    return 8 * (abs(w * mean).sum(axis=-1) + _square(abs(cov), abs(w)))


@generating.law
def second_difference_is_the_variance(f, case):
    """f(w) + f(-w) = w^T S w, f(w) - f(-w) = 2 w^T mean, and f(2w) = 4 f(w) - 2 w^T mean"""
    w, mean, cov = case.arrays
    ahead, behind = f(w, mean, cov), f(-w, mean, cov)
    size = 4 * _generating_scale(w, mean, cov)
    yield Claim(ahead + behind, _square(cov, w) + 0 * ahead, size)
    yield Claim(ahead - behind, 2 * (w * mean).sum(axis=-1) + 0 * ahead, size)
    yield Claim(f(2 * w, mean, cov), 4 * ahead - 2 * (w * mean).sum(axis=-1), 4 * size)


@generating.law
def independent_vectors_add(f, case):
    """The logarithm for a sum of independent vectors is the sum of theirs"""
    w, mean, cov = case.arrays
    parts = f(w, mean, cov) + f(w, 2 * mean, 3 * cov)
    yield Claim(f(w, 3 * mean, 4 * cov), parts, 8 * _generating_scale(w, mean, cov))


@generating.law
def is_a_ratio_of_integrals(f, case):
    """f(w) = log of the integrals with linear terms w + S^{-1} mean and S^{-1} mean, a ratio"""
    w, mean, cov = map(upcast, case.arrays)
    root = cholesky(cov)
    z = solve_triangular(root, mean[..., None])
    shift = solve_triangular(root, z, transpose=True)[..., 0]
    ratio = gaussian_log_integral(w + shift, cov) - gaussian_log_integral(shift, cov)
    terms = _integral_size(abs(w) + abs(shift), abs(cov))
    yield Claim(f(*case.arrays), ratio, 8 * (_generating_scale(w, mean, cov) + terms))


@generating.law
def is_the_mean_of_the_exponential(f, case):
    """E exp of the projection u = w^T x, by the trapezoidal rule about its largest term"""
    w, mean, cov = map(upcast, case.arrays)
    m, v = (w * mean).sum(axis=-1), _square(cov, w)
    points, step = _grid(m + v, v)
    exponent = points - (points - m) ** 2 / (2 * v) - (LOG_2PI + namespace(v).log(v)) / 2
    size = 8 * _generating_scale(w, mean, cov) + 64 * (1 + abs(namespace(v).log(v)))
    yield Claim(f(*case.arrays), _log_sum(exponent, step), size)


# -------------------------------------------------------------- laws: characteristic function


def _angle_size(w, mean, cov):
    return 8 * (abs(w * mean).sum(axis=-1) + _square(abs(cov), abs(w)) + 1)


@characteristic.law
def modulus_is_free_of_the_mean(f, case):
    """|f|^2 = exp(-w^T S w), and f is real and positive for a centred vector"""
    w, mean, cov = case.arrays
    real, imaginary = f(w, mean, cov)
    centred, nothing = f(w, 0 * mean, cov)
    size = _angle_size(w, mean, cov)
    yield Claim(real * real + imaginary * imaginary, centred * centred, size)
    yield Claim(nothing, 0 * nothing, size)
    yield Claim(abs(centred), centred, size)


@characteristic.law
def opposite_argument_gives_the_conjugate(f, case):
    """f(-w) is the conjugate of f(w)"""
    w, mean, cov = case.arrays
    (real, imaginary), (other_real, other_imaginary) = f(w, mean, cov), f(-w, mean, cov)
    yield Claim(other_real, real, _angle_size(w, mean, cov))
    yield Claim(other_imaginary, -imaginary, _angle_size(w, mean, cov))


@characteristic.law
def independent_vectors_multiply(f, case):
    """The function of the sum of two independent vectors is the product of theirs"""
    w, mean, cov = case.arrays
    real, imaginary = f(w, mean, cov)
    both = f(w, 2 * mean, 2 * cov)
    size = 4 * _angle_size(w, mean, cov)
    yield Claim(both[0], real * real - imaginary * imaginary, size)
    yield Claim(both[1], 2 * real * imaginary, size)


@characteristic.law
def is_the_mean_of_the_turning_unit_vector(f, case):
    """E cos u and E sin u of the projection u = w^T x, by the trapezoidal rule"""
    w, mean, cov = map(upcast, case.arrays)
    xp = namespace(w)
    m, v = (w * mean).sum(axis=-1), _square(cov, w)
    # The rule resolves the density and the turning together up to half a deviation of 1.5.
    points, step = _grid(m, v)
    weight = xp.exp(-((points - m) ** 2) / (2 * v)) * step / xp.sqrt(2 * math.pi * v)
    real, imaginary = f(*case.arrays)
    size = 8 * _angle_size(w, mean, cov)
    yield Claim(real, (weight * xp.cos(points)).sum(axis=0), size)
    yield Claim(imaginary, (weight * xp.sin(points)).sum(axis=0), size)


# ------------------------------------------------------------------------------- closed forms


def _integers(rng, shape, low=-2):
    return rng.integers(low, 3, shape).astype(float)


@integral.closed_form
def whole_number_factor(rng, shape):
    """S = L L^T with 2 on the diagonal of L: (d (log 2 pi + log 4) + |L^T w|^2)/2"""
    root, w = integer_factor(rng, shape.cov), _integers(rng, shape.w)
    image = (root.swapaxes(-1, -2) @ w[..., None])[..., 0]
    answer = 0.5 * (shape.axes["d"] * (LOG_2PI + math.log(4)) + (image * image).sum(axis=-1))
    return Case((w, root @ root.swapaxes(-1, -2))), answer


@integral.closed_form
def no_linear_term(rng, shape):
    """w = 0, S = I/2, the integral of exp(-|x|^2): d log(pi)/2"""
    cov = np.broadcast_to(np.eye(shape.axes["d"]) / 2, shape.cov).copy()
    answer = np.full(shape.batch, 0.5 * shape.axes["d"] * math.log(math.pi))
    return Case((np.zeros(shape.w), cov)), answer


@generating.closed_form
def white_noise(rng, shape):
    """S = I: w^T mean + |w|^2/2"""
    w, mean = _integers(rng, shape.w), _integers(rng, shape.mean)
    cov = np.broadcast_to(np.eye(shape.axes["d"]), shape.cov).copy()
    return Case((w, mean, cov)), (w * mean + w * w / 2).sum(axis=-1)


@generating.closed_form
def equal_coordinates(rng, shape):
    """All coordinates are one: only the sum of w counts"""
    w = _integers(rng, shape.w)
    total = w.sum(axis=-1)
    answer = 3 * total + total * total
    return Case((w, np.full(shape.mean, 3.0), np.full(shape.cov, 2.0))), answer


@characteristic.closed_form
def quarter_turns(rng, shape):
    """w = (pi/2) n, a mean of whole numbers and S = 0: powers of i"""
    w, mean = _integers(rng, shape.w), _integers(rng, shape.mean)
    turns = (w * mean).sum(axis=-1)
    answer = np.array([1.0, 0.0, -1.0, 0.0])[turns.astype(int) % 4]
    sine = np.array([0.0, 1.0, 0.0, -1.0])[turns.astype(int) % 4]
    return Case((math.pi / 2 * w, mean, np.zeros(shape.cov))), (answer, sine)


@characteristic.closed_form
def centred_white_noise(rng, shape):
    """S = 2 I and mean 0: exp(-|w|^2), and nothing imaginary"""
    w = rng.standard_normal(shape.w)
    cov = np.broadcast_to(2 * np.eye(shape.axes["d"]), shape.cov).copy()
    return Case((w, np.zeros(shape.mean), cov)), (
        np.exp(-(w * w).sum(axis=-1)),
        np.zeros(shape.batch),
    )
