"""Interactions of positions: of two sinusoids, and in any function expanded to second order."""

from __future__ import annotations

from typing import Any, Literal

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
    rows: Any,
    columns: Any,
    hessian: Any,
    frequencies: Any,
    /,
    *,
    order: Literal["sin_first", "cos_first"],
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


# -------------------------------------------------------------------------------------- expansion


@formula("(),(n,d),(n,n,d,d),(n,d)->(),(n),(n,n)", source="kexue.fm/archives/8231")
def position_expansion(value, gradients, hessian, encodings, /):
    r"""A function of tokens expanded to the second order in the encodings added to them.

    Formula
    -------
    .. math:: f(x_1 + p_1, \dots, x_n + p_n) \approx
        f + \sum_m \alpha_m + \tfrac12 \sum_{m \ne n} \iota_{mn}

    .. math:: \alpha_m = p_m^T \frac{\partial f}{\partial x_m}
        + \tfrac12\, p_m^T \frac{\partial^2 f}{\partial x_m^2}\, p_m, \qquad
        \iota_{mn} = p_m^T \frac{\partial^2 f}{\partial x_m \partial x_n}\, p_n \ (m \ne n)

    Parameters
    ----------
    value : () or (...,) f at the tokens without encodings.
    gradients : (..., n, d) its gradient in each token.
    hessian : (..., n, n, d, d): at [m, n] the block with rows of token m and columns of token n,
        so that [n, m] is its transpose.
    encodings : (..., n, d) p.

    Returns
    -------
    expanded : () or (...,) the right side.
    absolute : (..., n) :math:`\alpha`, each of a single position.
    interactions : (..., n, n) :math:`\iota`, where two positions meet; zeros on the diagonal.

    Raises
    ------
    ValueError
        Shapes that do not fit.

    Conventions
    -----------
    The essay writes two tokens out, where the interaction stands once and without the half; here
    each pair stands twice. Of a Hessian that is not symmetric ``expanded`` sees the symmetric part.
    Attention logits :math:`x_m W_q W_k^T x_n^T` have the block :math:`W_q W_k^T`; with sinusoids
    their interaction is :func:`position_interaction`.

    Breaks when
    -----------
    The rest is of the third order in p: encodings must be small, and the essay finds those of BERT
    smaller than its words but not by much. A network without mask or encodings is symmetric in its
    tokens; absolute terms alone give each its position, and only interactions can tell distances.
    There are none where f is a sum over tokens; where it sees the sum of the tokens alone,
    encodings do not break its symmetry. Memory is that of the Hessian, (n d)^2.

    References
    ----------
    https://kexue.fm/archives/8231.

    Examples
    --------
    >>> import refimpl
    >>> product = 6.0, [[3.0], [2.0]], [[[[0.0]], [[1.0]]], [[[1.0]], [[0.0]]]]
    >>> expanded, absolute, _ = refimpl.position_expansion(*product, [[1.0], [2.0]])
    >>> float(expanded), absolute  # (2 + 1) (3 + 2)
    (15.0, array([3., 4.]))
    """
    xp = namespace(hessian)
    meetings = _meetings(hessian, encodings)
    own = xp.diagonal(meetings, axis1=-2, axis2=-1)
    absolute = (encodings * gradients).sum(axis=-1) + own / 2
    interactions = xp.where(_same_token(hessian), 0, meetings)
    expanded = value + absolute.sum(axis=-1) + interactions.sum(axis=(-2, -1)) / 2
    return expanded, absolute, interactions


@position_expansion.defvjp
def position_expansion_vjp(g, value, gradients, hessian, encodings, /):
    """Every term is in the expansion too; a block passes g through p_n to p_m, and back by its
    transpose."""
    xp = namespace(hessian)
    dexpanded, dabsolute, dinteractions = g
    dabsolute = dabsolute + dexpanded[..., None]
    dmeetings = xp.where(
        _same_token(hessian),
        dabsolute[..., :, None] / 2,
        dinteractions + dexpanded[..., None, None] / 2,
    )
    weighted = dmeetings[..., None, None] * hessian
    columns, rows = encodings[..., None, :, :, None], encodings[..., :, None, :, None]
    dencodings = (
        dabsolute[..., None] * gradients
        + (weighted @ columns).sum(axis=-3)[..., 0]
        + (weighted.swapaxes(-1, -2) @ rows).sum(axis=-4)[..., 0]
    )
    dhessian = dmeetings[..., None, None] * rows * columns.swapaxes(-1, -2)
    return dexpanded, dabsolute[..., None] * encodings, dhessian, dencodings


def _meetings(hessian, encodings):
    """p_m^T H_mn p_n, (..., n, n), for m = n as well."""
    rows, columns = encodings[..., :, None, None, :], encodings[..., None, :, :, None]
    return (rows @ hessian @ columns)[..., 0, 0]


def _same_token(hessian):
    return namespace(hessian).eye(hessian.shape[-3], dtype=bool)
