"""The affine-invariant distance and Calvo and Oller's bound: values, accuracy, kinks, errors."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from scipy.linalg import eigh

from refimpl.gaussian.affine_invariant import calvo_oller_bound, fisher_rao_same_mean
from refimpl.gaussian.divergence import gaussian_kl
from refimpl.gaussian.fisher_rao import (
    fisher_rao_diagonal,
    fisher_rao_same_covariance,
    fisher_rao_univariate,
)
from tests.gaussian.pairs import (
    G1,
    IDENTITY,
    ZERO,
    covariance,
    exact_pair,
    pair_that_differs,
    relative_condition,
)


def _exact_of_covariances(cov_p, cov_q):
    inverse = mpmath.inverse(mpmath.cholesky(cov_q))
    whitened = inverse * cov_p * inverse.T
    ratios = mpmath.eigsy((whitened + whitened.T) / 2, eigvals_only=True)
    return mpmath.sqrt(mpmath.fsum(mpmath.log(r) ** 2 for r in ratios) / 2)


def _exact(mean_p, cov_p, mean_q, cov_q):
    """Both distances at 60 digits: of the covariances, and of the matrices that Calvo printed."""
    with mpmath.workdps(60):
        _, cov_p, cov_q = exact_pair(mean_p, cov_p, mean_q, cov_q)

        def embedded(mean, cov):
            column = mpmath.matrix(mean.tolist())
            second = cov + column * column.T
            d = len(column)
            wide = mpmath.ones(d + 1)
            wide[:d, :d] = second
            wide[:d, d], wide[d, :d] = column, column.T
            return wide

        bound = _exact_of_covariances(embedded(mean_p, cov_p), embedded(mean_q, cov_q))
        return _exact_of_covariances(cov_p, cov_q), bound


def test_known_values():
    value = fisher_rao_same_mean(G1[1], G1[3])
    assert value == pytest.approx(0.92125285900903767, rel=2e-15)
    # |z| = 1: the eigenvalues are exp(+-2 arsinh(1/2)), the squares of the golden ratio.
    golden = 2 * np.log((1 + np.sqrt(5)) / 2)
    assert calvo_oller_bound([1.0], [[1.0]], [0.0], [[1.0]]) == pytest.approx(golden, rel=1e-14)


def test_agrees_with_scipys_generalised_eigenvalues():
    rng = np.random.default_rng(1)
    cov_p, cov_q = covariance(rng, 6), covariance(rng, 6)
    logarithms = np.log(eigh(cov_p, cov_q, eigvals_only=True))
    expected = np.sqrt((logarithms**2).sum() / 2)
    assert fisher_rao_same_mean(cov_p, cov_q) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("d", [1, 3, 6])
@pytest.mark.parametrize("difference", [1e-2, 1e-8, 1e-12])
def test_near_equality_keeps_its_digits(d, difference):
    pair = pair_that_differs(np.random.default_rng(d), d, difference)
    of_covariances, bound = _exact(*pair)
    value = fisher_rao_same_mean(pair[1], pair[3])
    assert abs(value - of_covariances) <= 1e-13 * of_covariances
    # Printed as they are, the embedded matrices of P cost the exact value the digits of the means.
    assert abs(calvo_oller_bound(*pair) - bound) <= 1e-13 * bound


@pytest.mark.parametrize("difference", np.linspace(0.05, 1.0, 12))
def test_both_ways_to_the_spectrum_agree_where_they_meet(difference):
    pair = pair_that_differs(np.random.default_rng(3), 3, difference)
    of_covariances, bound = _exact(*pair)
    assert abs(fisher_rao_same_mean(pair[1], pair[3]) - of_covariances) <= 1e-14 * of_covariances
    assert abs(calvo_oller_bound(*pair) - bound) <= 1e-14 * bound


@pytest.mark.parametrize("condition", [1e4, 1e12])
def test_covariances_of_very_different_size_keep_most_digits(condition):
    pair = relative_condition(np.random.default_rng(1), 4, condition)
    of_covariances, bound = _exact(*pair)
    tolerance = 1e-15 * np.sqrt(condition)
    value = fisher_rao_same_mean(pair[1], pair[3])
    assert abs(value - of_covariances) <= tolerance * of_covariances
    assert abs(calvo_oller_bound(*pair) - bound) <= tolerance * bound


def test_half_of_it_is_the_geometric_mean():
    rng = np.random.default_rng(2)
    cov_p, cov_q = covariance(rng, 4), covariance(rng, 4)
    values, vectors = np.linalg.eigh(cov_q)
    root = (vectors * np.sqrt(values)) @ vectors.T
    inner = np.linalg.solve(root, np.linalg.solve(root, cov_p).T)
    values, vectors = np.linalg.eigh((inner + inner.T) / 2)
    middle = root @ ((vectors * np.sqrt(values)) @ vectors.T) @ root
    middle = (middle + middle.T) / 2
    whole = fisher_rao_same_mean(cov_p, cov_q)
    assert fisher_rao_same_mean(cov_p, middle) == pytest.approx(whole / 2, rel=1e-12)
    assert fisher_rao_same_mean(middle, cov_q) == pytest.approx(whole / 2, rel=1e-12)


def test_inverting_both_changes_nothing():
    rng = np.random.default_rng(4)
    cov_p, cov_q = covariance(rng, 4), covariance(rng, 4)
    inverses = np.linalg.inv(cov_p), np.linalg.inv(cov_q)
    inverses = tuple((x + x.T) / 2 for x in inverses)
    value = fisher_rao_same_mean(cov_p, cov_q)
    assert fisher_rao_same_mean(*inverses) == pytest.approx(value, rel=1e-12)


def test_bound_is_below_every_distance_that_is_known():
    rng = np.random.default_rng(5)
    mean_p, mean_q = rng.standard_normal((2, 500, 3)) * 2
    var_p, var_q = np.exp(1.5 * rng.standard_normal((2, 500, 3)))
    covs = var_p[..., None] * np.eye(3), var_q[..., None] * np.eye(3)
    bound = calvo_oller_bound(mean_p, covs[0], mean_q, covs[1])
    assert (bound <= fisher_rao_diagonal(mean_p, var_p, mean_q, var_q) * (1 + 1e-13)).all()
    bound = calvo_oller_bound(mean_p[:, :1], var_p[:, :1, None], mean_q[:, :1], var_q[:, :1, None])
    exact = fisher_rao_univariate(mean_p[:, 0], var_p[:, 0], mean_q[:, 0], var_q[:, 0])
    assert (bound <= exact * (1 + 1e-13)).all()
    assert (bound < 0.99 * exact).any()
    cov = covariance(rng, 3)
    bound = calvo_oller_bound(mean_p, cov, mean_q, cov)
    assert (bound <= fisher_rao_same_covariance(mean_p, mean_q, cov)).all()


def test_both_are_the_root_of_twice_the_divergence_near_equality():
    mean_p, cov_p, mean_q, cov_q = pair_that_differs(np.random.default_rng(8), 4, 1e-6)
    divergence = gaussian_kl(mean_p, cov_p, mean_q, cov_q)
    assert calvo_oller_bound(mean_p, cov_p, mean_q, cov_q) ** 2 / 2 == pytest.approx(
        divergence, rel=1e-5
    )
    divergence = gaussian_kl(mean_q, cov_p, mean_q, cov_q)
    assert fisher_rao_same_mean(cov_p, cov_q) ** 2 / 2 == pytest.approx(divergence, rel=1e-5)


def test_arguments_broadcast():
    rng = np.random.default_rng(0)
    arrays = (
        rng.standard_normal((5, 1, 1, 3)),
        covariance(rng, 3, (4, 1)),
        rng.standard_normal((2, 3)),
        covariance(rng, 3),
    )
    value = calvo_oller_bound(*arrays)
    assert value.shape == (5, 4, 2)
    one = (arrays[0][3, 0, 0], arrays[1][2, 0], arrays[2][1], arrays[3])
    assert value[3, 2, 1] == pytest.approx(calvo_oller_bound(*one), rel=1e-13)
    gradients = calvo_oller_bound.vjp(np.ones(value.shape), *arrays)
    assert [g.shape for g in gradients] == [a.shape for a in arrays]
    assert fisher_rao_same_mean(arrays[1], arrays[3]).shape == (4, 1)


def test_members_of_a_batch_may_be_near_and_far():
    rng = np.random.default_rng(9)
    chosen = [pair_that_differs(rng, 3, difference) for difference in (1e-8, 2.0, 0.0, 1e-3, 50.0)]
    together = calvo_oller_bound(*(np.stack(arrays) for arrays in zip(*chosen, strict=True)))
    apart = [calvo_oller_bound(*pair) for pair in chosen]
    np.testing.assert_allclose(together, apart, rtol=1e-13)


# ---------------------------------------------------------------------------- the kink, and errors


def test_values_and_gradients_are_zero_at_the_kink():
    rng = np.random.default_rng(4)
    mean, cov = rng.standard_normal(4), covariance(rng, 4)
    assert fisher_rao_same_mean(cov, cov) == 0.0
    assert calvo_oller_bound(mean, cov, mean, cov) == 0.0
    for gradient in (
        *fisher_rao_same_mean.vjp(1.0, cov, cov),
        *calvo_oller_bound.vjp(1.0, mean, cov, mean, cov),
    ):
        np.testing.assert_array_equal(gradient, 0.0)


def test_gradients_of_repeated_eigenvalues():
    """All eigenvalues are 4: no gap between them, and no gradient of an eigenvector is needed."""
    cov = covariance(np.random.default_rng(6), 3)
    inverse = np.linalg.inv(cov)
    scale = np.sqrt(3 / 2) / 3
    of_p, of_q = fisher_rao_same_mean.vjp(1.0, 4 * cov, cov)
    np.testing.assert_allclose(of_p, scale * inverse / 4, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(of_q, -scale * inverse, rtol=1e-12, atol=1e-14)


def test_gradient_for_equal_means_is_that_of_the_covariances_alone():
    rng = np.random.default_rng(7)
    mean, cov_p, cov_q = rng.standard_normal(3), covariance(rng, 3), covariance(rng, 3)
    found = calvo_oller_bound.vjp(1.0, mean, cov_p, mean, cov_q)
    expected = fisher_rao_same_mean.vjp(1.0, cov_p, cov_q)
    np.testing.assert_allclose(found[1], expected[0], rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(found[3], expected[1], rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(found[0], 0.0, atol=1e-15)


@pytest.mark.parametrize("name", ["cov_p", "cov_q"])
def test_bad_covariances_are_refused_by_name(name):
    for bad, error, message in (
        ([[1.0, 2.0], [2.0, 1.0]], np.linalg.LinAlgError, "smallest eigenvalue is -1"),
        (np.ones((2, 2)), np.linalg.LinAlgError, "smallest eigenvalue"),
        ([[1.0, 1e-3], [0.0, 1.0]], ValueError, "expected a symmetric matrix"),
        ([[np.nan, 0.0], [0.0, 1.0]], ValueError, "expected finite numbers"),
    ):
        covs = {"cov_p": IDENTITY, "cov_q": IDENTITY} | {name: bad}
        with pytest.raises(error, match=f"{name}: .*{message}"):
            fisher_rao_same_mean(covs["cov_p"], covs["cov_q"])
        with pytest.raises(error, match=f"{name}: .*{message}"):
            calvo_oller_bound(ZERO, covs["cov_p"], ZERO, covs["cov_q"])
    with pytest.raises(ValueError, match="mean_p: expected finite numbers"):
        calvo_oller_bound([np.inf, 0.0], IDENTITY, ZERO, IDENTITY)
    with pytest.raises(ValueError, match="cov_p: expected at least one dimension"):
        fisher_rao_same_mean(np.zeros((0, 0)), np.zeros((0, 0)))
