"""Evidence for squared-relu attention and the gated attention unit."""

from __future__ import annotations

import numpy as np

from refimpl.attention.gated_unit import gated_attention_unit, squared_relu_attention
from refimpl.attention.softmax import softmax_attention
from refimpl.backend import namespace
from refimpl.evidence import Case, Claim, Evidence, Sizes, inputs
from refimpl.evidence.attention.shared import largest
from refimpl.evidence.laws import linear_in
from refimpl.evidence.mistakes import Textbook, wrong

_SMALL = Sizes(1, 1, 6)
_FIXED = {"divisor": "length_and_width"}

squared = Evidence(
    squared_relu_attention,
    sizes={"d": _SMALL, "v": _SMALL},
    empty=("n", "m"),
    fixed=_FIXED,
    combinations=({"causal": True, "offset": 2},),
    ties=({"m": "n"}, {"v": "d"}, {"v": "d", "m": "n"}),
)
unit = Evidence(
    gated_attention_unit,
    sizes={"n": Sizes(1, 1, 17), "e": _SMALL, "f": _SMALL, "s": _SMALL},
    fixed=_FIXED,
)


# ------------------------------------------------------------------------- attention: regimes


@squared.regime
def normal(rng, shape):
    """Standard normal queries, keys and values"""
    return Case(inputs.attention(rng, shape))


@squared.regime
def masked(rng, shape):
    """A random mask and a bias"""
    options = {"mask": rng.random(shape.mask) < 0.6, "bias": rng.standard_normal(shape.bias)}
    return Case(inputs.attention(rng, shape), options)


@squared.regime(adversarial=True)
def opposite(rng, shape):
    """Queries and keys of which every other pair points away from each other: weights of 0"""
    q, k, v = inputs.attention(rng, shape, 0.3)
    return Case((q + 1.0, k + (-1.0) ** np.arange(k.shape[-2])[:, None], v))


@squared.regime(adversarial=True)
def large(rng, shape):
    """Logits of several tens, which no softmax divides"""
    return Case(inputs.attention(rng, shape, 3.0))


# ---------------------------------------------------------------------------- attention: laws


def _size(case) -> float:
    q, k, v = map(largest, case.arrays)
    bias = case.options.get("bias")
    logit = q * k * case.arrays[0].shape[-1] + (0.0 if bias is None else largest(bias))
    return 8.0 * v * (1.0 + logit) ** 2


squared.law(linear_in(2, "values", _size))


@squared.law
def quadratic_in_queries(f, case):
    """Without a bias, queries twice as long have four times the output"""
    if case.options.get("bias") is None:
        q, k, v = case.arrays
        yield Claim(case.with_arrays(2.0 * q, k, v).call(f), 4.0 * case.call(f), 4.0 * _size(case))


@squared.law
def both_signs(f, case):
    """Without a bias, the outputs of q and -q add to that of squares without a relu"""
    if case.options.get("bias") is not None or case.options.get("causal") is not None:
        return
    q, k, v = case.arrays
    xp = namespace(q)
    m, d = k.shape[-2:]
    mask = case.options.get("mask")
    products = (q @ k.swapaxes(-1, -2)) ** 2
    products = products if mask is None else xp.where(mask, products, 0.0)
    first = case.options["divisor"] == "length_and_width"
    divisor = m * d if first else m * m
    total = case.call(f) + case.with_arrays(-q, k, v).call(f)
    yield Claim(total, products @ v / max(divisor, 1), _size(case))


@squared.closed_form
def constant_products(rng, shape):
    """Queries and keys of one: the mean of the values times d"""
    v = rng.standard_normal(shape.v)
    m, d = shape.axes["m"], shape.axes["d"]
    mean = d * v.sum(axis=-2, keepdims=True) / max(m, 1)
    answer = np.broadcast_to(mean, (*shape.batch, shape.axes["n"], v.shape[-1]))
    return Case((np.ones(shape.q), np.ones(shape.k), v)), answer


@squared.closed_form
def bias_alone(rng, shape):
    """Queries of zero and a bias of 2: four times the mean of the values"""
    _, k, v = inputs.attention(rng, shape)
    mean = 4.0 * v.sum(axis=-2, keepdims=True) / max(shape.axes["m"], 1)
    answer = np.broadcast_to(mean, (*shape.batch, shape.axes["n"], v.shape[-1]))
    return Case((np.zeros(shape.q), k, v), {"bias": np.full(shape.bias, 2.0)}), answer


# -------------------------------------------------------------------------- attention: mutants


@squared.mutant
def other_divisor(q, k, v, /, **options):
    """the divisor is the other one"""
    other = {"length_and_width": "length_squared", "length_squared": "length_and_width"}
    return squared_relu_attention(q, k, v, **options | {"divisor": other[options["divisor"]]})


@squared.mutant
def not_squared(q, k, v, /, **options):
    """the relu is not squared"""
    weights = squared_relu_attention(q, k, np.eye(k.shape[-2]), **options)
    m = max(k.shape[-2], 1)
    divisor = m if options["divisor"] == "length_and_width" else m * m
    return np.sqrt(weights / divisor) @ v


@squared.mutant
def square_without_relu(q, k, v, /, **options):
    """negative products count too: the square comes without a relu"""
    bias = options.get("bias")
    flipped = options | {"bias": None if bias is None else -bias}
    there, back = (
        squared_relu_attention(s * q, k, v, **o) for s, o in ((1, options), (-1, flipped))
    )
    return there + back


@squared.mutant
def divided_by_the_sum(q, k, v, /, **options):
    """the weights are divided by their sum"""
    total = squared_relu_attention(q, k, np.ones((k.shape[-2], 1)), **options)
    return squared_relu_attention(q, k, v, **options) / np.where(total == 0, 1, total)


@squared.mutant
def divided_by_the_kept(q, k, v, /, **options):
    """the length is the number of keys that are kept"""
    found = squared_relu_attention(q, k, v, **options)
    mask, m = options.get("mask"), k.shape[-2]
    if mask is None:
        return found
    kept = np.broadcast_to(mask, (*mask.shape[:-1], m)).sum(axis=-1, keepdims=True)
    return found * m / np.maximum(kept, 1)


@squared.mutant
def softmax_instead(q, k, v, /, **options):
    """it is softmax attention"""
    options.pop("divisor")
    return softmax_attention(q, k, v, **options)


wrong(squared, "causal is ignored", options={"causal": None, "offset": None})
wrong(squared, "the bias is left out", options={"bias": None})
wrong(
    squared,
    "the derivative of the square lacks its factor 2",
    gradient={"q": lambda x: x / 2, "k": lambda x: x / 2},
)


@squared.mutant(gradient=True)
def gradient_of_the_relu(g, q, k, v, /, **options):
    """negative products pass a gradient"""
    dq, dk, *rest = squared_relu_attention.vjp(g, q, k, v, **options)
    other = squared_relu_attention.vjp(g, -q, k, v, **options)
    return dq - other[0], dk + other[1], *rest


# -------------------------------------------------------------------------------- unit: regimes


def _weights(rng, shape):
    names = ("weight_gate", "weight_value", "weight_shared", "gain", "shift", "weight_out")
    return tuple(rng.standard_normal(getattr(shape, name)) for name in names)


@unit.regime
def ordinary(rng, shape):
    """Normal positions and weights"""
    return Case((rng.standard_normal(shape.x), *_weights(rng, shape)))


@unit.regime
def with_bias(rng, shape):
    """A mask and a bias"""
    options = {"mask": rng.random(shape.mask) < 0.7, "bias": rng.standard_normal(shape.bias)}
    return Case((rng.standard_normal(shape.x), *_weights(rng, shape)), options)


@unit.regime(adversarial=True)
def saturated(rng, shape):
    """Gates far on and far off"""
    x, (gate, value, shared, *rest) = rng.standard_normal(shape.x), _weights(rng, shape)
    return Case((x, 12.0 * gate, value, shared, *rest))


# ----------------------------------------------------------------------------------- unit: laws


def _unit_size(case) -> float:
    sizes = [largest(x) for x in case.arrays]
    e, f, s = case.arrays[1].shape[-2], case.arrays[1].shape[-1], case.arrays[3].shape[-1]
    dense = e * sizes[0]
    bias = case.options.get("bias")
    product = s * (sizes[4] * dense * sizes[3] + sizes[5]) ** 2
    product += 0.0 if bias is None else largest(bias)
    return f * sizes[6] * (dense * sizes[1]) * (dense * sizes[2]) * (1.0 + product) ** 2


@unit.law
def linear_in_the_output_layer(f, case):
    """Twice the output weights give twice the output"""
    *arrays, out = case.arrays
    doubled = case.with_arrays(*arrays, 2.0 * out)
    yield Claim(doubled.call(f), 2.0 * case.call(f), _unit_size(case))


@unit.law
def units_may_change_places(f, case):
    """Reordering gates with values, and shared features, changes nothing"""
    x, gate, value, shared, gain, shift, out = case.arrays
    turned = case.with_arrays(
        x,
        gate[..., ::-1],
        value[..., ::-1],
        shared[..., ::-1],
        gain[..., ::-1],
        shift[..., ::-1],
        out[..., ::-1, :],
    )
    yield Claim(turned.call(f), case.call(f), _unit_size(case))


@unit.law
def order_of_positions(f, case):
    """Without causality, masks and biases, reversed positions have reversed outputs"""
    if any(case.options.get(n) is not None for n in ("mask", "bias", "causal")):
        return
    x, *weights = case.arrays
    turned = case.with_arrays(x[..., ::-1, :], *weights)
    yield Claim(turned.call(f)[..., ::-1, :], case.call(f), _unit_size(case))


@unit.closed_form
def queries_and_keys_of_one(rng, shape):
    """gain 0 and shift 1: every query weighs every key by s, so V is averaged"""
    x, weights = rng.standard_normal(shape.x), _weights(rng, shape)
    gate, value, shared, gain, shift, out = weights

    def silu(t):
        return t / (1.0 + np.exp(-t))

    mean = shape.axes["s"] * silu(x @ value).mean(axis=-2, keepdims=True)
    answer = (silu(x @ gate) * mean) @ out
    return Case((x, gate, value, shared, 0.0 * gain, 0.0 * shift + 1.0, out)), answer


@unit.closed_form
def opposite_keys(rng, shape):
    """gain 0 and shifts of opposite sign: nothing is attended to"""
    x, weights = rng.standard_normal(shape.x), _weights(rng, shape)
    gate, value, shared, gain, shift, out = weights
    shift = np.broadcast_to(np.array([[1.0], [-1.0]]), shift.shape).copy()
    answer = np.zeros((*shape.batch, shape.axes["n"], shape.axes["e"]))
    return Case((x, gate, value, shared, 0.0 * gain, shift, out)), answer


# -------------------------------------------------------------------------------- unit: mutants


def _terms(x, gate, value, shared, gain, shift, out, /, **options):
    q, k = _affine(x, shared, gain, shift)
    u, v = _silu(x @ gate), _silu(x @ value)
    return {"u": u, "v": v, "q": q, "k": k, "weight_out": out, "options": options}


def _whole(u, v, q, k, weight_out, options):
    return (u * squared_relu_attention(q, k, v, **options)) @ weight_out


book = Textbook(unit, _terms, _whole)
book.wrong("the gate multiplies the values before the attention", u=1.0, v=lambda t: t.u * t.v)
book.wrong(
    "the gains and shifts of queries and keys are exchanged", q=lambda t: t.k, k=lambda t: t.q
)
book.wrong("the gate has no activation", u=lambda t: t.x @ t.weight_gate)
book.wrong(
    "the gate is a sigmoid, not t times a sigmoid",
    u=lambda t: 1.0 / (1.0 + np.exp(-t.x @ t.weight_gate)),
)
wrong(unit, "the shifts are left out", arrays={"shift": np.zeros_like})
book.wrong("the output is not gated", u=1.0)


def _silu(t):
    return t / (1.0 + np.exp(-t))


def _affine(x, shared, gain, shift):
    z = _silu(x @ shared)
    return (gain[..., i, None, :] * z + shift[..., i, None, :] for i in (0, 1))


@unit.mutant(gradient=True)
def gradient_of_activation_missing(g, *arrays, **options):
    """the derivative of the activation of the gate is taken for a sigmoid"""
    found = list(gated_attention_unit.vjp(g, *arrays, **options))
    x, gate, value, shared, gain, shift, out = arrays
    q, k = _affine(x, shared, gain, shift)
    attended = squared_relu_attention(q, k, _silu(x @ value), **options)
    t = x @ gate
    found[1] = x.swapaxes(-1, -2) @ (g @ out.swapaxes(-1, -2) * attended / (1.0 + np.exp(-t)))
    return tuple(found)


@unit.mutant(gradient=True)
def gradient_of_shared_features_once(g, *arrays, **options):
    """the shared features get the gradient of the queries alone"""
    x, gate, value, shared, gain, shift, out = arrays
    found = list(gated_attention_unit.vjp(g, *arrays, **options))
    q, k = _affine(x, shared, gain, shift)
    dattended = _silu(x @ gate) * (g @ out.swapaxes(-1, -2))
    dq = squared_relu_attention.vjp(dattended, q, k, _silu(x @ value), **options)[0]
    t = x @ shared
    slope = 1.0 / (1.0 + np.exp(-t))
    slope = slope * (1.0 + t * (1.0 - slope))
    found[3] = x.swapaxes(-1, -2) @ (gain[..., 0, None, :] * dq * slope)
    return tuple(found)
