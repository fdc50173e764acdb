"""Second definition in plain mpmath: xPos, each pair as one complex number."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden
from tools.golden.position.rotary import pairs_of, row_of, turn_by


def _cases():
    def case(positions, d, **options):
        rng = np.random.default_rng(2212)
        at = np.array(positions)
        return (rng.standard_normal((len(at), d)), at), options

    query = {"pairing": "interleaved", "role": "query", "centre": 0.0}
    key = {"pairing": "half", "role": "key", "centre": 64.0}
    return {
        "query": case([0, 1, 100], 8, **query),
        "key": case([0, 1, 100], 8, **key),
        "far": case([2000, 512], 6, **key, scale_base=512.0),
        "fast": case([-3.5, 10.25], 6, **query, scale_base=10.0, gamma=0.1, base=100.0),
    }


@golden("xpos_embedding", cases=_cases)
def xpos_embedding(x, positions, *, pairing, role, centre, scale_base=512, gamma=0.4, base=10000):
    rows = []
    for row, n in zip(x, positions, strict=True):
        d, new = len(row), []
        power = (n - mpmath.mpf(centre)) / mpmath.mpf(scale_base)
        for i, z in enumerate(turn_by(pairs_of(row, pairing), n, base)):
            zeta = (mpmath.mpf(2 * i) / d + mpmath.mpf(gamma)) / (1 + mpmath.mpf(gamma))
            growth = zeta**power
            new.append(z * growth if role == "query" else z / growth)
        rows.append(row_of(new, pairing))
    return rows
