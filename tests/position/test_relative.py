"""Relative attention: dense oracles, a whole layer of Shaw's, DeBERTa's two indices, bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest

from refimpl.attention.softmax import softmax_attention
from refimpl.position.buckets import deberta_log_buckets
from refimpl.position.relative import (
    disentangled_logits,
    relative_attention_logits,
    relative_attention_values,
)


def _rng():
    return np.random.default_rng(1803)


def _softmax(s):
    e = np.exp(s - s.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


# -------------------------------------------------------------------------------------------- Shaw


def _layer(q, k, v, of_keys, of_values, places):
    weights = _softmax(relative_attention_logits(q, k, of_keys, *places, order="k_minus_q"))
    return weights, relative_attention_values(weights, v, of_values, *places, order="k_minus_q")


def test_a_whole_layer_by_loops():
    rng = _rng()
    n, d, reach = 7, 4, 2
    q, k, v = (rng.standard_normal((n, d)) for _ in range(3))
    of_keys, of_values = (rng.standard_normal((2 * reach + 1, d)) for _ in range(2))
    places = np.arange(n)
    weights, out = _layer(q, k, v, of_keys, of_values, (places, places))
    for i in range(n):
        rows = [min(max(j - i, -reach), reach) + reach for j in range(n)]
        logits = np.array([q[i] @ (k[j] + of_keys[rows[j]]) for j in range(n)]) / math.sqrt(d)
        p = _softmax(logits)
        expected = sum(p[j] * (v[j] + of_values[rows[j]]) for j in range(n))
        np.testing.assert_allclose(weights[i], p, rtol=1e-13)
        np.testing.assert_allclose(out[i], expected, rtol=0, atol=1e-14)


def test_without_tables_the_layer_is_softmax_attention():
    rng = _rng()
    q, k, v = (rng.standard_normal((2, 6, 4)) for _ in range(3))
    nothing, places = np.zeros((5, 4)), (np.arange(6), np.arange(6))
    _, out = _layer(q, k, v, nothing, nothing, places)
    np.testing.assert_allclose(out, softmax_attention(q, k, v), rtol=0, atol=1e-14)


def test_logits_as_a_bias_have_the_gradients_of_differences():
    """Through the softmax, with a table shared by heads."""
    rng = _rng()
    q, k, v, g = (rng.standard_normal((2, 5, 4)) for _ in range(4))
    table, places = rng.standard_normal((3, 4)), (np.arange(5), np.arange(5))

    def loss(table):
        s = relative_attention_logits(q, k, table, *places, order="q_minus_k")
        return (g * (_softmax(s) @ v)).sum()

    a = _softmax(relative_attention_logits(q, k, table, *places, order="q_minus_k"))
    da = g @ v.swapaxes(-1, -2)
    ds = a * (da - (a * da).sum(axis=-1, keepdims=True))
    dtable = relative_attention_logits.vjp(ds, q, k, table, *places, order="q_minus_k")[2]
    assert dtable.shape == table.shape
    for row, column in ((0, 0), (1, 2), (2, 3)):
        step = np.zeros((3, 4))
        step[row, column] = 1e-6
        difference = (loss(table + step) - loss(table - step)) / 2e-6
        assert dtable[row, column] == pytest.approx(difference, rel=1e-7, abs=1e-9)


def test_logits_are_toeplitz_for_equal_queries_and_keys():
    rng = _rng()
    q, k = np.tile(rng.standard_normal(4), (9, 1)), np.tile(rng.standard_normal(4), (9, 1))
    table, places = rng.standard_normal((7, 4)), np.arange(9)
    s = relative_attention_logits(q, k, table, places, places, order="k_minus_q")
    np.testing.assert_allclose(s[1:, 1:], s[:-1, :-1], rtol=1e-14)
    np.testing.assert_allclose(s[0, 4:], s[0, 3], rtol=1e-14)


def test_a_masked_value_is_absent():
    values = np.array([[1.0], [np.nan]])
    out = relative_attention_values(
        [[1.0, 0.0]], values, np.zeros((3, 1)), [0], [0, 1], order="k_minus_q"
    )
    assert out.tolist() == [[1.0]]


def test_a_row_of_the_table_that_no_pair_has_is_absent():
    table = np.array([[np.nan], [2.0], [3.0], [4.0], [np.inf]])
    out = relative_attention_values(
        [[0.5, 0.5]], [[0.0], [0.0]], table, [1], [0, 1], order="q_minus_k"
    )
    assert out.tolist() == [[3.5]]


@pytest.mark.parametrize(
    ("rows", "order", "message"),
    [
        (4, "k_minus_q", "table: expected an odd number of rows, 2 k . 1, got 4"),
        (0, "k_minus_q", "table: expected an odd number of rows"),
        (5, "relative", "order: expected .* got 'relative'"),
    ],
)
def test_bad_tables_and_orders(rows, order, message):
    one, table = np.ones((1, 2)), np.ones((rows, 2))
    with pytest.raises(ValueError, match=message):
        relative_attention_logits(one, one, table, [0], [0], order=order)
    with pytest.raises(ValueError, match=message):
        relative_attention_values([[1.0]], one, table, [0], [0], order=order)


def test_what_has_no_default_and_no_fractions():
    one, table = np.ones((1, 2)), np.ones((3, 2))
    with pytest.raises(TypeError, match="needs .*order"):
        relative_attention_logits(one, one, table, [0], [0])
    with pytest.raises(TypeError, match="query_positions: expected integers"):
        relative_attention_logits(one, one, table, [0.0], [0], order="k_minus_q")
    with pytest.raises(TypeError, match="needs .*p2c_index"):
        disentangled_logits(one, one, np.ones((4, 2)), np.ones((4, 2)), [0], [0])


# ----------------------------------------------------------------------------------------- DeBERTa


def _gathered(q, k, of_queries, of_keys, distance):
    """The released code: gather along the rows of products, the second time transposed."""
    span = of_keys.shape[-2] // 2
    scale = math.sqrt(3 * q.shape[-1])
    scores = q @ k.T / scale
    c2p_index = np.clip(distance + span, 0, 2 * span - 1)
    scores = scores + np.take_along_axis(q @ of_keys.T, c2p_index, axis=-1) / scale
    # distance[j, i] of keys and queries, with its sign turned, as in disentangled_attention_bias.
    p2c_index = np.clip(-distance + span, 0, 2 * span - 1)
    p2c = np.take_along_axis(k @ of_queries.T, p2c_index, axis=-1).T
    return scores + p2c / scale


@pytest.mark.parametrize("log_buckets", [False, True])
def test_the_code_gathers_by_delta_of_query_and_key(log_buckets):
    """As the released code does, for as many queries as keys: gather, then transpose."""
    rng = _rng()
    n, d, rows = 30, 4, 16
    q, k = rng.standard_normal((2, n, d))
    of_queries, of_keys = rng.standard_normal((2, rows, d))
    places = np.arange(n)
    distance = np.subtract.outer(places, places)
    if log_buckets:
        distance = deberta_log_buckets(places, places, bucket_size=8, max_position=20)
    expected = _gathered(q, k, of_queries, of_keys, distance)
    arrays = q, k, of_queries, of_keys, places, places
    options = {"log_buckets": log_buckets, "max_position": 20}
    found = disentangled_logits(*arrays, p2c_index="code", **options)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)
    paper = disentangled_logits(*arrays, p2c_index="paper", **options)
    assert np.abs(found - paper).max() > 0.5


def test_a_decoding_step_has_the_last_row():
    """Fewer queries than keys, which Hugging Face's version refuses."""
    rng = _rng()
    q, k = rng.standard_normal((2, 9, 4))
    tables, places = rng.standard_normal((2, 8, 4)), np.arange(9)
    for index in ("code", "paper"):
        whole = disentangled_logits(q, k, *tables, places, places, p2c_index=index)
        step = disentangled_logits(q[8:], k, *tables, [8], places, p2c_index=index)
        np.testing.assert_allclose(step, whole[8:], rtol=0, atol=1e-15)


def test_row_zero_is_used_from_minus_b_down_and_the_last_from_b_minus_one_up():
    rows = np.arange(6.0)[:, None]
    zero, one = np.zeros((1, 1)), np.ones((1, 1))
    far = [
        float(
            disentangled_logits(one, zero, 0 * rows, rows, [i], [0], p2c_index="code", scale=1.0)[
                0, 0
            ]
        )
        for i in (-50, -3, -2, 0, 1, 2, 3, 50)
    ]
    assert far == [0, 0, 1, 3, 4, 5, 5, 5]


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (5, {"p2c_index": "code"}, "position_keys: expected an even number of rows, 2 b, got 5"),
        (0, {"p2c_index": "code"}, "position_keys: expected an even number of rows"),
        (4, {"p2c_index": "delta"}, "p2c_index: expected 'paper' .* got 'delta'"),
        (
            6,
            {"p2c_index": "code", "log_buckets": True},
            "bucket_size: expected a whole number from 4 on, got 3",
        ),
        (
            256,
            {"p2c_index": "code", "log_buckets": True, "max_position": 64},
            "max_position: expected more than 65",
        ),
    ],
)
def test_bad_tables_and_indices(rows, options, message):
    one, table = np.ones((1, 2)), np.ones((rows, 2))
    with pytest.raises(ValueError, match=message):
        disentangled_logits(one, one, table, table, [0], [0], **options)
