"""Second definition in plain mpmath: products of sinusoidal encodings, divided head by head."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden


def _cases():
    theta = np.array([float(mpmath.mpf(10000) ** (-mpmath.mpf(p) / 8)) for p in range(8)])
    rng = np.random.default_rng(2212)
    text = np.arange(4), np.arange(5)
    return {
        "in order": ((theta, *text), {"heads": 3, "centred": False}),
        "centred": ((theta, *text), {"heads": 3, "centred": True}),
        "one head": ((theta, *text), {"heads": 1, "centred": False}),
        "after a cache": (
            (theta, np.array([8190, 8191]), np.array([0, 4096, 8191])),
            {"heads": 12, "centred": True},
        ),
        "fractional": (
            (rng.uniform(0.0, 2.0, 3), np.array([0.5, -3.25]), np.array([1e-3])),
            {"heads": 2, "centred": False},
        ),
    }


@golden("sandwich_bias", cases=_cases)
def sandwich_bias(theta, queries, keys, *, heads, centred):
    def encoding(m):
        return [turn(m * t) for t in theta for turn in (mpmath.sin, mpmath.cos)]

    def product(i, j):
        total = mpmath.fdot(encoding(i), encoding(j))
        return total - len(theta) if centred else total

    ratios = [mpmath.mpf(8 * n) / heads for n in range(1, heads + 1)]
    return [[[product(i, j) / ratio for j in keys] for i in queries] for ratio in ratios]
