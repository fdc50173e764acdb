"""Mixed chunk attention: chunks as long as the sequence, what the divisors do, bad input."""

from __future__ import annotations

import numpy as np
import pytest

from refimpl import mixed_chunk_attention, squared_relu_attention

RNG = np.random.default_rng(8934)
Q, K, Q_LINEAR, K_LINEAR, V = (RNG.standard_normal((8, 4)) for _ in range(5))
OPTIONS = {"divisor": "length_and_width", "linear_divisor": "seen"}


def _mixed(n=8, **options):
    arrays = (x[:n] for x in (Q, K, Q_LINEAR, K_LINEAR, V))
    return mixed_chunk_attention(*arrays, **OPTIONS | options)


@pytest.mark.parametrize("form", ["plain", "chunked"])
def test_one_chunk_is_a_gated_unit_without_gates(form):
    expected = squared_relu_attention(Q, K, V, divisor="length_and_width", causal=True)
    np.testing.assert_allclose(_mixed(chunk=8, causal=True, form=form), expected, atol=1e-14)
    both_ways = squared_relu_attention(Q, K, V, divisor="length_and_width")
    expected = both_ways + Q_LINEAR @ (K_LINEAR.T @ V) / 8
    np.testing.assert_allclose(_mixed(chunk=8, form=form), expected, atol=1e-14)


@pytest.mark.parametrize("form", ["plain", "chunked"])
def test_a_longer_sequence_leaves_earlier_outputs_alone_unless_divided_by_its_length(form):
    first = _mixed(6, chunk=2, causal=True, form=form)
    np.testing.assert_allclose(_mixed(chunk=2, causal=True, form=form)[:6], first, atol=1e-14)
    by_length = {"chunk": 2, "causal": True, "linear_divisor": "length", "form": form}
    assert np.abs(_mixed(**by_length)[:6] - _mixed(6, **by_length)).max() > 0.01


def test_only_the_mean_of_earlier_chunks_keeps_its_size_along_the_sequence():
    one = np.ones((64, 1))
    options = {"chunk": 4, "divisor": "length_and_width", "causal": True}

    def outputs(name):
        found = mixed_chunk_attention(0 * one, one, one, one, one, linear_divisor=name, **options)
        return found[[4, 63], 0]

    np.testing.assert_allclose(outputs("seen"), [1.0, 1.0])
    np.testing.assert_allclose(outputs("chunk"), [1.0, 15.0])
    np.testing.assert_allclose(outputs("length"), [4 / 64, 60 / 64])


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="chunk: expected a positive whole number, got 0"):
        _mixed(chunk=0)
    with pytest.raises(ValueError, match="linear_divisor: expected"):
        _mixed(chunk=2, linear_divisor="own")
    with pytest.raises(ValueError, match="divisor: expected"):
        _mixed(chunk=2, divisor="length")
    with pytest.raises(TypeError, match="needs .*linear_divisor"):
        mixed_chunk_attention(Q, K, Q_LINEAR, K_LINEAR, V, chunk=2, divisor="length_squared")
    with pytest.raises(ValueError, match="k_linear axis 'n': expected 8"):
        mixed_chunk_attention(Q, K, Q_LINEAR, K_LINEAR[:5], V, chunk=2, **OPTIONS)
