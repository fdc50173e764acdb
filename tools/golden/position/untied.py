"""Second definition in plain mpmath: the logits of TUPE, pair by pair."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden


def _cases():
    rng = np.random.default_rng(2006)
    arrays = tuple(rng.standard_normal(shape) for shape in ((3, 5), (4, 5), (3, 5), (4, 5)))
    first = {"from_first": np.array(0.75), "to_first": np.array(-1.25)}
    bias = rng.standard_normal((3, 4))
    return {
        "positions": (arrays, {}),
        "first token": (arrays, first),
        "first token, bias, scale": (arrays, first | {"bias": bias, "scale": np.array(0.3)}),
    }


@golden("untied_logits", cases=_cases)
def untied_logits(q, k, a, b, *, bias=None, from_first=None, to_first=None, scale=None):
    """reset(v, i, j) of the paper, with i and j from 1 there and from 0 here."""
    tau = 1 / mpmath.sqrt(2 * len(q[0])) if scale is None else scale

    def product(x, y):
        return tau * mpmath.fsum(u * v for u, v in zip(x, y, strict=True))

    def position(i, j):
        if from_first is not None and i == 0:
            return from_first
        if to_first is not None and j == 0:
            return to_first
        return product(a[i], b[j]) + (0 if bias is None else bias[i][j])

    return [[product(q[i], k[j]) + position(i, j) for j in range(len(k))] for i in range(len(q))]
