"""Golden values from a second definition of each formula, in plain mpmath at 50 digits.

A definition works on nested lists of mpf (one unbatched case), transcribed from the paper's formula
and sharing no code with the library. ``python -m tools.golden`` writes
``refimpl/golden/<topic>/<name>.json``: inputs and answers as hexadecimal float64, directional
derivatives from the same definition, provenance, and the error of the library's float64 path when
the file was written, which the tests gate at four times.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import mpmath
import numpy as np

DIGITS = 50
# The step and the working precision leave 50 correct digits in a central difference.
_STEP_EXPONENT = 40
_WORKING_DIGITS = 140


class Golden(NamedTuple):
    """A second definition of a formula, and the cases that it is evaluated on."""

    name: str
    define: Callable
    cases: Callable[[], dict[str, tuple[tuple, dict[str, Any]]]]


TABLE: dict[str, Golden] = {}


def golden(name: str, cases: Callable) -> Callable:
    """Decorator: register ``define(*lists, **options)`` as the second definition of ``name``.

    ``cases()`` returns ``{case name: (arrays, options)}`` with float64, integer or boolean NumPy
    arrays. The definition returns a nested list (or one mpf), or a tuple of them where the formula
    has several outputs.
    """

    def register(define: Callable) -> Callable:
        TABLE[name] = Golden(name, define, cases)
        return define

    return register


def exact(value):
    """A NumPy array as nested lists of mpf (booleans and integers as such); others as they are."""
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.kind in "biu":
        return value.tolist()
    return _nest(value.shape, [mpmath.mpf(float(x)) for x in value.ravel()])


def _nest(shape, flat):
    if not shape:
        return flat[0]
    width = len(flat) // shape[0] if shape[0] else 0
    return [_nest(shape[1:], flat[i * width : (i + 1) * width]) for i in range(shape[0])]


def flatten(value) -> list:
    """Nested lists of mpf as one list."""
    if isinstance(value, (list, tuple)):
        return [entry for item in value for entry in flatten(item)]
    return [value]


def evaluate(record: Golden, arrays: tuple, options: dict) -> list[list]:
    """The outputs of the second definition, each as a flat list of mpf."""
    result = record.define(*map(exact, arrays), **{k: exact(v) for k, v in options.items()})
    outputs = result if isinstance(result, tuple) else (result,)
    return [flatten(output) for output in outputs]


def directional_derivative(
    record: Golden,
    arrays: tuple,
    options: dict,
    name_of: tuple[str, ...],
    directions: dict,
    cotangents: list,
):
    """<g, J t> by a central difference of the second definition, to some 80 digits."""
    with mpmath.workdps(_WORKING_DIGITS):
        step = mpmath.mpf(10) ** -_STEP_EXPONENT
        total = mpmath.mpf(0)
        for sign in (1, -1):
            moved = [
                _moved(a, directions.get(n), sign * step)
                for a, n in zip(arrays, name_of, strict=True)
            ]
            options_moved = {
                k: _moved(v, directions.get(k), sign * step) for k, v in options.items()
            }
            result = record.define(*moved, **options_moved)
            outputs = result if isinstance(result, tuple) else (result,)
            for output, g in zip(outputs, cotangents, strict=True):
                pairs = zip(flatten(output), flatten(exact(g)), strict=True)
                # A cotangent is zero where the output is infinite: those entries do not move.
                total += sign * mpmath.fsum(o * c for o, c in pairs if c != 0)
        return total / (2 * step)


def _moved(value, direction, step):
    if direction is None:
        return exact(value)
    flat = [
        mpmath.mpf(float(x)) + step * mpmath.mpf(float(t))
        for x, t in zip(value.ravel(), direction.ravel(), strict=True)
    ]
    return _nest(value.shape, flat)
