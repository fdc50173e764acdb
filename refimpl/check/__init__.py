"""The checker: is an implementation right, and if not, which mistake is it probably?"""

from __future__ import annotations

import time
from typing import Any

from refimpl.check.candidate import Candidate
from refimpl.check.run import Run
from refimpl.check.trial import FAIL, Result
from refimpl.formula import Formula


def check(formula: Formula, candidate: Candidate, **settings: Any) -> Result:
    """Judge a candidate: run it, and where it fails say why and show a small failing case.

    ``settings`` are those of :class:`refimpl.check.run.Run`: dtype, options, gradients, strict,
    seed, seconds.
    """
    from refimpl.check.diagnose import diagnose
    from refimpl.check.shrink import shrink

    start = time.monotonic()
    run = Run(formula, candidate, **settings)
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
