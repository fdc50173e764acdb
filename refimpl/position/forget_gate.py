"""The forget gate as a bias: what lies between a key and a query makes the key forgotten."""

from __future__ import annotations

from refimpl.backend import astype, namespace
from refimpl.core import log_sigmoid, sigmoid
from refimpl.formula import formula


@formula(
    "(n)->(n,n)",
    source="Lin et al. 2025 (Forgetting Transformer, arXiv:2503.02130), section 3",
)
def forget_gate_bias(gate_logits, /):
    r"""The bias of forgetting attention: logarithms of gates, added up from the key to the query.

    Formula
    -------
    .. math:: b_{ij} = \log \prod_{l=j+1}^{i} \sigma(x_l) = F_i - F_j, \qquad
        F_i = \sum_{l \le i} \log \sigma(x_l)

    for j <= i, and :math:`-\infty` for j > i. The gate of the query's own token counts, that of the
    key's does not: at j = i it is 0.

    Parameters
    ----------
    gate_logits : (..., n) x, a number for each token, of each head in a leading axis. The gate
        :math:`\sigma(x)` is open at infinity, closed at minus infinity.

    Returns
    -------
    (..., n, n) of x's type, none above 0: the ``bias`` of :func:`softmax_attention`, added after
    the scale of the logits. It is causal by itself.

    Raises
    ------
    TypeError
        Logits that are not real.

    Conventions
    -----------
    The released code is causal only: minus infinity after the query, where F_i - F_j would be
    positive. Padding before the text has open gates there. Equal gates are :func:`alibi_bias`
    with the slope :math:`-\log \sigma(x)`. In decoding, the last row is that of the next query.

    Breaks when
    -----------
    Nowhere. F_i - F_j, as in the released code and ``form="running_sums"``, loses digits where both
    are large, and is NaN after a gate that is closed altogether; the plain form adds up what lies
    between, for each key, in at least float64.

    References
    ----------
    Lin et al. 2025 (arXiv:2503.02130); zhixuan-lin/forgetting-transformer; fla-org/
    flash-linear-attention, ops/forgetting_attn/naive.py.

    Examples
    --------
    >>> import refimpl
    >>> refimpl.forget_gate_bias([5.0, 0.0, 0.0]).round(4)
    array([[ 0.    ,    -inf,    -inf],
           [-0.6931,  0.    ,    -inf],
           [-1.3863, -0.6931,  0.    ]])
    """
    xp = namespace(gate_logits)
    x = astype(gate_logits, xp.result_type(gate_logits.dtype, "float64"))
    is_later, is_seen = _order(gate_logits)
    # In column j only what comes after j counts: no difference of long sums.
    sums = xp.cumsum(xp.where(is_later, log_sigmoid(x)[..., :, None], 0.0), axis=-2)
    return astype(xp.where(is_seen, sums, -xp.inf), gate_logits.dtype)


@forget_gate_bias.form("running_sums", loses="running sums cancel")
def forget_gate_bias_running_sums(gate_logits, /):
    """F_i - F_j in x's type, at least float32, as in the released code.

    Its errors, a few roundings of F, are the baseline that lets an honest implementation pass.
    """
    xp = namespace(gate_logits)
    x = astype(gate_logits, xp.result_type(gate_logits.dtype, "float32"))
    sums = xp.cumsum(log_sigmoid(x), axis=-1)
    _, is_seen = _order(gate_logits)
    bias = xp.where(is_seen, sums[..., :, None] - sums[..., None, :], -xp.inf)
    return astype(bias, gate_logits.dtype)


@forget_gate_bias.defvjp
def forget_gate_bias_vjp(g, gate_logits, /):
    """Gate l is in every b_ij with j < l <= i; d log sigma(x) = sigma(-x) dx."""
    xp = namespace(gate_logits)
    is_later, is_seen = _order(gate_logits)
    g = xp.where(is_seen, astype(g, xp.result_type(g.dtype, "float64")), 0.0)
    later_rows = xp.flip(xp.cumsum(xp.flip(g, axis=-2), axis=-2), axis=-2)
    total = xp.where(is_later, later_rows, 0.0).sum(axis=-1)
    return (astype(total * sigmoid(-gate_logits), gate_logits.dtype),)


@forget_gate_bias.defvjp(form="running_sums")
def forget_gate_bias_running_sums_vjp(g, gate_logits, /):
    """By way of F: rows less columns of g, added up from the end."""
    xp = namespace(gate_logits)
    _, is_seen = _order(gate_logits)
    g = xp.where(is_seen, astype(g, xp.result_type(g.dtype, "float32")), 0)
    sums = xp.flip(g.sum(axis=-1) - g.sum(axis=-2), axis=-1)
    total = xp.flip(xp.cumsum(sums, axis=-1), axis=-1)
    return (astype(total * sigmoid(-gate_logits), gate_logits.dtype),)


def _order(gate_logits):
    """Where row i is later than column j, and where it is not earlier; (n, n)."""
    at = namespace(gate_logits).arange(gate_logits.shape[-1])
    return at[:, None] > at, at[:, None] >= at
