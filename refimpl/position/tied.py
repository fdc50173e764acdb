"""Positions of texts, images and videos that are symmetric between texts (RoPE-Tie, RoPE-TV)."""

from __future__ import annotations

import math
from typing import Any, Literal

from refimpl.backend import namespace
from refimpl.formula import formula
from refimpl.position.segments import Segments, cells_of, extents, is_text


@formula(
    "()->(3,n)",
    source="kexue.fm/archives/10040 (RoPE-Tie), /10352 (RoPE-TV)",
    kinds={"start": "exact"},
    differentiable=("start",),
)
def tied_positions(
    start: Any, /, *, segments: Segments, rule: Literal["tie", "tie_equivalent", "tv"]
) -> Any:
    r"""Time, height and width of tokens, images in the middle between the texts around them.

    Formula
    -------
    A text from c on has :math:`t = h = w = c, c + 1, \dots` A grid of T frames with H rows and W
    columns, after a text that ends at L, spans S: what follows begins at :math:`L + S`, with

    .. math:: S = (H + 1)(W + 1) \text{ (tie)}, \qquad THW + 1 \text{ (tie\_equivalent, tv)}

    and cell i = 1, ..., e of an axis, whose extent e is T, H or W, has on it

    .. math:: L + i\, \frac{S}{e + 1} \text{ (tie, tie\_equivalent)}, \qquad
        L + i + \frac{S - (e + 1)}{2} \text{ (tv)}

    Parameters
    ----------
    start : number or (...,). c of the first segment, an integer or float64.
    segments : tuple of what follows one another: an integer n for text, (T, H, W) for a grid, as
        for :func:`multimodal_positions`; T is 1 for an image.
    rule : "tie", "tie_equivalent" or "tv".

    Returns
    -------
    (..., 3, n), float64: time, height and width. An image is in the middle of S in time; rotation
    on two axes takes the last two rows.

    Raises
    ------
    ValueError
        An unknown rule; a segment that is neither a number of tokens nor three extents, or is
        negative; a video for "tie", which has no such rule.
    TypeError
        No rule; start in float16 or float32.

    Conventions
    -----------
    The three make the first cell as far from the text before as the last one from the text after.
    "tie" (archives/10040) has whole numbers, steps of W + 1 down and H + 1 across; "tie_equivalent"
    is its variant in which an image counts as many tokens as it has cells. "tv" (archives/10352)
    has steps of one within the grid, and halves. :func:`multimodal_positions` (Qwen) has neither
    symmetry nor as many numbers as tokens. The essays count text from 1: ``start=1``. They put a
    token of text on either side of every image; here images in a row are placed as if an empty text
    stood between.

    Breaks when
    -----------
    A video cannot begin before the number of its frames is known. Fractions of "tie_equivalent" are
    rounded.

    References
    ----------
    https://kexue.fm/archives/10040, /10352.

    Examples
    --------
    >>> import refimpl
    >>> refimpl.tied_positions(1, segments=(3, (1, 1, 2), 1), rule="tv")
    array([[1. , 2. , 3. , 4.5, 4.5, 6. ],
           [1. , 2. , 3. , 4.5, 4.5, 6. ],
           [1. , 2. , 3. , 4. , 5. , 6. ]])
    """
    xp = namespace(start)
    rows, at = [], 0
    for segment in segments:
        grid = extents(segment)
        cells = [axis.reshape(-1) for axis in cells_of(xp, grid, segment)]
        if is_text(segment):
            rows.append(at + xp.stack(cells))
            at += int(segment)
        elif min(grid) > 0:
            span = _span(grid, rule)
            places = [_places(axis + 1, e, span, rule) for axis, e in zip(cells, grid, strict=True)]
            rows.append(at - 1 + xp.stack(places))
            at += span - 1
    empty = xp.zeros((3, 0), dtype="float64")
    return xp.concatenate([empty, *rows], axis=-1) + start[..., None, None]


@tied_positions.defvjp
def tied_positions_vjp(g, start, /, *, segments, rule):
    """All positions move with the start."""
    return (g.sum(axis=(-2, -1)),)


def _span(grid, rule):
    """S, from the last token before the grid to the first one after it."""
    frames, height, width = grid
    if rule != "tie":
        return math.prod(grid) + 1
    if frames != 1:
        raise ValueError(f"segments: rule 'tie' is for images, (1, H, W), got {grid}")
    return (height + 1) * (width + 1)


def _places(cells, extent, span, rule):
    """Distances from the text before, on an axis of this extent, of cells that count from 1."""
    if rule == "tv":
        return cells + (span - (extent + 1)) / 2
    return cells * span / (extent + 1)
