"""CoPE: the released code, counting, gradients, bad input."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from refimpl.attention.softmax import softmax_attention
from refimpl.core import log_sigmoid, sigmoid
from refimpl.position.contextual import contextual_bias


def _arrays(n=6, d=4, rows=5):
    rng = np.random.default_rng(2405)
    return tuple(rng.standard_normal(shape) for shape in ((n, d), (n, n), (rows, d)))


def _released(q, logits, table):
    """The paper's listing: sigmoid of masked logits, flipped cumulative sum, ceil and floor."""
    gates = 1 / (1 + np.exp(-logits))
    pos = np.flip(np.cumsum(np.flip(gates, -1), axis=-1), -1)
    pos = np.minimum(pos, len(table) - 1)
    ceil, floor = np.ceil(pos).astype(int), np.floor(pos).astype(int)
    whole = q @ table.T
    w = pos - floor
    return np.take_along_axis(whole, ceil, -1) * w + np.take_along_axis(whole, floor, -1) * (1 - w)


def test_the_listing_of_the_paper():
    q, logits, table = _arrays()
    mask = np.tri(6, dtype=bool)
    with np.errstate(over="ignore"):
        released = _released(q, np.where(mask, logits, -np.inf), table)
    found = contextual_bias(q, logits, table, mask=mask)
    np.testing.assert_allclose(found, released, rtol=0, atol=1e-14)
    as_logits = contextual_bias(q, np.where(mask, logits, -np.inf), table)
    np.testing.assert_array_equal(found, as_logits)


def test_open_gates_are_relative_positions_from_one():
    q, logits, table = _arrays()
    found = contextual_bias(q, logits + 1000.0, table, mask=np.tri(6, dtype=bool))
    for i in range(6):
        for j in range(i + 1):
            np.testing.assert_allclose(found[i, j], q[i] @ table[min(i - j + 1, 4)], rtol=1e-13)


def test_a_token_of_the_future_does_not_leak():
    """Attention with it, causal: later keys change nothing of earlier rows."""
    q, logits, table = _arrays()
    mask, values = np.tri(6, dtype=bool), np.random.default_rng(1).standard_normal((6, 2))

    def attended(logits):
        bias = logits + contextual_bias(q, logits, table, mask=mask)
        return softmax_attention(0 * q, 0 * q, values, bias=bias, mask=mask)

    other = logits.copy()
    other[:, 5] += 3.0
    np.testing.assert_array_equal(attended(logits)[:5], attended(other)[:5])
    assert np.abs(attended(logits)[5] - attended(other)[5]).max() > 1e-3


def test_gates_that_are_nearly_closed_keep_their_digits():
    """Sums of gates of e^-40, which 1 - tanh would lose."""
    q, table = np.ones((1, 1)), np.array([[0.0], [1.0]])
    found = contextual_bias(q, np.array([[-40.0, -40.0]]), table)
    np.testing.assert_allclose(found, [[2 * np.exp(-40.0), np.exp(-40.0)]], rtol=1e-14)


def test_gradient_is_from_above_at_whole_positions_and_none_beyond_the_table():
    q, table = np.ones((1, 1)), np.array([[0.0], [1.0], [5.0]])
    _, dlogits, _ = contextual_bias.vjp([[1.0, 0.0]], q, np.zeros((1, 2)), table)
    assert dlogits.tolist() == [[1.0, 1.0]]
    _, beyond, _ = contextual_bias.vjp([[1.0, 0, 0, 0, 0]], q, np.zeros((1, 5)), table)
    assert (beyond == 0.0).all()


def test_one_row_is_one_vector_for_all():
    q, logits, table = _arrays(rows=1)
    np.testing.assert_allclose(
        contextual_bias(q, logits, table), (q @ table.T) + 0 * logits, rtol=1e-14
    )


def test_bad_input():
    q, logits, table = _arrays()
    with pytest.raises(ValueError, match="table: expected at least one row"):
        contextual_bias(q, logits, table[:0])
    logits[2, 3] = np.nan
    with pytest.raises(ValueError, match="gate_logits: expected no NaN where the mask keeps"):
        contextual_bias(q, logits, table)
    mask = np.ones((6, 6), dtype=bool)
    mask[2, 3] = False
    assert np.isfinite(contextual_bias(q, logits, table, mask=mask)).all()
    gradients = contextual_bias.vjp(np.ones((6, 6)), q, logits, table, mask=mask)
    assert all(np.isfinite(x).all() for x in gradients)
    with pytest.raises(TypeError, match="mask: expected booleans"):
        contextual_bias(q, logits, table, mask=np.ones((6, 6)))


@pytest.mark.parametrize("function", [sigmoid, log_sigmoid])
def test_gates_are_accurate_at_both_ends(function):
    x = np.concatenate([np.linspace(-700.0, 700.0, 57), [-1e-9, 0.0, 1e-9, 37.0]])
    with mpmath.workdps(700):
        exact = [1 / (1 + mpmath.exp(-mpmath.mpf(t))) for t in x.tolist()]
        exact = [float(mpmath.log(y) if function is log_sigmoid else y) for y in exact]
    np.testing.assert_allclose(function(x), exact, rtol=1e-15)
    with np.errstate(invalid="ignore"):
        ends = function(np.array([-np.inf, np.inf, np.nan]))
    expected = [-np.inf, 0, np.nan] if function is log_sigmoid else [0, 1, np.nan]
    np.testing.assert_array_equal(ends, expected)
