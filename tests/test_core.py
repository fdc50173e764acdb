"""What topics share: where symmetric stops, and where semidefinite does."""

from __future__ import annotations

import numpy as np
import pytest

from refimpl.core import semidefinite_factor, symmetric, weighted_sum


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 2.0**-20)])
@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_symmetric_up_to_the_tolerance_of_the_precision(dtype, tolerance, size):
    def off_by(share):
        return (size * np.array([[1.0, 0.5], [0.5 + share * tolerance, 0.8]])).astype(dtype)

    np.testing.assert_array_equal(symmetric("s", off_by(0.9)), symmetric("s", off_by(0.9)).T)
    with pytest.raises(ValueError, match="s: expected a symmetric matrix"):
        symmetric("s", off_by(1.2))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("d", [2, 5])
def test_an_eigenvalue_may_be_negative_by_d_roundings_of_the_largest(dtype, d):
    tolerance = d * np.finfo(dtype).eps

    def with_smallest(value):
        return np.diag(np.r_[np.ones(d - 1), value]).astype(dtype)

    _, is_definite = semidefinite_factor("s", with_smallest(-0.9 * tolerance))
    assert not is_definite
    with pytest.raises(np.linalg.LinAlgError, match="^s: .*not positive definite"):
        semidefinite_factor("s", with_smallest(-1.2 * tolerance))


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_an_entry_of_weight_zero_is_absent_whatever_it_holds(dtype):
    weights = np.array([[0.0, 1.0, 0.0], [0.25, 0.5, 0.25], [1.0, 0.0, 0.0]], dtype)
    values = np.array([[np.nan, np.inf], [2.0, 3.0], [4.0, -np.inf]], dtype)
    expected = [[2.0, 3.0], [np.nan, np.nan], [np.nan, np.inf]]
    with np.errstate(all="ignore"):
        found = weighted_sum(weights, values)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == dtype
