"""Evidence for interactions of two positions: inputs, laws and closed forms."""

from __future__ import annotations

import numpy as np

from refimpl.backend import like, to_host
from refimpl.evidence import Case, Claim, Evidence, Sizes
from refimpl.evidence.position.decay import wide
from refimpl.position.interaction import position_interaction

# d comes before h in the signature, and is twice as much: both are fixed.
interaction = Evidence(
    position_interaction,
    sizes={"n": Sizes(1, 1, 8), "m": Sizes(1, 1, 8), "d": Sizes(4, 1, 4), "h": Sizes(2, 1, 2)},
    empty=("n", "m"),
    options={"order": ("sin_first",)},
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
