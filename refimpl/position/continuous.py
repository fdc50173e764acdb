"""Continuous position bias: a small network of signed distances, on any number of axes."""

from __future__ import annotations

import math
from typing import Literal

from refimpl.backend import astype, namespace
from refimpl.core import sigmoid
from refimpl.formula import formula
from refimpl.formula.options import Positive
from refimpl.position.distances import signed_distances
from refimpl.position.network import pair_network, pair_network_vjp

# The logarithms that distances are divided by; none where distances stay as they are.
_DISTANCES = {"linear": None, "log": 1.0, "log8": math.log(8.0)}


@formula(
    "(a,s),(s),(s,h),(h),(a,n),(a,m)->(h,n,m)",
    source="Liu et al. 2022 (Swin Transformer V2, arXiv:2111.09883), section 3.3",
    kinds={"query_positions": "exact", "key_positions": "exact"},
)
def continuous_position_bias(
    hidden_weights,
    hidden_biases,
    output_weights,
    output_biases,
    query_positions,
    key_positions,
    /,
    *,
    distance: Literal["linear", "log", "log8"],
    limit: Positive | None,
):
    r"""A bias for any distance, also those never trained: a network of the signed distances.

    Formula
    -------
    With :math:`\Delta_k` the difference of query and key on axis k

    .. math:: b_{hij} = \sum_s V_{sh} \max\Bigl(\sum_k w_{ks} x_k + u_s, 0\Bigr) + v_h, \qquad
        x_k = \Delta_k \ \text{or}\ \operatorname{sign}(\Delta_k) \log(1 + |\Delta_k|)

    for ``distance="linear"`` and ``"log"``; for ``"log8"`` the logarithm has base 8. With a
    ``limit`` c the bias is :math:`c\, \sigma(b)` of this b.

    Parameters
    ----------
    hidden_weights : (..., a, s) w; hidden_biases : (..., s) u.
    output_weights : (..., s, h) V; output_biases : (..., h) v.
    query_positions : (..., a, n); key_positions : (..., a, m). Coordinates, integers or float64, a
        row for each axis.
    distance : "linear", "log" or "log8".
    limit : number > 0, or None. c.

    Returns
    -------
    (..., h, n, m) of the weights' type: the ``bias`` of :func:`softmax_attention`.

    Raises
    ------
    ValueError
        An unknown distance; a limit that is not positive and finite; positions that are not finite.
    TypeError
        No ``distance`` or ``limit``; positions in float16 or float32.

    Conventions
    -----------
    The text of Swin V2 has "log" of distances in patches and no limit. Its code has "log8", of
    coordinates times 8/(size - 1) of the window (of pre-training), no output biases, and 16 as the
    limit. Query minus key. Dynamic position biases elsewhere have other networks: up to four layers
    with layer norms in CrossFormer, SiLU and one axis in x-transformers, "linear" or "log".

    Breaks when
    -----------
    The gradient jumps where an argument of the maximum passes 0; at 0 it is 0, as in torch.

    References
    ----------
    Liu et al. 2022 (arXiv:2111.09883); microsoft/Swin-Transformer, swin_transformer_v2.py; Wang et
    al. 2022 (CrossFormer, arXiv:2108.00154); lucidrains/x-transformers.

    Examples
    --------
    >>> import refimpl
    >>> weights = [[1.0]], [0.0], [[2.0]], [0.5]
    >>> refimpl.continuous_position_bias(
    ...     *weights, [[7.0]], [[0.0, 6.0, 7.0, 9.0]], distance="log8", limit=None).round(4)
    array([[[2.5   , 1.1667, 0.5   , 0.5   ]]])
    """
    inputs = _signed(hidden_weights, query_positions, key_positions, distance, limit)
    outputs, _ = pair_network(inputs, hidden_weights, hidden_biases, output_weights, output_biases)
    return outputs if limit is None else float(limit) * sigmoid(outputs)


@continuous_position_bias.defvjp
def continuous_position_bias_vjp(
    g,
    hidden_weights,
    hidden_biases,
    output_weights,
    output_biases,
    query_positions,
    key_positions,
    /,
    *,
    distance,
    limit,
):
    """Backwards through the sigmoid, of slope sigma(b) sigma(-b), and through the network."""
    inputs = _signed(hidden_weights, query_positions, key_positions, distance, limit)
    weights = hidden_weights, hidden_biases, output_weights, output_biases
    outputs, hidden = pair_network(inputs, *weights)
    if limit is not None:
        slopes = sigmoid(outputs) * sigmoid(-outputs)
        g = astype(g * (float(limit) * slopes), outputs.dtype)
    return pair_network_vjp(g, inputs, hidden, hidden_weights, output_weights)[1:]


def _signed(weights, query_positions, key_positions, distance, limit):
    """x, (..., n, m, a), in at least float64; the options are checked first."""
    xp = namespace(weights)
    by_axis = signed_distances(query_positions, key_positions, weights)
    x, unit = xp.moveaxis(by_axis, -3, -1), _DISTANCES[distance]
    return x if unit is None else xp.sign(x) * xp.log1p(xp.abs(x)) / unit
