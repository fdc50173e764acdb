"""Evidence for precision matrices and Cholesky factors."""

from __future__ import annotations

import math

import numpy as np

from refimpl.backend import namespace
from refimpl.evidence import Budget, Case, Claim, Evidence, Sizes
from refimpl.evidence.gaussian.parametrisation import is_symmetric
from refimpl.evidence.gaussian.shared import (
    SYMMETRIC_MATRIX,
    change_of_unit,
    covariance,
    graded_units,
    integer_factor,
    recoordinated,
    rescale,
)
from refimpl.formula import upcast
from refimpl.gaussian.density import gaussian_entropy
from refimpl.gaussian.precision import (
    cholesky_from_covariance,
    cholesky_from_precision,
    covariance_from_precision,
    precision_from_covariance,
)

_SIZES = {"d": Sizes(1, 1, 10)}
_BUDGET = Budget(k=8.0, floor=16.0)
_ENTROPY_OF_UNIT = 0.5 * (1 + math.log(2 * math.pi))

inverse = Evidence(
    covariance_from_precision,
    sizes=_SIZES,
    budget=_BUDGET,
    unchanged=SYMMETRIC_MATRIX,
)
precision = Evidence(
    precision_from_covariance,
    sizes=_SIZES,
    budget=_BUDGET,
    unchanged=SYMMETRIC_MATRIX,
)
cholesky = Evidence(cholesky_from_covariance, sizes=_SIZES, budget=_BUDGET)
inverse_cholesky = Evidence(cholesky_from_precision, sizes=_SIZES, budget=_BUDGET)

INVERSES, FACTORS = (inverse, precision), (cholesky, inverse_cholesky)

# ------------------------------------------------------------------------------------ regimes


def _matrix_shape(shape):
    d = shape.axes["d"]
    return *shape.batch, d, d


def generic(rng, shape):
    """All coordinates correlated, eigenvalues between 1 and 16."""
    return Case((covariance(rng, _matrix_shape(shape)),))


def narrow(rng, shape):
    """Eigenvalues between 1/64 and 1/4, so that its inverse and its square are far from it."""
    return Case((covariance(rng, _matrix_shape(shape)) / 64,))


def graded(rng, shape):
    """Coordinates in units from 1/64 to 16: a condition number of 1e7."""
    matrix = covariance(rng, _matrix_shape(shape))
    return Case((rescale(matrix, graded_units(rng, matrix.shape[:-1])),))


for of in (*INVERSES, *FACTORS):
    of.regime(generic)
    of.regime(narrow)
    of.regime(graded, adversarial=True)


def _gradient_sizes(g, matrix):
    """The gradient X^{-1} G X^{-1} is a sum of d^2 terms for each entry, which may cancel."""
    inverse = abs(precision_from_covariance(matrix))
    largest = float((inverse @ abs(g) @ inverse).max(initial=0.0))
    return {"precision": largest, "cov": largest}


for of in INVERSES:
    of.gradient_terms(_gradient_sizes)


# --------------------------------------------------------------------------------------- laws


def _outer_root(matrix):
    """sqrt(X_ii X_jj), which bounds |X_ij| and has its units."""
    xp = namespace(matrix)
    root = xp.sqrt(abs(xp.diagonal(matrix, axis1=-2, axis2=-1)))
    return root[..., :, None] * root[..., None, :]


def is_the_inverse(f, case):
    """f(X) X = I"""
    (matrix,) = map(upcast, case.arrays)
    value = upcast(f(*case.arrays))
    identity = namespace(matrix).eye(matrix.shape[-1]) + 0 * matrix
    yield Claim(value @ matrix, identity, 64 * _outer_root(value) @ _outer_root(matrix))


def twice_is_nothing(f, case):
    """f(f(X)) = X"""
    (matrix,) = case.arrays
    yield Claim(f(f(matrix)), matrix, 64 * matrix.shape[-1] * _outer_root(matrix))


def units_invert(f, case):
    """f(C X C^T) = C^{-T} f(X) C^{-1}, C a permutation with scales"""
    (matrix,) = case.arrays
    units, order = change_of_unit(matrix)
    value = recoordinated(f(matrix), 1 / units, order)
    yield Claim(f(recoordinated(matrix, units, order)), value, 64 * _outer_root(value))


def block_of_the_inverse_is_that_of_the_schur_complement(f, case):
    """f(X)_aa = f(X_aa - X_ab X_bb^{-1} X_ba): precisions are conditional, variances marginal"""
    (matrix,) = map(upcast, case.arrays)
    k = matrix.shape[-1] // 2
    if k == 0:
        return
    value = upcast(f(*case.arrays))[..., :k, :k]
    off = matrix[..., :k, k:]
    schur = matrix[..., :k, :k] - off @ f(matrix[..., k:, k:]) @ off.swapaxes(-1, -2)
    yield Claim(value, f((schur + schur.swapaxes(-1, -2)) / 2), 256 * _outer_root(value))


def entropies_cancel(f, case):
    """H(S) + H(S^{-1}) = d (1 + log 2 pi), as the determinants of inverses do"""
    (matrix,) = map(upcast, case.arrays)
    first, second = gaussian_entropy(matrix), gaussian_entropy(upcast(f(*case.arrays)))
    constant = 2 * matrix.shape[-1] * _ENTROPY_OF_UNIT
    total = first + second
    yield Claim(total, 0 * total + constant, 64 * (abs(first) + constant))


for of in INVERSES:
    of.law(is_symmetric)
    of.law(is_the_inverse)
    of.law(twice_is_nothing)
    of.law(units_invert)
    of.law(block_of_the_inverse_is_that_of_the_schur_complement)
    of.law(entropies_cancel)


def is_lower_triangular(f, case):
    """Nothing is above the diagonal, and the diagonal is positive"""
    value = f(*case.arrays)
    xp = namespace(value)
    yield Claim(xp.triu(value, 1), xp.zeros_like(value), abs(value))
    diagonal = xp.diagonal(value, axis1=-2, axis2=-1)
    yield Claim(abs(diagonal), diagonal, diagonal)


for of in FACTORS:
    of.law(is_lower_triangular)


@cholesky.law
def its_square_is_the_covariance(f, case):
    """L L^T = S"""
    (matrix,) = map(upcast, case.arrays)
    value = upcast(f(*case.arrays))
    yield Claim(value @ value.swapaxes(-1, -2), matrix, 16 * _outer_root(matrix))


@cholesky.law
def first_coordinates_do_not_know_of_the_others(f, case):
    """The factor of the first k coordinates is the first block of the factor"""
    (matrix,) = case.arrays
    k = (matrix.shape[-1] + 1) // 2
    part = f(matrix[..., :k, :k])
    yield Claim(f(matrix)[..., :k, :k], part, 64 * _rows(part))


@cholesky.law
def is_in_the_unit_of_x(f, case):
    """The factor of C S C is C L, for a diagonal C"""
    (matrix,) = case.arrays
    units = abs(change_of_unit(matrix)[0])
    value = f(matrix) * units[:, None]
    yield Claim(f(matrix * units[:, None] * units), value, 64 * _rows(value))


@inverse_cholesky.law
def whitens_the_precision(f, case):
    """L^T P L = I"""
    (matrix,) = map(upcast, case.arrays)
    value = upcast(f(*case.arrays))
    identity = namespace(matrix).eye(matrix.shape[-1]) + 0 * matrix
    size = abs(value).swapaxes(-1, -2) @ _outer_root(matrix) @ abs(value)
    yield Claim(value.swapaxes(-1, -2) @ matrix @ value, identity, 64 * size)


@inverse_cholesky.law
def last_coordinates_given_the_first(f, case):
    """The last block of L is the factor that the last block of P gives: they are conditional"""
    (matrix,) = case.arrays
    k = matrix.shape[-1] // 2
    part = f(matrix[..., k:, k:])
    yield Claim(f(matrix)[..., k:, k:], part, 64 * _rows(part))


@inverse_cholesky.law
def is_in_the_inverse_unit_of_the_precision(f, case):
    """The factor of C P C is C^{-1} L, for a diagonal C"""
    (matrix,) = case.arrays
    units = abs(change_of_unit(matrix)[0])
    value = f(matrix) / units[:, None]
    yield Claim(f(matrix * units[:, None] * units), value, 64 * _rows(value))


def _rows(factor):
    """The size of every row: a factor's rows have the units of its coordinates."""
    return namespace(factor).sqrt((factor * factor).sum(axis=-1, keepdims=True)) + 0 * factor


# ------------------------------------------------------------------------------- closed forms


def compound_symmetry(rng, shape):
    """(4 I + 2 J)^{-1} = (I - J / (2 + d)) / 4, with J full of ones"""
    d = shape.axes["d"]
    matrix = np.broadcast_to(4 * np.eye(d) + 2, _matrix_shape(shape)).copy()
    return Case((matrix,)), np.broadcast_to((np.eye(d) - 1 / (2 + d)) / 4, matrix.shape)


def diagonal_matrices(rng, shape):
    """Diagonal matrices invert entry by entry"""
    d = shape.axes["d"]
    entries = 2.0 ** rng.integers(-4, 5, (*shape.batch, d))
    return Case((entries[..., None] * np.eye(d),)), np.eye(d) / entries[..., None]


for of in INVERSES:
    of.closed_form(compound_symmetry)
    of.closed_form(diagonal_matrices)


@cholesky.closed_form
def integer_cholesky_factor(rng, shape):
    """S = L L^T with whole numbers: L"""
    root = integer_factor(rng, shape.cov)
    return Case((root @ root.swapaxes(-1, -2),)), root


@cholesky.closed_form
def random_walk(rng, shape):
    """S_ij = min(i, j), Brownian motion at whole times: ones on and below the diagonal"""
    steps = 1.0 + np.arange(shape.axes["d"])
    cov = np.broadcast_to(np.minimum(steps[:, None], steps), shape.cov).copy()
    return Case((cov,)), np.broadcast_to(np.tril(np.ones(2 * (steps.size,))), shape.cov)


@inverse_cholesky.closed_form
def autoregression(rng, shape):
    """P = K^T K with 2 on the diagonal of K and b below: L_ij = (-b/2) ... (-b/2)/2"""
    root = integer_factor(rng, shape.precision)
    d = shape.axes["d"]
    answer = np.zeros(root.shape)
    for i in range(d):
        answer[..., i, i] = 0.5
        for j in range(i):
            answer[..., i, j] = -root[..., i, i - 1] / 2 * answer[..., i - 1, j]
    return Case((root.swapaxes(-1, -2) @ root,)), answer


@inverse_cholesky.closed_form
def diagonal_precision(rng, shape):
    """Diagonal precisions: the deviations 1 / sqrt(P_ii)"""
    d = shape.axes["d"]
    deviations = 2.0 ** rng.integers(-3, 4, (*shape.batch, d))
    return Case((np.eye(d) / deviations[..., None] ** 2,)), deviations[..., None] * np.eye(d)
