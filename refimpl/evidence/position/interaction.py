"""Evidence for interactions of positions: inputs, laws and closed forms."""

from __future__ import annotations

import numpy as np

from refimpl.backend import astype, like, namespace, to_host
from refimpl.evidence import Case, Claim, Evidence, Sizes, wide
from refimpl.position.interaction import position_expansion, position_interaction

# d comes before h in the signature, and is twice as much: both are fixed.
interaction = Evidence(
    position_interaction,
    sizes={"n": Sizes(1, 1, 8), "m": Sizes(1, 1, 8), "d": Sizes(4, 1, 4), "h": Sizes(2, 1, 2)},
    empty=("n", "m"),
    fixed={"order": "cos_first"},
)


# ---------------------------------------------------------------------------------------- regimes


def _interacting(rng, shape, hessian):
    rows = rng.integers(0, 30, shape.rows)
    columns = rng.integers(0, 30, shape.columns)
    h = shape.axes["h"]
    theta = np.broadcast_to(100.0 ** (-np.arange(h) / h), shape.frequencies).copy()
    return Case((rows, columns, hessian, theta))


@interaction.regime
def any_hessian(rng, shape):
    """A Hessian of normal numbers"""
    return _interacting(rng, shape, rng.standard_normal(shape.hessian))


@interaction.regime(adversarial=True)
def dominant_diagonal(rng, shape):
    """A Hessian next to the identity, as the essay hopes for"""
    noise = 0.05 * rng.standard_normal(shape.hessian)
    return _interacting(rng, shape, np.eye(shape.axes["d"]) + noise)


@interaction.regime(adversarial=True)
def fractional_positions(rng, shape):
    """Positions between whole ones, on both sides of 0"""
    case = _interacting(rng, shape, rng.standard_normal(shape.hessian))
    _, _, hessian, theta = case.arrays
    rows, columns = (rng.uniform(-9.0, 9.0, s) for s in (shape.rows, shape.columns))
    return case.with_arrays(rows, columns, hessian, theta)


# ------------------------------------------------------------------------------------------- laws


def _interaction_size(case):
    rows, columns, hessian, theta = map(wide, case.arrays)
    farthest = 1.0 + max(np.abs(rows).max(initial=0.0), np.abs(columns).max(initial=0.0))
    return farthest * np.abs(hessian).sum(axis=(-2, -1))[..., None, None]


@interaction.law
def diagonal_hessians_have_two_terms(f, case):
    """Of the diagonal alone: half sums with the difference, half differences with the sum"""
    rows, columns, hessian, theta = map(wide, case.arrays)
    only = np.eye(hessian.shape[-1]) * hessian
    diagonal = case.with_arrays(*case.arrays[:2], like(only, case.arrays[2]), case.arrays[3])
    h0, h1 = (np.diagonal(only, axis1=-2, axis2=-1)[..., k::2][..., None, None, :] for k in (0, 1))
    x = rows[..., :, None, None] * theta[..., None, None, :]
    y = columns[..., None, :, None] * theta[..., None, None, :]
    sign = 1.0 if case.options["order"] == "cos_first" else -1.0
    expected = (h0 + h1) / 2 * np.cos(x - y) + sign * (h0 - h1) / 2 * np.cos(x + y)
    yield Claim(diagonal.call(f), expected.sum(axis=-1), _interaction_size(case))


@interaction.law
def commuting_hessians_see_differences_only(f, case):
    """blockdiag(a I + b J) commutes with rotations: moving all positions changes nothing"""
    rows, columns, hessian, theta = case.arrays
    size = hessian.shape[-1]
    blocks = np.zeros((size, size))
    for i in range(size // 2):
        pair = slice(2 * i, 2 * i + 2)
        blocks[pair, pair] = [[1.0 + i, 0.5 - i], [i - 0.5, 1.0 + i]]
    commuting = like(np.broadcast_to(blocks, hessian.shape).copy(), hessian)
    here = case.with_arrays(rows, columns, commuting, theta)
    there = case.with_arrays(rows + 11, columns + 11, commuting, theta)
    scale = 40.0 * (12.0 + _interaction_size(here))
    yield Claim(here.call(f), there.call(f), scale)


@interaction.law
def transposing_exchanges_the_positions(f, case):
    """p^T H q = q^T H^T p"""
    rows, columns, hessian, theta = case.arrays
    mirrored = case.with_arrays(columns, rows, hessian.swapaxes(-1, -2), theta)
    yield Claim(case.call(f), mirrored.call(f).swapaxes(-1, -2), _interaction_size(case))


@interaction.law
def orders_exchange_the_members_of_pairs(f, case):
    """With sines first, H has its rows and columns exchanged within every pair"""
    rows, columns, hessian, theta = case.arrays
    swap = np.arange(hessian.shape[-1]) ^ 1
    cos_first = case.with_options(order="cos_first").call(f)
    swapped = like(to_host(hessian)[..., swap, :][..., swap], hessian)
    sin_first = case.with_arrays(rows, columns, swapped, theta).with_options(order="sin_first")
    yield Claim(sin_first.call(f), cos_first, _interaction_size(case))


# ----------------------------------------------------------------------------------- closed forms


@interaction.closed_form
def identity_of_the_transformer(rng, shape):
    """H = I: sums of cosines of the difference"""
    rows, columns, theta = np.arange(4), np.array([0, 2]), 10000.0 ** (-np.arange(3) / 3)
    answer = np.cos((rows[:, None, None] - columns[None, :, None]) * theta).sum(axis=-1)
    return Case((rows, columns, np.eye(6), theta), {"order": "sin_first"}), answer


@interaction.closed_form
def one_pair_by_quarters(rng, shape):
    """One pair that turns by quarters reads the entries of H"""
    hessian = rng.standard_normal((2, 2))
    quarter = np.array([np.pi / 2])
    case = Case((np.arange(2), np.arange(2), hessian, quarter), {"order": "cos_first"})
    return case, hessian


# -------------------------------------------------------------------------------------- expansion


expansion = Evidence(
    position_expansion,
    sizes={"n": Sizes(1, 1, 6, 9), "d": Sizes(1, 1, 5, 17)},
    empty=("n",),
)


def _expanded(rng, shape, hessian, encodings):
    value, gradients = rng.standard_normal(shape.value), rng.standard_normal(shape.gradients)
    return Case((value, gradients, hessian, encodings))


def _flat(blocks):
    """Blocks (..., n, n, d, d) as a matrix (..., n d, n d)."""
    n, d = blocks.shape[-3], blocks.shape[-1]
    return blocks.swapaxes(-3, -2).reshape(*blocks.shape[:-4], n * d, n * d)


@expansion.regime
def any_function(rng, shape):
    """A symmetric Hessian of normal numbers"""
    blocks = rng.standard_normal(shape.hessian)
    mirrored = blocks.swapaxes(-4, -3).swapaxes(-2, -1)
    return _expanded(rng, shape, (blocks + mirrored) / 2, rng.standard_normal(shape.encodings))


@expansion.regime
def pairwise_products(rng, shape):
    """Tokens meet through a matrix W, and not themselves, as in attention logits"""
    *_, n, d = shape.encodings
    w = np.broadcast_to(rng.standard_normal((d, d)), shape.hessian)
    earlier = np.tri(n, k=-1)[..., None, None]
    hessian = w * earlier.swapaxes(0, 1) + w.swapaxes(-1, -2) * earlier
    return _expanded(rng, shape, hessian, rng.standard_normal(shape.encodings))


@expansion.regime(adversarial=True)
def unequal_encodings(rng, shape):
    """Encodings of very different size, and a Hessian that is not symmetric"""
    sizes = 2.0 ** rng.integers(-3, 4, (*shape.encodings[:-1], 1))
    encodings = sizes * rng.standard_normal(shape.encodings)
    return _expanded(rng, shape, rng.standard_normal(shape.hessian), encodings)


def _expansion_sizes(value, gradients, hessian, encodings):
    """Sizes of the terms of each output."""
    value, g, h, p = (np.abs(wide(x)) for x in (value, gradients, hessian, encodings))
    meetings = np.einsum("...md,...mnde,...ne->...mn", p, h, p)
    absolute = (g * p).sum(axis=-1) + np.diagonal(meetings, axis1=-2, axis2=-1)
    return value + absolute.sum(axis=-1) + meetings.sum(axis=(-2, -1)), absolute, meetings


@expansion.output_terms
def _terms_of_the_expansion(*arrays):
    return tuple(float(size.max(initial=0.0)) for size in _expansion_sizes(*arrays))


@expansion.law
def quadratic_functions_are_exact(f, case):
    """x^T H x/2 moved by p is its expansion: no third order is left"""
    value, gradients, hessian, encodings = map(wide, case.arrays)
    flat = _flat(hessian)
    both = flat + flat.swapaxes(-1, -2)
    # Any point does: the gradients serve as one.
    x, p = (a.reshape(*a.shape[:-2], flat.shape[-1]) for a in (gradients, encodings))
    slope = (both @ x[..., None])[..., 0] / 2
    here, there = (np.einsum("...i,...ij,...j->...", y, flat, y) / 2 for y in (x, x + p))
    slopes = slope.reshape(*slope.shape[:-1], *gradients.shape[-2:])
    arrays = (like(a, case.arrays[0]) for a in (here, slopes, hessian, encodings))
    moved = case.with_arrays(*(astype(a, case.arrays[0].dtype) for a in arrays))
    size = np.einsum("...i,...ij,...j->...", abs(x) + abs(p), abs(flat), abs(x) + abs(p))
    yield Claim(moved.call(f)[0], there, 16.0 * (1.0 + size))


@expansion.law
def tokens_in_any_order(f, case):
    """Tokens reversed, with all that belongs to them, give the same value and reversed terms"""
    value, gradients, hessian, encodings = case.arrays
    turned = case.with_arrays(
        value, gradients[..., ::-1, :], hessian[..., ::-1, ::-1, :, :], encodings[..., ::-1, :]
    )
    sizes = _expansion_sizes(*case.arrays)
    expanded, absolute, interactions = turned.call(f)
    straight = (expanded, absolute[..., ::-1], interactions[..., ::-1, ::-1])
    for a, b, size in zip(straight, case.call(f), sizes, strict=True):
        yield Claim(a, b, 1.0 + size)


@expansion.law
def absolute_terms_see_one_position(f, case):
    """Where all but the first encoding are zeros, its absolute term stays and no two meet"""
    value, gradients, hessian, encodings = case.arrays
    first = namespace(encodings).arange(encodings.shape[-2])[:, None] == 0
    expanded, absolute, interactions = case.with_arrays(
        value, gradients, hessian, encodings * first
    ).call(f)
    size = _expansion_sizes(*case.arrays)
    yield Claim(absolute, case.call(f)[1] * first[:, 0], 1.0 + size[1])
    yield Claim(interactions, 0 * wide(interactions), 0.0)
    yield Claim(expanded, wide(value) + wide(absolute).sum(axis=-1), 1.0 + size[0])


@expansion.law
def first_and_second_order(f, case):
    """Encodings of opposite sign: absolute terms differ by twice the slope, interactions do not"""
    value, gradients, hessian, encodings = case.arrays
    _, absolute, interactions = case.call(f)
    _, other, same = case.with_arrays(value, gradients, hessian, -encodings).call(f)
    size = _expansion_sizes(*case.arrays)
    slope = (wide(gradients) * wide(encodings)).sum(axis=-1)
    yield Claim((absolute - other) / 2, slope + 0 * wide(absolute), 1.0 + size[1])
    yield Claim(interactions, same, 0.0)
    own = np.einsum("...md,...mmde,...me->...m", *map(wide, (encodings, hessian, encodings)))
    yield Claim(absolute + other, own + 0 * wide(absolute), 1.0 + size[1])


@expansion.law
def a_block_written_out(f, case):
    """The first token meets the last through their own block, the first on its left"""
    _, _, hessian, encodings = map(wide, case.arrays)
    if hessian.shape[-3] > 1:
        block, p, q = hessian[..., 0, -1, :, :], encodings[..., 0, :], encodings[..., -1, :]
        expected = (p * (block @ q[..., None])[..., 0]).sum(axis=-1)
        found = case.call(f)[2][..., 0, -1]
        size = _expansion_sizes(*case.arrays)[2][..., 0, -1]
        yield Claim(found, expected + 0 * wide(found), 1.0 + size)


@expansion.closed_form
def product_of_numbers(rng, shape):
    """f = x y at (2, 3), moved by (1, 2), is 15 = 6 + 3 + 4 + 2"""
    hessian = np.array([[0.0, 1.0], [1.0, 0.0]])[..., None, None]
    case = Case((np.array(6.0), np.array([[3.0], [2.0]]), hessian, np.array([[1.0], [2.0]])))
    return case, (15.0, [3.0, 4.0], [[0.0, 2.0], [2.0, 0.0]])


@expansion.closed_form
def square_of_a_sum(rng, shape):
    """f = (x + y + z)^2 at 1, 1, 1 moved by (1, 2, -3): 9 again"""
    case = Case((np.array(9.0), np.full((3, 1), 6.0), np.full((3, 3, 1, 1), 2.0)))
    case = case.with_arrays(*case.arrays, np.array([[1.0], [2.0], [-3.0]]))
    return case, (9.0, [7.0, 16.0, -9.0], [[0.0, 4.0, -6.0], [4.0, 0.0, -12.0], [-6.0, -12.0, 0.0]])


@expansion.closed_form
def bilinear_logits(rng, shape):
    """x_0 W x_1 of two planar tokens, W a quarter turn: the order of the two is seen"""
    w = np.array([[0.0, -1.0], [1.0, 0.0]])
    zeros = np.zeros((2, 2))
    hessian = np.array([[zeros, w], [w.T, zeros]])
    case = Case((np.array(0.0), zeros, hessian, np.array([[1.0, 0.0], [2.0, 3.0]])))
    return case, (-3.0, [0.0, 0.0], [[0.0, -3.0], [-3.0, 0.0]])
