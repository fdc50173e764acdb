"""Nystrom attention: softmaxes against landmarks, the means of segments of queries and keys."""

from __future__ import annotations

import functools
from typing import Annotated, Any, Literal, NamedTuple

from refimpl.attention.pseudoinverse import (
    iterated_inverse,
    iterated_inverse_vjp,
    pseudo_inverse,
    pseudo_inverse_vjp,
)
from refimpl.attention.softmax import logits, scale_of
from refimpl.backend import namespace
from refimpl.core import softmax, softmax_vjp
from refimpl.formula import formula
from refimpl.formula.options import Count, NonNegative, Number

Segments = Literal["uneven", "array_split", "overlapping", "zero_padded", "front_padded"]
"""How positions are divided among landmarks."""
_SOURCE = "Xiong et al. 2021 (arXiv:2102.03902), eqs. 6-13; kexue.fm/archives/8180"


@formula("(n,d)->(l,d)", keywords={"mask": "(n)"}, kinds={"mask": "boolean"}, source=_SOURCE)
def segment_means(
    x,
    /,
    *,
    landmarks: Count,
    segments: Segments = "uneven",
    mask=None,
):
    r"""Landmarks: the means of segments of a sequence.

    Formula
    -------
    .. math:: \tilde x_a = \frac{1}{|I_a|} \sum_{j \in I_a} x_j, \qquad a = 0 \ldots l - 1

    With n = q l + r, 0 <= r < l, the segments are

    * "uneven": l - r segments of q positions, then r of q + 1;
    * "array_split": r segments of q + 1 positions, then l - r of q;
    * "overlapping": from floor(a n/l) to ceil((a + 1) n/l), the end excluded;
    * "zero_padded": ceil(n/l) positions each, zeros after the end count as positions;
    * "front_padded": the same with the zeros before the start.

    Parameters
    ----------
    x : (..., n, d) queries or keys.
    landmarks : int. l.
    segments : one of the names above; they are the same where l divides n.
    mask : boolean (..., n), optional. True keeps. Means are over what is kept, also of padded
        segments; a segment that keeps nothing has the mean 0.

    Returns
    -------
    (..., l, d)

    Raises
    ------
    ValueError
        landmarks < 1 or > n; an unknown kind of segments.

    Conventions
    -----------
    "uneven" is in Nystromformer's later code and xformers, "array_split" what NumPy gives,
    "overlapping" torch's adaptive pooling, "zero_padded" how the paper is told, "front_padded"
    nystrom-attention. Padding pulls a mean towards 0.

    Breaks when
    -----------
    "zero_padded" and "front_padded" may have segments of padding alone.

    References
    ----------
    Xiong et al. 2021 (arXiv:2102.03902); lucidrains/nystrom-attention issue 5 (padding);
    https://kexue.fm/archives/8180.

    Examples
    --------
    >>> import refimpl
    >>> refimpl.segment_means([[1.0], [2.0], [6.0]], landmarks=2).tolist()
    [[1.0], [4.0]]
    """
    weights, _ = _segment_weights(x, landmarks, segments, mask)
    return weights @ _kept(x, mask)


@segment_means.defvjp
def segment_means_vjp(g, x, /, *, landmarks, segments="uneven", mask=None):
    """The transpose of the weights."""
    weights, _ = _segment_weights(x, landmarks, segments, mask)
    return (_kept(weights.swapaxes(-1, -2) @ g, mask),)


def _kept(x, mask):
    return x if mask is None else namespace(x).where(mask[..., None], x, 0.0)


def _segment_weights(x, landmarks, segments, mask):
    """Weights (..., l, n), and which landmarks have any position (..., l)."""
    n = x.shape[-2]
    if landmarks > n:
        raise ValueError(f"landmarks: expected at most as many as positions, {n}, got {landmarks}")
    xp = namespace(x)
    starts, stops, sizes = _segments(n, landmarks, segments)
    position = xp.arange(n)
    member = (position >= xp.asarray(starts)[:, None]) & (position < xp.asarray(stops)[:, None])
    if mask is not None:
        member = member & mask[..., None, :]
        sizes = member.sum(axis=-1)
    else:
        sizes = xp.asarray(sizes)
    weights = member.astype(x.dtype) / xp.where(sizes == 0, 1, sizes)[..., None].astype(x.dtype)
    return weights, member.any(axis=-1)


def _segments(n: int, l: int, segments: str) -> tuple[list[int], list[int], list[int]]:  # noqa: E741
    """First positions, those after the last, and what the sums are divided by."""
    short, rest = divmod(n, l)
    if segments == "overlapping":
        starts = [a * n // l for a in range(l)]
        stops = [-(-(a + 1) * n // l) for a in range(l)]
    elif segments in ("zero_padded", "front_padded"):
        size = -(-n // l)
        shift = size * l - n if segments == "front_padded" else 0
        starts = [a * size - shift for a in range(l)]
        stops = [start + size for start in starts]
    else:
        sizes = [short] * (l - rest) + [short + 1] * rest
        sizes = sizes if segments == "uneven" else sizes[::-1]
        stops = [sum(sizes[: a + 1]) for a in range(l)]
        starts = [stop - size for stop, size in zip(stops, sizes, strict=True)]
    return starts, stops, [b - a for a, b in zip(starts, stops, strict=True)]


@formula(
    "(n,d),(m,d),(m,v)->(n,v)",
    keywords={"mask": "(m)", "query_mask": "(n)", "scale": "()", "convolution": "(w)"},
    kinds={"mask": "boolean", "query_mask": "boolean"},
    source=_SOURCE,
)
def nystrom_attention(
    q,
    k,
    v,
    /,
    *,
    landmarks: Count,
    segments: Segments = "uneven",
    inverse: Literal["iterated", "exact", "none"] = "iterated",
    steps: Annotated[int, Number(0, 10_000, whole=True)] = 6,
    rcond: NonNegative | None = None,
    mask=None,
    query_mask=None,
    scale=None,
    convolution=None,
):
    r"""Attention through landmarks: three softmaxes with the inverse of the middle one.

    Formula
    -------
    With the landmarks :math:`\tilde Q, \tilde K` of :func:`segment_means`,

    .. math:: F = \operatorname{softmax}(\tau Q \tilde K^T), \quad
        A = \operatorname{softmax}(\tau \tilde Q \tilde K^T), \quad
        B = \operatorname{softmax}(\tau \tilde Q K^T), \qquad O = F A^+ (B V) + w * V

    The convolution runs over positions, for each feature by itself, with zeros outside:
    :math:`(w * V)_i = \sum_t w_t V_{i + t - \lfloor |w|/2 \rfloor}`.

    Parameters
    ----------
    q : (..., n, d) queries; k : (..., m, d) keys; v : (..., m, v) values. Heads are a leading axis.
    landmarks, segments : as in :func:`segment_means`, for queries and for keys.
    inverse : "iterated" (:func:`iterated_inverse`, ``steps``), "exact" (:func:`pseudo_inverse`,
        ``rcond``) or "none": O = F B V, two softmaxes with nothing between.
    mask : boolean (..., m), optional. Which keys exist; True keeps.
    query_mask : boolean (..., n), optional. Which queries exist; the others are 0 in the output.
    scale : number or (...,), default 1/sqrt(d). :math:`\tau`.
    convolution : (..., w), optional, w odd; n = m. The skip connection of the values.

    Returns
    -------
    (..., n, v)

    Raises
    ------
    ValueError
        Shapes that do not fit; more landmarks than positions; a convolution of even width, or with
        n != m.

    Conventions
    -----------
    A segment without a kept position makes no landmark: it is left out of all softmaxes. Codes that
    keep it (nystrom-attention) or average the padding in (Hugging Face, which masks B alone) change
    the result. There is no causal form: a landmark mixes positions, and A mixes landmarks. Public
    codes use 33 or 65 taps, and divide q and k by d^(1/4), which is the same.

    Breaks when
    -----------
    F, A and B are no blocks of the softmax matrix, so that more landmarks or an exact inverse need
    not be closer to :func:`softmax_attention`; with ``inverse="exact"`` it is equal where the
    landmarks are all positions, or where q and k are constant in every segment. Weights
    :math:`F A^+ B` may be negative; their rows sum to 1 where A has an inverse.

    References
    ----------
    Xiong et al. 2021 (arXiv:2102.03902); https://kexue.fm/archives/8180;
    facebookresearch/xformers issue 107 (causal).

    Examples
    --------
    >>> import refimpl
    >>> q = k = [[0.0], [0.0]]
    >>> refimpl.nystrom_attention(q, k, [[2.0], [4.0]], landmarks=1).round(6).tolist()
    [[3.0], [3.0]]
    """
    parts = _parts(q, k, landmarks, segments, mask, query_mask, scale)
    v = _kept(v, mask)
    inner = _inverse(parts.middle, inverse, steps, rcond) @ (parts.right @ v)
    output = parts.left @ inner
    if convolution is not None:
        output = output + _convolve(v, convolution, q.shape[-2])
    return _kept(output, query_mask)


@nystrom_attention.form("textbook")
def nystrom_attention_textbook(
    q,
    k,
    v,
    /,
    *,
    landmarks,
    segments="uneven",
    inverse="iterated",
    steps=6,
    rcond=None,
    mask=None,
    query_mask=None,
    scale=None,
    convolution=None,
):
    """F A^+ (B V) + w * V, each of the three a softmax of its own."""
    xp, tau = namespace(q), scale_of(q, scale)
    q, k, v = _kept(q, query_mask), _kept(k, mask), _kept(v, mask)
    means = functools.partial(segment_means.__wrapped__, landmarks=landmarks, segments=segments)
    qt, kt = means(q, mask=query_mask), means(k, mask=mask)
    # A landmark of a segment that keeps nothing is none.
    q_alive, k_alive = (
        None if kept is None else means(kept[..., None].astype(q.dtype))[..., 0] > 0
        for kept in (query_mask, mask)
    )
    f, a, b = (
        softmax(_masked(tau * x @ y.swapaxes(-1, -2), seen), axis=-1)
        for x, y, seen in ((q, kt, k_alive), (qt, kt, k_alive), (qt, k, mask))
    )
    a = _kept(a, q_alive)
    if inverse == "iterated":
        z = iterated_inverse.__wrapped__(a, steps=steps)
    elif inverse == "exact":
        z = pseudo_inverse.__wrapped__(a, rcond=rcond)
    else:
        z = xp.eye(landmarks, dtype=q.dtype)
    output = f @ (z @ (b @ v))
    if convolution is not None:
        output = output + _convolve(v, convolution, q.shape[-2])
    return _kept(output, query_mask)


@nystrom_attention.defvjp
def nystrom_attention_vjp(
    g,
    q,
    k,
    v,
    /,
    *,
    landmarks,
    segments="uneven",
    inverse="iterated",
    steps=6,
    rcond=None,
    mask=None,
    query_mask=None,
    scale=None,
    convolution=None,
):
    """Through the product of four, the inverse, the three softmaxes and the means."""
    parts = _parts(q, k, landmarks, segments, mask, query_mask, scale)
    g, v = _kept(g, query_mask), _kept(v, mask)
    middle = _inverse(parts.middle, inverse, steps, rcond)
    values = parts.right @ v
    inner = middle @ values
    dinner = parts.left.swapaxes(-1, -2) @ g
    dmiddle = dinner @ values.swapaxes(-1, -2)
    dvalues = middle.swapaxes(-1, -2) @ dinner
    dleft = softmax_vjp(g @ inner.swapaxes(-1, -2), parts.left, axis=-1)
    dmiddle = _inverse_vjp(dmiddle, parts.middle, inverse, steps, rcond)
    dmiddle = softmax_vjp(dmiddle, parts.middle, axis=-1)
    dright = softmax_vjp(dvalues @ v.swapaxes(-1, -2), parts.right, axis=-1)
    dq, dk, dscale = _logits_vjp(dleft, dmiddle, dright, parts, q, scale)
    dv, dconvolution = parts.right.swapaxes(-1, -2) @ dvalues, None
    if convolution is not None:
        from_skip, dconvolution = _convolve_vjp(g, v, convolution)
        dv = dv + from_skip
    return _kept(dq, query_mask), _kept(dk, mask), _kept(dv, mask), dscale, dconvolution


class _Parts(NamedTuple):
    """Softmaxes F, A and B, the kept inputs and landmarks, and the weights of the means."""

    left: Any
    middle: Any
    right: Any
    q: Any
    k: Any
    q_landmarks: Any
    k_landmarks: Any
    q_weights: Any
    k_weights: Any


def _parts(q, k, landmarks, segments, mask, query_mask, scale) -> _Parts:
    q, k = _kept(q, query_mask), _kept(k, mask)
    q_weights, q_alive = _segment_weights(q, landmarks, segments, query_mask)
    k_weights, k_alive = _segment_weights(k, landmarks, segments, mask)
    if mask is None:
        k_alive = namespace(q).ones_like(k_alive)
    if query_mask is None:
        q_alive = namespace(q).ones_like(q_alive)
    qt, kt = q_weights @ q, k_weights @ k
    left = _masked_softmax(logits(q, kt, scale), k_alive)
    middle = _masked_softmax(logits(qt, kt, scale), k_alive)
    right = _masked_softmax(logits(qt, k, scale), mask)
    # A row of zeros takes a landmark out of the inverse, as its column of zeros does.
    middle = _kept(middle, q_alive)
    return _Parts(left, middle, right, q, k, qt, kt, q_weights, k_weights)


def _masked_softmax(scores, keep):
    return softmax(_masked(scores, keep), axis=-1)


def _masked(scores, keep):
    xp = namespace(scores)
    return scores if keep is None else xp.where(keep[..., None, :], scores, -xp.inf)


def _inverse(middle, inverse, steps, rcond):
    if inverse == "iterated":
        return iterated_inverse.__wrapped__(middle, steps=steps)
    if inverse == "exact":
        return pseudo_inverse.__wrapped__(middle, rcond=rcond)
    return namespace(middle).eye(middle.shape[-1], dtype=middle.dtype)


def _inverse_vjp(g, middle, inverse, steps, rcond):
    if inverse == "iterated":
        return iterated_inverse_vjp(g, middle, steps=steps)[0]
    if inverse == "exact":
        return pseudo_inverse_vjp(g, middle, rcond=rcond)[0]
    return 0 * g


def _logits_vjp(dleft, dmiddle, dright, parts: _Parts, q, scale):
    """Gradients of q, k and the scale from those of the three matrices of scaled logits."""
    factor = scale_of(q, scale)
    qt, kt = parts.q_landmarks, parts.k_landmarks
    dqt = factor * (dmiddle @ kt + dright @ parts.k)
    dkt = factor * (dleft.swapaxes(-1, -2) @ parts.q + dmiddle.swapaxes(-1, -2) @ qt)
    dq = factor * (dleft @ kt) + parts.q_weights.swapaxes(-1, -2) @ dqt
    dk = factor * (dright.swapaxes(-1, -2) @ qt) + parts.k_weights.swapaxes(-1, -2) @ dkt
    pairs = ((dleft, parts.q, kt), (dmiddle, qt, kt), (dright, qt, parts.k))
    dscale = sum((d * (x @ y.swapaxes(-1, -2))).sum(axis=(-1, -2)) for d, x, y in pairs)
    return dq, dk, dscale


def _convolve(v, convolution, n):
    m, width = v.shape[-2], convolution.shape[-1]
    if width % 2 == 0:
        raise ValueError(f"convolution: expected an odd number of taps, got {width}")
    if n != m:
        raise ValueError(f"convolution: expected as many queries as keys, got n = {n}, m = {m}")
    padded = _padded(v, width // 2)
    taps = (convolution[..., t, None, None] * padded[..., t : t + m, :] for t in range(width))
    return sum(taps)


def _convolve_vjp(g, v, convolution):
    """Correlation backwards: the taps in reverse order; and one number for each tap."""
    xp = namespace(v)
    m, width = v.shape[-2], convolution.shape[-1]
    padded, turned = _padded(v, width // 2), _padded(g, width // 2)
    dv = sum(
        convolution[..., width - 1 - t, None, None] * turned[..., t : t + m, :]
        for t in range(width)
    )
    taps = [(g * padded[..., t : t + m, :]).sum(axis=(-1, -2)) for t in range(width)]
    return dv, xp.stack(taps, axis=-1)


def _padded(v, size):
    """v (..., m, anything) with rows of zeros before and after."""
    xp = namespace(v)
    zeros = xp.zeros((*v.shape[:-2], size, v.shape[-1]), dtype=v.dtype)
    return xp.concatenate([zeros, v, zeros], axis=-2)
