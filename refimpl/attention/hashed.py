"""Attention within hash buckets (Reformer), with buckets that are given."""

from __future__ import annotations

from refimpl.attention.online import merge_attention
from refimpl.attention.softmax import (
    attention_logsumexp,
    scale_for,
    scale_of,
    softmax_attention,
    softmax_attention_vjp,
)
from refimpl.backend import argsort, namespace
from refimpl.core import softmax_terms, weighted_sum
from refimpl.formula import formula
from refimpl.formula.options import Count, Finite


@formula(
    "(n,d),(n,v),(h,n)->(n,v)",
    kinds={"buckets": "index"},
    source="Kitaev et al. 2020 (arXiv:2001.04451), eqs. 2-6",
)
def hashed_attention(
    x,
    v,
    buckets,
    /,
    *,
    causal: bool = False,
    chunk: Count | None = None,
    scale: Finite | None = None,
):
    r"""Attention with shared queries and keys, of the positions that share a hash bucket.

    Formula
    -------
    .. math:: S_{ij} = \tau\, x_i \cdot \frac{x_j}{|x_j|}, \qquad
        \text{j is seen by i where they share a bucket in some round}

    A position sees itself only where it sees no other. ``form="rounds"`` attends round by round and
    merges: a pair that shares N rounds counts 1/N in each, so that the union is not counted twice.

    Parameters
    ----------
    x : (..., n, d) queries, which divided by their lengths are the keys. Heads are a leading axis.
    v : (..., n, v) values.
    buckets : integers (..., h, n), one row for each round of hashing.
    causal : bool. Only positions before, or the position itself.
    chunk : int, optional. In each round positions are sorted by bucket (then by place) and cut into
        chunks; a position sees its own chunk and the one before.
    scale : float, default 1/sqrt(d).

    Returns
    -------
    (..., n, v)

    Raises
    ------
    ValueError
        Shapes that do not fit; no round; chunk < 1.

    Conventions
    -----------
    The union over rounds, as in the paper. Reformer's code writes -5e4 for a position's logit with
    itself and merges rounds by their log-sum-exps, with pairs counted once for each round unless
    ``allow_duplicate_attention=False``. Buckets are the argmax of (x R, -x R) for random R.

    Breaks when
    -----------
    It holds n n logits: it is a reference for which pairs count, not for the cost.

    References
    ----------
    Kitaev et al. 2020 (arXiv:2001.04451); lucidrains/reformer-pytorch.

    Examples
    --------
    >>> import refimpl
    >>> x, v = [[1.0], [1.0], [1.0]], [[1.0], [2.0], [4.0]]
    >>> refimpl.hashed_attention(x, v, [[0, 0, 1]]).tolist()
    [[2.0], [1.0], [4.0]]
    """
    rounds = _rounds(x, buckets, causal, chunk)
    keep = _or_itself(rounds.any(axis=-3))
    return softmax_attention.__wrapped__(x, _keys(x)[0], v, mask=keep, scale=_factor(x, scale))


@hashed_attention.form("textbook")
def hashed_attention_textbook(x, v, buckets, /, *, causal=False, chunk=None, scale=None):
    """The softmax over all positions that share a bucket in some round, as one set."""
    xp = namespace(x)
    if buckets.shape[-2] == 0:
        raise ValueError("buckets: expected at least one round")
    lengths = xp.sqrt((x * x).sum(axis=-1, keepdims=True))
    keys = x / xp.where(lengths == 0, 1, lengths)
    shared = buckets[..., :, None] == buckets[..., None, :]
    if chunk is not None:
        piece = argsort(argsort(buckets)) // chunk
        behind = piece[..., :, None] - piece[..., None, :]
        shared = shared & ((behind == 0) | (behind == 1))
    i = xp.arange(x.shape[-2])
    seen = shared.any(axis=-3) & (i[:, None] > i if causal else i[:, None] != i)
    seen = seen | (~seen.any(axis=-1, keepdims=True) & (i[:, None] == i))
    weights, _, _ = softmax_terms(
        (scale_of(x, _factor(x, scale)) * x) @ keys.swapaxes(-1, -2), seen
    )
    return weighted_sum(weights, v)


@hashed_attention.defvjp
def hashed_attention_vjp(g, x, v, buckets, /, *, causal=False, chunk=None, scale=None):
    """As softmax attention, then through the lengths of the keys."""
    keep = _or_itself(_rounds(x, buckets, causal, chunk).any(axis=-3))
    keys, lengths = _keys(x)
    options = {"mask": keep, "scale": _factor(x, scale)}
    dq, dk, dv, *_ = softmax_attention_vjp(g, x, keys, v, **options)
    along = (dk * keys).sum(axis=-1, keepdims=True)
    return dq + (dk - along * keys) / lengths, dv


@hashed_attention.form("rounds")
def hashed_attention_by_rounds(
    x, v, buckets, /, *, causal=False, chunk: Count | None = None, scale=None
):
    """Attention within the buckets of each round, merged over the rounds."""
    xp = namespace(x)
    rounds = _rounds(x, buckets, causal, chunk)
    shared = rounds.sum(axis=-3)
    alone = _or_itself(rounds.any(axis=-3)) & (shared == 0)[..., :, :]
    # A position that sees no other is its own partner, in the first round.
    first = (xp.arange(rounds.shape[-3]) == 0)[:, None, None]
    rounds = rounds | (alone[..., None, :, :] & first)
    bias = -xp.log(xp.maximum(shared, 1).astype(x.dtype))[..., None, :, :]
    keys = _keys(x)[0][..., None, :, :]
    options = {"mask": rounds, "bias": bias, "scale": _factor(x, scale)}
    queries, values = x[..., None, :, :], v[..., None, :, :]
    outputs = softmax_attention.__wrapped__(queries, keys, values, **options)
    logsumexps = attention_logsumexp.__wrapped__(queries, keys, **options)
    return merge_attention.__wrapped__(outputs, logsumexps)[0]


def _factor(x, scale):
    scale = scale_for(x.shape[-1], None) if scale is None else scale
    return namespace(x).full((), scale, dtype=x.dtype)


def _keys(x):
    """x/|x|, and the lengths that it was divided by: 1 for the zero vector."""
    xp = namespace(x)
    lengths = xp.sqrt((x * x).sum(axis=-1, keepdims=True))
    lengths = xp.where(lengths == 0, 1, lengths)
    return x / lengths, lengths


def _rounds(x, buckets, causal, chunk):
    """Which pairs of different positions see each other in each round, (..., h, n, n)."""
    xp = namespace(x)
    if buckets.shape[-2] == 0:
        raise ValueError("buckets: expected at least one round")
    place = xp.arange(buckets.shape[-1])
    keep = buckets[..., :, None] == buckets[..., None, :]
    if chunk is not None:
        # The rank of each position in the order of its round.
        rank = argsort(argsort(buckets))
        behind = rank[..., :, None] // chunk - rank[..., None, :] // chunk
        keep = keep & (behind >= 0) & (behind <= 1)
    return keep & (place[:, None] > place if causal else place[:, None] != place)


def _or_itself(keep):
    """The pairs, and the position itself where there is no other."""
    xp = namespace(keep)
    place = xp.arange(keep.shape[-1])
    lonely = ~keep.any(axis=-1, keepdims=True)
    return keep | (lonely & (place[:, None] == place))
