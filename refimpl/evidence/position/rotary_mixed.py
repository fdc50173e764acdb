"""Evidence for rotary embedding with mixed frequencies."""

from __future__ import annotations

import numpy as np

from refimpl.backend import like, namespace
from refimpl.evidence import Case, Claim, Evidence, Sizes, wide
from refimpl.evidence.position.shared import OTHER, row_norms
from refimpl.position.axial import axial_rotary_embedding
from refimpl.position.rotary import rotary_embedding, rotary_frequencies
from refimpl.position.rotary_mixed import mixed_rotary_embedding

mixed = Evidence(
    mixed_rotary_embedding,
    sizes={"n": Sizes(1, 1, 16), "d": Sizes(8, 1, 16), "a": Sizes(1, 1, 3, 3), "h": Sizes(1, 1, 4)},
    empty=("n",),
    combinations=({"pairing": "half", "inverse": True},),
    fixed={"pairing": "interleaved"},
)


# ------------------------------------------------------------------------------------- regimes


def _directions(rng, shape):
    """Frequencies in directions of their own, shorter from pair to pair, as rope-vit begins."""
    lengths = 10.0 ** -np.linspace(0.0, 1.0, shape.axes["h"])
    vectors = rng.standard_normal(shape.frequencies)
    return lengths * vectors / np.sqrt(np.square(vectors).sum(axis=-2, keepdims=True))


def _cells(shape, *, start=0):
    """Cells of a grid four wide, the last axis fastest."""
    count, n = shape.axes["a"], np.arange(shape.axes["n"])
    return start + np.stack([n // 4 ** (count - 1 - k) % 4 for k in range(count)])


@mixed.regime
def cells_of_a_grid(rng, shape):
    """Cells of a grid, four wide, in order"""
    return Case((rng.standard_normal(shape.x), _cells(shape), _directions(rng, shape)))


@mixed.regime
def half_pairs(rng, shape):
    """A grid that starts far from 0, half pairs"""
    at = _cells(shape, start=100)
    return Case((rng.standard_normal(shape.x), at, _directions(rng, shape)), {"pairing": "half"})


@mixed.regime(adversarial=True)
def anywhere_backwards(rng, shape):
    """Coordinates that differ along the batch, of either sign; rotated back"""
    at = rng.integers(-60, 60, shape.positions)
    arrays = rng.standard_normal(shape.x), at, _directions(rng, shape)
    return Case(arrays, {"pairing": "half", "inverse": True})


@mixed.regime(adversarial=True)
def between_the_pixels(rng, shape):
    """Coordinates between -1 and 1, large frequencies of either sign"""
    at = rng.uniform(-1.0, 1.0, shape.positions)
    theta = np.pi * rng.uniform(-5.0, 5.0, shape.frequencies)
    return Case((rng.standard_normal(shape.x), at, theta))


@mixed.output_terms
def _angles(x, positions, frequencies, **options):
    """A phase is a sum over axes, whose rounding turns the pair."""
    return [float(row_norms(x).max(initial=0.0)) * _largest_phase(positions, frequencies)]


@mixed.gradient_terms
def _angles_and_torques(g, x, positions, frequencies, **options):
    """A torque is a product of rows, which axes multiply and tokens or pairs add up."""
    length, phase = float(row_norms(g).max(initial=0.0)), _largest_phase(positions, frequencies)
    torque = length * float(row_norms(x).max(initial=0.0)) * phase
    m, theta = (1.0 + float(np.abs(wide(y)).max(initial=0.0)) for y in (positions, frequencies))
    return {
        "x": length * phase,
        "positions": torque * theta,
        "frequencies": torque * m * positions.shape[-1],
    }


def _largest_phase(positions, frequencies):
    m, theta = np.abs(wide(positions)), np.abs(wide(frequencies))
    return 1.0 + float((m.swapaxes(-1, -2) @ theta).max(initial=0.0))


# ---------------------------------------------------------------------------------------- laws


def _angle_size(case):
    """How large the terms of a phase may be."""
    _, positions, theta = map(wide, case.arrays)
    return 1.0 + np.abs(positions).max(initial=0.0) * np.abs(theta).sum(axis=-2).max(initial=0.0)


@mixed.law
def norms_are_kept(f, case):
    """Rotation keeps the norm"""
    y = case.call(f)
    expected = np.broadcast_to(row_norms(case.arrays[0]), (*y.shape[:-1], 1))
    yield Claim(row_norms(y), expected, 4.0 * expected)


@mixed.law
def only_differences_matter(f, case):
    """Products of queries and keys do not change where a vector is added to all positions"""
    x, positions, theta = case.arrays
    keys = x[..., ::-1, :]
    shift = like(np.arange(5, 5 + positions.shape[-2])[:, None], positions)

    def products(moved):
        q = wide(case.with_arrays(x, moved, theta).call(f))
        return (q * wide(case.with_arrays(keys, moved[..., ::-1], theta).call(f))).sum(axis=-1)

    size = (row_norms(x) * row_norms(keys))[..., 0] * (8.0 * _angle_size(case))
    yield Claim(products(positions + shift), products(positions), size)


@mixed.law
def origin_is_the_identity(f, case):
    """A token at 0 on every axis stays as it is"""
    x, positions, theta = case.arrays
    y = wide(case.with_arrays(x, 0 * positions, theta).call(f))
    yield Claim(y, np.broadcast_to(wide(x), y.shape), row_norms(x))


@mixed.law
def two_rotations_are_one(f, case):
    """Rotation by m and then by n is rotation by m + n"""
    x, positions, theta = case.arrays
    turned = positions[..., ::-1]
    once = case.with_arrays(x, positions + turned, theta).call(f)
    twice = case.with_arrays(case.call(f), turned, theta).call(f)
    yield Claim(twice, once, row_norms(x) * (4.0 * _angle_size(case)))


@mixed.law
def inverse_undoes_it(f, case):
    """The inverse rotation brings x back"""
    x, *rest = case.arrays
    other = case.with_options(inverse=not case.options.get("inverse", False))
    y = case.call(f)
    yield Claim(
        other.with_arrays(y, *rest).call(f), np.broadcast_to(wide(x), y.shape), row_norms(x) * 4.0
    )


@mixed.law
def rest_is_kept(f, case):
    """Features without a pair stay as they are"""
    x, _, theta = case.arrays
    y = case.call(f)
    tail = x[..., 2 * theta.shape[-1] :]
    yield Claim(
        y[..., 2 * theta.shape[-1] :],
        namespace(x).broadcast_to(tail, (*y.shape[:-1], tail.shape[-1])),
        0.0,
    )


@mixed.law
def every_pair_written_out(f, case):
    """Pair by pair and axis by axis, as products of complex numbers"""
    x, positions, theta = map(wide, case.arrays)
    h = theta.shape[-1]
    is_half = case.options["pairing"] == "half"
    sign = -1.0 if case.options.get("inverse") else 1.0
    y = wide(case.call(f))
    for i in range(h):
        a, b = (i, i + h) if is_half else (2 * i, 2 * i + 1)
        z = x[..., a] + 1j * x[..., b]
        for k in range(theta.shape[-2]):
            z = z * np.exp(1j * sign * positions[..., k, :] * theta[..., k, i, None])
        found = np.stack([y[..., a], y[..., b]])
        yield Claim(found, np.stack([z.real, z.imag]), row_norms(x)[..., 0] * _angle_size(case))


@mixed.law
def frequencies_of_one_axis_each(f, case):
    """Frequencies with zeros outside of the share of an axis give axial rotation"""
    x, positions, theta = case.arrays
    a = theta.shape[-2]
    share = x.shape[-1] // (2 * a)
    if case.options.get("inverse") or share == 0:
        return
    x = x[..., : 2 * a * share]
    one = wide(rotary_frequencies(10000.0, dim=2 * share))
    blocks = like(np.kron(np.eye(a), one), theta)
    axial = axial_rotary_embedding(
        wide(x), wide(positions), pairing=case.options["pairing"], split="pairs"
    )
    size = row_norms(x) * (1.0 + np.abs(wide(positions)).max(initial=0.0))
    yield Claim(case.with_arrays(x, positions, blocks).call(f), axial, size)


@mixed.law
def one_axis_alone(f, case):
    """Where all other coordinates are 0 it is rotary embedding on the first axis"""
    x, positions, theta = case.arrays
    first = namespace(x).arange(positions.shape[-2])[:, None] == 0
    found = case.with_arrays(x, positions * first, theta).call(f)
    one = rotary_embedding(
        wide(x), wide(positions)[..., 0, :], frequencies=wide(theta)[..., 0, :], **case.options
    )
    expected = np.broadcast_to(one, found.shape)
    yield Claim(found, expected, row_norms(x) * _angle_size(case))


# -------------------------------------------------------------------------------- closed forms


@mixed.closed_form
def angles_add_up(rng, shape):
    """Turns of a sixth on one axis and a twelfth on the other make a quarter"""
    case = Case(
        (np.array([[1.0, 2.0, 7.0]]), np.array([[1], [1]]), np.array([[np.pi / 3], [np.pi / 6]])),
        {"pairing": "half"},
    )
    return case, np.array([[-2.0, 1.0, 7.0]])


@mixed.closed_form
def opposite_axes_cancel(rng, shape):
    """Opposite frequencies see the difference of the coordinates: (2, 3) is one step back"""
    theta = np.array([[np.pi / 2, 0.0], [-np.pi / 2, np.pi]])
    x = np.array([[1.0, 2.0, 3.0, 4.0]])
    options = {"pairing": "interleaved"}
    answer = np.array([[2.0, -1.0, -3.0, -4.0]])
    return Case((x, np.array([[2], [3]]), theta), options), answer


# ------------------------------------------------------------------------------------- mutants


@mixed.mutant
def turned_the_other_way(x, positions, frequencies, *, pairing, inverse=False):
    """The sine has the wrong sign: rotation the other way"""
    return mixed_rotary_embedding(x, positions, frequencies, pairing=pairing, inverse=not inverse)


@mixed.mutant(source="https://github.com/huggingface/transformers/issues/25199")
def other_pairing(x, positions, frequencies, *, pairing, inverse=False):
    """It pairs features in the other way: half for interleaved, or interleaved for half"""
    pairing = OTHER[pairing]
    return mixed_rotary_embedding(x, positions, frequencies, pairing=pairing, inverse=inverse)


@mixed.mutant(source="https://github.com/Meituan-AutoML/VisionLLaMA/issues/4")
def axes_swapped(x, positions, frequencies, **options):
    """The axes are swapped: columns before rows"""
    return mixed_rotary_embedding(x, positions[..., ::-1, :], frequencies, **options)


@mixed.mutant
def first_axis_only(x, positions, frequencies, **options):
    """Only the first axis turns anything"""
    positions, frequencies = positions[..., :1, :], frequencies[..., :1, :]
    return mixed_rotary_embedding(x, positions, frequencies, **options)


@mixed.mutant
def shares_of_the_pairs(x, positions, frequencies, **options):
    """Pairs are shared out among the axes, as in axial rotation, instead of seeing all"""
    a, h = frequencies.shape[-2:]
    owner = namespace(x).arange(h) * a // h
    mine = owner == namespace(x).arange(a)[:, None]
    return mixed_rotary_embedding(x, positions, frequencies * mine, **options)


@mixed.mutant(source="https://github.com/osaurus-ai/vmlx-swift/pull/225")
def coordinates_from_one(x, positions, frequencies, **options):
    """Coordinates are one too large: they count from 1"""
    return mixed_rotary_embedding(x, positions + 1, frequencies, **options)


@mixed.mutant
def axes_multiplied(x, positions, frequencies, *, pairing, inverse=False):
    """Cosines of the axes are multiplied, and sines too, instead of adding up the phases"""
    sign = -1.0 if inverse else 1.0
    phases = positions.swapaxes(-1, -2)[..., None] * frequencies[..., None, :, :]
    xp = namespace(x)
    cos, sin = xp.cos(phases).prod(axis=-2), sign * xp.sin(phases).prod(axis=-2)
    h = frequencies.shape[-1]
    half = pairing == "half"
    first = x[..., :h] if half else x[..., : 2 * h : 2]
    second = x[..., h : 2 * h] if half else x[..., 1 : 2 * h : 2]
    y = first * cos - second * sin, first * sin + second * cos
    pairs = xp.concatenate(y, axis=-1) if half else xp.stack(y, axis=-1)
    pairs = pairs.reshape(*y[0].shape[:-1], 2 * h)
    rest = xp.broadcast_to(x[..., 2 * h :], (*pairs.shape[:-1], x.shape[-1] - 2 * h))
    return xp.concatenate([pairs, rest], axis=-1).astype(x.dtype)


@mixed.mutant(gradient=True)
def gradient_rotated_forward(g, x, positions, frequencies, **options):
    """The gradient is rotated forward, like x, instead of back"""
    rest = mixed_rotary_embedding.vjp(g, x, positions, frequencies, **options)[1:]
    return mixed_rotary_embedding.vjp(g, x, -positions, frequencies, **options)[0], *rest


@mixed.mutant(gradient=True)
def frequencies_see_one_position(g, x, positions, frequencies, **options):
    """The gradient of the frequencies has the first coordinate for all axes"""
    found = mixed_rotary_embedding.vjp(g, x, positions, frequencies, **options)
    return (*found[:2], found[2][..., :1, :] + 0 * found[2])


@mixed.mutant(gradient=True)
def inverse_forgotten_in_the_gradient(g, x, positions, frequencies, *, pairing, inverse=False):
    """The gradients of positions and frequencies forget the sign of the inverse"""
    found = mixed_rotary_embedding.vjp(
        g, x, positions, frequencies, pairing=pairing, inverse=inverse
    )
    sign = -1.0 if inverse else 1.0
    return found[0], sign * found[1], sign * found[2]
