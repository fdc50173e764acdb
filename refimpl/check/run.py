"""Run a candidate against a formula: trials, verdict, and what the run would have caught."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from refimpl.check import gradient
from refimpl.check.budget import (
    Bound,
    Judgement,
    Problem,
    as_outputs,
    bounds,
    judge,
    value_bounds,
)
from refimpl.check.candidate import Answer, Candidate, CannotRun, Refusal
from refimpl.evidence import Case, Evidence, evidence
from refimpl.formula import Formula

PASS, FAIL, NO_EVIDENCE, COULD_NOT_RUN = "pass", "fail", "no evidence", "could not run"
EXIT_CODES = {PASS: 0, FAIL: 1, NO_EVIDENCE: 2, COULD_NOT_RUN: 3}

# Sizes of the axes, in order of appearance: fewer keys than queries, more, as many; one; ragged
# tile edges.
PATTERNS = (
    (3, 4, 5, 2),
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


@dataclass(frozen=True)
class Plan:
    """One thing to try: a label, inputs, and whether failing is only worth a note."""

    label: str
    case: Case
    advisory: bool = False
    is_empty: bool = False


@dataclass
class Trial:
    """One comparison of a candidate with the oracle."""

    plan: Plan
    problem: Problem
    answer: tuple[np.ndarray, ...]
    bounds: list[Bound]
    names: list[str]
    found: Answer | Refusal
    cotangents: tuple | None = None

    def judgements(self) -> list[Judgement]:
        if isinstance(self.found, Refusal):
            return [Judgement(np.inf, f"raised {self.found.text}", np.inf, 0.0, ())]
        return [
            judge(output, reference, bound)
            for output, reference, bound in zip(
                self.found.outputs, self.answer, self.bounds, strict=True
            )
        ]

    @property
    def worst(self) -> tuple[Judgement, str]:
        """The worst judgement, and the output that it is about."""
        found = self.judgements()
        index = max(range(len(found)), key=lambda i: found[i].ratio)
        return found[index], self.names[index] if index < len(self.names) else ""

    @property
    def ok(self) -> bool:
        return all(j.ok for j in self.judgements())

    def rejects(self, outputs: tuple[np.ndarray, ...]) -> bool:
        """Whether this trial would have failed a candidate with these outputs."""
        pairs = zip(outputs, self.answer, self.bounds, strict=True)
        return any(not judge(output, reference, bound).ok for output, reference, bound in pairs)


@dataclass
class Result:
    """Everything a report says."""

    formula: Formula
    candidate: str
    dtype: str
    library: str
    verdict: str = COULD_NOT_RUN
    reason: str = ""
    gradients: bool = False
    fixed: dict[str, Any] = field(default_factory=dict)
    unnamed: list[str] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)
    killed: dict[str, bool] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    explanations: list = field(default_factory=list)
    shrunk: Trial | None = None
    seconds: float = 0.0
    left_out: int = 0

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.verdict]

    @property
    def failures(self) -> list[Trial]:
        return [t for t in self.trials if not t.plan.advisory and not t.ok]

    @property
    def worst(self) -> Trial | None:
        judged = [t for t in self.trials if not t.plan.advisory]
        return max(judged, key=lambda t: t.worst[0].ratio, default=None)


class Run:
    """One check in progress."""

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
        seconds: float = 6.0,
        progress: Callable[[str], None] = lambda text: None,
    ):
        self.formula, self.candidate, self.dtype = formula, candidate, dtype
        self.of: Evidence = evidence(formula)
        self.fixed = self.of.fixed | (options or {})
        self.gradients, self.strict, self.seed = gradients, strict, seed
        self.seconds = seconds
        self.progress = progress
        self.result = Result(formula, candidate.name, dtype, candidate.library, gradients=gradients)
        self.result.fixed = dict(self.fixed)
        self.tie: dict[str, str] = {}
        self.result.unnamed = [name for name in formula.options if not candidate.names(name)]

    # ------------------------------------------------------------------------------ planning

    def plans(self, batch: tuple[int, ...]) -> Iterator[Plan]:
        """Everything to try, the most telling first."""
        regimes = list(self.of.regimes.values())
        variants = [
            variant
            for variant in self.of.variants
            if all(self.candidate.accepts(k, v) or k in self.fixed for k, v in variant.items())
        ]
        # All cases of one size together: compilers of shapes, like JAX's, then run once for each
        # size.
        for pattern in PATTERNS[:3]:
            for regime in regimes:
                yield from self._sampled(regime, pattern, batch)
            if pattern == PATTERNS[0]:
                for name, form in self.of.closed_forms.items():
                    yield from self._closed_form(name, form, pattern, batch)
            for variant in variants:
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

    def axes(self, pattern: tuple[int, ...], empty: str = "") -> dict[str, int]:
        names = self.formula.axes
        sizes = {name: pattern[i % len(pattern)] for i, name in enumerate(names)}
        sizes |= {name: sizes[leader] for name, leader in self.tie.items()}
        return self.of.fit(sizes | ({empty: 0} if empty else {}))

    def _sampled(self, regime, pattern, batch, variant=None, empty="") -> Iterator[Plan]:
        axes = self.axes(pattern, empty)
        case = self.of.sample(regime.name, axes, batch, self.seed)
        sizes = ",".join(f"{k}={v}" for k, v in axes.items())
        extra = "".join(f" {k}={v!r}" for k, v in (variant or {}).items())
        label = f"{regime.name}{extra} {sizes}" + (f" batch={batch}" if batch else "")
        yield from self._fitted(
            label, case.with_options(**(variant or {})), regime.advisory, bool(empty)
        )

    def _closed_form(self, name, form, pattern, batch) -> Iterator[Plan]:
        rng = np.random.default_rng(self.seed)
        try:
            case, _ = form.sample(rng, self.formula.shapes(self.axes(pattern), batch))
        except _REFUSED:
            return
        yield from self._fitted(f"probe {name}", case, False, False)

    def _fitted(self, label: str, case: Case, advisory: bool, is_empty: bool) -> Iterator[Plan]:
        """The case with only the options that the candidate takes, or that the user fixed."""
        taken = {k: v for k, v in case.options.items() if self.candidate.accepts(k, v)}
        if advisory and len(taken) < len(case.options.keys() - self.fixed.keys()):
            return
        yield Plan(label, Case(case.arrays, taken | self._fixed_for(taken)), advisory, is_empty)

    def _fixed_for(self, taken: dict) -> dict:
        """Fixed options win, unless the candidate names them and the case says otherwise."""
        return {k: v for k, v in self.fixed.items() if k in self.user_fixed or k not in taken}

    @property
    def user_fixed(self) -> set[str]:
        return {k for k, v in self.fixed.items() if k not in self.of.fixed or self.of.fixed[k] != v}

    # ------------------------------------------------------------------------------- running

    def trial(self, plan: Plan) -> Trial | None:
        """Oracle, bound and candidate on one case; None where the formula itself refuses it."""
        problem = Problem.of(self.formula, plan.case, self.dtype)
        try:
            answer = problem.answer()
            if self.gradients:
                return self._gradient_trial(plan, problem, answer)
        except _REFUSED:
            return None
        limits = value_bounds(self.of, problem, answer, self.seed, self.strict)
        names = ["output"] if len(answer) == 1 else [f"output {i}" for i in range(len(answer))]
        return Trial(plan, problem, answer, limits, names, self.candidate(problem))

    def _gradient_trial(self, plan: Plan, problem: Problem, answer) -> Trial | None:
        if any(not np.isfinite(y).any() for y in answer if y.size):
            return None
        g = gradient.cotangents(problem, answer, self.seed)
        reference = gradient.reference(problem, g)
        names = gradient.positional_names(problem)
        if not names:
            return None
        cores = {a.name: a.core for a in self.formula.arguments}
        runs = gradient.baseline_runs(problem, g, names, self.seed, self.strict)
        wanted = tuple(reference[name] for name in names)
        sizes = gradient.term_sizes(self.of, problem, g, names)
        limits = bounds(self.dtype, wanted, [cores[n] for n in names], self.of.budget, runs, sizes)
        found = gradient.candidate_gradients(self.candidate, problem, g)
        return Trial(plan, problem, wanted, limits, [f"gradient of {n}" for n in names], found, g)

    def accepted_batch(self) -> tuple[int, ...]:
        """The most leading axes that the candidate takes; CannotRun where it takes none.

        Some implementations need certain axes to be of one length; that is found out here too.
        """
        refusals = []
        first, *others = self.of.regimes.values()
        small = [(first, pattern) for pattern in PATTERNS[:3]]
        # An implementation may be for inputs of one kind: only then the search is long.
        large = [*product((first,), PATTERNS[3:]), *product(others, PATTERNS)]
        for tie, long_search in product(({}, *self.of.ties), (False, True)):
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
            self._note(f"needs {equal}: {refusals[0].text}")
        elif refusals:
            self._note(f"takes at most {len(batch)} leading axes: {refusals[0].text}")

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
            self._note_determinism()
        except CannotRun as error:
            result.verdict, result.reason = COULD_NOT_RUN, str(error)
            return result
        self._collect_notes()
        result.killed = self.power()
        result.verdict = self._verdict()
        return result

    def _only_noted(self, trial: Trial) -> bool:
        """Refusing an empty axis or an option value is a limitation, not a wrong answer."""
        if not isinstance(trial.found, Refusal):
            return False
        if trial.plan.is_empty or isinstance(trial.found.error, NotImplementedError):
            what = "an empty axis" if trial.plan.is_empty else "some options"
            self._note(f"does not take {what}: {trial.found.text}")
            return True
        return False

    def _note(self, text: str) -> None:
        if text not in self.result.notes:
            self.result.notes.append(text)

    def _note_determinism(self) -> None:
        for trial in [t for t in self.result.trials if isinstance(t.found, Answer)][:3]:
            if trial.cotangents is not None:
                return
            again = self.candidate(trial.problem)
            if isinstance(again, Refusal) or any(
                not np.array_equal(a, b, equal_nan=True)
                for a, b in zip(again.outputs, trial.found.outputs, strict=True)
            ):
                self._note("is not deterministic: two calls with the same input differ")
                if isinstance(again, Answer):
                    self.result.trials.append(Trial(**vars(trial) | {"found": again}))

    def _collect_notes(self) -> None:
        for trial in self.result.trials:
            if isinstance(trial.found, Answer):
                for note in trial.found.notes:
                    self._note(note)
                for name in set(trial.found.dtypes):
                    if not self._is_expected(name):
                        self._note(f"returns {name} for {self.dtype} inputs")
            if trial.plan.advisory and not trial.ok:
                regime = self.of.regimes[trial.plan.label.split()[0]]
                self._note(f"fails where honest code may: {regime.statement}")

    def _is_expected(self, dtype: str) -> bool:
        """Whether outputs of this formula may have this type; indices are whole numbers of any."""
        if self.formula.returns == "index":
            return dtype.startswith(("int", "uint"))
        return dtype == ("bool" if self.formula.returns == "boolean" else self.dtype)

    def _verdict(self) -> str:
        judged = [t for t in self.result.trials if not t.plan.advisory]
        if not judged and self.result.left_out:
            self.result.reason = "there was no time for a single case"
            return NO_EVIDENCE
        if not judged:
            self.result.reason = "the formula refuses every case with these options"
            return COULD_NOT_RUN
        if any(note.startswith("overwrites") for note in self.result.notes):
            self.result.reason = "it modifies its inputs"
            return FAIL
        odd = [
            n for n in self.result.notes if n.startswith("returns ") and not _is_float(n.split()[1])
        ]
        if odd and any(n.startswith(("returns int", "returns uint", "returns bool")) for n in odd):
            self.result.reason = odd[0]
            return FAIL
        if self.result.failures:
            return FAIL
        if not any(self.result.killed.values()):
            self.result.reason = "this run would have rejected no wrong variant"
            return NO_EVIDENCE
        return PASS

    # --------------------------------------------------------------------------------- power

    def wrong_variants(self) -> dict[str, Callable[[Trial], tuple]]:
        """Named wrong outputs: the mutants, and candidates that compute nothing."""
        mutants = self.of.gradient_mutants() if self.gradients else self.of.value_mutants()
        found = {name: _mutant_outputs(mutant, self) for name, mutant in mutants.items()}
        return found | {
            "zeros": lambda t: tuple(np.zeros_like(y) for y in t.answer),
            "ones": lambda t: tuple(np.ones_like(y) for y in t.answer),
            "reversed": lambda t: tuple(np.flip(y) for y in t.answer),
        }

    def power(self) -> dict[str, bool]:
        """Which wrong variants this very run would have rejected."""
        trials = _representatives([t for t in self.result.trials if not t.plan.advisory])
        killed = {}
        for name, outputs in self.wrong_variants().items():
            killed[name] = any(_rejects(trial, outputs) for trial in trials)
        return killed


def _representatives(trials: list[Trial]) -> list[Trial]:
    """The first two and the last trial of every regime and its options: others show no more."""
    kinds: dict[tuple, list[Trial]] = {}
    for trial in trials:
        options = trial.problem.case.options
        given = {k: v for k, v in options.items() if v is not None}
        values = {k: "" if isinstance(v, np.ndarray) else repr(v) for k, v in given.items()}
        kind = trial.plan.label.split()[0], *sorted(values.items())
        kinds.setdefault(kind, []).append(trial)
    return [t for alike in kinds.values() for t in (*alike[:2], *alike[2:][-1:])]


def _is_float(name: str) -> bool:
    return "float" in name or name == "longdouble"


def _mutant_outputs(mutant, run: Run):
    """The outputs of a mutant on a trial's inputs, computed in float64."""

    def outputs(trial: Trial) -> tuple:
        case = trial.problem.case
        with np.errstate(all="ignore"):
            if not mutant.gradient:
                return as_outputs(mutant.body(*case.arrays, **case.options))
            g = trial.cotangents if len(run.formula.signature.outputs) > 1 else trial.cotangents[0]
            found = as_outputs(mutant.body(g, *case.arrays, **case.options))
        names = gradient.given_names(trial.problem)
        wanted = gradient.positional_names(trial.problem)
        return tuple(dict(zip(names, found, strict=True))[name] for name in wanted)

    return outputs


def _rejects(trial: Trial, outputs: Callable) -> bool:
    try:
        return trial.rejects(outputs(trial))
    except Exception:  # a wrong variant need not run on every input
        return False
