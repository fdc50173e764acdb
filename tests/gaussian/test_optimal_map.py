"""Optimal map and cross-covariance: known values, accuracy, singular covariances, gradients."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from scipy.linalg import solve_sylvester, sqrtm

from refimpl.gaussian.optimal_map import optimal_cross_covariance, transport_map
from refimpl.gaussian.transport import bures_squared

ZERO = np.zeros(2)
G1 = ([1.0, 2.0], [[2.0, 1.0], [1.0, 2.0]], [0.0, 0.0], [[1.0, 0.0], [0.0, 4.0]])


def _covariance(rng, d, batch=()):
    factor = rng.standard_normal((*batch, d, d))
    return factor @ factor.swapaxes(-1, -2) + np.eye(d)


def _exact_matrix(cov_p, cov_q):
    """The printed formula at 60 digits, on the very numbers that the library gets."""
    with mpmath.workdps(60):
        cov_p, cov_q = mpmath.matrix(cov_p.tolist()), mpmath.matrix(cov_q.tolist())
        root = _root(cov_p)
        inverse = mpmath.inverse(root)
        return inverse * _root(root * cov_q * root) * inverse


def _root(matrix):
    values, basis = mpmath.eigsy((matrix + matrix.T) / 2)
    return basis * mpmath.diag([mpmath.sqrt(abs(x)) for x in values]) * basis.T


def test_known_matrix_to_17_digits():
    matrix, offset = transport_map(*G1)
    corner, side, last = 0.80434797303936517, -0.28064928244434441, 1.5334961974913942
    np.testing.assert_allclose(matrix, [[corner, side], [side, last]], rtol=1e-15)
    np.testing.assert_allclose(offset, [-corner - 2 * side, -side - 2 * last], rtol=1e-15)


@pytest.mark.parametrize("d", [1, 3, 6])
def test_agrees_with_the_matrix_roots_of_scipy(d):
    rng = np.random.default_rng(d)
    mean_p, mean_q = rng.standard_normal((2, d))
    cov_p, cov_q = _covariance(rng, d), _covariance(rng, d)
    root = sqrtm(cov_p)
    inverse = np.linalg.inv(root)
    expected = inverse @ sqrtm(root @ cov_q @ root) @ inverse
    matrix, offset = transport_map(mean_p, cov_p, mean_q, cov_q)
    np.testing.assert_allclose(matrix, expected, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(offset, mean_q - expected @ mean_p, rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(
        optimal_cross_covariance(cov_p, cov_q), sqrtm(cov_p @ cov_q), rtol=1e-11, atol=1e-11
    )


@pytest.mark.parametrize("difference", [1.0, 1e-4, 1e-8])
@pytest.mark.parametrize("condition", [1.0, 1e6, 1e12])
def test_every_entry_of_the_map_keeps_its_digits_in_any_units(difference, condition):
    """An entry is of the size of the smaller unit over the larger; the offset is that of A - I."""
    rng = np.random.default_rng(5)
    units = rng.permutation(np.geomspace(1, condition**-0.5, 4))
    base, other = _covariance(rng, 4), _covariance(rng, 4)
    cov_p = base * np.outer(units, units)
    cov_q = (base + difference * other) * np.outer(units, units)
    mean_p = rng.standard_normal(4) * units
    exact = _exact_matrix(cov_p, cov_q)
    matrix, offset = transport_map(mean_p, cov_p, mean_p, cov_q)
    gap = np.array([[float(exact[i, j] - matrix[i, j]) for j in range(4)] for i in range(4)])
    size = np.minimum.outer(units, units) / np.maximum.outer(units, units)
    assert np.abs(gap / size).max() < 1e-14
    with mpmath.workdps(60):
        move = mpmath.matrix(mean_p.tolist()) - exact * mpmath.matrix(mean_p.tolist())
    error = [abs(float(x - y)) for x, y in zip(move, offset, strict=True)]
    assert max(error / np.abs(offset).max()) < 1e-12


def test_samples_are_carried_to_the_other_distribution():
    rng = np.random.default_rng(2)
    mean_p, mean_q = rng.standard_normal((2, 3))
    cov_p, cov_q = _covariance(rng, 3), _covariance(rng, 3)
    matrix, offset = transport_map(mean_p, cov_p, mean_q, cov_q)
    x = rng.multivariate_normal(mean_p, cov_p, 100_000)
    y = x @ matrix + offset
    np.testing.assert_allclose(y.mean(axis=0), mean_q, atol=0.05)
    np.testing.assert_allclose(np.cov(y, rowvar=False), cov_q, atol=0.2)
    paid = ((x - y) ** 2).sum(axis=1)
    least = ((mean_p - mean_q) ** 2).sum() + bures_squared(cov_p, cov_q)
    assert abs(paid.mean() - least) < 5 * paid.std() / np.sqrt(len(paid))


def test_arguments_broadcast():
    rng = np.random.default_rng(0)
    arrays = (
        rng.standard_normal((5, 1, 1, 3)),
        _covariance(rng, 3, (4, 1)),
        rng.standard_normal((2, 3)),
        _covariance(rng, 3),
    )
    matrix, offset = transport_map(*arrays)
    assert offset.shape == (5, 4, 2, 3)
    one = transport_map(arrays[0][3, 0, 0], arrays[1][2, 0], arrays[2][1], arrays[3])
    np.testing.assert_allclose(np.broadcast_to(matrix, (5, 4, 2, 3, 3))[3, 2, 1], one[0])
    np.testing.assert_allclose(offset[3, 2, 1], one[1])


# ----------------------------------------------------------------------------------------- singular


def test_a_singular_target_is_reached():
    """The map onto a line: A = v v^T/|v| from the standard normal."""
    matrix, _ = transport_map(ZERO, np.eye(2), ZERO, [[9.0, 12.0], [12.0, 16.0]])
    np.testing.assert_allclose(matrix, np.array([[9.0, 12.0], [12.0, 16.0]]) / 5, rtol=1e-15)
    matrix, _ = transport_map(ZERO, np.eye(2), ZERO, np.zeros((2, 2)))
    np.testing.assert_array_equal(matrix, 0.0)


def test_a_singular_source_has_no_map_but_a_coupling():
    line = np.diag([4.0, 0.0])
    with pytest.raises(np.linalg.LinAlgError, match="cov_p: .*smallest eigenvalue is 0"):
        transport_map(ZERO, line, ZERO, np.eye(2))
    np.testing.assert_allclose(optimal_cross_covariance(line, np.eye(2)), np.diag([2.0, 0.0]))


def test_directions_that_cannot_be_matched_stay_uncorrelated():
    first, second = np.ones((2, 2)), np.array([[1.0, -1.0], [-1.0, 1.0]])
    np.testing.assert_array_equal(optimal_cross_covariance(first, second), 0.0)
    np.testing.assert_allclose(optimal_cross_covariance(first, first), first, rtol=1e-15)


def test_cross_covariance_of_low_rank():
    """Against the polar factor of the integer factors, whose product has full rank."""
    rng = np.random.default_rng(3)
    low_p, low_q = rng.integers(-3, 4, (4, 2)) * 1.0, rng.integers(-3, 4, (4, 2)) * 1.0
    w, _, vt = np.linalg.svd(low_p.T @ low_q)
    found = optimal_cross_covariance(low_p @ low_p.T, low_q @ low_q.T)
    np.testing.assert_allclose(found, low_p @ w @ vt @ low_q.T, rtol=1e-12, atol=1e-12)


# --------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("name", ["cov_p", "cov_q"])
@pytest.mark.parametrize("form", transport_map.forms)
def test_an_indefinite_covariance_is_refused_by_name(name, form):
    pair = [[[1.0, 2.0], [2.0, 1.0]] if n == name else np.eye(2) for n in ("cov_p", "cov_q")]
    with pytest.raises(np.linalg.LinAlgError, match=f"{name}: .*smallest eigenvalue is -1"):
        transport_map(ZERO, pair[0], ZERO, pair[1], form=form)
    with pytest.raises(np.linalg.LinAlgError, match=f"{name}: .*smallest eigenvalue is -1"):
        optimal_cross_covariance(*pair)


@pytest.mark.parametrize("place", range(4))
def test_what_is_not_finite_is_refused_by_name(place):
    arrays = [ZERO, np.eye(2), ZERO, np.eye(2)]
    arrays[place] = np.where(arrays[place] == 0, np.nan, arrays[place])
    name = transport_map.arguments[place].name
    with pytest.raises(ValueError, match=f"{name}: expected finite numbers"):
        transport_map(*arrays)


@pytest.mark.parametrize("name", ["cov_p", "cov_q"])
def test_a_singular_covariance_has_no_gradient(name):
    pair = [np.ones((2, 2)) if n == name else np.eye(2) for n in ("cov_p", "cov_q")]
    with pytest.raises(np.linalg.LinAlgError, match=f"{name}: .*smallest eigenvalue"):
        optimal_cross_covariance.vjp(np.eye(2), *pair)
    with pytest.raises(np.linalg.LinAlgError, match=f"{name}: .*smallest eigenvalue"):
        transport_map.vjp((np.eye(2), ZERO), ZERO, pair[0], ZERO, pair[1])


# ---------------------------------------------------------------------------------------- gradients


def test_gradient_of_the_matrix_solves_a_sylvester_equation():
    """A S_p A = S_q: the derivative along dS_q solves X (S_p A) + (A S_p) X = dS_q, by SciPy."""
    rng = np.random.default_rng(6)
    cov_p, cov_q = _covariance(rng, 4), _covariance(rng, 4)
    origin = np.zeros(4)
    matrix, _ = transport_map(origin, cov_p, origin, cov_q)
    g, change = rng.standard_normal((4, 4)), _covariance(rng, 4)
    along_q = solve_sylvester(matrix @ cov_p, cov_p @ matrix, change)
    along_p = solve_sylvester(matrix @ cov_p, cov_p @ matrix, -matrix @ change @ matrix)
    _, dcov_p, _, dcov_q = transport_map.vjp((g, origin), origin, cov_p, origin, cov_q)
    assert (dcov_q * change).sum() == pytest.approx((g * along_q).sum(), rel=1e-11)
    assert (dcov_p * change).sum() == pytest.approx((g * along_p).sum(), rel=1e-11)
    np.testing.assert_array_equal(dcov_p, dcov_p.T)


def test_gradients_need_no_gap_between_eigenvalues():
    """At S_p = S_q = I all eigenvalues meet: C = (S_p S_q)^{1/2} moves by half of either change."""
    g = np.array([[1.0, 2.0], [4.0, 3.0]])
    for gradient in optimal_cross_covariance.vjp(g, np.eye(2), np.eye(2)):
        np.testing.assert_allclose(gradient, (g + g.T) / 4, rtol=1e-15)
