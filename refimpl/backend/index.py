"""Order, bits, indices and the error function: what NumPy and CuPy do differently or not at all."""

from __future__ import annotations

from typing import Any

import numpy as np

from refimpl.backend.place import as_array, astype, is_cupy, namespace, result_type, scalar
from refimpl.plain_special import erf_of_floats


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
    if not is_cupy(x):
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
