"""Encodings of position from tables: learned, hierarchical, and interpolated."""

from __future__ import annotations

from typing import Literal

from refimpl.backend import astype, namespace
from refimpl.core import gather_rows, scatter_rows, weighted_sum
from refimpl.formula import formula
from refimpl.formula.options import Count, Finite, Whole


@formula(
    "(r,d),(n)->(n,d)",
    source="Gehring et al. 2017 (arXiv:1705.03122), section 3.1; kexue.fm/archives/8130",
    kinds={"positions": "index"},
)
def learned_encoding(table, positions, /, *, offset: Whole = 0):
    r"""Rows of a learned table, one for each position.

    Formula
    -------
    .. math:: p_k = E_{k + o}

    Parameters
    ----------
    table : (..., r, d) E.
    positions : integers (..., n) k, from 0.
    offset : int. o, the row of position 0.

    Returns
    -------
    (..., n, d) of the table's type, to be added to the embeddings of tokens.

    Raises
    ------
    IndexError
        A position without a row. None is clamped or wrapped.
    ValueError
        An offset that is not whole.
    TypeError
        Positions that are no integers.

    Conventions
    -----------
    BERT and GPT-2 have offset 0; BART and OPT 2, RoBERTa and fairseq padding index + 1, which is 2
    as well: their tables are as much longer. With left padding the position of a token is the
    number of unpadded tokens before it, cumsum(mask) - 1.

    Breaks when
    -----------
    Positions beyond the table have no row: see :func:`hierarchical_encoding` and
    :func:`interpolated_encoding`.

    References
    ----------
    Gehring et al. 2017 (arXiv:1705.03122); https://kexue.fm/archives/8130; huggingface/transformers
    issues 19240 (offset) and 19581 (padding).

    Examples
    --------
    >>> import refimpl
    >>> refimpl.learned_encoding([[0.0], [1.0], [2.0], [3.0]], [0, 1, 1], offset=2)
    array([[2.],
           [3.],
           [3.]])
    """
    return gather_rows(table, _rows(positions, offset, table.shape[-2]))


@learned_encoding.defvjp
def learned_encoding_vjp(g, table, positions, /, *, offset=0):
    """The cotangents of all tokens at a position add up in its row."""
    rows = table.shape[-2]
    return (scatter_rows(g, _rows(positions, offset, rows), rows),)


def _rows(positions, offset, rows):
    """k + o; IndexError, in terms of positions, where there is no such row."""
    index = astype(positions, "int64") + offset
    if index.size and not bool(((index >= 0) & (index < rows)).all()):
        low, high = int(positions.min()), int(positions.max())
        raise IndexError(
            f"positions: expected {-offset} to {rows - 1 - offset} for a table of {rows} rows and "
            f"offset {offset}, got {low} to {high}"
        )
    return index


@formula(
    "(r,d),(n)->(n,d)",
    source="Su 2020, kexue.fm/archives/7947",
    keywords={"alpha": "()"},
    kinds={"positions": "index"},
)
def hierarchical_encoding(table, positions, /, *, alpha=0.4):
    r"""A table of r positions extended to r^2, as quotient and remainder.

    Formula
    -------
    .. math:: q_{r i + j} = \alpha\, u_i + (1 - \alpha)\, u_j, \qquad
        u_k = \frac{p_k - \alpha\, p_0}{1 - \alpha}, \qquad 0 \le i, j < r

    so that :math:`q_k = p_k` for k < r: a trained table stays what it is.

    Parameters
    ----------
    table : (..., r, d) p, trained.
    positions : integers (..., n), from 0 to r^2 - 1.
    alpha : () or (...,), in (0, 1) and not 1/2. Where it is 1/2, (i, j) and (j, i) are the same.

    Returns
    -------
    (..., n, d).

    Raises
    ------
    ValueError
        alpha not in (0, 1), or 1/2.
    IndexError
        A position beyond r^2 - 1, or a negative one.

    Conventions
    -----------
    The essay counts from 1 and takes 0.4, as bert4keras does; here positions count from 0.

    Breaks when
    -----------
    alpha is close to 1, where u is large.

    References
    ----------
    https://kexue.fm/archives/7947, /8130; bojone/bert4keras.

    Examples
    --------
    >>> import refimpl
    >>> refimpl.hierarchical_encoding([[1.0], [2.0], [4.0]], [0, 2, 3, 8]).ravel().round(6)
    array([1.      , 4.      , 1.666667, 6.      ])
    """
    a = _alpha(alpha, table)
    base, high, low = _digits(table, positions)
    u = (table - a * table[..., :1, :]) / (1 - a)
    return a * gather_rows(u, high) + (1 - a) * gather_rows(u, low)


@hierarchical_encoding.defvjp
def hierarchical_encoding_vjp(g, table, positions, /, *, alpha=0.4):
    """dp from du, with row 0 in all of u; dalpha from the mixture and from u itself."""
    a = _alpha(alpha, table)
    rows, high, low = _digits(table, positions)
    xp = namespace(table)
    rest = table - table[..., :1, :]
    du = a * scatter_rows(g, high, rows) + (1 - a) * scatter_rows(g, low, rows)
    first = -a / (1 - a) * du.sum(axis=-2, keepdims=True)
    others = xp.zeros_like(du[..., 1:, :])
    dtable = du / (1 - a) + xp.concatenate([first, others], axis=-2)
    # u_i - u_j, and a du_i/da + (1 - a) du_j/da with du/da = rest/(1 - a)^2.
    of_high, of_low = gather_rows(rest, high), gather_rows(rest, low)
    slope = (of_high - of_low) / (1 - a) + (a * of_high + (1 - a) * of_low) / (1 - a) ** 2
    return dtable, (g * slope).sum(axis=(-2, -1))


def _alpha(alpha, table):
    """alpha next to (..., r, d)."""
    xp = namespace(table)
    a = xp.asarray(alpha, dtype=table.dtype)
    if not bool(((a > 0) & (a < 1) & (a != 0.5)).all()):
        raise ValueError("alpha: expected numbers in (0, 1) other than 1/2")
    return a[..., None, None]


def _digits(table, positions):
    """The base r, and quotients and remainders of the positions."""
    rows = table.shape[-2]
    if positions.size and not bool(((positions >= 0) & (positions < rows * rows)).all()):
        low, high = int(positions.min()), int(positions.max())
        raise IndexError(f"positions: expected 0 to {rows * rows - 1}, got {low} to {high}")
    positions = astype(positions, "int64")
    return rows, positions // max(rows, 1), positions % max(rows, 1)


# ---------------------------------------------------------------------------------- interpolation


@formula(
    "(r,d)->(n,d)",
    source="Dosovitskiy et al. 2021 (ViT, arXiv:2010.11929), section 3.2; Keys 1981, eq. 15",
)
def interpolated_encoding(
    table,
    /,
    *,
    length: Count,
    align_corners: bool,
    kernel: Literal["linear", "cubic"] = "linear",
    cubic: Finite = -0.75,
):
    r"""A learned table stretched or shrunk to another number of positions.

    Formula
    -------
    .. math:: p_k = \sum_s w(x_k - s)\, E_s, \qquad x_k = \begin{cases} k\,\frac{r - 1}{n - 1} &
        \text{align\_corners} \\ (k + \tfrac12)\,\frac{r}{n} - \tfrac12 & \text{else} \end{cases}

    over the two or four rows next to x; rows beyond an end are the end's. w is
    :math:`1 - |t|` for "linear" and, for "cubic" with a = ``cubic``,

    .. math:: w(t) = \begin{cases} (a + 2)|t|^3 - (a + 3)|t|^2 + 1 & |t| \le 1 \\
        a|t|^3 - 5a|t|^2 + 8a|t| - 4a & 1 < |t| < 2 \end{cases}

    Parameters
    ----------
    table : (..., r, d) E, for positions on a line. A grid is interpolated along one axis, then
        along the other.
    length : int >= 1. n.
    align_corners : bool. Whether the ends of both tables meet (True), or the ends of their cells.
    kernel : "linear" or "cubic".
    cubic : number. a; -0.75 in PyTorch and OpenCV, -0.5 in TensorFlow, JAX and Pillow.

    Returns
    -------
    (..., n, d). The weights of every position add up to 1.

    Raises
    ------
    ValueError
        ``length`` < 1; an unknown kernel; an empty table.
    TypeError
        No ``align_corners``.

    Conventions
    -----------
    Tables of ViT keep the row of the class token aside. Codes that pass a scale factor n/r instead
    of n get n by rounding, and x from the factor: DINO adds 0.1 to the size to hit it. Antialiasing
    (JAX, DINOv2 with registers) widens w when shrinking: that is not done here.

    Breaks when
    -----------
    Shrinking by more than two skips rows. One position of many (n = 1, align_corners) is the first.

    References
    ----------
    Keys 1981, IEEE Trans. ASSP 29(6); Dosovitskiy et al. 2021 (arXiv:2010.11929);
    facebookresearch/dino issue 8; facebookresearch/dinov2 issues 378, 468.

    Examples
    --------
    >>> import refimpl
    >>> refimpl.interpolated_encoding([[0.0], [3.0]], length=4, align_corners=True).ravel()
    array([0., 1., 2., 3.])
    """
    # A row that is not finite stays next to its own positions.
    return weighted_sum(_interpolation(table, length, align_corners, kernel, cubic), table)


@interpolated_encoding.defvjp
def interpolated_encoding_vjp(g, table, /, *, length, align_corners, kernel="linear", cubic=-0.75):
    """The weights, transposed."""
    weights = _interpolation(table, length, align_corners, kernel, cubic)
    return (weighted_sum(weights.T, g),)


def _interpolation(table, length, align_corners, kernel, cubic):
    """The weights (n, r), in the table's type: computed in float64."""
    xp = namespace(table)
    rows = table.shape[-2]
    if rows == 0:
        raise ValueError("table: expected at least one row, got none")
    k = xp.arange(length, dtype=xp.result_type(table.dtype, "float64"))
    x = k * (rows - 1) / max(length - 1, 1) if align_corners else (k + 0.5) * rows / length - 0.5
    weights = xp.zeros((length, rows), dtype=k.dtype)
    row = xp.arange(rows)
    for step in (0, 1) if kernel == "linear" else (-1, 0, 1, 2):
        source = xp.floor(x) + step
        t = xp.abs(x - source)
        w = 1 - t if kernel == "linear" else _keys(t, cubic)
        weights = weights + xp.where(xp.clip(source, 0, rows - 1)[:, None] == row, w[:, None], 0)
    return astype(weights, table.dtype)


def _keys(t, a):
    """Keys' cubic at distances t >= 0."""
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    return namespace(t).where(t <= 1, near, ((a * t - 5 * a) * t + 8 * a) * t - 4 * a)
