"""Closed-form gradients against differences in extended precision, along random directions."""

from __future__ import annotations

import numpy as np
from hypothesis import given

from refimpl.check.budget import as_outputs
from refimpl.evidence import Case
from refimpl.testing import cases
from tests.table import DIFFERENTIABLE, each_formula

STEP = np.longdouble(2.0) ** -12
TOLERANCE = 1e-9 if np.finfo(np.longdouble).eps < 1e-18 else 1e-5


def _extended(formula, case: Case) -> Case:
    """Every array that has a gradient, and every float, in extended precision."""

    def widened(name, x):
        moves = name in formula.differentiable or getattr(x, "dtype", None) == np.float64
        return x.astype(np.longdouble) if moves and isinstance(x, np.ndarray) else x

    names = [a.name for a in formula.arguments]
    arrays = tuple(widened(n, x) for n, x in zip(names, case.arrays, strict=True))
    return Case(arrays, {k: widened(k, v) for k, v in case.options.items()})


def _direction(rng, x, is_matrix, kind):
    """A random direction of each entry's size; matrices stay symmetric, or triangular."""
    known = np.where(np.isfinite(x), x, 0.0).astype(np.longdouble)
    if is_matrix and not np.array_equal(known, known.swapaxes(-1, -2)):
        # No entry of a triangular factor leaves its triangle.
        return rng.standard_normal(x.shape).astype(np.longdouble) * known / 8
    if is_matrix:
        change = rng.standard_normal(x.shape).astype(np.longdouble) / 8
        return change @ known + known @ change.swapaxes(-1, -2)
    t = rng.standard_normal(x.shape).astype(np.longdouble)
    if kind == "exact":
        return t * np.minimum(np.abs(known), 1.0)
    return np.where(np.isfinite(x), t * np.maximum(np.abs(known), 1e-3) / 8, 0.0)


def _moved(formula, case, directions, step):
    arrays = [
        x + step * directions[a.name] if a.name in directions else x
        for a, x in zip(formula.arguments, case.arrays, strict=True)
    ]
    options = {
        k: v + step * directions[k] if k in directions else v for k, v in case.options.items()
    }
    return Case(tuple(arrays), options)


def _given_arrays(formula, case):
    """Name -> (array, is it a symmetric matrix, kind) of every differentiable array."""
    arguments = [*formula.arguments, *formula.keywords.values()]
    values = formula.by_name(case.arrays, case.options)
    return {
        a.name: (values[a.name], len(a.core) >= 2 and a.core[-2] == a.core[-1], a.kind)
        for a in arguments
        if a.name in formula.differentiable and isinstance(values.get(a.name), np.ndarray)
    }


def _pairing(cotangents, outputs) -> np.longdouble:
    return sum(
        (g * np.where(g == 0.0, 0.0, y)).sum(dtype=np.longdouble)
        for g, y in zip(cotangents, outputs, strict=True)
    )


def _outputs(formula, case, form):
    result = formula(*case.arrays, form=form, **case.options)
    return result if isinstance(result, tuple) else (result,)


@each_formula(DIFFERENTIABLE)
def test_gradient_against_extrapolated_differences(formula):
    @given(cases(formula, largest=5))
    def agrees(case):
        rng = np.random.default_rng(8180)
        exact = _extended(formula, case)
        y = _outputs(formula, exact, "plain")
        cotangents = [
            np.where(np.isfinite(v), rng.standard_normal(v.shape), 0.0) for v in as_outputs(y)
        ]
        given_arrays = _given_arrays(formula, exact)
        directions = {n: _direction(rng, *entry) for n, entry in given_arrays.items()}

        def central(step):
            ahead = _outputs(formula, _moved(formula, exact, directions, step), "plain")
            behind = _outputs(formula, _moved(formula, exact, directions, -step), "plain")
            return (_pairing(cotangents, ahead) - _pairing(cotangents, behind)) / (2 * step)

        def extrapolated(step):
            """The derivative, and how much it changes by halving the step."""
            coarse, fine, finest = central(step), central(step / 2), central(step / 4)
            first, second = (4 * fine - coarse) / 3, (4 * finest - fine) / 3
            return (16 * second - first) / 15, abs(second - first)

        # Next to a corner (a distance near 0) only steps far below its own size are straight. A
        # formula that rounds inside (angles) shows no difference at all over them.
        estimate, spread = extrapolated(STEP)
        for step in (STEP**2, STEP**3):
            if spread > 1e-6 * abs(estimate):
                closer = extrapolated(step)
                estimate, spread = closer if 0 < closer[1] < spread else (estimate, spread)
        g = tuple(cotangents) if len(cotangents) > 1 else cotangents[0]
        for form, record in formula.forms.items():
            if form != "plain" and record.vjp is None:
                continue
            gradients = formula.vjp(g, *exact.arrays, form=form, **exact.options)
            terms = [
                (gradient * directions[name]).ravel()
                for name, gradient in zip(directions, gradients, strict=True)
            ]
            total = np.concatenate(terms)
            # The differences see what the gradient would be over a step, so their own spread is
            # allowed for.
            allowed = TOLERANCE * (np.abs(total).sum() + abs(estimate)) + 10 * spread
            if np.isfinite(total).all() and np.isfinite(estimate):
                assert abs(total.sum() - estimate) <= allowed + 1e-14, form
            else:
                assert np.isnan(estimate) == np.isnan(total.sum())

    agrees()


@each_formula(DIFFERENTIABLE)
def test_gradient_is_linear_in_the_cotangent_and_has_the_shapes_of_the_arrays(formula):
    @given(cases(formula, largest=4))
    def holds(case):
        y = as_outputs(case.call(formula))

        def cotangent(scale):
            ramps = (1.0 + np.arange(v.size).reshape(v.shape) for v in y)
            g = tuple(
                scale * np.where(np.isfinite(v), r, 0.0) for v, r in zip(y, ramps, strict=True)
            )
            return g if len(g) > 1 else g[0]

        once = formula.vjp(cotangent(1.0), *case.arrays, **case.options)
        twice = formula.vjp(cotangent(2.0), *case.arrays, **case.options)
        shapes = [x.shape for x, *_ in _given_arrays(formula, case).values()]
        assert [gradient.shape for gradient in once] == shapes
        for a, b in zip(once, twice, strict=True):
            np.testing.assert_allclose(2.0 * a, b, rtol=1e-12, atol=1e-300)

    holds()
