"""Linformer, Synthesizer and cosFormer: exact cases, published digits, refused input."""

from __future__ import annotations

import numpy as np
import pytest

from refimpl import (
    cosformer_attention,
    factorised_synthesizer_logits,
    linformer_attention,
    softmax_attention,
    synthesizer_attention,
    synthesizer_logits,
)

T = 4.0 * np.arange(8)[:, None] + np.arange(4)
Q, K, V = np.sin(T + 1), np.cos(0.7 * T + 0.3), np.sin(0.5 * T + 2)
RNG = np.random.default_rng(2006)


def test_linformer_with_a_permutation_is_softmax_attention():
    order = np.eye(8)[RNG.permutation(8)]
    np.testing.assert_allclose(
        linformer_attention(Q, K, V, order, order), softmax_attention(Q, K, V), atol=1e-14
    )


def test_linformer_masks_before_it_projects():
    keep = np.arange(8) < 5
    k, v = K.copy(), V.copy()
    k[5:] = v[5:] = np.nan
    e, f = RNG.standard_normal((2, 3, 8))
    expected = linformer_attention(Q, K[:5], V[:5], e[:, :5], f[:, :5])
    np.testing.assert_allclose(linformer_attention(Q, k, v, e, f, mask=keep), expected, atol=1e-13)
    for gradient in linformer_attention.vjp(np.ones((8, 4)), Q, k, v, e, f, mask=keep):
        assert np.isfinite(gradient).all()


def test_synthesizer_is_softmax_attention_over_its_logits():
    factors = RNG.standard_normal((2, 8, 3))
    logits = factors[0] @ factors[1].T
    expected = softmax_attention(factors[0], factors[1], V, scale=1.0, causal=True)
    out = synthesizer_attention(logits, V, causal=True)
    np.testing.assert_allclose(out, expected, atol=1e-14)


def test_a_row_that_keeps_nothing_is_zero_and_later_values_are_inert():
    v = V.copy()
    v[6:] = np.nan
    logits = RNG.standard_normal((8, 8))
    out = synthesizer_attention(logits, v, mask=np.arange(8)[None] < 6)
    assert np.isfinite(out).all()
    assert (synthesizer_attention(logits, V, mask=np.zeros((1, 8), bool)) == 0).all()
    for gradient in synthesizer_attention.vjp(
        np.ones((8, 4)), logits, v, mask=np.arange(8)[None] < 6
    ):
        assert np.isfinite(gradient).all()


def test_dense_logits_of_one_unit():
    x = np.array([[1.0, 2.0], [-3.0, 1.0]])
    out = synthesizer_logits(x, [[1.0], [1.0]], [0.5], [[2.0, 3.0]], [0.0, 1.0])
    np.testing.assert_array_equal(out, [[7.0, 11.5], [0.0, 1.0]])


def test_published_digits_of_cosformer():
    out = cosformer_attention(Q, K, V, length=8)
    np.testing.assert_allclose(
        (out[0, 0], out[-1, -1], out.sum()),
        (0.095452846177, -0.202356073096, -0.595475801800),
        atol=1e-12,
    )


def test_cosformer_does_not_depend_on_where_the_positions_start():
    whole = cosformer_attention(Q, K, V, length=16, causal=True)
    step = cosformer_attention(Q[5:6], K, V, length=16, causal=True, offset=5)
    np.testing.assert_allclose(step, whole[5:6], atol=1e-14)


def test_cosformer_weights_are_not_negative():
    q, k = np.abs(RNG.standard_normal((2, 9, 3)))
    weights = cosformer_attention(q, k, np.eye(9), length=9)
    assert (weights > 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)


@pytest.mark.parametrize("options", [{"length": 7}, {"length": 10, "causal": True, "offset": 4}])
def test_a_length_below_a_distance_is_refused(options):
    with pytest.raises(ValueError, match="length: expected at least"):
        cosformer_attention(Q, K, V, **options)


def test_projections_of_another_length_are_refused():
    with pytest.raises(ValueError, match="key_projection axis 'm': expected 8"):
        linformer_attention(Q, K, V, np.ones((2, 7)), np.ones((2, 8)))


def test_factors_that_are_tiled_repeat_logits_if_their_sizes_share_a_divisor():
    two, four = np.array([[2.0, 3.0]]), np.array([[1.0, 10.0, 100.0, 1000.0]])
    tiled = factorised_synthesizer_logits(two, four, order="tiled")
    np.testing.assert_array_equal(tiled[0, :4], tiled[0, 4:])
    outer = factorised_synthesizer_logits(two, four, order="outer")
    assert len(set(outer[0])) == 8
    with pytest.raises(ValueError, match="order: expected 'tiled' or 'outer'"):
        factorised_synthesizer_logits(two, four, order="rows")
    with pytest.raises(TypeError, match="needs .*order"):
        factorised_synthesizer_logits(two, four)
