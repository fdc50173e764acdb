"""Whole rows in place equal the plain form for every block size, with and without their maximum."""

from __future__ import annotations

import numpy as np
import pytest

from refimpl import softmax_attention
from refimpl.attention import rows
from tests.attention.test_online import MASK, OPTIONS, K, Q, V

RNG = np.random.default_rng(2)


@pytest.mark.parametrize("options", OPTIONS, ids=[",".join(o) or "none" for o in OPTIONS])
@pytest.mark.parametrize("size", [1, 4, 13, 128])
def test_every_block_size(options, size):
    blocks = {"form": "rows", "query_block": size}
    np.testing.assert_allclose(
        softmax_attention(Q, K, V, **blocks, **options),
        softmax_attention(Q, K, V, **options),
        atol=1e-13,
    )
    g = RNG.standard_normal((2, 3, 13, 5))
    for a, b in zip(
        softmax_attention.vjp(g, Q, K, V, **blocks, **options),
        softmax_attention.vjp(g, Q, K, V, **options),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, atol=1e-12)


@pytest.mark.parametrize("options", [{"mask": MASK}, {"causal": True, "offset": -2}])
def test_a_nan_policy_reaches_the_rows_and_not_the_gradients_of_others(options):
    out = softmax_attention(Q, K, V, empty="nan", form="rows", query_block=4, **options)
    plain = softmax_attention(Q, K, V, empty="nan", **options)
    assert np.isnan(plain).any()
    np.testing.assert_allclose(out, plain, atol=1e-13)
    g = np.ones((2, 3, 13, 5))
    for a, b in zip(
        softmax_attention.vjp(g, Q, K, V, empty="nan", form="rows", **options)[:2],
        softmax_attention.vjp(g, Q, K, V, empty="nan", **options)[:2],
        strict=True,
    ):
        np.testing.assert_allclose(a, b, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_maximum_is_left_out_where_nothing_can_overflow(dtype):
    """Just below the bound and just above it: there the results are as exact."""
    m, d = 16, 4
    room = np.log(float(np.finfo(dtype).max)) / 3 - np.log(m)
    signs = np.where(np.arange(m) % 2, 1.0, -1.0)[:, None]
    for factor, shifted in ((0.9, False), (1.1, True)):
        # Every logit is +- the bound itself, in q as in k of length sqrt(factor room).
        x = signs * np.sqrt(factor * max(room, 0.1) / d) * np.ones((m, d))
        q = x.astype(dtype)
        heads = rows._Heads(q, q, q, "zero", 128, scale=np.asarray(1.0, dtype))
        assert heads.is_bounded is not (shifted or room < 0)
        v = RNG.standard_normal((m, 3)).astype(dtype)
        found = softmax_attention(q, q, v, scale=1.0, form="rows")
        right = softmax_attention.oracle(q, q, v, scale=1.0)
        assert np.abs(found - right).max() <= 8 * np.finfo(dtype).eps * np.abs(right).max()


@pytest.mark.parametrize(
    "option", [{"bias": np.full((1, 17), 2000.0)}, {"sink": np.full(3, 2000.0)}]
)
def test_what_adds_to_the_logits_brings_the_maximum_back(option):
    found = softmax_attention(Q, K, V, form="rows", **option)
    np.testing.assert_allclose(found, softmax_attention(Q, K, V, **option), atol=1e-13)


def test_a_sequence_of_nothing():
    assert softmax_attention(Q[..., :0, :], K, V, form="rows").shape == (2, 3, 0, 5)
    assert not softmax_attention(Q, K[..., :0, :], V[..., :0, :], form="rows").any()
    g = np.ones((2, 3, 13, 5))
    gradients = softmax_attention.vjp(g, Q, K[..., :0, :], V[..., :0, :], form="rows")
    assert not gradients[0].any()


def test_bad_blocks():
    with pytest.raises(ValueError, match="query_block: expected a positive whole number"):
        softmax_attention(Q, K, V, form="rows", query_block=0)
    with pytest.raises(ValueError, match="empty: expected one of"):
        softmax_attention(Q, K, V, form="rows", empty="one")
