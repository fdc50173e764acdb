"""Efficient attention: one softmax over the features of queries, one over the positions of keys."""

from __future__ import annotations

from typing import Literal

from refimpl.backend import namespace
from refimpl.core import softmax, softmax_vjp, weighted_sum
from refimpl.formula import formula


@formula(
    "(n,d),(m,d),(m,v)->(n,v)",
    keywords={"mask": "(m)"},
    kinds={"mask": "boolean"},
    source="Shen et al. 2018 (arXiv:1812.01243), eq. 4; kexue.fm/archives/7546; 8180, eq. 3",
)
def efficient_attention(q, k, v, /, *, mask=None):
    r"""Attention with a softmax over the features of each query and one over the keys' positions.

    Formula
    -------
    .. math:: O = \rho(Q)\, \bigl(\sigma(K)^T V\bigr), \qquad
        \rho(Q)_{ic} = \frac{e^{Q_{ic}}}{\sum_b e^{Q_{ib}}}, \quad
        \sigma(K)_{jc} = \frac{e^{K_{jc}}}{\sum_l e^{K_{lc}}}

    The rows of :math:`\rho(Q)\sigma(K)^T` are weights that sum to 1.

    Parameters
    ----------
    q : (..., n, d) queries; k : (..., m, d) keys; v : (..., m, v) values. Heads are a leading axis.
    mask : boolean (..., m), optional. Which keys exist; True keeps.

    Returns
    -------
    (..., n, v); 0 where no key exists.

    Raises
    ------
    ValueError
        Shapes that do not fit; d = 0.

    Conventions
    -----------
    No scale, as in the paper and the essay; some codes divide q and k by d^(1/4). The softmax of
    the keys runs over positions, for each feature by itself, so this is no
    :func:`linear_attention`: neither that with exponential features nor that with a softmax over
    the features of the keys, which the essay's text has named in different versions.

    Breaks when
    -----------
    Never by overflow. It has no position-by-position form: for the two causal versions see
    :func:`causal_efficient_attention`.

    References
    ----------
    Shen et al. 2018 (arXiv:1812.01243); Chen et al. 2018, A2-Nets (arXiv:1810.11579);
    https://kexue.fm/archives/7546; https://kexue.fm/archives/8180.

    Examples
    --------
    >>> import refimpl
    >>> refimpl.efficient_attention([[5.0, 5.0]], [[1.0, 0.0], [1.0, 0.0]], [[2.0], [4.0]])
    array([[3.]])
    """
    by_feature, by_position, v = _factors(q, k, v, mask)
    return by_feature @ (by_position.swapaxes(-1, -2) @ v)


@efficient_attention.defvjp
def efficient_attention_vjp(g, q, k, v, /, *, mask=None):
    """Through the product of both softmaxes, and through each of them."""
    by_feature, by_position, v = _factors(q, k, v, mask)
    context = by_position.swapaxes(-1, -2) @ v
    dcontext = by_feature.swapaxes(-1, -2) @ g
    dq = softmax_vjp(g @ context.swapaxes(-1, -2), by_feature, axis=-1)
    dk = softmax_vjp(v @ dcontext.swapaxes(-1, -2), by_position, axis=-2)
    return dq, dk, _kept(by_position @ dcontext, mask)


def _factors(q, k, v, mask):
    """Both softmaxes, and the values, 0 where the key does not exist."""
    by_position = softmax(_logits(k, mask), axis=-2) if k.shape[-2] else k
    return _over_features(q), by_position, _kept(v, mask)


def _over_features(q):
    if q.shape[-1] == 0:
        raise ValueError("q, k: expected at least one feature, got d = 0")
    return softmax(q, axis=-1)


def _kept(x, mask):
    """x (..., n, anything) with 0 where the key does not exist."""
    return x if mask is None else namespace(x).where(mask[..., None], x, 0.0)


def _logits(k, mask):
    """k with -inf where the key does not exist."""
    return k if mask is None else namespace(k).where(mask[..., None], k, -namespace(k).inf)


@formula(
    "(n,d),(n,d),(n,v)->(n,v)",
    keywords={"mask": "(n)"},
    kinds={"mask": "boolean"},
    source="kexue.fm/archives/7546; Shen et al. 2018 (arXiv:1812.01243)",
)
def causal_efficient_attention(q, k, v, /, *, version: Literal["channel", "kernel"], mask=None):
    r"""The two causal versions of efficient attention, which are not the same.

    Formula
    -------
    "channel": the softmax over positions ends at the query, for each feature by itself,

    .. math:: A_{ij} = \sum_c \rho(Q)_{ic} \frac{e^{K_{jc}}}{\sum_{l \le i} e^{K_{lc}}},

    and "kernel": the features are mixed before the division,

    .. math:: A_{ij} = \frac{\sum_c e^{Q_{ic} + K_{jc}}}{\sum_{l \le i} \sum_c e^{Q_{ic} + K_{lc}}},
        \qquad O_i = \sum_{j \le i} A_{ij} v_j.

    Parameters
    ----------
    q, k : (..., n, d) queries and keys; v : (..., n, v) values. Heads are a leading axis.
    version : "channel" or "kernel"; there is no authority, so no default.
    mask : boolean (..., n), optional. Which keys exist; True keeps.

    Returns
    -------
    (..., n, v); 0 for a query that sees no key.

    Raises
    ------
    ValueError
        Shapes that do not fit; d = 0; an unknown version.

    Conventions
    -----------
    The last output of "channel" is that of :func:`efficient_attention`; its cost is that of a
    running softmax per feature. "kernel" is :func:`linear_attention` with exponential features, and
    what linear-attention-transformer computes.

    Breaks when
    -----------
    The plain form holds n n d numbers; ``form="recurrent"`` holds d v.

    References
    ----------
    https://kexue.fm/archives/7546; lucidrains/linear-attention-transformer.

    Examples
    --------
    >>> import refimpl
    >>> x = [[0.0], [0.0]]
    >>> refimpl.causal_efficient_attention(x, x, [[2.0], [4.0]], version="channel").tolist()
    [[2.0], [3.0]]
    """
    weights, _ = _causal_weights(q, k, version, mask)
    return weighted_sum(weights, _kept(v, mask))


@causal_efficient_attention.defvjp
def causal_efficient_attention_vjp(g, q, k, v, /, *, version, mask=None):
    """Through the weights; in "kernel", features share the slope of a logarithm of their sum."""
    weights, parts = _causal_weights(q, k, version, mask)
    v = _kept(v, mask)
    dv = _kept(weights.swapaxes(-1, -2) @ g, mask)
    # A value that is not seen has no say, even where it is not finite.
    dweights = namespace(g).where(weights == 0, 0.0, g @ v.swapaxes(-1, -2))
    if version == "channel":
        by_feature = _over_features(q)
        dweights = dweights[..., None]
        dq = softmax_vjp((dweights * parts).sum(axis=-2), by_feature, axis=-1)
        dk = softmax_vjp(dweights * by_feature[..., None, :], parts, axis=-2).sum(axis=-3)
        return dq, dk, dv
    dsums = softmax_vjp(dweights, weights, axis=-1)[..., None] * parts
    return dsums.sum(axis=-2), dsums.sum(axis=-3), dv


def _causal_weights(q, k, version, mask):
    """Weights (..., n, n), and the softmax (..., n, n, d) inside: over positions or features."""
    xp = namespace(q)
    by_feature = _over_features(q)
    n = q.shape[-2]
    seen = xp.arange(n)[:, None] >= xp.arange(n)
    seen = seen if mask is None else seen & mask[..., None, :]
    keys = xp.where(seen[..., None], k[..., None, :, :], -xp.inf)
    if version == "channel":
        by_position = softmax(keys, axis=-2) if n else keys
        return (by_feature[..., None, :] * by_position).sum(axis=-1), by_position
    sums = q[..., :, None, :] + keys
    peak = xp.max(sums, axis=-1, keepdims=True)
    shift = xp.where(peak == -xp.inf, 0.0, peak)
    logits = shift[..., 0] + xp.log(xp.exp(sums - shift).sum(axis=-1))
    return softmax(logits, axis=-1) if n else logits, softmax(sums, axis=-1)


@causal_efficient_attention.form("recurrent", beyond=lambda bound: bound.axes["n"] > 64)
def recurrent_efficient_attention(q, k, v, /, *, version, mask=None):
    """Sums over the positions so far, each feature shifted by its largest key so far."""
    xp = namespace(q)
    keys, v = _logits(k, mask), _kept(v, mask)
    if not q.shape[-2]:
        return q[..., :1] * v
    peak = xp.full_like(keys[..., 0, :], -xp.inf)
    total = xp.zeros_like(peak)
    values = xp.zeros((q.shape[-1], v.shape[-1]), dtype=v.dtype)
    outputs = []
    for i in range(q.shape[-2]):
        highest = xp.maximum(peak, keys[..., i, :])
        # exp(-inf - -inf) is NaN: as long as nothing is seen, shift by 0.
        shift = xp.where(highest == -xp.inf, 0.0, highest)
        decay, new = xp.exp(peak - shift), xp.exp(keys[..., i, :] - shift)
        total = decay * total + new
        values = decay[..., None] * values + new[..., None] * v[..., i, None, :]
        peak = highest
        if version == "channel":
            share, divisor = softmax(q[..., i, :], axis=-1), total
        else:
            share = softmax(q[..., i, :] + shift, axis=-1)
            divisor = (share * total).sum(axis=-1, keepdims=True)
        share = share / xp.where(divisor == 0, 1, divisor)
        outputs.append((share[..., None, :] @ values)[..., 0, :])
    return xp.stack(outputs, axis=-2)
