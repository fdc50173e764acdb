"""The scale of queries by position: numbers of Llama 4, its logits, bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest

from refimpl.attention.entropy import log_length_scale
from refimpl.attention.softmax import softmax_attention
from refimpl.position.temperature import position_query_scale


def test_numbers_of_llama_4():
    found = position_query_scale([0, 8190, 8191, 16383, 131071], counted_from=1)
    expected = [1, 1, 1.069314718056, 1.109861228867, 1.283321334406]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_ministral_starts_one_position_later():
    at = np.arange(16380, 16390)
    options = {"floor_scale": 16384.0}
    ministral = position_query_scale(at, counted_from=0, **options)
    llama = position_query_scale(at, counted_from=1, **options)
    assert np.flatnonzero(ministral != llama).tolist() == [3]
    assert at[ministral > 1][0] == 16384


def test_queries_have_logits_of_their_scale():
    rng = np.random.default_rng(4)
    q, k, v = rng.standard_normal((3, 5, 4))
    scale = position_query_scale(np.arange(5), counted_from=1, floor_scale=2.0)
    whole = softmax_attention(scale[:, None] * q, k, v)
    for i in range(5):
        row = softmax_attention(q[i : i + 1], k, v, scale=float(scale[i]) / 2.0)
        np.testing.assert_allclose(whole[i : i + 1], row, rtol=1e-13)


def test_the_scale_by_logarithm_of_the_length_is_another_formula():
    """max(1, log_n0 n) for a model trained on n0 tokens: 1 until there, and no jump after."""
    at = np.array([0, 4095, 4096, 16383])
    found = log_length_scale(at + 1, width=1, trained_length=4096, clip=True)
    np.testing.assert_allclose(found, np.maximum(1, np.log(at + 1.0) / math.log(4096)), rtol=1e-15)
    assert position_query_scale(4095, counted_from=1, floor_scale=4096.0) > found[1]


@pytest.mark.parametrize("dtype", ["int8", "uint64", "int32"])
def test_positions_of_small_types_do_not_overflow(dtype):
    found = position_query_scale(np.array([127], dtype), counted_from=1, floor_scale=128.0)
    assert found.dtype == "float64"
    np.testing.assert_allclose(found, 1 + 0.1 * math.log(2), rtol=1e-15)


def test_bad_input():
    with pytest.raises(TypeError, match="needs .*counted_from"):
        position_query_scale([0])
    with pytest.raises(ValueError, match="counted_from: expected 1 .* or 0 .* got 2"):
        position_query_scale([0], counted_from=2)
    with pytest.raises(ValueError, match="floor_scale: expected a positive finite number, got 0"):
        position_query_scale([0], counted_from=1, floor_scale=0)
    with pytest.raises(ValueError, match="positions: expected no negative numbers"):
        position_query_scale([-1], counted_from=1)
    with pytest.raises(TypeError, match="positions: expected integers or float64"):
        position_query_scale(np.zeros(1, "float32"), counted_from=1)
