"""Evidence for the optimal transport between two Gaussians.

Laws are written once, for a squared distance w(mean_p, cov_p, mean_q, cov_q); a view makes one of
each formula.
"""

from __future__ import annotations

import functools

import numpy as np

from refimpl.backend import like, namespace
from refimpl.evidence import Budget, Case, Claim, Evidence, Sizes
from refimpl.evidence.gaussian.pairs import OF_MEANS, symmetric
from refimpl.evidence.gaussian.shared import (
    covariance,
    diagonal_covariance,
    displacement,
    graded_units,
    integer_factor,
    rescale,
    symmetric_part,
    trace,
)
from refimpl.evidence.gaussian.transport_laws import LAWS, METRIC_LAWS, sensitivity
from refimpl.formula import upcast
from refimpl.gaussian.transport import (
    bures_squared,
    bures_squared_factor,
    wasserstein_distance,
    wasserstein_squared,
)

_SIZES = {"d": Sizes(1, 1, 7)}
_BUDGET = Budget(k=8.0, floor=16.0)

bures = Evidence(
    bures_squared,
    sizes=_SIZES,
    budget=_BUDGET,
    unchanged=symmetric(),
)
factor = Evidence(
    bures_squared_factor,
    sizes={"d": Sizes(1, 1, 7), "r": Sizes(1, 1, 9), "s": Sizes(1, 1, 9)},
    budget=_BUDGET,
    unchanged={
        "factor_p and factor_q are swapped": "it is symmetric",
        "factor_p is taken as its negative": "F F^T is even in F",
        "factor_q is taken as its negative": "F F^T is even in F",
    },
)
squared = Evidence(
    wasserstein_squared,
    sizes=_SIZES,
    budget=_BUDGET,
    unchanged=OF_MEANS | symmetric(),
)
distance = Evidence(
    wasserstein_distance,
    sizes=_SIZES,
    budget=_BUDGET,
    unchanged=OF_MEANS | symmetric(),
)


@bures.output_terms
def _largest_trace(cov_p, cov_q):
    return (float((trace(cov_p) + trace(cov_q)).max()),)


@squared.output_terms
def _largest_cost(mean_p, cov_p, mean_q, cov_q):
    return _largest_trace(cov_p, cov_q)


@factor.output_terms
def _largest_square(factor_p, factor_q):
    squares = (factor_p**2).sum(axis=(-2, -1)) + (factor_q**2).sum(axis=(-2, -1))
    return (float(squares.max()),)


# ------------------------------------------------------------------------------------------ regimes


KEYWORDS = {
    "time": lambda rng, shape: rng.uniform(0.1, 0.8, shape),
    "regularisation": lambda rng, shape: 2.0 ** rng.uniform(-2, 4, shape),
}
"""Samplers of the parameters that formulas of two Gaussians have."""


def each_regime(
    *records: Evidence, adversarial: bool = False, advisory: bool = False, far: bool = True
):
    """Register ``sample(rng, shapes) -> cov_p, cov_q`` for formulas of covariances.

    Formulas of means get means too, some deviations apart, or with ``far=False`` as near to each
    other as the covariances are; parameters are drawn from KEYWORDS.
    """

    def register(sample):
        for of in records:

            @functools.wraps(sample)
            def with_means(rng, shape, of=of):
                cov_p, cov_q = sample(rng, (shape.cov_p, shape.cov_q))
                options = {
                    name: KEYWORDS[name](rng, getattr(shape, name)) for name in of.formula.keywords
                }
                if "mean_p" not in [a.name for a in of.formula.arguments]:
                    return Case((cov_p, cov_q), options)
                mean_q = rng.standard_normal(shape.mean_q)
                if far:
                    return Case((mean_q + displacement(rng, cov_q), cov_p, mean_q, cov_q), options)
                size = np.abs(cov_p - cov_q).max(axis=(-2, -1))[..., None]
                mean_p = mean_q + size * displacement(rng, cov_q)
                return Case((mean_p, cov_p, mean_q, cov_q), options)

            of.regime(with_means, adversarial=adversarial, advisory=advisory)
        return sample

    return register


@each_regime(bures, squared, distance)
def generic(rng, shapes):
    """Unrelated covariances."""
    return tuple(covariance(rng, shape) for shape in shapes)


@each_regime(bures, squared, distance)
def diagonal(rng, shapes):
    """Independent coordinates."""
    return tuple(diagonal_covariance(rng, shape) for shape in shapes)


@each_regime(bures, squared, distance, adversarial=True)
def unlike_sizes(rng, shapes):
    """p 16 times as narrow as q."""
    return covariance(rng, shapes[0]) / 256, covariance(rng, shapes[1])


@each_regime(bures, squared, distance, adversarial=True)
def graded(rng, shapes):
    """Coordinates in units from 1/64 to 16: both condition numbers reach 1e7."""
    units = graded_units(rng, shapes[0][:-1])
    return tuple(rescale(covariance(rng, shape), units) for shape in shapes)


@each_regime(bures, squared, distance, adversarial=True, advisory=True, far=False)
def near_equal(rng, shapes):
    """p and q differ by 1e-8 to 1e-2 of themselves: the textbook formulas, POT's too, cancel."""
    cov_q = covariance(rng, shapes[1])
    difference = 10.0 ** -rng.uniform(2, 8, shapes[1][:-2])[..., None, None]
    change = symmetric_part(rng.uniform(-1, 1, shapes[1])) / shapes[1][-1]
    return cov_q + difference * change, cov_q


@each_regime(bures, squared, adversarial=True, advisory=True, far=False)
def identical(rng, shapes):
    """p is q: the textbook formulas, POT's too, leave rounding errors of either sign."""
    cov = covariance(rng, shapes[1])
    return cov, cov.copy()


@factor.regime
def rectangular(rng, shape):
    """Unrelated factors of any widths."""
    return Case((rng.standard_normal(shape.factor_p), rng.standard_normal(shape.factor_q)))


@factor.regime
def triangular(rng, shape):
    """Lower triangles, as Cholesky gives them, cut or widened to the width."""
    lower = (np.tril(rng.uniform(-1, 1, s)) + 2 * np.eye(*s[-2:]) for s in _shapes(shape))
    return Case(tuple(lower))


@factor.regime(adversarial=True)
def graded_rows(rng, shape):
    """Coordinates in units from 1/64 to 16."""
    units = graded_units(rng, shape.factor_p[:-1])[..., None]
    return Case(tuple(units * rng.standard_normal(s) for s in _shapes(shape)))


@factor.regime(adversarial=True, advisory=True)
def near_factors(rng, shape):
    """The columns that both have differ by 1e-6 to 1e-2: differences of squares cancel."""
    factor_p, factor_q = (rng.standard_normal(s) for s in _shapes(shape))
    k = min(factor_p.shape[-1], factor_q.shape[-1])
    size = 10.0 ** -rng.uniform(2, 6, (*shape.batch, 1, 1))
    change = rng.uniform(-1, 1, factor_p[..., :k].shape)
    factor_p[..., :k] = factor_q[..., :k] + size * change
    return Case((factor_p, factor_q))


def _shapes(shape):
    return shape.factor_p, shape.factor_q


# --------------------------------------------------------------------------------------------- laws


def _of_covariances(f, case):
    cov_p, cov_q = case.arrays
    origin = 0 * cov_p[..., 0], 0 * cov_q[..., 0]
    return (
        lambda mean_p, cov_p, mean_q, cov_q: (
            f(cov_p, cov_q) + ((mean_p - mean_q) ** 2).sum(axis=-1)
        ),
        (origin[0], cov_p, origin[1], cov_q),
    )


def _of_squares(f, case):
    return f, case.arrays


def _of_roots(f, case):
    return lambda *arrays: f(*arrays) ** 2, case.arrays


VIEWS = {bures: _of_covariances, squared: _of_squares, distance: _of_roots}


def _seen(view, claims):
    """A law of w(mean_p, cov_p, mean_q, cov_q), as one of the formula that has this view."""

    @functools.wraps(claims)
    def law(f, case):
        w, arrays = view(f, case)
        yield from claims(w, *arrays)

    return law


for of, view in VIEWS.items():
    for claims in METRIC_LAWS if of is distance else LAWS:
        of.law(_seen(view, claims))


# ---------------------------------------------------------------------- laws of factors


def _factor_scale(value, case):
    squares = sum((x * x).sum(axis=(-2, -1)) for x in case.arrays)
    return 4 * (abs(value) + squares)


@factor.law
def depends_on_the_covariances(f, case):
    """B^2(S_p, S_q) = B^2(S_p S_p^T, S_q S_q^T), where these are not singular"""
    factor_p, factor_q = map(upcast, case.arrays)
    if min(factor_p.shape[-1], factor_q.shape[-1]) < factor_p.shape[-2]:
        return
    covs = [symmetric_part(s @ s.swapaxes(-1, -2)) for s in (factor_p, factor_q)]
    value = f(*case.arrays)
    scale = _factor_scale(value, case) + sensitivity(*covs)
    yield Claim(value, bures_squared(*covs), scale)


@factor.law
def does_not_see_columns_turn(f, case):
    """B^2(S_p O, S_q) = B^2(S_p, S_q) for a reversed order of columns, with alternating signs"""
    factor_p, factor_q = case.arrays
    value = f(*case.arrays)
    r = factor_p.shape[-1]
    signs = like(np.resize([-1.0, 1.0], r).astype(factor_p.dtype), factor_p)
    turned = f(namespace(factor_p).flip(factor_p, -1) * signs, factor_q)
    yield Claim(turned, value, _factor_scale(value, case))


@factor.law
def no_rotation_of_the_columns_is_better(f, case):
    """|S_p U - S_q|_F^2 is never below B^2, for U^T U = I"""
    value = f(*case.arrays)
    xp = namespace(value)
    factor_p, factor_q = map(upcast, case.arrays)
    width = max(factor_p.shape[-1], factor_q.shape[-1])
    wide = [
        xp.concatenate([s, xp.zeros((*s.shape[:-1], width - s.shape[-1]))], axis=-1)
        for s in (factor_p, factor_q)
    ]
    for seed in range(4):
        rotation, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((width, width)))
        cost = ((wide[0] @ like(rotation, value) - wide[1]) ** 2).sum(axis=(-2, -1))
        yield Claim(xp.minimum(cost, value), value, _factor_scale(value, case))


@factor.law
def columns_of_zeros_change_nothing(f, case):
    """Appending a column of zeros to either factor leaves B^2 as it is"""
    factor_p, factor_q = case.arrays
    value = f(*case.arrays)
    xp = namespace(value)
    padded = [xp.concatenate([s, 0 * s[..., :1]], axis=-1) for s in case.arrays]
    yield Claim(f(padded[0], factor_q), value, _factor_scale(value, case))
    yield Claim(f(factor_p, padded[1]), value, _factor_scale(value, case))


@factor.law
def is_symmetric_in_the_factors(f, case):
    """B(S_p, S_q) = B(S_q, S_p), and B(S, S) = 0"""
    factor_p, factor_q = case.arrays
    value = f(*case.arrays)
    scale = _factor_scale(value, case)
    yield Claim(f(factor_q, factor_p), value, scale)
    for s in case.arrays:
        zero = f(s, s)
        yield Claim(zero, namespace(zero).zeros_like(zero), 4 * (s * s).sum(axis=(-2, -1)))


# ------------------------------------------------------------------------------------- closed forms


def each_closed_form(sample):
    """Register ``sample(rng, shapes) -> cov_p, cov_q, B^2`` for all formulas of covariances."""
    for of in VIEWS:
        # The answers of some are differences of traces, which round.
        @of.closed_form(slack=128.0)
        @functools.wraps(sample)
        def with_means(rng, shape, of=of):
            cov_p, cov_q, answer = sample(rng, (shape.cov_p, shape.cov_q))
            if of is bures:
                return Case((cov_p, cov_q)), answer
            mean_p = rng.integers(-3, 4, shape.mean_p).astype(float)
            mean_q = rng.integers(-3, 4, shape.mean_q).astype(float)
            total = answer + ((mean_p - mean_q) ** 2).sum(axis=-1)
            case = Case((mean_p, cov_p, mean_q, cov_q))
            return case, total if of is squared else np.sqrt(total)

    return sample


@each_closed_form
def independent_coordinates(rng, shapes):
    """Diagonal covariances: the sum of squares of differences of deviations"""
    cov_p, cov_q = (diagonal_covariance(rng, shape) for shape in shapes)
    roots = (np.sqrt(np.diagonal(cov, axis1=-2, axis2=-1)) for cov in (cov_p, cov_q))
    return cov_p, cov_q, ((next(roots) - next(roots)) ** 2).sum(axis=-1)


@each_closed_form
def common_axes(rng, shapes):
    """Commuting covariances, with integer roots R: |R_p - R_q|_F^2, as R_p = 2 + N, R_q = 3 - N"""
    # N = u u^T with u of -1, 0, 1, so that every entry is an integer.
    u = rng.integers(-1, 2, shapes[0][:-1]).astype(float)
    n = u[..., :, None] * u[..., None, :]
    identity = np.eye(shapes[0][-1])
    root_p, root_q = 2 * identity + n, 3 * identity + 2 * n
    return root_p @ root_p, root_q @ root_q, ((root_p - root_q) ** 2).sum(axis=(-2, -1))


@each_closed_form
def known_map(rng, shapes):
    """S_q = A S_p A with integers, A symmetric positive definite: tr (A - I) S_p (A - I)"""
    low = integer_factor(rng, shapes[0])
    cov_p = low @ low.swapaxes(-1, -2)
    u = rng.integers(-1, 2, shapes[0][:-1]).astype(float)
    a = 2 * np.eye(shapes[0][-1]) + u[..., :, None] * u[..., None, :]
    move = (a - np.eye(shapes[0][-1])) @ low
    return cov_p, a @ cov_p @ a, (move * move).sum(axis=(-2, -1))


@each_closed_form
def proportional(rng, shapes):
    """S_q = 9 S_p: 4 tr S_p"""
    low = integer_factor(rng, shapes[0])
    cov = low @ low.swapaxes(-1, -2)
    return cov, 9 * cov, 4 * np.trace(cov, axis1=-2, axis2=-1)


@each_closed_form
def lines(rng, shapes):
    """Singular u u^T and v v^T with integers: |u|^2 + |v|^2 - 2 |u^T v|"""
    u, v = (rng.integers(-3, 4, shape[:-1]).astype(float) for shape in shapes)
    u[..., 0] = 1.0
    answer = (u * u).sum(axis=-1) + (v * v).sum(axis=-1) - 2 * np.abs((u * v).sum(axis=-1))
    return u[..., :, None] * u[..., None, :], v[..., :, None] * v[..., None, :], answer


@each_closed_form
def pairs_of_coordinates(rng, shapes):
    """Blocks of two: tr (S_p S_q)^{1/2} = sqrt(tr S_p S_q + 2 sqrt(det S_p S_q)) in each"""
    d = shapes[0][-1]
    together = np.arange(d) // 2 == np.arange(d)[:, None] // 2
    cov_p, cov_q = (covariance(rng, shape) * together for shape in shapes)
    answer = np.trace(cov_p + cov_q, axis1=-2, axis2=-1)
    for start in range(0, d, 2):
        p, q = (x[..., start : start + 2, start : start + 2] for x in (cov_p, cov_q))
        fidelity = np.trace(p @ q, axis1=-2, axis2=-1)
        if p.shape[-1] == 2:
            fidelity = fidelity + 2 * np.sqrt(np.linalg.det(p) * np.linalg.det(q))
        answer = answer - 2 * np.sqrt(fidelity)
    return cov_p, cov_q, answer


@factor.closed_form
def two_lines(rng, shape):
    """One direction each, spread over equal columns: |u|^2 + |v|^2 - 2 |u^T v|"""
    u, v = (rng.integers(-3, 4, s[:-1]).astype(float) for s in _shapes(shape))
    r, s = shape.axes["r"], shape.axes["s"]
    answer = r * (u * u).sum(axis=-1) + s * (v * v).sum(axis=-1)
    answer = answer - 2 * np.sqrt(r * s) * np.abs((u * v).sum(axis=-1))
    wide = u[..., None] * np.ones(r), v[..., None] * np.ones(s)
    return Case(wide), answer


@factor.closed_form
def known_map_of_factors(rng, shape):
    """S_q = A S_p, A symmetric positive definite, both with or without a column: |(A - I) S_p|^2"""
    low = rng.integers(-2, 3, shape.factor_p).astype(float)
    width = min(shape.factor_p[-1], shape.factor_q[-1])
    u = rng.integers(-1, 2, shape.factor_p[:-1]).astype(float)
    identity = np.eye(shape.axes["d"])
    a = 2 * identity + u[..., :, None] * u[..., None, :]
    low[..., width:] = 0.0
    high = np.zeros(shape.factor_q)
    high[..., :width] = (a @ low)[..., :width]
    move = (a - identity) @ low
    return Case((low, high)), (move * move).sum(axis=(-2, -1))
