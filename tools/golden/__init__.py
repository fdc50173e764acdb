"""Golden values from a second definition of each formula, in plain mpmath at 50 digits.

A definition works on nested lists of mpf (one unbatched case), transcribed from the paper's formula
and sharing no code with the library. ``python -m tools.golden`` writes
``refimpl/golden/<topic>/<name>.json``: inputs and answers as hexadecimal float64, directional
derivatives from the same definition, provenance, and the *conditioning limit* of every answer: how
far one rounding of every input moves it. The limit comes from the definition alone, so that what
the tests demand of the library does not depend on the processor that wrote the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import mpmath
import numpy as np

from refimpl.formula import Formula

DIGITS = 50
# The step and the working precision leave 50 correct digits in a central difference.
_STEP_EXPONENT = 40
_WORKING_DIGITS = 140
_DRAWS = 8
_ROUNDING = mpmath.mpf(2) ** -53
SPECTRAL = (
    4.0,
    "singular vectors are right to some roundings of the largest entry, for each dimension",
)
"""Why algorithms by eigenvectors may be off by more than eight limits."""


class Golden(NamedTuple):
    """A second definition of a formula, and the cases that it is evaluated on."""

    name: str
    define: Callable
    cases: Callable[[], dict[str, tuple[tuple, dict[str, Any]]]]
    beyond: Mapping[str, tuple[float, str]]


TABLE: dict[str, Golden] = {}


def golden(
    name: str, cases: Callable, *, beyond: Mapping[str, tuple[float, str]] | None = None
) -> Callable:
    """Decorator: register ``define(*lists, **options)`` as the second definition of ``name``.

    ``cases()`` returns ``{case name: (arrays, options)}`` with float64, integer or boolean NumPy
    arrays. The definition returns a nested list (or one mpf), or a tuple of them where the formula
    has several outputs. ``beyond`` names cases that no float64 algorithm of this kind gets right
    within 8 limits: how many times as much is allowed, and why.
    """

    def register(define: Callable) -> Callable:
        TABLE[name] = Golden(name, define, cases, dict(beyond or {}))
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
            outputs = evaluate(record, moved, options_moved)
            for output, g in zip(outputs, cotangents, strict=True):
                pairs = zip(output, flatten(exact(g)), strict=True)
                # A cotangent is zero where the output is infinite: those entries do not move.
                total += sign * mpmath.fsum(o * c for o, c in pairs if c != 0)
        return total / (2 * step)


def _moved(value, direction, step):
    """x + step * t as nested lists; what has no direction stays as it is."""
    if direction is None:
        return exact(value)
    pairs = zip(flatten(exact(value)), flatten(exact(direction)), strict=True)
    return _nest(direction.shape, [x + step * t for x, t in pairs])


# ------------------------------------------------------------------------ conditioning limits


def limit(formula: Formula, arrays: tuple, options: dict, answer: Callable, right) -> list:
    """How far one rounding of every input moves each answer: the most of several draws.

    ``answer(arrays, options)`` gives a list of flat lists, ``right`` what it is for the inputs as
    they are. Positions are inputs where the definition is smooth in them; a number of a bucket is
    not.
    """
    for kinds in (("real", "exact"), ("real",)):
        try:
            changes = [
                [_largest_change(a, b) for a, b in zip(answer(*moved), right, strict=True)]
                for moved in _rounded_inputs(formula, arrays, options, kinds)
            ]
        except (TypeError, IndexError):
            continue
        worst = [max(each) for each in zip(*changes, strict=True)]
        sizes = [max((abs(x) for x in y if mpmath.isfinite(x)), default=0) for y in right]
        if all(w <= mpmath.mpf(10) ** -3 * s for w, s in zip(worst, sizes, strict=True) if s):
            return worst
    return worst


def _largest_change(moved: list, right: list):
    pairs = zip(moved, right, strict=True)
    return max((abs(a - b) for a, b in pairs if mpmath.isfinite(b)), default=mpmath.mpf(0))


def _rounded_inputs(formula: Formula, arrays, options, kinds) -> Iterator[tuple[list, dict]]:
    rng = np.random.default_rng(8159)
    names = [a.name for a in formula.arguments]

    def rounded(name: str, x):
        argument = formula.inputs.get(name)
        chosen = argument is not None and argument.kind in kinds and isinstance(x, np.ndarray)
        return _rounded(rng, x) if chosen else x

    for _ in range(_DRAWS):
        yield (
            [rounded(name, x) for name, x in zip(names, arrays, strict=True)],
            {name: rounded(name, x) for name, x in options.items()},
        )


def _rounded(rng: np.random.Generator, x: np.ndarray):
    """x (1 + u s) with random signs s, as nested lists of mpf.

    Symmetric matrices stay symmetric. Singular ones keep their rank: rows and columns are scaled.
    """
    signs = rng.choice([-1, 1], size=x.shape)
    if _is_symmetric(x):
        upper = np.triu(signs)
        signs = upper + np.triu(upper, 1).swapaxes(-1, -2)
        if _is_singular(x):
            sides = signs[..., 0, :]
            signs = sides[..., :, None] + sides[..., None, :]
    numbers = [mpmath.mpf(float(v)) for v in x.ravel()]
    pairs = zip(numbers, signs.ravel().tolist(), strict=True)
    return _nest(x.shape, [v * (1 + _ROUNDING * s) if mpmath.isfinite(v) else v for v, s in pairs])


def _is_symmetric(x: np.ndarray) -> bool:
    square = x.ndim >= 2 and x.shape[-1] == x.shape[-2] > 1
    return square and np.array_equal(x, x.swapaxes(-1, -2))


def _is_singular(x: np.ndarray) -> bool:
    if not np.isfinite(x).all():
        return False
    eigenvalues = np.linalg.eigvalsh(x)
    size = np.abs(eigenvalues).max(axis=-1)
    return bool((np.abs(eigenvalues).min(axis=-1) <= 64 * x.shape[-1] * 2.0**-53 * size).any())
