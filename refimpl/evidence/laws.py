"""Makers of laws that many formulas obey: each is a line in the file of its formula.

    attention.law(linear_in("v", _size))

A maker returns a function for :meth:`Evidence.law`, with the name and the sentence of the law.
``size(case)`` is the scale of rounding errors in the output.
"""

from __future__ import annotations

from collections.abc import Callable

from refimpl.backend import namespace
from refimpl.evidence import Case, Claim

Size = Callable[[Case], object]


def _law(claims: Callable, name: str, sentence: str) -> Callable:
    claims.__name__ = claims.__qualname__ = name
    claims.__doc__ = sentence
    return claims


def _at(case: Case, place: int, value) -> Case:
    """The case with another array at this place."""
    arrays = list(case.arrays)
    arrays[place] = value
    return case.with_arrays(*arrays)


def linear_in(place: int, what: str, size: Size) -> Callable:
    """f(.., x - y/2, ..) = f(.., x, ..) - f(.., y, ..)/2, for the array at this place."""

    def claims(f, case):
        x = case.arrays[place]
        other = namespace(x).flip(x, axis=-1)
        left = _at(case, place, x - 0.5 * other).call(f)
        right = case.call(f) - 0.5 * _at(case, place, other).call(f)
        yield Claim(left, right, 2.0 * size(case))

    return _law(claims, f"linear_in_{what}", f"The output is linear in the {what}")


def constant_values(place: int, size: Size, *, unless: tuple[str, ...] = ()) -> Callable:
    """Where all values are 2.5, outputs are 2.5, or 0 where nothing is seen.

    Options of ``unless`` take weight from the values.
    """

    def claims(f, case):
        if any(case.options.get(name) is not None for name in unless):
            return
        v = case.arrays[place]
        output = _at(case, place, namespace(v).full(v.shape, 2.5, dtype=v.dtype)).call(f)
        yield Claim(output * (output - 2.5), 0.0 * output, 2.5 * size(case))

    return _law(
        claims,
        "constant_values",
        "Where all values are equal so is the output, unless nothing is seen: weights sum to one",
    )


def distance_alone_matters(by: int) -> Callable:
    """Positions, the last two arrays, all further by a whole number: to the bit."""

    def claims(f, case):
        *rest, queries, keys = case.arrays
        yield Claim(case.with_arrays(*rest, queries + by, keys + by).call(f), case.call(f), 0.0)

    return _law(claims, "distance_alone_matters", "Moving all positions changes nothing")


def symmetric_in(first: slice, second: slice, size: Size, sentence: str) -> Callable:
    """f is the same with two runs of arrays exchanged."""

    def claims(f, case):
        arrays = list(case.arrays)
        arrays[first], arrays[second] = arrays[second], arrays[first]
        yield Claim(case.with_arrays(*arrays).call(f), case.call(f), size(case))

    return _law(claims, "is_symmetric", sentence)
