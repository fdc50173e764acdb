"""Second definitions: Kullback-Leibler as it is printed; its relatives in other coordinates."""

from __future__ import annotations

import mpmath

from tools.golden import golden
from tools.golden.gaussian.pairs import pairs, whitened


@golden("gaussian_kl", pairs)
def kl(mean_p, cov_p, mean_q, cov_q):
    delta = mpmath.matrix([a - b for a, b in zip(mean_p, mean_q, strict=True)])
    cov_p, cov_q = mpmath.matrix(cov_p), mpmath.matrix(cov_q)
    ratio = mpmath.inverse(cov_q) * cov_p
    trace = mpmath.fsum(ratio[i, i] for i in range(len(mean_p)))
    mahalanobis = (delta.T * mpmath.inverse(cov_q) * delta)[0]
    return (mahalanobis + trace - len(mean_p) - mpmath.log(mpmath.det(ratio))) / 2


@golden("jeffreys_divergence", pairs)
def jeffreys(mean_p, cov_p, mean_q, cov_q):
    """With the eigenvalues l of S_q^{-1} S_p, its part of the shape is 2 sinh(log(l)/2)^2."""
    ratios, gap = whitened(mean_p, cov_p, mean_q, cov_q)
    of_shape = [2 * mpmath.sinh(mpmath.log(r) / 2) ** 2 for r in ratios]
    of_means = [z * z * (1 + 1 / r) / 2 for r, z in zip(ratios, gap, strict=True)]
    return mpmath.fsum(of_shape) + mpmath.fsum(of_means)


@golden("gaussian_cross_entropy", pairs)
def cross_entropy(mean_p, cov_p, mean_q, cov_q):
    """The mean of -log q over the points mean_p +- sqrt(d) L e_i, which is exact for quadratics."""
    d = len(mean_p)
    columns = mpmath.sqrt(d) * mpmath.cholesky(mpmath.matrix(cov_p))
    delta = mpmath.matrix([a - b for a, b in zip(mean_p, mean_q, strict=True)])
    precision = mpmath.inverse(mpmath.matrix(cov_q))
    density = mpmath.sqrt(mpmath.det(precision) / (2 * mpmath.pi) ** d)
    squares = []
    for i in range(d):
        for sign in (1, -1):
            point = delta + sign * columns[:, i]
            squares.append((point.T * precision * point)[0])
    return mpmath.fsum(squares) / (4 * d) - mpmath.log(density)
