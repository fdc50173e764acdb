"""Second definitions: buckets by exact fractions, one after another, and T5's table of biases."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from tools.golden import golden


def _t5_cases():
    near = np.array([1000, 1001, 1300]), np.arange(700, 1400, 13)
    every = np.array([128]), np.arange(0, 257)
    far = np.array([2**40]), np.array([0, 2**40 - 1, 2**41])
    two, one = {"bidirectional": True}, {"bidirectional": False}
    return {
        "published, two directions": (every, two),
        "published, one direction": (every, one),
        "some positions": (near, two),
        "far": (far, two),
        "64 buckets to 256": (every, two | {"buckets": 64, "max_distance": 256}),
        "20 buckets to 100": (every, one | {"buckets": 20, "max_distance": 100}),
        "4 buckets": (every, two | {"buckets": 4, "max_distance": 2}),
    }


@golden("t5_buckets", cases=_t5_cases)
def t5_buckets(queries, keys, *, bidirectional, buckets=32, max_distance=128):
    """The largest k with (n/E)^(B - E) >= (D/E)^k, by fractions."""

    def bucket(n):
        side, offset = buckets, 0
        if bidirectional:
            side, offset, n = buckets // 2, buckets // 2 if n < 0 else 0, abs(n)
        n, start = max(n, 0), side // 2
        if n < start:
            return offset + n
        k, reached = 0, Fraction(n, start) ** (side - start)
        while start + k < side - 1 and reached >= Fraction(max_distance, start) ** (k + 1):
            k += 1
        return offset + start + k

    return [[bucket(i - j) for j in keys] for i in queries]


def _bias_cases():
    rng = np.random.default_rng(1910)
    table = rng.standard_normal((32, 3))
    two, one = {"bidirectional": True}, {"bidirectional": False}
    return {
        "encoder": ((table, np.arange(4), np.arange(5)), two),
        "decoding": ((table, np.array([200]), np.arange(0, 201, 9)), one),
        "far": ((table, np.array([5, 4000]), np.array([0, 30, 2000, 10**6])), two),
        "few buckets": ((table[:6], np.arange(9), np.arange(9)), one | {"max_distance": 7}),
    }


@golden("t5_bias", cases=_bias_cases)
def t5_bias(table, queries, keys, **options):
    rows = t5_buckets(queries, keys, buckets=len(table), **options)
    return [[[table[b][h] for b in row] for row in rows] for h in range(len(table[0]))]


def _deberta_cases():
    every = np.array([600]), np.arange(0, 1201, 3)
    edges = np.array([127, 128, 129, 130, 140, 200, 256, 300, 400, 500, 510, 511, 512, 9999, -511])
    return {
        "published": ((edges, np.array([0])), {}),
        "both signs": (every, {}),
        "small": ((np.array([50]), np.arange(101)), {"bucket_size": 8, "max_position": 40}),
        "odd": ((np.array([50]), np.arange(101)), {"bucket_size": 9, "max_position": 40}),
    }


@golden("deberta_log_buckets", cases=_deberta_cases)
def deberta_log_buckets(queries, keys, *, bucket_size=256, max_position=512):
    """The smallest k with (r/c)^(c - 1) <= ((M - 1)/c)^k, by fractions."""

    def bucket(r):
        r = max(1 - max_position, min(r, max_position - 1))
        middle = bucket_size // 2
        if abs(r) <= middle:
            return r
        k, reached = 1, Fraction(abs(r), middle) ** (middle - 1)
        while reached > Fraction(max_position - 1, middle) ** k:
            k += 1
        return (middle + k) * (1 if r > 0 else -1)

    return [[bucket(i - j) for j in keys] for i in queries]
