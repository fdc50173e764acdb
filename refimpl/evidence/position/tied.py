"""Evidence for positions of images that are symmetric between texts."""

from __future__ import annotations

import math

import numpy as np

from refimpl.backend import namespace
from refimpl.evidence import Case, Claim, Evidence, wide
from refimpl.evidence.mistakes import wrong
from refimpl.evidence.position.shared import runs, starts_shift_everything
from refimpl.position.segments import multimodal_positions
from refimpl.position.tied import tied_positions

_IMAGES = ((1, 3, 2), 4), (5,), (2, (1, 1, 4), 1, (1, 5, 2), 3), (1, (1, 2, 2), (1, 3, 1), 1)
_VIDEO = (2, (3, 1, 2), 1, (2, 4, 3), 2)

tied = Evidence(
    tied_positions,
    fixed={"segments": (3, (1, 2, 4), 2), "rule": "tv"},
    options={"segments": (*_IMAGES, _VIDEO)},
    combinations=(
        *({"segments": s, "rule": "tie"} for s in _IMAGES),
        {"segments": _VIDEO, "rule": "tie_equivalent"},
    ),
)


# ------------------------------------------------------------------------------------- regimes


@tied.regime
def whole_starts(rng, shape):
    """Starts from 0 to 1000, RoPE-TV"""
    return Case((rng.integers(0, 1001, shape.start).astype(float),))


@tied.regime
def of_rope_tie(rng, shape):
    """Starts from 0 to 1000, two images by RoPE-Tie"""
    options = {"rule": "tie", "segments": _IMAGES[2]}
    return Case((rng.integers(0, 1001, shape.start).astype(float),), options)


@tied.regime(adversarial=True)
def videos_at_fractional_starts(rng, shape):
    """Two videos, starts between whole numbers, also negative"""
    return Case((rng.uniform(-50.0, 50.0, shape.start),), {"segments": _VIDEO})


@tied.regime(adversarial=True)
def fractional_steps(rng, shape):
    """Steps that are fractions, of two videos"""
    options = {"rule": "tie_equivalent", "segments": _VIDEO}
    return Case((rng.uniform(-50.0, 50.0, shape.start),), options)


# ---------------------------------------------------------------------------------------- laws


tied.law(starts_shift_everything)


def _grids(f, case):
    """For each grid: its extents, its positions (..., 3, T, H, W), and the texts L and K."""
    at = wide(case.call(f))
    for index, (segment, begin, end) in enumerate(runs(case)):
        if isinstance(segment, int):
            continue
        around = [
            wide(case.with_options(segments=(*case.options["segments"][:k], 1)).call(f))[..., -1]
            for k in (index, index + 1)
        ]
        cells = at[..., begin:end].reshape(*at.shape[:-1], *segment)
        yield segment, cells, around[0] - 1.0, around[1]


def _size(case):
    return 400.0 + np.abs(wide(case.arrays[0])).max()


@tied.law
def text_counts_on_from_all_before(f, case):
    """Text has the same number on all axes, one more for each token, above all before"""
    at = wide(case.call(f))
    for segment, begin, end in runs(case):
        if isinstance(segment, int) and segment:
            inside = at[..., begin:end]
            first = inside[..., :1, :1]
            count = np.broadcast_to(first + np.arange(segment), inside.shape)
            yield Claim(inside, count, _size(case))
            if begin:
                highest = at[..., :begin].max(axis=(-2, -1))
                is_above = 1.0 * (first[..., 0, 0] > highest)
                yield Claim(is_above, np.ones_like(is_above), 0.0)


@tied.law
def text_alone_is_text(f, case):
    """Without images it is the text of Qwen, 0, 1, ... on all axes"""
    text = case.with_options(segments=(3, 4))
    plain = multimodal_positions(case.arrays[0], segments=(7,))
    yield Claim(text.call(f), plain, 0.0)


@tied.law
def grids_are_symmetric_between_the_texts(f, case):
    """A cell is as far from the text before as the opposite one from the text after"""
    for _, cells, before, after in _grids(f, case):
        opposite = cells[..., ::-1, ::-1, ::-1]
        sides = (before + after)[..., None, None, None]
        yield Claim(cells + opposite, np.broadcast_to(sides, cells.shape), 2.0 * _size(case))


@tied.law
def steps_are_even(f, case):
    """Steps: 1 for tv; for tie that between text and image; axes do not see each other"""
    for segment, cells, before, _ in _grids(f, case):
        for k in range(3):
            axis = np.moveaxis(cells[..., k, :, :, :], -3 + k, -1)
            first = axis[..., :1]
            text = before[..., k, None, None, None]
            step = 1.0 if case.options["rule"] == "tv" else first - text
            expected = first[..., :1, :1, :] + step * np.arange(segment[k])
            yield Claim(axis, np.broadcast_to(expected, axis.shape), _size(case))


@tied.law
def a_grid_counts_as_its_tokens(f, case):
    """The text after is one more than tokens lie between, or (H + 1)(W + 1) after the text"""
    for segment, _, before, after in _grids(f, case):
        is_tie = case.options["rule"] == "tie"
        span = (segment[1] + 1) * (segment[2] + 1) if is_tie else math.prod(segment) + 1
        yield Claim(after - before, np.full(after.shape, float(span)), _size(case))


@tied.law
def every_cell_is_another(f, case):
    """Cells of a grid are different, and rows and columns ascend"""
    for _, cells, before, after in _grids(f, case):
        for k in range(3):
            axis = np.moveaxis(cells[..., k, :, :, :], -3 + k, -1)
            edge = np.broadcast_to(before[..., k, None, None, None], (*axis.shape[:-1], 1))
            last = np.broadcast_to(after[..., k, None, None, None], (*axis.shape[:-1], 1))
            ascends = 1.0 * (np.diff(np.concatenate([edge, axis, last], axis=-1)) > 0)
            yield Claim(ascends, np.ones_like(ascends), 0.0)


# -------------------------------------------------------------------------------- closed forms


def _over_batch(shape, rows):
    return np.broadcast_to(np.array(rows, float), (*shape.batch, *np.shape(rows)))


@tied.closed_form
def image_of_the_essay_tv(rng, shape):
    """L = 3, w = 4, h = 2: the image begins beyond (6, 5), the text after at 12"""
    heights, widths = [7] * 4 + [8] * 4, [6, 7, 8, 9] * 2
    rows = [[1, 2, 3, *middle, 12] for middle in ([7.5] * 8, heights, widths)]
    case = Case((np.ones(shape.batch),), {"segments": (3, (1, 2, 4), 1), "rule": "tv"})
    return case, _over_batch(shape, rows)


@tied.closed_form
def image_of_the_essay_tie(rng, shape):
    """L = 3, w = 4, h = 2: steps (5, 3), the text after at 3 + 5 * 3"""
    heights, widths = [8] * 4 + [13] * 4, [6, 9, 12, 15] * 2
    rows = [[1, 2, 3, *middle, 18] for middle in ([10.5] * 8, heights, widths)]
    case = Case((np.ones(shape.batch),), {"segments": (3, (1, 2, 4), 1), "rule": "tie"})
    return case, _over_batch(shape, rows)


@tied.closed_form
def cube_of_the_essay(rng, shape):
    """A video of 2 x 2 x 2 after L = 0 takes 4 and 5 on each axis, and the text 9"""
    cells = np.array(list(np.ndindex(2, 2, 2))).T + 4
    rows = np.concatenate([cells, np.full((3, 1), 9)], axis=1)
    case = Case((np.ones(shape.batch),), {"segments": ((2, 2, 2), 1), "rule": "tv"})
    return case, _over_batch(shape, rows)


@tied.closed_form
def one_patch_is_a_token(rng, shape):
    """An image of one patch with equivalence is a token of text"""
    options = {"segments": (2, (1, 1, 1), 2), "rule": "tie_equivalent"}
    return Case((np.zeros(shape.batch),), options), _over_batch(shape, [range(5)] * 3)


# ------------------------------------------------------------------------------------- mutants


wrong(
    tied,
    "RoPE-TV for RoPE-Tie, or the reverse",
    name="the_other_rule",
    options={"rule": lambda x: "tie_equivalent" if x == "tv" else "tv"},
)


@tied.mutant
def as_in_qwen(start, *, segments, rule):
    """Images begin at the next number on all axes, and text after their longest axis, as M-RoPE"""
    return multimodal_positions(start, segments=segments)


wrong(tied, "Height and width are exchanged", output=lambda y: y[..., (0, 2, 1), :])


@tied.mutant
def steps_of_the_other_axis(start, *, segments, rule):
    """The shape is read as (T, W, H): steps and offsets are those of the other axis"""
    turned = [s if isinstance(s, int) else (s[0], s[2], s[1]) for s in segments]
    return tied_positions(start, segments=tuple(turned), rule=rule)


def _by_grid(start, segments, rule, change):
    """Positions in which ``change(rows, segment)`` has moved those of the grids."""
    value = tied_positions(start, segments=segments, rule=rule)
    xp = namespace(start)
    parts = []
    for segment, begin, end in runs(Case((start,), {"segments": segments})):
        part = value[..., begin:end]
        parts.append(part if isinstance(segment, int) else change(part, segment))
    return xp.concatenate(parts, axis=-1)


@tied.mutant
def patches_from_zero(start, *, segments, rule):
    """Patches count from 0: the first one is where the text before ends"""
    return _by_grid(start, segments, rule, lambda part, _: part - 1.0)


@tied.mutant
def not_centred(start, *, segments, rule):
    """Images begin right after the text before, not in the middle: RoPE-TV without its offset"""

    def left(part, segment):
        first = part[..., :1] - tied_positions(start, segments=(1,), rule=rule)
        return part - first + 1.0

    return _by_grid(start, segments, rule, left)


@tied.mutant
def offset_not_halved(start, *, segments, rule):
    """The offset of RoPE-TV is not halved: images end where the text after begins"""

    def right(part, segment):
        span = math.prod(segment) + 1
        xp = namespace(start)
        sizes = xp.asarray([float(e) for e in segment])[:, None]
        return part + (span - sizes - 1) / 2

    return _by_grid(start, segments, rule, right)


@tied.mutant
def text_after_one_too_early(start, *, segments, rule):
    """What follows an image begins one too early: at L + H W instead of one more"""
    value = tied_positions(start, segments=segments, rule=rule)
    parts, images = [], 0.0
    for segment, begin, end in runs(Case((start,), {"segments": segments})):
        parts.append(value[..., begin:end] - images)
        images += not isinstance(segment, int)
    return namespace(start).concatenate(parts, axis=-1)


@tied.mutant
def time_not_moved(start, *, segments, rule):
    """The time of a grid begins at 0 instead of in the middle"""

    def early(part, segment):
        time = part[..., :1, :] - part[..., :1, :1] + start[..., None, None]
        return namespace(start).concatenate([time, part[..., 1:, :]], axis=-2)

    return _by_grid(start, segments, rule, early)


@tied.mutant(gradient=True)
def text_moves_alone(g, start, *, segments, rule):
    """The gradient has the tokens of text only"""
    total = 0.0 * start
    for segment, begin, end in runs(Case((start,), {"segments": segments})):
        if isinstance(segment, int):
            total = total + g[..., begin:end].sum(axis=(-2, -1))
    return (total,)
