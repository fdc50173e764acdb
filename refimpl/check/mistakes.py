"""The catalogue of mistakes: everything that could have been computed instead of the right thing.

Power reads it (which of them would this run have rejected?), and so does diagnosis (which of them
explains the failures?). A mistake is ``own`` where it was written for this formula.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from refimpl.check.autograd import asked_names
from refimpl.check.budget import Problem, as_outputs, judge, value_bounds
from refimpl.check.features import SQUARE
from refimpl.check.question import Question
from refimpl.check.trial import Plan, Power, Trial
from refimpl.evidence import Evidence, Mutant
from refimpl.numerics import unit_roundoff


class Mistake(NamedTuple):
    """Wrong outputs of a trial; a vaguer one is reported only where no sharper one fits as well."""

    name: str
    text: str
    outputs: Callable[[Trial], tuple]
    source: str = ""
    vague: int = 0
    own: bool = False
    about: str = ""


def catalogue(question: Question, dtype: str) -> Iterator[Mistake]:
    """Everything that could have been computed instead, the most specific first."""
    yield from _other_options(question)
    for mutant in question.mutants().values():
        yield _of_mutant(question, mutant)
    if question.gradients:
        # A wrong forward function has a wrong gradient of its own: by differences, along the
        # cotangent.
        for mutant in question.of.mutants.values():
            if mutant.gradient:
                continue
            yield Mistake(
                f"forward: {mutant.name}",
                f"{mutant.statement} (in the function whose gradient this is)",
                _gradient_by_differences(mutant),
                mutant.source,
                1,
            )
        yield from _swapped_arguments(question)
    yield from _changed_outputs(question)
    yield from _lower_precisions(question, dtype)
    yield from _nothing_computed()
    yield from _inputs_returned(question.of)


def counted(question: Question) -> Iterator[Mistake]:
    """The mistakes that power is about."""
    for mutant in question.mutants().values():
        yield _of_mutant(question, mutant)
    yield from _nothing_computed()


def _of_mutant(question: Question, mutant: Mutant) -> Mistake:
    def outputs(trial: Trial) -> tuple:
        return question.of_mutant(mutant, trial)

    own = mutant.name in question.of.mutants
    return Mistake(
        mutant.name,
        mutant.statement,
        outputs,
        mutant.source,
        mutant.vague,
        own,
        f"gradient of {mutant.about}" if mutant.about else "",
    )


# -------------------------------------------------------------------------------------- power


def power(
    question: Question, lacking: set[str], user: dict[str, Any], trials: list[Trial]
) -> Power:
    """Which mistakes these trials would have rejected, and which the candidate cannot make.

    A mistake that shows only under options that the candidate is ``lacking``, or that the ``user``
    fixes at another value, is out of its reach.
    """
    telling = _representatives(trials)
    rejected, alive = [], []
    for mistake in counted(question):
        seen = _rejected(telling, mistake)
        if seen is not None:
            (rejected if seen else alive).append(mistake)
    beyond = _beyond(question, lacking, user, alive) if alive else []
    missed = [m for m in alive if m not in beyond]
    return Power(*(tuple(m.name for m in group) for group in (rejected, missed, beyond)))


def _representatives(trials: list[Trial]) -> list[Trial]:
    """The smallest two and the largest trial of every kind of plan, the small ones first."""
    kinds: dict[tuple, list[Trial]] = {}
    for trial in sorted(trials, key=_size):
        kinds.setdefault(trial.plan.kind, []).append(trial)
    chosen = [t for alike in kinds.values() for t in (*alike[:2], *alike[2:][-1:])]
    return sorted(chosen, key=_size)


def _size(trial: Trial) -> int:
    return sum(y.size for y in trial.answer) + sum(np.size(x) for x in trial.problem.case.arrays)


def _rejected(trials: list[Trial], mistake: Mistake) -> bool | None:
    """Whether a trial rejects it; None for a general one that the formula itself refuses.

    Nothing is known of it then: a candidate that goes on where our formula raises may give
    anything. Nor is it of a gradient that nobody asked for, like that of whole positions.
    """
    if mistake.about and not any(mistake.about in trial.names for trial in trials):
        return None
    raised = False
    for trial in trials:
        try:
            if trial.rejects(mistake.outputs(trial)):
                return True
        except Exception:  # noqa: BLE001 (a wrong variant need not run on every input)
            raised = True
    return None if raised and not mistake.own else False


def _beyond(
    question: Question, lacking: set[str], user: dict[str, Any], mistakes: list[Mistake]
) -> list[Mistake]:
    """Those that show on none of our own cases without the options that are not taken or fixed."""
    of = question.of
    if not lacking and not user:
        return []
    within = []
    for plan in _small_plans(of):
        if lacking & set(_asked(of, plan)):
            continue
        case = plan.case.with_options(**user)
        try:
            trial = question.asked(plan, Problem(of.formula, case, "float64"))
        except (ValueError, TypeError, IndexError):
            continue
        within += [trial] if trial is not None else []
    return [m for m in mistakes if not any(_shows(trial, m) for trial in within)]


def _shows(trial: Trial, mistake: Mistake) -> bool:
    """Whether a mistake's outputs are others than the answer, by more than float32 would see."""
    try:
        with np.errstate(all="ignore"):
            wrong = mistake.outputs(trial)
    except Exception:  # noqa: BLE001 (as above)
        return False
    return any(
        a.shape != b.shape or not np.allclose(a, b, rtol=1e-6, atol=1e-9, equal_nan=True)
        for a, b in zip(wrong, trial.answer, strict=True)
    )


def _small_plans(of: Evidence) -> Iterator[Plan]:
    sizes = (of.axes(), of.axes(SQUARE[False]))
    for axes, regime, variant in itertools.product(sizes, of.regimes, ({}, *of.variants)):
        case = of.sample(regime, axes).with_options(**variant)
        yield Plan(case, regime, variant=tuple(variant.items()))


def _asked(of: Evidence, plan: Plan) -> list[str]:
    """Options of a plan that are neither their default nor what evidence always gives."""
    usual = of.formula.options | of.fixed
    return [k for k, v in plan.case.options.items() if v is not None and v is not usual[k]]


# ------------------------------------------------------------------------- kinds of mistakes


def _other_options(question: Question) -> Iterator[Mistake]:
    """The right formula under another convention.

    Of values, each convention alone is a general mistake already.
    """
    for variant in question.of.variants:
        declared = [question.of.formula.declared.get(name) for name in variant]
        alone = len(declared) == 1 and declared[0] is not None and declared[0].is_convention
        if alone and not question.gradients:
            continue
        text = ", ".join(f"{k}={v!r}" for k, v in variant.items())

        def outputs(trial: Trial, variant=variant) -> tuple:
            options = trial.problem.case.options
            if all(options.get(k) == v for k, v in variant.items()):
                # The variant is the right answer itself here.
                return trial.answer
            return question.of_case(trial, trial.problem.case.with_options(**variant))

        yield Mistake(f"other: {text}", f"your output equals {text}", outputs)


def _swapped_arguments(question: Question) -> Iterator[Mistake]:
    arguments = question.of.formula.arguments
    for i, j in itertools.combinations(range(len(arguments)), 2):
        a, b = arguments[i], arguments[j]
        if len(a.core) != len(b.core) or a.kind != b.kind:
            continue

        def outputs(trial: Trial, i=i, j=j) -> tuple:
            arrays = list(trial.problem.case.arrays)
            arrays[i], arrays[j] = arrays[j], arrays[i]
            return question.of_case(trial, trial.problem.case.with_arrays(*arrays))

        text = f"{a.name} and {b.name} are swapped"
        yield Mistake(text, text, outputs)


_FACTORS = {
    4.0: "4",
    0.25: "1/4",
    float(np.sqrt(2.0)): "sqrt 2",
    float(np.sqrt(0.5)): "1/sqrt 2",
}
_FACTORS_OF_GRADIENTS = {2.0: "2", 0.5: "1/2", -1.0: "-1"}


def _changed_outputs(question: Question) -> Iterator[Mistake]:
    """The right output times a constant; the commonest ones are general mistakes of values."""
    factors = (_FACTORS_OF_GRADIENTS if question.gradients else {}) | _FACTORS
    for factor, name in factors.items():

        def scaled(trial: Trial, factor=factor) -> tuple:
            return tuple(factor * y for y in trial.answer)

        yield Mistake(f"times {name}", f"the output is {name} times the right one", scaled, vague=1)
    text = "the output is off by a constant factor on every input"
    yield Mistake("constant factor", text, _own_factor, vague=6)


def _own_factor(trial: Trial) -> tuple:
    found = trial.found.outputs
    size = np.vdot(trial.answer[0], trial.answer[0])
    factor = np.vdot(found[0], trial.answer[0]) / size if size else 0.0
    if not abs(factor) > 1e-3 or abs(factor - 1.0) < 1e-4 or trial.answer[0].size < 8:
        raise ValueError("too little to estimate a factor from")
    return tuple(factor * y for y in trial.answer)


def _lower_precisions(question: Question, dtype: str) -> Iterator[Mistake]:
    """The right formula, computed in a narrower format than the inputs have."""
    if question.gradients:
        return
    for vague, name in enumerate(("float32", "float16", "bfloat16"), start=2):
        if unit_roundoff(name) > unit_roundoff(dtype):
            outputs = _within_precision(question, name)
            yield Mistake(f"in {name}", f"it computes in {name}", outputs, vague=vague)


def _within_precision(question: Question, name: str) -> Callable:
    """An output as far from the answer as our own forms in that format counts as explained."""

    def outputs(trial: Trial) -> tuple:
        narrow = Problem(question.of.formula, trial.problem.case, name)
        limits = value_bounds(question.of, narrow, trial.answer, question.seed)
        pairs = zip(trial.found.outputs, trial.answer, limits, strict=True)
        ratio = max(judge(output, reference, bound).ratio for output, reference, bound in pairs)
        # Much closer than the format allows is no sign of it either.
        if not 1e-3 < ratio <= 1.0:
            raise ValueError("not what this precision explains")
        return trial.found.outputs

    return outputs


def _nothing_computed() -> Iterator[Mistake]:
    for name, text, change in (
        ("zeros", "the output is all zeros", np.zeros_like),
        ("ones", "the output is all ones", np.ones_like),
        ("reversed", "the output is in reverse order", np.flip),
    ):

        def outputs(trial: Trial, change=change) -> tuple:
            return tuple(map(change, trial.answer))

        yield Mistake(name, text, outputs, vague=1)


def _inputs_returned(of: Evidence) -> Iterator[Mistake]:
    for index, argument in enumerate(of.formula.arguments):

        def outputs(trial: Trial, index=index) -> tuple:
            return (np.asarray(trial.problem.case.arrays[index], dtype=float),)

        text = f"the output is the input {argument.name}"
        yield Mistake(f"echo of {argument.name}", text, outputs, vague=1)


# ------------------------------------------------------------------- gradients of wrong values


def _gradient_by_differences(mutant: Mutant) -> Callable:
    """Central differences of a mutant, entry by entry: only on small inputs."""

    def outputs(trial: Trial) -> tuple:
        case, wanted = trial.problem.case, asked_names(trial.problem)
        given = trial.problem.formula.by_name(case.arrays, case.options)
        if sum(given[name].size for name in wanted) > 200:
            raise ValueError("too large for differences")
        return tuple(_difference(mutant, trial, name) for name in wanted)

    return outputs


def _difference(mutant: Mutant, trial: Trial, name: str) -> np.ndarray:
    case, names = trial.problem.case, [a.name for a in trial.problem.formula.arguments]
    given = trial.problem.formula.by_name(case.arrays, case.options)
    x = np.asarray(given[name], float)
    gradient_of_x = np.empty(x.size)
    step = 1e-5
    for entry in range(x.size):
        total = 0.0
        for sign in (1.0, -1.0):
            moved = x.copy().ravel()
            moved[entry] += sign * step
            changed = given | {name: moved.reshape(x.shape)}
            arrays = [changed.pop(n) for n in names]
            with np.errstate(all="ignore"):
                values = as_outputs(mutant.body(*arrays, **changed))
                total += sign * sum(
                    float(np.nansum(g * y)) for g, y in zip(trial.cotangents, values, strict=True)
                )
        gradient_of_x[entry] = total / (2.0 * step)
    return gradient_of_x.reshape(x.shape)
