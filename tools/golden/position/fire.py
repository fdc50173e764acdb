"""Second definition in plain mpmath: FIRE, pair by pair."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden


def _fire_cases():
    rng = np.random.default_rng(2310)
    weights = tuple(rng.standard_normal(shape) for shape in ((6,), (6,), (6, 3), (3,)))
    passes = np.ones(1), np.zeros(1), np.ones((1, 1)), np.zeros(1)
    start = {"log_rate": np.array(0.1), "threshold": np.array(512.0)}
    small = {"log_rate": np.array(1.5), "threshold": np.array(2.5)}
    tiny = {"log_rate": np.array(1e-12), "threshold": np.array(3.5)}
    published = (np.array([10, 1000]), np.array([9, 0, 500]))
    return {
        "published": ((*passes, *published), start),
        "published, epsilon": ((*passes, *published), start | {"epsilon": 1e-6}),
        "six neurons": ((*weights, np.arange(4), np.arange(5)), start),
        "small threshold": ((*weights, np.arange(5), np.arange(5)), small),
        "after a cache": ((*weights, np.array([8190, 8191]), np.array([0, 4096, 8191])), start),
        "almost linear": ((*weights, np.array([5, 9]), np.array([0, 4, 9])), tiny),
    }


@golden("fire_bias", cases=_fire_cases)
def fire_bias(w, a, v, b, queries, keys, *, log_rate, threshold, epsilon=0):
    def psi(t):
        return mpmath.log(1 + log_rate * t)

    def bias(head, i, j):
        x = psi(abs(i - j)) / (psi(max(threshold, i)) + mpmath.mpf(epsilon))
        neurons = range(len(w))
        terms = [v[s][head] * max(w[s] * x + a[s], mpmath.mpf(0)) for s in neurons]
        return mpmath.fsum(terms) + b[head]

    return [[[bias(h, i, j) for j in keys] for i in queries] for h in range(len(b))]
