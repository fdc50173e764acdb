"""Arrays of a call: what their values may be, one float type for all, shapes bound to the axes."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

from refimpl import backend
from refimpl.signature import Core, Extents, bind

EXPECTED = {
    "real": "real numbers (float or integer)",
    "exact": "integers or float64 (lower precisions cannot hold large values exactly)",
    "boolean": "booleans",
    "index": "integers",
}
_NUMPY_KINDS = {"real": "fiu", "exact": "iuf", "boolean": "b", "index": "iu"}
_HINTS = {
    ("boolean", "f"): "a float mask is added, not selected: pass it as bias=, or compare it with 0",
    ("boolean", "i"): "a mask of 0 and 1 selects as mask != 0",
    ("boolean", "u"): "a mask of 0 and 1 selects as mask != 0",
    ("real", "b"): "booleans select, they are not numbers: pass a boolean mask as mask=",
}


class Argument(NamedTuple):
    """One array of a formula: its core axes, and what its values may be."""

    name: str
    core: Core
    kind: str = "real"


class Arguments:
    """Takes the arrays of one formula's calls."""

    def __init__(self, formula: str, inputs: dict[str, Argument]):
        self.formula, self.inputs = formula, inputs
        # The same shapes come again and again, and a formula's own work may be microseconds.
        self._bind = functools.lru_cache(maxsize=1024)(self._bind_shapes)

    def __reduce__(self):
        return Arguments, (self.formula, self.inputs)

    def take(self, names: Sequence[str], values: Sequence) -> tuple[list, Extents]:
        """Values as arrays of one backend and one float type, and what their shapes fix."""
        used = [self.inputs[name] for name in names]
        like = next((v for v in values if backend.is_array(v)), None)
        weak = [isinstance(v, (int, float)) for v in values]
        arrays = [self._as_array(a.name, v, like) for a, v in zip(used, values, strict=True)]
        arrays = self._with_one_type(used, arrays, weak)
        return arrays, self._bind(tuple(names), tuple([v.shape for v in arrays]))

    def cotangent(self, value, like, dtype):
        """A cotangent of an output, in the precision of the call."""
        array = self._as_array("g", value, like)
        if array.dtype.kind not in "fiu":
            raise TypeError(f"{self.formula}: g: expected real numbers, got {array.dtype}")
        return backend.astype(array, dtype)

    def _bind_shapes(self, names: tuple[str, ...], shapes: tuple[tuple[int, ...], ...]) -> Extents:
        return bind(self.formula, names, tuple(self.inputs[n].core for n in names), shapes)

    def _as_array(self, name: str, value, like):
        try:
            if value is None or isinstance(value, (str, bytes)):
                raise TypeError(f"expected an array, got {value!r}")
            return backend.as_array(value, like)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{self.formula}: {name}: {error}") from None

    def _with_one_type(self, used: list[Argument], values: list, weak: list[bool]) -> list:
        """Check the kinds, make integers float64, and bring all real arrays to one float type.

        Python numbers are weak: they take the type of the arrays beside them, as in NumPy.
        """
        dtype = None
        uniform = True
        for index, (argument, value) in enumerate(zip(used, values, strict=True)):
            kind = value.dtype.kind
            if kind not in _NUMPY_KINDS[argument.kind]:
                self._refuse(argument, value)
            if argument.kind == "real":
                if kind != "f":
                    value = values[index] = backend.astype(value, "float64")
                if dtype is None:
                    dtype = value.dtype
                elif value.dtype != dtype:
                    uniform = False
            elif kind == "u":
                # A difference of unsigned positions wraps.
                values[index] = self._signed(argument, value)
            elif kind == "f" and value.dtype.itemsize < 8:
                self._refuse(argument, value)
        if uniform:
            return values
        pairs = [(v, w) for a, v, w in zip(used, values, weak, strict=True) if a.kind == "real"]
        strong = [v for v, w in pairs if not w]
        dtype = backend.result_type(*(strong or [v for v, _ in pairs]))
        return [
            backend.astype(v, dtype) if a.kind == "real" else v
            for a, v in zip(used, values, strict=True)
        ]

    def _signed(self, argument: Argument, value):
        if value.dtype.itemsize < 8 or not value.size or backend.scalar(value.max()) < 2**63:
            return backend.astype(value, "int64")
        if argument.kind == "exact":
            return value
        raise ValueError(f"{self.formula}: {argument.name}: expected integers below 2^63")

    def _refuse(self, argument: Argument, value):
        hint = _HINTS.get((argument.kind, value.dtype.kind), "")
        raise TypeError(
            f"{self.formula}: {argument.name}: expected {EXPECTED[argument.kind]}, "
            f"got {value.dtype}" + (f" ({hint})" if hint else "")
        )
