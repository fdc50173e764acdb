"""Masks by asking for every pair of positions."""

from __future__ import annotations

import numpy as np
from mpmath import mpf

from tools.golden import golden


def _cases():
    q, k = np.arange(7), np.arange(9)
    segments = {"query_segments": q // 3, "key_segments": k // 3}
    blocks = np.random.default_rng(0).random((3, 3)) < 0.5
    return {
        "causal window": ((q + 2, k), {"causal": True, "window": (3, 0)}),
        "dilated": ((q, k), {"window": (4, 4), "dilation": 2}),
        "documents": ((q, k), segments | {"causal": True}),
        "globals": ((q, k), {"window": (1, 1), "global_keys": k < 1, "global_queries": q == 5}),
        "prefix": ((q, k), {"causal": True, "prefix": 4}),
        "chunks": ((q, k), {"causal": True, "chunk": 4}),
        "blocks": ((q, k), {"blocks": blocks, "block_size": 3}),
    }


@golden("attention_mask", _cases)
def attention_mask(
    query_positions,
    key_positions,
    causal=False,
    prefix=0,
    window=None,
    dilation=1,
    chunk=None,
    blocks=None,
    block_size=None,
    global_queries=None,
    global_keys=None,
    query_segments=None,
    key_segments=None,
):
    def is_kept(a, b):
        p, j = query_positions[a], key_positions[b]
        if query_segments is not None and query_segments[a] != key_segments[b]:
            return False
        if causal and j > p and j >= prefix:
            return False
        if global_queries is not None and global_queries[a]:
            return True
        if global_keys is not None and global_keys[b]:
            return True
        if window is not None and not p - window[0] <= j <= p + window[1]:
            return False
        if chunk is not None and p // chunk != j // chunk:
            return False
        if blocks is not None and not blocks[p // block_size][j // block_size]:
            return False
        return abs(p - j) % dilation == 0

    return [
        [mpf(is_kept(a, b)) for b in range(len(key_positions))] for a in range(len(query_positions))
    ]
