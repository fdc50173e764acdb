"""The array-backend shim: everything in this project that knows CuPy exists.

Formulas compute in one of two namespaces, NumPy or, when the caller's arrays are CuPy's, CuPy. The
namespace is inferred from the arguments; CuPy is never imported merely because it is installed.
Host and device never mix: :func:`like` is the only upload, :func:`to_host` and :func:`scalar` are
the only downloads. Arrays of other libraries (torch, JAX, anything with DLPack) enter only through
:func:`to_host`.

Everything that NumPy and CuPy do differently is evened out here; whatever is not here, formulas
call as ``xp.name``.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from refimpl import plain_linalg
from refimpl.foreign import dtype_name as dtype_name
from refimpl.foreign import lacks_numpy_type, view_of_foreign
from refimpl.plain_special import erf_of_floats

# ---------------------------------------------------------------------------- where an array lives


def namespace(*arrays: Any) -> ModuleType:
    """The module that computes with these arrays: ``numpy`` or ``cupy``.

    Python scalars, lists, None and NumPy scalars count for neither. Without any array it is NumPy.
    Raises TypeError if NumPy and CuPy arrays are mixed.
    """
    on_host = on_device = False
    for x in arrays:
        if type(x) is np.ndarray:
            on_host = True
        elif _is_cupy(x):
            on_device = True
        elif isinstance(x, np.ndarray):
            on_host = True
    if on_host and on_device:
        raise TypeError(
            "NumPy and CuPy arrays in one call: move one of them explicitly, "
            "with refimpl.backend.like (to the GPU) or refimpl.backend.to_host"
        )
    return sys.modules["cupy"] if on_device else np


def is_array(x: Any) -> bool:
    """Whether x is a NumPy array (subclasses included) or a CuPy array."""
    return isinstance(x, np.ndarray) or _is_cupy(x)


def _is_cupy(x: Any) -> bool:
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(x, getattr(cupy, "ndarray", ()))


def cupy_or_none() -> ModuleType | None:
    """The ``cupy`` module if it is installed and really computes, else None.

    The probe allocates, compiles a kernel, reduces and factorises, because a machine can see a GPU
    and still lack the compiler or the solver library. The import costs about half a second: call
    this only when a person asked for a GPU.
    """
    try:
        import cupy

        x = cupy.linspace(1.0, 2.0, 8)
        total = float(cupy.sum(cupy.exp(x) - cupy.exp(x)))
        factor = cupy.linalg.cholesky(4.0 * cupy.eye(2))
        works = total == 0.0 and float(factor[0, 0]) == 2.0
    except Exception:  # noqa: BLE001 (a broken CUDA set-up raises anything, at import or first use)
        return None
    return cupy if works else None


# --------------------------------------------------------------------------------- in, up and down


def as_array(x: Any, like: Any = None) -> Any:
    """x as an array next to ``like``: arrays as they are, scalars and lists converted.

    Where ``like`` is a CuPy array, scalars and lists are uploaded; a NumPy array raises TypeError
    (a mixture). TypeError also for np.matrix, masked arrays and tensors of other libraries.
    Ordinary subclasses are kept.
    """
    if type(x) is np.ndarray and (like is None or type(like) is np.ndarray):
        return x
    if is_array(x):
        if isinstance(x, (np.matrix, np.ma.MaskedArray)):
            raise TypeError(f"{type(x).__name__} is not supported: {_HINT}")
        namespace(x, like)
        return x
    if hasattr(x, "__dlpack__"):
        raise TypeError(f"{_type_name(x)} is neither a NumPy nor a CuPy array: {_HINT}")
    host = np.asarray(x)
    if host.dtype.kind not in "biufc":
        raise TypeError(f"{type(x).__name__} of dtype {host.dtype} is not numeric")
    return namespace(like).asarray(host)


_HINT = "convert with refimpl.backend.to_host"


def _type_name(x: Any) -> str:
    return f"{type(x).__module__}.{type(x).__qualname__}"


def like(host: Any, reference: Any) -> Any:
    """A host array (or list, or scalar) on the device of ``reference``: the one upload.

    Returns a NumPy array if the reference is one. A CuPy array with a NumPy reference raises
    TypeError: that is a download, for which there is :func:`to_host`.
    """
    if _is_cupy(reference) and not _is_cupy(host):
        return namespace(reference).asarray(to_host(host))
    return as_array(host, reference)


def to_host(x: Any) -> np.ndarray:
    """x as a NumPy array: the one download.

    NumPy arrays return as they are, CuPy arrays are copied. Tensors of torch, JAX or any other
    DLPack producer are viewed where they lie, *read-only*, or copied from their device; bfloat16
    and float8 values widen exactly to float32 (ask :func:`dtype_name` for the original type).
    TypeError for what has no plain dense values: sparse and meta tensors, masked arrays.
    """
    if _is_cupy(x):
        return x.get()
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError("a masked array has no values under its mask: use x.filled(value)")
    if isinstance(x, np.matrix):
        return np.asarray(x)
    if isinstance(x, np.ndarray):
        return x.astype(np.float32) if lacks_numpy_type(x) else x
    if not hasattr(x, "__dlpack__"):
        return np.asarray(x)
    try:
        return view_of_foreign(x)
    except (BufferError, RuntimeError, ValueError) as error:
        raise TypeError(f"{_type_name(x)} has no NumPy view: {error}") from error


def scalar(x: Any) -> Any:
    """The Python scalar in a 0-d array; Python scalars as they are. Synchronises with the GPU."""
    if getattr(x, "ndim", 0) != 0:
        raise ValueError(f"scalar() of an array of shape {tuple(x.shape)}")
    return x.item() if hasattr(x, "item") else x


def draw(
    rng: np.random.Generator,
    distribution: str,
    shape: tuple[int, ...],
    like: Any = None,
    **parameters: Any,
) -> Any:
    """``rng.<distribution>(size=shape, **parameters)``, drawn on the host, moved next to ``like``.

    NumPy's and CuPy's generators share no bit stream, so one seed gives one set of numbers only
    this way.
    """
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng must be a numpy.random.Generator, not {type(rng).__name__}")
    if distribution.startswith("_") or not hasattr(rng, distribution):
        raise ValueError(f"numpy.random.Generator has no distribution {distribution!r}")
    sample = np.asarray(getattr(rng, distribution)(size=shape, **parameters))
    return namespace(like).asarray(sample)


# ------------------------------------------------------------------------------- types and shapes


def astype(x: Any, dtype: Any) -> Any:
    """x in another type, on its device; x itself where it has that type already."""
    return x.astype(dtype, copy=False)


def result_type(*arrays: Any) -> np.dtype:
    """The type to compute in: that of the float (or complex) arrays; float64 where there are none.

    Integer and Boolean arrays and Python scalars have no say.
    """
    types = [x.dtype for x in arrays if hasattr(x, "dtype") and x.dtype.kind in "fc"]
    return np.result_type(*types) if types else np.dtype(np.float64)


def finfo(x: Any) -> np.finfo:
    """Machine limits of an array's type, or of a type."""
    return np.finfo(x.dtype if is_array(x) else x)


def unbroadcast(g: Any, shape: tuple[int, ...]) -> Any:
    """The gradient g summed over the axes along which an argument of this shape was broadcast."""
    shape = tuple(shape)
    if g.shape == shape:
        return g
    leading = g.ndim - len(shape)
    aligned = (1,) * leading + shape
    stretched = tuple(axis for axis, n in enumerate(aligned) if n == 1)
    return g.sum(axis=stretched).reshape(shape)


def weak(value: Any) -> Any:
    """A scalar of NumPy as a number of Python's, which takes the type of arrays beside it."""
    return value.item() if isinstance(value, np.generic) else value


def spread(x: Any, shape: tuple[int, ...]) -> Any:
    """A copy of x along new leading axes, or along those where it has one entry."""
    return namespace(x).broadcast_to(x, shape).copy()


def quiet() -> contextlib.AbstractContextManager:
    """Silences NumPy's floating-point warnings: overflow and NaN are results here, no surprises."""
    return np.errstate(all="ignore")


# --------------------------------------------------------------------------------- linear algebra


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


# --------------------------------------------------------------------------- order, bits, indices


def sort(x: Any, axis: int = -1) -> Any:
    """x sorted ascending along an axis, NaN last."""
    return namespace(x).sort(x, axis=axis, kind="stable")


def argsort(x: Any, axis: int = -1) -> Any:
    """Indices that sort x ascending along an axis; ties keep their order, NaN come last."""
    return namespace(x).argsort(x, axis=axis, kind="stable")


def lexsort(keys: Any) -> Any:
    """Indices that sort by several 1-d keys, the last key first; ties keep their order."""
    xp = namespace(*keys)
    return xp.lexsort(xp.stack(tuple(keys)))


def topk(x: Any, k: int) -> Any:
    """Indices of the k largest along the last axis, descending, ties by index, NaN first."""
    n = x.shape[-1]
    if not 0 <= k <= n:
        raise ValueError(f"topk: k = {k}, but the last axis has {n} entries")
    xp = namespace(x)
    # The stable ascending order of the reversed row, read backwards, keeps ties in index order.
    ascending = argsort(xp.flip(x, -1))
    return n - 1 - xp.flip(ascending, -1)[..., :k]


def packbits(b: Any) -> Any:
    """Booleans (..., n) in bytes (..., ceil(n / 8)), lowest bit first, padded with zeros."""
    xp = namespace(b)
    n = b.shape[-1]
    padding = xp.zeros(b.shape[:-1] + (-n % 8,), dtype=bool)
    padded = xp.concatenate([b != 0, padding], axis=-1)
    return xp.packbits(padded.ravel(), bitorder="little").reshape(b.shape[:-1] + (-(-n // 8),))


def unpackbits(p: Any, count: int | None = None) -> Any:
    """Bytes (..., n) as bits, uint8 (..., count), lowest bit first; all 8 n of them by default."""
    xp = namespace(p)
    stored = 8 * p.shape[-1]
    if count is None:
        count = stored
    if not 0 <= count <= stored:
        raise ValueError(f"unpackbits: count = {count}, but {stored} bits are stored")
    bits = xp.unpackbits(p.ravel(), bitorder="little").reshape(p.shape[:-1] + (stored,))
    return bits[..., :count]


def popcount(x: Any) -> Any:
    """The number of one bits of each unsigned integer, as uint8."""
    if x.dtype.kind != "u":
        raise TypeError(f"popcount of {x.dtype}: view it as unsigned, NumPy counts the bits of |x|")
    return namespace(x).bitwise_count(x)


def take(x: Any, index: Any, axis: int) -> Any:
    """Entries of x at indices along an axis. IndexError outside 0 ... n - 1, negatives included."""
    index = _checked_index(index, x, x.shape[axis], "take")
    return namespace(x, index).take(x, index, axis=axis)


def windows(x: Any, size: int) -> Any:
    """All runs of ``size`` neighbours on the last axis, (..., runs, size): on the CPU a view."""
    if not _is_cupy(x):
        return np.lib.stride_tricks.sliding_window_view(x, size, axis=-1)
    xp = namespace(x)
    return x[..., xp.arange(x.shape[-1] - size + 1)[:, None] + xp.arange(size)]


def take_along_axis(x: Any, index: Any, axis: int) -> Any:
    """As numpy.take_along_axis. IndexError outside 0 ... n - 1, negatives included."""
    index = _checked_index(index, x, x.shape[axis], "take_along_axis")
    return namespace(x, index).take_along_axis(x, index, axis=axis)


def scatter_add(out: Any, index: Any, values: Any) -> Any:
    """Adds values[i] to out[index[i]] in place; duplicate indices add up. Returns out.

    IndexError outside 0 ... n - 1. On a GPU the order of the additions, so the last bit, is not
    fixed.
    """
    index = _checked_index(index, out, out.shape[0], "scatter_add")
    namespace(out, index, values).add.at(out, index, values)
    return out


def _checked_index(index: Any, x: Any, size: int, name: str) -> Any:
    """The index as an array next to x, within bounds: CuPy would wrap it silently."""
    index = as_array(index, like=x)
    if index.size == 0 and index.dtype.kind == "f":
        index = index.astype(np.int64)
    if index.dtype.kind not in "iu":
        raise TypeError(f"{name}: indices must be integers, not {index.dtype}")
    if index.size and not scalar(((index >= 0) & (index < size)).all()):
        low, high = scalar(index.min()), scalar(index.max())
        raise IndexError(f"{name}: indices from {low} to {high} for an axis of length {size}")
    return index


def erf(x: Any) -> Any:
    """The error function, elementwise, in x's float type (integers: float64)."""
    x = astype(x, result_type(x))
    if namespace(x) is np:
        return erf_of_floats(x)
    from cupyx.scipy.special import erf as erf_on_device

    return astype(erf_on_device(x), x.dtype)
