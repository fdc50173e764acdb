"""Second definition in plain mpmath: an encoding by a recurrence."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden


def _cases():
    rng = np.random.default_rng(2003)
    arrays = rng.standard_normal((3, 3)) / 2, rng.standard_normal(3), rng.standard_normal(3)
    turn = np.array([[np.cos(0.3), np.sin(0.3)], [-np.sin(0.3), np.cos(0.3)]])
    return {
        "identity": (arrays, {"length": 6}),
        "tanh": (arrays, {"length": 6, "activation": "tanh"}),
        "one": (arrays, {"length": 1}),
        "rotation": ((turn, np.zeros(2), np.array([0.0, 1.0])), {"length": 20}),
    }


@golden("recurrent_encoding", cases=_cases)
def recurrent_encoding(matrix, offset, start, *, length, activation="identity"):
    def following(p):
        products = (
            mpmath.fsum(a * x for a, x in zip(row, p, strict=True)) + b
            for row, b in zip(matrix, offset, strict=True)
        )
        return [mpmath.tanh(x) if activation == "tanh" else x for x in products]

    states = [list(start)]
    while len(states) < length:
        states.append(following(states[-1]))
    return states
