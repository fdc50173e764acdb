"""Evidence for the Bures barycentre of covariances."""

from __future__ import annotations

import numpy as np

from refimpl.backend import eigvalsh, namespace
from refimpl.evidence import Budget, Case, Claim, Evidence, Sizes
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
from refimpl.formula import upcast
from refimpl.gaussian.barycentre import bures_barycentre
from refimpl.gaussian.geodesic import displacement_interpolation
from refimpl.gaussian.optimal_map import transport_map
from refimpl.gaussian.transport import bures_squared

barycentre = Evidence(
    bures_barycentre,
    sizes={"k": Sizes(1, 1, 4, 9), "d": Sizes(1, 1, 4, 17)},
    budget=Budget(k=8.0, floor=16.0),
    unchanged=SYMMETRIC_MATRIX
    | {
        "weights is taken as 2 times itself": "weights are normalised by their sum",
    },
)


@barycentre.output_terms
def _largest_trace(covs, weights):
    return (float(trace(covs).max()),)


# ------------------------------------------------------------------------------------------ regimes


def _weights(rng, shape):
    return rng.uniform(0.25, 1, shape)


@barycentre.regime
def generic(rng, shape):
    """Unrelated covariances, weights that do not sum to 1."""
    return Case((covariance(rng, shape.covs), _weights(rng, shape.weights)))


@barycentre.regime
def diagonal(rng, shape):
    """Independent coordinates."""
    return Case((diagonal_covariance(rng, shape.covs), _weights(rng, shape.weights)))


@barycentre.regime
def alike(rng, shape):
    """Small changes of one covariance."""
    cov = covariance(rng, (*shape.batch, 1, *shape.covs[-2:]))
    change = symmetric_part(rng.uniform(-1, 1, shape.covs)) / (16 * shape.axes["d"])
    return Case((cov + change, _weights(rng, shape.weights)))


@barycentre.regime(adversarial=True)
def graded(rng, shape):
    """Coordinates in units from 1/64 to 16."""
    units = graded_units(rng, (*shape.batch, 1, shape.axes["d"]))
    covs = rescale(covariance(rng, shape.covs), units)
    return Case((covs, _weights(rng, shape.weights)))


@barycentre.regime(adversarial=True)
def unlike_sizes(rng, shape):
    """Covariances of sizes between 1/16 and 4, and weights between 1/16 and 1."""
    sizes = 2.0 ** rng.integers(-4, 3, shape.weights)
    weights = 2.0 ** rng.integers(-4, 1, shape.weights)
    return Case((covariance(rng, shape.covs) * sizes[..., None, None], weights))


# --------------------------------------------------------------------------------------------- laws


def _normalised(weights):
    weights = upcast(weights)
    return weights / weights.sum(axis=-1, keepdims=True)


def _mean(weights, values):
    """The weighted mean of values (..., k)."""
    return (_normalised(weights) * values).sum(axis=-1)


def _condition(covs):
    values = abs(eigvalsh(upcast(covs)))
    return (values[..., -1] / values[..., 0]).max(axis=-1)


def _scale(covs):
    return 8 * covs.shape[-1] * _condition(covs) * trace(upcast(covs)).max(axis=-1)


@barycentre.law
def maps_average_to_the_identity(f, case):
    """The certificate: sum w_i A_i = I, for the maps from the barycentre to the members"""
    covs, weights = case.arrays
    cov = upcast(f(covs, weights))[..., None, :, :]
    covs = upcast(covs)
    origin = 0 * covs[..., 0]
    maps, _ = transport_map(origin, symmetric_part(cov) + 0 * covs, origin, covs)
    mean = (_normalised(weights)[..., None, None] * maps).sum(axis=-3)
    identity = namespace(mean).eye(mean.shape[-1], dtype=mean.dtype)
    scale = 8 * mean.shape[-1] * _condition(covs) * abs(maps).max(axis=(-3, -2, -1))
    yield Claim(mean, identity + 0 * mean, scale[..., None, None])


@barycentre.law
def no_other_is_nearer(f, case):
    """Members and arithmetic mean have no smaller weighted mean of squared distances"""
    covs, weights = case.arrays
    cov = symmetric_part(upcast(f(covs, weights)))
    covs = upcast(covs)
    mean = (_normalised(weights)[..., None, None] * covs).sum(axis=-3)
    least = _mean(weights, bures_squared(covs, cov[..., None, :, :]))
    xp = namespace(least)
    for other in (mean, 2 * cov, *(covs[..., i, :, :] for i in range(covs.shape[-3]))):
        cost = _mean(weights, bures_squared(covs, other[..., None, :, :]))
        yield Claim(xp.minimum(cost, least), least, _scale(covs))


@barycentre.law
def of_one_is_itself(f, case):
    """The barycentre of copies is the copied covariance, whatever the weights"""
    covs, weights = case.arrays
    copies = covs[..., :1, :, :] + 0 * covs
    found = f(copies, weights)
    scale = _scale(covs[..., :1, :, :])[..., None, None]
    yield Claim(found, covs[..., 0, :, :] + 0 * found, scale)


@barycentre.law
def of_two_is_on_the_geodesic(f, case):
    """The barycentre of two is the displacement interpolation at the second's weight"""
    covs, weights = case.arrays
    if covs.shape[-3] < 2:
        return
    pair, shares = covs[..., :2, :, :], weights[..., :2]
    time = _normalised(shares)[..., 1]
    origin = 0 * upcast(pair)[..., 0, :, 0]
    first, second = upcast(pair)[..., 0, :, :], upcast(pair)[..., 1, :, :]
    _, expected = displacement_interpolation(origin, first, origin, second, time=time)
    yield Claim(f(pair, shares), expected, _scale(pair)[..., None, None])


@barycentre.law
def does_not_see_the_order_of_members_nor_the_size_of_weights(f, case):
    """Members in reverse with their weights doubled have the same barycentre"""
    covs, weights = case.arrays
    xp = namespace(covs)
    found = f(covs, weights)
    turned = f(xp.flip(covs, -3), 2 * xp.flip(weights, -1))
    yield Claim(turned, found, _scale(covs)[..., None, None])


@barycentre.law
def follows_unit_signs_and_order(f, case):
    """In permuted coordinates with signs, and twice the unit, it is the same covariance"""
    covs, weights = case.arrays
    units, order = change_of_unit(covs)
    units = 2 * namespace(units).sign(units)
    moved = f(recoordinated(covs, units, order), weights)
    expected = recoordinated(f(covs, weights), units, order)
    yield Claim(moved, expected, 4 * _scale(covs)[..., None, None])


@barycentre.law
def is_narrower_than_the_mean_and_wider_than_the_mean_of_roots(f, case):
    """tr S <= sum w_i tr S_i, and det S^(1/2d) >= sum w_i det S_i^(1/2d)"""
    covs, weights = case.arrays
    found = symmetric_part(upcast(f(covs, weights)))
    xp = namespace(found)
    most = _mean(weights, trace(upcast(covs)))
    yield Claim(xp.maximum(trace(found), most), most, _scale(covs))
    d = covs.shape[-1]
    roots = [
        xp.exp(xp.log(xp.maximum(eigvalsh(x), 1e-30)).sum(axis=-1) / (2 * d))
        for x in (found, upcast(covs))
    ]
    least = _mean(weights, roots[1])
    yield Claim(xp.minimum(roots[0], least), least, _condition(covs) * least * 8 * d)


# ------------------------------------------------------------------------------------- closed forms


@barycentre.closed_form
def independent_coordinates(rng, shape):
    """Diagonal covariances: squares of the weighted means of deviations"""
    case = diagonal(rng, shape)
    covs, weights = case.arrays
    shares = weights / weights.sum(axis=-1, keepdims=True)
    return case, (shares[..., None, None] * np.sqrt(covs)).sum(axis=-3) ** 2


@barycentre.closed_form(slack=256.0)
def common_axes(rng, shape):
    """Commuting covariances with known roots: the square of the weighted mean of roots"""
    u = rng.integers(-1, 2, (*shape.batch, 1, shape.axes["d"])).astype(float)
    base = u[..., :, None] * u[..., None, :]
    sizes = rng.integers(1, 4, (2, *shape.weights)).astype(float)[..., None, None]
    roots = sizes[0] * np.eye(shape.axes["d"]) + sizes[1] * base
    weights = rng.integers(1, 4, shape.weights).astype(float)
    mean = (weights[..., None, None] * roots).sum(axis=-3) / weights.sum(axis=-1)[..., None, None]
    return Case((roots @ roots, weights)), mean @ mean


@barycentre.closed_form(slack=256.0)
def opposite_maps(rng, shape):
    """S_1 = (I + D) S (I + D) and S_2 = (I - D) S (I - D) of equal weight, others S: S"""
    d, k = shape.axes["d"], shape.axes["k"]
    low = integer_factor(rng, (*shape.batch, d, d))
    cov = low @ low.swapaxes(-1, -2)
    move = symmetric_part(rng.integers(-1, 2, (*shape.batch, d, d)).astype(float)) / (2 * d)
    maps = np.zeros((*shape.batch, k, d, d)) + np.eye(d)
    if k >= 2:
        maps[..., 0, :, :] += move
        maps[..., 1, :, :] -= move
    covs = symmetric_part(maps @ cov[..., None, :, :] @ maps)
    weights = np.ones(shape.weights)
    weights[..., 2:] = 3.0
    return Case((covs, weights)), cov
