"""Untied positions (TUPE): content and position are correlated apart, and then added."""

from __future__ import annotations

from refimpl.backend import namespace
from refimpl.formula import formula
from refimpl.position.relative import logit_scale


@formula(
    "(n,d),(m,d),(n,d),(m,d)->(n,m)",
    source="Ke et al. 2021 (TUPE, arXiv:2006.15595), eq. 7 to 10; kexue.fm/archives/8130",
    keywords={"bias": "(n|1,m|1)", "from_first": "()", "to_first": "()", "scale": "()"},
)
def untied_logits(
    q,
    k,
    position_queries,
    position_keys,
    /,
    *,
    bias=None,
    from_first=None,
    to_first=None,
    scale=None,
):
    r"""Attention logits of TUPE: products of contents plus products of positions.

    Formula
    -------
    .. math:: s_{ij} = \tau\, \langle q_i, k_j \rangle + v_{ij}, \qquad
        v_{ij} = \tau\, \langle \tilde q_i, \tilde k_j \rangle + b_{ij}

    and, where the first token is one of its own kind, v is :math:`\vartheta_1` in the first row and
    :math:`\vartheta_2` in the rest of the first column.

    Parameters
    ----------
    q : (..., n, d) and k : (..., m, d), of the contents.
    position_queries : (..., n, d); position_keys : (..., m, d). Encodings of the positions by
        projections of their own, :math:`p_i U_Q` and :math:`p_j U_K`; the same in all layers.
    bias : (..., n, m) or broadcastable, optional. b, for TUPE-R that of :func:`t5_bias`.
    from_first, to_first : () or (...,), both or none. :math:`\vartheta_1, \vartheta_2`, learned
        numbers that untie the first token (class) from positions.
    scale : () or (...,), optional. :math:`\tau`, by default 1/sqrt(2 d), as there are two terms.

    Returns
    -------
    (..., n, m): logits before mask and softmax.

    Raises
    ------
    ValueError
        One of ``from_first`` and ``to_first`` without the other; shapes that do not fit; d = 0
        without a scale.

    Conventions
    -----------
    A sum of embeddings has four terms; here the two of content with position are left out. The
    first row and column are those of the arrays: give all queries and keys, the class token first.
    The released code has no free numbers: its table of positions has a row more, and the first two
    give :math:`\vartheta_1 = \tau \langle \tilde q_0, \tilde k_0 \rangle + T_{B/2}` and
    :math:`\vartheta_2 = \tau \langle \tilde q_1, \tilde k_1 \rangle + T_B`, where T is the table of
    B buckets, its row B/2, which T5 never uses, and one more row. Both agree that the corner
    belongs to the first row.

    Breaks when
    -----------
    Never.

    References
    ----------
    Ke et al. 2021 (arXiv:2006.15595) and its code guolinke/TUPE; https://kexue.fm/archives/8130.

    Examples
    --------
    >>> import refimpl
    >>> one, places = [[1.0], [1.0]], [[1.0], [2.0]]
    >>> refimpl.untied_logits(one, one, places, places, scale=1.0, from_first=10.0, to_first=20.0)
    array([[11., 11.],
           [21.,  5.]])
    """
    tau, correlation = logit_scale(scale, q, 2), position_queries @ position_keys.swapaxes(-1, -2)
    position = tau * correlation if bias is None else tau * correlation + bias
    content = tau * (q @ k.swapaxes(-1, -2))
    if not _has_first(from_first, to_first):
        return content + position
    xp = namespace(q)
    row, column = _first(xp, q.shape[-2], k.shape[-2])
    others = xp.where(column, to_first[..., None, None], position)
    return content + xp.where(row, from_first[..., None, None], others)


@untied_logits.defvjp
def untied_logits_vjp(
    g,
    q,
    k,
    position_queries,
    position_keys,
    /,
    *,
    bias=None,
    from_first=None,
    to_first=None,
    scale=None,
):
    """Positions get the cotangents that their term shows in; the two numbers get the others."""
    xp = namespace(q)
    tau = logit_scale(scale, q, 2)
    kept, dfrom, dto = g, None, None
    if _has_first(from_first, to_first):
        row, column = _first(xp, q.shape[-2], k.shape[-2])
        kept = xp.where(row | column, 0, g)
        dfrom = xp.where(row, g, 0).sum(axis=(-2, -1))
        dto = xp.where(column & ~row, g, 0).sum(axis=(-2, -1))
    both = ((g, q, k), (kept, position_queries, position_keys))
    (dq, dk), (dqueries, dkeys) = (
        ((tau * c) @ keys, (tau * c).swapaxes(-1, -2) @ queries) for c, queries, keys in both
    )
    dscale = sum((c * (queries @ keys.swapaxes(-1, -2))).sum((-2, -1)) for c, queries, keys in both)
    return dq, dk, dqueries, dkeys, kept, dfrom, dto, dscale


def _has_first(from_first, to_first):
    if (from_first is None) != (to_first is None):
        raise ValueError("from_first, to_first: expected both or none")
    return from_first is not None


def _first(xp, n, m):
    """Where the query is the first token, and where the key is."""
    return xp.arange(n)[:, None] == 0, xp.arange(m)[None, :] == 0
