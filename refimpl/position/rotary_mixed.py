"""Rotary embedding with mixed frequencies: every pair sees all axes at once (RoPE-Mixed)."""

from __future__ import annotations

from typing import Any

from refimpl.backend import astype, namespace, result_type
from refimpl.core import require_finite
from refimpl.formula import formula
from refimpl.formula.options import Pairing
from refimpl.position.axial import turned, turned_vjp
from refimpl.position.rotary import features_turned, joined, pairs_of, single


@formula(
    "(n,d),(a,n),(a,h)->(n,d)",
    source="Heo et al. 2024 (RoPE-Mixed, arXiv:2403.13298); kexue.fm/archives/8397, /9403",
    kinds={"positions": "exact", "frequencies": "exact"},
    differentiable=("x", "positions", "frequencies"),
)
def mixed_rotary_embedding(
    x: Any, positions: Any, frequencies: Any, /, *, pairing: Pairing, inverse: bool = False
) -> Any:
    r"""Rotation of every pair by a frequency of its own on each axis.

    Formula
    -------
    .. math:: \phi_i = \sum_{k=1}^{a} m_k\, \theta_{ki}, \qquad 0 \le i < h

    turns pair i of x, as in :func:`rotary_embedding`. With :math:`R_m` for the whole rotation,
    :math:`R_m R_n = R_{m+n}` and :math:`R_m^T = R_{-m}` for vectors m and n, hence
    :math:`\langle R_m q, R_n k\rangle = \langle q, R_{n-m} k\rangle`. Any commuting rotations that
    are continuous in m are of this form in some orthonormal basis.

    Parameters
    ----------
    x : (..., n, d) queries or keys.
    positions : (..., a, n) m, coordinates, integers or float64, one row for each axis.
    frequencies : (..., a, h) :math:`\theta` in radians per step along each axis, float64, learned;
        2h <= d. Where heads have their own, (heads, a, h).
    pairing : "interleaved" or "half", as for :func:`rotary_embedding`.
    inverse : bool. Rotate by -m.

    Returns
    -------
    (..., n, d) of x's type. Features from 2h on are those of x, bit for bit.

    Raises
    ------
    ValueError
        2h above d, no frequencies; an unknown pairing; positions or frequencies not finite.
    TypeError
        No pairing; positions or frequencies in float16 or float32.

    Conventions
    -----------
    rope-vit has interleaved pairs, columns before rows, coordinates from 0, and no rotation of the
    class token; it starts with two equally long, orthogonal vectors of frequencies, of lengths
    10^(-4i/d), turned by a random angle for each head. Frequencies with zeros, those of an axis in
    the pairs of its own share only, give :func:`axial_rotary_embedding`. rotary-embedding-torch has
    such ones for "pixel": pi linspace(1, f/2, h/a) at coordinates linspace(-1, 1), ends included.
    Frequencies of one axis each in turn, :math:`\theta_i` for axis i mod a, are those of RoPE-TV,
    which turn text at (n, n) as on one axis.

    Breaks when
    -----------
    Positions whose difference has phases that are all multiples of a turn look the same: with one
    direction of frequencies only, all that lie on a line across it.

    References
    ----------
    Heo et al. 2024 (arXiv:2403.13298); naver-ai/rope-vit; https://kexue.fm/archives/8397, /9403,
    /10352.

    Examples
    --------
    >>> import refimpl
    >>> cell, diagonal = [[1], [2]], [[0.5], [0.25]]
    >>> refimpl.mixed_rotary_embedding([[1.0, 0.0]], cell, diagonal, pairing="half").round(4)
    array([[0.5403, 0.8415]])
    """
    return turned(x, _phases(positions, frequencies, inverse), pairing)


@mixed_rotary_embedding.form("textbook")
def mixed_rotary_embedding_textbook(x, positions, frequencies, /, *, pairing, inverse=False):
    """Phases as sums over the axes, and their rotation of each pair, written out."""
    xp = namespace(x)
    require_finite("positions", positions)
    require_finite("frequencies", frequencies)
    r = features_turned(x, frequencies)
    phases = (positions[..., None] * frequencies[..., None, :]).sum(axis=-3)
    cos, sin = astype(xp.cos(phases), x.dtype), astype(xp.sin(phases), x.dtype)
    sin = -sin if inverse else sin
    a, b, rest = pairs_of(x, r // 2, pairing)
    rotated = joined(a * cos - b * sin, a * sin + b * cos, pairing)
    return xp.concatenate(
        [rotated, xp.broadcast_to(rest, (*rotated.shape[:-1], x.shape[-1] - r))], axis=-1
    )


@mixed_rotary_embedding.form("single_angles", loses="angles are rounded")
def mixed_rotary_embedding_single_angles(x, positions, frequencies, /, *, pairing, inverse=False):
    """The plain form with phases in x's type, at least float32, as in rope-vit.

    Its errors are the baseline that lets an honest implementation of that kind pass.
    """
    return turned(x, _phases(positions, frequencies, inverse, single(x)), pairing)


@mixed_rotary_embedding.defvjp
def mixed_rotary_embedding_vjp(g, x, positions, frequencies, /, *, pairing, inverse=False):
    """As of rotation by given angles; the phase m_k theta_ki has the slope of a product."""
    phases = _phases(positions, frequencies, inverse)
    return _vjp(g, x, positions, frequencies, phases, pairing, inverse)


@mixed_rotary_embedding.defvjp(form="single_angles")
def mixed_rotary_embedding_single_angles_vjp(
    g, x, positions, frequencies, /, *, pairing, inverse=False
):
    """The gradient at these phases: it has their errors."""
    phases = _phases(positions, frequencies, inverse, single(x))
    return _vjp(g, x, positions, frequencies, phases, pairing, inverse)


def _vjp(g, x, positions, frequencies, phases, pairing, inverse):
    dx, dphases = turned_vjp(g, x, phases, pairing)
    dphases = -dphases if inverse else dphases
    m, theta = (astype(v, dphases.dtype) for v in (positions, frequencies))
    return dx, theta @ dphases.swapaxes(-1, -2), m @ dphases


def _phases(positions, frequencies, inverse, dtype=None):
    """The angle of every pair, (..., n, h), by default in at least float64."""
    require_finite("positions", positions)
    require_finite("frequencies", frequencies)
    dtype = result_type(positions, frequencies) if dtype is None else dtype
    phases = astype(positions, dtype).swapaxes(-1, -2) @ astype(frequencies, dtype)
    return -phases if inverse else phases
