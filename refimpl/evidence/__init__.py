"""What is known about a formula beyond its code: what generic tests and checks iterate over.

A topic file ``refimpl/attention/softmax.py`` has its mirror
``refimpl/evidence/attention/softmax.py``, which opens an :class:`Evidence` record for each formula
and adds to it with decorators:

* ``@of.regime``: a sampler of inputs, ``(rng, shape) -> Case``; at least two, one of them
  adversarial;
* ``@of.law``: a predicate ``(f, case) -> claims`` that any correct implementation obeys;
* ``@of.closed_form``: ``(rng, shape) -> (case, answer)``, known without the formula;
* ``@of.mutant``: a wrong variant; the first line of its docstring is what a report says of it.

Mistakes that every formula has (a sign, an option ignored, arguments swapped) are made from the
registration, see :mod:`refimpl.evidence.mistakes`; ``unchanged`` says of those that change nothing
why.

Nothing here imports Hypothesis, so laws run on other people's implementations too.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import itertools
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from refimpl import backend
from refimpl.evidence.mistakes import Mutant, general
from refimpl.formula import Formula

RECORDS: dict[str, Evidence] = {}
"""Evidence by formula name, of the modules loaded so far."""


@dataclass(frozen=True)
class Case:
    """One set of arguments: positional arrays, and keywords (arrays and plain options)."""

    arrays: tuple
    options: dict[str, Any] = field(default_factory=dict)

    def call(self, f: Callable):
        return f(*self.arrays, **self.options)

    def with_arrays(self, *arrays) -> Case:
        return replace(self, arrays=arrays)

    def with_options(self, **options) -> Case:
        return replace(self, options=self.options | options)

    def map(self, change: Callable) -> Case:
        """Apply ``change`` to every array, keyword arrays included."""
        options = {k: change(v) if backend.is_array(v) else v for k, v in self.options.items()}
        return Case(tuple(map(change, self.arrays)), options)


class Claim(NamedTuple):
    """left = right, up to rounding on the given scale (an array or a number)."""

    left: Any
    right: Any
    scale: Any = 1.0


class Law(NamedTuple):
    name: str
    statement: str
    claims: Callable[[Callable, Case], Iterable[Claim]]
    slack: float


class Regime(NamedTuple):
    """A sampler of inputs; honest public code fails on an ``advisory`` one, which is only noted."""

    name: str
    statement: str
    sample: Callable
    adversarial: bool
    advisory: bool


class ClosedForm(NamedTuple):
    name: str
    statement: str
    sample: Callable
    slack: float


class Budget(NamedTuple):
    """How far an honest implementation may be from the answer.

    ``k`` times the error of our own forms in the same precision, but at least ``floor`` roundings
    of the fibre's norm. Where even that exceeds ``cap`` times the norm, the precision cannot tell.
    ``fibre`` is how many trailing axes make one fibre: None for one row (or one number, for scalar
    outputs). ``unit`` is a size below which outputs of this formula are sums of larger terms, so
    that their errors are absolute.
    """

    k: float = 3.0
    floor: float = 4.0
    cap: float = 0.5
    fibre: int | None = None
    unit: float = 1.0


class Sizes(NamedTuple):
    """Sizes that an axis may have.

    Property tests go up to ``maximum``; checks of kernels, which work in tiles, to ``longest``,
    unless there is one size alone.
    """

    minimum: int = 1
    multiple: int = 1
    maximum: int = 64
    longest: int = 260

    def fit(self, size: int, *, longest: bool = False) -> int:
        """The nearest allowed size from below, at least the minimum."""
        largest = self.longest if longest and self.maximum > self.minimum else self.maximum
        size = max(self.minimum, min(size, largest))
        return max(self.minimum, size - size % self.multiple)


# All axes differ, and there are fewer queries than keys.
SMALL = (3, 4, 5, 2)


class Evidence:
    """The record of one formula. See the module's docstring for what goes in.

    ``sizes`` are those of axes that cannot have any, ``empty`` the axes that may have size 0;
    ``options`` are values to probe one at a time, beside all that the declared conventions name,
    and ``combinations`` several together (a formula may refuse some for some sizes); ``fixed`` are
    values for options without a default; ``ties`` are axes that some implementations need to be as
    long as others. ``unchanged`` are general mistakes that are none here, with the reason.
    """

    def __init__(
        self,
        formula: Formula,
        *,
        sizes: Mapping[str, Sizes] | None = None,
        empty: tuple[str, ...] = (),
        options: Mapping[str, tuple] | None = None,
        combinations: Iterable[Mapping[str, Any]] = (),
        fixed: Mapping[str, Any] | None = None,
        ties: Iterable[Mapping[str, str]] = (),
        unchanged: Mapping[str, str] | None = None,
        budget: Budget | None = None,
    ):
        self.formula = formula
        self.sizes = {axis: Sizes() for axis in formula.axes} | dict(sizes or {})
        self.empty = empty
        self.fixed = dict(fixed or {})
        probed = conventions(formula, self.fixed) | dict(options or {})
        single = ({name: value} for name, values in probed.items() for value in values)
        self.variants: tuple[dict[str, Any], ...] = (*single, *map(dict, combinations))
        self.ties = tuple(map(dict, ties))
        self.unchanged = dict(unchanged or {})
        self.budget = budget or Budget()
        self.output_sizes: Callable | None = None
        self.gradient_sizes: Callable | None = None
        self.regimes: dict[str, Regime] = {}
        self.laws: dict[str, Law] = {}
        self.closed_forms: dict[str, ClosedForm] = {}
        self.mutants: dict[str, Mutant] = {}
        RECORDS[formula.name] = self

    def __repr__(self) -> str:
        return f"<evidence of {self.formula.name}>"

    def regime(
        self, sample: Callable | None = None, *, adversarial: bool = False, advisory: bool = False
    ) -> Callable:
        """Decorator: ``sample(rng, shape) -> Case``, NumPy arrays in float64 or the kind's type."""
        if sample is None:
            return lambda f: self.regime(f, adversarial=adversarial, advisory=advisory)
        self.regimes[sample.__name__] = Regime(
            sample.__name__, _statement(sample), sample, adversarial, advisory
        )
        return sample

    def law(self, claims: Callable | None = None, *, slack: float = 32.0) -> Callable:
        """Decorator: ``claims(f, case)`` yields claims, right up to slack * u * scale."""
        if claims is None:
            return lambda f: self.law(f, slack=slack)
        self.laws[claims.__name__] = Law(claims.__name__, _statement(claims), claims, slack)
        return claims

    def closed_form(self, sample: Callable | None = None, *, slack: float = 32.0) -> Callable:
        """Decorator: ``sample(rng, shape) -> (case, answer)``; errors relative to the largest."""
        if sample is None:
            return lambda f: self.closed_form(f, slack=slack)
        record = ClosedForm(sample.__name__, _statement(sample), sample, slack)
        self.closed_forms[sample.__name__] = record
        return sample

    def mutant(
        self, body: Callable | None = None, *, source: str = "", gradient: bool = False
    ) -> Callable:
        """Decorator: a wrong variant with the formula's parameters (``g`` first for a gradient)."""
        if body is None:
            return lambda f: self.mutant(f, source=source, gradient=gradient)
        self.mutants[body.__name__] = Mutant(
            body.__name__, _statement(body), body, source, gradient
        )
        return body

    def output_terms(self, sizes: Callable) -> Callable:
        """Decorator: ``sizes(*arrays, **options)``, the size of the terms of each output.

        A small result of large terms carries their rounding errors, which no run of ours need show.
        """
        self.output_sizes = sizes
        return sizes

    def gradient_terms(self, sizes: Callable) -> Callable:
        """Decorator: ``sizes(g, *arrays, **options) -> {name: size}``, for the gradients."""
        self.gradient_sizes = sizes
        return sizes

    # ------------------------------------------------------------------------------ sampling

    def axes(
        self, pattern: Iterable[int] = SMALL, ties: Mapping[str, str] | None = None, empty: str = ""
    ) -> dict[str, int]:
        """Sizes in order of appearance, moved to allowed ones; ``ties`` are as long as others."""
        sizes = dict(zip(self.formula.axes, itertools.cycle(pattern), strict=False))
        sizes |= {name: sizes[leader] for name, leader in (ties or {}).items()}
        return self.fit(sizes | ({empty: 0} if empty else {}))

    def fit(
        self, axes: Mapping[str, int], *, allow_empty: bool = True, longest: bool = False
    ) -> dict[str, int]:
        """Axis sizes moved to allowed ones; 0 stays where the axis may be empty."""
        return {
            name: 0
            if axes[name] == 0 and name in self.empty and allow_empty
            else self.sizes[name].fit(axes[name], longest=longest)
            for name in self.formula.axes
        }

    def sample(
        self,
        regime: str,
        axes: Mapping[str, int],
        batch: tuple[int, ...] = (),
        seed: int = 0,
        *,
        longest: bool = False,
    ) -> Case:
        """Inputs of a regime for these sizes, with the options that the formula needs."""
        rng = np.random.default_rng([seed, *map(ord, regime)])
        axes = self.fit(axes, longest=longest)
        case = self.regimes[regime].sample(rng, self.formula.shapes(axes, batch))
        options = {
            k: np.asarray(v) if isinstance(v, np.generic) and k in self.formula.keywords else v
            for k, v in case.options.items()
        }
        return Case(tuple(map(np.asarray, case.arrays)), self.fixed | options)

    # ------------------------------------------------------------------------------ mistakes

    @functools.cached_property
    def general(self) -> dict[str, Mutant]:
        """The mistakes that the registration makes, but for those that are declared to be none."""
        symmetric = {f"{name} is taken as its transpose" for name in self._symmetric()}
        return {
            m.name: m
            for m in general(self.formula)
            if m.statement not in symmetric and m.statement not in self.unchanged
        }

    def _symmetric(self) -> set[str]:
        """Arrays that are symmetric in every regime."""
        axes = self.fit(dict.fromkeys(self.formula.axes, 3))
        found: dict[str, bool] = {}
        for regime in self.regimes:
            case = self.sample(regime, axes)
            named = dict(zip(self.formula.inputs, case.arrays, strict=False)) | case.options
            for name in self.formula.inputs:
                if isinstance(x := named.get(name), np.ndarray):
                    found[name] = found.get(name, True) and _is_symmetric(x)
        return {name for name, always in found.items() if always}

    def gradient_mutants(self) -> dict[str, Mutant]:
        """Wrong gradients: its own, and the general ones."""
        return {name: m for name, m in self._mistakes().items() if m.gradient}

    def value_mutants(self) -> dict[str, Mutant]:
        """Wrong values: its own, and the general ones."""
        return {name: m for name, m in self._mistakes().items() if not m.gradient}

    def _mistakes(self) -> dict[str, Mutant]:
        return self.mutants | {n: m for n, m in self.general.items() if n not in self.mutants}


def conventions(formula: Formula, fixed: Mapping[str, Any]) -> dict[str, tuple]:
    """Every other value of each convention that the formula declares."""
    found = {}
    for name, option in formula.declared.items():
        if option.is_convention and name in formula.options:
            usual = fixed.get(name, option.default)
            # False and None both say that nothing is asked for.
            others = [v for v in option.values if v is not usual and (v or usual)]
            found[name] = tuple(others)
    return found


def _is_symmetric(x: np.ndarray) -> bool:
    square = x.ndim >= 2 and x.shape[-1] == x.shape[-2]
    return square and np.array_equal(x, x.swapaxes(-1, -2))


def wide(x) -> np.ndarray:
    """x on the host in float64, so that what a law computes adds no errors to what it is given."""
    return backend.to_host(x).astype(np.float64)


def _statement(f: Callable) -> str:
    """The first line of a docstring: it is shown in reports, so it must be there."""
    text = (f.__doc__ or "").strip().splitlines()
    if not text and sys.flags.optimize < 2:
        raise ValueError(f"{f.__name__} needs a docstring: its first line is what reports say")
    return text[0].rstrip(".") if text else f.__name__.replace("_", " ")


def evidence(formula: Formula) -> Evidence:
    """The evidence of a formula, from its mirror module; LookupError where there is none.

    Where laws or wrong variants fill a file of their own, it is called ``<mirror>_laws`` or
    ``<mirror>_mutants``.
    """
    if formula.module.startswith("refimpl."):
        _load_mirror(formula.module.replace("refimpl.", "refimpl.evidence.", 1))
    if formula.name not in RECORDS:
        file = formula.module.replace("refimpl.", "refimpl.evidence.", 1).replace(".", "/")
        raise LookupError(f"{formula.name} has no evidence: write Evidence(...) in {file}.py")
    return RECORDS[formula.name]


@functools.cache
def _load_mirror(mirror: str) -> None:
    """Import a mirror and its parts; another mirror may have imported the first of them."""
    for name in (mirror, f"{mirror}_laws", f"{mirror}_mutants"):
        if importlib.util.find_spec(name):
            importlib.import_module(name)
