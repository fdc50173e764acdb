"""Segment means and Nystrom attention by their defining sums."""

from __future__ import annotations

import mpmath
import numpy as np
from mpmath import mpf

from tools.golden import golden
from tools.golden.attention.pseudoinverse import (
    inverse as exact_inverse,
)
from tools.golden.attention.pseudoinverse import (
    iterated_inverse,
    product,
)
from tools.golden.attention.softmax import fixture


def _members(n, count, segments):
    """Positions of each segment; padding is None."""
    if segments == "overlapping":
        return [list(range(a * n // count, -(-(a + 1) * n // count))) for a in range(count)]
    if segments.endswith("padded"):
        size = -(-n // count)
        padding = [None] * (size * count - n)
        line = list(range(n)) + padding if segments == "zero_padded" else padding + list(range(n))
        return [line[a * size : (a + 1) * size] for a in range(count)]
    parts = [list(part) for part in np.array_split(np.arange(n), count)]
    if segments == "array_split":
        return parts
    sizes = [len(part) for part in reversed(parts)]
    return [list(range(sum(sizes[:a]), sum(sizes[: a + 1]))) for a in range(count)]


def _means(x, count, segments, mask=None):
    rows = []
    for members in _members(len(x), count, segments):
        if mask is not None:
            members = [j for j in members if j is not None and mask[j]]
        kept = [x[j] for j in members if j is not None]
        size = max(len(members), 1)
        rows.append(
            [mpmath.fsum(column) / size for column in zip(*kept, strict=True)]
            if kept
            else [mpf(0)] * len(x[0])
        )
    return rows


def _mean_cases():
    x = np.random.default_rng(0).standard_normal((11, 2))
    mask = np.arange(11) % 3 != 1
    names = ("uneven", "array_split", "overlapping", "zero_padded", "front_padded")
    cases = {name: ((x,), {"landmarks": 4, "segments": name}) for name in names}
    return cases | {"masked": ((x,), {"landmarks": 4, "mask": mask})}


@golden("segment_means", _mean_cases)
def segment_means(x, landmarks, segments="uneven", mask=None):
    return _means(x, landmarks, segments, mask)


def _cases():
    rng = np.random.default_rng(8180)
    q, k, v = (rng.standard_normal(s) for s in ((7, 3), (8, 3), (8, 2)))
    cases = {}
    for count in (2, 4, 8):
        for name in ("exact", "iterated", "none"):
            options = {"landmarks": count, "inverse": name}
            cases[f"fixture {count} {name}"] = (fixture(), options)
    kernel = rng.standard_normal(3)
    keep = np.arange(8) % 3 != 1
    return cases | {
        "convolution": ((k, k[::-1].copy(), v), {"landmarks": 3, "convolution": kernel}),
        "masked": ((q, k, v), {"landmarks": 3, "mask": keep, "scale": np.array(0.4)}),
        "padded": ((q, k, v), {"landmarks": 3, "segments": "zero_padded"}),
    }


def _softmax(x, y, scale, keep=None):
    rows = []
    for a in x:
        terms = [
            mpmath.exp(scale * mpmath.fsum(s * t for s, t in zip(a, b, strict=True))) for b in y
        ]
        terms = [t if keep is None or keep[j] else mpf(0) for j, t in enumerate(terms)]
        rows.append([t / mpmath.fsum(terms) for t in terms])
    return rows


@golden(
    "nystrom_attention",
    _cases,
    beyond={
        "fixture 4 exact": (
            1024.0,
            "the middle matrix is rounded before its pseudo-inverse, which is large",
        ),
        "fixture 8 exact": (
            1024.0,
            "the middle matrix is rounded before its pseudo-inverse, which is large",
        ),
    },
)
def nystrom_attention(
    q,
    k,
    v,
    landmarks,
    segments="uneven",
    inverse="iterated",
    steps=6,
    mask=None,
    scale=None,
    convolution=None,
):
    tau = 1 / mpmath.sqrt(len(q[0])) if scale is None else scale
    qt, kt = _means(q, landmarks, segments), _means(k, landmarks, segments, mask)
    left, middle = _softmax(q, kt, tau), _softmax(qt, kt, tau)
    right = _softmax(qt, k, tau, mask)
    between = {
        "exact": lambda: exact_inverse(middle),
        "iterated": lambda: iterated_inverse(middle, steps),
        "none": lambda: mpmath.eye(landmarks).tolist(),
    }[inverse]()
    rows = product(left, between, right, v)
    if convolution is None:
        return rows
    half = len(convolution) // 2
    for i, row in enumerate(rows):
        for t, tap in enumerate(convolution):
            j = i + t - half
            if 0 <= j < len(v):
                for c in range(len(row)):
                    row[c] += tap * v[j][c]
    return rows
