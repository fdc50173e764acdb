"""Softmax attention in chunks: O(n) memory, exact; and the merge of partial results."""

from __future__ import annotations

from refimpl.attention.masks import Band, band, is_large
from refimpl.attention.softmax import (
    attention_logsumexp,
    cap_slope,
    capped,
    scale_of,
    softmax_attention,
)
from refimpl.backend import namespace
from refimpl.core import broadcast_shape, empty_weight, weighted_sum
from refimpl.formula import formula
from refimpl.formula.options import Count


@softmax_attention.form("online")
def online_attention(
    q, k, v, /, *, empty="zero", query_block: Count = 128, key_block: Count = 512, **options
):
    """Running maximum, sum and output over blocks of keys; nothing of size n x m exists."""
    tiles = _Tiles(q, k, query_block, key_block, **options)
    blocks = [_attend(tiles, rows, v, empty)[0] for rows in tiles.row_blocks]
    return namespace(q).concatenate(blocks, axis=-2)


@attention_logsumexp.form("online", beyond=is_large)
def online_logsumexp(q, k, /, *, query_block: Count = 128, key_block: Count = 512, **options):
    """As the online attention, without values."""
    tiles = _Tiles(q, k, query_block, key_block, **options)
    blocks = [_attend(tiles, rows, k[..., :0], "zero")[1] for rows in tiles.row_blocks]
    return namespace(q).concatenate(blocks, axis=-1)


@softmax_attention.defvjp(form="online")
def online_attention_vjp(g, q, k, v, /, *, empty="zero", query_block=128, key_block=512, **options):
    """Recompute P = exp(S - L) tile by tile; only O and L of one block of queries are kept."""
    xp = namespace(q)
    tiles = _Tiles(q, k, query_block, key_block, **options)
    bias, scale, sink = (options.get(name) for name in ("bias", "scale", "sink"))
    batch = g.shape[:-2]
    dq, dk, dv = (xp.zeros((*batch, *x.shape[-2:]), dtype=x.dtype) for x in (q, k, v))
    dbias = None if bias is None else xp.zeros((*batch, tiles.n, tiles.m), dtype=q.dtype)
    dscale, dsink = xp.zeros(batch, dtype=q.dtype), xp.zeros(batch, dtype=q.dtype)
    for rows in tiles.row_blocks:
        i = slice(rows.start, rows.stop)
        out, logsumexp, is_empty = _attend(tiles, rows, v, empty)
        gradient = g[..., i, :]
        mean = (gradient * out).sum(axis=-1)[..., None]
        shift = xp.where(logsumexp == -xp.inf, 0.0, logsumexp)[..., None]
        for columns in tiles.column_blocks(rows):
            j = slice(columns.start, columns.stop)
            inner, keep, scores = tiles.scores(rows, columns)
            weights = xp.exp(xp.where(keep, scores, -xp.inf) - shift)
            dv[..., j, :] += weights.swapaxes(-1, -2) @ gradient
            dscores = xp.where(
                keep, weights * (gradient @ v[..., j, :].swapaxes(-1, -2) - mean), 0.0
            )
            dlogits = xp.where(keep, dscores * cap_slope(inner * tiles.factor, tiles.softcap), 0.0)
            dq[..., i, :] += tiles.factor * weighted_sum(dlogits, k[..., j, :])
            dk[..., j, :] += tiles.factor * weighted_sum(dlogits.swapaxes(-1, -2), q[..., i, :])
            if scale is not None:
                dscale += xp.where(keep, dlogits * inner, 0.0).sum(axis=(-1, -2))
            if bias is not None:
                dbias[..., i, j] = dscores
        if sink is not None:
            dsink -= (xp.exp(sink[..., None, None] - shift) * mean).sum(axis=(-1, -2))
        dv += empty_rows_gradient(xp, gradient, is_empty, empty_weight(empty, k.shape[-2]))
    return dq, dk, dv, dbias, dscale, dsink


class _Tiles:
    """The logits of an attention call, one tile of queries and keys at a time."""

    def __init__(
        self,
        q,
        k,
        query_block,
        key_block,
        *,
        mask=None,
        bias=None,
        scale=None,
        causal=None,
        window=None,
        offset=None,
        softcap=None,
        sink=None,
    ):
        self.xp = namespace(q)
        self.q, self.k, self.mask, self.bias, self.softcap, self.sink = (
            q,
            k,
            mask,
            bias,
            softcap,
            sink,
        )
        self.n, self.m = q.shape[-2], k.shape[-2]
        self.factor = scale_of(q, scale)
        self.band: Band = band(self.n, self.m, causal, window, offset)
        self.key_block = key_block
        self.row_blocks = blocks_of(range(self.n), query_block) or [range(0)]
        leading = [x.shape[:-2] for x in (q, k, mask, bias) if x is not None]
        leading += [x.shape for x in (scale, sink) if x is not None]
        self.batch = broadcast_shape(leading)

    def column_blocks(self, rows: range) -> list[range]:
        return blocks_of(self.band.columns(rows, self.m), self.key_block)

    def scores(self, rows: range, columns: range):
        """Inner products, which entries are kept, and final logits of a tile."""
        i, j = slice(rows.start, rows.stop), slice(columns.start, columns.stop)
        inner = self.q[..., i, :] @ self.k[..., j, :].swapaxes(-1, -2)
        scores = capped(inner * self.factor, self.softcap)
        keep = self.band.keep(self.xp, rows, columns)
        if self.bias is not None:
            bias = tile(self.bias, i, j)
            scores = scores + bias
            keep = keep & (bias != -self.xp.inf)
        return inner, keep if self.mask is None else keep & tile(self.mask, i, j), scores


def _attend(tiles: _Tiles, rows: range, v, empty: str):
    """Output, log-sum-exp and which queries are empty, for one block of queries."""
    xp = tiles.xp
    batch = broadcast_shape([tiles.batch, v.shape[:-2]])
    peak = xp.full((*batch, len(rows), 1), -xp.inf, dtype=tiles.q.dtype)
    total = xp.zeros_like(peak)
    if tiles.sink is not None:
        peak = xp.broadcast_to(tiles.sink[..., None, None], peak.shape)
        total = xp.where(peak == -xp.inf, total, 1.0)
    output = xp.zeros((*batch, len(rows), v.shape[-1]), dtype=tiles.q.dtype)
    seen = xp.zeros(peak.shape, dtype=bool)
    for columns in tiles.column_blocks(rows):
        _, keep, scores = tiles.scores(rows, columns)
        scores = xp.where(keep, scores, -xp.inf)
        highest = xp.maximum(peak, xp.max(scores, axis=-1, keepdims=True))
        # exp(-inf - -inf) is NaN: as long as nothing is seen, shift by 0.
        shift = xp.where(highest == -xp.inf, 0.0, highest)
        weights = xp.exp(scores - shift)
        decay = xp.exp(peak - shift)
        total = decay * total + xp.sum(weights, axis=-1, keepdims=True)
        output = decay * output + weighted_sum(weights, v[..., columns.start : columns.stop, :])
        peak = highest
        seen = seen | xp.any(keep, axis=-1, keepdims=True)
    is_empty = ~seen & (total == 0.0)
    logsumexp = xp.where(is_empty, -xp.inf, peak + xp.log(total))
    output = output / total
    if bool(is_empty.any()):
        weight = empty_weight(empty, tiles.m)
        filler = weight * v.sum(axis=-2, keepdims=True) if weight else 0.0
        output = xp.where(is_empty, filler, output)
    return output, logsumexp[..., 0], is_empty


def empty_rows_gradient(xp, gradient, is_empty, weight):
    """What empty rows give to every value: their constant weight times their cotangent."""
    if weight == 0.0 or not bool(is_empty.any()):
        return 0.0
    return weight * xp.where(is_empty, gradient, 0.0).sum(axis=-2, keepdims=True)


def tile(x, i: slice, j: slice):
    """A block of a mask or bias whose axes may have size 1."""
    return x[..., i if x.shape[-2] > 1 else slice(None), j if x.shape[-1] > 1 else slice(None)]


def blocks_of(whole: range, size: int) -> list[range]:
    return [whole[start : start + size] for start in range(0, len(whole), size)]


@formula(
    "(p,n,v),(p,n)->(n,v),(n)",
    source="Dao 2023 (arXiv:2307.08691); Milakov and Gimelshein 2018 (arXiv:1805.02867)",
)
def merge_attention(outputs, logsumexps, /):
    r"""Merge attention over disjoint sets of keys into attention over their union.

    Formula
    -------
    .. math:: L = \log \sum_p e^{L_p}, \qquad O = \sum_p e^{L_p - L} O_p

    Parameters
    ----------
    outputs : (..., p, n, v) outputs of the p parts.
    logsumexps : (..., p, n) their log-sum-exps, natural logarithm, -inf for a part without keys.

    Returns
    -------
    output (..., n, v), 0 where every part is empty; logsumexp (..., n).

    Raises
    ------
    ValueError
        Shapes that do not fit.

    Conventions
    -----------
    A sink enters exactly one part. Kernels that return base-2 log-sum-exps need a factor log 2,
    those that return +inf for empty parts (flash-attention 2) a change to -inf.

    Breaks when
    -----------
    Never by overflow: the merge is associative and commutative with identity (0, -inf). The output
    of an empty part is ignored even where it is NaN.

    References
    ----------
    Dao 2023 (arXiv:2307.08691); flashinfer pull request 4401 (empty parts).

    Examples
    --------
    >>> import refimpl
    >>> output, logsumexp = refimpl.merge_attention([[[2.0]], [[4.0]]], [[0.0], [0.0]])
    >>> output, logsumexp.round(6)
    (array([[3.]]), array([0.693147]))
    """
    xp = namespace(outputs)
    weights, logsumexp = _merge_weights(xp, logsumexps)
    return xp.where(weights == 0.0, 0.0, weights * outputs).sum(axis=-3), logsumexp


@merge_attention.defvjp
def merge_attention_vjp(g, outputs, logsumexps, /):
    r"""dO_p = w_p g; dL_p = w_p (<g, O_p - O> + g_L), with w_p = exp(L_p - L)."""
    xp = namespace(outputs)
    g_output, g_logsumexp = g
    weights, _ = _merge_weights(xp, logsumexps)
    present = xp.where(weights == 0.0, 0.0, outputs)
    merged = (weights * present).sum(axis=-3, keepdims=True)
    gain = (g_output[..., None, :, :] * (present - merged)).sum(axis=-1)
    return weights * g_output[..., None, :, :], weights[..., 0] * (gain + g_logsumexp[..., None, :])


def _merge_weights(xp, logsumexps):
    """exp(L_p - L) with a trailing axis, and L; weights 0 where every part is empty."""
    if logsumexps.shape[-2] == 0:
        raise ValueError("outputs: there is no part to merge")
    peak = xp.max(logsumexps, axis=-2, keepdims=True)
    shift = xp.where(peak == -xp.inf, 0.0, peak)
    total = xp.exp(logsumexps - shift).sum(axis=-2, keepdims=True)
    logsumexp = shift + xp.log(total)
    weights = xp.exp(logsumexps - xp.where(logsumexp == -xp.inf, 0.0, logsumexp))
    return weights[..., None], logsumexp[..., 0, :]
