"""What must hold of every formula as array code: batches, layouts, types, forms, backends."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refimpl.backend import to_host
from refimpl.check.budget import Problem, as_outputs, judge, real_names, value_bounds
from refimpl.evidence import Case, evidence
from refimpl.testing import cases
from tests.table import each_formula, examples_on

PRECISIONS = ("float16", "float32", "float64")


def _outputs(result) -> tuple:
    return result if isinstance(result, tuple) else (result,)


def _assert_same_bits(left, right):
    for a, b in zip(_outputs(left), _outputs(right), strict=True):
        np.testing.assert_array_equal(to_host(a), to_host(b))


def _assert_close(formula, case, output, reference, dtype="float64"):
    """Within the bound that the formula's own forms set in this precision."""
    problem = Problem(formula, case, dtype)
    answer = as_outputs(reference)
    limits = value_bounds(evidence(formula), problem, answer)
    for value, expected, bound in zip(as_outputs(output), answer, limits, strict=True):
        judgement = judge(value, expected, bound)
        assert judgement.ok, judgement


@each_formula()
def test_batch_equals_loop(formula):
    @given(cases(formula, largest=4))
    def holds(case):
        whole = _outputs(case.call(formula))
        everything = [*zip(formula.arguments, case.arrays, strict=True)]
        everything += [
            (argument, case.options[name])
            for name, argument in formula.keywords.items()
            if isinstance(case.options.get(name), np.ndarray)
        ]
        ranks = [x.shape[: x.ndim - len(a.core)] for a, x in everything]
        batch = np.broadcast_shapes(*ranks)
        for index in itertools.product(*map(range, batch)):
            one = {a.name: _entry(x, len(a.core), batch, index) for a, x in everything}
            single = Case(
                tuple(one[a.name] for a in formula.arguments),
                {k: one.get(k, v) for k, v in case.options.items()},
            )
            expected = _outputs(single.call(formula))
            _assert_close(formula, single, tuple(y[index] for y in whole), expected)

    holds()


def _entry(x, core_rank, batch, index):
    full = np.broadcast_to(x, (*batch, *x.shape[x.ndim - core_rank :]))
    return full[index]


@each_formula()
def test_layout_of_the_inputs_does_not_matter_and_they_stay_as_they_are(formula):
    @given(cases(formula, largest=4))
    def holds(case):
        expected = case.call(formula)
        for change in (_read_only, _column_major, _strided):
            other = case.map(change)
            kept = [x.copy() for x in other.arrays]
            _assert_close(formula, case, other.call(formula), expected)
            for x, old in zip(other.arrays, kept, strict=True):
                np.testing.assert_array_equal(x, old)

    holds()


def _read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def _column_major(x):
    return np.asfortranarray(x).reshape(x.shape, order="A")


def _strided(x):
    if x.ndim == 0:
        return x
    wide = np.repeat(x, 2, axis=-1)
    return wide[..., ::2]


@each_formula()
def test_lists_are_accepted(formula):
    of = evidence(formula)
    case = of.sample(next(iter(of.regimes)), dict.fromkeys(formula.axes, 3))
    _assert_same_bits(
        formula(*(x.tolist() for x in case.arrays), **case.options), case.call(formula)
    )


@each_formula()
def test_two_runs_are_equal_to_the_bit(formula):
    @given(cases(formula))
    def holds(case):
        for form in formula.forms:
            first = formula(*case.arrays, form=form, **case.options)
            _assert_same_bits(first, formula(*case.arrays, form=form, **case.options))

    holds()


@each_formula()
def test_all_forms_agree(formula):
    @given(cases(formula), st.sampled_from(sorted(formula.forms)))
    def holds(case, form):
        expected = formula(*case.arrays, form="plain", **case.options)
        _assert_close(formula, case, formula(*case.arrays, form=form, **case.options), expected)

    holds()


@pytest.mark.parametrize("dtype", [*PRECISIONS, "longdouble"])
@each_formula()
def test_output_has_the_type_of_the_inputs(formula, dtype):
    of = evidence(formula)
    case = of.sample(next(iter(of.regimes)), dict.fromkeys(formula.axes, 3))
    real = {a.name for a in formula.arguments if a.kind == "real"}
    arrays = tuple(
        x.astype(dtype) if a.name in real else x
        for a, x in zip(formula.arguments, case.arrays, strict=True)
    )
    for name in real_names(formula) & case.options.keys():
        if isinstance(case.options[name], np.ndarray):
            case = case.with_options(**{name: case.options[name].astype(dtype)})
    expected = np.dtype(dtype) if real else np.dtype(float)
    expected = {"boolean": np.dtype(bool), "index": np.dtype(int)}.get(formula.returns, expected)
    for form in formula.forms:
        for output in _outputs(formula(*arrays, form=form, **case.options)):
            assert output.dtype == expected
    if formula.differentiable:
        outputs = _outputs(formula(*arrays, **case.options))
        g = tuple(np.ones(y.shape) for y in outputs)
        gradients = formula.vjp(g if len(g) > 1 else g[0], *arrays, **case.options)
        names = [n for n in formula.differentiable if n in {a.name for a in formula.arguments}]
        for name, gradient in zip(names, gradients, strict=False):
            assert gradient.dtype == (expected if name in real else np.dtype(float)), name


@pytest.mark.parametrize("dtype", PRECISIONS)
@each_formula()
def test_precision_ladder(formula, dtype):
    """Each rung is as far from longdouble as the inputs' own rounding explains, and no further."""

    @given(cases(formula, largest=5))
    def holds(case):
        problem = Problem.of(formula, case, dtype)
        rng = np.random.default_rng(0)
        try:
            low = as_outputs(problem.in_precision().call(formula))
            top = _extended(problem.case).call(formula)
            moved = [as_outputs(_extended(problem.nudged(rng)).call(formula)) for _ in range(4)]
        except np.linalg.LinAlgError:
            return
        u, of = np.finfo(dtype).eps / 2, evidence(formula)
        terms = [0.0] * len(low)
        if of.output_sizes is not None:
            terms = of.output_sizes(*problem.case.arrays, **problem.case.options)
        for i, (got, want) in enumerate(zip(low, as_outputs(top), strict=True)):
            finite = np.isfinite(got) & np.isfinite(want)
            spread = max(_distance(m[i], want, finite) for m in moved)
            size = np.abs(np.where(finite, want, 0.0)).max(initial=0.0)
            error = _distance(got, want, finite)
            assert error <= 64.0 * (spread + u * max(size, of.budget.unit, terms[i])), (
                error,
                spread,
            )

    holds()


def _distance(a, b, where):
    with np.errstate(invalid="ignore"):
        return np.abs(np.where(where & np.isfinite(a), a - b, 0.0)).max(initial=0.0)


def _extended(case):
    return case.map(lambda x: x.astype(np.longdouble) if x.dtype.kind == "f" else x)


@each_formula()
def test_empty_axes(formula):
    of = evidence(formula)
    for axis in of.empty:
        axes = of.fit(dict.fromkeys(formula.axes, 3) | {axis: 0})
        for regime in of.regimes:
            case = of.sample(regime, axes, (2,))
            for form in formula.forms:
                outputs = _outputs(formula(*case.arrays, form=form, **case.options))
                assert all(not np.isnan(y).any() for y in outputs)
            if not formula.differentiable:
                continue
            g = tuple(np.ones(y.shape) for y in outputs)
            gradients = formula.vjp(g if len(g) > 1 else g[0], *case.arrays, **case.options)
            shapes = [
                x.shape
                for a, x in zip(formula.arguments, case.arrays, strict=True)
                if a.name in formula.differentiable
            ]
            assert [x.shape for x in gradients[: len(shapes)]] == shapes


def _assert_same_there(backend, found, expected):
    """Equal up to another order of rounding, on ill-conditioned input too."""
    assert type(found) is not np.ndarray or backend.name == "numpy"
    tolerance = 0.0 if backend.name == "numpy" else 1e-7
    scale = np.abs(np.where(np.isfinite(expected), expected, 0.0)).max(initial=1e-6)
    np.testing.assert_allclose(to_host(found), expected, rtol=tolerance, atol=tolerance * scale)


@each_formula()
def test_every_backend_gives_the_same(formula, backend):
    @examples_on(backend)
    @given(cases(formula, largest=4))
    def holds(case):
        moved = case.map(backend.array)
        for form, record in formula.forms.items():
            expected = _outputs(formula(*case.arrays, form=form, **case.options))
            found = _outputs(formula(*moved.arrays, form=form, **moved.options))
            assert all(type(y) is not np.ndarray or backend.name == "numpy" for y in found)
            _assert_close(formula, case, tuple(map(to_host, found)), expected)
            if formula.differentiable and (form == "plain" or record.vjp is not None):
                g = tuple(np.where(np.isfinite(y), 1.0, 0.0) for y in expected)
                packed = g if len(g) > 1 else g[0]
                moved_g = tuple(map(backend.array, g))
                wanted = formula.vjp(packed, *case.arrays, form=form, **case.options)
                got = formula.vjp(
                    moved_g if len(g) > 1 else moved_g[0], *moved.arrays, form=form, **moved.options
                )
                for a, b in zip(got, wanted, strict=True):
                    _assert_same_there(backend, a, b)

    holds()
