"""Second definitions in plain mpmath: logits of Transformer-XL pair by pair, and its shift."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden


def _dot(x, y):
    return mpmath.fsum(a * b for a, b in zip(x, y, strict=True))


def _logit_cases():
    rng = np.random.default_rng(1901)
    arrays = tuple(rng.standard_normal(shape) for shape in ((3, 5), (4, 5), (5,), (5,), (6, 5)))
    near = np.arange(3), np.arange(4)
    memory = np.array([1, 2, 3]), np.array([0, 1, 2, 3])
    far = np.array([10**6, 10**6 + 1, 10**6 + 2]), np.array([0, 10**6, 10**6 + 3, 2**31])
    return {
        "in order": ((*arrays, *near), {"lowest": -3}),
        "causal, clipped": ((*arrays, *memory), {"lowest": 0, "clip": True}),
        "with a memory": ((*arrays, *memory), {"lowest": -2, "scale": np.array(0.3)}),
        "far": ((*arrays, *far), {"lowest": -2, "clip": True}),
    }


@golden("transformer_xl_logits", cases=_logit_cases)
def transformer_xl_logits(q, k, u, v, table, queries, keys, *, lowest=0, clip=False, scale=None):
    """The four terms of the paper, (a) to (d)."""
    tau = 1 / mpmath.sqrt(len(u)) if scale is None else scale

    def logit(x, y, i, j):
        row = i - j - lowest
        if clip:
            row = max(0, min(row, len(table) - 1))
        return tau * (_dot(x, y) + _dot(x, table[row]) + _dot(u, y) + _dot(v, table[row]))

    return [
        [logit(x, y, i, j) for y, j in zip(k, keys, strict=True)]
        for x, i in zip(q, queries, strict=True)
    ]


def _shift_cases():
    rng = np.random.default_rng(1901)
    return {
        f"{variant}, {n} by {k}": ((rng.standard_normal((n, k)),), {"variant": variant})
        for variant in ("transformer_xl", "xlnet")
        for n, k in ((3, 3), (3, 5), (1, 4), (4, 9))
    }


@golden("relative_shift", cases=_shift_cases)
def relative_shift(x, *, variant):
    """By the distance that a column stands for; what has none is as the memory leaves it."""
    n, k = len(x), len(x[0])
    if variant == "xlnet":
        keys = k - n
        # Query i is at keys - n + i; column p has the distance keys - p.
        return [[x[i][keys - (keys - n + i - j)] for j in range(keys)] for i in range(n)]

    def entry(i, j):
        distance = k - n + i - j
        if distance >= 0:
            return x[i][k - 1 - distance]
        return mpmath.mpf(0) if distance == -1 else x[i + 1][-distance - 2]

    return [[entry(i, j) for j in range(k)] for i in range(n)]
