"""URPE: the released code, what no bias of logits can, heads, bad input."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import toeplitz

from refimpl.attention.softmax import softmax_attention
from refimpl.position.relative import relative_attention_values
from refimpl.position.universal import universal_relative_weights

RNG = np.random.default_rng(2205)
TEXT = np.arange(6)


def test_a_toeplitz_matrix_with_an_entry_for_each_distance():
    """The released code without buckets: entry j - i - (1 - n), of 2 n - 1."""
    table, weights = RNG.standard_normal(11), RNG.random((6, 6))
    index = TEXT[None, :] - TEXT[:, None]
    index = index - index.min()
    found = universal_relative_weights(weights, table, TEXT, TEXT, order="k_minus_q")
    np.testing.assert_array_equal(found, weights * table[index])
    np.testing.assert_array_equal(found, weights * toeplitz(table[5::-1], table[5:]))


def test_equal_tokens_are_told_apart_which_no_bias_of_logits_can():
    """With all values equal a softmax returns the value; factors show the position."""
    ones = np.ones((6, 1))
    means = softmax_attention(ones, ones, ones, bias=RNG.standard_normal((6, 6)))
    np.testing.assert_allclose(means, 1.0, rtol=1e-14)
    uniform = np.full((6, 6), 1 / 6)
    table = np.array([0.0, 0.0, 6.0])
    later = universal_relative_weights(uniform, table, TEXT, TEXT, order="k_minus_q") @ ones
    np.testing.assert_allclose(later[:, 0], [5, 4, 3, 2, 1, 0], atol=1e-14)


def test_its_product_with_ones_is_a_table_of_values():
    """C A summed over keys is what Shaw's table adds to values of zero."""
    weights, table = RNG.random((6, 6)), RNG.standard_normal(5)
    found = universal_relative_weights(weights, table, TEXT, TEXT, order="q_minus_k").sum(axis=-1)
    zeros = np.zeros((6, 1))
    shaw = relative_attention_values(weights, zeros, table[:, None], TEXT, TEXT, order="q_minus_k")
    np.testing.assert_allclose(found, shaw[:, 0], rtol=1e-13)


def test_heads_have_their_own_tables():
    weights, tables = RNG.random((2, 3, 6, 6)), RNG.standard_normal((3, 5))
    found = universal_relative_weights(weights, tables, TEXT, TEXT, order="k_minus_q")
    assert found.shape == (2, 3, 6, 6)
    one = universal_relative_weights(weights[1, 2], tables[2], TEXT, TEXT, order="k_minus_q")
    np.testing.assert_array_equal(found[1, 2], one)


def test_gradient_of_the_table_adds_up_distances():
    weights, g = RNG.random((6, 6)), RNG.standard_normal((6, 6))
    _, found = universal_relative_weights.vjp(
        g, weights, np.ones(11), TEXT, TEXT, order="k_minus_q"
    )
    expected = [np.trace(g * weights, offset) for offset in range(-5, 6)]
    np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_bad_input():
    weights = np.ones((6, 6))
    with pytest.raises(ValueError, match="table: expected an odd number of rows, 2 k . 1, got 4"):
        universal_relative_weights(weights, np.ones(4), TEXT, TEXT, order="k_minus_q")
    with pytest.raises(ValueError, match="order: expected"):
        universal_relative_weights(weights, np.ones(5), TEXT, TEXT, order="j-i")
    with pytest.raises(TypeError, match="needs .*order"):
        universal_relative_weights(weights, np.ones(5), TEXT, TEXT)
    with pytest.raises(TypeError, match="query_positions: expected integers"):
        universal_relative_weights(weights, np.ones(5), TEXT + 0.5, TEXT, order="k_minus_q")
