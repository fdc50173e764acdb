"""Evidence for attention within hash buckets, and its wrong variants."""

from __future__ import annotations

import numpy as np

from refimpl.attention.hashed import hashed_attention
from refimpl.attention.softmax import softmax_attention
from refimpl.backend import namespace, to_host
from refimpl.evidence import Case, Claim, Evidence, Sizes
from refimpl.evidence.mistakes import wrong

hashed = Evidence(
    hashed_attention,
    sizes={"h": Sizes(1, 1, 3, 4), "d": Sizes(1, 1, 6), "v": Sizes(1, 1, 6), "n": Sizes(1, 1, 17)},
    empty=("n",),
    options={"chunk": (2, 5), "scale": (0.3,)},
    combinations=({"causal": True, "chunk": 4},),
    unchanged={
        "x is taken as its negative": "queries and keys are the same, so that both signs cancel"
    },
)


# ------------------------------------------------------------------------------------- regimes


def _arrays(rng, shape, count=3):
    x = rng.standard_normal(shape.x)
    # Away from the zero vector, which has no direction.
    x[..., 0] = np.where(np.abs(x[..., 0]) < 0.3, 0.5, x[..., 0])
    return x, rng.standard_normal(shape.v), rng.integers(0, count, shape.buckets)


@hashed.regime
def few_buckets(rng, shape):
    """Three buckets, so that most positions have company"""
    return Case(_arrays(rng, shape))


@hashed.regime
def causal_buckets(rng, shape):
    """Two buckets, causal"""
    return Case(_arrays(rng, shape, 2), {"causal": True})


@hashed.regime(adversarial=True)
def lonely(rng, shape):
    """Many buckets, so that many positions see only themselves"""
    return Case(_arrays(rng, shape, 40))


@hashed.regime(adversarial=True)
def the_same_in_every_round(rng, shape):
    """Rounds that agree, whose pairs must not count several times"""
    x, v, buckets = _arrays(rng, shape)
    return Case((4.0 * x, v, np.broadcast_to(buckets[..., :1, :], buckets.shape).copy()))


@hashed.regime(adversarial=True)
def chunked(rng, shape):
    """Buckets that are larger than a chunk"""
    return Case(_arrays(rng, shape, 2), {"chunk": 3})


# ---------------------------------------------------------------------------------------- laws


def _size(case) -> float:
    x, v, _ = (np.abs(np.asarray(to_host(a), dtype=float)).max(initial=1.0) for a in case.arrays)
    return float(16.0 * v * (1.0 + x * case.arrays[0].shape[-1]))


@hashed.law
def one_bucket_is_attention_without_oneself(f, case):
    """One bucket for all: softmax attention to all other positions, with keys of length 1"""
    x, v, buckets = case.arrays
    n = x.shape[-2]
    if case.options.get("chunk") is not None or n < 2:
        return
    xp = namespace(x)
    keys = x / xp.sqrt((x * x).sum(axis=-1, keepdims=True))
    place = xp.arange(n)
    others = place[:, None] != place
    if case.options.get("causal"):
        others = place[:, None] > place
        others = others | ((place == 0)[:, None] & (place == 0))
    scale = case.options.get("scale")
    scale = None if scale is None else xp.asarray(scale, dtype=x.dtype)
    expected = softmax_attention(x, keys, v, mask=others, scale=scale)
    yield Claim(case.with_arrays(x, v, 0 * buckets).call(f), expected, _size(case))


@hashed.law
def names_of_buckets(f, case):
    """Buckets may be renamed, and rounds may come in any order"""
    x, v, buckets = case.arrays
    if case.options.get("chunk") is None:
        renamed = 3 * buckets[..., ::-1, :] + 1
        yield Claim(case.with_arrays(x, v, renamed).call(f), case.call(f), _size(case))


@hashed.law
def a_round_that_repeats_another(f, case):
    """A round that repeats another changes nothing"""
    x, v, buckets = case.arrays
    xp = namespace(x)
    again = xp.concatenate([buckets, buckets[..., :1, :]], axis=-2)
    yield Claim(case.with_arrays(x, v, again).call(f), case.call(f), _size(case))


@hashed.law
def constant_values(f, case):
    """Where all values are equal so is the output"""
    x, v, buckets = case.arrays
    output = case.with_arrays(x, namespace(v).full(v.shape, 2.5, dtype=v.dtype), buckets).call(f)
    yield Claim(output, 2.5 + 0.0 * output, 2.5 * _size(case))


# -------------------------------------------------------------------------------- closed forms


@hashed.closed_form
def pairs(rng, shape):
    """Buckets of two: each position returns the value of its partner, a last one its own"""
    x, v, _ = _arrays(rng, shape)
    n = shape.axes["n"]
    partner = np.arange(n) ^ 1
    partner = np.where(partner < n, partner, np.arange(n))
    buckets = np.broadcast_to(np.arange(n) // 2, shape.buckets).copy()
    return Case((x, v, buckets)), v[..., partner, :]


@hashed.closed_form
def all_alone(rng, shape):
    """A bucket for each position: the values themselves"""
    x, v, _ = _arrays(rng, shape)
    buckets = np.broadcast_to(np.arange(shape.axes["n"]), shape.buckets).copy()
    return Case((x, v, buckets)), v


# ------------------------------------------------------------------------------------- mutants


def _attend(x, v, buckets, options, *, normalise=True, itself=False, every=False, count=False):
    """The plain form, with one thing wrong; chunks as they are right."""
    n = x.shape[-2]
    place = np.arange(n)
    same = buckets[..., :, None] == buckets[..., None, :]
    if options.get("chunk") is not None:
        rank = np.argsort(np.argsort(buckets, kind="stable"), kind="stable") // options["chunk"]
        behind = rank[..., :, None] - rank[..., None, :]
        same = same & (behind >= 0) & (behind <= 1)
    same = same & (place[:, None] >= place if options.get("causal") else True)
    if not itself:
        same = same & (place[:, None] != place)
    keep = same.all(axis=-3) if every else same.any(axis=-3)
    keep = keep | (~keep.any(axis=-1, keepdims=True) & (place[:, None] == place))
    keys = x / np.sqrt((x * x).sum(axis=-1, keepdims=True)) if normalise else x
    scale = options.get("scale")
    scale = None if scale is None else np.asarray(scale, dtype=float)
    bias = np.log(np.maximum(same.sum(axis=-3), 1)) if count else None
    return softmax_attention(x, keys, v, mask=keep, bias=bias, scale=scale)


@hashed.mutant
def sees_itself(x, v, buckets, /, **options):
    """positions see themselves like others"""
    return _attend(x, v, buckets, options, itself=True)


@hashed.mutant
def keys_not_normalised(x, v, buckets, /, **options):
    """the keys are not divided by their lengths"""
    return _attend(x, v, buckets, options, normalise=False)


@hashed.mutant
def pairs_counted_in_every_round(x, v, buckets, /, **options):
    """a pair counts once for every round that it shares"""
    return _attend(x, v, buckets, options, count=True)


@hashed.mutant
def shared_in_every_round(x, v, buckets, /, **options):
    """pairs must share a bucket in every round"""
    return _attend(x, v, buckets, options, every=True)


wrong(hashed, "only the first round is used", arrays={"buckets": lambda x: x[..., :1, :]})
wrong(hashed, "causal is ignored", options={"causal": False})
wrong(hashed, "whole buckets are attended to, not chunks", options={"chunk": None})


@hashed.mutant
def lonely_positions_are_zero(x, v, buckets, /, **options):
    """a position that sees no other gets 0"""
    others = hashed_attention(x, np.ones_like(v[..., :1]), buckets, **options)
    found = hashed_attention(x, v, buckets, **options)
    alone = np.abs(found - v).max(axis=-1, keepdims=True) < 1e-12
    return np.where(alone, 0.0 * others, found)


@hashed.mutant(gradient=True)
def gradient_along_the_vectors(g, x, v, buckets, /, **options):
    """the gradient in x keeps only its part along x"""
    dx, dv = hashed_attention.vjp(g, x, v, buckets, **options)
    along = (dx * x).sum(axis=-1, keepdims=True) / (x * x).sum(axis=-1, keepdims=True)
    return along * x, dv


@hashed.mutant(gradient=True)
def gradient_of_values_unweighted(g, x, v, buckets, /, **options):
    """the gradient in the values is the cotangent itself"""
    dx, _ = hashed_attention.vjp(g, x, v, buckets, **options)
    return dx, g
