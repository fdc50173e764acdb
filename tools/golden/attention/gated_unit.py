"""Squared-relu attention and the gated attention unit by their defining sums."""

from __future__ import annotations

import mpmath
import numpy as np
from mpmath import mpf

from tools.golden import golden
from tools.golden.attention.lowrank import draw, product
from tools.golden.attention.softmax import fixture


def _cases():
    q, k, v = small = draw(2202, (4, 3), (6, 3), (6, 2))
    rng = np.random.default_rng(0)
    mask, bias = rng.random((4, 6)) < 0.6, rng.standard_normal((4, 6))
    first, second = ({"divisor": d} for d in ("length_and_width", "length_squared"))
    return {
        "fixture": (fixture(), first),
        "fixture squared": (fixture(), second | {"causal": True}),
        "mask and bias": (small, first | {"mask": mask, "bias": bias}),
        "large": ((20.0 * q, 20.0 * k, v), second),
    }


@golden("squared_relu_attention", _cases)
def squared_relu_attention(q, k, v, divisor, mask=None, bias=None, causal=None):
    m, d = len(k), len(q[0])
    scale = 1 / mpmath.sqrt(d) if divisor == "length_and_width" else mpf(1)
    below = mpf(m) if divisor == "length_and_width" else mpf(m) ** 2
    weights = []
    for i, query in enumerate(q):
        row = []
        for j, key in enumerate(k):
            score = scale * mpmath.fsum(a * b for a, b in zip(query, key, strict=True))
            score += 0 if bias is None else bias[i][j]
            seen = (mask is None or mask[i][j]) and not (causal and j > i)
            row.append(max(score, mpf(0)) ** 2 / below if seen else mpf(0))
        weights.append(row)
    return product(weights, v)


def _units():
    arrays = draw(8934, (4, 3), (3, 5), (3, 5), (3, 2), (2, 2), (2, 2), (5, 3))
    return {
        "plain": (arrays, {"divisor": "length_and_width"}),
        "causal": (arrays, {"divisor": "length_squared", "causal": True}),
    }


@golden("gated_attention_unit", _units)
def gated_attention_unit(x, gate, value, shared, gain, shift, out, divisor, causal=None):
    def silu(rows):
        return [[t / (1 + mpmath.exp(-t)) for t in row] for row in rows]

    u, v, z = (silu(product(x, w)) for w in (gate, value, shared))
    q, k = (
        [[a * t + b for a, t, b in zip(gain[i], row, shift[i], strict=True)] for row in z]
        for i in (0, 1)
    )
    attended = squared_relu_attention(q, k, v, divisor, causal=causal)
    gated = [
        [a * b for a, b in zip(left, right, strict=True)]
        for left, right in zip(u, attended, strict=True)
    ]
    return product(gated, out)
