"""Attention over projected keys, with logits that ignore them, and with cosine weights."""

from __future__ import annotations

import math
from typing import Literal

from refimpl.attention.linear import linear_attention, linear_attention_vjp
from refimpl.attention.masks import band
from refimpl.attention.softmax import scale_of, softmax_attention, softmax_attention_vjp
from refimpl.backend import namespace
from refimpl.core import softmax, softmax_terms, softmax_vjp, weighted_sum
from refimpl.formula import formula
from refimpl.formula.options import Causal, Distance, Whole


@formula(
    "(n,d),(m,d),(m,v),(l,m),(l,m)->(n,v)",
    keywords={"mask": "(m)", "scale": "()"},
    kinds={"mask": "boolean"},
    source="Wang et al. 2020 (arXiv:2006.04768), eq. 7; kexue.fm/archives/7546, eq. 10",
)
def linformer_attention(q, k, v, key_projection, value_projection, /, *, mask=None, scale=None):
    r"""Softmax attention over keys and values that are projected along the sequence.

    Formula
    -------
    .. math:: O = \operatorname{softmax}\bigl(\tau\, Q (E K)^T\bigr)\, F V

    Parameters
    ----------
    q : (..., n, d) queries; k : (..., m, d) keys; v : (..., m, v) values. Heads are a leading axis.
    key_projection, value_projection : (..., l, m) E and F; the paper also uses one for both.
    mask : boolean (..., m), optional. Keys and values that it leaves out are 0 before the
        projections.
    scale : number or (...,), default 1/sqrt(d). :math:`\tau`.

    Returns
    -------
    (..., n, v)

    Raises
    ------
    ValueError
        Shapes that do not fit.

    Conventions
    -----------
    The softmax runs over the l projected keys and knows no mask. Sequences shorter than the
    projections are padded with zeros.

    Breaks when
    -----------
    There is no causal form: a projected key mixes all positions. It equals
    :func:`softmax_attention` where E = F is a permutation.

    References
    ----------
    Wang et al. 2020 (arXiv:2006.04768); https://kexue.fm/archives/7546.

    Examples
    --------
    >>> import refimpl
    >>> mean = [[0.5, 0.5]]
    >>> refimpl.linformer_attention([[1.0]], [[1.0], [2.0]], [[2.0], [4.0]], mean, mean)
    array([[3.]])
    """
    k, v = _kept(k, mask), _kept(v, mask)
    return softmax_attention.__wrapped__(q, key_projection @ k, value_projection @ v, scale=scale)


@linformer_attention.form("textbook")
def linformer_attention_textbook(
    q, k, v, key_projection, value_projection, /, *, mask=None, scale=None
):
    """softmax(tau Q (E K)^T) (F V), with 0 for the keys and values that are masked."""
    xp = namespace(q)
    if mask is not None:
        k, v = (xp.where(mask[..., None], x, 0.0) for x in (k, v))
    short_k, short_v = key_projection @ k, value_projection @ v
    scores = (scale_of(q, scale) * q) @ short_k.swapaxes(-1, -2)
    return weighted_sum(softmax(scores, axis=-1), short_v)


@linformer_attention.defvjp
def linformer_attention_vjp(
    g, q, k, v, key_projection, value_projection, /, *, mask=None, scale=None
):
    """As softmax attention over the projections, then through both products."""
    k, v = _kept(k, mask), _kept(v, mask)
    short = key_projection @ k, value_projection @ v
    dq, dshort_k, dshort_v, _, dscale, _ = softmax_attention_vjp(g, q, *short, scale=scale)
    dk = _kept(key_projection.swapaxes(-1, -2) @ dshort_k, mask)
    dv = _kept(value_projection.swapaxes(-1, -2) @ dshort_v, mask)
    return dq, dk, dv, dshort_k @ k.swapaxes(-1, -2), dshort_v @ v.swapaxes(-1, -2), dscale


def _kept(x, mask):
    return x if mask is None else namespace(x).where(mask[..., None], x, 0.0)


_SYNTHESIZER = "Tay et al. 2020 (arXiv:2005.00743), sections 3.1 to 3.3"


@formula(
    "(n,m),(m,v)->(n,v)",
    keywords={"mask": "(n|1,m|1)"},
    kinds={"mask": "boolean"},
    source=_SYNTHESIZER,
)
def synthesizer_attention(
    logits, v, /, *, mask=None, causal: Causal = None, offset: Whole | None = None
):
    r"""Attention whose logits do not come from queries and keys.

    Formula
    -------
    .. math:: O = \operatorname{softmax}(R)\, V

    Parameters
    ----------
    logits : (..., n, m) R: learned ("random"), a product of learned factors ("factorised random"),
        or from :func:`synthesizer_logits` ("dense").
    v : (..., m, v) values. Heads are a leading axis.
    mask : boolean (..., n or 1, m or 1), optional. True keeps.
    causal, offset : as in :func:`softmax_attention`.

    Returns
    -------
    (..., n, v); 0 for a row that keeps nothing.

    Raises
    ------
    ValueError
        Shapes that do not fit; ``causal`` with n != m and nothing that aligns them.

    Conventions
    -----------
    No scale.

    Breaks when
    -----------
    As :func:`softmax_attention`.

    References
    ----------
    Tay et al. 2020 (arXiv:2005.00743).

    Examples
    --------
    >>> import refimpl
    >>> refimpl.synthesizer_attention([[0.0, 0.0]], [[2.0], [4.0]])
    array([[3.]])
    """
    return weighted_sum(_weights(logits, mask, causal, offset), v)


@synthesizer_attention.defvjp
def synthesizer_attention_vjp(g, logits, v, /, *, mask=None, causal=None, offset=None):
    """dV = P^T g; dR = P (dP - <P, dP>) with dP = g V^T."""
    xp = namespace(logits)
    weights = _weights(logits, mask, causal, offset)
    # A value that is not seen has no say, even where it is not finite.
    dweights = xp.where(weights == 0, 0.0, g @ v.swapaxes(-1, -2))
    return softmax_vjp(dweights, weights, axis=-1), weights.swapaxes(-1, -2) @ g


def _weights(logits, mask, causal, offset):
    n, m = logits.shape[-2:]
    keep = band(n, m, causal, None, offset).keep(namespace(logits), range(n), range(m))
    return softmax_terms(logits, keep if mask is None else keep & mask)[0]


@formula("(n,d),(d,h),(h),(h,m),(m)->(n,m)", source=_SYNTHESIZER)
def synthesizer_logits(x, weight_in, bias_in, weight_out, bias_out, /):
    r"""Dense Synthesizer: logits that each position makes from itself, by a small network.

    Formula
    -------
    .. math:: R = \max(X W_1 + b_1, 0)\, W_2 + b_2

    Parameters
    ----------
    x : (..., n, d) positions.
    weight_in, bias_in : (..., d, h), (..., h); weight_out, bias_out : (..., h, m), (..., m).

    Returns
    -------
    (..., n, m)

    Raises
    ------
    ValueError
        Shapes that do not fit.

    Conventions
    -----------
    Weights multiply from the right: torch's ``nn.Linear`` holds their transposes. At 0, relu has
    the gradient 0.

    Breaks when
    -----------
    The number of keys m is fixed by the weights.

    References
    ----------
    Tay et al. 2020 (arXiv:2005.00743), eqs. 1 and 2.

    Examples
    --------
    >>> import refimpl
    >>> refimpl.synthesizer_logits([[1.0]], [[2.0]], [1.0], [[1.0, -1.0]], [0.0, 5.0])
    array([[3., 2.]])
    """
    hidden = namespace(x).maximum(x @ weight_in + bias_in[..., None, :], 0)
    return hidden @ weight_out + bias_out[..., None, :]


@synthesizer_logits.defvjp
def synthesizer_logits_vjp(g, x, weight_in, bias_in, weight_out, bias_out, /):
    """Through both layers."""
    xp = namespace(x)
    hidden = xp.maximum(x @ weight_in + bias_in[..., None, :], 0)
    dhidden = xp.where(hidden > 0, g @ weight_out.swapaxes(-1, -2), 0.0)
    return (
        dhidden @ weight_in.swapaxes(-1, -2),
        x.swapaxes(-1, -2) @ dhidden,
        dhidden.sum(axis=-2),
        hidden.swapaxes(-1, -2) @ g,
        g.sum(axis=-2),
    )


@formula("(n,a),(n,b)->(n,m)", source=_SYNTHESIZER)
def factorised_synthesizer_logits(first, second, /, *, order: Literal["tiled", "outer"]):
    r"""Factorised dense Synthesizer: a b logits for each position from a + b numbers.

    Formula
    -------
    .. math:: R_{ij} = A_{i,\,j \bmod a}\, B_{i,\,j \bmod b}
        \quad\text{or}\quad R_{ij} = A_{i,\,\lfloor j/b \rfloor}\, B_{i,\,j \bmod b},
        \qquad 0 \le j < m = a b

    Parameters
    ----------
    first, second : (..., n, a) and (..., n, b), A and B: each from a layer of its own.
    order : "tiled" (the first form: both are repeated as wholes) or "outer" (the second).

    Returns
    -------
    (..., n, m)

    Raises
    ------
    ValueError
        Another order.

    Conventions
    -----------
    The paper says that both are tiled to the length, and leaves open how; public code repeats both
    as wholes.

    Breaks when
    -----------
    "tiled" makes equal logits where a and b have a common divisor.

    References
    ----------
    Tay et al. 2020 (arXiv:2005.00743), section 3.1 (factorised models);
    leaderj1001/Synthesizer-Rethinking-Self-Attention-Transformer-Models ("tiled").

    Examples
    --------
    >>> import refimpl
    >>> refimpl.factorised_synthesizer_logits([[1.0, 2.0]], [[3.0, 5.0, 7.0]], order="tiled")
    array([[ 3., 10.,  7.,  6.,  5., 14.]])
    """
    left, right = _tiles(first, second, order)
    return left * right


@factorised_synthesizer_logits.defvjp
def factorised_synthesizer_logits_vjp(g, first, second, /, *, order):
    """dA and dB are sums over the places where each entry went."""
    left, right = _tiles(first, second, order)
    a, b = first.shape[-1], second.shape[-1]
    shape, axis = ((b, a), -2) if order == "tiled" else ((a, b), -1)
    dfirst = (g * right).reshape(*g.shape[:-1], *shape).sum(axis=axis)
    return dfirst, (g * left).reshape(*g.shape[:-1], a, b).sum(axis=-2)


def _tiles(first, second, order):
    """A and B, each (..., n, a b)."""
    xp, a, b = namespace(first), first.shape[-1], second.shape[-1]
    j = xp.arange(a * b)
    return first[..., j % a if order == "tiled" else j // b], second[..., j % b]


@formula(
    "(n,d),(m,d),(m,v)->(n,v)",
    keywords={"mask": "(m)", "eps": "()"},
    kinds={"mask": "boolean"},
    source="Qin et al. 2022 (arXiv:2202.08791), eqs. 8-12",
)
def cosformer_attention(
    q,
    k,
    v,
    /,
    *,
    length: Distance,
    mask=None,
    causal: Causal = None,
    offset: Whole | None = None,
    eps=None,
    empty: Literal["zero", "nan"] = "zero",
):
    r"""Linear attention with relu features and weights that fall with the distance like a cosine.

    Formula
    -------
    .. math:: A_{ij} = \bigl(\max(q_i, 0) \cdot \max(k_j, 0)\bigr)
        \cos\frac{\pi (i + o - j)}{2 M}, \qquad O_i = \frac{\sum_j A_{ij} v_j}{\sum_j A_{ij}}

    The cosine of a difference splits, so that this is :func:`linear_attention` with the features
    :math:`\max(x_i, 0) \cos\frac{\pi i}{2M}` and :math:`\max(x_i, 0) \sin\frac{\pi i}{2M}`.

    Parameters
    ----------
    q : (..., n, d) queries; k : (..., m, d) keys; v : (..., m, v) values. Heads are a leading axis.
    length : int. M, at least every distance, so that no weight is negative.
    mask, causal, offset, eps, empty : as in :func:`linear_attention`; the offset also moves the
        queries in the cosine.

    Returns
    -------
    (..., n, v)

    Raises
    ------
    ValueError
        Shapes that do not fit; a length below n + offset or m.

    Conventions
    -----------
    No default for the length: the released code takes max(n, m) of each call, so that outputs
    change with padding and a decoder differs from training. It clamps denominators at 1e-6 and
    counts positions from 1, which changes nothing.

    Breaks when
    -----------
    A query whose features are orthogonal to all keys' gets 0.

    References
    ----------
    Qin et al. 2022 (arXiv:2202.08791).

    Examples
    --------
    >>> import refimpl
    >>> x = [[1.0], [1.0]]
    >>> refimpl.cosformer_attention(x, x, [[1.0], [2.0]], length=2).round(6).tolist()
    [[1.414214], [1.585786]]
    """
    qf, kf = _cosine_features(q, k, length, causal, offset)
    return linear_attention.__wrapped__(
        qf,
        kf,
        v,
        features="identity",
        mask=mask,
        causal=causal,
        offset=offset,
        eps=eps,
        empty=empty,
    )


@cosformer_attention.form("textbook")
def cosformer_attention_textbook(
    q, k, v, /, *, length, mask=None, causal=None, offset=None, eps=None, empty="zero"
):
    """All products of rectified queries and keys, times the cosine of their distance."""
    xp, n, m = namespace(q), q.shape[-2], k.shape[-2]
    distance = xp.arange(n)[:, None] + _start(q, k, length, causal, offset) - xp.arange(m)
    cosine = xp.cos(distance * (math.pi / (2 * length))).astype(q.dtype)
    weights = (xp.maximum(q, 0) @ xp.maximum(k, 0).swapaxes(-1, -2)) * cosine
    seen = band(n, m, causal, None, offset).keep(xp, range(n), range(m))
    seen = seen if mask is None else seen & mask[..., None, :]
    weights = xp.where(seen, weights, 0.0)
    total = weights.sum(axis=-1, keepdims=True)
    total = total if eps is None else total + eps[..., None, None]
    output = weighted_sum(weights, v) / total
    return xp.where(total == 0, 0.0 if empty == "zero" else xp.nan, output)


@cosformer_attention.defvjp
def cosformer_attention_vjp(
    g, q, k, v, /, *, length, mask=None, causal=None, offset=None, eps=None, empty="zero"
):
    """As linear attention over the features, then through cosines and relu."""
    xp = namespace(q)
    qf, kf = _cosine_features(q, k, length, causal, offset)
    options = {"mask": mask, "causal": causal, "offset": offset, "eps": eps, "empty": empty}
    dqf, dkf, dv, deps = linear_attention_vjp(g, qf, kf, v, features="identity", **options)
    shifts = _offset(q, k, causal, offset), 0
    found = []
    for x, dfeatures, shift in zip((q, k), (dqf, dkf), shifts, strict=True):
        cosine, sine = _waves(x, length, shift)
        d = x.shape[-1]
        dx = dfeatures[..., :d] * cosine + dfeatures[..., d:] * sine
        found.append(xp.where(x > 0, dx, 0.0))
    return *found, dv, deps


def _offset(q, k, causal, offset):
    return band(q.shape[-2], k.shape[-2], causal, None, offset).offset


def _cosine_features(q, k, length, causal, offset):
    xp = namespace(q)
    start = _start(q, k, length, causal, offset)
    features = []
    for x, shift in ((q, start), (k, 0)):
        cosine, sine = _waves(x, length, shift)
        x = xp.maximum(x, 0)
        features.append(xp.concatenate([x * cosine, x * sine], axis=-1))
    return features


def _start(q, k, length, causal, offset):
    """The position of the first query, where the length has room for all positions."""
    start = _offset(q, k, causal, offset)
    if length < max(q.shape[-2] + start, k.shape[-2], 1):
        raise ValueError(
            f"length: expected at least as many as positions, "
            f"{max(q.shape[-2] + start, k.shape[-2])}, got {length}"
        )
    return start


def _waves(x, length, shift):
    """Cosine and sine (n, 1) of pi i / 2M, from angles in float64."""
    xp = namespace(x)
    angles = (xp.arange(x.shape[-2], dtype="float64") + shift) * (math.pi / (2 * length))
    return xp.cos(angles).astype(x.dtype)[:, None], xp.sin(angles).astype(x.dtype)[:, None]
