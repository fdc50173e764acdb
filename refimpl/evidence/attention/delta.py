"""Evidence for the delta rule, and its wrong variants."""

from __future__ import annotations

import numpy as np

from refimpl.attention.delta import delta_rule
from refimpl.attention.recurrent import gated_linear_attention
from refimpl.backend import namespace, to_host
from refimpl.evidence import Budget, Case, Claim, Evidence, Sizes
from refimpl.evidence.attention.shared import (
    linear_in_values,
    no_look_ahead,
    resumed_anywhere,
    sequence_arrays,
    unscaled,
)
from refimpl.evidence.mistakes import Textbook, wrong, wrong_gradients

delta = Evidence(
    delta_rule,
    sizes={"n": Sizes(1, 1, 17), "d": Sizes(1, 1, 6), "v": Sizes(1, 1, 6)},
    empty=("n",),
    budget=Budget(k=6.0, floor=8.0),
)


# ------------------------------------------------------------------------------------- regimes


def _arrays(rng, shape):
    """Keys of length 1, and strengths of 0.1 to 0.9."""
    q, k, v = (rng.standard_normal(s) for s in (shape.q, shape.k, shape.v))
    # Away from 0, so that a rounded key of one feature is no surprise.
    k = np.where(np.abs(k) < 0.2, 0.5, k)
    k = k / np.sqrt((k * k).sum(axis=-1, keepdims=True))
    return q, k, v, rng.uniform(0.1, 0.9, shape.beta)


@delta.regime
def plain(rng, shape):
    """Keys of length 1, nothing decays"""
    return Case(_arrays(rng, shape))


@delta.regime
def with_decay(rng, shape):
    """A decay at every position, a state and a scale"""
    options = {
        "log_decay": -rng.exponential(0.5, shape.log_decay),
        "state": rng.standard_normal(shape.state),
        "scale": rng.uniform(0.5, 1.0, shape.scale),
    }
    return Case(_arrays(rng, shape), options)


@delta.regime(adversarial=True)
def repeated_keys(rng, shape):
    """Few different keys, so that most writes replace something"""
    q, k, v, beta = _arrays(rng, shape)
    k = k[..., np.arange(shape.axes["n"]) % 2, :] if shape.axes["n"] > 1 else k
    return Case((q, k, v, np.where(rng.random(beta.shape) < 0.5, 1.0, beta)))


@delta.regime(adversarial=True)
def overshooting(rng, shape):
    """Strengths of 1 to 1.8, which mirror what the state holds"""
    q, k, v, beta = _arrays(rng, shape)
    return Case((q, k, v, 1.0 + 0.8 * beta), {"log_decay": np.full(shape.log_decay, -0.1)})


# ---------------------------------------------------------------------------------------- laws


def _size(case) -> float:
    q, k, v, _ = (np.abs(np.asarray(to_host(x), dtype=float)).max(initial=1.0) for x in case.arrays)
    state = case.options.get("state")
    state = 0.0 if state is None else float(np.abs(to_host(state)).max(initial=0.0))
    return float(16.0 * q * k * (v + state)) * sum(case.arrays[0].shape[-2:])


delta.law(resumed_anywhere(delta))
delta.law(linear_in_values(2))
delta.law(no_look_ahead(sequence_arrays(delta)))


@delta.law
def replaced_at_full_strength(f, case):
    """beta = 1 and keys of length 1: the last state answers the last key with the last value"""
    q, k, v, beta = case.arrays
    if q.shape[-2] == 0:
        return
    xp = namespace(q)
    lengths = (k * k).sum(axis=-1)
    full = xp.ones_like(beta) / lengths
    _, state = case.with_arrays(q, k, v, full).call(f)
    answer = (state.swapaxes(-1, -2) @ k[..., -1, :, None])[..., 0]
    yield Claim(answer, v[..., -1, :] + 0.0 * answer, 4.0 * _size(case))


@delta.law
def nothing_is_written_at_strength_zero(f, case):
    """beta = 0: the output reads the decaying first state"""
    q, k, v, beta = case.arrays
    nothing, log_decay = 0.0 * beta, case.options.get("log_decay")
    xp = namespace(q)
    state = case.options.get("state")
    if state is None:
        state = xp.zeros((q.shape[-1], v.shape[-1]), dtype=q.dtype)
    gates = xp.zeros_like(beta) if log_decay is None else log_decay
    expected = gated_linear_attention(
        q, 0.0 * k, v, gates[..., None], scale=case.options.get("scale"), state=state
    )
    found = case.with_arrays(q, k, v, nothing).call(f)
    for a, b in zip(found, expected, strict=True):
        yield Claim(a, b, _size(case))


# -------------------------------------------------------------------------------- closed forms


@delta.closed_form
def orthogonal_keys(rng, shape):
    """Keys e_1, e_2, ... that come once: nothing is replaced, the state holds beta v"""
    q, _, v, beta = _arrays(rng, shape)
    n, d = shape.axes["n"], shape.axes["d"]
    k = np.broadcast_to(np.eye(n, d), shape.k).copy()
    rows = beta[..., None] * v
    state = np.zeros((*shape.batch, d, v.shape[-1]))
    state[..., : min(n, d), :] = rows[..., : min(n, d), :]
    output = d**-0.5 * np.tril(q @ k.swapaxes(-1, -2)) @ rows
    return Case((q, k, v, beta)), (output, state)


@delta.closed_form
def one_key_again_and_again(rng, shape):
    """The same key e_1 at strength 1/2: the answer halves its distance to a constant value"""
    n, d, width = (shape.axes[axis] for axis in ("n", "d", "v"))
    e1 = np.broadcast_to((np.arange(d) == 0).astype(float), shape.k).copy()
    reached = 8.0 * (1.0 - 0.5 ** np.arange(1, n + 1))
    output = d**-0.5 * np.broadcast_to(reached[:, None], (*shape.batch, n, width))
    state = np.zeros((*shape.batch, d, width))
    state[..., 0, :] = reached[-1] if n else 0.0
    arrays = e1.copy(), e1, np.full(shape.v, 8.0), np.full(shape.beta, 0.5)
    return Case(arrays), (output, state)


# ------------------------------------------------------------------------------------- mutants


def _terms(q, k, v, beta, /, *, log_decay=None, scale=None, state=None):
    """What is kept of the state and of what it recalls, and the strengths of value and removal."""
    factor = q.shape[-1] ** -0.5 if scale is None else np.asarray(scale)[..., None, None]
    kept = np.ones(q.shape[-2]) if log_decay is None else np.exp(log_decay)
    return {
        "queries": factor * q,
        "k": k,
        "v": v,
        "state": np.zeros((q.shape[-1], v.shape[-1])) if state is None else np.asarray(state),
        "kept": kept,
        "recalled": kept,
        "kept_after": np.ones(q.shape[-2]),
        "written": beta,
        "removed": beta,
        "reads_first": False,
    }


def _whole(queries, k, v, state, kept, recalled, kept_after, written, removed, reads_first):
    outputs = []
    for i in range(queries.shape[-2]):
        key, value = k[..., i, :, None], v[..., i, None, :]
        answer = key.swapaxes(-1, -2) @ (recalled[..., i, None, None] * state)
        change = written[..., i, None, None] * value - removed[..., i, None, None] * answer
        before, state = state, kept[..., i, None, None] * state + key * change
        state = kept_after[..., i, None, None] * state
        outputs.append(queries[..., i, None, :] @ (before if reads_first else state))
    return (np.concatenate(outputs, axis=-2) if outputs else queries @ state), state


book = Textbook(delta, _terms, _whole)
book.wrong(
    "the error is formed with the state before it decays",
    recalled=lambda t: np.ones_like(t.kept),
    source="https://github.com/fla-org/flash-linear-attention/issues/885",
)
book.wrong("nothing is subtracted: it is gated linear attention", removed=lambda t: 0.0 * t.beta)
book.wrong(
    "beta is ignored",
    written=lambda t: np.ones_like(t.beta),
    removed=lambda t: np.ones_like(t.beta),
)
book.wrong(
    "beta multiplies the value but not what is removed", removed=lambda t: np.ones_like(t.beta)
)
book.wrong(
    "what the state holds for the key is added instead of removed", removed=lambda t: -t.beta
)
book.wrong(
    "the decay is ignored",
    kept=lambda t: np.ones_like(t.kept),
    recalled=lambda t: np.ones_like(t.kept),
)
book.wrong(
    "the decay comes after the write",
    kept=lambda t: np.ones_like(t.kept),
    recalled=lambda t: np.ones_like(t.kept),
    kept_after=lambda t: t.kept,
)
book.wrong("a position reads the state before it writes", reads_first=True)
wrong(delta, "the queries are not divided by sqrt d", options=unscaled)


@wrong_gradients(delta)
def gradient_of_state_ignored(found, g, arrays, options):
    """the cotangent of the last state is ignored"""
    return delta_rule.vjp((g[0], 0.0 * g[1]), *arrays, **options)


@wrong_gradients(delta)
def gradient_of_strength_of_the_value(found, g, arrays, options):
    """the gradient in the strengths lacks what they remove"""
    q, k, v, beta = arrays
    gates = options.get("log_decay")
    gates = np.zeros_like(beta) if gates is None else np.broadcast_to(gates, beta.shape)
    rest = {n: options[n] for n in ("scale", "state") if n in options}
    dvalues = gated_linear_attention.vjp(g, q, k, beta[..., None] * v, gates[..., None], **rest)[2]
    return [*found[:3], (dvalues * v).sum(axis=-1), *found[4:]]


@wrong_gradients(delta)
def gradient_of_the_write_alone(found, g, arrays, options):
    """the gradient in the keys lacks what they remove"""
    q, k, v, beta = arrays
    gates = options.get("log_decay")
    gates = np.zeros_like(beta) if gates is None else gates
    rest = {n: options[n] for n in ("scale", "state") if n in options}
    plain_keys = gated_linear_attention.vjp(
        g, q, k, beta[..., None] * v, np.broadcast_to(gates, beta.shape)[..., None], **rest
    )
    return [found[0], plain_keys[1], *found[2:]]
