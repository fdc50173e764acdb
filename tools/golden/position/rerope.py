"""Second definition in plain mpmath: ReRoPE, one query and one key after another."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden
from tools.golden.position.rotary import pairs_of, turn_by


def _cases():
    def case(rows, columns, d, **options):
        rng = np.random.default_rng(9708)
        q, k = rng.standard_normal((len(rows), d)), rng.standard_normal((len(columns), d))
        return (q, k, np.array(rows), np.array(columns)), options

    half = {"pairing": "half", "window": 3}
    return {
        "stops": case([6, 7], [0, 1, 2, 3, 4, 5, 6], 6, **half),
        "leaks": case([6, 7], [0, 1, 2, 3, 4, 5, 6], 6, **half, leak=4.0),
        "interleaved": case([600], [0, 87, 88, 89], 8, pairing="interleaved", window=512),
        "ahead": case([0, 3], [1, 9, 2], 4, **half, leak=2.0, base=100.0),
    }


@golden("rerope_logits", cases=_cases)
def rerope_logits(q, k, rows, columns, *, pairing, window, leak=None, base=10000):
    table = []
    for query, i in zip(q, rows, strict=True):
        line = []
        for key, j in zip(k, columns, strict=True):
            t = mpmath.mpf(i - j)
            if t >= window:
                t = window + (0 if leak is None else (t - window) / mpmath.mpf(leak))
            turned = turn_by(pairs_of(query, pairing), t, base)
            products = zip(turned, pairs_of(key, pairing), strict=True)
            line.append(mpmath.fsum((z * mpmath.conj(w)).real for z, w in products))
        table.append(line)
    return table
