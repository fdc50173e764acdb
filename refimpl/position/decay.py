"""Remote decay: what products of sinusoids and of rotated vectors say about distance."""

from __future__ import annotations

import math
from typing import Any, Literal

from refimpl.backend import astype, namespace, result_type
from refimpl.core import require_finite
from refimpl.formula import formula
from refimpl.formula.options import Positive
from refimpl.position.angles import angles_of, from_angles, turn

_EULER = 0.57721566490153286060651209008240243
# Up to here power series keep their digits; beyond, so many steps of the continued fraction
# leave less than 2^-64: its error falls as exp(-2.8 sqrt(steps x)).
_NEAR = 4.0
_SERIES_TERMS = 48
_FRACTION_STEPS = 80


# --------------------------------------------------------------------------------- sums of pairs


@formula(
    "(n),(h)->(n)",
    source="kexue.fm/archives/8231; Vaswani et al. 2017, section 3.5",
    kinds={"distances": "exact", "frequencies": "exact"},
    differentiable=("distances", "frequencies"),
)
def sinusoid_inner_product(distances: Any, frequencies: Any, /) -> Any:
    r"""The inner product of sinusoidal encodings: a function of distance, and it decays.

    Formula
    -------
    .. math:: \langle p_m, p_n \rangle = \sum_{i=0}^{h-1} \cos((m - n)\theta_i)

    Parameters
    ----------
    distances : (..., n) m - n, integers or float64.
    frequencies : (..., h) :math:`\theta` in radians per position, float64; those of
        :func:`rotary_frequencies` for d = 2h features.

    Returns
    -------
    (..., n), float64. h = d/2 at distance 0, which no other value exceeds.

    Raises
    ------
    ValueError
        Distances not finite.
    TypeError
        Distances or frequencies in float16 or float32.

    Conventions
    -----------
    Not divided by h. It is the same for sines or cosines first, interleaved or in halves, and for
    :math:`\langle R_m q, R_n k\rangle` of vectors of ones it is twice this. As a bias of logits it
    is called Sandwich, :func:`sandwich_bias`.

    Breaks when
    -----------
    The decay is a trend: sums of few cosines oscillate, and return at multiples of all periods.

    References
    ----------
    https://kexue.fm/archives/8231, /8265; Vaswani et al. 2017 (arXiv:1706.03762).

    Examples
    --------
    >>> import refimpl
    >>> theta = refimpl.rotary_frequencies(10000.0, dim=128)
    >>> refimpl.sinusoid_inner_product([0, 1, 64], theta).round(6)
    array([64.      , 62.093684, 30.520059])
    """
    return namespace(distances).cos(angles_of(distances, frequencies, "distances")).sum(axis=-1)


@sinusoid_inner_product.defvjp
def sinusoid_inner_product_vjp(g, distances, frequencies, /):
    """dx = -g sum theta_i sin(x theta_i); dtheta_i = -sum g x sin(x theta_i)."""
    slopes = -g[..., None] * namespace(distances).sin(
        angles_of(distances, frequencies, "distances")
    )
    return from_angles(slopes, distances, frequencies)


@formula(
    "(n),(h)->(n)",
    source="kexue.fm/archives/8265; Su et al. 2021 (RoFormer), section 3.4.3",
    kinds={"distances": "exact", "frequencies": "exact"},
    differentiable=("distances", "frequencies"),
)
def abel_decay_bound(distances: Any, frequencies: Any, /) -> Any:
    r"""The mean of partial sums that bounds what rotary products can be at a distance.

    Formula
    -------
    .. math:: f(x) = \frac{1}{h} \sum_{j=1}^{h} |S_j|, \qquad S_j = \sum_{i<j} e^{i x \theta_i}

    For complex numbers :math:`z_i` and :math:`z_h = 0`, summation by parts gives
    :math:`|\sum_i z_i e^{i x \theta_i}| \le \max_i |z_{i+1} - z_i| \cdot h f(x)`.

    Parameters
    ----------
    distances : (..., n) x, integers or float64.
    frequencies : (..., h) :math:`\theta` in radians per position, float64, in the order of the
        pairs.

    Returns
    -------
    (..., n), float64. (h + 1)/2 at distance 0, which no other value exceeds.

    Raises
    ------
    ValueError
        Distances not finite; no frequencies.
    TypeError
        Distances or frequencies in float16 or float32.

    Conventions
    -----------
    The curve of the essay and the paper, with d = 128. :math:`z_i` is the product of pair i of the
    query with the conjugate of that of the key.

    Breaks when
    -----------
    It bounds any query and key, so it is loose: it says that products of smooth ones decay. Where a
    partial sum vanishes it has a corner, and the gradient takes 0 there.

    References
    ----------
    https://kexue.fm/archives/8265; Su et al. 2021 (arXiv:2104.09864).

    Examples
    --------
    >>> import refimpl
    >>> theta = refimpl.rotary_frequencies(10000.0, dim=128)
    >>> refimpl.abel_decay_bound([0, 1, 128], theta).round(6)
    array([32.5     , 31.538166,  9.272903])
    """
    return abs(_partial_sums(distances, frequencies)[1]).mean(axis=-1)


@abel_decay_bound.defvjp
def abel_decay_bound_vjp(g, distances, frequencies, /):
    r"""d|S_j| = Re(conj(S_j)/|S_j| dS_j): with U_i the sum of conj(S_j)/|S_j| over j > i, the
    angle x theta_i has the slope -Im(U_i e^{i x theta_i}) g / h."""
    xp = namespace(distances)
    turns, sums = _partial_sums(distances, frequencies)
    lengths = abs(sums)
    directions = xp.conj(sums) / xp.where(lengths == 0, 1, lengths)
    later = xp.flip(xp.cumsum(xp.flip(directions, axis=-1), axis=-1), axis=-1)
    slopes = -g[..., None] * (later * turns).imag / sums.shape[-1]
    return from_angles(slopes, distances, frequencies)


def _partial_sums(distances, frequencies):
    """e^{i x theta_i}, and S_1 to S_h."""
    if frequencies.shape[-1] == 0:
        raise ValueError("frequencies: expected at least one, got none")
    turns = turn(angles_of(distances, frequencies, "distances"))
    return turns, namespace(turns).cumsum(turns, axis=-1)


# ------------------------------------------------------------------------------------- integrals


@formula(
    "(n)->(n),(n)",
    source="kexue.fm/archives/8231",
    kinds={"distances": "exact"},
    differentiable=("distances",),
)
def remote_decay_integral(
    distances: Any, /, *, family: Literal["exponential", "power"], parameter: Positive
) -> Any:
    r"""The limit of many pairs: the mean turn of frequencies that fall from 1 continuously.

    Formula
    -------
    .. math:: G(x) = \int_0^1 e^{i x \theta_t}\, dt, \qquad
        \theta_t = b^{-t} \text{ (exponential)} \quad\text{or}\quad t^\alpha \text{ (power)}

    With the sine and cosine integrals, and with a = 1/α, respectively,

    .. math:: G = \frac{\mathrm{Ci}(x) - \mathrm{Ci}(x/b) + i[\mathrm{Si}(x) - \mathrm{Si}(x/b)]}
        {\ln b}, \qquad
        \mathrm{Re}\, G = {}_1F_2\left(\tfrac{a}{2}; \tfrac12, 1 + \tfrac{a}{2};
        -\tfrac{x^2}{4}\right)

    Parameters
    ----------
    distances : (..., n) x, integers or float64.
    family : "exponential" or "power".
    parameter : number. b > 1, or :math:`\alpha` > 0.

    Returns
    -------
    Real and imaginary part, each (..., n), float64; 1 and 0 at distance 0.

    Raises
    ------
    ValueError
        An unknown family; b not above 1 or :math:`\alpha` not above 0; distances not finite.
    TypeError
        Distances in float16 or float32.

    Conventions
    -----------
    The real part times h approximates :func:`sinusoid_inner_product` of h pairs, to x at most:
    well where x is small beside h. The sinusoids of the Transformer are b = 10000.

    Breaks when
    -----------
    Exponential: the real part falls like :math:`1 - (\ln x + \gamma)/\ln b`, and turns negative
    near x = 0.6165 b. Power: it falls like
    :math:`\Gamma(1 + a) \cos(\pi a/2) x^{-a}` for :math:`\alpha > 1`, and like
    :math:`\sin(x)/x` for :math:`\alpha = 1`. For b close to 1 the quotient loses digits: errors
    are about :math:`2^{-53}/\ln b`.

    Notes
    -----
    Up to x = 4, and for powers up to about a, by power series; beyond by the continued fraction of
    the incomplete gamma function, which does not cancel as the series of :math:`{}_1F_2` does.

    References
    ----------
    https://kexue.fm/archives/8231; Abramowitz and Stegun 1964, 5.2 and 6.5.31.

    Examples
    --------
    >>> import refimpl
    >>> real, _ = refimpl.remote_decay_integral([0, 1, 64], family="exponential", parameter=10000.0)
    >>> real.round(6)
    array([1.      , 0.973963, 0.487335])
    """
    x, sign = _magnitudes(distances)
    p = _checked_parameter(family, parameter)
    g = _exponential_mean(x, p) if family == "exponential" else _power_mean(x, 1 / p)
    return g.real + 0.0, sign * g.imag


@remote_decay_integral.defvjp
def remote_decay_integral_vjp(g, distances, /, *, family, parameter):
    r"""dG/dx is (e^{ix} - e^{ix/b})/(x ln b), or i a/(a + 1) times G of a + 1 in place of a."""
    x, sign = _magnitudes(distances)
    p = _checked_parameter(family, parameter)
    slope = _exponential_slope(x, p) if family == "exponential" else _power_slope(x, 1 / p)
    return (sign * g[0] * slope.real + g[1] * slope.imag,)


def _magnitudes(distances):
    """|x|, and its sign: the real part is even in x and the imaginary part odd."""
    require_finite("distances", distances)
    x = astype(distances, result_type(distances))
    xp = namespace(x)
    return abs(x), xp.where(x < 0, -1.0, 1.0).astype(x.dtype)


def _checked_parameter(family, parameter):
    least = 1 if family == "exponential" else 0
    if not least < parameter < math.inf:
        raise ValueError(f"parameter: expected a number above {least}, got {parameter}")
    return parameter


def _exponential_mean(x, b):
    """[E(x) - E(x/b)] / ln b for E = Ci + i Si, and where both are near 0, its series."""
    xp = namespace(x)
    y = x / b
    series_x, series_y = (_series(xp.minimum(v, _NEAR), _entire_term) for v in (x, y))
    # Si - pi/2 instead of Si: it vanishes far out, and so leaves the difference its digits.
    far_x, far_y = (-turn(v) * _fraction(xp.maximum(v, _NEAR), 0.0) for v in (x, y))
    near_y = _EULER + xp.log(xp.where(y > 0, y, 1)) + series_y - 0.5j * math.pi
    both_near = 1 + (series_x - series_y) / math.log(b)
    beyond = (far_x - xp.where(y > _NEAR, far_y, near_y)) / math.log(b)
    return xp.where(x > _NEAR, beyond, both_near)


def _exponential_slope(x, b):
    """(e^{ix} - e^{iy})/(x ln b) with y = x/b, as a product that does not cancel."""
    xp = namespace(x)
    half = x * (1 - 1 / b) / 2
    ratio = xp.where(x > 0, xp.sin(half) / xp.where(x > 0, x, 1), (1 - 1 / b) / 2)
    return 2j * turn(x * (1 + 1 / b) / 2) * ratio / math.log(b)


def _power_mean(x, a):
    """M(a, a + 1, ix) = a int_0^1 u^(a-1) e^{ixu} du: near 0 a series, beyond it
    Gamma(1 + a) e^{i pi a/2} x^-a - a e^{ix} C_a(-ix)."""
    xp = namespace(x)
    end = max(_NEAR, min(a, 100 + a / 2))
    near, far = xp.minimum(x, end), xp.maximum(x, end)
    series = 1 + _series(near, lambda k: a / (k + a)) if a < _NEAR else _kummer(near, a)
    # For large a it is nothing to the last digit, and the gamma function overflows.
    whole = math.gamma(1 + a) if a < 170 else 0.0
    whole = whole * complex(math.cos(math.pi * a / 2), math.sin(math.pi * a / 2))
    beyond = whole * far**-a - a * turn(far) * _fraction(far, a)
    return xp.where(x > end, beyond, series)


def _power_slope(x, a):
    """Of M(a, a + 1, ix) in x."""
    return 1j * a / (a + 1) * _power_mean(x, a + 1)


def _entire_term(k):
    return 1 / k


def _series(x, weight):
    """sum over k >= 1 of weight(k) (ix)^k / k!."""
    total = 0 * x + 0j
    for k in range(_SERIES_TERMS, 0, -1):
        # From the last term inwards: (ix)^k / k! is a product that the loop completes.
        total = (1j * x / k) * (weight(k) + total)
    return total


def _kummer(x, a):
    """M(a, a + 1, ix) = e^{ix} sum of (-ix)^k / ((a + 1) ... (a + k)), whose terms fall up to a."""
    total = 1 + 0j * x
    for k in range(_SERIES_TERMS + int(10 * math.sqrt(min(a, 200))), 0, -1):
        total = 1 - 1j * x / (a + k) * total
    return turn(x) * total


def _fraction(x, a):
    """C_a(z) = e^z z^-a Gamma(a, z) at z = -ix: a continued fraction, from its tail inwards."""
    z = -1j * x
    tail = 0 * z
    for k in range(_FRACTION_STEPS, 0, -1):
        tail = k * (k - a) / (z + (2 * k + 1 - a) - tail)
    return 1 / (z + (1 - a) - tail)
