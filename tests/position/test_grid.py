"""Sinusoids of positions in a grid: public codes written out, grids, products, bad input."""

from __future__ import annotations

import numpy as np
import pytest

from refimpl.position.absolute import sinusoidal_encoding
from refimpl.position.grid import grid_sinusoidal_encoding

MAE = {"first": "columns", "order": "sin_first", "layout": "half", "frequencies": "paper"}
DETR = MAE | {"first": "rows", "layout": "interleaved"}


def _grid(height, width):
    return np.indices((height, width)).reshape(2, -1)


# ------------------------------------------------------------------------------------ public codes


def test_as_in_mae():
    """A mesh whose first member is of columns, and halves of sines and cosines."""
    omega = 1.0 / 10000 ** (np.arange(4) / 4.0)
    mesh = np.stack(np.meshgrid(np.arange(5.0), np.arange(3.0))).reshape(2, -1)
    halves = [np.concatenate([np.sin(p), np.cos(p)], 1) for p in mesh[:, :, None] * omega]
    found = grid_sinusoidal_encoding(*_grid(3, 5), dim=16, **MAE)
    np.testing.assert_allclose(found, np.concatenate(halves, 1), rtol=0, atol=1e-15)


def test_as_in_the_simple_vit():
    """Sines and cosines of x, then of y, with frequencies from 1 to exactly 1/10000."""
    omega = 1.0 / 10000 ** (np.arange(6) / 5)
    y, x = (axis.reshape(-1, 1) * omega for axis in np.mgrid[:3, :4])
    expected = np.concatenate([np.sin(x), np.cos(x), np.sin(y), np.cos(y)], 1)
    found = grid_sinusoidal_encoding(*_grid(3, 4), dim=24, **MAE | {"frequencies": "t2t"})
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-15)


def test_as_in_detr():
    """Counted from 1, divided by the last and by 1e-6 more, times 2 pi: y first, interleaved."""
    height, width, d = 3, 4, 8
    y, x = (axis + 1.0 for axis in np.mgrid[:height, :width])
    y, x = (2 * np.pi * a / (last + 1e-6) for a, last in ((y, height), (x, width)))
    t = 10000.0 ** (2 * (np.arange(d) // 2) / d)
    parts = []
    for a in (y, x):
        angles = a[..., None] / t
        pairs = np.stack([np.sin(angles[..., 0::2]), np.cos(angles[..., 1::2])], axis=-1)
        parts.append(pairs.reshape(height * width, d))
    found = grid_sinusoidal_encoding(y.ravel(), x.ravel(), dim=2 * d, **DETR)
    np.testing.assert_allclose(found, np.concatenate(parts, 1), rtol=0, atol=1e-14)


def test_moco_has_rows_first_whatever_it_calls_them():
    """Its mesh is indexed ij, with the width first: of a square grid that is the row."""
    omega = 1.0 / 10000.0 ** (np.arange(2) / 2)
    grid_w, grid_h = np.meshgrid(np.arange(3.0), np.arange(3.0), indexing="ij")
    w, h = (g.reshape(-1, 1) * omega for g in (grid_w, grid_h))
    expected = np.concatenate([np.sin(w), np.cos(w), np.sin(h), np.cos(h)], 1)
    found = grid_sinusoidal_encoding(*_grid(3, 3), dim=8, **MAE | {"first": "rows"})
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-15)


# -------------------------------------------------------------------------------------- structure


@pytest.mark.parametrize("dim", [4, 10, 64])
@pytest.mark.parametrize("layout", ["half", "interleaved"])
def test_halves_are_sinusoids_of_half_the_width(dim, layout):
    rows, columns = _grid(6, 7)
    options = {"order": "sin_first", "layout": layout, "frequencies": "paper", "base": 500.0}
    found = grid_sinusoidal_encoding(rows, columns, dim=dim, first="rows", **options)
    parts = [sinusoidal_encoding(x, dim=dim // 2, **options) for x in (rows, columns)]
    np.testing.assert_array_equal(found, np.concatenate(parts, axis=1))
    turned = grid_sinusoidal_encoding(rows, columns, dim=dim, first="columns", **options)
    np.testing.assert_array_equal(turned, np.concatenate(parts[::-1], axis=1))
    assert np.abs(turned - found).max() > 0.5


def test_products_are_sums_over_axes():
    """They depend on both differences, and moving the grid changes none."""
    rows, columns = _grid(4, 5)
    p = grid_sinusoidal_encoding(rows, columns, dim=32, **MAE)
    theta = 10000.0 ** (-2 * np.arange(8) / 16)
    across, down = (x[:, None] - x[None, :] for x in (columns, rows))
    expected = np.cos(across[..., None] * theta).sum(-1) + np.cos(down[..., None] * theta).sum(-1)
    np.testing.assert_allclose(p @ p.T, expected, rtol=0, atol=1e-13)
    moved = grid_sinusoidal_encoding(rows + 100, columns - 30, dim=32, **MAE)
    np.testing.assert_allclose(moved @ moved.T, expected, rtol=0, atol=1e-12)


def test_half_of_the_features_are_constant_along_a_row():
    p = grid_sinusoidal_encoding(*_grid(4, 5), dim=16, **MAE).reshape(4, 5, 16)
    assert (p[:, :, 8:] == p[:, :1, 8:]).all()
    assert (p[:, :, :8] == p[:1, :, :8]).all()
    assert len(np.unique(p.reshape(20, 16), axis=0)) == 20


def test_positions_of_one_axis_may_be_shared_by_a_batch():
    rows, columns = np.arange(6), np.arange(18.0).reshape(3, 6)
    found = grid_sinusoidal_encoding(rows, columns, dim=8, **DETR)
    assert found.shape == (3, 6, 8)
    alone = grid_sinusoidal_encoding(rows, columns[2], dim=8, **DETR)
    np.testing.assert_array_equal(found[2], alone)
    g = np.random.default_rng(0).standard_normal((3, 6, 8))
    of_rows, of_columns = grid_sinusoidal_encoding.vjp(g, 1.0 * rows, columns, dim=8, **DETR)
    assert of_rows.shape == (6,)
    assert of_columns.shape == (3, 6)


def test_a_grid_in_the_other_direction_shows_only_if_it_is_not_square():
    """Exchanged axes of a square grid are the same set of rows; of another they collide or lack."""
    square, wide = _grid(3, 3), _grid(2, 4)
    p, q = (grid_sinusoidal_encoding(*x, dim=8, **MAE) for x in (square, square[::-1]))
    np.testing.assert_array_equal(np.unique(p, axis=0), np.unique(q, axis=0))
    p, q = (grid_sinusoidal_encoding(*x, dim=8, **MAE) for x in (wide, wide[::-1]))
    assert not np.array_equal(np.unique(p, axis=0), np.unique(q, axis=0))


# ------------------------------------------------------------------------------------------- input


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"dim": 7}, "dim: expected an even number from 2 on, got 7"),
        ({"dim": 2}, "dim: expected an even number from 4 on, got 2"),
        ({"dim": 6, "frequencies": "t2t"}, "dim: expected an even number from 8 on, got 6"),
        ({"first": "height"}, "first: expected 'rows' or 'columns', got 'height'"),
        ({"layout": "halves"}, "layout: expected .* got 'halves'"),
        ({"base": 0.0}, "base: expected a positive finite number, got 0.0"),
    ],
)
def test_bad_options(wrong, message):
    with pytest.raises(ValueError, match=message):
        grid_sinusoidal_encoding([0], [0], **{"dim": 8} | MAE | wrong)


def test_bad_input():
    with pytest.raises(TypeError, match="needs .*first"):
        grid_sinusoidal_encoding(
            [0], [0], dim=8, order="sin_first", layout="half", frequencies="paper"
        )
    with pytest.raises(TypeError, match="columns: expected integers or float64"):
        grid_sinusoidal_encoding([0], np.zeros(1, np.float32), dim=8, **MAE)
    with pytest.raises(ValueError, match="columns: expected finite numbers"):
        grid_sinusoidal_encoding([0], [np.nan], dim=8, **MAE)
    with pytest.raises(ValueError, match="columns axis 'n': expected 2 .* got 3"):
        grid_sinusoidal_encoding([0, 1], [0, 1, 2], dim=8, **MAE)
