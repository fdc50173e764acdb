"""Moments of a sample: agreement with NumPy, accuracy far from the origin, refused input."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from refimpl.gaussian.sample import sample_moments


def _exact(x, ddof):
    """Covariance in rational numbers, rounded once."""
    rows = [[Fraction(float(v)) for v in row] for row in x]
    n, d = x.shape
    mean = [sum(row[j] for row in rows) / n for j in range(d)]
    return np.array(
        [
            [
                float(sum((r[i] - mean[i]) * (r[j] - mean[j]) for r in rows) / (n - ddof))
                for j in range(d)
            ]
            for i in range(d)
        ]
    )


@pytest.mark.parametrize("ddof", [0, 1, 2])
@pytest.mark.parametrize(("n", "d"), [(4, 1), (5, 3), (3, 7), (200, 4)])
def test_agrees_with_numpy(n, d, ddof):
    x = np.random.default_rng(n).standard_normal((n, d))
    mean, cov = sample_moments(x, ddof=ddof)
    np.testing.assert_allclose(mean, x.mean(axis=0), rtol=1e-13, atol=1e-15)
    expected = np.cov(x, rowvar=False, ddof=ddof).reshape(d, d)
    np.testing.assert_allclose(cov, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("offset", [0.0, 1e4, 1e8, 1e12])
def test_a_mean_far_above_the_deviation_costs_no_digits(offset):
    x = offset + np.random.default_rng(0).standard_normal((50, 3))
    _, cov = sample_moments(x, ddof=1)
    np.testing.assert_allclose(cov, _exact(x, 1), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_low_precision_too(dtype):
    """float32: deviations of 1e-4 of the mean; float16: of a few units in its last place."""
    rng = np.random.default_rng(1)
    x = (1000 + 2 * rng.standard_normal((40, 3))).astype(dtype)
    _, cov = sample_moments(x, ddof=1)
    error = np.abs(cov.astype(float) - _exact(x, 1)).max()
    assert error <= 8 * np.finfo(dtype).eps * np.abs(cov).max()


def test_a_constant_sample_has_exactly_no_covariance():
    mean, cov = sample_moments(np.full((7, 2), 0.1), ddof=1)
    np.testing.assert_array_equal(mean, 0.1)
    np.testing.assert_array_equal(cov, 0.0)


def test_large_deviations_do_not_overflow_before_the_covariance_does():
    x = np.array([[-200.0], [200.0]] * 20, dtype=np.float16)
    _, cov = sample_moments(x, ddof=0)
    assert float(cov[0, 0]) == pytest.approx(40000, rel=2e-3)


def test_gradients_are_the_textbook_ones():
    rng = np.random.default_rng(2)
    x, g = rng.standard_normal((6, 3)), rng.standard_normal((3, 3))
    (dx,) = sample_moments.vjp((np.zeros(3), g), x, ddof=1)
    np.testing.assert_allclose(dx, (x - x.mean(axis=0)) @ (g + g.T) / 5, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(dx.sum(axis=0), 0.0, atol=1e-14)


@pytest.mark.parametrize(
    ("x", "ddof", "message"),
    [
        ([[1.0, 2.0]], 1, "x: expected more than ddof = 1 observations, got 1"),
        ([[1.0], [2.0]], 2, "x: expected more than ddof = 2 observations, got 2"),
        (np.zeros((0, 2)), 0, "x: expected more than ddof = 0 observations, got 0"),
        ([[1.0], [2.0]], -1, "ddof: expected a whole number"),
        ([[1.0], [2.0]], 0.5, "ddof: expected a whole number"),
        ([[1.0], [np.nan]], 1, "x: expected finite"),
        (np.zeros((3, 0)), 1, "x: expected at least one dimension"),
        ([1.0, 2.0], 1, "x needs at least 2 axes"),
    ],
)
def test_bad_input_is_refused_by_name(x, ddof, message):
    with pytest.raises(ValueError, match=message):
        sample_moments(x, ddof=ddof)


def test_whole_numbers_of_numpy_are_whole_numbers():
    mean, cov = sample_moments([[1.0], [3.0]], ddof=np.int64(1))
    assert (mean[0], cov[0, 0]) == (2.0, 2.0)


def test_ddof_has_no_default():
    with pytest.raises(TypeError, match="needs .*ddof"):
        sample_moments([[1.0], [2.0]])
