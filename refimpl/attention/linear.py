"""Linear attention: weights from inner products of features, without a softmax."""

from __future__ import annotations

from typing import Annotated, Literal

from refimpl.attention.features import Features, feature_map, feature_map_vjp
from refimpl.attention.masks import band, is_large
from refimpl.attention.scan import Scan, State
from refimpl.backend import namespace
from refimpl.core import weighted_sum
from refimpl.formula import formula
from refimpl.formula.options import Causal, Count, Number, Whole

_SOURCE = "Katharopoulos et al. 2020 (arXiv:2006.16236), eqs. 4-12; kexue.fm/archives/7546"


@formula(
    "(n,d),(m,d),(m,v)->(n,v)",
    keywords={"mask": "(m)", "eps": "()"},
    kinds={"mask": "boolean"},
    source=_SOURCE,
)
def linear_attention(
    q,
    k,
    v,
    /,
    *,
    features: Features,
    degree: Annotated[int, Number(1, 32, whole=True)] = 2,
    mask=None,
    causal: Causal = None,
    offset: Whole | None = None,
    eps=None,
    empty: Literal["zero", "nan"] = "zero",
):
    r"""Attention with the similarity of feature maps in place of the exponential.

    Formula
    -------
    .. math:: A_{ij} = \langle \phi(q_i), \phi(k_j) \rangle \text{ (0 where hidden)}, \qquad
        O_i = \frac{\sum_j A_{ij} v_j}{\sum_j A_{ij} + \epsilon}

    The sums over keys can be taken before the products with the queries:

    .. math:: O_i = \frac{\phi(q_i)^T S_i}{\phi(q_i)^T z_i + \epsilon}, \qquad
        S_i = \sum_j \phi(k_j) v_j^T, \quad z_i = \sum_j \phi(k_j)

    over the keys that query i sees, which costs O(n + m). ``form="recurrent"`` adds to S and z key
    by key, ``form="chunked"`` chunk by chunk.

    Parameters
    ----------
    q : (..., n, d) queries; k : (..., m, d) keys; v : (..., m, v) values. Heads are a leading axis.
    features, degree : the map of :func:`feature_map`; "identity" for q and k that hold features.
    mask : boolean (..., m), optional. Which keys exist; True keeps.
    causal, offset : as in :func:`softmax_attention`; a query sees the key at its own position.
    eps : number or (...,), optional. Added to the denominators.
    empty : "zero" or "nan". Output of a query whose denominator is 0.

    Returns
    -------
    (..., n, v)

    Raises
    ------
    ValueError
        Shapes that do not fit; an unknown map; ``causal`` with n != m and nothing that aligns them.

    Conventions
    -----------
    No scale: the essay and most codes have none; put sqrt(scale) into q and k. eps: none here; 1e-6
    in fast-transformers, 1e-10 in fla with ``normalize=True``, a clamp at 1e-6 in cosFormer and at
    1e-3 in linear-attention-transformer, whose output also carries 1/sqrt(d). fla's default and
    ONNX LinearAttention do not divide at all. A mask must select features: features of a zero
    vector are not 0.

    Breaks when
    -----------
    Similarities of both signs ("identity", odd "power") may sum to 0. eps > 0 shrinks rows: they
    sum to den/(den + eps). Sums of many keys overflow in float16.

    References
    ----------
    Katharopoulos et al. 2020 (arXiv:2006.16236); https://kexue.fm/archives/7546;
    idiap/fast-transformers issue 32 (overflow).

    Examples
    --------
    >>> import refimpl
    >>> q, k, v = [[1.0]], [[1.0], [3.0]], [[2.0], [4.0]]
    >>> refimpl.linear_attention(q, k, v, features="relu")
    array([[3.5]])
    """
    qf, kf, v = _features(q, k, v, mask, features, degree)
    similarity = _similarity(qf, kf, causal, offset)
    return _divided(weighted_sum(similarity, v), _denominator(similarity.sum(axis=-1), eps), empty)


@linear_attention.form("textbook")
def linear_attention_textbook(
    q,
    k,
    v,
    /,
    *,
    features,
    degree=2,
    mask=None,
    causal=None,
    offset=None,
    eps=None,
    empty="zero",
):
    """Weights phi(q).phi(k) over their sum."""
    xp, n, m = namespace(q), q.shape[-2], k.shape[-2]
    qf, kf = (feature_map.__wrapped__(x, features=features, degree=degree) for x in (q, k))
    seen = band(n, m, causal, None, offset).keep(xp, range(n), range(m))
    seen = seen if mask is None else seen & mask[..., None, :]
    weights = xp.where(seen, qf @ kf.swapaxes(-1, -2), 0.0)
    total = weights.sum(axis=-1, keepdims=True)
    total = total if eps is None else total + eps[..., None, None]
    output = weighted_sum(weights, v) / total
    return xp.where(total == 0, 0.0 if empty == "zero" else xp.nan, output)


@linear_attention.defvjp
def linear_attention_vjp(
    g,
    q,
    k,
    v,
    /,
    *,
    features,
    degree=2,
    mask=None,
    causal=None,
    offset=None,
    eps=None,
    empty="zero",
):
    """dA = (g V^T - <g, O>)/den; then through both feature maps."""
    qf, kf, v = _features(q, k, v, mask, features, degree)
    similarity = _similarity(qf, kf, causal, offset)
    den = _denominator(similarity.sum(axis=-1), eps)
    numerator = weighted_sum(similarity, v)
    g, dden = _split_cotangent(g, numerator, den)
    dsimilarity = _hidden_to_zero(g @ v.swapaxes(-1, -2) + dden[..., None], causal, offset)
    dqf = weighted_sum(dsimilarity, kf)
    dkf = weighted_sum(dsimilarity.swapaxes(-1, -2), qf)
    dv = similarity.swapaxes(-1, -2) @ g
    return _through_features(q, k, dqf, dkf, dv, mask, features, degree, dden.sum(axis=-1))


def _features(q, k, v, mask, features, degree):
    """Features of queries and keys, and values; 0 for keys that the mask leaves out."""
    xp = namespace(q)
    qf = feature_map.__wrapped__(q, features=features, degree=degree)
    kf = feature_map.__wrapped__(k, features=features, degree=degree)
    if mask is None:
        return qf, kf, v
    return qf, xp.where(mask[..., None], kf, 0.0), xp.where(mask[..., None], v, 0.0)


def _through_features(q, k, dqf, dkf, dv, mask, features, degree, deps):
    """Gradients of q, k, v, (no) mask and eps from those of the features."""
    (dq,) = feature_map_vjp(dqf, q, features=features, degree=degree)
    (dk,) = feature_map_vjp(dkf, k, features=features, degree=degree)
    if mask is not None:
        keep = mask[..., None]
        dk, dv = (namespace(q).where(keep, x, 0.0) for x in (dk, dv))
    return dq, dk, dv, deps


def _similarity(qf, kf, causal, offset):
    return _hidden_to_zero(qf @ kf.swapaxes(-1, -2), causal, offset)


def _hidden_to_zero(x, causal, offset):
    """x (..., n, m) with 0 where a query does not see the key."""
    n, m = x.shape[-2:]
    xp = namespace(x)
    return xp.where(band(n, m, causal, None, offset).keep(xp, range(n), range(m)), x, 0.0)


def _denominator(total, eps):
    return total if eps is None else total + eps[..., None]


def _divided(numerator, den, empty):
    xp = namespace(numerator)
    filler = 0.0 if empty == "zero" else xp.nan
    is_empty = (den == 0)[..., None]
    return xp.where(is_empty, filler, numerator / xp.where(is_empty, 1, den[..., None]))


def _split_cotangent(g, numerator, den):
    """Cotangents of numerators and denominators from that of the quotients; 0 in empty rows."""
    xp = namespace(g)
    is_empty = den == 0
    inverse = xp.where(is_empty, 0.0, 1 / xp.where(is_empty, 1, den))
    g = g * inverse[..., None]
    return g, -(g * numerator).sum(axis=-1) * inverse


# ------------------------------------------------------------------------- recurrent and chunked


@linear_attention.form("recurrent")
def recurrent_linear_attention(q, k, v, /, **options):
    """One key after the other enters S and z: how a decoder runs it."""
    return chunked_linear_attention(q, k, v, chunk=1, **options)


@linear_attention.form("chunked", beyond=is_large)
def chunked_linear_attention(
    q,
    k,
    v,
    /,
    *,
    features,
    degree=2,
    mask=None,
    causal=None,
    offset=None,
    eps=None,
    empty="zero",
    chunk: Count = 64,
):
    """Queries in chunks: earlier keys through S and z, keys of the chunk itself one by one."""
    qf, kf, v = _features(q, k, v, mask, features, degree)
    scan = Scan(qf, kf, v, causal, offset, chunk)
    numerator, total, _ = scan.forward(State.empty(kf, v))
    return _divided(numerator, _denominator(total, eps), empty)


@linear_attention.defvjp(form="chunked")
def chunked_linear_attention_vjp(
    g,
    q,
    k,
    v,
    /,
    *,
    features,
    degree=2,
    mask=None,
    causal=None,
    offset=None,
    eps=None,
    empty="zero",
    chunk=64,
):
    """The scan forwards for S and z, and backwards for the sums of what later queries read."""
    qf, kf, v = _features(q, k, v, mask, features, degree)
    scan = Scan(qf, kf, v, causal, offset, chunk)
    nothing = State.empty(kf, v)
    numerator, total, _ = scan.forward(nothing)
    g, dden = _split_cotangent(g, numerator, _denominator(total, eps))
    dqf, dkf, dv, _ = scan.backward(g, dden, nothing, nothing)
    return _through_features(q, k, dqf, dkf, dv, mask, features, degree, dden.sum(axis=-1))


@formula(
    "(n,d),(n,d),(n,v)->(n,v),(r,v),(r)",
    keywords={"state": "(r,v)", "normaliser": "(r)"},
    source=_SOURCE,
)
def streamed_linear_attention(
    q,
    k,
    v,
    /,
    *,
    features: Features,
    degree: Annotated[int, Number(1, 32, whole=True)] = 2,
    state=None,
    normaliser=None,
    empty: Literal["zero", "nan"] = "zero",
):
    r"""Causal linear attention that takes over the sums S and z from earlier keys and returns them.

    Formula
    -------
    .. math:: S_i = S_{i-1} + \phi(k_i) v_i^T, \quad z_i = z_{i-1} + \phi(k_i), \quad
        O_i = \frac{\phi(q_i)^T S_i}{\phi(q_i)^T z_i}

    Parameters
    ----------
    q, k : (..., n, d) and v : (..., n, v), the next n positions of a sequence.
    features, degree : the map of :func:`feature_map`, with r features.
    state : (..., r, v), optional. S after the positions before; 0 at the start.
    normaliser : (..., r), optional. z after the positions before; 0 at the start.
    empty : "zero" or "nan". Output where the denominator is 0.

    Returns
    -------
    output (..., n, v), state (..., r, v), normaliser (..., r): S and z after these positions.

    Raises
    ------
    ValueError
        Shapes that do not fit; an unknown map.

    Conventions
    -----------
    A position sees itself. fla and ONNX LinearAttention carry S alone and do not divide.

    Breaks when
    -----------
    As :func:`linear_attention`. S and z grow with the sequence: their precision is that of the
    inputs.

    References
    ----------
    Katharopoulos et al. 2020 (arXiv:2006.16236), eqs. 16-20.

    Examples
    --------
    >>> import refimpl
    >>> x = [[1.0], [3.0]]
    >>> output, state, normaliser = refimpl.streamed_linear_attention(x, x, x, features="relu")
    >>> output, state, normaliser
    (array([[1. ],
           [2.5]]), array([[10.]]), array([4.]))
    """
    qf, kf, v = _features(q, k, v, None, features, degree)
    scan = Scan(qf, kf, v, True, None, 64)
    numerator, total, (s, z) = scan.forward(_first_state(kf, v, state, normaliser))
    return _divided(numerator, total, empty), s + 0, z + 0


@streamed_linear_attention.form("textbook")
def streamed_linear_attention_textbook(
    q, k, v, /, *, features, degree=2, state=None, normaliser=None, empty="zero"
):
    """One position after the other: S + phi(k) v^T, z + phi(k), then the quotient."""
    xp = namespace(q)
    qf, kf = (feature_map.__wrapped__(x, features=features, degree=degree) for x in (q, k))
    s = xp.zeros((kf.shape[-1], v.shape[-1]), dtype=q.dtype) + (0 if state is None else state)
    z = xp.zeros(kf.shape[-1:], dtype=q.dtype) + (0 if normaliser is None else normaliser)
    outputs = []
    for i in range(q.shape[-2]):
        s = s + kf[..., i, :, None] * v[..., i, None, :]
        z = z + kf[..., i, :]
        total = qf[..., i, None, :] @ z[..., None]
        output = (qf[..., i, None, :] @ s) / total
        outputs.append(xp.where(total == 0, 0.0 if empty == "zero" else xp.nan, output))
    return (xp.concatenate(outputs, axis=-2) if outputs else qf @ s), s, z


@streamed_linear_attention.defvjp
def streamed_linear_attention_vjp(
    g, q, k, v, /, *, features, degree=2, state=None, normaliser=None, empty="zero"
):
    """As the chunked form, starting from the cotangents of the last S and z."""
    qf, kf, v = _features(q, k, v, None, features, degree)
    scan = Scan(qf, kf, v, True, None, 64)
    start = _first_state(kf, v, state, normaliser)
    numerator, total, _ = scan.forward(start)
    g_output, dden = _split_cotangent(g[0], numerator, total)
    dqf, dkf, dv, first = scan.backward(g_output, dden, start, State(g[1], g[2]))
    dq, dk, dv, _ = _through_features(q, k, dqf, dkf, dv, None, features, degree, None)
    return dq, dk, dv, first.s, first.z


def _first_state(kf, v, state, normaliser) -> State:
    nothing = State.empty(kf, v)
    return State(
        nothing.s if state is None else state, nothing.z if normaliser is None else normaliser
    )
