"""Wrong inverses and factors: the other triangle, the wrong order, halves forgotten."""

from __future__ import annotations

from refimpl.backend import cholesky as factor_of
from refimpl.backend import eigh, namespace, solve, solve_triangular
from refimpl.evidence.gaussian.precision import (
    FACTORS,
    cholesky,
    inverse,
    inverse_cholesky,
    precision,
)
from refimpl.evidence.gaussian.shared import (
    diagonal_matrix,
    diagonal_of,
    identity_of,
    inverse_of,
    off_diagonal_doubled,
    transposed,
)
from refimpl.evidence.mistakes import wrong

# ----------------------------------------------------------------------------------- inverses


@precision.mutant
@inverse.mutant
def reciprocal_entries(matrix, /):
    """every entry is inverted instead of the matrix"""
    return 1 / matrix


@precision.mutant
@inverse.mutant
def factors_in_the_wrong_order(matrix, /):
    """the product is L^{-1} L^{-T} instead of L^{-T} L^{-1}"""
    root = solve_triangular(factor_of(matrix), identity_of(matrix))
    return root @ transposed(root)


@precision.mutant
@inverse.mutant
def inverse_factor(matrix, /):
    """the inverse of the Cholesky factor is returned: a triangle is not multiplied"""
    return solve_triangular(factor_of(matrix), identity_of(matrix))


@precision.mutant
@inverse.mutant
def regularised(matrix, /):
    """0.01 is added to the diagonal before the inversion"""
    return inverse_of(matrix + 0.01 * identity_of(matrix))


@precision.mutant(gradient=True)
@inverse.mutant(gradient=True)
def gradient_not_whitened_on_both_sides(g, matrix, /):
    """the gradient is multiplied by the inverse on one side only"""
    half = -(g + transposed(g)) / 2 @ inverse_of(matrix)
    return ((half + transposed(half)) / 2,)


@precision.mutant(gradient=True)
@inverse.mutant(gradient=True)
def gradient_off_diagonal_doubled(g, matrix, /):
    """the gradient counts each off-diagonal entry twice"""
    inverse = inverse_of(matrix)
    return (off_diagonal_doubled(-inverse @ (g + transposed(g)) / 2 @ inverse),)


@precision.mutant(gradient=True)
@inverse.mutant(gradient=True)
def gradient_not_symmetric(g, matrix, /):
    """the gradient is that in a matrix without symmetry"""
    return (-inverse_of(matrix) @ g @ inverse_of(matrix),)


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
    return solve_triangular(factor_of(precision), identity_of(precision))


@inverse_cholesky.mutant(source="https://github.com/pytorch/pytorch/pull/21366")
def upperinverse_of(precision, /):
    """the factor is the inverse transpose of the precision's own, which is upper triangular"""
    return transposed(solve_triangular(factor_of(precision), identity_of(precision)))


@inverse_cholesky.mutant
def reversed_factor(precision, /):
    """the factor is not reversed back after the reversal of the coordinates"""
    xp = namespace(precision)
    root = factor_of(xp.flip(precision, axis=(-2, -1)))
    return solve_triangular(root, identity_of(precision))


@inverse_cholesky.mutant
def inverse_lower_triangle(precision, /):
    """the lower triangle of the covariance is returned instead of its factor"""
    return namespace(precision).tril(inverse_of(precision))


# ----------------------------------------------------------------------- gradients of factors


def _one_triangle(found, arrays, options):
    xp = namespace(found[0])
    return (xp.tril(found[0]) + xp.tril(found[0], -1),)


wrong(
    FACTORS,
    "the gradient has both halves of each off-diagonal entry in the lower triangle",
    gradient=_one_triangle,
)
wrong(
    FACTORS,
    "the gradient counts each off-diagonal entry twice",
    gradient=lambda found, arrays, options: map(off_diagonal_doubled, found),
)
wrong(
    FACTORS,
    "the gradient has the wrong sign",
    gradient=lambda found, arrays, options: (-found[0],),
)


@cholesky.mutant(gradient=True)
def gradient_with_a_whole_diagonal(g, cov, /):
    """the gradient takes the lower triangle of L^T G without halving its diagonal"""
    root, xp = factor_of(cov), namespace(cov)
    inner = xp.tril(transposed(root) @ xp.tril(g))
    half = solve(transposed(root), transposed(solve(transposed(root), transposed(inner))))
    return ((half + transposed(half)) / 2,)
