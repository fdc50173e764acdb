"""Hypothesis strategies and assertions for other people's suites, made from the registration.

>>> from hypothesis import given
>>> import refimpl
>>> from refimpl.testing import assert_matches, cases
>>> @given(cases(refimpl.softmax_attention))
... def test_my_attention(case):
...     assert_matches(refimpl.softmax_attention, refimpl.softmax_attention, case, dtype="float32")
>>> test_my_attention()

Hypothesis is imported only where a strategy is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from refimpl.backend import is_array, to_host
from refimpl.check.budget import Problem, judge, value_bounds
from refimpl.check.candidate import Candidate, Refusal
from refimpl.evidence import Case, ClosedForm, Evidence, Law, evidence
from refimpl.formula import Formula, as_tuple

BATCHES = ((), (1,), (2,), (2, 1), (2, 3))


def cases(
    formula: Formula, *, regime: str = "", largest: int = 6, empty: bool = True, **options: Any
):
    """A strategy for inputs of a formula: a regime, axis sizes, leading axes and a seed are drawn.

    ``options`` are added to every case; ``empty=False`` keeps every axis at least 1.
    """
    from hypothesis import strategies as st

    of = evidence(formula)

    @st.composite
    def draw_case(draw) -> Case:
        name = regime or draw(st.sampled_from(sorted(of.regimes)))
        axes = {axis: draw(_sizes(_least(of, axis, empty), largest)) for axis in formula.axes}
        batch = draw(st.sampled_from(BATCHES))
        return of.sample(name, axes, batch, draw(st.integers(0, 2**32 - 1))).with_options(**options)

    return draw_case()


def _sizes(least: int, largest: int):
    """From the least to the largest size, or the least where it is larger than that."""
    from hypothesis import strategies as st

    return st.integers(least, max(least, largest))


def _least(of: Evidence, axis: str, empty: bool) -> int:
    return 0 if empty and axis in of.empty else of.sizes[axis].minimum


def assert_matches(formula: Formula, f: Callable, case: Case, *, dtype: str = "float64") -> None:
    """Fail unless ``f`` agrees with the formula on this case within the bound for the precision.

    ``f`` takes the formula's arrays positionally (NumPy, torch, JAX or CuPy, found out from ``f``)
    and those options that it names.
    """
    candidate = f if isinstance(f, Candidate) else Candidate(getattr(f, "__name__", str(f)), f)
    problem = Problem.of(formula, case, dtype)
    answer = problem.answer()
    found = candidate(problem)
    if isinstance(found, Refusal):
        raise AssertionError(f"{candidate.name} raised {found.text}") from found.error
    limits = value_bounds(evidence(formula), problem, answer)
    for output, reference, bound in zip(found.outputs, answer, limits, strict=True):
        judgement = judge(output, reference, bound)
        if not judgement.ok:
            raise AssertionError(
                f"{candidate.name} is not {formula.name} in {dtype}: {judgement.measure} at "
                f"{list(judgement.where)} is off by {judgement.measured:.3g}, "
                f"allowed {judgement.bound:.3g}"
            )


def broken_claims(law: Law, f: Callable, case: Case, u: float = 2.0**-53) -> Iterator[str]:
    """What of a law does not hold for ``f`` on this case; ``u`` is the unit roundoff.

    Of finite inputs NaN on both sides proves nothing, unless an option asks for it.
    """
    may_be_nan = _may_be_nan(case)
    with np.errstate(all="ignore"):
        for left, right, scale in law.claims(f, case):
            left, right, scale = map(to_host, (left, right, scale))
            message = difference(left, right, law.slack * u, scale)
            if not message and not may_be_nan and np.isnan(left).any():
                message = "NaN on both sides"
            if message:
                yield f"{law.statement}: {message}"


def _may_be_nan(case: Case) -> bool:
    given = [*case.arrays, *case.options.values()]
    arrays = [to_host(x) for x in given if is_array(x)]
    finite = all(np.isfinite(x).all() for x in arrays if x.dtype.kind == "f")
    return not finite or "nan" in [v for v in given if isinstance(v, str)]


def wrong_answer(form: ClosedForm, f: Callable, case: Case, answer, u: float = 2.0**-53) -> str:
    """How ``f`` misses a closed form's answer, or nothing."""
    for output, expected in zip(as_tuple(case.call(f)), as_tuple(answer), strict=True):
        expected = np.asarray(expected, dtype=float)
        scale = max(1.0, np.abs(expected[np.isfinite(expected)]).max(initial=0.0))
        if message := difference(to_host(output), expected, form.slack * u, scale):
            return f"{form.statement}: {message}"
    return ""


def difference(left, right, tolerance: float, scale=1.0) -> str:
    """Where two arrays differ by more than tolerance * scale; nothing where they agree."""
    left, right = np.asarray(left), np.asarray(right)
    if left.shape != right.shape:
        return f"shapes {left.shape} and {right.shape}"
    same = (left == right) | (np.isnan(left) & np.isnan(right))
    with np.errstate(invalid="ignore"):
        close = np.abs(left - right) <= tolerance * np.asarray(scale)
    wrong = ~(same | close)
    if not wrong.any():
        return ""
    where = tuple(map(int, np.argwhere(wrong)[0])) if wrong.ndim else ()
    allowed = np.max(tolerance * np.asarray(scale))
    return f"{left[where]!r} and {right[where]!r} at {where}, allowed {allowed:.3g}"
