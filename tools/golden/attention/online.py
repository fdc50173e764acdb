"""The merge of partial attention by its defining sums."""

from __future__ import annotations

import mpmath
import numpy as np
from mpmath import mpf

from tools.golden import golden


def _cases():
    rng = np.random.default_rng(0)
    outputs, logsumexps = rng.standard_normal((3, 4, 2)), rng.standard_normal((3, 4))
    hidden = logsumexps.copy()
    hidden[0, 1] = hidden[:, 2] = -np.inf
    return {
        "plain": ((outputs, logsumexps), {}),
        "empty parts": ((outputs, hidden), {}),
        "huge": ((outputs, 300.0 * logsumexps), {}),
        "two equal parts": ((outputs[[0, 0]], logsumexps[[0, 0]]), {}),
    }


@golden("merge_attention", _cases)
def merge_attention(outputs, logsumexps):
    parts, rows, width = len(outputs), len(outputs[0]), len(outputs[0][0])
    weights = [[mpmath.exp(x) for x in part] for part in logsumexps]
    sums = [mpmath.fsum(weights[p][i] for p in range(parts)) for i in range(rows)]
    merged = [
        [
            mpmath.fsum(weights[p][i] * outputs[p][i][c] for p in range(parts)) / sums[i]
            if sums[i]
            else mpf(0)
            for c in range(width)
        ]
        for i in range(rows)
    ]
    return merged, [mpmath.log(total) if total else -mpmath.inf for total in sums]
