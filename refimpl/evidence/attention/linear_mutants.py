"""Wrong variants of linear attention: the bugs that public code had, and their neighbours."""

from __future__ import annotations

import numpy as np

from refimpl.attention.features import feature_map
from refimpl.attention.linear import linear_attention, streamed_linear_attention
from refimpl.attention.masks import band
from refimpl.attention.softmax import softmax_attention
from refimpl.evidence.attention.linear import attention, streamed
from refimpl.evidence.mistakes import wrong


def _finish(similarity, den, v, empty="zero"):
    """The output from (wrong) similarities and denominators."""
    filler = np.nan if empty == "nan" else 0.0
    is_empty = (den == 0)[..., None]
    values = np.nan_to_num(v)
    return np.where(is_empty, filler, similarity @ values / np.where(is_empty, 1, den[..., None]))


def _parts(q, k, *, features, degree=2, mask=None, causal=None, offset=None, **_):
    """Features of q and k (0 where masked) and which pairs are seen."""
    qf, kf = (feature_map(np.nan_to_num(x), features=features, degree=degree) for x in (q, k))
    if mask is not None:
        kf = np.where(mask[..., None], kf, 0.0)
    n, m = q.shape[-2], k.shape[-2]
    return qf, kf, band(n, m, causal, None, offset).keep(np, range(n), range(m))


def _eps(options):
    eps = options.get("eps")
    return 0.0 if eps is None else np.asarray(eps)[..., None]


def _weighted(change):
    """Register a mutant made from wrong similarities and denominators."""

    def mutant(q, k, v, /, **options):
        similarity, den = change(*_parts(q, k, **options), options)
        return _finish(similarity, den, v, options.get("empty", "zero"))

    mutant.__name__, mutant.__doc__ = change.__name__, change.__doc__
    attention.mutant(mutant)
    return change


@_weighted
def eps_always_added(qf, kf, keep, options):
    """1e-6 is always added to the denominators, as in fast-transformers"""
    similarity = np.where(keep, qf @ kf.swapaxes(-1, -2), 0.0)
    return similarity, similarity.sum(axis=-1) + 1e-6 + _eps(options)


@_weighted
def eps_ignored(qf, kf, keep, options):
    """eps is ignored"""
    similarity = np.where(keep, qf @ kf.swapaxes(-1, -2), 0.0)
    return similarity, similarity.sum(axis=-1)


@_weighted
def own_position_hidden(qf, kf, keep, options):
    """a causal query does not see the key at its own position"""
    if options.get("causal"):
        keep = np.roll(keep, 1, axis=-1)
        keep[..., 0] = False
    similarity = np.where(keep, qf @ kf.swapaxes(-1, -2), 0.0)
    return similarity, similarity.sum(axis=-1) + _eps(options)


@_weighted
def denominator_of_all_keys(qf, kf, keep, options):
    """a causal output is divided by the sum over all keys"""
    full = qf @ kf.swapaxes(-1, -2)
    return np.where(keep, full, 0.0), full.sum(axis=-1) + _eps(options)


@_weighted
def not_divided(qf, kf, keep, options):
    """the output is not divided by the sum of the similarities"""
    similarity = np.where(keep, qf @ kf.swapaxes(-1, -2), 0.0)
    total = similarity.sum(axis=-1)
    return similarity, np.where(total == 0, 0.0, 1.0)


@_weighted
def divided_by_the_number_of_keys(qf, kf, keep, options):
    """the output is divided by the number of keys, not by the sum of the similarities"""
    similarity = np.where(keep, qf @ kf.swapaxes(-1, -2), 0.0)
    return similarity, np.broadcast_to(1.0 * keep.sum(axis=-1), similarity.shape[:-1])


@_weighted
def own_bucket_hidden(qf, kf, keep, options):
    """a causal query sees only the buckets of two positions before its own"""
    if options.get("causal"):
        keep = keep & (np.arange(keep.shape[1]) < np.arange(keep.shape[0])[:, None] // 2 * 2)
    similarity = np.where(keep, qf @ kf.swapaxes(-1, -2), 0.0)
    return similarity, similarity.sum(axis=-1) + _eps(options)


@_weighted
def eps_on_every_similarity(qf, kf, keep, options):
    """1e-4 is added to every feature of queries and keys, as Performer code does"""
    similarity = np.where(keep, (qf + 1e-4) @ (kf + 1e-4).swapaxes(-1, -2), 0.0)
    return similarity, similarity.sum(axis=-1) + _eps(options)


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


@attention.mutant
def causal_ignored(q, k, v, /, **options):
    """every query sees every key: causal is ignored"""
    return linear_attention(q, k, v, **options | {"causal": None, "offset": None})


@attention.mutant
def aligned_the_other_way(q, k, v, /, **options):
    """causal is aligned at the other corner"""
    other = {"top_left": "bottom_right", "bottom_right": "top_left"}
    causal = options.get("causal")
    return linear_attention(q, k, v, **options | {"causal": other.get(causal, causal)})


@attention.mutant
def scaled_output(q, k, v, /, **options):
    """the output carries a factor 1/sqrt(d), as in linear-attention-transformer"""
    return linear_attention(q, k, v, **options) * q.shape[-1] ** -0.5


@attention.mutant
def scaled_queries(q, k, v, /, **options):
    """queries are divided by sqrt(d) before the feature map"""
    return linear_attention(q * q.shape[-1] ** -0.5, k, v, **options)


@attention.mutant
def softmax_instead(q, k, v, /, **options):
    """it is softmax attention"""
    kept = {n: options.get(n) for n in ("causal", "offset")}
    mask = options.get("mask")
    mask = None if mask is None else mask[..., None, :]
    return softmax_attention(q, k, v, mask=mask, **kept)


@attention.mutant
def queries_without_features(q, k, v, /, **options):
    """the feature map is applied to the keys alone"""
    if options["features"] not in ("elu_plus_one", "relu", "squared_relu", "exponential"):
        return linear_attention(q, k, v, **options)
    qf, kf, keep = _parts(q, k, **options)
    similarity = np.where(keep, q @ kf.swapaxes(-1, -2), 0.0)
    den = similarity.sum(axis=-1) + _eps(options)
    return _finish(similarity, den, v, options.get("empty", "zero"))


@attention.mutant(source="https://github.com/facebookresearch/xformers/pull/104")
def running_mean_of_channels(q, k, v, /, *, causal=None, **options):
    """causal sums run over the channels of the values instead of the positions"""
    if not causal:
        return linear_attention(q, k, v, **options)
    n, m = q.shape[-2], v.shape[-2]
    means = np.cumsum(v, axis=-1) / np.arange(1, v.shape[-1] + 1)
    return means[..., np.minimum(np.arange(n), m - 1), :]


# ---------------------------------------------------------------------------------- gradients


def _wrong_gradients(change):
    """Register a mutant that changes the right gradients (a dict by name)."""

    def mutant(g, q, k, v, /, **options):
        names = ["q", "k", "v"] + (["eps"] if options.get("eps") is not None else [])
        found = dict(zip(names, linear_attention.vjp(g, q, k, v, **options), strict=True))
        return tuple((found | change(g, q, k, v, options, found)).values())

    mutant.__name__, mutant.__doc__ = change.__name__, change.__doc__
    attention.mutant(mutant, gradient=True)
    return change


@_wrong_gradients
def gradient_without_denominator(g, q, k, v, options, found):
    """the gradients treat the denominators as constants"""
    qf, kf, keep = _parts(q, k, **options)
    total = np.where(keep, qf @ kf.swapaxes(-1, -2), 0.0).sum(axis=-1) + _eps(options)
    inverse = np.where(total == 0, 0.0, 1 / np.where(total == 0, 1, total))[..., None]
    dsimilarity = np.where(keep, (g * inverse) @ np.nan_to_num(v).swapaxes(-1, -2), 0.0)
    return {"q": _through(q, dsimilarity @ kf, options)}


def _map(options):
    return {n: options[n] for n in ("features", "degree") if n in options}


def _through(x, g, options):
    return feature_map.vjp(g, x, **_map(options))[0]


@_wrong_gradients
def gradient_without_feature_map(g, q, k, v, options, found):
    """the gradient in the queries is that in their features"""
    if options["features"] != "elu_plus_one":
        return {}
    slope = np.where(q >= 0, 1.0, np.exp(np.minimum(q, 0)))
    return {"q": found["q"] / slope}


@_wrong_gradients
def gradient_of_values_not_divided(g, q, k, v, options, found):
    """the gradient in the values lacks the denominators"""
    qf, kf, keep = _parts(q, k, **options)
    similarity = np.where(keep, qf @ kf.swapaxes(-1, -2), 0.0)
    dv = similarity.swapaxes(-1, -2) @ g
    return {"v": dv if dv.shape == v.shape else found["v"]}


@_wrong_gradients
def gradient_looks_ahead(g, q, k, v, options, found):
    """the gradients of a causal call are those of one that sees every key"""
    full = linear_attention.vjp(g, q, k, v, **options | {"causal": None, "offset": None})
    return dict(zip(found, full, strict=True))


# ------------------------------------------------------------------------------------ streamed


@streamed.mutant
def state_ignored(q, k, v, /, **options):
    """the sums of earlier positions are ignored"""
    return streamed_linear_attention(q, k, v, **options | {"state": None, "normaliser": None})


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
