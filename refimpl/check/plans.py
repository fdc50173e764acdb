"""From features to cases: which rows are tried, with which sizes, options and arrays."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from refimpl.check.candidate import Candidate
from refimpl.check.features import (
    BATCHES,
    BROADCAST,
    HEADS,
    LONG_BATCHES,
    SHORT,
    SQUARE,
    Feature,
    Row,
    covering,
    long_sizes,
)
from refimpl.check.trial import Plan
from refimpl.evidence import Case, ClosedForm, Evidence
from refimpl.signature import Core

REFUSED = (ValueError, TypeError, IndexError, np.linalg.LinAlgError)
"""What a formula raises where inputs or options are none of it."""

# What kernels want where they want one size: powers of two.
_FIXED_SIZES = (16, 32, 64, 128, 256, 8)
_MOST_FIRST_ROWS = 150


class Planner:
    """The rows of one check, and the cases they stand for.

    ``user`` are options that the user fixes, ``sizes`` and ``multiples`` what axes may be, ``same``
    axes that are as long as others, ``longest`` the largest size to try. ``refused`` are the
    features that the candidate does not take, with what it raised; rows do without them.
    """

    def __init__(
        self,
        of: Evidence,
        candidate: Candidate,
        user: dict[str, Any],
        seed: int = 0,
        *,
        sizes: Mapping[str, tuple[int, ...]] | None = None,
        multiples: Mapping[str, int] | None = None,
        same: Mapping[str, str] | None = None,
        longest: int | None = None,
        gradients: bool = False,
    ):
        self.of, self.formula, self.candidate = of, of.formula, candidate
        self.user, self.seed = user, seed
        self.sizes, self.multiples = dict(sizes or {}), dict(multiples or {})
        self.same = dict(same or {})
        self.longest = longest
        self.batches = HEADS if candidate.heads_after else BATCHES
        self.long_batches = HEADS[:1] if candidate.heads_after else LONG_BATCHES
        self.layouts = candidate.layouts(gradients)
        for given in (self.sizes, self.multiples, self.same):
            if foreign := given.keys() - set(self.formula.axes):
                axes = ", ".join(self.formula.axes)
                raise ValueError(f"no axis {min(foreign)!r}: {self.formula.name} has {axes}")
        self.tie = dict(self.same)
        self.base: Row | None = None
        self.refused: dict[Feature, str] = {}

    # --------------------------------------------------------------------------------- sizes

    def fit(self, sizes: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
        """Sizes moved to those that the formula, the user and the candidate allow."""
        found = {axis: self._nearest(axis, sizes[axis]) for axis in self.formula.axes}
        found |= {axis: found[leader] for axis, leader in self.tie.items()}
        return tuple(found.items())

    def _nearest(self, axis: str, size: int) -> int:
        if axis in self.sizes:
            return min(self.sizes[axis], key=lambda s: abs(s - size))
        multiple = self.multiples.get(axis, 1)
        size = size if self.longest is None else min(size, self.longest)
        size = max(multiple, size - size % multiple)
        fitted = self.of.sizes[axis].fit(size, longest=True)
        if self.base is not None and Feature("size", axis, fitted) in self.refused:
            taken = dict(self.base.sizes)[axis]
            sizes = (self.of.sizes[axis].fit(s[axis], longest=True) for s in self._long_sizes())
            accepted = [s for s in sizes if Feature("size", axis, s) not in self.refused]
            return min([*accepted, taken], key=lambda s: abs(s - size))
        return fitted

    def _long_sizes(self) -> list[dict[str, int]]:
        free = [axis for axis in self.formula.axes if axis not in self.tie]
        found = [dict.fromkeys(self.tie, 1) | sizes for sizes in long_sizes(free)]
        if self.longest is not None:
            found = [s for s in found if max(s.values(), default=0) <= self.longest] or found[:1]
        return found

    # ---------------------------------------------------------------------------------- rows

    def first_rows(self) -> Iterator[Row]:
        """Rows to begin with, until the candidate takes one: it may want what few kernels want."""
        usable = [name for name in self.of.regimes if self.plan(self._short(name, 0)) is not None]
        if not usable:
            return
        first, *others = usable
        ties = (self.same,) if self.same else ({}, *self.of.ties)
        for tie, batch, place in itertools.product(ties, self.batches[:3], range(3)):
            self.tie = dict(tie)
            yield self._short(first, place, batch)
        fixed = [dict.fromkeys(self.formula.axes, size) for size in _FIXED_SIZES]
        several = itertools.product(_FIXED_SIZES[:5], repeat=len(self.formula.axes))
        fixed += [dict(zip(self.formula.axes, sizes, strict=True)) for sizes in several]
        rows = itertools.product(ties, fixed, self.batches[:3])
        for tie, sizes, batch in itertools.islice(rows, _MOST_FIRST_ROWS):
            self.tie = dict(tie)
            yield Row(first, sizes=self.fit(sizes), batch=batch, seed=self.seed)
        for tie, name, place in itertools.product(ties, others, range(len(SHORT))):
            self.tie = dict(tie)
            for batch in self.batches[:3]:
                yield self._short(name, place, batch)

    def rows(self) -> Iterator[Row]:
        """Everything that must be tried, the most telling first."""
        judged = [r.name for r in self.of.regimes.values() if not r.advisory]
        advisory = [r.name for r in self.of.regimes.values() if r.advisory]
        usable = [n for n in judged if self.plan(self._short(n, 0)) is not None]
        short = itertools.count()
        for name in usable:
            yield self._next(name, (), False, next(short))
        for name in advisory:
            yield self._next(name, (), False, 0)
        seeds = itertools.count(1)
        lengths = self._long_sizes()
        long = 0
        for name, options, is_long in self._combined(usable):
            seed = next(seeds)
            row = self._next(name, options, is_long, long if is_long else next(short))
            long += is_long
            yield replace(row, seed=self.seed + seed)
        ordinary = usable[:2]
        for place in range(long, len(lengths)):
            row = self._next(ordinary[place % len(ordinary)], (), True, place)
            yield replace(row, seed=self.seed + next(seeds))
        for batch in self.batches:
            yield replace(self._short(ordinary[0], 0, batch), seed=self.seed + next(seeds))
        for memory, is_long in itertools.product(self.layouts, (False, True)):
            for name in ordinary[:1] if is_long else ordinary:
                row = self._next(name, (), is_long, next(short))
                batch = row.batch or self.base.batch[-1:]
                batch = self.base.batch if self.candidate.heads_after else batch
                yield replace(row, memory=memory, batch=batch, seed=self.seed + next(seeds))

    def _combined(self, usable: list[str]) -> Iterator[tuple[str, tuple, bool]]:
        """Every two of regimes and options together, with short and with long axes."""
        singles = [v for v in self.of.variants if len(v) == 1 and not v.keys() & self.user.keys()]
        options: dict[str, list] = {}
        for variant in singles:
            ((name, value),) = variant.items()
            if self._has_variant(variant):
                options.setdefault(name, [_NOTHING]).append(value)
        factors = {"": usable, **options, "long": [False, True]}
        for chosen in covering(factors):
            given = {k: v for k, v in chosen.items() if k in options and v is not _NOTHING}
            yield chosen[""], tuple(given.items()), chosen["long"]
        for variant in self.of.variants:
            if len(variant) > 1 and not variant.keys() & self.user.keys():
                for is_long in (False, True):
                    yield usable[0], tuple(variant.items()), is_long

    def _has_variant(self, variant: Mapping[str, Any]) -> bool:
        return all(self.candidate.accepts(name, value) for name, value in variant.items())

    def _next(self, regime: str, options: tuple, is_long: bool, place: int) -> Row:
        if not is_long:
            batch = self.batches[place % len(self.batches)]
            return replace(self._short(regime, place, batch), options=options)
        lengths = self._long_sizes()
        return Row(
            regime,
            options,
            self.fit(lengths[place % len(lengths)]),
            self.long_batches[place % len(self.long_batches)],
            is_long=True,
        )

    def _short(self, regime: str, place: int, batch: tuple[int, ...] = ()) -> Row:
        sizes = dict(
            zip(self.formula.axes, itertools.cycle(SHORT[place % len(SHORT)]), strict=False)
        )
        return Row(regime, sizes=self.fit(sizes), batch=batch, seed=self.seed)

    def instead(self, row: Row) -> Iterator[Row]:
        """Rows for one that the formula refuses: square, one option at a time, without options."""
        pattern = itertools.cycle(SQUARE[row.is_long])
        sizes = self.fit(dict(zip(self.formula.axes, pattern, strict=False)))
        yield replace(row, sizes=sizes)
        if len(row.options) > 1:
            for option in row.options:
                yield replace(row, sizes=sizes, options=(option,))
        if row.options and self.base is not None:
            yield replace(row, regime=self.base.regime, options=())

    def without_refused(self, row: Row) -> Row:
        """The row with what the first one has in place of what the candidate does not take."""
        row = replace(row, sizes=self.fit(dict(row.sizes)))
        for feature in row.features():
            if feature in self.refused:
                row = self.replaced(row, feature)
        return row

    def replaced(self, row: Row, feature: Feature) -> Row:
        """The row with what the first one has in place of this feature."""
        if feature.kind == "regime":
            return replace(row, regime=self.base.regime)
        if feature.kind == "option":
            return replace(row, options=tuple(o for o in row.options if o[0] != feature.name))
        if feature.kind == "size":
            sizes = dict(row.sizes) | {feature.name: dict(self.base.sizes)[feature.name]}
            return replace(row, sizes=tuple(sizes.items()))
        if feature.kind == "batch":
            return replace(row, batch=self.base.batch)
        return replace(row, memory="")

    def alone(self, feature: Feature) -> Row:
        """The first row with this feature alone."""
        base = self.base
        if feature.kind == "regime":
            return replace(base, regime=feature.name)
        if feature.kind == "option":
            return replace(base, options=((feature.name, feature.value),))
        if feature.kind == "size":
            sizes = dict(base.sizes) | {feature.name: feature.value}
            sizes |= {axis: sizes[leader] for axis, leader in self.tie.items()}
            return replace(base, sizes=tuple(sizes.items()))
        if feature.kind == "batch":
            return replace(base, batch=feature.value)
        return replace(base, memory=feature.name, batch=base.batch)

    # --------------------------------------------------------------------------------- plans

    def plan(self, row: Row, arrays_of: str = "") -> Plan | None:
        """The case of a row, with the arrays of another regime where one is named.

        None where the candidate does not take the options that make the row what it is.
        """
        if {name for name, _ in row.options} & self.user.keys():
            return None
        axes = dict(row.sizes)
        case = self.of.sample(row.regime, axes, row.batch, row.seed, longest=True)
        if arrays_of:
            ordinary = self.of.sample(arrays_of, axes, row.batch, row.seed, longest=True)
            case = case.with_arrays(*ordinary.arrays)
        if row.memory == BROADCAST:
            case = self._broadcast(case)
        options = self.taken(case.with_options(**dict(row.options)))
        if options is None:
            return None
        return Plan(
            Case(case.arrays, options),
            row.regime,
            variant=row.options,
            sizes=row.sizes,
            batch=row.batch,
            memory="" if row.memory == BROADCAST else row.memory,
            advisory=self.of.regimes[row.regime].advisory,
            row=row,
        )

    def closed_form(self, form: ClosedForm) -> Plan | None:
        rng = np.random.default_rng(self.seed)
        axes = dict(self._short("", 0).sizes)
        try:
            case, _ = form.sample(rng, self.formula.shapes(axes, self.base.batch))
        except REFUSED:
            return None
        options = self.taken(case)
        return None if options is None else Plan(Case(case.arrays, options), closed_form=form.name)

    def empty(self, axis: str) -> Plan | None:
        regime = next(iter(self.of.regimes))
        axes = dict(self.base.sizes) | {axis: 0}
        case = self.of.sample(regime, axes, self.base.batch, self.seed, longest=True)
        options = self.taken(case)
        if options is None:
            return None
        case = Case(case.arrays, options)
        return Plan(case, regime, sizes=tuple(axes.items()), batch=self.base.batch, is_empty=True)

    def taken(self, case: Case) -> dict[str, Any] | None:
        """The options that the case is asked with, None where it would lose what makes it.

        The user's options win. What the candidate does not name stays at what evidence fixes, or at
        the formula's default; where the case asked for something else, it is not that case any
        more.
        """
        options = {}
        for name, value in (self.of.fixed | case.options).items():
            if name in self.user:
                continue
            if self.candidate.accepts(name, value):
                options[name] = value
            elif name in self.of.fixed:
                options[name] = self.of.fixed[name]
            elif not _says_nothing(value, self.formula.options[name]):
                return None
        return options | self.user

    def _broadcast(self, case: Case) -> Case:
        """One leading entry of every second array stands for all, and so do axes of one."""
        given = self.formula.by_name(case.arrays, case.options)
        place = itertools.count()
        changed = {
            name: _narrow(given[name], argument.core, next(place) % 3)
            for name, argument in self.formula.inputs.items()
            if isinstance(given.get(name), np.ndarray)
        }
        arrays = tuple(changed[a.name] for a in self.formula.arguments)
        keyed = {k: changed.get(k, v) for k, v in case.options.items()}
        return Case(arrays, keyed)


_NOTHING = object()


def _narrow(x: np.ndarray, core: Core, way: int) -> np.ndarray:
    """The array whole, with its first leading axis 1, or without it; axes that may be 1 are."""
    lead = max(x.ndim - len(core), 0)
    index: list[Any] = [slice(None)] * x.ndim
    if lead and way == 1:
        index[0] = slice(0, 1)
    if lead and way == 2:
        index[0] = 0
    for place, axis in enumerate(core):
        if axis.stretches and lead + len(core) == x.ndim:
            index[lead + place] = slice(0, 1)
            break
    return np.array(x[tuple(index)])


def _says_nothing(value: Any, default: Any) -> bool:
    """Whether an option asks for no more than its default does."""
    if value is None or value is default:
        return True
    return (
        not isinstance(value, np.ndarray)
        and not isinstance(default, np.ndarray)
        and (value == default)
    )
