"""Transport costs: known values, accuracy near equality and at singular covariances, gradients."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.optimize import linear_sum_assignment

from refimpl.gaussian.transport import (
    bures_squared,
    bures_squared_factor,
    covariance_factor,
    wasserstein_distance,
    wasserstein_squared,
)

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


def _near(rng, cov, difference):
    """A covariance that differs from this one by ``difference``, in its own units."""
    factor = np.linalg.cholesky(cov)
    change = factor @ _covariance(rng, len(cov)) @ factor.T / len(cov)
    return cov + difference * (change + change.T) / 2


def _exact(cov_p, cov_q):
    """The printed formula at 80 digits, on the very numbers that the library gets."""
    with mpmath.workdps(80):
        cov_p, cov_q = mpmath.matrix(cov_p.tolist()), mpmath.matrix(cov_q.tolist())
        factor = mpmath.cholesky(cov_p)
        eigenvalues = mpmath.eigsy(factor.T * cov_q * factor, eigvals_only=True)
        roots = mpmath.fsum(mpmath.sqrt(abs(x)) for x in eigenvalues)
        return mpmath.fsum(cov_p[i, i] + cov_q[i, i] for i in range(cov_p.rows)) - 2 * roots


@pytest.mark.parametrize(
    ("pair", "value"),
    [(G1, 5.7712204476543402), (G2, 5.2692062935563181), (G3, 2.0)],
)
@pytest.mark.parametrize("form", wasserstein_squared.forms)
def test_known_values_to_17_digits(pair, value, form):
    p, q = pair[:2], pair[2:]
    assert wasserstein_squared(*p, *q, form=form) == pytest.approx(value, rel=2e-15)
    assert wasserstein_squared(*q, *p, form=form) == pytest.approx(value, rel=2e-15)
    assert wasserstein_distance(*p, *q) ** 2 == pytest.approx(value, rel=2e-15)
    exact = 14 - 2 * np.sqrt(10 + 4 * np.sqrt(3))
    assert wasserstein_squared(*G1) == pytest.approx(exact, rel=1e-15)


def test_value_of_the_pot_manual():
    """ot.gaussian: N(0, 1) and N(10, 1) are 10 apart."""
    assert wasserstein_distance([0.0], [[1.0]], [10.0], [[1.0]]) == 10.0


@pytest.mark.parametrize("d", [1, 3, 8])
@pytest.mark.parametrize("condition", [1.0, 1e12, 1e20])
@pytest.mark.parametrize("difference", [1.0, 1e-2, 1e-4, 1e-8, 1e-11])
def test_near_and_far_keep_their_digits_in_any_units(d, condition, difference):
    rng = np.random.default_rng(d)
    units = rng.permutation(np.geomspace(1, condition**-0.5, d))
    base = _covariance(rng, d)
    cov_p = _near(rng, base, difference) * np.outer(units, units)
    cov_q = base * np.outer(units, units)
    exact = _exact(cov_p, cov_q)
    assert abs(bures_squared(cov_p, cov_q) - exact) <= 1e-13 * exact


def test_the_textbook_forms_lose_no_more_than_their_terms_round():
    """A root of rounding errors: some 1e-8 of the trace at worst."""
    rng = np.random.default_rng(4)
    cov_q = _covariance(rng, 8)
    cov_p = _near(rng, cov_q, 1e-8)
    exact = _exact(cov_p, cov_q)
    for form in ("textbook", "product"):
        found = bures_squared(cov_p, cov_q, form=form)
        assert abs(found - exact) <= 1e-7 * (np.trace(cov_p) + np.trace(cov_q))


@pytest.mark.parametrize("difference", [0.1, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0])
def test_the_two_ways_to_a_column_agree_where_they_meet(difference):
    """The relative length of the gaps passes 1/4 in this range."""
    rng = np.random.default_rng(3)
    cov_q = _covariance(rng, 3)
    cov_p = _near(rng, cov_q, difference)
    exact = _exact(cov_p, cov_q)
    assert abs(bures_squared(cov_p, cov_q) - exact) <= 1e-14 * exact


def test_a_batch_may_have_near_far_equal_and_singular_members():
    rng = np.random.default_rng(9)
    base = _covariance(rng, 3)
    others = [_near(rng, base, size) for size in (1e-8, 2.0, 0.0, 50.0)]
    others.append(np.outer([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]))
    together = bures_squared(np.stack(others), base)
    apart = [bures_squared(other, base) for other in others]
    np.testing.assert_allclose(together, apart, rtol=1e-13)
    assert together[2] == 0.0


def test_is_the_second_order_form_near_equality():
    """B^2(S, S + E) = sum E_ij^2/(l_i + l_j)/2 in the eigenbasis of S, up to third order."""
    rng = np.random.default_rng(8)
    cov = _covariance(rng, 5)
    other = _near(rng, cov, 1e-6)
    values, basis = np.linalg.eigh(cov)
    change = basis.T @ (other - cov) @ basis
    expected = (change**2 / (values[:, None] + values)).sum() / 2
    assert bures_squared(cov, other) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("d", [2, 5, 20])
def test_agrees_with_the_matrix_roots_of_scipy(d):
    rng = np.random.default_rng(d)
    cov_p, cov_q = _covariance(rng, d), _covariance(rng, d)
    product = cov_p + cov_q - 2 * sqrtm(cov_p @ cov_q)
    assert bures_squared(cov_p, cov_q) == pytest.approx(np.trace(product).real, rel=1e-12)
    root = sqrtm(cov_p)
    nested = cov_p + cov_q - 2 * sqrtm(root @ cov_q @ root)
    assert bures_squared(cov_p, cov_q) == pytest.approx(np.trace(nested).real, rel=1e-12)


def test_is_the_optimal_assignment_of_samples():
    """In one dimension, where samples converge fast, by SciPy's exact assignment."""
    rng = np.random.default_rng(0)
    x, y = 2 + 3 * rng.standard_normal(1500), 5 + rng.standard_normal(1500)
    cost = (x[:, None] - y) ** 2
    best = cost[linear_sum_assignment(cost)].mean()
    assert wasserstein_squared([2.0], [[9.0]], [5.0], [[1.0]]) == pytest.approx(best, rel=0.06)


def test_the_optimal_coupling_is_feasible_and_attains_the_minimum():
    """C = S_p W V^T S_q^T makes the joint covariance semidefinite; a C of larger trace does not."""
    rng = np.random.default_rng(1)
    cov_p, cov_q = _covariance(rng, 3), _covariance(rng, 3)
    low_p, low_q = np.linalg.cholesky(cov_p), np.linalg.cholesky(cov_q)
    w, _, vt = np.linalg.svd(low_p.T @ low_q)
    best = low_p @ w @ vt @ low_q.T
    cost = np.trace(cov_p + cov_q - 2 * best)
    assert bures_squared(cov_p, cov_q) == pytest.approx(cost, rel=1e-13)
    joint = np.block([[cov_p, best], [best.T, cov_q]])
    assert np.linalg.eigvalsh(joint)[0] > -1e-13
    direction = rng.standard_normal((3, 3))
    larger = best + 1e-3 * direction * np.sign(np.trace(direction))
    schur = cov_p - larger @ np.linalg.inv(cov_q) @ larger.T
    assert np.trace(larger) > np.trace(best)
    assert np.linalg.eigvalsh(schur)[0] < 0


def test_arguments_broadcast():
    rng = np.random.default_rng(0)
    arrays = (
        rng.standard_normal((5, 1, 1, 3)),
        _covariance(rng, 3, (4, 1)),
        rng.standard_normal((2, 3)),
        _covariance(rng, 3),
    )
    value = wasserstein_squared(*arrays)
    assert value.shape == (5, 4, 2)
    one = (arrays[0][3, 0, 0], arrays[1][2, 0], arrays[2][1], arrays[3])
    assert value[3, 2, 1] == pytest.approx(wasserstein_squared(*one), rel=1e-13)
    gradients = wasserstein_squared.vjp(np.ones(value.shape), *arrays)
    assert [g.shape for g in gradients] == [a.shape for a in arrays]


# ------------------------------------------------------------------------------- singular, and zero


@pytest.mark.parametrize(
    ("cov_p", "cov_q", "value"),
    [
        (np.diag([1.0, 0.0]), np.diag([0.0, 2.0]), 3.0),
        (np.ones((2, 2)), [[1.0, -1.0], [-1.0, 1.0]], 4.0),
        (np.zeros((2, 2)), [[2.0, 1.0], [1.0, 3.0]], 5.0),
        (np.zeros((2, 2)), np.zeros((2, 2)), 0.0),
        (np.diag([1.0, 0.0]), np.diag([1.0, 4e-20]), 4e-20),
        (np.diag([4.0, 1e-18, 0.0]), np.diag([9.0, 4e-18, 0.0]), 1.0 + 1e-18),
    ],
)
def test_singular_covariances(cov_p, cov_q, value):
    assert bures_squared(cov_p, cov_q) == pytest.approx(value, rel=1e-15)
    assert bures_squared(cov_q, cov_p) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_integer_covariances_of_low_rank(rank):
    """Exact singular covariances against the factors they come from."""
    rng = np.random.default_rng(rank)
    low_p, low_q = rng.integers(-3, 4, (5, rank)) * 1.0, rng.integers(-3, 4, (5, 2)) * 1.0
    exact = (low_p**2).sum() + (low_q**2).sum()
    exact -= 2 * np.linalg.svd(low_p.T @ low_q, compute_uv=False).sum()
    assert bures_squared_factor(low_p, low_q) == pytest.approx(exact, rel=1e-14)
    assert bures_squared(low_p @ low_p.T, low_q @ low_q.T) == pytest.approx(exact, rel=1e-13)


@pytest.mark.parametrize("difference", [1e-3, 1e-6, 1e-8])
@pytest.mark.parametrize("widths", [(2, 2), (3, 3), (5, 5), (7, 7)])
def test_near_factors_keep_their_digits(difference, widths):
    """Singular, square and wide factors against 80 digits."""
    rng = np.random.default_rng(widths[0])
    factor_q = rng.standard_normal((4, widths[1]))
    factor_p = factor_q + difference * rng.standard_normal((4, widths[0]))
    with mpmath.workdps(80):
        p, q = mpmath.matrix(factor_p.tolist()), mpmath.matrix(factor_q.tolist())
        cross = p.T * q if widths[0] <= 4 else (q * q.T) * (p * p.T)
        if widths[0] <= 4:
            roots = mpmath.eigsy(cross.T * cross, eigvals_only=True)
        else:
            roots = map(mpmath.re, mpmath.eig(cross, left=False, right=False))
        nuclear = mpmath.fsum(mpmath.sqrt(abs(x)) for x in roots)
        exact = mpmath.fsum(x**2 for x in p) + mpmath.fsum(x**2 for x in q) - 2 * nuclear
    assert abs(bures_squared_factor(factor_p, factor_q) - exact) <= 1e-12 * exact


@pytest.mark.parametrize("d", [1, 4, 9])
def test_value_and_gradients_are_exactly_zero_at_equality(d):
    rng = np.random.default_rng(d)
    mean, cov = rng.standard_normal(d), _covariance(rng, d)
    low = np.linalg.cholesky(cov)
    singular = low[:, : max(d // 2, 1)] @ low[:, : max(d // 2, 1)].T
    assert wasserstein_squared(mean, cov, mean, cov) == 0.0
    assert wasserstein_distance(mean, cov, mean, cov) == 0.0
    assert bures_squared(singular, singular) == 0.0
    assert bures_squared_factor(low, low) == 0.0
    for gradient in wasserstein_squared.vjp(1.0, mean, cov, mean, cov):
        np.testing.assert_array_equal(gradient, 0.0)
    for gradient in bures_squared_factor.vjp(1.0, low, low):
        np.testing.assert_array_equal(gradient, 0.0)


def test_the_gradient_of_the_distance_is_set_to_zero_at_zero():
    for gradient in wasserstein_distance.vjp(1.0, [1.0], [[2.0]], [1.0], [[2.0]]):
        np.testing.assert_array_equal(gradient, 0.0)


def test_results_are_never_negative():
    rng = np.random.default_rng(6)
    cov = _covariance(rng, 6, (500,))
    noise = 1e-16 * rng.standard_normal(cov.shape)
    value = bures_squared(cov, cov * (1 + noise + noise.swapaxes(-1, -2)))
    assert (value >= 0).all()
    assert value.max() < 1e-28
    assert bures_squared(cov, cov, form="product").min() < 0


def test_factor_of_a_singular_covariance_in_any_units():
    units = 10.0 ** np.array([-8, 0, 8])
    low = units[:, None] * np.array([[1.0, 2.0], [3.0, -1.0], [1.0, 1.0]])
    cov = low @ low.T
    factor = covariance_factor("cov", cov)
    np.testing.assert_allclose(factor @ factor.T, cov, rtol=1e-14)
    assert np.linalg.matrix_rank(factor / units[:, None]) == 2


# --------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("name", ["cov_p", "cov_q"])
@pytest.mark.parametrize("form", bures_squared.forms)
def test_an_indefinite_covariance_is_refused_by_name(name, form):
    indefinite = [[1.0, 2.0], [2.0, 1.0]]
    pair = [indefinite if n == name else np.eye(2) for n in ("cov_p", "cov_q")]
    with pytest.raises(np.linalg.LinAlgError, match=f"{name}: .*smallest eigenvalue is -1"):
        bures_squared(*pair, form=form)
    batch = [np.stack([np.eye(2), x]) for x in pair]
    with pytest.raises(np.linalg.LinAlgError, match=f"{name}: .*smallest eigenvalue is -1"):
        bures_squared(*batch, form=form)


@pytest.mark.parametrize("cov", [-np.eye(2), [[0.0, 1.0], [1.0, 0.0]], [[0.0, 1.0], [1.0, 5.0]]])
def test_variances_that_are_negative_or_too_small_are_refused(cov):
    with pytest.raises(np.linalg.LinAlgError, match="cov_p: .*smallest eigenvalue is -"):
        bures_squared(cov, np.eye(2))


def test_a_singular_covariance_has_no_gradient():
    with pytest.raises(np.linalg.LinAlgError, match="cov_p: .*smallest eigenvalue"):
        bures_squared.vjp(1.0, np.ones((2, 2)), np.eye(2))
    with pytest.raises(np.linalg.LinAlgError, match="cov_q: .*smallest eigenvalue"):
        bures_squared.vjp(1.0, np.eye(2), np.ones((2, 2)))


@pytest.mark.parametrize("place", range(4))
def test_what_is_not_finite_is_refused_by_name(place):
    arrays = [np.zeros(2), np.eye(2), np.zeros(2), np.eye(2)]
    arrays[place] = np.where(arrays[place] == 0, np.nan, arrays[place])
    name = wasserstein_squared.arguments[place].name
    with pytest.raises(ValueError, match=f"{name}: expected finite numbers"):
        wasserstein_squared(*arrays)


@pytest.mark.parametrize("place", range(2))
def test_bad_factors_are_refused_by_name(place):
    name = bures_squared_factor.arguments[place].name
    for bad, message in ((np.full((2, 1), np.inf), "finite"), (np.zeros((2, 0)), "at least one")):
        factors = [np.ones((2, 1)), np.ones((2, 1))]
        factors[place] = bad
        with pytest.raises(ValueError, match=f"{name}: expected {message}"):
            bures_squared_factor(*factors)


@pytest.mark.parametrize("place", [1, 3])
def test_an_asymmetric_covariance_is_refused_by_name(place):
    arrays = [np.zeros(2), np.eye(2), np.zeros(2), np.eye(2)]
    arrays[place] = np.array([[1.0, 1e-3], [0.0, 1.0]])
    name = wasserstein_squared.arguments[place].name
    with pytest.raises(ValueError, match=f"{name}: expected a symmetric matrix.*0.001"):
        wasserstein_squared(*arrays)


# ---------------------------------------------------------------------------------------- gradients


def test_gradients_are_those_of_the_map():
    """I - A, with A = S_p^{-1/2} (S_p^{1/2} S_q S_p^{1/2})^{1/2} S_p^{-1/2} by SciPy's roots."""
    rng = np.random.default_rng(6)
    mean_p, mean_q = rng.standard_normal(4), np.zeros(4)
    cov_p, cov_q = _covariance(rng, 4), _covariance(rng, 4)
    root = sqrtm(cov_p)
    inverse = np.linalg.inv(root)
    a = inverse @ sqrtm(root @ cov_q @ root) @ inverse
    expected = (2 * mean_p, np.eye(4) - a, -2 * mean_p, np.eye(4) - np.linalg.inv(a))
    found = wasserstein_squared.vjp(1.0, mean_p, cov_p, mean_q, cov_q)
    for got, want in zip(found, expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-12)
        np.testing.assert_array_equal(got, got.T)
    low_p, low_q = np.linalg.cholesky(cov_p), np.linalg.cholesky(cov_q)
    dfactor_p, dfactor_q = bures_squared_factor.vjp(1.0, low_p, low_q)
    np.testing.assert_allclose(dfactor_p, 2 * expected[1] @ low_p, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(dfactor_q, 2 * expected[3] @ low_q, rtol=1e-11, atol=1e-12)


def test_gradients_near_equality_keep_their_digits():
    """There dcov_p solves S G + G S = S_p - S_q, up to the square of the difference."""
    rng = np.random.default_rng(7)
    cov_q = _covariance(rng, 4)
    cov_p = _near(rng, cov_q, 1e-9)
    values, basis = np.linalg.eigh(cov_q)
    change = basis.T @ (cov_p - cov_q) @ basis / (values[:, None] + values)
    expected = basis @ change @ basis.T
    dcov_p, dcov_q = bures_squared.vjp(1.0, cov_p, cov_q)
    np.testing.assert_allclose(dcov_p, expected, rtol=0, atol=1e-7 * np.abs(expected).max())
    np.testing.assert_allclose(dcov_q, -expected, rtol=0, atol=1e-7 * np.abs(expected).max())
