"""Evidence for linear attention: inputs, laws and closed forms."""

from __future__ import annotations

import numpy as np

from refimpl.attention.linear import linear_attention, streamed_linear_attention
from refimpl.backend import namespace, to_host
from refimpl.evidence import Case, Claim, Evidence, Sizes, inputs
from refimpl.evidence.attention.shared import POSITIVE
from refimpl.evidence.laws import constant_values, linear_in

_FEATURES = (*POSITIVE, "one_plus_cosine", "taylor_2", "power")
_SMALL = {"d": Sizes(1, 1, 8), "v": Sizes(1, 1, 16)}

attention = Evidence(
    linear_attention,
    sizes=_SMALL,
    empty=("n", "m"),
    fixed={"features": "elu_plus_one"},
    options={
        "features": _FEATURES,
        "eps": (0.5,),
    },
    combinations=(
        {"causal": True, "offset": 2},
        {"causal": True, "offset": -1},
        {"features": "power", "degree": 1},
    ),
    ties=({"m": "n"}, {"v": "d"}, {"v": "d", "m": "n"}),
)
streamed = Evidence(
    streamed_linear_attention,
    sizes=_SMALL,
    empty=("n",),
    fixed={"features": "elu_plus_one"},
    options={"features": _FEATURES[:5]},
    combinations=({"features": "power", "degree": 1}, {"features": "relu", "empty": "nan"}),
)


# ------------------------------------------------------------------------------------- regimes


@attention.regime
def normal(rng, shape):
    """Standard normal queries, keys and values"""
    return Case(inputs.attention(rng, shape))


@attention.regime
def masked(rng, shape):
    """A random mask over the keys"""
    return Case(inputs.attention(rng, shape), {"mask": rng.random(shape.mask) < 0.6})


@attention.regime
def causal(rng, shape):
    """Queries that see the keys up to their own position, and a mask"""
    options = {"mask": rng.random(shape.mask) < 0.8, "causal": "top_left"}
    return Case(inputs.attention(rng, shape), options)


@attention.regime
def bottom_right(rng, shape):
    """Cosine features, the last query at the last key"""
    options = {"features": "one_plus_cosine", "causal": "bottom_right"}
    return Case(inputs.attention(rng, shape), options)


@attention.regime
def taylor(rng, shape):
    """Quadratic Taylor features of small vectors, with eps"""
    q, k, v = inputs.attention(rng, shape)
    return Case((0.5 * q, 0.5 * k, v), {"features": "taylor_2", "eps": rng.random(shape.eps)})


@attention.regime(adversarial=True)
def negative(rng, shape):
    """Entries of -6 to -3: all features, and the denominators, are small"""
    q, k = (rng.uniform(-6.0, -3.0, s) for s in (shape.q, shape.k))
    return Case((q, k, rng.standard_normal(shape.v)))


@attention.regime(adversarial=True)
def disjoint(rng, shape):
    """Every third query shares no positive feature with any key: relu makes an empty row"""
    q, k, v = inputs.attention(rng, shape)
    q[..., ::3, :] = -np.abs(q[..., ::3, :]) - 0.5
    # Away from 0, where relu has a kink.
    q, k = (np.where(np.abs(x) < 0.1, 0.5, x) for x in (q, np.abs(k)))
    return Case((q, k, v), {"features": "relu"})


@attention.regime(adversarial=True, advisory=True)
def nan_under_mask(rng, shape):
    """Keys and values that are masked hold NaN"""
    q, k, v = inputs.attention(rng, shape)
    keep = np.arange(shape.axes["m"]) % 4 != 1
    k[..., ~keep, :] = v[..., ~keep, :] = np.nan
    return Case((q, k, v), {"mask": np.broadcast_to(keep, shape.mask).copy()})


@streamed.regime
def first_positions(rng, shape):
    """The start of a sequence"""
    return Case(inputs.attention(rng, shape))


@streamed.regime
def later_positions(rng, shape):
    """Sums over twenty positions before"""
    earlier = np.abs(rng.standard_normal((*shape.batch, 20, shape.axes["d"])))
    values = rng.standard_normal((*shape.batch, 20, shape.axes["v"]))
    options = {"state": earlier.swapaxes(-1, -2) @ values, "normaliser": earlier.sum(axis=-2)}
    return Case(inputs.attention(rng, shape), options)


@streamed.regime(adversarial=True)
def vanishing_features(rng, shape):
    """Entries of -6 to -3 after sums of order 1"""
    q, k, v = inputs.attention(rng, shape)
    options = later_positions(rng, shape).options
    return Case((q, rng.uniform(-6.0, -3.0, k.shape), v), options)


# ---------------------------------------------------------------------------------------- laws


def _size(case) -> float:
    """Values times how much larger the terms of a denominator may be than their sum."""
    values = np.nan_to_num(np.asarray(to_host(case.arrays[2]), dtype=float))
    return 16.0 * float(np.abs(values).max(initial=1.0)) * (1 + case.arrays[0].shape[-1])


attention.law(constant_values(2, _size, unless=("eps",)))


attention.law(linear_in(2, "values", _size))


@attention.law
def key_order(f, case):
    """Without causality, reordering keys, values and the mask together changes nothing"""
    if case.options.get("causal") is None:
        q, k, v = case.arrays
        mask = case.options.get("mask")
        options = {} if mask is None else {"mask": mask[..., ::-1]}
        turned = case.with_arrays(q, k[..., ::-1, :], v[..., ::-1, :]).with_options(**options)
        yield Claim(case.call(f), turned.call(f), _size(case))


@attention.law
def no_look_ahead(f, case):
    """With causality, the first output depends on the first keys alone"""
    if case.options.get("causal") != "top_left" or 0 in case.arrays[0].shape[-2:-1]:
        return
    q, k, v = case.arrays
    xp = namespace(q)
    later = (xp.arange(k.shape[-2]) > 0)[:, None]
    other = case.with_arrays(q, xp.where(later, -k, k), xp.where(later, 100.0, v).astype(v.dtype))
    yield Claim(case.call(f)[..., :1, :], other.call(f)[..., :1, :], 0.0)


@attention.law
def doubled_keys(f, case):
    """Every key twice changes nothing but the weight of eps"""
    if case.options.get("causal") is not None or case.options.get("eps") is not None:
        return
    xp = namespace(case.arrays[0])
    q, k, v = case.arrays
    mask = case.options.get("mask")
    options = {} if mask is None else {"mask": xp.concatenate([mask, mask], axis=-1)}
    twice = case.with_arrays(q, *(xp.concatenate([x, x], axis=-2) for x in (k, v)))
    yield Claim(twice.with_options(**options).call(f), case.call(f), _size(case))


@attention.law
def length_of_queries(f, case):
    """relu: the output does not depend on the length of the queries"""
    if case.options["features"] == "relu":
        q, k, v = case.arrays
        yield Claim(case.with_arrays(4.0 * q, k, v).call(f), case.call(f), _size(case))


@streamed.law
def resumed_anywhere(f, case):
    """A sequence in two parts, the second with the sums of the first, gives the same"""
    half = case.arrays[0].shape[-2] // 2
    first = case.with_arrays(*(x[..., :half, :] for x in case.arrays))
    output, state, normaliser = first.call(f)
    rest = case.with_arrays(*(x[..., half:, :] for x in case.arrays))
    later, *sums = rest.with_options(state=state, normaliser=normaliser).call(f)
    whole, *expected = case.call(f)
    xp = namespace(whole)
    yield Claim(xp.concatenate([output, later], axis=-2), whole, _size(case))
    for found, right in zip(sums, expected, strict=True):
        yield Claim(found, right, 64.0 * (1.0 + abs(right).max()))


@streamed.law
def ends_where_the_parallel_form_does(f, case):
    """From the start of a sequence, the last output is that over all keys at once"""
    if case.options.get("state") is None and case.arrays[0].shape[-2]:
        q, k, v = case.arrays
        last = linear_attention(q[..., -1:, :], k, v, features=case.options["features"])
        yield Claim(case.call(f)[0][..., -1:, :], last, _size(case))


@streamed.law
def sums_do_not_depend_on_queries(f, case):
    """S and z come from keys and values alone"""
    q, k, v = case.arrays
    for a, b in zip(case.call(f)[1:], case.with_arrays(-q, k, v).call(f)[1:], strict=True):
        yield Claim(a, b, 0.0)


# -------------------------------------------------------------------------------- closed forms


@attention.closed_form
def one_key(rng, shape):
    """A query that sees one key returns its value"""
    q, k, v = inputs.attention(rng, shape)
    n, m = shape.axes["n"], shape.axes["m"]
    first = v[..., :1, :] if m else np.zeros((1, v.shape[-1]))
    answer = np.broadcast_to(first, (*shape.batch, n, v.shape[-1]))
    return Case((q, k, v), {"mask": np.arange(m) == 0}), answer


@attention.closed_form
def equal_keys(rng, shape):
    """Equal keys average the values; causally, those so far"""
    q, k, v = inputs.attention(rng, shape)
    k = np.broadcast_to(k[..., :1, :], k.shape).copy()
    n, m = shape.axes["n"], shape.axes["m"]
    if m == 0:
        return Case((q, k, v)), np.zeros((*shape.batch, n, v.shape[-1]))
    counts = np.arange(1, m + 1)[:, None]
    running = np.cumsum(v, axis=-2) / counts
    answer = running[..., np.minimum(np.arange(n), m - 1), :]
    return Case((q, k, v), {"causal": "top_left"}), answer


@attention.closed_form
def orthogonal_keys(rng, shape):
    """relu features of keys e_1, e_2, ... make queries with weights q_j / sum q"""
    d, m = shape.axes["d"], shape.axes["m"]
    q = rng.uniform(0.5, 1.5, shape.q)
    k = np.broadcast_to(np.eye(m, d), shape.k).copy()
    v = rng.standard_normal(shape.v)
    used = min(d, m)
    total = q[..., :used] @ v[..., :used, :]
    answer = total / q[..., :used].sum(axis=-1)[..., None] if used else np.zeros_like(total)
    return Case((q, k, v), {"features": "relu"}), answer


@streamed.closed_form
def equal_positions(rng, shape):
    """Keys of zero: z counts the positions, S sums the values, outputs are running means"""
    q, k, v = inputs.attention(rng, shape)
    n, d = shape.axes["n"], shape.axes["d"]
    total = v.sum(axis=-2)
    state = np.broadcast_to(total[..., None, :], (*shape.batch, d, v.shape[-1]))
    output = np.cumsum(v, axis=-2) / np.arange(1, n + 1)[:, None]
    normaliser = np.full((*shape.batch, d), float(n))
    return Case((q, 0.0 * k, v)), (output, state, normaliser)


@streamed.closed_form
def heavy_past(rng, shape):
    """One position after a past of weight 3 and value 1: (3 + v)/4"""
    q, k, v = inputs.attention(rng, shape)
    d, width = shape.axes["d"], shape.axes["v"]
    ones = np.ones((*shape.batch, d))
    options = {"state": 3.0 * np.ones((*shape.batch, d, width)), "normaliser": 3.0 * ones}
    seen = np.cumsum(v, axis=-2)
    count = np.arange(1, v.shape[-2] + 1)[:, None]
    total = 3.0 + v.sum(axis=-2)
    state = np.broadcast_to(total[..., None, :], (*shape.batch, d, width))
    answer = ((3.0 + seen) / (3.0 + count), state, (3.0 + v.shape[-2]) * ones)
    return Case((q, 0.0 * k, v), options), answer
