"""Divergences from variances, log variances and Cholesky factors: values, accuracy, errors."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from refimpl.backend import quiet
from refimpl.core import expm1_minus, ratio_minus_log
from refimpl.gaussian.divergence import gaussian_kl
from refimpl.gaussian.parametrised import (
    gaussian_kl_cholesky,
    gaussian_kl_diagonal,
    gaussian_kl_log_variance,
)
from tests.gaussian.pairs import G1, G2, G3, covariance, exact_pair, pair_that_differs

ZERO, ONE = np.zeros(2), np.ones(2)


def _exact_diagonal(mean_p, var_p, mean_q, var_q):
    """The printed terms at 60 digits, on the very numbers that the library gets."""
    with mpmath.workdps(60):
        total = mpmath.mpf(0)
        for a, v, b, w in zip(mean_p, var_p, mean_q, var_q, strict=True):
            a, v, b, w = (mpmath.mpf(float(x)) for x in (a, v, b, w))
            total += ((a - b) ** 2 / w + v / w - 1 - mpmath.log(v / w)) / 2
        return total


def _exact_cholesky(mean_p, factor_p, mean_q, factor_q):
    with mpmath.workdps(60):
        delta, factor_p, factor_q = exact_pair(mean_p, factor_p, mean_q, factor_q)
        precision = mpmath.inverse(factor_q * factor_q.T)
        ratio = precision * factor_p * factor_p.T
        trace = mpmath.fsum(ratio[i, i] for i in range(len(delta)))
        mahalanobis = (delta.T * precision * delta)[0]
        return (mahalanobis + trace - len(delta) - mpmath.log(mpmath.det(ratio))) / 2


def _near(rng, d, difference):
    mean, var = rng.standard_normal(d), rng.uniform(0.5, 4, d)
    change = 1 + difference * rng.uniform(-1, 1, d)
    return mean + difference * rng.standard_normal(d), var * change, mean, var


@pytest.mark.parametrize(
    ("pair", "forward", "backward"),
    [
        (G1, 1.3938410362258905, 1.5228256304407762),
        (G2, 2.1304939052806507, 4.483142458355713),
        (G3, 0.44314718055994531, 1.3068528194400547),
    ],
)
@pytest.mark.parametrize("form", gaussian_kl_cholesky.forms)
def test_known_values_from_cholesky_factors(pair, forward, backward, form):
    p = pair[0], np.linalg.cholesky(pair[1])
    q = pair[2], np.linalg.cholesky(pair[3])
    assert gaussian_kl_cholesky(*p, *q, form=form) == pytest.approx(forward, rel=2e-15)
    assert gaussian_kl_cholesky(*q, *p, form=form) == pytest.approx(backward, rel=2e-15)


def test_known_values_of_one_dimension():
    for formula, scale in ((gaussian_kl_diagonal, 4.0), (gaussian_kl_log_variance, np.log(4))):
        unit = 1.0 if formula is gaussian_kl_diagonal else 0.0
        for form in formula.forms:
            forward = formula([0.0], [unit], [1.0], [scale], form=form)
            backward = formula([1.0], [scale], [0.0], [unit], form=form)
            assert forward == pytest.approx(0.44314718055994531, rel=2e-15)
            assert backward == pytest.approx(1.3068528194400547, rel=2e-15)


def test_the_loss_of_a_variational_autoencoder():
    """-1/2 sum(1 + log_var - mean^2 - exp(log_var)), as Kingma & Welling print it."""
    rng = np.random.default_rng(0)
    mean, log_var = rng.standard_normal((7, 16)), rng.standard_normal((7, 16))
    expected = -0.5 * (1 + log_var - mean**2 - np.exp(log_var)).sum(axis=-1)
    value = gaussian_kl_log_variance(mean, log_var, np.zeros(16), np.zeros(16))
    np.testing.assert_allclose(value, expected, rtol=1e-14)


@pytest.mark.parametrize("difference", [1e-2, 1e-8, 1e-12])
def test_near_equality_keeps_its_digits(difference):
    rng = np.random.default_rng(1)
    mean_p, var_p, mean_q, var_q = _near(rng, 6, difference)
    exact = _exact_diagonal(mean_p, var_p, mean_q, var_q)
    assert abs(gaussian_kl_diagonal(mean_p, var_p, mean_q, var_q) - exact) <= 1e-14 * exact

    log_var = rng.standard_normal(6)
    step = difference * rng.uniform(-1, 1, 6)
    with mpmath.workdps(60):
        a = [
            mpmath.mpf(float(x)) - mpmath.mpf(float(y))
            for x, y in zip(log_var + step, log_var, strict=True)
        ]
        exact = mpmath.fsum(mpmath.expm1(x) - x for x in a) / 2
    value = gaussian_kl_log_variance(np.zeros(6), log_var + step, np.zeros(6), log_var)
    assert abs(value - exact) <= 1e-14 * exact

    mean_p, cov_p, mean_q, cov_q = pair_that_differs(rng, 6, difference)
    factors = np.linalg.cholesky(cov_p), np.linalg.cholesky(cov_q)
    pair = (mean_p, factors[0], mean_q, factors[1])
    exact = _exact_cholesky(*pair)
    assert abs(gaussian_kl_cholesky(*pair) - exact) <= 1e-13 * exact


def test_the_textbook_forms_lose_no_more_than_their_terms_round():
    near = _near(np.random.default_rng(1), 6, 1e-9)
    exact = _exact_diagonal(*near)
    assert abs(gaussian_kl_diagonal(*near, form="textbook") - exact) <= 1e-14
    logarithms = (near[0], np.log(near[1]), near[2], np.log(near[3]))
    assert abs(gaussian_kl_log_variance(*logarithms, form="textbook") - exact) <= 1e-14


def test_single_precision_keeps_six_digits_where_torch_has_four():
    """From deviation 1 to 1.001 in float32 torch says 9.98378e-7 where 9.98336e-7 is right."""
    deviation = np.float32(1.001)
    arrays = [np.array([x], np.float32) for x in (0, 1, 0, deviation**2)]
    exact = _exact_diagonal(*(a.astype(float) for a in arrays))
    assert abs(gaussian_kl_diagonal(*arrays) - exact) <= 1e-6 * exact


def test_factors_keep_the_digits_that_their_product_loses():
    """In float64 the product of this factor with itself is singular."""
    factor_q = np.array([[1.0, 0.0], [1.0, 1e-9]])
    factor_p = np.array([[1.0, 0.0], [1 + 1e-10, 1.1e-9]])
    mean_q = np.array([0.25, 0.5])
    mean_p = mean_q + np.array([1.0, 1 + 2.0**-30])
    exact = _exact_cholesky(mean_p, factor_p, mean_q, factor_q)
    value = gaussian_kl_cholesky(mean_p, factor_p, mean_q, factor_q)
    assert abs(value - exact) <= 1e-13 * exact
    with pytest.raises(np.linalg.LinAlgError):
        gaussian_kl(mean_p, factor_p @ factor_p.T, mean_q, factor_q @ factor_q.T)


@pytest.mark.parametrize("ratio", [1e-300, 1e-12, 1e12, 1e300])
def test_extreme_ratios_of_variance(ratio):
    expected = 0.5 * (ratio - 1 - np.log(ratio))
    assert gaussian_kl_diagonal([0.0], [ratio], [0.0], [1.0]) == pytest.approx(expected, rel=1e-15)
    value = gaussian_kl_log_variance([0.0], [np.log(ratio)], [0.0], [0.0])
    assert value == pytest.approx(expected, rel=1e-12)
    root = np.sqrt(ratio)
    value = gaussian_kl_cholesky([0.0], [[root]], [0.0], [[1.0]])
    assert value == pytest.approx(expected, rel=1e-14)


def test_overflow_is_infinite():
    assert gaussian_kl_diagonal([0.0], [1e300], [0.0], [1e-300]) == np.inf
    assert gaussian_kl_log_variance([0.0], [1000.0], [0.0], [0.0]) == np.inf


def test_all_arguments_broadcast():
    rng = np.random.default_rng(0)
    arrays = (
        rng.standard_normal((5, 1, 1, 3)),
        rng.uniform(0.5, 2, (4, 1, 3)),
        rng.standard_normal((2, 3)),
        rng.uniform(0.5, 2, 3),
    )
    for formula in (gaussian_kl_diagonal, gaussian_kl_log_variance):
        value = formula(*arrays)
        assert value.shape == (5, 4, 2)
        one = (arrays[0][3, 0, 0], arrays[1][2, 0], arrays[2][1], arrays[3])
        assert value[3, 2, 1] == pytest.approx(formula(*one), rel=1e-14)
        gradients = formula.vjp(np.ones(value.shape), *arrays)
        assert [g.shape for g in gradients] == [a.shape for a in arrays]


# ---------------------------------------------------------------------------------- refused input


def test_a_variance_of_zero():
    assert gaussian_kl_diagonal(ZERO, [0.0, 1.0], ZERO, ONE) == np.inf
    assert gaussian_kl_cholesky(ZERO, np.diag([0.0, 1.0]), ZERO, np.eye(2)) == np.inf
    with pytest.raises(ValueError, match="var_p: expected positive numbers, got 0"):
        gaussian_kl_diagonal.vjp(1.0, ZERO, [0.0, 1.0], ZERO, ONE)
    with pytest.raises(ValueError, match="var_q: expected positive numbers, got 0"):
        gaussian_kl_diagonal(ZERO, ONE, ZERO, [0.0, 1.0])
    with pytest.raises(ValueError, match="diagonal of scale_tril_p: expected positive numbers"):
        gaussian_kl_cholesky.vjp(1.0, ZERO, np.diag([0.0, 1.0]), ZERO, np.eye(2))
    with pytest.raises(ValueError, match="diagonal of scale_tril_q: expected positive numbers"):
        gaussian_kl_cholesky(ZERO, np.eye(2), ZERO, np.diag([0.0, 1.0]))


def test_negative_variances_are_refused_by_name():
    for form in gaussian_kl_diagonal.forms:
        with pytest.raises(ValueError, match="var_p: expected no negative numbers, got -1"):
            gaussian_kl_diagonal(ZERO, [1.0, -1.0], ZERO, ONE, form=form)
        with pytest.raises(ValueError, match="var_q: expected positive numbers, got -1"):
            gaussian_kl_diagonal(ZERO, ONE, ZERO, [1.0, -1.0], form=form)
    with pytest.raises(ValueError, match="diagonal of scale_tril_p: expected no negative"):
        gaussian_kl_cholesky(ZERO, -np.eye(2), ZERO, np.eye(2))


@pytest.mark.parametrize("name", ["scale_tril_p", "scale_tril_q"])
def test_factors_with_entries_above_the_diagonal_are_refused_by_name(name):
    factors = {"scale_tril_p": np.eye(2), "scale_tril_q": np.eye(2)}
    factors[name] = np.array([[2.0, 1.0], [1.0, 2.0]])
    with pytest.raises(ValueError, match=f"{name}: expected a lower triangular matrix"):
        gaussian_kl_cholesky(ZERO, factors["scale_tril_p"], ZERO, factors["scale_tril_q"])


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize(
    "formula", [gaussian_kl_diagonal, gaussian_kl_log_variance, gaussian_kl_cholesky]
)
def test_what_is_not_finite_is_refused_by_name(formula, place):
    scale = np.eye(2) if formula is gaussian_kl_cholesky else ONE
    arrays = [ZERO, scale, ZERO, scale]
    arrays[place] = arrays[place] * np.nan
    name = formula.arguments[place].name
    for form in formula.forms:
        with pytest.raises(ValueError, match=f"{name}: expected finite numbers"):
            formula(*arrays, form=form)


def test_no_dimension_is_refused():
    empty = np.zeros(0)
    for formula in (gaussian_kl_diagonal, gaussian_kl_log_variance):
        with pytest.raises(ValueError, match="mean_p: expected at least one dimension"):
            formula(empty, empty, empty, empty)
    with pytest.raises(ValueError, match="mean_p: expected at least one dimension"):
        gaussian_kl_cholesky(empty, np.zeros((0, 0)), empty, np.zeros((0, 0)))


# ---------------------------------------------------------------------------------------- gradients


def test_values_and_gradients_are_exactly_zero_at_equality():
    rng = np.random.default_rng(4)
    mean, var = rng.standard_normal(5), rng.uniform(0.5, 2, 5)
    factor = np.linalg.cholesky(covariance(rng, 5))
    for formula, scale in (
        (gaussian_kl_diagonal, var),
        (gaussian_kl_log_variance, var),
        (gaussian_kl_cholesky, factor),
    ):
        assert formula(mean, scale, mean, scale) == 0.0
        for gradient in formula.vjp(1.0, mean, scale, mean, scale):
            np.testing.assert_array_equal(gradient, 0.0)


def test_gradients_are_those_in_the_covariances_by_the_chain_rule():
    """d/dvar = diag(G), d/dlog var = var diag(G), d/dL = tril(2 G L)."""
    rng = np.random.default_rng(6)
    mean_p, mean_q = rng.standard_normal(4), np.zeros(4)
    var_p, var_q = rng.uniform(0.5, 2, 4), rng.uniform(0.5, 2, 4)
    of = gaussian_kl.vjp(1.0, mean_p, np.diag(var_p), mean_q, np.diag(var_q))
    expected = (of[0], np.diag(of[1]), of[2], np.diag(of[3]))
    found = gaussian_kl_diagonal.vjp(1.0, mean_p, var_p, mean_q, var_q)
    for got, want in zip(found, expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14)
    found = gaussian_kl_log_variance.vjp(1.0, mean_p, np.log(var_p), mean_q, np.log(var_q))
    for got, want, scale in zip(found, expected, (1, var_p, 1, var_q), strict=True):
        np.testing.assert_allclose(got, scale * want, rtol=1e-12, atol=1e-14)

    cov_p, cov_q = covariance(rng, 4), covariance(rng, 4)
    factor_p, factor_q = np.linalg.cholesky(cov_p), np.linalg.cholesky(cov_q)
    of = gaussian_kl.vjp(1.0, mean_p, cov_p, mean_q, cov_q)
    expected = (of[0], np.tril(2 * of[1] @ factor_p), of[2], np.tril(2 * of[3] @ factor_q))
    found = gaussian_kl_cholesky.vjp(1.0, mean_p, factor_p, mean_q, factor_q)
    for got, want in zip(found, expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-13)
    np.testing.assert_array_equal(found[1], np.tril(found[1]))


# ----------------------------------------------------------------------------------- primitives


@pytest.mark.parametrize("dtype", [np.float64, np.longdouble])
def test_primitives_keep_their_digits(dtype):
    eps = np.finfo(dtype).eps
    x = np.concatenate([[-40, -3, -0.5, 0.5, 3], [-0.49, 0.49], 10.0 ** -np.arange(1, 15, 2)])
    with mpmath.workdps(60), quiet():
        exact = [mpmath.expm1(mpmath.mpf(v)) - mpmath.mpf(v) for v in x]
        for got, want in zip(expm1_minus(x.astype(dtype)), exact, strict=True):
            assert abs(mpmath.mpf(str(got)) - want) <= 10 * eps * want
        numerator, denominator = 1 + np.append(x[3:], 1e-9), np.ones(len(x) - 2)
        numerator[0], numerator[1] = 1e-300, 1e300
        ratios = [mpmath.mpf(v) - 1 - mpmath.log(mpmath.mpf(v)) for v in numerator]
        found = ratio_minus_log(numerator.astype(dtype), denominator.astype(dtype))
        for got, want in zip(found, ratios, strict=True):
            assert abs(mpmath.mpf(str(got)) - want) <= 10 * eps * want
    with quiet():
        assert ratio_minus_log(np.array(0.0), np.array(1.0)) == np.inf
    assert ratio_minus_log(np.array(1.0), np.array(1.0)) == 0.0
    assert expm1_minus(np.array(0.0)) == 0.0
