"""Evidence for rotary embedding on several axes."""

from __future__ import annotations

import numpy as np

from refimpl.backend import like
from refimpl.evidence import Case, Claim, Evidence, Sizes, wide
from refimpl.evidence.position.shared import farthest, row_norms
from refimpl.position.axial import axial_rotary_embedding, multimodal_rotary_embedding
from refimpl.position.rotary import rotary_embedding, rotary_frequencies

axial = Evidence(
    axial_rotary_embedding,
    sizes={"n": Sizes(1, 1, 16), "d": Sizes(8, 4, 16), "a": Sizes(2, 1, 2)},
    empty=("n",),
    options={"base": (100.0,)},
    combinations=(
        {"pairing": "half", "split": "features"},
        {"pairing": "half", "split": "pairs"},
    ),
    fixed={"pairing": "interleaved", "split": "pairs"},
)
multimodal = Evidence(
    multimodal_rotary_embedding,
    sizes={"n": Sizes(1, 1, 16), "d": Sizes(4, 2, 20)},
    empty=("n",),
    options={"base": (100.0,)},
    fixed={"pairing": "half", "arrangement": "contiguous", "sections": (1, 1, 0)},
)


# ------------------------------------------------------------------------------------- regimes


@axial.regime
def a_grid(rng, shape):
    """Rows and columns of a grid four wide"""
    n = np.arange(shape.axes["n"])
    return Case((rng.standard_normal(shape.x), np.stack([n // 4, n % 4])))


@axial.regime(adversarial=True)
def anywhere(rng, shape):
    """Coordinates in any order that differ along the batch, half pairs within each share"""
    at = rng.integers(0, 60, shape.positions)
    return Case((rng.standard_normal(shape.x), at), {"pairing": "half", "split": "features"})


@axial.regime(adversarial=True)
def half_pairs_of_the_head(rng, shape):
    """A grid that starts far from 0, with half pairs of the whole head"""
    n = np.arange(shape.axes["n"])
    at = np.stack([100 + n // 3, 40 + n % 3])
    return Case((rng.standard_normal(shape.x), at), {"pairing": "half", "split": "pairs"})


@axial.regime(adversarial=True, advisory=True)
def between_the_pixels(rng, shape):
    """Coordinates between -1 and 1, which tables of integers cannot hold"""
    at = rng.uniform(-1.0, 1.0, shape.positions)
    return Case((rng.standard_normal(shape.x), at))


def _sections(shape):
    """As many for height as interleave, fewer for width, the rest for time."""
    h = shape.axes["d"] // 2
    height, width = (h + 1) // 3, h // 3 - (h >= 6)
    return (h - height - width, height, width)


def _multimodal(rng, shape, positions, **options):
    options = {"sections": _sections(shape)} | options
    return Case((rng.standard_normal(shape.x), positions), options)


@multimodal.regime
def an_image_in_a_text(rng, shape):
    """Tokens of an image, five wide, after a text"""
    n = np.arange(shape.axes["n"])
    return _multimodal(rng, shape, 7 + np.stack([0 * n, n // 5, n % 5]))


@multimodal.regime
def interleaved_axes(rng, shape):
    """The arrangement of Qwen3-VL, three numbers of every token"""
    at = rng.integers(0, 50, shape.positions)
    return _multimodal(rng, shape, at, arrangement="interleaved")


@multimodal.regime(advisory=True)
def between_positions(rng, shape):
    """Positions that are no whole numbers, which have a gradient"""
    return _multimodal(rng, shape, rng.uniform(-9.0, 9.0, shape.positions))


@multimodal.regime(adversarial=True)
def given_frequencies(rng, shape):
    """Frequencies that are no powers of a base, positions of a long video"""
    h = shape.axes["d"] // 2
    theta = np.sort(rng.uniform(0.001, 1.0, (*shape.batch, h)))[..., ::-1].copy()
    n = np.arange(shape.axes["n"])
    at = np.stack([300 + n // 2, 3 + n % 2, 11 - n % 3])
    return _multimodal(rng, shape, at, frequencies=theta)


@multimodal.output_terms
def _angles(x, positions, *, frequencies=None, **options):
    """The rounding of an angle turns its pair."""
    fastest = 1.0 if frequencies is None else float(np.abs(wide(frequencies)).max(initial=0.0))
    return [float(row_norms(x).max(initial=0.0)) * (1.0 + fastest * farthest(positions))]


# ---------------------------------------------------------------------------------------- laws


def _angle_size(case):
    return 1.0 + np.abs(wide(case.arrays[1])).max(initial=0.0)


def norms_are_kept(f, case):
    """Rotation keeps the norm"""
    y = case.call(f)
    expected = np.broadcast_to(row_norms(case.arrays[0]), (*y.shape[:-1], 1))
    yield Claim(row_norms(y), expected, 4.0 * expected)


def only_distances_matter(f, case):
    """Products of rotated queries and keys do not change if an axis shifts for both"""
    x, positions = case.arrays
    keys = x[..., ::-1, :]
    count = positions.shape[-2]
    shift = like(np.arange(5, 5 + count)[:, None], positions)

    def products(moved):
        q = wide(case.with_arrays(x, moved).call(f))
        return (q * wide(case.with_arrays(keys, moved[..., ::-1]).call(f))).sum(axis=-1)

    size = (row_norms(x) * row_norms(keys))[..., 0] * (20.0 + _angle_size(case))
    yield Claim(products(positions + shift), products(positions), 4.0 * size)


def origin_is_the_identity(f, case):
    """A token at 0 on every axis stays as it is"""
    x, positions = case.arrays
    y = wide(case.with_arrays(x, 0 * positions).call(f))
    yield Claim(y, np.broadcast_to(wide(x), y.shape), row_norms(x))


for _of in (axial, multimodal):
    _of.law(norms_are_kept)
    _of.law(only_distances_matter)
    _of.law(origin_is_the_identity)


@axial.law
def every_share_is_rotated_for_itself(f, case):
    """With split "features", each run of features is rotated by its own coordinate"""
    x, positions = map(wide, case.arrays)
    options = case.options
    share = x.shape[-1] // positions.shape[-2]
    if options["split"] == "pairs" and options["pairing"] == "half":
        return
    parts = [
        rotary_embedding(
            x[..., k * share : (k + 1) * share],
            positions[..., k, :],
            pairing=options["pairing"],
            base=options.get("base", 10000.0),
        )
        for k in range(positions.shape[-2])
    ]
    yield Claim(case.call(f), np.concatenate(parts, axis=-1), row_norms(x) * _angle_size(case))


@axial.law
def pairs_of_the_head_are_turned_in_runs(f, case):
    """With half pairs of the head, pair p = k d/(2a) + i turns by m_k theta_i"""
    x, positions = map(wide, case.arrays)
    if case.options["split"] != "pairs" or case.options["pairing"] != "half":
        return
    a, d = positions.shape[-2], x.shape[-1]
    y = np.zeros(np.broadcast_shapes(x.shape, (*positions.shape[:-2], 1, 1)))
    for p in range(d // 2):
        k, i = divmod(p, d // (2 * a))
        angle = positions[..., k, :] * case.options.get("base", 10000.0) ** (-2 * i * a / d)
        first, second = x[..., p], x[..., p + d // 2]
        y[..., p] = first * np.cos(angle) - second * np.sin(angle)
        y[..., p + d // 2] = first * np.sin(angle) + second * np.cos(angle)
    yield Claim(case.call(f), y, row_norms(x) * _angle_size(case))


@multimodal.law
def text_is_rotated_on_one_axis(f, case):
    """Where time, height and width agree, it is rotary embedding"""
    x, positions = case.arrays
    text = positions[..., :1, :] + 0 * positions
    theta = case.options.get("frequencies")
    if theta is None:
        theta = rotary_frequencies(case.options.get("base", 10000.0), dim=x.shape[-1])
    one = rotary_embedding(
        wide(x),
        wide(positions[..., 0, :]),
        pairing=case.options["pairing"],
        frequencies=wide(theta),
    )
    yield Claim(case.with_arrays(x, text).call(f), one, row_norms(x) * _angle_size(case))


@multimodal.law
def every_pair_sees_its_own_axis(f, case):
    """Moving along one axis turns as many pairs as its section says, those of its places"""
    x, positions = case.arrays
    h = x.shape[-1] // 2
    sections, arrangement = case.options["sections"], case.options["arrangement"]
    before = wide(case.call(f))
    for axis in range(3):
        step = like((np.arange(3) == axis)[:, None] * 1, positions)
        moved = wide(case.with_arrays(x, positions + step).call(f))
        same = np.abs(moved - before) <= 1e-12 * row_norms(x)
        if case.options["pairing"] == "half":
            still = same[..., :h] & same[..., h:]
        else:
            still = same[..., ::2] & same[..., 1::2]
        others = np.array([k != axis for k in _places(sections, arrangement)])
        yield Claim(np.where(others, still, True), np.ones(still.shape), 0.0)


def _places(sections, arrangement):
    """The axis of each pair as the released code fills it: slices of the table of time."""
    time, height, width = sections
    if arrangement == "contiguous":
        return [0] * time + [1] * height + [2] * width
    places_ = np.zeros(sum(sections), int)
    places_[1 : 3 * height : 3] = 1
    places_[2 : 3 * width : 3] = 2
    return places_.tolist()


# -------------------------------------------------------------------------------- closed forms


@axial.closed_form
def one_pair_for_each_axis(rng, shape):
    """The pairs (1, 0) become cosine and sine of their coordinates"""
    at = np.arange(6.0).reshape(2, 3)
    x = np.broadcast_to([1.0, 0.0, 1.0, 0.0], (*shape.batch, 3, 4)).copy()
    answer = np.stack([np.cos(at[0]), np.sin(at[0]), np.cos(at[1]), np.sin(at[1])], axis=-1)
    options = {"pairing": "interleaved", "split": "pairs"}
    return Case((x, at), options), np.broadcast_to(answer, x.shape)


@axial.closed_form
def one_axis(rng, shape):
    """On one axis the known vector of rotary embedding"""
    answer = [[-1.27223251272018, -1.83886498514102, 2.87866810043698, 4.08818663560344]]
    options = {"pairing": "interleaved", "split": "features"}
    return Case((np.array([[1.0, 2.0, 3.0, 4.0]]), np.array([[3]])), options), np.array(answer)


@multimodal.closed_form
def quarter_turns(rng, shape):
    """Quarter turns of three pairs by three axes"""
    x = np.array([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])
    case = Case((x, np.array([[0], [1], [2]])), {"frequencies": np.full(3, np.pi / 2)})
    answer = np.array([[1.0, -5.0, -3.0, 4.0, 2.0, -6.0]])
    return case.with_options(sections=(1, 1, 1), pairing="half", arrangement="contiguous"), answer


@multimodal.closed_form
def quarter_turns_interleaved(rng, shape):
    """Four pairs with sections (2, 1, 1): time, height, width, time"""
    x = np.array([[1.0, 0.0] * 4])
    options = {"sections": (2, 1, 1), "pairing": "interleaved", "arrangement": "interleaved"}
    case = Case((x, np.array([[1], [2], [3]])), {"frequencies": np.full(4, np.pi / 2)})
    return case.with_options(**options), np.array([[0.0, 1.0, -1.0, 0.0, 0.0, -1.0, 0.0, 1.0]])
