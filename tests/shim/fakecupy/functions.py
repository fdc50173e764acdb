"""The fake's functions: every call is bound to CuPy's frozen signature, then computed by NumPy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.linalg
import scipy.special

from tests.shim.fakecupy import surface
from tests.shim.fakecupy.array import Silent, check_bounds, counts, ndarray, to_device, to_numpy

_UPLOADING = {"array", "asarray", "ascontiguousarray", "asfortranarray"}
_JOINING = {"concatenate", "stack", "vstack", "hstack", "dstack", "column_stack"}
_HOST_HELPERS = {"result_type", "can_cast", "isdtype", "broadcast_shapes", "promote_types"}
_ONLY_VALUES = {
    "packbits": {"axis": (None,)},
    "unpackbits": {"axis": (None,)},
    "sort": {"kind": (None, "stable")},
    "argsort": {"kind": (None, "stable")},
}
_WHOLE_NUMBERS = {
    *("shape", "newshape", "axis", "axes", "axis1", "axis2", "k", "n", "ndim", "num", "offset"),
    *("minlength", "decimals", "shift", "N", "M"),
}
_linalg_state = {"linalg": "ignore"}


@contextlib.contextmanager
def errstate(*, linalg: str | None = None) -> Iterator[None]:
    """Stands in for ``cupyx.errstate``: only "raise" makes failed factorisations raise."""
    before = _linalg_state["linalg"]
    _linalg_state["linalg"] = linalg or before
    try:
        yield
    finally:
        _linalg_state["linalg"] = before


def check_call(name: str, args: tuple, keywords: dict) -> None:
    """TypeError or NotImplementedError where CuPy would not accept the call."""
    problem = surface.complaint(name, len(args), set(keywords))
    if problem:
        raise TypeError(problem)
    known = surface.signature(name)
    given = dict(zip(known.positional, args, strict=False)) | keywords if known else keywords
    for parameter, allowed in _ONLY_VALUES.get(name, {}).items():
        if given.get(parameter) not in allowed:
            raise NotImplementedError(f"{name}: {parameter}={given[parameter]!r}")
    for parameter in _WHOLE_NUMBERS & set(given):
        if any(isinstance(x, ndarray) for x in _leaves(given[parameter])):
            raise TypeError(f"{name}: {parameter} must be an integer, not a cupy.ndarray")
    if name in _JOINING and not all(isinstance(x, ndarray) for x in _leaves(args[0])):
        raise TypeError(f"{name}: Only cupy arrays can be concatenated")
    if name == "searchsorted" and not isinstance(args[0], ndarray):
        raise NotImplementedError("Only int or ndarray are supported for a")
    if name.startswith("linalg.") or name == "lexsort":
        if not isinstance(args[0], ndarray):
            raise AttributeError(f"{type(args[0]).__name__!r} object has no attribute 'ndim'")


def _leaves(x: Any) -> list:
    if isinstance(x, (list, tuple)):
        return [leaf for value in x for leaf in _leaves(value)]
    return [x]


def call(name: str, args: tuple, keywords: dict) -> Any:
    """Calls the function of this dotted name under CuPy's rules."""
    check_call(name, args, keywords)
    if name in _HOST_HELPERS:
        return numpy_function(name)(*(x._host if isinstance(x, ndarray) else x for x in args))
    if name in _UPLOADING:
        return _upload(name, args, keywords)
    args = tuple(to_numpy(x, name) for x in args)
    keywords = {key: to_numpy(x, name) for key, x in keywords.items()}
    with np.errstate(all="ignore"):
        if name.startswith("linalg."):
            return to_device(_call_linalg(name, args, keywords))
        special = _SPECIAL.get(name, numpy_function(name))
        return to_device(special(*args, **keywords))


def numpy_function(name: str) -> Any:
    if name.startswith("cupyx.scipy.special."):
        return getattr(scipy.special, name.rpartition(".")[2])
    found: Any = np
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _upload(name: str, args: tuple, keywords: dict) -> ndarray:
    source = args[0]
    kinds = {isinstance(x, ndarray) for x in _leaves(source)}
    if kinds == {True, False}:
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")
    if kinds == {True}:
        source = to_numpy(source, name)
    else:
        counts.uploads += isinstance(source, np.ndarray)
    keywords = {key: value for key, value in keywords.items() if key != "blocking"}
    return to_device(np.array(numpy_function(name)(source, *args[1:], **keywords)))


# --------------------------------------------------------------- functions that differ from NumPy's


def _sort(x: Any, axis: int = -1, kind: Any = None) -> Any:
    return np.sort(x, axis=axis, kind="stable")


def _argsort(x: Any, axis: int = -1, kind: Any = None) -> Any:
    return np.argsort(x, axis=axis, kind="stable")


def _partition(x: Any, kth: Any, axis: int = -1) -> Any:
    return np.sort(x, axis=axis)


def _argpartition(x: Any, kth: Any, axis: int = -1) -> Any:
    return np.argsort(x, axis=axis, kind="stable")


def _take(x: Any, indices: Any, axis: int | None = None, out: Any = None) -> Any:
    check_bounds(np.asarray(indices), x.size if axis is None else x.shape[axis])
    return np.take(x, indices, axis=axis, out=out)


def _take_along_axis(x: Any, indices: Any, axis: int | None) -> Any:
    check_bounds(indices, x.size if axis is None else x.shape[axis])
    return np.take_along_axis(x, indices, axis)


def _put_along_axis(x: Any, indices: Any, values: Any, axis: int | None) -> None:
    check_bounds(indices, x.size if axis is None else x.shape[axis])
    np.put_along_axis(x, indices, values, axis)


def _power(x: Any, y: Any, **keywords: Any) -> Any:
    if np.asarray(x).dtype == bool:
        raise Silent("a power of Booleans has another type on CuPy")
    return np.power(x, y, **keywords)


def _clip(x: Any, low: Any, high: Any, out: Any = None) -> Any:
    return np.clip(x, low, high, out=out)


_SPECIAL = {
    "sort": _sort,
    "argsort": _argsort,
    "partition": _partition,
    "argpartition": _argpartition,
    "take": _take,
    "take_along_axis": _take_along_axis,
    "put_along_axis": _put_along_axis,
    "power": _power,
    "clip": _clip,
}


# ------------------------------------------------------------------------------------------- linalg


def _call_linalg(name: str, args: tuple, keywords: dict) -> Any:
    function = numpy_function(name)
    matrix = args[0]
    if name == "linalg.solve" and args[1].ndim > 1 and matrix.shape[:-1] != args[1].shape[:-1]:
        raise ValueError("a and b must have the same shape except for the last axis")
    solver = name.partition(".")[2] in _SOLVERS
    # cuSOLVER's status of a matrix with NaN may be "fine": the caller must check what comes back.
    if solver and matrix.dtype.kind == "f" and not np.isfinite(matrix).all():
        return _garbage(function, args, keywords, np.nan)
    try:
        return _other_gauge(name, function(*args, **keywords))
    except np.linalg.LinAlgError as error:
        about_shape = "quare" in str(error) or "dimension" in str(error)
        if _linalg_state["linalg"] == "raise" or about_shape:
            raise
        return _garbage(function, args, keywords, 1e30)


_SOLVERS = {"cholesky", "inv", "solve", "eigh", "eigvalsh", "svd", "pinv"}


def _garbage(function: Any, args: tuple, keywords: dict, value: float) -> Any:
    """Wrong results of the right shapes and types, as of a failure without an error."""
    matrix = np.zeros_like(args[0])
    matrix[..., np.arange(min(matrix.shape[-2:])), np.arange(min(matrix.shape[-2:]))] = 1
    found = function(matrix, *args[1:], **keywords)
    if isinstance(found, tuple):
        return tuple(np.full_like(x, value) for x in found)
    return np.full_like(found, value)


def _other_gauge(name: str, found: Any) -> Any:
    """Signs of columns are nobody's promise: every other one is flipped."""
    if name == "linalg.eigh":
        return type(found)(found[0], found[1] * _signs(found[1].shape[-1], found[1].dtype))
    if name == "linalg.svd" and isinstance(found, tuple):
        u, s, vh = found
        rank = s.shape[-1]
        u, vh = u.copy(), vh.copy()
        u[..., :rank] *= _signs(rank, u.dtype)
        vh[..., :rank, :] *= _signs(rank, vh.dtype)[:, None]
        return type(found)(u, s, vh)
    if name == "linalg.qr" and isinstance(found, tuple):
        q, r = found
        signs = _signs(q.shape[-1], q.dtype)
        return type(found)(q * signs, r * _signs(r.shape[-2], r.dtype)[:, None])
    return found


def _signs(n: int, dtype: np.dtype) -> np.ndarray:
    return (1 - 2 * (np.arange(n) % 2)).astype(dtype)


def solve_triangular(a: ndarray, b: ndarray, **options: Any) -> ndarray:
    """Stands in for ``cupyx.scipy.linalg.solve_triangular``: batched, strict, and never raising."""
    name = "cupyx.scipy.linalg.solve_triangular"
    check_call(name, (a, b), options)
    matrix, right = to_numpy(a, name), to_numpy(b, name)
    if 0 in matrix.shape[:-2]:
        raise ValueError("too many values to unpack: CuPy takes an empty batch for none")
    if matrix.shape[-1] != matrix.shape[-2] or matrix.shape[:-2] != right.shape[: matrix.ndim - 2]:
        raise ValueError("incompatible batch count")
    if matrix.shape[-1] != right.shape[matrix.ndim - 2]:
        raise ValueError("incompatible dimensions")
    dtype = matrix.dtype if matrix.dtype.char in "fd" else np.promote_types(matrix.dtype, "f")
    found = np.empty(right.shape, dtype)
    for batch in np.ndindex(matrix.shape[:-2]):
        found[batch] = _solve_one(matrix[batch].astype(dtype), right[batch].astype(dtype), options)
    return to_device(found)


def _solve_one(a: np.ndarray, b: np.ndarray, options: dict) -> np.ndarray:
    if (np.diagonal(a) == 0).any():
        return np.full_like(b, np.inf)
    trans, lower = options.get("trans", 0), options.get("lower", False)
    return scipy.linalg.solve_triangular(a, b, trans=trans, lower=lower, check_finite=False)


# ------------------------------------------------------------------------------------------- ufuncs


class Ufunc:
    """Stands in for a ``cupy.ufunc`` and the few methods of it that CuPy has."""

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        for x in args:
            if isinstance(x, (list, tuple)) or x is None:
                raise TypeError(f"{self.__name__}: Unsupported type {type(x)}")
        return call(self.__name__, args, _single_out(keywords))

    def at(self, a: ndarray, indices: Any, b: Any = None) -> None:
        types = surface.SCATTER_TYPES.get(self.__name__, "")
        target = to_numpy(a, self.__name__)
        if target.dtype.char not in types:
            raise TypeError(f"{self.__name__}.at: {target.dtype} is not supported")
        index = to_numpy(indices, self.__name__)
        check_bounds(np.asarray(index), target.shape[0])
        self._numpy.at(target, index, to_numpy(b, self.__name__))

    def reduce(self, array: ndarray, axis=0, dtype=None, out=None, keepdims=False) -> Any:
        self._need("reduce")
        host = to_numpy(array, self.__name__)
        return to_device(self._numpy.reduce(host, axis=axis, dtype=dtype, keepdims=keepdims))

    def accumulate(self, array: ndarray, axis=0, dtype=None, out=None) -> Any:
        self._need("accumulate")
        return to_device(self._numpy.accumulate(to_numpy(array, self.__name__), axis, dtype))

    def outer(self, a: ndarray, b: ndarray) -> Any:
        return to_device(self._numpy.outer(to_numpy(a, "outer"), to_numpy(b, "outer")))

    def reduceat(self, array: ndarray, indices: ndarray, axis=0, dtype=None, out=None) -> Any:
        self._need("reduceat")
        host, where = to_numpy(array, "reduceat"), to_numpy(indices, "reduceat")
        return to_device(self._numpy.reduceat(host, where, axis, dtype))

    def _need(self, method: str) -> None:
        if not surface.has_method(self.__name__, method):
            raise NotImplementedError(f"`cupy_{self.__name__}.{method}` is not supported yet")

    @property
    def _numpy(self) -> np.ufunc:
        return numpy_function(self.__name__)


def _single_out(keywords: dict) -> dict:
    out = keywords.get("out")
    if isinstance(out, tuple) and len(out) == 1:
        return keywords | {"out": out[0]}
    return keywords
