"""The forget gate: the released code, attention that forgets, closed gates, accuracy."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest

from refimpl.attention.softmax import softmax_attention
from refimpl.position.bias import alibi_bias
from refimpl.position.forget_gate import forget_gate_bias

X = np.random.default_rng(2503).standard_normal(7)


def test_the_released_code():
    """Differences of running sums of the log sigmoid, minus infinity after the query."""
    total = np.cumsum(-np.log1p(np.exp(-X)))
    expected = np.where(np.tri(7, dtype=bool), total[:, None] - total, -np.inf)
    np.testing.assert_allclose(forget_gate_bias(X), expected, atol=1e-14)


def test_attention_that_forgets():
    """exp(q.k) times the gates in between, normalised: no mask is needed."""
    rng = np.random.default_rng(0)
    q, k, v = rng.standard_normal((3, 7, 4))
    gates = 1 / (1 + np.exp(-X))
    expected = np.zeros((7, 4))
    for i in range(7):
        kept = np.array([np.prod(gates[j + 1 : i + 1]) for j in range(i + 1)])
        weights = np.exp(q[i] @ k[: i + 1].T / 2.0) * kept
        expected[i] = weights @ v[: i + 1] / weights.sum()
    np.testing.assert_allclose(
        softmax_attention(q, k, v, bias=forget_gate_bias(X)), expected, rtol=1e-12
    )


def test_equal_gates_are_alibi():
    slope = -math.log(1 / (1 + math.exp(-2.0)))
    line = alibi_bias([slope], np.arange(6), np.arange(6), sides="causal")[0]
    np.testing.assert_allclose(forget_gate_bias(np.full(6, 2.0)), line, rtol=1e-14)


def test_a_closed_gate_hides_what_was_before_it_and_nothing_else():
    x = np.array([0.0, 0.0, -math.inf, 0.0, math.inf])
    value = forget_gate_bias(x)
    np.testing.assert_array_equal(value[2:, :2], -math.inf)
    np.testing.assert_allclose(value[3:, 2], -math.log(2.0), rtol=1e-15)
    assert value[4, 3] == 0.0
    gradient = forget_gate_bias.vjp(np.ones((5, 5)), x)[0]
    assert np.isfinite(gradient).all()
    assert gradient[4] == 0.0


def test_nan_stays_where_its_gate_is():
    x = np.where(np.arange(5) == 2, math.nan, X[:5])
    at = np.arange(5)
    is_between = (at[:, None] >= 2) & (at < 2)
    np.testing.assert_array_equal(np.isnan(forget_gate_bias(x)), is_between)


def test_open_gates_after_closed_ones_keep_their_digits():
    """A difference of sums of 1e6 has an error of 1e-10 where the bias is 1e-4."""
    x = np.array([-1e6, -1e6, 9.0, 9.0, 9.0])
    with mpmath.workdps(50):
        exact = float(-2 * mpmath.log1p(mpmath.exp(-9)))
    assert forget_gate_bias(x)[4, 2] == pytest.approx(exact, rel=4e-16)


def test_half_precision_adds_up_in_full():
    x = np.full(2000, 3.0, "float16")
    value = forget_gate_bias(x)
    assert value.dtype == "float16"
    expected = 1999 * math.log1p(math.exp(-3.0))
    assert float(value[-1, 0]) == pytest.approx(-expected, rel=2**-10)


def test_empty_and_single():
    assert forget_gate_bias(np.zeros(0)).shape == (0, 0)
    np.testing.assert_array_equal(forget_gate_bias([3.0]), [[0.0]])


def test_gradient_against_differences():
    g = np.random.default_rng(1).standard_normal((7, 7))
    step = 1e-6 * np.random.default_rng(2).standard_normal(7)
    lower = np.tri(7, dtype=bool)
    ends = [(g * forget_gate_bias(X + s * step))[lower].sum() for s in (1, -1)]
    found = forget_gate_bias.vjp(g, X)[0] @ step
    assert (ends[0] - ends[1]) / 2 == pytest.approx(found, rel=1e-7)
