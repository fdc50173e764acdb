"""Evidence for xPos."""

from __future__ import annotations

import numpy as np

from refimpl.backend import like
from refimpl.evidence import Case, Claim, Evidence, Sizes, wide
from refimpl.evidence.position.shared import row_norms
from refimpl.position.rotary import rotary_embedding
from refimpl.position.xpos import xpos_embedding

xpos = Evidence(
    xpos_embedding,
    sizes={"n": Sizes(1, 1, 12), "d": Sizes(2, 2, 16)},
    empty=("n",),
    options={"scale_base": (64.0,)},
    combinations=({"role": "key", "centre": 2.0}, {"gamma": 0.2, "base": 100.0}),
    fixed={"pairing": "half", "role": "query", "centre": 0.0},
)


# ------------------------------------------------------------------------------------- regimes


@xpos.regime
def from_the_centre_on(rng, shape):
    """Positions 0, 1, 2, ... of queries, with the centre at 0"""
    return Case((rng.standard_normal(shape.x), np.arange(shape.axes["n"])))


@xpos.regime(adversarial=True)
def keys_around_a_centre(rng, shape):
    """Positions of keys up to 600, in any order, with the centre in their middle"""
    at = rng.integers(0, 600, shape.positions)
    return Case((rng.standard_normal(shape.x), at), {"role": "key", "centre": 300.0})


@xpos.regime(adversarial=True)
def fast_decay(rng, shape):
    """A scale base of 50, and positions between whole ones on both sides of the centre"""
    at = rng.uniform(-40.0, 40.0, shape.positions)
    options = {"scale_base": 50.0, "centre": -3.5, "pairing": "interleaved"}
    return Case((rng.standard_normal(shape.x), at), options)


# ---------------------------------------------------------------------------------------- laws


def _zeta(case):
    d = case.arrays[0].shape[-1]
    gamma = case.options.get("gamma", 0.4)
    return (2 * np.arange(d // 2) / d + gamma) / (1 + gamma)


def _farthest(case):
    return 1.0 + np.abs(wide(case.arrays[1])).max(initial=0.0)


def _by_pairs(case, y):
    """First and second members of all pairs."""
    if case.options["pairing"] == "interleaved":
        return y[..., ::2], y[..., 1::2]
    return np.split(y, 2, axis=-1)


@xpos.law
def pairs_grow_by_their_power(f, case):
    """Each pair is rotated, and longer by zeta^((n - c)/B), for keys shorter"""
    x, positions = map(wide, case.arrays)
    y = wide(case.call(f))
    sign = 1.0 if case.options["role"] == "query" else -1.0
    steps = sign * (positions - case.options["centre"]) / case.options.get("scale_base", 512.0)
    growth = _zeta(case) ** steps[..., None]
    options = {"pairing": case.options["pairing"], "base": case.options.get("base", 10000.0)}
    plain = rotary_embedding(x, positions, **options)
    for member, rotated in zip(_by_pairs(case, y), _by_pairs(case, plain), strict=True):
        size = _farthest(case) * growth * row_norms(x)
        yield Claim(member, growth * rotated, size)


def _logits(f, case, positions, centre):
    """Products of the x at these positions as queries with the x at position 2 as keys."""
    x = case.arrays[0]
    query = case.with_arrays(x, positions).with_options(role="query", centre=centre)
    key = case.with_arrays(x, 0 * positions + 2).with_options(role="key", centre=centre)
    return (wide(query.call(f)) * wide(key.call(f))).sum(axis=-1)


@xpos.law
def a_common_centre_cancels(f, case):
    """Products of queries and keys are the same for every centre that both share"""
    x, positions = case.arrays
    at = positions * 0 + like(3 + np.arange(positions.shape[-1]), positions)
    scale = 400.0 * row_norms(x)[..., 0] ** 2
    yield Claim(_logits(f, case, at, 0.0), _logits(f, case, at, 7.0), scale)


@xpos.law
def only_distances_matter(f, case):
    """Products of queries and keys are those of the difference of their positions"""
    x, positions = case.arrays
    step = like(np.arange(positions.shape[-1]), positions) + 0 * positions

    def products(shift):
        query = case.with_arrays(x, 2 * step + shift).with_options(role="query")
        key = case.with_arrays(x[..., ::-1, :], step + shift).with_options(role="key")
        return (wide(query.call(f)) * wide(key.call(f))).sum(axis=-1)

    scale = 400.0 * np.square(row_norms(x)).max(initial=0.0)
    yield Claim(products(0), products(6), scale)


@xpos.law
def keys_undo_queries(f, case):
    """With the other role the growth is one over it"""
    x, positions = case.arrays
    both = [row_norms(case.with_options(role=role).call(f)) for role in ("query", "key")]
    if x.shape[-1] == 2:
        plain = np.broadcast_to(row_norms(x), both[0].shape) ** 2
        yield Claim(both[0] * both[1], plain, 50.0 * plain)


# -------------------------------------------------------------------------------- closed forms


@xpos.closed_form
def one_pair_at_the_scale_base(rng, shape):
    """One pair at n = B: (cos B, sin B) times 2/7"""
    x = np.broadcast_to([1.0, 0.0], (*shape.batch, 1, 2)).copy()
    options = {"pairing": "half", "role": "query", "centre": 0.0, "scale_base": 3.0}
    answer = np.broadcast_to(2 / 7 * np.array([np.cos(3.0), np.sin(3.0)]), x.shape)
    return Case((x, np.array([3])), options), answer


@xpos.closed_form
def at_the_centre(rng, shape):
    """At the centre only the rotation is left: half a turn for a base of 1 and position pi"""
    x = rng.standard_normal(shape.x)
    at = np.full(shape.axes["n"], np.pi)
    options = {"pairing": "interleaved", "role": "key", "centre": np.pi, "base": 1.0}
    return Case((x, at), options), -x
