"""Wrong variants of the optimal map and cross-covariance: other maps, and slips in this one."""

from __future__ import annotations

from refimpl.backend import cholesky, namespace, solve, solve_triangular
from refimpl.evidence.gaussian.optimal_map import cross, map_
from refimpl.evidence.gaussian.shared import matrix_of_map, off_diagonal_doubled, power
from refimpl.gaussian.optimal_map import optimal_cross_covariance, transport_map


def _with_offset(matrix, mean_p, mean_q):
    return matrix, mean_q - (matrix @ mean_p[..., None])[..., 0]


# ------------------------------------------------------------------------------------------ the map


@map_.mutant
def the_way_back(mean_p, cov_p, mean_q, cov_q, /):
    """p and q are swapped: the inverse map"""
    return _with_offset(matrix_of_map(cov_q, cov_p), mean_q, mean_p)


@map_.mutant
def cholesky_map(mean_p, cov_p, mean_q, cov_q, /):
    """the matrix is L_q L_p^{-1}, with Cholesky factors: a map, but not the optimal one"""
    low_p, low_q = cholesky(cov_p), cholesky(cov_q)
    matrix = solve_triangular(low_p, low_q.swapaxes(-1, -2), transpose=True).swapaxes(-1, -2)
    return _with_offset(matrix, mean_p, mean_q)


@map_.mutant
def map_of_roots(mean_p, cov_p, mean_q, cov_q, /):
    """the matrix is S_q^{1/2} S_p^{-1/2}, which is optimal only where they commute"""
    return _with_offset(power(cov_q, 0.5) @ power(cov_p, -0.5), mean_p, mean_q)


@map_.mutant
def ratios_of_deviations(mean_p, cov_p, mean_q, cov_q, /):
    """only the standard deviations are matched: correlations are ignored"""
    xp = namespace(cov_p)
    variances = (xp.diagonal(cov, axis1=-2, axis2=-1) for cov in (cov_q, cov_p))
    ratio = xp.sqrt(next(variances) / next(variances))
    matrix = ratio[..., None, :] * xp.eye(cov_p.shape[-1], dtype=cov_p.dtype)
    return _with_offset(matrix, mean_p, mean_q)


@map_.mutant
def inner_root_only(mean_p, cov_p, mean_q, cov_q, /):
    """the inverse roots S_p^{-1/2} on both sides are missing"""
    root = power(cov_p, 0.5)
    return _with_offset(power(root @ cov_q @ root, 0.5), mean_p, mean_q)


@map_.mutant
def middle_root_missing(mean_p, cov_p, mean_q, cov_q, /):
    """the matrix is squared: the middle root is missing"""
    matrix = matrix_of_map(cov_p, cov_q)
    return _with_offset(matrix @ matrix, mean_p, mean_q)


@map_.mutant
def mean_of_p_not_mapped(mean_p, cov_p, mean_q, cov_q, /):
    """the offset is mean_q - mean_p: the matrix is missing there"""
    return matrix_of_map(cov_p, cov_q), mean_q - mean_p


@map_.mutant
def sign_of_the_offset(mean_p, cov_p, mean_q, cov_q, /):
    """the offset has the wrong sign"""
    matrix, offset = _with_offset(matrix_of_map(cov_p, cov_q), mean_p, mean_q)
    return matrix, -offset


@map_.mutant(gradient=True)
def gradient_of_the_offset_missing(g, mean_p, cov_p, mean_q, cov_q, /):
    """the gradients in the covariances ignore that the offset depends on the matrix"""
    dmean_p, _, dmean_q, _ = transport_map.vjp(g, mean_p, cov_p, mean_q, cov_q)
    origin = 0 * mean_p
    _, dcov_p, _, dcov_q = transport_map.vjp(g, origin, cov_p, mean_q, cov_q)
    return dmean_p, dcov_p, dmean_q, dcov_q


@map_.mutant(gradient=True)
def gradient_of_means_not_mapped(g, mean_p, cov_p, mean_q, cov_q, /):
    """the gradient in mean_p is that of -mean_p: the matrix is missing"""
    _, *others = transport_map.vjp(g, mean_p, cov_p, mean_q, cov_q)
    return -g[1], *others


@map_.mutant(gradient=True)
def gradient_off_diagonal_doubled(g, mean_p, cov_p, mean_q, cov_q, /):
    """the gradients in the covariances count each off-diagonal entry twice"""
    dmean_p, dcov_p, dmean_q, dcov_q = transport_map.vjp(g, mean_p, cov_p, mean_q, cov_q)
    return dmean_p, off_diagonal_doubled(dcov_p), dmean_q, off_diagonal_doubled(dcov_q)


# ---------------------------------------------------------------------------- the cross-covariance


@cross.mutant
def product_of_roots(cov_p, cov_q, /):
    """C is S_p^{1/2} S_q^{1/2}, which is optimal only where they commute"""
    return power(cov_p, 0.5) @ power(cov_q, 0.5)


@cross.mutant
def product_of_cholesky_factors(cov_p, cov_q, /):
    """C is L_p L_q^T, with Cholesky factors: feasible, but not optimal"""
    return cholesky(cov_p) @ cholesky(cov_q).swapaxes(-1, -2)


@cross.mutant
def transposed(cov_p, cov_q, /):
    """C is transposed: rows belong to q"""
    return matrix_of_map(cov_p, cov_q) @ cov_p


@cross.mutant
def middle_of_the_formula(cov_p, cov_q, /):
    """C is the symmetric (S_p^{1/2} S_q S_p^{1/2})^{1/2}, which has the same trace"""
    root = power(cov_p, 0.5)
    return power(root @ cov_q @ root, 0.5)


@cross.mutant
def symmetrised(cov_p, cov_q, /):
    """C is made symmetric"""
    c = cov_p @ matrix_of_map(cov_p, cov_q)
    return (c + c.swapaxes(-1, -2)) / 2


@cross.mutant
def inverse_map(cov_p, cov_q, /):
    """C is S_p times the matrix of the map from q to p"""
    return cov_p @ matrix_of_map(cov_q, cov_p)


@cross.mutant
def root_missing(cov_p, cov_q, /):
    """C is the product S_p S_q without its root"""
    return cov_p @ cov_q


@cross.mutant
def diagonals_only(cov_p, cov_q, /):
    """only the diagonals of the covariances are used"""
    xp = namespace(cov_p)
    return xp.sqrt(cov_p * cov_q * xp.eye(cov_p.shape[-1], dtype=cov_p.dtype))


@cross.mutant(gradient=True)
def cross_gradient_transposed(g, cov_p, cov_q, /):
    """the cotangent is transposed"""
    return optimal_cross_covariance.vjp(g.swapaxes(-1, -2), cov_p, cov_q)


@cross.mutant(gradient=True)
def cross_gradient_of_the_factor_only(g, cov_p, cov_q, /):
    """the gradients take the map for constant: G A in cov_p, and G^T A^{-1} in cov_q"""
    matrix = matrix_of_map(cov_p, cov_q)
    first = g @ matrix
    second = solve(matrix, g).swapaxes(-1, -2)
    return tuple((x + x.swapaxes(-1, -2)) / 2 for x in (first, second))


@cross.mutant(gradient=True)
def cross_gradient_off_diagonal_doubled(g, cov_p, cov_q, /):
    """the gradients count each off-diagonal entry twice"""
    return tuple(off_diagonal_doubled(x) for x in optimal_cross_covariance.vjp(g, cov_p, cov_q))


@cross.mutant(gradient=True)
def cross_gradient_doubled(g, cov_p, cov_q, /):
    """the gradients are doubled: the denominators lack one of their two terms"""
    return tuple(2 * x for x in optimal_cross_covariance.vjp(g, cov_p, cov_q))
