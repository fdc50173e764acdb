"""Rotary embedding with decay (xPos), with bounded distances (ReRoPE), and of values (VO-RoPE)."""

from __future__ import annotations

import math
from typing import Any

from refimpl.backend import astype, namespace, result_type
from refimpl.core import require_finite, weighted_sum
from refimpl.formula import formula
from refimpl.position.distances import signed_distances
from refimpl.position.rotary import (
    joined,
    pairs_of,
    rotary_embedding,
    rotary_frequencies,
    single,
    vjp_of_each,
)

# ------------------------------------------------------------------------------------------ xPos


@formula(
    "(n,d),(n)->(n,d)",
    source="Sun et al. 2022 (xPos, arXiv:2212.10554), eq. 10 and algorithm 1",
    kinds={"positions": "exact"},
    differentiable=("x", "positions"),
)
def xpos_embedding(
    x: Any,
    positions: Any,
    /,
    *,
    pairing: str,
    role: str,
    centre: float,
    scale_base: float = 512.0,
    gamma: float = 0.4,
    base: float = 10000.0,
) -> Any:
    r"""xPos: rotation, growth of queries and decay of keys, so that logits fall with distance.

    Formula
    -------
    .. math:: y = \zeta_i^{\pm (n - c)/B} R_n x, \qquad
        \zeta_i = \frac{2i/d + \gamma}{1 + \gamma}

    on pair i, with plus for queries and minus for keys, hence

    .. math:: \langle q_m, k_n \rangle = \mathrm{Re} \sum_i \tilde q_i \overline{\tilde k_i}\,
        e^{i(m - n)\theta_i} \zeta_i^{(m - n)/B}

    Parameters
    ----------
    x : (..., n, d) queries or keys.
    positions : (..., n) n, integers or float64.
    pairing : "interleaved" or "half", as for :func:`rotary_embedding`.
    role : "query" or "key".
    centre : number. c, where nothing is scaled: the same for queries and keys.
    scale_base : number > 0. B, the distance at which pair i has decayed by :math:`\zeta_i`.
    gamma : number > 0. :math:`\gamma`.
    base : number > 0. b of the frequencies.

    Returns
    -------
    (..., n, d) of x's type.

    Raises
    ------
    ValueError
        An unknown role or pairing; d odd; scale_base or gamma not positive; centre or
        positions not finite.
    TypeError
        No pairing, role or centre; positions in float16 or float32.

    Conventions
    -----------
    The centre keeps powers small, and leaves the logits alone where both share it. torchscale takes
    half the length, rounded up, flash-attention and rotary-embedding-torch rounded down,
    x-transformers half the longest position. A centre that moves with the length of a cache makes
    keys from before disagree with queries of now: with a cache, fix it (0).

    Breaks when
    -----------
    Causal only: for keys ahead of the query logits grow with distance. Far from the centre, powers
    overflow or vanish in float16 (beyond some 4500 tokens).

    References
    ----------
    Sun et al. 2022 (arXiv:2212.10554); microsoft/torchscale; lucidrains/rotary-embedding-torch
    pull 27; Dao-AILab/flash-attention issue 522.

    Examples
    --------
    >>> import refimpl
    >>> options = {"pairing": "half", "centre": 0.0, "scale_base": 1.0, "base": 1.0}
    >>> refimpl.xpos_embedding([[1.0, 0.0]], [2], role="query", **options).round(6)
    array([[-0.033971,  0.074228]])
    """
    _, scale = _growth(x, positions, role, centre, scale_base, gamma, pairing)
    rotated = rotary_embedding(x, positions, pairing=pairing, base=base)
    return rotated * astype(scale, x.dtype)


@xpos_embedding.defvjp
def xpos_embedding_vjp(
    g,
    x,
    positions,
    /,
    *,
    pairing,
    role,
    centre,
    scale_base=512.0,
    gamma=0.4,
    base=10000.0,
):
    """dx = zeta^(+-(n - c)/B) R_-n g; a position moves the angle and the power."""
    rate, scale = _growth(x, positions, role, centre, scale_base, gamma, pairing)
    wide = scale.dtype
    scaled = astype(g, wide) * scale
    rotated = rotary_embedding(astype(x, wide), positions, pairing=pairing, base=base)
    options = {"pairing": pairing, "base": base}
    dx, dpositions = vjp_of_each(scaled, astype(x, wide), positions, options)
    return astype(dx, x.dtype), dpositions + (scaled * rotated * rate).sum(axis=-1)


@xpos_embedding.form("single_angles")
def xpos_embedding_single_angles(
    x, positions, /, *, pairing, role, centre, scale_base=512.0, gamma=0.4, base=10000.0
):
    """With angles and exponents in x's type, at least float32, as in most code."""
    _, scale = _growth(x, positions, role, centre, scale_base, gamma, pairing)
    exponent = astype(namespace(x).log(scale), single(x))
    rotated = rotary_embedding(x, positions, pairing=pairing, base=base, form="single_angles")
    return rotated * astype(namespace(x).exp(exponent), x.dtype)


@xpos_embedding.defvjp(form="single_angles")
def xpos_embedding_single_angles_vjp(
    g, x, positions, /, *, pairing, role, centre, scale_base=512.0, gamma=0.4, base=10000.0
):
    """The gradient at these angles."""
    rate, scale = _growth(x, positions, role, centre, scale_base, gamma, pairing)
    scaled = g * astype(scale, g.dtype)
    options = {"pairing": pairing, "base": base, "form": "single_angles"}
    dx, dpositions = vjp_of_each(scaled, x, positions, options)
    return dx, dpositions + (scaled * rotary_embedding(x, positions, **options) * rate).sum(axis=-1)


def _growth(x, positions, role, centre, scale_base, gamma, pairing):
    """The logarithm of the growth per position, (d,), and zeta^(+-(n - c)/B), (..., n, d)."""
    if role not in ("query", "key"):
        raise ValueError(f"role: expected 'query' or 'key', got {role!r}")
    if not (0 < scale_base < math.inf and 0 < gamma < math.inf and math.isfinite(centre)):
        raise ValueError(
            "centre, scale_base, gamma: expected finite numbers, the last two positive, "
            f"got {centre}, {scale_base} and {gamma}"
        )
    require_finite("positions", positions)
    xp, dtype, d = namespace(x), result_type(positions), x.shape[-1]
    zeta = (xp.arange(0, d, 2, dtype=dtype) / d + gamma) / (1 + gamma)
    rate = xp.log(zeta) / scale_base * (1 if role == "query" else -1)
    if pairing == "interleaved":
        rate = xp.repeat(rate, 2)
    else:
        rate = xp.concatenate([rate, rate])
    return rate[:d], xp.exp((astype(positions, dtype)[..., None] - centre) * rate[:d])


# ----------------------------------------------------------------------------------------- ReRoPE


@formula(
    "(n,d),(m,d),(n),(m)->(n,m)",
    source="kexue.fm/archives/9708",
    kinds={"rows": "exact", "columns": "exact"},
    differentiable=("q", "k"),
)
def rerope_logits(
    q: Any,
    k: Any,
    rows: Any,
    columns: Any,
    /,
    *,
    pairing: str,
    window: float,
    leak: float | None = None,
    base: float = 10000.0,
) -> Any:
    r"""ReRoPE: rotary logits whose distances stop growing beyond a window, or grow slower.

    Formula
    -------
    .. math:: s_{ij} = q_i^T R_{-\rho(i - j)} k_j, \qquad
        \rho(t) = \begin{cases} t & t < w \\ w \text{ (ReRoPE)} \quad\text{or}\quad
        w + (t - w)/\kappa \text{ (leaky)} & t \ge w \end{cases}

    Parameters
    ----------
    q, k : (..., n, d), (..., m, d) queries and keys before rotation.
    rows, columns : (..., n), (..., m) their positions i and j, integers or float64.
    pairing : "interleaved" or "half", as for :func:`rotary_embedding`.
    window : number >= 0. w: 512 in the released patch, 1024 in its results.
    leak : number >= 1, optional. :math:`\kappa`; without one distances stop at w.
    base : number > 0. b of the frequencies.

    Returns
    -------
    (..., n, m) of the queries' type: not scaled by 1/sqrt(d), not masked.

    Raises
    ------
    ValueError
        window negative; leak below 1; an unknown pairing; d odd; positions not finite.
    TypeError
        No pairing or no window; positions in float16 or float32.

    Conventions
    -----------
    :math:`\kappa = 1` is rotary embedding, :math:`\kappa \to \infty` is ReRoPE. The essay defines
    :math:`\rho` for causal attention; here negative t stay as they are, where the released code
    compares \|t\| with w and so sends keys far ahead to +w. Its patch also multiplies q by
    max(1, log(i + 1)/log(trained length)), which is not part of this. Self-Extend is the leaky
    form with distances rounded down in groups.

    Breaks when
    -----------
    Logits are no longer inner products of one vector for each token: two passes, or a kernel, and
    keys in a cache before rotation.

    Notes
    -----
    ``form="two_pass"`` is the released algorithm: rotate as usual for t < w, and by w (or by
    (i - w)/\kappa + w and j/\kappa) for the others.

    References
    ----------
    https://kexue.fm/archives/9706, /9708; bojone/rerope; Jin et al. 2024 (Self-Extend,
    arXiv:2401.01325).

    Examples
    --------
    >>> import refimpl
    >>> q, k = [[1.0, 0.0]], [[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]
    >>> refimpl.rerope_logits(q, k, [9], [0, 5, 8], pairing="half", window=2).round(4)
    array([[-0.4161, -0.4161,  0.5403]])
    """
    xp = namespace(q)
    angles = _bounded(rows, columns, window, leak)[..., None] * _frequencies(q, base, rows, columns)
    real, imaginary = _products(q, k, pairing)
    cos, sin = astype(xp.cos(angles), q.dtype), astype(xp.sin(angles), q.dtype)
    return (real * cos - imaginary * sin).sum(axis=-1)


@rerope_logits.defvjp
def rerope_logits_vjp(g, q, k, rows, columns, /, *, pairing, window, leak=None, base=10000.0):
    """dq_i = sum_j g_ij R_-rho k_j and dk_j = sum_i g_ij R_rho q_i."""
    xp = namespace(q)
    rho = _bounded(rows, columns, window, leak)
    angles = rho[..., None] * _frequencies(q, base, rows, columns)
    cos, sin = g[..., None] * xp.cos(angles), g[..., None] * xp.sin(angles)
    qa, qb, ka, kb = _members(q, k, pairing)
    dq = [(ka * cos + kb * sin).sum(axis=-2), (kb * cos - ka * sin).sum(axis=-2)]
    dk = [(qa * cos - qb * sin).sum(axis=-3), (qb * cos + qa * sin).sum(axis=-3)]
    return astype(joined(*dq, pairing), q.dtype), astype(joined(*dk, pairing), k.dtype)


@rerope_logits.form("two_pass")
def rerope_logits_two_pass(q, k, rows, columns, /, *, window, leak=None, **options):
    """The released code: logits within the window, logits beyond it, and a choice of both."""
    return _two_pass(q, k, rows, columns, window, leak, options)


@rerope_logits.defvjp(form="two_pass")
def rerope_logits_two_pass_vjp(g, q, k, rows, columns, /, *, window, leak=None, **options):
    """Each pass gets the cotangents of its pairs, and turns them back."""
    return _two_pass_vjp(g, q, k, rows, columns, window, leak, options)


@rerope_logits.form("single_angles")
def rerope_logits_single_angles(q, k, rows, columns, /, *, window, leak=None, **options):
    """Two passes with angles in the queries' type, at least float32, as in most code."""
    options |= {"form": "single_angles"}
    return _two_pass(q, k, rows, columns, window, leak, options)


@rerope_logits.defvjp(form="single_angles")
def rerope_logits_single_angles_vjp(g, q, k, rows, columns, /, *, window, leak=None, **options):
    """The gradient at these angles."""
    options |= {"form": "single_angles"}
    return _two_pass_vjp(g, q, k, rows, columns, window, leak, options)


def _two_pass(q, k, rows, columns, window, leak, options):
    near, far = (
        rotary_embedding(q, i, **options) @ rotary_embedding(k, j, **options).swapaxes(-1, -2)
        for i, j in _passes(rows, columns, window, leak)
    )
    return namespace(q).where(_within(rows, columns, window), near, far)


def _two_pass_vjp(g, q, k, rows, columns, window, leak, options):
    xp, within = namespace(g), _within(rows, columns, window)
    dq = dk = 0
    for (i, j), seen in zip(_passes(rows, columns, window, leak), (within, ~within), strict=True):
        part = astype(xp.where(seen, g, 0), g.dtype)
        to_q = part @ rotary_embedding(k, j, **options)
        to_k = part.swapaxes(-1, -2) @ rotary_embedding(q, i, **options)
        dq = dq + vjp_of_each(to_q, q, i, options)[0]
        dk = dk + vjp_of_each(to_k, k, j, options)[0]
    return dq, dk


def _passes(rows, columns, window, leak):
    """Positions of queries and keys within the window, and those beyond it."""
    rho = _bounded(rows, columns, window, leak)
    i, j = (astype(x, rho.dtype) for x in (rows, columns))
    beyond = (0 * i + window, 0 * j) if leak is None else ((i - window) / leak + window, j / leak)
    return (rows, columns), beyond


def _within(rows, columns, window):
    """Where a key is less than a window before the query."""
    return signed_distances(rows, columns) < window


def _bounded(rows, columns, window, leak):
    """rho(i - j), (..., n, m)."""
    if not 0 <= window < math.inf:
        raise ValueError(f"window: expected a number from 0 on, got {window}")
    if leak is not None and not 1 <= leak < math.inf:
        raise ValueError(f"leak: expected a number from 1 on, got {leak}")
    require_finite("rows", rows)
    require_finite("columns", columns)
    dtype = result_type(rows, columns)
    t = astype(rows, dtype)[..., :, None] - astype(columns, dtype)[..., None, :]
    beyond = 0 * t + window if leak is None else window + (t - window) / leak
    return namespace(t).where(t < window, t, beyond)


def _frequencies(q, base, rows, columns):
    theta = rotary_frequencies(namespace(q).asarray(float(base)), dim=q.shape[-1])
    return astype(theta, result_type(rows, columns))


def _members(q, k, pairing):
    """Both members of all pairs: of queries (..., n, 1, h), and of keys (..., 1, m, h)."""
    qa, qb, _ = pairs_of(q[..., :, None, :], q.shape[-1] // 2, pairing)
    ka, kb, _ = pairs_of(k[..., None, :, :], k.shape[-1] // 2, pairing)
    return qa, qb, ka, kb


def _products(q, k, pairing):
    """Real and imaginary part of q conj(k), each pair a complex number, (..., n, m, h)."""
    qa, qb, ka, kb = _members(q, k, pairing)
    return qa * ka + qb * kb, qb * ka - qa * kb


# ---------------------------------------------------------------------------------------- VO-RoPE


@formula(
    "(n,m),(m,v),(n),(m)->(n,v)",
    source="kexue.fm/archives/10862",
    kinds={"rows": "exact", "columns": "exact"},
    differentiable=("weights", "values", "rows", "columns"),
)
def value_rotary_mixture(
    weights: Any,
    values: Any,
    rows: Any,
    columns: Any,
    /,
    *,
    pairing: str,
    base: float = 10000.0,
) -> Any:
    r"""VO-RoPE: values are rotated before attention mixes them, and outputs are rotated back.

    Formula
    -------
    .. math:: o_i = R_i^T \sum_j a_{ij} R_j v_j = \sum_j a_{ij} R_{j - i} v_j

    Parameters
    ----------
    weights : (..., n, m) a: of a softmax, or any others.
    values : (..., m, v), v even.
    rows, columns : (..., n), (..., m) positions of queries and keys, integers or float64.
    pairing : "interleaved" or "half", as for :func:`rotary_embedding`.
    base : number > 0. b of the frequencies.

    Returns
    -------
    (..., n, v) of the values' type.

    Raises
    ------
    ValueError
        v odd; an unknown pairing; positions not finite.
    TypeError
        No pairing; positions in float16 or float32.

    Conventions
    -----------
    Without the rotation back ("V" of the essay) outputs see absolute positions; with queries, keys,
    values and outputs all rotated it is QKVO. With weights :math:`\gamma^{i-j}` it is a linear
    recurrence whose decay is complex.

    Breaks when
    -----------
    Weights are not changed: it adds relative positions to what attention reads, not to where. A
    value of weight 0 is absent, even if it is not finite.

    References
    ----------
    https://kexue.fm/archives/10862.

    Examples
    --------
    >>> import refimpl
    >>> options = {"pairing": "half", "base": 1.0}
    >>> refimpl.value_rotary_mixture([[1.0]], [[1.0, 0.0]], [1], [3], **options).round(4)
    array([[-0.4161,  0.9093]])
    """
    return _mixture(weights, values, rows, columns, pairing=pairing, base=base)


@value_rotary_mixture.defvjp
def value_rotary_mixture_vjp(g, weights, values, rows, columns, /, **options):
    """With g_i and v_j rotated by their positions, a_ij has their inner product as gradient."""
    return _mixture_vjp(g, weights, values, rows, columns, **options)


@value_rotary_mixture.form("single_angles")
def value_rotary_mixture_single_angles(weights, values, rows, columns, /, **options):
    """With angles in the values' type, at least float32, as in most code."""
    return _mixture(weights, values, rows, columns, form="single_angles", **options)


@value_rotary_mixture.defvjp(form="single_angles")
def value_rotary_mixture_single_angles_vjp(g, weights, values, rows, columns, /, **options):
    """The gradient at these angles."""
    return _mixture_vjp(g, weights, values, rows, columns, form="single_angles", **options)


def _mixture(weights, values, rows, columns, **options):
    mixed = weighted_sum(weights, rotary_embedding(values, columns, **options))
    return rotary_embedding(mixed, rows, inverse=True, **options)


def _mixture_vjp(g, weights, values, rows, columns, **options):
    rotated = rotary_embedding(values, columns, **options)
    mixed = weighted_sum(weights, rotated)
    back, drows = vjp_of_each(g, mixed, rows, options | {"inverse": True})
    dweights = back @ rotated.swapaxes(-1, -2)
    dvalues, dcolumns = vjp_of_each(weights.swapaxes(-1, -2) @ back, values, columns, options)
    return dweights, dvalues, drows, dcolumns
