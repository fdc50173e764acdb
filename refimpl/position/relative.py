"""Keys and values that know their distance: Shaw's relative attention and DeBERTa's."""

from __future__ import annotations

from typing import Annotated, Literal

from refimpl.backend import namespace
from refimpl.core import gather_rows, scatter_rows, weighted_sum
from refimpl.formula import formula
from refimpl.formula.options import Choice, Distance
from refimpl.position.buckets import deberta_log_buckets
from refimpl.position.distances import whole_distances

_SHAW = "Shaw et al. 2018 (arXiv:1803.02155), eq. 3 and 4; kexue.fm/archives/8130"
_POSITIONS = {"query_positions": "index", "key_positions": "index"}
P2cIndex = Annotated[
    str,
    Choice(("paper", "code"), ("delta(j, i)", "delta(i, j), as in all released models")),
]


# ------------------------------------------------------------------------- columns of a matrix


def picked(matrix, index):
    """Entry index[i, j] of row i, (..., n, m), of a matrix (..., n, r)."""
    return gather_rows(matrix[..., None], index)[..., 0]


def picked_vjp(g, index, count: int):
    """The adjoint of :func:`picked`: (..., n, count)."""
    return scatter_rows(g[..., None], index, count)[..., 0]


def row_of_distance(table, query_positions, key_positions, order):
    """The row of the table for each pair: distance 0 is in the middle, ends are for all beyond."""
    rows = table.shape[-2]
    if rows % 2 == 0:
        raise ValueError(f"table: expected an odd number of rows, 2 k + 1, got {rows}")
    distance = whole_distances(query_positions, key_positions)
    distance = -distance if order == "k_minus_q" else distance
    return namespace(table).clip(distance, -(rows // 2), rows // 2) + rows // 2


# ------------------------------------------------------------------------------------------- Shaw


@formula(
    "(n,d),(m,d),(r,d),(n),(m)->(n,m)",
    source=_SHAW,
    keywords={"scale": "()"},
    kinds=_POSITIONS,
)
def relative_attention_logits(
    q,
    k,
    table,
    query_positions,
    key_positions,
    /,
    *,
    order: Literal["k_minus_q", "q_minus_k"],
    scale=None,
):
    r"""Attention logits with a vector for the distance added to each key (Shaw, NEZHA).

    Formula
    -------
    .. math:: s_{ij} = \tau\, \langle q_i,\ k_j + P_{c(i,j)} \rangle, \qquad
        c(i, j) = \operatorname{clip}(j - i, -K, K) + K

    for ``order="k_minus_q"``, and i - j in place of j - i for ``"q_minus_k"``.

    Parameters
    ----------
    q : (..., n, d) queries; k : (..., m, d) keys.
    table : (..., r, d) P with r = 2K + 1 rows, from distance -K to K; shared by heads.
    query_positions : integers (..., n) i; key_positions : (..., m) j. After a cache of c keys the
        first query has the position c.
    order : "k_minus_q" or "q_minus_k". Which distance the rows of the table ascend in.
    scale : () or (...,), optional. :math:`\tau`, by default 1/sqrt(d).

    Returns
    -------
    (..., n, m): logits before mask and softmax. :func:`relative_attention_values` is the other half
    of the layer.

    Raises
    ------
    ValueError
        An even number of rows; an unknown order; shapes that do not fit; d = 0 without a scale.
    TypeError
        No order; positions that are no integers.

    Conventions
    -----------
    Shaw et al., tensor2tensor and bert4keras have key minus query; archives/8130 has query minus
    key. A table of one is that of the other upside down. The essay's range need not be symmetric:
    repeat the row of the nearer end. NEZHA has fixed sinusoids as rows, K = 64. The scale
    multiplies both terms.

    Breaks when
    -----------
    All distances beyond K share a row, so that far order is not seen.

    References
    ----------
    Shaw et al. 2018 (arXiv:1803.02155); Wei et al. 2019, NEZHA (arXiv:1909.00204);
    https://kexue.fm/archives/8130.

    Examples
    --------
    >>> import refimpl
    >>> table, places = [[1.0], [10.0], [100.0]], [0, 1, 2]
    >>> refimpl.relative_attention_logits(
    ...     [[1.0]], [[0.0]] * 3, table, [1], places, order="k_minus_q")
    array([[  1.,  10., 100.]])
    """
    index = row_of_distance(table, query_positions, key_positions, order)
    return logit_scale(scale, q) * (
        q @ k.swapaxes(-1, -2) + picked(q @ table.swapaxes(-1, -2), index)
    )


@relative_attention_logits.defvjp
def relative_attention_logits_vjp(
    g, q, k, table, query_positions, key_positions, /, *, order, scale=None
):
    """The cotangents of all pairs of a query that share a row of the table add up."""
    index = row_of_distance(table, query_positions, key_positions, order)
    raw = q @ k.swapaxes(-1, -2) + picked(q @ table.swapaxes(-1, -2), index)
    ds = g * logit_scale(scale, q)
    by_row = picked_vjp(ds, index, table.shape[-2])
    dq, dk = ds @ k + by_row @ table, ds.swapaxes(-1, -2) @ q
    return dq, dk, by_row.swapaxes(-1, -2) @ q, (g * raw).sum(axis=(-2, -1))


def logit_scale(scale, q, terms: int = 1):
    """The scale next to (..., n, m)."""
    if scale is None and q.shape[-1] == 0:
        raise ValueError("scale: there is no default for d = 0, give it")
    return (terms * q.shape[-1]) ** -0.5 if scale is None else scale[..., None, None]


@formula(
    "(n,m),(m,v),(r,v),(n),(m)->(n,v)",
    source=_SHAW,
    kinds=_POSITIONS,
)
def relative_attention_values(
    weights,
    values,
    table,
    query_positions,
    key_positions,
    /,
    *,
    order: Literal["k_minus_q", "q_minus_k"],
):
    r"""The mean of values, each with a vector for its distance from the query (Shaw).

    Formula
    -------
    .. math:: o_i = \sum_j A_{ij} (v_j + P_{c(i,j)})

    with c as in :func:`relative_attention_logits`, for any weights A.

    Parameters
    ----------
    weights : (..., n, m) A, attention weights.
    values : (..., m, v).
    table : (..., r, v) P with r = 2K + 1 rows; not that of the keys.
    query_positions : integers (..., n) i; key_positions : (..., m) j.
    order : "k_minus_q" or "q_minus_k".

    Returns
    -------
    (..., n, v).

    Raises
    ------
    ValueError, TypeError
        As :func:`relative_attention_logits`.

    Conventions
    -----------
    Of the methods in archives/8130 this and NEZHA have a term on the values; Transformer-XL, T5 and
    DeBERTa have none.

    Breaks when
    -----------
    Never; a value, or a row of the table, of weight 0 is absent, even if it is not finite.

    References
    ----------
    Shaw et al. 2018 (arXiv:1803.02155); https://kexue.fm/archives/8130.

    Examples
    --------
    >>> import refimpl
    >>> refimpl.relative_attention_values(
    ...     [[0.25, 0.75]], [[0.0], [0.0]], [[1.0], [2.0], [4.0]], [0], [0, 1], order="k_minus_q")
    array([[3.5]])
    """
    index = row_of_distance(table, query_positions, key_positions, order)
    by_row = picked_vjp(weights, index, table.shape[-2])
    return weighted_sum(weights, values) + weighted_sum(by_row, table)


@relative_attention_values.defvjp
def relative_attention_values_vjp(
    g, weights, values, table, query_positions, key_positions, /, *, order
):
    """dA_ij = <g_i, v_j + P_c(i,j)>; the table gets the weights of its distances."""
    index = row_of_distance(table, query_positions, key_positions, order)
    by_row = picked_vjp(weights, index, table.shape[-2])
    dweights = g @ values.swapaxes(-1, -2) + picked(g @ table.swapaxes(-1, -2), index)
    return dweights, weights.swapaxes(-1, -2) @ g, by_row.swapaxes(-1, -2) @ g


# ---------------------------------------------------------------------------------------- DeBERTa


@formula(
    "(n,d),(m,d),(r,d),(r,d),(n),(m)->(n,m)",
    source="He et al. 2021 (DeBERTa, arXiv:2006.03654), eq. 2 to 4; kexue.fm/archives/8130",
    keywords={"scale": "()"},
    kinds=_POSITIONS,
)
def disentangled_logits(
    q,
    k,
    position_queries,
    position_keys,
    query_positions,
    key_positions,
    /,
    *,
    p2c_index: P2cIndex,
    log_buckets: bool = False,
    max_position: Distance = 512,
    scale=None,
):
    r"""Attention logits of DeBERTa: content with content, with position, and position with content.

    Formula
    -------
    .. math:: s_{ij} = \tau\, \bigl( \langle q_i, k_j \rangle + \langle q_i, K_{\delta(i,j)} \rangle
        + \langle k_j, Q_{\delta(j,i)} \rangle \bigr), \qquad
        \delta(i, j) = \operatorname{clip}(i - j + b,\ 0,\ 2b - 1)

    for ``p2c_index="paper"``; for ``"code"`` the last term has :math:`\delta(i, j)` too. With
    ``log_buckets`` the distance i - j is :func:`deberta_log_buckets` of bucket_size b.

    Parameters
    ----------
    q : (..., n, d) and k : (..., m, d), of the contents.
    position_queries : (..., r, d) Q; position_keys : (..., r, d) K. The table of relative
        positions, r = 2b rows, by the projections of queries and of keys.
    query_positions : integers (..., n) i; key_positions : (..., m) j.
    p2c_index : "paper" or "code". See Conventions.
    log_buckets : bool. True for DeBERTa v2 and v3 (b = 256).
    max_position : int. Where the buckets end.
    scale : () or (...,), optional. :math:`\tau`, by default 1/sqrt(3 d): one part for each term.

    Returns
    -------
    (..., n, m): logits before mask and softmax.

    Raises
    ------
    ValueError
        An odd number of rows; unknown ``p2c_index``; max_position too small for the buckets; d = 0
        without a scale.
    TypeError
        No ``p2c_index``; positions that are no integers.

    Conventions
    -----------
    Every released model has the code's index: Microsoft's and Hugging Face's third term is
    :math:`Q_{\delta(i,j)}`. The two are not interconvertible, as Q and K come from one table. v2
    and v3 project the table by the weights of the contents (``share_att_key``), after a layer norm.
    With fewer terms the 3 of the scale is one more than those of position. Absolute positions enter
    above: the last layer runs twice by the same weights, with keys and values of the layer below,
    the first time with a table of positions added to its queries only, the second time with the
    first's output as queries.

    Breaks when
    -----------
    Row 0 stands for all distances from -b down, the last row for those from b - 1 up: the clip is
    not symmetric.

    References
    ----------
    He et al. 2021 (arXiv:2006.03654); microsoft/DeBERTa issues 47 and 162;
    https://kexue.fm/archives/8130.

    Examples
    --------
    >>> import refimpl
    >>> one, rows = [[1.0]], [[1.0], [10.0], [100.0], [1000.0]]
    >>> refimpl.disentangled_logits(one, one, rows, rows, [0], [1], p2c_index="code", scale=1.0)
    array([[21.]])
    """
    options = p2c_index, log_buckets, max_position
    raw, *_ = _disentangled(
        q, k, position_queries, position_keys, query_positions, key_positions, *options
    )
    return logit_scale(scale, q, 3) * raw


@disentangled_logits.form("textbook")
def disentangled_logits_textbook(
    q,
    k,
    position_queries,
    position_keys,
    query_positions,
    key_positions,
    /,
    *,
    p2c_index,
    log_buckets=False,
    max_position=512,
    scale=None,
):
    """The three inner products of every pair, whose rows of the tables are written out."""
    xp = namespace(q)
    b = _half_of_rows(position_keys)
    distance = whole_distances(query_positions, key_positions)
    if log_buckets:
        options = {"bucket_size": b, "max_position": max_position}
        distance = deberta_log_buckets(query_positions, key_positions, **options)
    delta = xp.clip(distance + b, 0, 2 * b - 1)
    turned = xp.clip(-distance + b, 0, 2 * b - 1)
    n, m = delta.shape[-2:]

    def rows_at(table, index):
        rows = gather_rows(table, index.reshape(*index.shape[:-2], n * m))
        return rows.reshape(*rows.shape[:-2], n, m, table.shape[-1])

    content = xp.einsum("...nd,...md->...nm", q, k)
    to_keys = xp.einsum("...nd,...nmd->...nm", q, rows_at(position_keys, delta))
    third = delta if p2c_index == "code" else turned
    to_queries = xp.einsum("...md,...nmd->...nm", k, rows_at(position_queries, third))
    return logit_scale(scale, q, 3) * (content + to_keys + to_queries)


@disentangled_logits.defvjp
def disentangled_logits_vjp(
    g,
    q,
    k,
    position_queries,
    position_keys,
    query_positions,
    key_positions,
    /,
    *,
    p2c_index,
    log_buckets=False,
    max_position=512,
    scale=None,
):
    """Each table gets, in the row of a pair, the other content."""
    options = p2c_index, log_buckets, max_position
    raw, forward, backward = _disentangled(
        q, k, position_queries, position_keys, query_positions, key_positions, *options
    )
    rows = position_keys.shape[-2]
    ds = g * logit_scale(scale, q, 3)
    of_keys = picked_vjp(ds, forward, rows)
    of_queries = picked_vjp(ds.swapaxes(-1, -2), backward.swapaxes(-1, -2), rows)
    dq = ds @ k + of_keys @ position_keys
    dk = ds.swapaxes(-1, -2) @ q + of_queries @ position_queries
    dqueries, dkeys = of_queries.swapaxes(-1, -2) @ k, of_keys.swapaxes(-1, -2) @ q
    return dq, dk, dqueries, dkeys, (g * raw).sum(axis=(-2, -1))


def _disentangled(
    q, k, queries, keys, query_positions, key_positions, p2c_index, log_buckets, max_position
):
    """The three terms, and the rows of the tables for each pair in the second and the third."""
    half = _half_of_rows(keys)
    if log_buckets:
        options = {"bucket_size": half, "max_position": max_position}
        distance = deberta_log_buckets(query_positions, key_positions, **options)
    else:
        distance = whole_distances(query_positions, key_positions)
    xp = namespace(q)
    forward = xp.clip(half + distance, 0, 2 * half - 1)
    backward = forward if p2c_index == "code" else xp.clip(half - distance, 0, 2 * half - 1)
    by_key = picked(k @ queries.swapaxes(-1, -2), backward.swapaxes(-1, -2)).swapaxes(-1, -2)
    terms = q @ k.swapaxes(-1, -2), picked(q @ keys.swapaxes(-1, -2), forward), by_key
    return terms[0] + terms[1] + terms[2], forward, backward


def _half_of_rows(keys):
    """b, where the tables of relative positions have 2 b rows."""
    rows = keys.shape[-2]
    if rows % 2 or rows == 0:
        raise ValueError(f"position_keys: expected an even number of rows, 2 b, got {rows}")
    return rows // 2
