"""Evidence for the Bures geometry: geodesics, metric, logarithm, exponential."""

from __future__ import annotations

import numpy as np

from refimpl.backend import eigvalsh, namespace
from refimpl.evidence import Budget, Case, Claim, Evidence, Sizes
from refimpl.evidence.gaussian.optimal_map import integer_map, mapped_pair
from refimpl.evidence.gaussian.shared import (
    SYMMETRIC_MATRIX,
    change_of_unit,
    covariance,
    diagonal_covariance,
    graded_units,
    integer_factor,
    recoordinated,
    rescale,
    symmetric_part,
    trace,
)
from refimpl.evidence.gaussian.transport import (
    diagonal,
    each_regime,
    generic,
    graded,
    near_equal,
    unlike_sizes,
)
from refimpl.evidence.gaussian.transport_laws import sensitivity
from refimpl.formula import upcast
from refimpl.gaussian.geodesic import (
    bures_exp,
    bures_log,
    bures_metric,
    displacement_interpolation,
)
from refimpl.gaussian.transport import wasserstein_squared

_SIZES = {"d": Sizes(1, 1, 6)}
_BUDGET = Budget(k=8.0, floor=16.0)

way = Evidence(displacement_interpolation, sizes=_SIZES, budget=_BUDGET)
metric = Evidence(
    bures_metric,
    sizes=_SIZES,
    budget=_BUDGET,
    unchanged={
        "tangent_x and tangent_y are swapped": "an inner product is symmetric",
    },
)
log = Evidence(
    bures_log,
    sizes=_SIZES,
    budget=_BUDGET,
    unchanged=SYMMETRIC_MATRIX,
)
exp = Evidence(
    bures_exp,
    sizes=_SIZES,
    budget=_BUDGET,
    unchanged=SYMMETRIC_MATRIX,
)


@way.output_terms
def _way_terms(mean_p, cov_p, mean_q, cov_q, *, time):
    return float((abs(mean_p) + abs(mean_q)).max()), float((trace(cov_p) + trace(cov_q)).max())


@log.output_terms
def _log_terms(cov_p, cov_q):
    return (float((trace(cov_p) + trace(cov_q)).max()),)


@exp.output_terms
def _exp_terms(cov, tangent):
    return (float(abs(cov).max() + abs(tangent).max()),)


# ------------------------------------------------------------------------------------------ regimes

each_regime(way, log)(generic)
each_regime(way, log)(diagonal)
each_regime(way, log, adversarial=True)(unlike_sizes)
each_regime(way, log, adversarial=True)(graded)
each_regime(way, adversarial=True, far=False)(near_equal)
each_regime(log, adversarial=True, advisory=True, far=False)(near_equal)


def _field(rng, shape):
    """Symmetric (..., d, d) of norm below 1/2, so that I + L is positive definite."""
    return symmetric_part(rng.uniform(-1, 1, shape)) / (2 * shape[-1])


def _velocity(cov, field):
    return cov @ field + field @ cov


@metric.regime
def unrelated(rng, shape):
    """Any symmetric tangents."""
    tangents = (symmetric_part(rng.standard_normal(s)) for s in (shape.tangent_x, shape.tangent_y))
    return Case((covariance(rng, shape.cov), *tangents))


@metric.regime
def squares(rng, shape):
    """One tangent twice: the square of its length."""
    tangent = symmetric_part(rng.standard_normal(shape.tangent_x))
    return Case((diagonal_covariance(rng, shape.cov), tangent, tangent.copy()))


@metric.regime(adversarial=True)
def graded_tangents(rng, shape):
    """Coordinates in units from 1/64 to 16."""
    units = graded_units(rng, shape.cov[:-1])
    tangents = (symmetric_part(rng.standard_normal(s)) for s in (shape.tangent_x, shape.tangent_y))
    cov, *others = (rescale(x, units) for x in (covariance(rng, shape.cov), *tangents))
    return Case((cov, *others))


@exp.regime
def short(rng, shape):
    """A velocity that ends well within its geodesic."""
    cov = covariance(rng, shape.cov)
    return Case((cov, _velocity(cov, _field(rng, shape.tangent))))


@exp.regime
def outward(rng, shape):
    """A long velocity that widens all directions."""
    cov = covariance(rng, shape.cov)
    field = _field(rng, shape.tangent) + np.eye(shape.axes["d"])
    return Case((cov, _velocity(cov, field)))


@exp.regime(adversarial=True)
def tiny(rng, shape):
    """A velocity of 1e-3 of the covariance."""
    cov = covariance(rng, shape.cov)
    return Case((cov, 2.0**-10 * _velocity(cov, _field(rng, shape.tangent))))


@exp.regime(adversarial=True)
def graded_velocity(rng, shape):
    """Coordinates in units from 1/64 to 16."""
    cov = covariance(rng, shape.cov)
    units = graded_units(rng, shape.cov[:-1])
    tangent = _velocity(cov, _field(rng, shape.tangent) / 8)
    return Case((rescale(cov, units), rescale(tangent, units)))


# -------------------------------------------------------------------------------- laws of geodesics


def _way_scale(mean_p, cov_p, mean_q, cov_q):
    means = 4 * (abs(mean_p).max(axis=-1) + abs(mean_q).max(axis=-1))
    covs = 4 * mean_p.shape[-1] * (trace(cov_p) + trace(cov_q))
    return means[..., None], covs[..., None, None]


def _claims(found, expected, scales):
    for left, right, scale in zip(found, expected, scales, strict=True):
        yield Claim(left, right + 0 * left, scale)


@way.law
def starts_at_p_and_ends_at_q(f, case):
    """At time 0 it is p, at time 1 it is q"""
    mean_p, cov_p, mean_q, cov_q = case.arrays
    scales = _way_scale(*case.arrays)
    time = case.options["time"]
    yield from _claims(f(*case.arrays, time=0 * time), (mean_p, cov_p), scales)
    yield from _claims(f(*case.arrays, time=0 * time + 1), (mean_q, cov_q), scales)


@way.law
def goes_back_the_same_way(f, case):
    """From q to p it is at 1 - t where from p to q it is at t"""
    mean_p, cov_p, mean_q, cov_q = case.arrays
    time = case.options["time"]
    back = f(mean_q, cov_q, mean_p, cov_p, time=1 - time)
    yield from _claims(back, f(*case.arrays, time=time), _way_scale(*case.arrays))


@way.law
def moves_at_constant_speed(f, case):
    """W(p, r) = t W(p, q) and W(r, q) = (1 - t) W(p, q) for r at time t"""
    mean_p, cov_p, mean_q, cov_q = map(upcast, case.arrays)
    time = upcast(case.options["time"])
    whole = wasserstein_squared(mean_p, cov_p, mean_q, cov_q)
    mean_r, cov_r = map(upcast, f(*case.arrays, **case.options))
    mean_r, cov_r = mean_r + 0 * mean_p, cov_r + 0 * cov_p
    size = whole + trace(cov_p) + trace(cov_q) + (mean_p**2 + mean_q**2).sum(axis=-1)
    scale = 8 * size + sensitivity(cov_p, cov_r) + sensitivity(cov_q, cov_r)
    first = wasserstein_squared(mean_p, cov_p, mean_r, cov_r)
    yield Claim(first, time**2 * whole, scale)
    second = wasserstein_squared(mean_r, cov_r, mean_q, cov_q)
    yield Claim(second, (1 - time) ** 2 * whole, scale)


@way.law
def is_narrower_than_the_mixture(f, case):
    """S_t <= (1 - t) S_p + t S_q, in every direction"""
    _, cov_p, _, cov_q = map(upcast, case.arrays)
    time = upcast(case.options["time"])[..., None, None]
    cov = upcast(f(*case.arrays, **case.options)[1])
    smallest = eigvalsh((1 - time) * cov_p + time * cov_q - cov)[..., 0]
    scale = 8 * cov.shape[-1] * (trace(cov_p) + trace(cov_q))
    yield Claim(namespace(smallest).minimum(smallest, 0), 0 * smallest, scale)


@way.law
def follows_signs_and_order(f, case):
    """In permuted coordinates with signs, and twice the unit, it is the same way"""
    mean_p, cov_p, mean_q, cov_q = case.arrays
    units, order = change_of_unit(mean_p)
    units = 2 * namespace(units).sign(units)
    mean, cov = f(*case.arrays, **case.options)
    moved = f(
        (mean_p * units)[..., order],
        recoordinated(cov_p, units, order),
        (mean_q * units)[..., order],
        recoordinated(cov_q, units, order),
        **case.options,
    )
    expected = (mean * units)[..., order], recoordinated(cov, units, order)
    yield from _claims(moved, expected, (4 * s for s in _way_scale(*case.arrays)))


# ------------------------------------------------------------------------------------- closed forms


@way.closed_form
def independent_coordinates(rng, shape):
    """Diagonal covariances: deviations move linearly"""
    case = _with_time(
        rng, shape, *(diagonal_covariance(rng, s) for s in (shape.cov_p, shape.cov_q))
    )
    mean_p, cov_p, mean_q, cov_q = case.arrays
    t = case.options["time"]
    roots = (1 - t[..., None, None]) * np.sqrt(cov_p) + t[..., None, None] * np.sqrt(cov_q)
    return case, ((1 - t[..., None]) * mean_p + t[..., None] * mean_q, roots**2)


@way.closed_form(slack=128.0)
def known_map(rng, shape):
    """S_q = A S_p A with integers: M S_p M with M = (1 - t) I + t A"""
    cov_p, a, cov_q = mapped_pair(rng, (shape.cov_p, shape.cov_q))
    case = _with_time(rng, shape, cov_p, cov_q)
    t = case.options["time"]
    step = np.eye(shape.axes["d"]) + t[..., None, None] * (a - np.eye(shape.axes["d"]))
    mean = (1 - t[..., None]) * case.arrays[0] + t[..., None] * case.arrays[2]
    return case, (mean, step @ cov_p @ step)


def _with_time(rng, shape, cov_p, cov_q):
    means = (rng.integers(-3, 4, s).astype(float) for s in (shape.mean_p, shape.mean_q))
    time = rng.integers(0, 5, shape.time) / 4
    return Case((next(means), cov_p, next(means), cov_q), {"time": np.asarray(time)})


@metric.closed_form
def at_the_identity(rng, shape):
    """At the identity: tr(X Y)/4"""
    x, y = (symmetric_part(rng.standard_normal(s)) for s in (shape.tangent_x, shape.tangent_y))
    cov = np.broadcast_to(np.eye(shape.axes["d"]), shape.cov).copy()
    return Case((cov, x, y)), (x * y).sum(axis=(-2, -1)) / 4


@metric.closed_form
def at_variances(rng, shape):
    """At a diagonal covariance: the sum of X_ij Y_ij/(v_i + v_j)/2"""
    x, y = (symmetric_part(rng.standard_normal(s)) for s in (shape.tangent_x, shape.tangent_y))
    cov = diagonal_covariance(rng, shape.cov)
    v = np.diagonal(cov, axis1=-2, axis2=-1)
    terms = x * y / (v[..., :, None] + v[..., None, :])
    return Case((cov, x, y)), terms.sum(axis=(-2, -1)) / 2


@metric.closed_form
def known_field(rng, shape):
    """X = S L + L S with integers: tr(L Y)/2"""
    low = integer_factor(rng, shape.cov)
    cov = low @ low.swapaxes(-1, -2)
    field, y = (integer_map(rng, s) for s in (shape.tangent_x, shape.tangent_y))
    return Case((cov, cov @ field + field @ cov, y)), (field * y).sum(axis=(-2, -1)) / 2


@log.closed_form(slack=128.0)
def known_map_of_log(rng, shape):
    """S_q = A S_p A with integers: (A - I) S_p + S_p (A - I)"""
    cov_p, a, cov_q = mapped_pair(rng, (shape.cov_p, shape.cov_q))
    move = a - np.eye(shape.axes["d"])
    return Case((cov_p, cov_q)), move @ cov_p + cov_p @ move


@log.closed_form
def variances_apart(rng, shape):
    """Diagonal covariances: twice the deviation times its change"""
    cov_p, cov_q = (diagonal_covariance(rng, s) for s in (shape.cov_p, shape.cov_q))
    return Case((cov_p, cov_q)), 2 * (np.sqrt(cov_p * cov_q) - cov_p)


@exp.closed_form
def known_velocity(rng, shape):
    """X = S L + L S with integers: (I + L) S (I + L)"""
    low = integer_factor(rng, shape.cov)
    cov, field = low @ low.swapaxes(-1, -2), integer_map(rng, shape.tangent)
    step = field + np.eye(shape.axes["d"])
    return Case((cov, cov @ field + field @ cov)), step @ cov @ step


@exp.closed_form
def variances_moving(rng, shape):
    """Diagonal covariance v and velocity x: (v + x/2)^2/v"""
    cov = diagonal_covariance(rng, shape.cov)
    velocity = cov * rng.uniform(-1, 3, (*shape.tangent[:-1], 1)) * np.eye(shape.axes["d"])
    v, x = (np.diagonal(z, axis1=-2, axis2=-1) for z in (cov, velocity))
    answer = np.eye(shape.axes["d"]) * ((v + x / 2) ** 2 / v)[..., None, :]
    return Case((cov, velocity)), answer
