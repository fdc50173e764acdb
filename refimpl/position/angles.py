"""Angles of positions at frequencies, and their turns e^{i m theta}: always in float64 or wider."""

from __future__ import annotations

import math

from refimpl.backend import astype, namespace, result_type, scalar
from refimpl.core import require_finite


def angles_of(positions, frequencies, name="positions"):
    """m theta_i, (..., n, h). ValueError, naming the argument, where a position is not finite."""
    dtype = result_type(positions, frequencies)
    require_finite(name, positions)
    return astype(positions, dtype)[..., None] * astype(frequencies, dtype)[..., None, :]


def turns_of(positions, frequencies, name="positions"):
    """e^{i m theta_i}, (..., n, h).

    Sines are dear in float64. Of whole numbers that lie close together m = first + a b + c, and
    e^{i(first + a b) theta} and e^{i c theta} are two tables of about the root of n rows each.
    """
    if positions.dtype.kind in "iu" and positions.size and frequencies.ndim == 1:
        first, last = (int(scalar(x)) for x in (positions.min(), positions.max()))
        rows = math.isqrt(last - first) + 1
        if 4 * rows < positions.shape[-1] and max(-first, last) < 2**53:
            xp = namespace(positions)
            whole, rest = xp.divmod(astype(positions, "int64") - first, rows)
            coarse = turn(angles_of(first + rows * xp.arange(rows), frequencies))
            return coarse[whole] * turn(angles_of(xp.arange(rows), frequencies))[rest]
    return turn(angles_of(positions, frequencies, name))


def turn(angles):
    """e^{i angle}."""
    xp = namespace(angles)
    return xp.cos(angles) + 1j * xp.sin(angles)


def from_angles(slopes, positions, frequencies):
    """Gradients in positions and frequencies from those in the angles."""
    dtype = slopes.dtype
    m, theta = astype(positions, dtype), astype(frequencies, dtype)
    return (slopes * theta[..., None, :]).sum(axis=-1), (slopes * m[..., None]).sum(axis=-2)
