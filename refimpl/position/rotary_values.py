"""Rotary embedding of values (VO-RoPE)."""

from __future__ import annotations

from typing import Any

from refimpl.core import weighted_sum
from refimpl.formula import formula
from refimpl.formula.options import Pairing, Positive
from refimpl.position.distances import signed_distances
from refimpl.position.rotary import rotary_embedding, vjp_of_each


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
    pairing: Pairing,
    base: Positive = 10000.0,
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


@value_rotary_mixture.form("textbook")
def value_rotary_mixture_textbook(weights, values, rows, columns, /, *, pairing, base=10000.0):
    """sum_j a_ij R_{j - i} v_j: each query has values of its own, rotated by their distances."""
    distances = signed_distances(rows, columns)
    options = {"pairing": pairing, "base": base, "inverse": True}
    turned = rotary_embedding(values[..., None, :, :], distances, **options)
    return weighted_sum(weights[..., :, None, :], turned)[..., 0, :]


@value_rotary_mixture.defvjp
def value_rotary_mixture_vjp(g, weights, values, rows, columns, /, **options):
    """With g_i and v_j rotated by their positions, a_ij has their inner product as gradient."""
    return _mixture_vjp(g, weights, values, rows, columns, **options)


@value_rotary_mixture.form("single_angles", loses="angles are rounded")
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
