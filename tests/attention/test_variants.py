"""Grouped heads, entropy, latent and hashed attention: what each must equal and refuse."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import entropy as scipy_entropy

from refimpl import (
    attention_entropy,
    attention_weights,
    grouped_query_attention,
    hashed_attention,
    latent_attention,
    log_length_scale,
    softmax_attention,
)

RNG = np.random.default_rng(8823)
T = 4.0 * np.arange(8)[:, None] + np.arange(4)
Q, K, V = np.sin(T + 1), np.cos(0.7 * T + 0.3), np.sin(0.5 * T + 2)


# --------------------------------------------------------------------------------------- heads


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


# ------------------------------------------------------------------------------------- entropy


def test_scipy_agrees_on_the_entropy():
    weights = attention_weights(Q, K, causal=True)
    np.testing.assert_allclose(
        attention_entropy(Q, K, causal=True), scipy_entropy(weights, axis=1), atol=1e-14
    )


@pytest.mark.parametrize("size", [1e2, 1e4])
def test_entropy_of_sharp_rows_is_small_and_not_negative(size):
    value = attention_entropy(size * Q, K)
    assert (value >= 0).all() and (value < 1e-3).any()
    assert attention_entropy([[0.0]], np.zeros((0, 1)))[0] == 0.0


def test_the_scale_keeps_the_number_of_keys_that_matter():
    """Sixteen times as many normal keys, logits of some size: exp(H) grows less with the scale."""
    rng = np.random.default_rng(0)
    growth = {}
    for name in ("fixed", "scaled"):
        counts = []
        for n in (512, 8192):
            q, k = 3.0 * rng.standard_normal((32, 64)), rng.standard_normal((n, 64))
            scale = log_length_scale(n, width=64) if name == "scaled" else 0.125
            counts.append(np.exp(attention_entropy(q, k, scale=scale)).mean())
        growth[name] = counts[1] / counts[0]
    assert growth["scaled"] < 0.6 * growth["fixed"]


def test_log_length_scale():
    assert log_length_scale(512, width=64) == 0.125
    assert log_length_scale(1, width=64) == 0.0
    assert log_length_scale(1, width=64, clip=True) == 0.125
    positions = np.arange(1, 4)
    np.testing.assert_allclose(
        log_length_scale(positions, width=1), np.log(positions) / np.log(512)
    )
    with pytest.raises(ValueError, match="length: expected at least 1"):
        log_length_scale(0, width=64)
    with pytest.raises(ValueError, match="trained_length: expected a finite number above 1"):
        log_length_scale(2, width=64, trained_length=1)


# -------------------------------------------------------------------------------------- latent


def test_absorbing_the_projections_changes_nothing():
    shapes = (3, 5, 4), (3, 5, 2), (1, 7, 6), (1, 7, 2), (3, 6, 4), (3, 6, 5)
    arrays = [RNG.standard_normal((2, *s)) for s in shapes]
    for options in ({}, {"causal": "bottom_right"}, {"scale": 0.7}):
        naive = latent_attention(*arrays, **options)
        absorbed = latent_attention(*arrays, form="absorbed", **options)
        np.testing.assert_allclose(absorbed, naive, atol=1e-13)


def test_one_key_is_scale_blind():
    """Why a forgotten factor of the scale does not show at the first position."""
    shapes = (4, 3), (4, 2), (4, 5), (4, 2), (5, 3), (5, 3)
    arrays = [RNG.standard_normal(s) for s in shapes]
    one, other = (latent_attention(*arrays, causal=True, scale=s) for s in (0.5, 0.9))
    np.testing.assert_allclose(one[0], other[0], atol=1e-15)
    assert np.abs(one[1:] - other[1:]).max() > 1e-3


# -------------------------------------------------------------------------------------- hashed


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
