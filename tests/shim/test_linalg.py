"""Linear algebra on every backend and in every float type: values, shapes, errors."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import scipy.linalg
import scipy.special
from numpy.linalg import LinAlgError
from numpy.testing import assert_allclose, assert_array_equal

from refimpl import backend as B
from refimpl.numerics import Rounded, rounded
from tests.shim.arrays import LINALG_TYPES, TOLERANCE, check, positive, random


@pytest.fixture(params=LINALG_TYPES)
def dtype(request, backend):
    if request.param == "longdouble" and backend.name != "numpy":
        pytest.skip("CuPy has no longdouble")
    return np.dtype(request.param)


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
