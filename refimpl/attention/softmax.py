"""Exact softmax attention: output, weights and log-sum-exp, with every convention as an option."""

from __future__ import annotations

from refimpl.attention.masks import band
from refimpl.backend import namespace
from refimpl.core import (
    empty_weight,
    highest,
    require_nonnegative,
    softmax_terms,
    weighted_sum,
)
from refimpl.formula import formula
from refimpl.formula.options import Causal, Empty, Positive, Whole, Window

_KEYWORDS = {"mask": "(n|1,m|1)", "bias": "(n|1,m|1)", "scale": "()", "sink": "()"}
_KINDS = {"mask": "boolean"}
_SOURCE = "Vaswani et al. 2017, eq. 1; kexue.fm/archives/8180"


@formula("(n,d),(m,d),(m,v)->(n,v)", keywords=_KEYWORDS, kinds=_KINDS, source=_SOURCE)
def softmax_attention(
    q,
    k,
    v,
    /,
    *,
    mask=None,
    bias=None,
    scale=None,
    causal: Causal = None,
    window: Window | None = None,
    offset: Whole | None = None,
    softcap: Positive | None = None,
    sink=None,
    empty: Empty = "zero",
):
    r"""Softmax attention of queries over keys and values.

    Formula
    -------
    .. math:: X = \tau Q K^T, \quad Y = c\tanh(X/c), \quad S = Y + B, \quad S_{ij} = -\infty
        \text{ where masked}, \quad P_{ij} = \frac{e^{S_{ij}}}{\sum_l e^{S_{il}} + e^{b}}, \quad O =
        P V

    in exactly this order: the soft cap comes before the bias and the masks come last, so that
    neither can bring back a masked key.

    Parameters
    ----------
    q : (..., n, d) queries; k : (..., m, d) keys; v : (..., m, v) values. Heads are a leading axis.
    mask : boolean (..., n or 1, m or 1), optional. True keeps.
    bias : (..., n or 1, m or 1), optional. Added to the scaled, capped logits; -inf masks.
    scale : number or (...,), default 1/sqrt(d). :math:`\tau >= 0`, multiplies the logits.
    causal : None, "top_left", "bottom_right" or True. Query i sees keys j <= i + offset, with the
        offset 0 (top left) or m - n (bottom right). True only where both agree (n = m) or with
        ``offset``.
    window : (left, right), optional. Query i sees i + offset - left <= j <= i + offset + right,
        both ends and itself included; None or a negative number is unbounded.
    offset : int, optional. Key position of the first query (the number of cached keys).
    softcap : float > 0, optional. c, in units of the logits.
    sink : number or (...,), optional. Logit b of one more key that carries no value; 0 is "softmax
        off by one".
    empty : "zero", "nan" or "mean". Output of a query that sees no key and has no sink.

    Returns
    -------
    (..., n, v)

    Raises
    ------
    ValueError
        Shapes that do not fit; ``causal`` or ``window`` with n != m and nothing that aligns them;
        softcap <= 0; a negative scale.
    TypeError
        A mask that is not boolean (float masks are added: ``bias``), complex or object arrays.

    Conventions
    -----------
    Mask polarity: True keeps in torch SDPA, JAX, Keras and ONNX; True *drops* in torch
    nn.MultiheadAttention. Causal with n != m: top left in torch ``is_causal``, JAX, Keras, ONNX
    without a cache; bottom right in flash-attention >= 2.1, MLX, torch ``causal_lower_right``, ONNX
    with a cache. Window: Hugging Face ``sliding_window=W`` and fla ``window_size=W`` count the key
    itself, so left = W - 1. Empty rows: zero in torch >= 2.5 and ONNX; nan in a plain softmax; mean
    in JAX and Keras (finite sentinel). Masked keys and values are inert even where they are NaN or
    infinite; a weight of 0 counts as absent.

    Breaks when
    -----------
    Rounding errors grow with the logits: an error of u max|X| in X is the same relative error in P.

    References
    ----------
    Vaswani et al. 2017 (arXiv:1706.03762); Gemma 2 report (soft cap); Xiao et al. 2023 (sinks);
    https://kexue.fm/archives/8180.

    Examples
    --------
    >>> import refimpl
    >>> refimpl.softmax_attention([[0.0]], [[1.0], [2.0]], [[3.0], [5.0]])
    array([[4.]])
    """
    keep, scores = masked_scores(q, k, mask, bias, scale, causal, window, offset, softcap)
    weights, _, _ = softmax_terms(scores, keep, sink, empty)
    return weighted_sum(weights, v)


@softmax_attention.form("textbook")
def softmax_attention_textbook(
    q,
    k,
    v,
    /,
    *,
    mask=None,
    bias=None,
    scale=None,
    causal=None,
    window=None,
    offset=None,
    softcap=None,
    sink=None,
    empty="zero",
):
    """softmax(Q K^T / sqrt(d)) V with every option, the largest logit taken off each row."""
    xp, n, m = namespace(q), q.shape[-2], k.shape[-2]
    x = (scale_of(q, scale) * q) @ k.swapaxes(-1, -2)
    y = x if softcap is None else softcap * xp.tanh(x / softcap)
    s = y if bias is None else y + bias
    seen = band(n, m, causal, window, offset).keep(xp, range(n), range(m))
    seen = seen if mask is None else seen & mask
    seen = seen if bias is None else seen & (bias != -xp.inf)
    s = xp.where(seen, s, -xp.inf)
    largest = highest(s) if sink is None else xp.maximum(highest(s), sink[..., None, None])
    largest = xp.where(largest == -xp.inf, 0.0, largest)
    e = xp.exp(s - largest)
    total = e.sum(axis=-1, keepdims=True)
    total = total if sink is None else total + xp.exp(sink[..., None, None] - largest)
    is_empty = ~seen.any(axis=-1, keepdims=True) & (total == 0.0)
    weights = xp.where(is_empty, empty_weight(empty, m), e / total)
    return weighted_sum(weights, v)


@softmax_attention.defvjp
def softmax_attention_vjp(g, q, k, v, /, *, sink=None, empty="zero", **options):
    r"""dV = P^T g; dP = g V^T; dS = P (dP - <g, O>); then through the logits."""
    keep, scores = masked_scores(q, k, **options)
    weights, _, sink_weight = softmax_terms(scores, keep, sink, empty)
    mean = (g * weighted_sum(weights, v)).sum(axis=-1)
    dv = weights.swapaxes(-1, -2) @ g
    dscores = _select(keep, weights * (g @ v.swapaxes(-1, -2) - mean[..., None]))
    dq, dk, dscale = scores_vjp(dscores, keep, q, k, **options)
    return dq, dk, dv, dscores, dscale, -(sink_weight * mean).sum(axis=-1)


@formula("(n,d),(m,d)->(n,m)", keywords=_KEYWORDS, kinds=_KINDS, source=_SOURCE)
def attention_weights(
    q,
    k,
    /,
    *,
    mask=None,
    bias=None,
    scale=None,
    causal: Causal = None,
    window: Window | None = None,
    offset: Whole | None = None,
    softcap: Positive | None = None,
    sink=None,
    empty: Empty = "zero",
):
    r"""The weights P of :func:`softmax_attention`, the same options included.

    Formula
    -------
    .. math:: P_{ij} = e^{S_{ij} - L_i}, \qquad L_i = \log(\textstyle\sum_l e^{S_{il}} + e^{b})

    Parameters
    ----------
    q : (..., n, d) queries; k : (..., m, d) keys. Options as in :func:`softmax_attention`.

    Returns
    -------
    (..., n, m); rows sum to 1, with a sink to 1 - exp(b - L), and follow ``empty`` where no key is
    seen.

    Raises
    ------
    ValueError, TypeError
        As :func:`softmax_attention`.

    Conventions
    -----------
    torch nn.MultiheadAttention averages the weights over the heads unless told otherwise.

    Breaks when
    -----------
    As :func:`softmax_attention`.

    References
    ----------
    Vaswani et al. 2017 (arXiv:1706.03762).

    Examples
    --------
    >>> import refimpl
    >>> refimpl.attention_weights([[1.0]], [[0.0], [0.0]], mask=[[True, False]])
    array([[1., 0.]])
    """
    keep, scores = masked_scores(q, k, mask, bias, scale, causal, window, offset, softcap)
    return softmax_terms(scores, keep, sink, empty)[0]


@attention_weights.form("textbook")
def attention_weights_textbook(q, k, /, **options):
    """What attention gives for unit values: P I."""
    units = namespace(q).eye(k.shape[-2], dtype=q.dtype)
    return softmax_attention_textbook(q, k, units, **options)


@attention_weights.defvjp
def attention_weights_vjp(g, q, k, /, *, sink=None, empty="zero", **options):
    r"""dS = P (g - <g, P>), then through the logits."""
    keep, scores = masked_scores(q, k, **options)
    weights, _, sink_weight = softmax_terms(scores, keep, sink, empty)
    mean = (g * weights).sum(axis=-1)
    dscores = _select(keep, weights * (g - mean[..., None]))
    dq, dk, dscale = scores_vjp(dscores, keep, q, k, **options)
    return dq, dk, dscores, dscale, -(sink_weight * mean).sum(axis=-1)


@formula("(n,d),(m,d)->(n)", keywords=_KEYWORDS, kinds=_KINDS, source=_SOURCE)
def attention_logsumexp(
    q,
    k,
    /,
    *,
    mask=None,
    bias=None,
    scale=None,
    causal: Causal = None,
    window: Window | None = None,
    offset: Whole | None = None,
    softcap: Positive | None = None,
    sink=None,
):
    r"""The log-sum-exp of the logits of :func:`softmax_attention`: what merges partial results.

    Formula
    -------
    .. math:: L_i = \log\bigl(\textstyle\sum_j e^{S_{ij}} + e^{b}\bigr)

    Parameters
    ----------
    q : (..., n, d) queries; k : (..., m, d) keys. Options as in :func:`softmax_attention`.

    Returns
    -------
    (..., n), natural logarithm, of the final logits (after scale, soft cap, bias and masks, sink
    included); -inf for a query that sees no key and has no sink.

    Raises
    ------
    ValueError, TypeError
        As :func:`softmax_attention`.

    Conventions
    -----------
    Some kernels return base-2 values (divide by log2 e); flash-attention 2 returns +inf for empty
    rows.

    Breaks when
    -----------
    As :func:`softmax_attention`.

    References
    ----------
    Dao 2023 (arXiv:2307.08691); Dao-AILab/flash-attention pull request 978 (empty rows).

    Examples
    --------
    >>> import refimpl
    >>> refimpl.attention_logsumexp([[0.0]], [[1.0], [1.0]]).round(6)
    array([0.693147])
    """
    keep, scores = masked_scores(q, k, mask, bias, scale, causal, window, offset, softcap)
    return softmax_terms(scores, keep, sink)[1]


@attention_logsumexp.form("textbook")
def attention_logsumexp_textbook(
    q,
    k,
    /,
    *,
    mask=None,
    bias=None,
    scale=None,
    causal=None,
    window=None,
    offset=None,
    softcap=None,
    sink=None,
):
    """The logarithm of the sum of exponentials, the largest logit taken off and added."""
    xp, n, m = namespace(q), q.shape[-2], k.shape[-2]
    x = (scale_of(q, scale) * q) @ k.swapaxes(-1, -2)
    y = x if softcap is None else softcap * xp.tanh(x / softcap)
    s = y if bias is None else y + bias
    seen = band(n, m, causal, window, offset).keep(xp, range(n), range(m))
    seen = seen if mask is None else seen & mask
    seen = seen if bias is None else seen & (bias != -xp.inf)
    s = xp.where(seen, s, -xp.inf)
    largest = highest(s) if sink is None else xp.maximum(highest(s), sink[..., None, None])
    largest = xp.where(largest == -xp.inf, 0.0, largest)
    e = xp.exp(s - largest)
    total = e.sum(axis=-1, keepdims=True)
    total = total if sink is None else total + xp.exp(sink[..., None, None] - largest)
    return (largest + xp.log(total))[..., 0]


@attention_logsumexp.defvjp
def attention_logsumexp_vjp(g, q, k, /, *, sink=None, **options):
    r"""dL_i / dS_ij = P_ij, then through the logits."""
    keep, scores = masked_scores(q, k, **options)
    weights, _, sink_weight = softmax_terms(scores, keep, sink)
    dscores = weights * g[..., None]
    dq, dk, dscale = scores_vjp(dscores, keep, q, k, **options)
    return dq, dk, dscores, dscale, (sink_weight * g).sum(axis=-1)


def masked_scores(
    q, k, mask=None, bias=None, scale=None, causal=None, window=None, offset=None, softcap=None
):
    """Which entries are kept, and the final logits; entries that are not kept may hold anything."""
    n, m = q.shape[-2], k.shape[-2]
    keep = band(n, m, causal, window, offset).keep(namespace(q), range(n), range(m))
    scores = capped(logits(q, k, scale), softcap)
    if bias is not None:
        scores = scores + bias
        # A bias of -inf is a mask, whatever the logit; a logit of -inf is not.
        keep = keep & (bias != -namespace(q).inf)
    return (keep if mask is None else keep & mask), scores


def logits(q, k, scale=None):
    """Scaled inner products of queries and keys."""
    return (q * scale_of(q, scale)) @ k.swapaxes(-1, -2)


def scale_of(q, scale):
    """The factor of the logits, ready to multiply (..., n, d) or (..., n, m)."""
    return scale_for(q.shape[-1], scale)


def scale_for(width, scale):
    """The same for products of this width."""
    if scale is None:
        if width == 0:
            raise ValueError("scale: there is no default for d = 0, give it")
        return width**-0.5
    require_nonnegative("scale", scale)
    return scale[..., None, None]


def capped(x, softcap):
    """c tanh(x / c)."""
    if softcap is None:
        return x
    return softcap * namespace(x).tanh(x / softcap)


def cap_slope(x, softcap):
    """d capped(x) / dx = 1 - tanh(x / c)^2."""
    return 1.0 if softcap is None else 1.0 - namespace(x).tanh(x / softcap) ** 2


def _select(keep, x):
    """x where kept, else 0: a product with 0 would keep a NaN."""
    return namespace(x).where(keep, x, 0.0)


def scores_vjp(dscores, keep, q, k, scale=None, softcap=None, **_):
    """Gradients of q, k and scale from that of the capped logits."""
    inner = q @ k.swapaxes(-1, -2)
    factor = scale_of(q, scale)
    dlogits = _select(keep, dscores * cap_slope(inner * factor, softcap))
    dq = factor * weighted_sum(dlogits, k)
    dk = factor * weighted_sum(dlogits.swapaxes(-1, -2), q)
    return dq, dk, _select(keep, dlogits * inner).sum(axis=(-1, -2))
