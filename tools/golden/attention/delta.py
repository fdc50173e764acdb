"""The delta rule by products of the matrices (I - beta k k^T)."""

from __future__ import annotations

import mpmath
import numpy as np
from mpmath import matrix

from tools.golden import golden
from tools.golden.attention.softmax import fixture


def _cases():
    q, k, v = fixture()
    k = k / np.sqrt((k * k).sum(axis=1, keepdims=True))
    rng = np.random.default_rng(2102)
    small = tuple(rng.standard_normal(s) for s in ((5, 3), (5, 3), (5, 2)))
    gated = {"log_decay": np.full(8, -0.1), "scale": np.array(0.5)}
    options = {
        "log_decay": -rng.exponential(0.5, 5),
        "state": rng.standard_normal((3, 2)),
    }
    return {
        "fixture": ((q, k, v, np.full(8, 0.6)), {"scale": np.array(0.5)}),
        "fixture gated": ((q, k, v, np.full(8, 0.6)), gated),
        "state": ((*small, rng.uniform(0.0, 0.5, 5)), options),
    }


@golden("delta_rule", _cases)
def delta_rule(q, k, v, beta, log_decay=None, scale=None, state=None):
    tau = 1 / mpmath.sqrt(len(q[0])) if scale is None else scale
    d, width = len(q[0]), len(v[0])
    total = matrix(state) if state is not None else matrix(d, width)
    outputs = []
    for i in range(len(q)):
        key, value = matrix(k[i]), matrix(v[i])
        kept = mpmath.exp(log_decay[i]) if log_decay is not None else 1
        total = (mpmath.eye(d) - beta[i] * key * key.T) * (kept * total) + beta[i] * key * value.T
        outputs.append((tau * (matrix(q[i]).T * total)).tolist()[0])
    return outputs, total.tolist()
