"""Linformer, Synthesizer and cosFormer by their defining sums."""

from __future__ import annotations

import mpmath
import numpy as np
from mpmath import mpf

from tools.golden import golden
from tools.golden.attention.softmax import fixture
from tools.golden.attention.softmax import softmax_attention as softmax_sums


def product(a, b):
    return [
        [
            mpmath.fsum(x * y for x, y in zip(row, column, strict=True))
            for column in zip(*b, strict=True)
        ]
        for row in a
    ]


def draw(seed, *shapes):
    rng = np.random.default_rng(seed)
    return tuple(rng.standard_normal(s) for s in shapes)


def _projected():
    arrays = draw(2006, (4, 3), (6, 3), (6, 2), (3, 6), (3, 6))
    mask = np.array([True, True, False, True, True, False])
    q, k, v = fixture()
    reverse = np.eye(8)[::-1].copy()
    return {
        "projected": (arrays, {}),
        "masked": (arrays, {"mask": mask, "scale": np.array(0.3)}),
        "fixture reversed": ((q, k, v, reverse, reverse), {}),
    }


@golden("linformer_attention", _projected)
def linformer_attention(q, k, v, key_projection, value_projection, mask=None, scale=None):
    kept = [True] * len(k) if mask is None else mask
    k, v = (
        [[x if keep else mpf(0) for x in row] for row, keep in zip(m, kept, strict=True)]
        for m in (k, v)
    )
    return softmax_sums(q, product(key_projection, k), product(value_projection, v), scale=scale)


def _logits():
    logits, v = draw(2005, (4, 5), (5, 2))
    mask = np.random.default_rng(0).random((4, 5)) < 0.6
    mask[1] = False
    return {
        "free": ((logits, v), {}),
        "masked": ((logits, v), {"mask": mask}),
        "causal": ((logits, v), {"causal": "bottom_right"}),
        "huge": ((1e3 * logits, v), {}),
    }


@golden("synthesizer_attention", _logits)
def synthesizer_attention(logits, v, mask=None, causal=None):
    shift = len(v) - len(logits)
    rows = []
    for i, row in enumerate(logits):
        terms = [
            mpmath.exp(x)
            if (mask is None or mask[i][j]) and not (causal and j > i + shift)
            else mpf(0)
            for j, x in enumerate(row)
        ]
        total = mpmath.fsum(terms)
        rows.append([t / total if total else mpf(0) for t in terms])
    return product(rows, v)


def _networks():
    shapes = (4, 3), (3, 5), (5,), (5, 6), (6,)
    return {f"network {seed}": (draw(seed, *shapes), {}) for seed in (1, 2)}


@golden("synthesizer_logits", _networks)
def synthesizer_logits(x, weight_in, bias_in, weight_out, bias_out):
    hidden = [
        [max(t + b, mpf(0)) for t, b in zip(row, bias_in, strict=True)]
        for row in product(x, weight_in)
    ]
    return [
        [t + b for t, b in zip(row, bias_out, strict=True)] for row in product(hidden, weight_out)
    ]


def _factors():
    arrays = draw(5743, (3, 2), (3, 3))
    return {name: (arrays, {"order": name}) for name in ("tiled", "outer")}


@golden("factorised_synthesizer_logits", _factors)
def factorised_synthesizer_logits(first, second, order):
    a, b = len(first[0]), len(second[0])
    slow = [j % a if order == "tiled" else j // b for j in range(a * b)]
    return [
        [left[s] * right[j % b] for j, s in enumerate(slow)]
        for left, right in zip(first, second, strict=True)
    ]


def _cosines():
    small = draw(2202, (4, 3), (6, 3), (6, 2))
    mask = np.array([True, True, False, True, True, False])
    return {
        "fixture": (fixture(), {"length": 8}),
        "causal": (small, {"length": 20, "causal": "bottom_right"}),
        "masked": (small, {"length": 6, "mask": mask, "eps": np.array(0.25)}),
    }


@golden("cosformer_attention", _cosines)
def cosformer_attention(q, k, v, length, mask=None, causal=None, eps=0):
    shift = len(k) - len(q) if causal == "bottom_right" else 0
    rows = []
    for i, query in enumerate(q):
        weights = []
        for j, key in enumerate(k):
            dot = mpmath.fsum(
                max(a, mpf(0)) * max(b, mpf(0)) for a, b in zip(query, key, strict=True)
            )
            seen = (mask is None or mask[j]) and not (causal and j > i + shift)
            angle = mpmath.pi * (i + shift - j) / (2 * length)
            weights.append(dot * mpmath.cos(angle) if seen else mpf(0))
        total = mpmath.fsum(weights) + eps
        rows.append([w / total if total else mpf(0) for w in weights])
    return product(rows, v)
