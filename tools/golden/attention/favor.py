"""Random features and Performer attention by their defining sums of exponentials."""

from __future__ import annotations

import mpmath
import numpy as np
from mpmath import mpf

from tools.golden import golden
from tools.golden.attention.softmax import fixture

KINDS = ("positive", "hyperbolic", "trigonometric", "fourier", "relu")


def _dot(x, y):
    return mpmath.fsum(a * b for a, b in zip(x, y, strict=True))


def _features_of(x, projections, kind):
    m = len(projections)
    dots, half = [_dot(w, x) for w in projections], _dot(x, x) / 2
    if kind == "relu":
        return [max(t, mpf(0)) / mpmath.sqrt(m) for t in dots]
    if kind in ("trigonometric", "fourier"):
        height = mpmath.exp(half) if kind == "trigonometric" else mpf(1)
        values = [mpmath.cos(t) for t in dots] + [mpmath.sin(t) for t in dots]
        return [height * c / mpmath.sqrt(m) for c in values]
    if kind == "positive":
        return [mpmath.exp(t - half) / mpmath.sqrt(m) for t in dots]
    return [mpmath.exp(s * t - half) / mpmath.sqrt(2 * m) for s in (1, -1) for t in dots]


def _feature_cases():
    rng = np.random.default_rng(7921)
    x, w = rng.standard_normal((2, 4)), rng.standard_normal((5, 4))
    cases = {kind: ((x, w), {"kind": kind}) for kind in KINDS}
    return cases | {"long": ((6.0 * x, w), {"kind": "positive"})}


@golden("favor_features", _feature_cases)
def favor_features(x, projections, kind):
    return [_features_of(row, projections, kind) for row in x]


def _attention_cases():
    rng = np.random.default_rng(2009)
    w = rng.standard_normal((6, 4))
    q, k, v = (rng.standard_normal(s) for s in ((3, 4), (5, 4), (5, 2)))
    mask = np.array([True, False, True, True, False])
    cases = {
        f"fixture {kind}": ((*fixture(), w), {"kind": kind}) for kind in ("positive", "hyperbolic")
    }
    return cases | {
        "fixture causal": ((*fixture(), w), {"kind": "positive", "causal": True}),
        "masked relu": ((q, k, v, w), {"kind": "relu", "mask": mask}),
        "cosines": ((0.3 * q, 0.3 * k, v, w), {"kind": "trigonometric"}),
        "long": ((9.0 * q, 9.0 * k, v, w), {"kind": "positive", "causal": "bottom_right"}),
        "scale": ((q, k, v, w), {"kind": "positive", "scale": np.array(0.25), "mask": mask}),
    }


@golden("performer_attention", _attention_cases)
def performer_attention(q, k, v, projections, kind, mask=None, scale=None, causal=None):
    root = mpf(len(q[0])) ** mpf("-0.25") if scale is None else mpmath.sqrt(scale)
    shift = len(k) - len(q) if causal == "bottom_right" else 0
    qf, kf = (
        [_features_of([root * a for a in row], projections, kind) for row in x] for x in (q, k)
    )
    rows = []
    for i, query in enumerate(qf):
        weights = [
            _dot(query, key)
            if (mask is None or mask[j]) and not (causal and j > i + shift)
            else mpf(0)
            for j, key in enumerate(kf)
        ]
        total = mpmath.fsum(weights)
        rows.append([_dot(weights, column) / total for column in zip(*v, strict=True)])
    return rows
