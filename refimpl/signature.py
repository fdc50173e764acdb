"""The gufunc signature: which array has which named axes.

The notation is NumPy's, e.g. ``(n,d),(m,d),(m,v)->(n,v)``, with leading axes that broadcast. A core
axis is

* a name (``n``): the same size wherever the name stands;
* a number (``3``): exactly that size;
* a name with ``?`` (``n?``): may be absent, and then is absent from every array (as in
  ``numpy.matmul``);
* a name with ``|1`` (``n|1``): size 1 is accepted too and broadcasts (as in NEP 20).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

_AXIS = re.compile(r"^(?:(?P<size>\d+)|(?P<name>[A-Za-z_]\w*)(?P<mark>\?|\|1)?)$")
_CORE = re.compile(r"\(([^()]*)\)")


class Axis(NamedTuple):
    """One core axis: a name, or a fixed size; it may be optional or accept size 1."""

    name: str
    size: int | None = None
    optional: bool = False
    stretches: bool = False

    def __str__(self) -> str:
        return self.name + ("?" if self.optional else "") + ("|1" if self.stretches else "")


Core = tuple[Axis, ...]


class Extents(NamedTuple):
    """What a call's shapes fix: the size of every named axis, and the broadcast leading axes."""

    axes: dict[str, int]
    batch: tuple[int, ...]

    def shape(self, core: Core) -> tuple[int, ...]:
        """The full shape of an array with this core, or KeyError where an axis is not yet known."""
        return self.batch + tuple(
            axis.size if axis.size is not None else self.axes[axis.name]
            for axis in core
            if axis.size is not None or self.axes.get(axis.name) is not None or not axis.optional
        )


def parse_axis(text: str) -> Axis:
    match = _AXIS.match(text.strip())
    if match is None:
        raise ValueError(f"not an axis of a signature: {text!r}")
    if match["size"]:
        return Axis(match["size"], size=int(match["size"]))
    return Axis(match["name"], optional=match["mark"] == "?", stretches=match["mark"] == "|1")


def parse_core(text: str) -> Core:
    """The axes of one array, from ``(n,d)``."""
    match = _CORE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"not the axes of an array: {text!r}")
    return tuple(parse_axis(axis) for axis in match[1].split(",") if axis.strip())


def _parse_side(text: str) -> tuple[Core, ...]:
    cores = tuple(parse_core(f"({body})") for body in _CORE.findall(text))
    if re.sub(r"\s", "", _CORE.sub("", text)).strip(",") or not (cores or not text.strip()):
        raise ValueError(f"not a list of arrays: {text!r}")
    return cores


@dataclass(frozen=True)
class Signature:
    """Input and output cores of a formula."""

    inputs: tuple[Core, ...]
    outputs: tuple[Core, ...]

    @classmethod
    def parse(cls, text: str) -> Signature:
        sides = text.split("->")
        if len(sides) != 2:
            raise ValueError(f"a signature has exactly one '->': {text!r}")
        return cls(_parse_side(sides[0]), _parse_side(sides[1]))

    def __str__(self) -> str:
        sides = (",".join(map(format_core, side)) for side in (self.inputs, self.outputs))
        return "->".join(sides)


def format_core(core: Core) -> str:
    return "(" + ",".join(map(str, core)) + ")"


def bind(
    formula: str,
    names: tuple[str, ...],
    cores: tuple[Core, ...],
    shapes: tuple[tuple[int, ...], ...],
) -> Extents:
    """Match shapes with cores; ValueError names formula, argument, axis, expected and got."""
    absent = _absent_axes(formula, names, cores, shapes)
    axes: dict[str, int] = {}
    owner: dict[str, str] = {}
    batch: tuple[int, ...] = ()
    leader = ""
    for name, core, shape in zip(names, cores, shapes, strict=True):
        present = tuple(axis for axis in core if axis.name not in absent)
        split = len(shape) - len(present)
        for axis, size in zip(present, shape[split:], strict=True):
            expected = axis.size if axis.size is not None else axes.get(axis.name, size)
            if size != expected and not (axis.stretches and size == 1):
                origin = f" (from {owner[axis.name]})" if axis.name in owner else ""
                raise ValueError(
                    f"{formula}: {name} axis {axis.name!r}: expected {expected}{origin}, "
                    f"got {size}; "
                    f"{name} has shape {shape}, signature (...,{format_core(core)[1:]}"
                )
            if axis.size is None and not axis.stretches and axis.name not in owner:
                axes[axis.name], owner[axis.name] = size, name
        batch, leader = _broadcast(formula, batch, leader, shape[:split], name)
    return Extents(axes, batch)


def _absent_axes(formula, names, cores, shapes) -> frozenset[str]:
    """Optional axes that some array is too short to have."""
    absent = set()
    for name, core, shape in zip(names, cores, shapes, strict=True):
        if len(shape) >= len(core):
            continue
        optional = [axis.name for axis in core if axis.optional]
        if len(shape) < len(core) - len(optional):
            raise ValueError(
                f"{formula}: {name} needs at least {len(core) - len(optional)} axes "
                f"(...,{format_core(core)[1:]}, got shape {shape}"
            )
        absent.update(optional)
    return frozenset(absent)


def _broadcast(formula, batch, leader, other, name) -> tuple[tuple[int, ...], str]:
    """Broadcast leading axes by NumPy's rule; ``leader`` is the array that set them so far."""
    length = max(len(batch), len(other))
    left = (1,) * (length - len(batch)) + batch
    right = (1,) * (length - len(other)) + other
    if any(a != b and 1 not in (a, b) for a, b in zip(left, right, strict=True)):
        raise ValueError(
            f"{formula}: leading axes of {name}: expected {batch} (from {leader}) or a shape that "
            f"broadcasts with it, got {other}"
        )
    merged = tuple(b if a == 1 else a for a, b in zip(left, right, strict=True))
    return merged, name if merged == other else leader or name
