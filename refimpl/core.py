"""Primitives that several topics share."""

from __future__ import annotations

from refimpl.backend import namespace


# ------------------------------------------------------------------------------------- softmax


def softmax_terms(scores, keep, sink=None, empty: str = "zero"):
    """Weights, log-sum-exp and the sink's weight of scores (..., n, m), over the last axis.

    ``keep`` says which entries take part; the others weigh nothing whatever their scores are. The sink is one
    more entry without a place in the result. A row that keeps nothing follows ``empty``: weights
    ``"zero"``, ``"nan"``, or ``"mean"`` (1/m on every entry, masked ones included).
    """
    xp = namespace(scores)
    scores, column = _with_sink_column(xp, xp.where(keep, scores, -xp.inf), sink)
    entries = xp.concatenate([scores, column], axis=-1)
    peak = xp.max(entries, axis=-1, keepdims=True)
    # exp(-inf - -inf) is NaN: a row without entries is shifted by 0 instead of by its maximum.
    shift = xp.where(peak == -xp.inf, 0.0, peak)
    exponentials = xp.exp(entries - shift)
    total = xp.sum(exponentials, axis=-1, keepdims=True)
    is_empty = ~xp.any(keep, axis=-1, keepdims=True) & (total == 0.0)
    weights = xp.where(is_empty, empty_weight(empty, keep.shape[-1]), exponentials / total)
    logsumexp = shift + xp.log(total)
    return weights[..., :-1], logsumexp[..., 0], weights[..., -1]


def empty_weight(empty: str, m: int) -> float:
    """The weight of every entry of a row that keeps none."""
    policies = {"zero": 0.0, "nan": float("nan"), "mean": 1.0 / max(m, 1)}
    if empty not in policies:
        raise ValueError(f"empty: expected one of {list(policies)}, got {empty!r}")
    return policies[empty]


def _with_sink_column(xp, scores, sink):
    """The scores, and the column that the sink adds to them: -inf where there is none."""
    column = xp.full((*scores.shape[:-1], 1), -xp.inf, dtype=scores.dtype)
    if sink is None:
        return scores, column
    _, column = xp.broadcast_arrays(column, sink[..., None, None])
    return xp.broadcast_to(scores, (*column.shape[:-1], scores.shape[-1])), column


def weighted_sum(weights, values):
    """weights @ values in which an entry of weight 0 is absent, even if its value is NaN or infinite."""
    xp = namespace(weights, values)
    finite = xp.isfinite(values)
    if bool(finite.all()):
        return weights @ values
    total = weights @ xp.where(finite, values, 0.0).astype(values.dtype)
    # 0 * NaN is NaN, so what is not finite is summed apart, only where its weight is not 0.
    for row in range(values.shape[-2]):
        weight, value = weights[..., :, row, None], values[..., row, None, :]
        present = (weight != 0) & ~xp.isfinite(value)
        total = total + xp.where(present, weight * value, 0.0).astype(total.dtype)
    return total
