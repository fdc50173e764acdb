"""Interactions of two positions: what a Hessian between sinusoidal encodings says of distance."""

from __future__ import annotations

from typing import Any

from refimpl.backend import astype, namespace
from refimpl.formula import formula
from refimpl.position.angles import angles_of, from_angles


@formula(
    "(n),(m),(d,d),(h)->(n,m)",
    source="kexue.fm/archives/8231",
    kinds={"rows": "exact", "columns": "exact", "frequencies": "exact"},
    differentiable=("rows", "columns", "hessian", "frequencies"),
)
def position_interaction(
    rows: Any, columns: Any, hessian: Any, frequencies: Any, /, *, order: str
) -> Any:
    r"""The second-order term in which two positions meet, for sinusoids and any Hessian.

    Formula
    -------
    .. math:: p_m^T H p_n, \qquad
        p_m = (\cos m\theta_0, \sin m\theta_0, \cos m\theta_1, \dots) \text{ (cos\_first)}

    For 2 x 2 blocks B of H at pairs i and j, with :math:`X = m\theta_i`, :math:`Y = n\theta_j`,

    .. math:: p_m^T H p_n = \sum_{ij} a \cos(X - Y) + b \sin(X - Y) + c \cos(X + Y)
        + e \sin(X + Y)

    where 2a = B00 + B11, 2b = B10 - B01, 2c = B00 - B11, 2e = B10 + B01.

    Parameters
    ----------
    rows, columns : (..., n), (..., m) positions m and n, integers or float64.
    hessian : (..., d, d) H, d = 2h: of attention logits it is W_q W_k^T.
    frequencies : (..., h) :math:`\theta` in radians per position, float64.
    order : "cos_first" or "sin_first". Which of a pair comes first.

    Returns
    -------
    (..., n, m) of the Hessian's type.

    Raises
    ------
    ValueError
        d other than 2h; an unknown order; positions not finite.
    TypeError
        No order; positions or frequencies in float16 or float32.

    Conventions
    -----------
    "sin_first" is the Transformer's and the essay's first equation, "cos_first" its derivation;
    they exchange the members of every pair, so that c and b change sign. Pairs are interleaved.

    Breaks when
    -----------
    It is a function of m - n only where H commutes with the rotations, that is where
    H = blockdiag(a_i I + b_i J) (for distinct frequencies in (0, pi)): the sums X + Y and the
    blocks off the diagonal are absolute.

    References
    ----------
    https://kexue.fm/archives/8231.

    Examples
    --------
    >>> import refimpl
    >>> h = [[2.0, 0.0], [0.0, 2.0]]
    >>> refimpl.position_interaction([1, 5], [1, 2], h, [1.0], order="cos_first").round(6)
    array([[ 2.      ,  1.080605],
           [-1.307287, -1.979985]])
    """
    p, q = (_sinusoids(x, frequencies, hessian, order) for x in (rows, columns))
    return astype(p, hessian.dtype) @ hessian @ astype(q, hessian.dtype).swapaxes(-1, -2)


@position_interaction.defvjp
def position_interaction_vjp(g, rows, columns, hessian, frequencies, /, *, order):
    """dH = P^T g Q; dP = g Q H^T and dQ = g^T P H; the angle of a pair has the slope
    dp_sin cos - dp_cos sin."""
    p, q = (_sinusoids(x, frequencies, hessian, order) for x in (rows, columns))
    wide, g_wide = astype(hessian, p.dtype), astype(g, p.dtype)
    mirrored = wide.swapaxes(-1, -2)
    dhessian = p.swapaxes(-1, -2) @ g_wide @ q
    drows, by_rows = _of_sinusoids(g_wide @ q @ mirrored, p, rows, frequencies, order)
    dcolumns, by_columns = _of_sinusoids(
        g_wide.swapaxes(-1, -2) @ p @ wide, q, columns, frequencies, order
    )
    return drows, dcolumns, astype(dhessian, hessian.dtype), by_rows + by_columns


@position_interaction.form("four_terms")
def position_interaction_four_terms(rows, columns, hessian, frequencies, /, *, order):
    """The four terms of every block, the sum over pairs of pairs written out."""
    _sinusoids(rows, frequencies, hessian, order)
    first, second = (0, 1) if order == "cos_first" else (1, 0)
    b00, b01 = hessian[..., first::2, first::2], hessian[..., first::2, second::2]
    b10, b11 = hessian[..., second::2, first::2], hessian[..., second::2, second::2]
    x, y = angles_of(rows, frequencies), angles_of(columns, frequencies)
    x, y = x[..., :, None, :, None], y[..., None, :, None, :]
    xp = namespace(hessian)

    def term(table, weight):
        block = (weight / 2)[..., None, None, :, :]
        return (astype(table, hessian.dtype) * block).sum(axis=(-2, -1))

    relative = term(xp.cos(x - y), b00 + b11) + term(xp.sin(x - y), b10 - b01)
    return relative + term(xp.cos(x + y), b00 - b11) + term(xp.sin(x + y), b10 + b01)


def _sinusoids(positions, frequencies, hessian, order):
    """p of each position, (..., n, 2h), float64."""
    if order not in ("cos_first", "sin_first"):
        raise ValueError(f"order: expected 'cos_first' or 'sin_first', got {order!r}")
    h = frequencies.shape[-1]
    if hessian.shape[-1] != 2 * h:
        raise ValueError(
            f"hessian: expected {2 * h} rows, two for each frequency, got {hessian.shape[-1]}"
        )
    xp, angles = namespace(hessian), angles_of(positions, frequencies)
    pair = [xp.cos(angles), xp.sin(angles)]
    stacked = xp.stack(pair if order == "cos_first" else pair[::-1], axis=-1)
    return stacked.reshape(*angles.shape[:-1], 2 * h)


def _of_sinusoids(dp, p, positions, frequencies, order):
    """Gradients in positions and frequencies from those in p."""
    cos, sin = (0, 1) if order == "cos_first" else (1, 0)
    slopes = dp[..., sin::2] * p[..., cos::2] - dp[..., cos::2] * p[..., sin::2]
    return from_angles(slopes, positions, frequencies)
