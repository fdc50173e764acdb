"""Evidence for positions of texts, images and videos."""

from __future__ import annotations

import numpy as np

from refimpl.backend import like
from refimpl.evidence import Case, Claim, Evidence, wide
from refimpl.evidence.mistakes import Textbook, wrong
from refimpl.evidence.position.shared import runs, starts_shift_everything
from refimpl.position.segments import multimodal_positions

places = Evidence(
    multimodal_positions,
    options={"segments": ((5,), ((1, 3, 2), 4), (2, (3, 1, 2), (2, 2, 1)), (1, (6, 2, 2), 3))},
    fixed={"segments": (3, (1, 2, 3), 2, (4, 2, 2), 2)},
)


# ------------------------------------------------------------------------------------- regimes


@places.regime
def whole_starts(rng, shape):
    """Starts from 0 to 1000"""
    return Case((rng.integers(0, 1001, shape.start).astype(float),))


@places.regime(adversarial=True)
def fractional_starts(rng, shape):
    """Starts between whole numbers, also negative"""
    return Case((rng.uniform(-50.0, 50.0, shape.start),))


# ---------------------------------------------------------------------------------------- laws


places.law(starts_shift_everything)


@places.law
def each_segment_begins_after_all_earlier_numbers(f, case):
    """The first token of a segment is the highest number so far plus one, on every axis"""
    at = wide(case.call(f))
    for _, begin, end in runs(case):
        if begin and end > begin:
            highest = at[..., :begin].max(axis=(-2, -1))
            first = at[..., begin]
            expected = np.broadcast_to(highest[..., None] + 1.0, first.shape)
            yield Claim(first, expected, 100.0 + np.abs(first))


@places.law
def grids_hold_every_cell_once(f, case):
    """Within a grid the numbers are all cells, with the width fastest"""
    at = wide(case.call(f))
    for segment, begin, end in runs(case):
        inside = at[..., begin:end] - at[..., begin : begin + 1]
        if isinstance(segment, int):
            cells = np.broadcast_to(np.arange(segment), (3, segment))
        else:
            cells = np.array(list(np.ndindex(tuple(segment)))).T
        yield Claim(
            inside, np.broadcast_to(cells, inside.shape), 100.0 + np.abs(at[..., begin:end])
        )


# -------------------------------------------------------------------------------- closed forms


@places.closed_form
def text_image_text(rng, shape):
    """Two tokens, an image of 2 x 3, two tokens: the second text starts at 5"""
    answer = [
        [0, 1, 2, 2, 2, 2, 2, 2, 5, 6],
        [0, 1, 2, 2, 2, 3, 3, 3, 5, 6],
        [0, 1, 2, 3, 4, 2, 3, 4, 5, 6],
    ]
    case = Case((np.zeros(shape.batch),), {"segments": (2, (1, 2, 3), 2)})
    return case, np.broadcast_to(answer, (*shape.batch, 3, 10))


@places.closed_form
def text_after_a_long_video(rng, shape):
    """Six frames of 2 x 2 from 2 on: the text has 8, 9, 10"""
    video = np.array(list(np.ndindex(6, 2, 2))).T + 2
    text = np.broadcast_to([8, 9, 10], (3, 3))
    answer = np.concatenate([video, text], axis=-1)
    case = Case((np.full(shape.batch, 2.0),), {"segments": ((6, 2, 2), 3)})
    return case, np.broadcast_to(answer, (*shape.batch, *answer.shape))


# ------------------------------------------------------------------------------------- mutants


def _terms(start, *, segments):
    return {"begin": start, "segments": segments, "advance": max, "scale": 1, "shift": 0}


def _segmentwise(begin, segments, advance, scale, shift, axes=(0, 1, 2)):
    """Positions, where cells of a grid are scaled, and what follows is further by ``advance``."""
    found, at = [np.zeros((3, 0))], 0
    for segment in segments:
        is_text = isinstance(segment, int)
        grid = (segment, 1, 1) if is_text else tuple(segment)
        cells = np.array(list(np.ndindex(grid)), float).reshape(-1, 3).T
        found.append(at + (cells[[0, 0, 0]] if is_text else cells[[*axes]] * scale + shift))
        at += segment if is_text else advance(grid)
    return like(np.concatenate(found, axis=-1), begin) + begin[..., None, None]


book = Textbook(places, _terms, _segmentwise)
book.wrong(
    "Text after a video starts at c + max(H, W), whatever the number of frames is",
    name="frames_forgotten",
    advance=lambda t: lambda grid: max(grid[1:]),
)
book.wrong(
    "What follows a grid starts after as many numbers as it has tokens", advance=lambda t: np.prod
)
book.wrong("What follows a grid starts one after its start", advance=lambda t: lambda grid: 1)
book.wrong("All frames of a video have the time of the first", scale=[[0], [1], [1]])
book.wrong(
    "All rows of a grid have the height of the first",
    scale=[[1], [0], [1]],
    source="https://github.com/vllm-project/vllm/pull/29425",
)
book.wrong("Height and width of a grid are exchanged", axes=(0, 2, 1))
book.wrong("Rows and columns of a grid count from 1", shift=[[0], [1], [1]])
wrong(places, "The start is ignored: numbers begin at 0", arrays={"start": lambda x: 0 * x})


@places.mutant(gradient=True)
def gradient_of_the_mean(g, start, *, segments):
    """The gradient is the mean over tokens, not the sum"""
    return (g.mean(axis=(-2, -1)),)


@places.mutant(gradient=True)
def gradient_of_one_axis(g, start, *, segments):
    """The gradient sums the time only"""
    return (g[..., 0, :].sum(axis=-1),)
