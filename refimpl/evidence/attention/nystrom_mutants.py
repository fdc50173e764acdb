"""Wrong variants of Nystrom attention: the bugs that public code had, and their neighbours."""

from __future__ import annotations

import numpy as np

from refimpl.attention.nystrom import nystrom_attention, segment_means
from refimpl.attention.pseudoinverse import iterated_inverse, pseudo_inverse
from refimpl.attention.softmax import softmax_attention
from refimpl.core import softmax
from refimpl.evidence.attention.nystrom import attention, means
from refimpl.evidence.mistakes import wrong, wrong_gradients

# ------------------------------------------------------------------------------------ segments


def _uneven_as(segments):
    """Options with other segments in place of uneven ones."""
    return lambda options, _: (
        options
        if options.get("segments", "uneven") != "uneven"
        else options | {"segments": segments}
    )


wrong(
    means,
    "the longer segments come first, as in numpy.array_split",
    options=_uneven_as("array_split"),
)
wrong(means, "the tail is padded with zeros that count", options=_uneven_as("zero_padded"))
wrong(means, "zeros that count are put before the start", options=_uneven_as("front_padded"))
wrong(means, "the segments overlap, as in adaptive pooling", options=_uneven_as("overlapping"))


@means.mutant
def sums(x, /, **options):
    """the sums of the segments are not divided"""
    found = segment_means(x, **options)
    return found * (x.shape[-2] // options["landmarks"])


@means.mutant
def strided_positions(x, /, **options):
    """a landmark is the mean of every l-th position instead of neighbours"""
    mask = options.get("mask")
    rows = []
    for a in range(options["landmarks"]):
        part = {} if mask is None else {"mask": mask[..., a :: options["landmarks"]]}
        rows.append(segment_means(x[..., a :: options["landmarks"], :], landmarks=1, **part))
    return np.concatenate(rows, axis=-2)


@means.mutant
def first_positions(x, /, **options):
    """a landmark is the first position of its segment"""
    n, count = x.shape[-2], options["landmarks"]
    return np.nan_to_num(x[..., [a * n // count for a in range(count)], :])


@means.mutant
def mask_counts(x, /, **options):
    """masked positions are zeros that count"""
    mask = options.get("mask")
    x = x if mask is None else np.where(mask[..., None], x, 0.0)
    return segment_means(x, **options | {"mask": None})


wrong(means, "the mask is ignored", options={"mask": None})


@means.mutant(gradient=True)
def gradient_not_divided(g, x, /, **options):
    """the gradient lacks the lengths of the segments"""
    (found,) = segment_means.vjp(g, x, **options)
    return (found * (x.shape[-2] // options["landmarks"]),)


@means.mutant(gradient=True)
def gradient_under_mask(g, x, /, **options):
    """masked positions get a gradient"""
    return segment_means.vjp(g, x, **options | {"mask": None})


# ----------------------------------------------------------------------------------- attention


def _scaled(q, options):
    scale = options.get("scale")
    return q * (q.shape[-1] ** -0.5 if scale is None else np.asarray(scale)[..., None, None])


def _clean(x, mask):
    return np.nan_to_num(x) if mask is None else np.where(mask[..., None], x, 0.0)


def _softmaxes(q, k, options):
    """F, A and B where every segment has positions; masked keys in B alone."""
    mask, query_mask = options.get("mask"), options.get("query_mask")
    q, k = _clean(q, query_mask), _clean(k, mask)
    rest = {n: options[n] for n in ("landmarks", "segments") if n in options}
    qt, kt = segment_means(q, mask=query_mask, **rest), segment_means(k, mask=mask, **rest)

    def transposed(x):
        return x.swapaxes(-1, -2)

    right = _scaled(qt, options) @ transposed(k)
    right = right if mask is None else np.where(mask[..., None, :], right, -1e300)
    return (
        softmax(_scaled(q, options) @ transposed(kt), axis=-1),
        softmax(_scaled(qt, options) @ transposed(kt), axis=-1),
        softmax(right, axis=-1),
    )


def _inverted(middle, options):
    if options.get("inverse") == "exact":
        return pseudo_inverse(middle, rcond=options.get("rcond"))
    if options.get("inverse") == "none":
        return np.eye(middle.shape[-1])
    return iterated_inverse(middle, steps=options.get("steps", 6))


def _finish(output, q, k, v, options):
    """The convolution as it is right, and masked queries."""
    if options.get("convolution") is not None:
        plain = {"landmarks": 1, "inverse": "none", "mask": options.get("mask")}
        kernel = options["convolution"]
        output = output + nystrom_attention(q, k, v, convolution=kernel, **plain)
        output = output - nystrom_attention(q, k, v, **plain)
    return _clean(output, options.get("query_mask"))


@attention.mutant
def empty_segments_kept(q, k, v, /, **options):
    """segments without a kept position stay landmarks of zeros"""
    left, middle, right = _softmaxes(q, k, options)
    output = left @ _inverted(middle, options) @ right @ _clean(v, options.get("mask"))
    return _finish(output, q, k, v, options)


def _one_divisor(q, k, v, options):
    """The iteration from one divisor for the batch and all heads."""
    if options.get("inverse", "iterated") != "iterated" or options.get("mask") is not None:
        return nystrom_attention(q, k, v, **options)
    left, middle, right = _softmaxes(q, k, options)
    sizes = np.abs(middle)
    largest = sizes.sum(axis=-2).max() * sizes.sum(axis=-1).max()
    inverse = iterated_inverse(middle, steps=options.get("steps", 6), divisor=largest)
    return _finish(left @ inverse @ right @ v, q, k, v, options)


@attention.mutant(source="https://github.com/mlpen/Nystromformer/issues/3")
def divisor_of_the_batch(q, k, v, /, **options):
    """the iteration starts from one divisor for the batch and all heads"""
    return _one_divisor(q, k, v, options)


@attention.mutant
def padding_in_the_means(q, k, v, /, **options):
    """landmarks average masked positions in; the mask hides keys in the last softmax alone"""
    left, middle, right = _softmaxes(
        np.nan_to_num(q), np.nan_to_num(k), options | {"mask": None, "query_mask": None}
    )
    mask = options.get("mask")
    if mask is not None:
        right = np.where(mask[..., None, :], right, 0.0)
        total = right.sum(axis=-1, keepdims=True)
        right = right / np.where(total == 0, 1, total)
    output = left @ _inverted(middle, options) @ right @ _clean(v, mask)
    return _finish(output, q, k, v, options)


wrong(attention, "the mask of the keys is ignored", options={"mask": None})
wrong(attention, "the mask of the queries is ignored", options={"query_mask": None})
wrong(attention, "the middle matrix is left out: F B V", options={"inverse": "none"})


@attention.mutant
def exact_inverse(q, k, v, /, **options):
    """the inverse is exact instead of six steps"""
    if options.get("inverse", "iterated") != "iterated":
        return nystrom_attention(q, k, v, **options)
    return nystrom_attention(q, k, v, **options | {"inverse": "exact"})


wrong(
    attention,
    "the iteration takes one step less",
    options=lambda options, _: options | {"steps": options.get("steps", 6) - 1},
)


@attention.mutant
def middle_transposed(q, k, v, /, **options):
    """the middle matrix is transposed"""
    if options.get("mask") is not None or options.get("query_mask") is not None:
        return nystrom_attention(q, k, v, **options)
    left, middle, right = _softmaxes(q, k, options)
    inverse = _inverted(middle.swapaxes(-1, -2), options)
    return _finish(left @ inverse @ right @ v, q, k, v, options)


@attention.mutant
def middle_over_columns(q, k, v, /, **options):
    """the softmax of the middle matrix runs over queries instead of keys"""
    if options.get("mask") is not None or options.get("query_mask") is not None:
        return nystrom_attention(q, k, v, **options)
    left, _, right = _softmaxes(q, k, options)
    rest = {n: options[n] for n in ("landmarks", "segments") if n in options}
    qt, kt = segment_means(q, **rest), segment_means(k, **rest)
    middle = softmax(_scaled(qt, options) @ kt.swapaxes(-1, -2), axis=-2)
    return _finish(left @ _inverted(middle, options) @ right @ v, q, k, v, options)


wrong(attention, "the logits are not scaled", options={"scale": 1.0})


@attention.mutant
def scaled_twice(q, k, v, /, **options):
    """queries are scaled before they are averaged, and again in the products"""
    scale = q.shape[-1] ** -0.5 if options.get("scale") is None else np.asarray(options["scale"])
    return nystrom_attention(q, k, v, **options | {"scale": scale * scale})


wrong(attention, "the longer segments come first", options=_uneven_as("array_split"))


@attention.mutant(source="https://github.com/lucidrains/nystrom-attention/issues/5")
def padded_in_front_and_trimmed_behind(q, k, v, /, **options):
    """the sequence is padded in front, and the output is trimmed behind"""
    n, count = q.shape[-2], options["landmarks"]
    found = nystrom_attention(q, k, v, **options)
    return np.roll(found, -n % count, axis=-2)


def _with_zeros_in_front(q, k, v, options, attend):
    """Attention over the sequence with zeros before it that take part, then cut to its length."""
    if options.get("mask") is not None or options.get("query_mask") is not None:
        return nystrom_attention(q, k, v, **options)
    n, count = q.shape[-2], options["landmarks"]

    def padded(x):
        zeros = 0.0 * x[..., :1, :].repeat(-x.shape[-2] % count, axis=-2)
        return np.concatenate([zeros, x], axis=-2)

    found = attend(*map(padded, (q, k, v)), options | {"segments": "uneven", "convolution": None})
    return _finish(found[..., found.shape[-2] - n :, :], q, k, v, options)


@attention.mutant(source="https://github.com/lucidrains/nystrom-attention/issues/5")
def zeros_in_front_take_part(q, k, v, /, **options):
    """zeros are put before the sequence, and take part as keys"""
    return _with_zeros_in_front(
        q, k, v, options, lambda q, k, v, o: nystrom_attention(q, k, v, **o)
    )


@attention.mutant(source="https://github.com/lucidrains/nystrom-attention/issues/5")
def zeros_in_front_and_one_divisor(q, k, v, /, **options):
    """zeros before the sequence take part, and one divisor serves the batch (nystrom-attention)"""
    return _with_zeros_in_front(q, k, v, options, _one_divisor)


@attention.mutant(source="https://github.com/facebookresearch/xformers/issues/107")
def triangle_over_landmarks(q, k, v, /, **options):
    """a causal triangle hides keys from landmarks: landmark a sees the first a + 1 keys"""
    if options.get("mask") is not None or options.get("query_mask") is not None:
        return nystrom_attention(q, k, v, **options)
    left, middle, right = _softmaxes(q, k, options)
    right = np.tril(right)
    right = right / right.sum(axis=-1, keepdims=True)
    return _finish(left @ _inverted(middle, options) @ right @ v, q, k, v, options)


@attention.mutant
def softmax_attention_itself(q, k, v, /, **options):
    """it is softmax attention without landmarks"""
    mask = options.get("mask")
    rest = {"scale": options.get("scale"), "mask": None if mask is None else mask[..., None, :]}
    return _finish(softmax_attention(q, k, v, **rest), q, k, v, options)


wrong(attention, "the convolution of the values is not added", options={"convolution": None})
wrong(
    attention,
    "the taps of the convolution are in reverse order",
    options={"convolution": lambda taps: taps[..., ::-1]},
)


@wrong_gradients(attention)
def gradient_without_landmarks(found, g, arrays, options):
    """the landmarks are taken for constants in the gradient of the queries"""
    q, k, v = arrays
    rest = {n: options[n] for n in ("landmarks", "segments") if n in options}
    left, middle, right = _softmaxes(q, k, options)
    inner = _inverted(middle, options) @ right @ _clean(v, options.get("mask"))
    kt = segment_means(k, mask=options.get("mask"), **rest)
    dweights = _clean(g, options.get("query_mask")) @ inner.swapaxes(-1, -2)
    dlogits = left * (dweights - (dweights * left).sum(axis=-1, keepdims=True))
    dq = _scaled(dlogits @ kt, options | {"scale": options.get("scale")})
    if options.get("scale") is None:
        dq = dq * kt.shape[-1] ** 0.5 * q.shape[-1] ** -0.5
    return [dq, *found[1:]]


@wrong_gradients(attention)
def gradient_of_the_middle_missing(found, g, arrays, options):
    """the inverse is taken for a constant"""
    q, k, v = arrays
    free = nystrom_attention.vjp(g, q, k, v, **options | {"inverse": "none"})
    return [*free[:2], *found[2:]]


wrong(
    attention,
    "the gradients of queries and keys have the wrong sign",
    gradient={"q": np.negative, "k": np.negative},
)
