"""Sinusoidal encodings of absolute position."""

from __future__ import annotations

from typing import Annotated, Literal

from refimpl.backend import namespace, result_type
from refimpl.formula import formula
from refimpl.formula.options import Number, Positive
from refimpl.position.angles import turns_of

_VASWANI = "Vaswani et al. 2017 (arXiv:1706.03762), section 3.5; kexue.fm/archives/8130, 8231"


@formula(
    "(n)->(n,d)",
    source=_VASWANI,
    kinds={"positions": "exact"},
    differentiable=("positions",),
)
def sinusoidal_encoding(
    positions,
    /,
    *,
    dim: Annotated[int, Number(2, 2**24, whole=True)],
    order: Literal["sin_first", "cos_first"],
    layout: Literal["interleaved", "half"],
    frequencies: Literal["paper", "t2t"],
    base: Positive = 10000.0,
):
    r"""Sines and cosines of the position, of geometric frequencies.

    Formula
    -------
    With d = ``dim``, the frequencies

    .. math:: \theta_i = b^{-2i/d}\ (\text{"paper"}) \qquad\text{or}\qquad
        \theta_i = b^{-i/(\lfloor d/2 \rfloor - 1)}\ (\text{"t2t"})

    and the layout "interleaved" or "half"

    .. math:: p_{k, 2i} = \sin k\theta_i,\ p_{k, 2i+1} = \cos k\theta_i \qquad\text{or}\qquad
        p_{k, i} = \sin k\theta_i,\ p_{k, h + i} = \cos k\theta_i

    where h is the number of sines; ``order="cos_first"`` exchanges sine and cosine.

    Parameters
    ----------
    positions : (..., n) k, integers or float64, from 0.
    dim : int. d, at least 2, or 4 for "t2t".
    order : "sin_first" or "cos_first".
    layout : "interleaved" or "half".
    frequencies : "paper" or "t2t".
    base : number > 0. b.

    Returns
    -------
    (..., n, dim) in float64. For odd d the paper's frequencies have one more of what is first;
    those of t2t leave a last column of zeros.

    Raises
    ------
    ValueError
        An unknown choice; ``dim`` too small or not whole; base not positive; positions that are not
        finite.
    TypeError
        A choice that is missing; positions in float16 or float32.

    Conventions
    -----------
    The paper interleaves, sine first. tensor2tensor, fairseq and the text package of TensorFlow
    have halves, and *other frequencies*, from 1 to exactly 1/b: no permutation of the paper's.
    fairseq counts from its padding index + 1. archives/8231 derives cosines first.

    Breaks when
    -----------
    Rounding puts an error of about :math:`k \theta_i 2^{-53}` in an angle: 1e-10 at 10^6.

    References
    ----------
    Vaswani et al. 2017 (arXiv:1706.03762); https://kexue.fm/archives/8130, /8231;
    tensorflow/tensor2tensor issues 1423, 1925; gc-os-ai/pyaptamer issue 607 (odd widths).

    Examples
    --------
    >>> import refimpl
    >>> choices = {"order": "sin_first", "layout": "interleaved", "frequencies": "paper"}
    >>> refimpl.sinusoidal_encoding([1], dim=4, **choices).round(6)
    array([[0.841471, 0.540302, 0.01    , 0.99995 ]])
    """
    xp = namespace(positions)
    theta, first, second = _columns(positions, dim, base, order, layout, frequencies)
    dim, turns = int(dim), turns_of(positions, theta)
    sines, cosines = turns.imag, turns.real
    out = xp.zeros((*positions.shape, dim), dtype=sines.dtype)
    out[..., first], others = (sines, cosines) if order == "sin_first" else (cosines, sines)
    out[..., second] = others[..., : dim // 2]
    return out


@sinusoidal_encoding.defvjp
def sinusoidal_encoding_vjp(g, positions, /, *, dim, order, layout, frequencies, base=10000.0):
    """dk = sum of theta (g_sin cos - g_cos sin)."""
    theta, first, second = _columns(positions, dim, base, order, layout, frequencies)
    turns = turns_of(positions, theta)
    sine, cosine = (first, second) if order == "sin_first" else (second, first)
    of_sine, of_cosine = g[..., sine], g[..., cosine]
    # For odd dim one of them has a column less.
    a, b = of_sine.shape[-1], of_cosine.shape[-1]
    up = (theta[:a] * of_sine * turns.real[..., :a]).sum(axis=-1)
    return (up - (theta[:b] * of_cosine * turns.imag[..., :b]).sum(axis=-1),)


def _columns(positions, dim, base, order, layout, frequencies):
    """Frequencies (h), and the columns of what is first and second."""
    if frequencies == "t2t" and dim < 4:
        raise ValueError(f"dim: expected a whole number from 4 on for 't2t', got {dim}")
    xp, dtype, pairs = namespace(positions), result_type(positions), dim // 2
    h = pairs if frequencies == "t2t" else dim - pairs
    # A quotient is rounded once, and the power makes ln b times as much of that.
    numerator, denominator = (1, pairs - 1) if frequencies == "t2t" else (2, dim)
    theta = float(base) ** (-numerator * xp.arange(h, dtype=dtype) / denominator)
    if layout == "half":
        columns = slice(0, h), slice(h, h + pairs)
    else:
        columns = slice(0, 2 * h - 1, 2), slice(1, 2 * pairs, 2)
    return theta, *columns
