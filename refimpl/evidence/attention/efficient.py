"""Evidence for efficient attention and its two causal versions."""

from __future__ import annotations

import numpy as np

from refimpl.attention.efficient import causal_efficient_attention, efficient_attention
from refimpl.attention.linear import linear_attention
from refimpl.backend import namespace, to_host
from refimpl.core import softmax, softmax_vjp
from refimpl.evidence import Case, Claim, Evidence, Sizes, inputs
from refimpl.evidence.laws import constant_values, linear_in
from refimpl.evidence.mistakes import wrong

_SIZES = {"d": Sizes(1, 1, 8), "v": Sizes(1, 1, 8)}

full = Evidence(
    efficient_attention,
    sizes=_SIZES,
    empty=("n", "m"),
    ties=({"m": "n"}, {"v": "d"}, {"v": "d", "m": "n"}),
)
causal = Evidence(
    causal_efficient_attention,
    sizes=_SIZES | {"n": Sizes(1, 1, 17)},
    empty=("n",),
    fixed={"version": "channel"},
    ties=({"v": "d"},),
)


# ------------------------------------------------------------------------------------- regimes


def normal(rng, shape):
    """Standard normal queries, keys and values"""
    return Case(inputs.attention(rng, shape))


def masked(rng, shape):
    """A random mask over the keys"""
    return Case(inputs.attention(rng, shape), {"mask": rng.random(shape.mask) < 0.6})


def large(rng, shape):
    """Entries of several units, and features whose keys are all far above or below 0"""
    q, k, v = inputs.attention(rng, shape, 2.0)
    return Case((q, k + 40.0 * (-1.0) ** np.arange(shape.axes["d"]), v))


def hidden_heads(rng, shape):
    """A mask that hides every key of some heads"""
    mask = rng.random(shape.mask) < 0.7
    return Case(
        inputs.attention(rng, shape), {"mask": mask & (rng.random(shape.batch)[..., None] < 0.5)}
    )


def nan_under_mask(rng, shape):
    """Keys and values that are masked hold NaN"""
    q, k, v = inputs.attention(rng, shape)
    keep = np.arange(k.shape[-2]) % 4 != 1
    k[..., ~keep, :] = v[..., ~keep, :] = np.nan
    return Case((q, k, v), {"mask": np.broadcast_to(keep, shape.mask).copy()})


for of in (full, causal):
    of.regime(normal)
    of.regime(masked)
    of.regime(large, adversarial=True)
    of.regime(hidden_heads, adversarial=True)
    of.regime(nan_under_mask, adversarial=True, advisory=True)


@causal.regime
def mixed_before_the_division(rng, shape):
    """The kernel version, with a mask"""
    return Case(
        inputs.attention(rng, shape), {"version": "kernel", "mask": rng.random(shape.mask) < 0.8}
    )


# ---------------------------------------------------------------------------------------- laws


def _size(case) -> float:
    """Values, times the growth of a rounding error of the largest logit."""
    q, k, v = (np.nan_to_num(np.asarray(to_host(x), dtype=float)) for x in case.arrays)
    return float(
        np.abs(v).max(initial=1.0) * (2.0 + np.abs(q).max(initial=0) + np.abs(k).max(initial=0))
    )


def query_shift(f, case):
    """A number added to all features of a query changes nothing"""
    q, k, v = case.arrays
    yield Claim(case.with_arrays(q + 0.5, k, v).call(f), case.call(f), _size(case))


def key_shift(f, case):
    """One vector added to every key changes nothing, but in the kernel version"""
    if case.options.get("version") == "kernel":
        return
    q, k, v = case.arrays
    vector = q[..., :1, :] if q.shape[-2] else q.sum(axis=-2, keepdims=True)
    shifted = case.with_arrays(q, k + vector, v)
    yield Claim(shifted.call(f), case.call(f), _size(shifted))


for of in (full, causal):
    for law in (
        constant_values(2, _size),
        linear_in(2, "values", _size),
        query_shift,
        key_shift,
    ):
        of.law(law)


@full.law
def key_order(f, case):
    """Reordering keys, values and the mask together changes nothing"""
    q, k, v = case.arrays
    mask = case.options.get("mask")
    options = {} if mask is None else {"mask": mask[..., ::-1]}
    turned = case.with_arrays(q, k[..., ::-1, :], v[..., ::-1, :]).with_options(**options)
    yield Claim(case.call(f), turned.call(f), _size(case))


@causal.law
def no_look_ahead(f, case):
    """The first output depends on the first key alone"""
    q, k, v = case.arrays
    xp = namespace(q)
    later = (xp.arange(k.shape[-2]) > 0)[:, None]
    other = case.with_arrays(q, xp.where(later, -k, k), xp.where(later, 100.0, v).astype(v.dtype))
    yield Claim(case.call(f)[..., :1, :], other.call(f)[..., :1, :], 0.0)


@causal.law
def last_output(f, case):
    """channel: the last output is that without causality; kernel: it is linear attention"""
    q, k, v = case.arrays
    mask = case.options.get("mask")
    if case.options["version"] == "channel":
        expected = efficient_attention(q[..., -1:, :], k, v, mask=mask)
        yield Claim(case.call(f)[..., -1:, :], expected, _size(case))
    elif float(np.nan_to_num(np.abs(to_host(k))).max(initial=0.0)) < 8.0:
        options = {"mask": mask, "causal": True, "features": "exponential"}
        yield Claim(case.call(f), linear_attention(q, k, v, **options), 4.0 * _size(case))


# -------------------------------------------------------------------------------- closed forms


@full.closed_form
def equal_keys(rng, shape):
    """Equal keys average the values"""
    q, k, v = inputs.attention(rng, shape)
    k = k + 0.0 if not shape.axes["m"] else np.broadcast_to(k[..., :1, :], k.shape).copy()
    mean = v.sum(axis=-2, keepdims=True) / max(shape.axes["m"], 1)
    return Case((q, k, v)), np.broadcast_to(mean, (*shape.batch, shape.axes["n"], v.shape[-1]))


@full.closed_form
def powers_of_two(rng, shape):
    """Keys of log 2^j in every feature: weights 2^j / (2^m - 1) for every query"""
    q, k, v = inputs.attention(rng, shape)
    m = shape.axes["m"]
    weights = 2.0 ** np.arange(m) / max(2.0**m - 1, 1)
    k = np.broadcast_to(np.log(2.0) * np.arange(m)[:, None], k.shape).copy()
    answer = (weights[:, None] * v).sum(axis=-2, keepdims=True)
    return Case((q, k, v)), np.broadcast_to(answer, (*shape.batch, shape.axes["n"], v.shape[-1]))


@causal.closed_form
def running_means(rng, shape):
    """Equal keys average the values so far"""
    q, k, v = inputs.attention(rng, shape)
    counts = np.arange(1, shape.axes["n"] + 1)[:, None]
    answer = np.cumsum(v, axis=-2) / counts
    version = str(rng.choice(("channel", "kernel")))
    return Case((q, 0.0 * k + 3.0, v), {"version": version}), answer


@causal.closed_form
def one_feature_decides(rng, shape):
    """A query that looks at one feature alone: its running softmax, in powers of 2"""
    q, k, v = inputs.attention(rng, shape)
    d, n = shape.axes["d"], shape.axes["n"]
    q = np.where(np.arange(d) == 0, 200.0, 0.0) + 0.0 * q
    j = np.arange(n)
    k = np.where(np.arange(d) == 0, np.log(2.0) * j[:, None], k)
    weights = np.where(j <= j[:, None], 2.0**j, 0.0) / (2.0 ** (j[:, None] + 1) - 1)
    version = str(rng.choice(("channel", "kernel")))
    return Case((q, k, v), {"version": version}), weights @ v


# ------------------------------------------------------------------------------------- mutants


def _seen(k, mask=None):
    """Booleans (..., n, n): keys up to the query's position that exist."""
    n = k.shape[-2]
    causal_part = np.arange(n)[:, None] >= np.arange(n)
    return causal_part if mask is None else causal_part & mask[..., None, :]


def _clean(x, mask=None):
    x = np.nan_to_num(x)
    return x if mask is None else np.where(mask[..., None], x, 0.0)


def _positions(k, mask=None):
    logits = k if mask is None else np.where(mask[..., None], k, -np.inf)
    return softmax(logits, axis=-2) if k.shape[-2] else k


@full.mutant
def keys_over_features(q, k, v, /, *, mask=None):
    """the softmax of the keys runs over features, and the rows are divided by their sums"""
    weights = softmax(q, axis=-1) @ _clean(softmax(k, axis=-1), mask).swapaxes(-1, -2)
    total = weights.sum(axis=-1, keepdims=True)
    return weights / np.where(total == 0, 1, total) @ _clean(v, mask)


@full.mutant
def features_not_by_channel(q, k, v, /, *, mask=None):
    """keys and queries are exponentials that are divided by one sum per row"""
    return linear_attention(q, k, v, features="exponential", mask=mask)


@full.mutant
def keys_over_features_undivided(q, k, v, /, *, mask=None):
    """the softmax of the keys runs over features, and nothing is divided"""
    return softmax(q, axis=-1) @ (
        _clean(softmax(k, axis=-1), mask).swapaxes(-1, -2) @ _clean(v, mask)
    )


@full.mutant
def queries_over_positions(q, k, v, /, *, mask=None):
    """the softmax of the queries runs over positions"""
    by_position = _positions(k, mask).swapaxes(-1, -2) @ _clean(v, mask)
    return (softmax(q, axis=-2) if q.shape[-2] else q) @ by_position


@full.mutant
def mask_after_softmax(q, k, v, /, *, mask=None):
    """masked keys are dropped after the softmax, so that the weights do not sum to one"""
    return softmax(q, axis=-1) @ (_positions(np.nan_to_num(k)).swapaxes(-1, -2) @ _clean(v, mask))


@full.mutant
def mask_as_zero(q, k, v, /, *, mask=None):
    """masked keys are set to 0 before the softmax, where they keep weight"""
    return efficient_attention(q, _clean(k, mask), np.nan_to_num(v))


@full.mutant
def scaled(q, k, v, /, *, mask=None):
    """queries and keys are divided by d^(1/4)"""
    factor = q.shape[-1] ** -0.25
    return efficient_attention(factor * q, factor * k, v, mask=mask)


@full.mutant(gradient=True)
def gradient_of_keys_over_features(g, q, k, v, /, *, mask=None):
    """the gradient in the keys takes their softmax for one over features"""
    dq, _, dv = efficient_attention.vjp(g, q, k, v, mask=mask)
    dweights = _clean(v, mask) @ (softmax(q, axis=-1).swapaxes(-1, -2) @ g).swapaxes(-1, -2)
    return dq, softmax_vjp(dweights, _positions(k, mask), axis=-1), dv


@full.mutant(gradient=True)
def gradient_without_softmax_of_queries(g, q, k, v, /, *, mask=None):
    """the gradient in the queries is that in their softmax"""
    _, dk, dv = efficient_attention.vjp(g, q, k, v, mask=mask)
    context = _positions(k, mask).swapaxes(-1, -2) @ _clean(v, mask)
    return g @ context.swapaxes(-1, -2), dk, dv


@full.mutant(gradient=True)
def gradient_of_values_and_keys_exchanged(g, q, k, v, /, *, mask=None):
    """the gradient in the keys lacks the normalisation of their softmax"""
    dq, _, dv = efficient_attention.vjp(g, q, k, v, mask=mask)
    dweights = _clean(v, mask) @ (softmax(q, axis=-1).swapaxes(-1, -2) @ g).swapaxes(-1, -2)
    return dq, _positions(k, mask) * dweights, dv


_OTHER = {"channel": "kernel", "kernel": "channel"}
wrong(causal, "it is the other one of the two causal versions", options={"version": _OTHER.get})


@causal.mutant
def not_causal(q, k, v, /, *, version, mask=None):
    """every query sees every key"""
    if version == "channel":
        return efficient_attention(q, k, v, mask=mask)
    return linear_attention(q, k, v, features="exponential", mask=mask)


@causal.mutant
def masked_without_new_sums(q, k, v, /, *, version, mask=None):
    """later keys are hidden after a softmax over all positions"""
    weights = softmax(q, axis=-1) @ _positions(k, mask).swapaxes(-1, -2)
    return np.where(_seen(k, mask), weights, 0.0) @ _clean(v, mask)


@causal.mutant
def masked_and_divided(q, k, v, /, *, version, mask=None):
    """later keys are hidden after a softmax over all positions, and the rows are divided again"""
    weights = softmax(q, axis=-1) @ _positions(k, mask).swapaxes(-1, -2)
    weights = np.where(_seen(k, mask), weights, 0.0)
    total = weights.sum(axis=-1, keepdims=True)
    return weights / np.where(total == 0, 1, total) @ _clean(v, mask)


@causal.mutant
def own_position_hidden(q, k, v, /, *, version, mask=None):
    """a query does not see its own position"""
    if not q.shape[-2]:
        return causal_efficient_attention(q, k, v, version=version, mask=mask)
    options = {"version": version, "mask": None if mask is None else mask[..., :-1]}
    arrays = q[..., 1:, :], k[..., :-1, :], v[..., :-1, :]
    found = causal_efficient_attention(*arrays, **options)
    nothing = np.zeros((*found.shape[:-2], 1, found.shape[-1]))
    return np.concatenate([nothing, found], axis=-2)


@causal.mutant(gradient=True)
def gradient_of_the_other_version(g, q, k, v, /, *, version, mask=None):
    """the gradients are those of the other version"""
    return causal_efficient_attention.vjp(g, q, k, v, version=_OTHER[version], mask=mask)


@causal.mutant(gradient=True)
def gradient_looks_ahead(g, q, k, v, /, *, version, mask=None):
    """the gradients are those without causality"""
    if version == "channel":
        return efficient_attention.vjp(g, q, k, v, mask=mask)
    return linear_attention.vjp(g, q, k, v, features="exponential", mask=mask)
