"""Second definitions in plain mpmath: pairs as complex numbers, one token after another."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden


def _pairs(row, pairing):
    """The pairs of a row as complex numbers."""
    h = len(row) // 2
    if pairing == "interleaved":
        return [mpmath.mpc(row[2 * i], row[2 * i + 1]) for i in range(h)]
    return [mpmath.mpc(row[i], row[i + h]) for i in range(h)]


def _row(pairs, pairing):
    if pairing == "interleaved":
        return [part for z in pairs for part in (z.real, z.imag)]
    return [z.real for z in pairs] + [z.imag for z in pairs]


def _turn(pairs, position, base):
    h = len(pairs)
    angles = [position * mpmath.mpf(base) ** (-mpmath.mpf(i) / h) for i in range(h)]
    return [z * mpmath.expj(angle) for z, angle in zip(pairs, angles, strict=True)]


def _xpos_cases():
    def case(positions, d, **options):
        rng = np.random.default_rng(2212)
        at = np.array(positions)
        return (rng.standard_normal((len(at), d)), at), options

    query = {"pairing": "interleaved", "role": "query", "centre": 0.0}
    key = {"pairing": "half", "role": "key", "centre": 64.0}
    return {
        "query": case([0, 1, 100], 8, **query),
        "key": case([0, 1, 100], 8, **key),
        "far": case([2000, 512], 6, **key, scale_base=512.0),
        "fast": case([-3.5, 10.25], 6, **query, scale_base=10.0, gamma=0.1, base=100.0),
    }


@golden("xpos_embedding", cases=_xpos_cases)
def xpos_embedding(x, positions, *, pairing, role, centre, scale_base=512, gamma=0.4, base=10000):
    rows = []
    for row, n in zip(x, positions, strict=True):
        d, new = len(row), []
        power = (n - mpmath.mpf(centre)) / mpmath.mpf(scale_base)
        for i, z in enumerate(_turn(_pairs(row, pairing), n, base)):
            zeta = (mpmath.mpf(2 * i) / d + mpmath.mpf(gamma)) / (1 + mpmath.mpf(gamma))
            growth = zeta**power
            new.append(z * growth if role == "query" else z / growth)
        rows.append(_row(new, pairing))
    return rows


def _rerope_cases():
    def case(rows, columns, d, **options):
        rng = np.random.default_rng(9708)
        q, k = rng.standard_normal((len(rows), d)), rng.standard_normal((len(columns), d))
        return (q, k, np.array(rows), np.array(columns)), options

    half = {"pairing": "half", "window": 3}
    return {
        "stops": case([6, 7], [0, 1, 2, 3, 4, 5, 6], 6, **half),
        "leaks": case([6, 7], [0, 1, 2, 3, 4, 5, 6], 6, **half, leak=4.0),
        "interleaved": case([600], [0, 87, 88, 89], 8, pairing="interleaved", window=512),
        "ahead": case([0, 3], [1, 9, 2], 4, **half, leak=2.0, base=100.0),
    }


@golden("rerope_logits", cases=_rerope_cases)
def rerope_logits(q, k, rows, columns, *, pairing, window, leak=None, base=10000):
    table = []
    for query, i in zip(q, rows, strict=True):
        line = []
        for key, j in zip(k, columns, strict=True):
            t = mpmath.mpf(i - j)
            if t >= window:
                t = window + (0 if leak is None else (t - window) / mpmath.mpf(leak))
            turned = _turn(_pairs(query, pairing), t, base)
            products = zip(turned, _pairs(key, pairing), strict=True)
            line.append(mpmath.fsum((z * mpmath.conj(w)).real for z, w in products))
        table.append(line)
    return table


def _mixture_cases():
    def case(rows, columns, v, **options):
        rng = np.random.default_rng(10862)
        weights = rng.uniform(0.0, 1.0, (len(rows), len(columns)))
        values = rng.standard_normal((len(columns), v))
        return (weights, values, np.array(rows), np.array(columns)), options

    return {
        "half": case([4, 5], [0, 1, 2, 3], 6, pairing="half"),
        "interleaved": case([100], [3, 7, 400], 6, pairing="interleaved", base=500000.0),
        "fractional": case([0.5, -2.25], [1.0, 1e-9], 4, pairing="half"),
    }


@golden("value_rotary_mixture", cases=_mixture_cases)
def value_rotary_mixture(weights, values, rows, columns, *, pairing, base=10000):
    """The sum of values rotated by j - i."""
    found = []
    for line, i in zip(weights, rows, strict=True):
        total = [mpmath.mpc(0)] * (len(values[0]) // 2)
        for weight, value, j in zip(line, values, columns, strict=True):
            turned = _turn(_pairs(value, pairing), mpmath.mpf(j - i), base)
            total = [a + weight * z for a, z in zip(total, turned, strict=True)]
        found.append(_row(total, pairing))
    return found
