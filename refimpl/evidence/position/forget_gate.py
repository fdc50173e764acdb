"""Evidence for the forget gate as a bias."""

from __future__ import annotations

import numpy as np

from refimpl.backend import namespace
from refimpl.core import log_sigmoid
from refimpl.evidence import Case, Claim, Evidence, wide
from refimpl.evidence.mistakes import Textbook, wrong
from refimpl.position.bias import alibi_bias
from refimpl.position.forget_gate import forget_gate_bias

forget = Evidence(forget_gate_bias, empty=("n",))


def _lower(value):
    """The entries on and below the diagonal, 0 above it."""
    return np.where(np.tri(value.shape[-1], dtype=bool), value, 0.0)


# ------------------------------------------------------------------------------------- regimes


@forget.regime
def half_open(rng, shape):
    """Gates about half open"""
    return Case((rng.standard_normal(shape.gate_logits),))


@forget.regime
def almost_open(rng, shape):
    """Gates of trained models that forget little: logits of 4 to 9"""
    return Case((rng.uniform(4.0, 9.0, shape.gate_logits),))


@forget.regime(adversarial=True)
def closed_in_places(rng, shape):
    """Gates that are open, and some whose logarithm is -200 where the gate itself underflows"""
    is_closed = rng.random(shape.gate_logits) < 0.3
    return Case((np.where(is_closed, -200.0, rng.uniform(2.0, 6.0, shape.gate_logits)),))


@forget.regime(adversarial=True)
def a_wall_before_open_gates(rng, shape):
    """Closed gates at first, then open ones: differences of sums would lose what is open"""
    first = np.arange(shape.axes["n"]) < (shape.axes["n"] + 1) // 2
    open_ = rng.uniform(6.0, 9.0, shape.gate_logits)
    return Case((np.where(first, -150.0, open_),))


@forget.gradient_terms
def _sizes_of_terms(g, x):
    """By way of F a gradient is a sum of all cotangents from its row on, some of which cancel."""
    return {"gate_logits": float(np.sqrt(np.square(_lower(wide(g))).sum(axis=(-2, -1)).max()))}


# ---------------------------------------------------------------------------------------- laws


@forget.law
def own_key_is_free_and_later_ones_are_not_seen(f, case):
    """The diagonal is 0, what is above it minus infinity, what is below at most 0"""
    value = wide(case.call(f))
    n = value.shape[-1]
    expected = np.where(np.tri(n, k=-1, dtype=bool), np.minimum(value, 0.0), -np.inf)
    expected = np.where(np.eye(n, dtype=bool), 0.0, expected)
    yield Claim(value, np.broadcast_to(expected, value.shape), 0.0)


@forget.law
def the_key_before_sees_one_gate(f, case):
    """Next to the diagonal is log sigma of the query's own logit"""
    x = wide(case.arrays[0])
    value = wide(case.call(f))
    own = np.diagonal(value, -1, -2, -1)
    expected = -np.log1p(np.exp(-np.abs(x))) + np.minimum(x, 0.0)
    yield Claim(own, np.broadcast_to(expected[..., 1:], own.shape), np.abs(expected[..., 1:]))


@forget.law
def forgetting_adds_up(f, case):
    """From j to k and from k to i makes from j to i, for every one in between"""
    value = wide(case.call(f))
    n = value.shape[-1]
    for k in range(min(n, 6)):
        parts = value[..., k:, k, None] + value[..., None, k, : k + 1]
        whole = value[..., k:, : k + 1]
        yield Claim(parts, whole, 4.0 * np.abs(whole))


@forget.law
def weights_are_products_of_gates(f, case):
    """exp b is the product of the gates after the key up to the query, as in a recurrence"""
    x = wide(case.arrays[0])
    weights = np.exp(wide(case.call(f)))
    n = x.shape[-1]
    state = np.zeros((*x.shape[:-1], n))
    for i in range(n):
        with np.errstate(over="ignore"):
            state = state / (1.0 + np.exp(-x[..., i, None]))
        state[..., i] = 1.0
        size = 1.0 + np.abs(np.where(state > 0, np.log(np.where(state > 0, state, 1)), 0.0))
        yield Claim(weights[..., i, :], np.broadcast_to(state, weights[..., i, :].shape), size)


@forget.law
def first_gate_and_later_ones_do_not_matter(f, case):
    """The first gate is before every query; a gate changes only rows from its own on"""
    (x,) = case.arrays
    n = x.shape[-1]
    value = case.call(f)
    xp = namespace(x)
    at = xp.arange(n)
    yield Claim(case.with_arrays(xp.where(at == 0, x + 3, x)).call(f), value, 0.0)
    changed = case.with_arrays(xp.where(at >= n // 2, x - 1, x)).call(f)
    yield Claim(changed[..., : n // 2, :], value[..., : n // 2, :], 0.0)


@forget.law
def equal_gates_are_alibi(f, case):
    """One logit for all tokens is ALiBi with the slope -log sigma"""
    (x,) = case.arrays
    n = x.shape[-1]
    if n == 0:
        return
    value = case.with_arrays(x[..., :1] + 0 * x).call(f)
    slopes = -wide(log_sigmoid(x[..., :1].astype("float64")))
    line = alibi_bias(slopes, np.arange(n), np.arange(n), sides="causal")[..., 0, :, :]
    yield Claim(value, line, np.where(np.isfinite(line), 4.0 * np.abs(line), 1.0))


# -------------------------------------------------------------------------------- closed forms


def _over_batch(shape, answer):
    return np.broadcast_to(answer, (*shape.batch, *np.shape(answer)))


@forget.closed_form
def halves(rng, shape):
    """Gates of a half: multiples of log 2"""
    steps = np.subtract.outer(np.arange(5), np.arange(5))
    answer = np.where(steps >= 0, -np.log(2.0) * steps, -np.inf)
    return Case((np.zeros((*shape.batch, 5)),)), _over_batch(shape, answer)


@forget.closed_form
def thirds(rng, shape):
    """Gates of 3/4, 1/4 and 1/2"""
    x = np.log([3.0, 1 / 3, 1.0])
    answer = np.full((3, 3), -np.inf)
    answer[np.tri(3, dtype=bool)] = np.log([1.0, 1 / 4, 1.0, 1 / 8, 1 / 2, 1.0])
    return Case((np.broadcast_to(x, (*shape.batch, 3)).copy(),)), _over_batch(shape, answer)


# ------------------------------------------------------------------------------------- mutants


def _sums(terms, *, strict=False):
    """b from the terms (..., n) by differences of running sums."""
    xp = namespace(terms)
    total = xp.cumsum(terms, axis=-1)
    value = total[..., :, None] - total[..., None, :]
    at = xp.arange(terms.shape[-1])
    return xp.where(at[:, None] >= at, value, -xp.inf).astype(terms.dtype)


def _terms(x):
    return {"logits": x, "terms": log_sigmoid(x)}


def _whole(logits, terms):
    return _sums(terms)


def _by_single_gates(t):
    xp = namespace(t.logits)
    return xp.log(1 / (1 + xp.exp(-t.logits.astype("float32")))).astype(t.logits.dtype)


book = Textbook(forget, _terms, _whole)


@forget.mutant
def key_counted(x):
    """The gate of the key's own token counts too"""
    return _sums(log_sigmoid(x)) + log_sigmoid(x)[..., None, :]


@forget.mutant
def query_not_counted(x):
    """The gate of the query's own token does not count, and that of the key's does"""
    before = namespace(x).concatenate([0 * x[..., :1], log_sigmoid(x)[..., :-1]], axis=-1)
    return _sums(before if x.shape[-1] else x)


book.wrong(
    "The gates themselves add up, not their logarithms",
    terms=lambda t: namespace(t.terms).exp(t.terms),
)
book.wrong("The logits add up, without log sigma", terms=lambda t: t.logits)


@forget.mutant
def not_causal(x):
    """Keys after the query get F_i - F_j, which is positive, instead of minus infinity"""
    xp = namespace(x)
    total = xp.cumsum(log_sigmoid(x), axis=-1)
    return total[..., :, None] - total[..., None, :]


@forget.mutant
def symmetric(x):
    """Keys after the query are forgotten as those before it"""
    xp = namespace(x)
    total = xp.cumsum(log_sigmoid(x), axis=-1)
    return -abs(total[..., :, None] - total[..., None, :])


wrong(forget, "Query and key are exchanged", output=lambda y: y.swapaxes(-1, -2))
book.wrong(
    "The gate is computed first: where it underflows its logarithm is minus infinity",
    terms=_by_single_gates,
)


@forget.mutant(gradient=True)
def gradient_of_the_own_row_only(g, x):
    """The gradient of a gate lacks the rows after its own"""
    xp = namespace(x)
    at = xp.arange(x.shape[-1])
    total = xp.where(at[:, None] > at, g, 0.0).sum(axis=-1)
    return ((total * xp.exp(log_sigmoid(-x))).astype(x.dtype),)


@forget.mutant(gradient=True)
def slope_of_the_sigmoid(g, x):
    """The slope of log sigma is taken for sigma instead of 1 - sigma"""
    return (forget_gate_bias.vjp(g, x)[0] * namespace(x).exp(x),)
