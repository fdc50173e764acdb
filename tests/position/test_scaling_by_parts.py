"""YaRN and Llama 3: published numbers, both ramps, attention factors, bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest

from refimpl.position.rotary import rotary_embedding, rotary_frequencies
from refimpl.position.scaling_by_parts import (
    llama3_frequencies,
    yarn_frequencies,
)

THETA = rotary_frequencies(10000.0, dim=128)
LLAMA = {"factor": 16.0, "trained_length": 4096}
INDEX = {"ramp": "index", "base": 10000.0}


# ---------------------------------------------------------------------------------------- YaRN


def test_published_frequencies_by_index():
    scaled, _ = yarn_frequencies(THETA, **LLAMA, **INDEX)
    published = [0.027061799207210167, 0.002379136375805323, 7.217387404309114e-06]
    np.testing.assert_allclose(scaled[[24, 36, 63]], published, rtol=1e-15)
    np.testing.assert_array_equal(scaled[:21], THETA[:21])
    np.testing.assert_array_equal(scaled[46:], THETA[46:] / 16)
    assert (scaled[21:46] < THETA[21:46]).all()


@pytest.mark.parametrize(
    ("dim", "base", "length", "low", "high"),
    [
        (128, 1e4, 4096, 20.9444816206, 45.0268812738),
        (128, 1e4, 2048, 16.1280016900, 40.2104013431),
        (64, 1.5e5, 4096, 8.092779115512402, 17.39802450158856),
        (64, 1e4, 4096, 10.4722408103, 22.5134406369),
    ],
)
def test_published_ends_of_the_ramp(dim, base, length, low, high):
    """Two pairs within the ramp give its line, and the line gives its ends."""
    theta = rotary_frequencies(base, dim=dim)
    options = {"trained_length": length, "ramp": "index", "base": base, "factor": 2.0}
    for truncate, ends in (
        (False, (low, high)),
        (True, (math.floor(low), math.ceil(high))),
    ):
        scaled, _ = yarn_frequencies(theta, truncate=truncate, **options)
        part = 2 - 2 * scaled / theta
        i = math.ceil(low) + 1
        slope = part[i + 1] - part[i]
        start = i - part[i] / slope
        np.testing.assert_allclose([start, start + 1 / slope], ends, rtol=1e-10)


@pytest.mark.parametrize(
    ("factor", "attention"),
    [
        (4, 1.138629436112),
        (8, 1.207944154168),
        (16, 1.277258872224),
        (32, 1.346573590280),
        (40, 1.368887945411),
    ],
)
@pytest.mark.parametrize("ramp", ["index", "turns"])
def test_published_attention_factors(ramp, factor, attention):
    _, found = yarn_frequencies(THETA, factor=factor, trained_length=4096, ramp=ramp, base=1e4)
    assert found == pytest.approx(attention, rel=1e-12)


def test_the_two_ramps_differ_by_up_to_a_factor_of_three():
    index, turns = (
        yarn_frequencies(THETA, **LLAMA, ramp=ramp, base=10000.0)[0] for ramp in ("index", "turns")
    )
    assert (index / turns).max() == pytest.approx(3.04141, rel=1e-5)
    assert (index / turns).min() == pytest.approx(0.97142, rel=1e-5)


def test_logits_get_the_squared_attention_factor():
    theta, attention = yarn_frequencies(THETA, **LLAMA, **INDEX)
    x = np.random.default_rng(0).standard_normal((4, 128))
    options = {"pairing": "half", "frequencies": theta}
    sharpened = rotary_embedding(x, range(4), attention_factor=float(attention), **options)
    plain = rotary_embedding(x, range(4), **options)
    np.testing.assert_allclose(sharpened @ sharpened.T, attention**2 * (plain @ plain.T))


def test_explicit_attention_factor_is_final():
    options = LLAMA | INDEX | {"attention_factor": 1.0}
    assert yarn_frequencies(THETA, **options)[1] == 1.0
    both = options | {"mscale": 1.0, "mscale_all_dim": 0.5}
    assert yarn_frequencies(THETA, **both)[1] == 1.0


def test_equal_mscales_cancel():
    """As in the issue of exllamav3: DeepSeek's own code has the rest in its softmax scale."""
    assert yarn_frequencies(THETA, **LLAMA, **INDEX, mscale=1.0, mscale_all_dim=1.0)[1] == 1.0
    with_zero = yarn_frequencies(THETA, **LLAMA, **INDEX, mscale=1.0, mscale_all_dim=0.0)
    assert with_zero[1] == yarn_frequencies(THETA, **LLAMA, **INDEX)[1]


@pytest.mark.parametrize("ramp", ["index", "turns"])
def test_factor_one_is_plain_rotation(ramp):
    scaled, attention = yarn_frequencies(
        THETA, factor=1, trained_length=4096, ramp=ramp, base=10000.0
    )
    np.testing.assert_allclose(scaled, THETA, rtol=2.3e-16)
    assert attention == 1.0


def test_ends_that_meet_are_moved_apart():
    """With the slow and fast ends close together, both may round to one pair: a step."""
    theta = 0.5 ** np.arange(8.0)
    options = {"trained_length": 2 * math.pi * 8.0, "slow": 1 / 3.9, "fast": 1 / 3.1}
    scaled, _ = yarn_frequencies(
        theta, factor=4.0, ramp="index", base=256.0, truncate=True, **options
    )
    part = (1 - scaled / theta) / 0.75
    np.testing.assert_allclose(part[:5], 0, atol=1e-15)
    np.testing.assert_allclose(part[5:], 1, rtol=1e-15)


def test_factors_broadcast_over_a_batch():
    scaled, attention = yarn_frequencies(
        THETA, factor=np.array([[2.0], [8.0]]), trained_length=4096, ramp="turns"
    )
    assert (scaled.shape, attention.shape) == ((2, 1, 64), (2, 1))
    scaled, attention = yarn_frequencies(np.stack([THETA] * 3), **LLAMA, **INDEX)
    assert (scaled.shape, attention.shape) == ((3, 64), (3,))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ramp": "linear"}, "ramp: expected 'turns' .paper. or 'index' .code., got 'linear'"),
        ({"base": None}, "base: expected a finite number above 1 for ramp='index', got None"),
        ({"base": 0.5}, "base: expected a finite number above 1"),
        ({"base": 500000.0}, "frequencies: expected powers of the base 500000.0"),
        ({"slow": 32.0, "fast": 1.0}, "slow.*: expected"),
        ({"slow": 0.0}, "slow.*: expected"),
        ({"mscale": 1.0}, "mscale, mscale_all_dim: expected both or none"),
        ({"mscale_all_dim": 1.0}, "mscale, mscale_all_dim: expected both or none"),
        ({"factor": 0.5}, "factor: expected finite numbers from 1 on"),
        ({"trained_length": -1}, "trained_length: expected a positive finite number"),
        ({"trained_length": 1}, "ramp would start at pair 0 and end at -12"),
    ],
)
def test_wrong_options_of_yarn(options, message):
    options = LLAMA | INDEX | options
    with pytest.raises(ValueError, match=message):
        yarn_frequencies(THETA, **options)
    with pytest.raises(ValueError, match=message):
        yarn_frequencies.vjp((THETA, 1.0), THETA, **options)


def test_ramp_has_no_default():
    with pytest.raises(TypeError, match="needs .*ramp"):
        yarn_frequencies(THETA, **LLAMA)


# -------------------------------------------------------------------------------------- Llama 3


def test_published_frequencies_of_llama_3_1():
    theta = rotary_frequencies(500000.0, dim=128)
    scaled = llama3_frequencies(theta, factor=8.0, trained_length=8192)
    assert (scaled == theta).sum() == 29
    assert (scaled == theta / 8).sum() == 29
    published = {
        29: 0.002166570763503359,
        31: 0.0008567514129196321,
        34: 0.0001785078127679964,
        35: 9.556212353964683e-05,
    }
    np.testing.assert_allclose(scaled[list(published)], list(published.values()), rtol=1e-14)


def test_published_frequencies_of_llama_3_2():
    theta = rotary_frequencies(500000.0, dim=64)
    scaled = llama3_frequencies(theta, factor=32.0, trained_length=8192)
    assert (scaled == theta).sum() == 15
    assert (scaled == theta / 32).sum() == 14
    published = [0.001290547928209264, 0.00042955679655936815, 9.70828780262767e-05]
    np.testing.assert_allclose(scaled[15:18], published, rtol=1e-14)


def test_llama_3_is_yarn_of_the_paper():
    theta = rotary_frequencies(500000.0, dim=128)
    scaled = llama3_frequencies(theta, factor=8.0, trained_length=8192)
    by_parts, _ = yarn_frequencies(
        theta, factor=8.0, trained_length=8192, ramp="turns", slow=1.0, fast=4.0
    )
    np.testing.assert_array_equal(scaled, by_parts)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"slow": 4.0, "fast": 1.0}, "slow.*: expected"),
        ({"trained_length": math.inf}, "trained_length: expected a positive finite number"),
        ({"factor": -8.0}, "factor: expected finite numbers from 1 on"),
    ],
)
def test_wrong_options_of_llama_3(options, message):
    with pytest.raises(ValueError, match=message):
        llama3_frequencies(THETA, **{"factor": 8.0, "trained_length": 8192} | options)
