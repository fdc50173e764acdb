"""The gated attention unit: squared relu in place of the softmax, and a gate on the output."""

from __future__ import annotations

from typing import Literal

from refimpl.attention.masks import band
from refimpl.backend import namespace
from refimpl.core import sigmoid, weighted_sum
from refimpl.formula import formula
from refimpl.formula.options import Causal, Whole

_SOURCE = "Hua et al. 2022 (arXiv:2202.10447), section 3; kexue.fm/archives/8934"


@formula(
    "(n,d),(m,d),(m,v)->(n,v)",
    keywords={"mask": "(n|1,m|1)", "bias": "(n|1,m|1)"},
    kinds={"mask": "boolean"},
    source=_SOURCE,
)
def squared_relu_attention(
    q,
    k,
    v,
    /,
    *,
    divisor: Literal["length_and_width", "length_squared"],
    mask=None,
    bias=None,
    causal: Causal = None,
    offset: Whole | None = None,
):
    r"""Attention with the square of a relu for weights, divided by the length, not by their sum.

    Formula
    -------
    .. math:: A = \frac{\max(Q K^T / \sqrt d + B, 0)^2}{m}
        \quad\text{or}\quad A = \frac{\max(Q K^T + B, 0)^2}{m^2}, \qquad O = A V

    Parameters
    ----------
    q : (..., n, d) queries; k : (..., m, d) keys; v : (..., m, v) values. Heads are a leading axis.
    divisor : "length_and_width" (the first form, m d without a bias) or "length_squared" (m^2).
    mask : boolean (..., n or 1, m or 1), optional. True keeps.
    bias : (..., n or 1, m or 1), optional.
    causal, offset : as in :func:`softmax_attention`. The length stays m.

    Returns
    -------
    (..., n, v)

    Raises
    ------
    ValueError
        Shapes that do not fit; an unknown divisor; ``causal`` with n != m and nothing that aligns
        them.

    Conventions
    -----------
    The paper's text has the first divisor, the code in its appendix the second; the essay's author
    prefers the first. Rows do not sum to 1, and the output depends on the length.

    Breaks when
    -----------
    Padding changes m, and with it every output: mask and length are two things.

    References
    ----------
    Hua et al. 2022 (arXiv:2202.10447); So et al. 2021, Primer (squared relu);
    https://kexue.fm/archives/8934.

    Examples
    --------
    >>> import refimpl
    >>> q, k, v = [[1.0]], [[2.0], [-1.0]], [[3.0], [5.0]]
    >>> refimpl.squared_relu_attention(q, k, v, divisor="length_and_width")
    array([[6.]])
    """
    rectified, _, factor = _rectified(q, k, divisor, mask, bias, causal, offset)
    return factor * weighted_sum(rectified * rectified, v)


@squared_relu_attention.defvjp
def squared_relu_attention_vjp(
    g, q, k, v, /, *, divisor, mask=None, bias=None, causal=None, offset=None
):
    """dS = 2 max(S, 0) (g V^T), over the divisor."""
    xp = namespace(q)
    rectified, scale, factor = _rectified(q, k, divisor, mask, bias, causal, offset)
    dv = factor * ((rectified * rectified).swapaxes(-1, -2) @ g)
    dscores = 2 * factor * xp.where(rectified > 0, rectified * (g @ v.swapaxes(-1, -2)), 0.0)
    dq = scale * weighted_sum(dscores, k)
    return dq, scale * weighted_sum(dscores.swapaxes(-1, -2), q), dv, dscores


def divisor_factors(divisor, length, width):
    """The scale of products, and the factor of their squares."""
    factors = {
        "length_and_width": (max(width, 1) ** -0.5, 1 / max(length, 1)),
        "length_squared": (1.0, 1 / max(length, 1) ** 2),
    }
    if divisor not in factors:
        raise ValueError(f"divisor: expected one of {list(factors)}, got {divisor!r}")
    return factors[divisor]


def _rectified(q, k, divisor, mask, bias, causal, offset):
    """max(S, 0), the factor of the products in S, and that of the weights."""
    xp = namespace(q)
    n, m = q.shape[-2], k.shape[-2]
    scale, factor = divisor_factors(divisor, m, q.shape[-1])
    scores = scale * (q @ k.swapaxes(-1, -2))
    scores = scores if bias is None else scores + bias
    keep = band(n, m, causal, None, offset).keep(xp, range(n), range(m))
    keep = keep if mask is None else keep & mask
    return xp.where(keep, xp.maximum(scores, 0), 0.0), scale, factor


@formula(
    "(n,e),(e,f),(e,f),(e,s),(2,s),(2,s),(f,e)->(n,e)",
    keywords={"mask": "(n|1,n|1)", "bias": "(n|1,n|1)"},
    kinds={"mask": "boolean"},
    source=_SOURCE,
)
def gated_attention_unit(
    x,
    weight_gate,
    weight_value,
    weight_shared,
    gain,
    shift,
    weight_out,
    /,
    *,
    divisor: Literal["length_and_width", "length_squared"],
    mask=None,
    bias=None,
    causal: Causal = None,
):
    r"""Gated attention unit: one head of squared-relu attention whose output is gated.

    Formula
    -------
    With s(t) = t/(1 + exp(-t)),

    .. math:: U = s(X W_u), \quad V = s(X W_v), \quad Z = s(X W_z), \quad
        Q = \gamma_0 Z + \beta_0, \quad K = \gamma_1 Z + \beta_1, \quad
        O = \bigl(U \circ A(Q, K) V\bigr) W_o

    with the weights A of :func:`squared_relu_attention`.

    Parameters
    ----------
    x : (..., n, e) positions.
    weight_gate, weight_value : (..., e, f); weight_shared : (..., e, s); weight_out : (..., f, e).
    gain, shift : (..., 2, s) :math:`\gamma, \beta`, first of the queries, then of the keys.
    divisor, mask, bias, causal : as in :func:`squared_relu_attention`.

    Returns
    -------
    (..., n, e), without the residual connection and the normalisation around it.

    Raises
    ------
    ValueError
        Shapes that do not fit; an unknown divisor.

    Conventions
    -----------
    Weights multiply from the right and there are no biases in the dense layers.

    Breaks when
    -----------
    As :func:`squared_relu_attention`.

    References
    ----------
    Hua et al. 2022 (arXiv:2202.10447), eqs. 1-6; https://kexue.fm/archives/8934.

    Examples
    --------
    >>> import refimpl
    >>> one, pair = [[1.0]], [[1.0], [1.0]]
    >>> arrays = one, one, one, one, pair, [[0.0], [0.0]], one
    >>> refimpl.gated_attention_unit(*arrays, divisor="length_and_width").round(6)
    array([[0.152656]])
    """
    u, v, z = (_silu(x @ w) for w in (weight_gate, weight_value, weight_shared))
    q, k = (gain[..., i, None, :] * z + shift[..., i, None, :] for i in (0, 1))
    options = {"divisor": divisor, "mask": mask, "bias": bias, "causal": causal}
    return (u * squared_relu_attention.__wrapped__(q, k, v, **options)) @ weight_out


@gated_attention_unit.form("textbook")
def gated_attention_unit_textbook(
    x,
    weight_gate,
    weight_value,
    weight_shared,
    gain,
    shift,
    weight_out,
    /,
    *,
    divisor,
    mask=None,
    bias=None,
    causal=None,
):
    """The whole unit in one piece, attention included."""
    xp, n, s = namespace(x), x.shape[-2], weight_shared.shape[-1]
    u, v, z = ((x @ w) * sigmoid(x @ w) for w in (weight_gate, weight_value, weight_shared))
    q, k = (gain[..., i, None, :] * z + shift[..., i, None, :] for i in (0, 1))
    scores = q @ k.swapaxes(-1, -2)
    if divisor == "length_and_width":
        scores = scores / max(s, 1) ** 0.5
    scores = scores if bias is None else scores + bias
    seen = band(n, n, causal).keep(xp, range(n), range(n))
    seen = seen if mask is None else seen & mask
    weights = xp.where(seen, xp.maximum(scores, 0), 0.0) ** 2
    weights = weights / max(n, 1) ** (1 if divisor == "length_and_width" else 2)
    return (u * weighted_sum(weights, v)) @ weight_out


@gated_attention_unit.defvjp
def gated_attention_unit_vjp(
    g,
    x,
    weight_gate,
    weight_value,
    weight_shared,
    gain,
    shift,
    weight_out,
    /,
    *,
    divisor,
    mask=None,
    bias=None,
    causal=None,
):
    """Through the output, the gate, the attention, and the three dense layers."""
    xp = namespace(x)
    weights = weight_gate, weight_value, weight_shared
    before = [x @ w for w in weights]
    u, v, z = map(_silu, before)
    q, k = (gain[..., i, None, :] * z + shift[..., i, None, :] for i in (0, 1))
    options = {"divisor": divisor, "mask": mask, "bias": bias, "causal": causal}
    attended = squared_relu_attention.__wrapped__(q, k, v, **options)
    dweight_out = (u * attended).swapaxes(-1, -2) @ g
    dgated = g @ weight_out.swapaxes(-1, -2)
    dq, dk, dv, dbias = squared_relu_attention_vjp(dgated * u, q, k, v, **options)
    dz = gain[..., 0, None, :] * dq + gain[..., 1, None, :] * dk
    dgain = xp.stack([(d * z).sum(axis=-2) for d in (dq, dk)], axis=-2)
    dshift = xp.stack([dq.sum(axis=-2), dk.sum(axis=-2)], axis=-2)
    dx, dweights = 0, []
    for t, d, w in zip(before, (dgated * attended, dv, dz), weights, strict=True):
        d = d * _silu_slope(t)
        dx = dx + d @ w.swapaxes(-1, -2)
        dweights.append(x.swapaxes(-1, -2) @ d)
    return dx, *dweights, dgain, dshift, dweight_out, dbias


def _silu(t):
    return t * sigmoid(t)


def _silu_slope(t):
    gate = sigmoid(t)
    return gate * (1 + t * (1 - gate))
