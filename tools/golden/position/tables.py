"""Second definitions in plain mpmath: encodings from tables, entry by entry."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden


def _learned_cases():
    table = np.random.default_rng(1705).standard_normal((6, 3))
    return {
        "from the start": ((table, np.arange(6)), {}),
        "repeated": ((table, np.array([3, 3, 0, 3])), {}),
        "offset": ((table, np.array([0, 3, 3])), {"offset": 2}),
    }


@golden("learned_encoding", cases=_learned_cases)
def learned_encoding(table, positions, *, offset=0):
    return [list(table[k + offset]) for k in positions]


def _hierarchy_cases():
    table = np.random.default_rng(7947).standard_normal((4, 3))
    counted = np.array([[1.0], [2.0], [4.0]])
    return {
        "published": ((counted, np.arange(9)), {}),
        "all": ((table, np.arange(16)), {}),
        "given": ((table, np.array([5, 15, 15, 2])), {"alpha": np.array(0.3)}),
        "above a half": ((table, np.array([5, 15, 14, 2])), {"alpha": np.array(0.9)}),
    }


@golden("hierarchical_encoding", cases=_hierarchy_cases)
def hierarchical_encoding(table, positions, *, alpha=0.4):
    """From q_k = p_k for k < r: alpha u_0 + (1 - alpha) u_k = p_k, solved for u."""
    a, rows = mpmath.mpf(alpha), len(table)

    def u(k, c):
        # u_0 = p_0, since alpha u_0 + (1 - alpha) u_0 = p_0.
        return table[0][c] if k == 0 else (table[k][c] - a * table[0][c]) / (1 - a)

    columns = range(len(table[0]))
    return [[a * u(k // rows, c) + (1 - a) * u(k % rows, c) for c in columns] for k in positions]


def _interpolation_cases():
    table = np.random.default_rng(2010).standard_normal((5, 3))
    found = {}
    for kernel in ("linear", "cubic"):
        for corners in (False, True):
            for length in (3, 8):
                options = {"length": length, "align_corners": corners, "kernel": kernel}
                found[f"{kernel}, {length}, corners {corners}"] = ((table,), options)
    options = {"length": 11, "align_corners": False, "kernel": "cubic", "cubic": -0.5}
    return found | {"a of Keys": ((table,), options)}


@golden(
    "interpolated_encoding",
    cases=_interpolation_cases,
    beyond={
        "cubic, 3, corners False": (4.0, "weights are differences of powers, each rounded"),
        "cubic, 8, corners True": (4.0, "weights are differences of powers, each rounded"),
        "a of Keys": (4.0, "weights are differences of powers, each rounded"),
    },
)
def interpolated_encoding(table, *, length, align_corners, kernel="linear", cubic=-0.75):
    """By convolution with the kernel, over rows that go on beyond the ends."""
    rows, a = len(table), mpmath.mpf(cubic)

    def weight(t):
        t = abs(t)
        if kernel == "linear":
            return max(1 - t, mpmath.mpf(0))
        if t <= 1:
            return (a + 2) * t**3 - (a + 3) * t**2 + 1
        return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else mpmath.mpf(0)

    def row(k):
        if align_corners:
            x = mpmath.mpf(k * (rows - 1)) / (length - 1)
        else:
            x = (k + mpmath.mpf(1) / 2) * rows / length - mpmath.mpf(1) / 2
        pairs = [(weight(x - s), table[max(0, min(s, rows - 1))]) for s in range(-4, rows + 4)]
        return [mpmath.fsum(w * e[c] for w, e in pairs) for c in range(len(table[0]))]

    return [row(k) for k in range(length)]
