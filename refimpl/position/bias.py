"""Biases of attention logits that are functions of distance: ALiBi and KERPLE."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from refimpl.backend import astype, namespace, result_type, scalar
from refimpl.core import require_positive
from refimpl.formula import formula
from refimpl.formula.options import Choice, Count
from refimpl.position.distances import signed_distances

_ALIBI = "Press et al. 2022 (ALiBi, arXiv:2108.12409), section 3"
_POSITIONS = {"query_positions": "exact", "key_positions": "exact"}
SlopeRule = Annotated[
    str,
    Choice(("split", "geometric"), ("code of the paper, BLOOM, MPT", "text of the paper")),
]
"""How slopes are made where heads are no power of two."""


# ------------------------------------------------------------------------------- slopes of ALiBi


@formula(
    "()->(h)",
    source=_ALIBI,
    kinds={"alibi_bias_max": "exact"},
    differentiable=("alibi_bias_max",),
)
def alibi_slopes(alibi_bias_max, /, *, heads: Count, rule: SlopeRule | None = None):
    r"""Slopes of ALiBi for any number of heads.

    Formula
    -------
    With B = ``alibi_bias_max`` and h = 1, ..., n the slopes are

    .. math:: m_h = 2^{-B h/n}

    for ``rule="geometric"``. For ``rule="split"`` they are that where n is a power of two; else,
    with c the largest power of two below n, those of c heads, followed by the first n - c of every
    second one (the first, the third, ...) of 2c heads.

    Parameters
    ----------
    alibi_bias_max : number or (...,), positive. B, 8 in the paper; an integer or float64.
    heads : int >= 1. n.
    rule : "split" or "geometric". Needed where n is no power of two; see Conventions.

    Returns
    -------
    (..., heads) in float64, between 2^-B and 1. Not sorted where the rule splits.

    Raises
    ------
    ValueError
        ``heads`` < 1; an unknown rule, or none where the rules differ; B not positive and finite.
    TypeError
        ``alibi_bias_max`` is float16 or float32.

    Conventions
    -----------
    The text of the paper has one geometric sequence for every n. Its code splits, and so do BLOOM,
    Baichuan, flash-attention and vLLM. MPT takes every second slope of 2c heads first and then the
    others: the same slopes in the same order. Sorting them exchanges heads of a trained model.

    Breaks when
    -----------
    Never; in float16 slopes below 6e-5 lose digits.

    References
    ----------
    Press et al. 2022 (arXiv:2108.12409); ofirpress/attention_with_linear_biases issue 17;
    ml-explore/mlx issue 343.

    Examples
    --------
    >>> import refimpl
    >>> refimpl.alibi_slopes(8, heads=3, rule="split")
    array([0.0625    , 0.00390625, 0.25      ])
    """
    xp = namespace(alibi_bias_max)
    return xp.exp2(-_alibi_exponents(alibi_bias_max, heads, rule))


@alibi_slopes.defvjp
def alibi_slopes_vjp(g, alibi_bias_max, /, *, heads, rule=None):
    r"""dm/dB = -(log 2) (h/n) m."""
    exponents = _alibi_exponents(alibi_bias_max, heads, rule)
    slopes = namespace(exponents).exp2(-exponents)
    return (-math.log(2.0) * (g * slopes * exponents).sum(axis=-1) / alibi_bias_max,)


def _alibi_exponents(alibi_bias_max, heads, rule):
    """B h/n for every head, or what the rule has in its place."""
    xp = namespace(alibi_bias_max)
    below = 1 << (int(heads).bit_length() - 1)
    if rule is None and below != heads:
        raise ValueError(
            "rule: expected 'split' (code of the paper, BLOOM, MPT) or 'geometric' (text of the "
            f"paper), which differ for {heads} heads, got None"
        )
    if not scalar(((alibi_bias_max > 0) & xp.isfinite(alibi_bias_max)).all()):
        raise ValueError("alibi_bias_max: expected positive finite numbers")
    dtype = result_type(alibi_bias_max)
    maximum = astype(alibi_bias_max, dtype)[..., None]
    if rule == "geometric" or below == heads:
        return maximum * xp.arange(1, heads + 1, dtype=dtype) / heads
    # Numerators over 2c: the even ones are all c heads', the odd ones come in between.
    numerators = [*range(2, 2 * below + 1, 2), *range(1, 2 * (heads - below), 2)]
    return maximum * xp.asarray(numerators, dtype=dtype) / (2 * below)


# ------------------------------------------------------------------------------------- distances


def over_pairs(per_head):
    """One number for each head, (..., h), next to (..., h, n, m)."""
    return per_head[..., :, None, None]


# ----------------------------------------------------------------------------------------- ALiBi


@formula(
    "(h),(n),(m)->(h,n,m)",
    source=_ALIBI,
    kinds=_POSITIONS,
)
def alibi_bias(
    slopes, query_positions, key_positions, /, *, sides: Literal["symmetric", "causal", "key_index"]
):
    r"""The bias of ALiBi: distance to the key, times the slope of the head, subtracted.

    Formula
    -------
    For a query at position i and a key at j

    .. math:: b_{hij} = -m_h\,|i - j|

    ``sides="symmetric"``; for ``"causal"`` the same where j <= i and :math:`-\infty` elsewhere; and
    :math:`m_h j` for ``"key_index"``, which differs from the causal one by a number for each row,
    so that a causal softmax is the same.

    Parameters
    ----------
    slopes : (..., h) m, one for each head; see :func:`alibi_slopes`.
    query_positions : (..., n) i; key_positions : (..., m) j. Integers or float64. After a cache of
        c keys the first query has the position c.
    sides : "symmetric", "causal" or "key_index".

    Returns
    -------
    (..., h, n, m) of the slopes' type: the ``bias`` of :func:`softmax_attention`, added after the
    scale of the logits.

    Raises
    ------
    ValueError
        Unknown ``sides``; positions that are not finite.
    TypeError
        No ``sides``; positions in float16 or float32.

    Conventions
    -----------
    The paper is causal. Its code, BLOOM, MPT and flash-attention with ``causal`` add m j; for
    encoders flash-attention and JinaBERT take the symmetric form. Falcon adds the bias before the
    logits are scaled by 1/sqrt(d), so its slopes are smaller by that factor, and multiplies in
    bfloat16. Positions of padded sequences count unpadded tokens only, as in BLOOM.

    Breaks when
    -----------
    "key_index" needs a causal mask, and grows with the position: in float16 m j at 4096 has steps
    of up to 2, where the causal form is exact near the diagonal.

    References
    ----------
    Press et al. 2022 (arXiv:2108.12409); ofirpress/attention_with_linear_biases issue 5 (encoders);
    Dao-AILab/flash-attention issues 907, 1585; huggingface/transformers issue 29946 (Falcon).

    Examples
    --------
    >>> import refimpl
    >>> refimpl.alibi_bias([0.5], [1, 2], [0, 1, 2], sides="symmetric")
    array([[[-0.5,  0. , -0.5],
            [-1. , -0.5,  0. ]]])
    """
    factors, keep = _alibi_factors(slopes, query_positions, key_positions, sides)
    products = over_pairs(astype(slopes, factors.dtype)) * factors
    return astype(namespace(slopes).where(keep, products, -math.inf), slopes.dtype)


@alibi_bias.defvjp
def alibi_bias_vjp(g, slopes, query_positions, key_positions, /, *, sides):
    """dm_h = sum of the cotangents times what m_h multiplies."""
    factors, keep = _alibi_factors(slopes, query_positions, key_positions, sides)
    kept = namespace(g).where(keep, factors, 0.0)
    return (astype((astype(g, factors.dtype) * kept).sum(axis=(-2, -1)), slopes.dtype),)


def _alibi_factors(slopes, query_positions, key_positions, sides):
    """What the slope multiplies, and where it is not minus infinity; both (..., 1, n, m)."""
    xp = namespace(slopes)
    distances = signed_distances(query_positions, key_positions, slopes)[..., None, :, :]
    if sides == "key_index":
        factors = distances * 0 + astype(key_positions, distances.dtype)[..., None, None, :]
    else:
        # Zero stays positive this way.
        factors = 0 - xp.abs(distances)
    return factors, distances >= 0 if sides == "causal" else xp.ones(distances.shape, dtype=bool)


# ---------------------------------------------------------------------------------------- KERPLE


@formula(
    "(h),(h),(n),(m)->(h,n,m)",
    source="Chi et al. 2022 (KERPLE, arXiv:2205.09921), eq. 5 and 6",
    kinds=_POSITIONS,
)
def kerple_bias(
    strengths, rates, query_positions, key_positions, /, *, kernel: Literal["log", "power"]
):
    r"""The bias of KERPLE: minus a logarithm, or a power, of the distance.

    Formula
    -------
    .. math:: b_{hij} = -r_h \log(1 + s_h |i - j|) \quad\text{or}\quad -r_h |i - j|^{s_h}

    for ``kernel="log"`` and ``"power"``. Both are conditionally positive definite kernels:
    :math:`\sum_{ij} c_i c_j b_{hij} \ge 0` wherever :math:`\sum_i c_i = 0`.

    Parameters
    ----------
    strengths : (..., h), positive. r (the paper's r_1).
    rates : (..., h), positive, at most 2 for the power. s (r_2).
    query_positions : (..., n) i; key_positions : (..., m) j. Integers or float64.
    kernel : "log" or "power".

    Returns
    -------
    (..., h, n, m) of the type of r and s; 0 at distance 0. Not masked: mask in the softmax.

    Raises
    ------
    ValueError
        Unknown kernel; r or s not positive and finite; s > 2 for the power (no longer conditionally
        positive definite); positions that are not finite.
    TypeError
        No kernel; positions in float16 or float32.

    Conventions
    -----------
    The paper's choice is the logarithm. Its code overwrites parameters below 0.01 with 0.01, so no
    gradient passes there. The power with s = 1 is :func:`alibi_bias`; s = 2 is a Gaussian window.

    Breaks when
    -----------
    The derivative of the power by s is 0 at distance 0, its limit. It overflows where r |i-j|^s
    does: at distance 256 in float16 for r = 1, s = 2.

    References
    ----------
    Chi et al. 2022 (arXiv:2205.09921); chijames/KERPLE.

    Examples
    --------
    >>> import refimpl
    >>> refimpl.kerple_bias([2.0], [0.5], [8], [7, 6, 0], kernel="log").round(6)
    array([[[-0.81093 , -1.386294, -3.218876]]])
    """
    r, s, t = _kerple_terms(strengths, rates, query_positions, key_positions, kernel)
    xp = namespace(t)
    return astype(-r * (xp.log1p(s * t) if kernel == "log" else t**s), strengths.dtype)


@kerple_bias.defvjp
def kerple_bias_vjp(g, strengths, rates, query_positions, key_positions, /, *, kernel):
    r"""db/dr = b/r; db/ds = -r t/(1 + s t), or -r t^s log t, which is 0 at t = 0."""
    r, s, t = _kerple_terms(strengths, rates, query_positions, key_positions, kernel)
    xp = namespace(t)
    if kernel == "log":
        by_strength, by_rate = -xp.log1p(s * t), -r * t / (1 + s * t)
    else:
        by_strength = -(t**s)
        by_rate = r * by_strength * xp.log(xp.where(t > 0, t, 1))
    g = astype(g, t.dtype)
    sums = ((g * slope).sum(axis=(-2, -1)) for slope in (by_strength, by_rate))
    return tuple(astype(total, strengths.dtype) for total in sums)


def _kerple_terms(strengths, rates, query_positions, key_positions, kernel):
    """r, s as (..., h, 1, 1) and |i - j| as (..., 1, n, m), in at least float64."""
    require_positive("strengths", strengths)
    require_positive("rates", rates)
    if kernel == "power" and not scalar((rates <= 2).all()):
        raise ValueError(f"rates: expected at most 2 for the power, got {float(rates.max()):.3g}")
    t = abs(signed_distances(query_positions, key_positions, strengths))[..., None, :, :]
    return over_pairs(astype(strengths, t.dtype)), over_pairs(astype(rates, t.dtype)), t
