"""What a check is made of: plans, trials, notes and the result. Data, no decisions."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from refimpl.check.budget import Bound, Judgement, Problem, judge
from refimpl.check.candidate import Answer, Refusal
from refimpl.check.features import Feature, Row
from refimpl.evidence import Case
from refimpl.formula import Formula

PASS, FAIL, NO_EVIDENCE, COULD_NOT_RUN = "pass", "fail", "no evidence", "could not run"
EXIT_CODES = {PASS: 0, FAIL: 1, NO_EVIDENCE: 2, COULD_NOT_RUN: 3}
# Kinds of notes; a report prints the text, decisions read the kind.
OVERWRITES, TYPE, LIMIT, RANDOM, ADVISORY, EXTRA, LOSS = (
    *("overwrites", "type", "limit", "random", "advisory", "extra", "loss"),
)


@dataclass(frozen=True)
class Plan:
    """One thing to try: inputs, and where they come from.

    ``regime`` or ``closed_form`` is the name of their maker, ``variant`` the options that were
    added, ``memory`` how the arrays lie, ``call`` what is special about the call; failing an
    ``advisory`` plan is only worth a note.
    """

    case: Case
    regime: str = ""
    closed_form: str = ""
    variant: tuple[tuple[str, Any], ...] = ()
    sizes: tuple[tuple[str, int], ...] = ()
    batch: tuple[int, ...] = ()
    memory: str = ""
    advisory: bool = False
    is_empty: bool = False
    row: Row | None = None
    call: str = ""

    @property
    def label(self) -> str:
        words = [self.regime or f"probe {self.closed_form}"]
        words += [f"{k}={v!r}" for k, v in self.variant]
        words += [",".join(f"{k}={v}" for k, v in self.sizes)] if self.sizes else []
        words += [f"batch={self.batch}"] if self.batch else []
        return " ".join([*words, *(x for x in (self.row and self.row.memory, self.call) if x)])

    def features(self) -> list[Feature]:
        """Everything that this plan tries."""
        found = self.row.features() if self.row is not None else []
        found += [Feature("closed form", self.closed_form)] if self.closed_form else []
        return found + ([Feature("call", self.call)] if self.call else [])

    @property
    def kind(self) -> tuple:
        """What tells it from plans that only differ in sizes: its maker, and the options' values.

        Arrays count by their names alone.
        """
        given = {k: v for k, v in self.case.options.items() if v is not None}
        values = {k: "" if isinstance(v, np.ndarray) else repr(v) for k, v in given.items()}
        return self.regime, self.closed_form, *sorted(values.items())


class Note(NamedTuple):
    """A remark about a candidate that is no measurement."""

    kind: str
    text: str


@dataclass(frozen=True)
class Trial:
    """One comparison of a candidate with the oracle; cotangents where it is of gradients.

    There are no bounds where it refuses.
    """

    plan: Plan
    problem: Problem
    answer: tuple[np.ndarray, ...]
    names: list[str]
    cotangents: tuple | None = None
    bounds: list[Bound] = field(default_factory=list)
    found: Answer | Refusal | None = None

    @functools.cached_property
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
        index = max(range(len(self.judgements)), key=lambda i: self.judgements[i].ratio)
        return self.judgements[index], self.names[index] if index < len(self.names) else ""

    @property
    def ok(self) -> bool:
        return all(j.ok for j in self.judgements)

    def rejects(self, outputs: tuple[np.ndarray, ...]) -> bool:
        """Whether this trial would have failed a candidate with these outputs."""
        pairs = zip(outputs, self.answer, self.bounds, strict=True)
        return any(not judge(output, reference, bound).ok for output, reference, bound in pairs)


class Power(NamedTuple):
    """Which mistakes a run would have rejected, and which it could not see for want of options."""

    rejected: tuple[str, ...]
    missed: tuple[str, ...]
    out_of_reach: tuple[str, ...]


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
    power: Power = Power((), (), ())
    notes: list[Note] = field(default_factory=list)
    explanations: list = field(default_factory=list)
    shrunk: Trial | None = None
    seconds: float = 0.0
    covered: set[Feature] = field(default_factory=set)
    refused: dict[Feature, str] = field(default_factory=dict)
    not_judged: set[Feature] = field(default_factory=set)
    seconds_needed: float = 0.0

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.verdict]

    @property
    def judged(self) -> list[Trial]:
        return [t for t in self.trials if not t.plan.advisory]

    @property
    def failures(self) -> list[Trial]:
        return [t for t in self.judged if not t.ok]

    @property
    def losses(self) -> dict[str, float]:
        """What passing outputs lose digits by, and the largest factor over the bound without it."""
        found: dict[str, float] = {}
        for judgement in (j for t in self.judged if t.ok for j in t.judgements if j.loses):
            found[judgement.loses] = max(judgement.factor, found.get(judgement.loses, 1.0))
        return found

    @property
    def worst(self) -> Trial | None:
        return max(self.judged, key=lambda t: t.worst[0].ratio, default=None)

    def note(self, kind: str, text: str) -> None:
        if Note(kind, text) not in self.notes:
            self.notes.append(Note(kind, text))

    def noted(self, kind: str) -> list[str]:
        return [note.text for note in self.notes if note.kind == kind]
