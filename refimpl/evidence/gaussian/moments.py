"""Evidence for the moments of Gaussians and of quadratic forms."""

from __future__ import annotations

import itertools
import math

import numpy as np

from refimpl.backend import cholesky, eigh, like
from refimpl.evidence import Budget, Case, Claim, Evidence, Sizes
from refimpl.evidence.gaussian.parametrisation import is_symmetric
from refimpl.evidence.gaussian.shared import (
    SYMMETRIC_MATRIX,
    covariance,
    graded_units,
    rescale,
    sigma_points,
    uncoupled,
)
from refimpl.formula import upcast
from refimpl.gaussian.moments import (
    gaussian_quadratic_covariance,
    gaussian_quadratic_cumulant,
    gaussian_quadratic_mean,
    gaussian_second_moment,
)

_SIZES = {"d": Sizes(1, 1, 8)}
_BUDGET = Budget(k=6.0, floor=16.0)

second = Evidence(
    gaussian_second_moment,
    sizes=_SIZES,
    budget=_BUDGET,
    unchanged=SYMMETRIC_MATRIX
    | {
        "mean is taken as its negative": "it is even in the mean",
    },
)
mean_form = Evidence(
    gaussian_quadratic_mean,
    sizes=_SIZES,
    budget=_BUDGET,
    unchanged={
        "mean is taken as its negative": "it is even in the mean",
        "matrix is taken as its transpose": "only the symmetric part of a form counts",
    },
)
covariance_form = Evidence(
    gaussian_quadratic_covariance,
    sizes=_SIZES,
    budget=_BUDGET,
    unchanged={
        "mean is taken as its negative": "it is even in the mean",
        "left is taken as its transpose": "only the symmetric part of a form counts",
        "right is taken as its transpose": "only the symmetric part of a form counts",
        "left and right are swapped": "a covariance of two numbers is symmetric",
    },
)
cumulant = Evidence(
    gaussian_quadratic_cumulant,
    sizes=_SIZES,
    fixed={"order": 3},
    options={"order": (1, 2, 4)},
    budget=_BUDGET,
    unchanged={
        "mean is taken as its negative": "it is even in the mean",
        "matrix is taken as its transpose": "only the symmetric part of a form counts",
    },
)
FORMS = (mean_form, covariance_form, cumulant)

# ------------------------------------------------------------------------------------ regimes


def _arrays(rng, shape, matrix):
    """Matrices by ``matrix(rng, shape)``, as many as the formula takes, then mean and covariance"""
    mean = rng.uniform(0.5, 1.5, shape.mean) * rng.choice([-1.0, 1.0], shape.mean)
    cov = covariance(rng, shape.cov) / 16
    names = [n for n in ("matrix", "left", "right") if hasattr(shape, n)]
    return [*(matrix(rng, getattr(shape, n)) for n in names), mean, cov]


def _any_matrix(rng, shape):
    return np.eye(shape[-1]) + rng.standard_normal(shape) / shape[-1]


def _skew_matrix(rng, shape):
    half = rng.standard_normal(shape)
    return _any_matrix(rng, shape) + 4 * (half - half.swapaxes(-1, -2)) / shape[-1]


def generic(rng, shape):
    """Correlated coordinates, mean and deviation of one size, matrices that are not symmetric."""
    return Case(tuple(_arrays(rng, shape, _any_matrix)))


def skew(rng, shape):
    """Matrices with a large antisymmetric part, which no quadratic form sees."""
    return Case(tuple(_arrays(rng, shape, _skew_matrix)))


def far_mean(rng, shape):
    """A mean eight times as large as the deviation."""
    *matrices, mean, cov = _arrays(rng, shape, _any_matrix)
    return Case((*matrices, 2 * mean, cov / 16))


def small_mean(rng, shape):
    """A mean of an eighth of the deviation."""
    *matrices, mean, cov = _arrays(rng, shape, _any_matrix)
    return Case((*matrices, mean / 16, cov))


def graded(rng, shape):
    """Coordinates in units from 1/64 to 16, and matrices in the inverse units."""
    *matrices, mean, cov = _arrays(rng, shape, _any_matrix)
    units = graded_units(rng, shape.mean)
    return Case((*(rescale(a, 1 / units) for a in matrices), mean * units, rescale(cov, units)))


for of in (second, *FORMS):
    of.regime(generic)
    of.regime(small_mean)
    of.regime(far_mean, adversarial=True)
    of.regime(graded, adversarial=True)
for of in FORMS:
    of.regime(skew, adversarial=True)


# ------------------------------------------------------------------------- what errors scale with


def _size(*arrays, order=1):
    """The sum of the sizes of all terms of order ``order`` in |A|, |mean| and |cov|, (...)."""
    *matrices, mean, cov = map(abs, arrays)
    a, b = matrices[0], matrices[-1]
    product = a
    for _ in range(order - 1):
        product = product @ cov @ b
    weighted = order * mean[..., :, None] * mean[..., None, :] + cov
    return math.factorial(order) * 2**order * (product * weighted).sum(axis=(-2, -1))


@mean_form.output_terms
def _mean_sizes(*arrays):
    return [float(_size(*arrays).max(initial=0.0))]


@covariance_form.output_terms
def _covariance_sizes(*arrays):
    return [float(_size(*arrays, order=2).max(initial=0.0))]


@cumulant.output_terms
def _cumulant_sizes(*arrays, order):
    return [float(_size(*arrays, order=order).max(initial=0.0))]


# --------------------------------------------------------------------------------------- laws

second.law(is_symmetric)


@second.law
def is_the_mean_product(f, case):
    """E x x^T, by a cubature that is exact for quadratics: the points mean +- sqrt(d) L e_i"""
    mean, cov = map(upcast, case.arrays)
    points = mean[..., None, :] + sigma_points(cov)
    expected = points.swapaxes(-1, -2) @ points / points.shape[-2]
    size = abs(points).swapaxes(-1, -2) @ abs(points) / points.shape[-2]
    yield Claim(f(*case.arrays), expected, 4 * size)


@second.law
def sign_of_the_mean_does_not_matter(f, case):
    """-x has the same second moment, and N(0, S) has S"""
    mean, cov = case.arrays
    value = f(mean, cov)
    yield Claim(f(-mean, cov), value, abs(value))
    yield Claim(f(mean - mean, cov), cov + 0 * value, abs(cov) + 0 * value)


def transposition_does_not_matter(f, case):
    """x^T A x = x^T A^T x"""
    *matrices, mean, cov = case.arrays
    transposed = (matrices[0].swapaxes(-1, -2), *matrices[1:])
    value = f(*case.arrays, **case.options)
    size = 4 * _size(*case.arrays, order=_order(case))
    yield Claim(f(*transposed, mean, cov, **case.options), value, size)


def _order(case):
    return case.options.get("order", len(case.arrays) - 2)


def independent_blocks_add(f, case):
    """Without correlation, within S and within A, two blocks of coordinates add"""
    *matrices, mean, cov = case.arrays
    k = mean.shape[-1] // 2
    if k == 0:
        return
    whole = f(*(uncoupled(a, k) for a in matrices), mean, uncoupled(cov, k), **case.options)
    first = [a[..., :k, :k] for a in matrices], mean[..., :k], cov[..., :k, :k]
    second = [a[..., k:, k:] for a in matrices], mean[..., k:], cov[..., k:, k:]
    parts = [f(*a, m, s, **case.options) for a, m, s in (first, second)]
    yield Claim(whole, parts[0] + parts[1], 4 * _size(*case.arrays, order=_order(case)))


def is_homogeneous_in_the_matrix(f, case):
    """Doubling A (and B) multiplies by 2^s; so does a covariance and a squared mean"""
    *matrices, mean, cov = case.arrays
    order = _order(case)
    value = 2**order * f(*case.arrays, **case.options)
    size = 8 * 2**order * _size(*case.arrays, order=order)
    yield Claim(f(*(2 * a for a in matrices), mean, cov, **case.options), value, size)
    yield Claim(f(*matrices, 2 * mean, 4 * cov, **case.options), value * 2**order, size * 2**order)


for of in FORMS:
    of.law(transposition_does_not_matter)
    of.law(independent_blocks_add)
    of.law(is_homogeneous_in_the_matrix)


def _form(matrix, points):
    return ((points @ matrix) * points).sum(axis=-1)


@mean_form.law
def is_the_mean_of_the_form(f, case):
    """E x^T A x, by a cubature that is exact for quadratics"""
    matrix, mean, cov = map(upcast, case.arrays)
    points = mean[..., None, :] + sigma_points(cov)
    expected = _form(matrix, points).mean(axis=-1)
    yield Claim(f(*case.arrays), expected, 8 * _form(abs(matrix), abs(points)).mean(axis=-1))


@covariance_form.law
def is_the_mean_product_of_the_centred_forms(f, case):
    """E (a - E a)(b - E b) by the product Gauss-Hermite rule, exact to degree 5 (d up to 3)"""
    left, right, mean, cov = map(upcast, case.arrays)
    d = mean.shape[-1]
    if d > 3:
        return
    nodes, weights = _product_rule(d, cov)
    points = mean[..., None, :] + nodes @ cholesky(cov).swapaxes(-1, -2)
    a, b = _form(left, points), _form(right, points)
    a, b = a - (a @ weights)[..., None], b - (b @ weights)[..., None]
    yield Claim(f(*case.arrays), (a * b) @ weights, 16 * _size(*case.arrays, order=2))


def _product_rule(d, reference):
    """Nodes (3^d, d) and weights of the rule with nodes -sqrt(3), 0 and sqrt(3) on each axis."""
    pairs = ((-math.sqrt(3), 1 / 6), (0.0, 2 / 3), (math.sqrt(3), 1 / 6))
    grid = list(itertools.product(pairs, repeat=d))
    nodes = np.array([[x for x, _ in row] for row in grid])
    weights = np.array([math.prod(w for _, w in row) for row in grid])
    return like(nodes, reference), like(weights, reference)


@covariance_form.law
def polarisation(f, case):
    """Cov(a, b) = (Var(a + b) - Var(a - b))/4, and it is symmetric"""
    left, right, mean, cov = case.arrays
    size = 8 * (_size(left, left, mean, cov, order=2) + _size(right, right, mean, cov, order=2))
    size = size + 8 * _size(*case.arrays, order=2)
    value = f(*case.arrays)
    variances = [f(a, a, mean, cov) for a in (left + right, left - right)]
    yield Claim((variances[0] - variances[1]) / 4, value, size)
    yield Claim(f(right, left, mean, cov), value, size)


@covariance_form.law
def variance_is_the_second_cumulant(f, case):
    """Cov(a, a) = kappa_2(a)"""
    left, _, mean, cov = case.arrays
    expected = gaussian_quadratic_cumulant.oracle(left, mean, cov, order=2)
    yield Claim(f(left, left, mean, cov), expected, 8 * _size(left, left, mean, cov, order=2))


@cumulant.law
def is_a_sum_over_independent_coordinates(f, case):
    """2^{s-1} (s-1)! sum l_i^s (1 + s v_i^2): eigenvalues of L^T A L, the whitened mean there"""
    matrix, mean, cov = map(upcast, case.arrays)
    order = case.options["order"]
    root = cholesky(cov)
    inner = root.swapaxes(-1, -2) @ matrix @ root
    eigenvalues, basis = eigh((inner + inner.swapaxes(-1, -2)) / 2)
    # v = V^T L^{-1} mean enters as l v^2 alone, so that no inverse is needed: l v = V^T L^T A mean.
    form = (matrix + matrix.swapaxes(-1, -2)) / 2
    image = (basis.swapaxes(-1, -2) @ root.swapaxes(-1, -2) @ form @ mean[..., None])[..., 0]
    constant = 2 ** (order - 1) * math.factorial(order - 1)
    if order == 1:
        about_mean = _form(matrix, mean[..., None, :])[..., 0]
    else:
        about_mean = (order * eigenvalues ** (order - 2) * image * image).sum(axis=-1)
    expected = constant * ((eigenvalues**order).sum(axis=-1) + about_mean)
    value = f(*case.arrays, **case.options)
    yield Claim(value, expected, 32 * _size(*case.arrays, order=order))


@cumulant.law
def first_two_are_mean_and_variance(f, case):
    """kappa_1 = E x^T A x, kappa_2 = Var x^T A x"""
    matrix, mean, cov = case.arrays
    first = gaussian_quadratic_mean.oracle(matrix, mean, cov)
    second = gaussian_quadratic_covariance.oracle(matrix, matrix, mean, cov)
    yield Claim(f(*case.arrays, order=1), first, 8 * _size(*case.arrays, order=1))
    yield Claim(f(*case.arrays, order=2), second, 8 * _size(*case.arrays, order=2))


# ------------------------------------------------------------------------------- closed forms


def _white(rng, shape):
    """A mean of whole numbers, with the identity covariance."""
    mean = rng.integers(-2, 3, shape.mean).astype(float)
    return mean, np.broadcast_to(np.eye(shape.axes["d"]), shape.cov).copy()


@second.closed_form
def white_noise(rng, shape):
    """S = I: ones on the diagonal beside the products of the mean"""
    mean, cov = _white(rng, shape)
    return Case((mean, cov)), np.eye(shape.axes["d"]) + mean[..., :, None] * mean[..., None, :]


@second.closed_form
def certainty(rng, shape):
    """S = 0: x x^T of the mean"""
    mean, cov = _white(rng, shape)
    return Case((mean, 0 * cov)), mean[..., :, None] * mean[..., None, :]


@mean_form.closed_form
def sum_of_all_products(rng, shape):
    """A full of ones and S = I: d + (sum of the mean)^2"""
    mean, cov = _white(rng, shape)
    return Case((np.ones(shape.matrix), mean, cov)), shape.axes["d"] + mean.sum(axis=-1) ** 2


@mean_form.closed_form
def antisymmetric_matrix(rng, shape):
    """A antisymmetric: 0"""
    half = rng.integers(-3, 4, shape.matrix).astype(float)
    cov = covariance(rng, shape.cov)
    mean = rng.standard_normal(shape.mean)
    return Case((half - half.swapaxes(-1, -2), mean, cov)), np.zeros(shape.batch)


@covariance_form.closed_form
def norm_and_square_of_the_sum(rng, shape):
    """A = I, B full of ones, S = I: 2 d + 4 (sum of the mean)^2"""
    mean, cov = _white(rng, shape)
    answer = 2 * shape.axes["d"] + 4 * mean.sum(axis=-1) ** 2
    return Case((cov.copy(), np.ones(shape.right), mean, cov)), answer


@covariance_form.closed_form
def squares_of_first_and_last_coordinate(rng, shape):
    """A and B pick x_1^2 and x_d^2: 2 S_1d^2 + 4 m_1 m_d S_1d"""
    cov = covariance(rng, shape.cov)
    mean = rng.standard_normal(shape.mean)
    pick = np.zeros((2, *shape.left))
    pick[0, ..., 0, 0] = pick[1, ..., -1, -1] = 1.0
    s = cov[..., 0, -1]
    answer = 2 * s * s + 4 * mean[..., 0] * mean[..., -1] * s
    return Case((pick[0], pick[1], mean, cov)), answer


@cumulant.closed_form
def noncentral_chi_square(rng, shape):
    """A = I, S = I: 2^{s-1} (s-1)! (d + s |mean|^2)"""
    mean, cov = _white(rng, shape)
    order = int(rng.integers(1, 5))
    constant = 2 ** (order - 1) * math.factorial(order - 1)
    answer = constant * (shape.axes["d"] + order * (mean * mean).sum(axis=-1))
    return Case((cov.copy(), mean, cov), {"order": order}), answer


@cumulant.closed_form
def product_of_two_factors(rng, shape):
    """x_1 (sum of x), centred and white: eigenvalues (1 +- sqrt d)/2 and zeros"""
    d = shape.axes["d"]
    matrix = np.zeros(shape.matrix)
    matrix[..., 0, :] = 1.0
    order = int(rng.integers(1, 5))
    constant = 2 ** (order - 1) * math.factorial(order - 1)
    answer = constant * (((1 + d**0.5) / 2) ** order + ((1 - d**0.5) / 2) ** order)
    mean, cov = _white(rng, shape)
    return Case((matrix, 0 * mean, cov), {"order": order}), np.full(shape.batch, answer)
