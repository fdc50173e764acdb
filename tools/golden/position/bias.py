"""Second definitions in plain mpmath: biases of attention logits by distance, pair by pair."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden


def _slope_cases():
    def case(heads, rule="split", maximum=8.0):
        return (np.array(maximum),), {"heads": heads, "rule": rule}

    return {
        "one head": case(1),
        "three heads": case(3),
        "six heads": case(6),
        "eight heads": case(8),
        "twelve heads": case(12),
        "forty heads": case(40),
        "forty heads, geometric": case(40, "geometric"),
        "three heads, geometric": case(3, "geometric"),
        "largest exponent 9.5": case(20, "split", 9.5),
        "tiny exponent": case(5, "split", 1e-6),
    }


def _powers(maximum, n):
    return [mpmath.mpf(2) ** (-maximum * h / n) for h in range(1, n + 1)]


@golden("alibi_slopes", cases=_slope_cases)
def alibi_slopes(maximum, *, heads, rule):
    """The recursion of the paper's code, get_slopes."""
    power = 1
    while 2 * power <= heads:
        power *= 2
    if rule == "geometric" or power == heads:
        return _powers(maximum, heads)
    extra = alibi_slopes(maximum, heads=2 * power, rule=rule)[0::2][: heads - power]
    return _powers(maximum, power) + extra


def _alibi_cases():
    m = np.array([0.5, 0.0625, 2.0**-8, 0.3])
    return {
        "symmetric": ((m, np.arange(4), np.arange(5)), {"sides": "symmetric"}),
        "causal": ((m, np.arange(4), np.arange(4)), {"sides": "causal"}),
        "after a cache": ((m, np.array([7, 8]), np.arange(9)), {"sides": "causal"}),
        "key index": ((m, np.array([7, 8]), np.arange(9)), {"sides": "key_index"}),
        "far": ((m, np.array([10**6, 2**31]), np.array([0, 1, 2**31])), {"sides": "symmetric"}),
        "fractions": ((m, np.array([0.25, -3.7]), np.array([1e-9, 2.5])), {"sides": "symmetric"}),
    }


@golden("alibi_bias", cases=_alibi_cases)
def alibi_bias(slopes, queries, keys, *, sides):
    def bias(m, i, j):
        if sides == "key_index":
            return m * j
        if sides == "causal" and j > i:
            return mpmath.mpf("-inf")
        return -m * abs(i - j)

    return [[[bias(m, i, j) for j in keys] for i in queries] for m in slopes]


def _kerple_cases():
    r, s = np.array([2.0, 0.3]), np.array([0.5, 1.25])
    near, far = (np.arange(5), np.arange(4)), (np.array([8191, 10**6]), np.array([0, 17]))
    tiny = np.array([1e-9, 1e-3])
    return {
        "logarithm": ((r, s, *near), {"kernel": "log"}),
        "published": ((r[:1], s[:1], np.array([8]), np.array([7, 6, 0])), {"kernel": "log"}),
        "logarithm, far": ((r, s, *far), {"kernel": "log"}),
        "logarithm, slow": ((r, tiny, *far), {"kernel": "log"}),
        "power": ((r, s, *near), {"kernel": "power"}),
        "power, far": ((r, s, *far), {"kernel": "power"}),
        "power, nearly none": ((r, tiny, *far), {"kernel": "power"}),
    }


@golden("kerple_bias", cases=_kerple_cases)
def kerple_bias(strengths, rates, queries, keys, *, kernel):
    def bias(r, s, t):
        if kernel == "log":
            return -r * mpmath.log(1 + s * t)
        return -r * mpmath.mpf(t) ** s if t else mpmath.mpf(0)

    pairs = list(zip(strengths, rates, strict=True))
    return [[[bias(r, s, abs(i - j)) for j in keys] for i in queries] for r, s in pairs]
