"""FIRE: a bias of attention logits that is a small network of the relative distance."""

from __future__ import annotations

from refimpl.backend import astype, namespace, result_type
from refimpl.core import require_nonnegative, require_positive, x_minus_log1p
from refimpl.formula import formula
from refimpl.formula.options import NonNegative
from refimpl.position.distances import signed_distances
from refimpl.position.network import pair_network, pair_network_vjp


@formula(
    "(s),(s),(s,h),(h),(n),(m)->(h,n,m)",
    source="Li et al. 2024 (FIRE, arXiv:2310.04418), eq. 4 to 6",
    keywords={"log_rate": "()", "threshold": "()"},
    kinds={"query_positions": "exact", "key_positions": "exact"},
)
def fire_bias(
    hidden_weights,
    hidden_biases,
    output_weights,
    output_biases,
    query_positions,
    key_positions,
    /,
    *,
    log_rate,
    threshold,
    epsilon: NonNegative = 0.0,
):
    r"""The bias of FIRE: a small network of the distance as a part of the query's position.

    Formula
    -------
    .. math:: b_{hij} = \sum_s V_{sh} \max(w_s x_{ij} + a_s, 0) + v_h, \qquad
        x_{ij} = \frac{\psi(|i - j|)}{\psi(\max(L, i)) + \epsilon}, \qquad \psi(t) = \log(1 + c\,t)

    Parameters
    ----------
    hidden_weights : (..., s) w; hidden_biases : (..., s) a.
    output_weights : (..., s, h) V; output_biases : (..., h) v.
    query_positions : (..., n) i; key_positions : (..., m) j. Integers or float64, not negative.
    log_rate : () or (...,), positive. c, learned.
    threshold : () or (...,), positive. L, learned: queries before it are normalised as if at L.
    epsilon : number >= 0. See Conventions.

    Returns
    -------
    (..., h, n, m) of the weights' type. Unlike other relative biases it is not Toeplitz: x depends
    on i beyond L. For keys up to the query x is in [0, 1].

    Raises
    ------
    ValueError
        c or L not positive and finite, negative ``epsilon``; negative or infinite positions.
    TypeError
        Positions in float16 or float32; no ``log_rate`` or ``threshold``.

    Conventions
    -----------
    The paper is causal with i from 1, and has no epsilon and no absolute value. Published code
    counts from 0, starts from c = 0.1, L = 512 (a fixed times a learned number), takes |.| of
    the distance, so that later keys get the bias of earlier ones, and epsilon = 1e-6.

    Breaks when
    -----------
    The gradient jumps where an argument of the maximum passes 0; at 0 it is 0, as in torch.

    References
    ----------
    Li et al. 2024 (arXiv:2310.04418); mcleish7/arithmetic.

    Examples
    --------
    >>> import refimpl
    >>> weights = [1.0], [0.0], [[1.0]], [0.0]
    >>> refimpl.fire_bias(*weights, [10], [9, 0], log_rate=0.1, threshold=512.0).round(6)
    array([[[0.024098, 0.175255]]])
    """
    x, *_ = _fire_inputs(
        hidden_weights, query_positions, key_positions, log_rate, threshold, epsilon
    )
    weights = hidden_weights[..., None, :], hidden_biases, output_weights, output_biases
    return pair_network(x[..., None], *weights)[0]


@fire_bias.form("textbook")
def fire_bias_textbook(
    hidden_weights,
    hidden_biases,
    output_weights,
    output_biases,
    query_positions,
    key_positions,
    /,
    *,
    log_rate,
    threshold,
    epsilon=0.0,
):
    """The network of psi(|i - j|)/(psi(max(L, i)) + epsilon), one unit of it after another."""
    xp = namespace(hidden_weights)
    _check_fire(query_positions, key_positions, log_rate, threshold)
    distances = xp.abs(signed_distances(query_positions, key_positions, hidden_weights))
    i = astype(query_positions, distances.dtype)[..., :, None]
    c, least = (astype(v, i.dtype)[..., None, None] for v in (log_rate, threshold))
    x = xp.log1p(c * distances) / (xp.log1p(c * xp.maximum(least, i)) + epsilon)
    x = astype(x, hidden_weights.dtype)[..., None]
    hidden = x * hidden_weights[..., None, None, :] + hidden_biases[..., None, None, :]
    biases = xp.einsum("...nms,...sh->...hnm", xp.maximum(hidden, 0), output_weights)
    return biases + output_biases[..., :, None, None]


@fire_bias.defvjp
def fire_bias_vjp(
    g,
    hidden_weights,
    hidden_biases,
    output_weights,
    output_biases,
    query_positions,
    key_positions,
    /,
    *,
    log_rate,
    threshold,
    epsilon=0.0,
):
    """Backwards through the network; then by c and L through the quotient, in float64."""
    x, distances, ends, c, norm = _fire_inputs(
        hidden_weights, query_positions, key_positions, log_rate, threshold, epsilon
    )
    inputs, rows = x[..., None], hidden_weights[..., None, :]
    _, hidden = pair_network(inputs, rows, hidden_biases, output_weights, output_biases)
    dx, drows, *others = pair_network_vjp(g, inputs, hidden, rows, output_weights)
    dx, xp = dx[..., 0], namespace(x)
    # c dpsi(t)/dc is psi(t) less a term of second order in t, whose parts must not cancel.
    by_rate = (x * (_second_order(c * ends) + epsilon) - _second_order(c * distances)) / (c * norm)
    is_at_threshold = ends > astype(query_positions, x.dtype)[..., :, None]
    by_threshold = xp.where(is_at_threshold, -x * c / (1 + c * ends) / norm, 0.0)
    drate, dthreshold = ((dx * slope).sum(axis=(-2, -1)) for slope in (by_rate, by_threshold))
    dtype = hidden_weights.dtype
    return drows[..., 0, :], *others, astype(drate, dtype), astype(dthreshold, dtype)


def _fire_inputs(weights, query_positions, key_positions, log_rate, threshold, epsilon):
    """x (..., n, m) in at least float64, and |i - j|, max(L, i), c, and the denominator of x."""
    xp = namespace(weights)
    _check_fire(query_positions, key_positions, log_rate, threshold)
    dtype = xp.result_type(weights.dtype, result_type(query_positions, key_positions))
    c, start = (astype(v, dtype)[..., None, None] for v in (log_rate, threshold))
    distances = xp.abs(signed_distances(query_positions, key_positions, weights))
    ends = xp.maximum(start, astype(query_positions, dtype)[..., :, None])
    norm = xp.log1p(c * ends) + epsilon
    return xp.log1p(c * distances) / norm, distances, ends, c, norm


def _check_fire(query_positions, key_positions, log_rate, threshold):
    require_positive("log_rate", log_rate)
    require_positive("threshold", threshold)
    require_nonnegative("query_positions", query_positions)
    require_nonnegative("key_positions", key_positions)


def _second_order(u):
    """log(1 + u) - u/(1 + u), accurate relative to itself for u >= 0."""
    xp = namespace(u)
    part = u / (1 + u)
    return xp.where(part < 0.25, x_minus_log1p(-part), xp.log1p(u) - part)
