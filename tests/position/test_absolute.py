"""Sinusoidal encodings: published numbers, Gram matrices, public code, bad input."""

from __future__ import annotations

import itertools
import math

import mpmath
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from refimpl.position.absolute import sinusoidal_encoding

PAPER = {"order": "sin_first", "layout": "interleaved", "frequencies": "paper"}
T2T = {"order": "sin_first", "layout": "half", "frequencies": "t2t"}


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
        ({"order": "sine"}, "order: expected .* got 'sine'"),
        ({"layout": "concat"}, "layout: expected .* got 'concat'"),
        ({"frequencies": "fairseq"}, "frequencies: expected .* got 'fairseq'"),
        ({"dim": 1}, "dim: expected a whole number from 2 on, got 1"),
        (
            {"dim": 3, "frequencies": "t2t"},
            "dim: expected a whole number from 4 on for 't2t', got 3",
        ),
        ({"dim": 4.5}, "dim: expected a whole number from 2 on, got 4.5"),
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
    with pytest.raises(TypeError, match="needs .*order"):
        sinusoidal_encoding([0], dim=4, layout="half", frequencies="t2t")
