"""Second definitions: overlap by generalised eigenvalues, coefficients by determinants."""

from __future__ import annotations

import mpmath

from tools.golden import golden
from tools.golden.gaussian.pairs import pairs, ratios


@golden("bhattacharyya_distance", pairs)
def distance(mean_p, cov_p, mean_q, cov_q):
    """With the eigenvalues l of S_q^{-1} S_p, the shape term is the sum of log cosh(log(l)/2)/2."""
    delta = mpmath.matrix([a - b for a, b in zip(mean_p, mean_q, strict=True)])
    total = mpmath.matrix(cov_p) + mpmath.matrix(cov_q)
    mahalanobis = (delta.T * mpmath.lu_solve(total, delta))[0]
    shape = [mpmath.log(mpmath.cosh(mpmath.log(ratio) / 2)) for ratio in ratios(cov_p, cov_q)]
    return mahalanobis / 4 + mpmath.fsum(shape) / 2


@golden("bhattacharyya_coefficient", pairs)
def coefficient(mean_p, cov_p, mean_q, cov_q):
    """The integral of the root of p q, completing the square in precisions."""
    mean_p, mean_q = mpmath.matrix(mean_p), mpmath.matrix(mean_q)
    precision_p, precision_q = (mpmath.inverse(mpmath.matrix(x)) for x in (cov_p, cov_q))
    precision = (precision_p + precision_q) / 2
    linear = (precision_p * mean_p + precision_q * mean_q) / 2
    constant = (mean_p.T * precision_p * mean_p + mean_q.T * precision_q * mean_q)[0] / 2
    exponent = (linear.T * mpmath.inverse(precision) * linear)[0] - constant
    determinants = mpmath.sqrt(mpmath.det(precision_p) * mpmath.det(precision_q))
    return mpmath.sqrt(determinants / mpmath.det(precision)) * mpmath.exp(exponent / 2)


def _with_both_normalisations():
    return {
        f"{name}_{normalisation}": (arrays, {"normalisation": normalisation})
        for name, (arrays, _) in pairs().items()
        for normalisation in (("unit", "double") if name == "g1" else ("unit",))
    }


@golden("hellinger_squared", _with_both_normalisations)
def hellinger(mean_p, cov_p, mean_q, cov_q, normalisation):
    return {"unit": 1, "double": 2}[normalisation] * (1 - coefficient(mean_p, cov_p, mean_q, cov_q))
