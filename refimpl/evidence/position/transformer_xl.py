"""Evidence for the logits of Transformer-XL, and for the shift of public code."""

from __future__ import annotations

import numpy as np

from refimpl.backend import namespace, to_host
from refimpl.evidence import Case, Claim, Evidence, Sizes, wide
from refimpl.evidence.laws import distance_alone_matters
from refimpl.evidence.position.shared import after_a_cache, in_order, padded
from refimpl.position.transformer_xl import relative_shift, transformer_xl_logits

logits = Evidence(
    transformer_xl_logits,
    sizes={"d": Sizes(1, 1, 8), "r": Sizes(1, 1, 12)},
    empty=("n", "m"),
    fixed={"clip": True},
    options={"lowest": (-2, 1), "scale": (0.3,)},
    unchanged={
        "clip is True, whatever is asked for": "without it, distances beyond the table are refused"
    },
)
shift = Evidence(
    relative_shift,
    sizes={"l": Sizes(1, 1, 16), "k": Sizes(1, 1, 33)},
    fixed={"variant": "transformer_xl"},
)


# ------------------------------------------------------------------------------------- regimes


def _arrays(rng, shape):
    names = ("q", "k", "content_bias", "position_bias", "distance_keys")
    return tuple(rng.standard_normal(getattr(shape, name)) for name in names)


@logits.regime
def consecutive(rng, shape):
    """Queries and keys from position 0 on"""
    return Case((*_arrays(rng, shape), *in_order(shape)))


@logits.regime
def with_a_memory(rng, shape):
    """Queries after a memory, later keys seen"""
    return Case((*_arrays(rng, shape), *after_a_cache(shape)), {"lowest": -3})


@logits.regime(adversarial=True)
def every_distance_has_a_row(rng, shape):
    """Positions so near that no distance is clipped, and scales that differ along the batch"""
    reach = (shape.axes["r"] - 1) // 2
    positions = tuple(rng.integers(0, reach + 1, shape.axes[axis]) for axis in "nm")
    options = {"lowest": -reach, "clip": False, "scale": rng.uniform(0.2, 1.5, shape.scale)}
    return Case((*_arrays(rng, shape), *positions), options)


@logits.regime(adversarial=True)
def left_padding(rng, shape):
    """Positions that differ along the batch, as after left padding"""
    return Case((*_arrays(rng, shape), *padded(rng, shape)), {"lowest": -1})


@shift.regime
def normal(rng, shape):
    """Standard normal entries"""
    return Case((rng.standard_normal(shape.x),))


@shift.regime
def of_xlnet(rng, shape):
    """Standard normal entries, XLNet"""
    return Case((rng.standard_normal(shape.x),), {"variant": "xlnet"})


@shift.regime(adversarial=True)
def counted(rng, shape):
    """Every entry is its own column, from 1 on, in both signs"""
    columns = 1.0 + np.arange(shape.axes["k"])
    return Case((columns * rng.choice([-1.0, 1.0], shape.x),))


# ------------------------------------------------------------------------------- laws: logits


def _size(case, f):
    real = [np.abs(wide(x)).max(initial=1.0) for x in case.arrays[:-2]]
    return (
        8.0
        * case.arrays[0].shape[-1]
        * float(sum(real[i] for i in (0, 2, 3)))
        * float(real[1] + real[4])
    )


def _scale_of(case):
    scale = case.options.get("scale")
    width = case.arrays[0].shape[-1]
    return width**-0.5 if scale is None else wide(np.asarray(to_host(scale)))[..., None, None]


logits.law(distance_alone_matters(2**31))


@logits.law
def one_query_at_a_time(f, case):
    """The last query alone, as in decoding, has the last row"""
    q, *rest, queries, keys = case.arrays
    if queries.shape[-1]:
        step = case.with_arrays(q[..., -1:, :], *rest, queries[..., -1:], keys).call(f)
        yield Claim(step, case.call(f)[..., -1:, :], _size(case, f))


@logits.law
def four_terms_for_each_pair(f, case):
    """q.k + q.R + u.k + v.R, written out with the vector of each pair's distance"""
    q, k, u, v, table = map(wide, case.arrays[:5])
    queries, keys = (to_host(x).astype(int) for x in case.arrays[5:])
    lowest, rows = case.options.get("lowest", 0), table.shape[-2]
    index = np.clip(queries[..., :, None] - keys[..., None, :] - lowest, 0, rows - 1)
    batch = np.broadcast_shapes(table.shape[:-2], index.shape[:-2])
    index = np.broadcast_to(index, (*batch, *index.shape[-2:]))
    table = np.broadcast_to(table, (*batch, *table.shape[-2:]))
    vectors = np.take_along_axis(table, index.reshape(*batch, -1, 1), axis=-2)
    vectors = vectors.reshape(*index.shape, table.shape[-1])
    q, k = q[..., :, None, :], k[..., None, :, :]
    u, v = u[..., None, None, :], v[..., None, None, :]
    sums = (q * k + q * vectors + u * k + v * vectors).sum(axis=-1)
    yield Claim(case.call(f), _scale_of(case) * sums, _size(case, f))


@logits.law
def without_positions_it_is_plain(f, case):
    """Rows of zeros and no biases leave the products of queries and keys"""
    q, k, u, v, table, *positions = case.arrays
    found = case.with_arrays(q, k, 0 * u, 0 * v, 0 * table, *positions).call(f)
    plain = _scale_of(case) * (wide(q) @ np.swapaxes(wide(k), -1, -2))
    yield Claim(found, np.broadcast_to(plain, found.shape), _size(case, f))


@logits.law
def queries_of_zero_see_the_biases(f, case):
    """Biases are queries of their own: moving both biases and queries apart changes nothing"""
    q, k, u, v, *rest = case.arrays
    shifted = case.with_arrays(q - 0.5, k, u + 0.5, v + 0.5, *rest)
    yield Claim(shifted.call(f), case.call(f), 2.0 * _size(case, f))


@logits.law
def the_shift_of_the_code_gives_it(f, case):
    """Rows from distance m - 1 to 0 and the shift of the code give the lower triangle"""
    q, k, u, v, table, *_ = case.arrays
    n, m = q.shape[-2], k.shape[-2]
    if n == 0 or n > m:
        return
    xp = namespace(q)
    keys, rows = xp.arange(m), table.shape[-2]
    queries = keys[m - n :]
    here = case.with_arrays(q, k, u, v, table, queries, keys).with_options(lowest=0, clip=True)
    by_place = xp.clip(m - 1 - keys, 0, rows - 1)
    descending = table[..., by_place, :]
    by_distance = (q + v[..., None, :]) @ descending.swapaxes(-1, -2)
    turned = wide(relative_shift(by_distance, variant="transformer_xl"))
    content = wide((q + u[..., None, :]) @ k.swapaxes(-1, -2))
    seen = to_host(keys)[None, :] <= to_host(queries)[:, None]
    expected = _scale_of(case) * (content + turned)
    found = wide(here.call(f))
    yield Claim(np.where(seen, found, 0.0), np.where(seen, expected, 0.0), _size(case, f))


# -------------------------------------------------------------------------------- laws: shift


@shift.law
def linear(f, case):
    """Twice the input gives twice the output"""
    (x,) = case.arrays
    yield Claim(case.with_arrays(2 * x).call(f), 2 * case.call(f), 0.0)


@shift.law
def entries_of_the_row_itself(f, case):
    """Up to the diagonal an entry is column l - 1 - i + j of its own row, or l - i + j in XLNet"""
    (x,) = map(wide, case.arrays)
    n, k = x.shape[-2:]
    xlnet = case.options["variant"] == "xlnet"
    y = wide(case.call(f))
    for i in range(n):
        width = max(k - n, 0) if xlnet else max(min(k - n + i + 1, k), 0)
        first = n - i if xlnet else n - 1 - i
        start = min(first, k)
        yield Claim(y[..., i, :width], x[..., i, start : start + width], 0.0)


@shift.law
def last_row_stays(f, case):
    """The last row of Transformer-XL, whose distances are in order, stays where it is"""
    (x,) = case.arrays
    if case.options["variant"] == "transformer_xl":
        yield Claim(case.call(f)[..., -1, :], x[..., -1, :], 0.0)


@shift.law
def beyond_the_diagonal_comes_the_next_row(f, case):
    """Right of the diagonal come a zero and the start of the next row"""
    (x,) = map(wide, case.arrays)
    n, k = x.shape[-2:]
    if case.options["variant"] == "xlnet" or n > k:
        return
    y = wide(case.call(f))
    for i in range(n - 1):
        end = k - n + i + 1
        garbage = np.concatenate([0 * x[..., i, :1], x[..., i + 1, :]], axis=-1)
        yield Claim(y[..., i, end:], garbage[..., : k - end], 0.0)


# -------------------------------------------------------------------------------- closed forms


@logits.closed_form
def rows_by_distance(rng, shape):
    """Queries of one and no content: the rows 1, 10, 100 of the distances 0, 1, 2"""
    zero, rows = np.zeros(1), np.array([[1.0], [10.0], [100.0]])
    arrays = np.ones((3, 1)), np.zeros((3, 1)), zero, zero, rows, np.arange(3), np.arange(3)
    answer = [[1.0, 1.0, 1.0], [10.0, 1.0, 1.0], [100.0, 10.0, 1.0]]
    return Case(arrays, {"lowest": 0, "clip": True}), np.array(answer)


@logits.closed_form
def biases_alone(rng, shape):
    """Queries of zero: u.k + v.R for the distance"""
    arrays = np.zeros((2, 1)), np.array([[1.0], [2.0]]), np.array([10.0]), np.array([0.5])
    rows = np.array([[2.0], [4.0], [8.0]])
    case = Case((*arrays, rows, np.arange(2), np.arange(2)), {"lowest": -1, "clip": False})
    return case, np.array([[12.0, 21.0], [14.0, 22.0]])


@shift.closed_form
def square(rng, shape):
    """Three by three, of Transformer-XL"""
    x = np.arange(1.0, 10.0).reshape(3, 3)
    answer = np.array([[3.0, 0.0, 4.0], [5.0, 6.0, 0.0], [7.0, 8.0, 9.0]])
    return Case((x,), {"variant": "transformer_xl"}), answer


@shift.closed_form
def both_sides(rng, shape):
    """Two queries, five distances, of XLNet: three keys"""
    x = np.arange(10.0).reshape(2, 5)
    return Case((x,), {"variant": "xlnet"}), np.array([[2.0, 3.0, 4.0], [6.0, 7.0, 8.0]])
