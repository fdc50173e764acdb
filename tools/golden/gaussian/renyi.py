"""Second definitions: divergences of any order by generalised eigenvalues and by precisions."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden
from tools.golden.gaussian.pairs import pairs, whitened


def _with_orders():
    found = {}
    for name, (arrays, _) in pairs().items():
        orders = (0.3, 0.7, 1.0, 1.0 + 2.0**-30) if name in ("g1", "g2", "g3") else (0.3,)
        for order in orders:
            found[f"{name}_order_{order:.10g}"] = arrays, {"order": np.array(order)}
    found["g3_order_3"] = pairs()["g3"][0], {"order": np.array(3.0)}
    return found


@golden("renyi_divergence", _with_orders)
def renyi(mean_p, cov_p, mean_q, cov_q, order):
    """Coordinate by coordinate, where S_q is the identity and S_p is diagonal."""
    ratios, gap = whitened(mean_p, cov_p, mean_q, cov_q)
    if order == 1:
        terms = [(z * z + r - 1 - mpmath.log(r)) / 2 for r, z in zip(ratios, gap, strict=True)]
        return mpmath.fsum(terms)
    mixed = [order + (1 - order) * r for r in ratios]
    of_means = mpmath.fsum(z * z / m for z, m in zip(gap, mixed, strict=True))
    of_shape = mpmath.fsum(
        mpmath.log(m) - (1 - order) * mpmath.log(r) for r, m in zip(ratios, mixed, strict=True)
    )
    return order / 2 * of_means - of_shape / (2 * (order - 1))


def _narrow():
    wanted = ("g3", "same_covariance", "near_equal_1e-8", "on_the_seam", "graded_1e12_near_equal")
    return {name: pairs()[name] for name in wanted}


@golden("chi_squared_divergence", _narrow)
def chi_squared(mean_p, cov_p, mean_q, cov_q):
    """The integral of p^2/q, completing the square in precisions."""
    mean_p, mean_q = mpmath.matrix(mean_p), mpmath.matrix(mean_q)
    precision_p, precision_q = (mpmath.inverse(mpmath.matrix(x)) for x in (cov_p, cov_q))
    precision = 2 * precision_p - precision_q
    linear = 2 * precision_p * mean_p - precision_q * mean_q
    constant = (2 * mean_p.T * precision_p * mean_p - mean_q.T * precision_q * mean_q)[0]
    exponent = (linear.T * mpmath.inverse(precision) * linear)[0] - constant
    determinants = mpmath.det(precision_p) ** 2 / mpmath.det(precision_q)
    return mpmath.sqrt(determinants / mpmath.det(precision)) * mpmath.exp(exponent / 2) - 1
