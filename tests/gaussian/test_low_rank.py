"""The divergence from a diagonal plus a low rank: agreement with dense matrices, accuracy."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from refimpl.gaussian.divergence import gaussian_kl
from refimpl.gaussian.low_rank import gaussian_kl_low_rank
from tests.gaussian.pairs import exact_pair

ONE = (np.zeros(2), np.ones(2), np.ones((2, 1)))


def _draw(rng, d, r):
    return rng.standard_normal(d), rng.uniform(0.5, 2, d), rng.standard_normal((d, r))


def _dense(mean, diag, factor):
    return mean, np.diag(diag) + factor @ factor.T


def _exact(p, q):
    with mpmath.workdps(60):
        delta, factor_p, factor_q = exact_pair(p[0], p[2], q[0], q[2])
        cov_p = mpmath.diag(p[1].tolist()) + factor_p * factor_p.T
        cov_q = mpmath.diag(q[1].tolist()) + factor_q * factor_q.T
        precision = mpmath.inverse(cov_q)
        ratio = precision * cov_p
        trace = mpmath.fsum(ratio[i, i] for i in range(len(delta)))
        mahalanobis = (delta.T * precision * delta)[0]
        return (mahalanobis + trace - len(delta) - mpmath.log(mpmath.det(ratio))) / 2


@pytest.mark.parametrize(("d", "r", "s"), [(1, 1, 1), (6, 2, 2), (6, 1, 3), (6, 0, 2), (3, 5, 4)])
@pytest.mark.parametrize("form", gaussian_kl_low_rank.forms)
def test_agrees_with_dense_matrices(d, r, s, form):
    rng = np.random.default_rng(d + r)
    p, q = _draw(rng, d, r), _draw(rng, d, s)
    expected = gaussian_kl(*_dense(*p), *_dense(*q))
    assert gaussian_kl_low_rank(*p, *q, form=form) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("difference", [1e-2, 1e-8, 1e-12])
def test_near_equality_keeps_its_digits(difference):
    rng = np.random.default_rng(5)
    q = _draw(rng, 6, 2)
    p = tuple(x * (1 + difference * rng.standard_normal(x.shape)) for x in q)
    exact = _exact(p, q)
    assert abs(gaussian_kl_low_rank(*p, *q) - exact) <= 1e-13 * exact


def test_the_woodbury_form_loses_no_more_than_its_terms_round():
    rng = np.random.default_rng(5)
    q = _draw(rng, 6, 2)
    p = tuple(x * (1 + 1e-9 * rng.standard_normal(x.shape)) for x in q)
    exact = _exact(p, q)
    assert abs(gaussian_kl_low_rank(*p, *q, form="woodbury") - exact) <= 1e-12


def test_the_woodbury_form_holds_no_matrix_of_d_by_d():
    import tracemalloc

    rng = np.random.default_rng(0)
    d = 3000
    p, q = _draw(rng, d, 4), _draw(rng, d, 3)
    tracemalloc.start()
    value = gaussian_kl_low_rank(*p, *q, form="woodbury")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.isfinite(value) and value > 0
    assert peak < d * d


def test_columns_turn_without_effect():
    rng = np.random.default_rng(2)
    p, q = _draw(rng, 5, 3), _draw(rng, 5, 2)
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    turned = (p[0], p[1], p[2] @ turn)
    expected = gaussian_kl_low_rank(*p, *q)
    assert gaussian_kl_low_rank(*turned, *q) == pytest.approx(expected, rel=1e-13)
    assert abs(gaussian_kl_low_rank(*turned, *p)) < 1e-14


def test_all_arguments_broadcast():
    rng = np.random.default_rng(0)
    arrays = (
        *(rng.standard_normal((5, 1, 1, 4)), rng.uniform(0.5, 2, 4)),
        *(rng.standard_normal((3, 1, 4, 2)), rng.standard_normal((2, 4))),
        *(rng.uniform(0.5, 2, (1, 4)), rng.standard_normal((4, 1))),
    )
    one = (arrays[0][4, 0, 0], arrays[1], arrays[2][2, 0], arrays[3][1], arrays[4][0], arrays[5])
    for form in gaussian_kl_low_rank.forms:
        value = gaussian_kl_low_rank(*arrays, form=form)
        assert value.shape == (5, 3, 2)
        assert value[4, 2, 1] == pytest.approx(gaussian_kl_low_rank(*one, form=form), rel=1e-13)
    gradients = gaussian_kl_low_rank.vjp(np.ones((5, 3, 2)), *arrays)
    assert [g.shape for g in gradients] == [a.shape for a in arrays]


def test_value_and_gradients_are_exactly_zero_at_equality():
    p = _draw(np.random.default_rng(4), 5, 2)
    assert gaussian_kl_low_rank(*p, *p) == 0.0
    for gradient in gaussian_kl_low_rank.vjp(1.0, *p, *p):
        np.testing.assert_array_equal(gradient, 0.0)


def test_gradients_are_those_in_the_covariances_by_the_chain_rule():
    """d/dD = diag(G), d/dW = 2 G W."""
    rng = np.random.default_rng(6)
    p, q = _draw(rng, 5, 3), _draw(rng, 5, 2)
    dmean_p, of_p, dmean_q, of_q = gaussian_kl.vjp(1.0, *_dense(*p), *_dense(*q))
    expected = (dmean_p, np.diag(of_p), 2 * of_p @ p[2], dmean_q, np.diag(of_q), 2 * of_q @ q[2])
    for got, want in zip(gaussian_kl_low_rank.vjp(1.0, *p, *q), expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("place", range(6))
@pytest.mark.parametrize("form", gaussian_kl_low_rank.forms)
def test_what_is_not_finite_is_refused_by_name(place, form):
    arrays = [*ONE, *ONE]
    arrays[place] = arrays[place] + np.nan
    name = gaussian_kl_low_rank.arguments[place].name
    with pytest.raises(ValueError, match=f"{name}: expected finite numbers"):
        gaussian_kl_low_rank(*arrays, form=form)


@pytest.mark.parametrize("place", [1, 4])
@pytest.mark.parametrize("form", gaussian_kl_low_rank.forms)
@pytest.mark.parametrize("entry", [0.0, -1.0])
def test_diagonals_that_are_not_positive_are_refused_by_name(place, form, entry):
    arrays = [*ONE, *ONE]
    arrays[place] = np.array([1.0, entry])
    name = gaussian_kl_low_rank.arguments[place].name
    with pytest.raises(ValueError, match=f"{name}: expected positive numbers, got {entry:g}"):
        gaussian_kl_low_rank(*arrays, form=form)


def test_factors_of_the_wrong_shape_are_refused_by_name():
    with pytest.raises(ValueError, match="factor_q"):
        gaussian_kl_low_rank(*ONE, ONE[0], ONE[1], np.ones((1, 2)))
