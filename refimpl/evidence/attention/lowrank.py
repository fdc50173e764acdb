"""Evidence for Linformer, Synthesizer and cosFormer."""

from __future__ import annotations

import math

import numpy as np

from refimpl.attention.linear import linear_attention
from refimpl.attention.lowrank import (
    cosformer_attention,
    factorised_synthesizer_logits,
    linformer_attention,
    synthesizer_attention,
    synthesizer_logits,
)
from refimpl.backend import namespace
from refimpl.evidence import Case, Claim, Evidence, Sizes
from refimpl.evidence.attention.shared import largest
from refimpl.evidence.laws import constant_values, linear_in

_SMALL = Sizes(1, 1, 8)

linformer = Evidence(
    linformer_attention,
    sizes={"d": _SMALL, "v": _SMALL, "l": _SMALL, "m": Sizes(1, 1, 17)},
    empty=("n",),
    ties=({"m": "n"}, {"v": "d"}, {"v": "d", "m": "n"}),
)
synthesizer = Evidence(
    synthesizer_attention,
    sizes={"v": _SMALL},
    empty=("n", "m"),
    combinations=({"causal": True, "offset": 2},),
    ties=({"m": "n"},),
)
dense = Evidence(
    synthesizer_logits, sizes={"d": _SMALL, "h": _SMALL, "m": _SMALL}, empty=("n", "d", "h", "m")
)
factorised = Evidence(
    factorised_synthesizer_logits,
    sizes={"a": Sizes(1, 1, 8, 17), "b": Sizes(1, 1, 8, 17)},
    empty=("n",),
    fixed={"order": "tiled"},
)
cosformer = Evidence(
    cosformer_attention,
    sizes={"d": _SMALL, "v": _SMALL},
    empty=("n", "m"),
    fixed={"length": 64},
    options={"length": (128,), "eps": (0.5,)},
    combinations=({"causal": True, "offset": 3},),
    ties=({"m": "n"}, {"v": "d"}, {"v": "d", "m": "n"}),
)


# ----------------------------------------------------------------------------------- Linformer


def _projected(rng, shape):
    arrays = tuple(rng.standard_normal(s) for s in (shape.q, shape.k, shape.v))
    m = max(shape.axes["m"], 1)
    shapes = shape.key_projection, shape.value_projection
    return (*arrays, *(rng.standard_normal(s) / m**0.5 for s in shapes))


@linformer.regime
def normal(rng, shape):
    """Normal inputs and projections"""
    return Case(_projected(rng, shape))


@linformer.regime
def masked(rng, shape):
    """A random mask and a scale"""
    options = {"mask": rng.random(shape.mask) < 0.6, "scale": rng.uniform(0.2, 1.0, shape.scale)}
    return Case(_projected(rng, shape), options)


@linformer.regime(adversarial=True)
def sharp(rng, shape):
    """Logits of several tens"""
    q, k, *rest = _projected(rng, shape)
    return Case((4.0 * q, 4.0 * k, *rest))


@linformer.regime(adversarial=True)
def large_values(rng, shape):
    """Values with a common mean far above their spread"""
    q, k, v, *rest = _projected(rng, shape)
    return Case((q, k, v + 20.0, *rest))


def _condition(case) -> float:
    q, k, v, e, f = map(largest, case.arrays)
    m, d = case.arrays[1].shape[-2:]
    return (1.0 + q * k * e * m * d) * v * f * m


linformer.law(linear_in(2, "values", _condition))


@linformer.law
def projections_turn_with_the_sequence(f, case):
    """Reordering keys, values, the mask and the columns of both projections changes nothing"""
    q, k, v, e, h = case.arrays
    mask = case.options.get("mask")
    options = {} if mask is None else {"mask": mask[..., ::-1]}
    turned = case.with_arrays(q, k[..., ::-1, :], v[..., ::-1, :], e[..., ::-1], h[..., ::-1])
    yield Claim(turned.with_options(**options).call(f), case.call(f), _condition(case))


@linformer.law
def projected_keys_may_change_places(f, case):
    """Reordering the rows of both projections changes nothing"""
    q, k, v, e, h = case.arrays
    turned = case.with_arrays(q, k, v, e[..., ::-1, :], h[..., ::-1, :])
    yield Claim(turned.call(f), case.call(f), _condition(case))


@linformer.closed_form
def equal_rows(rng, shape):
    """Equal rows of the key projection average the rows of F V"""
    q, k, v, e, f = _projected(rng, shape)
    e = np.broadcast_to(e[..., :1, :], e.shape).copy()
    answer = np.broadcast_to(
        (f @ v).mean(axis=-2, keepdims=True), (*shape.batch, shape.axes["n"], v.shape[-1])
    )
    return Case((q, k, v, e, f)), answer


@linformer.closed_form
def one_row(rng, shape):
    """Projections whose other rows are far below: the first row of F V"""
    q, k, v, e, f = _projected(rng, shape)
    first = (np.arange(shape.axes["l"]) == 0)[:, None]
    q, k = np.ones(shape.q), np.ones(shape.k)
    e = np.where(first, 100.0, -100.0) / max(shape.axes["m"], 1) + 0.0 * e
    answer = np.broadcast_to((f @ v)[..., :1, :], (*shape.batch, shape.axes["n"], v.shape[-1]))
    return Case((q, k, v, e, f)), answer


# --------------------------------------------------------------------------------- Synthesizer


@synthesizer.regime
def free_logits(rng, shape):
    """Normal logits and values"""
    return Case((rng.standard_normal(shape.logits), rng.standard_normal(shape.v)))


@synthesizer.regime
def with_masks(rng, shape):
    """A random mask, with rows that keep nothing"""
    case = free_logits(rng, shape)
    mask = rng.random(shape.mask) < 0.6
    mask[..., ::3, :] = False
    return Case(case.arrays, {"mask": mask})


@synthesizer.regime(adversarial=True)
def huge_logits(rng, shape):
    """Logits of hundreds, whose exponentials overflow"""
    logits, v = free_logits(rng, shape).arrays
    return Case((200.0 * logits, v))


@synthesizer.law
def rows_may_be_shifted(f, case):
    """A number added to all logits of a row changes nothing"""
    logits, v = case.arrays
    size = largest(v) * (1.0 + largest(logits))
    yield Claim(case.with_arrays(logits + 0.5, v).call(f), case.call(f), size)


@synthesizer.law
def linear_in_the_values(f, case):
    """The output is linear in the values"""
    logits, v = case.arrays
    other = namespace(v).flip(v, axis=-1)
    left = case.with_arrays(logits, v - 0.5 * other).call(f)
    right = case.call(f) - 0.5 * case.with_arrays(logits, other).call(f)
    yield Claim(left, right, 4.0 * largest(v))


@synthesizer.closed_form
def equal_logits(rng, shape):
    """Equal logits average the values"""
    v = rng.standard_normal(shape.v)
    mean = v.sum(axis=-2, keepdims=True) / max(shape.axes["m"], 1)
    answer = np.broadcast_to(mean, (*shape.batch, shape.axes["n"], v.shape[-1]))
    return Case((np.full(shape.logits, 3.0), v)), answer


@synthesizer.closed_form
def powers_of_two(rng, shape):
    """Logits j log 2: weights 2^j/(2^m - 1)"""
    m = shape.axes["m"]
    v = rng.standard_normal(shape.v)
    weights = 2.0 ** np.arange(m) / max(2.0**m - 1.0, 1.0)
    logits = np.broadcast_to(math.log(2.0) * np.arange(m), shape.logits).copy()
    mean = (weights[:, None] * v).sum(axis=-2, keepdims=True)
    return Case((logits, v)), np.broadcast_to(mean, (*shape.batch, shape.axes["n"], v.shape[-1]))


def _network(rng, shape):
    """Units whose inputs are not near 0, where relu has a kink."""
    x = rng.uniform(0.5, 1.0, shape.x) * rng.choice([-1.0, 1.0], shape.x)
    weight = 0.5 * rng.uniform(-1.0, 1.0, shape.weight_in) / max(shape.axes["d"], 1)
    bias = rng.uniform(0.75, 2.0, shape.bias_in) * rng.choice([-1.0, 1.0], shape.bias_in)
    return (
        x,
        weight,
        bias,
        rng.standard_normal(shape.weight_out),
        rng.standard_normal(shape.bias_out),
    )


@dense.regime
def away_from_the_kink(rng, shape):
    """Hidden units that are clearly on or off"""
    return Case(_network(rng, shape))


@dense.regime(adversarial=True)
def mostly_off(rng, shape):
    """Most hidden units are off"""
    x, weight, bias, *rest = _network(rng, shape)
    return Case((x, weight, np.where(rng.random(bias.shape) < 0.8, -np.abs(bias), bias), *rest))


@dense.law
def affine_in_the_second_layer(f, case):
    """Logits are affine in the weights of the second layer"""
    x, w, b, out, shift = case.arrays
    left = f(x, w, b, 2.0 * out, shift)
    yield Claim(left, 2.0 * case.call(f) - shift[..., None, :], _terms(case))


def _terms(case):
    """The sizes of the sums behind the logits."""
    x, w, b, out, shift = case.arrays
    hidden = 2.0 + largest(x) * abs(w).sum() + largest(b)
    return 1.0 + abs(out).sum(axis=-2, keepdims=True) * hidden + abs(shift[..., None, :])


@dense.law
def units_may_change_places(f, case):
    """Reordering the hidden units changes nothing"""
    x, w, b, out, shift = case.arrays
    turned = f(x, w[..., ::-1], b[..., ::-1], out[..., ::-1, :], shift)
    yield Claim(turned, case.call(f), _terms(case))


@dense.closed_form
def all_off(rng, shape):
    """Units that are off leave the second bias"""
    x, w, b, out, shift = _network(rng, shape)
    answer = np.broadcast_to(shift[..., None, :], (*shape.batch, shape.axes["n"], shape.axes["m"]))
    return Case((x, w, -np.abs(b), out, shift)), answer


@dense.closed_form
def all_on(rng, shape):
    """Units that are on make two affine maps"""
    x, w, b, out, shift = _network(rng, shape)
    hidden = x @ w + np.abs(b)[..., None, :]
    return Case((x, w, np.abs(b), out, shift)), hidden @ out + shift[..., None, :]


@factorised.regime
def normal_factors(rng, shape):
    """Standard normal factors, in either order"""
    arrays = rng.standard_normal(shape.first), rng.standard_normal(shape.second)
    return Case(arrays, {"order": str(rng.choice(["tiled", "outer"]))})


@factorised.regime(adversarial=True)
def many_sizes(rng, shape):
    """Factors over six decades, in which every place shows"""
    arrays = (10.0 ** rng.uniform(-3, 3, x) for x in (shape.first, shape.second))
    return Case(tuple(arrays), {"order": str(rng.choice(["tiled", "outer"]))})


@factorised.law
def rows_of_an_outer_product(f, case):
    """Row by row, the logits are the entries of A^T B: all of them, if a and b are coprime"""
    first, second = case.arrays
    xp, a, b = namespace(first), first.shape[-1], second.shape[-1]
    outer = (first[..., :, None] * second[..., None, :]).reshape(*first.shape[:-1], a * b)
    found = case.call(f)
    if case.options["order"] == "outer":
        yield Claim(found, outer, largest(first) * largest(second))
    elif math.gcd(a, b) == 1:
        yield Claim(
            xp.sort(found, axis=-1), xp.sort(outer, axis=-1), largest(first) * largest(second)
        )


@factorised.law
def homogeneous_in_each_factor(f, case):
    """Twice A, or twice B, gives twice the logits"""
    first, second = case.arrays
    size = 2.0 * largest(first) * largest(second)
    yield Claim(case.with_arrays(2.0 * first, second).call(f), 2.0 * case.call(f), size)
    yield Claim(case.with_arrays(first, 2.0 * second).call(f), 2.0 * case.call(f), size)


@factorised.closed_form
def ones_are_neutral(rng, shape):
    """A of ones: B, a times over"""
    second = rng.standard_normal(shape.second)
    answer = np.tile(second, shape.axes["a"])
    return Case((np.ones(shape.first), second)), np.broadcast_to(
        answer, (*shape.batch, *answer.shape[-2:])
    )


@factorised.closed_form
def digits(rng, shape):
    """B of ones, "outer": every entry of A, b times in a row"""
    first = rng.standard_normal(shape.first)
    answer = np.repeat(first, shape.axes["b"], axis=-1)
    return Case((first, np.ones(shape.second)), {"order": "outer"}), np.broadcast_to(
        answer, (*shape.batch, *answer.shape[-2:])
    )


# ----------------------------------------------------------------------------------- cosFormer


def _arrays(rng, shape):
    """Queries and keys away from 0, where relu has a kink."""
    q, k = (rng.standard_normal(s) for s in (shape.q, shape.k))
    q, k = (np.where(np.abs(x) < 0.1, 0.5, x) for x in (q, k))
    return q, k, rng.standard_normal(shape.v)


@cosformer.regime
def ordinary(rng, shape):
    """Normal queries, keys and values"""
    return Case(_arrays(rng, shape))


@cosformer.regime
def causal_and_masked(rng, shape):
    """Causal, with a mask"""
    options = {"mask": rng.random(shape.mask) < 0.7, "causal": "top_left"}
    return Case(_arrays(rng, shape), options)


@cosformer.regime
def with_eps(rng, shape):
    """Something added to each denominator"""
    return Case(_arrays(rng, shape), {"eps": rng.uniform(0.1, 1.0, shape.eps)})


@cosformer.regime(adversarial=True)
def just_long_enough(rng, shape):
    """A length of the longer sequence, so that the farthest weights are nearly 0"""
    length = max(shape.axes["n"], shape.axes["m"], 1)
    return Case(_arrays(rng, shape), {"length": length})


@cosformer.regime(adversarial=True)
def features_off(rng, shape):
    """Every third query has no positive feature"""
    q, k, v = _arrays(rng, shape)
    q[..., ::3, :] = -np.abs(q[..., ::3, :])
    return Case((q, k, v))


def _spread(case) -> float:
    return 64.0 * largest(case.arrays[2]) * case.arrays[0].shape[-1]


cosformer.law(constant_values(2, _spread, unless=("eps",)))


@cosformer.law
def direction_of_time(f, case):
    """Without causality, reversing queries and keys with as many positions reverses the output"""
    q, k, v = case.arrays
    if case.options.get("causal") is None and q.shape[-2] == k.shape[-2]:
        mask = case.options.get("mask")
        options = {} if mask is None else {"mask": mask[..., ::-1]}
        turned = case.with_arrays(*(x[..., ::-1, :] for x in (q, k, v))).with_options(**options)
        yield Claim(turned.call(f)[..., ::-1, :], case.call(f), _spread(case))


@cosformer.law
def very_long(f, case):
    """A very long length leaves linear attention with relu features"""
    q, k, v = case.arrays
    options = {n: case.options.get(n) for n in ("mask", "causal", "eps", "offset")}
    expected = linear_attention(q, k, v, features="relu", **options)
    far = case.with_options(length=2**40)
    yield Claim(far.call(f), expected, _spread(case))


@cosformer.closed_form
def ones(rng, shape):
    """Queries and keys of one: weights cos(pi (i - j)/2M) over their sum"""
    n, m = shape.axes["n"], shape.axes["m"]
    v = rng.standard_normal(shape.v)
    weights = np.cos(np.pi * (np.arange(n)[:, None] - np.arange(m)) / 128.0)
    total = weights.sum(axis=-1, keepdims=True)
    answer = weights / np.where(total == 0, 1, total) @ v
    return Case((np.ones(shape.q), np.ones(shape.k), v)), answer


@cosformer.closed_form
def one_key(rng, shape):
    """A query that sees one key returns its value"""
    _, _, v = _arrays(rng, shape)
    m = shape.axes["m"]
    first = v[..., :1, :] if m else np.zeros((1, v.shape[-1]))
    answer = np.broadcast_to(first, (*shape.batch, shape.axes["n"], v.shape[-1]))
    return Case((np.ones(shape.q), np.ones(shape.k), v), {"mask": np.arange(m) == 0}), answer
