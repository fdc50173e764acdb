"""Barycentre: known values, its certificate on hard inputs, singular members, bad input."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.optimize import minimize

from refimpl.gaussian.barycentre import bures_barycentre
from refimpl.gaussian.optimal_map import transport_map
from refimpl.gaussian.transport import bures_squared

G1 = np.array([[[2.0, 1.0], [1.0, 2.0]], [[1.0, 0.0], [0.0, 4.0]]])


def _covariance(rng, d, batch=()):
    factor = rng.standard_normal((*batch, d, d))
    return factor @ factor.swapaxes(-1, -2) + np.eye(d)


def _conditioned(rng, d, condition):
    basis, _ = np.linalg.qr(rng.standard_normal((d, d)))
    matrix = (basis * np.geomspace(1, 1 / condition, d)) @ basis.T
    return (matrix + matrix.T) / 2


def _certificate(covs, weights, cov):
    """The largest entry of sum w_i A_i - I."""
    origin = np.zeros(cov.shape[-1])
    maps = (transport_map(origin, cov, origin, other)[0] for other in covs)
    shares = np.array(weights) / np.sum(weights)
    total = sum(w * a for w, a in zip(shares, maps, strict=True))
    return np.abs(total - np.eye(len(origin))).max()


def test_known_value_to_17_digits():
    expected = [[1.414023331817193, 0.55381176018834542], [0.55381176018834542, 2.893171556269222]]
    np.testing.assert_allclose(bures_barycentre(G1, [0.5, 0.5]), expected, rtol=2e-15)
    np.testing.assert_allclose(bures_barycentre(G1, [3.0, 3.0]), expected, rtol=2e-15)


def test_agrees_with_the_iteration_by_scipys_roots():
    rng = np.random.default_rng(0)
    covs, weights = _covariance(rng, 4, (3,)), np.array([0.2, 0.3, 0.5])
    cov = np.eye(4)
    for _ in range(200):
        root = sqrtm(cov)
        cov = sum(w * sqrtm(root @ c @ root) for w, c in zip(weights, covs, strict=True)).real
    np.testing.assert_allclose(bures_barycentre(covs, weights), cov, rtol=1e-11)


def test_a_general_minimiser_finds_nothing_better():
    rng = np.random.default_rng(1)
    covs, weights = _covariance(rng, 2, (3,)), np.array([0.5, 0.3, 0.2])

    def cost(x):
        low = np.array([[x[0], 0.0], [x[1], x[2]]])
        return (weights * bures_squared(covs, low @ low.T)).sum()

    best = minimize(cost, np.ones(3), method="BFGS", options={"gtol": 1e-9})
    low = np.array([[best.x[0], 0.0], [best.x[1], best.x[2]]])
    found = bures_barycentre(covs, weights)
    np.testing.assert_allclose(found, low @ low.T, rtol=1e-5)
    assert (weights * bures_squared(covs, found)).sum() <= best.fun * (1 + 1e-14)


@pytest.mark.parametrize("condition", [1e1, 1e3, 1e6])
@pytest.mark.parametrize("d", [2, 5])
def test_maps_average_to_the_identity_for_badly_conditioned_members(condition, d):
    rng = np.random.default_rng(d)
    covs = np.stack([_conditioned(rng, d, condition) for _ in range(4)])
    weights = [1.0, 2.0, 3.0, 4.0]
    found = bures_barycentre(covs, weights)
    assert _certificate(covs, weights, found) < 1e-14 * condition
    np.testing.assert_array_equal(found, found.T)


def test_units_cost_no_digits():
    rng = np.random.default_rng(2)
    units = np.array([1.0, 1e-6, 1e-3])
    covs = _covariance(rng, 3, (2,))
    plain = bures_barycentre(covs, [1.0, 2.0])
    # A common unit in powers of two; different units change the geometry and the barycentre.
    np.testing.assert_allclose(bures_barycentre(covs / 1024, [1.0, 2.0]), plain / 1024, rtol=1e-14)
    graded = covs * np.outer(units, units)
    assert _certificate(graded, [1.0, 2.0], bures_barycentre(graded, [1.0, 2.0])) < 1e-8


def test_singular_members():
    """diag(v, 0) and I commute: squares of the means of roots."""
    found = bures_barycentre([np.diag([9.0, 0.0]), np.eye(2)], [0.5, 0.5])
    np.testing.assert_allclose(found, np.diag([4.0, 0.25]), rtol=1e-14, atol=1e-16)
    with pytest.raises(np.linalg.LinAlgError, match="covs: .*smallest eigenvalue"):
        bures_barycentre.vjp(np.eye(2), [np.diag([9.0, 0.0]), np.eye(2)], [0.5, 0.5])


def test_a_weight_of_zero_leaves_a_member_out():
    rng = np.random.default_rng(3)
    covs = _covariance(rng, 3, (3,))
    found = bures_barycentre(covs, [1.0, 0.0, 2.0])
    np.testing.assert_allclose(found, bures_barycentre(covs[[0, 2]], [1.0, 2.0]), rtol=1e-13)


def test_arguments_broadcast():
    rng = np.random.default_rng(4)
    covs, weights = _covariance(rng, 3, (5, 1, 2)), rng.uniform(0.5, 1, (4, 2))
    found = bures_barycentre(covs, weights)
    assert found.shape == (5, 4, 3, 3)
    one = bures_barycentre(covs[3, 0], weights[2])
    np.testing.assert_allclose(found[3, 2], one, rtol=1e-12)
    gradients = bures_barycentre.vjp(np.ones(found.shape), covs, weights)
    assert [g.shape for g in gradients] == [covs.shape, weights.shape]


def test_gradients_at_equality_are_those_of_the_mean():
    """Where all members are equal the barycentre moves like the arithmetic mean."""
    rng = np.random.default_rng(5)
    cov, weights = _covariance(rng, 3), np.array([1.0, 3.0])
    g = rng.standard_normal((3, 3))
    dcovs, dweights = bures_barycentre.vjp(g, np.stack([cov, cov]), weights)
    symmetric = (g + g.T) / 2
    np.testing.assert_allclose(dcovs[0], symmetric / 4, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(dcovs[1], symmetric * 3 / 4, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(dweights, 0.0, atol=1e-12)


@pytest.mark.parametrize(
    ("covs", "weights", "error", "message"),
    [
        (G1, [1.0, -1.0], ValueError, "weights: expected no negative"),
        (G1, [0.0, 0.0], ValueError, "weights: expected at least one that is positive"),
        (G1, [np.nan, 1.0], ValueError, "weights: expected finite"),
        (G1[:0], [], ValueError, "weights: expected at least one"),
        (G1[:, :, ::-1], [1.0, 1.0], ValueError, "covs: expected a symmetric matrix"),
        (np.where(G1 == 0, np.inf, G1), [1.0, 1.0], ValueError, "covs: expected finite"),
        (-G1, [1.0, 1.0], np.linalg.LinAlgError, "covs: .*smallest eigenvalue is -"),
        ([np.diag([1.0, 0.0]), np.diag([0.0, 1.0])], [1.0, 1.0], np.linalg.LinAlgError, "covs: "),
    ],
)
def test_bad_input_is_refused_by_name(covs, weights, error, message):
    with pytest.raises(error, match=message):
        bures_barycentre(covs, weights)
