"""Second definitions: Chernoff's exponent in the eigenbasis, maximised by a root of its slope."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden
from tools.golden.gaussian.pairs import pairs, whitened


def _exponent(ratios, gap, order):
    """-log c_a where S_q is the identity and S_p is diagonal."""
    return (
        mpmath.fsum(
            order * (1 - order) * z * z / (order + (1 - order) * r)
            + mpmath.log(order + (1 - order) * r)
            - (1 - order) * mpmath.log(r)
            for r, z in zip(ratios, gap, strict=True)
        )
        / 2
    )


def _slope(ratios, gap, order):
    def terms():
        for r, z in zip(ratios, gap, strict=True):
            mixed = order + (1 - order) * r
            yield (1 - 2 * order) * z * z / mixed - order * (1 - order) * z * z * (1 - r) / mixed**2
            yield (1 - r) / mixed + mpmath.log(r)

    return mpmath.fsum(terms()) / 2


def _with_orders():
    return {
        f"{name}_order_{order}": (arrays, {"order": np.array(order)})
        for name, (arrays, _) in pairs().items()
        for order in ((0.3, 0.7) if name in ("g1", "g2", "g3") else (0.3,))
    }


@golden("chernoff_coefficient", _with_orders)
def coefficient(mean_p, cov_p, mean_q, cov_q, order):
    return mpmath.exp(-_exponent(*whitened(mean_p, cov_p, mean_q, cov_q), order))


@golden("chernoff_information", pairs)
def information(mean_p, cov_p, mean_q, cov_q):
    ratios, gap = whitened(mean_p, cov_p, mean_q, cov_q)
    low, high = mpmath.mpf(0), mpmath.mpf(1)
    # The slope falls from KL(q || p) to - KL(p || q): halve the interval, then let Newton finish.
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _slope(ratios, gap, middle) > 0 else (low, middle)
    order = (low + high) / 2
    for _ in range(6):
        derivative = mpmath.diff(lambda a: _slope(ratios, gap, a), order, h=mpmath.mpf(10) ** -40)
        order -= _slope(ratios, gap, order) / derivative
    return _exponent(ratios, gap, order)
