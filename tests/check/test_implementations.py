"""Honest implementations pass in every precision; every bug is rejected and named."""

from __future__ import annotations

import pytest

from refimpl.check import check
from refimpl.check.candidate import Candidate
from refimpl.check.diagnose import diagnose
from refimpl.check.run import Run
from refimpl.formula import find
from tests.check.implementations import RIGHT, WRONG

DTYPES = [
    "float32",
    "bfloat16",
    *(pytest.param(dtype, marks=pytest.mark.nightly) for dtype in ("float64", "float16")),
]
HONEST = [(name, f, options) for name, entries in RIGHT.items() for f, options in entries]
BUGS = [
    (name, f, words, options) for name, entries in WRONG.items() for f, words, options in entries
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "f", "options"), HONEST, ids=[f.__name__ for _, f, _ in HONEST])
def test_honest_implementations_pass(name, f, options, dtype):
    result = check(find(name), Candidate(f.__name__, f, "numpy"), dtype=dtype, options=options)
    assert result.verdict == "pass", (
        result.reason,
        result.worst and result.worst.worst,
        result.worst.plan.label,
    )


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.nightly)])
@pytest.mark.parametrize(
    ("name", "f", "words", "options"), BUGS, ids=[f.__name__ for _, f, *_ in BUGS]
)
def test_bugs_are_rejected_and_named(name, f, words, options, dtype):
    run = Run(find(name), Candidate(f.__name__, f, "numpy"), dtype=dtype, options=options)
    assert run.execute().verdict == "fail"
    said = [e.text for e in diagnose(run)]
    assert all(any(word in text for text in said) for word in words), said
