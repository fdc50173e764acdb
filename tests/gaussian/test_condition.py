"""Conditioning, products and information: by hand, singular cases, the Schur complement."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from refimpl.gaussian.condition import (
    fisher_information_metric,
    gaussian_conditional,
    gaussian_product,
)
from refimpl.gaussian.divergence import gaussian_kl
from tests.gaussian.pairs import G1, G2, IDENTITY, ZERO, covariance


def _blocks(joint, a):
    return joint[..., :a, :a], joint[..., :a, a:], joint[..., a:, a:]


# -------------------------------------------------------------------------------- conditional


@pytest.mark.parametrize(("a", "b"), [(1, 1), (2, 3), (4, 1)])
def test_ratio_of_scipys_densities(a, b):
    """p(x_a, x_b)/p(x_b) = p(x_a | x_b)"""
    rng = np.random.default_rng(a)
    joint, mean = covariance(rng, a + b), rng.standard_normal(a + b)
    x = rng.standard_normal((5, a + b))
    both = multivariate_normal(mean, joint).logpdf(x)
    marginal = multivariate_normal(mean[a:], joint[a:, a:]).logpdf(x[:, a:])
    m, c = gaussian_conditional(mean[:a], mean[a:], *_blocks(joint, a), x[:, a:])
    for i in range(5):
        ours = multivariate_normal(m[i], c[i]).logpdf(x[i, :a])
        assert ours == pytest.approx(both[i] - marginal[i], rel=1e-11)


def test_kriging_of_brownian_motion():
    """W(1) given W(0.5) = 1 and W(2) = 4: the line between them, variance 1/3"""
    times = np.array([1.0, 0.5, 2.0])
    joint = np.minimum(times[:, None], times)
    mean, cov = gaussian_conditional([0.0], ZERO, *_blocks(joint, 1), [1.0, 4.0])
    assert mean[0] == pytest.approx(2.0, rel=1e-15)
    assert cov[0, 0] == pytest.approx(1 / 3, rel=1e-15)


def test_what_is_determined_has_no_variance_left():
    """x_a is the sum of x_b: the joint covariance is singular"""
    mean, cov = gaussian_conditional([0.0], ZERO, [[2.0]], [[1.0, 1.0]], IDENTITY, [3.0, 4.0])
    assert mean.tolist() == [7.0]
    assert cov.tolist() == [[0.0]]


@pytest.mark.parametrize("excess", [1e-3, 1.0])
def test_blocks_that_are_of_no_covariance_are_refused(excess):
    """The joint matrix is positive semidefinite just where the Schur complement is."""
    blocks = [[2.0 - excess]], [[1.0, 1.0]], IDENTITY
    with pytest.raises(np.linalg.LinAlgError, match="no joint covariance.*smallest eigenvalue"):
        gaussian_conditional([0.0], ZERO, *blocks, ZERO)


def test_schur_complement_decides_definiteness():
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(200):
        half = rng.standard_normal((3, 3))
        joint = half + half.T + 3.0 * np.eye(3)
        if np.linalg.eigvalsh(joint[1:, 1:])[0] <= 0:
            continue
        is_covariance = np.linalg.eigvalsh(joint)[0] >= 0
        try:
            gaussian_conditional([0.0], ZERO, *_blocks(joint, 1), ZERO)
            assert is_covariance
        except np.linalg.LinAlgError:
            assert not is_covariance
            refused += 1
    assert 10 < refused < 190


@pytest.mark.parametrize("place", range(6))
def test_what_is_not_finite_is_refused_by_name(place):
    arrays = [ZERO, ZERO, 3 * IDENTITY, IDENTITY, IDENTITY, ZERO]
    arrays[place] = np.where(arrays[place] == 0, np.nan, arrays[place])
    name = gaussian_conditional.arguments[place].name
    with pytest.raises(ValueError, match=f"{name}: expected finite numbers"):
        gaussian_conditional(*arrays)


def test_singular_or_asymmetric_blocks_are_refused_by_name():
    with pytest.raises(np.linalg.LinAlgError, match="cov_bb: .*smallest eigenvalue"):
        gaussian_conditional(ZERO, ZERO, IDENTITY, 0 * IDENTITY, np.ones((2, 2)), ZERO)
    with pytest.raises(ValueError, match="cov_aa: expected a symmetric matrix"):
        gaussian_conditional(ZERO, ZERO, np.triu(np.ones((2, 2))), 0 * IDENTITY, IDENTITY, ZERO)
    with pytest.raises(ValueError, match="cov_ab axis 'b'"):
        gaussian_conditional(ZERO, ZERO, IDENTITY, np.zeros((2, 3)), IDENTITY, ZERO)
    with pytest.raises(ValueError, match="at least one dimension"):
        gaussian_conditional([], [0.0], np.zeros((0, 0)), np.zeros((0, 1)), [[1.0]], [0.0])


def test_all_arguments_broadcast():
    """The covariance does not depend on x_b, nor the mean on cov_aa; both have every batch axis."""
    rng = np.random.default_rng(3)
    joint = covariance(rng, 4, (4, 1))
    cov_aa, cov_ab, cov_bb = _blocks(joint, 2)
    x_b = rng.standard_normal((5, 1, 1, 2))
    mean, cov = gaussian_conditional(ZERO, ZERO, cov_aa + 0 * x_b[..., None], cov_ab, cov_bb, x_b)
    assert mean.shape == (5, 4, 1, 2) and cov.shape == (5, 4, 1, 2, 2)
    arrays = ZERO, ZERO, cov_aa + 50 * IDENTITY, cov_ab[2, 0], cov_bb[2, 0], x_b
    mean, cov = gaussian_conditional(*arrays)
    assert mean.shape == (5, 4, 1, 2) and cov.shape == (5, 4, 1, 2, 2)
    gradients = gaussian_conditional.vjp((mean, cov), *arrays)
    assert [g.shape for g in gradients] == [x.shape for x in arrays]
    weight, mean, cov = gaussian_product(x_b, cov_bb, ZERO, IDENTITY)
    assert weight.shape == (5, 4, 1) and mean.shape == (5, 4, 1, 2) and cov.shape == (5, 4, 1, 2, 2)


# ------------------------------------------------------------------------------------ product


@pytest.mark.parametrize("pair", [G1, G2])
def test_product_of_scipys_densities(pair):
    mean_p, cov_p, mean_q, cov_q = map(np.array, pair)
    weight, mean, cov = gaussian_product(*pair)
    x = np.random.default_rng(1).standard_normal((6, len(mean)))
    p, q = multivariate_normal(mean_p, cov_p), multivariate_normal(mean_q, cov_q)
    together = weight + multivariate_normal(mean, cov).logpdf(x)
    np.testing.assert_allclose(together, p.logpdf(x) + q.logpdf(x), rtol=1e-12)


def test_neither_covariance_is_inverted():
    """Each is singular; the product is certain in one direction and averages in the other."""
    weight, mean, cov = gaussian_product([1.0, 2.0], np.diag([0.0, 4.0]), [3.0, 6.0], IDENTITY)
    assert mean == pytest.approx([1.0, 5.2], rel=1e-15)
    np.testing.assert_allclose(cov, np.diag([0.0, 0.8]), rtol=1e-15)
    assert np.isfinite(weight)


@pytest.mark.parametrize("ratio", [1e-300, 1e-14, 1e14, 1e300])
def test_a_narrow_density_is_hardly_moved_by_a_wide_one(ratio):
    """C = v/(1 + v) and c = a + (b - a) v/(1 + v), whose textbook inverses overflow"""
    _, mean, cov = gaussian_product([5.0], [[ratio]], [3.0], [[1.0]])
    share = 1 / (1 + 1 / ratio)
    assert cov[0, 0] == pytest.approx(share, rel=1e-15)
    assert mean[0] == pytest.approx(5 - 2 * share, rel=1e-15)


def test_a_singular_sum_and_an_indefinite_factor_are_refused():
    with pytest.raises(np.linalg.LinAlgError, match=r"cov_p \+ cov_q: .*smallest eigenvalue"):
        gaussian_product(ZERO, np.diag([1.0, 0.0]), ZERO, np.diag([2.0, 0.0]))
    with pytest.raises(np.linalg.LinAlgError, match="cov_q: .*smallest eigenvalue is -1"):
        gaussian_product(ZERO, 9 * IDENTITY, ZERO, [[1.0, 2.0], [2.0, 1.0]])


# -------------------------------------------------------------------------------- information


def test_univariate_metric_in_mean_and_deviation():
    """ds^2 = (dm^2 + 2 ds^2)/s^2, with the variance changing by 2 s ds"""
    s, dm, ds = 3.0, 0.5, 0.25
    found = fisher_information_metric([dm], [[2 * s * ds]], [[s * s]])
    assert found == pytest.approx((dm**2 + 2 * ds**2) / s**2, rel=1e-15)


def test_diagonal_metric_in_variances():
    """At variances 1 and 4, which change by 0.1 and 0.2: (0.1^2 + 0.05^2)/2 = 0.00625"""
    found = fisher_information_metric(ZERO, np.diag([0.1, 0.2]), np.diag([1.0, 4.0]))
    assert found == pytest.approx(0.00625, rel=1e-15)


def test_second_order_of_the_divergence():
    rng = np.random.default_rng(2)
    cov, change = covariance(rng, 4), covariance(rng, 4) - 4 * np.eye(4)
    mean = rng.standard_normal(4)
    h = 1e-5
    divergence = gaussian_kl(h * mean, cov + h * change, np.zeros(4), cov)
    assert fisher_information_metric(mean, change, cov) == pytest.approx(
        2 * divergence / h**2, rel=1e-3
    )


def test_a_change_must_be_symmetric_and_the_covariance_definite():
    with pytest.raises(ValueError, match="tangent_cov: expected a symmetric matrix"):
        fisher_information_metric(ZERO, np.triu(np.ones((2, 2))), IDENTITY)
    with pytest.raises(np.linalg.LinAlgError, match="cov: .*smallest eigenvalue"):
        fisher_information_metric(ZERO, IDENTITY, np.ones((2, 2)))
    with pytest.raises(ValueError, match="tangent_mean: expected finite numbers"):
        fisher_information_metric([np.nan, 0.0], IDENTITY, IDENTITY)
