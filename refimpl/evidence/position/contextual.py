"""Evidence for the contextual bias of CoPE."""

from __future__ import annotations

import numpy as np

from refimpl.backend import namespace, to_host
from refimpl.evidence import Case, Claim, Evidence, Sizes, wide
from refimpl.position.contextual import contextual_bias
from refimpl.position.relative import picked

bias = Evidence(
    contextual_bias,
    sizes={"d": Sizes(1, 1, 8), "p": Sizes(1, 1, 8)},
    empty=("n", "m"),
)


# ------------------------------------------------------------------------------------- regimes


def _arrays(rng, shape, size=1.0):
    logits = size * rng.standard_normal(shape.gate_logits)
    return rng.standard_normal(shape.q), logits, rng.standard_normal(shape.table)


def _causal(shape):
    """The last queries of the keys."""
    n, m = shape.axes["n"], shape.axes["m"]
    return np.tri(n, m, m - n, dtype=bool)


@bias.regime
def causal(rng, shape):
    """Queries at the end of the keys, causal"""
    return Case(_arrays(rng, shape), {"mask": _causal(shape)})


@bias.regime
def all_seen(rng, shape):
    """Every key is seen"""
    return Case(_arrays(rng, shape))


@bias.regime(adversarial=True)
def almost_closed(rng, shape):
    """Gates of a few hundredths, so that positions hardly leave 0"""
    q, logits, table = _arrays(rng, shape)
    return Case((q, logits - 3.5, table), {"mask": _causal(shape)})


@bias.regime(adversarial=True)
def masked_in_patches(rng, shape):
    """A random mask, with gates from closed to open"""
    return Case(_arrays(rng, shape, 2.0), {"mask": rng.random(shape.gate_logits) < 0.6})


# ---------------------------------------------------------------------------------------- laws


def _size(case):
    q, logits, table = (np.abs(wide(x)).max(initial=1.0) for x in case.arrays)
    q_array, s_array, _ = case.arrays
    return 8.0 * float(q * table) * q_array.shape[-1] * (4.0 + s_array.shape[-1])


def _positions(case):
    """Sums of gates from each key on, on the host."""
    logits = wide(case.arrays[1])
    gates = 1.0 / (1.0 + np.exp(-logits))
    mask = case.options.get("mask")
    if mask is not None:
        gates = np.where(to_host(mask), gates, 0.0)
    return np.cumsum(gates[..., ::-1], axis=-1)[..., ::-1]


@bias.law
def a_ramp_shows_the_positions(f, case):
    """Rows 0, v, 2v, ... give the position times q.v"""
    q, logits, table = case.arrays
    xp = namespace(table)
    count = xp.arange(table.shape[-2], dtype=table.dtype)[:, None]
    ramp = count + 0 * table
    found = case.with_arrays(q, logits, ramp).call(f)
    positions = np.minimum(_positions(case), table.shape[-2] - 1)
    expected = wide(q).sum(axis=-1)[..., None] * positions
    yield Claim(found, expected + 0 * wide(found), _size(case) * table.shape[-2])


@bias.law
def open_gates_count_tokens(f, case):
    """With open gates the position is the number of tokens seen from the key on"""
    q, logits, table = case.arrays
    found = case.with_arrays(q, 0 * logits + 60, table).call(f)
    counted = case.with_arrays(q, 0 * logits + 60, table)
    places = np.rint(np.minimum(_positions(counted), table.shape[-2] - 1)).astype(int)
    products = wide(q) @ np.swapaxes(wide(table), -1, -2)
    yield Claim(found, picked(products, places) + 0 * wide(found), _size(case))


@bias.law
def closed_gates_see_the_first_row(f, case):
    """With closed gates all positions are 0"""
    q, logits, table = case.arrays
    xp = namespace(logits)
    found = case.with_arrays(q, xp.full_like(logits, -xp.inf), table).call(f)
    first = (wide(q) * wide(table)[..., :1, :]).sum(axis=-1)[..., None]
    yield Claim(found, np.broadcast_to(first, found.shape), _size(case))


@bias.law
def linear_in_the_table(f, case):
    """The sum of two tables gives the sum of two biases"""
    q, logits, table = case.arrays
    other = table[..., ::-1, :]
    apart = case.call(f) + case.with_arrays(q, logits, other).call(f)
    yield Claim(case.with_arrays(q, logits, table + other).call(f), apart, 2.0 * _size(case))


@bias.law
def hidden_gates_do_not_count(f, case):
    """What is hidden may be anything, NaN included"""
    mask = case.options.get("mask")
    if mask is None:
        return
    q, logits, table = case.arrays
    other = namespace(logits).where(mask, logits, np.nan).astype(logits.dtype)
    yield Claim(case.with_arrays(q, other, table).call(f), case.call(f), 0.0)


# -------------------------------------------------------------------------------- closed forms


@bias.closed_form
def halves(rng, shape):
    """Gates of a half and rows 0, 1, 2, 3 for q = 10: 15, 10, 5"""
    case = Case((np.array([[10.0]]), np.zeros((1, 3)), np.arange(4.0)[:, None]))
    return case, np.array([[15.0, 10.0, 5.0]])


@bias.closed_form
def clipped(rng, shape):
    """Three rows: positions beyond 2 are 2, and between rows it is straight"""
    case = Case((np.ones((1, 1)), np.zeros((1, 7)), np.array([[0.0], [4.0], [1.0]])))
    return case, np.array([[1.0, 1.0, 1.0, 1.0, 2.5, 4.0, 2.0]])


@bias.closed_form
def causal_and_open(rng, shape):
    """Open gates and a causal mask: i - j + 1, and 0 for later keys"""
    arrays = np.ones((3, 1)), np.full((3, 3), np.inf), np.arange(5.0)[:, None]
    case = Case(arrays, {"mask": np.tri(3, dtype=bool)})
    return case, np.array([[1.0, 0.0, 0.0], [2.0, 1.0, 0.0], [3.0, 2.0, 1.0]])


# ------------------------------------------------------------------------------------- mutants


def _with_gates(q, gates, table):
    """The formula with any gates in (0, 1)."""
    xp = namespace(gates)
    logits = xp.log(gates) - xp.log1p(-gates)
    return contextual_bias(q, logits, table)


def _gates(logits, mask):
    xp = namespace(logits)
    gates = xp.exp(-xp.logaddexp(xp.zeros_like(logits), -logits))
    return gates if mask is None else xp.where(mask, gates, 0.0)


@bias.mutant
def counted_from_the_start(q, logits, table, *, mask=None):
    """Gates are summed from the first key to this one, not from this one on"""
    gates = _gates(logits, mask)
    return _with_gates(q, gates[..., ::-1], table)[..., ::-1]


@bias.mutant
def own_gate_not_counted(q, logits, table, *, mask=None):
    """The gate of the key itself is not counted"""
    gates = _gates(logits, mask)
    xp = namespace(q)
    later = xp.concatenate([gates[..., 1:], 0 * gates[..., :1]], axis=-1)
    return _with_gates(q, later, table)


@bias.mutant
def whole_positions(q, logits, table, *, mask=None):
    """Positions are rounded down: nothing is interpolated"""
    gates = _gates(logits, mask)
    xp = namespace(q)
    p = xp.cumsum(gates[..., ::-1], axis=-1)[..., ::-1]
    low = xp.floor(xp.minimum(p, table.shape[-2] - 1)).astype("int64")
    return picked(q @ table.swapaxes(-1, -2), low)


@bias.mutant
def weights_exchanged(q, logits, table, *, mask=None):
    """The weights of the two rows are exchanged"""
    gates = _gates(logits, mask)
    xp = namespace(q)
    p = xp.minimum(xp.cumsum(gates[..., ::-1], axis=-1)[..., ::-1], table.shape[-2] - 1)
    low = xp.floor(p).astype("int64")
    high = xp.minimum(low + 1, table.shape[-2] - 1)
    products = q @ table.swapaxes(-1, -2)
    return (p - low) * picked(products, low) + (1 - p + low) * picked(products, high)


@bias.mutant
def exponential_gates(q, logits, table, *, mask=None):
    """Gates are weights of a softmax, which add up to 1"""
    xp = namespace(q)
    keep = mask if mask is not None else logits == logits
    weights = xp.where(keep, xp.exp(logits), 0.0)
    total = weights.sum(axis=-1, keepdims=True)
    return _with_gates(q, weights / xp.where(total > 0, total, 1.0) * (1 - 1e-12), table)


@bias.mutant
def table_from_one(q, logits, table, *, mask=None):
    """The first row stands for position 1"""
    xp = namespace(q)
    moved = xp.concatenate([table[..., 1:, :], table[..., -1:, :]], axis=-2)
    return contextual_bias(q, logits, moved, mask=mask)


@bias.mutant(gradient=True)
def gates_without_slope(g, q, logits, table, *, mask=None):
    """The gradient of the logits lacks the slope of the gate"""
    found = contextual_bias.vjp(g, q, logits, table, mask=mask)
    gates = _gates(logits, mask)
    return (found[0], found[1] / namespace(q).where(gates > 0, 1 - gates, 1.0), found[2])


@bias.mutant(gradient=True)
def table_gradient_of_the_lower_row(g, q, logits, table, *, mask=None):
    """The table's gradient goes to the row below only"""
    found = contextual_bias.vjp(g, q, logits, table, mask=mask)
    xp = namespace(q)
    shifted = xp.concatenate([found[2][..., 1:, :], found[2][..., :1, :]], axis=-2)
    return (*found[:2], shifted)


@bias.mutant(gradient=True)
def nothing_at_whole_positions(g, q, logits, table, *, mask=None):
    """No gradient passes to the gates where a position is a whole number, its own floor and ceil"""
    found = contextual_bias.vjp(g, q, logits, table, mask=mask)
    xp = namespace(q)
    gates = _gates(logits, mask)
    places = xp.cumsum(gates[..., ::-1], axis=-1)[..., ::-1]
    between = xp.where(places == xp.floor(places), 0.0, g)
    return found[0], contextual_bias.vjp(between, q, logits, table, mask=mask)[1], found[2]
