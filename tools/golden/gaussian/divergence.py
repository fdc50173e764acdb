"""Second definitions: Kullback-Leibler as it is printed, by the inverse and the determinant."""

from __future__ import annotations

import mpmath

from tools.golden import golden
from tools.golden.gaussian.pairs import pairs


@golden("gaussian_kl", pairs)
def kl(mean_p, cov_p, mean_q, cov_q):
    delta = mpmath.matrix([a - b for a, b in zip(mean_p, mean_q, strict=True)])
    cov_p, cov_q = mpmath.matrix(cov_p), mpmath.matrix(cov_q)
    ratio = mpmath.inverse(cov_q) * cov_p
    trace = mpmath.fsum(ratio[i, i] for i in range(len(mean_p)))
    mahalanobis = (delta.T * mpmath.inverse(cov_q) * delta)[0]
    return (mahalanobis + trace - len(mean_p) - mpmath.log(mpmath.det(ratio))) / 2
