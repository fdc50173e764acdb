"""Adapters for public implementations, and the conformance matrix over those that are installed.

Each adapter is a few lines that translate layout and argument names; the options that it names are
those that the implementation has. Where one disagrees with the formula, ``because`` says which
convention or limitation of theirs explains it, by precision ("float64", or "float64 gradients").
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refimpl.check import check
from refimpl.check.candidate import Answer, Candidate
from refimpl.check.trial import FAIL, PASS, Result, Trial
from refimpl.formula import find

ALL = ("float64", "float32", "float16", "bfloat16")


@dataclass(frozen=True)
class Peer:
    """A public implementation of a formula."""

    formula: str
    name: str
    function: Callable
    library: str
    requires: tuple[str, ...]
    dtypes: tuple[str, ...]
    gradients: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    because: dict[str, str] = field(default_factory=dict)
    loses: tuple[str, ...] = ()
    """Regimes in which it loses all digits, for the reason in ``because``."""

    @property
    def installed(self) -> bool:
        return all(importlib.util.find_spec(name) for name in self.requires)

    def check(self, dtype: str, gradients: bool = False, longest: int | None = None) -> Result:
        candidate = Candidate(self.name, self.function, self.library)
        return check(
            find(self.formula),
            candidate,
            dtype=dtype,
            options=dict(self.options),
            gradients=gradients,
            longest=longest,
        )

    def runs(self):
        """(precision, whether of the gradients) to check."""
        return [*((d, False) for d in self.dtypes), *((d, True) for d in self.gradients)]


PEERS: list[Peer] = []


def peer(
    formula: str, name: str, library: str, requires: tuple[str, ...] = (), **record
) -> Callable:
    """Decorator: an adapter that is called like the formula."""

    def register(function: Callable) -> Callable:
        PEERS.append(Peer(formula, name, function, library, requires or (library,), **record))
        return function

    return register


# ------------------------------------------------------------------------------- the matrix


def matrix(names: list[str] | None = None, longest: int | None = None):
    """(peer, precision, gradients, result) for every installed peer of the named formulas."""
    for record in PEERS:
        if record.installed and (not names or record.formula in names):
            for dtype, gradients in record.runs():
                yield record, dtype, gradients, record.check(dtype, gradients, longest)


def reason(record: Peer, dtype: str, gradients: bool) -> str:
    """The known reason for a disagreement in this precision, of values or of gradients."""
    return record.because.get(f"{dtype} gradients" if gradients else dtype, "")


def is_explained(record: Peer, dtype: str, gradients: bool, result: Result) -> bool:
    """It passes, or it fails for the reason that is known."""
    return (
        result.verdict == PASS or result.verdict == FAIL and bool(reason(record, dtype, gradients))
    )


def loses_only_digits(record: Peer, result: Result) -> bool:
    """Whether what fails is within 3 % of the largest answer, or NaN: without a name."""
    answers = [np.abs(y[np.isfinite(y)]).max(initial=0.0) for t in result.trials for y in t.answer]
    return all(
        _error(trial) <= 0.03 * max(answers) or trial.plan.regime in record.loses
        for trial in result.failures
    )


def _error(trial: Trial) -> float:
    """The largest error of what is a number; infinite where the candidate refuses."""
    if not isinstance(trial.found, Answer):
        return math.inf
    pairs = [*zip(trial.found.outputs, trial.answer, strict=True)]
    if any(x.shape != y.shape for x, y in pairs):
        return math.inf
    gaps = (np.abs(x - y) for x, y in pairs)
    return max(float(gap[np.isfinite(gap)].max(initial=0.0)) for gap in gaps)


def main(names: list[str], as_json: bool = False) -> int:
    """Print the conformance matrix; exit code 1 where a disagreement is not explained."""
    lines, worst = [], 0
    for record, dtype, gradients, result in matrix(names):
        explained = is_explained(record, dtype, gradients, result)
        worst = max(worst, 0 if explained else 1)
        line = {
            "formula": record.formula,
            "peer": record.name,
            "dtype": dtype,
            "gradients": gradients,
            "verdict": result.verdict,
            "diagnosis": [e.text for e in result.explanations],
            "because": "" if result.verdict == PASS else reason(record, dtype, gradients),
            "reason": result.reason,
            "notes": [note.text for note in result.notes],
            "options": {k: str(v) for k, v in record.options.items()},
        }
        lines.append(line)
        if not as_json:
            print(_row(line), flush=True)
    if as_json:
        print(json.dumps(lines, indent=1))
    elif not lines:
        print("no public implementation is installed: see tools/requirements")
    return worst


def _row(line: dict) -> str:
    kind = line["dtype"] + (" grad" if line["gradients"] else "")
    head = f"{line['verdict'].upper():14} {line['formula']:22} {line['peer']:42} {kind:14}"
    why = line["because"] or "; ".join(line["diagnosis"]) or line["reason"]
    options = ", ".join(f"{k}={v}" for k, v in line["options"].items())
    return " ".join(x for x in (head, f"[{options}]" if options else "", why) if x)


# The adapters file themselves when they are imported, which needs what is above.
for _module in pkgutil.walk_packages(__path__, f"{__name__}."):
    importlib.import_module(_module.name)
