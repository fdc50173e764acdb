"""Second definition in plain mpmath: rotation of values, one token after another."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden
from tools.golden.position.rotary import pairs_of, row_of, turn_by


def _cases():
    def case(rows, columns, v, **options):
        rng = np.random.default_rng(10862)
        weights = rng.uniform(0.0, 1.0, (len(rows), len(columns)))
        values = rng.standard_normal((len(columns), v))
        return (weights, values, np.array(rows), np.array(columns)), options

    return {
        "half": case([4, 5], [0, 1, 2, 3], 6, pairing="half"),
        "interleaved": case([100], [3, 7, 400], 6, pairing="interleaved", base=500000.0),
        "fractional": case([0.5, -2.25], [1.0, 1e-9], 4, pairing="half"),
    }


@golden("value_rotary_mixture", cases=_cases)
def value_rotary_mixture(weights, values, rows, columns, *, pairing, base=10000):
    """The sum of values rotated by j - i."""
    found = []
    for line, i in zip(weights, rows, strict=True):
        total = [mpmath.mpc(0)] * (len(values[0]) // 2)
        for weight, value, j in zip(line, values, columns, strict=True):
            turned = turn_by(pairs_of(value, pairing), mpmath.mpf(j - i), base)
            total = [a + weight * z for a, z in zip(total, turned, strict=True)]
        found.append(row_of(total, pairing))
    return found
