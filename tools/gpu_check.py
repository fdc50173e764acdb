"""Every formula on CuPy, judged as a candidate is: values, forms, gradients and a law.

    python -m tools.gpu_check [--minutes 7] [--output FILE] [NAME ...]

The answer is computed on the host; the bounds are those of the checker. Goes through the formulas
in rounds, the most telling question of each first, and stops when the time is over: what was not
reached is listed. Writes one JSON file; exit code 1 where anything failed.
"""

from __future__ import annotations

import argparse
import functools
import json
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from refimpl import backend
from refimpl.check.budget import Problem
from refimpl.check.candidate import Answer, Candidate
from refimpl.check.question import Gradients, Values
from refimpl.check.trial import Plan
from refimpl.evidence import Case, Evidence, evidence
from refimpl.formula import Formula, find, formulas
from refimpl.testing import broken_claims


class Outcome(NamedTuple):
    """What was asked of a formula, and what is wrong, or nothing."""

    formula: str
    asked: str
    wrong: str


def rounds() -> Iterator[Callable[[Formula], Iterator[Outcome]]]:
    """Questions to every formula, the most telling first."""
    yield functools.partial(values, dtype="float64", regime=0)
    yield gradients
    yield laws
    yield forms
    yield functools.partial(values, dtype="float32", regime=-1)


def values(formula: Formula, dtype: str, regime: int) -> Iterator[Outcome]:
    of = evidence(formula)
    name = [n for n, r in of.regimes.items() if not r.advisory][regime]
    yield _judged(Values(of), formula, _case(of, name), dtype, f"values, {name}, {dtype}")


def gradients(formula: Formula) -> Iterator[Outcome]:
    if formula.differentiable:
        of = evidence(formula)
        yield _judged(Gradients(of), formula, _case(of, next(iter(of.regimes))), "float64", "vjp")


def forms(formula: Formula) -> Iterator[Outcome]:
    of = evidence(formula)
    for name in [n for n in formula.forms if n != "plain"]:
        case = _case(of, next(iter(of.regimes)))
        called = functools.partial(formula, form=name)
        yield _judged(Values(of), called, case, "float64", f"form {name}")


def laws(formula: Formula) -> Iterator[Outcome]:
    """The first law that claims anything of the first regime."""
    of = evidence(formula)
    case = _case(of, next(iter(of.regimes)))
    xp = backend.cupy_or_none() or np
    on_device = case.map(xp.asarray)
    for law in of.laws.values():
        try:
            broken = next(broken_claims(law, formula, on_device), "")
        except Exception as error:  # noqa: BLE001 (whatever the device raises is the finding)
            broken = f"{type(error).__name__}: {error}"
        yield Outcome(formula.name, f"law {law.name}", broken)
        return


def _case(of: Evidence, regime: str) -> Case:
    return of.sample(regime, of.axes(), (2,))


def _judged(question, function: Callable, case: Case, dtype: str, asked: str) -> Outcome:
    formula = question.of.formula
    gradient = formula.vjp if formula.differentiable else None
    candidate = Candidate(formula.name, function, "cupy", gradient)
    candidate.parameters = {"**": None}
    trial = question.trial(Plan(case), Problem.of(formula, case, dtype), candidate)
    if trial is None or trial.ok:
        return Outcome(formula.name, asked, "")
    if not isinstance(trial.found, Answer):
        return Outcome(formula.name, asked, trial.found.text)
    judgement, name = trial.worst
    return Outcome(
        formula.name, asked, f"{name}: {judgement.measure}, {judgement.ratio:.3g} bounds"
    )


def run(records: list[Formula], minutes: float, progress: Callable[[str], None]) -> dict:
    """All rounds over all formulas, as far as the time goes."""
    start = time.monotonic()
    found: list[Outcome] = []
    left: list[str] = []
    for number, question in enumerate(rounds(), start=1):
        for record in records:
            if time.monotonic() - start > 60 * minutes:
                left.append(f"{record.name} (round {number})")
                continue
            for outcome in question(record):
                found.append(outcome)
                if outcome.wrong:
                    progress(f"WRONG {outcome.formula}: {outcome.asked}: {outcome.wrong}")
        progress(f"round {number} after {time.monotonic() - start:.0f} s, {len(found)} asked")
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "asked": len(found),
        "wrong": [outcome._asdict() for outcome in found if outcome.wrong],
        "not reached": left,
        "seconds": round(time.monotonic() - start),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="formulas; all by default")
    parser.add_argument("--minutes", type=float, default=7.0)
    parser.add_argument("--output", default="gpu_result.json")
    chosen = parser.parse_args()
    cupy = backend.cupy_or_none()
    if cupy is None:
        print("CuPy does not compute here")
        return 3
    records = [find(name) for name in chosen.names] or list(formulas())
    result = {"cupy": cupy.__version__} | run(records, chosen.minutes, print)
    Path(chosen.output).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"{result['asked']} asked, {len(result['wrong'])} wrong, see {chosen.output}")
    return int(bool(result["wrong"]))


if __name__ == "__main__":
    raise SystemExit(main())
