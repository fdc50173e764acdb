"""What a check must have tried: its features, and few cases that cover all of them.

A feature is a regime of inputs, a value of an option, a size of an axis, a number of leading axes
or a layout in memory. No full product of them is tried: every two of regimes and options meet, with
small and with long axes, and the others are dealt out over these cases. The order is fixed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from refimpl.evidence import SMALL

TILES = (16, 64, 128, 256)
"""Kernels work in tiles of these sizes: an axis has each of them, one less and one more."""

# Sizes of the axes, in order of appearance: fewer queries than keys, more, as many; one; few.
SHORT = (SMALL, (5, 4, 3, 6), (4, 6, 4, 5), (1, 1, 1, 1), (2, 2, 7, 3), (33, 8, 17, 31))
TOGETHER = ((129, 33, 129, 34), (257, 65, 259, 33), (65, 130, 257, 66))
"""Several tiles along every axis at once."""
SQUARE = {False: SHORT[2], True: TOGETHER[0]}
"""As many queries as keys, short and long: what some options need."""
BATCHES = ((2, 3), (2,), (), (12,), (9, 2))
LONG_BATCHES = ((), (2,), (), (1, 3))
HEADS = ((2, 3), (9, 2), (1, 12))
"""Leading axes of kernels that have a layout of batch and heads."""
BROADCAST = "broadcast"
"""Leading axes and axes of masks that are 1, or missing, and stand for all."""


class Feature(NamedTuple):
    """One thing that was tried: its kind, a name, and a value where there is one."""

    kind: str
    name: str
    value: Any = None

    def __str__(self) -> str:
        if self.kind == "option":
            return f"{self.name}={self.value!r}"
        if self.kind == "size":
            return f"{self.name}={self.value}"
        return f"batch {self.value}" if self.kind == "batch" else self.name


@dataclass(frozen=True)
class Row:
    """One case to try, by its features; ``options`` are added to those of the regime."""

    regime: str
    options: tuple[tuple[str, Any], ...] = ()
    sizes: tuple[tuple[str, int], ...] = ()
    batch: tuple[int, ...] = ()
    memory: str = ""
    seed: int = 0
    is_long: bool = False

    def features(self) -> list[Feature]:
        found = [Feature("regime", self.regime)]
        found += [Feature("option", name, value) for name, value in self.options]
        found += [Feature("size", axis, size) for axis, size in self.sizes]
        found.append(Feature("batch", "batch", self.batch))
        return found + ([Feature("memory", self.memory)] if self.memory else [])


def ladder(axes: Sequence[str]) -> Iterator[dict[str, int]]:
    """Every axis has every edge of every tile once; no two neighbours are long at the same time."""
    for i in range(3 * len(TILES)):
        yield {
            axis: TILES[(i + j) % len(TILES)] + (i // len(TILES) + j) % 3 - 1
            for j, axis in enumerate(axes)
        }


def long_sizes(axes: Sequence[str]) -> list[dict[str, int]]:
    """All long sizes, the most telling first: several tiles everywhere, edges, one among many."""
    together = [dict(zip(axes, itertools.cycle(sizes), strict=False)) for sizes in TOGETHER]
    # One query of many keys, as in decoding, and its likes.
    alone = [
        {a: 1 if a == axis else (130, 17, 66, 33)[j % 4] for j, a in enumerate(axes)}
        for axis in axes
        if len(axes) > 1
    ]
    return together + alone + list(ladder(axes))


def covering(factors: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Rows that give each factor a value, so that every two values of two factors meet in one.

    Greedy: each row starts from the first pair that has not met, and then takes for every factor
    the value that completes most pairs.
    """
    names = [name for name in factors if factors[name]]
    values = {name: range(len(factors[name])) for name in names}
    missing = {
        ((a, x), (b, y)): None
        for a, b in itertools.combinations(names, 2)
        for x in values[a]
        for y in values[b]
    }
    rows = []
    while missing:
        row = dict(next(iter(missing)))
        for name in names:
            if name not in row:
                row[name] = max(values[name], key=lambda x, n=name: _completed(row, n, x, missing))
        for pair in itertools.combinations([(n, row[n]) for n in names], 2):
            missing.pop(pair, None)
        rows.append({name: factors[name][row[name]] for name in names})
    if not rows:
        rows = [{name: value} for name in names for value in factors[name]]
    return rows


def _completed(row: dict[str, int], name: str, value: int, missing: dict) -> int:
    mine = (name, value)
    return sum(((other, mine) in missing) + ((mine, other) in missing) for other in row.items())
