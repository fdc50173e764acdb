"""The bound itself: what it is made of, and that each of its measures can reject alone."""

from __future__ import annotations

import numpy as np
import pytest

from refimpl.check.budget import OwnRun, Problem, bounds, judge, value_bounds
from refimpl.evidence import Budget, evidence
from refimpl.formula import find
from refimpl.signature import parse_core

U = 2.0**-53
ROWS = (parse_core("(n,d)"),)
RNG = np.random.default_rng(0)
ANSWER = RNG.uniform(1.0, 2.0, (6, 8))


def _bound(errors=(), budget=None):
    runs = [OwnRun((ANSWER + e,)) for e in errors]
    (found,) = bounds("float64", (ANSWER,), ROWS, budget or Budget(), runs)
    return found


def _one_entry(size):
    error = np.zeros_like(ANSWER)
    error[2, 3] = size
    return error


def test_without_runs_a_row_may_be_off_by_the_floor():
    norms = np.sqrt(np.square(ANSWER).sum(axis=-1))
    np.testing.assert_allclose(_bound().fibre, 4.0 * U * norms, rtol=1e-12)


@pytest.mark.parametrize("k", [3.0, 8.0])
def test_a_row_may_be_off_k_times_as_far_as_our_own_forms(k):
    error = np.zeros_like(ANSWER)
    error[2] = 1e-12 * (-1.0) ** np.arange(8)
    bound = _bound([error], Budget(k=k))
    own = 1e-12 * np.sqrt(8)
    assert bound.fibre[2] == pytest.approx(k * own, rel=1e-12)
    # The worst row speaks for its neighbours, in proportion to their size.
    assert (bound.fibre <= 2.0 * k * own).all()
    assert judge(ANSWER + 0.99 * k * error, ANSWER, bound).ok
    assert not judge(ANSWER + 1.01 * k * error, ANSWER, bound).ok


def test_the_default_is_three_times():
    assert Budget().k == 3.0
    assert Budget().floor == 4.0


def test_the_largest_error_is_judged_by_itself():
    bound = _bound()
    loose = bound.__class__(np.full(6, np.inf), bound.maximum, np.inf, 1, np.inf)
    assert judge(ANSWER + _one_entry(0.99 * bound.maximum), ANSWER, loose).ok
    found = judge(ANSWER + _one_entry(1.01 * bound.maximum), ANSWER, loose)
    assert (found.ok, found.measure) == (False, "largest error")
    # No row may be off by more than the largest of rows, and not by much more than its roundings.
    assert bound.maximum <= 4.0 * U * np.sqrt(np.square(ANSWER).sum(axis=-1)).max()


def test_a_constant_factor_is_seen_by_its_slope_alone():
    bound = _bound([RNG.choice([-1.0, 1.0], ANSWER.shape) * 8 * U * ANSWER])
    tilted = ANSWER * (1 + 4.0 * bound.slope)
    found = judge(tilted, ANSWER, bound)
    assert (found.ok, found.measure) == (False, "slope")
    assert judge(ANSWER * (1 + 0.5 * bound.slope), ANSWER, bound).ok
    assert bound.slope < 64.0 * U


def test_a_run_that_is_not_finite_gives_no_slack():
    error = np.full_like(ANSWER, np.nan)
    np.testing.assert_array_equal(_bound([error]).fibre, _bound().fibre)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_and_no_numbers_are_told_apart(value):
    bound = _bound()
    for output, reference in ((ANSWER + _one_entry(value), ANSWER), (ANSWER, ANSWER)):
        assert judge(output, reference, bound).ok == (output is reference)
    assert not judge(ANSWER, ANSWER + _one_entry(value), bound).ok


@pytest.mark.parametrize(("dtype", "u"), [("float32", 2.0**-24), ("bfloat16", 2.0**-8)])
def test_the_bound_of_a_real_formula_is_of_the_size_of_its_roundings(dtype, u):
    formula = find("softmax_attention")
    of = evidence(formula)
    case = of.sample("normal", {"n": 4, "d": 4, "m": 5, "v": 3})
    problem = Problem.of(formula, case, dtype)
    (answer,) = problem.answer()
    (bound,) = value_bounds(of, problem, (answer,))
    norms = np.sqrt(np.square(answer).sum(axis=-1))
    assert (bound.fibre >= 4.0 * u * norms * 0.999).all()
    assert (bound.fibre <= 100.0 * u * (1.0 + norms)).all()
