"""Wrong variants of the Bures geometry: neighbouring geometries, and slips in this one."""

from __future__ import annotations

from refimpl.backend import eigh, namespace, solve
from refimpl.core import symmetric_part
from refimpl.evidence.gaussian.geodesic import exp, log, metric, way
from refimpl.evidence.gaussian.shared import identity_of, matrix_of_map, off_diagonal_doubled, power
from refimpl.evidence.mistakes import Textbook, wrong
from refimpl.gaussian.geodesic import (
    bures_log,
    displacement_interpolation,
)

# ---------------------------------------------------------------------------------------- geodesics


def _mean(mean_p, mean_q, t):
    return (1 - t[..., 0]) * mean_p + t[..., 0] * mean_q


def _terms(mean_p, cov_p, mean_q, cov_q, time):
    """The mean and the covariance on the way, and the time as a matrix."""
    t = time[..., None, None]
    return {"mean": _mean(mean_p, mean_q, t), "cov": _true(cov_p, cov_q, t), "t": t}


def _true(cov_p, cov_q, t):
    step = (1 - t) * identity_of(cov_p) + t * matrix_of_map(cov_p, cov_q)
    return step @ cov_p @ step


def _powers(cov_p, cov_q, t):
    root = (1 - t) * power(cov_p, 0.5) + t * power(cov_q, 0.5)
    return root @ root


def _geometric(cov_p, cov_q, t):
    values_p, basis_p = eigh(cov_p)
    root, inverse = power(cov_p, 0.5), power(cov_p, -0.5)
    values, basis = eigh(symmetric_part(inverse @ cov_q @ inverse))
    xp = namespace(values)
    middle = (basis * xp.maximum(values, 1e-30)[..., None, :] ** t) @ basis.swapaxes(-1, -2)
    return root @ middle @ root


book = Textbook(way, _terms, lambda mean, cov, t: (mean, cov))
book.wrong(
    "the covariances move linearly, as those of a mixture with equal means",
    cov=lambda s: (1 - s.t) * s.cov_p + s.t * s.cov_q,
)
book.wrong(
    "the square roots of the covariances move linearly, as if they commuted",
    cov=lambda s: _powers(s.cov_p, s.cov_q, s.t),
)
book.wrong(
    "the way is the geodesic of the affine-invariant geometry",
    cov=lambda s: _geometric(s.cov_p, s.cov_q, s.t),
)
book.wrong(
    "x and y are independent: the cross-covariance is missing",
    cov=lambda s: (1 - s.t) ** 2 * s.cov_p + s.t**2 * s.cov_q,
)
book.wrong(
    "M is I + t A instead of (1 - t) I + t A",
    cov=lambda s: (
        s.cov
        + (2 - s.t) * s.t * s.cov_p
        + 2 * s.t**2 * symmetric_part(s.cov_p @ matrix_of_map(s.cov_p, s.cov_q))
    ),
)
book.wrong("time runs from q to p", cov=lambda s: _true(s.cov_p, s.cov_q, 1 - s.t))
book.wrong(
    "the map acts on one side only: M S_p",
    cov=lambda s: symmetric_part(
        ((1 - s.t) * identity_of(s.cov_p) + s.t * matrix_of_map(s.cov_p, s.cov_q)) @ s.cov_p
    ),
)
book.wrong("the mean moves from q to p", mean=lambda s: _mean(s.mean_q, s.mean_p, s.t))
book.wrong("the mean stays at p", mean=lambda s: s.mean_p + 0 * s.mean)
wrong(
    way,
    "the gradients in the covariances count each off-diagonal entry twice",
    gradient={"cov_p": off_diagonal_doubled, "cov_q": off_diagonal_doubled},
)


@way.mutant(gradient=True)
def way_gradient_without_cross_term(g, mean_p, cov_p, mean_q, cov_q, /, *, time):
    """the gradients in the covariances ignore the cross-covariance"""
    found = displacement_interpolation.vjp(g, mean_p, cov_p, mean_q, cov_q, time=time)
    t, g_cov = time[..., None, None], symmetric_part(g[1])
    return found[0], (1 - t) ** 2 * g_cov, found[2], t * t * g_cov, found[4]


@way.mutant(gradient=True)
def way_gradient_swapped(g, mean_p, cov_p, mean_q, cov_q, /, *, time):
    """the gradients have the weights of the other end"""
    found = displacement_interpolation.vjp(g, mean_q, cov_q, mean_p, cov_p, time=time)
    return found[2], found[3], found[0], found[1], found[4]


# ------------------------------------------------------------------------------------------- metric


def _solved(cov, tangent, weight):
    """The tangent over weight(l_i, l_j) in the eigenbasis of the covariance."""
    values, basis = eigh(cov)
    values = namespace(values).maximum(values, 1e-30)
    turned = basis.swapaxes(-1, -2) @ tangent @ basis
    solved = turned / weight(values[..., :, None], values[..., None, :])
    return basis @ solved @ basis.swapaxes(-1, -2)


def _sum(a, b):
    return a + b


def _pairing(left, right):
    return (left * right).sum(axis=(-2, -1))


wrong(metric, "the factor is 1/4 instead of 1/2", output=lambda y: y / 2)


@metric.mutant
def euclidean(cov, tangent_x, tangent_y, /):
    """the metric is the Euclidean tr(X Y)"""
    return _pairing(tangent_x, tangent_y + 0 * cov)


@metric.mutant
def fisher(cov, tangent_x, tangent_y, /):
    """the metric is that of Fisher and Rao: tr(S^{-1} X S^{-1} Y)/2"""
    return _pairing(_solved(cov, tangent_x, lambda a, b: a * b), tangent_y) / 2


@metric.mutant
def geometric_mean_of_eigenvalues(cov, tangent_x, tangent_y, /):
    """l_i + l_j is replaced by 2 sqrt(l_i l_j): X is divided by roots of S"""
    return _pairing(_solved(cov, tangent_x, lambda a, b: 2 * (a * b) ** 0.5), tangent_y) / 2


@metric.mutant
def one_sided_solution(cov, tangent_x, tangent_y, /):
    """L is S^{-1} X/2: the Lyapunov equation is solved as if S and X commuted"""
    return _pairing(solve(cov, tangent_x), tangent_y) / 4


@metric.mutant
def fields_without_covariance(cov, tangent_x, tangent_y, /):
    """the covariance between the two fields is missing: tr(L_X L_Y)"""
    return _pairing(_solved(cov, tangent_x, _sum), _solved(cov, tangent_y, _sum))


wrong(
    metric,
    "the gradients count each off-diagonal entry twice",
    gradient=lambda found, arrays, options: map(off_diagonal_doubled, found),
)

# ---------------------------------------------------------------------------------------- logarithm


@log.mutant
def difference(cov_p, cov_q, /):
    """the velocity is the difference S_q - S_p"""
    return cov_q - cov_p


@log.mutant
def identity_missing(cov_p, cov_q, /):
    """A stands where A - I belongs"""
    a = matrix_of_map(cov_p, cov_q)
    return 2 * symmetric_part(a @ cov_p)


@log.mutant
def one_side_only(cov_p, cov_q, /):
    """the two sides are not added: (A - I) S_p"""
    return (matrix_of_map(cov_p, cov_q) - identity_of(cov_p)) @ cov_p


@log.mutant
def back_map(cov_p, cov_q, /):
    """the map is that from q to p"""
    return 2 * symmetric_part((matrix_of_map(cov_q, cov_p) - identity_of(cov_p)) @ cov_p)


@log.mutant
def field_itself(cov_p, cov_q, /):
    """the result is the field A - I, not the velocity that it gives"""
    return matrix_of_map(cov_p, cov_q) - identity_of(cov_p)


@log.mutant
def affine_invariant_log(cov_p, cov_q, /):
    """the logarithm is that of the affine-invariant geometry"""
    root, inverse = power(cov_p, 0.5), power(cov_p, -0.5)
    values, basis = eigh(symmetric_part(inverse @ cov_q @ inverse))
    xp = namespace(values)
    logs = xp.log(xp.maximum(values, 1e-30))
    return root @ (basis * logs[..., None, :]) @ basis.swapaxes(-1, -2) @ root


@log.mutant(gradient=True)
def log_gradient_without_base(g, cov_p, cov_q, /):
    """the gradient in cov_p lacks the term of -2 S_p"""
    dcov_p, dcov_q = bures_log.vjp(g, cov_p, cov_q)
    return dcov_p + 2 * symmetric_part(g), dcov_q


@log.mutant(gradient=True)
def log_gradient_of_the_difference(g, cov_p, cov_q, /):
    """the gradients are those of S_q - S_p, which are right at equality only"""
    g = symmetric_part(g) + 0 * (cov_p + cov_q)
    return -g, g


wrong(
    log,
    "the gradients count each off-diagonal entry twice",
    gradient=lambda found, arrays, options: map(off_diagonal_doubled, found),
)

# -------------------------------------------------------------------------------------- exponential


def _end(cov, field):
    return cov + 2 * symmetric_part(cov @ field) + field @ cov @ field


@exp.mutant
def first_order(cov, tangent, /):
    """the second order is missing: S + X"""
    return cov + tangent


@exp.mutant
def second_order_doubled(cov, tangent, /):
    """L S L is counted twice"""
    field = _solved(cov, tangent, _sum)
    return cov + tangent + 2 * field @ cov @ field


@exp.mutant
def second_order_sign(cov, tangent, /):
    """L S L has the wrong sign"""
    field = _solved(cov, tangent, _sum)
    return cov + tangent - field @ cov @ field


@exp.mutant
def backward(cov, tangent, /):
    """the velocity has the wrong sign"""
    return _end(cov, -_solved(cov, tangent, _sum))


@exp.mutant
def field_not_solved(cov, tangent, /):
    """the tangent is taken for the field L"""
    return _end(cov, tangent + 0 * cov)


@exp.mutant
def field_of_commuting(cov, tangent, /):
    """L is S^{-1} X/2, as if S and X commuted"""
    return _end(cov, symmetric_part(solve(cov, tangent)) / 2)


@exp.mutant
def affine_invariant_exp(cov, tangent, /):
    """the exponential is that of the affine-invariant geometry"""
    root, inverse = power(cov, 0.5), power(cov, -0.5)
    values, basis = eigh(symmetric_part(inverse @ tangent @ inverse))
    grown = namespace(values).exp(values)
    return root @ (basis * grown[..., None, :]) @ basis.swapaxes(-1, -2) @ root


@exp.mutant(gradient=True)
def exp_gradient_first_order(g, cov, tangent, /):
    """the gradients are those of S + X"""
    g = symmetric_part(g) + 0 * (cov + tangent)
    return g, g


wrong(
    exp,
    "the gradients count each off-diagonal entry twice",
    gradient=lambda found, arrays, options: map(off_diagonal_doubled, found),
)
