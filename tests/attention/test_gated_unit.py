"""Squared-relu attention and the gated attention unit: divisors, causality, saturation."""

from __future__ import annotations

import numpy as np
import pytest

from refimpl import gated_attention_unit, squared_relu_attention

RNG = np.random.default_rng(8934)
Q, K, V = (RNG.standard_normal(s) for s in ((5, 3), (7, 3), (7, 2)))


def test_the_divisors():
    scores = np.maximum(Q @ K.T, 0) ** 2
    first = squared_relu_attention(Q, K, V, divisor="length_and_width")
    second = squared_relu_attention(Q, K, V, divisor="length_squared")
    np.testing.assert_allclose(first, scores @ V / (7 * 3), atol=1e-14)
    np.testing.assert_allclose(second, scores @ V / 49, atol=1e-14)


def test_masked_keys_count_in_the_length_and_are_inert():
    k, v = K.copy(), V.copy()
    k[4:] = v[4:] = np.nan
    out = squared_relu_attention(Q, k, v, divisor="length_and_width", mask=np.arange(7)[None] < 4)
    short = squared_relu_attention(Q, K[:4], V[:4], divisor="length_and_width")
    np.testing.assert_allclose(out, short * 4 / 7, atol=1e-14)


def _arrays(n):
    rng = np.random.default_rng(0)
    shapes = (n, 4), (4, 6), (4, 6), (4, 3), (2, 3), (2, 3), (6, 4)
    return tuple(rng.standard_normal(s) for s in shapes)


def test_a_causal_unit_does_not_look_ahead():
    x, *weights = _arrays(6)
    options = {"divisor": "length_and_width", "causal": True}
    out = gated_attention_unit(x, *weights, **options)
    changed = np.concatenate([x[:4], 5.0 * x[4:]])
    np.testing.assert_array_equal(gated_attention_unit(changed, *weights, **options)[:4], out[:4])


@pytest.mark.parametrize("size", [1e3, -1e3])
def test_saturated_gates_do_not_overflow(size):
    x, gate, *rest = _arrays(4)
    with np.errstate(all="raise"):
        out = gated_attention_unit(x, size * gate, *rest, divisor="length_and_width")
    assert np.isfinite(out).all()
    gradients = gated_attention_unit.vjp(
        np.ones((4, 4)), x, size * gate, *rest, divisor="length_and_width"
    )
    assert all(np.isfinite(g).all() for g in gradients)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="divisor: expected"):
        squared_relu_attention(Q, K, V, divisor="length")
    with pytest.raises(TypeError, match="needs .*divisor"):
        squared_relu_attention(Q, K, V)
    with pytest.raises(ValueError, match="can be aligned in two ways"):
        squared_relu_attention(Q, K, V, divisor="length_squared", causal=True)
