"""The entropy of attention weights, and the scale that keeps it as sequences grow."""

from __future__ import annotations

import math

from refimpl.attention.softmax import attention_weights, masked_scores, scores_vjp
from refimpl.backend import namespace
from refimpl.core import highest
from refimpl.formula import formula
from refimpl.formula.options import AboveOne, Causal, FromOne, Positive, Whole, Window


@formula(
    "(n,d),(m,d)->(n)",
    keywords={"mask": "(n|1,m|1)", "bias": "(n|1,m|1)", "scale": "()"},
    kinds={"mask": "boolean"},
    source="kexue.fm/archives/8823; Shannon 1948",
)
def attention_entropy(
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
):
    r"""The entropy of each row of attention weights, in nats.

    Formula
    -------
    .. math:: H_i = -\sum_j P_{ij} \log P_{ij} = L_i - \sum_j P_{ij} S_{ij}

    with the weights P, final logits S and log-sum-exp L of :func:`softmax_attention`.

    Parameters
    ----------
    q : (..., n, d) queries; k : (..., m, d) keys. Options as in :func:`softmax_attention`.

    Returns
    -------
    (..., n), natural logarithm, between 0 and the log of the number of keys that are seen; 0 for a
    query that sees none.

    Raises
    ------
    ValueError, TypeError
        As :func:`softmax_attention`.

    Conventions
    -----------
    Nats: divide by log 2 for bits.

    Breaks when
    -----------
    It is a difference of larger numbers where logits are large: it is computed from shifted logits.
    ``form="textbook"`` takes the logarithm of the weight: where one key has all but u of it, what
    is left of the entropy is rounded away.

    References
    ----------
    https://kexue.fm/archives/8823.

    Examples
    --------
    >>> import refimpl
    >>> refimpl.attention_entropy([[0.0]], [[1.0], [2.0]]).round(6)
    array([0.693147])
    """
    keep, scores = masked_scores(q, k, mask, bias, scale, causal, window, offset, softcap)
    entropy, _, _ = _entropy(keep, scores)
    return entropy


@attention_entropy.form("textbook", loses="weights near 1 are rounded before their logarithm")
def attention_entropy_textbook(q, k, /, **options):
    """-sum P log P of the weights as they are, with 0 log 0 = 0."""
    weights = attention_weights.__wrapped__(q, k, **options)
    xp = namespace(weights)
    return -xp.where(weights == 0.0, 0.0, weights * xp.log(weights)).sum(axis=-1)


@attention_entropy.defvjp
def attention_entropy_vjp(g, q, k, /, **options):
    """dS_j = -P_j (log P_j + H), then through the logits."""
    keep, scores = masked_scores(q, k, **options)
    entropy, weights, logarithms = _entropy(keep, scores)
    dscores = -g[..., None] * weights * (logarithms + entropy[..., None])
    dq, dk, dscale = scores_vjp(dscores, keep, q, k, **options)
    return dq, dk, dscores, dscale


def _entropy(keep, scores):
    """Entropy, weights, and their logarithms (0 where a weight is 0)."""
    xp = namespace(scores)
    scores = xp.where(keep, scores, -xp.inf)
    peak = highest(scores)
    # exp(-inf - -inf) is NaN: a row that sees nothing is shifted by 0.
    shifted = scores - xp.where(peak == -xp.inf, 0.0, peak)
    exponentials = xp.exp(shifted)
    # The sum is 1 + others: log(1 + others) keeps what is left where one key has almost all.
    ties = xp.maximum((shifted == 0).sum(axis=-1, keepdims=True) - 1, 0).astype(scores.dtype)
    others = ties + xp.where(shifted == 0, 0.0, exponentials).sum(axis=-1, keepdims=True)
    weights = exponentials / (1 + others)
    logarithms = xp.where(weights > 0, shifted - xp.log1p(others), 0.0)
    return -(weights * logarithms).sum(axis=-1), weights, logarithms


@formula(
    "()->()",
    kinds={"length": "exact"},
    differentiable=False,
    reason="a length is a whole number",
    source="kexue.fm/archives/8823",
)
def log_length_scale(
    length, /, *, width: FromOne, trained_length: AboveOne = 512, clip: bool = False
):
    r"""The scale of attention logits that keeps their entropy as sequences grow.

    Formula
    -------
    .. math:: \tau = \frac{\log_{n_0} n}{\sqrt d} = \frac{\log n}{\log n_0\, \sqrt d}

    Parameters
    ----------
    length : (...,) n, the number of keys that a query sees: of the whole sequence, or position + 1
        for causal attention. At least 1.
    width : int. d, the width of queries and keys.
    trained_length : int > 1. n_0, where the scale is 1/sqrt(d).
    clip : bool. Never below 1/sqrt(d): the scale of a model that was trained without it.

    Returns
    -------
    (...,) float64; multiplies q.k. With a scale for each query, multiply the queries by it and pass
    ``scale=1.0``.

    Raises
    ------
    ValueError
        A length < 1, width < 1, trained_length <= 1.

    Conventions
    -----------
    The essay trains with it (no clip); codes that add it to a trained model clip, max(1, log_n0 n),
    as Qwen and ReRoPE do. n_0 = 512 is the essay's.

    Breaks when
    -----------
    Without clip, a query that sees one key has the scale 0, which is harmless.

    References
    ----------
    https://kexue.fm/archives/8823.

    Examples
    --------
    >>> import refimpl
    >>> float(refimpl.log_length_scale(512 * 512, width=64))
    0.25
    """
    xp = namespace(length)
    if not bool((length >= 1).all()):
        raise ValueError("length: expected at least 1")
    ratio = xp.log(length.astype("float64")) / math.log(trained_length)
    return (xp.maximum(ratio, 1.0) if clip else ratio) * width**-0.5
