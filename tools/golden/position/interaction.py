"""Second definitions in plain mpmath: a Hessian between encodings written out, and Taylor's sum."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden
from tools.golden.position.scaling import theta


def _cases():
    rng = np.random.default_rng(8231)

    def case(h, rows, columns, order):
        arrays = (np.array(rows), np.array(columns), rng.standard_normal((2 * h, 2 * h)))
        return (*arrays, theta(10000, h)), {"order": order}

    return {
        "cos_first": case(3, [0, 1, 5], [2, 3], "cos_first"),
        "sin_first": case(3, [0, 1, 5], [2, 3], "sin_first"),
        "fractional": case(2, [0.5, -7.25], [1e-9, 3.0, 100.5], "cos_first"),
        "far": case(2, [4096], [4090, 8191], "sin_first"),
    }


@golden("position_interaction", cases=_cases)
def position_interaction(rows, columns, hessian, frequencies, *, order):
    functions = (mpmath.cos, mpmath.sin) if order == "cos_first" else (mpmath.sin, mpmath.cos)

    def encoding(position):
        return [f(position * t) for t in frequencies for f in functions]

    return [
        [
            mpmath.fsum(
                a * w * b
                for a, row in zip(p, hessian, strict=True)
                for w, b in zip(row, encoding(n), strict=True)
            )
            for n in columns
        ]
        for p in map(encoding, rows)
    ]


def _expansion_cases():
    rng = np.random.default_rng(8231)

    def case(n, d, symmetric=True):
        flat = rng.standard_normal((n * d, n * d))
        flat = (flat + flat.T) / 2 if symmetric else flat
        blocks = flat.reshape(n, d, n, d).transpose(0, 2, 1, 3).copy()
        value, vectors = rng.standard_normal(()), rng.standard_normal((2, n, d))
        return (value, vectors[0], blocks, vectors[1]), {}

    return {
        "one token": case(1, 3),
        "two tokens": case(2, 2),
        "four tokens": case(4, 3),
        "not symmetric": case(3, 2, symmetric=False),
    }


@golden("position_expansion", cases=_expansion_cases)
def position_expansion(value, gradients, hessian, encodings):
    """The expansion as one sum over all coordinates of all tokens, apart from its parts."""
    n, d = len(encodings), len(encodings[0])
    places = [(m, i) for m in range(n) for i in range(d)]

    def second(pairs):
        return mpmath.fsum(
            encodings[m][i] * hessian[m][k][i][j] * encodings[k][j] for (m, i), (k, j) in pairs
        )

    everything = second((a, b) for a in places for b in places)
    first = mpmath.fsum(encodings[m][i] * gradients[m][i] for m, i in places)
    meetings = [
        [second(((m, i), (k, j)) for i in range(d) for j in range(d)) for k in range(n)]
        for m in range(n)
    ]
    absolute = [mpmath.fdot(encodings[m], gradients[m]) + meetings[m][m] / 2 for m in range(n)]
    interactions = [[0 if m == k else meetings[m][k] for k in range(n)] for m in range(n)]
    return value + first + everything / 2, absolute, interactions
