"""Wrong inverses and factors: the other triangle, the wrong order, halves forgotten."""

from __future__ import annotations

from refimpl.backend import cholesky as factor_of
from refimpl.backend import eigh, namespace, solve, solve_triangular
from refimpl.evidence.gaussian.density_mutants import off_diagonal_doubled
from refimpl.evidence.gaussian.parametrisation_mutants import (
    diagonal_matrix,
    diagonal_of,
    transposed,
)
from refimpl.evidence.gaussian.precision import FACTORS, INVERSES, cholesky, inverse_cholesky


def _identity(matrix):
    return namespace(matrix).eye(matrix.shape[-1], dtype=matrix.dtype)


def _inverse(matrix):
    return solve(matrix, _identity(matrix))


# ----------------------------------------------------------------------------------- inverses


def reciprocal_entries(matrix, /):
    """every entry is inverted instead of the matrix"""
    return 1 / matrix


def factors_in_the_wrong_order(matrix, /):
    """the product is L^{-1} L^{-T} instead of L^{-T} L^{-1}"""
    root = solve_triangular(factor_of(matrix), _identity(matrix))
    return root @ transposed(root)


def inverse_factor(matrix, /):
    """the inverse of the Cholesky factor is returned: a triangle is not multiplied"""
    return solve_triangular(factor_of(matrix), _identity(matrix))


def regularised(matrix, /):
    """0.01 is added to the diagonal before the inversion"""
    return _inverse(matrix + 0.01 * _identity(matrix))


def gradient_not_whitened_on_both_sides(g, matrix, /):
    """the gradient is multiplied by the inverse on one side only"""
    half = -(g + transposed(g)) / 2 @ _inverse(matrix)
    return ((half + transposed(half)) / 2,)


def gradient_off_diagonal_doubled(g, matrix, /):
    """the gradient counts each off-diagonal entry twice"""
    inverse = _inverse(matrix)
    return (off_diagonal_doubled(-inverse @ (g + transposed(g)) / 2 @ inverse),)


def gradient_not_symmetric(g, matrix, /):
    """the gradient is that in a matrix without symmetry"""
    return (-_inverse(matrix) @ g @ _inverse(matrix),)


_VALUES = (
    reciprocal_entries,
    factors_in_the_wrong_order,
    inverse_factor,
    regularised,
)
_GRADIENTS = (
    gradient_not_whitened_on_both_sides,
    gradient_off_diagonal_doubled,
    gradient_not_symmetric,
)
for of in INVERSES:
    for body in _VALUES:
        of.mutant(body)
    for body in _GRADIENTS:
        of.mutant(body, gradient=True)


# ------------------------------------------------------------------------------------ factors


@cholesky.mutant
def symmetric_root(cov, /):
    """the symmetric square root is returned instead of the Cholesky factor"""
    eigenvalues, basis = eigh(cov)
    return (basis * namespace(cov).sqrt(eigenvalues)[..., None, :]) @ transposed(basis)


@cholesky.mutant
def root_of_eigenvectors(cov, /):
    """the factor V sqrt(D) of the eigenvectors is returned instead of the Cholesky factor"""
    eigenvalues, basis = eigh(cov)
    return basis * namespace(cov).sqrt(eigenvalues)[..., None, :]


@cholesky.mutant
def unit_diagonal(cov, /):
    """the factor of L D L^T is returned, with ones on its diagonal"""
    root = factor_of(cov)
    return root / diagonal_of(root)[..., None, :]


@cholesky.mutant
def deviations_only(cov, /):
    """the diagonal holds the deviations of the coordinates alone, not given those before"""
    root = factor_of(cov)
    xp = namespace(cov)
    return xp.tril(root, -1) + diagonal_matrix(xp.sqrt(diagonal_of(cov)))


@cholesky.mutant
def lower_triangle(cov, /):
    """the lower triangle of the covariance is returned"""
    return namespace(cov).tril(cov)


@inverse_cholesky.mutant
def inverse_without_transposition(precision, /):
    """the inverse of the precision's Cholesky factor is returned, whose square is no covariance"""
    return solve_triangular(factor_of(precision), _identity(precision))


@inverse_cholesky.mutant(source="https://github.com/pytorch/pytorch/pull/21366")
def upper_inverse(precision, /):
    """the factor is the inverse transpose of the precision's own, which is upper triangular"""
    return transposed(solve_triangular(factor_of(precision), _identity(precision)))


@inverse_cholesky.mutant
def reversed_factor(precision, /):
    """the factor is not reversed back after the reversal of the coordinates"""
    xp = namespace(precision)
    root = factor_of(xp.flip(precision, axis=(-2, -1)))
    return solve_triangular(root, _identity(precision))


@inverse_cholesky.mutant
def inverse_lower_triangle(precision, /):
    """the lower triangle of the covariance is returned instead of its factor"""
    return namespace(precision).tril(_inverse(precision))


# ----------------------------------------------------------------------- gradients of factors


def _register(of):
    """Wrong halves of the gradient, written once for both factors."""

    @of.mutant(gradient=True)
    def gradient_with_both_halves_in_one_triangle(g, matrix, /):
        """the gradient has both halves of each off-diagonal entry in the lower triangle"""
        (found,) = of.formula.vjp(g, matrix)
        xp = namespace(found)
        return (xp.tril(found) + xp.tril(found, -1),)

    @of.mutant(gradient=True)
    def gradient_of_each_half_doubled(g, matrix, /):
        """the gradient counts each off-diagonal entry twice"""
        return (off_diagonal_doubled(of.formula.vjp(g, matrix)[0]),)

    @of.mutant(gradient=True)
    def gradient_with_opposite_sign(g, matrix, /):
        """the gradient has the wrong sign"""
        return (-of.formula.vjp(g, matrix)[0],)


for of in FACTORS:
    _register(of)


@cholesky.mutant(gradient=True)
def gradient_with_a_whole_diagonal(g, cov, /):
    """the gradient takes the lower triangle of L^T G without halving its diagonal"""
    root, xp = factor_of(cov), namespace(cov)
    inner = xp.tril(transposed(root) @ xp.tril(g))
    half = solve(transposed(root), transposed(solve(transposed(root), transposed(inner))))
    return ((half + transposed(half)) / 2,)
