"""How far two answers are apart, and what a low-precision format does to a number.

Four measures, because a real bug hides from each of the others: ULPs (elementwise formulas), the
largest error, the worst *fibre* (one wrong row hides from a global norm), and the signed *slope*
(a constant factor of 1.001 hides from all but this one). The measures run on the host, in float64.
"""

from __future__ import annotations

import numpy as np

_MANTISSA_BITS = {
    "float64": 53,
    "float32": 24,
    "float16": 11,
    "bfloat16": 8,
    "float8_e4m3fn": 4,
    "float8_e5m2": 3,
}
_SMALLEST_EXPONENT = {"float16": -14, "bfloat16": -126, "float8_e4m3fn": -6, "float8_e5m2": -14}
_LARGEST = {
    "float16": 65504.0,
    "bfloat16": float.fromhex("0x1.fep127"),
    "float8_e4m3fn": 448.0,
    "float8_e5m2": 57344.0,
}
ROUNDED_FORMATS = ("bfloat16", "float8_e4m3fn", "float8_e5m2")
"""Formats without a NumPy type; baselines in them are run on :class:`Rounded` arrays."""


def unit_roundoff(dtype: str) -> float:
    """Half the distance from 1 to the next number: the relative error of one rounding."""
    if dtype not in _MANTISSA_BITS:
        raise ValueError(f"dtype: expected one of {list(_MANTISSA_BITS)}, got {dtype!r}")
    return 2.0 ** -_MANTISSA_BITS[dtype]


def largest(dtype: str) -> float:
    """The largest finite number of a format."""
    return _LARGEST[dtype] if dtype in _LARGEST else float(np.finfo(dtype).max)


def smallest(dtype: str) -> float:
    """The smallest normal number; in formats with few exponents, the smallest of all.

    float32, float64 and bfloat16 code may flush smaller ones to zero; float16 hardware does not.
    """
    if dtype in ("float64", "float32"):
        return float(np.finfo(dtype).tiny)
    exponent = _SMALLEST_EXPONENT[dtype]
    return 2.0**exponent if dtype == "bfloat16" else 2.0 ** (exponent + 1 - _MANTISSA_BITS[dtype])


# ----------------------------------------------------------------------------------- measures


def ulp_distance(a, b) -> np.ndarray:
    """How many numbers of their common float type lie between a and b.

    Total: equal infinities and NaN against NaN are 0 apart, NaN or infinity against anything else
    is infinitely far (so 65504 and inf are no neighbours in float16), and opposite signs count
    through zero. Returned in float64.
    """
    a, b = np.asarray(a), np.asarray(b)
    dtype = np.result_type(a, b)
    if dtype.kind != "f" or dtype.itemsize > 8:
        raise TypeError(f"ulp_distance: expected float16, float32 or float64, got {dtype}")
    a, b = a.astype(dtype), b.astype(dtype)
    # Subtracting the two halves apart keeps giants of opposite sign from wrapping around int64.
    steps = np.abs(_ordinal(a).astype(np.float64) - _ordinal(b).astype(np.float64))
    near = np.abs(_ordinal(a) // 2 - _ordinal(b) // 2) < 2**50
    steps = np.where(near, np.abs(_ordinal(a) - _ordinal(b)).astype(np.float64), steps)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    return np.where(same, 0.0, np.where(np.isfinite(a) & np.isfinite(b), steps, np.inf))


def _ordinal(x: np.ndarray) -> np.ndarray:
    """Integers in the order of the floats, adjacent for adjacent floats, with -0 = +0 = 0."""
    integer = np.dtype(f"i{x.dtype.itemsize}")
    bits = x.view(integer).astype(np.int64)
    return np.where(bits < 0, np.int64(np.iinfo(integer).min) - bits, bits)


def nonfinite_mismatch(output, reference, representable: float = np.inf) -> np.ndarray:
    """True where one is NaN or infinite and the other is not the same.

    An infinite output of the right sign is accepted where the reference exceeds the largest
    ``representable`` number of the output's format.
    """
    overflow = (np.abs(reference) > representable) & (output == np.copysign(np.inf, reference))
    same = (output == reference) | (np.isnan(output) & np.isnan(reference)) | overflow
    return ~(np.isfinite(output) & np.isfinite(reference)) & ~same


def fibre_norms(x: np.ndarray, axes: int) -> np.ndarray:
    """Euclidean norm over the last ``axes`` axes; non-finite entries count as zero."""
    x = np.abs(np.where(np.isfinite(x), x, 0.0))
    along = tuple(range(-axes, 0))
    # Scaling first keeps the squares of huge and tiny entries in range.
    scale = x.max(axis=along, keepdims=True, initial=0.0)
    unit = x / np.where(scale > 0, scale, 1.0)
    return (scale * np.sqrt(np.square(unit).sum(axis=along, keepdims=True))).reshape(
        x.shape[: x.ndim - axes]
    )


def slope(error: np.ndarray, reference: np.ndarray) -> float:
    """Signed regression coefficient of the error on the reference: 0.001 for 1.001 times it."""
    usable = np.isfinite(error) & np.isfinite(reference)
    e, r = error[usable], reference[usable]
    scale = np.abs(r).max(initial=0.0)
    if scale == 0.0:
        return 0.0
    with np.errstate(over="ignore"):
        return float(np.dot(e / scale, r / scale) / np.dot(r / scale, r / scale))


# ----------------------------------------------------------------------------------- rounding


def round_to(x, dtype: str) -> np.ndarray:
    """x rounded to nearest-even in a low-precision format, as float32 (or in x's own wider type).

    Overflow gives infinity; in float8_e4m3fn, which has none, NaN.
    """
    x = np.asarray(x)
    with np.errstate(all="ignore"):
        if dtype == "bfloat16" and x.dtype == np.float32:
            return _bfloat16_of_float32(x)
        if dtype in ("float16", "float32", "float64"):
            return x.astype(dtype)
        wide = x.astype(np.float64)
        _, exponent = np.frexp(wide)
        exponent = np.maximum(exponent, _SMALLEST_EXPONENT[dtype] + 1)
        step = np.ldexp(1.0, exponent - _MANTISSA_BITS[dtype])
        rounded = np.where(np.isfinite(wide), np.rint(wide / step) * step, wide)
        overflow = np.nan if dtype == "float8_e4m3fn" else np.copysign(np.inf, wide)
        rounded = np.where(np.abs(rounded) > _LARGEST[dtype], overflow, rounded)
        return rounded.astype(np.float32 if x.dtype.itemsize < 8 else x.dtype)


def _bfloat16_of_float32(x: np.ndarray) -> np.ndarray:
    """The upper half of the bits, rounded to nearest even: every bfloat16 baseline runs on it."""
    bits = np.ascontiguousarray(x).view(np.uint32)
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    kept = (bits + np.uint32(0x7FFF) + odd) & np.uint32(0xFFFF0000)
    return np.where(np.isnan(x), x, kept.view(np.float32).reshape(x.shape))


class Rounded(np.ndarray):
    """A float32 array whose every operation rounds to a narrower format.

    NumPy has no bfloat16, and casting through ml_dtypes silently computes in float32; a formula run
    on these arrays makes the errors of an honest bfloat16 implementation that accumulates in
    float32. Made by :func:`rounded`; ``format`` is the format's name.
    """

    format: str = ""

    def __array_finalize__(self, source):
        self.format = getattr(source, "format", "")

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
        name = _format_of(inputs) or self.format
        if out is not None:
            kwargs["out"] = tuple(_plain(x) for x in out)
        result = getattr(ufunc, method)(*map(_plain, inputs), **kwargs)
        if out is not None and not isinstance(result, tuple):
            target = out[0]
            np.copyto(_plain(target), round_to(result, name))
            return target
        return _rounded_result(result, name)

    def __array_function__(self, function, types, args, kwargs):
        name = _format_of(args) or self.format
        args, kwargs = _plain_deep(args), _plain_deep(kwargs)
        return _rounded_result(function(*args, **kwargs), name)


def rounded(x, dtype: str) -> Rounded:
    """x rounded to the format, as an array that keeps rounding."""
    result = round_to(x, dtype).astype(np.float32).view(Rounded)
    result.format = dtype
    return result


def cast(x, dtype: str) -> np.ndarray:
    """x in a candidate's format: a NumPy type, or a :class:`Rounded` array where NumPy has none."""
    return rounded(x, dtype) if dtype in ROUNDED_FORMATS else np.asarray(x).astype(dtype)


def _plain(x):
    return x.view(np.ndarray) if isinstance(x, Rounded) else x


def _plain_deep(x):
    if isinstance(x, (list, tuple)) and not hasattr(x, "_fields"):
        return type(x)(map(_plain_deep, x))
    if isinstance(x, dict):
        return {key: _plain_deep(value) for key, value in x.items()}
    return _plain(x)


def _format_of(values) -> str:
    for value in values:
        if isinstance(value, Rounded):
            return value.format
        if isinstance(value, (list, tuple)) and (found := _format_of(value)):
            return found
    return ""


def _rounded_result(result, name: str):
    if isinstance(result, tuple):
        values = (_rounded_result(value, name) for value in result)
        return type(result)(*values) if hasattr(result, "_fields") else tuple(values)
    if isinstance(result, list):
        return [_rounded_result(value, name) for value in result]
    if isinstance(result, (np.ndarray, np.floating)) and result.dtype.kind == "f":
        # A formula's own float64 work (angles) stays exact; it is rounded where it meets the data.
        return result if result.dtype.itemsize > 4 else rounded(result, name)
    return result
