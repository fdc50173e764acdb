"""LongRoPE: rotary frequencies for longer contexts, each pair by its own searched factor."""

from __future__ import annotations

import math
from typing import Any

from refimpl.backend import astype, namespace, scalar
from refimpl.formula import formula
from refimpl.formula.options import AboveOne, Finite
from refimpl.position.scaling import with_factor


@formula(
    "(h)->(h),()",
    source="Ding et al. 2024 (LongRoPE, arXiv:2402.13753); Phi-3 (Hugging Face type 'longrope')",
    keywords={"short_factors": "(h)", "long_factors": "(h)", "factor": "()", "length": "()"},
    kinds=dict.fromkeys(
        ("frequencies", "short_factors", "long_factors", "factor", "length"), "exact"
    ),
    differentiable=("frequencies", "short_factors", "long_factors", "factor"),
)
def longrope_frequencies(
    frequencies: Any,
    /,
    *,
    short_factors: Any,
    long_factors: Any,
    factor: Any,
    length: Any,
    trained_length: AboveOne,
    short_attention_factor: Finite | None = None,
    long_attention_factor: Finite | None = None,
) -> Any:
    r"""LongRoPE: each pair divided by a factor of its own, from one of two searched lists.

    Formula
    -------
    .. math:: \theta'_i = \theta_i / f_i, \qquad
        f = \begin{cases} f^{\mathrm{long}} & \ell > L_0 \\ f^{\mathrm{short}} & \ell \le L_0
        \end{cases}, \qquad a = \sqrt{1 + \frac{\ln s}{\ln L_0}}

    Parameters
    ----------
    frequencies : (..., h) :math:`\theta` in radians per position, float64.
    short_factors, long_factors : (..., h) positive numbers, the two lists.
    factor : number or (...,), at least 1. s, the longest length over the trained one.
    length : number or (...,). :math:`\ell`, the number of tokens, those in a cache included: the
        highest position plus one.
    trained_length : number > 1. :math:`L_0`.
    short_attention_factor, long_attention_factor : numbers, optional. a for either list, in place
        of the rule, which holds for both.

    Returns
    -------
    frequencies (..., h), float64; attention factor a, (...,).

    Raises
    ------
    ValueError
        Factors of a list not positive; factor below 1; length negative; trained_length at most 1.
    TypeError
        An array in float16 or float32.

    Conventions
    -----------
    The short list still holds at the trained length itself. The length is that of the sequence in
    Hugging Face, and the configured maximum in vLLM and llama.cpp. Hugging Face's explicit
    attention_factor is both of the two here; short_mscale and long_mscale of Phi-3.5-MoE are they.

    Breaks when
    -----------
    A sequence that grows past the trained length needs all its keys anew: those in a cache were
    rotated by the short list.

    References
    ----------
    Ding et al. 2024 (arXiv:2402.13753); Hugging Face transformers, modeling_rope_utils;
    ggml-org/llama.cpp issue 24823; unslothai/unsloth pull 10681.

    Examples
    --------
    >>> import refimpl
    >>> lists = {"short_factors": [1.0, 1.0], "long_factors": [1.0, 50.0]}
    >>> options = lists | {"factor": 32.0, "length": 4097, "trained_length": 4096}
    >>> refimpl.longrope_frequencies([1.0, 0.01], **options)
    (array([1.e+00, 2.e-04]), np.float64(1.1902380714238083))
    """
    theta, divisors, _, attention, _ = _longrope(
        frequencies,
        short_factors,
        long_factors,
        factor,
        length,
        trained_length,
        short_attention_factor,
        long_attention_factor,
    )
    scaled = theta / divisors
    return scaled, attention + namespace(theta).zeros(scaled.shape[:-1], dtype=theta.dtype)


@longrope_frequencies.defvjp
def longrope_frequencies_vjp(
    g,
    frequencies,
    /,
    *,
    short_factors,
    long_factors,
    factor,
    length,
    trained_length,
    short_attention_factor=None,
    long_attention_factor=None,
):
    """dtheta = g / f; df = -g theta / f^2 for the list in use, 0 for the other; ds = g_a da/ds."""
    theta, divisors, is_long, _, slope = _longrope(
        frequencies,
        short_factors,
        long_factors,
        factor,
        length,
        trained_length,
        short_attention_factor,
        long_attention_factor,
    )
    g, g_attention = g
    ddivisors = -g * theta / divisors**2
    return g / divisors, ddivisors * ~is_long, ddivisors * is_long, g_attention * slope


def _longrope(
    frequencies, short_factors, long_factors, factor, length, trained_length, short_a, long_a
):
    """theta, the list in use, whether it is the long one, the attention factor, its slope in s."""
    for name, divisors in (("short_factors", short_factors), ("long_factors", long_factors)):
        if not scalar((divisors > 0).all()):
            raise ValueError(f"{name}: expected positive numbers")
    if not scalar((length >= 0).all()):
        raise ValueError("length: expected numbers of tokens, not negative")
    theta, s = with_factor(frequencies, factor)
    xp = namespace(theta)
    is_long = length > trained_length
    chosen = xp.where(is_long[..., None], long_factors, short_factors)
    rule = xp.sqrt(1 + xp.log(s) / math.log(trained_length))
    slope = 1 / (2 * rule * s * math.log(trained_length))
    by_list = [(rule, slope) if a is None else (0 * s + a, 0 * s) for a in (long_a, short_a)]
    attention, slope = (xp.where(is_long, *pair) for pair in zip(*by_list, strict=True))
    return theta, astype(chosen, theta.dtype), is_long[..., None], attention, slope
