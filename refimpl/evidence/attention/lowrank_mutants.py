"""Wrong variants of Linformer, Synthesizer and cosFormer."""

from __future__ import annotations

import numpy as np

from refimpl.attention.linear import linear_attention
from refimpl.attention.lowrank import (
    cosformer_attention,
    factorised_synthesizer_logits,
    linformer_attention,
    synthesizer_attention,
    synthesizer_logits,
)
from refimpl.attention.softmax import softmax_attention
from refimpl.core import softmax
from refimpl.evidence.attention.lowrank import (
    cosformer,
    dense,
    factorised,
    linformer,
    synthesizer,
)
from refimpl.evidence.mistakes import wrong


def _kept(x, mask):
    return x if mask is None else np.where(mask[..., None], x, 0.0)


# ----------------------------------------------------------------------------------- Linformer


wrong(
    linformer,
    "the projections of keys and values are exchanged",
    arrays={"key_projection": "value_projection", "value_projection": "key_projection"},
)
wrong(
    linformer,
    "the projection of the keys is used for the values too",
    arrays={"value_projection": "key_projection"},
)
wrong(linformer, "the mask is ignored", options={"mask": None})


@linformer.mutant
def scale_of_the_projection(q, k, v, e, f, /, *, mask=None, scale=None):
    """the logits are divided by the root of the number of projected keys"""
    scale = e.shape[-2] ** -0.5 if scale is None else scale
    return linformer_attention(q, k, v, e, f, mask=mask, scale=scale)


@linformer.mutant
def projection_after_the_softmax(q, k, v, e, f, /, *, mask=None, scale=None):
    """the softmax runs over all keys, and the weights are projected"""
    weights = softmax_attention(q, _kept(k, mask), np.eye(k.shape[-2]), scale=scale)
    return (weights @ e.swapaxes(-1, -2)) @ (f @ _kept(v, mask))


wrong(
    linformer,
    "the projections are taken for constants",
    gradient={"key_projection": lambda x: 0.0 * x, "value_projection": lambda x: 0.0 * x},
)


@linformer.mutant(gradient=True)
def gradient_of_masked_keys(g, q, k, v, e, f, /, *, mask=None, **options):
    """masked keys and values get a gradient"""
    full = linformer_attention.vjp(g, q, _kept(k, mask), _kept(v, mask), e, f, **options)
    right = linformer_attention.vjp(g, q, k, v, e, f, mask=mask, **options)
    return right[0], full[1], full[2], *right[3:]


# --------------------------------------------------------------------------------- Synthesizer


@synthesizer.mutant
def over_queries(logits, v, /, **options):
    """the softmax runs over the queries"""
    return (softmax(logits, axis=-2) if logits.shape[-2] else logits) @ v


@synthesizer.mutant
def logits_as_weights(logits, v, /, **options):
    """there is no softmax"""
    return logits @ v


@synthesizer.mutant
def scaled_logits(logits, v, /, **options):
    """the logits are divided by the root of the number of keys"""
    return synthesizer_attention(logits * max(logits.shape[-1], 1) ** -0.5, v, **options)


@synthesizer.mutant(gradient=True)
def gradient_as_sigmoid(g, logits, v, /, **options):
    """the gradient in the logits is that of independent sigmoids"""
    dlogits, dv = synthesizer_attention.vjp(g, logits, v, **options)
    weights = synthesizer_attention(logits, np.eye(v.shape[-2]), **options)
    return weights * (1 - weights) * (g @ v.swapaxes(-1, -2)), dv


@dense.mutant
def relu_left_out(x, w, b, out, shift, /):
    """there is no relu"""
    return (x @ w + b[..., None, :]) @ out + shift[..., None, :]


wrong(dense, "relu is applied to the logits too", output=lambda y: np.maximum(y, 0))


@dense.mutant(gradient=True)
def gradient_through_units_that_are_off(g, x, w, b, out, shift, /):
    """units that are off pass a gradient"""
    found = synthesizer_logits.vjp(g, x, w, b, out, shift)
    dhidden = g @ out.swapaxes(-1, -2)
    return (
        dhidden @ w.swapaxes(-1, -2),
        x.swapaxes(-1, -2) @ dhidden,
        dhidden.sum(axis=-2),
        *found[3:],
    )


@dense.mutant(gradient=True)
def gradient_of_biases_missing(g, x, w, b, out, shift, /):
    """the biases are taken for constants"""
    found = synthesizer_logits.vjp(g, x, w, b, out, shift)
    return found[0], found[1], 0.0 * found[2], found[3], 0.0 * found[4]


wrong(
    factorised,
    "the other order is taken",
    options={"order": {"tiled": "outer", "outer": "tiled"}.get},
)


@factorised.mutant
def second_index_runs_slowly(first, second, /, *, order):
    """B has the slow index, A the fast one"""
    return factorised_synthesizer_logits(second, first, order="outer")


@factorised.mutant
def sum_of_factors(first, second, /, *, order):
    """the factors are added"""
    left = factorised_synthesizer_logits(first, np.ones_like(second), order=order)
    return left + factorised_synthesizer_logits(np.ones_like(first), second, order=order)


@factorised.mutant(gradient=True)
def gradient_of_one_place(g, first, second, /, *, order):
    """each entry gets the gradient of its first place alone"""
    left, right = (
        factorised_synthesizer_logits(*pair, order=order)
        for pair in ((first, np.ones_like(second)), (np.ones_like(first), second))
    )
    a, b = first.shape[-1], second.shape[-1]
    step = 1 if order == "tiled" else b
    return (g * right)[..., : a * step : step], (g * left)[..., :b]


@factorised.mutant(gradient=True)
def gradients_exchanged_factors(g, first, second, /, *, order):
    """the cotangent is not multiplied by the other factor"""
    ones = np.ones_like(first), np.ones_like(second)
    return factorised_synthesizer_logits.vjp(g, *ones, order=order)


# ----------------------------------------------------------------------------------- cosFormer


@cosformer.mutant
def length_of_the_call(q, k, v, /, **options):
    """the length is that of the longer sequence in the call"""
    longest = max(q.shape[-2], k.shape[-2], 1)
    shift = options.get("offset") or 0
    return cosformer_attention(q, k, v, **options | {"length": longest + max(shift, 0)})


@cosformer.mutant
def whole_half_wave(q, k, v, /, **options):
    """the angle is pi (i - j)/M, twice as much"""
    if options["length"] < 2 * max(q.shape[-2] + (options.get("offset") or 0), k.shape[-2], 1):
        return cosformer_attention(q, k, v, **options)
    return cosformer_attention(q, k, v, **options | {"length": options["length"] // 2})


@cosformer.mutant
def weights_do_not_fall(q, k, v, /, **options):
    """there is no cosine: it is linear attention with relu features"""
    options.pop("length")
    return linear_attention(q, k, v, features="relu", **options)


@cosformer.mutant
def cosine_of_the_sum(q, k, v, /, **options):
    """sines are subtracted: the weight is cos(pi (i + j)/2M)"""
    length, start = options.pop("length"), options.get("offset") or 0
    if options.get("causal") == "bottom_right":
        start = k.shape[-2] - q.shape[-2]
    features = []
    for x, shift, sign in ((q, start, 1.0), (k, 0, -1.0)):
        angles = np.pi * (np.arange(x.shape[-2]) + shift)[:, None] / (2 * length)
        x = np.maximum(x, 0)
        features.append(np.concatenate([x * np.cos(angles), sign * x * np.sin(angles)], axis=-1))
    return linear_attention(*features, v, features="identity", **options)


@cosformer.mutant
def not_rectified(q, k, v, /, **options):
    """the absolute value of the queries is taken instead of their positive part"""
    return cosformer_attention(np.abs(q), k, v, **options)


wrong(cosformer, "the mask is ignored", name="mask_is_ignored", options={"mask": None})
wrong(cosformer, "causal is ignored", options={"causal": None, "offset": None})


@cosformer.mutant(gradient=True)
def gradient_through_the_kink(g, q, k, v, /, **options):
    """negative queries get the gradient of positive ones"""
    found = cosformer_attention.vjp(g, q, k, v, **options)
    other = cosformer_attention.vjp(g, np.abs(q), k, v, **options)
    return np.where(q > 0, found[0], other[0]), *found[1:]


@cosformer.mutant(gradient=True)
def gradient_without_cosine(g, q, k, v, /, **options):
    """the gradients are those of linear attention with relu features"""
    options.pop("length")
    return linear_attention.vjp(g, q, k, v, features="relu", **options)
