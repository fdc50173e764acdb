"""Second definitions: total variation by the distribution functions at the points of p = q."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden
from tools.golden.gaussian.pairs import pairs


def _same_covariance():
    return {
        name: ((mean_p, mean_q, cov_q), {})
        for name, ((mean_p, _, mean_q, cov_q), _) in pairs().items()
        if "far" not in name
    }


@golden("total_variation_same_covariance", _same_covariance)
def same_covariance(mean_p, mean_q, cov):
    delta = mpmath.matrix([a - b for a, b in zip(mean_p, mean_q, strict=True)])
    distance = mpmath.sqrt((delta.T * mpmath.inverse(mpmath.matrix(cov)) * delta)[0])
    return mpmath.ncdf(distance / 2) - mpmath.ncdf(-distance / 2)


def _lines():
    cases = {
        "g3": (0.0, 1.0, 1.0, 4.0),
        "equal_variances": (0.0, 1.0, 1.7, 1.0),
        "equal_means": (0.5, 1.0, 0.5, 3.0),
        "narrow": (0.3, 1e-6, -0.2, 2.0),
        "far_apart": (12.0, 1.0, 0.0, 2.0),
        "near_equal_1e-8": (1 + 1e-8, 2.0, 1.0, 2.0 + 3e-8),
        "near_equal_variances": (2.0, 1.0 + 1e-9, 1.0, 1.0),
        "near_equal_means": (1.0 + 1e-9, 1.0, 1.0, 1.5),
        "on_the_seam": (0.9, 1.0, 0.0, 2.7),
    }
    return {name: (tuple(map(np.array, case)), {}) for name, case in cases.items()}


@golden("total_variation_univariate", _lines)
def univariate(mean_p, var_p, mean_q, var_q):
    """P_p(I) - P_q(I), with the interval I between the roots of the printed quadratic."""
    a = 1 / var_p - 1 / var_q
    b = -2 * (mean_p / var_p - mean_q / var_q)
    c = mean_p**2 / var_p - mean_q**2 / var_q + mpmath.log(var_p / var_q)

    def difference(x):
        return mpmath.ncdf((x - mean_p) / mpmath.sqrt(var_p)) - mpmath.ncdf(
            (x - mean_q) / mpmath.sqrt(var_q)
        )

    if a == 0:
        return abs(difference(-c / b))
    root = mpmath.sqrt(b * b - 4 * a * c)
    # The stable pair of roots: one of them may be far away.
    larger = -(b + mpmath.sign(b or 1) * root) / 2
    return abs(difference(larger / a) - difference(c / larger))
