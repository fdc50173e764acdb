"""xPos: known numbers, limits, caches, types, bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest

from refimpl.position.rotary import rotary_embedding
from refimpl.position.xpos import xpos_embedding

XPOS = {"pairing": "half", "centre": 0.0}


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


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
    q, k = draw(n, 64), draw(n, 64, seed=1)
    prefill = _logits(q, k, np.arange(n), np.arange(n), centres=(n // 2, n // 2))[-1]
    step = _logits(q[-1:], k, [n - 1], np.arange(n), centres=(0.0, 0.0))[0]
    np.testing.assert_allclose(step, prefill, rtol=1e-9, atol=1e-9)
    apart = _logits(q[-1:], k, [n - 1], np.arange(n), centres=(0.0, n // 2))[0]
    assert np.linalg.norm(apart - prefill) > 0.1 * np.linalg.norm(prefill)


def test_wide_scale_base_is_rotary_embedding():
    x = draw(5, 8)
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
        ({"scale_base": 0.0}, ": expected a (positive )?finite number"),
        ({"gamma": 0.0}, ": expected a (positive )?finite number"),
        ({"centre": math.nan}, ": expected a (positive )?finite number"),
        ({"pairing": "neox"}, "pairing: expected"),
    ],
)
def test_wrong_options_of_xpos(options, message):
    options = XPOS | {"role": "query"} | options
    with pytest.raises(ValueError, match=message):
        xpos_embedding(draw(3, 8), range(3), **options)


def test_what_xpos_needs():
    with pytest.raises(TypeError, match="needs .*centre"):
        xpos_embedding(draw(3, 8), range(3), pairing="half", role="key")
    with pytest.raises(ValueError, match="even number from 2 to d = 7"):
        xpos_embedding(draw(3, 7), range(3), role="key", **XPOS)
    with pytest.raises(ValueError, match="positions: expected finite numbers"):
        xpos_embedding(draw(1, 8), [math.inf], role="key", **XPOS)
