"""Frechet distance of samples: known values, and the inputs on which FID code fails."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from scipy.linalg import sqrtm

from refimpl.gaussian.frechet import frechet_distance
from refimpl.gaussian.transport import wasserstein_squared

SQUARE = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])


def _features(rng, n, d):
    """Correlated and rectified, as a network's."""
    mix = rng.standard_normal((d, d)) / np.sqrt(d)
    return np.maximum(rng.standard_normal((n, d)) @ mix, 0.0)


def _nuclear(x, y, ddof=1):
    """The definition with singular values, for well separated samples."""
    gap = x.mean(axis=0) - y.mean(axis=0)
    s, t = ((z - z.mean(axis=0)).T / np.sqrt(len(z) - ddof) for z in (x, y))
    cross = np.linalg.svd(s.T @ t, compute_uv=False).sum()
    return gap @ gap + (s * s).sum() + (t * t).sum() - 2 * cross


@pytest.mark.parametrize(
    ("y", "value"),
    [
        ([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0]], 0.44934694810461591),
        ([[0.0, 0.0], [2.0, 2.0]], 31 / 6 - 4 / np.sqrt(3)),
    ],
)
@pytest.mark.parametrize("form", frechet_distance.forms)
def test_known_values_to_17_digits(y, value, form):
    # The roots of the textbook form lose half of the digits where y has one direction only.
    accuracy = 1e-15 if form == "plain" or len(y) > 2 else 1e-7
    assert frechet_distance(SQUARE, y, ddof=1, form=form) == pytest.approx(value, rel=accuracy)


@pytest.mark.parametrize("ddof", [0, 1])
def test_full_rank_agrees_with_the_moments_and_with_scipy(ddof):
    rng = np.random.default_rng(0)
    x, y = _features(rng, 60, 8), _features(rng, 50, 8) + 0.5
    moments = [f(z) for z in (x, y) for f in (lambda z: z.mean(axis=0), lambda z: _cov(z, ddof))]
    value = frechet_distance(x, y, ddof=ddof)
    assert value == pytest.approx(wasserstein_squared(*moments), rel=1e-12)
    root = sqrtm(moments[1] @ moments[3])
    gap = moments[0] - moments[2]
    fid = gap @ gap + np.trace(moments[1] + moments[3] - 2 * root.real)
    assert value == pytest.approx(fid, rel=1e-10)


def _cov(samples, ddof):
    return np.cov(samples, rowvar=False, ddof=ddof)


@pytest.mark.parametrize(("d", "n"), [(128, 40), (64, 30), (20, 7)])
def test_fewer_samples_than_dimensions(d, n):
    """Where roots of the product's eigenvalues, which are rounding errors, cost 8 digits."""
    rng = np.random.default_rng(d)
    x, y = _features(rng, n, d), 1.5 * _features(rng, n + 3, d)
    exact = _nuclear(x, y)
    assert frechet_distance(x, y, ddof=1) == pytest.approx(exact, rel=1e-13)


@pytest.mark.parametrize(("d", "n"), [(60, 20), (20, 60), (5, 1000), (1, 2)])
def test_the_same_samples_twice_are_at_distance_zero(d, n):
    x = _features(np.random.default_rng(n), n, d)
    assert frechet_distance(x, x.copy(), ddof=1) == 0.0
    for gradient in frechet_distance.vjp(1.0, x, x.copy(), ddof=1):
        np.testing.assert_array_equal(gradient, 0.0)


def test_the_same_samples_in_another_order_are_at_distance_zero_up_to_rounding():
    x = _features(np.random.default_rng(1), 30, 60)
    value = frechet_distance(x, x[::-1], ddof=1)
    assert 0.0 <= value < 1e-28 * (x * x).sum()


def test_means_far_from_the_origin_cost_no_digits():
    """At 1e4 deviations; X^T X - n m m^T, as torchmetrics accumulates, loses 8 digits there."""
    rng = np.random.default_rng(2)
    x = np.round(2**20 * rng.standard_normal((50, 4))) / 2**20
    y = np.round(2**20 * rng.standard_normal((40, 4))) / 2**20
    near = frechet_distance(x, y, ddof=1)
    far = frechet_distance(x + 10000, y + 10000, ddof=1)
    assert far == pytest.approx(near, rel=1e-14)


@pytest.mark.parametrize("step", [1e-4, 1e-8])
def test_samples_that_moved_a_little_keep_their_digits(step):
    rng = np.random.default_rng(3)
    x = rng.standard_normal((9, 3))
    y = x + step * rng.standard_normal(x.shape)
    with mpmath.workdps(60):
        means, covs = zip(*(_moments(z.tolist()) for z in (x, y)), strict=True)
        gap = mpmath.fsum((a - b) ** 2 for a, b in zip(*means, strict=True))
        eigenvalues = mpmath.eig(covs[0] * covs[1], left=False, right=False)
        roots = mpmath.fsum(mpmath.sqrt(abs(mpmath.re(v))) for v in eigenvalues)
        exact = gap + mpmath.fsum(c[i, i] for c in covs for i in range(3)) - 2 * roots
    assert abs(frechet_distance(x, y, ddof=1) - exact) <= 1e-13 * exact


def _moments(rows):
    rows = mpmath.matrix(rows)
    n = rows.rows
    mean = [mpmath.fsum(rows[:, j]) / n for j in range(rows.cols)]
    centred = mpmath.matrix([[rows[i, j] - mean[j] for j in range(rows.cols)] for i in range(n)])
    return mean, centred.T * centred / (n - 1)


def test_the_bias_of_equal_populations_falls_with_the_number_of_samples():
    """Its mean over draws is positive and about c/n: a few samples against four times as many."""
    rng = np.random.default_rng(4)
    few, many = (
        np.mean(
            frechet_distance(
                rng.standard_normal((200, n, 3)), rng.standard_normal((200, n, 3)), ddof=1
            )
        )
        for n in (50, 200)
    )
    assert 3 < few / many < 5


def test_the_divisor_is_the_one_that_is_named():
    x, y = [[0.0], [2.0]], [[0.0], [0.0]]
    assert frechet_distance(x, y, ddof=0) == pytest.approx(1 + 1, rel=1e-15)
    assert frechet_distance(x, y, ddof=1) == pytest.approx(1 + 2, rel=1e-15)


def test_a_float32_computation_is_as_good_as_its_inputs():
    rng = np.random.default_rng(5)
    x, y = (_features(rng, n, 64).astype(np.float32) for n in (30, 40))
    exact = frechet_distance.oracle(x, y, ddof=1)
    single = frechet_distance(x, y, ddof=1)
    assert single.dtype == np.float32
    assert single == pytest.approx(exact, rel=1e-5)


def test_sets_broadcast():
    rng = np.random.default_rng(6)
    x, y = rng.standard_normal((5, 1, 6, 3)), rng.standard_normal((2, 4, 3))
    value = frechet_distance(x, y, ddof=1)
    assert value.shape == (5, 2)
    assert value[3, 1] == pytest.approx(frechet_distance(x[3, 0], y[1], ddof=1), rel=1e-13)
    gradients = frechet_distance.vjp(np.ones(value.shape), x, y, ddof=1)
    assert [g.shape for g in gradients] == [x.shape, y.shape]


def test_gradient_moves_every_sample_by_the_optimal_map():
    """With ddof = 0 the gradient in x_i is 2/n (x_i - T(x_i)), T the map between the moments."""
    rng = np.random.default_rng(7)
    x, y = rng.standard_normal((12, 3)), 2 * rng.standard_normal((12, 3)) + 1
    cov_x, cov_y = _cov(x, 0), _cov(y, 0)
    root = sqrtm(cov_x)
    inverse = np.linalg.inv(root)
    a = inverse @ sqrtm(root @ cov_y @ root) @ inverse
    images = y.mean(axis=0) + (x - x.mean(axis=0)) @ a
    dx, _ = frechet_distance.vjp(1.0, x, y, ddof=0)
    np.testing.assert_allclose(dx, 2 * (x - images) / 12, rtol=1e-10, atol=1e-13)


# --------------------------------------------------------------------------------------- bad input


def test_the_divisor_has_no_default():
    with pytest.raises(TypeError, match="needs .*ddof"):
        frechet_distance(SQUARE, SQUARE)
    with pytest.raises(ValueError, match="ddof: expected 0 or 1, got 2"):
        frechet_distance(SQUARE, SQUARE, ddof=2)


@pytest.mark.parametrize("place", range(2))
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (SQUARE[:1], "expected at least 2 samples"),
        (SQUARE[:0], "expected at least 2 samples"),
        (np.where(SQUARE == 1, np.nan, SQUARE), "expected finite numbers"),
    ],
)
def test_bad_samples_are_refused_by_name(place, bad, message):
    sets = [SQUARE, SQUARE]
    sets[place] = bad
    with pytest.raises(ValueError, match=f"{'xy'[place]}: {message}"):
        frechet_distance(*sets, ddof=0)


def test_no_dimension_is_refused():
    with pytest.raises(ValueError, match="x: expected at least 2 samples and a dimension"):
        frechet_distance(np.zeros((3, 0)), np.zeros((3, 0)), ddof=1)
