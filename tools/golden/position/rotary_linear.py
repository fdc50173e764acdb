"""Second definition in plain mpmath: linear attention with rotation, key by key."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden
from tools.golden.position.rotary import pairs_of, turn_by


def _cases():
    def case(rows, columns, d, v, **options):
        rng = np.random.default_rng(8265)
        q, k = (
            np.exp(rng.standard_normal((len(rows), d))),
            np.exp(rng.standard_normal((len(columns), d))),
        )
        values = rng.standard_normal((len(columns), v))
        return (q, k, values, np.array(rows), np.array(columns)), options

    return {
        "half": case([3, 4], [0, 1, 2, 3], 6, 2, pairing="half"),
        "interleaved": case([100], [3, 99, 400], 8, 3, pairing="interleaved", base=500000.0),
        "causal": case([0.5, 1.5, 2.5], [0, 1, 2], 4, 2, pairing="half", causal=True),
        "sees nothing": case([0, 7], [5, 6, 9], 4, 1, pairing="interleaved", causal=True),
    }


@golden("rotary_linear_attention", cases=_cases)
def rotary_linear_attention(q, k, values, rows, columns, *, pairing, causal=False, base=10000):
    found = []
    for query, i in zip(q, rows, strict=True):
        above = [mpmath.mpf(0)] * len(values[0])
        below = mpmath.mpf(0)
        for key, value, j in zip(k, values, columns, strict=True):
            if causal and j > i:
                continue
            turned = turn_by(pairs_of(query, pairing), mpmath.mpf(i - j), base)
            pairs = zip(turned, pairs_of(key, pairing), strict=True)
            weight = mpmath.fsum((z * mpmath.conj(w)).real for z, w in pairs)
            above = [a + weight * x for a, x in zip(above, value, strict=True)]
            below += mpmath.fdot(query, key)
        found.append([a / below if below else mpmath.mpf(0) for a in above])
    return found
