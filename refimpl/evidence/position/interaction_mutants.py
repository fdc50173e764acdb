"""Wrong variants of interactions of positions."""

from __future__ import annotations

import numpy as np

from refimpl.backend import namespace
from refimpl.evidence.mistakes import Textbook, wrong
from refimpl.evidence.position.interaction import expansion, interaction
from refimpl.evidence.position.shared import OTHER
from refimpl.position.interaction import position_expansion, position_interaction

wrong(
    interaction,
    "The Hessian is transposed: the direction of the distance is reversed",
    arrays={"hessian": lambda x: x.swapaxes(-1, -2)},
)
wrong(
    interaction,
    "Sines come first where cosines should, or the reverse",
    options={"order": OTHER.get},
)


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


wrong(
    interaction,
    "Only the symmetric part of the Hessian counts: the direction is lost",
    arrays={"hessian": lambda x: (x + x.swapaxes(-1, -2)) / 2},
)
wrong(
    interaction,
    "Positions count from 1",
    arrays={"rows": lambda x: x + 1, "columns": lambda x: x + 1},
)
wrong(
    interaction,
    "The gradient of the Hessian is transposed",
    gradient={"hessian": lambda x: x.swapaxes(-1, -2)},
)


@interaction.mutant(gradient=True)
def gradient_of_the_other_order(g, rows, columns, hessian, frequencies, *, order):
    """The gradient takes sines for cosines"""
    other = "sin_first" if order == "cos_first" else "cos_first"
    return position_interaction.vjp(g, rows, columns, hessian, frequencies, order=other)


# -------------------------------------------------------------------------------------- expansion


def _parts(value, gradients, hessian, encodings):
    """f, the two halves of the absolute terms, and the interactions."""
    _, linear, _ = position_expansion(value, gradients, 0 * hessian, encodings)
    _, own, interactions = position_expansion(value, 0 * gradients, hessian, encodings)
    return value, linear, own, interactions


def _terms(*arrays):
    value, linear, own, interactions = _parts(*arrays)
    absolute = {"linear": linear, "own": own, "extra": 0 * own}
    return absolute | {"f": value, "interactions": interactions, "share": 0.5, "shown": 0.0}


def _whole(f, linear, own, extra, interactions, share, shown):
    """``extra`` counts in the expansion alone, and ``shown`` in the interactions alone."""
    absolute = linear + own
    pairs = share * interactions.sum(axis=(-2, -1))
    return f + (absolute + extra).sum(axis=-1) + pairs, absolute, interactions + shown


def _on_the_diagonal(t):
    return 2 * t.own[..., None] * namespace(t.own).eye(t.own.shape[-1], dtype=t.own.dtype)


book = Textbook(expansion, _terms, _whole)
book.wrong("The expansion has every pair of tokens twice: the half is missing", share=1.0)
book.wrong("A token's own second-order term lacks its half", own=lambda t: 2 * t.own)
book.wrong("A token's own second-order term is missing", own=lambda t: 0 * t.own)
book.wrong(
    "The second-order sum runs over all pairs, with a token's own among them once more",
    extra=lambda t: t.own,
)
book.wrong(
    "The diagonal of the interactions has what tokens do by themselves", shown=_on_the_diagonal
)
wrong(
    expansion,
    "Blocks are transposed: the first token is on the right",
    arrays={"hessian": lambda x: x.swapaxes(-1, -2)},
)


@expansion.mutant(gradient=True)
def slope_of_products_halved(g, value, gradients, hessian, encodings):
    """The gradient of the encodings passes blocks one way, from columns to rows, only"""
    *rest, dencodings = position_expansion.vjp(g, value, gradients, hessian, encodings)
    linear = position_expansion.vjp(g, value, gradients, 0 * hessian, encodings)[-1]
    return (*rest, (dencodings + linear) / 2)


@expansion.mutant(gradient=True)
def expansion_passes_no_interactions(g, *arrays):
    """The cotangent of the expansion does not reach the interactions"""
    lost = -g[0][..., None, None] / 2 + 0 * g[2]
    return position_expansion.vjp((g[0], g[1], g[2] + lost), *arrays)


wrong(
    expansion,
    "The gradient of a block is transposed",
    gradient={"hessian": lambda x: x.swapaxes(-1, -2)},
)
