"""Rotary frequencies for longer contexts, each divided by a power of the factor."""

from __future__ import annotations

from typing import Any, Literal

from refimpl.backend import astype, namespace, result_type, scalar
from refimpl.formula import formula
from refimpl.formula.options import Fraction, NonNegative, Positive

_SCALED = {
    "keywords": {"factor": "()"},
    "kinds": {"frequencies": "exact", "factor": "exact"},
    "differentiable": ("frequencies", "factor"),
}


@formula(
    "(h)->(h)",
    source="Chen et al. 2023 (arXiv:2306.15595), eq. 4; kexue.fm/archives/9675",
    **_SCALED,
)
def linear_scaled_frequencies(frequencies: Any, /, *, factor: Any) -> Any:
    r"""Position interpolation: all rotary frequencies divided by the factor.

    Formula
    -------
    .. math:: \theta'_i = \theta_i / s

    Parameters
    ----------
    frequencies : (..., h) :math:`\theta` in radians per position, float64; those of
        :func:`rotary_frequencies`.
    factor : number or (...,), at least 1. s, the new length over the trained one.

    Returns
    -------
    (..., h), float64.

    Raises
    ------
    ValueError
        factor below 1 or not finite.
    TypeError
        frequencies or factor in float16 or float32.

    Conventions
    -----------
    Equal to positions m/s: rotary-embedding-torch and flash-attention divide positions, Hugging
    Face ("linear") the frequencies. llama.cpp takes 1/s.

    Breaks when
    -----------
    Neighbouring tokens come closer by s: without fine-tuning, quality falls as s grows.

    References
    ----------
    Chen et al. 2023 (arXiv:2306.15595); https://kexue.fm/archives/9675.

    Examples
    --------
    >>> import refimpl
    >>> refimpl.linear_scaled_frequencies([1.0, 0.01], factor=4.0)
    array([0.25  , 0.0025])
    """
    return _divided(frequencies, factor, lambda xp, h, dtype: xp.ones(h, dtype=dtype))


@linear_scaled_frequencies.defvjp
def linear_scaled_frequencies_vjp(g, frequencies, /, *, factor):
    """dtheta = g / s; ds = -sum g theta / s^2."""
    return _divided_vjp(g, frequencies, factor, lambda xp, h, dtype: xp.ones(h, dtype=dtype))


@formula(
    "(h)->(h)",
    source="bloc97 2023 (NTK-aware scaled RoPE); Peng et al. 2023 (arXiv:2309.00071), eq. 16",
    **_SCALED,
)
def ntk_frequencies(frequencies: Any, /, *, factor: Any) -> Any:
    r"""NTK-aware scaling: a larger base, which leaves the first pair and interpolates the last.

    Formula
    -------
    .. math:: \theta'_i = \theta_i\, s^{-i/(h-1)}, \qquad 0 \le i < h

    which for :math:`\theta_i = b^{-2i/d}`, h = d/2, is the base :math:`b' = b\, s^{d/(d-2)}`.

    Parameters
    ----------
    frequencies : (..., h) :math:`\theta` in radians per position, float64; at least two.
    factor : number or (...,), at least 1. s.

    Returns
    -------
    (..., h), float64. The first is :math:`\theta_0`, the last :math:`\theta_{h-1}/s`.

    Raises
    ------
    ValueError
        Fewer than two frequencies; factor below 1 or not finite.
    TypeError
        frequencies or factor in float16 or float32.

    Conventions
    -----------
    The factor is "alpha" in exllama and text-generation-webui. Where only some features rotate, d
    is their number. Setting a base by hand (500000, 1000000) is called ABF and needs no formula.
    The essay's radix form, "old" in :func:`radix_frequencies`, has exponents i/h instead.

    Breaks when
    -----------
    Pairs between are interpolated by less than s, so some turn further than in training: usable
    lengths are below s times the trained one.

    References
    ----------
    bloc97 2023, reddit.com/r/LocalLLaMA/comments/14lz7j5; Peng et al. 2023 (arXiv:2309.00071);
    https://kexue.fm/archives/9675.

    Examples
    --------
    >>> import refimpl
    >>> refimpl.ntk_frequencies([1.0, 0.1, 0.01], factor=4.0)
    array([1.    , 0.05  , 0.0025])
    """
    return _divided(frequencies, factor, _from_first_to_last)


@ntk_frequencies.defvjp
def ntk_frequencies_vjp(g, frequencies, /, *, factor):
    """dtheta_i = g_i s^-e_i, ds = -sum g_i theta_i e_i s^(-e_i - 1) with e_i = i/(h-1)."""
    return _divided_vjp(g, frequencies, factor, _from_first_to_last)


@formula(
    "(h)->(h)",
    source="emozilla 2023 (dynamically scaled RoPE); Peng et al. 2023, appendix",
    keywords={"factor": "()", "length": "()"},
    kinds={"frequencies": "exact", "factor": "exact", "length": "exact"},
    differentiable=("frequencies", "factor"),
)
def dynamic_ntk_frequencies(
    frequencies: Any, /, *, factor: Any, length: Any, trained_length: Positive
) -> Any:
    r"""Dynamic NTK scaling: the base grows with the sequence, from the trained length on.

    Formula
    -------
    .. math:: \theta'_i = \theta_i\, \sigma^{-i/(h-1)}, \qquad
        \sigma = \frac{s L}{L_0} - (s - 1), \qquad L = \max(\ell, L_0)

    Parameters
    ----------
    frequencies : (..., h) :math:`\theta` in radians per position, float64; at least two.
    factor : number or (...,), at least 1. s.
    length : number or (...,), at least 0. :math:`\ell`, the current number of tokens, those in a
        cache included: the highest position plus one.
    trained_length : number > 0. :math:`L_0`.

    Returns
    -------
    (..., h), float64. :math:`\theta` itself, bit for bit, up to the trained length.

    Raises
    ------
    ValueError
        Fewer than two frequencies; factor below 1; length negative; trained_length not positive.
    TypeError
        frequencies, factor or length in float16 or float32.

    Conventions
    -----------
    As "dynamic" of Hugging Face, with :math:`L_0` = max_position_embeddings. lmdeploy and Qwen 1
    move in powers of two instead: :math:`\sigma = 2^{\lceil \log_2(L/L_0) + 1 \rceil} - 1`.

    Breaks when
    -----------
    Frequencies depend on the length, so keys that were rotated when the sequence was shorter are
    not those of now: a cache must hold keys before rotation. After a long sequence the frequencies
    must go back.

    References
    ----------
    emozilla 2023, reddit.com/r/LocalLLaMA/comments/14mrgpr; Peng et al. 2023 (arXiv:2309.00071);
    huggingface/transformers issues 25104 (cached keys), 27227 (never reset).

    Examples
    --------
    >>> import refimpl
    >>> refimpl.dynamic_ntk_frequencies([1.0, 0.01], factor=2.0, length=6144, trained_length=2048)
    array([1.   , 0.002])
    """
    return _divided(frequencies, _stretch(factor, length, trained_length), _from_first_to_last)


@dynamic_ntk_frequencies.defvjp
def dynamic_ntk_frequencies_vjp(g, frequencies, /, *, factor, length, trained_length):
    """As of NTK scaling by sigma; d sigma / d s = L/L_0 - 1."""
    stretch = _stretch(factor, length, trained_length)
    dfrequencies, dstretch = _divided_vjp(g, frequencies, stretch, _from_first_to_last)
    return dfrequencies, dstretch * _excess(length, trained_length, stretch.dtype)


@formula("(h)->(h)", source="kexue.fm/archives/9675, 9706", **_SCALED)
def radix_frequencies(
    frequencies: Any,
    /,
    *,
    factor: Any,
    kind: Literal["old", "fixed", "mixed"],
    exponent: NonNegative | None = None,
) -> Any:
    r"""Frequencies of a positional numeral system with other digits: the essay's three ways.

    Formula
    -------
    .. math:: \theta'_i = \theta_i\, s^{-e_i}, \qquad e_i = \frac{m - 1}{h} \text{ (old)}, \quad
        \frac{m}{h} \text{ (fixed)}, \quad \left(\frac{m}{h}\right)^b \text{ (mixed)}, \quad
        m = i + 1

    With :math:`\beta = \theta_0/\theta_1` these are :math:`(\beta\lambda)^{-(m-1)}`,
    :math:`[\lambda(\beta\lambda)^{m-1}]^{-1}` for :math:`\lambda = s^{1/h}`, and
    :math:`\beta^{-(m-1)} \exp(-a m^b)` with :math:`a h^b = \ln s`.

    Parameters
    ----------
    frequencies : (..., h) :math:`\theta` in radians per position, float64.
    factor : number or (...,), at least 1. s.
    kind : "old", "fixed" or "mixed".
    exponent : number >= 0. b of "mixed", which needs one: 0.625 in the essay, 0.75 in its code.

    Returns
    -------
    (..., h), float64. The last is :math:`\theta_{h-1}/s` for "fixed" and "mixed".

    Raises
    ------
    ValueError
        An unknown kind; no exponent, or a negative one, for "mixed"; an exponent for another kind;
        factor below 1.
    TypeError
        frequencies or factor in float16 or float32.

    Conventions
    -----------
    "mixed" with b = 1 is "fixed", and with b = 0 it is position interpolation. "old" is close to
    :func:`ntk_frequencies`, whose exponents are i/(h - 1).

    Breaks when
    -----------
    "old" divides the last frequency by less than s.

    References
    ----------
    https://kexue.fm/archives/9675 (old), /9706 (fixed, mixed); bojone/rerope, ntk_patch.

    Examples
    --------
    >>> import refimpl
    >>> refimpl.radix_frequencies([1.0, 0.01], factor=4.0, kind="fixed")
    array([0.5   , 0.0025])
    """
    return _divided(frequencies, factor, _radix_exponents(kind, exponent))


@radix_frequencies.defvjp
def radix_frequencies_vjp(g, frequencies, /, *, factor, kind, exponent=None):
    """dtheta_i = g_i s^-e_i, ds = -sum g_i theta_i e_i s^(-e_i - 1)."""
    return _divided_vjp(g, frequencies, factor, _radix_exponents(kind, exponent))


@formula(
    "(h)->(h)",
    source="Gemma 3n and 4 (Hugging Face rope type 'proportional')",
    kinds={"frequencies": "exact"},
    differentiable=("frequencies",),
)
def proportional_frequencies(frequencies: Any, /, *, fraction: Fraction) -> Any:
    r"""Only the fastest pairs of a whole head turn; the others have frequency zero.

    Formula
    -------
    .. math:: \theta'_i = \theta_i \text{ for } i < \lfloor p h \rfloor, \quad 0 \text{ beyond}

    Parameters
    ----------
    frequencies : (..., h) :math:`\theta` of the whole head in radians per position, float64.
    fraction : number from 0 to 1. p.

    Returns
    -------
    (..., h), float64.

    Raises
    ------
    ValueError
        fraction below 0 or above 1.
    TypeError
        frequencies in float16 or float32.

    Conventions
    -----------
    Not partial rotation (``rotary_dim``), which takes the frequencies of r = p d features, so that
    the slowest pair is the same, and pairs those features among themselves. Here frequencies are
    those of d features, and "half" pairs i with i + d/2.

    Breaks when
    -----------
    The product p h is rounded down: where it should be whole and is not for rounding, one pair
    fewer turns (as it does in the models' own code).

    References
    ----------
    Hugging Face transformers, modeling_rope_utils; apple/coreai-models issue 66 (its pairs).

    Examples
    --------
    >>> import refimpl
    >>> refimpl.proportional_frequencies([1.0, 0.1, 0.01, 0.001], fraction=0.5)
    array([1. , 0.1, 0. , 0. ])
    """
    return astype(frequencies, result_type(frequencies)) * _turning(frequencies, fraction)


@proportional_frequencies.defvjp
def proportional_frequencies_vjp(g, frequencies, /, *, fraction):
    """dtheta_i = g_i for the pairs that turn."""
    return (g * _turning(frequencies, fraction),)


# ------------------------------------------------------------------------------------- factors


def _divided(frequencies, factor, exponents):
    """theta_i s^-e_i."""
    theta, s = with_factor(frequencies, factor)
    return theta * s[..., None] ** -exponents(namespace(theta), theta.shape[-1], theta.dtype)


def _divided_vjp(g, frequencies, factor, exponents):
    theta, s = with_factor(frequencies, factor)
    e = exponents(namespace(theta), theta.shape[-1], theta.dtype)
    powers = s[..., None] ** -e
    return g * powers, -(g * theta * e * powers / s[..., None]).sum(axis=-1)


def with_factor(frequencies, factor):
    """Both in one type; ValueError where the factor is below 1."""
    dtype = result_type(frequencies, factor)
    if not scalar(((factor >= 1) & (factor < float("inf"))).all()):
        raise ValueError("factor: expected finite numbers from 1 on")
    return astype(frequencies, dtype), astype(factor, dtype)


def _excess(length, trained_length, dtype):
    """L/L_0 - 1, which is 0 up to the trained length."""
    if not scalar((length >= 0).all()):
        raise ValueError("length: expected numbers of tokens, not negative")
    beyond = namespace(length).maximum(astype(length, dtype) - trained_length, 0)
    return beyond / trained_length


def _stretch(factor, length, trained_length):
    """sigma, written as 1 + s (L - L_0)/L_0 so that it is 1 exactly up to the trained length."""
    factor, _ = with_factor(factor, factor)
    return 1 + factor * _excess(length, trained_length, factor.dtype)


# ----------------------------------------------------------------------------------- exponents


def _from_first_to_last(xp, h, dtype):
    """i/(h-1)."""
    if h < 2:
        raise ValueError(f"frequencies: expected at least two, got {h}")
    return xp.arange(h, dtype=dtype) / (h - 1)


def _radix_exponents(kind, exponent):
    """The e_i of a kind, as a function of the namespace, h and the type."""
    if (kind == "mixed") != (exponent is not None):
        raise ValueError(f"exponent: expected for kind='mixed' and for no other, got {exponent!r}")

    def exponents(xp, h, dtype):
        m = xp.arange(h, dtype=dtype) + (kind != "old")
        return (m / h) ** (1 if exponent is None else exponent)

    return exponents


def _turning(frequencies, fraction):
    """1 for each pair that turns, 0 for the others."""
    h = frequencies.shape[-1]
    # The order of operations of the released code: a product that falls short of a whole number
    # is rounded down there too.
    return namespace(frequencies).arange(h) < int(fraction * (2 * h) // 2)
