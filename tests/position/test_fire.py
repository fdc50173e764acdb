"""FIRE: published numbers, accuracy for tiny rates, gradients, bad input."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest

from refimpl.position.fire import fire_bias

PASSES = [1.0], [0.0], [[1.0]], [0.0]
START = {"log_rate": 0.1, "threshold": 512.0}


def test_published_arguments():
    """A network that passes its input shows it."""
    near = fire_bias(*PASSES, [10], [9, 0], **START)[0, 0]
    far = fire_bias(*PASSES, [1000], [500, 0], **START)[0, 0]
    np.testing.assert_allclose(near, [0.0240981521694, 0.175254797202], rtol=1e-11)
    np.testing.assert_allclose(far, [0.851944303161, 1.0], rtol=1e-11)


def test_epsilon_of_published_code():
    value = fire_bias(*PASSES, [1000], [0], **START, epsilon=1e-6)[0, 0, 0]
    norm = math.log1p(100.0)
    assert value == pytest.approx(norm / (norm + 1e-6), rel=1e-15)


def test_arguments_of_past_keys_lie_between_zero_and_one_and_are_not_toeplitz():
    places = np.arange(40)
    value = fire_bias(*PASSES, places, places, log_rate=0.5, threshold=5.0)[0]
    past = np.tril(value)
    assert (past >= 0).all() and (past <= 1).all()
    np.testing.assert_allclose(value[6:, 0], 1.0, rtol=1e-15)
    assert value[6, 5] > 1.5 * value[39, 38]
    np.testing.assert_array_equal(np.diagonal(value[:6], -1), value[1, 0])


@pytest.mark.parametrize("rate", [1e-12, 1e-6, 0.1, 1e3, 1e12])
def test_gradients_by_rate_and_threshold_against_fifty_digits(rate):
    i, j, start = 9, 4, 20.5
    got = fire_bias.vjp(
        [[[1.0]]], *PASSES, [i], [j], log_rate=np.array(rate), threshold=np.array(start)
    )[4:]
    with mpmath.workdps(50):

        def x(c, length):
            return mpmath.log(1 + c * (i - j)) / mpmath.log(1 + c * max(length, i))

        c, length = mpmath.mpf(rate), mpmath.mpf(start)
        exact = [
            float(mpmath.diff(lambda u: x(c * (1 + u), length), 0) / c),
            float(mpmath.diff(lambda v: x(c, v), length)),
        ]
    np.testing.assert_allclose(got, exact, rtol=1e-13)


def test_threshold_has_no_gradient_beyond_it():
    gradients = fire_bias.vjp(
        [[[1.0]]], *PASSES, [30], [4], log_rate=np.array(0.1), threshold=np.array(20.5)
    )
    assert gradients[5] == 0.0
    assert gradients[4] != 0.0


def test_weights_of_a_batch():
    rng = np.random.default_rng(2310)
    weights = [rng.standard_normal((2, *s)) for s in ((5,), (5,), (5, 3), (3,))]
    rates = np.array([0.1, 0.7])
    value = fire_bias(*weights, [3, 9], [0, 1, 2], log_rate=rates, threshold=5.0)
    assert value.shape == (2, 3, 2, 3)
    for b in range(2):
        one = fire_bias(
            *(w[b] for w in weights), [3, 9], [0, 1, 2], log_rate=rates[b], threshold=5.0
        )
        np.testing.assert_allclose(value[b], one, rtol=1e-14)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"log_rate": 0.0}, "log_rate: expected positive"),
        ({"threshold": -1.0}, "threshold: expected positive"),
        ({"threshold": math.nan}, "threshold: expected finite"),
        ({"epsilon": -1e-6}, "epsilon: expected a finite number from 0 on"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        fire_bias(*PASSES, [1], [0], **START | options)


def test_bad_positions():
    with pytest.raises(ValueError, match="query_positions: expected no negative"):
        fire_bias(*PASSES, [-1], [0], **START)
    with pytest.raises(ValueError, match="key_positions: expected finite"):
        fire_bias(*PASSES, [1], [math.inf], **START)
    with pytest.raises(TypeError, match="needs .*log_rate"):
        fire_bias(*PASSES, [1], [0], threshold=5.0)
