"""Multi-head latent attention: keys and values from one small vector per position."""

from __future__ import annotations

from refimpl.attention.masks import band
from refimpl.attention.softmax import scale_for, softmax_attention, softmax_attention_vjp
from refimpl.backend import namespace
from refimpl.core import broadcast_shape, softmax_terms, weighted_sum
from refimpl.formula import formula
from refimpl.formula.options import Causal, Whole


@formula(
    "(n,d),(n,r),(m,c),(m,r),(c,d),(c,v)->(n,v)",
    keywords={"mask": "(n|1,m|1)", "scale": "()"},
    kinds={"mask": "boolean"},
    source="DeepSeek-AI 2024 (arXiv:2405.04434), eqs. 9-19",
)
def latent_attention(
    q,
    q_rotary,
    latents,
    k_rotary,
    key_up,
    value_up,
    /,
    *,
    mask=None,
    scale=None,
    causal: Causal = None,
    offset: Whole | None = None,
):
    r"""Multi-head latent attention: keys and values are projections of one cached vector.

    Formula
    -------
    .. math:: K = C W_K, \quad V = C W_V, \qquad
        O = \operatorname{softmax}\bigl(\tau (Q K^T + Q^R {K^R}^T)\bigr) V

    The projections can be absorbed (``form="absorbed"``), so that only the cache is attended to:

    .. math:: O = \operatorname{softmax}\bigl(\tau ((Q W_K^T) C^T + Q^R {K^R}^T)\bigr) C\, W_V

    Parameters
    ----------
    q : (..., n, d) queries; q_rotary : (..., n, r) their rotated part. Heads are a leading axis.
    latents : (..., m, c) C, the cache, one for all heads (an axis of size 1).
    k_rotary : (..., m, r) the rotated keys, one for all heads.
    key_up, value_up : (..., c, d) and (..., c, v), of each head.
    mask : boolean (..., n or 1, m or 1), optional. True keeps.
    scale : number or (...,), default 1/sqrt(d + r). :math:`\tau`.
    causal, offset : as in :func:`softmax_attention`.

    Returns
    -------
    (..., n, v)

    Raises
    ------
    ValueError
        As :func:`softmax_attention`.

    Conventions
    -----------
    Rotations come before: DeepSeek rotates interleaved pairs. Models with YaRN multiply the scale
    by the square of its attention factor; one key cannot show whether that was forgotten.

    Breaks when
    -----------
    As :func:`softmax_attention`. The two forms round differently: products of three matrices are
    taken in another order.

    References
    ----------
    DeepSeek-AI 2024 (arXiv:2405.04434); NVIDIA/Megatron-LM issue 1429 (scale).

    Examples
    --------
    >>> import refimpl
    >>> q, c, up = [[0.0]], [[1.0], [3.0]], [[2.0]]
    >>> refimpl.latent_attention(q, q, c, [[0.0], [0.0]], up, up)
    array([[4.]])
    """
    arrays = _joined(q, q_rotary, latents @ key_up, k_rotary)
    options = {"mask": mask, "scale": scale, "causal": causal, "offset": offset}
    return softmax_attention.__wrapped__(*arrays, latents @ value_up, **options)


def _joined(q, q_rotary, k, k_rotary):
    """Queries and keys with both parts side by side."""
    return _beside(q, q_rotary), _beside(k, k_rotary)


def _beside(x, y):
    """Two arrays side by side, their leading axes broadcast."""
    xp = namespace(x)
    lead = broadcast_shape([x.shape[:-1], y.shape[:-1]])
    parts = (xp.broadcast_to(part, (*lead, part.shape[-1])) for part in (x, y))
    return xp.concatenate(list(parts), axis=-1)


@latent_attention.form("textbook")
def latent_attention_textbook(
    q,
    q_rotary,
    latents,
    k_rotary,
    key_up,
    value_up,
    /,
    *,
    mask=None,
    scale=None,
    causal=None,
    offset=None,
):
    """Keys and values are made of the cache, and the logits are a sum of two products."""
    xp, n, m = namespace(q), q.shape[-2], latents.shape[-2]
    keys, values = latents @ key_up, latents @ value_up
    tau = scale_for(q.shape[-1] + q_rotary.shape[-1], scale)
    content = (tau * q) @ keys.swapaxes(-1, -2)
    scores = content + (tau * q_rotary) @ k_rotary.swapaxes(-1, -2)
    seen = band(n, m, causal, None, offset).keep(xp, range(n), range(m))
    weights, _, _ = softmax_terms(scores, seen if mask is None else seen & mask)
    return weighted_sum(weights, values)


@latent_attention.form("absorbed")
def absorbed_latent_attention(
    q,
    q_rotary,
    latents,
    k_rotary,
    key_up,
    value_up,
    /,
    *,
    mask=None,
    scale=None,
    causal=None,
    offset=None,
):
    """Attention of absorbed queries to the cache itself, as decoders run it."""
    if scale is None:
        default = scale_for(q.shape[-1] + q_rotary.shape[-1], None)
        scale = namespace(q).full((), default, dtype=q.dtype)
    arrays = _joined(q @ key_up.swapaxes(-1, -2), q_rotary, latents, k_rotary)
    options = {"mask": mask, "scale": scale, "causal": causal, "offset": offset}
    return softmax_attention.__wrapped__(*arrays, latents, **options) @ value_up


@latent_attention.defvjp
def latent_attention_vjp(
    g,
    q,
    q_rotary,
    latents,
    k_rotary,
    key_up,
    value_up,
    /,
    *,
    scale=None,
    **options,
):
    """As softmax attention, then through both projections of the cache."""
    arrays = _joined(q, q_rotary, latents @ key_up, k_rotary)
    values = latents @ value_up
    dq, dk, dv, _, dscale, _ = softmax_attention_vjp(g, *arrays, values, scale=scale, **options)
    d = q.shape[-1]
    dkeys = dk[..., :d]
    dlatents = dkeys @ key_up.swapaxes(-1, -2) + dv @ value_up.swapaxes(-1, -2)
    transposed = latents.swapaxes(-1, -2)
    return (
        dq[..., :d],
        dq[..., d:],
        dlatents,
        dk[..., d:],
        transposed @ dkeys,
        transposed @ dv,
        dscale,
    )
