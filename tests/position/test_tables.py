"""Encodings from tables: rows and offsets, digits, NumPy, SciPy, bad input."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.ndimage

from refimpl.position.tables import (
    hierarchical_encoding,
    interpolated_encoding,
    learned_encoding,
)


@pytest.mark.parametrize(("position", "offset"), [(4, 0), (3, 2), (-1, 0), (-3, 2)])
def test_a_position_without_a_row_is_refused(position, offset):
    message = f"expected {-offset} to {3 - offset} for a table of 4 rows.* got .*{position}"
    with pytest.raises(IndexError, match=message):
        learned_encoding(np.zeros((4, 2)), [0, position], offset=offset)


def test_padded_sequences_have_the_rows_of_unpadded_ones():
    """With the positions that a mask counts, on either side of the padding."""
    table = np.random.default_rng(0).standard_normal((8, 3))
    mask = np.array([[0, 0, 1, 1, 1], [1, 1, 1, 0, 0]])
    positions = np.maximum(np.cumsum(mask, axis=-1) - 1, 0)
    encoded = learned_encoding(table, positions)
    for row, kept in zip(encoded, mask.astype(bool), strict=True):
        np.testing.assert_array_equal(row[kept], table[:3])


def test_gradient_in_half_precision_adds_up_duplicates_exactly():
    (dtable,) = learned_encoding.vjp(
        np.ones((5000, 1), "float16"), np.zeros((2, 1), "float16"), np.zeros(5000, int)
    )
    assert (dtable.dtype, dtable[0, 0]) == (np.float16, np.float16(5000))


def test_nine_positions_of_three():
    found = hierarchical_encoding([[1.0], [2.0], [4.0]], np.arange(9)).ravel()
    np.testing.assert_allclose(found, [1, 2, 4, 5 / 3, 8 / 3, 14 / 3, 3, 4, 6], rtol=1e-15)


def test_an_alpha_of_a_half_would_make_two_positions_one():
    table = np.random.default_rng(0).standard_normal((4, 3))
    close = hierarchical_encoding(table, [1, 4], alpha=0.5 + 1e-9)
    assert np.abs(close[0] - close[1]).max() < 1e-8
    for alpha in (0.0, 0.5, 1.0, -0.1, math.nan):
        with pytest.raises(ValueError, match="alpha: expected numbers in .0, 1. other than 1/2"):
            hierarchical_encoding(table, [0], alpha=alpha)


def test_hierarchy_ends():
    for position in (16, -1):
        with pytest.raises(IndexError, match=f"positions: expected 0 to 15, got .*{position}"):
            hierarchical_encoding(np.zeros((4, 2)), [0, position])


def test_gradients_of_the_hierarchy_by_differences():
    rng = np.random.default_rng(0)
    table, g, k = (
        rng.standard_normal((3, 2)),
        rng.standard_normal((5, 2)),
        np.array([0, 2, 5, 7, 8]),
    )
    dtable, dalpha = hierarchical_encoding.vjp(g, table, k, alpha=np.array(0.3))

    def loss(table, alpha):
        return (g * hierarchical_encoding(table, k, alpha=alpha)).sum()

    difference = (loss(table, 0.3 + 1e-6) - loss(table, 0.3 - 1e-6)) / 2e-6
    assert dalpha == pytest.approx(difference, rel=1e-8)
    for r, c in itertools.product(range(3), range(2)):
        step = np.zeros((3, 2))
        step[r, c] = 1e-6
        difference = (loss(table + step, 0.3) - loss(table - step, 0.3)) / 2e-6
        assert dtable[r, c] == pytest.approx(difference, rel=1e-7, abs=1e-9)


# ----------------------------------------------------------------------------------- interpolation


@pytest.mark.parametrize("length", [2, 5, 7, 20])
@pytest.mark.parametrize("align_corners", [True, False])
def test_linear_interpolation_is_numpys(align_corners, length):
    table = np.random.default_rng(0).standard_normal((7, 2))
    k = np.arange(length)
    x = k * 6 / (length - 1) if align_corners else (k + 0.5) * 7 / length - 0.5
    expected = np.stack([np.interp(x, np.arange(7), c) for c in table.T], axis=-1)
    found = interpolated_encoding(table, length=length, align_corners=align_corners)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)


def test_linear_interpolation_is_scipys_zoom():
    table = np.random.default_rng(0).standard_normal((6, 3))
    for align_corners in (True, False):
        found = interpolated_encoding(table, length=9, align_corners=align_corners)
        zoomed = scipy.ndimage.zoom(
            table, (1.5, 1), order=1, mode="nearest", grid_mode=not align_corners
        )
        np.testing.assert_allclose(found, zoomed, rtol=0, atol=1e-14)


def test_pytorchs_bicubic_weights_at_a_quarter():
    """Doubling has places at a quarter: -0.10546875, 0.87890625, 0.26171875, -0.03515625."""
    table = np.eye(8)
    found = interpolated_encoding(table, length=16, align_corners=False, kernel="cubic")
    expected = [-0.03515625, 0.26171875, 0.87890625, -0.10546875]
    np.testing.assert_array_equal(found[8, 2:6], expected)


def test_a_parabola_is_kept_by_the_cubic_of_keys():
    """For a = -1/2 the error is of third order; for -3/4 it is not."""
    table = (np.arange(9.0) ** 2)[:, None]
    x = np.linspace(0, 8, 17)
    found = {
        a: interpolated_encoding(table, length=17, align_corners=True, kernel="cubic", cubic=a)
        for a in (-0.5, -0.75)
    }
    np.testing.assert_allclose(found[-0.5][2:-2, 0], x[2:-2] ** 2, rtol=0, atol=1e-13)
    assert np.abs(found[-0.75][2:-2, 0] - x[2:-2] ** 2).max() > 0.05


def test_a_grid_is_interpolated_axis_by_axis():
    grid = np.random.default_rng(0).standard_normal((4, 5, 3))
    rows = interpolated_encoding(grid.swapaxes(0, 1), length=8, align_corners=False).swapaxes(0, 1)
    found = interpolated_encoding(rows, length=10, align_corners=False)
    zoomed = scipy.ndimage.zoom(grid, (2, 2, 1), order=1, mode="nearest", grid_mode=True)
    np.testing.assert_allclose(found, zoomed, rtol=0, atol=1e-14)


def test_a_row_that_is_not_finite_stays_next_to_its_positions():
    table = np.ones((6, 1))
    table[4] = np.nan
    for kernel, reach in (("linear", 1), ("cubic", 2)):
        options = {"length": 11, "align_corners": True, "kernel": kernel}
        is_nan = np.isnan(interpolated_encoding(table, **options)[:, 0])
        np.testing.assert_array_equal(
            np.flatnonzero(is_nan),
            [k for k in range(11) if k == 8 or k % 2 and abs(k / 2 - 4) < reach],
        )
        g = np.ones((11, 1))
        g[0] = np.inf
        (dtable,) = interpolated_encoding.vjp(g, np.ones((6, 1)), **options)
        assert np.isinf(dtable[0]) and np.isfinite(dtable[1:]).all()


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((3, 2), {"length": 0}, "length: expected a positive whole number, got 0"),
        ((3, 2), {"length": 2.5}, "length: expected a positive whole number, got 2.5"),
        ((3, 2), {"kernel": "area"}, "kernel: expected 'linear' or 'cubic', got 'area'"),
        ((0, 2), {}, "table: expected at least one row"),
    ],
)
def test_bad_interpolations(shape, options, message):
    with pytest.raises(ValueError, match=message):
        interpolated_encoding(np.zeros(shape), **{"length": 4, "align_corners": True} | options)
    with pytest.raises(TypeError, match="needs .*align_corners"):
        interpolated_encoding(np.zeros((3, 2)), length=4)
