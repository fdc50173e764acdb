"""Transformer-XL: released code with its shift, causal and both ways, what the shift leaves."""

from __future__ import annotations

import math

import numpy as np
import pytest

from refimpl.attention.softmax import softmax_attention
from refimpl.position.transformer_xl import relative_shift, transformer_xl_logits


def _released_shift(x, zero_triu=False):
    """_rel_shift of the paper's code, on rows."""
    n, k = x.shape
    padded = np.concatenate([np.zeros((n, 1)), x], axis=1)
    y = padded.reshape(k + 1, n)[1:].reshape(n, k)
    return y * np.tri(n, k, k - n) if zero_triu else y


def _arrays(n, m, rows, d=4):
    rng = np.random.default_rng(1901)
    return tuple(rng.standard_normal(shape) for shape in ((n, d), (m, d), (d,), (d,), (rows, d)))


@pytest.mark.parametrize("memory", [0, 3])
def test_causal_attention_of_the_released_code(memory):
    n = 6
    m = n + memory
    q, k, u, v, table = _arrays(n, m, m)
    keys = np.arange(m)
    by_distance = _released_shift((q + v) @ table[::-1].T)
    released = ((q + u) @ k.T + by_distance) / math.sqrt(4)
    found = transformer_xl_logits(q, k, u, v, table, keys[memory:], keys, clip=True)
    seen = np.tri(n, m, memory, dtype=bool)
    np.testing.assert_allclose(found[seen], released[seen], rtol=0, atol=1e-14)
    assert np.abs((found - released)[~seen]).max() > 0.1
    # Under the mask it makes no difference.
    one = np.zeros((1, n, 1)), np.zeros((1, m, 1)), k[None]
    outputs = [softmax_attention(*one, bias=s, mask=seen, scale=1.0) for s in (found, released)]
    np.testing.assert_allclose(*outputs, rtol=0, atol=1e-14)


def test_attention_both_ways_of_xlnet():
    n = 5
    q, k, u, v, table = _arrays(n, n, 2 * n)
    places = np.arange(n)
    # Row p of the code stands for the distance n - p, down to 1 - n.
    turned = relative_shift((q + v) @ table[::-1].T, variant="xlnet")
    released = ((q + u) @ k.T + turned) / 2.0
    found = transformer_xl_logits(q, k, u, v, table, places, places, lowest=1 - n)
    np.testing.assert_allclose(found, released, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("n", "k"), [(1, 1), (3, 3), (3, 5), (4, 9), (5, 3), (7, 2)])
def test_shift_is_that_of_the_released_code_with_its_garbage(n, k):
    x = np.random.default_rng(0).standard_normal((n, k))
    np.testing.assert_array_equal(relative_shift(x, variant="transformer_xl"), _released_shift(x))


def test_garbage_belongs_to_the_next_query():
    x = np.arange(12.0).reshape(3, 4) + 1
    y = relative_shift(x, variant="transformer_xl")
    assert y.tolist() == [[3, 4, 0, 5], [6, 7, 8, 0], [9, 10, 11, 12]]
    assert _released_shift(x, zero_triu=True).tolist() == [
        [3, 4, 0, 0],
        [6, 7, 8, 0],
        [9, 10, 11, 12],
    ]


def test_shift_of_more_rows_than_distances():
    assert relative_shift(np.ones((2, 3, 2)), variant="xlnet").shape == (2, 3, 0)


def test_a_distance_without_a_row():
    arrays = _arrays(2, 3, 3)
    with pytest.raises(IndexError, match="distances 0 to 2, but positions differ by -2 to 1"):
        transformer_xl_logits(*arrays, [0, 1], [0, 1, 2])
    inside = transformer_xl_logits(*arrays, [2, 2], [0, 1, 2])
    np.testing.assert_array_equal(
        inside, transformer_xl_logits(*arrays, [2, 2], [0, 1, 2], clip=True)
    )


def test_clamped_distances_share_the_last_row():
    q, k, u, v, table = _arrays(1, 9, 4)
    s = transformer_xl_logits(q, 0 * k, u, v, table, [8], np.arange(9), clip=True)[0]
    np.testing.assert_array_equal(s[:6], np.full(6, s[0]))
    assert len(set(s.tolist())) == 4


def test_bad_input():
    with pytest.raises(ValueError, match="variant: expected .* got 'conformer'"):
        relative_shift(np.ones((2, 2)), variant="conformer")
    with pytest.raises(TypeError, match="needs .*variant"):
        relative_shift(np.ones((2, 2)))
    with pytest.raises(TypeError, match="key_positions: expected integers"):
        transformer_xl_logits(*_arrays(1, 1, 1), [0], [0.5])


def test_biases_of_heads():
    rng = np.random.default_rng(1901)
    q, k = rng.standard_normal((2, 3, 5, 4))
    u, v = rng.standard_normal((2, 3, 4))
    table, places = rng.standard_normal((3, 9, 4)), np.arange(5)
    whole = transformer_xl_logits(q, k, u, v, table, places, places, lowest=-4)
    for h in range(3):
        one = transformer_xl_logits(q[h], k[h], u[h], v[h], table[h], places, places, lowest=-4)
        np.testing.assert_allclose(whole[h], one, rtol=0, atol=1e-14)
