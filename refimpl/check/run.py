"""Run a candidate against a formula: plans, trials, and the verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from refimpl.check import trial as kinds
from refimpl.check.budget import Problem
from refimpl.check.candidate import Answer, Candidate, CannotRun, Refusal
from refimpl.check.mistakes import power
from refimpl.check.question import Gradients, Values
from refimpl.check.trial import (
    COULD_NOT_RUN,
    FAIL,
    NO_EVIDENCE,
    PASS,
    SECONDS,
    Plan,
    Result,
    Trial,
)
from refimpl.evidence import SMALL, Case, ClosedForm, Evidence, Regime, evidence
from refimpl.formula import Formula

# Sizes of the axes, in order of appearance: fewer queries than keys, more, as many; one; ragged
# tile edges.
PATTERNS = (
    SMALL,
    (5, 4, 3, 6),
    (4, 6, 4, 5),
    (1, 1, 1, 1),
    (2, 2, 7, 3),
    (16, 8, 16, 16),
    (17, 16, 33, 15),
    (33, 8, 17, 31),
    (31, 12, 15, 8),
)
BATCHES = ((2, 3), (2,), ())
_REFUSED = (ValueError, TypeError, IndexError, np.linalg.LinAlgError)


class Run:
    """One check in progress.

    ``options`` are the user's and win over everything; ``seconds`` is the time for trials.
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
        seconds: float = SECONDS,
        progress: Callable[[str], None] = lambda text: None,
    ):
        self.formula, self.candidate, self.dtype = formula, candidate, dtype
        self.of: Evidence = evidence(formula)
        self.question = (Gradients if gradients else Values)(self.of, seed, strict)
        self.user = dict(options or {})
        self.seed, self.seconds, self.progress = seed, seconds, progress
        self.result = Result(formula, candidate.name, dtype, candidate.library, gradients=gradients)
        self.result.fixed = self.of.fixed | self.user
        self.result.unnamed = [name for name in formula.options if not candidate.names(name)]
        self.tie: dict[str, str] = {}

    # ------------------------------------------------------------------------------ planning

    def plans(self, batch: tuple[int, ...]) -> Iterator[Plan]:
        """Everything to try, the most telling first."""
        regimes = list(self.of.regimes.values())
        # All cases of one size together: compilers of shapes, like JAX's, then run once for each
        # size.
        for pattern in PATTERNS[:3]:
            for regime in regimes:
                yield from self._sampled(regime, pattern, batch)
            if pattern == PATTERNS[0]:
                for form in self.of.closed_forms.values():
                    yield from self._closed_form(form, pattern, batch)
            for variant in self.of.variants:
                for regime in regimes:
                    if not regime.advisory:
                        yield from self._sampled(regime, pattern, batch, variant)
        for axis in self.of.empty:
            yield from self._sampled(regimes[0], PATTERNS[0], batch, empty=axis)
        for pattern in PATTERNS[3:]:
            for regime in regimes:
                yield from self._sampled(regime, pattern, batch)
        for other in BATCHES:
            if other != batch and len(other) < len(batch):
                yield from self._sampled(regimes[0], PATTERNS[0], other)

    def _sampled(
        self, regime: Regime, pattern, batch, variant: dict | None = None, empty: str = ""
    ) -> Iterator[Plan]:
        variant = variant or {}
        if variant.keys() & self.user.keys():
            return
        axes = self.of.axes(pattern, self.tie, empty)
        case = self.of.sample(regime.name, axes, batch, self.seed).with_options(**variant)
        options = self.taken(case)
        if options is not None:
            yield Plan(
                Case(case.arrays, options),
                regime.name,
                variant=tuple(variant.items()),
                sizes=tuple(axes.items()),
                batch=batch,
                advisory=regime.advisory,
                is_empty=bool(empty),
            )

    def _closed_form(self, form: ClosedForm, pattern, batch) -> Iterator[Plan]:
        rng = np.random.default_rng(self.seed)
        try:
            case, _ = form.sample(rng, self.formula.shapes(self.of.axes(pattern, self.tie), batch))
        except _REFUSED:
            return
        options = self.taken(case)
        if options is not None:
            yield Plan(Case(case.arrays, options), closed_form=form.name)

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

    # ------------------------------------------------------------------------------- running

    def trial(self, plan: Plan) -> Trial | None:
        """Oracle, bound and candidate on one case; None where the formula itself refuses it."""
        problem = Problem.of(self.formula, plan.case, self.dtype)
        try:
            return self.question.trial(plan, problem, self.candidate)
        except _REFUSED:
            return None

    def accepted_batch(self) -> tuple[int, ...]:
        """The most leading axes that the candidate takes; CannotRun where it takes none.

        Some implementations need certain axes to be of one length; that is found out here too.
        """
        refusals = []
        usable = [r for r in self.of.regimes.values() if any(self._sampled(r, PATTERNS[0], ()))]
        if not usable:
            raise CannotRun("it takes none of the options that every regime needs")
        first, *others = usable
        small = [(first, pattern) for pattern in PATTERNS[:3]]
        # An implementation may be for inputs of one kind: only then the search is long.
        large = [*product((first,), PATTERNS[3:]), *product(others, PATTERNS)]
        for long_search, tie in product((False, True), ({}, *self.of.ties)):
            if long_search and not any(
                isinstance(refusal.error, NotImplementedError) for refusal in refusals
            ):
                continue
            self.tie = tie
            for batch, (regime, pattern) in product(BATCHES, large if long_search else small):
                for plan in self._sampled(regime, pattern, batch):
                    trial = self.trial(plan)
                    if trial is None:
                        continue
                    if not isinstance(trial.found, Refusal):
                        self._note_limits(batch, refusals)
                        return batch
                    refusals.append(trial.found)
        raise CannotRun(refusals[0].text if refusals else "the formula refuses these options")

    def _note_limits(self, batch: tuple[int, ...], refusals: list[Refusal]) -> None:
        if self.tie:
            equal = " and ".join(f"{a} = {b}" for a, b in self.tie.items())
            self.result.note(kinds.LIMIT, f"needs {equal}: {refusals[0].text}")
        elif refusals:
            text = f"takes at most {len(batch)} leading axes: {refusals[0].text}"
            self.result.note(kinds.LIMIT, text)

    def execute(self) -> Result:
        """Try everything, and fill in the result's trials, notes and verdict."""
        result = self.result
        try:
            batch = self.accepted_batch()
            plans = list(self.plans(batch))
            # From here on: the first call may have imported a framework.
            deadline = time.monotonic() + self.seconds
            for index, plan in enumerate(plans):
                if time.monotonic() > deadline:
                    result.left_out = len(plans) - index
                    break
                self.progress(f"{index + 1}/{len(plans)} {plan.label}")
                trial = self.trial(plan)
                if trial is not None and not self._only_noted(trial):
                    result.trials.append(trial)
            self._ask_again()
        except CannotRun as error:
            result.verdict, result.reason = COULD_NOT_RUN, str(error)
            return result
        self._collect_notes()
        result.power = power(self.question, self.candidate, result.judged)
        result.verdict = self._verdict()
        return result

    def _only_noted(self, trial: Trial) -> bool:
        """Refusing an empty axis or an option value is a limitation, not a wrong answer."""
        if not isinstance(trial.found, Refusal):
            return False
        if trial.plan.is_empty or isinstance(trial.found.error, NotImplementedError):
            what = "an empty axis" if trial.plan.is_empty else "some options"
            self.result.note(kinds.LIMIT, f"does not take {what}: {trial.found.text}")
            return True
        return False

    def _ask_again(self) -> None:
        """The first questions once more: an answer must not depend on what was asked between."""
        for trial in [t for t in self.result.trials if isinstance(t.found, Answer)][:3]:
            if trial.cotangents is not None:
                return
            again = self.candidate(trial.problem)
            if isinstance(again, Refusal) or any(
                not np.array_equal(a, b, equal_nan=True)
                for a, b in zip(again.outputs, trial.found.outputs, strict=True)
            ):
                text = "is not deterministic: two calls with the same input differ"
                self.result.note(kinds.RANDOM, text)
                if isinstance(again, Answer):
                    self.result.trials.append(replace(trial, found=again))

    # ------------------------------------------------------------------------------- judging

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
        if not result.judged and result.left_out:
            result.reason = "there was no time for a single case"
            return NO_EVIDENCE
        if not result.judged:
            result.reason = "the formula refuses every case with these options"
            return COULD_NOT_RUN
        if result.noted(kinds.OVERWRITES):
            result.reason = "it modifies its inputs"
            return FAIL
        if odd := self._types_of_no_numbers():
            result.reason = f"returns {odd[0]} for {self.dtype} inputs"
            return FAIL
        if result.failures:
            return FAIL
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


def _says_nothing(value: Any, default: Any) -> bool:
    """Whether an option asks for no more than its default does."""
    if value is None or value is default:
        return True
    return (
        not isinstance(value, np.ndarray)
        and not isinstance(default, np.ndarray)
        and (value == default)
    )
