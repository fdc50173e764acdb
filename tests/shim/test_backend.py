"""The backend shim on every backend: values against SciPy, types, shapes and errors."""

from __future__ import annotations

import subprocess
import sys

import mpmath
import numpy as np
import pytest
import scipy.linalg
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from numpy.linalg import LinAlgError
from numpy.testing import assert_allclose, assert_array_equal

from refimpl import backend as B
from refimpl.numerics import Rounded, rounded

LINALG_TYPES = ["float16", "float32", "float64", "longdouble"]
TOLERANCE = {"float16": 8e-3, "float32": 2e-5, "float64": 1e-12, "longdouble": 1e-15}


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def positive(*lead, n=4, seed=0):
    a = random(*lead, n, n, seed=seed)
    return a @ a.swapaxes(-1, -2) + np.eye(n)


@pytest.fixture(params=LINALG_TYPES)
def dtype(request, backend):
    if request.param == "longdouble" and backend.name != "numpy":
        pytest.skip("CuPy has no longdouble")
    return np.dtype(request.param)


def check(backend, found, expected, dtype="float64"):
    """Right place, right type, right values."""
    assert B.namespace(found) is backend.xp
    host = backend.host(found)
    assert host.dtype == dtype
    assert host.shape == expected.shape
    tolerance = TOLERANCE[B.dtype_name(host)]
    scale = np.abs(expected).max(initial=1)
    assert_allclose(host.astype("longdouble"), expected, rtol=0, atol=tolerance * scale)


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


# --------------------------------------------------------------------------------- linear algebra


def test_cholesky(backend, dtype):
    a = positive(2, n=5).astype(dtype)
    factor = B.cholesky(backend.array(a))
    expected = np.linalg.cholesky(a.astype(float))
    check(backend, factor, expected, dtype)
    product = backend.host(factor) @ backend.host(factor).swapaxes(-1, -2)
    assert_allclose(product, a, rtol=0, atol=TOLERANCE[B.dtype_name(a)] * 20)


@pytest.mark.parametrize(
    "bad", [[[1.0, 2.0], [2.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]], [[-1.0, 0.0], [0.0, 1.0]]]
)
def test_cholesky_refuses_and_names_the_smallest_eigenvalue(backend, dtype, bad):
    smallest = np.linalg.eigvalsh(bad).min()
    with pytest.raises(LinAlgError, match=f"smallest eigenvalue is {smallest:.3g}"):
        B.cholesky(backend.array(np.array(bad, dtype)))
    stack = np.stack([np.eye(2), bad]).astype(dtype)
    with pytest.raises(LinAlgError, match="positive definite"):
        B.cholesky(backend.array(stack))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_finite_is_refused(backend, dtype, value):
    a = np.eye(3, dtype=dtype)
    a[1, 0] = value
    for function in (B.cholesky, B.eigh, B.eigvalsh, B.svd, B.svdvals):
        with pytest.raises(LinAlgError, match="finite"):
            function(backend.array(a))


def test_solve(backend, dtype):
    a, b = random(3, 1, 4, 4).astype(dtype) + 4 * np.eye(4, dtype=dtype), random(2, 4, 3)
    b = b.astype(dtype)
    expected = np.linalg.solve(a.astype(float), b.astype(float))
    check(backend, B.solve(backend.array(a), backend.array(b)), expected, dtype)
    vector = B.solve(backend.array(a), backend.array(b[0, :, 0]))
    check(backend, vector, expected[:, 0, :, 0][:, None], dtype)


def test_solve_refuses_singular(backend, dtype):
    for a in (np.zeros((2, 2)), np.ones((3, 2, 2))):
        with pytest.raises(LinAlgError):
            B.solve(backend.array(a.astype(dtype)), backend.array(np.ones((2, 1), dtype)))


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("transpose", [True, False])
@pytest.mark.parametrize("n", [1, 5, 16, 17, 40])
def test_solve_triangular(backend, dtype, lower, transpose, n):
    a = (random(n, n) / n + 2 * np.eye(n)).astype(dtype)
    b = random(3, n, 2).astype(dtype)
    expected = np.stack(
        [
            scipy.linalg.solve_triangular(a.astype(float), x, trans=int(transpose), lower=lower)
            for x in b.astype(float)
        ]
    )
    options = {"lower": lower, "transpose": transpose}
    check(
        backend,
        B.solve_triangular(backend.array(a), backend.array(b), **options),
        expected,
        dtype,
    )
    vector = B.solve_triangular(backend.array(a), backend.array(b[0, :, 0]), **options)
    check(backend, vector, expected[0, :, 0], dtype)


@pytest.mark.parametrize("shape", [(31,), (32,), (8, 9), (700,), (33, 0)])
@pytest.mark.parametrize("columns", [0, 1, 7])
def test_many_triangular_systems_at_once_are_solved_like_one(shape, columns):
    """Digit for digit, also where they fill the cache several times."""
    n = 16
    a, b = random(*shape, n, n) / n + 2 * np.eye(n), random(*shape, n, columns)
    found = B.solve_triangular(a, b, transpose=True)
    assert found.shape == b.shape
    for place in np.ndindex(shape):
        assert_array_equal(found[place], B.solve_triangular(a[place], b[place], transpose=True))


def test_solve_triangular_is_backward_stable_where_pivoting_is_not():
    n = 40
    a = np.eye(n) + np.tril(random(n, n), -1)
    x = B.solve_triangular(a, np.ones(n))
    residual = np.abs(a @ x - 1)
    assert (residual <= n * np.finfo(float).eps * (np.abs(a) @ np.abs(x) + 1)).all()


def test_solve_triangular_broadcasts_and_keeps_its_inputs(backend):
    a, b = backend.array(np.tril(positive(2, 1))), backend.array(random(3, 4, 2))
    before = backend.host(a).copy(), backend.host(b).copy()
    assert B.solve_triangular(a, b).shape == (2, 3, 4, 2)
    assert B.solve_triangular(a[:, :0], b[:0]).shape == (2, 0, 4, 2)
    assert B.solve_triangular(a[0, 0], b[:0]).shape == (0, 4, 2)
    assert_array_equal(backend.host(a), before[0])
    assert_array_equal(backend.host(b), before[1])


def test_solve_triangular_promotes(backend):
    a = backend.array(np.eye(2, dtype="float32"))
    third = backend.array(np.ones(2) / 3)
    assert_array_equal(backend.host(B.solve_triangular(a, third)), np.ones(2) / 3)
    assert B.solve_triangular(backend.array(np.eye(2)), a).dtype == np.float64


def test_solve_triangular_refuses_singular(backend, dtype):
    a = np.tril(np.ones((2, 3, 3)))
    a[1, 2, 2] = 0
    with pytest.raises(LinAlgError, match="singular"):
        B.solve_triangular(backend.array(a.astype(dtype)), backend.array(np.ones(3, dtype)))


def test_eigh(backend, dtype):
    a = positive(2, n=6).astype(dtype)
    values, vectors = B.eigh(backend.array(a))
    check(backend, values, np.linalg.eigvalsh(a.astype(float)), dtype)
    check(backend, B.eigvalsh(backend.array(a)), np.linalg.eigvalsh(a.astype(float)), dtype)
    v = backend.host(vectors).astype("longdouble")
    rebuilt = (v * backend.host(values)[:, None, :]) @ v.swapaxes(-1, -2)
    assert_allclose(rebuilt, a, rtol=0, atol=TOLERANCE[B.dtype_name(a)] * 40)
    assert vectors.dtype == dtype


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (2, 4, 4), (1, 1), (0, 3), (2, 0, 2)])
def test_svd(backend, dtype, shape):
    a = random(*shape).astype(dtype)
    u, s, vh = B.svd(backend.array(a))
    expected = np.linalg.svd(a.astype(float), compute_uv=False)
    check(backend, s, expected, dtype)
    check(backend, B.svdvals(backend.array(a)), expected, dtype)
    u, s, vh = (backend.host(x).astype("longdouble") for x in (u, s, vh))
    tolerance = TOLERANCE[B.dtype_name(a)] * 5
    eye = np.broadcast_to(np.eye(s.shape[-1]), s.shape + s.shape[-1:])
    assert_allclose(u * s[..., None, :] @ vh, a, rtol=0, atol=tolerance)
    assert_allclose(u.swapaxes(-1, -2) @ u, eye, rtol=0, atol=tolerance)
    assert_allclose(vh @ vh.swapaxes(-1, -2), eye, rtol=0, atol=tolerance)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (2, 4, 4), (1, 1), (0, 2)])
def test_qr(backend, dtype, shape):
    a = random(*shape).astype(dtype)
    q, r = (backend.host(x) for x in B.qr(backend.array(a)))
    assert q.dtype == r.dtype == dtype
    tolerance = TOLERANCE[B.dtype_name(a)] * 5
    assert_allclose(q.astype("longdouble") @ r, a, rtol=0, atol=tolerance)
    eye = np.broadcast_to(np.eye(q.shape[-1]), q.shape[:-2] + 2 * q.shape[-1:])
    assert_allclose(q.swapaxes(-1, -2) @ q.astype("longdouble"), eye, rtol=0, atol=tolerance)
    assert_array_equal(np.tril(r, -1), np.zeros_like(r))
    assert (np.diagonal(r, axis1=-2, axis2=-1) >= 0).all()


def test_rank_deficient(backend, dtype):
    a = backend.array(np.ones((4, 3), dtype))
    u, s, vh = (backend.host(x) for x in B.svd(a))
    assert_allclose(s.astype(float), [12**0.5, 0, 0], atol=TOLERANCE[B.dtype_name(s)])
    eye = np.eye(3)
    assert_allclose(u.T.astype(float) @ u, eye, atol=2 * TOLERANCE[B.dtype_name(s)])
    q, r = (backend.host(x) for x in B.qr(a))
    assert_allclose(q.astype(float) @ r, np.ones((4, 3)), atol=TOLERANCE[B.dtype_name(s)])
    zeros = backend.array(np.zeros((3, 2), dtype))
    assert_array_equal(backend.host(B.svdvals(zeros)), [0, 0])


def test_logdet(backend, dtype):
    a = positive(3).astype(dtype)
    found = B.logdet_from_cholesky(B.cholesky(backend.array(a)))
    check(backend, found, np.linalg.slogdet(a.astype(float))[1], dtype)


def test_integers_compute_in_float64(backend):
    a = backend.array(np.array([[4, 2], [2, 3]]))
    for found in (B.cholesky(a), B.solve(a, a), B.eigvalsh(a), B.svdvals(a), B.qr(a)[0]):
        assert found.dtype == np.float64


def test_empty_matrices(backend):
    empty = backend.array(np.zeros((2, 0, 0)))
    assert B.cholesky(empty).shape == (2, 0, 0)
    assert B.eigvalsh(empty).shape == (2, 0)
    assert_array_equal(backend.host(B.logdet_from_cholesky(empty)), [0, 0])


def test_rounding_subclass_survives():
    a = rounded(positive(n=4), "bfloat16")
    results = [
        *(B.cholesky(a), B.solve(a, a), B.solve(a, a[0]), B.solve_triangular(a, a)),
        *(*B.eigh(a), *B.svd(a), *B.qr(a), B.svdvals(a), B.logdet_from_cholesky(a), B.erf(a)),
        *(B.sort(a), B.take(a, np.array([0]), 0), B.unbroadcast(a, (4,)), B.astype(a, "float32")),
    ]
    for found in results:
        assert isinstance(found, Rounded)
        assert found.format == "bfloat16"
        assert_array_equal(found, rounded(np.asarray(found), "bfloat16"))


def test_strict_linalg_restores_the_default(backend):
    with B.strict_linalg(backend.xp):
        with pytest.raises(LinAlgError):
            backend.xp.linalg.inv(backend.array(np.zeros((2, 2))))


def test_longdouble_decompositions_are_to_its_own_precision():
    a = positive(n=12).astype(np.longdouble)
    eps = np.finfo(np.longdouble).eps
    scale = 100 * eps * np.abs(a).max()
    values, v = B.eigh(a)
    assert np.abs(v * values @ v.T - a).max() < scale
    u, s, vh = B.svd(a)
    assert np.abs(u * s @ vh - a).max() < scale
    assert np.abs(s[::-1] - values).max() < scale
    assert np.abs(a @ B.solve(a, np.eye(12, dtype=np.longdouble)) - np.eye(12)).max() < scale
    factor = B.cholesky(a)
    assert np.abs(factor @ factor.T - a).max() < scale


def test_longdouble_elimination_pivots():
    a = np.array([[1e-25, 1], [1, 1]], np.longdouble)
    assert np.abs(a @ B.solve(a, np.array([1, 2], np.longdouble)) - [1, 2]).max() < 1e-18


def test_longdouble_reflections_do_not_cancel():
    a = np.array([[-1, 1, 0], [1e-9, 1, 1], [0, 2e-9, 1]], np.longdouble)
    q, r = B.qr(a)
    assert np.abs(q.T @ q - np.eye(3)).max() < 1e-18
    assert np.abs(q @ r - a).max() < 1e-18


def test_longdouble_svd_of_hilbert_against_mpmath():
    n = 8
    hilbert = 1 / np.add.outer(np.arange(n), np.arange(1, n + 1)).astype(np.longdouble)
    with mpmath.workdps(40):
        exact = mpmath.svd_r(mpmath.hilbert(n), compute_uv=False)
        expected = np.array([np.longdouble(mpmath.nstr(x, 25)) for x in sorted(exact)[::-1]])
    assert np.abs(B.svdvals(hilbert) - expected).max() < 20 * np.finfo(np.longdouble).eps


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
