"""Logits of Transformer-XL by direct indexing, and the shift with which public code gets them."""

from __future__ import annotations

from typing import Literal

from refimpl.backend import namespace, scalar
from refimpl.core import gather_rows, scatter_rows
from refimpl.formula import formula
from refimpl.formula.options import Whole
from refimpl.position.distances import whole_distances
from refimpl.position.relative import logit_scale, picked, picked_vjp


@formula(
    "(n,d),(m,d),(d),(d),(r,d),(n),(m)->(n,m)",
    source="Dai et al. 2019 (arXiv:1901.02860), section 3.3; kexue.fm/archives/8130",
    keywords={"scale": "()"},
    kinds={"query_positions": "index", "key_positions": "index"},
)
def transformer_xl_logits(
    q,
    k,
    content_bias,
    position_bias,
    distance_keys,
    query_positions,
    key_positions,
    /,
    *,
    lowest: Whole = 0,
    clip: bool = False,
    scale=None,
):
    r"""Attention logits of Transformer-XL and XLNet: content, distance, and a bias for either.

    Formula
    -------
    .. math:: s_{ij} = \tau\, \bigl( \langle q_i + u, k_j \rangle + \langle q_i + v, R_{i-j} \rangle
        \bigr)

    Parameters
    ----------
    q : (..., n, d) queries; k : (..., m, d) keys.
    content_bias : (..., d) u; position_bias : (..., d) v. One of each for a head.
    distance_keys : (..., r, d) R, a row for each distance query minus key: ``lowest``,
        ``lowest`` + 1, ... The sinusoid of the distance, projected by W_{k,R}.
    query_positions : integers (..., n) i; key_positions : (..., m) j. With a memory of c tokens the
        first query has the position c.
    lowest : int. The distance of the first row: 0 for causal attention, negative where later keys
        are seen.
    clip : bool. Distances without a row take the nearest one (``clamp_len`` of the code); with a
        causal mask also those of later keys, which the mask hides.
    scale : () or (...,), optional. :math:`\tau`, by default 1/sqrt(d).

    Returns
    -------
    (..., n, m): logits before mask and softmax. Values have no term of position.

    Raises
    ------
    IndexError
        A distance without a row, unless ``clip``.
    ValueError
        ``lowest`` that is not whole; no row at all; d = 0 without a scale.
    TypeError
        Positions that are no integers.

    Conventions
    -----------
    Released code has the rows in descending order, from distance m - 1 to 0 (Transformer-XL) or
    from m to 1 - n (XLNet), and gets at them by :func:`relative_shift`. The sinusoids there are
    [sin, cos] in halves. Every layer has its own R; u and v are shared by layers unless
    ``untie_r``.

    Breaks when
    -----------
    Never; there is no shift here that leaves wrong numbers above the diagonal.

    References
    ----------
    Dai et al. 2019 (arXiv:1901.02860); Yang et al. 2019, XLNet (arXiv:1906.08237);
    https://kexue.fm/archives/8130.

    Examples
    --------
    >>> import refimpl
    >>> zero, rows = [0.0], [[1.0], [10.0], [100.0]]
    >>> refimpl.transformer_xl_logits([[1.0]], [zero] * 3, zero, zero, rows, [2], [0, 1, 2])
    array([[100.,  10.,   1.]])
    """
    index = _row_of_distance(distance_keys, query_positions, key_positions, lowest, clip)
    raw, *_ = _terms(q, k, content_bias, position_bias, distance_keys, index)
    return logit_scale(scale, q) * raw


@transformer_xl_logits.defvjp
def transformer_xl_logits_vjp(
    g,
    q,
    k,
    content_bias,
    position_bias,
    distance_keys,
    query_positions,
    key_positions,
    /,
    *,
    lowest=0,
    clip=False,
    scale=None,
):
    """du = sum of what the keys give to all queries, dv = that of the distances; dq is both."""
    index = _row_of_distance(distance_keys, query_positions, key_positions, lowest, clip)
    raw, with_u, with_v = _terms(q, k, content_bias, position_bias, distance_keys, index)
    ds = g * logit_scale(scale, q)
    by_row = picked_vjp(ds, index, distance_keys.shape[-2])
    by_content, by_distance = ds @ k, by_row @ distance_keys
    return (
        by_content + by_distance,
        ds.swapaxes(-1, -2) @ with_u,
        by_content.sum(axis=-2),
        by_distance.sum(axis=-2),
        by_row.swapaxes(-1, -2) @ with_v,
        (g * raw).sum(axis=(-2, -1)),
    )


def _terms(q, k, content_bias, position_bias, distance_keys, index):
    """The logits before the scale, and the queries with either bias."""
    with_u, with_v = q + content_bias[..., None, :], q + position_bias[..., None, :]
    by_distance = picked(with_v @ distance_keys.swapaxes(-1, -2), index)
    return with_u @ k.swapaxes(-1, -2) + by_distance, with_u, with_v


def _row_of_distance(distance_keys, query_positions, key_positions, lowest, clip):
    """The row for each pair; IndexError where there is none."""
    rows = distance_keys.shape[-2]
    index = whole_distances(query_positions, key_positions) - lowest
    xp = namespace(index)
    if rows == 0:
        raise ValueError("distance_keys: expected at least one row, got none")
    if clip:
        return xp.clip(index, 0, rows - 1)
    if index.size and not scalar(((index >= 0) & (index < rows)).all()):
        low, high = (int(scalar(bound)) + lowest for bound in (index.min(), index.max()))
        raise IndexError(
            f"distance_keys: rows for the distances {lowest} to {lowest + rows - 1}, but "
            f"positions differ by {low} to {high}: give more rows, or clip=True"
        )
    return index


@formula(
    "(l,k)->(l,m)",
    source="Dai et al. 2019 (arXiv:1901.02860), appendix B; zihangdai/xlnet",
)
def relative_shift(x, /, *, variant: Literal["transformer_xl", "xlnet"]):
    r"""The shift that turns columns by distance into columns by key, with all that it puts there.

    Formula
    -------
    ``variant="transformer_xl"`` puts a column of zeros before the l rows of k columns, and reads on
    in rows of k from the place l: with :math:`p = [0 \mid x]` in one row after another

    .. math:: y_{ij} = p_{\,l + i k + j}, \qquad\text{for } l \le k\quad y_{ij} = \begin{cases}
        x_{i,\,l - 1 - i + j} & j \le k - l + i \\ 0 & j = k - l + i + 1 \\
        x_{i+1,\,j - (k - l + i + 2)} & j \ge k - l + i + 2 \end{cases}

    ``"xlnet"`` gives :math:`y_{ij} = x_{i,\,l - i + j}` in k - l columns.

    Parameters
    ----------
    x : (..., l, k). Row i is a query, the last of l. Transformer-XL: k keys, column p stands for
        the distance k - 1 - p. XLNet: k - l keys, column p stands for the distance k - l - p.
    variant : "transformer_xl" or "xlnet".

    Returns
    -------
    (..., l, k), or (..., l, k - l) (none where k < l). Column j is the key j.

    Raises
    ------
    ValueError
        Unknown variant.

    Conventions
    -----------
    What ends up to the right of the diagonal in Transformer-XL is no logit of its row: a zero, then
    the start of the next row. A causal mask must hide it. XLNet's has all distances, and nothing
    wrong.

    Breaks when
    -----------
    Attention that sees later keys (encoders, Conformer) uses the shift of Transformer-XL: it then
    attends by the logits of another query. :func:`transformer_xl_logits` needs no shift.

    References
    ----------
    Dai et al. 2019 (arXiv:1901.02860); espnet/espnet issue 2684, kimiyoung/transformer-xl issues
    132 and 138 (without a mask); labmlai/annotated_deep_learning_paper_implementations issue 185.

    Examples
    --------
    >>> import refimpl
    >>> refimpl.relative_shift([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]], variant="transformer_xl")
    array([[3., 0., 4.],
           [5., 6., 0.],
           [7., 8., 9.]])
    """
    source, place, columns = _shifted(x, variant)
    y = gather_rows(source.reshape(*x.shape[:-2], source.shape[-2] * source.shape[-1], 1), place)
    return y.reshape(*x.shape[:-1], columns)


@relative_shift.defvjp
def relative_shift_vjp(g, x, /, *, variant):
    """Every entry goes back to where it came from."""
    source, place, columns = _shifted(x, variant)
    n, width = source.shape[-2:]
    flat = scatter_rows(g.reshape(*g.shape[:-2], n * columns, 1), place, n * width)
    # The column of zeros comes first, where there is one.
    return (flat.reshape(*x.shape[:-1], width)[..., width - x.shape[-1] :],)


def _shifted(x, variant):
    """What is read from, the places in it in order (n m), and the number of columns m."""
    xp = namespace(x)
    n, k = x.shape[-2:]
    if variant == "xlnet":
        source, step, columns = x, k - 1, max(k - n, 0)
    else:
        source, step, columns = xp.concatenate([xp.zeros_like(x[..., :1]), x], axis=-1), k, k
    return source, (n + step * xp.arange(n)[:, None] + xp.arange(columns)).ravel(), columns


@relative_shift.form("reshape")
def relative_shift_reshape(x, /, *, variant):
    """As released: rows of one length are read as rows of another, and the first is dropped."""
    source, _, columns = _shifted(x, variant)
    *batch, n, width = source.shape
    turned = source.reshape(*batch, width, n)[..., 1:, :]
    return turned.reshape(*batch, n, width - 1)[..., :columns]
