"""Evidence for linear attention with a decaying state, and for the delta rule."""

from __future__ import annotations

import numpy as np

from refimpl.attention.recurrent import (
    gated_linear_attention,
    retention,
    state_space_duality,
)
from refimpl.backend import namespace
from refimpl.evidence import Budget, Case, Claim, Evidence, Sizes, inputs
from refimpl.evidence.attention.shared import (
    linear_in_values,
    no_look_ahead,
    resumed_anywhere,
    sequence_arrays,
    sequence_size,
)

_SIZES = {"n": Sizes(1, 1, 17), "d": Sizes(1, 1, 6), "v": Sizes(1, 1, 6)}
_RECORD = {"empty": ("n",), "budget": Budget(k=6.0, floor=8.0)}

gated = Evidence(gated_linear_attention, sizes=_SIZES, **_RECORD)
retained = Evidence(retention, sizes=_SIZES, **_RECORD)
dual = Evidence(
    state_space_duality,
    sizes={"n": _SIZES["n"], "p": Sizes(1, 1, 6), "s": Sizes(1, 1, 6)},
    **_RECORD,
)
ALL = (gated, retained, dual)


# ------------------------------------------------------------------------------------- regimes


@gated.regime
def by_feature(rng, shape):
    """Every feature decays by itself"""
    return Case((*inputs.attention(rng, shape), -rng.exponential(0.5, shape.log_decay)))


@gated.regime
def as_a_whole(rng, shape):
    """One decay for all features of a position, after a state"""
    log_decay = -rng.exponential(0.5, shape.log_decay)[..., :1]
    options = {
        "state": rng.standard_normal(shape.state),
        "scale": rng.uniform(0.5, 1.0, shape.scale),
    }
    return Case((*inputs.attention(rng, shape), log_decay), options)


@gated.regime(adversarial=True)
def sudden(rng, shape):
    """Some positions forget all but exp(-12), others nothing"""
    log_decay = np.where(rng.random(shape.log_decay) < 0.3, -12.0, 0.0)
    return Case(
        (*inputs.attention(rng, shape), log_decay), {"state": rng.standard_normal(shape.state)}
    )


@gated.regime(adversarial=True)
def undecayed(rng, shape):
    """Nothing is forgotten"""
    return Case((*inputs.attention(rng, shape), np.zeros(shape.log_decay)))


@retained.regime
def heads(rng, shape):
    """The decays of RetNet's heads"""
    decay = 1.0 - 2.0 ** -rng.integers(5, 9, shape.decay).astype(float)
    return Case((*inputs.attention(rng, shape), decay))


@retained.regime
def after_a_state(rng, shape):
    """Faster decays, after a state"""
    return Case(
        (*inputs.attention(rng, shape), rng.uniform(0.3, 1.0, shape.decay)),
        {"state": rng.standard_normal(shape.state), "scale": rng.uniform(0.5, 1.0, shape.scale)},
    )


@retained.regime(adversarial=True)
def forgetful(rng, shape):
    """A decay by 1/16 a position: powers of it leave the range of low precisions"""
    return Case((*inputs.attention(rng, shape), np.full(shape.decay, 1 / 16)))


def _spaces(rng, shape):
    x, b, c = (rng.standard_normal(s) for s in (shape.x, shape.b, shape.c))
    return x, rng.uniform(0.1, 1.0, shape.step), -rng.uniform(0.2, 2.0, shape.rate), b, c


@dual.regime
def selective(rng, shape):
    """Random steps, rates and maps, with a skip connection"""
    return Case(_spaces(rng, shape), {"skip": rng.standard_normal(shape.skip)})


@dual.regime
def continued(rng, shape):
    """The same after a state"""
    return Case(_spaces(rng, shape), {"state": rng.standard_normal(shape.state)})


@dual.regime(adversarial=True)
def large_steps(rng, shape):
    """Steps that clear the state"""
    x, step, rate, b, c = _spaces(rng, shape)
    return Case((x, np.where(rng.random(step.shape) < 0.3, 8.0, step), rate, b, c))


# ---------------------------------------------------------------------------------------- laws


for of, values in ((gated, 2), (retained, 2), (dual, 0)):
    of.law(resumed_anywhere(of))
    of.law(linear_in_values(values))
    of.law(no_look_ahead(sequence_arrays(of)))


@gated.law
def no_decay_is_a_triangle_of_products(f, case):
    """Without decay the output is tau tril(Q K^T) V plus what the state gives"""
    q, k, v, log_decay = case.arrays
    xp = namespace(q)
    scale, state = case.options.get("scale"), case.options.get("state")
    factor = q.shape[-1] ** -0.5 if scale is None else scale[..., None, None]
    expected = xp.tril(q @ k.swapaxes(-1, -2)) @ v
    if state is not None:
        expected = expected + q @ state
    output, _ = case.with_arrays(q, k, v, 0.0 * log_decay).call(f)
    yield Claim(output, factor * expected, sequence_size(case))


@gated.law
def decay_may_move_into_the_key(f, case):
    """A first position that decays is one whose state, if any, is smaller"""
    q, k, v, log_decay = case.arrays
    state = case.options.get("state")
    if state is None or q.shape[-2] == 0:
        return
    xp = namespace(q)
    kept = xp.exp(log_decay[..., 0, :, None])
    rest = xp.where((xp.arange(q.shape[-2]) == 0)[:, None], 0.0, log_decay).astype(q.dtype)
    moved = case.with_arrays(q, k, v, rest).with_options(state=kept * state)
    for a, b in zip(moved.call(f), case.call(f), strict=True):
        yield Claim(a, b, sequence_size(case))


@retained.law
def powers_of_the_decay(f, case):
    """o_i = tau sum_j gamma^(i - j) (q_i.k_j) v_j, from a state of zeros"""
    q, k, v, decay = case.arrays
    if case.options.get("state") is not None:
        return
    xp = namespace(q)
    n = q.shape[-2]
    distance = xp.maximum(xp.arange(n)[:, None] - xp.arange(n), 0)
    powers = decay[..., None, None] ** distance.astype(q.dtype)
    scale = case.options.get("scale")
    factor = q.shape[-1] ** -0.5 if scale is None else scale[..., None, None]
    expected = xp.tril(powers * (q @ k.swapaxes(-1, -2))) @ v
    yield Claim(case.call(f)[0], factor * expected, 16.0 * sequence_size(case))


@dual.law
def steps_and_rates(f, case):
    """Only the product of step and rate, and of step and input, matter"""
    x, step, rate, b, c = case.arrays
    half = case.with_arrays(2.0 * x, 0.5 * step, 2.0 * rate, b, c)
    skip = case.options.get("skip")
    if skip is not None:
        half = half.with_options(skip=0.5 * skip)
    for a, expected in zip(half.call(f), case.call(f), strict=True):
        yield Claim(a, expected, sequence_size(case))


# -------------------------------------------------------------------------------- closed forms


def _ones(shape):
    n, d, v = (shape.axes[axis] for axis in ("n", "d", "v"))
    return n, d, v, tuple(np.ones(s) for s in (shape.q, shape.k, shape.v))


@gated.closed_form
def geometric_sums(rng, shape):
    """Ones that are halved: o_i = sqrt d (2 - 2^(1 - i))"""
    n, d, v, arrays = _ones(shape)
    sums = 2.0 - 2.0 ** (1.0 - np.arange(1, n + 1))
    answer = d**0.5 * np.broadcast_to(sums[:, None], (*shape.batch, n, v))
    last = sums[-1] if n else 0.0
    log_decay = np.full(shape.log_decay, np.log(0.5))
    return Case((*arrays, log_decay)), (answer, np.full((*shape.batch, d, v), last))


@gated.closed_form
def orthogonal_keys(rng, shape):
    """Keys e_1, e_2, ...: the state holds the values, each decayed since it was written"""
    q, k, v = inputs.attention(rng, shape)
    n, d = shape.axes["n"], shape.axes["d"]
    k = np.broadcast_to(np.eye(n, d), shape.k).copy()
    log_decay = -rng.exponential(0.5, shape.log_decay)
    total = np.cumsum(log_decay, axis=-2)
    state = np.zeros((*shape.batch, d, v.shape[-1]))
    for j in range(min(n, d)):
        kept = np.exp(total[..., -1, j] - total[..., j, j])[..., None]
        state[..., j, :] = kept * v[..., j, :]
    output = np.zeros((*shape.batch, n, v.shape[-1]))
    for i in range(n):
        for j in range(min(i + 1, d)):
            kept = np.exp(total[..., i, j] - total[..., j, j]) * q[..., i, j]
            output[..., i, :] += d**-0.5 * kept[..., None] * v[..., j, :]
    return Case((q, k, v, log_decay)), (output, state)


@retained.closed_form
def halved_ones(rng, shape):
    """Ones and a decay of 1/2: o_i = sqrt d (2 - 2^(1 - i))"""
    n, d, v, arrays = _ones(shape)
    sums = 2.0 - 2.0 ** (1.0 - np.arange(1, n + 1))
    answer = d**0.5 * np.broadcast_to(sums[:, None], (*shape.batch, n, v))
    last = sums[-1] if n else 0.0
    return Case((*arrays, np.full(shape.decay, 0.5))), (answer, np.full((*shape.batch, d, v), last))


@dual.closed_form
def decaying_impulse(rng, shape):
    """A state of ones and inputs of zero: s exp(-(t_1 + ... + t_i))"""
    n, s, p = (shape.axes[axis] for axis in ("n", "s", "p"))
    _, step, _, b, _ = _spaces(rng, shape)
    left = np.exp(-np.cumsum(step, axis=-1))
    answer = s * np.broadcast_to(left[..., None], (*shape.batch, n, p))
    last = left[..., -1] if n else np.ones(shape.batch)
    arrays = np.zeros(shape.x), step, -np.ones(shape.rate), b, np.ones(shape.c)
    state = np.broadcast_to(last[..., None, None], (*shape.batch, s, p))
    return Case(arrays, {"state": np.ones(shape.state)}), (answer, state)
