"""Which mistake is it? Compare a failing output with everything that could have produced it.

A hypothesis is a way to compute wrong outputs: a registered mutant, another option value, swapped
arguments, a transposed output, a constant factor, a lower precision. One that reproduces the
candidate within its bound on all trials explains it, provided that it differs from the right answer
on some of them.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from refimpl.check import gradient
from refimpl.check.budget import Problem, as_outputs, judge, value_bounds
from refimpl.check.candidate import Answer
from refimpl.check.run import Run, Trial, _mutant_outputs
from refimpl.numerics import unit_roundoff

MOST_TRIALS = 40
SLACK = 8.0
"""A wrong formula may be worse conditioned than the right one, from which the bounds come."""


class Explanation(NamedTuple):
    """A hypothesis that fits: on how many failing trials of how many, and whether on all."""

    text: str
    source: str
    fits: int
    failing: int
    everywhere: bool
    vague: int


class Hypothesis(NamedTuple):
    """Wrong outputs; a vaguer hypothesis is reported only where no sharper one fits as well."""

    text: str
    source: str
    outputs: Callable[[Trial], tuple]
    vague: int = 0


def diagnose(run: Run, most: int = 3, seconds: float = 3.0) -> list[Explanation]:
    """The hypotheses that explain the failures of a run, those that fit every trial first."""
    deadline = time.monotonic() + seconds
    trials = [t for t in run.result.trials if isinstance(t.found, Answer) and not t.plan.is_empty]
    failing = _some([t for t in trials if not t.ok and not t.plan.advisory])
    passing = _some([t for t in trials if t.ok])
    found: list[tuple[Explanation, set[int]]] = []
    for hypothesis in hypotheses(run):
        certain = any(e.everywhere and e.vague < hypothesis.vague for e, _ in found)
        if certain or time.monotonic() > deadline:
            break
        where = {i for i, t in enumerate(failing) if _fits(run, t, hypothesis, differs=True)}
        if where:
            everywhere = len(where) == len(failing) and all(
                _fits(run, t, hypothesis) for t in passing
            )
            text, source, _, vague = hypothesis
            found.append(
                (Explanation(text, source, len(where), len(failing), everywhere, vague), where)
            )
    whole = [(e, where) for e, where in found if e.everywhere]
    if whole:
        sharpest = min(e.vague for e, _ in whole)
        return [e for e, _ in whole if e.vague == sharpest][:most]
    return _cover(found, len(failing))[:most]


def _cover(found: list[tuple[Explanation, set[int]]], failing: int) -> list[Explanation]:
    """Several mistakes that together explain most failures, the most telling first."""
    chosen, left = [], set(range(failing))
    while found:
        best, where = max(found, key=lambda item: (len(item[1] & left), -item[0].vague))
        if len(where & left) < max(1, failing // 10):
            break
        chosen.append(best)
        left -= where
    return chosen if 2 * len(left) <= failing else []


def _some(trials: list[Trial]) -> list[Trial]:
    """At most MOST_TRIALS / 2 of them, evenly spread."""
    return trials[:: max(1, len(trials) // (MOST_TRIALS // 2))][: MOST_TRIALS // 2]


def _fits(run: Run, trial: Trial, hypothesis: Hypothesis, differs: bool = False) -> bool:
    """Whether the candidate did this; where it ``differs``, from what is right."""
    try:
        with np.errstate(all="ignore"):
            wrong = hypothesis.outputs(trial)
    except Exception:  # a hypothesis need not make sense for every input
        return False
    if len(wrong) != len(trial.found.outputs) or differs and not trial.rejects(wrong):
        return False
    for output, reference, bound in zip(trial.found.outputs, wrong, trial.bounds, strict=True):
        if output.shape != reference.shape:
            return False
        if bound.fibre.shape != reference.shape[: reference.ndim - bound.axes]:
            # Another shape than the right one: only the size of the errors can be carried over.
            if not np.allclose(output, reference, atol=bound.maximum, rtol=0, equal_nan=True):
                return False
        elif (
            judge(output, reference, bound.around(reference, run.dtype, run.of.budget)).ratio
            > SLACK
        ):
            return False
    return True


def hypotheses(run: Run) -> Iterator[Hypothesis]:
    """Everything that could have been computed instead, the most specific first."""
    mutants = run.of.gradient_mutants() if run.gradients else run.of.value_mutants()
    yield from _other_options(run)
    for mutant in mutants.values():
        yield Hypothesis(mutant.statement, mutant.source, _mutant_outputs(mutant, run))
    if run.gradients:
        # A wrong forward function has a wrong gradient of its own: by differences, along the
        # cotangent.
        for mutant in run.of.value_mutants().values():
            yield Hypothesis(
                f"{mutant.statement} (in the function whose gradient this is)",
                mutant.source,
                _gradient_by_differences(mutant, run),
                1,
            )
    yield from _swapped_arguments(run)
    yield from _changed_outputs()
    yield from _lower_precisions(run)
    yield Hypothesis(
        "the output is all zeros", "", lambda t: tuple(np.zeros_like(y) for y in t.answer), 1
    )
    for index, argument in enumerate(run.formula.arguments):
        yield Hypothesis(
            f"the output is the input {argument.name}",
            "",
            lambda t, index=index: (np.asarray(t.problem.case.arrays[index], dtype=float),),
            1,
        )


def _recompute(run: Run, trial: Trial, case) -> tuple:
    """The right outputs (or gradients) for another case."""
    problem = Problem(run.formula, case, run.dtype)
    if not run.gradients:
        return problem.answer()
    found = gradient.reference(problem, trial.cotangents)
    return tuple(found[name] for name in gradient.positional_names(problem))


def _other_options(run: Run) -> Iterator[Hypothesis]:
    """The right formula under another convention."""
    for variant in run.of.variants:
        text = ", ".join(f"{k}={v!r}" for k, v in variant.items())

        def outputs(trial, variant=variant):
            if all(trial.problem.case.options.get(k) == v for k, v in variant.items()):
                raise ValueError("no other convention")
            return _recompute(run, trial, trial.problem.case.with_options(**variant))

        yield Hypothesis(f"your output equals {text}", "", _or_same(outputs))


def _or_same(outputs: Callable) -> Callable:
    """Where a case already has the variant's options, the variant is the right answer itself."""

    def either(trial: Trial) -> tuple:
        try:
            return outputs(trial)
        except ValueError:
            return trial.answer

    return either


def _swapped_arguments(run: Run) -> Iterator[Hypothesis]:
    arguments = run.formula.arguments
    pairs = [
        (i, j)
        for i, j in itertools.combinations(range(len(arguments)), 2)
        if len(arguments[i].core) == len(arguments[j].core)
        and arguments[i].kind == arguments[j].kind
    ]
    for i, j in pairs:

        def outputs(trial, i=i, j=j):
            arrays = list(trial.problem.case.arrays)
            arrays[i], arrays[j] = arrays[j], arrays[i]
            return _recompute(run, trial, trial.problem.case.with_arrays(*arrays))

        yield Hypothesis(f"{arguments[i].name} and {arguments[j].name} are swapped", "", outputs)


_FACTORS = {
    2.0: "2",
    0.5: "1/2",
    -1.0: "-1",
    4.0: "4",
    0.25: "1/4",
    float(np.log(2.0)): "log 2",
    float(1.0 / np.log(2.0)): "1/log 2",
    float(np.sqrt(2.0)): "sqrt 2",
    float(np.sqrt(0.5)): "1/sqrt 2",
}


def _changed_outputs() -> Iterator[Hypothesis]:
    """The right output, transposed, or times a constant."""

    def transposed(trial):
        return tuple(y.swapaxes(-1, -2) for y in trial.answer)

    yield Hypothesis("the output is transposed", "", transposed, 1)
    for factor, name in _FACTORS.items():
        yield Hypothesis(
            f"the output is {name} times the right one",
            "",
            lambda t, factor=factor: tuple(factor * y for y in t.answer),
            1,
        )
    yield Hypothesis("the output is off by a constant factor on every input", "", _own_factor, 6)


def _own_factor(trial: Trial) -> tuple:
    found = trial.found.outputs
    size = np.vdot(trial.answer[0], trial.answer[0])
    factor = np.vdot(found[0], trial.answer[0]) / size if size else 0.0
    if not abs(factor) > 1e-3 or abs(factor - 1.0) < 1e-4 or trial.answer[0].size < 8:
        raise ValueError("too little to estimate a factor from")
    return tuple(factor * y for y in trial.answer)


def _lower_precisions(run: Run) -> Iterator[Hypothesis]:
    """The right formula, computed in a narrower format than the inputs have."""
    own = unit_roundoff(run.dtype)
    for vague, name in enumerate(("float32", "float16", "bfloat16"), start=2):
        if unit_roundoff(name) > own and not run.gradients:
            yield Hypothesis(f"it computes in {name}", "", _within_precision(run, name), vague)


def _within_precision(run: Run, name: str) -> Callable:
    """An output as far from the answer as our own forms in that format counts as explained."""

    def outputs(trial: Trial) -> tuple:
        narrow = Problem(run.formula, trial.problem.case, name)
        limits = value_bounds(run.of, narrow, trial.answer, run.seed)
        pairs = zip(trial.found.outputs, trial.answer, limits, strict=True)
        ratio = max(judge(output, reference, bound).ratio for output, reference, bound in pairs)
        # Much closer than the format allows is no sign of it either.
        if not 1e-3 < ratio <= 1.0:
            raise ValueError("not what this precision explains")
        return trial.found.outputs

    return outputs


def _gradient_by_differences(mutant, run: Run) -> Callable:
    """Central differences of a mutant, entry by entry: only on small inputs."""

    def outputs(trial: Trial) -> tuple:
        case = trial.problem.case
        wanted = gradient.positional_names(trial.problem)
        names = [a.name for a in run.formula.arguments]
        if sum(case.arrays[names.index(n)].size for n in wanted) > 200:
            raise ValueError("too large for differences")
        return tuple(_difference(mutant, case, names.index(n), trial.cotangents) for n in wanted)

    return outputs


def _difference(mutant, case, index: int, cotangents) -> np.ndarray:
    x = np.asarray(case.arrays[index], dtype=float)
    gradient_of_x = np.empty(x.size)
    step = 1e-5
    for entry in range(x.size):
        total = 0.0
        for sign in (1.0, -1.0):
            moved = x.copy().ravel()
            moved[entry] += sign * step
            arrays = list(case.arrays)
            arrays[index] = moved.reshape(x.shape)
            with np.errstate(all="ignore"):
                values = as_outputs(mutant.body(*arrays, **case.options))
                total += sign * sum(
                    float(np.nansum(g * y)) for g, y in zip(cotangents, values, strict=True)
                )
        gradient_of_x[entry] = total / (2.0 * step)
    return gradient_of_x.reshape(x.shape)
