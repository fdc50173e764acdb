"""Evidence for the sliced Wasserstein distance of two Gaussians."""

from __future__ import annotations

import numpy as np

from refimpl.backend import like, namespace
from refimpl.core import symmetric_part
from refimpl.evidence import Budget, Case, Claim, Evidence, Sizes
from refimpl.evidence.gaussian.pairs import OF_MEANS, symmetric
from refimpl.evidence.gaussian.shared import (
    change_of_unit,
    covariance,
    diagonal_covariance,
    displacement,
    graded_units,
    integer_factor,
    recoordinated,
    rescale,
    trace,
)
from refimpl.formula import upcast
from refimpl.gaussian.sliced import sliced_wasserstein_squared
from refimpl.gaussian.transport import wasserstein_squared

sliced = Evidence(
    sliced_wasserstein_squared,
    sizes={"d": Sizes(1, 1, 7), "t": Sizes(1, 1, 9)},
    budget=Budget(k=8.0, floor=16.0),
    unchanged=OF_MEANS
    | symmetric()
    | {"directions is taken as its negative": "a direction and its opposite are one"},
)


@sliced.output_terms
def _largest_variance(mean_p, cov_p, mean_q, cov_q, directions):
    length = (directions * directions).sum(axis=-1).max()
    return (float((trace(cov_p) + trace(cov_q)).max() * length),)


# ------------------------------------------------------------------------------------------ regimes


def _unit_vectors(rng, shape):
    vectors = rng.standard_normal(shape)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _case(rng, shape, cov_p, cov_q):
    mean_q = rng.standard_normal(shape.mean_q)
    directions = _unit_vectors(rng, shape.directions)
    return Case((mean_q + displacement(rng, cov_q), cov_p, mean_q, cov_q, directions))


@sliced.regime
def generic(rng, shape):
    """Unrelated covariances, random unit vectors."""
    return _case(rng, shape, covariance(rng, shape.cov_p), covariance(rng, shape.cov_q))


@sliced.regime
def diagonal(rng, shape):
    """Independent coordinates."""
    covs = (diagonal_covariance(rng, s) for s in (shape.cov_p, shape.cov_q))
    return _case(rng, shape, *covs)


@sliced.regime(adversarial=True)
def any_length(rng, shape):
    """Directions that are not of unit length."""
    case = generic(rng, shape)
    *others, directions = case.arrays
    return Case((*others, directions * rng.uniform(0.5, 3, (*directions.shape[:-1], 1))))


@sliced.regime(adversarial=True)
def graded(rng, shape):
    """Coordinates in units from 1/64 to 16."""
    units = graded_units(rng, shape.mean_q)
    mean_p, cov_p, mean_q, cov_q, directions = generic(rng, shape).arrays
    covs = rescale(cov_p, units), rescale(cov_q, units)
    return Case((mean_p * units, covs[0], mean_q * units, covs[1], directions))


@sliced.regime(adversarial=True, advisory=True)
def near_equal(rng, shape):
    """p and q differ by 1e-8 to 1e-2: differences of deviations cancel."""
    cov = covariance(rng, shape.cov_q)
    size = 10.0 ** -rng.uniform(2, 8, shape.batch)[..., None]
    change = symmetric_part(rng.uniform(-1, 1, shape.cov_q)) / shape.axes["d"]
    mean_q = rng.standard_normal(shape.mean_q)
    mean_p = mean_q + size * displacement(rng, cov)
    directions = _unit_vectors(rng, shape.directions)
    return Case((mean_p, cov + size[..., None] * change, mean_q, cov, directions))


# --------------------------------------------------------------------------------------------- laws


def _scale(value, case):
    _, cov_p, _, cov_q, directions = case.arrays
    length = (directions * directions).sum(axis=-1).max(axis=-1)
    return 8 * abs(value) + 8 * length * (trace(cov_p) + trace(cov_q))


@sliced.law
def is_the_mean_of_one_dimensional_distances(f, case):
    """The mean of W_2^2 between the projected Gaussians, which are numbers"""
    mean_p, cov_p, mean_q, cov_q, directions = map(upcast, case.arrays)
    rows = directions[..., None, :]

    def projected(mean, cov):
        along = rows @ mean[..., None, :, None]
        return along[..., 0], rows @ cov[..., None, :, :] @ rows.swapaxes(-1, -2)

    each = wasserstein_squared(*projected(mean_p, cov_p), *projected(mean_q, cov_q))
    value = f(*case.arrays)
    yield Claim(value, each.mean(axis=-1), _scale(value, case))


@sliced.law
def is_not_above_the_distance(f, case):
    """Along an orthonormal basis the sum is at most W_2^2"""
    mean_p, cov_p, mean_q, cov_q, _ = case.arrays
    d = mean_p.shape[-1]
    mirror = like((np.eye(d) - 2.0 / d).astype(mean_p.dtype), mean_p)
    value = upcast(f(mean_p, cov_p, mean_q, cov_q, mirror)) * d
    whole = wasserstein_squared(*map(upcast, case.arrays[:4]))
    scale = 8 * d * (whole + trace(upcast(cov_p)) + trace(upcast(cov_q)))
    yield Claim(namespace(whole).maximum(value, whole), whole, scale)


@sliced.law
def is_symmetric_and_vanishes_at_equality(f, case):
    """f(p, q) = f(q, p), and f(p, p) = 0"""
    mean_p, cov_p, mean_q, cov_q, directions = case.arrays
    value = f(*case.arrays)
    yield Claim(f(mean_q, cov_q, mean_p, cov_p, directions), value, _scale(value, case))
    zero = f(mean_p, cov_p, mean_p, cov_p, directions)
    yield Claim(zero, 0 * zero, _scale(zero, case))


@sliced.law
def directions_have_no_sign_and_no_order(f, case):
    """Reversed directions in reversed order, each taken twice, give the same mean"""
    *pair, directions = case.arrays
    xp = namespace(directions)
    value = f(*case.arrays)
    other = xp.concatenate([-xp.flip(directions, -2), directions], axis=-2)
    yield Claim(f(*pair, other), value, _scale(value, case))


@sliced.law
def grows_with_the_square_of_the_directions(f, case):
    """Directions of twice the length give four times as much, as does twice the unit"""
    mean_p, cov_p, mean_q, cov_q, directions = case.arrays
    value = f(*case.arrays)
    scale = 4 * _scale(value, case)
    yield Claim(f(mean_p, cov_p, mean_q, cov_q, 2 * directions), 4 * value, scale)
    wide = f(2 * mean_p, 4 * cov_p, 2 * mean_q, 4 * cov_q, directions)
    yield Claim(wide, 4 * value, scale)


@sliced.law
def means_add_their_projections(f, case):
    """It is the mean of squared projections of the means' difference more than for equal means"""
    mean_p, cov_p, mean_q, cov_q, directions = case.arrays
    value = f(*case.arrays)
    gap = upcast(mean_p) - upcast(mean_q)
    shifts = (upcast(directions) @ gap[..., None])[..., 0]
    centred = upcast(f(mean_q, cov_p, mean_q, cov_q, directions))
    yield Claim(value, centred + (shifts * shifts).mean(axis=-1), _scale(value, case))


@sliced.law
def follows_signs_and_order(f, case):
    """In permuted coordinates with signs it is the same"""
    mean_p, cov_p, mean_q, cov_q, directions = case.arrays
    units, order = change_of_unit(mean_p)
    units = namespace(units).sign(units)
    value = f(*case.arrays)
    moved = f(
        (mean_p * units)[..., order],
        recoordinated(cov_p, units, order),
        (mean_q * units)[..., order],
        recoordinated(cov_q, units, order),
        (directions * units)[..., order],
    )
    yield Claim(moved, value, _scale(value, case))


# ------------------------------------------------------------------------------------- closed forms


def _integers(rng, shape, low=-3, high=4):
    return rng.integers(low, high, shape).astype(float)


@sliced.closed_form(slack=128.0)
def proportional(rng, shape):
    """S_q = 9 S_p and equal means: 4 times the mean variance along the directions"""
    low = integer_factor(rng, shape.cov_p)
    cov = low @ low.swapaxes(-1, -2)
    directions = _integers(rng, shape.directions)
    turned = directions @ low
    mean = _integers(rng, shape.mean_p)
    answer = 4 * (turned * turned).sum(axis=-1).mean(axis=-1)
    return Case((mean, cov, mean.copy(), 9 * cov, directions)), answer


@sliced.closed_form
def coordinates(rng, shape):
    """Directions along the axes: squared differences of means and of deviations"""
    cov_p, cov_q = (diagonal_covariance(rng, s) for s in (shape.cov_p, shape.cov_q))
    mean_p, mean_q = _integers(rng, shape.mean_p), _integers(rng, shape.mean_q)
    axes = np.arange(shape.axes["t"]) % shape.axes["d"]
    directions = np.zeros(shape.directions) + np.eye(shape.axes["d"])[axes]
    roots = (np.sqrt(np.diagonal(cov, axis1=-2, axis2=-1)) for cov in (cov_p, cov_q))
    terms = (mean_p - mean_q) ** 2 + (next(roots) - next(roots)) ** 2
    return Case((mean_p, cov_p, mean_q, cov_q, directions)), terms[..., axes].mean(axis=-1)


@sliced.closed_form
def lines(rng, shape):
    """Singular u u^T and v v^T with integers: (|theta u| - |theta v|)^2"""
    u, v = _integers(rng, shape.mean_p), _integers(rng, shape.mean_q)
    directions = _integers(rng, shape.directions)
    mean_p, mean_q = _integers(rng, shape.mean_p), _integers(rng, shape.mean_q)
    shift, along_u, along_v = ((directions @ x[..., None])[..., 0] for x in (mean_p - mean_q, u, v))
    answer = (shift**2 + (np.abs(along_u) - np.abs(along_v)) ** 2).mean(axis=-1)
    covs = (z[..., :, None] * z[..., None, :] for z in (u, v))
    return Case((mean_p, next(covs), mean_q, next(covs), directions)), answer
