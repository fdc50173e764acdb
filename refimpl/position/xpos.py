"""Rotary embedding with decay (xPos)."""

from __future__ import annotations

from typing import Any, Literal

from refimpl.backend import astype, namespace, result_type
from refimpl.core import require_finite
from refimpl.formula import formula
from refimpl.formula.options import Finite, Pairing, Positive
from refimpl.position.rotary import joined, rotary_embedding, single, vjp_of_each


@formula(
    "(n,d),(n)->(n,d)",
    source="Sun et al. 2022 (xPos, arXiv:2212.10554), eq. 10 and algorithm 1",
    kinds={"positions": "exact"},
    differentiable=("x", "positions"),
)
def xpos_embedding(
    x: Any,
    positions: Any,
    /,
    *,
    pairing: Pairing,
    role: Literal["query", "key"],
    centre: Finite,
    scale_base: Positive = 512.0,
    gamma: Positive = 0.4,
    base: Positive = 10000.0,
) -> Any:
    r"""xPos: rotation, growth of queries and decay of keys, so that logits fall with distance.

    Formula
    -------
    .. math:: y = \zeta_i^{\pm (n - c)/B} R_n x, \qquad
        \zeta_i = \frac{2i/d + \gamma}{1 + \gamma}

    on pair i, with plus for queries and minus for keys, hence

    .. math:: \langle q_m, k_n \rangle = \mathrm{Re} \sum_i \tilde q_i \overline{\tilde k_i}\,
        e^{i(m - n)\theta_i} \zeta_i^{(m - n)/B}

    Parameters
    ----------
    x : (..., n, d) queries or keys.
    positions : (..., n) n, integers or float64.
    pairing : "interleaved" or "half", as for :func:`rotary_embedding`.
    role : "query" or "key".
    centre : number. c, where nothing is scaled: the same for queries and keys.
    scale_base : number > 0. B, the distance at which pair i has decayed by :math:`\zeta_i`.
    gamma : number > 0. :math:`\gamma`.
    base : number > 0. b of the frequencies.

    Returns
    -------
    (..., n, d) of x's type.

    Raises
    ------
    ValueError
        An unknown role or pairing; d odd; scale_base or gamma not positive; centre or
        positions not finite.
    TypeError
        No pairing, role or centre; positions in float16 or float32.

    Conventions
    -----------
    The centre keeps powers small, and leaves the logits alone where both share it. torchscale takes
    half the length, rounded up, flash-attention and rotary-embedding-torch rounded down,
    x-transformers half the longest position. A centre that moves with the length of a cache makes
    keys from before disagree with queries of now: with a cache, fix it (0).

    Breaks when
    -----------
    Causal only: for keys ahead of the query logits grow with distance. Far from the centre, powers
    overflow or vanish in float16 (beyond some 4500 tokens).

    References
    ----------
    Sun et al. 2022 (arXiv:2212.10554); microsoft/torchscale; lucidrains/rotary-embedding-torch
    pull 27; Dao-AILab/flash-attention issue 522.

    Examples
    --------
    >>> import refimpl
    >>> options = {"pairing": "half", "centre": 0.0, "scale_base": 1.0, "base": 1.0}
    >>> refimpl.xpos_embedding([[1.0, 0.0]], [2], role="query", **options).round(6)
    array([[-0.033971,  0.074228]])
    """
    _, scale = _growth(x, positions, role, centre, scale_base, gamma, pairing)
    rotated = rotary_embedding(x, positions, pairing=pairing, base=base)
    return rotated * astype(scale, x.dtype)


@xpos_embedding.form("textbook")
def xpos_embedding_textbook(
    x, positions, /, *, pairing, role, centre, scale_base=512.0, gamma=0.4, base=10000.0
):
    """R_n x, and pair i of it times a power of zeta_i, up for queries and down for keys."""
    xp, d, dtype = namespace(x), x.shape[-1], result_type(positions)
    rotated = rotary_embedding(x, positions, pairing=pairing, base=base)
    zeta = (xp.arange(0, d, 2, dtype=dtype) / d + gamma) / (1 + gamma)
    power = (astype(positions, dtype) - centre) / scale_base
    growth = zeta ** (power if role == "query" else -power)[..., None]
    return rotated * astype(joined(growth, growth, pairing), x.dtype)


@xpos_embedding.defvjp
def xpos_embedding_vjp(
    g,
    x,
    positions,
    /,
    *,
    pairing,
    role,
    centre,
    scale_base=512.0,
    gamma=0.4,
    base=10000.0,
):
    """dx = zeta^(+-(n - c)/B) R_-n g; a position moves the angle and the power."""
    rate, scale = _growth(x, positions, role, centre, scale_base, gamma, pairing)
    wide = scale.dtype
    scaled = astype(g, wide) * scale
    rotated = rotary_embedding(astype(x, wide), positions, pairing=pairing, base=base)
    options = {"pairing": pairing, "base": base}
    dx, dpositions = vjp_of_each(scaled, astype(x, wide), positions, options)
    return astype(dx, x.dtype), dpositions + (scaled * rotated * rate).sum(axis=-1)


@xpos_embedding.form("single_angles", loses="angles are rounded")
def xpos_embedding_single_angles(
    x, positions, /, *, pairing, role, centre, scale_base=512.0, gamma=0.4, base=10000.0
):
    """With angles and exponents in x's type, at least float32, as in most code."""
    _, scale = _growth(x, positions, role, centre, scale_base, gamma, pairing)
    exponent = astype(namespace(x).log(scale), single(x))
    rotated = rotary_embedding(x, positions, pairing=pairing, base=base, form="single_angles")
    return rotated * astype(namespace(x).exp(exponent), x.dtype)


@xpos_embedding.defvjp(form="single_angles")
def xpos_embedding_single_angles_vjp(
    g, x, positions, /, *, pairing, role, centre, scale_base=512.0, gamma=0.4, base=10000.0
):
    """The gradient at these angles."""
    rate, scale = _growth(x, positions, role, centre, scale_base, gamma, pairing)
    scaled = g * astype(scale, g.dtype)
    options = {"pairing": pairing, "base": base, "form": "single_angles"}
    dx, dpositions = vjp_of_each(scaled, x, positions, options)
    return dx, dpositions + (scaled * rotary_embedding(x, positions, **options) * rate).sum(axis=-1)


def _growth(x, positions, role, centre, scale_base, gamma, pairing):
    """The logarithm of the growth per position, (d,), and zeta^(+-(n - c)/B), (..., n, d)."""
    require_finite("positions", positions)
    xp, dtype, d = namespace(x), result_type(positions), x.shape[-1]
    zeta = (xp.arange(0, d, 2, dtype=dtype) / d + gamma) / (1 + gamma)
    rate = xp.log(zeta) / scale_base * (1 if role == "query" else -1)
    if pairing == "interleaved":
        rate = xp.repeat(rate, 2)
    else:
        rate = xp.concatenate([rate, rate])
    return rate[:d], xp.exp((astype(positions, dtype)[..., None] - centre) * rate[:d])
