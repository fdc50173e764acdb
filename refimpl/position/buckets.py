"""Distances in buckets: T5's, with its table of biases, and DeBERTa's."""

from __future__ import annotations

import functools
import math
from typing import Annotated

from refimpl.backend import astype, like, namespace, scalar, windows
from refimpl.core import gather_rows, scatter_rows
from refimpl.formula import formula
from refimpl.formula.options import Distance, Number
from refimpl.position.distances import whole_distances

_T5 = "Raffel et al. 2020 (T5, arXiv:1910.10683), section 2.1; kexue.fm/archives/8130"
_POSITIONS = {"query_positions": "index", "key_positions": "index"}
_NO_GRADIENT = "buckets are whole numbers"
# Pairs beyond which it pays to look whether positions follow on.
_LARGE = 2**10


# --------------------------------------------------------------------------------- T5: the buckets


@formula(
    "(n),(m)->(n,m)",
    source=_T5,
    kinds=_POSITIONS,
    differentiable=False,
    reason=_NO_GRADIENT,
    returns="index",
)
def t5_buckets(
    query_positions,
    key_positions,
    /,
    *,
    bidirectional: bool,
    buckets: Annotated[int, Number(2, 1024, whole=True)] = 32,
    max_distance: Distance = 128,
):
    r"""The bucket of T5 for each query and key: distance itself at first, then its logarithm.

    Formula
    -------
    With the distance n = i - j, B = ``buckets``, D = ``max_distance`` and E = B // 2

    .. math:: \beta(n) = \begin{cases} \max(n, 0) & n < E \\
        \min\Bigl(B - 1,\ E + \Bigl\lfloor (B - E) \frac{\log(n/E)}{\log(D/E)} \Bigr\rfloor\Bigr)
        & n \ge E \end{cases}

    If ``bidirectional``, B is ``buckets`` / 2, n is \|i - j\|, and keys after the query get B more.

    Parameters
    ----------
    query_positions : integers (..., n) i; key_positions : (..., m) j.
    bidirectional : bool. True in encoders, False in decoders, where later keys share bucket 0.
    buckets : int. From 2 on; even and from 4 on if bidirectional.
    max_distance : int > E. D.

    Returns
    -------
    int64 (..., n, m), from 0 to buckets - 1.

    Raises
    ------
    ValueError
        Too few buckets, or an odd number for two directions; ``max_distance`` not beyond E; either
        not whole.
    TypeError
        No ``bidirectional``; positions that are no integers.

    Conventions
    -----------
    Public code has j - i as the argument (mesh, Hugging Face) and turns its sign. 32 and 128 are
    T5's; all of its layers share one table. Bucket B of the bidirectional kind, distance 0 in the
    future, is never used.

    Breaks when
    -----------
    Never here: starts of buckets are compared as whole numbers, the smallest n with
    :math:`n^{B-E} \ge D^k E^{B-E-k}`. Logarithms in float32 give the same for T5's settings; they
    may miss ties elsewhere (128 buckets to 100, n = 80), in float64 too (110 in two directions to
    48, n = 36). In bfloat16 n = 45 and n = 90 fall into the bucket after their own.

    Notes
    -----
    The last bucket begins before D: at 91 of 128 in two directions, at 113 in one.

    References
    ----------
    Raffel et al. 2020 (arXiv:1910.10683); https://kexue.fm/archives/8130;
    mindspore-lab/mindone issue 670 (bfloat16); NVIDIA/TensorRT-LLM issue 1343 (decoding).

    Examples
    --------
    >>> import refimpl
    >>> refimpl.t5_buckets([100], [100, 99, 84, 0, 101, 110], bidirectional=True)
    array([[ 0,  1, 10, 15, 17, 24]])
    """
    return _t5_bucket_of(query_positions, key_positions, bidirectional, buckets, max_distance)


def _t5_bucket_of(query_positions, key_positions, bidirectional, buckets, max_distance):
    """As many as there are buckets that begin at the distance or before it."""
    per_side, start, max_distance = _t5_sizes(bidirectional, buckets, max_distance)
    xp = namespace(query_positions)
    n = whole_distances(query_positions, key_positions)
    starts = like(_t5_starts(per_side, start, max_distance), n)
    if not bidirectional:
        return xp.searchsorted(starts, n, side="right")
    return xp.searchsorted(starts, xp.abs(n), side="right") + per_side * (n < 0)


@t5_buckets.form("logarithm")
def t5_buckets_logarithm(
    query_positions, key_positions, /, *, bidirectional, buckets=32, max_distance=128
):
    """As it is written, with logarithms in float64: the way of all public code, most in float32."""
    per_side, start, max_distance = _t5_sizes(bidirectional, buckets, max_distance)
    xp = namespace(query_positions)
    signed = whole_distances(query_positions, key_positions)
    n = xp.abs(signed) if bidirectional else xp.maximum(signed, 0)
    ratio = xp.log(xp.maximum(n, start) / start) / math.log(max_distance / start)
    large = start + astype(ratio * (per_side - start), "int64")
    bucket = xp.where(n < start, n, xp.minimum(large, per_side - 1))
    return bucket + per_side * (signed < 0) if bidirectional else bucket


def _t5_sizes(bidirectional, buckets, max_distance):
    """B, E and D."""
    if bidirectional and (buckets < 4 or buckets % 2):
        raise ValueError(f"buckets: expected an even number from 4 on, got {buckets!r}")
    per_side = buckets // 2 if bidirectional else buckets
    if max_distance <= per_side // 2:
        raise ValueError(
            f"max_distance: expected more than {per_side // 2}, where single distances end, "
            f"got {max_distance!r}"
        )
    return per_side, per_side // 2, max_distance


@functools.lru_cache(maxsize=64)
def _t5_starts(per_side, start, max_distance):
    """The smallest distance of every bucket from 1 on."""
    steps = per_side - start
    roots = (_root(max_distance**k * start ** (steps - k), steps) for k in range(1, steps))
    return [*range(1, start + 1), *(root if is_exact else root + 1 for root, is_exact in roots)]


def _root(power, exponent):
    """The largest integer whose power is at most this one, and whether it is this one."""
    guess = round(math.exp(math.log(power) / exponent))
    # The logarithm is right to some 14 digits: what is left is halved.
    low, high = guess - guess // 10**12 - 1, guess + guess // 10**12 + 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if middle**exponent <= power else (low, middle)
    return low, low**exponent == power


# ------------------------------------------------------------------------------------ T5: the bias


@formula(
    "(b,h),(n),(m)->(h,n,m)",
    source=_T5,
    kinds=_POSITIONS,
)
def t5_bias(
    table, query_positions, key_positions, /, *, bidirectional: bool, max_distance: Distance = 128
):
    r"""The bias of T5: for each head a learned number for the bucket of the distance.

    Formula
    -------
    .. math:: b_{hij} = T_{\beta(i - j),\, h}

    with the buckets :math:`\beta` of :func:`t5_buckets`, as many as the table has rows.

    Parameters
    ----------
    table : (..., b, h) T, a row for each bucket and a column for each head.
    query_positions : integers (..., n) i; key_positions : (..., m) j. After a cache of c keys the
        first query has the position c.
    bidirectional, max_distance : see :func:`t5_buckets`.

    Returns
    -------
    (..., h, n, m) of the table's type: the ``bias`` of :func:`softmax_attention`.

    Raises
    ------
    ValueError, TypeError
        As :func:`t5_buckets`.

    Conventions
    -----------
    T5 has no factor 1/sqrt(d) in its logits (``scale=1.0``), no bias in cross-attention, and the
    table of its first layer in all. x-transformers multiplies the table by a ``scale``.

    Breaks when
    -----------
    Never: entries are copied. All distances of a bucket share one number, however far.

    References
    ----------
    Raffel et al. 2020 (arXiv:1910.10683); https://kexue.fm/archives/8130.

    Examples
    --------
    >>> import refimpl
    >>> table = [[0.5], [1.0], [2.0], [3.0]]
    >>> refimpl.t5_bias(table, [2], [0, 1, 2, 3], bidirectional=True)
    array([[[1. , 1. , 0.5, 3. ]]])
    """
    index = _flat_buckets(table, query_positions, key_positions, bidirectional, max_distance)
    rows = gather_rows(table, index).swapaxes(-1, -2)
    return rows.reshape(*rows.shape[:-1], query_positions.shape[-1], key_positions.shape[-1])


@t5_bias.defvjp
def t5_bias_vjp(g, table, query_positions, key_positions, /, *, bidirectional, max_distance=128):
    """The cotangents of all pairs in a bucket add up."""
    index = _flat_buckets(table, query_positions, key_positions, bidirectional, max_distance)
    columns = g.reshape(*g.shape[:-2], g.shape[-2] * g.shape[-1])
    return (scatter_rows(columns.swapaxes(-1, -2), index, table.shape[-2]),)


@t5_bias.form("toeplitz", beyond=lambda bound: bound.axes["n"] * bound.axes["m"] > _LARGE)
def t5_bias_toeplitz(table, query_positions, key_positions, /, *, bidirectional, max_distance=128):
    """One number for every distance, which a whole diagonal repeats, where positions follow on.

    The fast form; other positions take the plain one.
    """
    options = {"bidirectional": bidirectional, "max_distance": max_distance}
    if not (_follow_on(query_positions) and _follow_on(key_positions)):
        return t5_bias(table, query_positions, key_positions, form="plain", **options)
    n, m = query_positions.shape[-1], key_positions.shape[-1]
    xp = namespace(table)
    first = whole_distances(query_positions[:1], key_positions[:1])[0]
    distances = first - xp.arange(1 - n, m)
    diagonals = t5_bias(table, distances, xp.zeros(1, dtype="int64"), form="plain", **options)
    from_behind = windows(xp.ascontiguousarray(diagonals[..., 0]), m)
    return xp.ascontiguousarray(from_behind[..., ::-1, :])


def _follow_on(positions):
    """Whether each position is the one before plus 1."""
    if positions.ndim > 1 or not positions.size:
        return False
    # In a small type 0 would follow on from its largest number.
    positions = astype(positions, "int64")
    steps = positions[1:] - positions[:-1]
    return bool(scalar((steps == 1).all()))


def _flat_buckets(table, query_positions, key_positions, bidirectional, max_distance):
    """Buckets (..., n m)."""
    count = table.shape[-2]
    index = _t5_bucket_of(query_positions, key_positions, bidirectional, count, max_distance)
    return index.reshape(*index.shape[:-2], index.shape[-2] * index.shape[-1])


# ----------------------------------------------------------------------------------------- DeBERTa


@formula(
    "(n),(m)->(n,m)",
    source="He et al. 2023 (DeBERTaV3, arXiv:2111.09543); microsoft/DeBERTa, da_utils.py",
    kinds=_POSITIONS,
    differentiable=False,
    reason=_NO_GRADIENT,
    returns="index",
)
def deberta_log_buckets(
    query_positions,
    key_positions,
    /,
    *,
    bucket_size: Annotated[int, Number(4, 4096, whole=True)] = 256,
    max_position: Distance = 512,
):
    r"""Distances of DeBERTa v2 and v3, of either sign, with far ones in logarithmic buckets.

    Formula
    -------
    With r = i - j clipped to -(M - 1), ..., M - 1, and c = ``bucket_size`` // 2

    .. math:: r' = \begin{cases} r & |r| \le c \\ \operatorname{sign}(r) \Bigl(c + \Bigl\lceil
        (c - 1) \frac{\log(|r|/c)}{\log((M - 1)/c)} \Bigr\rceil\Bigr) & |r| > c \end{cases}

    Parameters
    ----------
    query_positions : integers (..., n) i; key_positions : (..., m) j.
    bucket_size : int >= 4. Where buckets end: \|r'\| < bucket_size.
    max_position : int. M, with M - 1 > c.

    Returns
    -------
    int64 (..., n, m), from -(bucket_size - 1) to bucket_size - 1, odd in the distance. With
    ``bucket_size`` added they are rows of the table of :func:`disentangled_logits`.

    Raises
    ------
    ValueError
        ``bucket_size`` < 4; ``max_position`` too small; either not whole.
    TypeError
        Positions that are no integers.

    Conventions
    -----------
    Query minus key, as in DeBERTa; T5 and Shaw have key minus query. Microsoft clips the distance
    first. Hugging Face does not, so that distances from M on in the past of the key get the row 0
    of the table, which is never used otherwise.

    Breaks when
    -----------
    Never here: ends of buckets are compared as whole numbers, the largest \|r\| with
    :math:`|r|^{c-1} \le (M-1)^k c^{c-1-k}`. Logarithms give the same for 256 of 512. Elsewhere
    they may miss ties, in float64 too: distances 128 and 256 of 128 buckets and M = 513.

    References
    ----------
    He et al. 2021 (arXiv:2006.03654); He et al. 2023 (arXiv:2111.09543); microsoft/DeBERTa.

    Examples
    --------
    >>> import refimpl
    >>> refimpl.deberta_log_buckets([511], [511, 411, 311, 111, 0])
    array([[  0, 100, 169, 233, 255]])
    """
    middle, last = _deberta_sizes(bucket_size, max_position)
    xp = namespace(query_positions)
    r = xp.clip(whole_distances(query_positions, key_positions), -last, last)
    starts = like(_deberta_starts(middle, last), r)
    return xp.sign(r) * xp.searchsorted(starts, xp.abs(r), side="right")


@deberta_log_buckets.form("logarithm")
def deberta_log_buckets_logarithm(
    query_positions, key_positions, /, *, bucket_size=256, max_position=512
):
    """As it is written, with logarithms in float64, as in the released code."""
    middle, last = _deberta_sizes(bucket_size, max_position)
    xp = namespace(query_positions)
    r = xp.clip(whole_distances(query_positions, key_positions), -last, last)
    far = xp.log(xp.maximum(xp.abs(r), middle) / middle) / math.log(last / middle)
    bucket = middle + astype(xp.ceil(far * (middle - 1)), "int64")
    return xp.where(xp.abs(r) <= middle, r, xp.sign(r) * bucket)


def _deberta_sizes(bucket_size, max_position):
    """c and M - 1."""
    middle = bucket_size // 2
    if max_position - 1 <= middle:
        raise ValueError(f"max_position: expected more than {middle + 1}, got {max_position!r}")
    return middle, max_position - 1


@functools.lru_cache(maxsize=64)
def _deberta_starts(middle, last):
    """The smallest distance of every bucket from 1 on."""
    steps = middle - 1
    roots = (_root(last**k * middle ** (steps - k), steps)[0] for k in range(steps))
    return [*range(1, middle + 1), *(root + 1 for root in roots)]
