"""Encodings that multiply: complex numbers, far positions, gradients, bad input."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest

from refimpl.position.multiplicative import (
    complex_order_encoding,
    complex_products,
    multiplicative_encoding,
)


def _tokens(n=5, d=3):
    rng = np.random.default_rng(1912)
    return tuple(rng.standard_normal((n, d)) for _ in range(3))


def test_it_is_a_complex_exponential():
    r, w, t = _tokens()
    real, imaginary = complex_order_encoding(r, w, t, np.arange(5))
    z = r * np.exp(1j * (w * np.arange(5)[:, None] + t))
    np.testing.assert_allclose(real + 1j * imaginary, z, rtol=1e-14)


def test_steps_multiply_by_the_same_wherever_they_begin():
    r, w, t = (x[:1] for x in _tokens())
    z = [
        complex_order_encoding(*(np.repeat(x, 2, axis=0) for x in (r, w, t)), [k, k + 3])
        for k in (0, 5, 100)
    ]
    ratios = [(y[0][1] + 1j * y[1][1]) / (y[0][0] + 1j * y[1][0]) for y in z]
    for ratio in ratios:
        np.testing.assert_allclose(ratio, np.exp(3j * w[0]), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_far_positions_are_exact_for_the_frequency_that_is_given(dtype):
    """The angle is computed in float64, so that the result is the rounded right one."""
    r, w, t = (np.array([[x]], dtype) for x in (1.0, 0.7, 0.3))
    real, imaginary = complex_order_encoding(r, w, t, [10**6])
    with mpmath.workdps(50):
        z = mpmath.expj(mpmath.mpf(float(w[0, 0])) * 10**6 + mpmath.mpf(float(t[0, 0])))
    tolerance = 1.01 * max(float(np.finfo(dtype).eps) / 2, 2e-10)
    assert (real.dtype, imaginary.dtype) == (r.dtype, r.dtype)
    assert abs(float(real[0, 0]) - float(z.real)) <= tolerance
    assert abs(float(imaginary[0, 0]) - float(z.imag)) <= tolerance


def test_gradients_by_differences():
    tokens, k = _tokens(), np.array([0, 1, 7, 2, 30])
    rng = np.random.default_rng(0)
    g = rng.standard_normal((2, 5, 3))
    found = complex_order_encoding.vjp(tuple(g), *tokens, k)

    def loss(*tokens):
        real, imaginary = complex_order_encoding(*tokens, k)
        return (g[0] * real + g[1] * imaginary).sum()

    for which, gradient in enumerate(found):
        step = 1e-6 * rng.standard_normal((5, 3))
        ahead, behind = (
            loss(*(x + s * step if i == which else x for i, x in enumerate(tokens)))
            for s in (1, -1)
        )
        assert (gradient * step).sum() == pytest.approx((ahead - behind) / 2, rel=1e-6)


def test_bad_positions():
    with pytest.raises(ValueError, match="positions: expected finite"):
        complex_order_encoding(*_tokens(), [0, 1, 2, 3, math.inf])
    with pytest.raises(TypeError, match="positions: expected integers or float64"):
        complex_order_encoding(*_tokens(), np.arange(5, dtype="float32"))


def test_zero_deviations_are_the_start_of_bert4keras():
    x = _tokens()[0]
    nothing = np.zeros_like(x)
    found = multiplicative_encoding(x, nothing, parametrisation="deviation")
    np.testing.assert_array_equal(found, x)
    assert (multiplicative_encoding(x, nothing, parametrisation="factor") == 0).all()


def test_bad_parametrisation():
    with pytest.raises(ValueError, match="parametrisation: expected .* got 'mul'"):
        multiplicative_encoding([[1.0]], [[1.0]], parametrisation="mul")
    with pytest.raises(TypeError, match="needs .*parametrisation"):
        multiplicative_encoding([[1.0]], [[1.0]])


def test_conjugate_products_of_encodings_see_the_distance_and_the_others_do_not():
    """For one word at many positions, with its own frequencies in every feature."""
    tokens = (np.repeat(x[:1], 6, axis=0) for x in _tokens())
    z = complex_order_encoding(*tokens, np.arange(6))
    inner = complex_products(*z, *z, conjugate=True)
    for part in inner:
        np.testing.assert_allclose(part[1:, 1:], part[:-1, :-1], rtol=0, atol=1e-13)
    plain = complex_products(*z, *z, conjugate=False)
    assert np.abs(plain[0][1:, 1:] - plain[0][:-1, :-1]).max() > 0.1


def test_products_are_numpys():
    rng = np.random.default_rng(0)
    a, b, c, d = (rng.standard_normal((4, 3)) for _ in range(4))
    for conjugate in (False, True):
        k = (c + 1j * d).conj() if conjugate else c + 1j * d
        expected = (a + 1j * b) @ k.T
        real, imaginary = complex_products(a, b, c, d, conjugate=conjugate)
        np.testing.assert_allclose(real + 1j * imaginary, expected, rtol=0, atol=1e-14)


def test_conjugation_has_no_default():
    with pytest.raises(TypeError, match="needs .*conjugate"):
        complex_products(*(np.ones((1, 1)),) * 4)
