"""Second definition in plain mpmath: weights times the entry of the table, pair by pair."""

from __future__ import annotations

import numpy as np

from tools.golden import golden


def _cases():
    rng = np.random.default_rng(2205)
    square, wide = rng.random((4, 4)), rng.random((2, 5))
    table = rng.standard_normal(5)
    cache = np.array([3, 4]), np.arange(5)
    return {
        "in order": ((square, table, np.arange(4), np.arange(4)), {"order": "k_minus_q"}),
        "query minus key": ((square, table, np.arange(4), np.arange(4)), {"order": "q_minus_k"}),
        "after a cache": ((wide, table, *cache), {"order": "k_minus_q"}),
        "one entry": ((wide, table[:1], *cache), {"order": "q_minus_k"}),
    }


@golden("universal_relative_weights", cases=_cases)
def universal_relative_weights(weights, table, queries, keys, *, order):
    half = len(table) // 2

    def factor(i, j):
        distance = int(j - i) if order == "k_minus_q" else int(i - j)
        return table[half + max(-half, min(half, distance))]

    return [
        [weights[a][b] * factor(i, j) for b, j in enumerate(keys)] for a, i in enumerate(queries)
    ]
