"""ReRoPE: known numbers, limits, types, bad input."""

from __future__ import annotations

import numpy as np
import pytest

from refimpl.position.rerope import rerope_logits
from tests.position.test_xpos import draw


@pytest.mark.parametrize("form", ["plain", "two_pass"])
def test_published_distances_of_the_leaky_form(form):
    x = np.tile([1.0, 0.0], (7, 1))
    options = {"pairing": "half", "window": 3, "leak": 4.0, "form": form}
    found = rerope_logits(x[:1], x, [6], range(7), **options)
    np.testing.assert_allclose(found, np.cos([[3.75, 3.5, 3.25, 3, 2, 1, 0]]), rtol=1e-13)


@pytest.mark.parametrize("leak", [None, 1.0, 16.0])
@pytest.mark.parametrize("pairing", ["half", "interleaved"])
def test_two_passes_are_one(pairing, leak):
    q, k = draw(2, 9, 16), draw(2, 9, 16, seed=1)
    options = {"pairing": pairing, "window": 4, "leak": leak}
    arrays = (q, k, np.arange(9), np.arange(9))
    plain = rerope_logits(*arrays, **options)
    np.testing.assert_allclose(
        plain, rerope_logits(*arrays, form="two_pass", **options), atol=1e-13
    )


def test_both_branches_agree_at_the_window():
    """Just below the window and at it: the distance is continuous."""
    q, k = draw(1, 8), draw(1, 8, seed=1)
    for leak in (None, 4.0):
        at, below = (
            rerope_logits(q, k, [t], [0.0], pairing="half", window=5, leak=leak)
            for t in (5.0, 5.0 - 1e-9)
        )
        np.testing.assert_allclose(at, below, atol=1e-7)


def test_large_leak_is_the_stop():
    q, k = draw(1, 8), draw(4, 8, seed=1)
    stop, leak = (
        rerope_logits(q, k, [100], range(4), pairing="half", window=5, leak=leak)
        for leak in (None, 1e15)
    )
    np.testing.assert_allclose(stop, leak, rtol=1e-12)


def test_unsigned_positions_do_not_wrap():
    q, k = draw(2, 8), draw(3, 8, seed=1)
    signed, unsigned = (
        rerope_logits(q, k, np.array([0, 1], t), np.array([5, 0, 9], t), pairing="half", window=2)
        for t in ("int64", "uint8")
    )
    np.testing.assert_array_equal(signed, unsigned)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": -1}, "window: expected a finite number from 0 on, got -1"),
        ({"leak": 0.5}, "leak: expected a finite number from 1 on or None, got 0.5"),
        ({"pairing": "neox"}, "pairing: expected"),
        ({"base": 0.0}, "base: expected a positive"),
    ],
)
@pytest.mark.parametrize("form", ["plain", "two_pass"])
def test_wrong_options_of_rerope(options, message, form):
    options = {"pairing": "half", "window": 3} | options
    message = message if form == "plain" else message.split(":")[0]
    with pytest.raises(ValueError, match=message):
        rerope_logits(draw(2, 8), draw(2, 8), [0, 1], [0, 1], form=form, **options)
