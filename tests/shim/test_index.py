"""Order, bits, indices and the error function, on every backend."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import scipy.linalg
import scipy.special
from numpy.testing import assert_allclose, assert_array_equal

from refimpl import backend as B
from tests.shim.arrays import random

# --------------------------------------------------------------------------- order, bits, indices


def test_sorts_are_stable(backend):
    x = np.array([[2.0, 1.0, np.nan, 2.0, 1.0], [0.0, -0.0, 0.0, np.inf, -np.inf]])
    there = backend.array(x)
    assert_array_equal(backend.host(B.argsort(there)), np.argsort(x, kind="stable"))
    assert_array_equal(backend.host(B.argsort(there, 0)), np.argsort(x, 0, kind="stable"))
    assert_array_equal(backend.host(B.sort(there)), np.sort(x))
    assert_array_equal(backend.host(B.sort(there, axis=0)), np.sort(x, axis=0))


def test_lexsort(backend):
    keys = np.array([3, 1, 2, 1]), np.array([0, 1, 0, 1])
    found = B.lexsort(tuple(backend.array(key) for key in keys))
    assert_array_equal(backend.host(found), np.lexsort(keys))


def test_topk(backend):
    x = backend.array([[3.0, 1.0, 3.0, 2.0], [np.nan, np.inf, 5.0, np.inf]])
    assert_array_equal(backend.host(B.topk(x, 3)), [[0, 2, 3], [0, 1, 3]])
    many = np.arange(2000.0) % 3
    assert_array_equal(backend.host(B.topk(backend.array(many), 500)), 2 + 3 * np.arange(500))
    assert B.topk(x, 0).shape == (2, 0)
    with pytest.raises(ValueError, match="k = 5"):
        B.topk(x, 5)


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 40])
@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
def test_bits_round_trip(backend, n, lead):
    bits = random(*lead, n) > 0
    packed = B.packbits(backend.array(bits))
    assert_array_equal(backend.host(packed), np.packbits(bits, axis=-1, bitorder="little"))
    assert_array_equal(backend.host(B.unpackbits(packed, count=n)), bits)
    counted = backend.host(B.popcount(packed)).sum(axis=-1)
    assert_array_equal(counted, bits.sum(axis=-1))


def test_bits_refuse(backend):
    packed = B.packbits(backend.array(np.ones(9, bool)))
    assert packed.dtype == np.uint8
    assert B.unpackbits(packed).shape == (16,)
    with pytest.raises(ValueError, match="16 bits"):
        B.unpackbits(packed, count=17)
    with pytest.raises(TypeError, match="unsigned"):
        B.popcount(backend.array(np.array([-1])))


def test_take(backend):
    x = random(3, 4)
    there = backend.array(x)
    index = np.array([[2, 0], [1, 1]])
    assert_array_equal(backend.host(B.take(there, backend.array(index), 0)), x[index])
    assert_array_equal(backend.host(B.take(there, [3, 0], 1)), x[:, [3, 0]])
    assert B.take(there, [], 1).shape == (3, 0)
    order = np.argsort(x, axis=1)
    found = B.take_along_axis(there, backend.array(order), 1)
    assert_array_equal(backend.host(found), np.sort(x, axis=1))


@pytest.mark.parametrize("index", [[-1], [3], [0, 10**9]])
def test_indices_out_of_bounds(backend, index):
    x = backend.array(np.ones((3, 1)))
    column = backend.array(np.array(index)[:, None])
    for call in (
        lambda: B.take(x, index, 0),
        lambda: B.take_along_axis(x, column, 0),
        lambda: B.scatter_add(x, index, 1.0),
    ):
        with pytest.raises(IndexError, match="axis of length 3"):
            call()


def test_float_indices_are_refused(backend):
    for index in ([0.0], [True]):
        with pytest.raises(TypeError, match="integers"):
            B.take(backend.array([1.0, 2.0]), index, 0)


@pytest.mark.parametrize("name", ["float16", "float32", "float64", "int64"])
def test_scatter_add_counts_duplicates(backend, name):
    out = backend.array(np.zeros((3, 2), name))
    values = backend.array(np.arange(8).reshape(4, 2).astype(name))
    assert B.scatter_add(out, backend.array(np.array([0, 2, 0, 0])), values) is out
    assert_array_equal(backend.host(out), [[10, 13], [0, 0], [2, 3]])


# --------------------------------------------------------------------------------- error function


def test_erf_is_scipys(backend):
    x = np.concatenate([np.linspace(-7, 7, 1001), np.logspace(-300, 1, 200)])
    found = backend.host(B.erf(backend.array(x)))
    assert_allclose(found, scipy.special.erf(x), rtol=5e-16)
    assert B.erf(backend.array(np.array([0, 1]))).dtype == np.float64


def exact_erf(x):
    """erf of a float array by mpmath, rounded to longdouble."""

    def one(value):
        high = float(value)
        low = float(value - np.longdouble(high))
        return np.longdouble(mpmath.nstr(mpmath.erf(mpmath.mpf(high) + mpmath.mpf(low)), 30))

    with mpmath.workdps(40):
        return np.array([one(value) for value in x.astype(np.longdouble)])


@pytest.mark.parametrize("name", ["float16", "float32", "float64", "longdouble"])
def test_erf_is_as_good_as_its_type(name):
    between_nodes = (np.arange(192) + 0.499) / 32
    x = np.concatenate([between_nodes, np.linspace(-6.9, 6.9, 500), np.linspace(0, 0.2, 100)])
    x = x.astype(name)
    exact = exact_erf(x)
    assert B.erf(x).dtype == x.dtype
    assert (np.abs(B.erf(x) - exact) <= 1.25 * np.finfo(name).eps * np.abs(exact)).all()


def test_erf_at_the_ends():
    x = np.array([np.inf, -np.inf, np.nan, -0.0, 1e300, 5e-324])
    found = B.erf(x)
    assert_array_equal(found, [1, -1, np.nan, -0.0, 1, 5e-324])
    assert np.signbit(found[3])


@pytest.mark.parametrize("shape", [(), (0,), (2, 0), (3, 4), (20000,)])
def test_erf_shapes_and_layouts(shape):
    x = random(*shape)
    assert_allclose(B.erf(np.asarray(x)), scipy.special.erf(x), rtol=5e-16)
    assert_allclose(B.erf(np.asarray(x).T), scipy.special.erf(x).T, rtol=5e-16)


def test_windows_are_runs_of_neighbours(backend):
    x = backend.array(np.arange(10.0).reshape(2, 5))
    found = B.to_host(B.windows(x, 3))
    assert_array_equal(found[1], [[5, 6, 7], [6, 7, 8], [7, 8, 9]])
    assert found.shape == (2, 3, 3)
