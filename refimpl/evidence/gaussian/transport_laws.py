"""Laws of every squared transport cost w(mean_p, cov_p, mean_q, cov_q) between Gaussians."""

from __future__ import annotations

import numpy as np

from refimpl.backend import cholesky, eigh, eigvalsh, like, namespace, svdvals
from refimpl.core import symmetric_part
from refimpl.evidence import Claim
from refimpl.evidence.gaussian.shared import change_of_unit, recoordinated, trace, uncoupled
from refimpl.formula import upcast


def cost_scale(value, cov_p, cov_q):
    """What rounding errors are relative to: the terms that cancel, and the means' own square."""
    return 4 * (abs(value) + trace(cov_p) + trace(cov_q))


def is_not_negative(w, mean_p, cov_p, mean_q, cov_q):
    """W^2 >= 0"""
    value = w(mean_p, cov_p, mean_q, cov_q)
    xp = namespace(value)
    yield Claim(xp.minimum(value, 0), xp.zeros_like(value), cost_scale(value, cov_p, cov_q))


def vanishes_at_equality(w, mean_p, cov_p, mean_q, cov_q):
    """W(p, p) = W(q, q) = 0"""
    for mean, cov in ((mean_p, cov_p), (mean_q, cov_q)):
        value = w(mean, cov, mean, cov)
        yield Claim(value, namespace(value).zeros_like(value), cost_scale(value, cov, cov))


def is_symmetric(w, mean_p, cov_p, mean_q, cov_q):
    """W(p, q) = W(q, p)"""
    value = w(mean_p, cov_p, mean_q, cov_q)
    yield Claim(w(mean_q, cov_q, mean_p, cov_p), value, cost_scale(value, cov_p, cov_q))


def means_add_their_squared_distance(w, mean_p, cov_p, mean_q, cov_q):
    """W^2 is |mean_p - mean_q|^2 more than with both means at the origin"""
    origin = mean_q - mean_q
    value = w(mean_p, cov_p, mean_q, cov_q)
    shape = w(origin, cov_p, origin, cov_q)
    gap = mean_p - mean_q
    yield Claim(value, (gap * gap).sum(axis=-1) + shape, cost_scale(value, cov_p, cov_q))


def ignores_order_and_signs_of_coordinates_and_scales(w, mean_p, cov_p, mean_q, cov_q):
    """W^2(Cx, Cy) = 4 W^2(x, y) for C twice a signed permutation, which rounds nothing"""
    units, order = change_of_unit(mean_p)
    units = namespace(mean_p).sign(units) * 2
    value = w(mean_p, cov_p, mean_q, cov_q)
    moved = w(
        (mean_p * units)[..., order],
        recoordinated(cov_p, units, order),
        (mean_q * units)[..., order],
        recoordinated(cov_q, units, order),
    )
    yield Claim(moved, 4 * value, 4 * cost_scale(value, cov_p, cov_q))


def ignores_rotations(w, mean_p, cov_p, mean_q, cov_q):
    """W is invariant under a common orthogonal map, here the reflection I - 2/d 1 1^T"""
    d = mean_p.shape[-1]
    mirror = like((np.eye(d) - 2.0 / d).astype(mean_p.dtype), mean_p)
    value = w(mean_p, cov_p, mean_q, cov_q)
    means = ((mirror @ m[..., None])[..., 0] for m in (mean_p, mean_q))
    covs = (symmetric_part(mirror @ cov @ mirror) for cov in (cov_p, cov_q))
    moved = w(next(means), next(covs), next(means), next(covs))
    size = (mean_p**2 + mean_q**2).sum(axis=-1)
    # The reflection rounds the covariances, and a null direction shows the root of that.
    yield Claim(
        moved, value, cost_scale(value, cov_p, cov_q) * 4 * d + size + sensitivity(cov_p, cov_q)
    )


def sensitivity(cov_p, cov_q):
    """How far W^2 may move where the covariances do by a unit of rounding: |A| |S_p| and so on."""
    values_p, values_q = eigvalsh(upcast(cov_p)), eigvalsh(upcast(cov_q))
    xp = namespace(cov_p)
    largest = values_p[..., -1] + values_q[..., -1]
    stretch = xp.sqrt(largest / xp.minimum(abs(values_p[..., 0]), abs(values_q[..., 0])))
    return 4 * largest * xp.minimum(stretch, 2.0**40)


def independent_blocks_add(w, mean_p, cov_p, mean_q, cov_q):
    """Without correlation between two blocks of coordinates their W^2 add"""
    k = mean_p.shape[-1] // 2
    if k == 0:
        return
    first = w(mean_p[..., :k], cov_p[..., :k, :k], mean_q[..., :k], cov_q[..., :k, :k])
    second = w(mean_p[..., k:], cov_p[..., k:, k:], mean_q[..., k:], cov_q[..., k:, k:])
    whole = w(mean_p, uncoupled(cov_p, k), mean_q, uncoupled(cov_q, k))
    yield Claim(whole, first + second, cost_scale(whole, cov_p, cov_q))


def marginals_are_closer(w, mean_p, cov_p, mean_q, cov_q):
    """Leaving out coordinates never increases W"""
    k = (mean_p.shape[-1] + 1) // 2
    whole = w(mean_p, cov_p, mean_q, cov_q)
    part = w(mean_p[..., :k], cov_p[..., :k, :k], mean_q[..., :k], cov_q[..., :k, :k])
    yield Claim(namespace(whole).maximum(part, whole), whole, cost_scale(whole, cov_p, cov_q))


def common_noise_brings_closer(w, mean_p, cov_p, mean_q, cov_q):
    """Adding independent noise of the covariance S_p + S_q to both never increases W"""
    value = w(mean_p, cov_p, mean_q, cov_q)
    noise = cov_p + cov_q
    noisy = w(mean_p, cov_p + noise, mean_q, cov_q + noise)
    yield Claim(namespace(value).maximum(noisy, value), value, 4 * cost_scale(value, cov_p, cov_q))


def no_feasible_coupling_is_better(w, mean_p, cov_p, mean_q, cov_q):
    """E|x - y|^2 under the cross-covariance S_p^{1/2} O S_q^{1/2}, |O| <= 1, is never below W^2"""
    value = w(mean_p, cov_p, mean_q, cov_q)
    xp = namespace(value)
    d = mean_p.shape[-1]
    factor_p, factor_q = cholesky(upcast(cov_p)), cholesky(upcast(cov_q))
    gap = upcast(mean_p) - upcast(mean_q)
    separate = (gap * gap).sum(axis=-1) + trace(upcast(cov_p)) + trace(upcast(cov_q))
    for seed in range(3):
        rotation, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((d, d)))
        contraction = like(rotation * np.linspace(1, seed / 2, d), value)
        for sign in (1, -1):
            coupled = trace(factor_p @ (sign * contraction) @ factor_q.swapaxes(-1, -2))
            cost = separate - 2 * coupled
            yield Claim(xp.minimum(cost, value), value, cost_scale(value, cov_p, cov_q))


def a_detour_is_longer(w, mean_p, cov_p, mean_q, cov_q):
    """W(p, q) <= W(p, r) + W(r, q), for r with the mean and covariance halfway between"""
    value = w(mean_p, cov_p, mean_q, cov_q)
    xp = namespace(value)
    mean_r, cov_r = (mean_p + mean_q) / 2, (cov_p + cov_q) / 2

    def root(x):
        return xp.sqrt(xp.maximum(upcast(x), 0))

    detour = root(w(mean_p, cov_p, mean_r, cov_r)) + root(w(mean_r, cov_r, mean_q, cov_q))
    longer = xp.maximum(value, detour**2)
    yield Claim(longer, detour**2, 8 * cost_scale(value, cov_p, cov_q))


def lies_between_its_bounds(w, mean_p, cov_p, mean_q, cov_q):
    """Roots of traces and of eigenvalues are not farther than p and q, roots of matrices are"""
    gap = mean_p - mean_q
    value = upcast(w(mean_p, cov_p, mean_q, cov_q)) - upcast((gap * gap).sum(axis=-1))
    xp = namespace(value)
    (values_p, u), (values_q, v) = eigh(upcast(cov_p)), eigh(upcast(cov_q))
    roots_p, roots_q = (xp.sqrt(xp.maximum(x, 0)) for x in (values_p, values_q))
    root_p = (u * roots_p[..., None, :]) @ u.swapaxes(-1, -2)
    root_q = (v * roots_q[..., None, :]) @ v.swapaxes(-1, -2)
    scale = cost_scale(value, cov_p, cov_q) + 4 * (gap * gap).sum(axis=-1)
    traces = xp.sqrt(trace(upcast(cov_p))) - xp.sqrt(trace(upcast(cov_q)))
    below = (traces**2, ((roots_p - roots_q) ** 2).sum(axis=-1))
    above = (
        ((root_p - root_q) ** 2).sum(axis=(-2, -1)),
        svdvals(upcast(cov_p) - upcast(cov_q)).sum(axis=-1),
    )
    for bound in below:
        yield Claim(xp.minimum(bound, value), bound, scale)
    for bound in above:
        yield Claim(xp.maximum(bound, value), bound, scale)


LAWS = (
    is_not_negative,
    vanishes_at_equality,
    is_symmetric,
    means_add_their_squared_distance,
    ignores_order_and_signs_of_coordinates_and_scales,
    ignores_rotations,
    independent_blocks_add,
    marginals_are_closer,
    common_noise_brings_closer,
    no_feasible_coupling_is_better,
    a_detour_is_longer,
    lies_between_its_bounds,
)

METRIC_LAWS = (
    vanishes_at_equality,
    is_symmetric,
    means_add_their_squared_distance,
    a_detour_is_longer,
)
