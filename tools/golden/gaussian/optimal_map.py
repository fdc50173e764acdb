"""Second definitions: the optimal map by matrix square roots, as the formulas are printed."""

from __future__ import annotations

import mpmath

from tools.golden import SPECTRAL, golden
from tools.golden.gaussian.transport import covariance_pairs, with_means


def root(matrix):
    """The symmetric square root, from eigenvalues."""
    eigenvalues, basis = mpmath.eigsy((matrix + matrix.T) / 2)
    return basis * mpmath.diag([mpmath.sqrt(abs(x)) for x in eigenvalues]) * basis.T


def map_matrix(cov_p, cov_q):
    """S_p^{-1/2} (S_p^{1/2} S_q S_p^{1/2})^{1/2} S_p^{-1/2}."""
    root_p = root(cov_p)
    inverse = mpmath.inverse(root_p)
    return inverse * root(root_p * cov_q * root_p) * inverse


@golden("transport_map", with_means)
def transport_map(mean_p, cov_p, mean_q, cov_q):
    matrix = map_matrix(mpmath.matrix(cov_p), mpmath.matrix(cov_q))
    return matrix.tolist(), (mpmath.matrix(mean_q) - matrix * mpmath.matrix(mean_p)).T.tolist()


@golden(
    "optimal_cross_covariance",
    lambda: {name: (pair, {}) for name, pair in covariance_pairs().items()},
    beyond={"unlike_sizes": SPECTRAL, "near_equal_1e-8": SPECTRAL},
)
def cross_covariance(cov_p, cov_q):
    cov_p, cov_q = mpmath.matrix(cov_p), mpmath.matrix(cov_q)
    return (cov_p * map_matrix(cov_p, cov_q)).tolist()
