"""Mixed chunk attention by its defining sums."""

from __future__ import annotations

import mpmath
from mpmath import mpf

from tools.golden import golden
from tools.golden.attention.lowrank import draw


def _cases():
    arrays = draw(8934, (7, 3), (7, 3), (7, 3), (7, 3), (7, 2))
    first = {"chunk": 3, "divisor": "length_and_width"}
    return {
        "causal": (arrays, first | {"linear_divisor": "seen", "causal": True}),
        "both ways": (arrays, first | {"linear_divisor": "length", "causal": False}),
        "squared": (
            arrays,
            {"chunk": 2, "divisor": "length_squared", "linear_divisor": "chunk", "causal": True},
        ),
        "by the length": (arrays, first | {"linear_divisor": "length", "causal": True}),
    }


@golden("mixed_chunk_attention", _cases)
def mixed_chunk_attention(q, k, q_linear, k_linear, v, chunk, divisor, linear_divisor, causal):
    def dot(x, y):
        return mpmath.fsum(a * b for a, b in zip(x, y, strict=True))

    n, width = len(q), len(q[0])
    below = mpf(chunk * (width if divisor == "length_and_width" else chunk))
    rows = []
    for i in range(n):
        weights = [mpf(0)] * n
        others = [j for j in range(n) if not causal or j // chunk < i // chunk]
        count = {"seen": len(others), "length": n, "chunk": chunk}[linear_divisor]
        for j in others:
            weights[j] += dot(q_linear[i], k_linear[j]) / (count if causal else n)
        for j in range(n):
            if j // chunk == i // chunk and not (causal and j > i):
                weights[j] += max(dot(q[i], k[j]), mpf(0)) ** 2 / below
        rows.append([dot(weights, column) for column in zip(*v, strict=True)])
    return rows
