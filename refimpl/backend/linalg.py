"""Linear algebra in every float type, with the same errors and signs on NumPy and CuPy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from refimpl import plain_linalg
from refimpl.backend.place import astype, namespace, quiet, result_type, scalar


@contextlib.contextmanager
def strict_linalg(xp: ModuleType) -> Iterator[None]:
    """Failed factorisations raise LinAlgError on both libraries; CuPy's default is garbage."""
    if xp is np:
        yield
        return
    import cupyx

    with cupyx.errstate(linalg="raise"):
        yield


def _call_linalg(name: str, *arrays: Any, **options: Any) -> Any:
    """``xp.linalg.<name>`` in every float type: float16 in float32, longdouble by plain loops."""
    xp = namespace(*arrays)
    dtype = result_type(*arrays)
    wide = np.dtype(np.float32) if dtype == np.float16 else dtype
    module = plain_linalg if wide.char == "g" else xp.linalg
    with strict_linalg(xp), quiet():
        found = getattr(module, name)(*(astype(x, wide) for x in arrays), **options)
        if isinstance(found, tuple):
            return tuple(astype(x, dtype) for x in found)
        return astype(found, dtype)


def cholesky(a: Any) -> Any:
    """The lower Cholesky factor of (..., n, n); only the lower triangle of a is read.

    LinAlgError, on both libraries, where a is not positive definite or not finite.
    """
    try:
        factor = _call_linalg("cholesky", a)
    except np.linalg.LinAlgError as error:
        raise np.linalg.LinAlgError(_why_not_positive_definite(a, str(error))) from None
    if not scalar(namespace(a).isfinite(factor).all()):
        raise np.linalg.LinAlgError(_why_not_positive_definite(a, "not finite"))
    return factor


def _why_not_positive_definite(a: Any, otherwise: str) -> str:
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        return otherwise
    if not scalar(namespace(a).isfinite(a).all()):
        return "matrix is not finite"
    if a.size > 1_000_000:
        return "matrix is not positive definite"
    try:
        smallest = scalar(eigvalsh(a).min())
    except np.linalg.LinAlgError:
        return "matrix is not positive definite"
    return f"matrix is not positive definite: its smallest eigenvalue is {smallest:.3g}"


def solve(a: Any, b: Any) -> Any:
    """x with a x = b, for a (..., n, n) and b (n,) or (..., n, m); leading axes broadcast.

    LinAlgError where a is singular.
    """
    return _with_matrix_right_side(lambda a, b: _call_linalg("solve", a, b), a, b)


def solve_triangular(a: Any, b: Any, *, lower: bool = True, transpose: bool = False) -> Any:
    """x with a x = b (or a^T x = b) by substitution, for a triangular.

    Shapes: a (..., n, n), b (n,) or (..., n, m); leading axes broadcast. The other triangle of a is
    not read. LinAlgError where the diagonal has a zero.
    """
    xp = namespace(a, b)
    if _zero_on_diagonal(a):
        raise np.linalg.LinAlgError("triangular matrix is singular: zero on its diagonal")
    dtype = result_type(a, b)
    wide = np.dtype(np.float32) if dtype == np.float16 else dtype
    kernel = plain_linalg.solve_triangular if xp is np else _solve_triangular_on_device

    def substitute(a: Any, b: Any) -> Any:
        return kernel(a, b, lower=lower, transpose=transpose)

    with quiet():
        found = _with_matrix_right_side(substitute, astype(a, wide), astype(b, wide))
        return astype(found, dtype)


def _zero_on_diagonal(a: Any) -> bool:
    return scalar((namespace(a).diagonal(a, axis1=-2, axis2=-1) == 0).any())


def _solve_triangular_on_device(a: Any, b: Any, *, lower: bool, transpose: bool) -> Any:
    # CuPy takes an empty batch for no batch at all.
    if b.size == 0:
        return b.copy()
    from cupyx.scipy.linalg import solve_triangular

    return solve_triangular(a, b, trans="T" if transpose else "N", lower=lower)


def _with_matrix_right_side(function: Any, a: Any, b: Any) -> Any:
    """function(a, b) with b a stack of matrices, and the leading axes of both broadcast."""
    xp = namespace(a, b)
    vector = b.ndim == 1
    if vector:
        b = b[:, None]
    if a.shape[:-2] != b.shape[:-2]:
        lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        a = _broadcast_to(xp, a, lead + a.shape[-2:])
        b = _broadcast_to(xp, b, lead + b.shape[-2:])
    x = function(a, b)
    return x[..., 0] if vector else x


def _broadcast_to(xp: ModuleType, x: Any, shape: tuple[int, ...]) -> Any:
    return np.broadcast_to(x, shape, subok=True) if xp is np else xp.broadcast_to(x, shape)


def eigh(a: Any) -> tuple[Any, Any]:
    """Ascending eigenvalues (..., n) and, as columns, orthonormal eigenvectors of symmetric a.

    Only the lower triangle is read. Eigenvectors are defined up to sign, and up to rotation where
    eigenvalues meet. LinAlgError where a is not finite.
    """
    _require_finite(a)
    values, vectors = _call_linalg("eigh", a)
    return values, vectors


def eigvalsh(a: Any) -> Any:
    """Ascending eigenvalues (..., n) of symmetric a. LinAlgError where a is not finite."""
    _require_finite(a)
    return _call_linalg("eigvalsh", a)


def svd(a: Any) -> tuple[Any, Any, Any]:
    """u (..., m, k), s (..., k) descending, vh (..., k, n) with u diag(s) vh = a and k = min(m, n).

    Singular vectors are defined up to a common sign. LinAlgError where a is not finite.
    """
    _require_finite(a)
    u, s, vh = _call_linalg("svd", a, full_matrices=False)
    return u, s, vh


def svdvals(a: Any) -> Any:
    """Descending singular values (..., min(m, n)) of a. LinAlgError where a is not finite."""
    _require_finite(a)
    return _call_linalg("svd", a, compute_uv=False)


def _require_finite(a: Any) -> None:
    """Asked first, because iterations on NaN or infinity may return garbage, or never."""
    if not scalar(namespace(a).isfinite(a).all()):
        raise np.linalg.LinAlgError("matrix is not finite")


def qr(a: Any) -> tuple[Any, Any]:
    """Orthonormal columns q (..., m, k) and upper triangular r (..., k, n) with q r = a.

    Signs are fixed on both libraries: the diagonal of r is not negative.
    """
    xp = namespace(a)
    q, r = _call_linalg("qr", a)
    diagonal = xp.diagonal(r, axis1=-2, axis2=-1)
    size = abs(diagonal)
    phase = xp.where(size > 0, diagonal / xp.where(size > 0, size, 1), 1).astype(q.dtype)
    return q * phase[..., None, :], r * xp.conj(phase)[..., :, None]


def logdet_from_cholesky(factor: Any) -> Any:
    """log det a, shape (...), from the Cholesky factor (..., n, n) of a."""
    xp = namespace(factor)
    return 2 * xp.log(xp.diagonal(factor, axis1=-2, axis2=-1)).sum(axis=-1)
