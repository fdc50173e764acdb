"""Bures geometry: geodesics, metric, logarithm, exponential; their ends and their gradients."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import solve_continuous_lyapunov, sqrtm

from refimpl.gaussian.geodesic import (
    bures_exp,
    bures_log,
    bures_metric,
    displacement_interpolation,
)
from refimpl.gaussian.transport import bures_squared, wasserstein_distance

ZERO, IDENTITY = np.zeros(2), np.eye(2)


def _covariance(rng, d, batch=()):
    factor = rng.standard_normal((*batch, d, d))
    return factor @ factor.swapaxes(-1, -2) + np.eye(d)


def _tangent(rng, d, batch=()):
    matrix = rng.standard_normal((*batch, d, d))
    return matrix + matrix.swapaxes(-1, -2)


# ---------------------------------------------------------------------------------------- geodesics


@pytest.mark.parametrize("time", [0.0, 0.25, 0.5, 1.0])
def test_interpolation_agrees_with_the_map_of_scipys_roots(time):
    rng = np.random.default_rng(0)
    mean_p, mean_q = rng.standard_normal((2, 4))
    cov_p, cov_q = _covariance(rng, 4), _covariance(rng, 4)
    root = sqrtm(cov_p)
    inverse = np.linalg.inv(root)
    step = (1 - time) * np.eye(4) + time * inverse @ sqrtm(root @ cov_q @ root) @ inverse
    mean, cov = displacement_interpolation(mean_p, cov_p, mean_q, cov_q, time=time)
    np.testing.assert_allclose(mean, (1 - time) * mean_p + time * mean_q, rtol=1e-15)
    np.testing.assert_allclose(cov, step @ cov_p @ step, rtol=1e-11, atol=1e-12)
    np.testing.assert_array_equal(cov, cov.T)


def test_pieces_of_the_way_add_up():
    rng = np.random.default_rng(1)
    p = rng.standard_normal(3), _covariance(rng, 3)
    q = rng.standard_normal(3), _covariance(rng, 3)
    times = np.linspace(0, 1, 6)
    means, covs = displacement_interpolation(*p, *q, time=times)
    pieces = wasserstein_distance(means[:-1], covs[:-1], means[1:], covs[1:])
    np.testing.assert_allclose(pieces, wasserstein_distance(*p, *q) / 5, rtol=1e-9)


def test_between_lines_that_cannot_be_matched():
    """u u^T to v v^T with u^T v = 0: any coupling is optimal, the independent one is taken."""
    first, second = np.diag([4.0, 0.0]), np.diag([0.0, 16.0])
    _, cov = displacement_interpolation(ZERO, first, ZERO, second, time=0.5)
    np.testing.assert_array_equal(cov, np.diag([1.0, 4.0]))


def test_time_must_be_on_the_way():
    for time in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match="time: expected numbers from 0"):
            displacement_interpolation(ZERO, IDENTITY, ZERO, IDENTITY, time=time)


def test_time_has_a_gradient_where_it_is_an_array():
    arrays = ([0.0], [[1.0]], [4.0], [[9.0]])
    g = np.array([1.0]), np.array([[1.0]])
    gradients = displacement_interpolation.vjp(g, *arrays, time=np.array(0.25))
    # d/dt of 4 t + (1 + 2 t)^2 at 1/4.
    assert gradients[4] == pytest.approx(4 + 4 * 1.5, rel=1e-15)
    assert len(displacement_interpolation.vjp(g, *arrays, time=0.25)) == 4


def test_arguments_and_times_broadcast():
    rng = np.random.default_rng(2)
    arrays = (
        rng.standard_normal((5, 1, 1, 3)),
        _covariance(rng, 3, (4, 1)),
        rng.standard_normal((2, 3)),
        _covariance(rng, 3),
    )
    mean, cov = displacement_interpolation(*arrays, time=np.array([0.25, 0.5]))
    assert mean.shape == (5, 4, 2, 3) and cov.shape == (5, 4, 2, 3, 3)


# ------------------------------------------------------------------------------------------- metric


def test_metric_agrees_with_scipys_lyapunov_solver():
    rng = np.random.default_rng(3)
    cov, x, y = _covariance(rng, 5), _tangent(rng, 5), _tangent(rng, 5)
    field = solve_continuous_lyapunov(cov, x)
    assert bures_metric(cov, x, y) == pytest.approx(np.trace(field @ y) / 2, rel=1e-12)


@pytest.mark.parametrize("step", [1e-4, 1e-6])
def test_metric_is_the_second_order_of_the_distance(step):
    rng = np.random.default_rng(4)
    cov, x = _covariance(rng, 4), _tangent(rng, 4)
    both = bures_squared(cov, cov + step * x) + bures_squared(cov, cov - step * x)
    assert both / (2 * step**2) == pytest.approx(bures_metric(cov, x, x), rel=step)


def test_metric_in_any_units():
    rng = np.random.default_rng(5)
    units = np.array([1.0, 1e-6, 1e-3])
    cov, tangent = (m * np.outer(units, units) for m in (_covariance(rng, 3), _tangent(rng, 3)))
    scaled = cov.astype(np.longdouble), tangent.astype(np.longdouble)
    exact = float(bures_metric(*scaled, scaled[1]))
    assert bures_metric(cov, tangent, tangent) == pytest.approx(exact, rel=1e-14)


# ------------------------------------------------------------------------ logarithm and exponential


def test_logarithm_and_exponential_are_inverse_to_each_other():
    rng = np.random.default_rng(6)
    cov_p, cov_q = _covariance(rng, 4, (10,)), _covariance(rng, 4, (10,))
    velocity = bures_log(cov_p, cov_q)
    np.testing.assert_allclose(bures_exp(cov_p, velocity), cov_q, rtol=1e-11, atol=1e-11)
    lengths = bures_metric(cov_p, velocity, velocity)
    np.testing.assert_allclose(lengths, bures_squared(cov_p, cov_q), rtol=1e-11)


def test_the_way_by_the_exponential_is_the_displacement():
    rng = np.random.default_rng(7)
    cov_p, cov_q = _covariance(rng, 3), _covariance(rng, 3)
    velocity = bures_log(cov_p, cov_q)
    for time in (0.25, 0.75):
        _, cov = displacement_interpolation(np.zeros(3), cov_p, np.zeros(3), cov_q, time=time)
        np.testing.assert_allclose(bures_exp(cov_p, time * velocity), cov, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("difference", [1e-4, 1e-8, 1e-12])
def test_logarithm_near_equality_keeps_its_digits(difference):
    """log_S(S + E) = E - L S L up to third order, S L + L S = E."""
    rng = np.random.default_rng(8)
    cov = _covariance(rng, 4)
    other = cov + difference * _covariance(rng, 4)
    change = other - cov
    field = solve_continuous_lyapunov(cov, change)
    expected = change - field @ cov @ field
    tolerance = max(1e-13, 10 * difference**2) * np.abs(change).max()
    np.testing.assert_allclose(bures_log(cov, other), expected, rtol=0, atol=tolerance)


def test_logarithm_is_exactly_zero_at_equality():
    cov = _covariance(np.random.default_rng(9), 5)
    np.testing.assert_array_equal(bures_log(cov, cov), 0.0)
    np.testing.assert_array_equal(bures_exp(cov, 0 * cov), cov)


def test_logarithm_of_a_singular_covariance():
    """To a point mass all of the way is the covariance, twice."""
    cov = np.array([[2.0, 1.0], [1.0, 3.0]])
    np.testing.assert_allclose(bures_log(cov, 0 * cov), -2 * cov, rtol=1e-15)
    line = np.diag([8.0, 0.0])
    np.testing.assert_allclose(bures_log(2 * IDENTITY, line), np.diag([4.0, -4.0]), rtol=1e-15)


def test_a_tangent_beyond_the_end_of_its_geodesic_is_refused():
    """From variance 4 the velocity -8 ends at 0, and what is longer would come back."""
    assert bures_exp([[4.0]], [[-8.0]]) == 0.0
    with pytest.raises(np.linalg.LinAlgError, match="tangent: .*smallest eigenvalue.* is -0.25"):
        bures_exp([[4.0]], [[-10.0]])


# --------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("formula", [bures_metric, bures_exp])
def test_a_base_that_is_not_positive_definite_is_refused(formula):
    tangents = [IDENTITY] * (len(formula.arguments) - 1)
    with pytest.raises(np.linalg.LinAlgError, match="cov: .*smallest eigenvalue"):
        formula(np.ones((2, 2)), *tangents)


@pytest.mark.parametrize("formula", [bures_metric, bures_exp, bures_log])
def test_matrices_that_are_not_symmetric_or_finite_are_refused_by_name(formula):
    for place, argument in enumerate(formula.arguments):
        for bad, message in (
            ([[1.0, 0.5], [0.0, 1.0]], "expected a symmetric matrix"),
            ([[1.0, np.nan], [np.nan, 1.0]], "expected finite numbers"),
        ):
            arrays = [IDENTITY] * len(formula.arguments)
            arrays[place] = np.array(bad)
            with pytest.raises(ValueError, match=f"{argument.name}: {message}"):
                formula(*arrays)


def test_logarithm_names_what_is_singular_or_indefinite():
    indefinite = [[1.0, 2.0], [2.0, 1.0]]
    with pytest.raises(np.linalg.LinAlgError, match="cov_p: .*smallest eigenvalue"):
        bures_log(np.ones((2, 2)), IDENTITY)
    with pytest.raises(np.linalg.LinAlgError, match="cov_q: .*smallest eigenvalue is -1"):
        bures_log(IDENTITY, indefinite)
    with pytest.raises(np.linalg.LinAlgError, match="cov_q: .*smallest eigenvalue"):
        bures_log.vjp(IDENTITY, IDENTITY, np.ones((2, 2)))
