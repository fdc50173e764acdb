"""Linear attention with a decaying state, by the sums over pairs of positions."""

from __future__ import annotations

import mpmath
import numpy as np
from mpmath import mpf

from tools.golden import golden
from tools.golden.attention.softmax import fixture


def _cases():
    rng = np.random.default_rng(2312)
    q, k, v = (rng.standard_normal(s) for s in ((5, 3), (5, 3), (5, 2)))
    gates = -rng.exponential(0.5, (5, 3))
    state = rng.standard_normal((3, 2))
    return {
        "by feature": ((q, k, v, gates), {}),
        "as a whole": ((q, k, v, gates[:, :1].copy()), {"state": state}),
        "fixture": ((*fixture(), np.zeros((8, 1))), {"scale": np.array(0.5)}),
        "sudden": ((q, k, v, np.where(gates < -0.5, -40.0, 0.0)), {"state": state}),
    }


def decayed_sums(q, k, v, log_decay, tau, state):
    """Outputs and last state: every key decays from its position on, the state from the first."""
    n, d, width = len(q), len(q[0]), len(v[0])
    gates = [[row[a if len(row) > 1 else 0] for a in range(d)] for row in log_decay]

    def kept(i, j, a):
        return mpmath.exp(mpmath.fsum(gates[t][a] for t in range(j + 1, i + 1)))

    def holds(i, a, c):
        written = mpmath.fsum(kept(i, j, a) * k[j][a] * v[j][c] for j in range(i + 1))
        return written + (kept(i, -1, a) * state[a][c] if state is not None else 0)

    outputs = [
        [tau * mpmath.fsum(q[i][a] * holds(i, a, c) for a in range(d)) for c in range(width)]
        for i in range(n)
    ]
    return outputs, [[holds(n - 1, a, c) for c in range(width)] for a in range(d)]


@golden("gated_linear_attention", _cases)
def gated_linear_attention(q, k, v, log_decay, scale=None, state=None):
    tau = 1 / mpmath.sqrt(len(q[0])) if scale is None else scale
    return decayed_sums(q, k, v, log_decay, tau, state)


def _retention_cases():
    rng = np.random.default_rng(2307)
    q, k, v = (rng.standard_normal(s) for s in ((5, 3), (5, 3), (5, 2)))
    return {
        "fixture": ((*fixture(), np.array(0.9)), {"scale": np.array(0.5)}),
        "state": ((q, k, v, np.array(0.96875)), {"state": rng.standard_normal((3, 2))}),
    }


@golden("retention", _retention_cases)
def retention(q, k, v, decay, scale=None, state=None):
    tau = 1 / mpmath.sqrt(len(q[0])) if scale is None else scale
    return decayed_sums(q, k, v, [[mpmath.log(decay)]] * len(q), tau, state)


def _dual_cases():
    rng = np.random.default_rng(2405)
    x, b, c = (rng.standard_normal(s) for s in ((5, 2), (5, 3), (5, 3)))
    step = rng.uniform(0.1, 1.0, 5)
    arrays = x, step, np.array(-0.75), b, c
    state = rng.standard_normal((3, 2))
    return {
        "skip": (arrays, {"skip": np.array(0.5)}),
        "state": (arrays, {"state": state}),
        "large steps": ((x, 9.0 * step, *arrays[2:]), {"state": state}),
    }


@golden("state_space_duality", _dual_cases)
def state_space_duality(x, step, rate, b, c, skip=None, state=None):
    values = [[t * entry for entry in row] for t, row in zip(step, x, strict=True)]
    gates = [[t * rate] for t in step]
    outputs, last = decayed_sums(c, b, values, gates, mpf(1), state)
    direct = skip if skip is not None else 0
    return [
        [o + direct * entry for o, entry in zip(out, row, strict=True)]
        for out, row in zip(outputs, x, strict=True)
    ], last
