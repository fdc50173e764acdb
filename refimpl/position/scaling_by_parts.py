"""Rotary frequencies for longer contexts, interpolated by parts: each pair by its own amount."""

from __future__ import annotations

import math
from typing import Annotated, Any

from refimpl.backend import astype, namespace, scalar
from refimpl.formula import formula
from refimpl.formula.options import AboveOne, Choice, Finite, Positive
from refimpl.position.scaling import with_factor

# How far frequencies may be from the powers of the base that counts their pairs.
_MISFIT = 0.1

Ramp = Annotated[str, Choice(("turns", "index"), ("paper", "code"))]
"""Whether a pair's turns or its index decide how far it is interpolated."""


@formula(
    "(h)->(h),()",
    source="Peng et al. 2023 (arXiv:2309.00071), eq. 17 to 22",
    keywords={"factor": "()"},
    kinds={"frequencies": "exact", "factor": "exact"},
    differentiable=("frequencies", "factor"),
)
def yarn_frequencies(
    frequencies: Any,
    /,
    *,
    factor: Any,
    trained_length: Positive,
    ramp: Ramp,
    base: AboveOne | None = None,
    slow: Positive = 1.0,
    fast: Positive = 32.0,
    truncate: bool = True,
    attention_factor: Finite | None = None,
    mscale: Finite | None = None,
    mscale_all_dim: Finite | None = None,
) -> Any:
    r"""YaRN: fast pairs stay, slow ones are interpolated, and logits are sharpened a little.

    Formula
    -------
    .. math:: \theta'_i = \theta_i \left[\gamma_i + \frac{1 - \gamma_i}{s}\right], \qquad
        a = 0.1 \ln s + 1

    where :math:`\gamma_i`, clipped to [0, 1], is with ``ramp`` "turns" and "index"

    .. math:: \gamma_i = \frac{L_0 \theta_i / 2\pi - \alpha}{\beta - \alpha} \qquad\text{and}\qquad
        \gamma_i = 1 - \frac{i - \lfloor D(\beta) \rfloor}{
            \lceil D(\alpha) \rceil - \lfloor D(\beta) \rfloor}, \qquad
        D(r) = \frac{h \ln(L_0 / 2\pi r)}{\ln b}

    Parameters
    ----------
    frequencies : (..., h) :math:`\theta` in radians per position, float64.
    factor : number or (...,), at least 1. s, the new length over the trained one.
    trained_length : number > 0. :math:`L_0`.
    ramp : "turns", linear in the number of turns over the trained length, as the paper; or
        "index", linear in i, as the released code, Hugging Face and vLLM.
    base : number > 1. b, which "index" needs; "turns" does not look at it.
    slow, fast : numbers, 0 < slow < fast. :math:`\alpha` and :math:`\beta` in turns.
    truncate : bool. Round the ends of "index" outwards, as most models; false in gpt-oss.
    attention_factor : number, optional. a itself, in place of the rule.
    mscale, mscale_all_dim : numbers, both or none. With g(m) = 0.1 m ln s + 1, a is
        g(mscale)/g(mscale_all_dim).

    Returns
    -------
    frequencies (..., h), float64; attention factor a, (...,): pass both on to
    :func:`rotary_embedding`, which multiplies cosine and sine, so that logits get a squared.

    Raises
    ------
    ValueError
        An unknown ramp; "index" without a base above 1, or with one whose powers the frequencies
        are not (by 10 % or more); slow and fast in the wrong order; a ramp that ends before it
        starts; one of the mscales alone; factor below 1; trained_length not positive.
    TypeError
        No ramp; frequencies or factor in float16 or float32.

    Conventions
    -----------
    The two ramps have the same ends but not the same middle: one frequency is up to three times
    the other (base 10000, 128 features, 4096 by 16). Checkpoints are trained with "index". Its
    ends are clipped to 0 and d - 1, not to the last pair, d/2 - 1; ends that meet are moved apart
    by 0.001. fast is beta_fast and slow is beta_slow of Hugging Face. An explicit attention factor
    is final there; in older vLLM it multiplies the rule. With one of mscale and mscale_all_dim
    missing or zero, Hugging Face falls back to mscale = 1, vLLM's DeepSeek class takes the ratio
    with zero: give both. DeepSeek also multiplies the scale of the softmax by g(mscale_all_dim)^2.

    Breaks when
    -----------
    The rounding of "index" makes the ends jump where D(r) crosses a whole number.

    Notes
    -----
    The gradient in the frequencies includes the change of the ramp with "turns"; with "index", the
    ramp depends on b alone.

    References
    ----------
    Peng et al. 2023 (arXiv:2309.00071); jquesnelle/yarn issues 24 and 60; vllm-project/vllm
    pull 28244 (truncate); turboderp-org/exllamav3 issue 259 (mscales).

    Examples
    --------
    >>> import refimpl
    >>> options = {"trained_length": 4096, "ramp": "turns"}
    >>> refimpl.yarn_frequencies([1.0, 0.01], factor=16.0, **options)
    (array([1.        , 0.00229405]), np.float64(1.2772588722239782))
    """
    theta, s = with_factor(frequencies, factor)
    keep, _ = _kept(theta, trained_length, ramp, base, slow, fast, truncate)
    scaled = _blended(theta, keep, s[..., None])
    attention, _ = _sharpening(s, attention_factor, mscale, mscale_all_dim)
    return scaled, attention + namespace(theta).zeros(scaled.shape[:-1], dtype=theta.dtype)


@yarn_frequencies.form("textbook")
def yarn_frequencies_textbook(
    frequencies,
    /,
    *,
    factor,
    trained_length,
    ramp,
    base=None,
    slow=1.0,
    fast=32.0,
    truncate=True,
    attention_factor=None,
    mscale=None,
    mscale_all_dim=None,
):
    """gamma theta + (1 - gamma) theta/s, by the ramp of the paper or that of its code."""
    theta, s = with_factor(frequencies, factor)
    xp, h = namespace(theta), theta.shape[-1]
    _check_ends(slow, fast)
    _check_mscales(mscale, mscale_all_dim)
    if ramp == "turns":
        gamma = (trained_length * theta / (2 * math.pi) - slow) / (fast - slow)
    else:
        _check_base(theta, base)
        d_slow, d_fast = (
            h * math.log(trained_length / (2 * math.pi * turns)) / math.log(base)
            for turns in (slow, fast)
        )
        if truncate:
            d_slow, d_fast = math.ceil(d_slow), math.floor(d_fast)
        start, end = _clipped_ends(d_fast, d_slow, h)
        gamma = 1 - (xp.arange(h, dtype=theta.dtype) - start) / (end - start)
    gamma = xp.clip(gamma, 0, 1)
    scaled = gamma * theta + (1 - gamma) * theta / s[..., None]
    if attention_factor is not None:
        a = 0 * s + attention_factor
    elif mscale is not None:
        a = (mscale * xp.log(s) / 10 + 1) / (mscale_all_dim * xp.log(s) / 10 + 1)
    else:
        a = xp.log(s) / 10 + 1
    return scaled, xp.broadcast_to(a, scaled.shape[:-1])


@yarn_frequencies.defvjp
def yarn_frequencies_vjp(
    g,
    frequencies,
    /,
    *,
    factor,
    trained_length,
    ramp,
    base=None,
    slow=1.0,
    fast=32.0,
    truncate=True,
    attention_factor=None,
    mscale=None,
    mscale_all_dim=None,
):
    r"""dtheta_i = g_i [gamma_i + (1 - gamma_i)/s + theta_i (1 - 1/s) gamma'_i];
    ds = -sum g_i theta_i (1 - gamma_i)/s^2 + g_a da/ds."""
    theta, s = with_factor(frequencies, factor)
    g, g_attention = g
    keep, slope = _kept(theta, trained_length, ramp, base, slow, fast, truncate)
    dtheta, ds = _blended_vjp(g, theta, keep, slope, s[..., None])
    _, da = _sharpening(s, attention_factor, mscale, mscale_all_dim)
    return dtheta, ds + g_attention * da


@formula(
    "(h)->(h)",
    source="Llama 3.1 (Meta 2024), apply_scaling",
    keywords={"factor": "()"},
    kinds={"frequencies": "exact", "factor": "exact"},
    differentiable=("frequencies", "factor"),
)
def llama3_frequencies(
    frequencies: Any,
    /,
    *,
    factor: Any,
    trained_length: Positive,
    slow: Positive = 1.0,
    fast: Positive = 4.0,
) -> Any:
    r"""The scaling of Llama 3.1: wavelengths beyond the trained length are interpolated.

    Formula
    -------
    With the turns :math:`r_i = L_0 \theta_i / 2\pi` over the trained length,

    .. math:: \theta'_i = \begin{cases} \theta_i & r_i > \beta \\ \theta_i / s & r_i < \alpha \\
        (1 - t) \theta_i / s + t\, \theta_i, \; t = \frac{r_i - \alpha}{\beta - \alpha} &
        \text{between} \end{cases}

    Parameters
    ----------
    frequencies : (..., h) :math:`\theta` in radians per position, float64.
    factor : number or (...,), at least 1. s: 8 in Llama 3.1, 32 in Llama 3.2 of 1B and 3B.
    trained_length : number > 0. :math:`L_0`: 8192.
    slow, fast : numbers, 0 < slow < fast. :math:`\alpha` and :math:`\beta`: low_freq_factor and
        high_freq_factor.

    Returns
    -------
    (..., h), float64.

    Raises
    ------
    ValueError
        slow and fast in the wrong order; factor below 1; trained_length not positive.
    TypeError
        frequencies or factor in float16 or float32.

    Conventions
    -----------
    The released code compares wavelengths :math:`2\pi/\theta_i` with :math:`L_0/\beta` and
    :math:`L_0/\alpha`. This is :func:`yarn_frequencies` with the ramp "turns", these ends and the
    attention factor 1.

    Breaks when
    -----------
    Between the ends frequencies need not be a geometric sequence, nor the scaling invertible.

    References
    ----------
    meta-llama/llama-models, models/llama3/reference_impl/model.py; Hugging Face transformers,
    modeling_rope_utils, "llama3"; felafax/felafax issue 59.

    Examples
    --------
    >>> import refimpl
    >>> refimpl.llama3_frequencies([1.0, 0.002, 0.0001], factor=8.0, trained_length=8192)
    array([1.00000000e+00, 1.18776351e-03, 1.25000000e-05])
    """
    theta, s = with_factor(frequencies, factor)
    return _blended(theta, _by_turns(theta, trained_length, slow, fast)[0], s[..., None])


@llama3_frequencies.defvjp
def llama3_frequencies_vjp(g, frequencies, /, *, factor, trained_length, slow=1.0, fast=4.0):
    """As of YaRN with the ramp "turns"."""
    theta, s = with_factor(frequencies, factor)
    keep, slope = _by_turns(theta, trained_length, slow, fast)
    return _blended_vjp(g, theta, keep, slope, s[..., None])


# --------------------------------------------------------------------------------------- ramps


def _blended(theta, keep, s):
    """theta [gamma + (1 - gamma)/s], written so that its ends are theta and theta/s to the bit."""
    return theta * keep + theta / s * (1 - keep)


def _blended_vjp(g, theta, keep, slope, s):
    """Gradients in theta and s, where gamma depends on theta by its slope."""
    dtheta = g * (keep + (1 - keep) / s + theta * (1 - 1 / s) * slope)
    return dtheta, -(g * theta * (1 - keep) / s**2).sum(axis=-1)


def _kept(theta, trained_length, ramp, base, slow, fast, truncate):
    """gamma, and its derivative in theta."""
    if ramp == "turns":
        return _by_turns(theta, trained_length, slow, fast)
    keep = _by_index(theta, trained_length, base, slow, fast, truncate)
    return keep, namespace(theta).zeros_like(keep)


def _by_turns(theta, trained_length, slow, fast):
    _check_ends(slow, fast)
    xp = namespace(theta)
    per_frequency = trained_length / (2 * math.pi) / (fast - slow)
    keep = per_frequency * theta - slow / (fast - slow)
    inside = (keep > 0) & (keep < 1)
    return xp.clip(keep, 0, 1), per_frequency * astype(inside, theta.dtype)


def _by_index(theta, trained_length, base, slow, fast, truncate):
    _check_ends(slow, fast)
    _check_base(theta, base)
    xp, h = namespace(theta), theta.shape[-1]

    def pair_that_turns(times):
        return h * math.log(trained_length / (2 * math.pi * times)) / math.log(base)

    start, end = pair_that_turns(fast), pair_that_turns(slow)
    if truncate:
        start, end = math.floor(start), math.ceil(end)
    start, end = _clipped_ends(start, end, h)
    return 1 - xp.clip((xp.arange(h, dtype=theta.dtype) - start) / (end - start), 0, 1)


def _clipped_ends(start, end, h):
    """The ends of a ramp over the features, apart from each other."""
    start, end = max(start, 0), min(end, 2 * h - 1)
    if start > end:
        raise ValueError(
            f"trained_length: the ramp would start at pair {start:.4g} and end at {end:.4g}"
        )
    return start, end + 0.001 * (start == end)


def _check_base(theta, base):
    if base is None:
        raise ValueError("base: expected a finite number above 1 for ramp='index', got None")
    h = theta.shape[-1]
    i = namespace(theta).arange(h, dtype=theta.dtype)
    misfit = abs(theta * float(base) ** (i / h) - 1)
    if scalar((misfit > _MISFIT).any()):
        raise ValueError(f"frequencies: expected powers of the base {base}")


def _check_ends(slow, fast):
    if not slow < fast:
        raise ValueError(f"slow, fast: expected slow < fast, got {slow} and {fast}")


# ------------------------------------------------------------------------------ attention factors


def _sharpening(s, attention_factor, mscale, mscale_all_dim):
    """YaRN's attention factor and its derivative in s."""
    _check_mscales(mscale, mscale_all_dim)
    if attention_factor is not None:
        return 0 * s + attention_factor, 0 * s
    over, under = (1.0, 0.0) if mscale is None else (mscale, mscale_all_dim)
    logarithm = namespace(s).log(s) / 10
    top, bottom = over * logarithm + 1, under * logarithm + 1
    return top / bottom, (over * bottom - top * under) / (10 * s * bottom**2)


def _check_mscales(mscale, mscale_all_dim):
    if (mscale is None) != (mscale_all_dim is None):
        raise ValueError(
            "mscale, mscale_all_dim: expected both or none, because the field disagrees on one "
            f"alone, got {mscale} and {mscale_all_dim}"
        )
