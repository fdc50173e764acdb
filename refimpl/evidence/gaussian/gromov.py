"""Evidence for Gromov-Wasserstein costs of Gaussians."""

from __future__ import annotations

import functools

import numpy as np

from refimpl.backend import cholesky, like, namespace
from refimpl.core import symmetric_part
from refimpl.evidence import Budget, Case, Claim, Evidence, Sizes
from refimpl.evidence.gaussian.pairs import symmetric
from refimpl.evidence.gaussian.shared import diagonal_covariance, trace
from refimpl.formula import upcast
from refimpl.gaussian.gromov import (
    gaussian_gromov_wasserstein_squared,
    inner_product_gromov_wasserstein_squared,
)

_SIZES = {"m": Sizes(1, 1, 6), "n": Sizes(1, 1, 6)}
_BUDGET = Budget(k=8.0, floor=16.0)

distances = Evidence(
    gaussian_gromov_wasserstein_squared,
    sizes=_SIZES,
    budget=_BUDGET,
    unchanged=symmetric(),
)
products = Evidence(
    inner_product_gromov_wasserstein_squared,
    sizes=_SIZES,
    budget=_BUDGET,
    unchanged=symmetric(),
)


@distances.output_terms
@products.output_terms
def _largest_squares(cov_p, cov_q):
    return (float(_squares(cov_p, cov_q).max()),)


def _squares(cov_p, cov_q):
    """The size of what the cost is a difference of."""
    return trace(cov_p) ** 2 + trace(cov_q) ** 2


# ------------------------------------------------------------------------------------------ regimes


def _spaced(rng, shape, largest=1.0):
    """Eigenvalues that stay apart: where they meet, the cost has a corner."""
    basis, _ = np.linalg.qr(rng.standard_normal(shape))
    steps = rng.uniform(0.5, 1, shape[:-1])
    eigenvalues = largest * np.cumsum(steps, axis=-1)
    return symmetric_part((basis * eigenvalues[..., None, :]) @ basis.swapaxes(-1, -2))


@distances.regime
@products.regime
def generic(rng, shape):
    """Unrelated covariances of two spaces."""
    return Case((_spaced(rng, shape.cov_p), 2 * _spaced(rng, shape.cov_q)))


@distances.regime
@products.regime
def diagonal(rng, shape):
    """Independent coordinates, in no order."""
    covs = (_spaced(rng, s) * 0 + np.eye(s[-1]) for s in (shape.cov_p, shape.cov_q))
    spread = (
        rng.permuted(np.cumsum(rng.uniform(0.5, 1, s[:-1]), axis=-1), axis=-1)
        for s in (shape.cov_p, shape.cov_q)
    )
    return Case(tuple(c * v[..., None, :] for c, v in zip(covs, spread, strict=True)))


@distances.regime(adversarial=True)
@products.regime(adversarial=True)
def unlike_sizes(rng, shape):
    """p 16 times as narrow as q."""
    return Case((_spaced(rng, shape.cov_p) / 256, _spaced(rng, shape.cov_q)))


@distances.regime(adversarial=True, advisory=True)
@products.regime(adversarial=True, advisory=True)
def near_equal(rng, shape):
    """Leading blocks that differ by 1e-6 to 1e-2, and variances from 8 in the larger space."""
    cov_q = _spaced(rng, shape.cov_q)
    k = min(shape.axes["m"], shape.axes["n"])
    size = 10.0 ** -rng.uniform(2, 6, (*shape.batch, 1, 1))
    change = symmetric_part(rng.uniform(-1, 1, (*shape.batch, k, k))) / (4 * k)
    block = cov_q[..., :k, :k] + size * change
    p = np.zeros(shape.cov_p) + np.diag(8.0 + np.arange(shape.axes["m"]))
    p[..., :k, :k] = block
    q = np.zeros(shape.cov_q) + np.diag(8.0 + np.arange(shape.axes["n"]))
    q[..., :k, :k] = cov_q[..., :k, :k]
    return Case((p, q))


# --------------------------------------------------------------------------------------------- laws


def _scale(cov_p, cov_q):
    return 64 * _squares(cov_p, cov_q)


@distances.law
@products.law
def is_not_negative_and_symmetric(f, case):
    """0 <= f(p, q) = f(q, p)"""
    cov_p, cov_q = case.arrays
    value = f(cov_p, cov_q)
    xp = namespace(value)
    yield Claim(xp.minimum(value, 0), 0 * value, _scale(cov_p, cov_q))
    yield Claim(f(cov_q, cov_p), value, _scale(cov_p, cov_q))


@distances.law
@products.law
def vanishes_for_turned_copies(f, case):
    """A reflected copy, and one with a coordinate that is constant, are at distance 0"""
    cov, _ = case.arrays
    xp = namespace(cov)
    d = cov.shape[-1]
    mirror = like((np.eye(d) - 2.0 / d).astype(cov.dtype), cov)
    turned = symmetric_part(mirror @ cov @ mirror)
    zero = f(cov, turned)
    yield Claim(zero, 0 * zero, _scale(cov, cov))
    column = 0 * turned[..., :, :1]
    wide = xp.concatenate([turned, column], axis=-1)
    wide = xp.concatenate([wide, 0 * wide[..., :1, :]], axis=-2)
    zero = f(cov, wide)
    yield Claim(zero, 0 * zero, _scale(cov, cov))


@distances.law
@products.law
def each_space_turns_by_itself(f, case):
    """Reflecting one of the spaces changes nothing"""
    cov_p, cov_q = case.arrays
    d = cov_q.shape[-1]
    mirror = like((np.eye(d) - 2.0 / d).astype(cov_q.dtype), cov_q)
    turned = f(cov_p, symmetric_part(mirror @ cov_q @ mirror))
    yield Claim(turned, f(cov_p, cov_q), _scale(cov_p, cov_q))


@distances.law
@products.law
def has_the_fourth_power_of_the_unit(f, case):
    """f(4 S_p, 4 S_q) = 16 f(S_p, S_q)"""
    cov_p, cov_q = case.arrays
    yield Claim(f(4 * cov_p, 4 * cov_q), 16 * f(cov_p, cov_q), 16 * _scale(cov_p, cov_q))


def _couplings(cov_p, cov_q):
    """Cross-covariances L_p O L_q^T of some contractions O, as those of joint Gaussians."""
    m, n = cov_p.shape[-1], cov_q.shape[-1]
    low_p, low_q = cholesky(upcast(cov_p)), cholesky(upcast(cov_q))
    for seed in range(3):
        draw = np.random.default_rng(seed).standard_normal((max(m, n), min(m, n)))
        columns, _ = np.linalg.qr(draw)
        o = columns if m >= n else columns.T
        yield low_p @ like(o, low_p) @ low_q.swapaxes(-1, -2)


@products.law
def no_gaussian_coupling_is_better_for_products(f, case):
    """E(<x, x'> - <y, y'>)^2 = |S_p|^2 + |S_q|^2 - 2 |C|^2 is never below it"""
    cov_p, cov_q = case.arrays
    value = upcast(f(cov_p, cov_q))
    p, q = upcast(cov_p), upcast(cov_q)
    squares = (p * p).sum(axis=(-2, -1)) + (q * q).sum(axis=(-2, -1))
    for c in _couplings(cov_p, cov_q):
        cost = squares - 2 * (c * c).sum(axis=(-2, -1))
        yield Claim(namespace(value).minimum(cost, value), value, _scale(cov_p, cov_q))


@distances.law
def no_gaussian_coupling_is_better_for_distances(f, case):
    """E(|x - x'|^2 - |y - y'|^2)^2, from the moments of Gaussians, is never below it"""
    cov_p, cov_q = case.arrays
    value = upcast(f(cov_p, cov_q))
    p, q = upcast(cov_p), upcast(cov_q)
    traces = trace(p) - trace(q)
    squares = (p * p).sum(axis=(-2, -1)) + (q * q).sum(axis=(-2, -1))
    for c in _couplings(cov_p, cov_q):
        # x - x' has 2 S_p: the mean of the difference is 2 (tr S_p - tr S_q), its variance
        # 8 |S_p|^2 + 8 |S_q|^2 - 16 |C|^2.
        cost = 4 * traces**2 + 8 * (squares - 2 * (c * c).sum(axis=(-2, -1)))
        yield Claim(namespace(value).minimum(cost, value), value, _scale(cov_p, cov_q))


# ------------------------------------------------------------------------------------- closed forms


def _gaps(v_p, v_q):
    """Sorted and continued by zeros."""
    width = max(v_p.shape[-1], v_q.shape[-1])
    wide = (
        np.concatenate(
            [-np.sort(-v, axis=-1), np.zeros((*v.shape[:-1], width - v.shape[-1]))], axis=-1
        )
        for v in (v_p, v_q)
    )
    return next(wide) - next(wide)


def _cost(of, gaps):
    squares = (gaps * gaps).sum(axis=-1)
    return squares if of is products else 4 * gaps.sum(axis=-1) ** 2 + 8 * squares


def each_closed_form(sample):
    """Register ``sample(rng, shape) -> case, a - b`` for both formulas."""
    for of in (distances, products):

        @functools.wraps(sample)
        def answered(rng, shape, of=of):
            case, gaps = sample(rng, shape)
            return case, _cost(of, gaps)

        of.closed_form(answered, slack=128.0)
    return sample


@each_closed_form
def independent_coordinates(rng, shape):
    """Diagonal covariances: the sorted variances"""
    covs = tuple(diagonal_covariance(rng, s) for s in (shape.cov_p, shape.cov_q))
    return Case(covs), _gaps(*(np.diagonal(cov, axis1=-2, axis2=-1) for cov in covs))


@each_closed_form
def lines(rng, shape):
    """Singular u u^T and v v^T with integers: one eigenvalue each"""
    u, v = (rng.integers(-3, 4, s[:-1]).astype(float) for s in (shape.cov_p, shape.cov_q))
    covs = tuple(z[..., :, None] * z[..., None, :] for z in (u, v))
    return Case(covs), ((u * u).sum(axis=-1) - (v * v).sum(axis=-1))[..., None]


@each_closed_form
def known_spectrum(rng, shape):
    """I + u u^T against a multiple of I: 1 + |u|^2, 1, ... and equal numbers"""
    u = rng.integers(-2, 3, shape.cov_p[:-1]).astype(float)
    cov_p = np.eye(shape.axes["m"]) + u[..., :, None] * u[..., None, :]
    cov_q = 3 * np.broadcast_to(np.eye(shape.axes["n"]), shape.cov_q)
    spectrum = np.ones(shape.cov_p[:-1])
    spectrum[..., 0] += (u * u).sum(axis=-1)
    return Case((cov_p, cov_q.copy())), _gaps(spectrum, np.full(shape.cov_q[:-1], 3.0))
