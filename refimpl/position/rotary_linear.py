"""Rotary embedding in linear attention: rotated features above, plain ones below."""

from __future__ import annotations

from typing import Any

from refimpl.backend import astype, namespace
from refimpl.core import weighted_sum
from refimpl.formula import formula
from refimpl.formula.options import Pairing, Positive
from refimpl.position.rotary import rotary_embedding, vjp_of_each


@formula(
    "(n,d),(m,d),(m,v),(n),(m)->(n,v)",
    source="kexue.fm/archives/8265; Su et al. 2021 (RoFormer), eq. 19",
    kinds={"rows": "exact", "columns": "exact"},
    differentiable=("q", "k", "values", "rows", "columns"),
)
def rotary_linear_attention(
    q: Any,
    k: Any,
    values: Any,
    rows: Any,
    columns: Any,
    /,
    *,
    pairing: Pairing,
    causal: bool = False,
    base: Positive = 10000.0,
) -> Any:
    r"""Linear attention whose numerator sees relative positions and whose denominator does not.

    Formula
    -------
    .. math:: o_i = \frac{\sum_j \langle R_i \phi(q_i), R_j \phi(k_j) \rangle\, v_j}
        {\sum_j \langle \phi(q_i), \phi(k_j) \rangle}

    Parameters
    ----------
    q, k : (..., n, d), (..., m, d) features :math:`\phi(q)`, :math:`\phi(k)`, of positive products:
        see :func:`feature_map`. d is even.
    values : (..., m, v).
    rows, columns : (..., n), (..., m) positions of queries and keys, integers or float64.
    pairing : "interleaved" or "half", as for :func:`rotary_embedding`.
    causal : bool. Whether both sums are over keys at positions up to that of the query.
    base : number > 0. b of the frequencies.

    Returns
    -------
    (..., n, v) of the features' type; 0 for a query that sees no key.

    Raises
    ------
    ValueError
        d odd; an unknown pairing; positions not finite.
    TypeError
        No pairing; positions in float16 or float32.

    Conventions
    -----------
    Rotation comes after the feature map, as it would take away its sign. With rotated features
    below too, the denominator could vanish: so weights neither sum to 1 nor stay positive. The
    essay's other way out, :math:`1 + \cos` of rotated vectors, is
    :func:`linear_attention` with "one_plus_cosine" of vectors that are rotated before.

    Breaks when
    -----------
    Denominators vanish, where features of queries and keys do not overlap. Causal, a position that
    moves across another changes what is seen: gradients in positions leave that out.

    References
    ----------
    https://kexue.fm/archives/8265; Su et al. 2021 (arXiv:2104.09864).

    Examples
    --------
    >>> import refimpl
    >>> q, k, v = [[1.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]], [[2.0], [4.0]]
    >>> refimpl.rotary_linear_attention(q, k, v, [1], [0, 1], pairing="half").round(6)
    array([[2.540302]])
    """
    options = {"pairing": pairing, "base": base}
    return _attention(q, k, values, rows, columns, causal, options)


@rotary_linear_attention.form("textbook")
def rotary_linear_attention_textbook(
    q, k, values, rows, columns, /, *, pairing, causal=False, base=10000.0
):
    """Rotated products above, plain products below, both of the keys that are seen."""
    xp = namespace(q)
    i, j = rows[..., :, None], columns[..., None, :]
    seen = j <= i if causal else xp.ones((rows.shape[-1], columns.shape[-1]), dtype=bool)
    q_turned = rotary_embedding(q, rows, pairing=pairing, base=base)
    k_turned = rotary_embedding(k, columns, pairing=pairing, base=base)
    above = astype(xp.where(seen, q_turned @ k_turned.swapaxes(-1, -2), 0), q.dtype)
    below = astype(xp.where(seen, q @ k.swapaxes(-1, -2), 0), q.dtype).sum(axis=-1, keepdims=True)
    is_empty = ~seen.any(axis=-1, keepdims=True)
    return weighted_sum(above, values) / astype(xp.where(is_empty, 1, below), q.dtype)


@rotary_linear_attention.defvjp
def rotary_linear_attention_vjp(g, q, k, values, rows, columns, /, *, causal=False, **options):
    """With h = g / Z: dv = A^T h, dA = h v^T, dZ_i = -<h_i, o_i>; the first two turn back."""
    return _attention_vjp(g, q, k, values, rows, columns, causal, options)


@rotary_linear_attention.form("single_angles", loses="angles are rounded")
def rotary_linear_attention_single_angles(
    q, k, values, rows, columns, /, *, causal=False, **options
):
    """With angles in the features' type, at least float32, as in most code."""
    options |= {"form": "single_angles"}
    return _attention(q, k, values, rows, columns, causal, options)


@rotary_linear_attention.defvjp(form="single_angles")
def rotary_linear_attention_single_angles_vjp(
    g, q, k, values, rows, columns, /, *, causal=False, **options
):
    """The gradient at these angles."""
    options |= {"form": "single_angles"}
    return _attention_vjp(g, q, k, values, rows, columns, causal, options)


def _attention(q, k, values, rows, columns, causal, options):
    q_turned, k_turned = (rotary_embedding(x, at, **options) for x, at in ((q, rows), (k, columns)))
    seen = _seen(rows, columns, causal)
    above = _kept(q_turned @ k_turned.swapaxes(-1, -2), seen)
    return weighted_sum(above, values) / _denominators(q, k, seen)


def _attention_vjp(g, q, k, values, rows, columns, causal, options):
    q_turned, k_turned = (rotary_embedding(x, at, **options) for x, at in ((q, rows), (k, columns)))
    seen = _seen(rows, columns, causal)
    above = _kept(q_turned @ k_turned.swapaxes(-1, -2), seen)
    below = _denominators(q, k, seen)
    shares = g / below
    dabove = _kept(shares @ values.swapaxes(-1, -2), seen)
    dbelow = -(shares * (weighted_sum(above, values) / below)).sum(axis=-1, keepdims=True)
    plain = _kept(dbelow + namespace(q).zeros_like(above), seen)
    dq, drows = vjp_of_each(weighted_sum(dabove, k_turned), q, rows, options)
    back = weighted_sum(dabove.swapaxes(-1, -2), q_turned)
    dk, dcolumns = vjp_of_each(back, k, columns, options)
    dq, dk = dq + weighted_sum(plain, k), dk + weighted_sum(plain.swapaxes(-1, -2), q)
    return dq, dk, above.swapaxes(-1, -2) @ shares, drows, dcolumns


def _seen(rows, columns, causal):
    """Which key each query sees, (..., n, m), or None for all."""
    return columns[..., None, :] <= rows[..., :, None] if causal else None


def _kept(products, seen):
    """0 for keys that are not seen."""
    if seen is None:
        return products
    return astype(namespace(products).where(seen, products, 0), products.dtype)


def _denominators(q, k, seen):
    """Z, (..., n, 1); 1 where no key is seen, so that the output is 0."""
    xp = namespace(q)
    total = _kept(q @ k.swapaxes(-1, -2), seen).sum(axis=-1, keepdims=True)
    if seen is None:
        return total if k.shape[-2] else total + 1
    return xp.where(seen.any(axis=-1, keepdims=True), total, 1).astype(total.dtype)
