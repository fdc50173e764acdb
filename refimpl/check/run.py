"""Run a candidate against a formula: trials of all features, and the verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from refimpl.check import trial as kinds
from refimpl.check.budget import Problem
from refimpl.check.candidate import Answer, Candidate, CannotRun, Refusal
from refimpl.check.features import Row
from refimpl.check.mistakes import power
from refimpl.check.plans import REFUSED, Planner
from refimpl.check.question import Gradients, Values
from refimpl.check.trial import (
    COULD_NOT_RUN,
    FAIL,
    NO_EVIDENCE,
    PASS,
    Plan,
    Result,
    Trial,
)
from refimpl.evidence import Evidence, evidence
from refimpl.formula import Formula
from refimpl.numerics import unit_roundoff


class Run:
    """One check in progress.

    ``options`` are the user's and win over everything; ``sizes``, ``multiples`` and ``same`` say
    what the axes of the candidate may be, and ``longest`` how long at most. All features are tried,
    however long that takes, unless ``seconds`` end it: then there is no pass. What is left of them
    goes to random cases.
    """

    def __init__(
        self,
        formula: Formula,
        candidate: Candidate,
        *,
        dtype: str = "float64",
        options: dict[str, Any] | None = None,
        gradients: bool = False,
        strict: bool = False,
        seed: int = 0,
        seconds: float | None = None,
        sizes: Mapping[str, tuple[int, ...]] | None = None,
        multiples: Mapping[str, int] | None = None,
        same: Mapping[str, str] | None = None,
        longest: int | None = None,
        progress: Callable[[str], None] = lambda text: None,
    ):
        unit_roundoff(dtype)  # or ValueError with the formats that there are
        self.formula, self.candidate, self.dtype = formula, candidate, dtype
        self.of: Evidence = evidence(formula)
        self.question = (Gradients if gradients else Values)(self.of, seed, strict)
        self.user = dict(options or {})
        self.planner = Planner(
            self.of,
            candidate,
            self.user,
            seed,
            sizes=sizes,
            multiples=multiples,
            same=same,
            longest=longest,
            gradients=gradients,
        )
        self.seconds, self.progress = seconds, progress
        self.result = Result(formula, candidate.name, dtype, candidate.library, gradients=gradients)
        self.result.fixed = self.of.fixed | self.user
        self.result.unnamed = [name for name in formula.options if not candidate.names(name)]
        self.result.refused = self.planner.refused

    # ------------------------------------------------------------------------------- running

    def trial(self, plan: Plan) -> Trial | None:
        """Oracle, bound and candidate on one case; None where the formula itself refuses it."""
        problem = Problem.of(self.formula, plan.case, self.dtype)
        try:
            return self.question.trial(plan, problem, self.candidate)
        except REFUSED:
            return None

    def execute(self) -> Result:
        """Try everything, and fill in the result's trials, notes and verdict."""
        result = self.result
        try:
            self._begin()
            # From here on: the first call may have imported a framework.
            start = time.monotonic()
            self._try_all(start)
            self._call_again()
            self._draw_more(start)
        except CannotRun as error:
            result.verdict, result.reason = COULD_NOT_RUN, str(error)
            return result
        self._collect_notes()
        telling = [t for t in result.judged if isinstance(t.found, Answer)]
        result.power = power(self.question, self._lacking(), self.user, telling)
        result.verdict = self._verdict()
        return result

    def _begin(self) -> None:
        """Find a first row that the candidate takes; CannotRun where it takes none."""
        refusals: list[Refusal] = []
        asked = 0
        for row in self.planner.first_rows():
            plan = self.planner.plan(row)
            trial = None if plan is None else self.trial(plan)
            asked += plan is not None
            if trial is None:
                continue
            if not isinstance(trial.found, Refusal):
                self.planner.base = row
                self._note_limits(row, refusals)
                return
            refusals.append(trial.found)
        if refusals:
            raise CannotRun(refusals[0].text)
        raise CannotRun(
            "the formula refuses these options"
            if asked
            else "it takes none of the options that every regime needs"
        )

    def _note_limits(self, base: Row, refusals: list[Refusal]) -> None:
        if not refusals:
            return
        learnt = {k: v for k, v in self.planner.tie.items() if k not in self.planner.same}
        if learnt:
            equal = " and ".join(f"{a} = {b}" for a, b in learnt.items())
            text = f"needs {equal}"
        elif len(base.batch) < 2:
            text = f"takes at most {len(base.batch)} leading axes"
        else:
            text = f"begins with {', '.join(f'{k}={v}' for k, v in base.sizes)}"
        self.result.note(kinds.LIMIT, f"{text}: {refusals[0].text}")

    def _try_all(self, start: float) -> None:
        rows = list(self.planner.rows())
        for index, row in enumerate(rows):
            self.progress(f"{index + 1}/{len(rows)} {row.regime}")
            if self._is_late(start):
                for left in rows[index:]:
                    self.result.not_judged.update(self.planner.without_refused(left).features())
                used = time.monotonic() - start
                self.result.seconds_needed = used * len(rows) / max(index, 1)
                break
            self._try(row)
        for plan in self._special_plans():
            if self._is_late(start):
                self.result.not_judged.update(plan.features())
            else:
                self._take(self.trial(plan))

    def _is_late(self, start: float) -> bool:
        return self.seconds is not None and time.monotonic() - start > self.seconds

    def _special_plans(self) -> Iterator[Plan]:
        plans = [self.planner.closed_form(form) for form in self.of.closed_forms.values()]
        plans += [self.planner.empty(axis) for axis in self.of.empty]
        yield from (plan for plan in plans if plan is not None)

    def _try(self, row: Row) -> None:
        """One row; where the candidate refuses it, without what it does not take."""
        row = self.planner.without_refused(row)
        plan = self.planner.plan(row)
        if plan is None:
            return
        trial = self.trial(plan)
        if trial is None:
            for other in self.planner.instead(row):
                if other != row and self._is_new(other):
                    self._try(other)
            return
        if isinstance(trial.found, Refusal) and not plan.advisory:
            trial = self._narrowed(row, trial)
        self._take(trial)

    def _is_new(self, row: Row) -> bool:
        """Whether it has a feature that was not judged, or sizes that were not together."""
        tried = (t.plan.sizes for t in self.result.trials)
        return bool(set(row.features()) - self.result.covered) or row.sizes not in tried

    def _take(self, trial: Trial | None) -> None:
        if trial is None or self._only_noted(trial):
            return
        self.result.trials.append(trial)
        self.result.covered.update(trial.plan.features())

    def _only_noted(self, trial: Trial) -> bool:
        """Refusing an empty axis or an option value is a limitation, not a wrong answer."""
        if not isinstance(trial.found, Refusal):
            return False
        if trial.plan.is_empty or isinstance(trial.found.error, NotImplementedError):
            what = "an empty axis" if trial.plan.is_empty else "some options"
            self.result.note(kinds.LIMIT, f"does not take {what}: {trial.found.text}")
            return True
        return False

    # ----------------------------------------------------------------------------- refusals

    def _narrowed(self, row: Row, refused: Trial) -> Trial | None:
        """What to judge of a refused row: a refusal by values is a failure, others are limits.

        A feature that is refused alone is one that the candidate does not take; the row is asked
        again without it.
        """
        if self._depends_on_values(row):
            return refused
        planner, base = self.planner, self.planner.base.features()
        culprits = []
        for feature in row.features():
            if feature in base or feature in self.result.covered:
                continue
            alone = planner.alone(feature)
            trial = refused if alone == row else self._first((alone, *planner.instead(alone)))
            if trial is not None and isinstance(trial.found, Refusal):
                culprits.append((feature, trial))
            else:
                self._take(trial)
        for feature, trial in culprits:
            planner.refused[feature] = trial.found.text
        smaller = planner.without_refused(row)
        if not culprits:
            self._note_combination(row, refused)
        elif smaller != row:
            self._try(smaller)
        return None

    def _first(self, rows: Iterable[Row]) -> Trial | None:
        """The trial of the first row that the formula takes."""
        plans = (self.planner.plan(row) for row in rows)
        trials = (self.trial(plan) for plan in plans if plan is not None)
        return next((trial for trial in trials if trial is not None), None)

    def _depends_on_values(self, row: Row) -> bool:
        """Whether ordinary arrays of the same shapes, with the same options, are taken."""
        ordinary = self.planner.base.regime
        if row.regime == ordinary:
            plan = self.planner.plan(replace(row, seed=row.seed + 1))
        else:
            plan = self.planner.plan(row, arrays_of=ordinary)
        trial = None if plan is None else self.trial(plan)
        return trial is not None and not isinstance(trial.found, Refusal)

    def _note_combination(self, row: Row, refused: Trial) -> None:
        base = self.planner.base.features()
        names = ", ".join(str(f) for f in row.features() if f not in base)
        self.result.note(kinds.LIMIT, f"does not take together {names}: {refused.found.text}")

    # -------------------------------------------------------------------------- further calls

    def _call_again(self) -> None:
        """An answer must not depend on what was asked between, nor change afterwards."""
        answered = [t for t in self.result.trials if isinstance(t.found, Answer)]
        if not answered or answered[0].cotangents is not None:
            return
        first = answered[0]
        with self.candidate.keeping():
            self._take(self._called(first.plan, "results kept"))
            for call, seed in (("other values", 1), ("same buffers", 2)):
                row = first.plan.row
                plan = row and self.planner.plan(replace(row, seed=row.seed + 1000 * seed))
                if plan:
                    with self.candidate.reusing(call == "same buffers"):
                        self._take(self._called(plan, call))
            for trial in answered[:3]:
                again = self._called(trial.plan, "asked again")
                if again is None or not self._same(again.found, trial.found):
                    text = "is not deterministic: two calls with the same input differ"
                    self.result.note(kinds.RANDOM, text)
                self._take(again)
            self._compare_kept()

    def _called(self, plan: Plan, call: str) -> Trial | None:
        return self.trial(replace(plan, call=call))

    @staticmethod
    def _same(a: Answer | Refusal, b: Answer | Refusal) -> bool:
        if isinstance(a, Refusal) or isinstance(b, Refusal):
            return False
        return a.same_numbers(b)

    def _compare_kept(self) -> None:
        """Results of earlier calls are read once more."""
        answered = [t for t in self.result.trials if isinstance(t.found, Answer)]
        for trial in (t for t in answered if t.found.read_again is not None):
            found = trial.found.read_again()
            if not found.same_numbers(trial.found):
                text = "an earlier result changes when the function is called again"
                self.result.note(kinds.OVERWRITES, text)
                self.result.trials.append(replace(trial, found=found))

    def _draw_more(self, start: float) -> None:
        """Random cases for the rest of the time, where some was given."""
        if self.seconds is None:
            return
        rows = list(self.planner.rows())
        round_ = 1
        while rows and not self._is_late(start):
            for row in rows:
                if self._is_late(start):
                    break
                self._try(replace(row, seed=row.seed + 10_000 * round_))
            round_ += 1

    # ------------------------------------------------------------------------------- judging

    def _lacking(self) -> set[str]:
        """Options that the candidate does not name, or of which it refuses every value."""
        refused, taken = (
            {f.name for f in features if f.kind == "option"}
            for features in (self.result.refused, self.result.covered)
        )
        return set(self.result.unnamed) | refused - taken

    def _collect_notes(self) -> None:
        for trial in self.result.trials:
            if isinstance(trial.found, Answer):
                for note in trial.found.notes:
                    self.result.note(*note)
                for name in trial.found.dtypes:
                    if not self._is_expected(name):
                        self.result.note(kinds.TYPE, f"returns {name} for {self.dtype} inputs")
            if trial.plan.advisory and not trial.ok:
                statement = self.of.regimes[trial.plan.regime].statement
                self.result.note(kinds.ADVISORY, f"fails where honest code may: {statement}")
        for loses, factor in self.result.losses.items():
            text = f"passes only as code does whose {loses}: {factor:.2g} times"
            self.result.note(kinds.LOSS, f"{text} what {self.dtype} allows")

    def _is_expected(self, dtype: str) -> bool:
        """Whether outputs of this formula may have this type; indices are whole numbers of any."""
        if self.formula.returns == "index":
            return dtype.startswith(("int", "uint"))
        return dtype == ("bool" if self.formula.returns == "boolean" else self.dtype)

    def _verdict(self) -> str:
        result = self.result
        result.not_judged -= result.covered | result.refused.keys()
        if not result.judged and not result.not_judged:
            result.reason = "the formula refuses every case with these options"
            return COULD_NOT_RUN
        if result.noted(kinds.OVERWRITES):
            result.reason = result.noted(kinds.OVERWRITES)[0]
            return FAIL
        if odd := self._types_of_no_numbers():
            result.reason = f"returns {odd[0]} for {self.dtype} inputs"
            return FAIL
        if result.failures:
            return FAIL
        if result.not_judged:
            needed = f"; all of them need about {result.seconds_needed:.0f} s"
            result.reason = f"there was no time for {len(result.not_judged)} features{needed}"
            return NO_EVIDENCE
        if not result.power.rejected:
            result.reason = "this run would have rejected no wrong variant"
            return NO_EVIDENCE
        return PASS

    def _types_of_no_numbers(self) -> list[str]:
        """Types of outputs that cannot hold what the formula returns."""
        answers = [t.found for t in self.result.trials if isinstance(t.found, Answer)]
        found = dict.fromkeys(name for answer in answers for name in answer.dtypes)
        wrong = ("int", "uint", "bool")
        return [n for n in found if n.startswith(wrong) and not self._is_expected(n)]
