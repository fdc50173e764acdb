"""Softmax attention by its defining sum, one query at a time."""

from __future__ import annotations

import mpmath
import numpy as np
from mpmath import mpf

from tools.golden import golden


def _logits(
    q, k, mask=None, bias=None, scale=None, softcap=None, causal=None, window=None, offset=None
):
    """Nested lists of final logits; None where the key is not seen."""
    n, m = len(q), len(k)
    tau = 1 / mpmath.sqrt(len(q[0])) if scale is None else scale
    start = offset if offset is not None else m - n if causal == "bottom_right" else 0
    rows = []
    for i in range(n):
        row = []
        for j in range(m):
            x = tau * mpmath.fsum(a * b for a, b in zip(q[i], k[j], strict=True))
            if softcap is not None:
                x = mpf(softcap) * mpmath.tanh(x / mpf(softcap))
            if bias is not None:
                x += bias[i][j]
            seen = mask is None or mask[i][j]
            seen = seen and not (causal and j > i + start)
            if window is not None:
                seen = seen and i + start - window[0] <= j <= i + start + window[1]
            row.append(x if seen and x != -mpmath.inf else None)
        rows.append(row)
    return rows


def _sums(q, k, sink=None, **options):
    """Terms exp(S_ij) and their sums, with the sink in the sum."""
    rows = _logits(q, k, **options)
    terms = [[mpf(0) if x is None else mpmath.exp(x) for x in row] for row in rows]
    extra = mpf(0) if sink is None else mpmath.exp(sink)
    return terms, [mpmath.fsum(row) + extra for row in terms]


def _arrays(n, m, d, v=None, seed=0, size=1.0):
    rng = np.random.default_rng(seed)
    shapes = [(n, d), (m, d)] + ([] if v is None else [(m, v)])
    return tuple(
        size * rng.standard_normal(s) if i < 2 else rng.standard_normal(s)
        for i, s in enumerate(shapes)
    )


def fixture(values: bool = True):
    """The deterministic fixture of the specification: sines and cosines."""
    t = 4.0 * np.arange(8)[:, None] + np.arange(4)
    q, k, v = np.sin(t + 1), np.cos(0.7 * t + 0.3), np.sin(0.5 * t + 2)
    return (q, k, v) if values else (q, k)


def _cases(values: bool):
    def make():
        width = 3 if values else None
        rng = np.random.default_rng(1)
        mask = rng.random((5, 7)) < 0.6
        mask[2] = False
        bias = rng.standard_normal((5, 7))
        bias[3] = -np.inf
        small = _arrays(3, 4, 2, width, seed=4)
        return {
            "fixture": (fixture(values), {}),
            "fixture causal": (fixture(values), {"causal": "top_left"}),
            "fixture window": (fixture(values), {"causal": "top_left", "window": (2, 0)}),
            "fixture softcap": (fixture(values), {"softcap": 1.5}),
            "fixture sink": (fixture(values), {"sink": np.array(0.25)}),
            "bottom right": (_arrays(2, 5, 3, width, seed=2), {"causal": "bottom_right"}),
            "more queries than keys": (_arrays(5, 2, 3, width, seed=3), {"causal": "bottom_right"}),
            "mask, bias and empty rows": (
                _arrays(5, 7, 4, width, seed=5),
                {"mask": mask, "bias": bias},
            ),
            "scale": (small, {"scale": np.array(0.3)}),
            "cap under mask": (_arrays(5, 7, 4, width, 6, 3.0), {"mask": mask, "softcap": 5.0}),
            "logits of 1e4": (_arrays(4, 6, 4, width, seed=7, size=80.0), {}),
            "sink far above": (_arrays(3, 5, 4, width, seed=8), {"sink": np.array(40.0)}),
        }

    return make


@golden(
    "softmax_attention",
    _cases(values=True),
    beyond={"logits of 1e4": (4.0, "a logit is a sum of products, each rounded")},
)
def softmax_attention(q, k, v, **options):
    terms, sums = _sums(q, k, **options)
    return [
        [
            mpmath.fsum(t * row[c] for t, row in zip(line, v, strict=True)) / total
            if total
            else mpf(0)
            for c in range(len(v[0]))
        ]
        for line, total in zip(terms, sums, strict=True)
    ]


@golden("attention_weights", _cases(values=False))
def attention_weights(q, k, **options):
    terms, sums = _sums(q, k, **options)
    return [
        [t / total if total else mpf(0) for t in line]
        for line, total in zip(terms, sums, strict=True)
    ]


@golden("attention_logsumexp", _cases(values=False))
def attention_logsumexp(q, k, **options):
    _, sums = _sums(q, k, **options)
    return [mpmath.log(total) if total else -mpmath.inf for total in sums]
