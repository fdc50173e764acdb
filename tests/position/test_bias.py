"""ALiBi and KERPLE: published numbers, exactness far out, gradients through softmax, bad input."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest

from refimpl.attention.softmax import softmax_attention
from refimpl.position.bias import alibi_bias, alibi_slopes, kerple_bias

# ----------------------------------------------------------------------------------- ALiBi: slopes


@pytest.mark.parametrize(
    ("heads", "expected"),
    [
        (3, [1 / 16, 1 / 256, 1 / 4]),
        (6, [1 / 4, 1 / 16, 1 / 64, 1 / 256, 1 / 2, 1 / 8]),
        (8, [1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64, 1 / 128, 1 / 256]),
    ],
)
def test_published_slopes_are_exact(heads, expected):
    np.testing.assert_array_equal(alibi_slopes(8, heads=heads, rule="split"), expected)


def test_slopes_of_twelve_and_forty_heads():
    twelve = alibi_slopes(8, heads=12, rule="split")
    expected = [0.707106781187, 0.353553390593, 0.176776695297, 0.088388347648]
    np.testing.assert_allclose(twelve[8:], expected, rtol=1e-11)
    forty = alibi_slopes(8, heads=40, rule="split")
    assert forty[31] == 1 / 256
    np.testing.assert_allclose(forty[32:34], [0.917004043205, 0.771105412704], rtol=1e-11)


def _published_code(heads):
    """get_slopes of the paper's code, with its own roundings."""

    def of_power(n):
        start = 2 ** (-(2 ** -(math.log2(n) - 3)))
        return [start * start**i for i in range(n)]

    if math.log2(heads).is_integer():
        return of_power(heads)
    below = 2 ** math.floor(math.log2(heads))
    return of_power(below) + _published_code(2 * below)[0::2][: heads - below]


def _mpt(heads):
    """Every second slope of the next power first."""
    above = 2 ** math.ceil(math.log2(heads))
    full = 1.0 / 2.0 ** (np.arange(1, above + 1) * 8 / above)
    return full if above == heads else np.concatenate([full[1::2], full[::2]])[:heads]


@pytest.mark.parametrize("heads", range(1, 65))
def test_slopes_of_two_public_codes_for_every_number_of_heads(heads):
    slopes = alibi_slopes(8, heads=heads, rule="split")
    np.testing.assert_allclose(slopes, _published_code(heads), rtol=1e-13)
    np.testing.assert_allclose(slopes, _mpt(heads), rtol=1e-14)


def test_rules_differ_unless_heads_are_a_power_of_two():
    for heads in range(1, 41):
        split, geometric = (alibi_slopes(8, heads=heads, rule=r) for r in ("split", "geometric"))
        assert np.array_equal(split, geometric) == (heads & (heads - 1) == 0)


def test_a_rule_is_asked_for_where_they_differ():
    assert alibi_slopes(8, heads=4).tolist() == [1 / 4, 1 / 16, 1 / 64, 1 / 256]
    with pytest.raises(ValueError, match="rule: expected 'split'.*differ for 12 heads, got None"):
        alibi_slopes(8, heads=12)
    with pytest.raises(ValueError, match="rule: expected.*got 'press'"):
        alibi_slopes(8, heads=8, rule="press")


@pytest.mark.parametrize("heads", [0, -1, 2.5])
def test_heads_must_be_a_positive_integer(heads):
    with pytest.raises(ValueError, match="heads: expected a positive whole number"):
        alibi_slopes(8, heads=heads, rule="split")


@pytest.mark.parametrize("maximum", [0.0, -8.0, math.nan, math.inf])
def test_largest_exponent_must_be_positive(maximum):
    with pytest.raises(ValueError, match="alibi_bias_max: expected positive finite numbers"):
        alibi_slopes(maximum, heads=8)


def test_gradient_by_the_largest_exponent():
    (gradient,) = alibi_slopes.vjp([0.0, 1.0], 8, heads=2)
    assert gradient == pytest.approx(-math.log(2) * 2.0**-8, rel=1e-15)


# ------------------------------------------------------------------------------------- ALiBi: bias


def test_forms_of_the_bias():
    symmetric, causal, by_key = (
        alibi_bias([0.5], [1, 2], [0, 1, 2], sides=sides)[0]
        for sides in ("symmetric", "causal", "key_index")
    )
    assert symmetric.tolist() == [[-0.5, 0, -0.5], [-1, -0.5, 0]]
    assert causal.tolist() == [[-0.5, 0, -math.inf], [-1, -0.5, 0]]
    assert by_key.tolist() == [[0, 0.5, 1], [0, 0.5, 1]]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "longdouble"])
def test_distances_far_out_are_rounded_once(dtype):
    m = np.array([2.0**-8, 0.3], dtype)
    value = alibi_bias(m, [2**31 + 1], [2**31, 2**31 - 4095], sides="symmetric")
    exact = -m.astype(np.longdouble)[:, None, None] * np.array([[1, 4096]])
    assert value.dtype == m.dtype
    np.testing.assert_array_equal(value, exact.astype(dtype))


def test_attention_with_the_causal_bias_and_a_cache():
    """A decoding step is the last row of the whole, which the key's index gives as well."""
    rng = np.random.default_rng(2108)
    q, k, v = (rng.standard_normal((4, 9, 8)) for _ in range(3))
    slopes, places = alibi_slopes(8, heads=4), np.arange(9)
    whole = softmax_attention(q, k, v, bias=alibi_bias(slopes, places, places, sides="causal"))
    by_key = alibi_bias(slopes, places, places, sides="key_index")
    np.testing.assert_allclose(
        softmax_attention(q, k, v, bias=by_key, causal=True), whole, 0, 1e-13
    )
    step = alibi_bias(slopes, [8], places, sides="causal")
    np.testing.assert_allclose(softmax_attention(q[:, 8:], k, v, bias=step), whole[:, 8:], 0, 1e-14)


def test_gradient_through_the_softmax_is_that_of_differences():
    rng = np.random.default_rng(2108)
    q, k, v, g = (rng.standard_normal((2, 5, 4)) for _ in range(4))
    m, places = np.array([0.5, 0.1]), np.arange(5)

    def loss(m):
        return (
            g * softmax_attention(q, k, v, bias=alibi_bias(m, places, places, sides="causal"))
        ).sum()

    dbias = softmax_attention.vjp(g, q, k, v, bias=alibi_bias(m, places, places, sides="causal"))[3]
    # Rows of the gradient of a bias add up to zero.
    np.testing.assert_allclose(dbias.sum(axis=-1), 0.0, atol=1e-15)
    (dm,) = alibi_bias.vjp(dbias, m, places, places, sides="causal")
    for head, step in enumerate(1e-6 * np.eye(2)):
        assert dm[head] == pytest.approx((loss(m + step) - loss(m - step)) / 2e-6, rel=1e-7)


def test_positions_of_unsigned_type_do_not_wrap():
    queries, keys = np.array([0, 1], "uint8"), np.array([0, 250], "uint8")
    value = alibi_bias([1.0], queries, keys, sides="symmetric")
    assert value[0].tolist() == [[0, -250], [-1, -249]]


def test_distances_of_whole_positions_are_exact_beyond_the_digits_of_a_float():
    far = 2**60
    assert alibi_bias([1.0], [far + 3], [far, far + 5], sides="symmetric").tolist() == [
        [[-3.0, -2.0]]
    ]


def test_bad_input_to_the_bias():
    with pytest.raises(ValueError, match="sides: expected one of .* got 'left'"):
        alibi_bias([1.0], [0], [0], sides="left")
    with pytest.raises(TypeError, match="needs .*sides"):
        alibi_bias([1.0], [0], [0])
    with pytest.raises(ValueError, match="query_positions: expected finite"):
        alibi_bias([1.0], [math.nan], [0], sides="causal")
    with pytest.raises(TypeError, match="key_positions: expected integers or float64"):
        alibi_bias([1.0], [0], np.zeros(1, "float32"), sides="causal")


def test_batches_of_positions_and_heads():
    queries, keys = np.arange(6).reshape(2, 3), np.arange(8).reshape(2, 4)
    value = alibi_bias([1.0, 0.5], queries, keys, sides="symmetric")
    assert value.shape == (2, 2, 3, 4)
    for b in range(2):
        one = alibi_bias([1.0, 0.5], queries[b], keys[b], sides="symmetric")
        np.testing.assert_array_equal(value[b], one)


# ------------------------------------------------------------------------------------------ KERPLE


def test_published_logarithms():
    value = kerple_bias([2.0], [0.5], [8], [7, 6, 0], kernel="log")[0, 0]
    published = [-0.810930216216, -1.386294361120, -3.218875824868]
    np.testing.assert_allclose(value, published, rtol=1e-12)


@pytest.mark.parametrize("rate", [1e-12, 1e-3, 1.0, 2.0])
@pytest.mark.parametrize("kernel", ["log", "power"])
def test_accuracy_against_fifty_digits(kernel, rate):
    distances = [1, 2, 1000, 10**6]
    value = kerple_bias([0.7], [rate], [10**6], [10**6 - t for t in distances], kernel=kernel)
    with mpmath.workdps(50):
        r, s = mpmath.mpf(0.7), mpmath.mpf(rate)
        exact = [
            float(-r * (mpmath.log(1 + s * t) if kernel == "log" else mpmath.mpf(t) ** s))
            for t in distances
        ]
    np.testing.assert_allclose(value[0, 0], exact, rtol=4e-16 * (1 + 2 * rate * math.log(10**6)))


def test_a_power_above_two_is_refused_because_its_kernel_is_indefinite():
    """c = (1, -2, 1) at distances of 1 makes c^T b c = 8 - 2 * 2^s, negative from s = 2 on."""
    c, places = np.array([1.0, -2.0, 1.0]), np.arange(3)
    bias = kerple_bias([1.0], [2.0], places, places, kernel="power")[0]
    assert c @ bias @ c == 0.0
    below = kerple_bias([1.0], [1.9], places, places, kernel="power")[0]
    assert c @ below @ c > 0.5
    with pytest.raises(ValueError, match="rates: expected at most 2 for the power, got 2.1"):
        kerple_bias([1.0], [2.1], places, places, kernel="power")
    assert np.isfinite(kerple_bias([1.0], [2.1], places, places, kernel="log")).all()


def test_gradient_of_the_power_at_distance_zero():
    dr, ds = kerple_bias.vjp([[[1.0]]], [1.0], [0.5], [3], [3], kernel="power")
    assert (dr.tolist(), ds.tolist()) == ([0.0], [0.0])


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_parameters_must_be_positive(bad):
    with pytest.raises(ValueError, match="strengths: expected"):
        kerple_bias([bad], [1.0], [0], [0], kernel="log")
    with pytest.raises(ValueError, match="rates: expected"):
        kerple_bias([1.0], [bad], [0], [0], kernel="log")


def test_unknown_kernel():
    with pytest.raises(ValueError, match="kernel: expected 'log' or 'power', got 'gaussian'"):
        kerple_bias([1.0], [1.0], [0], [0], kernel="gaussian")
