"""Softmax attention by whole rows: a block of queries against all its keys, in one small array."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from refimpl.attention.masks import band, is_large
from refimpl.attention.online import blocks_of, empty_rows_gradient, tile
from refimpl.attention.softmax import capped, scale_of, softmax_attention
from refimpl.backend import finfo, namespace
from refimpl.core import broadcast_shape, empty_weight, highest, weighted_sum
from refimpl.formula.options import Count


@softmax_attention.form("rows", beyond=is_large)
def rowwise_attention(q, k, v, /, *, empty="zero", query_block: Count = 128, **options):
    """Head by head, all weights of a block of queries at once; nothing of size n x m exists."""
    heads = _Heads(q, k, v, empty, query_block, **options)
    output = heads.zeros(v, q.shape[-2])
    for block in heads.blocks():
        output[block.queries] = heads.output(block)
    return output


@softmax_attention.defvjp(form="rows")
def rowwise_attention_vjp(g, q, k, v, /, *, empty="zero", query_block=128, **options):
    """With W = exp(S - shift), its row sums t, and h = g/t: dV = W^T h, dS = W (h V^T - <h, O>)."""
    xp = namespace(q)
    heads = _Heads(q, k, v, empty, query_block, **options)
    g = xp.broadcast_to(g, (*heads.batch, *g.shape[-2:]))
    dq, dk, dv = (heads.zeros(x, x.shape[-2]) for x in (q, k, v))
    dbias = None if heads.bias is None else heads.zeros(k[..., 0], q.shape[-2])
    dscale, dsink = (xp.zeros(heads.batch, dtype=q.dtype) for _ in range(2))
    scratch = heads.scratch()
    for block in heads.blocks():
        gradient = g[block.queries]
        h = gradient / block.total
        mean = (h * heads.output(block)).sum(axis=-1, keepdims=True)
        dv[block.keys] += block.weights.T @ h
        if block.is_empty is not None:
            weight = empty_weight(empty, k.shape[-2])
            dv[block.head] += empty_rows_gradient(xp, gradient, block.is_empty, weight)
        if heads.sink is not None:
            dsink[block.head] -= (xp.exp(heads.sink[block.head] - block.shift) * mean).sum()
        dscores = scratch[: block.weights.size].reshape(block.weights.shape)
        xp.matmul(h, heads.v[block.keys].T, out=dscores)
        dscores -= mean
        dscores *= block.weights
        if block.hidden is not None:
            # A weight of 0 times a value that is not finite would be NaN.
            xp.copyto(dscores, 0.0, where=block.hidden)
        if dbias is not None:
            dbias[(*block.queries, block.keys[-1])] = dscores
        if block.slope is not None:
            dscores *= block.slope
        dq[block.queries] = heads.product(dscores, heads.k[block.keys])
        dk[block.keys] += heads.product(dscores.T, heads.q[block.queries])
    if options.get("scale") is not None:
        dscale = xp.where(dq == 0.0, 0.0, dq * q).sum(axis=(-1, -2))
    return dq * heads.factor, dk, dv, dbias, dscale, dsink


class _Block(NamedTuple):
    """Some queries of one head, and exp(S - shift) of all keys that any of them sees."""

    head: tuple[int, ...]
    queries: tuple
    keys: tuple
    weights: Any
    total: Any
    """Sums of the rows of the weights, the sink's share included; 1 for an empty row."""
    shift: Any
    hidden: Any
    """Which pairs are not seen, or None where all are."""
    is_empty: Any
    """Which queries see nothing, or None where none does."""
    slope: Any
    """Of the soft cap, or None."""


class _Heads:
    """An attention call, head by head. Queries are scaled once, which is cheaper than logits."""

    def __init__(
        self,
        q,
        k,
        v,
        empty,
        query_block,
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
        xp = self.xp = namespace(q)
        self.n, self.m, self.softcap, self.empty = q.shape[-2], k.shape[-2], softcap, empty
        empty_weight(empty, self.m)
        self.size = query_block
        self.band = band(self.n, self.m, causal, window, offset)
        self.factor = scale_of(q, scale)
        q = q * self.factor
        parts = [x.shape[:-2] for x in (q, k, v, mask, bias) if x is not None]
        self.batch = broadcast_shape(parts if sink is None else [*parts, sink.shape])
        self.q, self.k, self.v, self.mask, self.bias = (
            None if x is None else xp.broadcast_to(x, (*self.batch, *x.shape[-2:]))
            for x in (q, k, v, mask, bias)
        )
        self.sink = None if sink is None else xp.broadcast_to(sink, self.batch)
        is_finite = all(bool(xp.isfinite(x).all()) for x in (q, k, v))
        self.product = xp.matmul if is_finite else weighted_sum
        # Cauchy and Schwarz bound the logits; where nothing can overflow, no maximum is needed.
        largest = xp.sqrt(_longest(q) * _longest(k))
        room = math.log(float(finfo(q).max)) / 3 - math.log(max(self.m, 1))
        self.is_bounded = bias is None and sink is None and bool((largest < room).all())

    def zeros(self, like, n: int):
        """Zeros (*batch, n, last axis of like)."""
        return self.xp.zeros((*self.batch, n, like.shape[-1]), dtype=like.dtype)

    def scratch(self):
        """Room for the largest block."""
        return self.xp.empty(min(self.size, self.n) * self.m, dtype=self.q.dtype)

    def blocks(self) -> Iterator[_Block]:
        """All blocks of all heads. Each is valid until the next one, which takes its memory."""
        scratch = self.scratch()
        ones = self.xp.ones((self.m, 1), dtype=self.q.dtype)
        for rows in blocks_of(range(self.n), self.size):
            columns = self.band.columns(rows, self.m)
            outside = None
            if self.band.left is not None or self.band.right is not None:
                outside = ~self.band.keep(self.xp, rows, columns)
            i, j = slice(rows.start, rows.stop), slice(columns.start, columns.stop)
            room = scratch[: len(rows) * len(columns)].reshape(len(rows), len(columns))
            for head in itertools.product(*map(range, self.batch)):
                yield self._block(head, (*head, i), (*head, j), outside, room, ones)

    def _block(self, head, queries, keys, outside, weights, ones) -> _Block:
        xp = self.xp
        slope = None
        xp.matmul(self.q[queries], self.k[keys].T, out=weights)
        if self.softcap is not None:
            weights[...] = capped(weights, self.softcap)
            slope = 1 - (weights / self.softcap) ** 2
        hidden = self._hidden(head, queries[-1], keys[-1], outside)
        if self.bias is not None:
            weights += tile(self.bias[head], queries[-1], keys[-1])
        if hidden is not None:
            xp.copyto(weights, -xp.inf, where=hidden)
            slope = None if slope is None else xp.where(hidden, 0.0, slope)
        shift = 0.0
        if not self.is_bounded:
            peak = highest(weights)
            if self.sink is not None:
                peak = xp.maximum(peak, self.sink[head])
            # exp(-inf - -inf) is NaN: a row that sees nothing is shifted by 0.
            shift = xp.where(peak == -xp.inf, 0.0, peak).astype(weights.dtype)
            weights -= shift
        xp.exp(weights, out=weights)
        total = weights @ ones[: weights.shape[-1]]
        if self.sink is not None:
            total = total + xp.exp(self.sink[head] - shift)
        is_empty = None
        if bool((total == 0.0).any()):
            is_empty = total == 0.0
            if hidden is not None:
                is_empty = is_empty & hidden.all(axis=-1, keepdims=True)
            elif weights.shape[-1] > 0:
                is_empty = is_empty & False
            total = xp.where(is_empty, 1.0, total).astype(weights.dtype)
        return _Block(head, queries, keys, weights, total, shift, hidden, is_empty, slope)

    def _hidden(self, head, i: slice, j: slice, outside):
        """The pairs that the band, the mask or a bias of -inf hides; None where nothing can."""
        hidden = [] if outside is None else [outside]
        if self.mask is not None:
            hidden.append(~tile(self.mask[head], i, j))
        if self.bias is not None:
            hidden.append(tile(self.bias[head], i, j) == -self.xp.inf)
        if not hidden:
            return None
        shape = (len(range(*i.indices(self.n))), len(range(*j.indices(self.m))))
        whole = hidden[0]
        for part in hidden[1:]:
            whole = whole | part
        return self.xp.broadcast_to(whole, shape)

    def output(self, block: _Block):
        """W V / t, and what the policy says for empty rows."""
        xp = self.xp
        output = self.product(block.weights, self.v[block.keys]) / block.total
        if block.is_empty is None:
            return output
        weight = empty_weight(self.empty, self.m)
        filler = weight * self.v[block.head].sum(axis=-2, keepdims=True) if weight else 0.0
        return xp.where(block.is_empty, filler, output)


def _longest(x):
    """The largest square norm of the rows, in an array of one; -inf where there is none."""
    return highest((x * x).sum(axis=-1).reshape(-1))
