"""Grouped-query attention, one head at a time."""

from __future__ import annotations

import numpy as np

from tools.golden import golden
from tools.golden.attention.softmax import softmax_attention


def _cases():
    rng = np.random.default_rng(2305)
    q, k, v = (rng.standard_normal(s) for s in ((4, 3, 2), (2, 5, 2), (2, 5, 3)))
    mask, bias = rng.random((4, 3, 5)) < 0.7, rng.standard_normal((4, 3, 5))
    options = {"mask": mask, "bias": bias, "sink": rng.standard_normal(4)}
    return {
        "grouped": ((q, k, v), {}),
        "multi-query": ((q, k[:1].copy(), v[:1].copy()), {"causal": "bottom_right"}),
        "heads apart": ((q, k, v), options),
    }


@golden("grouped_query_attention", _cases)
def grouped_query_attention(q, k, v, mask=None, bias=None, sink=None, causal=None):
    times = len(q) // len(k)
    return [
        softmax_attention(
            q[a],
            k[a // times],
            v[a // times],
            mask=None if mask is None else mask[a],
            bias=None if bias is None else bias[a],
            sink=None if sink is None else sink[a],
            causal=causal,
        )
        for a in range(len(q))
    ]
