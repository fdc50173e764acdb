"""Wrong variants of distances in buckets: the bugs that public code had, and their neighbours."""

from __future__ import annotations

import numpy as np

from refimpl.backend import like, namespace, to_host
from refimpl.evidence import Case
from refimpl.evidence.mistakes import Textbook, wrong
from refimpl.evidence.position.buckets import bias, deberta, signed, t5
from refimpl.evidence.position.shared import by_place
from refimpl.numerics import round_to
from refimpl.position.buckets import deberta_log_buckets, t5_bias, t5_buckets


def _t5_by_logarithm(queries, keys, two, count, distance, rounded=lambda x: x, floor=np.floor):
    """The written formula, with something after every operation."""
    n = signed(Case((queries, keys)))
    side = count // 2 if two else count
    start = side // 2
    size = np.abs(n) if two else np.maximum(n, 0)
    ratio = rounded(np.log(rounded(np.maximum(size, 1) / start)))
    far = rounded(ratio / rounded(np.log(distance / start)))
    far = start + floor(rounded(far * (side - start)))
    value = np.where(size < start, size, np.minimum(far, side - 1))
    return like(value + (side * (n < 0) if two else 0), queries)


@t5.mutant(source="https://github.com/mindspore-lab/mindone/issues/670")
def logarithms_in_bfloat16(q, k, *, bidirectional, buckets=32, max_distance=128):
    """Logarithms are rounded to bfloat16: distances 45 and 90 fall into the next bucket"""

    def rounded(x):
        return round_to(x, "bfloat16")

    return _t5_by_logarithm(q, k, bidirectional, buckets, max_distance, rounded)


@t5.mutant(source="https://github.com/NVIDIA/TensorRT-LLM/issues/1343")
def decoding_step_off_by_one(q, k, **options):
    """The position of the query is one too large, as in a decoding kernel"""
    return t5_buckets(q + 1, k, **options)


@t5.mutant(source="https://github.com/dmlc/gluon-nlp/pull/1470")
def sign_of_the_distance(q, k, **options):
    """Query and key are exchanged: past keys count as future ones"""
    return t5_buckets(k, q, **options).swapaxes(-1, -2)


wrong(t5, "One direction for two, or the reverse", options={"bidirectional": lambda x: not x})


@t5.mutant
def rounds_up(q, k, *, bidirectional, buckets=32, max_distance=128):
    """The logarithm is rounded up instead of down"""
    return _t5_by_logarithm(q, k, bidirectional, buckets, max_distance, floor=np.ceil)


@t5.mutant(source="https://github.com/huggingface/candle/pull/1312")
def last_bucket_not_last(q, k, *, bidirectional, buckets=32, max_distance=128):
    """The minimum with the last bucket is missing: distances beyond max_distance go on growing"""
    n = signed(Case((q, k)))
    side = buckets // 2 if bidirectional else buckets
    start = side // 2
    size = np.abs(n) if bidirectional else np.maximum(n, 0)
    growth = np.log(np.maximum(size, start) / start) / np.log(max_distance / start)
    value = np.where(size < start, size, start + np.floor(growth * (side - start)))
    return like(value + (side * (n < 0) if bidirectional else 0), q)


@t5.mutant
def last_bucket_open(q, k, *, bidirectional, buckets=32, max_distance=128):
    """The last bucket begins at max_distance, and all between share the one before"""
    value = _t5_by_logarithm(q, k, bidirectional, buckets, max_distance)
    side = buckets // 2 if bidirectional else buckets
    n = np.abs(signed(Case((q, k)))) if bidirectional else signed(Case((q, k)))
    at_end = (to_host(value) % side == side - 1) & (n < max_distance)
    return like(np.where(at_end, to_host(value) - 1, to_host(value)), q)


wrong(
    t5,
    "Distances to buckets/2 are exact where only the first buckets/4 should be",
    options={"max_distance": 10**6},
)


@t5.mutant
def past_gets_the_offset(q, k, *, bidirectional, **options):
    """Keys before the query, not those after it, get the second half of the buckets"""
    if not bidirectional:
        return t5_buckets(q, k, bidirectional=False, **options) + 0
    value = t5_buckets(q, k, bidirectional=True, **options)
    half = options.get("buckets", 32) // 2
    n = like(signed(Case((q, k))), q)
    return value - half * (n < 0) + half * (n > 0)


@bias.mutant
def transposed_pairs(table, q, k, **options):
    """Queries and keys are exchanged"""
    return t5_bias(table, k, q, **options).swapaxes(-1, -2)


wrong(bias, "The bias is scaled like logits, by 1/sqrt(64)", output=lambda y: y / 8)
wrong(bias, "Heads take their columns in reverse order", arrays={"table": lambda x: x[..., ::-1]})


@bias.mutant(source="https://github.com/NVIDIA/TensorRT-LLM/issues/1343")
def queries_one_too_far(table, q, k, **options):
    """The position of the query is one too large, as in a decoding kernel"""
    return t5_bias(table, q + 1, k, **options)


wrong(bias, "Queries after a cache count from 0", arrays={"query_positions": by_place})
wrong(bias, "One direction for two, or the reverse", options={"bidirectional": lambda x: not x})
wrong(bias, "The largest distance is always 64", options={"max_distance": 64})


@bias.mutant(gradient=True)
def one_pair_of_each_bucket(g, table, q, k, **options):
    """Of all pairs in a bucket one counts: duplicates do not add up"""
    (total,) = t5_bias.vjp(g, table, q, k, **options)
    (count,) = t5_bias.vjp(0 * g + 1, table, q, k, **options)
    return (total / namespace(count).maximum(count, 1),)


@bias.mutant(gradient=True)
def gradient_of_exchanged_pairs(g, table, q, k, **options):
    """Cotangents go to the buckets of exchanged queries and keys"""
    return t5_bias.vjp(g.swapaxes(-1, -2), table, k, q, **options)


wrong(deberta, "The sign is that of T5: key minus query", output=lambda y: -y)


def _terms(q, k, *, bucket_size=256, max_position=512):
    middle, last = bucket_size // 2, max_position - 1
    distances = signed(Case((q, k)))
    return {"like_q": q, "r": np.clip(distances, -last, last), "middle": middle, "last": last}


def _whole(like_q, r, middle, last, rounding=np.ceil):
    """The rule in floats."""
    far = np.log(np.maximum(np.abs(r), middle) / middle) / np.log(last / middle)
    value = middle + rounding(far * (middle - 1))
    return like(np.where(np.abs(r) <= middle, r, np.sign(r) * value), like_q)


def _unclipped(t):
    return signed(Case((t.query_positions, t.key_positions)))


book = Textbook(deberta, _terms, _whole)
book.wrong("Distances beyond max_position go on growing, as in Hugging Face", r=_unclipped)
book.wrong("The logarithm is rounded down instead of up", rounding=lambda t: np.floor)
book.wrong(
    "The two sizes are exchanged, as where Hugging Face has fewer queries than keys",
    name="sizes_exchanged",
    r=_unclipped,
    middle=lambda t: (t.last + 1) // 2,
    last=lambda t: 2 * t.middle - 1,
)


@deberta.mutant
def ends_at_max_position(q, k, *, bucket_size=256, max_position=512):
    """The scale of the logarithm ends at max_position instead of one before"""
    return deberta_log_buckets(q, k, bucket_size=bucket_size, max_position=max_position + 1)


@deberta.mutant
def without_logarithm(q, k, *, bucket_size=256, max_position=512):
    """Distances are clipped to the number of buckets, as in DeBERTa v1"""
    return like(np.clip(signed(Case((q, k))), 1 - bucket_size, bucket_size - 1), q)
