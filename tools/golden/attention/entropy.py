"""The entropy of attention by its defining sum, and the scale by its logarithms."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden
from tools.golden.attention.softmax import attention_weights, fixture


def _cases():
    rng = np.random.default_rng(8823)
    q, k = rng.standard_normal((4, 3)), rng.standard_normal((6, 3))
    mask = rng.random((4, 6)) < 0.6
    mask[2] = False
    return {
        "fixture": (fixture(values=False), {}),
        "masked": ((q, k), {"mask": mask, "scale": np.array(0.8)}),
        "sharp": ((6.0 * q, 6.0 * k), {"causal": "bottom_right"}),
    }


@golden(
    "attention_entropy",
    _cases,
    beyond={"sharp": (4.0, "small weights are right relative to 1, not to themselves")},
)
def attention_entropy(q, k, **options):
    weights = attention_weights(q, k, **options)
    return [mpmath.fsum(-p * mpmath.log(p) for p in row if p) for row in weights]


def _lengths():
    return {
        "short": ((np.array(64),), {"width": 64}),
        "one": ((np.array(1),), {"width": 32}),
        "clipped": ((np.array(100),), {"width": 64, "clip": True}),
        "long": ((np.array(1 << 40),), {"width": 128, "trained_length": 4096}),
    }


@golden("log_length_scale", _lengths)
def log_length_scale(length, width, trained_length=512, clip=False):
    ratio = mpmath.log(length) / mpmath.log(trained_length)
    return (max(ratio, 1) if clip else ratio) / mpmath.sqrt(width)
