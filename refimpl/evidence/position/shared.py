"""What evidence for several position formulas is made of: samplers, sizes of errors, laws."""

from __future__ import annotations

import numpy as np

from refimpl.backend import like, namespace, to_host
from refimpl.evidence import Claim, wide
from refimpl.numerics import round_to

_OPPOSITE = (
    ("half", "interleaved"),
    ("features", "pairs"),
    ("sin_first", "cos_first"),
    ("k_minus_q", "q_minus_k"),
    ("paper", "code"),
    ("query", "key"),
    ("split", "geometric"),
    ("classical", "three_eighths"),
)
OTHER = dict(_OPPOSITE) | {b: a for a, b in _OPPOSITE}
"""The other one of two conventions."""


def by_place(positions):
    """0, 1, 2, ... in place of positions, which forgets a cache and padding."""
    return 0 * positions + namespace(positions).arange(positions.shape[-1])


def in_bfloat16(x):
    return like(round_to(to_host(x).astype(np.float64), "bfloat16"), x)


# --------------------------------------------------------------- positions of queries and keys


def in_order(shape):
    return np.arange(shape.axes["n"]), np.arange(shape.axes["m"])


def after_a_cache(shape):
    """Queries at the end of the keys."""
    n, m = shape.axes["n"], shape.axes["m"]
    return np.arange(n) + max(m - n, 0), np.arange(m)


def padded(rng, shape):
    """Positions that differ along the batch, as after left padding."""
    padding = rng.integers(0, shape.axes["m"] + 1, (*shape.batch, 1))
    return tuple(np.maximum(x - padding, 0) for x in after_a_cache(shape))


def far(rng, shape):
    """Positions of some thousands in any order."""
    return tuple(rng.integers(0, 8192, shape.axes[axis]) for axis in "nm")


def fractional(rng, shape):
    return tuple(rng.uniform(0.0, 40.0, shape.axes[axis]) for axis in "nm")


# -------------------------------------------------------------------------- laws of all biases


def moved(case, shift):
    *weights, queries, keys = case.arrays
    return case.with_arrays(*weights, queries + shift, keys + shift)


def size_of(case, f):
    value = np.abs(wide(case.call(f)))
    return 1.0 + np.where(np.isfinite(value), value, 0.0)


def distance_alone_matters(f, case):
    """Moving all positions changes nothing"""
    if case.options.get("sides") == "key_index":
        return
    later = moved(case, 131072).call(f)
    # A fraction next to 2^17 is rounded; whole numbers are not.
    is_whole = all(x.dtype.kind in "iu" for x in case.arrays[-2:])
    yield Claim(later, case.call(f), size_of(case, f) * (1.0 if is_whole else 2.0**20))


def the_last_query_alone(f, case):
    """A decoding step, one query after a cache, gives the last row of all queries at once"""
    *weights, queries, keys = case.arrays
    if queries.shape[-1] == 0:
        return
    step = case.with_arrays(*weights, queries[..., -1:], keys).call(f)
    yield Claim(step, case.call(f)[..., -1:, :], size_of(case, f)[..., -1:, :])


def keys_in_any_order(f, case):
    """Keys in reverse order have their columns in reverse order"""
    *weights, queries, keys = case.arrays
    turned = case.with_arrays(*weights, queries, keys[..., ::-1]).call(f)
    yield Claim(turned[..., ::-1], case.call(f), size_of(case, f))


def symmetric_in_distance(f, case):
    """With queries and keys exchanged the matrix is transposed"""
    *weights, queries, keys = case.arrays
    if case.options.get("sides", "symmetric") == "symmetric":
        turned = case.with_arrays(*weights, keys, queries).call(f)
        yield Claim(turned.swapaxes(-1, -2), case.call(f), 0.0)


# ----------------------------------------------------------------------------- sizes of errors


def farthest(positions):
    """1 and the largest distance from 0: rounding a frequency, at most 1, moves angles by that."""
    return 1.0 + float(np.abs(wide(positions)).max(initial=0.0))


def largest_row(x):
    return float(np.sqrt(np.square(x).sum(axis=-1)).max(initial=0.0))


def row_norms(x):
    return np.sqrt(np.square(wide(x)).sum(axis=-1, keepdims=True))


# --------------------------------------------------------------------------------- frequencies


def geometric(rng, shape):
    """b^(-i/h) of a base from 1000 to 10^7 for each batch entry."""
    base = 10.0 ** rng.uniform(3.0, 7.0, (*shape.batch, 1))
    h = shape.axes["h"]
    return base ** (-np.arange(h) / h)


def decreasing(rng, shape):
    """Frequencies of no base: sorted, from 1 down to a ten-thousandth."""
    return np.sort(10.0 ** rng.uniform(-4.0, 0.0, shape.frequencies), axis=-1)[..., ::-1].copy()


def factors_of_a_batch(rng, shape):
    return rng.uniform(1.5, 40.0, shape.batch)


def full(shape, values):
    return np.broadcast_to(np.asarray(values, float), (*shape.batch, len(values))).copy()


# ------------------------------------------------------------------------------------ segments


def runs(case):
    """Segment by segment: its extents, and where its tokens begin and end."""
    at = 0
    for segment in case.options["segments"]:
        count = segment if isinstance(segment, int) else int(np.prod(segment))
        yield segment, at, at + count
        at += count


def starts_shift_everything(f, case):
    """A later start moves all numbers by as much"""
    (start,) = case.arrays
    later = case.with_arrays(start + 3.0).call(f)
    yield Claim(later, case.call(f) + 3.0, 100.0 + np.abs(wide(start)).max())
