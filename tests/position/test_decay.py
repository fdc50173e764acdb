"""Remote decay: published numbers, accuracy of the integrals, bounds."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import scipy.optimize
import scipy.special

from refimpl.position.decay import (
    abel_decay_bound,
    remote_decay_integral,
    sinusoid_inner_product,
)
from refimpl.position.rotary import rotary_embedding, rotary_frequencies

THETA = rotary_frequencies(10000.0, dim=128)


def _real(x, family, parameter):
    return remote_decay_integral(np.asarray(x, float), family=family, parameter=parameter)[0]


# ---------------------------------------------------------------------------------------- sums


@pytest.mark.parametrize(
    ("dim", "published"),
    [
        (
            64,
            [
                32,
                30.916831661619,
                28.3038620041297,
                22.4139119440845,
                13.9060892588411,
                5.93180120292762,
                0.111914133636339,
            ],
        ),
        (
            128,
            [
                64,
                62.0936838057676,
                57.3818605528238,
                45.7205140669877,
                30.5200590081035,
                14.0431598438467,
                -3.38261392448236,
            ],
        ),
    ],
)
def test_published_products(dim, published):
    theta = rotary_frequencies(10000.0, dim=dim)
    found = sinusoid_inner_product([0, 1, 2, 8, 64, 512, 4096], theta)
    np.testing.assert_allclose(found, published, rtol=1e-13, atol=2e-12)


def test_published_curve_of_the_bound():
    found = abel_decay_bound([0, 1, 10, 50, 128, 256], THETA)
    published = [
        32.5,
        31.538166142658,
        17.954137137085,
        12.629452488319,
        9.272902724638,
        6.543097322979,
    ]
    np.testing.assert_allclose(found, published, rtol=1e-13)


def test_gram_matrix_is_toeplitz_with_rank_at_most_d():
    m = np.arange(20)
    gram = sinusoid_inner_product((m[:, None] - m).ravel(), THETA[:4]).reshape(20, 20)
    np.testing.assert_array_equal(gram[1:, 1:], gram[:-1, :-1])
    assert np.linalg.matrix_rank(gram, tol=1e-9) == 8


def test_bound_holds_for_rotated_queries_and_keys():
    rng = np.random.default_rng(8265)
    q, k = rng.standard_normal((2, 1, 128))
    z = (q[0, ::2] + 1j * q[0, 1::2]) * (k[0, ::2] - 1j * k[0, 1::2])
    step = np.abs(np.diff(np.append(z, 0))).max()
    for x in (1, 30, 1000):
        q_x = rotary_embedding(q, [x], pairing="interleaved")
        logit = (q_x * rotary_embedding(k, [0], pairing="interleaved")).sum()
        assert abs(logit) <= step * 64 * abel_decay_bound([x], THETA)[0]


def test_bound_has_no_gradient_where_a_sum_vanishes():
    theta = np.pi * np.arange(4.0)
    dx, _ = abel_decay_bound.vjp(np.ones(1), [1.0], theta)
    assert np.isfinite(dx).all()


# ----------------------------------------------------------------------------------- integrals


@pytest.mark.parametrize(
    ("base", "published"),
    [
        (
            1e4,
            {
                1: 0.97396277121,
                16: 0.634757913237,
                64: 0.487335381933,
                128: 0.411147682437,
                1024: 0.185022199889,
                1e4: -0.0366364826043,
            },
        ),
        (1e3, {1: 0.965283730776, 128: 0.215450199144, 1024: -0.0506870923762}),
    ],
)
def test_published_exponential_integrals(base, published):
    found = _real(list(published), "exponential", base)
    np.testing.assert_allclose(found, list(published.values()), rtol=2e-12)


@pytest.mark.parametrize(
    ("alpha", "value"),
    [
        (0.5, 0.0284538689819),
        (1, 0.0143754068468),
        (2, 0.0854946284385),
        (3, 0.198105004383),
        (4, 0.29964276313),
    ],
)
def test_published_power_integrals(alpha, value):
    assert _real([64], "power", alpha)[0] == pytest.approx(value, rel=1e-11)


@pytest.mark.parametrize(("base", "zero"), [(1e4, 6166.0284847287), (1e3, 617.6615684061)])
def test_first_zero(base, zero):
    found = scipy.optimize.brentq(
        lambda x: _real([x], "exponential", base)[0], 0.5 * base, base, xtol=1e-9
    )
    assert found == pytest.approx(zero, abs=1e-7)


@pytest.mark.parametrize("base", [1.5, 1e3, 1e4, 1e7])
def test_exponential_integrals_are_exact_to_the_rounding_of_angles(base):
    with mpmath.workdps(40):
        for x in [*np.geomspace(1e-8, 1e6, 40), 3.99, 4.0, 4.01]:
            a, b = mpmath.mpf(float(x)), mpmath.mpf(base)
            right = (mpmath.ci(a) - mpmath.ci(a / b)) / mpmath.log(b)
            right += 1j * (mpmath.si(a) - mpmath.si(a / b)) / mpmath.log(b)
            real, imaginary = remote_decay_integral(
                [float(x)], family="exponential", parameter=base
            )
            error = abs(mpmath.mpc(real[0], imaginary[0]) - right)
            assert error <= (4e-15 + 2.0**-52 * x) * abs(right)


@pytest.mark.parametrize("alpha", [0.25, 0.5, 1, 1.7, 2, 3, 8])
def test_power_integrals_are_exact(alpha):
    """The hypergeometric series itself cancels exp(x) times: it needs the digits of mpmath."""
    with mpmath.workdps(40):
        a = 1 / mpmath.mpf(alpha)
        for x in [*np.geomspace(1e-8, 2000, 25), 3.99, 4.0, 4.01]:
            z = -(mpmath.mpf(float(x)) ** 2) / 4
            right = mpmath.hyp1f2(a / 2, 0.5, 1 + a / 2, z)
            found = _real([x], "power", alpha)[0]
            assert abs(found - right) <= 4e-15 * (abs(right) + float(x) ** -min(1, float(a)))


@pytest.mark.parametrize("alpha", [0.003, 0.01, 0.05, 0.1, 0.2, 0.7, 1, 5])
def test_power_integrals_and_slopes_are_those_of_kummers_function(alpha):
    """Small powers too, whose x^-a is huge: G = M(a, a+1, ix), G' = i a/(a+1) M(a+1, a+2, ix)."""
    options = {"family": "power", "parameter": alpha}
    a = 1 / alpha
    one, none = np.ones(1), np.zeros(1)
    with mpmath.workdps(60):
        m = mpmath.mpf(a)
        for x in [*np.geomspace(0.01, 3000, 30), 0.99 * a, 1.01 * a, a / 2 + 100, a / 2 + 101]:
            place = mpmath.mpf(float(x)) * 1j
            value, slope = (mpmath.hyp1f1(m + j, m + j + 1, place) for j in (0, 1))
            found = mpmath.mpc(*(float(y[0]) for y in remote_decay_integral([x], **options)))
            assert abs(found - value) <= 4e-15 * abs(value)
            slope = slope * 1j * m / (m + 1)
            gradients = [
                float(remote_decay_integral.vjp(g, [x], **options)[0][0])
                for g in ((one, none), (none, one))
            ]
            assert abs(mpmath.mpc(*gradients) - slope) <= 4e-15 * abs(slope)


@pytest.mark.parametrize("base", [1 + 1e-6, 1.001, 1.1])
def test_stated_error_for_bases_close_to_one(base):
    with mpmath.workdps(40):
        for x in (0.1, 3.0, 5.0, 100.0):
            a, b = mpmath.mpf(x), mpmath.mpf(base)
            right = (mpmath.ci(a) - mpmath.ci(a / b)) / mpmath.log(b)
            error = abs(_real([x], "exponential", base)[0] - right)
            assert error <= 8 * mpmath.mpf(2) ** -53 / mpmath.log(b)


def test_far_beyond_the_base_both_ends_are_seen():
    """G ~ [sin(x)/x - (b/x) sin(x/b)]/ln b for x much larger than b."""
    b, x = 50.0, np.geomspace(1e4, 1e6, 9)
    leading = (np.sin(x) / x - b / x * np.sin(x / b)) / math.log(b)
    rest = (b / x) ** 2 / math.log(b)
    assert (np.abs(_real(x, "exponential", b) - leading) <= 1.1 * rest).all()


def test_agrees_with_the_sine_integrals_of_scipy():
    x = np.geomspace(0.01, 1e4, 50)
    (si, ci), (si_b, ci_b) = scipy.special.sici(x), scipy.special.sici(x / 1e4)
    real, imaginary = remote_decay_integral(x, family="exponential", parameter=1e4)
    np.testing.assert_allclose(real, (ci - ci_b) / math.log(1e4), atol=1e-14)
    np.testing.assert_allclose(imaginary, (si - si_b) / math.log(1e4), atol=1e-14)


@pytest.mark.parametrize("alpha", [2.0, 3.0])
def test_asymptote_of_powers(alpha):
    a = 1 / alpha
    leading = math.gamma(1 + a) * math.cos(math.pi * a / 2) * 1e6**-a
    assert _real([1e6], "power", alpha)[0] == pytest.approx(leading, rel=1e-3)


def test_powers_fall_first_and_exponentials_go_on_falling():
    """What the essay reads off its plots: over the first ten tokens, and from a hundred on."""
    families = {("power", 2.0), ("power", 0.5), ("exponential", 1e3), ("exponential", 1e4)}
    at = {f: _real([0.0, 10.0, 100.0, 500.0], *f) for f in families}
    near = {kind: [g[0] - g[1] for (k, _), g in at.items() if k == kind] for kind, _ in families}
    far = {kind: [g[2] - g[3] for (k, _), g in at.items() if k == kind] for kind, _ in families}
    assert min(near["power"]) > max(near["exponential"])
    assert max(far["power"]) < min(far["exponential"])


def test_logarithmic_decay_between_one_and_the_base():
    x = np.array([100.0, 300.0])
    rough = 1 - (np.log(x) + np.euler_gamma) / math.log(1e6)
    np.testing.assert_allclose(_real(x, "exponential", 1e6), rough, atol=2e-3)


@pytest.mark.parametrize("pairs", [32, 64, 512])
def test_sum_and_integral_differ_by_the_variation_of_the_cosine(pairs):
    theta = rotary_frequencies(10000.0, dim=2 * pairs)
    for x in (0.5, 3.0, 20.0, 200.0):
        gap = sinusoid_inner_product([x], theta)[0] / pairs - _real([x], "exponential", 1e4)[0]
        u = np.linspace(x / 1e4, x, 20001)
        variation = np.abs(np.sin((u[1:] + u[:-1]) / 2)).sum() * (u[1] - u[0])
        assert abs(gap) <= variation / pairs * 1.001
        if x * math.log(1e4) < pairs / 4:
            leading = (math.cos(x) - math.cos(x / 1e4)) / (2 * pairs)
            assert gap == pytest.approx(leading, rel=0.2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"family": "linear", "parameter": 1.0}, "family: expected 'exponential' or 'power'"),
        ({"family": "exponential", "parameter": 1.0}, "parameter: expected a number above 1"),
        ({"family": "power", "parameter": 0.0}, "parameter: expected a positive finite number"),
        (
            {"family": "power", "parameter": math.nan},
            "parameter: expected a positive finite number",
        ),
    ],
)
def test_wrong_families(options, message):
    with pytest.raises(ValueError, match=message):
        remote_decay_integral([1.0], **options)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_distances_must_be_finite(bad):
    with pytest.raises(ValueError, match="distances: expected finite numbers"):
        sinusoid_inner_product([bad], THETA)
    with pytest.raises(ValueError, match="distances: expected finite numbers"):
        remote_decay_integral([bad], family="power", parameter=1.0)
    with pytest.raises(TypeError, match="distances: expected integers or float64"):
        abel_decay_bound(np.ones(2, "float32"), THETA)
    with pytest.raises(ValueError, match="frequencies: expected at least one"):
        abel_decay_bound([1.0], np.zeros(0))
