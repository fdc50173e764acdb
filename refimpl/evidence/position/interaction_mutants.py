"""Wrong variants of interactions of two positions."""

from __future__ import annotations

import numpy as np

from refimpl.backend import namespace
from refimpl.evidence.position.interaction import interaction
from refimpl.position.interaction import position_interaction


@interaction.mutant
def transposed(rows, columns, hessian, frequencies, *, order):
    """The Hessian is transposed: the direction of the distance is reversed"""
    return position_interaction(rows, columns, hessian.swapaxes(-1, -2), frequencies, order=order)


@interaction.mutant
def other_order(rows, columns, hessian, frequencies, *, order):
    """Sines come first where cosines should, or the reverse"""
    other = "sin_first" if order == "cos_first" else "cos_first"
    return position_interaction(rows, columns, hessian, frequencies, order=other)


@interaction.mutant
def pairs_in_halves(rows, columns, hessian, frequencies, *, order):
    """Features lie in halves, all cosines and then all sines, instead of interleaved"""
    h = hessian.shape[-1] // 2
    order_of = [k for i in range(h) for k in (i, i + h)]
    index = namespace(hessian).asarray(order_of)
    moved = hessian[..., index, :][..., index]
    return position_interaction(rows, columns, moved, frequencies, order=order)


@interaction.mutant
def diagonal_blocks_only(rows, columns, hessian, frequencies, *, order):
    """Pairs meet only themselves: blocks off the diagonal are dropped"""
    pair = namespace(hessian).arange(hessian.shape[-1]) // 2
    kept = hessian * (pair[:, None] == pair[None, :])
    return position_interaction(rows, columns, kept, frequencies, order=order)


@interaction.mutant
def relative_part_only(rows, columns, hessian, frequencies, *, order):
    """The terms in the sum of the positions are dropped, as if H commuted with rotations"""
    xp = namespace(hessian)
    quarter = xp.asarray(np.array([[0.0, -1.0], [1.0, 0.0]]))
    turn = xp.kron(xp.eye(hessian.shape[-1] // 2), quarter)
    # A quarter turn of both positions leaves differences and negates what sees the sum.
    turned = turn.T @ hessian @ turn
    return position_interaction(rows, columns, (hessian + turned) / 2, frequencies, order=order)


@interaction.mutant
def symmetrised(rows, columns, hessian, frequencies, *, order):
    """Only the symmetric part of the Hessian counts: the direction is lost"""
    even = (hessian + hessian.swapaxes(-1, -2)) / 2
    return position_interaction(rows, columns, even, frequencies, order=order)


@interaction.mutant
def positions_from_one(rows, columns, hessian, frequencies, *, order):
    """Positions count from 1"""
    return position_interaction(rows + 1, columns + 1, hessian, frequencies, order=order)


@interaction.mutant(gradient=True)
def hessian_gradient_transposed(g, rows, columns, hessian, frequencies, *, order):
    """The gradient of the Hessian is transposed"""
    first, second, third, fourth = position_interaction.vjp(
        g, rows, columns, hessian, frequencies, order=order
    )
    return first, second, third.swapaxes(-1, -2), fourth


@interaction.mutant(gradient=True)
def gradient_of_the_other_order(g, rows, columns, hessian, frequencies, *, order):
    """The gradient takes sines for cosines"""
    other = "sin_first" if order == "cos_first" else "cos_first"
    return position_interaction.vjp(g, rows, columns, hessian, frequencies, order=other)
