"""Second definitions in plain mpmath: logits and values of relative attention, pair by pair."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden
from tools.golden.position.buckets import deberta_log_buckets


def _dot(x, y):
    return mpmath.fsum(a * b for a, b in zip(x, y, strict=True))


def _clip(x, low, high):
    return max(low, min(x, high))


def _row(table, i, j, order):
    reach = len(table) // 2
    return table[_clip(j - i if order == "k_minus_q" else i - j, -reach, reach) + reach]


def _positions():
    return {
        "in order": (np.arange(3), np.arange(4)),
        "after a cache": (np.array([8, 9, 10]), np.array([0, 5, 8, 10])),
        "far": (np.array([10**6, 0, 7]), np.array([0, 2**31, 6, 10**6])),
    }


def _key_cases():
    rng = np.random.default_rng(1803)
    arrays = tuple(rng.standard_normal(shape) for shape in ((3, 5), (4, 5), (5, 5)))
    found = {}
    for name, positions in _positions().items():
        found[name] = ((*arrays, *positions), {"order": "k_minus_q"})
        found[f"{name}, scaled"] = (
            (*arrays, *positions),
            {"order": "q_minus_k", "scale": np.array(0.3)},
        )
    return found


@golden("relative_attention_logits", cases=_key_cases)
def relative_attention_logits(q, k, table, queries, keys, *, order, scale=None):
    tau = 1 / mpmath.sqrt(len(q[0])) if scale is None else scale

    def logit(x, y, i, j):
        return tau * _dot(x, [a + b for a, b in zip(y, _row(table, i, j, order), strict=True)])

    return [
        [logit(x, y, i, j) for y, j in zip(k, keys, strict=True)]
        for x, i in zip(q, queries, strict=True)
    ]


def _value_cases():
    rng = np.random.default_rng(1803)
    arrays = tuple(rng.standard_normal(shape) for shape in ((3, 4), (4, 5), (5, 5)))
    return {
        f"{name}, {order}": ((*arrays, *positions), {"order": order})
        for name, positions in _positions().items()
        for order in ("k_minus_q", "q_minus_k")
    }


@golden("relative_attention_values", cases=_value_cases)
def relative_attention_values(weights, values, table, queries, keys, *, order):
    def entry(row, i, c):
        terms = zip(row, values, keys, strict=True)
        return mpmath.fsum(w * (v[c] + _row(table, i, j, order)[c]) for w, v, j in terms)

    columns = range(len(table[0]))
    return [[entry(row, i, c) for c in columns] for row, i in zip(weights, queries, strict=True)]


def _deberta_cases():
    rng = np.random.default_rng(2006)
    arrays = tuple(rng.standard_normal(shape) for shape in ((3, 5), (4, 5), (8, 5), (8, 5)))
    variants = {
        "code": {"p2c_index": "code"},
        "paper": {"p2c_index": "paper", "scale": np.array(0.3)},
        "code, buckets": {"p2c_index": "code", "log_buckets": True, "max_position": 20},
        "paper, buckets": {"p2c_index": "paper", "log_buckets": True, "max_position": 9},
    }
    return {
        f"{name}, {variant}": ((*arrays, *positions), options)
        for name, positions in _positions().items()
        for variant, options in variants.items()
    }


@golden("disentangled_logits", cases=_deberta_cases)
def disentangled_logits(
    q,
    k,
    of_queries,
    of_keys,
    queries,
    keys,
    *,
    p2c_index,
    log_buckets=False,
    max_position=512,
    scale=None,
):
    b = len(of_keys) // 2
    tau = 1 / mpmath.sqrt(3 * len(q[0])) if scale is None else scale

    def delta(i, j):
        distance = i - j
        if log_buckets:
            options = {"bucket_size": b, "max_position": max_position}
            distance = deberta_log_buckets([i], [j], **options)[0][0]
        return _clip(distance + b, 0, 2 * b - 1)

    def logit(x, y, i, j):
        third = delta(j, i) if p2c_index == "paper" else delta(i, j)
        return tau * (_dot(x, y) + _dot(x, of_keys[delta(i, j)]) + _dot(y, of_queries[third]))

    return [
        [logit(x, y, i, j) for y, j in zip(k, keys, strict=True)]
        for x, i in zip(q, queries, strict=True)
    ]
