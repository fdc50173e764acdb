"""Evidence for sinusoids of positions in a grid."""

from __future__ import annotations

import numpy as np

from refimpl.backend import like, namespace
from refimpl.evidence import Case, Claim, Evidence, wide
from refimpl.evidence.mistakes import wrong
from refimpl.evidence.position.shared import OTHER, farthest, in_bfloat16, largest_row
from refimpl.position.absolute import sinusoidal_encoding
from refimpl.position.grid import grid_sinusoidal_encoding

MAE = {"first": "columns", "order": "sin_first", "layout": "half", "frequencies": "paper"}

grid = Evidence(
    grid_sinusoidal_encoding,
    empty=("n",),
    fixed={"dim": 16} | MAE,
    options={
        "base": (1000.0,),
        "dim": (4, 14, 64),
    },
    combinations=(
        {"first": "rows", "layout": "interleaved", "dim": 8},
        {"frequencies": "t2t", "dim": 8},
        {"frequencies": "t2t", "first": "rows", "dim": 18, "order": "cos_first"},
    ),
)


# ------------------------------------------------------------------------------------- regimes


@grid.regime
def row_by_row(rng, shape):
    """A grid four patches wide, row by row, as floats, which have a gradient"""
    k = np.arange(shape.axes["n"])
    return Case(((k // 4).astype(float), (k % 4).astype(float)))


@grid.regime
def patches_of_a_batch(rng, shape):
    """Patches in any order, which differ along the batch, rows first and interleaved"""
    rows, columns = (rng.integers(0, 24, s) for s in (shape.rows, shape.columns))
    return Case((rows, columns), {"first": "rows", "layout": "interleaved"})


@grid.regime(adversarial=True)
def a_long_scroll(rng, shape):
    """Rows from 1000 to 8191, columns to 15, with the frequencies of t2t"""
    n = shape.axes["n"]
    case = rng.integers(1000, 8192, n), rng.integers(0, 16, n)
    return Case(case, {"frequencies": "t2t"})


@grid.regime(adversarial=True)
def normalised(rng, shape):
    """Fractions and negative positions, halves of odd width"""
    rows = rng.uniform(-6.3, 6.3, shape.rows)
    columns = rng.uniform(0.0, 50.0, shape.axes["n"])
    return Case((rows, columns), {"dim": 14, "first": "rows", "order": "cos_first"})


@grid.output_terms
def _angles_from_rounded_frequencies(rows, columns, **options):
    return [farthest(rows) + farthest(columns)]


@grid.gradient_terms
def _slopes_at_these_angles(g, rows, columns, **options):
    size = largest_row(g)
    return {"rows": farthest(rows) * size, "columns": farthest(columns) * size}


# ---------------------------------------------------------------------------------------- laws


def _frequencies(case):
    """Of the first and second waves of one half, by the definition."""
    width, base = case.options["dim"] // 2, case.options.get("base", 10000.0)
    pairs = width // 2
    if case.options["frequencies"] == "t2t":
        return np.array([base ** (-i / (pairs - 1)) for i in range(pairs)]), pairs
    return np.array([base ** (-2 * i / width) for i in range(width - pairs)]), pairs


def _size(case):
    return 2.0 + max(float(np.abs(wide(x)).max(initial=0.0)) for x in case.arrays)


def _halves(value, case):
    """What belongs to rows, and to columns."""
    width = case.options["dim"] // 2
    left, right = value[..., :width], value[..., width:]
    return (left, right) if case.options["first"] == "rows" else (right, left)


@grid.law
def every_wave_written_out(f, case):
    """Sines and cosines of each axis, in the columns that order and layout say"""
    theta, pairs = _frequencies(case)
    width = case.options["dim"] // 2
    axes = [wide(x) for x in case.arrays]
    axes = axes if case.options["first"] == "rows" else axes[::-1]
    batch = np.broadcast_shapes(*(x.shape for x in axes))
    expected = np.zeros((*batch, 2 * width))
    for start, x in zip((0, width), axes, strict=True):
        waves = np.sin(x[..., None] * theta), np.cos(x[..., None] * theta)
        if case.options["order"] == "cos_first":
            waves = waves[::-1]
        for i in range(len(theta)):
            at = start + (i if case.options["layout"] == "half" else 2 * i)
            expected[..., at] = waves[0][..., i]
        for i in range(pairs):
            at = start + (len(theta) + i if case.options["layout"] == "half" else 2 * i + 1)
            expected[..., at] = waves[1][..., i]
    yield Claim(case.call(f), expected, _size(case))


@grid.law
def along_a_row_half_is_constant(f, case):
    """With one row for all patches, what is of rows is constant; and so for columns"""
    rows, columns = case.arrays
    for which, changed in enumerate(((0 * rows + 3, columns), (rows, 0 * columns + 3))):
        half = _halves(wide(case.with_arrays(*changed).call(f)), case)[which]
        yield Claim(half, np.broadcast_to(half[..., :1, :], half.shape), 0.0)


@grid.law
def products_see_both_differences(f, case):
    """The product of two patches is a sum of cosines of both differences, axis by axis"""
    theta, pairs = _frequencies(case)
    # The last wave of an odd width has no partner.
    if case.options["dim"] // 2 % 2 and case.options["frequencies"] == "paper":
        return
    rows, columns = map(wide, case.arrays)
    batch = np.broadcast_shapes(rows.shape, columns.shape)
    expected = np.zeros((*batch, batch[-1]))
    for x in (rows, columns):
        distance = x[..., :, None] - x[..., None, :]
        expected = expected + np.cos(distance[..., None] * theta[:pairs]).sum(axis=-1)
    value = wide(case.call(f))
    yield Claim(
        value @ np.swapaxes(value, -1, -2), expected, 4.0 * case.options["dim"] * _size(case)
    )


@grid.law
def transposed_grids(f, case):
    """Rows and columns exchanged, with the other of them first, are the same encoding"""
    rows, columns = case.arrays
    other = "rows" if case.options["first"] == "columns" else "columns"
    yield Claim(
        case.with_arrays(columns, rows).with_options(first=other).call(f), case.call(f), 0.0
    )


@grid.law
def axes_do_not_mix(f, case):
    """What is of rows does not change with the columns, and the reverse"""
    rows, columns = case.arrays
    here = _halves(wide(case.call(f)), case)
    moved = _halves(wide(case.with_arrays(rows, columns + 5).call(f)), case)
    yield Claim(moved[0], here[0], 0.0)
    moved = _halves(wide(case.with_arrays(rows + 5, columns).call(f)), case)
    yield Claim(moved[1], here[1], 0.0)


# -------------------------------------------------------------------------------- closed forms


@grid.closed_form
def patches_of_a_square(rng, shape):
    """Width 4 and a square of four patches: sine and cosine of 0 and 1"""
    s, c = np.sin(1.0), np.cos(1.0)
    first = str(rng.choice(["rows", "columns"]))
    by_columns = np.array([[0, 1, 0, 1], [s, c, 0, 1], [0, 1, s, c], [s, c, s, c]])
    answer = by_columns if first == "columns" else by_columns[[0, 2, 1, 3]]
    case = Case((np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])), MAE | {"dim": 4, "first": first})
    return case, answer


@grid.closed_form
def frequencies_of_the_half_width(rng, shape):
    """Width 8 and base 100: frequencies 1 and 1/10 on both axes, by mpmath at row 3, column 5"""
    options = MAE | {"dim": 8, "base": 100.0, "first": "rows", "layout": "interleaved"}
    answer = [0.141120008059867, -0.989992496600445, 0.295520206661340, 0.955336489125606]
    answer += [-0.958924274663138, 0.283662185463226, 0.479425538604203, 0.877582561890373]
    return Case((np.array([3]), np.array([5])), options), [answer]


# ------------------------------------------------------------------------------------- mutants


@grid.mutant(source="https://github.com/facebookresearch/mae/issues/18")
def the_other_axis_first(rows, columns, **options):
    """Rows are taken for columns: the names of the axes are exchanged"""
    return grid_sinusoidal_encoding(columns, rows, **options)


@grid.mutant(source="https://github.com/huggingface/transformers/issues/41380")
def grid_in_the_other_direction(rows, columns, **options):
    """Patches are counted column by column where they lie row by row"""
    n = rows.shape[-1]
    width = int(columns.max(initial=0)) + 1 if n else 1
    height = -(-n // width)
    order = np.arange(height * width).reshape(height, width).T.ravel()
    order = like(order[order < n].copy(), rows)
    value = grid_sinusoidal_encoding(rows, columns, **options)
    return value[..., order, :]


@grid.mutant
def frequencies_of_the_whole_width(rows, columns, *, dim, first, frequencies, **options):
    """Frequencies are those of the whole width: their last half is missing"""
    if dim < 8 or dim % 4 or frequencies == "t2t" and dim < 16:
        return grid_sinusoidal_encoding(
            rows, columns, dim=dim, first=first, frequencies=frequencies, **options
        )
    xp, layout = namespace(rows), options.pop("layout")
    halves = []
    for x in (rows, columns) if first == "rows" else (columns, rows):
        whole = sinusoidal_encoding(
            x + 0 * rows + 0 * columns,
            dim=dim,
            layout="interleaved",
            frequencies=frequencies,
            **options,
        )[..., : dim // 2]
        parts = [whole[..., ::2], whole[..., 1::2]]
        halves.append(whole if layout == "interleaved" else xp.concatenate(parts, axis=-1))
    return xp.concatenate(halves, axis=-1)


@grid.mutant
def the_other_frequencies(rows, columns, *, dim, frequencies, **options):
    """Frequencies of tensor2tensor for those of the paper, or the reverse"""
    other = "paper" if frequencies == "t2t" or dim < 8 else "t2t"
    return grid_sinusoidal_encoding(rows, columns, dim=dim, frequencies=other, **options)


wrong(
    grid,
    "Halves of sines and cosines for interleaved ones, or the reverse",
    options={"layout": OTHER.get},
    source="https://github.com/facebookresearch/mae/issues/63",
)
wrong(grid, "Cosine first for sine first, or the reverse", options={"order": OTHER.get})


@grid.mutant
def axes_interleaved(rows, columns, *, dim, **options):
    """Features of rows and columns alternate"""
    value = grid_sinusoidal_encoding(rows, columns, dim=dim, **options)
    halves = [value[..., : dim // 2], value[..., dim // 2 :]]
    return namespace(value).stack(halves, axis=-1).reshape(value.shape)


@grid.mutant
def sines_of_both_axes_first(rows, columns, *, dim, **options):
    """Sines of both axes come before cosines of both"""
    value = grid_sinusoidal_encoding(rows, columns, dim=dim, **options)
    quarter = dim // 4
    parts = [value[..., i * quarter : (i + 1) * quarter] for i in (0, 2, 1)]
    return namespace(value).concatenate([*parts, value[..., 3 * quarter :]], axis=-1)


@grid.mutant
def axes_added(rows, columns, *, dim, **options):
    """The encodings of both axes, in both halves, are added"""
    value = grid_sinusoidal_encoding(rows, columns, dim=dim, **options)
    total = value[..., : dim // 2] + value[..., dim // 2 :]
    return namespace(value).concatenate([total, total], axis=-1)


wrong(
    grid,
    "Rows and columns count from 1, as in DETR",
    arrays={"rows": lambda x: x + 1, "columns": lambda x: x + 1},
)
wrong(
    grid, "Positions are rounded to bfloat16", arrays={"rows": in_bfloat16, "columns": in_bfloat16}
)


@grid.mutant(gradient=True)
def gradients_exchanged(g, rows, columns, **options):
    """Rows get the gradient of columns, and the reverse"""
    for_rows, for_columns = grid_sinusoidal_encoding.vjp(g, rows, columns, **options)
    return for_columns + 0 * for_rows, for_rows + 0 * for_columns


wrong(grid, "Gradients have the wrong sign", gradient=lambda found, *_: [-x for x in found])
