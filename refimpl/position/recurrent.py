"""Encodings that a recurrence makes: each position from the one before."""

from __future__ import annotations

from typing import Literal

from refimpl.backend import namespace
from refimpl.core import broadcast_shape, matvec
from refimpl.formula import formula
from refimpl.formula.options import Loops


@formula(
    "(d,d),(d),(d)->(n,d)",
    source="Liu et al. 2020 (FLOATER, arXiv:2003.09229), section 3; kexue.fm/archives/8130",
)
def recurrent_encoding(
    matrix, offset, start, /, *, length: Loops, activation: Literal["identity", "tanh"] = "identity"
):
    r"""Encodings of positions by a recurrence, which has no last position.

    Formula
    -------
    .. math:: p_0 = s, \qquad p_{k+1} = f(A p_k + b)

    with f the identity or the hyperbolic tangent.

    Parameters
    ----------
    matrix : (..., d, d) A; offset : (..., d) b; start : (..., d) s.
    length : int >= 1. n.
    activation : "identity" or "tanh". f.

    Returns
    -------
    (..., n, d): p_0, ..., p_{n-1}.

    Raises
    ------
    ValueError
        ``length`` < 1; an unknown activation; shapes that do not fit.

    Conventions
    -----------
    FLOATER solves dp/dt = h(p, t), which is :func:`flow_encoding`: for a linear h it is this
    recurrence with A the exponential of the interval times the matrix of h. A rotation by
    :math:`\theta_i` in every pair of features, with start (0, 1, 0, 1, ...), gives the sinusoids
    of :func:`sinusoidal_encoding`.

    Breaks when
    -----------
    The identity grows without bound where A has an eigenvalue beyond the unit circle, and rounding
    errors grow as its powers do. It needs n steps one after another.

    References
    ----------
    Liu et al. 2020 (arXiv:2003.09229); https://kexue.fm/archives/8130.

    Examples
    --------
    >>> import refimpl
    >>> quarter = [[0.0, 1.0], [-1.0, 0.0]]
    >>> refimpl.recurrent_encoding(quarter, [0.0, 0.0], [0.0, 1.0], length=4)
    array([[ 0.,  1.],
           [ 1.,  0.],
           [ 0., -1.],
           [-1.,  0.]])
    """
    return namespace(matrix).stack(_steps(matrix, offset, start, length, activation), axis=-2)


@recurrent_encoding.defvjp
def recurrent_encoding_vjp(g, matrix, offset, start, /, *, length, activation="identity"):
    """Backwards in time: the cotangent of p_k is its own and what p_{k+1} passes through A^T."""
    states = _steps(matrix, offset, start, length, activation)
    xp = namespace(matrix)
    dmatrix, doffset = xp.zeros_like(matrix), xp.zeros_like(offset)
    dstate = g[..., -1, :]
    for k in reversed(range(len(states) - 1)):
        # tanh' is 1 - tanh^2.
        dinner = dstate if activation == "identity" else dstate * (1 - states[k + 1] ** 2)
        dmatrix = dmatrix + dinner[..., :, None] * states[k][..., None, :]
        doffset = doffset + dinner
        dstate = g[..., k, :] + matvec(matrix.swapaxes(-1, -2), dinner)
    return dmatrix, doffset, dstate


def _steps(matrix, offset, start, length, activation):
    """p_0, ..., p_{n-1}, each (..., d) with all leading axes."""
    xp = namespace(matrix)
    batch = broadcast_shape([start.shape[:-1], offset.shape[:-1], matrix.shape[:-2]])
    states = [xp.broadcast_to(start, (*batch, start.shape[-1]))]
    for _ in range(length - 1):
        inner = matvec(matrix, states[-1]) + offset
        states.append(inner if activation == "identity" else xp.tanh(inner))
    return states
