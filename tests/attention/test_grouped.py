"""Heads of queries that share heads of keys and values."""

from __future__ import annotations

import numpy as np
import pytest

from refimpl import (
    grouped_query_attention,
    softmax_attention,
)

RNG = np.random.default_rng(8823)


def test_neighbours_share_a_head():
    q, k, v = (RNG.standard_normal(s) for s in ((4, 3, 2), (2, 5, 2), (2, 5, 3)))
    out = grouped_query_attention(q, k, v)
    for a, b in ((0, 0), (1, 0), (2, 1), (3, 1)):
        np.testing.assert_allclose(out[a], softmax_attention(q[a], k[b], v[b]), atol=1e-15)


def test_as_many_heads_of_keys_are_plain_attention():
    q, k, v = RNG.standard_normal((3, 2, 6, 5, 4))
    sink, mask = RNG.standard_normal(6), RNG.random((5, 5)) < 0.7
    plain = softmax_attention(q, k, v, sink=sink, mask=mask, causal=True)
    grouped = grouped_query_attention(q, k, v, sink=sink, mask=mask[None], causal=True)
    np.testing.assert_allclose(grouped, plain, atol=1e-15)


def test_heads_that_cannot_be_shared_are_refused():
    q, k = np.ones((4, 3, 2)), np.ones((3, 3, 2))
    with pytest.raises(ValueError, match="a multiple of the 3 heads of keys and values, got 4"):
        grouped_query_attention(q, k, k)
