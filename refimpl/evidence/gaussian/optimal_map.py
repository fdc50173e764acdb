"""Evidence for the optimal map and the optimal cross-covariance of two Gaussians."""

from __future__ import annotations

import numpy as np

from refimpl.backend import eigvalsh, namespace
from refimpl.evidence import Budget, Case, Claim, Evidence, Sizes
from refimpl.evidence.gaussian.shared import (
    change_of_unit,
    diagonal_covariance,
    integer_factor,
    recoordinated,
    trace,
    uncoupled,
)
from refimpl.evidence.gaussian.transport import (
    diagonal,
    each_regime,
    generic,
    graded,
    near_equal,
    unlike_sizes,
)
from refimpl.formula import upcast
from refimpl.gaussian.optimal_map import optimal_cross_covariance, transport_map
from refimpl.gaussian.transport import bures_squared, wasserstein_squared

_SIZES = {"d": Sizes(1, 1, 6)}

map_ = Evidence(transport_map, sizes=_SIZES, budget=Budget(k=8.0, floor=16.0))
cross = Evidence(optimal_cross_covariance, sizes=_SIZES, budget=Budget(k=8.0, floor=16.0))

each_regime(map_, cross)(generic)
each_regime(map_, cross)(diagonal)
each_regime(map_, cross, adversarial=True)(unlike_sizes)
each_regime(map_, cross, adversarial=True)(graded)
each_regime(map_, cross, adversarial=True, far=False)(near_equal)


@map_.output_terms
def _map_terms(mean_p, cov_p, mean_q, cov_q):
    matrix, _ = transport_map(mean_p, cov_p, mean_q, cov_q)
    moved = (abs(matrix) @ abs(mean_p)[..., None]).max()
    return float(abs(matrix).max()), float(moved + abs(mean_q).max())


@cross.output_terms
def _cross_terms(cov_p, cov_q):
    return (float(np.sqrt((trace(cov_p) * trace(cov_q)).max())),)


# ---------------------------------------------------------------------------------- laws of the map


def _condition(cov):
    """The root of the condition number, with which errors of the map grow."""
    values = abs(eigvalsh(upcast(cov)))
    return namespace(values).sqrt(values[..., -1] / values[..., 0])


def _map_scale(matrix, cov_p):
    """What rounding errors of the map's entries are relative to."""
    size = abs(upcast(matrix)).max(axis=(-2, -1))
    return 8 * matrix.shape[-1] * _condition(cov_p) * size


@map_.law
def carries_p_to_q(f, case):
    """A S_p A = S_q, and A mean_p + b = mean_q"""
    mean_p, cov_p, mean_q, cov_q = map(upcast, case.arrays)
    matrix, offset = map(upcast, f(*case.arrays))
    size = abs(matrix).sum(axis=(-2, -1))
    scale = (8 * size * size * trace(cov_p))[..., None, None]
    yield Claim(matrix @ cov_p @ matrix, cov_q + 0 * matrix, scale)
    moved = (matrix @ mean_p[..., None])[..., 0] + offset
    reach = 8 * (size * abs(mean_p).max(axis=-1) + abs(mean_q).max(axis=-1))
    yield Claim(moved, mean_q + 0 * moved, reach[..., None])


@map_.law
def is_the_gradient_of_a_convex_function(f, case):
    """A is symmetric, and x^T A x is not negative: the map is monotone (Brenier)"""
    matrix, _ = map(upcast, f(*case.arrays))
    size = abs(matrix).max(axis=(-2, -1))
    yield Claim(matrix, matrix.swapaxes(-1, -2), 8 * size[..., None, None])
    smallest = eigvalsh(matrix)[..., 0]
    scale = _map_scale(matrix, case.arrays[1])
    yield Claim(namespace(size).minimum(smallest, 0), 0 * smallest, scale)


@map_.law
def pays_the_least_cost(f, case):
    """E|x - T(x)|^2 = |mean_p - mean_q|^2 + tr (A - I) S_p (A - I) is W_2^2"""
    mean_p, cov_p, mean_q, cov_q = map(upcast, case.arrays)
    matrix, offset = map(upcast, f(*case.arrays))
    gap = (matrix @ mean_p[..., None])[..., 0] + offset - mean_p
    move = matrix - namespace(matrix).eye(matrix.shape[-1], dtype=matrix.dtype)
    cost = (gap * gap).sum(axis=-1) + trace(move @ cov_p @ move)
    size = abs(matrix).sum(axis=(-2, -1)) + 1
    reach = size * size * (trace(cov_p) + (mean_p * mean_p).sum(axis=-1))
    expected = wasserstein_squared(mean_p, cov_p, mean_q, cov_q)
    yield Claim(cost, expected, 16 * (reach + trace(cov_q) + (mean_q * mean_q).sum(axis=-1)))


@map_.law
def the_way_back_is_the_inverse(f, case):
    """The matrices of the maps from p to q and from q to p multiply to I"""
    mean_p, cov_p, mean_q, cov_q = case.arrays
    there, back = upcast(f(*case.arrays)[0]), upcast(f(mean_q, cov_q, mean_p, cov_p)[0])
    product = there @ back
    scale = _map_scale(there, cov_p) * abs(back).max(axis=(-2, -1))
    scale = scale + _map_scale(back, cov_q) * abs(there).max(axis=(-2, -1))
    identity = namespace(product).eye(product.shape[-1], dtype=product.dtype)
    yield Claim(product, identity + 0 * product, scale[..., None, None])


@map_.law
def nothing_moves_at_equality(f, case):
    """From p to p the map is the identity"""
    mean_p, cov_p, _, _ = case.arrays
    matrix, offset = f(mean_p, cov_p, mean_p, cov_p)
    identity = namespace(matrix).eye(matrix.shape[-1], dtype=matrix.dtype)
    scale = _map_scale(matrix, cov_p)
    yield Claim(matrix, identity + 0 * matrix, scale[..., None, None])
    yield Claim(offset, 0 * offset, (scale * abs(mean_p).sum(axis=-1))[..., None])


@map_.law
def follows_signs_order_and_unit(f, case):
    """In permuted coordinates with signs and another common unit the map is the same"""
    mean_p, cov_p, mean_q, cov_q = case.arrays
    units, order = change_of_unit(mean_p)
    units = 2 * namespace(units).sign(units)
    matrix, offset = f(*case.arrays)
    moved = f(
        (mean_p * units)[..., order],
        recoordinated(cov_p, units, order),
        (mean_q * units)[..., order],
        recoordinated(cov_q, units, order),
    )
    scale = _map_scale(matrix, cov_p)
    yield Claim(moved[0], recoordinated(matrix, units, order) / 4, scale[..., None, None])
    reach = scale * abs(mean_p).sum(axis=-1) + 8 * abs(mean_q).max(axis=-1)
    yield Claim(moved[1], (offset * units)[..., order], 2 * reach[..., None])


# --------------------------------------------------------------------- laws of the cross-covariance


def _cross_scale(cov_p, cov_q):
    product = upcast(trace(cov_p)) * upcast(trace(cov_q))
    return 16 * namespace(product).sqrt(product)


@cross.law
def attains_the_transport_cost(f, case):
    """tr S_p + tr S_q - 2 tr C is the squared Bures distance"""
    cov_p, cov_q = map(upcast, case.arrays)
    value = trace(cov_p) + trace(cov_q) - 2 * upcast(trace(f(*case.arrays)))
    scale = _cross_scale(cov_p, cov_q) + 8 * (trace(cov_p) + trace(cov_q))
    yield Claim(value, bures_squared(cov_p, cov_q), scale)


@cross.law
def is_feasible(f, case):
    """The joint covariance of x and y has no negative eigenvalue"""
    cov_p, cov_q = map(upcast, case.arrays)
    xp = namespace(cov_p)
    c = upcast(f(*case.arrays))
    cov_p, cov_q = cov_p + 0 * c, cov_q + 0 * c
    top = xp.concatenate([cov_p, c], axis=-1)
    bottom = xp.concatenate([c.swapaxes(-1, -2), cov_q], axis=-1)
    smallest = eigvalsh(xp.concatenate([top, bottom], axis=-2))[..., 0]
    scale = _cross_scale(cov_p, cov_q) + 8 * (trace(cov_p) + trace(cov_q))
    yield Claim(xp.minimum(smallest, 0), 0 * smallest, scale)


@cross.law
def is_the_root_of_the_product(f, case):
    """C C = S_p S_q"""
    cov_p, cov_q = map(upcast, case.arrays)
    c = upcast(f(*case.arrays))
    scale = _cross_scale(cov_p, cov_q) * abs(c).sum(axis=(-2, -1)) + trace(cov_p) * trace(cov_q)
    yield Claim(c @ c, cov_p @ cov_q, 4 * scale[..., None, None])


@cross.law
def the_transposed_is_that_of_q_and_p(f, case):
    """C(q, p) = C(p, q)^T"""
    cov_p, cov_q = case.arrays
    c, other = f(cov_p, cov_q), f(cov_q, cov_p)
    yield Claim(other, c.swapaxes(-1, -2), _cross_scale(cov_p, cov_q)[..., None, None])


@cross.law
def is_the_covariance_at_equality(f, case):
    """C(p, p) = S_p: x = y"""
    cov, _ = case.arrays
    yield Claim(f(cov, cov), cov, _cross_scale(cov, cov)[..., None, None])


@cross.law
def uncorrelated_blocks_stay_so(f, case):
    """Without correlation between two blocks of coordinates C has none, and is theirs"""
    cov_p, cov_q = case.arrays
    k = cov_p.shape[-1] // 2
    if k == 0:
        return
    whole = f(uncoupled(cov_p, k), uncoupled(cov_q, k))
    scale = _cross_scale(cov_p, cov_q)[..., None, None]
    yield Claim(whole, uncoupled(whole, k), scale)
    yield Claim(whole[..., :k, :k], f(cov_p[..., :k, :k], cov_q[..., :k, :k]), scale)


@cross.law
def scales_with_the_deviations(f, case):
    """C(4 S_p, S_q) = 2 C(S_p, S_q)"""
    cov_p, cov_q = case.arrays
    scale = 2 * _cross_scale(cov_p, cov_q)[..., None, None]
    yield Claim(f(4 * cov_p, cov_q), 2 * f(cov_p, cov_q), scale)


# ------------------------------------------------------------------------------------- closed forms


def integer_map(rng, shape):
    """2 I + u u^T with u of -1, 0, 1: symmetric positive definite (..., d, d), in integers."""
    u = rng.integers(-1, 2, shape[:-1]).astype(float)
    return 2 * np.eye(shape[-1]) + u[..., :, None] * u[..., None, :]


def mapped_pair(rng, shapes):
    """Integer S_p, A, and S_q = A S_p A."""
    low = integer_factor(rng, shapes[0])
    cov_p, a = low @ low.swapaxes(-1, -2), integer_map(rng, shapes[0])
    return cov_p, a, a @ cov_p @ a


def _means(rng, shape):
    return tuple(rng.integers(-3, 4, s).astype(float) for s in (shape.mean_p, shape.mean_q))


@map_.closed_form(slack=128.0)
def known_map(rng, shape):
    """S_q = A S_p A with integers, A symmetric positive definite: A"""
    cov_p, a, cov_q = mapped_pair(rng, (shape.cov_p, shape.cov_q))
    mean_p, mean_q = _means(rng, shape)
    return Case((mean_p, cov_p, mean_q, cov_q)), (a, mean_q - (a @ mean_p[..., None])[..., 0])


@map_.closed_form
def independent_coordinates(rng, shape):
    """Diagonal covariances: ratios of deviations"""
    cov_p, cov_q = (diagonal_covariance(rng, s) for s in (shape.cov_p, shape.cov_q))
    mean_p, mean_q = _means(rng, shape)
    variances = (np.diagonal(cov, axis1=-2, axis2=-1) for cov in (cov_q, cov_p))
    ratio = np.sqrt(next(variances) / next(variances))
    answer = np.eye(shape.axes["d"]) * ratio[..., None, :], mean_q - ratio * mean_p
    return Case((mean_p, cov_p, mean_q, cov_q)), answer


@map_.closed_form(slack=128.0)
def from_the_standard_normal(rng, shape):
    """From N(0, I): the symmetric root, here of the square of an integer matrix"""
    root = integer_map(rng, shape.cov_q)
    cov_p = np.broadcast_to(np.eye(shape.axes["d"]), shape.cov_p).copy()
    mean = rng.integers(-3, 4, shape.mean_q).astype(float)
    return Case((np.zeros(shape.mean_p), cov_p, mean, root @ root)), (root, mean)


@cross.closed_form(slack=128.0)
def known_map_of_cross(rng, shape):
    """S_q = A S_p A with integers, A symmetric positive definite: S_p A"""
    cov_p, a, cov_q = mapped_pair(rng, (shape.cov_p, shape.cov_q))
    return Case((cov_p, cov_q)), cov_p @ a


@cross.closed_form
def products_of_deviations(rng, shape):
    """Diagonal covariances: the products of the deviations"""
    covs = tuple(diagonal_covariance(rng, s) for s in (shape.cov_p, shape.cov_q))
    return Case(covs), np.sqrt(covs[0] * covs[1])


@cross.closed_form
def lines(rng, shape):
    """Singular u u^T and v v^T with integers: u v^T with the sign of u^T v"""
    # The answer jumps where u^T v is 0, so it must not be.
    u, v = (rng.integers(1, 4, s[:-1]).astype(float) for s in (shape.cov_p, shape.cov_q))
    sign = rng.choice([-1.0, 1.0], shape.batch)[..., None, None]
    v = v * sign[..., 0]
    covs = (z[..., :, None] * z[..., None, :] for z in (u, v))
    return Case(tuple(covs)), sign * u[..., :, None] * v[..., None, :]
