"""Laws and closed forms, on every regime and backend, with drawn sizes."""

from __future__ import annotations

import numpy as np
from hypothesis import given, note
from hypothesis import strategies as st

from refimpl.evidence import evidence
from refimpl.testing import BATCHES, broken_claims, cases, wrong_answer
from tests.table import each, examples_on


@each("laws")
def test_law(formula, entry, backend):
    @examples_on(backend)
    @given(cases(formula))
    def holds(case):
        note(repr(case))
        moved = case.map(backend.array)
        assert not list(broken_claims(entry, formula, moved))

    holds()


@each("laws")
def test_law_in_float32(formula, entry):
    """The same law in single precision: the scale that it states is honest."""

    @given(cases(formula))
    def holds(case):
        low = case.map(lambda x: x.astype(np.float32) if x.dtype == np.float64 else x)
        try:
            broken = list(broken_claims(entry, formula, low, u=2.0**-24))
        except np.linalg.LinAlgError:
            return
        assert not broken

    if all(a.kind == "real" for a in formula.arguments):
        holds()


@each("closed_forms")
def test_closed_form(formula, entry, backend):
    of = evidence(formula)

    @examples_on(backend)
    @given(st.data())
    def holds(data):
        axes = {
            axis: data.draw(st.integers(least, max(least, 6)))
            for axis in formula.axes
            for least in [0 if axis in of.empty else of.sizes[axis].minimum]
        }
        batch = data.draw(st.sampled_from(BATCHES))
        rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
        case, answer = entry.sample(rng, formula.shapes(of.fit(axes), batch))
        case = case.with_options(**of.fixed | case.options).map(backend.array)
        assert not wrong_answer(entry, formula, case, answer)

    holds()


@each("regimes")
def test_regime_is_deterministic_and_has_the_declared_shapes(formula, entry):
    of = evidence(formula)
    axes = of.fit(dict.fromkeys(formula.axes, 4))
    one, two = (of.sample(entry.name, axes, (2,), seed=7) for _ in range(2))
    shapes = formula.shapes(axes, (2,))
    for argument, a, b in zip(formula.arguments, one.arrays, two.arrays, strict=True):
        assert np.array_equal(a, b, equal_nan=True)
        full = getattr(shapes, argument.name)
        assert np.broadcast_shapes(a.shape, full) == full
