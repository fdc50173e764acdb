"""Evidence for encodings from tables."""

from __future__ import annotations

import numpy as np

from refimpl.backend import namespace, to_host
from refimpl.evidence import Case, Claim, Evidence, Sizes, wide
from refimpl.evidence.position.shared import largest_row
from refimpl.position.tables import (
    hierarchical_encoding,
    interpolated_encoding,
    learned_encoding,
)

learned = Evidence(
    learned_encoding,
    sizes={"r": Sizes(3, 1, 16), "d": Sizes(1, 1, 16)},
    empty=("n",),
    options={"offset": (1, 2)},
)
hierarchy = Evidence(
    hierarchical_encoding,
    sizes={"r": Sizes(2, 1, 8), "d": Sizes(1, 1, 16)},
    empty=("n",),
    options={"alpha": (0.25, 0.75)},
)
interpolated = Evidence(
    interpolated_encoding,
    sizes={"r": Sizes(1, 1, 12), "d": Sizes(1, 1, 16)},
    fixed={"length": 7, "align_corners": False},
    options={
        "length": (1, 3, 12),
    },
    combinations=(
        {"kernel": "cubic", "cubic": -0.5},
        {"kernel": "cubic", "align_corners": True, "length": 10},
    ),
)


# ------------------------------------------------------------------------------------- regimes


def _table(rng, shape):
    return rng.standard_normal(shape.table)


@learned.regime
def from_the_start(rng, shape):
    """Positions from 0 on, as often as the table lasts"""
    return Case((_table(rng, shape), np.arange(shape.axes["n"]) % (shape.axes["r"] - 2)))


@learned.regime(adversarial=True)
def with_an_offset(rng, shape):
    """Rows two further, positions in any order, many of them twice"""
    positions = rng.integers(0, shape.axes["r"] - 2, shape.positions)
    return Case((_table(rng, shape), positions), {"offset": 2})


@hierarchy.gradient_terms
def _tokens_of_all_rows(g, table, positions, *, alpha=0.4):
    """All tokens add up, and the first row takes from each what it has in the others."""
    per_row = float(np.abs(g).sum(axis=-2).max(initial=0.0)) * np.sqrt(g.shape[-1])
    return {"table": per_row / float(np.min(1 - np.asarray(alpha)))}


@hierarchy.regime
def all_positions(rng, shape):
    """Positions up to r^2 - 1 in any order"""
    return Case((_table(rng, shape), rng.integers(0, shape.axes["r"] ** 2, shape.positions)))


@hierarchy.regime
def trained_ones(rng, shape):
    """Positions that the table has, with another alpha"""
    positions = np.arange(shape.axes["n"]) % shape.axes["r"]
    return Case((_table(rng, shape), positions), {"alpha": np.array(0.25)})


@hierarchy.regime(adversarial=True)
def mixtures_of_a_batch(rng, shape):
    """An alpha of each batch, also above a half"""
    alpha = rng.choice([0.125, 0.3, 0.75], shape.alpha)
    positions = rng.integers(0, shape.axes["r"] ** 2, shape.axes["n"])
    return Case((_table(rng, shape), positions), {"alpha": alpha})


@interpolated.regime
def stretched(rng, shape):
    """Normal rows, cells aligned"""
    return Case((_table(rng, shape),))


@interpolated.regime
def corners(rng, shape):
    """Normal rows, corners aligned"""
    return Case((_table(rng, shape),), {"align_corners": True})


@interpolated.regime(adversarial=True)
def cubic(rng, shape):
    """Rows of very different size, by a cubic"""
    sizes = 10.0 ** rng.uniform(-2.0, 2.0, (*shape.table[:-1], 1))
    return Case((_table(rng, shape) * sizes,), {"kernel": "cubic", "length": 9})


@interpolated.output_terms
def _rows_nearby(table, **options):
    """Places have errors of a few roundings of the last one, for which large rows are to be paid:
    also where their weight is 0, or they cancel."""
    return [(4 + table.shape[-2]) * largest_row(table)]


@interpolated.gradient_terms
def _tokens_nearby(g, table, **options):
    return {"table": (4 + table.shape[-2]) * largest_row(g)}


# ---------------------------------------------------------------------------------------- laws


@learned.law
def rows_are_copied(f, case):
    """Every row is that of the table"""
    table, positions = map(to_host, case.arrays)
    rows = positions.astype(int) + case.options.get("offset", 0)
    batch = np.broadcast_shapes(table.shape[:-2], rows.shape[:-1])
    found = case.call(f)
    for index in np.ndindex(batch):
        one = np.broadcast_to(table, (*batch, *table.shape[-2:]))[index]
        picks = np.broadcast_to(rows, (*batch, rows.shape[-1]))[index]
        yield Claim(found[index], one[picks], 0.0)


@learned.law
def an_offset_skips_rows(f, case):
    """Rows put before the table, and an offset as much larger, change nothing"""
    table, positions = case.arrays
    xp = namespace(table)
    longer = xp.concatenate([table[..., :1, :] + 3, table], axis=-2)
    moved = case.with_arrays(longer, positions)
    moved = moved.with_options(offset=case.options.get("offset", 0) + 1)
    yield Claim(moved.call(f), case.call(f), 0.0)


def _alpha_size(case):
    """How much a rounding of the table grows in u."""
    a = wide(np.asarray(to_host(case.options.get("alpha", 0.4))))
    table = np.abs(wide(case.arrays[0])).max(initial=1.0)
    return 16.0 * float(table) / float((1.0 - a).min()) ** 2


@hierarchy.law
def trained_positions_stay(f, case):
    """The first r positions are those of the table"""
    table, _ = case.arrays
    rows = namespace(table).arange(table.shape[-2])
    found = case.with_arrays(table, rows).call(f)
    yield Claim(found, namespace(table).broadcast_to(table, found.shape), _alpha_size(case))


@hierarchy.law
def on_the_diagonal_it_is_u(f, case):
    """At (r + 1) k the encoding is (p_k - alpha p_0)/(1 - alpha), written out"""
    table, _ = case.arrays
    r = table.shape[-2]
    found = case.with_arrays(table, namespace(table).arange(r) * (r + 1)).call(f)
    p = wide(table)
    a = wide(np.asarray(to_host(case.options.get("alpha", 0.4))))[..., None, None]
    yield Claim(found, (p - a * p[..., :1, :]) / (1 - a) + 0 * wide(found), _alpha_size(case))


@hierarchy.law
def quotient_and_remainder_add(f, case):
    """q at (i, j) is q at (i, 0) plus q at (0, j) less q at (0, 0)"""
    table, positions = case.arrays
    r = table.shape[-2]
    at = [case.with_arrays(table, x).call(f) for x in (positions - positions % r, positions % r)]
    origin = case.with_arrays(table, 0 * positions).call(f)
    yield Claim(case.call(f), at[0] + at[1] - origin, _alpha_size(case))


@hierarchy.law
def exchanged_digits_add(f, case):
    """q at (i, j) plus q at (j, i) is the sum of q at (i, i) and (j, j)"""
    table, positions = case.arrays
    r = table.shape[-2]
    i, j = positions // r, positions % r
    one, two, three = (
        case.with_arrays(table, x).call(f) for x in (j * r + i, i * (r + 1), j * (r + 1))
    )
    yield Claim(case.call(f) + one, two + three, _alpha_size(case))


def _row_size(case):
    return 8.0 * float(np.abs(wide(case.arrays[0])).max(initial=1.0))


@interpolated.law
def constants_stay(f, case):
    """A table of equal rows gives equal rows: weights add up to 1"""
    (table,) = case.arrays
    found = case.with_arrays(0 * table + table[..., :1, :]).call(f)
    expected = np.broadcast_to(wide(table)[..., :1, :], found.shape)
    yield Claim(found, expected, _row_size(case))


@interpolated.law
def the_same_length_is_the_table(f, case):
    """As many positions as rows give the rows themselves"""
    (table,) = case.arrays
    yield Claim(case.with_options(length=table.shape[-2]).call(f), table, _row_size(case))


@interpolated.law
def reversed_tables(f, case):
    """A table upside down gives the encoding upside down"""
    (table,) = case.arrays
    # One position of many is the first by convention.
    if case.options["length"] > 1 or not case.options["align_corners"]:
        turned = case.with_arrays(table[..., ::-1, :]).call(f)
        yield Claim(turned[..., ::-1, :], case.call(f), _row_size(case))


@interpolated.law
def lines_stay_lines(f, case):
    """Away from the ends a line is interpolated by itself: x_k, written out"""
    (table,) = case.arrays
    r, n = table.shape[-2], case.options["length"]
    xp = namespace(table)
    line = xp.arange(r, dtype=table.dtype)[:, None] + 0 * table
    k = np.arange(n)
    if case.options["align_corners"]:
        x = k * (r - 1) / max(n - 1, 1)
    else:
        x = (k + 0.5) * r / n - 0.5
    cubic = case.options.get("kernel", "linear") == "cubic"
    # Keys' cubic keeps lines for a = -1/2 only.
    if cubic and case.options.get("cubic", -0.75) != -0.5:
        return
    inside = (x >= (1 if cubic else 0)) & (x <= (r - 2 if cubic else r - 1))
    found = wide(case.with_arrays(line).call(f))[..., inside, :]
    yield Claim(found, np.broadcast_to(x[inside][:, None], found.shape), 8.0 * r)


# -------------------------------------------------------------------------------- closed forms


@learned.closed_form
def counted_rows(rng, shape):
    """A table that counts its rows, with an offset of 2"""
    case = Case((np.arange(6.0)[:, None], np.array([0, 3, 3])), {"offset": 2})
    return case, np.array([[2.0], [5.0], [5.0]])


@hierarchy.closed_form
def three_to_nine(rng, shape):
    """1, 2, 4 with alpha 0.4: 1, 2, 4, 5/3, 8/3, 14/3, 3, 4, 6"""
    case = Case((np.array([[1.0], [2.0], [4.0]]), np.arange(9)))
    return case, np.array([[1, 2, 4, 5 / 3, 8 / 3, 14 / 3, 3, 4, 6]]).T


@interpolated.closed_form
def two_to_four(rng, shape):
    """0 and 4 to four positions, cells aligned: 0, 1, 3, 4"""
    case = Case((np.array([[0.0], [4.0]]),), {"length": 4, "align_corners": False})
    return case, np.array([[0.0], [1.0], [3.0], [4.0]])


@interpolated.closed_form
def two_to_five(rng, shape):
    """0 and 4 to five positions, corners aligned: 0, 1, 2, 3, 4"""
    case = Case((np.array([[0.0], [4.0]]),), {"length": 5, "align_corners": True})
    return case, np.arange(5.0)[:, None]


@interpolated.closed_form
def cubic_of_one_row(rng, shape):
    """A single 1 among zeros, halved cells, a = -3/4: weights at 3/4, 1/4, ... by hand"""
    table = np.zeros((7, 1))
    table[3] = 1.0
    case = Case((table,), {"length": 14, "align_corners": False, "kernel": "cubic"})
    near, far = ([_keys(t) for t in (0.25, 0.75)], [_keys(t) for t in (1.25, 1.75)])
    middle = [far[1], far[0], near[1], near[0], near[0], near[1], far[0], far[1]]
    return case, np.array([[0.0] * 3 + middle + [0.0] * 3]).T


def _keys(t, a=-0.75):
    """Keys' cubic as printed."""
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a
