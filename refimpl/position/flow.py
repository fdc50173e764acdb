"""Encodings that a differential equation makes: positions are times of one trajectory."""

from __future__ import annotations

from typing import Literal

from refimpl.backend import astype, namespace
from refimpl.core import broadcast_shape, matvec, outer
from refimpl.formula import formula
from refimpl.formula.options import Loops, Positive

# A denominator with the numerators of each stage, and one with those of the step.
_METHODS = {
    "classical": (2, ((), (1,), (0, 1), (0, 0, 2)), 6, (1, 2, 2, 1)),
    "three_eighths": (3, ((), (1,), (-1, 3), (3, -3, 3)), 8, (1, 3, 3, 1)),
}


@formula(
    "(d),(s,d),(s),(s),(d,s),(d),(d)->(n,d)",
    source="Liu et al. 2020 (FLOATER, arXiv:2003.09229), section 3; kexue.fm/archives/8130",
)
def flow_encoding(
    start,
    hidden_weights,
    hidden_times,
    hidden_biases,
    output_weights,
    output_times,
    output_biases,
    /,
    *,
    length: Loops,
    interval: Positive,
    steps: Loops,
    activation: Literal["identity", "relu", "tanh"],
    method: Literal["classical", "three_eighths"],
):
    r"""Encodings of positions by an ordinary differential equation, in Runge-Kutta steps.

    Formula
    -------
    .. math:: \frac{dp}{dt} = h(p, t) = V \sigma(W p + w\,t + b) + v\,t + c, \qquad p_k = p(k \tau)

    solved with steps of :math:`\delta = \tau/m`, each

    .. math:: p \leftarrow p + \delta \sum_i \beta_i u_i, \qquad
        u_i = h\Big(p + \delta \sum_{j < i} a_{ij} u_j,\ t + \gamma_i \delta\Big), \qquad
        \gamma_i = \sum_j a_{ij}

    by one of two methods of order 4 with four stages. "classical" has nodes
    :math:`\gamma` = 0, 1/2, 1/2, 1, each stage along the slope before, and
    :math:`\beta` = (1, 2, 2, 1)/6; "three_eighths" has nodes 0, 1/3, 2/3, 1, rows of a
    (1/3), (-1/3, 1), (1, -1, 1), and :math:`\beta` = (1, 3, 3, 1)/8.

    Parameters
    ----------
    start : (..., d) :math:`p_0`.
    hidden_weights : (..., s, d) W; hidden_times : (..., s) w; hidden_biases : (..., s) b.
    output_weights : (..., d, s) V; output_times : (..., d) v; output_biases : (..., d) c.
    length : int >= 1. n.
    interval : number > 0. :math:`\tau`, the time from a position to the next.
    steps : int >= 1. m, for each position.
    activation : "identity", "relu" or "tanh". :math:`\sigma`.
    method : "classical" or "three_eighths".

    Returns
    -------
    (..., n, d): p_0, ..., p_{n-1}.

    Raises
    ------
    ValueError
        ``length`` or ``steps`` < 1; interval not positive and finite; an unknown choice; shapes
        that do not fit.
    TypeError
        A choice that is missing.

    Conventions
    -----------
    The paper leaves h and the solver open. Its translation code has this h, d neurons with relu,
    the time as one more input of both layers, interval 0.01, 5 steps, and what torchdiffeq calls
    "rk4", which is "three_eighths"; one trajectory for each block and each of q, k, v, added to
    them after their projections. That code takes gradients by the continuous adjoint, which is
    solved backwards anew; those here are of the discrete steps, and agree as steps get many.
    With the identity, W = I and V = blockdiag :math:`\theta_i [[0, 1], [-1, 0]]`, a start
    (0, 1, 0, 1, ...) and interval 1 it is :func:`sinusoidal_encoding`; a linear h makes
    it :func:`recurrent_encoding`.

    Breaks when
    -----------
    Errors of a step are of order :math:`\delta^5`, but next to corners of relu of order
    :math:`\delta^2`. Where h grows quickly steps are unstable: :math:`\delta` times its slope
    should be below 2.7. It needs n steps one after another.

    References
    ----------
    Liu et al. 2020 (arXiv:2003.09229); xuanqing94/FLOATER, fairseq/modules/flow_funcs.py;
    rtqichen/torchdiffeq; Kutta 1901; https://kexue.fm/archives/8130.

    Examples
    --------
    >>> import refimpl
    >>> field = [[1.0, 0.0], [0.0, 1.0]], [0, 0], [0, 0], [[0.0, 1.0], [-1.0, 0.0]], [0, 0], [0, 0]
    >>> choices = {"interval": 1.0, "steps": 32, "activation": "identity", "method": "classical"}
    >>> refimpl.flow_encoding([0.0, 1.0], *field, length=2, **choices).round(6)
    array([[0.      , 1.      ],
           [0.841471, 0.540302]])
    """
    field = hidden_weights, hidden_times, hidden_biases, output_weights, output_times, output_biases
    states = _states(start, field, length, interval, steps, activation, method)
    return namespace(start).stack(states[::steps], axis=-2)


@flow_encoding.form("textbook")
def flow_encoding_textbook(
    start,
    hidden_weights,
    hidden_times,
    hidden_biases,
    output_weights,
    output_times,
    output_biases,
    /,
    *,
    length,
    interval,
    steps,
    activation,
    method,
):
    """The classical rule of Runge and Kutta, and Kutta's of three eighths, stage by stage."""
    xp, d = namespace(start), float(interval) / steps
    sigma = {"identity": lambda x: x, "relu": lambda x: xp.maximum(x, 0), "tanh": xp.tanh}

    def h(p, t):
        inner = matvec(hidden_weights, p) + _at(t, hidden_times) + hidden_biases
        outer = matvec(output_weights, sigma[activation](inner))
        return outer + _at(t, output_times) + output_biases

    p, encodings = start, [start]
    for step in range(1, int(length - 1) * int(steps) + 1):
        t = (step - 1) * d
        u1 = h(p, t)
        if method == "classical":
            u2 = h(p + d * u1 / 2, t + d / 2)
            u3 = h(p + d * u2 / 2, t + d / 2)
            u4 = h(p + d * u3, t + d)
            p = p + d * (u1 + 2 * u2 + 2 * u3 + u4) / 6
        else:
            u2 = h(p + d * u1 / 3, t + d / 3)
            u3 = h(p + d * (u2 - u1 / 3), t + 2 * d / 3)
            u4 = h(p + d * (u1 - u2 + u3), t + d)
            p = p + d * (u1 + 3 * u2 + 3 * u3 + u4) / 8
        if step % steps == 0:
            encodings.append(p)
    return xp.stack(xp.broadcast_arrays(*encodings), axis=-2)


@flow_encoding.defvjp
def flow_encoding_vjp(
    g,
    start,
    hidden_weights,
    hidden_times,
    hidden_biases,
    output_weights,
    output_times,
    output_biases,
    /,
    *,
    length,
    interval,
    steps,
    activation,
    method,
):
    """Backwards in time: a stage has its share of the step's cotangent, and of later stages'."""
    field = hidden_weights, hidden_times, hidden_biases, output_weights, output_times, output_biases
    states = _states(start, field, length, interval, steps, activation, method)
    unit, rows, step_unit, shares = _METHODS[method]
    xp, step = namespace(g), _step(interval, steps)
    dfield = [xp.zeros_like(x) for x in field]
    dstate = g[..., -1, :]
    for i in reversed(range(len(states) - 1)):
        places, _ = _stages(states[i], i, field, step, activation, method)
        dslopes = [step * share * dstate / step_unit for share in shares]
        for j in reversed(range(len(rows))):
            dplace, parts = _slope_vjp(dslopes[j], *places[j], field, activation)
            dfield = [total + part for total, part in zip(dfield, parts, strict=True)]
            dstate = dstate + dplace
            for earlier, weight in enumerate(rows[j]):
                dslopes[earlier] = dslopes[earlier] + step * weight * dplace / unit
        if i % steps == 0:
            dstate = dstate + g[..., i // steps, :]
    return dstate, *dfield


def _states(start, field, length, interval, steps, activation, method):
    """The start and what every step leads to, each (..., d) with all leading axes."""
    _, _, unit, shares = _METHODS[method]
    step = _step(interval, steps)
    leading = (x.shape[: x.ndim - axes] for x, axes in zip(field, (2, 1, 1, 2, 1, 1), strict=True))
    batch = broadcast_shape([start.shape[:-1], *leading])
    states = [namespace(start).broadcast_to(start, (*batch, start.shape[-1]))]
    for i in range(int((length - 1) * steps)):
        _, slopes = _stages(states[-1], i, field, step, activation, method)
        states.append(states[-1] + step * _sum(shares, slopes) / unit)
    return states


def _step(interval, steps):
    """delta, as a Python number: scalars of NumPy would change the type of half precision."""
    return float(interval) / steps


def _stages(state, i, field, step, activation, method):
    """Where and when step i takes its slopes, and the slopes."""
    unit, rows, _, _ = _METHODS[method]
    places, slopes = [], []
    for row in rows:
        place = state + step * _sum(row, slopes) / unit if row else state
        time = (i + sum(row) / unit) * step
        places.append((place, time))
        slopes.append(_slope(place, time, field, activation))
    return places, slopes


def _sum(weights, slopes):
    # A slope without weight takes no part, not even where it is infinite.
    return sum(weight * slope for weight, slope in zip(weights, slopes, strict=True) if weight)


def _slope(p, time, field, activation):
    """h(p, t)."""
    _, _, _, weights, times, biases = field
    return matvec(weights, _hidden(p, time, field, activation)) + _at(time, times) + biases


def _slope_vjp(g, p, time, field, activation):
    """The cotangents of p, and of the six arrays of h."""
    hidden_weights, _, _, output_weights, _, _ = field
    hidden = _hidden(p, time, field, activation)
    dinner = matvec(output_weights.swapaxes(-1, -2), g)
    if activation == "tanh":
        # tanh' is 1 - tanh^2.
        dinner = dinner * (1 - hidden**2)
    elif activation == "relu":
        dinner = namespace(g).where(hidden > 0, dinner, 0)
    by_hidden = outer(dinner, p), _at(time, dinner), dinner
    by_output = outer(g, hidden), _at(time, g), g
    return matvec(hidden_weights.swapaxes(-1, -2), dinner), (*by_hidden, *by_output)


def _hidden(p, time, field, activation):
    weights, times, biases, _, _, _ = field
    xp, inner = namespace(p), matvec(weights, p) + _at(time, times) + biases
    if activation == "identity":
        return inner
    return xp.tanh(inner) if activation == "tanh" else xp.maximum(inner, 0)


def _at(time, weights):
    """w t, with t in float64 whatever w is."""
    wide = namespace(weights).result_type(weights.dtype, "float64")
    return astype(time * astype(weights, wide), weights.dtype)
