"""Unbalanced entropic transport: Sinkhorn on a grid, limits, singular covariances, bad input."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logsumexp

from refimpl.gaussian.entropic import entropic_wasserstein_squared
from refimpl.gaussian.unbalanced import unbalanced_entropic_transport


def _covariance(rng, d, batch=()):
    factor = rng.standard_normal((*batch, d, d))
    return factor @ factor.swapaxes(-1, -2) + np.eye(d)


def _divergence(a, b):
    return np.where(a > 0, a * np.log(np.where(a > 0, a, 1) / b), 0.0).sum() - a.sum() + b.sum()


@pytest.mark.parametrize(
    ("masses", "epsilon", "gamma", "value"),
    [
        ((1.0, 1.0), 2.0, 1.0, 1.372417298255837),
        ((1.5, 0.7), 1.0, 2.0, 1.4919457195930184),
        ((0.5, 2.0), 4.0, 8.0, None),
    ],
)
def test_agrees_with_sinkhorns_iteration_on_a_grid(masses, epsilon, gamma, value):
    """All four terms of the definition, of the plan that the scaled iteration converges to."""
    x = np.linspace(-10, 10, 321)
    log_p, log_q = -0.5 * (x - 0.3) ** 2, -0.25 * (x + 0.5) ** 2
    log_p = log_p - logsumexp(log_p) + np.log(masses[0])
    log_q = log_q - logsumexp(log_q) + np.log(masses[1])
    cost = (x[:, None] - x) ** 2
    share = gamma / (gamma + epsilon)
    g = np.zeros_like(x)
    for _ in range(120):
        f = -share * epsilon * logsumexp((g - cost) / epsilon + log_q, axis=1)
        g = -share * epsilon * logsumexp((f[:, None] - cost) / epsilon + log_p[:, None], axis=0)
    plan = np.exp((f[:, None] + g - cost) / epsilon + log_p[:, None] + log_q)
    p, q = np.exp(log_p), np.exp(log_q)
    expected = (plan * cost).sum() + epsilon * _divergence(plan, p[:, None] * q)
    expected += gamma * (_divergence(plan.sum(axis=1), p) + _divergence(plan.sum(axis=0), q))
    found = unbalanced_entropic_transport(
        *(masses[0], [0.3], [[1.0]]),
        *(masses[1], [-0.5], [[2.0]]),
        regularisation=epsilon,
        penalty=gamma,
    )
    assert found == pytest.approx(expected, rel=1e-10)
    if value is not None:
        assert found == pytest.approx(value, rel=1e-12)


def test_a_large_penalty_balances():
    rng = np.random.default_rng(0)
    pair = rng.standard_normal(3), _covariance(rng, 3), rng.standard_normal(3), _covariance(rng, 3)
    balanced = entropic_wasserstein_squared(*pair, regularisation=0.5)
    gaps = []
    for penalty in (1e3, 1e4, 1e5):
        found = unbalanced_entropic_transport(
            1.0, *pair[:2], 1.0, *pair[2:], regularisation=0.5, penalty=penalty
        )
        gaps.append((balanced - found) * penalty)
    # The cost is below the balanced one by a constant over the penalty.
    assert gaps[0] > 0
    assert gaps[2] == pytest.approx(gaps[1], rel=1e-2)


def test_a_small_penalty_gives_all_mass_up():
    arrays = (1.0, [0.0], [[1.0]], 2.0, [0.0], [[1.0]])
    for size, tolerance in ((1e-6, 0.1), (1e-12, 1e-3)):
        found = unbalanced_entropic_transport(*arrays, regularisation=size, penalty=size)
        assert found == pytest.approx(size * 3 + size * 2, rel=tolerance)
        assert found < size * 5


def test_singular_covariances_are_the_limit_of_regular_ones():
    line, cov = np.diag([2.0, 0.0]), np.array([[2.0, 0.5], [0.5, 1.0]])
    options = {"regularisation": 0.5, "penalty": 3.0}
    zero = np.zeros(2)
    found = unbalanced_entropic_transport(1.0, zero, line, 2.0, zero, cov, **options)
    gradients = unbalanced_entropic_transport.vjp(1.0, 1.0, zero, line, 2.0, zero, cov, **options)
    for step in (1e-4, 1e-6):
        moved = line + step * np.diag([0.0, 1.0])
        near = unbalanced_entropic_transport(1.0, zero, moved, 2.0, zero, cov, **options)
        assert (near - found) / step == pytest.approx(gradients[2][1, 1], abs=20 * step)


def test_two_points_trade_mass_for_distance():
    """log m = ((eps + gamma) log m_p m_q - cost)/(eps + 2 gamma), and the cost of that mass."""
    point = np.zeros((1, 1))
    found = unbalanced_entropic_transport(
        2.0, [0.0], point, 3.0, [1.5], point, regularisation=0.5, penalty=2.0
    )
    mass = np.exp((2.5 * np.log(6.0) - 2.25) / 4.5)
    assert found == pytest.approx(2.0 * (5.0 - 2 * mass) + 0.5 * (6.0 - mass), rel=1e-14)


def test_arguments_and_parameters_broadcast():
    rng = np.random.default_rng(1)
    p = np.array([1.0, 2.0]), rng.standard_normal((4, 1, 3)), _covariance(rng, 3, (4, 1))
    q = np.array(0.5), rng.standard_normal(3), _covariance(rng, 3)
    options = {"regularisation": np.array([0.5, 1.0]), "penalty": np.array(2.0)}
    value = unbalanced_entropic_transport(*p, *q, **options)
    assert value.shape == (4, 2)
    one = unbalanced_entropic_transport(
        2.0, p[1][3, 0], p[2][3, 0], *q, regularisation=1.0, penalty=2.0
    )
    assert value[3, 1] == pytest.approx(one, rel=1e-13)
    gradients = unbalanced_entropic_transport.vjp(np.ones(value.shape), *p, *q, **options)
    assert [g.shape for g in gradients] == [np.shape(x) for x in (*p, *q, *options.values())]


@pytest.mark.parametrize("name", ["mass_p", "mass_q", "regularisation", "penalty"])
@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_what_must_be_positive_is_refused_by_name(name, bad):
    numbers = {"mass_p": 1.0, "mass_q": 1.0, "regularisation": 1.0, "penalty": 1.0} | {name: bad}
    point = [0.0], [[1.0]]
    with pytest.raises(ValueError, match=f"{name}: expected"):
        unbalanced_entropic_transport(
            *(numbers["mass_p"], *point),
            *(numbers["mass_q"], *point),
            regularisation=numbers["regularisation"],
            penalty=numbers["penalty"],
        )


def test_an_indefinite_covariance_is_refused_by_name():
    pair = {"regularisation": 1.0, "penalty": 1.0}
    zero, indefinite = np.zeros(2), [[1.0, 2.0], [2.0, 1.0]]
    with pytest.raises(np.linalg.LinAlgError, match="cov_q: .*smallest eigenvalue is -1"):
        unbalanced_entropic_transport(1.0, zero, np.eye(2), 1.0, zero, indefinite, **pair)
