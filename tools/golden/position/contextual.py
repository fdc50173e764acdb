"""Second definition in plain mpmath: the contextual bias of CoPE, pair by pair."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden


def _cases():
    rng = np.random.default_rng(2405)
    q, logits, table = (rng.standard_normal(shape) for shape in ((4, 3), (4, 6), (5, 3)))
    causal = np.tri(4, 6, 2, dtype=bool)
    return {
        "all seen": ((q, logits, table), {}),
        "causal": ((q, logits, table), {"mask": causal}),
        "closed": ((q, logits - 20.0, table), {"mask": causal}),
        "nearly open": ((q, logits + 8.0, table), {"mask": causal}),
        "one row": ((q, logits, table[:1]), {}),
    }


@golden("contextual_bias", cases=_cases)
def contextual_bias(q, logits, table, *, mask=None):
    """Linear interpolation as a sum over all rows of hat functions."""

    def bias(i, j):
        row = logits[i]
        seen = (k for k in range(j, len(row)) if mask is None or mask[i][k])
        p = mpmath.fsum(1 / (1 + mpmath.exp(-row[k])) for k in seen)
        p = min(p, mpmath.mpf(len(table) - 1))
        hats = [max(1 - abs(p - r), mpmath.mpf(0)) for r in range(len(table))]
        return mpmath.fsum(
            h * x * y
            for h, e in zip(hats, table, strict=True)
            for x, y in zip(q[i], e, strict=True)
        )

    return [[bias(i, j) for j in range(len(logits[0]))] for i in range(len(q))]
