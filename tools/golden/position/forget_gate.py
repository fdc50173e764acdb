"""Second definition in plain mpmath: the logarithm of a product of gates, pair by pair."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden


def _cases():
    rng = np.random.default_rng(2503)
    return {
        "half open": ((rng.standard_normal(5),), {}),
        "almost open": ((rng.uniform(10.0, 30.0, 4),), {}),
        "closed in between": ((np.array([1.0, -700.0, 20.0, 20.0, -5.0]),), {}),
        "one": ((np.array([0.5]),), {}),
    }


@golden("forget_gate_bias", cases=_cases)
def forget_gate_bias(x):
    gates = [1 / (1 + mpmath.exp(-v)) for v in x]
    n = len(x)
    return [
        [
            mpmath.log(mpmath.fprod(gates[j + 1 : i + 1])) if j <= i else -mpmath.inf
            for j in range(n)
        ]
        for i in range(n)
    ]
