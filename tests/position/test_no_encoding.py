"""No position encoding at all (NoPE): what attention then sees of the order of its tokens."""

from __future__ import annotations

import numpy as np
import pytest

from refimpl.attention.softmax import softmax_attention

RNG = np.random.default_rng(2305)
X = RNG.standard_normal((9, 6))
PROJECTIONS = RNG.standard_normal((2, 3, 6, 6)) / 2.0


def _layer(x, projections=PROJECTIONS[0], causal=None):
    """Self-attention with a residual, without any position."""
    q, k, v = (x @ projection for projection in projections)
    return x + softmax_attention(q, k, v, causal=causal)


def _causal(x, projections=PROJECTIONS[0]):
    return _layer(x, projections, causal="top_left")


def test_without_a_mask_attention_is_permutation_equivariant():
    """Tokens in another order are outputs in that order, whatever the number of layers."""
    order = RNG.permutation(9)
    one, two = (_layer(X), _layer(_layer(X), PROJECTIONS[1]))
    np.testing.assert_allclose(_layer(X[order]), one[order], rtol=1e-12, atol=1e-13)
    shuffled = _layer(_layer(X[order]), PROJECTIONS[1])
    np.testing.assert_allclose(shuffled, two[order], rtol=1e-12, atol=1e-13)


def test_a_readout_of_all_tokens_does_not_see_the_order():
    order = RNG.permutation(9)
    np.testing.assert_allclose(_layer(X[order]).sum(axis=0), _layer(X).sum(axis=0), rtol=1e-11)


def test_the_causal_mask_breaks_it():
    order = RNG.permutation(9)
    assert np.abs(_causal(X[order]) - _causal(X)[order]).max() > 0.1


@pytest.mark.parametrize("i", [2, 5, 8])
def test_one_causal_layer_sees_a_set_of_earlier_tokens(i):
    """The output at i is the same for any order of the tokens before it."""
    order = np.arange(9)
    order[:i] = RNG.permutation(i)
    np.testing.assert_allclose(_causal(X[order])[i], _causal(X)[i], rtol=1e-12, atol=1e-13)


def test_two_causal_layers_see_the_order_of_earlier_tokens():
    """The outputs of the first layer differ, as each has seen another set."""

    def twice(x):
        return _causal(_causal(x), PROJECTIONS[1])

    swapped = X[[1, 0, *range(2, 9)]]
    np.testing.assert_allclose(_causal(swapped)[8], _causal(X)[8], rtol=1e-12, atol=1e-13)
    assert np.abs(twice(swapped)[8] - twice(X)[8]).max() > 1e-3


def test_a_marked_first_token_tells_the_position():
    """Equal weights over all seen tokens and a value of 1 at the first only: 1/(i + 1)."""
    zeros = np.zeros((12, 1))
    marks = np.eye(12)[:, :1]
    share = softmax_attention(zeros, zeros, marks, causal="top_left")[:, 0]
    np.testing.assert_allclose(share, 1 / np.arange(1, 13), rtol=1e-15)
    np.testing.assert_allclose(1 / share - 1, np.arange(12), atol=1e-13)


def test_two_layers_count_tokens_of_a_kind():
    """Share of the first token and share of the kind: their ratio counts it, where none could."""
    rng = np.random.default_rng(1)
    is_kind = rng.random(30) < 0.4
    is_kind[0] = False
    zeros = np.zeros((30, 1))
    values = np.stack([np.arange(30) == 0, is_kind], axis=-1).astype(float)
    shares = softmax_attention(zeros, zeros, values, causal="top_left")
    np.testing.assert_allclose(shares[:, 1] / shares[:, 0], np.cumsum(is_kind), atol=1e-12)
    # The second layer finds the token with a given count by its first layer's output.
    position = 1 / shares[:, 0] - 1
    target = 17.0
    keys = np.stack([position, position**2], axis=-1)
    query = np.array([[2 * target, -1.0]])
    found = softmax_attention(query, keys, position[:, None], scale=100.0)
    np.testing.assert_allclose(found, [[target]], rtol=1e-12)


def test_equal_tokens_stay_equal_without_a_mark():
    """With one token everywhere even the causal mask shows nothing: every mean is the value."""
    same = np.broadcast_to(X[:1], X.shape)
    for causal in (None, "top_left"):
        out = _layer(same, causal=causal)
        np.testing.assert_allclose(out, np.broadcast_to(out[:1], out.shape), rtol=1e-12)


def test_sequences_of_another_length_change_nothing_before():
    """No table has an end: outputs of a prefix are those of the whole text."""
    np.testing.assert_allclose(_causal(X[:5]), _causal(X)[:5], rtol=1e-12, atol=1e-14)
