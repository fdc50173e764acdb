"""Rotary embedding with bounded distances (ReRoPE)."""

from __future__ import annotations

from typing import Any

from refimpl.backend import astype, namespace, result_type
from refimpl.core import require_finite
from refimpl.formula import formula
from refimpl.formula.options import FromOne, NonNegative, Pairing, Positive
from refimpl.position.distances import signed_distances
from refimpl.position.rotary import (
    joined,
    pairs_of,
    rotary_embedding,
    rotary_frequencies,
    vjp_of_each,
)


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
    pairing: Pairing,
    window: NonNegative,
    leak: FromOne | None = None,
    base: Positive = 10000.0,
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


@rerope_logits.form("textbook")
def rerope_logits_textbook(q, k, rows, columns, /, *, pairing, window, leak=None, base=10000.0):
    """<q_i, R_-rho k_j>: each query has keys of its own, rotated by their bounded distances."""
    t = signed_distances(rows, columns)
    beyond = 0 * t + window if leak is None else window + (t - window) / leak
    rho = namespace(t).where(t < window, t, beyond)
    options = {"pairing": pairing, "base": base, "inverse": True}
    turned = rotary_embedding(k[..., None, :, :], rho, **options)
    return (q[..., :, None, :] * turned).sum(axis=-1)


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


@rerope_logits.form("single_angles", loses="angles are rounded")
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
