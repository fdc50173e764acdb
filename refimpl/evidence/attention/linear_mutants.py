"""Wrong variants of linear attention: the bugs that public code had, and their neighbours."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from refimpl.attention.features import feature_map
from refimpl.attention.linear import linear_attention, streamed_linear_attention
from refimpl.attention.masks import band
from refimpl.attention.softmax import softmax_attention
from refimpl.evidence.attention.linear import attention, streamed
from refimpl.evidence.attention.shared import other_corner
from refimpl.evidence.mistakes import Textbook, wrong, wrong_gradients


def _terms(q, k, v, /, *, features, degree=2, mask=None, eps=None, empty="zero", **aligned):
    """Features of q and k (0 where masked), and which pairs are seen."""
    qf, kf = (feature_map(np.nan_to_num(x), features=features, degree=degree) for x in (q, k))
    n, m = q.shape[-2], k.shape[-2]
    is_causal = bool(aligned.get("causal"))
    return {
        "qf": qf,
        "kf": kf if mask is None else np.where(mask[..., None], kf, 0.0),
        "keep": band(n, m, **aligned).keep(np, range(n), range(m)),
        "is_causal": is_causal,
        "v": np.nan_to_num(v),
        "eps": 0.0 if eps is None else np.asarray(eps)[..., None],
        "den": None,
        "filler": np.nan if empty == "nan" else 0.0,
    }


def _whole(qf, kf, keep, is_causal, v, eps, den, filler):
    similarity = np.where(keep, qf @ kf.swapaxes(-1, -2), 0.0)
    den = similarity.sum(axis=-1) + eps if den is None else den
    is_empty = (den == 0)[..., None]
    return np.where(is_empty, filler, similarity @ v / np.where(is_empty, 1, den[..., None]))


def _similarity(t):
    return np.where(t.keep, t.qf @ t.kf.swapaxes(-1, -2), 0.0)


def _strictly_before(t):
    """Which pairs are seen where a causal query does not see its own position."""
    if not t.is_causal:
        return t.keep
    keep = np.roll(t.keep, 1, axis=-1)
    keep[..., 0] = False
    return keep


def _in_buckets_before(t):
    """The same in buckets of two positions."""
    n, m = t.keep.shape
    return t.keep & (np.arange(m) < np.arange(n)[:, None] // 2 * 2) if t.is_causal else t.keep


_ELEMENTWISE = ("elu_plus_one", "relu", "squared_relu", "exponential")

book = Textbook(attention, _terms, _whole)
book.wrong(
    "1e-6 is always added to the denominators, as in fast-transformers",
    eps=lambda t: t.eps + 1e-6,
)
book.wrong("eps is ignored", eps=0.0)
book.wrong("a causal query does not see the key at its own position", keep=_strictly_before)
book.wrong(
    "a causal output is divided by the sum over all keys",
    den=lambda t: (t.qf @ t.kf.swapaxes(-1, -2)).sum(axis=-1) + t.eps,
)
book.wrong(
    "the output is not divided by the sum of the similarities",
    den=lambda t: 1.0 * (_similarity(t).sum(axis=-1) != 0),
)
book.wrong(
    "the output is divided by the number of keys, not by the sum of the similarities",
    den=lambda t: 1.0 * t.keep.sum(axis=-1) + 0.0 * t.qf[..., 0],
)
book.wrong(
    "a causal query sees only the buckets of two positions before its own",
    keep=_in_buckets_before,
)
book.wrong(
    "1e-4 is added to every feature of queries and keys, as Performer code does",
    qf=lambda t: t.qf + 1e-4,
    kf=lambda t: t.kf + 1e-4,
)
book.wrong(
    "the output carries a factor 1/sqrt(d), as in linear-attention-transformer",
    v=lambda t: t.v * t.q.shape[-1] ** -0.5,
)
wrong(
    attention,
    "queries are divided by sqrt(d) before the feature map",
    arrays={"q": lambda q: q * q.shape[-1] ** -0.5},
)
book.wrong(
    "the feature map is applied to the keys alone",
    qf=lambda t: t.q if t.features in _ELEMENTWISE else t.qf,
)
wrong(
    attention,
    "every query sees every key: causal is ignored",
    options={"causal": None, "offset": None},
)


@attention.mutant
def mask_on_keys(q, k, v, /, **options):
    """the mask sets keys to 0 before the feature map, which is not 0 there"""
    if options.get("mask") is not None:
        keep = options.pop("mask")[..., None]
        k, v = (np.where(keep, x, 0.0) for x in (k, v))
    return linear_attention(q, k, v, **options)


wrong(attention, "the mask is ignored", options={"mask": None})


@attention.mutant
def mask_inverted(q, k, v, /, **options):
    """the mask drops where it should keep"""
    mask = options.get("mask")
    return linear_attention(q, k, v, **options | {"mask": None if mask is None else ~mask})


wrong(
    attention,
    "causal is aligned at the other corner",
    options={"causal": other_corner},
)


@attention.mutant
def softmax_instead(q, k, v, /, **options):
    """it is softmax attention"""
    kept = {n: options.get(n) for n in ("causal", "offset")}
    mask = options.get("mask")
    mask = None if mask is None else mask[..., None, :]
    return softmax_attention(q, k, v, mask=mask, **kept)


@attention.mutant(source="https://github.com/facebookresearch/xformers/pull/104")
def running_mean_of_channels(q, k, v, /, *, causal=None, **options):
    """causal sums run over the channels of the values instead of the positions"""
    if not causal:
        return linear_attention(q, k, v, **options)
    n, m = q.shape[-2], v.shape[-2]
    means = np.cumsum(v, axis=-1) / np.arange(1, v.shape[-1] + 1)
    return means[..., np.minimum(np.arange(n), m - 1), :]


# ---------------------------------------------------------------------------------- gradients


@wrong_gradients(attention)
def gradient_without_denominator(found, g, arrays, options):
    """the gradients treat the denominators as constants"""
    t = SimpleNamespace(**_terms(*arrays, **options))
    total = _similarity(t).sum(axis=-1) + t.eps
    inverse = np.where(total == 0, 0.0, 1 / np.where(total == 0, 1, total))[..., None]
    dsimilarity = np.where(t.keep, (g * inverse) @ t.v.swapaxes(-1, -2), 0.0)
    return [feature_map.vjp(dsimilarity @ t.kf, arrays[0], **_map(options))[0], *found[1:]]


def _map(options):
    return {n: options[n] for n in ("features", "degree") if n in options}


@wrong_gradients(attention)
def gradient_without_feature_map(found, g, arrays, options):
    """the gradient in the queries is that in their features"""
    if options["features"] != "elu_plus_one":
        return found
    return [found[0] / np.where(arrays[0] >= 0, 1.0, np.exp(np.minimum(arrays[0], 0))), *found[1:]]


@wrong_gradients(attention)
def gradient_of_values_not_divided(found, g, arrays, options):
    """the gradient in the values lacks the denominators"""
    dv = _similarity(SimpleNamespace(**_terms(*arrays, **options))).swapaxes(-1, -2) @ g
    return [*found[:2], dv if dv.shape == arrays[2].shape else found[2], *found[3:]]


@wrong_gradients(attention)
def gradient_looks_ahead(found, g, arrays, options):
    """the gradients of a causal call are those of one that sees every key"""
    return linear_attention.vjp(g, *arrays, **options | {"causal": None, "offset": None})


# ------------------------------------------------------------------------------------ streamed


wrong(
    streamed,
    "the sums of earlier positions are ignored",
    options={"state": None, "normaliser": None},
)
wrong(streamed, "the normaliser of earlier positions is ignored", options={"normaliser": None})


@streamed.mutant
def state_returned_as_it_came(q, k, v, /, **options):
    """the state is returned without the last position"""
    output, state, normaliser = streamed_linear_attention(q, k, v, **options)
    if not k.shape[-2]:
        return output, state, normaliser
    last = feature_map(k[..., -1:, :], **_map(options))
    return output, state - last.swapaxes(-1, -2) @ v[..., -1:, :], normaliser


@streamed.mutant
def state_of_these_positions(q, k, v, /, **options):
    """the state that is returned lacks the earlier positions"""
    output, *_ = streamed_linear_attention(q, k, v, **options)
    rest = options | {"state": None, "normaliser": None}
    return output, *streamed_linear_attention(q, k, v, **rest)[1:]


@streamed.mutant
def normaliser_counts_positions(q, k, v, /, **options):
    """the normaliser adds 1 for every position instead of the features"""
    output, state, normaliser = streamed_linear_attention(q, k, v, **options)
    before = options.get("normaliser")
    return output, state, 0 * normaliser + k.shape[-2] + (0 if before is None else before)


@streamed.mutant(gradient=True)
def gradient_of_state_ignored(g, q, k, v, /, **options):
    """the cotangent of the state that is returned is ignored"""
    return streamed_linear_attention.vjp((g[0], 0 * g[1], g[2]), q, k, v, **options)


@streamed.mutant(gradient=True)
def gradient_of_normaliser_ignored(g, q, k, v, /, **options):
    """the cotangent of the normaliser that is returned is ignored"""
    return streamed_linear_attention.vjp((g[0], g[1], 0 * g[2]), q, k, v, **options)


@streamed.mutant(gradient=True)
def gradient_of_output_ignored(g, q, k, v, /, **options):
    """the cotangent of the output is ignored"""
    return streamed_linear_attention.vjp((0 * g[0], g[1], g[2]), q, k, v, **options)
