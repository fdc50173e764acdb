"""What divergences between two Gaussians have in common: inputs, and laws that all obey."""

from __future__ import annotations

import functools

import numpy as np

from refimpl.backend import namespace
from refimpl.evidence import Case, Claim, Evidence
from refimpl.evidence.gaussian.shared import (
    change_of_unit,
    covariance,
    diagonal_covariance,
    displacement,
    graded_units,
    recoordinated,
    rescale,
    symmetric_part,
    uncoupled,
)

# ------------------------------------------------------------------------------------------ regimes

OF_MEANS = {
    "mean_p and mean_q are swapped": "only the difference of the means counts, and not its sign"
}
"""What changes nothing where the means enter by the square of their difference."""


def symmetric(scatter: str = "cov") -> dict[str, str]:
    """The same for the covariances, or variances, of a symmetric quantity."""
    why = "it is symmetric, and even in the difference of the means"
    return {f"{scatter}_p and {scatter}_q are swapped": why}


def generic(rng, shape):
    """Unrelated covariances, means some standard deviations apart."""
    cov_p, cov_q = covariance(rng, shape.cov_p), covariance(rng, shape.cov_q)
    mean_q = rng.standard_normal(shape.mean_q)
    return Case((mean_q + displacement(rng, cov_q), cov_p, mean_q, cov_q))


def diagonal(rng, shape):
    """Independent coordinates."""
    cov_p, cov_q = diagonal_covariance(rng, shape.cov_p), diagonal_covariance(rng, shape.cov_q)
    mean_q = rng.standard_normal(shape.mean_q)
    return Case((mean_q + displacement(rng, cov_q), cov_p, mean_q, cov_q))


def same_covariance(rng, shape):
    """Equal covariances, so that only the means differ."""
    cov = covariance(rng, shape.cov_q)
    mean_q = rng.standard_normal(shape.mean_q)
    return Case((mean_q + displacement(rng, cov), cov, mean_q, cov.copy()))


def graded(rng, shape):
    """Coordinates in units from 1/64 to 16: both condition numbers reach 1e7."""
    case = generic(rng, shape)
    units = graded_units(rng, shape.mean_q)
    mean_p, cov_p, mean_q, cov_q = case.arrays
    return Case((mean_p * units, rescale(cov_p, units), mean_q * units, rescale(cov_q, units)))


def far_apart(rng, shape):
    """p 16 times as narrow as q, its mean 16 standard deviations away."""
    mean_p, cov_p, mean_q, cov_q = generic(rng, shape).arrays
    return Case((mean_q + 16 * (mean_p - mean_q), cov_p / 256, mean_q, cov_q))


def near_equal(rng, shape):
    """p and q differ by 1e-8 to 1e-2 of themselves: the textbook formula, torch's too, cancels."""
    return _differing(rng, shape, rng.uniform(2, 8, shape.batch))


def close_by(rng, shape):
    """p and q differ by 0.3 % to 10 % of themselves, enough to stay off a kink at p = q."""
    return _differing(rng, shape, rng.uniform(1, 2.5, shape.batch))


def _differing(rng, shape, digits):
    """q, and a p that agrees with it to so many digits."""
    cov_q = covariance(rng, shape.cov_q)
    mean_q = rng.standard_normal(shape.mean_q)
    difference = 10.0 ** -np.asarray(digits)[..., None]
    change = symmetric_part(rng.uniform(-1, 1, shape.cov_q)) / shape.axes["d"]
    mean_p = mean_q + difference * displacement(rng, cov_q)
    return Case((mean_p, cov_q + difference[..., None] * change, mean_q, cov_q))


def identical(rng, shape):
    """p is q: the textbook formula, torch's too, leaves rounding errors of either sign."""
    cov = covariance(rng, shape.cov_q)
    mean = rng.standard_normal(shape.mean_q)
    return Case((mean, cov, mean.copy(), cov.copy()))


# --------------------------------------------------------------------------------------------- laws


def scale_of(value, case):
    """What rounding errors are relative to: the value, and the terms of order d that cancel."""
    return 4 * (abs(value) + case.arrays[0].shape[-1])


def is_not_negative(f, case):
    """The divergence is not negative"""
    value = case.call(f)
    xp = namespace(value)
    yield Claim(xp.minimum(value, 0), xp.zeros_like(value), scale_of(value, case))


def vanishes_at_equality(f, case):
    """D(p, p) = D(q, q) = 0"""
    mean_p, cov_p, mean_q, cov_q = case.arrays
    for equal in ((mean_p, cov_p, mean_p, cov_p), (mean_q, cov_q, mean_q, cov_q)):
        value = f(*equal, **case.options)
        yield Claim(value, namespace(value).zeros_like(value), scale_of(value, case))


def depends_on_the_difference_of_means(f, case):
    """A common translation and an exchange of the means change nothing"""
    mean_p, cov_p, mean_q, cov_q = case.arrays
    value = case.call(f)
    for moved in ((mean_p - mean_q, cov_p, mean_q - mean_q, cov_q), (mean_q, cov_p, mean_p, cov_q)):
        yield Claim(f(*moved, **case.options), value, scale_of(value, case))


def ignores_the_coordinates(f, case):
    """D is invariant under x -> C x, here a permutation with scales, which rounds nothing"""
    mean_p, cov_p, mean_q, cov_q = case.arrays
    units, order = change_of_unit(mean_p)
    value = case.call(f)
    moved = f(
        (mean_p * units)[..., order],
        recoordinated(cov_p, units, order),
        (mean_q * units)[..., order],
        recoordinated(cov_q, units, order),
        **case.options,
    )
    yield Claim(moved, value, scale_of(value, case))


def independent_blocks_add(f, case):
    """Without correlation between two blocks of coordinates their divergences add"""
    for whole, parts in uncoupled_blocks(case):
        first, second = (f(*part, **case.options) for part in parts)
        value = f(*whole, **case.options)
        yield Claim(value, first + second, scale_of(first + second, case))


def processing_brings_closer(f, case):
    """Leaving out coordinates, or adding the same noise to both, never increases the divergence"""
    mean_p, cov_p, mean_q, cov_q = case.arrays
    whole = case.call(f)
    processed = [(mean_p, cov_p + cov_q, mean_q, cov_q + cov_q)]
    processed += blocks(case, (mean_p.shape[-1] + 1) // 2)
    for arrays in processed:
        if arrays[0].shape[-1]:
            yield in_order(f(*arrays, **case.options), whole, scale_of(whole, case))


def is_symmetric(f, case):
    """D(p, q) = D(q, p)"""
    mean_p, cov_p, mean_q, cov_q = case.arrays
    value = case.call(f)
    yield Claim(f(mean_q, cov_q, mean_p, cov_p, **case.options), value, scale_of(value, case))


def blocks(case, k):
    """The arrays of the first k coordinates, and of the others."""
    for part in (slice(None, k), slice(k, None)):
        mean_p, cov_p, mean_q, cov_q = case.arrays
        yield mean_p[..., part], cov_p[..., part, part], mean_q[..., part], cov_q[..., part, part]


def uncoupled_blocks(case):
    """Arrays without correlation between two blocks, and those of the blocks; none if d = 1."""
    mean_p, cov_p, mean_q, cov_q = case.arrays
    k = mean_p.shape[-1] // 2
    if k:
        yield (mean_p, uncoupled(cov_p, k), mean_q, uncoupled(cov_q, k)), tuple(blocks(case, k))


def in_order(smaller, larger, scale):
    """The claim smaller <= larger."""
    return Claim(namespace(larger).maximum(smaller, larger), larger, scale)


def with_options(sample, options):
    """The sampler with the keywords that ``options(rng, shape)`` draws."""

    @functools.wraps(sample)
    def regime(rng, shape):
        return sample(rng, shape).with_options(**options(rng, shape))

    return regime


def register(of: Evidence, *, far: bool = True, options=lambda rng, shape: {}) -> None:
    """The inputs above; those far apart only for what is not saturated there.

    ``options(rng, shape)`` are the keywords that go with them.
    """
    for sample in (generic, diagonal, same_covariance):
        of.regime(with_options(sample, options))
    for sample in (graded, far_apart) if far else (graded,):
        of.regime(with_options(sample, options), adversarial=True)
    # Honest public code cancels there.
    for sample in (near_equal, identical):
        of.regime(with_options(sample, options), adversarial=True, advisory=True)
