"""Measures and rounding: total on special values, and equal to independent implementations."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refimpl import numerics

FORMATS = {
    "bfloat16": ml_dtypes.bfloat16,
    "float8_e4m3fn": ml_dtypes.float8_e4m3fn,
    "float8_e5m2": ml_dtypes.float8_e5m2,
    "float16": np.float16,
}


def test_ulps_between_neighbours_and_specials():
    for dtype in (np.float16, np.float32, np.float64):
        one = dtype(1.0)
        assert numerics.ulp_distance(one, np.nextafter(one, dtype(2.0))) == 1
        assert numerics.ulp_distance(dtype(0.0), dtype(-0.0)) == 0
        assert numerics.ulp_distance(-np.nextafter(dtype(0), one), np.nextafter(dtype(0), one)) == 2
        assert numerics.ulp_distance(np.finfo(dtype).max, dtype(np.inf)) == np.inf
        assert numerics.ulp_distance(dtype(np.nan), dtype(np.nan)) == 0
        assert numerics.ulp_distance(dtype(np.nan), dtype(np.inf)) == np.inf
        assert numerics.ulp_distance(dtype(np.inf), dtype(-np.inf)) == np.inf


def test_ulps_of_giants_of_opposite_sign_do_not_wrap():
    assert numerics.ulp_distance(1e300, -1e300) == pytest.approx(1.8e19, rel=0.05)


@given(st.floats(width=64, allow_nan=False), st.integers(0, 1000))
def test_ulps_count_steps(x, steps):
    y = np.float64(x)
    if not np.isfinite(y) or abs(y) > 1e300:
        return
    bits = y.view(np.int64)
    moved = (bits + steps).view(np.float64) if y >= 0 else (bits + steps).view(np.float64)
    assert numerics.ulp_distance(y, moved) == steps or not np.isfinite(moved)


@pytest.mark.parametrize("dtype", FORMATS)
def test_rounding_equals_ml_dtypes(dtype):
    rng = np.random.default_rng(0)
    x = (rng.standard_normal(200_000) * 10.0 ** rng.uniform(-12, 6, 200_000)).astype(np.float32)
    x = np.concatenate([x, np.float32([0.0, -0.0, np.inf, -np.inf, np.nan, 1e30, -1e30])])
    with np.errstate(all="ignore"):
        expected = x.astype(FORMATS[dtype]).astype(np.float32)
        found = numerics.round_to(x, dtype).astype(np.float32)
    if dtype == "float8_e4m3fn":
        # The format has no infinity, and libraries differ in saturating: here overflow is NaN.
        finite = np.isfinite(expected)
        assert np.array_equal(found[finite], expected[finite])
    else:
        assert np.array_equal(found, expected, equal_nan=True)


def test_all_bfloat16_numbers_are_fixed_points():
    every = np.arange(2**16, dtype=np.uint16).view(ml_dtypes.bfloat16).astype(np.float32)
    assert np.array_equal(numerics.round_to(every, "bfloat16"), every, equal_nan=True)


def test_rounded_arrays_round_after_every_operation():
    rng = np.random.default_rng(1)
    a, b = (numerics.rounded(rng.standard_normal((6, 6)), "bfloat16") for _ in range(2))
    results = [
        a + b,
        a @ b,
        np.exp(a),
        a.sum(axis=0),
        np.where(a > 0, a, b),
        np.linalg.solve(a, b),
        0.1 * a,
    ]
    results += [np.concatenate([a, b]), np.einsum("ij,kj->ik", a, b), a.max(axis=-1, keepdims=True)]
    for x in results:
        assert isinstance(x, numerics.Rounded)
        assert np.array_equal(numerics.round_to(np.asarray(x), "bfloat16"), np.asarray(x))
    a += b
    assert np.array_equal(numerics.round_to(np.asarray(a), "bfloat16"), np.asarray(a))


def test_nonfinite_positions_must_agree():
    reference = np.array([1.0, np.inf, np.nan, -np.inf, 7e4])
    assert not numerics.nonfinite_mismatch(reference, reference).any()
    output = np.array([np.nan, -np.inf, np.nan, -np.inf, np.inf])
    assert numerics.nonfinite_mismatch(output, reference).tolist() == [
        True,
        True,
        False,
        False,
        True,
    ]
    assert not numerics.nonfinite_mismatch(output, reference, representable=65504.0)[4]


def test_slope_sees_a_constant_factor_and_ignores_noise():
    rng = np.random.default_rng(2)
    y = rng.standard_normal(10_000)
    assert numerics.slope(0.001 * y, y) == pytest.approx(0.001)
    assert abs(numerics.slope(0.001 * rng.standard_normal(10_000), y)) < 1e-4
    assert numerics.slope(y, 0 * y) == 0.0


def test_fibre_norms_do_not_overflow():
    x = np.array([[3e300, 4e300], [3e-300, 4e-300], [0.0, np.nan]])
    np.testing.assert_allclose(numerics.fibre_norms(x, 1), [5e300, 5e-300, 0.0])
    np.testing.assert_allclose(numerics.fibre_norms(x[:2], 2), 5e300)
    np.testing.assert_array_equal(numerics.fibre_norms(x[0], 0), x[0])


def test_unknown_format():
    with pytest.raises(ValueError, match="expected one of"):
        numerics.unit_roundoff("int8")
