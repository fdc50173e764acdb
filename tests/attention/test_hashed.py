"""Attention within hash buckets."""

from __future__ import annotations

import numpy as np
import pytest

from refimpl import (
    hashed_attention,
)

RNG = np.random.default_rng(8823)
T = 4.0 * np.arange(8)[:, None] + np.arange(4)
Q, K, V = np.sin(T + 1), np.cos(0.7 * T + 0.3), np.sin(0.5 * T + 2)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("chunk", [None, 2, 3, 100])
def test_rounds_merge_into_their_union(causal, chunk):
    x, v = RNG.standard_normal((2, 12, 3)), RNG.standard_normal((12, 2))
    buckets = RNG.integers(0, 3, (4, 12))
    options = {"causal": causal, "chunk": chunk}
    by_rounds = hashed_attention(x, v, buckets, form="rounds", **options)
    np.testing.assert_allclose(hashed_attention(x, v, buckets, **options), by_rounds, atol=1e-14)


def test_a_position_without_company_sees_itself():
    np.testing.assert_array_equal(hashed_attention(Q, V, np.arange(8)[None]), V)
    causal = hashed_attention(Q, V, np.zeros((1, 8), int), causal=True)
    np.testing.assert_array_equal(causal[0], V[0])
    np.testing.assert_allclose(causal[1], V[0], atol=1e-15)


def test_bad_hashing_is_refused():
    with pytest.raises(ValueError, match="at least one round"):
        hashed_attention(Q, V, np.zeros((0, 8), int))
    with pytest.raises(ValueError, match="chunk: expected a positive whole number"):
        hashed_attention(Q, V, np.zeros((1, 8), int), chunk=0)
    with pytest.raises(TypeError, match="buckets: expected integers"):
        hashed_attention(Q, V, np.zeros((1, 8)))
