"""Rotary embedding in linear attention: recurrences, weights of both signs, unseen keys."""

from __future__ import annotations

import math

import numpy as np
import pytest

from refimpl.position.rotary import rotary_embedding
from refimpl.position.rotary_linear import rotary_linear_attention


def _features(n, d, seed):
    return np.exp(np.random.default_rng(seed).standard_normal((n, d)))


@pytest.mark.parametrize("pairing", ["half", "interleaved"])
def test_recurrence_of_the_essay(pairing):
    """S_i = S_{i-1} + (R_i k_i) v_i^T and z_i = z_{i-1} + k_i, read by R_i q_i and by q_i."""
    n, d = 7, 6
    q, k = _features(n, d, 0), _features(n, d, 1)
    values = np.random.default_rng(2).standard_normal((n, 3))
    at = np.arange(n)
    found = rotary_linear_attention(q, k, values, at, at, pairing=pairing, causal=True)
    state, total = np.zeros((d, 3)), np.zeros(d)
    for i in range(n):
        key, query = (rotary_embedding(x[i : i + 1], [i], pairing=pairing)[0] for x in (k, q))
        state += np.outer(key, values[i])
        total += k[i]
        np.testing.assert_allclose(found[i], query @ state / (q[i] @ total), rtol=1e-12)


def test_recurrence_in_the_frame_of_the_query():
    """The same state turned along: S~_i = R_1^T S~_{i-1} + k_i v_i^T."""
    n, d = 5, 4
    q, k = _features(n, d, 0), _features(n, d, 1)
    values = np.random.default_rng(2).standard_normal((n, 2))
    at = np.arange(n)
    found = rotary_linear_attention(q, k, values, at, at, pairing="half", causal=True)
    state = np.zeros((d, 2))
    for i in range(n):
        back = rotary_embedding(state.T, np.ones(2), pairing="half", inverse=True).T
        state = back + np.outer(k[i], values[i])
        below = q[i] @ k[: i + 1].sum(axis=0)
        np.testing.assert_allclose(found[i], q[i] @ state / below, rtol=1e-12)


def test_weights_may_be_negative_and_do_not_sum_to_one():
    q, k = _features(1, 2, 0), _features(8, 2, 1)
    weights = rotary_linear_attention(q, k, np.eye(8), [8], np.arange(8), pairing="half")
    assert weights.min() < 0
    assert abs(weights.sum() - 1) > 0.1


def test_query_that_sees_no_key_has_zero_and_no_gradient():
    q, k = _features(2, 4, 0), _features(3, 4, 1)
    arrays = (q, k, np.ones((3, 2)), np.array([0.0, 9.0]), np.array([5, 6, 7]))
    found = rotary_linear_attention(*arrays, pairing="half", causal=True)
    assert not found[0].any()
    dq, *_ = rotary_linear_attention.vjp(np.ones((2, 2)), *arrays, pairing="half", causal=True)
    assert not dq[0].any()
    assert dq[1].any()


def test_no_keys():
    arrays = (np.ones((2, 4)), np.ones((0, 4)), np.ones((0, 3)), [0, 1], np.zeros(0))
    for causal in (False, True):
        found = rotary_linear_attention(*arrays, pairing="half", causal=causal)
        np.testing.assert_array_equal(found, np.zeros((2, 3)))


def test_bad_input():
    arrays = (np.ones((1, 3)), np.ones((1, 3)), np.ones((1, 1)), [0], [0])
    with pytest.raises(ValueError, match="even number from 2 to d = 3"):
        rotary_linear_attention(*arrays, pairing="half")
    arrays = (np.ones((1, 2)), np.ones((1, 2)), np.ones((1, 1)), [0.0], [math.nan])
    with pytest.raises(ValueError, match="positions: expected finite numbers"):
        rotary_linear_attention(*arrays, pairing="half")
    with pytest.raises(TypeError, match="needs .*pairing"):
        rotary_linear_attention(*arrays)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("which", [1, 2])
def test_what_causal_queries_do_not_see_is_inert(which, bad):
    """A key after all of them, or its value, that is not finite: in both directions."""
    q, at = _features(3, 4, 0), np.arange(4)
    arrays = [q, _features(4, 4, 1), _features(4, 2, 2), at[:3], at]
    options, g = {"pairing": "half", "causal": True}, _features(3, 2, 3)
    expected = rotary_linear_attention(*arrays, **options)
    dq, dk, dvalues, *_ = rotary_linear_attention.vjp(g, *arrays, **options)
    arrays[which][3] = bad
    np.testing.assert_array_equal(rotary_linear_attention(*arrays, **options), expected)
    found = rotary_linear_attention.vjp(g, *arrays, **options)
    for got, wanted in zip(found, (dq, dk[:3], dvalues), strict=False):
        np.testing.assert_allclose(got[: len(wanted)], wanted, rtol=1e-13)
