"""How far an honest implementation may be from the answer, and whether an output is within that.

The bound comes from our own forms of the same formula, run in the candidate's precision on the same
inputs and on inputs that are one rounding away, so that neither a lucky baseline nor bad
conditioning misleads it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from refimpl import numerics
from refimpl.evidence import Budget, Case, Evidence
from refimpl.formula import Form, Formula
from refimpl.signature import Core

_FEW = 20_000
_LONG = 40
_SLACK_OF_LONG = 3.0
"""Over long axes algorithms differ by more than the orders of summation that are tried."""


def replicates(problem: Problem) -> int:
    """Runs on neighbouring inputs: few for large arrays, whose rows speak for one another."""
    entries = sum(np.size(x) for x in problem.case.arrays)
    return 6 if entries < _FEW else 3


def budget_of(of: Evidence, problem: Problem) -> Budget:
    """The budget of a formula for the sizes of a problem."""
    inputs = zip(problem.formula.arguments, problem.case.arrays, strict=True)
    sizes = [n for a, x in inputs for n in x.shape[max(x.ndim - len(a.core), 0) :]]
    if max(sizes, default=0) <= _LONG:
        return of.budget
    return of.budget._replace(k=_SLACK_OF_LONG * of.budget.k)


class Problem(NamedTuple):
    """A case in a candidate's precision: the oracle and all that is measured use these numbers."""

    formula: Formula
    case: Case
    dtype: str

    @classmethod
    def of(cls, formula: Formula, case: Case, dtype: str) -> Problem:
        """Round the real arrays of a case to the precision, once; they stay float64 arrays."""
        return cls(formula, _change_real(formula, case, lambda x: _representable(x, dtype)), dtype)

    def answer(self) -> tuple[np.ndarray, ...]:
        return as_outputs(self.formula(*self.case.arrays, form="plain", **self.case.options))

    def in_precision(self, case: Case | None = None, *, transposed: bool = False) -> Case:
        """The case as arrays of the precision itself.

        Of ``transposed`` arrays sums are taken in another order, without NumPy's pairwise sums
        along rows: the way of plain loops and of many kernels.
        """

        def change(x: np.ndarray) -> np.ndarray:
            if transposed and x.ndim > 1:
                x = np.ascontiguousarray(x.swapaxes(-1, -2))
                return numerics.cast(x, self.dtype).swapaxes(-1, -2)
            return numerics.cast(x, self.dtype)

        return _change_real(self.formula, case or self.case, change)

    def nudged(self, rng: np.random.Generator) -> Case:
        """Every real number moved by one unit in the last place of the precision, or not at all."""
        return _change_real(self.formula, self.case, lambda x: self.nudge(rng, x))

    def nudge(self, rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
        """The same of one array; symmetric ones stay so."""
        ways = rng.integers(-1, 2, x.shape)
        if _is_symmetric(x):
            ways = np.tril(ways) + np.tril(ways, -1).swapaxes(-1, -2)
        step = 2.0 * numerics.unit_roundoff(self.dtype)
        return _representable(x * (1.0 + step * ways), self.dtype)


def _is_symmetric(x: np.ndarray) -> bool:
    square = x.ndim >= 2 and x.shape[-1] == x.shape[-2]
    return square and np.array_equal(x, x.swapaxes(-1, -2))


def real_names(formula: Formula) -> set[str]:
    """Arguments that hold real numbers, which are rounded to a candidate's precision."""
    arguments = (*formula.arguments, *formula.keywords.values())
    return {a.name for a in arguments if a.kind == "real"}


def _change_real(formula: Formula, case: Case, change) -> Case:
    real = real_names(formula)
    arrays = [
        change(np.asarray(x)) if a.name in real else x
        for a, x in zip(formula.arguments, case.arrays, strict=True)
    ]
    options = {
        k: change(v) if k in real and isinstance(v, np.ndarray) else v
        for k, v in case.options.items()
    }
    return Case(tuple(arrays), options)


def _representable(x: np.ndarray, dtype: str) -> np.ndarray:
    return np.asarray(numerics.round_to(x, dtype), dtype=np.float64)


def as_outputs(result) -> tuple[np.ndarray, ...]:
    """Outputs as a tuple of float64 arrays."""
    outputs = result if isinstance(result, tuple) else (result,)
    return tuple(np.asarray(x, dtype=np.float64) for x in outputs)


# --------------------------------------------------------------------------------- the bound


class OwnRun(NamedTuple):
    """Outputs of one of our forms in a precision; ``loses`` says by what it loses digits, if so."""

    outputs: tuple[np.ndarray, ...]
    loses: str = ""


@dataclass(frozen=True)
class Bound:
    """Limits for one output: per fibre (absolute), for the largest error, and for the slope.

    ``excuses`` are the wider limits of forms that lose digits by design, with what they lose them
    by: an output within these only is accepted with a remark.
    """

    fibre: np.ndarray
    maximum: float
    slope: float
    axes: int
    representable: float
    is_weak: bool = False
    """Whether the precision leaves so little of the answer that nothing can be told."""
    excuses: tuple[tuple[str, Bound], ...] = ()

    def around(self, reference: np.ndarray, dtype: str, budget: Budget) -> Bound:
        """The same limits for another reference of the same size, e.g. a mutant's output."""
        floor = budget.floor * numerics.unit_roundoff(dtype)
        norms = numerics.fibre_norms(reference, self.axes)
        largest = float(np.abs(np.nan_to_num(reference, posinf=0.0, neginf=0.0)).max(initial=0.0))
        return Bound(
            np.maximum(self.fibre, floor * norms),
            max(self.maximum, floor * largest),
            self.slope,
            self.axes,
            self.representable,
            excuses=tuple((e, wider.around(reference, dtype, budget)) for e, wider in self.excuses),
        )


def bounds(
    dtype: str,
    answer,
    cores: Iterable[Core],
    budget: Budget,
    runs: Iterable[OwnRun],
    sizes: Iterable[float] | None = None,
) -> list[Bound]:
    """One bound per output, from the outputs of ``runs`` and the ``sizes`` of their terms.

    A fibre is the last axis of an output's core, a row, or one number where the core is scalar.
    """
    runs = list(runs)
    losses = list(dict.fromkeys(run.loses for run in runs if run.loses))
    found = []
    sizes = [0.0] * len(answer) if sizes is None else list(sizes)
    for i, (reference, core) in enumerate(zip(answer, cores, strict=True)):
        axes = min(len(core), 1) if budget.fibre is None else budget.fibre

        def limits(accepted: tuple[str, ...], i=i, reference=reference, axes=axes) -> Bound:
            own = [run.outputs[i] for run in runs if run.loses in accepted]
            return _bound(reference, own, dtype, budget, axes, sizes[i])

        excuses = tuple((loses, limits(("", loses))) for loses in losses)
        found.append(replace(limits(("",)), excuses=excuses))
    return found


def _bound(reference, runs, dtype: str, budget: Budget, axes: int, size: float) -> Bound:
    u = numerics.unit_roundoff(dtype)
    norms = numerics.fibre_norms(reference, axes)
    typical = float(np.median(norms)) if norms.size else 0.0
    largest = float(np.abs(reference[np.isfinite(reference)]).max(initial=0.0))
    # Below its smallest numbers a format rounds to a fixed step, or to zero.
    least = u * size + numerics.smallest(dtype)
    fibre = budget.floor * (u * norms + least)
    maximum = budget.floor * (u * largest + least)
    # A slope over few numbers says no more than their own rounding errors.
    tilt = np.inf
    if reference.size >= 16 and largest > 0.0:
        noise = max(64.0 * u, 16.0 * least / _root_mean_square(reference))
        tilt = max(noise / np.sqrt(reference.size), _roundings_of_a_factor(dtype) * u)
    for output in runs:
        usable = np.isfinite(output) & np.isfinite(reference)
        with np.errstate(invalid="ignore"):
            error = np.where(usable, output - reference, 0.0)
        # A run that is not finite where the answer is gives no slack to that fibre.
        void = numerics.fibre_norms(
            np.where(np.isfinite(output) | ~np.isfinite(reference), 0.0, 1.0), axes
        )
        own = np.where(void > 0, 0.0, numerics.fibre_norms(error, axes))
        # The worst fibre speaks for its neighbours: one run may be lucky in any of them.
        sizes = np.maximum(norms, 0.3 * typical)
        relative = (own[sizes > 0] / sizes[sizes > 0]).max(initial=0.0)
        fibre = np.maximum(fibre, budget.k * np.maximum(own, np.minimum(relative, 1e6) * norms))
        maximum = max(maximum, budget.k * float(own.max(initial=0.0)))
        tilt = max(tilt, 4.0 * abs(numerics.slope(error, reference)), 4.0 * _noise(own, norms))
    weak = (
        bool(norms.size)
        and bool((fibre > budget.cap * norms)[norms > 0].all())
        and bool((norms > 0).any())
    )
    maximum = max(maximum, float(fibre.max(initial=0.0)))
    return Bound(fibre, maximum, tilt, axes, numerics.largest(dtype), weak)


def _roundings_of_a_factor(dtype: str) -> float:
    """How many roundings a factor of the whole output may have: a scale, a root, a reciprocal.

    Narrow formats are rounded to at the end, from a wider one inside.
    """
    return 4.0 if dtype in ("float64", "float32") else 1.0


def _noise(errors: np.ndarray, norms: np.ndarray) -> float:
    """The slope that errors of this size and of random signs would have."""
    total = float(numerics.fibre_norms(norms, norms.ndim))
    size = float(numerics.fibre_norms(errors, errors.ndim))
    return size / total / np.sqrt(norms.size) if total > 1e-290 else np.inf


def _root_mean_square(x: np.ndarray) -> float:
    finite = x[np.isfinite(x)]
    return max(
        float(numerics.fibre_norms(finite, 1)) / np.sqrt(max(finite.size, 1)), np.finfo(float).tiny
    )


def allowed_forms(formula: Formula, strict: bool) -> list[Form]:
    """The forms that set bounds: all of them, or where it is ``strict`` those that lose nothing."""
    return [form for form in formula.forms.values() if not (strict and form.loses)]


def baseline_runs(problem: Problem, seed: int, strict: bool = False) -> list[OwnRun]:
    """Our forms in the precision, and the plain one on neighbouring inputs too.

    A form that fails there (no Cholesky factor after rounding, say) gives no slack.
    """
    rng = np.random.default_rng(seed)
    plain, *others = allowed_forms(problem.formula, strict)
    near = [problem.nudged(rng) for _ in range(replicates(problem))]
    asked = [(form, problem.in_precision()) for form in (plain, *others)]
    asked.append((plain, problem.in_precision(transposed=True)))
    asked += [(plain, problem.in_precision(case)) for case in near]
    runs = []
    for form, case in asked:
        try:
            outputs = problem.formula(*case.arrays, form=form.name, **case.options)
        except (np.linalg.LinAlgError, ValueError, FloatingPointError):
            continue
        runs.append(OwnRun(as_outputs(outputs), form.loses))
    return runs


def value_bounds(
    of: Evidence, problem: Problem, answer, seed: int = 0, strict: bool = False
) -> list[Bound]:
    """The bounds of a problem's outputs."""
    sizes = None
    if of.output_sizes is not None:
        with np.errstate(all="ignore"):
            sizes = of.output_sizes(*problem.case.arrays, **problem.case.options)
    runs = baseline_runs(problem, seed, strict)
    cores = problem.formula.signature.outputs
    return bounds(problem.dtype, answer, cores, budget_of(of, problem), runs, sizes)


# ------------------------------------------------------------------------------- the judgement


class Judgement(NamedTuple):
    """The worst measure of an output against its bound; ratio <= 1 passes and NaN does not.

    ``loses`` is the excuse without which it would not pass, ``factor`` the ratio without it.
    """

    ratio: float
    measure: str
    measured: float
    bound: float
    where: tuple[int, ...]
    loses: str = ""
    factor: float = 1.0

    @property
    def ok(self) -> bool:
        return self.ratio <= 1.0


def judge(output: np.ndarray, reference: np.ndarray, bound: Bound) -> Judgement:
    """Compare an output with the reference: shape, non-finite positions, fibres, maximum, slope."""
    found = _judged(output, reference, bound)
    if found.ok or not np.isfinite(found.ratio):
        return found
    for loses, wider in bound.excuses:
        excused = _judged(output, reference, wider)
        if excused.ok:
            return excused._replace(loses=loses, factor=found.ratio)
    return found


def _judged(output: np.ndarray, reference: np.ndarray, bound: Bound) -> Judgement:
    if output.shape != reference.shape:
        return Judgement(
            np.inf, f"shape {output.shape}, expected {reference.shape}", np.inf, 0.0, ()
        )
    mismatch = numerics.nonfinite_mismatch(output, reference, bound.representable)
    if mismatch.any():
        where = _first(mismatch)
        measure = f"{output[where]} where {reference[where]:.6g} is right"
        return Judgement(np.inf, measure, float(mismatch.sum()), 0.0, where)
    with np.errstate(all="ignore"):
        error = np.where(np.isfinite(reference) & np.isfinite(output), output - reference, 0.0)
        own = numerics.fibre_norms(error, bound.axes)
        tilt = abs(numerics.slope(error, reference))
    largest = np.abs(error)
    worst = float(largest.max(initial=0.0))
    found = [
        _worst_fibre(own, bound),
        _measured("largest error", worst, bound.maximum, _argmax(largest)),
        _measured("slope", tilt, bound.slope, ()),
    ]
    return max(found, key=lambda j: np.inf if np.isnan(j.ratio) else j.ratio)


def _worst_fibre(own: np.ndarray, bound: Bound) -> Judgement:
    with np.errstate(all="ignore"):
        ratios = np.where(own == 0.0, 0.0, own / bound.fibre)
    where = _argmax(ratios)
    if not ratios.size:
        return Judgement(0.0, "worst row", 0.0, 0.0, ())
    name = "worst row" if bound.axes else "worst entry"
    return Judgement(
        float(ratios[where]), name, float(own[where]), float(bound.fibre[where]), where
    )


def _measured(name: str, value: float, limit: float, where) -> Judgement:
    ratio = 0.0 if value == 0.0 else value / limit if limit > 0.0 else np.inf
    return Judgement(ratio, name, value, limit, where)


def _argmax(x: np.ndarray) -> tuple[int, ...]:
    return tuple(map(int, np.unravel_index(np.argmax(x), x.shape))) if x.size and x.ndim else ()


def _first(mask: np.ndarray) -> tuple[int, ...]:
    return tuple(map(int, np.argwhere(mask)[0])) if mask.ndim else ()
