"""Where arrays live, their types and shapes, on every backend."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from refimpl import backend as B
from refimpl.numerics import rounded
from tests.shim.arrays import random

# ---------------------------------------------------------------------------- where an array lives


def test_namespace_of_arrays_and_of_none(backend):
    x = backend.array([1.0, 2.0])
    assert B.namespace(x, 2.0, None, [1.0], np.float32(3)) is backend.xp
    assert B.namespace(None, 1, x, x) is backend.xp
    assert B.namespace() is np
    assert B.namespace(1.0, [2]) is np


def test_mixture_is_refused(backend):
    if backend.name == "numpy":
        pytest.skip("needs two places")
    x, y = backend.array([1.0]), np.ones(1)
    for mixed in ((x, y), (y, x), (x, rounded(y, "bfloat16"))):
        with pytest.raises(TypeError, match="to_host"):
            B.namespace(*mixed)
    for call in (
        lambda: B.as_array(y, like=x),
        lambda: B.as_array(x, like=y),
        lambda: B.like(x, y),
        lambda: B.solve(np.eye(1), backend.array([[1.0]])),
        lambda: B.take(x, np.array([0]), 0),
        lambda: B.scatter_add(x, np.array([0]), x),
    ):
        with pytest.raises(TypeError):
            call()


def test_is_array(backend):
    assert B.is_array(backend.array([1.0]))
    assert B.is_array(rounded(np.ones(2), "bfloat16"))
    for other in (1.0, [1.0], np.float64(1), None, "x"):
        assert not B.is_array(other)


def test_as_array_converts_next_to_like(backend):
    reference = backend.array([1.0])
    for value, expected in ((2, [2]), (1.5, [1.5]), ([1, 2], [1, 2]), (np.float32(3), [3])):
        found = B.as_array(value, like=reference)
        assert B.namespace(found) is backend.xp
        assert_array_equal(backend.host(found).ravel(), expected)
    assert B.as_array(reference, like=reference) is reference
    assert B.as_array(reference) is reference
    assert type(B.as_array([1.0])) is np.ndarray


def test_as_array_keeps_ordinary_subclasses():
    x = rounded(random(3), "bfloat16")
    assert B.as_array(x) is x
    assert B.as_array(x, like=np.ones(2)) is x


@pytest.mark.parametrize(
    "bad",
    [np.ma.masked_array([1.0], [True]), np.array("text"), ["a"], [None], object()],
    ids=["masked", "text", "strings", "none", "object"],
)
def test_as_array_refuses(bad):
    if isinstance(bad, np.ndarray) and type(bad) is np.ndarray:
        bad = bad.tolist()
    with pytest.raises(TypeError):
        B.as_array(bad)


def test_matrix_is_refused_and_converts():
    matrix = np.ones((2, 2)).view(np.matrix)
    with pytest.raises(TypeError, match="refimpl.backend.to_host"):
        B.as_array(matrix)
    assert type(B.to_host(matrix)) is np.ndarray
    with pytest.raises(TypeError, match="filled"):
        B.to_host(np.ma.masked_array([1.0], [True]))


def test_up_and_down(backend):
    host = random(2, 3)
    there = B.like(host, backend.array([0.0]))
    assert B.namespace(there) is backend.xp
    assert_array_equal(B.to_host(there), host)
    assert B.to_host(host) is host
    assert B.like(there, there) is there
    assert_array_equal(B.to_host([1, 2]), [1, 2])


def test_scalar(backend):
    assert B.scalar(backend.array(2.5)) == 2.5
    assert type(B.scalar(backend.array(2.5))) is float
    assert type(B.scalar(backend.array([1, 2]).sum())) is int
    assert B.scalar(3) == 3
    with pytest.raises(ValueError, match="shape"):
        B.scalar(backend.array([1.0]))


def test_draws_are_numpys_everywhere(backend):
    reference = backend.array([0.0])
    found = B.draw(np.random.default_rng(5), "normal", (2, 3), like=reference, loc=4.0, scale=0.5)
    expected = np.random.default_rng(5).normal(4.0, 0.5, (2, 3))
    assert B.namespace(found) is backend.xp
    assert_array_equal(backend.host(found), expected)
    assert B.draw(np.random.default_rng(0), "standard_normal", ()).shape == ()


def test_draw_refuses():
    with pytest.raises(TypeError, match="Generator"):
        B.draw(np.random.RandomState(0), "normal", (2,))
    for name in ("gaussian", "__class__"):
        with pytest.raises(ValueError, match="distribution"):
            B.draw(np.random.default_rng(0), name, (2,))


def test_import_costs_numpy_alone():
    code = (
        "import sys, refimpl.backend as b, numpy as np; b.erf(np.ones(2)); b.svd(np.eye(2));"
        "b.namespace(np.ones(2)); heavy = {'scipy', 'cupy', 'torch', 'jax', 'ml_dtypes'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_cupy_or_none(backend):
    if backend.name == "numpy":
        if "cupy" not in sys.modules:
            sys.modules["cupy"] = None
            try:
                assert B.cupy_or_none() is None
                assert B.namespace(np.ones(1)) is np
            finally:
                del sys.modules["cupy"]
    else:
        assert B.cupy_or_none() is backend.xp


# ------------------------------------------------------------------------------- types and shapes


@pytest.mark.parametrize("name", ["float16", "float32", "float64", "int64", "uint8", "bool"])
def test_dtype_name_and_astype(backend, name):
    x = backend.array(np.ones(2, name))
    assert B.dtype_name(x) == name
    assert B.astype(x, name) is x
    assert B.dtype_name(B.astype(x, "float32")) == "float32"


def test_dtype_name_of_host_things():
    assert B.dtype_name(np.ones(1, np.longdouble)) == "longdouble"
    assert B.dtype_name(1.0) == "float64"
    assert B.dtype_name([1]) == "int64"


def test_result_type(backend):
    def array(name):
        return backend.array(np.ones(1, name))

    assert B.result_type(array("float16"), array("float32")) == np.float32
    assert B.result_type(array("float16"), array("int64"), 3.0) == np.float16
    assert B.result_type(array("int8"), array("bool")) == np.float64
    assert B.result_type(array("complex64"), array("float64")) == np.complex128
    assert B.result_type(1, [2.0], None) == np.float64


def test_finfo(backend):
    assert B.finfo(backend.array(np.ones(1, "float16"))).max == 65504
    assert B.finfo(np.float32).eps == 2**-23
    assert B.finfo("float64").eps == 2**-52


@given(st.lists(st.sampled_from([1, 2, 3]), max_size=4), st.data())
def test_unbroadcast_is_the_adjoint_of_broadcasting(full, data):
    kept = data.draw(st.integers(0, len(full)))
    small = tuple(data.draw(st.sampled_from([1, n])) for n in full[len(full) - kept :])
    x = random(*small, seed=1)
    g = random(*full, seed=2)
    found = B.unbroadcast(g, small)
    assert np.shape(found) == small
    assert_allclose(np.sum(found * x), np.sum(g * np.broadcast_to(x, full)), atol=1e-12)


def test_unbroadcast_on_every_backend(backend):
    g = backend.array(np.arange(6.0).reshape(2, 3))
    assert_array_equal(backend.host(B.unbroadcast(g, (1, 3))), [[3, 5, 7]])
    assert_array_equal(backend.host(B.unbroadcast(g, ())), 15)
    assert B.unbroadcast(g, (2, 3)) is g
    assert B.unbroadcast(backend.array(np.ones((0, 3))), (3,)).shape == (3,)


def test_quiet():
    with B.quiet():
        assert np.isinf(np.exp(np.float64(1e4)))
        assert np.isnan(np.zeros(1) / np.zeros(1))
