"""The divergence from precisions: known values, accuracy, singular precisions, gradients."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from refimpl.gaussian.divergence import gaussian_kl
from refimpl.gaussian.parametrised import gaussian_kl_precision
from tests.gaussian.pairs import G1, G2, G3, IDENTITY, ZERO, covariance, exact_pair


def _exact(*arrays):
    with mpmath.workdps(60):
        delta, precision_p, precision_q = exact_pair(*arrays)
        ratio = mpmath.inverse(precision_p) * precision_q
        trace = mpmath.fsum(ratio[i, i] for i in range(len(delta)))
        mahalanobis = (delta.T * precision_q * delta)[0]
        return (mahalanobis + trace - len(delta) - mpmath.log(mpmath.det(ratio))) / 2


def _inverse(cov):
    inverse = np.linalg.inv(cov)
    return (inverse + inverse.T) / 2


@pytest.mark.parametrize(
    ("pair", "forward", "backward"),
    [
        (G1, 1.3938410362258905, 1.5228256304407762),
        (G2, 2.1304939052806507, 4.483142458355713),
        (G3, 0.44314718055994531, 1.3068528194400547),
    ],
)
def test_known_values(pair, forward, backward):
    p, q = (pair[0], _inverse(pair[1])), (pair[2], _inverse(pair[3]))
    assert gaussian_kl_precision(*p, *q) == pytest.approx(forward, rel=4e-15)
    assert gaussian_kl_precision(*q, *p) == pytest.approx(backward, rel=4e-15)


@pytest.mark.parametrize("difference", [1e-2, 1e-8, 1e-12])
def test_near_equality_keeps_its_digits(difference):
    rng = np.random.default_rng(1)
    precision = covariance(rng, 4)
    factor = np.linalg.cholesky(precision)
    change = rng.standard_normal((4, 4)) / 4
    moved = precision + difference * factor @ (change + change.T) @ factor.T
    mean = rng.standard_normal(4)
    arrays = (mean + difference * rng.standard_normal(4), (moved + moved.T) / 2, mean, precision)
    exact = _exact(*arrays)
    assert abs(gaussian_kl_precision(*arrays) - exact) <= 1e-13 * exact


def test_precisions_keep_the_digits_that_their_inverses_lose():
    """A nearly singular precision of q: its inverse has no digit right in its small direction."""
    precision_q = np.array([[1.0, 1.0], [1.0, 1 + 2.0**-50]])
    arrays = ([0.5, -0.25], 2 * IDENTITY, [0.0, 0.0], precision_q)
    exact = _exact(*map(np.array, arrays))
    assert abs(gaussian_kl_precision(*arrays) - exact) <= 1e-15 * exact


def test_a_flat_q_is_infinitely_far_and_a_flat_p_is_refused():
    flat = np.ones((2, 2))
    assert gaussian_kl_precision(ZERO, IDENTITY, ZERO, flat) == np.inf
    with pytest.raises(np.linalg.LinAlgError, match="precision_q: .*smallest eigenvalue"):
        gaussian_kl_precision.vjp(1.0, ZERO, IDENTITY, ZERO, flat)
    with pytest.raises(np.linalg.LinAlgError, match="precision_p: .*smallest eigenvalue"):
        gaussian_kl_precision(ZERO, flat, ZERO, IDENTITY)


@pytest.mark.parametrize("name", ["precision_p", "precision_q"])
def test_bad_precisions_are_refused_by_name(name):
    for bad, error, message in (
        ([[1.0, 2.0], [2.0, 1.0]], np.linalg.LinAlgError, "smallest eigenvalue is -1"),
        ([[1.0, 1e-3], [0.0, 1.0]], ValueError, "expected a symmetric matrix"),
        ([[np.nan, 0.0], [0.0, 1.0]], ValueError, "expected finite numbers"),
    ):
        given = {"precision_p": IDENTITY, "precision_q": IDENTITY} | {name: bad}
        with pytest.raises(error, match=f"{name}: .*{message}"):
            gaussian_kl_precision(ZERO, given["precision_p"], ZERO, given["precision_q"])
    with pytest.raises(ValueError, match="mean_p: expected at least one dimension"):
        gaussian_kl_precision([], np.zeros((0, 0)), [], np.zeros((0, 0)))


def test_arguments_broadcast():
    rng = np.random.default_rng(0)
    arrays = (
        rng.standard_normal((5, 1, 1, 3)),
        covariance(rng, 3, (4, 1)),
        rng.standard_normal((2, 3)),
        covariance(rng, 3),
    )
    value = gaussian_kl_precision(*arrays)
    assert value.shape == (5, 4, 2)
    gradients = gaussian_kl_precision.vjp(np.ones(value.shape), *arrays)
    assert [g.shape for g in gradients] == [a.shape for a in arrays]


def test_value_and_gradients_are_exactly_zero_at_equality():
    rng = np.random.default_rng(4)
    mean, precision = rng.standard_normal(5), covariance(rng, 5)
    assert gaussian_kl_precision(mean, precision, mean, precision) == 0.0
    for gradient in gaussian_kl_precision.vjp(1.0, mean, precision, mean, precision):
        np.testing.assert_array_equal(gradient, 0.0)


def test_gradients_are_those_in_the_covariances_by_the_chain_rule():
    """d/dP = -S G S."""
    rng = np.random.default_rng(6)
    mean_p, mean_q = rng.standard_normal(4), np.zeros(4)
    cov_p, cov_q = covariance(rng, 4), covariance(rng, 4)
    dmean_p, of_p, dmean_q, of_q = gaussian_kl.vjp(1.0, mean_p, cov_p, mean_q, cov_q)
    expected = (dmean_p, -cov_p @ of_p @ cov_p, dmean_q, -cov_q @ of_q @ cov_q)
    found = gaussian_kl_precision.vjp(1.0, mean_p, _inverse(cov_p), mean_q, _inverse(cov_q))
    for got, want in zip(found, expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-11)
