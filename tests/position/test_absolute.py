"""Encodings of absolute position: published numbers, Gram matrices, tables, SciPy, bad input."""

from __future__ import annotations

import itertools
import math

import mpmath
import numpy as np
import pytest
import scipy.ndimage
from scipy.integrate import solve_ivp

from refimpl.position.absolute import (
    hierarchical_encoding,
    interpolated_encoding,
    learned_encoding,
    sinusoidal_encoding,
)

PAPER = {"order": "sin_first", "layout": "interleaved", "frequencies": "paper"}
T2T = {"order": "sin_first", "layout": "half", "frequencies": "t2t"}


# --------------------------------------------------------------------------------------- sinusoids


def test_published_rows():
    published = [
        [0.841470984807897, 0.54030230586814, 0.00999983333416666, 0.999950000416665],
        [0.141120008059867, -0.989992496600445, 0.0299955002024957, 0.999550033748988],
    ]
    np.testing.assert_allclose(sinusoidal_encoding([1, 3], dim=4, **PAPER), published, rtol=1e-14)


@pytest.mark.parametrize(
    ("dim", "published"),
    [
        (
            64,
            [32, 30.916831661619, 28.3038620041297, 22.4139119440845, 13.9060892588411]
            + [5.93180120292762, 0.111914133636339],
        ),
        (
            128,
            [64, 62.0936838057676, 57.3818605528238, 45.7205140669877, 30.5200590081035]
            + [14.0431598438467, -3.38261392448236],
        ),
    ],
)
def test_published_products(dim, published):
    p = sinusoidal_encoding([0, 1, 2, 8, 64, 512, 4096], dim=dim, **PAPER)
    np.testing.assert_allclose(p @ p[0], published, rtol=1e-13, atol=2e-12)


def test_gram_matrix_is_toeplitz_positive_and_of_rank_at_most_the_width():
    p = sinusoidal_encoding(np.arange(40), dim=12, **PAPER)
    gram = p @ p.T
    np.testing.assert_allclose(gram[1:, 1:], gram[:-1, :-1], rtol=0, atol=1e-13)
    np.testing.assert_allclose(np.diagonal(gram), 6.0, rtol=1e-14)
    eigenvalues = np.linalg.eigvalsh(gram)
    assert eigenvalues.min() > -1e-12
    assert (eigenvalues > 1e-10).sum() <= 12


def test_orders_and_layouts_are_permutations_and_t2t_is_none():
    k = np.arange(9)
    for dim in (4, 10):
        interleaved = sinusoidal_encoding(k, dim=dim, **PAPER)
        half = sinusoidal_encoding(k, dim=dim, **PAPER | {"layout": "half"})
        perm = [*range(0, dim, 2), *range(1, dim, 2)]
        np.testing.assert_array_equal(half, interleaved[:, perm])
        turned = sinusoidal_encoding(k, dim=dim, **PAPER | {"order": "cos_first"})
        swapped = np.stack([interleaved[:, 1::2], interleaved[:, ::2]], -1).reshape(9, dim)
        np.testing.assert_array_equal(turned, swapped)
    t2t = sinusoidal_encoding(k, dim=10, **T2T)
    assert np.abs(np.sort(t2t[5]) - np.sort(half[5])).max() > 0.01


@pytest.mark.parametrize("dim", [4, 5, 8, 9, 64])
def test_t2t_is_its_public_code(dim):
    """get_timing_signal_1d of tensor2tensor: logarithms, halves, a padded column."""
    pairs = dim // 2
    increment = math.log(10000.0) / max(pairs - 1, 1)
    scaled = np.arange(20)[:, None] * np.exp(np.arange(pairs) * -increment)
    signal = np.concatenate([np.sin(scaled), np.cos(scaled)], axis=1)
    signal = np.pad(signal, [[0, 0], [0, dim % 2]])
    found = sinusoidal_encoding(np.arange(20), dim=dim, **T2T)
    np.testing.assert_allclose(found, signal, rtol=0, atol=2e-14)


def test_odd_width_has_one_more_of_what_is_first():
    p = sinusoidal_encoding([2], dim=5, **PAPER)[0]
    theta = 10000.0 ** (-2 * np.arange(3) / 5)
    expected = [np.sin(2), np.cos(2), *(f(2 * theta[1]) for f in (np.sin, np.cos))]
    np.testing.assert_allclose(p, [*expected, np.sin(2 * theta[2])], rtol=1e-14)
    half = sinusoidal_encoding([2], dim=5, **PAPER | {"layout": "half", "order": "cos_first"})[0]
    np.testing.assert_allclose(half, [*np.cos(2 * theta), *np.sin(2 * theta[:2])], rtol=1e-14)


def test_a_linear_differential_equation_has_it_as_its_solution():
    """FLOATER's: dp/dt = A p with blocks theta [[0, 1], [-1, 0]] and p(0) = (0, 1, 0, 1)."""
    theta = np.repeat([1.0, 0.01], 2)

    def slope(t, p):
        return theta * np.array([p[1], -p[0], p[3], -p[2]])

    found = solve_ivp(slope, (0, 5), [0.0, 1.0, 0.0, 1.0], rtol=1e-11, atol=1e-12, t_eval=[1, 3, 5])
    encoded = sinusoidal_encoding([1, 3, 5], dim=4, **PAPER)
    np.testing.assert_allclose(found.y.T, encoded, rtol=0, atol=1e-8)


def test_encodings_beside_the_features_are_encodings_added_behind_a_matrix():
    """[x ; p] [W_x ; W_p] = x W_x + p W_p: with W_p the identity it is the addition itself."""
    rng = np.random.default_rng(8130)
    x, p = rng.standard_normal((9, 6)), sinusoidal_encoding(np.arange(9), dim=8, **PAPER)
    w_x, w_p = rng.standard_normal((6, 8)), rng.standard_normal((8, 8))
    joined = np.concatenate([x, p], axis=-1)
    stacked = np.concatenate([w_x, w_p], axis=0)
    np.testing.assert_allclose(joined @ stacked, x @ w_x + p @ w_p, rtol=0, atol=1e-13)
    plain = np.concatenate([w_x, np.eye(8)], axis=0)
    np.testing.assert_allclose(joined @ plain, x @ w_x + p, rtol=0, atol=1e-13)


def test_all_positions_to_8191_are_distinct():
    assert len(np.unique(sinusoidal_encoding(np.arange(8192), dim=64, **PAPER), axis=0)) == 8192


@pytest.mark.parametrize("position", [10**6, 2**31])
def test_stated_error_far_out(position):
    p = sinusoidal_encoding([position], dim=64, **PAPER)[0]
    with mpmath.workdps(50):
        for i in range(32):
            theta = mpmath.mpf(10000) ** (-mpmath.mpf(2 * i) / 64)
            error = abs(p[2 * i] - mpmath.sin(position * theta))
            assert error <= 2 * position * theta * mpmath.mpf(2) ** -53 + mpmath.mpf(2) ** -52


def test_gradient_by_differences():
    k, rng = np.array([0.5, -3.25, 7.0]), np.random.default_rng(0)
    choices = itertools.product(
        ("sin_first", "cos_first"), ("interleaved", "half"), ("paper", "t2t")
    )
    for (order, layout, frequencies), dim in itertools.product(choices, (8, 9)):
        options = {"dim": dim, "order": order, "layout": layout, "frequencies": frequencies}
        g = rng.standard_normal((3, dim))
        (dk,) = sinusoidal_encoding.vjp(g, k, **options)
        ahead, behind = (sinusoidal_encoding(k + s, **options) for s in (1e-5, -1e-5))
        np.testing.assert_allclose(dk, (g * (ahead - behind)).sum(axis=-1) / 2e-5, atol=1e-8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": "sine"}, "order: expected one of .* got 'sine'"),
        ({"layout": "concat"}, "layout: expected one of .* got 'concat'"),
        ({"frequencies": "fairseq"}, "frequencies: expected one of .* got 'fairseq'"),
        ({"dim": 1}, "dim: expected an integer from 2 on, got 1"),
        ({"dim": 3, "frequencies": "t2t"}, "dim: expected an integer from 4 on, got 3"),
        ({"dim": 4.5}, "dim: expected an integer from 2 on, got 4.5"),
        ({"base": 0.0}, "base: expected a positive finite number"),
        ({"base": math.inf}, "base: expected a positive finite number"),
    ],
)
def test_bad_choices(options, message):
    with pytest.raises(ValueError, match=message):
        sinusoidal_encoding([0], **{"dim": 8} | PAPER | options)


def test_bad_positions():
    with pytest.raises(TypeError, match="positions: expected integers or float64"):
        sinusoidal_encoding(np.zeros(2, "float16"), dim=4, **PAPER)
    with pytest.raises(ValueError, match="positions: expected finite"):
        sinusoidal_encoding([math.nan], dim=4, **PAPER)
    with pytest.raises(TypeError, match="order has no default"):
        sinusoidal_encoding([0], dim=4, layout="half", frequencies="t2t")


# ------------------------------------------------------------------------------------------ tables


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
        ((3, 2), {"length": 0}, "length: expected a positive integer, got 0"),
        ((3, 2), {"length": 2.5}, "length: expected a positive integer, got 2.5"),
        ((3, 2), {"kernel": "area"}, "kernel: expected 'linear' or 'cubic', got 'area'"),
        ((0, 2), {}, "table: expected at least one row"),
    ],
)
def test_bad_interpolations(shape, options, message):
    with pytest.raises(ValueError, match=message):
        interpolated_encoding(np.zeros(shape), **{"length": 4, "align_corners": True} | options)
    with pytest.raises(TypeError, match="align_corners has no default"):
        interpolated_encoding(np.zeros((3, 2)), length=4)
