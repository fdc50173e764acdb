"""The fake's array: NumPy's arithmetic under CuPy's rules.

A fake array wraps a NumPy array that only this package touches. It refuses implicit downloads and
mixtures with NumPy arrays, counts uploads and downloads, has no ``__index__``, and raises
:class:`Silent` where CuPy would go on with a wrong or undefined result.
"""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tests.shim.fakecupy.surface import ARRAY_ATTRIBUTES, FUNCTIONS

_OWN_SIGNATURE = {"astype", "clip", "copy", "reshape", "transpose", "view"}
_DOWNLOADS = {
    "get": np.copy,
    "item": np.ndarray.item,
    "tolist": np.ndarray.tolist,
    "__bool__": bool,
    "__float__": float,
    "__int__": int,
    "__complex__": complex,
}


class Silent(AssertionError):
    """CuPy would go wrong here without an error; no caller's ``except IndexError`` may hide it."""


class Transfers:
    """How many arrays have gone up and how many have come down."""

    def __init__(self) -> None:
        self.uploads = 0
        self.downloads = 0


counts = Transfers()


@contextlib.contextmanager
def transfers() -> Iterator[Transfers]:
    """Counts the transfers of a block."""
    seen = Transfers()
    before = (counts.uploads, counts.downloads)
    try:
        yield seen
    finally:
        seen.uploads = counts.uploads - before[0]
        seen.downloads = counts.downloads - before[1]


def to_device(result: Any) -> Any:
    """NumPy's result as CuPy would return it: arrays and scalars as fake arrays, 0-d included."""
    if isinstance(result, (np.ndarray, np.generic)):
        if result.dtype.char in "gG" or result.dtype.kind not in "biufc":
            raise ValueError(f"Unsupported dtype {result.dtype}")
        return ndarray._of(np.asarray(result))
    if isinstance(result, tuple):
        moved = [to_device(x) for x in result]
        return type(result)(*moved) if hasattr(result, "_fields") else tuple(moved)
    if isinstance(result, list):
        return [to_device(x) for x in result]
    return result


def to_numpy(x: Any, name: str) -> Any:
    """A device argument for NumPy to compute with; host arrays are refused."""
    if isinstance(x, ndarray):
        return x._host
    if isinstance(x, np.ndarray):
        raise TypeError(f"{name}: Unsupported type {type(x)}")
    if isinstance(x, (list, tuple)):
        return type(x)(to_numpy(value, name) for value in x)
    return x


def check_bounds(index: np.ndarray, size: int) -> None:
    """CuPy wraps an index array silently."""
    outside = index.size > 0 and (index.min() < -size or index.max() >= size)
    if index.dtype.kind in "iu" and outside:
        raise Silent("index out of bounds: CuPy wraps it without an error")


def _operand(x: Any) -> Any:
    if isinstance(x, ndarray):
        return x._host
    if isinstance(x, (bool, int, float, complex, np.generic)):
        return x
    raise TypeError(f"Unsupported type {type(x)}")


class ndarray:
    """Stands in for ``cupy.ndarray``."""

    __array_priority__ = 100
    __hash__ = None
    __module__ = "cupy"

    def __init__(self, shape: Any, dtype: Any = float) -> None:
        self._host = np.empty(shape, dtype)

    @classmethod
    def _of(cls, host: np.ndarray) -> ndarray:
        made = cls.__new__(cls)
        made._host = host
        return made

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct "
            "a NumPy array explicitly."
        )

    def __dlpack__(self, **options: Any) -> Any:
        raise BufferError("the fake exports nothing through DLPack")

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, 0)

    def __array_function__(self, function: Any, types: Any, args: Any, keywords: Any) -> Any:
        from tests.shim.fakecupy.functions import call

        name = ".".join([*function.__module__.split(".")[1:], function.__name__])
        return call(name, args, keywords) if name in FUNCTIONS else NotImplemented

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *args: Any, **keywords: Any) -> Any:
        from tests.shim.fakecupy.functions import Ufunc

        for name in (ufunc.__name__, "cupyx.scipy.special." + ufunc.__name__):
            if name in FUNCTIONS:
                return getattr(Ufunc(name), method)(*args, **keywords)
        return NotImplemented

    def __getitem__(self, key: Any) -> Any:
        return to_device(self._host[_checked_key(self._host, key, writing=False)])

    def __setitem__(self, key: Any, value: Any) -> None:
        by_array = any(isinstance(k, (list, np.ndarray, ndarray)) for k in _parts(key))
        if isinstance(value, np.ndarray) and value.ndim:
            if not by_array:
                raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
            counts.uploads += 1
        place = _checked_key(self._host, key, writing=True)
        self._host[place] = value._host if isinstance(value, ndarray) else value

    def __len__(self) -> int:
        return len(self._host)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self._host)))

    def __repr__(self) -> str:
        return repr(self._host)

    def __format__(self, form: str) -> str:
        counts.downloads += 1
        return format(self._host[()], form)

    def __getattr__(self, name: str) -> Any:
        if name not in ARRAY_ATTRIBUTES:
            raise AttributeError(f"'cupy.ndarray' object has no attribute {name!r}")
        value = getattr(self._host, name)
        if callable(value):
            return lambda *args, **keywords: _call_method(self, name, args, keywords)
        if isinstance(value, np.flatiter):
            raise AttributeError("the fake does not model ndarray.flat")
        return to_device(value)


def _call_method(x: ndarray, name: str, args: tuple, keywords: dict) -> Any:
    from tests.shim.fakecupy.functions import call, check_call

    in_place = name in ("sort", "partition", "fill")
    if name in FUNCTIONS and name not in _OWN_SIGNATURE and not in_place:
        return call(name, (x, *args), keywords)
    if in_place and name in FUNCTIONS:
        check_call(name, (x, *args), keywords)
    if name == "astype":
        _check_cast(x._host, np.dtype(args[0] if args else keywords["dtype"]))
    args = tuple(_shape_argument(arg, name) for arg in args)
    with np.errstate(all="ignore"):
        found = getattr(x._host, name)(*args, **keywords)
    return x if found is x._host else to_device(found)


def _shape_argument(x: Any, name: str) -> Any:
    if isinstance(x, (ndarray, np.ndarray)) and name != "clip":
        raise TypeError(f"{name}: '{type(x).__name__}' object cannot be interpreted as an integer")
    return to_numpy(x, name)


def _check_cast(x: np.ndarray, target: np.dtype) -> None:
    """Casting a float that does not fit an integer type saturates on CUDA, and wraps in NumPy."""
    if x.dtype.kind != "f" or target.kind not in "iu" or x.size == 0:
        return
    limits = np.iinfo(target)
    whole = np.trunc(x.astype(np.float64))
    if not ((whole >= limits.min) & (whole <= limits.max)).all():
        raise Silent(f"float out of the range of {target}: CuPy and NumPy cast it differently")


def _parts(key: Any) -> tuple:
    return key if isinstance(key, tuple) else (key,)


def _checked_key(x: np.ndarray, key: Any, *, writing: bool) -> Any:
    """The key for NumPy, after the checks that CuPy leaves out. Host indices count as uploads."""
    parts = _parts(key)
    counts.uploads += sum(isinstance(part, (list, np.ndarray)) for part in parts)
    parts = tuple(_index_part(part) for part in parts)
    axis = 0
    used = sum(_axes_used(part) for part in parts)
    for part in parts:
        if part is Ellipsis:
            axis += x.ndim - used
        if isinstance(part, np.ndarray) and part.dtype != bool:
            check_bounds(part, x.shape[axis])
        axis += _axes_used(part)
    integers = [part for part in parts if isinstance(part, np.ndarray) and part.dtype != bool]
    if writing and integers:
        rows = np.stack([part.ravel() for part in np.broadcast_arrays(*integers)], axis=1)
        if len(np.unique(rows, axis=0)) < len(rows):
            raise Silent("duplicate indices in an assignment: CuPy does not say which wins")
    return parts if isinstance(key, tuple) else parts[0]


def _index_part(part: Any) -> Any:
    if isinstance(part, ndarray):
        return part._host
    return np.asarray(to_numpy(part, "index")) if isinstance(part, list) else part


def _axes_used(part: Any) -> int:
    if isinstance(part, np.ndarray) and part.dtype == bool:
        return part.ndim
    return 0 if part is None or part is Ellipsis else 1


def _download(function: Callable) -> Callable:
    def method(self: ndarray, *args: Any, **keywords: Any) -> Any:
        counts.downloads += 1
        return function(self._host, *args, **keywords)

    return method


def _binary(function: Callable, *, reflected: bool = False) -> Callable:
    def method(a: ndarray, b: Any) -> Any:
        left, right = (_operand(b), a._host) if reflected else (a._host, _operand(b))
        _check_bool_power(function, left, right)
        with np.errstate(all="ignore"):
            return to_device(function(left, right))

    return method


def _in_place(function: Callable) -> Callable:
    def method(a: ndarray, b: Any) -> ndarray:
        with np.errstate(all="ignore"):
            a._host = function(a._host, _operand(b))
        return a

    return method


def _unary(function: Callable) -> Callable:
    return lambda a: to_device(function(a._host))


def _check_bool_power(function: Callable, left: Any, right: Any) -> None:
    if function is operator.pow and np.asarray(left).dtype == bool:
        raise Silent("a power of Booleans has another type on CuPy")


def _give_operators() -> None:
    for name, function in _DOWNLOADS.items():
        setattr(ndarray, name, _download(function))
    binary = "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift"
    for name in binary.split():
        function = getattr(operator, f"__{name}__")
        setattr(ndarray, f"__{name}__", _binary(function))
        setattr(ndarray, f"__r{name}__", _binary(function, reflected=True))
        setattr(ndarray, f"__i{name}__", _in_place(getattr(operator, f"__i{name}__")))
    for name in ("eq", "ne", "lt", "le", "gt", "ge"):
        setattr(ndarray, f"__{name}__", _binary(getattr(operator, name)))
    for name in ("neg", "pos", "abs", "invert"):
        setattr(ndarray, f"__{name}__", _unary(getattr(operator, name)))


_give_operators()
