"""Wrong variants of the sliced Wasserstein distance of two Gaussians."""

from __future__ import annotations

from refimpl.backend import namespace
from refimpl.evidence.gaussian.shared import off_diagonal_doubled
from refimpl.evidence.gaussian.sliced import sliced
from refimpl.gaussian.sliced import sliced_wasserstein_squared


def _slices(mean_p, cov_p, mean_q, cov_q, directions):
    """Shifts of the means, and variances of p and of q, along the directions."""
    xp = namespace(mean_p)
    shifts = (directions @ (mean_p - mean_q)[..., None])[..., 0]
    variances = (
        xp.maximum((directions @ cov * directions).sum(axis=-1), 0) for cov in (cov_p, cov_q)
    )
    return shifts, *variances


def _gaps(v_p, v_q):
    xp = namespace(v_p)
    return xp.sqrt(v_p) - xp.sqrt(v_q)


@sliced.mutant
def variances_for_deviations(mean_p, cov_p, mean_q, cov_q, directions, /):
    """variances along the directions are compared, not deviations"""
    shifts, v_p, v_q = _slices(mean_p, cov_p, mean_q, cov_q, directions)
    return (shifts**2 + (v_p - v_q) ** 2).mean(axis=-1)


@sliced.mutant
def difference_of_variances(mean_p, cov_p, mean_q, cov_q, directions, /):
    """|v_p - v_q| stands for the squared difference of deviations"""
    shifts, v_p, v_q = _slices(mean_p, cov_p, mean_q, cov_q, directions)
    return (shifts**2 + abs(v_p - v_q)).mean(axis=-1)


@sliced.mutant
def deviations_added(mean_p, cov_p, mean_q, cov_q, directions, /):
    """the deviations are added, as for the dearest coupling"""
    xp = namespace(mean_p)
    shifts, v_p, v_q = _slices(mean_p, cov_p, mean_q, cov_q, directions)
    return (shifts**2 + (xp.sqrt(v_p) + xp.sqrt(v_q)) ** 2).mean(axis=-1)


@sliced.mutant
def summed(mean_p, cov_p, mean_q, cov_q, directions, /):
    """directions are summed, not averaged"""
    shifts, v_p, v_q = _slices(mean_p, cov_p, mean_q, cov_q, directions)
    return (shifts**2 + _gaps(v_p, v_q) ** 2).sum(axis=-1)


@sliced.mutant
def largest(mean_p, cov_p, mean_q, cov_q, directions, /):
    """the largest distance along a direction is returned (max-sliced), not the mean"""
    shifts, v_p, v_q = _slices(mean_p, cov_p, mean_q, cov_q, directions)
    return (shifts**2 + _gaps(v_p, v_q) ** 2).max(axis=-1)


@sliced.mutant
def mean_of_distances(mean_p, cov_p, mean_q, cov_q, directions, /):
    """distances are averaged, and then squared"""
    xp = namespace(mean_p)
    shifts, v_p, v_q = _slices(mean_p, cov_p, mean_q, cov_q, directions)
    return xp.sqrt(shifts**2 + _gaps(v_p, v_q) ** 2).mean(axis=-1) ** 2


@sliced.mutant
def normalised(mean_p, cov_p, mean_q, cov_q, directions, /):
    """the directions are divided by their lengths"""
    xp = namespace(mean_p)
    lengths = xp.sqrt((directions * directions).sum(axis=-1, keepdims=True))
    unit = directions / xp.maximum(lengths, 1e-6)
    shifts, v_p, v_q = _slices(mean_p, cov_p, mean_q, cov_q, unit)
    return (shifts**2 + _gaps(v_p, v_q) ** 2).mean(axis=-1)


@sliced.mutant
def times_the_dimension(mean_p, cov_p, mean_q, cov_q, directions, /):
    """the result is multiplied by the dimension"""
    shifts, v_p, v_q = _slices(mean_p, cov_p, mean_q, cov_q, directions)
    return mean_p.shape[-1] * (shifts**2 + _gaps(v_p, v_q) ** 2).mean(axis=-1)


@sliced.mutant
def means_not_projected(mean_p, cov_p, mean_q, cov_q, directions, /):
    """the distance of the means is not projected"""
    shifts, v_p, v_q = _slices(mean_p, cov_p, mean_q, cov_q, directions)
    gap = ((mean_p - mean_q) ** 2).sum(axis=-1)
    return gap + (0 * shifts + _gaps(v_p, v_q) ** 2).mean(axis=-1)


@sliced.mutant
def diagonals_only(mean_p, cov_p, mean_q, cov_q, directions, /):
    """only the diagonals of the covariances are used"""
    identity = namespace(mean_p).eye(mean_p.shape[-1], dtype=mean_p.dtype)
    shifts, v_p, v_q = _slices(mean_p, cov_p * identity, mean_q, cov_q * identity, directions)
    return (shifts**2 + _gaps(v_p, v_q) ** 2).mean(axis=-1)


# --------------------------------------------------------------------------------- gradient mutants


def _found(g, *arrays):
    return list(sliced_wasserstein_squared.vjp(g, *arrays))


@sliced.mutant(gradient=True)
def gradient_not_averaged(g, mean_p, cov_p, mean_q, cov_q, directions, /):
    """the gradients are summed over the directions, not averaged"""
    found = _found(g, mean_p, cov_p, mean_q, cov_q, directions)
    return tuple(directions.shape[-2] * x for x in found)


@sliced.mutant(gradient=True)
def gradient_off_diagonal_doubled(g, mean_p, cov_p, mean_q, cov_q, directions, /):
    """the gradients in the covariances count each off-diagonal entry twice"""
    found = _found(g, mean_p, cov_p, mean_q, cov_q, directions)
    found[1], found[3] = off_diagonal_doubled(found[1]), off_diagonal_doubled(found[3])
    return tuple(found)


@sliced.mutant(gradient=True)
def gradient_swapped(g, mean_p, cov_p, mean_q, cov_q, directions, /):
    """the gradients in p and in q are exchanged"""
    found = _found(g, mean_p, cov_p, mean_q, cov_q, directions)
    return found[2], found[3], found[0], found[1], found[4]


@sliced.mutant(gradient=True)
def gradient_of_directions_from_means_only(g, mean_p, cov_p, mean_q, cov_q, directions, /):
    """the gradient in the directions lacks the covariances"""
    found = _found(g, mean_p, cov_p, mean_q, cov_q, directions)
    found[4] = _found(g, mean_p, cov_p, mean_q, cov_p, directions)[4]
    return tuple(found)
