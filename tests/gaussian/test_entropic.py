"""Entropic costs and Sinkhorn divergences: known values, Sinkhorn on a grid, limits, accuracy."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from refimpl.gaussian.entropic import entropic_wasserstein_squared, sinkhorn_divergence
from refimpl.gaussian.transport import wasserstein_squared

G1 = ([1.0, 2.0], [[2.0, 1.0], [1.0, 2.0]], [0.0, 0.0], [[1.0, 0.0], [0.0, 4.0]])
G2 = (
    [1.0, 0.0, -1.0],
    [[1.0, 0.5, 0.0], [0.5, 1.25, 0.25], [0.0, 0.25, 0.75]],
    [0.0, 0.5, 0.5],
    [[2.0, -1.0, 0.0], [-1.0, 2.0, -1.0], [0.0, -1.0, 2.0]],
)
G3 = ([0.0], [[1.0]], [1.0], [[4.0]])


def _covariance(rng, d, batch=()):
    factor = rng.standard_normal((*batch, d, d))
    return factor @ factor.swapaxes(-1, -2) + np.eye(d)


def _pair(rng, d):
    return rng.standard_normal(d), _covariance(rng, d), rng.standard_normal(d), _covariance(rng, d)


def _exact_cost(cov_p, cov_q, epsilon):
    """The printed formula, at mpmath's precision."""
    values, basis = mpmath.eigsy(cov_p)
    root = basis * mpmath.diag([mpmath.sqrt(abs(x)) for x in values]) * basis.T
    variance = epsilon / 2
    total = mpmath.fsum(cov_p[i, i] + cov_q[i, i] for i in range(cov_p.rows))
    for x in mpmath.eigsy(root * cov_q * root, eigvals_only=True):
        d = mpmath.sqrt(4 * abs(x) + variance**2)
        total -= d - variance - variance * mpmath.log((d + variance) / (2 * variance))
    return total


def _exact_divergence(cov_p, cov_q, epsilon):
    with mpmath.workdps(60):
        p, q = mpmath.matrix(cov_p.tolist()), mpmath.matrix(cov_q.tolist())
        e = mpmath.mpf(epsilon)
        return _exact_cost(p, q, e) - _exact_cost(p, p, e) / 2 - _exact_cost(q, q, e) / 2


@pytest.mark.parametrize(
    ("pair", "cost", "divergence"),
    [
        (G1, 9.3073944710728015, 5.7470167893220003),
        (G2, 9.4105340832102597, 5.1474017861401716),
        (G3, 3.8175080164895482, 1.9705794128382495),
    ],
)
def test_known_values_to_17_digits(pair, cost, divergence):
    for form in entropic_wasserstein_squared.forms:
        found = entropic_wasserstein_squared(*pair, regularisation=2.0, form=form)
        assert found == pytest.approx(cost, rel=2e-15)
    for form in sinkhorn_divergence.forms:
        found = sinkhorn_divergence(*pair, regularisation=2.0, form=form)
        assert found == pytest.approx(divergence, rel=3e-15)


@pytest.mark.parametrize("epsilon", [0.5, 2.0, 8.0])
def test_agrees_with_sinkhorns_iteration_on_a_grid(epsilon):
    """Cost plus epsilon times the divergence from the product, of the plan that it converges to."""
    x = np.linspace(-10, 10, 321)
    p, q = np.exp(-0.5 * (x - 0.5) ** 2), np.exp(-0.25 * (x + 0.25) ** 2)
    p, q = p / p.sum(), q / q.sum()
    cost = (x[:, None] - x) ** 2
    kernel = np.exp(-cost / epsilon)
    v = np.ones_like(x)
    for _ in range(1000):
        u = 1 / (kernel @ (v * q))
        v = 1 / (kernel.T @ (u * p))
    plan = (u * p)[:, None] * kernel * (v * q)
    information = (plan * (np.log(u)[:, None] + np.log(v) - cost / epsilon)).sum()
    expected = (plan * cost).sum() + epsilon * information
    found = entropic_wasserstein_squared([0.5], [[1.0]], [-0.25], [[2.0]], regularisation=epsilon)
    assert found == pytest.approx(expected, rel=1e-10)


def test_limits_of_small_and_of_large_regularisation():
    rng = np.random.default_rng(0)
    pair = _pair(rng, 4)
    gap = ((pair[0] - pair[2]) ** 2).sum()
    independent = gap + np.trace(pair[1] + pair[3])
    for formula, last in ((entropic_wasserstein_squared, independent), (sinkhorn_divergence, gap)):
        first = formula(*pair, regularisation=1e-14)
        assert first == pytest.approx(wasserstein_squared(*pair), rel=1e-11)
        assert formula(*pair, regularisation=1e12) == pytest.approx(last, rel=1e-9)


@pytest.mark.parametrize("difference", [1.0, 1e-4, 1e-8])
@pytest.mark.parametrize("condition", [1.0, 1e12])
@pytest.mark.parametrize("epsilon", [1e-8, 1e-2, 1.0, 1e3])
def test_the_divergence_keeps_its_digits_near_equality(difference, condition, epsilon):
    rng = np.random.default_rng(1)
    units = rng.permutation(np.geomspace(1, condition**-0.5, 4))
    base, other = _covariance(rng, 4), _covariance(rng, 4)
    cov_p = (base + difference * other) * np.outer(units, units)
    cov_q = base * np.outer(units, units)
    exact = _exact_divergence(cov_p, cov_q, epsilon)
    found = sinkhorn_divergence(np.zeros(4), cov_p, np.zeros(4), cov_q, regularisation=epsilon)
    assert abs(found - exact) <= 1e-13 * exact


def test_the_difference_of_three_costs_loses_no_more_than_they_round():
    rng = np.random.default_rng(2)
    cov = _covariance(rng, 4)
    other = cov + 1e-8 * _covariance(rng, 4)
    arrays = np.zeros(4), cov, np.zeros(4), other
    exact = _exact_divergence(cov, other, 1.0)
    found = sinkhorn_divergence(*arrays, regularisation=1.0, form="textbook")
    assert abs(found - exact) <= 1e-12 * (np.trace(cov) + np.trace(other))


@pytest.mark.parametrize("d", [1, 4, 9])
def test_divergence_and_gradients_are_exactly_zero_at_equality(d):
    rng = np.random.default_rng(d)
    mean, cov = rng.standard_normal(d), _covariance(rng, d)
    assert sinkhorn_divergence(mean, cov, mean, cov, regularisation=0.1) == 0.0
    epsilon = np.array(0.1)
    for gradient in sinkhorn_divergence.vjp(1.0, mean, cov, mean, cov, regularisation=epsilon):
        np.testing.assert_array_equal(gradient, 0.0)
    assert entropic_wasserstein_squared(mean, cov, mean, cov, regularisation=0.1) > 0.0


def test_near_equality_the_gradients_keep_their_digits():
    """The gradient in cov_p is half of the second-order form: twice the value along the change."""
    rng = np.random.default_rng(3)
    cov = _covariance(rng, 4)
    other = cov + 1e-9 * _covariance(rng, 4)
    arrays = np.zeros(4), other, np.zeros(4), cov
    value = sinkhorn_divergence(*arrays, regularisation=1.0)
    _, dcov_p, _, dcov_q = sinkhorn_divergence.vjp(1.0, *arrays, regularisation=1.0)
    assert (dcov_p * (other - cov)).sum() == pytest.approx(2 * value, rel=1e-7)
    assert (dcov_q * (cov - other)).sum() == pytest.approx(2 * value, rel=1e-7)


@pytest.mark.parametrize("formula", [entropic_wasserstein_squared, sinkhorn_divergence])
def test_singular_covariances_have_values_and_gradients(formula):
    """Against the limit of regular ones: the slope in the null direction is finite."""
    zero = np.zeros(2)
    line, cov = np.diag([2.0, 0.0]), np.array([[2.0, 0.5], [0.5, 1.0]])
    value = formula(zero, line, zero, cov, regularisation=1.0)
    _, dcov, _, _ = formula.vjp(1.0, zero, line, zero, cov, regularisation=1.0)
    for step in (1e-4, 1e-6):
        moved = formula(zero, line + step * np.diag([0.0, 1.0]), zero, cov, regularisation=1.0)
        assert (moved - value) / step == pytest.approx(dcov[1, 1], abs=10 * step)


@pytest.mark.parametrize("formula", [entropic_wasserstein_squared, sinkhorn_divergence])
def test_arguments_and_regularisations_broadcast(formula):
    rng = np.random.default_rng(4)
    arrays = (
        rng.standard_normal((5, 1, 1, 3)),
        _covariance(rng, 3, (4, 1)),
        rng.standard_normal((2, 3)),
        _covariance(rng, 3),
    )
    epsilon = np.array([0.5, 2.0])
    value = formula(*arrays, regularisation=epsilon)
    assert value.shape == (5, 4, 2)
    one = (arrays[0][3, 0, 0], arrays[1][2, 0], arrays[2][1], arrays[3])
    assert value[3, 2, 1] == pytest.approx(formula(*one, regularisation=2.0), rel=1e-13)
    gradients = formula.vjp(np.ones(value.shape), *arrays, regularisation=epsilon)
    assert [g.shape for g in gradients] == [a.shape for a in (*arrays, epsilon)]


@pytest.mark.parametrize("formula", [entropic_wasserstein_squared, sinkhorn_divergence])
def test_bad_input_is_refused_by_name(formula):
    zero, identity = np.zeros(2), np.eye(2)
    for epsilon in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="regularisation: expected"):
            formula(zero, identity, zero, identity, regularisation=epsilon)
    with pytest.raises(TypeError, match="needs .*regularisation"):
        formula(zero, identity, zero, identity)
    with pytest.raises(np.linalg.LinAlgError, match="cov_q: .*smallest eigenvalue is -1"):
        formula(zero, identity, zero, [[1.0, 2.0], [2.0, 1.0]], regularisation=1.0)
    with pytest.raises(ValueError, match="mean_q: expected finite"):
        formula(zero, identity, [np.inf, 0.0], identity, regularisation=1.0)
