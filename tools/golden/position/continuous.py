"""Second definition in plain mpmath: the network of signed distances, pair by pair."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden


def _cases():
    rng = np.random.default_rng(2111)
    weights = tuple(rng.standard_normal(shape) for shape in ((2, 6), (6,), (6, 3), (3,)))
    text = tuple(rng.standard_normal(shape) for shape in ((1, 4), (4,), (4, 2), (2,)))
    grid = np.array([[0, 0, 1, 1], [0, 1, 0, 1]])
    far = np.array([[8190, 8191]]), np.array([[0, 4096, 8191]])
    return {
        "linear": ((*weights, grid, grid), {"distance": "linear", "limit": None}),
        "log": ((*weights, grid, grid), {"distance": "log", "limit": None}),
        "log8": ((*weights, 8.0 * grid, 8.0 * grid), {"distance": "log8", "limit": 16.0}),
        "text": ((*text, *far), {"distance": "log", "limit": 0.5}),
        "fractional": ((*text, far[0] / 7, far[1] / 9), {"distance": "log8", "limit": None}),
    }


@golden("continuous_position_bias", cases=_cases)
def continuous_position_bias(w, u, v, b, queries, keys, *, distance, limit):
    def signed(delta):
        if distance == "linear":
            return mpmath.mpf(delta)
        base = 8 if distance == "log8" else mpmath.e
        return mpmath.sign(delta) * mpmath.log(1 + abs(delta), base)

    def bias(head, i, j):
        x = [signed(q[i] - k[j]) for q, k in zip(queries, keys, strict=True)]
        total = b[head]
        for s in range(len(u)):
            hidden = mpmath.fsum(w[k][s] * x[k] for k in range(len(x))) + u[s]
            total += v[s][head] * max(hidden, mpmath.mpf(0))
        return total if limit is None else mpmath.mpf(limit) / (1 + mpmath.exp(-total))

    columns, rows = range(len(keys[0])), range(len(queries[0]))
    return [[[bias(h, i, j) for j in columns] for i in rows] for h in range(len(b))]
