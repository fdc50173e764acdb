"""Second definitions in plain mpmath: rotary embedding, each pair as one complex number."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden


def pairs_of(row, pairing):
    """The pairs of a row as complex numbers."""
    h = len(row) // 2
    if pairing == "interleaved":
        return [mpmath.mpc(row[2 * i], row[2 * i + 1]) for i in range(h)]
    return [mpmath.mpc(row[i], row[i + h]) for i in range(h)]


def row_of(pairs, pairing):
    if pairing == "interleaved":
        return [part for z in pairs for part in (z.real, z.imag)]
    return [z.real for z in pairs] + [z.imag for z in pairs]


def turn_by(pairs, position, base):
    h = len(pairs)
    angles = [position * mpmath.mpf(base) ** (-mpmath.mpf(i) / h) for i in range(h)]
    return [z * mpmath.expj(angle) for z, angle in zip(pairs, angles, strict=True)]


def _frequency_cases():
    return {
        "base 10000, dim 64": ((np.array(10000.0),), {"dim": 64}),
        "base 10000, dim 128": ((np.array(10000.0),), {"dim": 128}),
        "base 500000, dim 64": ((np.array(500000.0),), {"dim": 64}),
        "base 500000, dim 128": ((np.array(500000.0),), {"dim": 128}),
        "integer base": ((np.array(1000000),), {"dim": 12}),
        "base below one": ((np.array(0.25),), {"dim": 6}),
    }


@golden("rotary_frequencies", cases=_frequency_cases)
def rotary_frequencies(base, *, dim):
    return [mpmath.exp(-mpmath.log(base) * 2 * i / dim) for i in range(dim // 2)]


def _case(positions, d, seed=8265, **options):
    rng = np.random.default_rng(seed)
    positions = np.asarray(positions)
    return (rng.standard_normal((len(positions), d)), positions), options


def _embedding_cases():
    theta = np.array([1.5, 0.3, 0.015625])
    known = (np.array([[1.0, 2.0, 3.0, 4.0]]), np.array([3]))
    return {
        "known interleaved": (known, {"pairing": "interleaved"}),
        "known half": (known, {"pairing": "half"}),
        "interleaved": _case(range(6), 8, pairing="interleaved"),
        "half": _case(range(6), 8, pairing="half"),
        "base 500000": _case([100, 8191], 8, pairing="half", base=500000.0),
        "inverse": _case([7, 8], 6, pairing="interleaved", inverse=True),
        "partial interleaved": _case([5, 9], 8, pairing="interleaved", rotary_dim=4),
        "partial half": _case([5, 9], 9, pairing="half", rotary_dim=6),
        "attention factor": _case([5, 9], 8, pairing="half", rotary_dim=6, attention_factor=1.25),
        "negative": _case([-1, -50], 6, pairing="interleaved"),
        "fractional": _case([0.25, -3.7, 1e-9], 6, pairing="half"),
        "given frequencies": _case([2, 40], 6, pairing="interleaved", frequencies=theta),
        "given frequencies, part": _case([2, 40], 7, pairing="half", frequencies=theta),
        "position 10^6": _case([10**6, 10**6 + 1], 6, pairing="interleaved"),
        "position 2^31": _case([2**31, 2**31 + 1], 6, pairing="half"),
        "given frequencies, 2^31": _case([2**31 + 1], 6, pairing="half", frequencies=theta),
    }


@golden("rotary_embedding", cases=_embedding_cases)
def rotary_embedding(
    x,
    positions,
    *,
    pairing,
    base=10000,
    frequencies=None,
    rotary_dim=None,
    attention_factor=1,
    inverse=False,
):
    rows = []
    for row, m in zip(x, positions, strict=True):
        r = rotary_dim or len(row)
        if frequencies is not None:
            r = 2 * len(frequencies)
        new = list(row)
        for i in range(r // 2):
            a, b = (2 * i, 2 * i + 1) if pairing == "interleaved" else (i, i + r // 2)
            if frequencies is None:
                theta = mpmath.mpf(base) ** (-mpmath.mpf(2 * i) / r)
            else:
                theta = frequencies[i]
            turn = mpmath.mpf(attention_factor) * mpmath.expj(-m * theta if inverse else m * theta)
            z = turn * mpmath.mpc(row[a], row[b])
            new[a], new[b] = z.real, z.imag
        rows.append(new)
    return rows
