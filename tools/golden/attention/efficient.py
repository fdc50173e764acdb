"""Efficient attention by its defining sums, one pair of positions at a time."""

from __future__ import annotations

import mpmath
import numpy as np
from mpmath import mpf

from tools.golden import golden
from tools.golden.attention.softmax import fixture


def _cases(*variants):
    def make():
        rng = np.random.default_rng(8180)
        small = tuple(rng.standard_normal(s) for s in ((5, 3), (5, 3), (5, 2)))
        mask = np.array([True, False, True, True, False])
        q, k, v = small
        cases = {}
        for options in variants:
            label = options.get("version", "plain")
            cases |= {
                f"fixture {label}": (fixture(), options),
                f"masked {label}": (small, options | {"mask": mask}),
                f"far keys {label}": ((q, k + [[50.0, -50.0, 0.0]], v), options),
            }
        return cases

    return make


def _read(weights, v):
    """Rows of weights times the values."""
    columns = list(zip(*v, strict=True))
    return [
        [mpmath.fsum(w * x for w, x in zip(row, column, strict=True)) for column in columns]
        for row in weights
    ]


def _exponentials(x, mask=None):
    keep = [True] * len(x) if mask is None else mask
    return [
        [mpmath.exp(a) if kept else mpf(0) for a in row] for row, kept in zip(x, keep, strict=True)
    ]


def _ratio(a, b):
    return a / b if b else mpf(0)


@golden("efficient_attention", _cases({}))
def efficient_attention(q, k, v, mask=None):
    a, b = _exponentials(q), _exponentials(k, mask)
    sums = [mpmath.fsum(column) for column in zip(*b, strict=True)]
    weights = [
        [
            mpmath.fsum(
                x / mpmath.fsum(row) * _ratio(y, s) for x, y, s in zip(row, key, sums, strict=True)
            )
            for key in b
        ]
        for row in a
    ]
    return _read(weights, v)


@golden("causal_efficient_attention", _cases({"version": "channel"}, {"version": "kernel"}))
def causal_efficient_attention(q, k, v, version, mask=None):
    a, b = _exponentials(q), _exponentials(k, mask)
    weights = []
    for i, row in enumerate(a):
        seen = b[: i + 1]
        sums = [mpmath.fsum(column) for column in zip(*seen, strict=True)]
        if version == "kernel":
            total = mpmath.fsum(x * s for x, s in zip(row, sums, strict=True))
            found = [
                _ratio(mpmath.fsum(x * y for x, y in zip(row, key, strict=True)), total)
                for key in seen
            ]
        else:
            total = mpmath.fsum(row)
            found = [
                mpmath.fsum(
                    x / total * _ratio(y, s) for x, y, s in zip(row, key, sums, strict=True)
                )
                for key in seen
            ]
        weights.append(found + [mpf(0)] * (len(b) - len(seen)))
    return _read(weights, v)
