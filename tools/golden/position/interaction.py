"""Second definition in plain mpmath: both encodings written out, and the Hessian between them."""

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
