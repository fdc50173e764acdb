"""Rotary embedding: known numbers, errors, huge positions in every type, broadcasting, forms."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest

from refimpl.position.rotary import rotary_embedding, rotary_frequencies

PAIRINGS = ("interleaved", "half")
FORMS = tuple(rotary_embedding.forms)


def _x(*shape, dtype="float64"):
    return np.random.default_rng(8265).standard_normal(shape).astype(dtype)


# --------------------------------------------------------------------------------- known numbers


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("pairing", "expected"),
    [
        ("interleaved", [-1.27223251272018, -1.83886498514102, 2.87866810043698, 4.08818663560344]),
        ("half", [-1.41335252078005, 1.87911806668799, -2.82885748174147, 4.05819113540094]),
    ],
)
def test_known_vector(pairing, expected, form):
    y = rotary_embedding([[1.0, 2.0, 3.0, 4.0]], [3], pairing=pairing, form=form)
    np.testing.assert_allclose(y, [expected], rtol=1e-14)


def test_products_of_rotated_ones_are_the_published_cosine_sums():
    ones = np.ones((7, 128))
    y = rotary_embedding(ones, [0, 1, 2, 8, 64, 512, 4096], pairing="half")
    published = [
        64.0,
        62.0936838057676,
        57.3818605528238,
        45.7205140669877,
        30.5200590081035,
        14.0431598438467,
        -3.38261392448236,
    ]
    np.testing.assert_allclose(y @ y[0] / 2, published, rtol=1e-13)


def test_frequencies_of_llama_2():
    theta = rotary_frequencies(10000, dim=128)
    assert theta.dtype == np.float64
    assert theta[0] == 1.0
    np.testing.assert_allclose(theta[[16, 32, 48]], [0.1, 0.01, 0.001], rtol=1e-15)


@pytest.mark.parametrize("dim", [6, 64, 80, 96, 100, 128, 192])
@pytest.mark.parametrize("base", [1e4, 5e5, 1e6])
def test_stated_errors_of_frequencies_and_of_angles_at_a_million(base, dim):
    with mpmath.workdps(40):
        exact = [mpmath.mpf(base) ** -(mpmath.mpf(2 * i) / dim) for i in range(dim // 2)]
        theta = rotary_frequencies(base, dim=dim)
        errors = [abs(mpmath.mpf(float(t)) - r) for t, r in zip(theta, exact, strict=True)]
        relative = max(e / r for e, r in zip(errors, exact, strict=True)) * 2**53
        in_angles = max(
            abs(float(10**6 * t) - 10**6 * r) for t, r in zip(theta, exact, strict=True)
        )
    is_power = dim & (dim - 1) == 0
    assert relative <= (1.01 if is_power else (1 + math.log(base)) / 2)
    assert in_angles <= 1.2e-10


# ------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pairing": "neox"}, "GPT-J.*Hugging Face Llama, GPT-NeoX.*got 'neox'"),
        ({"rotary_dim": 3}, "rotary_dim.*even number from 2 .*got 3"),
        ({"rotary_dim": 8}, "rotary_dim.*even number from 2 to d = 6, got 8"),
        ({"rotary_dim": 0}, "rotary_dim.*even number from 2 .*got 0"),
        ({"frequencies": np.ones(4)}, "rotary_dim.*twice.*d = 6, got 8"),
        ({"frequencies": np.ones(2), "rotary_dim": 6}, "expected 4, as .* 2 frequencies, got 6"),
        ({"frequencies": 1.0}, "frequencies: "),
        ({"base": 0.0}, "base: expected a positive finite number, got 0"),
        ({"base": math.nan}, "base: expected a positive finite number"),
        ({"base": math.inf}, "base: expected a positive finite number"),
    ],
)
@pytest.mark.parametrize("form", FORMS)
def test_wrong_options(options, message, form):
    options = {"pairing": "half"} | options
    with pytest.raises(ValueError, match=message):
        rotary_embedding(_x(3, 6), np.arange(3), form=form, **options)
    with pytest.raises(ValueError, match=message):
        rotary_embedding.vjp(np.ones((3, 6)), _x(3, 6), np.arange(3), **options)


def test_pairing_has_no_default():
    with pytest.raises(TypeError, match="needs .*pairing"):
        rotary_embedding(_x(3, 6), np.arange(3))


def test_odd_head_size_needs_a_rotary_dim():
    with pytest.raises(ValueError, match="d by default.*got 7"):
        rotary_embedding(_x(3, 7), np.arange(3), pairing="half")
    assert rotary_embedding(_x(3, 7), np.arange(3), pairing="half", rotary_dim=4).shape == (3, 7)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_positions_and_frequencies_that_lost_digits_are_refused(dtype):
    with pytest.raises(TypeError, match="positions: expected integers or float64"):
        rotary_embedding(_x(3, 4), np.arange(3, dtype=dtype), pairing="half")
    with pytest.raises(TypeError, match="frequencies: expected integers or float64"):
        rotary_embedding(_x(3, 4), [0, 1, 2], pairing="half", frequencies=np.ones(2, dtype))
    with pytest.raises(TypeError, match="base: expected integers or float64"):
        rotary_frequencies(np.array(10000.0, dtype), dim=4)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_positions_must_be_finite(bad):
    with pytest.raises(ValueError, match="positions: expected finite numbers"):
        rotary_embedding(_x(2, 4), [0.0, bad], pairing="half")


def test_one_position_for_each_token():
    with pytest.raises(ValueError, match="positions axis 'n': expected 3 .from x., got 4"):
        rotary_embedding(_x(3, 4), np.arange(4), pairing="half")


@pytest.mark.parametrize("dim", [-2, 0, 1, 7])
def test_wrong_dim(dim):
    with pytest.raises(ValueError, match="dim: expected an even number from 2 on, got"):
        rotary_frequencies(10000.0, dim=dim)


@pytest.mark.parametrize("base", [0, -1.0, math.nan, math.inf])
def test_wrong_base(base):
    with pytest.raises(ValueError, match="base: expected (a )?positive finite number"):
        rotary_frequencies(base, dim=4)


# ------------------------------------------------------------------------------ exactness of angles


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_all_positions_to_8191_are_distinct(dtype, form):
    x = np.ones((8192, 64), dtype)
    y = rotary_embedding(x, np.arange(8192), pairing="half", form=form)
    assert len(np.unique(y, axis=0)) == 8192


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [
        ("float16", 2.0**-11),
        ("float32", 2.0**-24),
        ("float64", 2e-10),
        ("longdouble", 2e-10),
    ],
)
@pytest.mark.parametrize("form", ["plain", "complex"])
@pytest.mark.parametrize("pairing", PAIRINGS)
@pytest.mark.parametrize("position", [10**6, 10**6 + 7])
def test_a_million_is_exact_in_every_type(position, pairing, form, dtype, tolerance):
    """The angle is computed in float64 whatever x is, so the result is the rounded right one."""
    d = 64
    x = np.zeros((1, d), dtype)
    x[:, 0 :: 2 if pairing == "interleaved" else 1] = 1.0
    x[:, d // 2 :] *= pairing == "interleaved"
    y = rotary_embedding(x, [position], pairing=pairing, form=form)
    assert y.dtype == x.dtype
    with mpmath.workdps(50):
        turns = [
            mpmath.expj(position / mpmath.mpf(10000) ** (mpmath.mpf(2 * i) / d))
            for i in range(d // 2)
        ]
    cos, sin = [float(z.real) for z in turns], [float(z.imag) for z in turns]
    expected = np.stack([cos, sin], axis=-1).ravel() if pairing == "interleaved" else [*cos, *sin]
    np.testing.assert_allclose(y[0].astype(float), expected, rtol=0, atol=1.01 * tolerance)


def test_stated_error_of_the_angle_holds_at_two_to_the_31():
    m, d = 2**31, 64
    x = np.tile([1.0, 0.0], (1, d // 2))
    y = rotary_embedding(x, [m], pairing="interleaved")[0]
    with mpmath.workdps(50):
        for i in range(d // 2):
            theta = mpmath.mpf(10000) ** (-mpmath.mpf(2 * i) / d)
            right = mpmath.expj(m * theta)
            error = abs(mpmath.mpc(y[2 * i], y[2 * i + 1]) - right)
            assert error <= 2 * m * theta * mpmath.mpf(2) ** -53 + mpmath.mpf(2) ** -52


def test_float32_angles_differ_where_they_should():
    """The baseline form makes the errors of float32 angles in float32, and none in float64."""
    m = np.array([8191])
    for dtype, low, high in (("float32", 1e-5, 1e-2), ("float64", 0.0, 1e-11)):
        x = np.ones((1, 128), dtype)
        plain = rotary_embedding(x, m, pairing="half", form="plain")
        single = rotary_embedding(x, m, pairing="half", form="single_angles")
        assert low <= np.abs(plain - single).max() <= high


@pytest.mark.parametrize(
    ("position", "error"),
    [(1000, 3.2e-5), (4096, 1.2e-4), (32768, 9.7e-4), (131072, 3.9e-3), (10**6, 5.2e-2)],
)
def test_float32_angles_have_the_published_errors(position, error):
    """Of 128 features and base 10000 the second pair has the largest: its frequency is rounded."""
    x = np.tile(np.float32([1.0, 0.0]), 64)[None]
    options = {"pairing": "interleaved", "frequencies": rotary_frequencies(10000.0, dim=128)}
    exact, single = (
        rotary_embedding(x, [position], form=form, **options).astype(float).view(complex)[0]
        for form in ("plain", "single_angles")
    )
    errors = np.abs(np.angle(single / exact))
    assert errors.argmax() == 1
    assert errors.max() == pytest.approx(error, rel=0.02)


def test_fractional_positions_are_interpolated_ones():
    x = _x(4, 8)
    stretched = rotary_embedding(x, np.arange(4) / 2, pairing="half")
    slower = rotary_embedding(
        x, np.arange(4), pairing="half", frequencies=rotary_frequencies(1e4, dim=8) / 2
    )
    np.testing.assert_allclose(stretched, slower, rtol=1e-15)


def test_negative_positions_turn_backwards():
    x = _x(4, 8)
    there = rotary_embedding(x, -np.arange(4), pairing="half")
    back = rotary_embedding(x, np.arange(4), pairing="half", inverse=True)
    np.testing.assert_array_equal(there, back)


def test_unsigned_positions_are_not_wrapped_by_the_inverse():
    x = _x(4, 8)
    unsigned, signed = (
        rotary_embedding(x, np.arange(4, dtype=dtype), pairing="half", inverse=True)
        for dtype in ("uint8", "int64")
    )
    np.testing.assert_array_equal(unsigned, signed)


# ------------------------------------------------------------------------------ shapes and features


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("pairing", PAIRINGS)
def test_positions_broadcast_over_batch_and_heads(pairing, form):
    x = _x(2, 3, 5, 8)
    positions = np.array([[0, 0, 0, 1, 2], [0, 1, 2, 3, 4]])
    y = rotary_embedding(x, positions[:, None], pairing=pairing, form=form)
    for b in range(2):
        for h in range(3):
            one = rotary_embedding(x[b, h], positions[b], pairing=pairing, form=form)
            np.testing.assert_allclose(y[b, h], one, rtol=1e-15, atol=1e-15)
    one_x = rotary_embedding(x[0, 0], positions[:, None], pairing=pairing, rotary_dim=4, form=form)
    assert one_x.shape == (2, 1, 5, 8)
    dx, dpositions = rotary_embedding.vjp(
        np.ones((2, 1, 5, 8)), x[0, 0], positions[:, None], pairing=pairing, form=form
    )
    assert dx.shape == (5, 8)
    assert dpositions.shape == (2, 1, 5)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("pairing", PAIRINGS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "longdouble"])
def test_other_features_pass_bit_for_bit(dtype, pairing, form):
    x = _x(3, 9, dtype=dtype)
    x[1, 7] = np.nan
    x[2, 8] = -0.0
    y = rotary_embedding(
        x, [1, 2, 3], pairing=pairing, rotary_dim=6, attention_factor=1.5, form=form
    )
    assert y[:, 6:].tobytes() == x[:, 6:].tobytes()
    assert np.isfinite(y[:, :6]).all()


def test_frequencies_set_how_many_features_rotate():
    x = _x(3, 8)
    theta = rotary_frequencies(10000.0, dim=4)
    given = rotary_embedding(x, [1, 2, 3], pairing="half", frequencies=theta)
    np.testing.assert_array_equal(
        given, rotary_embedding(x, [1, 2, 3], pairing="half", rotary_dim=4)
    )
    both = rotary_embedding(x, [1, 2, 3], pairing="half", frequencies=theta, rotary_dim=4)
    np.testing.assert_array_equal(given, both)


@pytest.mark.parametrize("form", FORMS)
def test_no_tokens(form):
    for pairing in PAIRINGS:
        y = rotary_embedding(np.zeros((2, 0, 6)), np.arange(0), pairing=pairing, form=form)
        assert y.shape == (2, 0, 6)


def test_large_inputs_take_the_complex_form():
    beyond = rotary_embedding.forms["complex"].beyond
    small, large = (
        rotary_embedding.prepare((np.zeros((n, 64)), np.arange(n)), {"pairing": "half"})[2]
        for n in (256, 257)
    )
    assert not beyond(small)
    assert beyond(large)


# ------------------------------------------------------------------------------------ gradients


@pytest.mark.parametrize(
    ("dtype", "first"),
    [
        *(("int8", -128), ("uint8", 0), ("uint64", 2**40), ("int64", -(2**40))),
        *(("uint64", 2**63), ("int64", -(2**62))),
    ],
)
def test_short_tables_of_whole_positions_are_the_long_ones(dtype, first):
    """Of any type and size, to the rounding of an angle; beyond 2^53 there is one way only."""
    positions = (np.arange(256, dtype="uint64") % 200 + np.uint64(first % 2**64)).astype(dtype)
    x = np.random.default_rng(0).standard_normal((256, 8))
    plain, short = (
        rotary_embedding(x, positions, pairing="half", form=form) for form in ("plain", "complex")
    )
    rounding = 8.0 * abs(first) * 2.0**-53 if abs(first) < 2**53 else 0.0
    np.testing.assert_allclose(short, plain, rtol=0, atol=1e-13 + rounding)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_gradients_of_positions_and_frequencies_are_float64(dtype):
    x = _x(4, 6, dtype=dtype)
    theta = rotary_frequencies(10000.0, dim=6)
    dx, dpositions, dtheta = rotary_embedding.vjp(
        _x(4, 6), x, np.arange(4), pairing="half", frequencies=theta
    )
    assert (dx.dtype, dpositions.dtype, dtheta.dtype) == (x.dtype, np.float64, np.float64)
    assert len(rotary_embedding.vjp(_x(4, 6), x, np.arange(4), pairing="half")) == 2


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("pairing", PAIRINGS)
def test_gradients_of_positions_and_frequencies_by_differences(pairing, inverse):
    options = {"pairing": pairing, "attention_factor": 1.3, "inverse": inverse}
    x, g, m = _x(4, 9), _x(4, 9)[::-1], np.array([0.0, 2.0, -3.0, 2.5])
    theta = np.array([1.0, 0.3, 0.05])
    step = 1e-5

    def loss(m, theta):
        return (g * rotary_embedding(x, m, frequencies=theta, **options)).sum()

    _, dm, dtheta = rotary_embedding.vjp(g, x, m, frequencies=theta, **options)
    for k, e in enumerate(step * np.eye(4)):
        difference = (loss(m + e, theta) - loss(m - e, theta)) / (2 * step)
        assert dm[k] == pytest.approx(difference, abs=1e-8)
    for k, e in enumerate(step * np.eye(3)):
        difference = (loss(m, theta + e) - loss(m, theta - e)) / (2 * step)
        assert dtheta[k] == pytest.approx(difference, abs=1e-8)


def test_gradient_of_an_integer_base():
    (dbase,) = rotary_frequencies.vjp([0.0, 1.0], 10000, dim=4)
    assert dbase.dtype == np.float64
    assert dbase == pytest.approx(-0.5 * 10000.0**-1.5, rel=1e-15)
