"""Second definitions in plain mpmath: sinusoidal encodings, entry by entry."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden


def _sinusoid_cases():
    paper = {"order": "sin_first", "layout": "interleaved", "frequencies": "paper"}
    t2t = {"order": "sin_first", "layout": "half", "frequencies": "t2t"}
    near, far = np.array([0, 1, 2, 3]), np.array([8191, 10**6])
    return {
        "published": ((np.array([1, 3]),), {"dim": 4} | paper),
        "paper": ((near,), {"dim": 64} | paper),
        "paper, odd": ((near,), {"dim": 7} | paper),
        "paper, odd, cosines first": ((near,), {"dim": 7} | paper | {"order": "cos_first"}),
        "halves, odd": ((near,), {"dim": 5} | paper | {"layout": "half"}),
        "t2t": ((near,), {"dim": 16} | t2t),
        "t2t, odd": ((near,), {"dim": 9} | t2t),
        "t2t, interleaved": ((near,), {"dim": 8} | t2t | {"layout": "interleaved"}),
        "base 500": ((near,), {"dim": 8, "base": 500.0} | paper),
        "fractions": ((np.array([0.25, -3.7, 1e-9]),), {"dim": 8} | paper),
        "far": ((far,), {"dim": 32} | paper),
    }


@golden("sinusoidal_encoding", cases=_sinusoid_cases)
def sinusoidal_encoding(positions, *, dim, order, layout, frequencies, base=10000):
    pairs = dim // 2
    firsts = pairs if frequencies == "t2t" else dim - pairs
    waves = (mpmath.sin, mpmath.cos) if order == "sin_first" else (mpmath.cos, mpmath.sin)

    def frequency(i):
        exponent = mpmath.mpf(i) / (pairs - 1) if frequencies == "t2t" else mpmath.mpf(2 * i) / dim
        return mpmath.exp(-exponent * mpmath.log(base))

    def row(k):
        values = [mpmath.mpf(0)] * dim
        for i in range(firsts):
            values[i if layout == "half" else 2 * i] = waves[0](k * frequency(i))
        for i in range(pairs):
            values[firsts + i if layout == "half" else 2 * i + 1] = waves[1](k * frequency(i))
        return values

    return [row(k) for k in positions]
