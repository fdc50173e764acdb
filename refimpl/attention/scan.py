"""The sums that linear attention carries along a sequence, block by block of queries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from refimpl.attention.masks import band
from refimpl.backend import namespace
from refimpl.core import weighted_sum


class State(NamedTuple):
    """Sums over the keys so far: S of feature times value (..., r, v), z of features (..., r)."""

    s: Any
    z: Any

    @classmethod
    def empty(cls, kf, v):
        xp = namespace(kf)
        r = kf.shape[-1]
        return cls(xp.zeros((r, v.shape[-1]), dtype=v.dtype), xp.zeros((r,), dtype=kf.dtype))

    def plus(self, features, values, weights=None):
        """With more terms: outer products of features and values, and features times weights."""
        s = self.s + features.swapaxes(-1, -2) @ values
        if weights is not None:
            features = features * weights[..., None]
        return State(s, self.z + features.sum(axis=-2))


class Block(NamedTuple):
    """Queries ``rows``: keys before ``low`` are in the state, those from there to ``high`` not."""

    rows: slice
    low: int
    high: int


class Scan:
    """Linear attention block by block; keys enter the state when no later query misses them."""

    def __init__(self, qf, kf, v, causal, offset, chunk):
        self.qf, self.kf, self.v = qf, kf, v
        n, self.m = qf.shape[-2], kf.shape[-2]
        self.strip = band(n, self.m, causal, None, offset)
        if self.strip.right is None:
            chunk = max(n, 1)
        starts = range(0, n, chunk)
        self.blocks = [self._block(start, min(start + chunk, n)) for start in starts]

    def _block(self, start: int, stop: int) -> Block:
        if self.strip.right is None:
            return Block(slice(start, stop), self.m, self.m)
        low, high = (min(max(i + self.strip.offset, 0), self.m) for i in (start, stop))
        return Block(slice(start, stop), low, high)

    def _apart(self, block: Block, x):
        """x (..., rows, keys) of the keys that are not in the state, 0 where one is not seen."""
        xp = namespace(x)
        rows = range(block.rows.start, block.rows.stop)
        return xp.where(self.strip.keep(xp, rows, range(block.low, block.high)), x, 0.0)

    def states(self, state: State) -> Iterator[tuple[Block, State]]:
        """Each block with the state that its queries find; the last one has no queries."""
        entered = 0
        for block in (*self.blocks, Block(slice(0, 0), self.m, self.m)):
            new = slice(entered, block.low)
            state = state.plus(self.kf[..., new, :], self.v[..., new, :])
            entered = block.low
            yield block, state

    def forward(self, state: State):
        """Numerators (..., n, v), denominators (..., n), and the state after all keys."""
        xp = namespace(self.qf)
        numerators, totals = [], []
        for block, reached in self.states(state):
            queries = self.qf[..., block.rows, :]
            inner = self._apart(block, queries @ self._keys(block).swapaxes(-1, -2))
            apart = weighted_sum(inner, self.v[..., block.low : block.high, :])
            numerators.append(queries @ reached.s + apart)
            totals.append((queries @ reached.z[..., None])[..., 0] + inner.sum(axis=-1))
        return xp.concatenate(numerators, axis=-2), xp.concatenate(totals, axis=-1), reached

    def backward(self, g, dtotal, state: State, dstate: State):
        """Gradients of qf, kf, v and the first state; ``dstate`` is the cotangent of the last."""
        xp = namespace(g)
        batch = g.shape[:-2]
        dqf, dkf, dv = (
            xp.zeros((*batch, *x.shape[-2:]), dtype=x.dtype) for x in (self.qf, self.kf, self.v)
        )
        steps = list(self.states(state))
        for index in reversed(range(len(steps))):
            block, state = steps[index]
            i, j = block.rows, slice(block.low, block.high)
            queries, keys, values = self.qf[..., i, :], self._keys(block), self.v[..., j, :]
            inner = self._apart(block, queries @ keys.swapaxes(-1, -2))
            dinner = g[..., i, :] @ values.swapaxes(-1, -2) + dtotal[..., i, None]
            dinner = self._apart(block, dinner)
            from_state = g[..., i, :] @ state.s.swapaxes(-1, -2)
            from_state = from_state + dtotal[..., i, None] * state.z[..., None, :]
            dqf[..., i, :] = from_state + weighted_sum(dinner, keys)
            dkf[..., j, :] += weighted_sum(dinner.swapaxes(-1, -2), queries)
            dv[..., j, :] += inner.swapaxes(-1, -2) @ g[..., i, :]
            # What this block reads from the state goes to all keys that have entered it.
            dstate = dstate.plus(queries, g[..., i, :], dtotal[..., i])
            new = slice(steps[index - 1][0].low if index else 0, block.low)
            dkf[..., new, :] += self.v[..., new, :] @ dstate.s.swapaxes(-1, -2)
            dkf[..., new, :] += dstate.z[..., None, :]
            dv[..., new, :] += self.kf[..., new, :] @ dstate.s
        return dqf, dkf, dv, dstate

    def _keys(self, block: Block):
        return self.kf[..., block.low : block.high, :]
