"""xPos, ReRoPE, VO-RoPE: known numbers, limits, caches, types, bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest

from refimpl.position.rotary import rotary_embedding
from refimpl.position.rotary_variants import rerope_logits, value_rotary_mixture, xpos_embedding


def _x(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


# ---------------------------------------------------------------------------------------- xPos

XPOS = {"pairing": "half", "centre": 0.0}


def test_float32_angles_differ_where_they_should():
    """The baseline form makes the errors of float32 angles in float32, and none in float64."""
    options = XPOS | {"role": "key", "scale_base": 8192.0}
    for dtype, low, high in (("float32", 1e-5, 1e-2), ("float64", 0.0, 1e-11)):
        x = np.ones((1, 128), dtype)
        plain = xpos_embedding(x, [8191], **options)
        single = xpos_embedding(x, [8191], **options, form="single_angles")
        assert low <= np.abs(plain - single).max() <= high


def test_published_powers():
    """zeta of 64 features, read off a key of ones 512 tokens after the centre, where B = 512."""
    y = xpos_embedding(np.ones((1, 64)), [512], role="query", **XPOS)
    plain = rotary_embedding(np.ones((1, 64)), [512], pairing="half")
    zeta = (y / plain)[0, [0, 1, 31, 32, 63]]
    expected = [2 / 7, 0.3080357142857143, 0.9776785714285714, 2 / 7, 0.9776785714285714]
    np.testing.assert_allclose(zeta, expected, rtol=1e-13)


def _logits(q, k, rows, columns, centres=(0.0, 0.0), **options):
    options = XPOS | options
    q_at, k_at = (
        xpos_embedding(x, at, role=role, **options | {"centre": centre})
        for x, at, role, centre in zip(
            (q, k), (rows, columns), ("query", "key"), centres, strict=True
        )
    )
    return q_at @ k_at.T


def test_decoding_is_prefill_with_one_centre_and_not_with_two():
    """What the cached-keys path of rotary-embedding-torch does: q centred by 1, k by n."""
    n = 512
    q, k = _x(n, 64), _x(n, 64, seed=1)
    prefill = _logits(q, k, np.arange(n), np.arange(n), centres=(n // 2, n // 2))[-1]
    step = _logits(q[-1:], k, [n - 1], np.arange(n), centres=(0.0, 0.0))[0]
    np.testing.assert_allclose(step, prefill, rtol=1e-9, atol=1e-9)
    apart = _logits(q[-1:], k, [n - 1], np.arange(n), centres=(0.0, n // 2))[0]
    assert np.linalg.norm(apart - prefill) > 0.1 * np.linalg.norm(prefill)


def test_wide_scale_base_is_rotary_embedding():
    x = _x(5, 8)
    wide = xpos_embedding(x, range(5), role="key", scale_base=1e18, **XPOS)
    np.testing.assert_allclose(wide, rotary_embedding(x, range(5), pairing="half"), rtol=1e-14)


def test_logits_fall_with_distance():
    q = np.ones((1, 64))
    norms = [np.abs(_logits(q, q, [t], [0], base=1e15)[0, 0]) for t in (0, 512, 1024, 2048)]
    assert sorted(norms, reverse=True) == norms


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"role": "value"}, "role: expected 'query' or 'key', got 'value'"),
        ({"scale_base": 0.0}, "centre, scale_base, gamma: expected finite numbers"),
        ({"gamma": 0.0}, "centre, scale_base, gamma: expected finite numbers"),
        ({"centre": math.nan}, "centre, scale_base, gamma: expected finite numbers"),
        ({"pairing": "neox"}, "pairing: expected"),
    ],
)
def test_wrong_options_of_xpos(options, message):
    options = XPOS | {"role": "query"} | options
    with pytest.raises(ValueError, match=message):
        xpos_embedding(_x(3, 8), range(3), **options)


def test_what_xpos_needs():
    with pytest.raises(TypeError, match="centre has no default"):
        xpos_embedding(_x(3, 8), range(3), pairing="half", role="key")
    with pytest.raises(ValueError, match="even number from 2 to d = 7"):
        xpos_embedding(_x(3, 7), range(3), role="key", **XPOS)
    with pytest.raises(ValueError, match="positions: expected finite numbers"):
        xpos_embedding(_x(1, 8), [math.inf], role="key", **XPOS)


# -------------------------------------------------------------------------------------- ReRoPE


@pytest.mark.parametrize("form", ["plain", "two_pass"])
def test_published_distances_of_the_leaky_form(form):
    x = np.tile([1.0, 0.0], (7, 1))
    options = {"pairing": "half", "window": 3, "leak": 4.0, "form": form}
    found = rerope_logits(x[:1], x, [6], range(7), **options)
    np.testing.assert_allclose(found, np.cos([[3.75, 3.5, 3.25, 3, 2, 1, 0]]), rtol=1e-13)


@pytest.mark.parametrize("leak", [None, 1.0, 16.0])
@pytest.mark.parametrize("pairing", ["half", "interleaved"])
def test_two_passes_are_one(pairing, leak):
    q, k = _x(2, 9, 16), _x(2, 9, 16, seed=1)
    options = {"pairing": pairing, "window": 4, "leak": leak}
    arrays = (q, k, np.arange(9), np.arange(9))
    plain = rerope_logits(*arrays, **options)
    np.testing.assert_allclose(
        plain, rerope_logits(*arrays, form="two_pass", **options), atol=1e-13
    )


def test_both_branches_agree_at_the_window():
    """Just below the window and at it: the distance is continuous."""
    q, k = _x(1, 8), _x(1, 8, seed=1)
    for leak in (None, 4.0):
        at, below = (
            rerope_logits(q, k, [t], [0.0], pairing="half", window=5, leak=leak)
            for t in (5.0, 5.0 - 1e-9)
        )
        np.testing.assert_allclose(at, below, atol=1e-7)


def test_large_leak_is_the_stop():
    q, k = _x(1, 8), _x(4, 8, seed=1)
    stop, leak = (
        rerope_logits(q, k, [100], range(4), pairing="half", window=5, leak=leak)
        for leak in (None, 1e15)
    )
    np.testing.assert_allclose(stop, leak, rtol=1e-12)


def test_unsigned_positions_do_not_wrap():
    q, k = _x(2, 8), _x(3, 8, seed=1)
    signed, unsigned = (
        rerope_logits(q, k, np.array([0, 1], t), np.array([5, 0, 9], t), pairing="half", window=2)
        for t in ("int64", "uint8")
    )
    np.testing.assert_array_equal(signed, unsigned)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": -1}, "window: expected a number from 0 on, got -1"),
        ({"leak": 0.5}, "leak: expected a number from 1 on, got 0.5"),
        ({"pairing": "neox"}, "pairing: expected"),
        ({"base": 0.0}, "base: expected positive"),
    ],
)
@pytest.mark.parametrize("form", ["plain", "two_pass"])
def test_wrong_options_of_rerope(options, message, form):
    options = {"pairing": "half", "window": 3} | options
    message = message if form == "plain" else message.split(":")[0]
    with pytest.raises(ValueError, match=message):
        rerope_logits(_x(2, 8), _x(2, 8), [0, 1], [0, 1], form=form, **options)


# -------------------------------------------------------------------------------------- values


def test_rotated_values_and_outputs_are_relative():
    weights, values = np.abs(_x(3, 5)), _x(5, 8, seed=1)
    here, there = (
        value_rotary_mixture(
            weights, values, shift + np.arange(3), shift + np.arange(5), pairing="interleaved"
        )
        for shift in (0, 100_000)
    )
    np.testing.assert_allclose(here, there, atol=1e-9)


def test_geometric_weights_are_a_complex_recurrence():
    """a_ij = g^(i - j): the state turns by -theta and shrinks by g at every token."""
    n, g = 6, 0.8
    values = _x(n, 2)
    t = np.arange(n)[:, None] - np.arange(n)
    weights = np.where(t >= 0, g ** np.maximum(t, 0), 0.0)
    found = value_rotary_mixture(weights, values, range(n), range(n), pairing="half")
    state = 0.0
    for row, value in zip(found, values, strict=True):
        state = g * np.exp(-1j) * state + (value[0] + 1j * value[1])
        np.testing.assert_allclose(row, [state.real, state.imag], rtol=1e-12)


def test_a_value_of_weight_zero_is_absent():
    values = _x(3, 4)
    values[2] = math.nan
    weights = np.array([[0.25, 0.75, 0.0]])
    found = value_rotary_mixture(weights, values, [1], range(3), pairing="half")
    alone = value_rotary_mixture(weights[:, :2], values[:2], [1], range(2), pairing="half")
    np.testing.assert_allclose(found, alone, rtol=1e-14)


def test_values_have_an_even_number_of_features():
    with pytest.raises(ValueError, match="even number"):
        value_rotary_mixture(np.ones((1, 1)), np.ones((1, 3)), [0], [0], pairing="half")
    with pytest.raises(ValueError, match="positions: expected finite numbers"):
        value_rotary_mixture(np.ones((1, 1)), np.ones((1, 2)), [math.nan], [0], pairing="half")
