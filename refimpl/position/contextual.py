"""Contextual position (CoPE): tokens count as far as they open their gates."""

from __future__ import annotations

from refimpl.backend import astype, namespace
from refimpl.core import sigmoid
from refimpl.formula import formula
from refimpl.position.relative import picked, picked_vjp


@formula(
    "(n,d),(n,m),(p,d)->(n,m)",
    source="Golovneva et al. 2024 (CoPE, arXiv:2405.18719), eq. 3 to 6",
    keywords={"mask": "(n|1,m|1)"},
    kinds={"mask": "boolean"},
)
def contextual_bias(q, gate_logits, table, /, *, mask=None):
    r"""The bias of CoPE: a learned vector for how many tokens since the key opened their gate.

    Formula
    -------
    .. math:: p_{ij} = \min\Bigl(\sum_{k \ge j} \sigma(s_{ik}),\ P - 1\Bigr), \qquad
        b_{ij} = \langle q_i,\ (1 - w)\, e_{\lfloor p_{ij} \rfloor} + w\, e_{\lfloor p_{ij} \rfloor
        + 1} \rangle, \quad w = p_{ij} - \lfloor p_{ij} \rfloor

    where the sum is over the keys k that the query sees: for causal attention from j to the query.

    Parameters
    ----------
    q : (..., n, d) queries.
    gate_logits : (..., n, m) s; the gate of key k for query i is :math:`\sigma(s_{ik})`. Minus
        infinity closes a gate.
    table : (..., p, d) e, a vector for each whole position 0, ..., P - 1.
    mask : boolean (..., n, m), optional. True keeps: other gates are closed, whatever their logit.

    Returns
    -------
    (..., n, m): the ``bias`` of :func:`softmax_attention`, which needs the mask as well.

    Raises
    ------
    ValueError
        An empty table; a logit that is seen and NaN.

    Conventions
    -----------
    The gates of the paper are those of the attention logits q.k; published code passes them scaled
    by 1/sqrt(d), and after the causal mask has made them minus infinity. A mask that comes later
    counts tokens of the future. With all gates open the position is i - j + 1: the query's own key
    has 1, not 0. Another method, clipped RoPE (2026), has the same short name.

    Breaks when
    -----------
    The derivative by the gates jumps where a position is a whole number: it is that from above.
    Positions beyond P - 1 have none.

    References
    ----------
    Golovneva et al. 2024 (arXiv:2405.18719).

    Examples
    --------
    >>> import refimpl
    >>> table = [[0.0], [1.0], [2.0], [3.0]]
    >>> refimpl.contextual_bias([[10.0]], [[0.0, 0.0, 0.0]], table)
    array([[15., 10.,  5.]])
    """
    _, _, low, w, products = _parts(q, gate_logits, table, mask)
    high = namespace(q).minimum(low + 1, table.shape[-2] - 1)
    return (1 - w) * picked(products, low) + w * picked(products, high)


@contextual_bias.defvjp
def contextual_bias_vjp(g, q, gate_logits, table, /, *, mask=None):
    """dp_ij = g_ij <q_i, e_high - e_low>; a gate moves the positions of its key and all before."""
    slopes, is_counted, low, w, products = _parts(q, gate_logits, table, mask)
    xp = namespace(q)
    rows = table.shape[-2]
    high = xp.minimum(low + 1, rows - 1)
    by_row = picked_vjp((1 - w) * g, low, rows) + picked_vjp(w * g, high, rows)
    dp = xp.where(is_counted, g * (picked(products, high) - picked(products, low)), 0)
    dlogits = astype(xp.cumsum(dp, axis=-1), q.dtype) * slopes
    return by_row @ table, dlogits, by_row.swapaxes(-1, -2) @ q


def _parts(q, gate_logits, table, mask):
    """Slopes of the gates, where positions are not clipped, their whole part and rest, and q.e."""
    xp = namespace(q)
    rows = table.shape[-2]
    if rows == 0:
        raise ValueError("table: expected at least one row, got none")
    gates, closed = sigmoid(gate_logits), sigmoid(-gate_logits)
    slopes = gates * closed
    if mask is not None:
        gates, slopes = (xp.where(mask, x, 0).astype(q.dtype) for x in (gates, slopes))
    if bool(xp.isnan(gates).any()):
        raise ValueError("gate_logits: expected no NaN where the mask keeps")
    positions = xp.cumsum(gates[..., ::-1], axis=-1, dtype=q.dtype)[..., ::-1]
    clipped = xp.minimum(positions, rows - 1)
    whole = xp.floor(clipped)
    products = q @ table.swapaxes(-1, -2)
    return slopes, positions < rows - 1, astype(whole, "int64"), clipped - whole, products
