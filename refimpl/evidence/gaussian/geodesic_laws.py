"""Laws of the Bures metric, its logarithm and its exponential."""

from __future__ import annotations

from refimpl.backend import eigvalsh, namespace
from refimpl.evidence import Claim
from refimpl.evidence.gaussian.geodesic import exp, log, metric
from refimpl.evidence.gaussian.shared import change_of_unit, recoordinated, symmetric_part, trace
from refimpl.evidence.gaussian.transport_laws import sensitivity
from refimpl.formula import upcast
from refimpl.gaussian.geodesic import (
    bures_exp,
    bures_log,
    bures_metric,
    displacement_interpolation,
)
from refimpl.gaussian.transport import bures_squared

# ------------------------------------------------------------------------------- laws of the metric


def _metric_scale(cov, tangent_x, tangent_y):
    """The sum of all terms' sizes, over twice the smallest eigenvalue."""
    sizes = (upcast((x * x).sum(axis=(-2, -1))) for x in (tangent_x, tangent_y))
    xp = namespace(cov)
    smallest = xp.maximum(abs(eigvalsh(upcast(cov))[..., 0]), 1e-30)
    return 8 * xp.sqrt(next(sizes)) * xp.sqrt(next(sizes)) / smallest


@metric.law
def is_symmetric(f, case):
    """g(X, Y) = g(Y, X)"""
    cov, x, y = case.arrays
    yield Claim(f(cov, x, y), f(cov, y, x), _metric_scale(*case.arrays))


@metric.law
def is_bilinear(f, case):
    """g(X + Y, X + Y) - g(X - Y, X - Y) = 4 g(X, Y)"""
    cov, x, y = case.arrays
    polar = f(cov, x + y, x + y) - f(cov, x - y, x - y)
    scale = _metric_scale(*case.arrays)
    scale = scale + _metric_scale(cov, x, x) + _metric_scale(cov, y, y)
    yield Claim(polar, 4 * f(cov, x, y), 4 * scale)


@metric.law
def pairs_a_field_with_a_tangent(f, case):
    """For X = S L + L S, with a known L, g(X, Y) = tr(L Y)/2"""
    cov, x, y = case.arrays
    velocity = symmetric_part(cov @ x + x @ cov)
    value = f(cov, velocity, y)
    scale = _metric_scale(cov, velocity, y)
    yield Claim(value, 0.5 * (upcast(x) * upcast(y)).sum(axis=(-2, -1)), scale)


@metric.law
def squared_length_is_not_negative(f, case):
    """g(X, X) >= 0, and is 0 for X = 0"""
    cov, x, _ = case.arrays
    value = f(cov, x, x)
    yield Claim(namespace(value).minimum(value, 0), 0 * value, _metric_scale(cov, x, x))
    yield Claim(f(cov, 0 * x, x), 0 * value, _metric_scale(cov, x, x))


@metric.law
def follows_unit_signs_and_order(f, case):
    """g is invariant under signed permutations, and g_{4 S}(4 X, 4 Y) = 4 g_S(X, Y)"""
    units, order = change_of_unit(case.arrays[0])
    units = 2 * namespace(units).sign(units)
    moved = f(*(recoordinated(x, units, order) for x in case.arrays))
    yield Claim(moved, 4 * f(*case.arrays), 4 * _metric_scale(*case.arrays))


# ------------------------------------------------------------------- laws of logarithm, exponential


def _log_scale(cov_p, cov_q):
    return 8 * cov_p.shape[-1] * upcast(trace(cov_p) + trace(cov_q))


@log.law
def vanishes_at_equality(f, case):
    """log_p p = 0"""
    for cov in case.arrays:
        velocity = f(cov, cov)
        yield Claim(velocity, 0 * velocity, _log_scale(cov, cov)[..., None, None])


@log.law
def is_as_long_as_the_way(f, case):
    """g_p(log_p q, log_p q) = B^2(p, q)"""
    cov_p, cov_q = map(upcast, case.arrays)
    velocity = upcast(f(*case.arrays))
    length = bures_metric(cov_p, velocity, velocity)
    lost = sensitivity(cov_p, cov_p) * abs(velocity).max(axis=(-2, -1)) / trace(cov_p)
    scale = _log_scale(cov_p, cov_q) + cov_p.shape[-1] * (lost + sensitivity(cov_p, cov_q))
    big = namespace(scale).maximum(scale, _metric_scale(cov_p, velocity, velocity))
    yield Claim(length, bures_squared(cov_p, cov_q), big)


@log.law
def leads_towards_q(f, case):
    """exp_p of half of log_p q is halfway between p and q"""
    cov_p, cov_q = map(upcast, case.arrays)
    velocity = upcast(f(*case.arrays))
    values = abs(eigvalsh(cov_p))
    loss = values[..., -1] / values[..., 0] * (1 + trace(cov_q) / values[..., 0]) ** 0.5
    # Halfway, as rounding may take the velocity beyond the end of its geodesic.
    reached = bures_exp(cov_p, velocity * 0.5)
    half = displacement_interpolation(0 * cov_p[..., 0], cov_p, 0 * cov_p[..., 0], cov_q, time=0.5)
    scale = _log_scale(cov_p, cov_q) * (1 + loss)
    yield Claim(reached, half[1] + 0 * reached, scale[..., None, None])


@log.law
def traces_give_the_distance(f, case):
    """tr log_p q = tr S_q - tr S_p - B^2(p, q)"""
    cov_p, cov_q = map(upcast, case.arrays)
    value = upcast(trace(f(*case.arrays)))
    expected = trace(cov_q) - trace(cov_p) - bures_squared(cov_p, cov_q)
    yield Claim(value, expected, _log_scale(cov_p, cov_q))


@log.law
def scales_and_permutes(f, case):
    """In permuted coordinates with signs, and twice the unit, the velocity is the same"""
    units, order = change_of_unit(case.arrays[0])
    units = 2 * namespace(units).sign(units)
    moved = f(*(recoordinated(x, units, order) for x in case.arrays))
    expected = recoordinated(f(*case.arrays), units, order)
    yield Claim(moved, expected, 4 * _log_scale(*case.arrays)[..., None, None])


def _exp_scale(cov, tangent):
    """What rounding of the field L = O(X / smallest eigenvalue) does to L S L."""
    values = abs(eigvalsh(upcast(cov)))
    length = upcast(abs(tangent)).max(axis=(-2, -1)) / values[..., 0]
    return 8 * cov.shape[-1] * values[..., -1] * (1 + length) ** 2


@exp.law
def stays_without_velocity(f, case):
    """exp_p 0 = p"""
    cov, tangent = case.arrays
    yield Claim(
        f(cov, 0 * tangent), cov + 0 * tangent, _exp_scale(cov, 0 * tangent)[..., None, None]
    )


@exp.law
def is_carried_by_the_field(f, case):
    """For X = S L + L S, with a known L, exp X = (I + L) S (I + L)"""
    cov, tangent = case.arrays
    size = 4 * abs(tangent).max(axis=(-2, -1), keepdims=True) * tangent.shape[-1]
    field = tangent / size
    velocity = symmetric_part(cov @ field + field @ cov)
    near, wide = upcast(field), upcast(cov)
    step = near + namespace(near).eye(near.shape[-1], dtype=near.dtype)
    scale = _exp_scale(cov, velocity)[..., None, None]
    yield Claim(f(cov, velocity), step @ wide @ step, scale)


@exp.law
def goes_as_far_as_the_velocity_is_long(f, case):
    """B^2(S, exp X) = g(X, X)"""
    cov, tangent = map(upcast, case.arrays)
    reached = symmetric_part(upcast(f(*case.arrays)))
    length = bures_metric(cov, tangent, tangent)
    scale = _exp_scale(cov, tangent) + cov.shape[-1] * sensitivity(cov, reached)
    big = namespace(scale).maximum(scale, _metric_scale(cov, tangent, tangent))
    yield Claim(bures_squared(cov, reached), length, big)


@exp.law
def is_left_again_by_the_logarithm(f, case):
    """log_p exp_p X = X"""
    cov, tangent = map(upcast, case.arrays)
    reached = symmetric_part(upcast(f(*case.arrays)))
    values = abs(eigvalsh(cov))
    loss = (values[..., -1] / values[..., 0]) ** 0.5
    scale = _exp_scale(cov, tangent) * (1 + loss)
    yield Claim(bures_log(cov, reached), tangent + 0 * reached, scale[..., None, None])
