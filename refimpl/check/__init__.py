"""The checker: is an implementation right, and if not, which mistake is it probably?"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from refimpl.check.candidate import Candidate
from refimpl.check.run import Run
from refimpl.check.trial import FAIL, Result
from refimpl.formula import Formula, find


def check(formula: Formula | str, candidate: Candidate | Callable, **settings: Any) -> Result:
    """Judge a candidate: run it, and where it fails say why and show a small failing case.

    A plain function is a candidate of its own name, whose arrays are those of its library.
    ``settings`` are those of :class:`refimpl.check.run.Run`: dtype, options, gradients, strict,
    seed, seconds, sizes, multiples, same, longest.
    """
    from refimpl.check.diagnose import diagnose
    from refimpl.check.shrink import shrink

    start = time.monotonic()
    if not isinstance(candidate, Candidate):
        candidate = Candidate(getattr(candidate, "__name__", repr(candidate)), candidate)
    run = Run(find(formula) if isinstance(formula, str) else formula, candidate, **settings)
    result = run.execute()
    if result.verdict == FAIL and result.failures:
        result.explanations = diagnose(run)
        # A failing case without special values makes the clearer reproduction.
        simplest = min(
            result.failures, key=lambda t: (len(t.problem.case.options), t.answer[0].size)
        )
        result.shrunk = shrink(run, simplest)
    result.seconds = time.monotonic() - start
    return result
