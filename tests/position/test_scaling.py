"""Scaled frequencies: published numbers, limits, exact ends, bad input, use in rotation."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest

from refimpl.position.rotary import rotary_embedding, rotary_frequencies
from refimpl.position.scaling import (
    dynamic_ntk_frequencies,
    linear_scaled_frequencies,
    ntk_frequencies,
    proportional_frequencies,
    radix_frequencies,
)

THETA = rotary_frequencies(10000.0, dim=128)


def _base(theta):
    """The base whose powers these frequencies are, from the last one."""
    h = len(theta)
    return theta[-1] ** (-h / (h - 1))


# -------------------------------------------------------------------------------- known numbers


@pytest.mark.parametrize(
    ("dim", "factor", "base"),
    [(128, 8, 82684.62264056221), (128, 4, 40889.94243248622), (64, 8, 85550.37588568537)],
)
def test_ntk_is_a_larger_base(dim, factor, base):
    scaled = ntk_frequencies(rotary_frequencies(10000.0, dim=dim), factor=factor)
    assert _base(scaled) == pytest.approx(base, rel=1e-14)
    np.testing.assert_allclose(scaled, rotary_frequencies(base, dim=dim), rtol=2e-15)


@pytest.mark.parametrize(
    ("length", "base"),
    [(2049, 10009.920711785855), (4096, 30527.7367488067), (8192, 72195.86008650938)],
)
def test_dynamic_base(length, base):
    scaled = dynamic_ntk_frequencies(THETA, factor=2.0, length=length, trained_length=2048)
    assert _base(scaled) == pytest.approx(base, rel=1e-13)


@pytest.mark.parametrize(
    ("factor", "exponent", "a"), [(12, 0.75, 0.10981839641754), (8, 0.625, 0.154555417287368)]
)
def test_mixed_radix_of_the_essay_and_its_code(factor, exponent, a):
    scaled = radix_frequencies(THETA, factor=factor, kind="mixed", exponent=exponent)
    m = np.arange(1, 65)
    np.testing.assert_allclose(np.log(THETA / scaled), a * m**exponent, rtol=1e-12)
    assert THETA[-1] / scaled[-1] == pytest.approx(factor, rel=1e-15)


def test_old_radix_is_the_base_times_the_factor():
    scaled = radix_frequencies(THETA, factor=8, kind="old")
    np.testing.assert_allclose(scaled, rotary_frequencies(80000.0, dim=128), rtol=2e-15)


def test_powers_are_those_of_mpmath():
    with mpmath.workdps(40):
        for scaled, exponents in (
            (ntk_frequencies(THETA, factor=1e6), [mpmath.mpf(i) / 63 for i in range(64)]),
            (
                radix_frequencies(THETA, factor=1e6, kind="fixed"),
                [mpmath.mpf(i + 1) / 64 for i in range(64)],
            ),
        ):
            for theta, plain, e in zip(scaled, THETA, exponents, strict=True):
                right = mpmath.mpf(float(plain)) * mpmath.mpf(10**6) ** -e
                assert abs(float(theta) - right) <= 2e-15 * right


def test_gemma_s_quarter():
    """A head of 512 with a quarter of its features: 64 pairs turn, by the frequencies of 512."""
    theta = rotary_frequencies(1000000.0, dim=512)
    kept = proportional_frequencies(theta, fraction=0.25)
    np.testing.assert_array_equal(kept[:64], 1000000.0 ** (-np.arange(64) / 256))
    assert not kept[64:].any()


# --------------------------------------------------------------------------------- limits and ends


@pytest.mark.parametrize(
    "scale",
    [
        lambda theta: linear_scaled_frequencies(theta, factor=1),
        lambda theta: ntk_frequencies(theta, factor=1),
        lambda theta: dynamic_ntk_frequencies(theta, factor=9, length=2048, trained_length=2048),
        lambda theta: dynamic_ntk_frequencies(theta, factor=9, length=0, trained_length=2048),
        lambda theta: radix_frequencies(theta, factor=1, kind="old"),
        lambda theta: radix_frequencies(theta, factor=1, kind="mixed", exponent=0.625),
        lambda theta: proportional_frequencies(theta, fraction=1),
    ],
)
def test_without_scaling_the_frequencies_are_the_plain_ones_to_the_bit(scale):
    np.testing.assert_array_equal(scale(THETA), THETA)


def test_lengths_differ_along_a_batch():
    lengths = np.array([100, 4096, 8192])
    scaled = dynamic_ntk_frequencies(THETA, factor=2.0, length=lengths, trained_length=2048)
    assert scaled.shape == (3, 64)
    for row, n in zip(scaled, lengths, strict=True):
        one = dynamic_ntk_frequencies(THETA, factor=2.0, length=n, trained_length=2048)
        np.testing.assert_array_equal(row, one)


def test_a_cache_of_rotated_keys_is_not_a_prefill():
    """What the docstring warns of: the same tokens one step later have other frequencies."""
    x = np.random.default_rng(9675).standard_normal((4, 128))

    def keys(length):
        theta = dynamic_ntk_frequencies(THETA, factor=4.0, length=length, trained_length=4)
        return rotary_embedding(x, np.arange(4), pairing="half", frequencies=theta)

    assert np.abs(keys(16) - keys(4)).max() > 0.5


def test_partial_rotation_has_other_frequencies_than_proportional():
    partial = rotary_frequencies(10000.0, dim=32)
    proportional = proportional_frequencies(THETA, fraction=0.25)[:16]
    assert partial[0] == proportional[0]
    assert np.abs(partial / proportional - 1)[1:].min() > 0.3


@pytest.mark.parametrize("dtype", ["float64", "longdouble"])
def test_extended_precision_stays(dtype):
    scaled = ntk_frequencies(THETA.astype(dtype), factor=8)
    assert scaled.dtype == dtype


# -------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("factor", [0.5, 0.0, -2.0, math.nan, math.inf])
@pytest.mark.parametrize(
    "scale",
    [
        linear_scaled_frequencies,
        ntk_frequencies,
        lambda t, factor: radix_frequencies(t, factor=factor, kind="fixed"),
        lambda t, factor: dynamic_ntk_frequencies(t, factor=factor, length=9, trained_length=4),
    ],
)
def test_factors_below_one_are_refused(scale, factor):
    with pytest.raises(ValueError, match="factor: expected finite numbers from 1 on"):
        scale(THETA, factor=factor)


def test_factors_that_lost_digits_are_refused():
    with pytest.raises(TypeError, match="factor: expected integers or float64"):
        linear_scaled_frequencies(THETA, factor=np.float32(8))
    with pytest.raises(TypeError, match="frequencies: expected integers or float64"):
        linear_scaled_frequencies(THETA.astype("float32"), factor=8)


def test_one_pair_has_no_first_and_last():
    with pytest.raises(ValueError, match="frequencies: expected at least two, got 1"):
        ntk_frequencies([1.0], factor=2)
    with pytest.raises(ValueError, match="frequencies: expected at least two, got 1"):
        dynamic_ntk_frequencies([1.0], factor=2, length=9, trained_length=4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": -1, "trained_length": 8}, "length: expected numbers of tokens"),
        ({"length": 1, "trained_length": 0}, "trained_length: expected a positive"),
        ({"length": 1, "trained_length": math.nan}, "trained_length: expected a positive"),
    ],
)
def test_wrong_lengths(options, message):
    with pytest.raises(ValueError, match=message):
        dynamic_ntk_frequencies(THETA, factor=2, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "new"}, "kind: expected one of 'old', 'fixed' or 'mixed', got 'new'"),
        ({"kind": "mixed"}, "exponent: expected"),
        ({"kind": "mixed", "exponent": -1.0}, "exponent: expected"),
        ({"kind": "old", "exponent": 0.75}, "exponent: expected"),
    ],
)
def test_wrong_radix(options, message):
    with pytest.raises(ValueError, match=message):
        radix_frequencies(THETA, factor=2, **options)


@pytest.mark.parametrize("fraction", [-0.1, 1.1, math.nan])
def test_wrong_fraction(fraction):
    with pytest.raises(ValueError, match="fraction: expected"):
        proportional_frequencies(THETA, fraction=fraction)
