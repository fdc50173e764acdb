"""Rotary position embedding (RoPE): positions turn pairs of features, so products see distances."""

from __future__ import annotations

import math
from typing import Any

from refimpl.backend import astype, namespace, result_type, scalar
from refimpl.core import require_finite
from refimpl.formula import formula
from refimpl.formula.options import Even, Finite, Pairing, Positive
from refimpl.position.angles import angles_of, from_angles, turn, turns_of

_SOURCE = "Su et al. 2021 (RoFormer), eq. 15 and 34; kexue.fm/archives/8265"
# Entries of x beyond which short tables and complex products are worth their calls.
_LARGE = 2**14


# --------------------------------------------------------------------------------- frequencies


@formula("()->(h)", source=_SOURCE, kinds={"base": "exact"}, differentiable=("base",))
def rotary_frequencies(base: Any, /, *, dim: Even) -> Any:
    r"""Angle per position of each pair of features.

    Formula
    -------
    .. math:: \theta_i = b^{-2i/r}, \qquad i = 0, \dots, r/2 - 1

    Parameters
    ----------
    base : number or (...,), positive. :math:`b`; an integer or float64.
    dim : int, even. :math:`r`, how many features rotate: those of one head, never of the model.

    Returns
    -------
    (..., dim / 2), in radians per position, in float64. Decreasing from 1 where base > 1.

    Raises
    ------
    ValueError
        ``dim`` is odd or below 2; ``base`` is not positive and finite.
    TypeError
        ``base`` is float16 or float32.

    Conventions
    -----------
    Base 10000 in RoFormer, GPT-J, GPT-NeoX and Llama 1 and 2; 500000 in Llama 3; 1000000 in Code
    Llama and Qwen 2. Most codes compute in float32, which is good to 1e-6. The sinusoids of
    tensor2tensor and fairseq have exponents -i/(r/2 - 1): other frequencies, not an order of these.

    Breaks when
    -----------
    Each frequency is rounded, by about 2^-53 of it; where r is no power of two the exponent is too,
    which makes that up to (1 + ln b)/2 times as much for slow pairs. See :func:`rotary_embedding`
    for what it does far out.

    References
    ----------
    Su et al. 2021 (arXiv:2104.09864); https://kexue.fm/archives/8265, /8130.

    Examples
    --------
    >>> import refimpl
    >>> refimpl.rotary_frequencies(10000.0, dim=4)
    array([1.  , 0.01])
    """
    xp = namespace(base)
    if not scalar(((base > 0) & xp.isfinite(base)).all()):
        raise ValueError("base: expected positive finite numbers")
    base = astype(base, result_type(base))
    return base[..., None] ** -_exponents(xp, dim, base.dtype)


@rotary_frequencies.defvjp
def rotary_frequencies_vjp(g, base, /, *, dim):
    r"""d theta_i / d base = -(2i/r) base^(-2i/r - 1)."""
    base = astype(base, result_type(base))
    exponents = _exponents(namespace(base), dim, base.dtype)
    slopes = -exponents * base[..., None] ** (-exponents - 1.0)
    return ((g * slopes).sum(axis=-1),)


def _exponents(xp, dim, dtype):
    """2i/dim for every pair i."""
    return xp.arange(0, dim, 2, dtype=dtype) / dim


# ----------------------------------------------------------------------------------- embedding


@formula(
    "(n,d),(n)->(n,d)",
    source=_SOURCE,
    keywords={"frequencies": "(h?)"},
    kinds={"positions": "exact", "frequencies": "exact"},
    differentiable=("x", "positions", "frequencies"),
)
def rotary_embedding(
    x: Any,
    positions: Any,
    /,
    *,
    pairing: Pairing,
    base: Positive = 10000.0,
    frequencies: Any = None,
    rotary_dim: Even | None = None,
    attention_factor: Finite = 1.0,
    inverse: bool = False,
) -> Any:
    r"""Queries or keys rotated by position: their inner products see only differences of positions.

    Formula
    -------
    .. math:: \begin{pmatrix} y_a \\ y_b \end{pmatrix} = f \begin{pmatrix}
        \cos m\theta_i & -\sin m\theta_i \\ \sin m\theta_i & \cos m\theta_i \end{pmatrix}
        \begin{pmatrix} x_a \\ x_b \end{pmatrix}, \qquad
        (a, b) = (2i, 2i+1) \text{ or } (i, i + r/2), \quad 0 \le i < r/2

    and :math:`y_j = x_j` for :math:`j \ge r`; :math:`\theta` is :func:`rotary_frequencies` of base
    and r. As a matrix, :math:`R_m R_n = R_{m+n}` and :math:`R_m^T = R_{-m}`, hence
    :math:`\langle R_m q, R_n k\rangle = \langle q, R_{n-m} k\rangle`.

    Parameters
    ----------
    x : (..., n, d) queries or keys. Heads are a leading axis.
    positions : (..., n) m, integers or float64, from 0; negative ones turn backwards. They
        broadcast over heads; where they differ along a batch with heads, pass (batch, 1, n).
    pairing : "interleaved" or "half". Which features make a pair; see Conventions.
    base : number > 0. b, where no frequencies are given.
    frequencies : (..., h), optional. :math:`\theta` in radians per position, float64; r is 2h.
    rotary_dim : int, optional. r, even, at most d: only the first r features rotate. Default d.
    attention_factor : number. f, multiplies cosine and sine (YaRN); logits get its square.
    inverse : bool. Rotate by -m.

    Returns
    -------
    (..., n, d) of x's type. Features from r on are those of x, bit for bit.

    Raises
    ------
    ValueError
        Unknown pairing; r odd, below 2 or above d; ``rotary_dim`` that contradicts ``frequencies``;
        base not positive and finite; positions not finite; lengths that do not fit.
    TypeError
        No pairing; positions or frequencies in float16 or float32, which cannot hold large angles.

    Conventions
    -----------
    "interleaved", pairs (2i, 2i+1): RoFormer, GPT-J, Llama as released by Meta, torchtune,
    rotary-embedding-torch. "half", pairs (i, i + r/2): GPT-NeoX, Llama and most models of Hugging
    Face, vLLM with ``is_neox_style``, flash-attention by default. With perm = [0, 2, .., 1, 3, ..],
    half(x[perm]) = interleaved(x)[perm]: Hugging Face permutes the rows of Meta's W_q and W_k in
    this way, which leaves the logits as they were. Weights of one with code of the other run
    without any error and are wrong.
    Partial rotation takes the first features in GPT-J and GPT-NeoX, the last ones in DeepSeek.
    With left padding, the position of a token is the number of unpadded tokens before it.

    Breaks when
    -----------
    Rounding puts an error of about :math:`m \theta_i 2^{-53}` in the angle (a few times that for
    slow pairs, see :func:`rotary_frequencies`): 1e-10 at position 1e6, 2e-7 at 2^31. With float32
    angles (most codes) it is 2^29 times that. In bfloat16, positions from 257 on are no longer
    distinct.

    Notes
    -----
    Angles are computed in float64, whatever x is; their cosines and sines are rounded to x's type.
    ``form=None`` takes "plain" up to 2^14 entries, and "complex" beyond.

    References
    ----------
    Su et al. 2021 (arXiv:2104.09864); https://kexue.fm/archives/8265, /8130; Peng et al. 2023
    (YaRN, arXiv:2309.00071).

    Examples
    --------
    >>> import refimpl
    >>> refimpl.rotary_embedding([[1.0, 2.0, 3.0, 4.0]], [3], pairing="interleaved").round(4)
    array([[-1.2722, -1.8389,  2.8787,  4.0882]])
    """
    xp = namespace(x)
    theta = _theta(_angle_type(positions, frequencies), x, base, frequencies, rotary_dim)
    angles = angles_of(positions, theta)
    cos = astype(attention_factor * xp.cos(angles), x.dtype)
    sin = astype(attention_factor * xp.sin(angles), x.dtype)
    return _rotate(x, cos, -sin if inverse else sin, pairing)


@rotary_embedding.form("textbook")
def rotary_embedding_textbook(
    x,
    positions,
    /,
    *,
    pairing,
    base=10000.0,
    frequencies=None,
    rotary_dim=None,
    attention_factor=1.0,
    inverse=False,
):
    """R_m x, with the blocks of 2 x 2 on the diagonal of the matrix R_m written out."""
    xp = namespace(x)
    require_finite("positions", positions)
    r = features_turned(x, frequencies, rotary_dim)
    exponents = xp.arange(0, r, 2, dtype=_angle_type(positions, frequencies)) / r
    theta = float(base) ** -exponents if frequencies is None else frequencies
    angles = positions[..., None] * theta[..., None, :] * (-1 if inverse else 1)
    cos, sin = xp.cos(angles), xp.sin(angles)
    blocks = xp.stack([xp.stack([cos, -sin], axis=-1), xp.stack([sin, cos], axis=-1)], axis=-2)
    rotation = astype(attention_factor * blocks, x.dtype)
    interleaved = pairing == "interleaved"
    pairs = x[..., :r].reshape(*x.shape[:-1], *((r // 2, 2) if interleaved else (2, r // 2)))
    product = "...iab,...ib->...ia" if interleaved else "...iab,...bi->...ai"
    turned = xp.einsum(product, rotation, pairs)
    return _with_tail(turned.reshape(*turned.shape[:-2], r), x[..., r:])


@rotary_embedding.defvjp
def rotary_embedding_vjp(
    g, x, positions, /, *, base=10000.0, frequencies=None, rotary_dim=None, **options
):
    r"""dx = f R_{-m} g. With t_i = <g_i, J y_i>, J(a, b) = (-b, a): dm = sum_i theta_i t_i,
    dtheta_i = sum m t_i; both float64, whatever x is."""
    theta = _theta(_angle_type(positions, frequencies), x, base, frequencies, rotary_dim)
    return _vjp(turns_of(positions, theta), theta, g, x, positions, frequencies, **options)


def _vjp(
    turns, theta, g, x, positions, frequencies, *, pairing, attention_factor=1.0, inverse=False
):
    sign = -1.0 if inverse else 1.0
    cos, sin = attention_factor * turns.real, sign * attention_factor * turns.imag
    dx = _rotate(g, astype(cos, x.dtype), astype(-sin, x.dtype), pairing)
    dtype = _angle_type(positions, frequencies)
    g, y = astype(g, dtype), _rotate(astype(x, dtype), cos, sin, pairing)
    g_first, g_second, _ = pairs_of(g, theta.shape[-1], pairing)
    y_first, y_second, _ = pairs_of(y, theta.shape[-1], pairing)
    torque = sign * (g_second * y_first - g_first * y_second)
    dpositions, dfrequencies = from_angles(torque, positions, theta)
    return dx, dpositions, None if frequencies is None else dfrequencies


@rotary_embedding.form("complex", beyond=lambda bound: _entries(bound) > _LARGE)
def rotary_embedding_complex(
    x,
    positions,
    /,
    *,
    pairing,
    base=10000.0,
    frequencies=None,
    rotary_dim=None,
    attention_factor=1.0,
    inverse=False,
):
    r"""y_a + i y_b = f e^{i m theta} (x_a + i x_b), with e^{i m theta} from two short tables.

    The fast form: interleaved pairs already lie in memory as complex numbers. float16 is rotated in
    float32 and rounded once.
    """
    xp = namespace(x)
    theta = _theta(_angle_type(positions, frequencies), x, base, frequencies, rotary_dim)
    turns = attention_factor * turns_of(positions, -theta if inverse else theta)
    wide = xp.result_type(x.dtype, "float32")
    if pairing != "interleaved":
        cos, sin = astype(turns.real, wide), astype(turns.imag, wide)
        return astype(_rotate(astype(x, wide), cos, sin, pairing), x.dtype)
    r = 2 * theta.shape[-1]
    turns = astype(turns, xp.result_type(wide, "complex64"))
    pairs = xp.ascontiguousarray(astype(x[..., :r], wide)).view(turns.dtype)
    return _with_tail(astype((pairs * turns).view(wide), x.dtype), x[..., r:])


@rotary_embedding.form("single_angles", loses="angles are rounded")
def rotary_embedding_single_angles(
    x,
    positions,
    /,
    *,
    pairing,
    base=10000.0,
    frequencies=None,
    rotary_dim=None,
    attention_factor=1.0,
    inverse=False,
):
    """The plain form with angles in x's type, at least float32, and frequencies e^{-(2i/r) log b}.

    Hugging Face, rotary-embedding-torch and most kernels have float32 angles, some of them
    frequencies by way of the logarithm. The errors of this form, a few m 2^-24 (m 2^-53 for float64
    x), are the baseline that lets an honest implementation of that kind pass.
    """
    turns = turn(_single_angles(x, positions, base, frequencies, rotary_dim)[0])
    cos = astype(attention_factor * turns.real, x.dtype)
    sin = astype(attention_factor * turns.imag, x.dtype)
    return _rotate(x, cos, -sin if inverse else sin, pairing)


@rotary_embedding.defvjp(form="single_angles")
def rotary_embedding_single_angles_vjp(
    g, x, positions, /, *, base=10000.0, frequencies=None, rotary_dim=None, **options
):
    """The gradient at these angles: it has their errors."""
    angles, theta = _single_angles(x, positions, base, frequencies, rotary_dim)
    return _vjp(turn(angles), theta, g, x, positions, frequencies, **options)


# -------------------------------------------------------------------------------------- angles


def _angle_type(positions, frequencies):
    """float64, or longdouble where positions or frequencies are."""
    return result_type(positions, frequencies)


def single(x):
    """x's type, but at least float32: that in which most code computes its angles."""
    return namespace(x).result_type(x.dtype, "float32")


def _single_angles(x, positions, base, frequencies, rotary_dim):
    """Angles and frequencies in x's type, at least float32."""
    require_finite("positions", positions)
    dtype = single(x)
    theta = _theta(dtype, x, base, frequencies, rotary_dim, by_logarithm=True)
    return astype(positions, dtype)[..., None] * theta[..., None, :], theta


def features_turned(x, frequencies=None, rotary_dim=None):
    """r, how many features rotate; ValueError where what is given contradicts itself or x."""
    d = x.shape[-1]
    if frequencies is not None and frequencies.ndim == 0:
        raise ValueError("frequencies: expected an axis of them, got a number")
    h = None if frequencies is None else frequencies.shape[-1]
    if rotary_dim is not None and h is not None and rotary_dim != 2 * h:
        raise ValueError(
            f"rotary_dim: expected {2 * h}, as there are {h} frequencies, got {rotary_dim}"
        )
    r = 2 * h if h is not None else d if rotary_dim is None else rotary_dim
    if r % 2 or not 2 <= r <= d:
        default = "d by default" if h is None else "twice the number of frequencies"
        raise ValueError(
            f"rotary_dim ({default}): expected an even number from 2 to d = {d}, got {r}"
        )
    return r


def _theta(dtype, x, base, frequencies, rotary_dim, by_logarithm=False):
    """The frequencies (..., h), given or made, once it is clear how many features rotate."""
    r = features_turned(x, frequencies, rotary_dim)
    if frequencies is not None:
        return astype(frequencies, dtype)
    xp = namespace(x)
    exponents = _exponents(xp, r, dtype)
    if by_logarithm:
        return xp.exp(-math.log(base) * exponents)
    return float(base) ** -exponents


# --------------------------------------------------------------------------------------- pairs


def pairs_of(x, h, pairing):
    """First and second members of h pairs, (..., h) each, and the features without a pair."""
    if pairing == "interleaved":
        return x[..., 0 : 2 * h : 2], x[..., 1 : 2 * h : 2], x[..., 2 * h :]
    return x[..., :h], x[..., h : 2 * h], x[..., 2 * h :]


def joined(first, second, pairing):
    """The inverse of :func:`pairs_of`, for features that all have a pair."""
    xp = namespace(first)
    if pairing == "half":
        return xp.concatenate([first, second], axis=-1)
    *lead, h = first.shape
    return xp.stack([first, second], axis=-1).reshape(*lead, 2 * h)


def _with_tail(rotated, tail):
    """Rotated features and after them those without a pair, whose leading axes broadcast."""
    if not tail.shape[-1]:
        return rotated
    xp = namespace(rotated)
    tail = xp.broadcast_to(tail, (*rotated.shape[:-1], tail.shape[-1]))
    return xp.concatenate([rotated, tail], axis=-1)


def _rotate(x, cos, sin, pairing):
    """Each pair of x turned by its own cosine and sine."""
    first, second, tail = pairs_of(x, cos.shape[-1], pairing)
    turned = joined(first * cos - second * sin, first * sin + second * cos, pairing)
    return _with_tail(turned, tail)


def vjp_of_each(g, x, positions, options):
    """Gradients in x and in positions, both with all leading axes of g."""
    xp = namespace(g)
    positions = xp.broadcast_to(positions, g.shape[:-1])
    return rotary_embedding.vjp(g, xp.broadcast_to(x, g.shape), positions, **options)


def _entries(bound):
    """The number of entries of the result."""
    return math.prod(bound.batch) * bound.axes["n"] * bound.axes["d"]
