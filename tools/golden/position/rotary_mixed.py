"""Second definition in plain mpmath: each pair a complex number, turned axis by axis."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden


def _cases():
    rng = np.random.default_rng(2403)
    grid = np.array([[0, 0, 1, 5], [0, 1, 7, 2]])
    wide = rng.standard_normal((4, 9))
    directions = rng.standard_normal((2, 3))
    cube = np.array([[1, 2], [30, -4], [0, 1000]])
    pixels = np.linspace(-1.0, 1.0, 4)
    pixel = np.pi * np.linspace(1.0, 5.0, 2)
    return {
        "interleaved": ((wide, grid, directions), {"pairing": "interleaved"}),
        "half": ((wide, grid, directions), {"pairing": "half"}),
        "inverse": ((wide, grid, directions), {"pairing": "half", "inverse": True}),
        "three axes": (
            (rng.standard_normal((2, 8)), cube, rng.standard_normal((3, 4))),
            {"pairing": "half"},
        ),
        "pixel": (
            (
                rng.standard_normal((4, 8)),
                np.stack([pixels, pixels[::-1]]),
                np.kron(np.eye(2), pixel),
            ),
            {"pairing": "interleaved"},
        ),
    }


@golden("mixed_rotary_embedding", cases=_cases)
def mixed_rotary_embedding(x, positions, frequencies, *, pairing, inverse=False):
    axes, h = len(frequencies), len(frequencies[0])
    rows = []
    for n, row in enumerate(x):
        new = list(row)
        for i in range(h):
            a, b = (2 * i, 2 * i + 1) if pairing == "interleaved" else (i, i + h)
            z = mpmath.mpc(row[a], row[b])
            for k in range(axes):
                turn = mpmath.expj(positions[k][n] * frequencies[k][i])
                z = z / turn if inverse else z * turn
            new[a], new[b] = z.real, z.imag
        rows.append(new)
    return rows
