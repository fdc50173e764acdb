"""Wrong variants of softmax attention: the bugs that public code had, and their neighbours."""

from __future__ import annotations

import functools

import numpy as np

from refimpl.attention.masks import band
from refimpl.attention.softmax import (
    attention_logsumexp,
    attention_weights,
    capped,
    softmax_attention,
)
from refimpl.core import softmax_terms, weighted_sum
from refimpl.evidence.attention.shared import other_corner
from refimpl.evidence.attention.softmax import (
    ALL,
    attention,
    logsumexp,
    parts_of,
    visible,
    weights,
)
from refimpl.evidence.mistakes import Textbook, wrong

# One wrong set of logits makes three wrong formulas: output, weights and log-sum-exp.


def _terms(*arrays, **options):
    """What the logits are made of, the final logits, and which of them are kept."""
    inner, scale, keep, bias = parts_of(arrays, options)
    sink = options.get("sink")
    asked = {name: options.get(name) for name in ("mask", "causal", "offset", "softcap")}
    return asked | {
        "inner": inner,
        "scale": scale,
        "bias": bias,
        "scores": capped(inner * scale, options.get("softcap")) + bias,
        "in_band": visible(parts_of(arrays, options | {"mask": None})[2], bias),
        "keep": visible(keep, bias),
        "sink": None if sink is None else np.asarray(sink, dtype=float),
        "empty": options.get("empty", "zero"),
        "v": arrays[-1],
    }


def _whole(of, *, scores, keep, sink, empty, v, **_):
    found, total, _ = softmax_terms(scores, keep, sink, empty)
    return {
        "softmax_attention": lambda: weighted_sum(found, v),
        "attention_weights": lambda: found,
        "attention_logsumexp": lambda: total,
    }[of.formula.name]()


BOOKS = [Textbook(of, _terms, functools.partial(_whole, of)) for of in ALL]


def wrong_logits(says, **changes):
    """The same wrong terms in all three formulas."""
    for book in BOOKS:
        book.wrong(says, **changes)


def _masked_scores(q, k, options):
    t = _terms(q, k, **options)
    return np.where(t["keep"], t["scores"], -np.inf)


wrong(ALL, "The scale 1/sqrt(d) is missing", options={"scale": 1.0})
wrong(
    ALL,
    "The logits are divided by d instead of sqrt(d)",
    options=lambda options, arrays: options | {"scale": 1.0 / arrays[0].shape[-1]},
)
wrong(
    ALL,
    "The scale is taken from the number of keys instead of the feature dimension",
    options=lambda options, arrays: options | {"scale": max(arrays[1].shape[-2], 1) ** -0.5},
)


@attention.mutant
def scale_from_value_dimension(q, k, v, /, **options):
    """The scale is taken from the value dimension instead of the key dimension"""
    return softmax_attention(q, k, v, **options | {"scale": max(v.shape[-1], 1) ** -0.5})


wrong_logits(
    "The soft cap is applied after the mask, so that masked keys keep weight",
    keep=lambda t: t.keep if t.softcap is None else np.ones_like(t.keep),
    scores=lambda t: capped(np.where(t.keep, t.inner * t.scale + t.bias, -np.inf), t.softcap),
    source="https://github.com/onnx/onnx/issues/7865",
)
wrong_logits(
    "The soft cap is applied after the bias",
    name="softcap_after_bias",
    scores=lambda t: capped(t.inner * t.scale + t.bias, t.softcap),
)
wrong_logits(
    "The soft cap is tanh(x / c) without the factor c",
    scores=lambda t: capped(t.inner * t.scale, t.softcap) / (t.softcap or 1.0) + t.bias,
)
wrong_logits(
    "The soft cap is applied before the scale",
    scores=lambda t: capped(t.inner, t.softcap) * t.scale + t.bias,
)
wrong_logits(
    "The bias is added before the scale",
    scores=lambda t: capped((t.inner + t.bias) * t.scale, t.softcap),
)
wrong_logits(
    "The bias is subtracted", scores=lambda t: capped(t.inner * t.scale, t.softcap) - t.bias
)
wrong(
    ALL,
    "The mask has the opposite polarity: True drops",
    options={"mask": np.logical_not},
    source="https://github.com/pytorch/pytorch/issues/21518",
)
wrong_logits(
    "The boolean mask is added as 0/1 instead of selecting",
    keep=lambda t: t.in_band,
    scores=lambda t: t.scores + (0.0 if t.mask is None else t.mask.astype(t.inner.dtype)),
    source="https://github.com/pytorch/pytorch/pull/120668",
)
wrong_logits(
    "Masked logits are set to -100 instead of -inf, so that masked keys keep weight",
    keep=lambda t: np.ones_like(t.keep),
    scores=lambda t: np.where(t.keep, t.scores, -100.0),
)
wrong_logits(
    "Masked logits are set to 0 instead of -inf",
    keep=lambda t: np.ones_like(t.keep),
    scores=lambda t: np.where(t.keep, t.scores, 0.0),
)
wrong(
    ALL,
    "The causal option is ignored",
    options=lambda options, _: options | {"causal": None, "offset": options.get("offset") or 0},
    source="https://github.com/keras-team/keras/issues/23038",
)
wrong(
    ALL,
    "The causal mask is aligned at the other corner (top left against bottom right)",
    options={"causal": other_corner},
    source="https://github.com/pytorch/pytorch/issues/108108",
)


def _shifted_band(options, arrays, shift):
    """The same band with the diagonal moved: as offset, because that is what an off-by-one does."""
    causal = options.get("causal")
    if not causal:
        return options
    n, m = arrays[0].shape[-2], arrays[1].shape[-2]
    start = band(n, m, causal, options.get("window"), options.get("offset")).offset
    left, right = options.get("window") or (None, None)
    left = None if left is None or left < 0 else left + shift
    return options | {"causal": True, "window": (left, right), "offset": start + shift}


wrong(
    ALL,
    "The causal mask hides the diagonal: a query does not see its own position",
    options=lambda options, arrays: _shifted_band(options, arrays, -1),
)
wrong(
    ALL,
    "The causal mask lets a query see one future key",
    options=lambda options, arrays: _shifted_band(options, arrays, 1),
)


def _ahead(t):
    """Which keys are seen where the triangle is upper."""
    if not t.causal:
        return t.keep
    n, m = t.inner.shape[-2:]
    start = band(n, m, t.causal, None, t.offset).offset
    ahead = np.arange(m) >= np.arange(n)[:, None] + start
    return visible(ahead if t.mask is None else ahead & t.mask, t.bias)


wrong_logits("The causal mask is upper triangular: queries see the future", keep=_ahead)
wrong(
    ALL,
    "The window is ignored",
    options={"window": None},
    source="https://github.com/jax-ml/jax/issues/32300",
)


def _resized(window, change):
    """The window with another left end, where that is bounded."""
    left, right = window
    return left if left is None or left < 0 else change(left), right


wrong(
    ALL,
    "The window counts the key at the query's own position: one key too few on the left",
    options={"window": lambda window: _resized(window, lambda left: max(left - 1, 0))},
    source="https://github.com/huggingface/transformers/issues/39408",
)
wrong(
    ALL,
    "The window has one key too many on the left",
    options={"window": lambda window: _resized(window, lambda left: left + 1)},
)
wrong(
    ALL, "Left and right of the window are swapped", options={"window": lambda window: window[::-1]}
)
wrong(
    ALL,
    "The offset of the first query (cached keys) is ignored",
    name="offset_ignored",
    options={"offset": lambda _: 0},
)
wrong(ALL, "The sink enters with the opposite sign", options={"sink": lambda sink: -1.0 * sink})


@attention.mutant
def sink_outside_maximum(q, k, v, /, **options):
    """The sink is not part of the row maximum, and is added as exp(b) to the shifted sum"""
    sink = options.get("sink")
    plain = attention_weights(q, k, **options | {"sink": None})
    if sink is None:
        return weighted_sum(plain, v)
    shifted = plain / plain.max(axis=-1, keepdims=True, initial=1e-300)
    extra = np.exp(np.asarray(sink, dtype=float))[..., None, None]
    return weighted_sum(shifted / (shifted.sum(axis=-1, keepdims=True) + extra), v)


def _overflowing(t):
    """NaN in rows whose exponentials overflow."""
    scores = np.where(t.keep, t.scores, -np.inf)
    with np.errstate(all="ignore"):
        overflow = np.exp(scores.astype(np.float64)).sum(axis=-1, keepdims=True) == np.inf
    return np.where(overflow, np.nan, scores)


wrong_logits(
    "The row maximum is not subtracted, so that exponentials overflow", scores=_overflowing
)


@weights.mutant
def weights_over_queries(q, k, /, **options):
    """The softmax runs over the queries instead of the keys"""
    scores = _masked_scores(q, k, options)
    peak = scores.max(axis=-2, keepdims=True, initial=-np.inf)
    terms = np.exp(scores - np.where(np.isfinite(peak), peak, 0.0))
    total = terms.sum(axis=-2, keepdims=True)
    return np.where(total > 0.0, terms / np.where(total > 0.0, total, 1.0), 0.0)


@attention.mutant
def softmax_over_queries(q, k, v, /, **options):
    """The softmax runs over the queries instead of the keys"""
    return weighted_sum(weights_over_queries(q, k, **options), v)


@attention.mutant(source="https://github.com/rasbt/LLMs-from-scratch/issues/1061")
def not_renormalised(q, k, v, /, **options):
    """The mask is applied after the softmax, without normalising again"""
    free = {
        name: value for name, value in options.items() if name not in ("mask", "causal", "window")
    }
    inner, _, keep, bias = parts_of((q, k), options)
    found = attention_weights(q, k, **free)
    return weighted_sum(np.where(visible(keep, bias), found, 0.0), v)


@attention.mutant
def first_batch_entry_for_all(q, k, v, /, **options):
    """Every batch entry (head) reads the keys and values of the first one"""
    if k.ndim == 2:
        return softmax_attention(q, k, v, **options)
    first = (slice(1),) * (k.ndim - 2)
    return softmax_attention(q, k[first], np.broadcast_to(v[first], v.shape), **options)


@attention.mutant
def values_last_key_dropped(q, k, v, /, **options):
    """The last key of every row is dropped (ragged tail)"""
    if k.shape[-2] < 2:
        return softmax_attention(q, k, v, **options)
    mask = np.arange(k.shape[-2])[None, :] < k.shape[-2] - 1
    if options.get("mask") is not None:
        mask = mask & options["mask"]
    return softmax_attention(q, k, v, **options | {"mask": mask})


wrong(
    logsumexp,
    "The log-sum-exp of an empty row is +inf instead of -inf",
    output=lambda y: np.where(y == -np.inf, np.inf, y),
    source="https://github.com/Dao-AILab/flash-attention/pull/978",
)


@logsumexp.mutant
def maximum_only(q, k, /, **options):
    """The log-sum-exp is only the row maximum"""
    scores = _masked_scores(q, k, options)
    return scores.max(axis=-1, initial=-np.inf)


@logsumexp.mutant
def maximum_not_added_back(q, k, /, **options):
    """The row maximum is not added back"""
    found = attention_logsumexp(q, k, **options)
    peak = maximum_only(q, k, **options)
    return np.where(np.isfinite(peak), found - np.where(np.isfinite(peak), peak, 0.0), found)


# ---------------------------------------------------------------------------- gradient mutants


def _unscaled(gradients, arrays, options):
    dq, dk, *rest = gradients
    factor = parts_of(arrays, options)[1]
    return dq / factor, dk / factor, *rest


wrong(ALL, "The gradients of q and k lack the scale", gradient=_unscaled)


def _nan_where_nothing_is_seen(gradients, arrays, options):
    _, _, keep, bias = parts_of(arrays, options)
    empty = ~visible(keep, bias).any(axis=-1)
    if not empty.any() or options.get("sink") is not None:
        return gradients
    dq, dk, *rest = gradients
    touched = np.broadcast_to(empty, dq.shape[:-1]).any(axis=-1)[..., None, None]
    dk = np.where(touched, np.nan, dk)
    if len(arrays) == 3:
        rest[0] = np.where(touched, np.nan, rest[0])
    return np.where(empty[..., None], np.nan, dq), dk, *rest


wrong(
    ALL,
    "Rows that see no key have NaN gradients",
    source="https://github.com/pytorch/pytorch/issues/41508",
    gradient=_nan_where_nothing_is_seen,
)


@attention.mutant(gradient=True)
def mean_not_subtracted(g, q, k, v, /, **options):
    """The softmax gradient lacks the term -<g, O>"""
    _, _, dv, *rest = softmax_attention.vjp(g, q, k, v, **options)
    found = attention_weights(q, k, **options)
    factor = parts_of((q, k), options)[1]
    dscores = np.where(found > 0, found * (g @ v.swapaxes(-1, -2)), 0.0)
    return factor * dscores @ k, factor * dscores.swapaxes(-1, -2) @ q, dv, *rest


@attention.mutant(gradient=True)
def softcap_slope_ignored(g, q, k, v, /, **options):
    """The gradient ignores the slope of the soft cap"""
    cap = options.get("softcap")
    if cap is None:
        return softmax_attention.vjp(g, q, k, v, **options)
    inner, scale, _, bias = parts_of((q, k), options)
    moved = capped(inner * scale, cap) - inner * scale + bias
    changed = options | {"softcap": None, "bias": moved}
    dq, dk, dv, *rest = softmax_attention.vjp(g, q, k, v, **changed)
    given = options.get("bias") is not None
    return (dq, dk, dv, *rest) if given else (dq, dk, dv, *rest[1:])


wrong(
    attention,
    "The gradient of the values goes to the wrong keys",
    gradient={"v": lambda x: x[..., ::-1, :]},
)


@attention.mutant(gradient=True)
def value_gradient_is_the_cotangent(g, q, k, v, /, **options):
    """The gradient of the values uses uniform weights"""
    dq, dk, dv, *rest = softmax_attention.vjp(g, q, k, v, **options)
    return dq, dk, np.broadcast_to(g.mean(axis=-2, keepdims=True), dv.shape), *rest
