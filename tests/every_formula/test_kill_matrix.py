"""The kill matrix: every wrong variant is rejected at float32, the formula itself never."""

from __future__ import annotations

import itertools
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest

from refimpl.check import check
from refimpl.check.candidate import Candidate
from refimpl.check.run import Run
from refimpl.check.trial import PASS
from refimpl.evidence import evidence
from tests.table import DIFFERENTIABLE, each, each_formula

MOST = 16
# Long axes take a minute for some formulas: they are tried at night.
SHORT = 40
"""Cases of each formula in each precision."""


def _itself(formula):
    return Candidate(
        formula.name, formula, gradient=formula.vjp if formula.differentiable else None
    )


@each_formula()
def test_the_formula_passes_and_every_mutant_dies(formula):
    result = check(formula, _itself(formula), dtype="float32", longest=SHORT)
    assert result.verdict == PASS, result.reason or result.worst
    assert result.power.missed == ()


@each_formula(DIFFERENTIABLE)
def test_the_gradient_passes_and_every_gradient_mutant_dies(formula):
    result = check(formula, _itself(formula), dtype="float32", gradients=True, longest=SHORT)
    assert result.verdict == PASS, result.reason or result.worst
    assert result.power.missed == ()


@pytest.mark.nightly
@pytest.mark.parametrize("gradients", [False, True])
@each_formula()
def test_the_formula_passes_with_long_axes(formula, gradients):
    if gradients and not formula.differentiable:
        return
    result = check(formula, _itself(formula), dtype="float32", gradients=gradients)
    assert result.verdict == PASS, result.reason or result.worst


def _through_float32(formula):
    """The formula as a bfloat16 implementation: float32 inside, one rounding at the end."""

    def narrowed(*arrays, **options):
        def widen(x):
            return x.astype(np.float32) if getattr(x, "dtype", None) == ml_dtypes.bfloat16 else x

        result = formula(*map(widen, arrays), **{k: widen(v) for k, v in options.items()})
        outputs = result if isinstance(result, tuple) else (result,)
        rounded = tuple(np.asarray(y).astype(ml_dtypes.bfloat16) for y in outputs)
        return rounded if isinstance(result, tuple) else rounded[0]

    candidate = Candidate(formula.name, narrowed, "numpy")
    candidate.parameters = _itself(formula).parameters
    return candidate


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
@each_formula()
def test_the_formula_passes_in_every_precision(formula, dtype):
    candidate = _through_float32(formula) if dtype == "bfloat16" else _itself(formula)
    run = Run(formula, candidate, dtype=dtype, longest=SHORT)
    # The most telling cases come first; all of them are tried in float32 above.
    run.planner.base = next(run.planner.first_rows())
    plans = map(run.planner.plan, itertools.islice(run.planner.rows(), MOST))
    judged = [t for t in map(run.trial, plans) if t is not None and not t.plan.advisory]
    assert judged
    if dtype == "float16":
        judged = [_with_what_overflows(t) for t in judged]
    assert [(t.plan.label, t.worst) for t in judged if not t.ok] == []


def _with_what_overflows(trial):
    """Sums of squares leave float16 soon: what is visibly no number is no wrong one."""
    pairs = zip(trial.found.outputs, trial.answer, strict=True)
    outputs = tuple(np.where(np.isfinite(y), y, right) for y, right in pairs)
    return replace(trial, found=trial.found._replace(outputs=outputs))


@pytest.mark.nightly
@each("mutants")
def test_every_mutant_fails_and_is_named(formula, entry):
    """As a candidate of its own, each mutant is rejected, and the diagnosis says what it is."""
    if entry.gradient:
        candidate = Candidate(entry.name, formula, gradient=entry.body)
    else:
        candidate = Candidate(entry.name, entry.body, "numpy")
        candidate.parameters = _itself(formula).parameters
    result = check(formula, candidate, gradients=entry.gradient)
    assert result.verdict == "fail"
    assert any(entry.statement in e.text or "equals" in e.text for e in result.explanations)


@each_formula()
def test_statements_of_mutants_tell_them_apart(formula):
    mutants = evidence(formula).mutants.values()
    assert len({m.statement for m in mutants}) == len(mutants)
