"""Positions of the tokens of texts, images and videos that follow one another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from refimpl.backend import namespace
from refimpl.formula import formula
from refimpl.formula.options import Items, Number

_SIZE = Number(0, 2**24, whole=True)
Segments = Annotated[
    Sequence[int | tuple[int, int, int]],
    Items(
        (_SIZE, Items((_SIZE,), 3, "(T, H, W)")),
        None,
        "a list of numbers of tokens and of (T, H, W)",
        empty=True,
    ),
]


@formula(
    "()->(3,n)",
    source="Wang et al. 2024 (Qwen2-VL, arXiv:2409.12191), section 2.1, figure 3",
    kinds={"start": "exact"},
    differentiable=("start",),
)
def multimodal_positions(start: Any, /, *, segments: Segments) -> Any:
    r"""Time, height and width of the tokens of a text with images and videos in it.

    Formula
    -------
    A text of n tokens from c on has :math:`t = h = w = c, \dots, c + n - 1`. A grid of T frames
    with H rows and W columns has, in this order of loops,

    .. math:: (t, h, w) = (c + i, c + j, c + k), \qquad i < T, \; j < H, \; k < W

    and what follows starts at the highest number so far plus one, c + max(T, H, W).

    Parameters
    ----------
    start : number or (...,). c of the first segment, an integer or float64.
    segments : tuple of what follows one another: an integer n for text, (T, H, W) for a grid, of
        which H and W are after merging patches; T is 1 for an image.

    Returns
    -------
    (..., 3, n), float64.

    Raises
    ------
    ValueError
        A segment that is neither a number of tokens nor three extents, or is negative.
    TypeError
        start in float16 or float32.

    Conventions
    -----------
    As in the paper and in the documentation of transformers pull 35569. Qwen2.5-VL counts frames in
    steps of time instead of one by one. Transformers 5.23 lets text after a video start at
    c + max(H, W), whatever T is, so that a long video overlaps the text. RoPE-Tie and RoPE-TV
    put images elsewhere: :func:`tied_positions`.

    Breaks when
    -----------
    The length of the text that the numbers say is not the number of tokens: decoding must continue
    from the highest number plus one.

    References
    ----------
    Wang et al. 2024 (arXiv:2409.12191); huggingface/transformers pull 35569.

    Examples
    --------
    >>> import refimpl
    >>> refimpl.multimodal_positions(0, segments=(1, (1, 2, 2), 1)).astype(int)
    array([[0, 1, 1, 1, 1, 3],
           [0, 1, 1, 2, 2, 3],
           [0, 1, 2, 1, 2, 3]])
    """
    xp = namespace(start)
    rows, at = [], 0
    for segment in segments:
        grid = extents(segment)
        index = xp.stack([axis.reshape(-1) for axis in cells_of(xp, grid, segment)])
        rows.append(at + index)
        at += max(grid) if min(grid) > 0 else 0
    empty = xp.zeros((3, 0), dtype="float64")
    return xp.concatenate([empty, *rows], axis=-1) + start[..., None, None]


@multimodal_positions.defvjp
def multimodal_positions_vjp(g, start, /, *, segments):
    """All positions move with the start."""
    return (g.sum(axis=(-2, -1)),)


def extents(segment):
    """(n, 1, 1) of a text, (T, H, W) of a grid."""
    grid = (int(segment), 1, 1) if is_text(segment) else tuple(segment)
    if len(grid) != 3 or min(grid) < 0:
        raise ValueError(f"segments: expected a number of tokens or (T, H, W), got {segment!r}")
    return grid


def cells_of(xp, grid, segment):
    """Time, height and width of each token; of text, three times the same."""
    axes = xp.meshgrid(*(xp.arange(n, dtype="float64") for n in grid), indexing="ij")
    return (axes[0],) * 3 if is_text(segment) else axes


def is_text(segment):
    """Whether it is a number of tokens, of Python or of NumPy."""
    return hasattr(segment, "__index__")
