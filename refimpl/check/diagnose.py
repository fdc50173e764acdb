"""Which mistake is it? Compare failing outputs with everything that could have produced them.

A mistake of the catalogue that reproduces the candidate within its bound on all trials explains it,
provided that it differs from the right answer on some of them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from refimpl.check.budget import judge
from refimpl.check.candidate import Answer
from refimpl.check.mistakes import Mistake, catalogue
from refimpl.check.run import Run
from refimpl.check.trial import Trial

MOST_TRIALS = 16
SLACK = 8.0
"""A wrong formula may be worse conditioned than the right one, from which the bounds come."""


class Explanation(NamedTuple):
    """A mistake that fits: on how many failing trials of how many, and whether on all."""

    text: str
    source: str
    fits: int
    failing: int
    everywhere: bool
    vague: int


def diagnose(run: Run, most: int = 3) -> list[Explanation]:
    """The mistakes that explain the failures of a run, those that fit every trial first."""
    trials = [t for t in run.result.trials if isinstance(t.found, Answer) and not t.plan.is_empty]
    failing = _some([t for t in trials if not t.ok and not t.plan.advisory])
    passing = _some([t for t in trials if t.ok])
    found: list[tuple[Explanation, set[int]]] = []
    for mistake in sorted(catalogue(run.question, run.dtype), key=lambda m: m.vague):
        certain = any(e.everywhere and e.vague < mistake.vague for e, _ in found)
        if certain:
            break
        where = {i for i, t in enumerate(failing) if _fits(run, t, mistake, differs=True)}
        if where:
            everywhere = len(where) == len(failing) and all(_fits(run, t, mistake) for t in passing)
            explanation = Explanation(
                mistake.text, mistake.source, len(where), len(failing), everywhere, mistake.vague
            )
            found.append((explanation, where))
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
    """At most so many of them: the smallest of each kind first."""
    seen: dict[tuple, int] = {}
    order = []
    for trial in sorted(trials, key=lambda t: sum(y.size for y in t.answer)):
        seen[trial.plan.kind] = seen.get(trial.plan.kind, 0) + 1
        order.append((seen[trial.plan.kind], trial))
    return [trial for _, trial in sorted(order, key=lambda item: item[0])][:MOST_TRIALS]


def _fits(run: Run, trial: Trial, mistake: Mistake, differs: bool = False) -> bool:
    """Whether the candidate did this; where it ``differs``, from what is right."""
    try:
        with np.errstate(all="ignore"):
            wrong = mistake.outputs(trial)
    except Exception:  # noqa: BLE001 (a mistake need not make sense for every input)
        return False
    if len(wrong) != len(trial.found.outputs):
        return False
    for output, reference, bound in zip(trial.found.outputs, wrong, trial.bounds, strict=True):
        if output.shape != reference.shape:
            return False
        if bound.fibre.shape != reference.shape[: reference.ndim - bound.axes]:
            # Another shape than the right one: only the size of the errors can be carried over.
            if not np.allclose(output, reference, atol=bound.maximum, rtol=0, equal_nan=True):
                return False
            continue
        around = bound.around(reference, run.dtype, run.of.budget)
        if judge(output, reference, around).ratio > SLACK:
            return False
    return not differs or trial.rejects(wrong)
