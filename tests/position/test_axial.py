"""Rotation on several axes: axis strings, equalities, positions of images, bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest

from refimpl.position.axial import (
    axial_rotary_embedding,
    multimodal_axes,
    multimodal_rotary_embedding,
)
from refimpl.position.rotary import rotary_embedding

QWEN2 = {"pairing": "half", "sections": (16, 24, 24), "arrangement": "contiguous"}
QWEN3 = {"pairing": "half", "sections": (24, 20, 20), "arrangement": "interleaved"}


def _x(*shape, dtype="float64"):
    return np.random.default_rng(8397).standard_normal(shape).astype(dtype)


def _letters(sections, arrangement):
    return "".join("THW"[axis] for axis in multimodal_axes(sections, arrangement))


# ------------------------------------------------------------------------------------- sections


def test_axes_of_qwen():
    assert _letters((16, 24, 24), "contiguous") == "T" * 16 + "H" * 24 + "W" * 24
    assert _letters((24, 20, 20), "interleaved") == "THW" * 20 + "TTTT"
    assert _letters((11, 11, 10), "interleaved") == "THW" * 10 + "TH"
    assert _letters((3, 2, 1), "interleaved") == "THWTHT"


@pytest.mark.parametrize("options", [QWEN2, QWEN3])
@pytest.mark.parametrize("pairing", ["half", "interleaved"])
def test_text_is_rotated_as_text(options, pairing):
    x = _x(6, 128)
    options = options | {"pairing": pairing, "base": 1000000.0}
    text = np.broadcast_to(np.arange(100, 106), (3, 6))
    multimodal = multimodal_rotary_embedding(x, text, **options)
    plain = rotary_embedding(x, text[0], pairing=pairing, base=1000000.0)
    np.testing.assert_array_equal(multimodal, plain)


def test_tables_of_the_released_code():
    """Cosines and sines of all three axes, and slices of them put together."""
    x, at = _x(5, 128), np.random.default_rng(0).integers(0, 99, (3, 5))
    theta = 1000000.0 ** (-np.arange(64) / 64)
    phases = at[:, :, None] * theta
    rotated = np.concatenate([-x[:, 64:], x[:, :64]], axis=-1)
    contiguous = np.concatenate(
        [part[axis] for axis, part in enumerate(np.split(phases, [16, 40], axis=-1))], axis=-1
    )
    interleaved = phases[0].copy()
    for axis, offset in ((1, 1), (2, 2)):
        interleaved[:, offset:60:3] = phases[axis][:, offset:60:3]
    for options, phase in ((QWEN2, contiguous), (QWEN3, interleaved)):
        doubled = np.concatenate([phase, phase], axis=-1)
        expected = x * np.cos(doubled) + rotated * np.sin(doubled)
        found = multimodal_rotary_embedding(x, at, **options, base=1000000.0)
        np.testing.assert_allclose(found, expected, atol=1e-13)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sections": (16, 24, 23)}, "sections: expected a sum of d/2 for d = 128"),
        ({"sections": (64, 64)}, "sections: expected three numbers"),
        ({"sections": (70, -3, -3)}, "sections: expected three numbers"),
        ({"arrangement": "chunked"}, "arrangement: expected 'contiguous' .Qwen2-VL. or"),
        ({"arrangement": "interleaved", "sections": (10, 27, 27)}, "cannot be interleaved"),
        ({"frequencies": np.ones(3)}, "frequencies: expected 64, got 3"),
        ({"pairing": "neox"}, "pairing"),
    ],
)
def test_wrong_sections(options, message):
    with pytest.raises(ValueError, match=message):
        multimodal_rotary_embedding(_x(2, 128), np.zeros((3, 2)), **QWEN2 | options)


def test_three_rows_of_positions():
    with pytest.raises(ValueError, match="positions"):
        multimodal_rotary_embedding(_x(2, 128), np.zeros((2, 2)), **QWEN2)
    with pytest.raises(TypeError, match="positions: expected integers or float64"):
        multimodal_rotary_embedding(_x(2, 128), np.zeros((3, 2), "float32"), **QWEN2)
    with pytest.raises(ValueError, match="positions: expected finite numbers"):
        multimodal_rotary_embedding(_x(2, 128), np.full((3, 2), math.nan), **QWEN2)
    with pytest.raises(TypeError, match="needs .*arrangement"):
        multimodal_rotary_embedding(
            _x(2, 128), np.zeros((3, 2)), pairing="half", sections=(1, 1, 1)
        )


# ---------------------------------------------------------------------------------------- axial


@pytest.mark.parametrize("pairing", ["half", "interleaved"])
@pytest.mark.parametrize("split", ["features", "pairs"])
def test_one_axis_is_rotary_embedding(pairing, split):
    x = _x(5, 8)
    found = axial_rotary_embedding(x, np.arange(5)[None], pairing=pairing, split=split)
    np.testing.assert_array_equal(found, rotary_embedding(x, np.arange(5), pairing=pairing))


def test_interleaved_splits_are_the_same_and_half_ones_are_not():
    x, at = _x(5, 8), np.arange(10).reshape(2, 5)

    def both(pairing):
        return [
            axial_rotary_embedding(x, at, pairing=pairing, split=split)
            for split in ("features", "pairs")
        ]

    np.testing.assert_array_equal(*both("interleaved"))
    features, pairs = both("half")
    assert np.abs(features - pairs).max() > 0.5


def test_different_cells_are_different():
    """Injective: no two cells of a grid of 16 x 16 get the same rotation."""
    at = np.stack(np.divmod(np.arange(256), 16))
    y = axial_rotary_embedding(np.ones((256, 8)), at, pairing="half", split="pairs")
    gaps = np.abs(y[:, None] - y[None]).max(axis=-1) + np.eye(256)
    assert gaps.min() > 1e-3


@pytest.mark.parametrize("dtype", ["float16", "float32", "longdouble"])
def test_angles_are_those_of_float64(dtype):
    x = np.ones((1, 8), dtype)
    at = [[1_000_000], [3]]
    found = axial_rotary_embedding(x, at, pairing="interleaved", split="pairs")
    exact = axial_rotary_embedding(np.ones((1, 8)), at, pairing="interleaved", split="pairs")
    assert found.dtype == dtype
    np.testing.assert_allclose(found.astype(float), exact, atol=3 * np.finfo(dtype).eps + 1e-15)


def test_coordinates_must_be_finite():
    with pytest.raises(ValueError, match="positions: expected finite numbers"):
        axial_rotary_embedding(_x(1, 8), [[0.0], [math.inf]], pairing="half", split="pairs")


@pytest.mark.parametrize(
    ("d", "options", "message"),
    [
        (6, {}, "x: expected an even number of features for each of 2 axes, got 6"),
        (2, {}, "x: expected an even number of features for each of 2 axes, got 2"),
        (8, {"split": "heads"}, "split: expected"),
        (8, {"pairing": "gpt"}, "pairing: expected 'interleaved'"),
        (8, {"base": -1.0}, "base: expected (a )?positive finite number"),
    ],
)
def test_wrong_axes(d, options, message):
    options = {"pairing": "half", "split": "pairs"} | options
    with pytest.raises(ValueError, match=message):
        axial_rotary_embedding(_x(3, d), np.zeros((2, 3)), **options)


# ------------------------------------------------------------------------------------------ forms


def test_float32_angles_differ_where_they_should():
    """The baseline form makes the errors of float32 angles in float32, and none in float64."""
    at = np.full((3, 1), 8191)
    for dtype, low, high in (("float32", 1e-5, 1e-2), ("float64", 0.0, 1e-15)):
        x = np.ones((1, 128), dtype)
        plain = multimodal_rotary_embedding(x, at, **QWEN3)
        single = multimodal_rotary_embedding(x, at, **QWEN3, form="single_angles")
        assert low <= np.abs(plain - single).max() <= high
