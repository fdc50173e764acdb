"""Mixed chunk attention of FLASH: squared relu within chunks, linear attention between them."""

from __future__ import annotations

from itertools import accumulate
from typing import Literal

from refimpl.attention.gated_unit import divisor_factors
from refimpl.backend import namespace
from refimpl.formula import formula
from refimpl.formula.options import Count


@formula(
    "(n,s),(n,s),(n,s),(n,s),(n,v)->(n,v)",
    source="Hua et al. 2022 (arXiv:2202.10447), section 3.2; kexue.fm/archives/8934",
)
def mixed_chunk_attention(
    q,
    k,
    q_linear,
    k_linear,
    v,
    /,
    *,
    chunk: Count,
    divisor: Literal["length_and_width", "length_squared"],
    linear_divisor: Literal["seen", "length", "chunk"],
    causal: bool = False,
):
    r"""Squared-relu attention within each chunk, plus linear attention over chunks, as in FLASH.

    Formula
    -------
    Position i is in the chunk g(i) = floor(i/c), counted from 0.

    .. math:: o_i = \sum_{g(j)=g(i)} \frac{\max(q_i k_j^T, 0)^2}{c\,s}\, v_j
        + \frac1D \sum_j (\hat q_i \hat k_j^T)\, v_j

    The first sum runs over j <= i if causal. The second, with D = n, runs over all chunks, the own
    one included; if causal, over those before g(i).

    Parameters
    ----------
    q, k : (..., n, s) queries and keys within chunks.
    q_linear, k_linear : (..., n, s) :math:`\hat q, \hat k`, those between chunks.
    v : (..., n, v) values.
    chunk : int, c. The last chunk may be shorter; it is divided as if it were not.
    divisor : "length_and_width" (c s, as above) or "length_squared" (c^2).
    linear_divisor : D if causal: "seen", the number of summands, g(i) c; "length", n; "chunk", c.
        Without causality it is n for all three.
    causal : bool.

    Returns
    -------
    (..., n, v)

    Raises
    ------
    ValueError
        Shapes that do not fit; a chunk below 1; an unknown divisor.
    TypeError
        A divisor is not given.

    Conventions
    -----------
    The paper's text has c s and n, the code in its appendix c^2 and n; the essay's author prefers
    c s and "seen", with which outputs do not grow along the sequence. FLASH-pytorch has
    "length_squared" and "chunk". Positions enter q, k before, for example by rotation.

    Breaks when
    -----------
    A change of the length moves no chunk but changes D for "length". Nothing bounds the weights.

    References
    ----------
    Hua et al. 2022 (arXiv:2202.10447); https://kexue.fm/archives/8934; lucidrains/FLASH-pytorch.

    Examples
    --------
    >>> import refimpl
    >>> one, v = [[1.0], [1.0], [1.0]], [[1.0], [2.0], [4.0]]
    >>> options = {"divisor": "length_and_width", "linear_divisor": "seen", "causal": True}
    >>> refimpl.mixed_chunk_attention(one, one, one, one, v, chunk=2, **options)
    array([[0.5],
           [1.5],
           [3.5]])
    """
    near, far, rectified, _ = _dense(q, k, chunk, divisor, linear_divisor, causal)
    products = q_linear @ _t(k_linear)
    return (near * rectified * rectified + far * products) @ v


@mixed_chunk_attention.defvjp
def mixed_chunk_attention_vjp(
    g, q, k, q_linear, k_linear, v, /, *, chunk, divisor, linear_divisor, causal=False
):
    """With dA = g V^T: dS = 2 A_near dA / S within chunks, and A_far dA between them."""
    near, far, rectified, scale = _dense(q, k, chunk, divisor, linear_divisor, causal)
    products = q_linear @ _t(k_linear)
    dweights = g @ _t(v)
    dscores = 2 * scale * near * rectified * dweights
    dproducts = far * dweights
    weights = near * rectified * rectified + far * products
    return (
        dscores @ k,
        _t(dscores) @ q,
        dproducts @ k_linear,
        _t(dproducts) @ q_linear,
        _t(weights) @ g,
    )


def _dense(q, k, chunk, divisor, linear_divisor, causal):
    """Factors of the squares and of the linear products of all pairs, max(S, 0), and S over q.k."""
    xp, n = namespace(q), q.shape[-2]
    scale, factor = divisor_factors(divisor, chunk, q.shape[-1])
    i, j = xp.arange(n)[:, None], xp.arange(n)[None, :]
    near = i // chunk == j // chunk
    before = i // chunk * chunk
    divisors = _between(before, n, chunk, linear_divisor, causal)
    far = j < before if causal else xp.ones((n, n), dtype=bool)
    near = near & (j <= i) if causal else near
    rectified = scale * xp.maximum(q @ _t(k), 0)
    return factor * near.astype(q.dtype), (far / divisors).astype(q.dtype), rectified, scale


def _between(before, n, chunk, linear_divisor, causal):
    """D, where ``before`` positions are in earlier chunks; 1 where the sum is empty."""
    if not causal or linear_divisor == "length":
        return max(n, 1)
    return chunk if linear_divisor == "chunk" else before + (before == 0)


# ------------------------------------------------------------------------------- chunk by chunk


def _is_long(bound) -> bool:
    return bound.axes["n"] > 512


@mixed_chunk_attention.form("chunked", beyond=_is_long)
def chunked_mixed_attention(
    q, k, q_linear, k_linear, v, /, *, chunk: Count, divisor, linear_divisor, causal=False
):
    """Squares of one chunk at a time; sums of k^T v of chunks in place of the other products."""
    n = q.shape[-2]
    scale, factor = divisor_factors(divisor, chunk, q.shape[-1])
    blocks = _blocks(n, chunk)
    sums = _of_others([_t(k_linear[b]) @ v[b] for b in blocks], causal)
    outputs = []
    for block, total in zip(blocks, sums, strict=True):
        below = _between(block[1].start, n, chunk, linear_divisor, causal)
        rectified = scale * _rectified(q[block], k[block], causal)
        near = factor * (rectified * rectified) @ v[block]
        outputs.append(near + (q_linear[block] @ total) / below)
    return namespace(q).concatenate(outputs, axis=-2)


@mixed_chunk_attention.defvjp(form="chunked")
def chunked_mixed_attention_vjp(
    g, q, k, q_linear, k_linear, v, /, *, chunk, divisor, linear_divisor, causal=False
):
    """Sums of k^T v of the chunks before, and of q^T g/D of those after."""
    xp, n = namespace(q), q.shape[-2]
    scale, factor = divisor_factors(divisor, chunk, q.shape[-1])
    blocks = _blocks(n, chunk)
    divisors = [_between(b[1].start, n, chunk, linear_divisor, causal) for b in blocks]
    seen = _of_others([_t(k_linear[b]) @ v[b] for b in blocks], causal)
    sent = [_t(q_linear[b]) @ g[b] / d for b, d in zip(blocks, divisors, strict=True)]
    sent = _of_others(sent[::-1], causal)[::-1]
    gradients = []
    for block, below, before, after in zip(blocks, divisors, seen, sent, strict=True):
        rectified = scale * _rectified(q[block], k[block], causal)
        dscores = 2 * scale * factor * rectified * (g[block] @ _t(v[block]))
        gradients.append(
            (
                dscores @ k[block],
                _t(dscores) @ q[block],
                g[block] @ _t(before) / below,
                v[block] @ _t(after),
                factor * _t(rectified * rectified) @ g[block] + k_linear[block] @ after,
            )
        )
    return tuple(xp.concatenate(parts, axis=-2) for parts in zip(*gradients, strict=True))


def _blocks(n: int, chunk: int) -> list[tuple]:
    return [(..., slice(start, start + chunk), slice(None)) for start in range(0, max(n, 1), chunk)]


def _of_others(terms, causal):
    """For each chunk the sum over those before it; over all chunks without causality."""
    if causal:
        return [*accumulate(terms[:-1], initial=0 * terms[0])]
    return [sum(terms)] * len(terms)


def _rectified(q, k, causal):
    """max(q k^T, 0), of earlier keys only if causal."""
    xp = namespace(q)
    rectified = xp.maximum(q @ _t(k), 0)
    return xp.tril(rectified) if causal else rectified


def _t(x):
    return x.swapaxes(-1, -2)
