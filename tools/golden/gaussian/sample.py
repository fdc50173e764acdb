"""Second definitions: sample covariance from all pairs of observations, without a mean."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden


def _samples():
    rng = np.random.default_rng(1983)
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    return {
        "corners": ((corners,), {"ddof": 1}),
        "corners_ddof_0": ((corners,), {"ddof": 0}),
        "two": ((np.array([[0.0, 0.0], [2.0, 2.0]]),), {"ddof": 1}),
        "dimension_3": ((rng.standard_normal((9, 3)),), {"ddof": 1}),
        "fewer_than_dimensions": ((rng.standard_normal((3, 5)),), {"ddof": 0}),
        "far_from_the_origin": ((1e4 + rng.standard_normal((12, 2)),), {"ddof": 1}),
        "far_1e12": ((1e12 + rng.standard_normal((12, 2)),), {"ddof": 1}),
        "one": ((np.array([[3.0, -1.0]]),), {"ddof": 0}),
    }


@golden("sample_moments", _samples)
def moments(x, *, ddof):
    """sum_{i<k} (x_i - x_k)(x_i - x_k)^T = n sum_i (x_i - m)(x_i - m)^T"""
    n, d = len(x), len(x[0])
    mean = [mpmath.fsum(row[j] for row in x) / n for j in range(d)]
    pairs = [(x[i], x[k]) for k in range(n) for i in range(k)]
    cov = [
        [
            mpmath.fsum((a[i] - b[i]) * (a[j] - b[j]) for a, b in pairs) / (n * (n - ddof))
            for j in range(d)
        ]
        for i in range(d)
    ]
    return mean, cov
