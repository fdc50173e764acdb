"""Wrong variants of rotary embedding on several axes."""

from __future__ import annotations

import numpy as np

from refimpl.backend import like, namespace
from refimpl.evidence.mistakes import wrong
from refimpl.evidence.position.axial import axial, multimodal
from refimpl.evidence.position.shared import OTHER
from refimpl.position.axial import (
    axial_rotary_embedding,
    multimodal_axes,
    multimodal_rotary_embedding,
)
from refimpl.position.rotary import rotary_embedding, rotary_frequencies

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
    return axial_rotary_embedding(x, positions, pairing=pairing, split=OTHER[split], base=base)


@axial.mutant(source="https://github.com/huggingface/transformers/issues/25199")
def other_pairing(x, positions, *, pairing, split, base=10000.0):
    """It pairs features in the other way: half for interleaved, or interleaved for half"""
    return axial_rotary_embedding(x, positions, pairing=OTHER[pairing], split=split, base=base)


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


wrong(
    multimodal, "Height and width are swapped", arrays={"positions": lambda x: x[..., (0, 2, 1), :]}
)


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


wrong(
    multimodal,
    "It pairs features in the other way: half for interleaved, or interleaved for half",
    options={"pairing": OTHER.get},
)


@multimodal.mutant(gradient=True)
def multimodal_gradient_forward(g, x, positions, **options):
    """The gradient is rotated forward, like x, instead of back"""
    rest = multimodal_rotary_embedding.vjp(g, x, positions, **options)[1:]
    return multimodal_rotary_embedding.vjp(g, x, -positions, **options)[0], *rest


@multimodal.mutant(gradient=True)
def gradient_of_the_time(g, x, positions, **options):
    """The backward pass turns all pairs by the time"""
    return multimodal_rotary_embedding.vjp(g, x, positions[..., :1, :] + 0 * positions, **options)
