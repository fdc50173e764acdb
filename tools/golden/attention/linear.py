"""Linear attention by its defining sums over pairs, one query at a time."""

from __future__ import annotations

import mpmath
import numpy as np
from mpmath import mpf

from tools.golden import golden
from tools.golden.attention.features import features_of
from tools.golden.attention.softmax import fixture


def _arrays(n, m, d, v, seed):
    rng = np.random.default_rng(seed)
    return tuple(rng.standard_normal(shape) for shape in ((n, d), (m, d), (m, v)))


def _cases():
    rng = np.random.default_rng(7546)
    mask = rng.random(7) < 0.6
    elu = {"features": "elu_plus_one"}
    q, k, v = fixture()
    relu = _arrays(4, 6, 3, 2, 3)
    return {
        "fixture": ((q, k, v), elu),
        "fixture causal": ((q, k, v), elu | {"causal": True}),
        "fixture cosine": ((q, k, v), {"features": "one_plus_cosine"}),
        "fixture Taylor": ((q * 0.5**0.5, k * 0.5**0.5, v), {"features": "taylor_2"}),
        "mask and eps": (_arrays(5, 7, 4, 3, 1), elu | {"mask": mask, "eps": np.array(0.25)}),
        "bottom right": (_arrays(5, 3, 4, 2, 2), elu | {"causal": "bottom_right"}),
        "negative": (tuple(x - 6.0 for x in _arrays(4, 5, 3, 2, 5)), elu),
        "power": (_arrays(3, 4, 2, 2, 4), {"features": "power", "degree": 2}),
        "empty row": (
            (np.where(relu[0] > 0, relu[0], -1.0) * [[1], [-1], [1], [1]], *relu[1:]),
            {"features": "relu"},
        ),
    }


def _sums(q, k, v, seen, features, degree, start=None, eps=0):
    """Outputs from the similarities of every pair that ``seen(i, j)`` admits."""
    width = len(v[0])
    rows = []
    for i, query in enumerate(q):
        a = features_of(query, features, degree)
        weights = [
            mpmath.fsum(x * y for x, y in zip(a, features_of(key, features, degree), strict=True))
            if seen(i, j)
            else mpf(0)
            for j, key in enumerate(k)
        ]
        total = mpmath.fsum(weights) + eps
        above = [
            mpmath.fsum(w * row[c] for w, row in zip(weights, v, strict=True)) for c in range(width)
        ]
        if start is not None:
            state, normaliser = start
            total += mpmath.fsum(x * z for x, z in zip(a, normaliser, strict=True))
            above = [
                above[c] + mpmath.fsum(x * s[c] for x, s in zip(a, state, strict=True))
                for c in range(width)
            ]
        rows.append([x / total if total else mpf(0) for x in above])
    return rows


@golden("linear_attention", _cases)
def linear_attention(q, k, v, features, degree=2, mask=None, causal=None, eps=0):
    shift = len(k) - len(q) if causal == "bottom_right" else 0

    def seen(i, j):
        return (mask is None or mask[j]) and not (causal and j > i + shift)

    return _sums(q, k, v, seen, features, degree, eps=eps)


def _streams():
    q, k, v = _arrays(5, 5, 3, 2, 6)
    rng = np.random.default_rng(1)
    start = {"state": rng.random((3, 2)), "normaliser": 1.0 + rng.random(3)}
    return {
        "start": ((q, k, v), {"features": "elu_plus_one"}),
        "later": ((q, k, v), start | {"features": "elu_plus_one"}),
        "exponential": ((q, k, v), start | {"features": "exponential"}),
    }


@golden("streamed_linear_attention", _streams)
def streamed_linear_attention(q, k, v, features, degree=2, state=None, normaliser=None):
    r, width = len(features_of(k[0], features, degree)), len(v[0])
    zeros = [[mpf(0)] * width for _ in range(r)], [mpf(0)] * r
    start = zeros if state is None else (state, normaliser)
    rows = _sums(q, k, v, lambda i, j: j <= i, features, degree, start)
    keys = [features_of(key, features, degree) for key in k]
    last = [
        [
            start[0][a][c] + mpmath.fsum(key[a] * row[c] for key, row in zip(keys, v, strict=True))
            for c in range(width)
        ]
        for a in range(r)
    ]
    return rows, last, [start[1][a] + mpmath.fsum(key[a] for key in keys) for a in range(r)]
