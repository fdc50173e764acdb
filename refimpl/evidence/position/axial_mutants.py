"""Wrong variants of rotary embedding on several axes, and of its positions."""

from __future__ import annotations

import numpy as np

from refimpl.backend import like, namespace
from refimpl.evidence.position.axial import axial, multimodal, places
from refimpl.position.axial import (
    axial_rotary_embedding,
    multimodal_axes,
    multimodal_positions,
    multimodal_rotary_embedding,
)
from refimpl.position.rotary import rotary_embedding, rotary_frequencies

_OTHER = {"half": "interleaved", "interleaved": "half", "features": "pairs", "pairs": "features"}


# --------------------------------------------------------------------------------------- axial


@axial.mutant(source="https://github.com/Meituan-AutoML/VisionLLaMA/issues/4")
def axes_swapped(x, positions, **options):
    """The axes are swapped: columns before rows"""
    return axial_rotary_embedding(x, positions[..., ::-1, :], **options)


@axial.mutant(source="https://github.com/Tencent/ncnn/issues/6833")
def first_axis_for_all(x, positions, **options):
    """Every share turns by the first coordinate"""
    return axial_rotary_embedding(x, positions[..., :1, :] + 0 * positions, **options)


@axial.mutant
def frequencies_go_on(x, positions, *, pairing, split, base=10000.0):
    """The second share has the second half of the head's frequencies, as in M-RoPE"""
    h = x.shape[-1] // 4
    return multimodal_rotary_embedding(
        x,
        positions[..., (0, 1, 1), :],
        pairing=pairing,
        sections=(h, h, 0),
        arrangement="contiguous",
        base=base,
    )


@axial.mutant
def other_split(x, positions, *, pairing, split, base=10000.0):
    """Half pairs are those of the whole head where they should be within each share, or reversed"""
    return axial_rotary_embedding(x, positions, pairing=pairing, split=_OTHER[split], base=base)


@axial.mutant(source="https://github.com/huggingface/transformers/issues/25199")
def other_pairing(x, positions, *, pairing, split, base=10000.0):
    """It pairs features in the other way: half for interleaved, or interleaved for half"""
    return axial_rotary_embedding(x, positions, pairing=_OTHER[pairing], split=split, base=base)


@axial.mutant(source="https://github.com/osaurus-ai/vmlx-swift/pull/225")
def coordinates_from_one(x, positions, **options):
    """Coordinates are one too large: they count from 1"""
    return axial_rotary_embedding(x, positions + 1, **options)


@axial.mutant
def flattened(x, positions, *, pairing, split, base=10000.0):
    """Tokens are rotated by their number in the sequence, as text"""
    return rotary_embedding(x, namespace(x).arange(x.shape[-2]), pairing=pairing, base=base)


@axial.mutant(gradient=True)
def gradient_rotated_forward(g, x, positions, **options):
    """The gradient is rotated forward, like x, instead of back"""
    rest = axial_rotary_embedding.vjp(g, x, positions, **options)[1:]
    return axial_rotary_embedding.vjp(g, x, -positions, **options)[0], *rest


@axial.mutant(gradient=True)
def gradient_of_swapped_axes(g, x, positions, **options):
    """The backward pass swaps the axes"""
    return axial_rotary_embedding.vjp(g, x, positions[..., ::-1, :], **options)


# ---------------------------------------------------------------------------------- multimodal


def _by_axes(x, positions, axes, *, pairing, base=10000.0, frequencies=None, **_):
    """Rotation where pair p takes the position of axes[p]."""
    if frequencies is None:
        frequencies = like(rotary_frequencies(float(base), dim=x.shape[-1]), x)
    chosen = positions[..., namespace(x).asarray(list(axes)), :].swapaxes(-1, -2)
    angles = chosen * frequencies[..., None, :]
    one = namespace(x).ones(1)
    return rotary_embedding(x[..., None, :], one, pairing=pairing, frequencies=angles)[..., 0, :]


@multimodal.mutant(source="https://github.com/alibaba/MNN/pull/4133")
def other_arrangement(x, positions, *, arrangement, **options):
    """Sections are contiguous where they should be interleaved, or the reverse"""
    other = "interleaved" if arrangement == "contiguous" else "contiguous"
    return multimodal_rotary_embedding(x, positions, arrangement=other, **options)


@multimodal.mutant(source="https://github.com/XPU-Forces/mojo_opset/pull/276")
def interleaved_to_the_end(x, positions, *, sections, arrangement, **options):
    """Interleaving does not stop where sections end: p mod 3 for every pair"""
    axes = multimodal_axes(sections, arrangement)
    if arrangement == "interleaved":
        axes = [p % 3 for p in range(len(axes))]
    return _by_axes(x, positions, axes, **options)


@multimodal.mutant
def height_and_width_swapped(x, positions, **options):
    """Height and width are swapped"""
    return multimodal_rotary_embedding(x, positions[..., (0, 2, 1), :], **options)


@multimodal.mutant(source="https://github.com/kekzl/imp/pull/1172")
def time_for_all(x, positions, **options):
    """One axis: all pairs turn by the time"""
    return multimodal_rotary_embedding(x, positions[..., :1, :] + 0 * positions, **options)


@multimodal.mutant
def sections_in_features(x, positions, *, sections, arrangement, **options):
    """Contiguous sections are counted in features: twice as many pairs have the time"""
    axes = multimodal_axes(sections, arrangement)
    if arrangement == "contiguous":
        axes = [axes[p // 2] for p in range(len(axes))]
    return _by_axes(x, positions, axes, **options)


@multimodal.mutant
def frequencies_start_anew(x, positions, *, sections, arrangement, **options):
    """Every section starts with the fastest frequency, as axial rotation"""
    frequencies = options.pop("frequencies", None)
    if frequencies is None:
        base = float(options.get("base", 10000.0))
        frequencies = like(rotary_frequencies(base, dim=x.shape[-1]), x)
    axes = multimodal_axes(sections, arrangement)
    order = np.array([axes[:p].count(axis) for p, axis in enumerate(axes)])
    again = frequencies[..., namespace(x).asarray(order)]
    return _by_axes(x, positions, axes, frequencies=again, **options)


@multimodal.mutant
def pairing_of_meta(x, positions, *, pairing, **options):
    """It pairs features in the other way: half for interleaved, or interleaved for half"""
    return multimodal_rotary_embedding(x, positions, pairing=_OTHER[pairing], **options)


@multimodal.mutant(gradient=True)
def multimodal_gradient_forward(g, x, positions, **options):
    """The gradient is rotated forward, like x, instead of back"""
    rest = multimodal_rotary_embedding.vjp(g, x, positions, **options)[1:]
    return multimodal_rotary_embedding.vjp(g, x, -positions, **options)[0], *rest


@multimodal.mutant(gradient=True)
def gradient_of_the_time(g, x, positions, **options):
    """The backward pass turns all pairs by the time"""
    return multimodal_rotary_embedding.vjp(g, x, positions[..., :1, :] + 0 * positions, **options)


# ----------------------------------------------------------------------------------- positions


def _segmentwise(start, segments, advance, cells=None):
    """Positions by another rule for what follows, or for the cells of a grid."""
    found, at = [np.zeros((3, 0))], 0
    for segment in segments:
        grid = (segment, 1, 1) if isinstance(segment, int) else tuple(segment)
        index = np.array(list(np.ndindex(grid)), float).reshape(-1, 3).T
        if isinstance(segment, int):
            index = np.broadcast_to(index[:1], index.shape)
        elif cells is not None:
            index = cells(index, grid)
        found.append(at + index)
        at += segment if isinstance(segment, int) else advance(grid)
    return like(np.concatenate(found, axis=-1), start) + start[..., None, None]


@places.mutant
def frames_forgotten(start, *, segments):
    """Text after a video starts at c + max(H, W), whatever the number of frames is"""
    return _segmentwise(start, segments, lambda grid: max(grid[1:]))


@places.mutant
def number_of_tokens(start, *, segments):
    """What follows a grid starts after as many numbers as it has tokens"""
    return _segmentwise(start, segments, np.prod)


@places.mutant
def one_number_for_a_grid(start, *, segments):
    """What follows a grid starts one after its start"""
    return _segmentwise(start, segments, lambda grid: 1)


@places.mutant
def time_stands_still(start, *, segments):
    """All frames of a video have the time of the first"""
    return _segmentwise(start, segments, max, lambda cells, grid: cells * [[0], [1], [1]])


@places.mutant(source="https://github.com/vllm-project/vllm/pull/29425")
def height_stands_still(start, *, segments):
    """All rows of a grid have the height of the first"""
    return _segmentwise(start, segments, max, lambda cells, grid: cells * [[1], [0], [1]])


@places.mutant
def rows_and_columns_exchanged(start, *, segments):
    """Height and width of a grid are exchanged"""
    return _segmentwise(start, segments, max, lambda cells, grid: cells[[0, 2, 1]])


@places.mutant
def grids_from_one(start, *, segments):
    """Rows and columns of a grid count from 1"""
    return _segmentwise(start, segments, max, lambda cells, grid: cells + [[0], [1], [1]])


@places.mutant
def start_ignored(start, *, segments):
    """The start is ignored: numbers begin at 0"""
    return multimodal_positions(0 * start, segments=segments)


@places.mutant(gradient=True)
def gradient_of_the_mean(g, start, *, segments):
    """The gradient is the mean over tokens, not the sum"""
    return (g.mean(axis=(-2, -1)),)


@places.mutant(gradient=True)
def gradient_of_one_axis(g, start, *, segments):
    """The gradient sums the time only"""
    return (g[..., 0, :].sum(axis=-1),)
