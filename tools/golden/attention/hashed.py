"""Attention within buckets by asking every pair of positions for a shared bucket."""

from __future__ import annotations

import mpmath
import numpy as np
from mpmath import mpf

from tools.golden import golden


def _cases():
    rng = np.random.default_rng(2001)
    x, v = rng.standard_normal((7, 3)), rng.standard_normal((7, 2))
    buckets = rng.integers(0, 3, (2, 7))
    return {
        "two rounds": ((x, v, buckets), {}),
        "causal": ((x, v, buckets), {"causal": True}),
        "chunks": ((x, v, buckets), {"chunk": 2, "scale": 0.75}),
    }


@golden("hashed_attention", _cases)
def hashed_attention(x, v, buckets, causal=False, chunk=None, scale=None):
    n = len(x)
    tau = 1 / mpmath.sqrt(len(x[0])) if scale is None else mpf(scale)
    places = []
    for row in buckets:
        order = sorted(range(n), key=lambda i, row=row: (row[i], i))
        places.append({position: place for place, position in enumerate(order)})

    def shares(i, j):
        for row, place in zip(buckets, places, strict=True):
            near = chunk is None or 0 <= place[i] // chunk - place[j] // chunk <= 1
            if row[i] == row[j] and near:
                return True
        return False

    rows = []
    for i in range(n):
        seen = [j for j in range(n) if j != i and shares(i, j) and not (causal and j > i)] or [i]
        terms = []
        for j in seen:
            length = mpmath.sqrt(mpmath.fsum(a * a for a in x[j]))
            dot = mpmath.fsum(a * b for a, b in zip(x[i], x[j], strict=True))
            terms.append(mpmath.exp(tau * dot / length))
        total = mpmath.fsum(terms)
        rows.append(
            [
                mpmath.fsum(t * v[j][c] for t, j in zip(terms, seen, strict=True)) / total
                for c in range(len(v[0]))
            ]
        )
    return rows
