"""Sliced distance: the mean over all directions, accuracy, singular covariances, bad input."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from refimpl.gaussian.sliced import sliced_wasserstein_squared
from refimpl.gaussian.transport import wasserstein_squared

AXES = np.eye(2)


def _covariance(rng, d, batch=()):
    factor = rng.standard_normal((*batch, d, d))
    return factor @ factor.swapaxes(-1, -2) + np.eye(d)


def _circle(count):
    angles = np.pi * np.arange(count) / count
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def test_mean_over_all_directions_of_proportional_covariances():
    """(1 - c)^2 tr S/d for S_q = c^2 S, and |delta|^2/d: evenly spaced angles give it exactly."""
    cov, delta = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([1.0, -2.0])
    found = sliced_wasserstein_squared(delta, cov, 0 * delta, 9 * cov, _circle(16))
    assert found == pytest.approx(4 * 5 / 2 + 5 / 2, rel=1e-14)


def test_many_directions_settle_below_the_distance_over_d():
    rng = np.random.default_rng(0)
    arrays = np.zeros(2), _covariance(rng, 2), np.ones(2), _covariance(rng, 2)
    few, many = (sliced_wasserstein_squared(*arrays, _circle(n)) for n in (64, 1024))
    assert few == pytest.approx(many, rel=1e-12)
    assert many < wasserstein_squared(*arrays) / 2


def test_agrees_with_sorted_projected_samples():
    rng = np.random.default_rng(1)
    mean, cov_p, cov_q = rng.standard_normal(3), _covariance(rng, 3), _covariance(rng, 3)
    directions = rng.standard_normal((5, 3))
    x = rng.multivariate_normal(mean, cov_p, 200_000) @ directions.T
    y = rng.multivariate_normal(np.zeros(3), cov_q, 200_000) @ directions.T
    expected = ((np.sort(x, axis=0) - np.sort(y, axis=0)) ** 2).mean()
    found = sliced_wasserstein_squared(mean, cov_p, np.zeros(3), cov_q, directions)
    assert found == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("difference", [1e-4, 1e-8, 1e-12])
def test_near_equality_keeps_its_digits(difference):
    rng = np.random.default_rng(2)
    cov = _covariance(rng, 3)
    other = cov + difference * _covariance(rng, 3)
    theta = rng.standard_normal((1, 3))
    zero = np.zeros(3)
    with mpmath.workdps(50):
        row = mpmath.matrix(theta.tolist())
        roots = [mpmath.sqrt((row * mpmath.matrix(c.tolist()) * row.T)[0]) for c in (cov, other)]
        exact = (roots[0] - roots[1]) ** 2
    found = sliced_wasserstein_squared(zero, cov, zero, other, theta)
    assert abs(found - exact) <= 1e-13 * exact
    if difference == 1e-8:
        plain = sliced_wasserstein_squared(zero, cov, zero, other, theta, form="textbook")
        assert abs(plain - exact) <= 1e-7 * exact


def test_value_and_gradients_are_exactly_zero_at_equality():
    rng = np.random.default_rng(3)
    mean, cov = rng.standard_normal(4), _covariance(rng, 4)
    arrays = mean, cov, mean, cov, rng.standard_normal((6, 4))
    assert sliced_wasserstein_squared(*arrays) == 0.0
    for gradient in sliced_wasserstein_squared.vjp(1.0, *arrays):
        np.testing.assert_array_equal(gradient, 0.0)


def test_singular_covariances_have_values_but_no_gradients():
    zero, line = np.zeros(2), np.diag([4.0, 0.0])
    assert sliced_wasserstein_squared(zero, line, zero, np.eye(2), AXES) == 1.0
    assert sliced_wasserstein_squared(zero, line, zero, line, AXES) == 0.0
    with pytest.raises(np.linalg.LinAlgError, match="cov_p: .*smallest eigenvalue"):
        sliced_wasserstein_squared.vjp(1.0, zero, line, zero, np.eye(2), AXES)


def test_a_direction_of_length_zero_counts_as_nothing():
    directions = np.array([[0.0, 0.0], [1.0, 0.0]])
    arrays = np.zeros(2), 4 * np.eye(2), np.zeros(2), np.eye(2), directions
    assert sliced_wasserstein_squared(*arrays) == 0.5
    for gradient in sliced_wasserstein_squared.vjp(1.0, *arrays):
        assert np.isfinite(gradient).all()


def test_arguments_broadcast():
    rng = np.random.default_rng(4)
    arrays = (
        rng.standard_normal((5, 1, 1, 3)),
        _covariance(rng, 3, (4, 1)),
        rng.standard_normal((2, 3)),
        _covariance(rng, 3),
        rng.standard_normal((2, 7, 3)),
    )
    value = sliced_wasserstein_squared(*arrays)
    assert value.shape == (5, 4, 2)
    one = (arrays[0][3, 0, 0], arrays[1][2, 0], arrays[2][1], arrays[3], arrays[4][1])
    assert value[3, 2, 1] == pytest.approx(sliced_wasserstein_squared(*one), rel=1e-13)
    gradients = sliced_wasserstein_squared.vjp(np.ones(value.shape), *arrays)
    assert [g.shape for g in gradients] == [a.shape for a in arrays]


def test_bad_input_is_refused_by_name():
    zero, identity = np.zeros(2), np.eye(2)
    with pytest.raises(ValueError, match="directions: expected at least one"):
        sliced_wasserstein_squared(zero, identity, zero, identity, np.zeros((0, 2)))
    with pytest.raises(ValueError, match="directions: expected finite"):
        sliced_wasserstein_squared(zero, identity, zero, identity, [[np.inf, 0.0]])
    with pytest.raises(ValueError, match="directions axis 'd'"):
        sliced_wasserstein_squared(zero, identity, zero, identity, [[1.0, 0.0, 0.0]])
    with pytest.raises(np.linalg.LinAlgError, match="cov_q: .*smallest eigenvalue is -1"):
        sliced_wasserstein_squared(zero, identity, zero, [[1.0, 2.0], [2.0, 1.0]], AXES)
