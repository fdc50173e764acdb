"""Where an array lives: its namespace, the ways in, up and down, its type and its shape."""

from __future__ import annotations

import contextlib
import sys
from types import ModuleType
from typing import Any

import numpy as np

from refimpl.foreign import lacks_numpy_type, view_of_foreign

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
        elif is_cupy(x):
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
    return isinstance(x, np.ndarray) or is_cupy(x)


def is_cupy(x: Any) -> bool:
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
    if is_cupy(reference) and not is_cupy(host):
        return namespace(reference).asarray(to_host(host))
    return as_array(host, reference)


def to_host(x: Any) -> np.ndarray:
    """x as a NumPy array: the one download.

    NumPy arrays return as they are, CuPy arrays are copied. Tensors of torch, JAX or any other
    DLPack producer are viewed where they lie, *read-only*, or copied from their device; bfloat16
    and float8 values widen exactly to float32 (ask :func:`dtype_name` for the original type).
    TypeError for what has no plain dense values: sparse and meta tensors, masked arrays.
    """
    if is_cupy(x):
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
